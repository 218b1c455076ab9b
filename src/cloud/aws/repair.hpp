// cloud/aws/repair.hpp: changes to what is in the account, made as a list first: shown, then carried out.
#pragma once

#include <string>
#include <vector>

#include "cloud/aws/iot.hpp"
#include "io/clock.hpp"

namespace espmint::aws {

/// One call. Each may be carried out twice; what is not there any more is well.
struct Repair {
  enum class Step {
    activate,            // arn
    deactivate,          // arn
    attach_thing,        // arn, name
    detach_thing,        // arn, name
    attach_policy,       // arn, name
    detach_policy,       // arn, name
    delete_certificate,  // arn
    delete_thing,        // name
  };
  Step step;
  std::string arn;   // the certificate's
  std::string name;  // the thing's or the policy's
};

/// The call as the API has it: "UpdateCertificate certificateId=0f… newStatus=INACTIVE".
std::string words_of(const Repair&);

/// How long what was detached may take to be seen by what deletes; then cloud_refused (retry).
inline constexpr std::chrono::seconds detach_patience{60};

/// In order, to the first fault.
Task<Result<void>> carry_out(Iot& iot, Clock& clock, std::vector<Repair> repairs);

struct RevocationRequest {
  std::string thing, product;
  std::vector<std::string> certificates;
  bool force = false;
};
/// What takes away all that a board has in the cloud, its thing excepted: of each certificate that is its thing's, and
/// of `certificates` (ARNs that the ledger knows), INACTIVE, then off every thing and every policy. Reads only. Faults
/// (refuse), but with `force`: thing_foreign where the thing is not `product`'s, cloud_refused where a certificate is
/// another thing's, too. Nothing there: no repairs.
Task<Result<std::vector<Repair>>> plan_revocation(Iot& iot, RevocationRequest request);

}  // namespace espmint::aws
