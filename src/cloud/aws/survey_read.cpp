// What the account has of ours, read page by page.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "cloud/aws/survey.hpp"
#include "identity/identity.hpp"

namespace espmint::aws {
namespace {

// A station's clock may be wrong by some; the service's is right.
constexpr std::chrono::hours clock_doubt{24};
// A thing's, until somebody changes it.
constexpr std::int64_t first_version = 1;

class CloudReader {
 public:
  CloudReader(Iot& iot, const LedgerView& ledger, const SurveyOptions& options)
      : iot_(iot), ledger_(ledger), mark_(mark_of(options.product)), clock_offset_(options.clock_offset) {
    for (const LedgerCertificate& certificate : ledger.certificates) {
      if (!certificate.cloud_id.empty()) known_ids_.insert(certificate_id_of(certificate.cloud_id));
      known_ids_.insert(to_hex(certificate.certificate));
      if (!certificate.answered) continue;
      asked_keys_.insert(certificate.public_key);
      answered_.push_back(*certificate.answered);
    }
    std::sort(answered_.begin(), answered_.end());
    for (const LostRequest& lost : ledger.lost) {
      asked_keys_.insert(lost.public_key);
      lost_names_.insert(lost.device_id);
    }
    for (const LedgerRetired& retired : ledger.retired) known_ids_.insert(retired.id);
  }

  Task<Result<CloudView>> read() {
    CO_TRY(co_await read_our_things());
    CO_TRY(co_await read_things_without_mark());
    CO_TRY(co_await read_principals());
    CO_TRY(std::vector<CertificateEntry> entries, granted(co_await iot_.certificates()));
    for (CertificateEntry& entry : entries) CO_TRY(co_await read_one(std::move(entry)));
    co_return std::move(view_);
  }

 private:
  Task<Result<void>> read_our_things() {
    std::string attribute{mark_attribute};
    CO_TRY(std::vector<Thing> things, granted(co_await iot_.things_with(std::move(attribute), mark_)));
    for (Thing& thing : things)
      if (seen_things_.insert(thing.name).second)
        view_.things.push_back({std::move(thing.name), true, thing.version == first_version, {}});
    co_return ok();
  }

  /// A VERIFIED board's thing that is not in the list has no mark, or is not there.
  Task<Result<void>> read_things_without_mark() {
    for (const LedgerCertificate& certificate : ledger_.certificates) {
      if (certificate.standing != LedgerCertificate::Standing::verified ||
          !seen_things_.insert(certificate.device_id).second)
        continue;
      CO_TRY(Reply<Thing> thing, co_await iot_.describe_thing(certificate.device_id));
      if (thing.refusal == Refusal::absent) continue;
      if (thing.refusal) co_return fail(refused(thing.operation, thing.words));
      // The list by attribute lags behind what was just made.
      auto mark = thing.value.attributes.find(std::string{mark_attribute});
      const bool is_ours = mark != thing.value.attributes.end() && mark->second == mark_;
      view_.things.push_back({certificate.device_id, is_ours, thing.value.version == first_version, {}});
    }
    co_return ok();
  }

  Task<Result<void>> read_principals() {
    for (SurveyedThing& thing : view_.things) {
      CO_TRY(Reply<std::vector<std::string>> principals, co_await iot_.principals_of(thing.name));
      if (principals.refusal && principals.refusal != Refusal::absent)
        co_return fail(refused(principals.operation, principals.words));
      for (std::string& principal : principals.value)
        if (is_certificate_arn(principal)) {
          attached_.insert(principal);
          thing.principals.push_back(std::move(principal));
        }
    }
    co_return ok();
  }

  Task<Result<void>> read_one(CertificateEntry entry) {
    const bool is_known = known_ids_.contains(certificate_id_of(entry.arn));
    SurveyedCertificate certificate{entry.arn, entry.status, {}, {}, {}};
    if (!is_known && (may_be_lost(entry) || may_be_double(entry))) {
      CO_TRY(Reply<CertificateEntry> described, co_await iot_.describe_certificate(certificate_id_of(entry.arn)));
      if (described.refusal == Refusal::absent) co_return ok();
      if (described.refusal) co_return fail(refused(described.operation, described.words));
      if (auto read = parse_certificate(as_bytes(described.value.pem))) {
        certificate.public_key = sha256_of(read->public_key_der);
        certificate.common_name = read->common_name;
      }
    }
    const bool was_asked_for = certificate.public_key && (asked_keys_.contains(*certificate.public_key) ||
                                                          lost_names_.contains(certificate.common_name));
    if (!is_known && !was_asked_for && !attached_.contains(entry.arn)) co_return ok();
    CO_TRY(Reply<std::vector<std::string>> things, co_await iot_.things_of(entry.arn));
    CO_TRY(Reply<std::vector<std::string>> policies, co_await iot_.policies_of(entry.arn));
    if (things.refusal == Refusal::absent || policies.refusal == Refusal::absent) co_return ok();  // deleted meanwhile
    if (things.refusal) co_return fail(refused(things.operation, things.words));
    if (policies.refusal) co_return fail(refused(policies.operation, policies.words));
    certificate.things = std::move(things.value);
    certificate.policies = std::move(policies.value);
    view_.certificates.push_back(std::move(certificate));
    co_return ok();
  }

  /// When it was made, by the service's clock and by the one that the ledger may have been written by.
  [[nodiscard]] std::array<WallTime, 2> moments_of(const CertificateEntry& entry) const {
    return {*entry.created, *entry.created - clock_offset_};
  }

  [[nodiscard]] bool may_be_lost(const CertificateEntry& entry) const {
    return std::any_of(ledger_.lost.begin(), ledger_.lost.end(), [&](const LostRequest& lost) {
      return !lost.asked || !entry.created || std::ranges::max(moments_of(entry)) >= *lost.asked - clock_doubt;
    });
  }

  [[nodiscard]] bool may_be_double(const CertificateEntry& entry) const {
    if (entry.status != status::inactive || !entry.created) return false;
    return std::ranges::any_of(moments_of(entry), [this](WallTime made) {
      auto next = std::lower_bound(answered_.begin(), answered_.end(), made - clock_doubt);
      return next != answered_.end() && *next <= made + clock_doubt;
    });
  }

  Iot& iot_;
  const LedgerView& ledger_;
  std::string mark_;
  std::chrono::seconds clock_offset_;
  std::set<std::string> known_ids_, seen_things_, attached_, lost_names_;
  std::set<Sha256> asked_keys_;
  std::vector<WallTime> answered_;  // in their order
  CloudView view_;
};

}  // namespace

Task<Result<CloudView>> read_cloud(Iot& iot, const LedgerView& ledger, SurveyOptions options) {
  CloudReader reader{iot, ledger, options};
  co_return co_await reader.read();
}

}  // namespace espmint::aws
