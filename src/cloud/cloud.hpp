// cloud/cloud.hpp: where boards are registered: each step from values to values. What was asked and what came of it is
// remembered by the ledger alone, so a step can be asked about or finished by another process later.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/hash.hpp"
#include "base/secret.hpp"
#include "identity/identity.hpp"
#include "io/task.hpp"

namespace espmint {

/// What a cloud is told of one certificate; the ledger keeps these words. Each may be told twice.
namespace act {
inline constexpr std::string_view issue = "issue";         // asked for by Cloud::issue only: never twice
inline constexpr std::string_view enrol = "enrol";         // of a cloud that is this machine: done by issuing
inline constexpr std::string_view register_ = "register";  // a certificate that was made here is made known
inline constexpr std::string_view policy = "policy";       // what it may do is attached to it
inline constexpr std::string_view thing = "thing";         // the board's entry in the registry: made, merged or adopted
inline constexpr std::string_view attach = "attach";       // the certificate becomes the thing's
inline constexpr std::string_view activate = "activate";   // from now on it is accepted
inline constexpr std::string_view retire = "retire";       // the thing's other certificates no longer are
inline constexpr std::string_view revoke = "revoke";       // this one no longer is, and is nobody's
}  // namespace act

/// How a cloud goes about it. Words are those of `act`.
struct CloudWays {
  bool issues_elsewhere = false;  // asking for a certificate leaves this machine: the ledger hears of it before (issue)
  bool makes_keys = false;        // the private key comes with the certificate
  bool can_wait = false;          // what follows the certificate may happen after the board has left
  std::vector<std::vector<std::string_view>> enrolment;  // stage after stage; within one, side by side
  std::vector<std::string_view> completion;              // once the board is VERIFIED, in order
};

struct IssueRequest {
  std::string device_id;
  Bytes csr_der;  // empty where the cloud makes keys
  Bytes serial;   // for issuers that take one
};

struct Issued {
  Certificate certificate;  // INACTIVE
  std::string cloud_id;     // what the cloud calls it (AWS: its ARN); empty: it has no name of its own, or not yet
  Secret private_key_pem;   // only where the cloud makes keys
};

/// The certificate that an act is about.
struct CloudSubject {
  std::string device_id;
  Sha256 certificate{};  // of the DER
  std::string cloud_id;  // as far as it is known
  Bytes certificate_der;
};

class Cloud {
 public:
  virtual ~Cloud() = default;
  /// As recipes write it: "local", "aws".
  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual const CloudWays& ways() const = 0;
  /// A certificate for the request, INACTIVE until the board is VERIFIED; its key is the request's, checked. Never
  /// repeated blindly: two calls may make two certificates. Faults: certificate_invalid, key_failed; the cloud's, with
  /// remedy reconcile where it may have happened.
  virtual Task<Result<Issued>> issue(IssueRequest request) = 0;
  /// One of `ways()`, or revoke. Answers the certificate's cloud_id where it became known (register), of retire the ids
  /// of the certificates that it ended, with blanks between, else nothing. Faults: cloud_unreachable and
  /// cloud_throttled: again later; thing_foreign (refuse): a person decides; cloud_denied, cloud_refused,
  /// cloud_reply_invalid: will not get better by itself.
  virtual Task<Result<std::string>> perform(std::string act, CloudSubject subject) = 0;
  /// What the firmware trusts the broker by; PEM.
  [[nodiscard]] virtual std::string root_ca_pem() const = 0;
  /// Host name of the broker; empty where there is none yet.
  [[nodiscard]] virtual std::string endpoint() const = 0;
};

/// The request, when it is whole and names the device. Before the signature and not only after it: what was signed for
/// the wrong name would exist. Fault certificate_invalid (stop_line).
Result<CertificateRequest> request_for(std::string_view device_id, ByteView csr_der);
/// Whether an issuer's answer is for what was asked: the certificate's key is the request's. Stand-ins for clouds are
/// known that answer with another key. Fault certificate_invalid (stop_line).
Result<void> check_answer(const Certificate& answer, const CertificateRequest&);

}  // namespace espmint
