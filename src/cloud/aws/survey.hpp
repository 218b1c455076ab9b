// cloud/aws/survey.hpp: for `doctor`: what the ledger says beside what the account has, and how to bring them together.
//   CO_TRY(CloudView there, co_await read_cloud(iot, ledger, options));
//   std::vector<Finding> findings = compare(ledger, there, options);
//   CO_TRY(FixReport fixed, co_await fix(iot, clock, findings));       the safe ones
// Whoever fixes holds the ledger for writing from before it was read: a board that becomes VERIFIED meanwhile would be
// taken for an orphan.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "cloud/aws/repair.hpp"

namespace espmint::aws {

struct LedgerCertificate {
  enum class Standing { under_way, verified, burned };
  std::string device_id;
  Standing standing = Standing::under_way;
  Sha256 certificate{};          // of the DER
  std::string cloud_id;          // its ARN; empty: not known, or registered by nobody yet
  bool has_open_acts = false;    // the cloud is still to be told something of it: `cloud sync` will
  bool may_be_on_board = false;  // VERIFIED once, and none after it: also when it is BURNED
  Sha256 public_key{};           // of the SubjectPublicKeyInfo
  /// When the service answered with it, by this machine's clock; a request that went twice made two at that time.
  std::optional<WallTime> answered{};
};

/// A certificate that was asked for, and whose answer was lost. There may be one, or several.
struct LostRequest {
  std::string device_id;
  Sha256 public_key{};            // of the SubjectPublicKeyInfo in the request
  std::optional<WallTime> asked;  // by this machine's clock
};

/// A certificate that was on a board's thing beside the board's own, and was taken off it.
struct LedgerRetired {
  std::string device_id;
  std::string id;  // as AWS calls it
};

/// Every device id that a thing may have been made for.
struct LedgerDevice {
  std::string id;
  bool keeps_thing = false;  // VERIFIED now or once, or under way: its thing stays, with its id, attributes and groups
};

struct LedgerView {
  std::vector<LedgerCertificate> certificates;
  std::vector<LostRequest> lost;
  std::vector<LedgerRetired> retired;
  std::vector<LedgerDevice> devices;
};

struct SurveyedCertificate {
  std::string arn;
  std::string status;
  std::optional<Sha256> public_key;  // where it was looked at
  std::vector<std::string> things;
  std::vector<std::string> policies;
  std::string common_name{};  // where it was looked at
};

struct SurveyedThing {
  std::string name;
  bool is_ours = false;                 // it has our mark
  bool is_as_made = false;              // never changed since: it was not somebody else's before we adopted it
  std::vector<std::string> principals;  // ARNs of certificates; others are left out
};

/// Of the account, what may be ours.
struct CloudView {
  std::vector<SurveyedThing> things;
  std::vector<SurveyedCertificate> certificates;
};

struct SurveyOptions {
  std::string product;      // our mark is made of it
  std::string policy_name;  // that boards have
  /// What the service's clock is ahead of this machine's, or behind: the ledger's moments may be as wrong.
  std::chrono::seconds clock_offset{0};
};

enum class Difference {
  missing,                // a VERIFIED board's certificate, thing or attachment
  orphan,                 // ours, and nobody's
  active_but_unverified,  // accepted, though no VERIFIED board has it
  verified_but_inactive,  // a VERIFIED board would not be accepted
  wrong_policy,           // it lacks ours, or has another
  wrong_thing,            // it is another board's thing's
  foreign,                // in our place, and not of this ledger
};
std::string_view name_of(Difference);  // "active-but-unverified"

struct Finding {
  Difference difference;
  std::string device_id;        // empty: not known
  std::string what;             // one sentence
  std::vector<Repair> repairs;  // the safe way to end it; empty: a person's
  bool may_fix = false;         // --fix may: all of it is ours, by the ledger and by the mark
  bool is_harmless = false;     // it does nothing and nobody can use it: worth a note
};

/// Page by page, with few calls for what is not ours. Certificates that are not known are looked at
/// (DescribeCertificate) only where they are of a day on which this ledger asked for some, or no older than an answer
/// that was lost. Faults: the client's, cloud_refused.
Task<Result<CloudView>> read_cloud(Iot& iot, const LedgerView& ledger, SurveyOptions options);

/// Certificates first, then things; repairs in the order in which they can be done.
std::vector<Finding> compare(const LedgerView&, const CloudView&, const SurveyOptions&);

struct FixReport {
  int fixed = 0;
  std::vector<Fault> failed;  // each of one finding
};
/// Those that may be fixed. What the service refuses of one does not end the others; a fault of the client does.
Task<Result<FixReport>> fix(Iot& iot, Clock& clock, std::vector<Finding> findings);

}  // namespace espmint::aws
