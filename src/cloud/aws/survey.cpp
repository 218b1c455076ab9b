#include "cloud/aws/survey.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.hpp"

namespace espmint::aws {
namespace {

using Standing = LedgerCertificate::Standing;
using Step = Repair::Step;

class Comparison {
 public:
  Comparison(const LedgerView& ledger, const CloudView& cloud, const SurveyOptions& options)
      : ledger_(ledger), cloud_(cloud), options_(options) {
    for (const LedgerCertificate& certificate : ledger.certificates) {
      // AWS calls a certificate by the SHA-256 of its DER; where the ledger knows better, that holds.
      by_id_.emplace(to_hex(certificate.certificate), &certificate);
      if (!certificate.cloud_id.empty()) by_id_.insert_or_assign(certificate_id_of(certificate.cloud_id), &certificate);
    }
    for (const SurveyedCertificate& certificate : cloud.certificates)
      if (const LedgerCertificate* known = known_as(certificate.arn)) there_.emplace(known, &certificate);
    for (const LedgerCertificate& certificate : ledger.certificates)
      if (certificate.answered) twins_.emplace(certificate.public_key, &certificate);
    for (const SurveyedThing& thing : cloud.things) things_.emplace(thing.name, &thing);
    for (const LostRequest& lost : ledger.lost) lost_.emplace(lost.public_key, &lost);
    for (const LedgerDevice& device : ledger.devices) devices_[device.id] = device.keeps_thing;
    // Where nobody says that a device's thing may go, it stays.
    for (const LedgerCertificate& certificate : ledger.certificates) {
      devices_.emplace(certificate.device_id, true);
      if (certificate.standing != Standing::burned) devices_[certificate.device_id] = true;
      if (certificate.standing == Standing::under_way) under_way_.insert(certificate.device_id);
    }
    for (const LostRequest& lost : ledger.lost) devices_.emplace(lost.device_id, true);
    for (const LedgerRetired& retired : ledger.retired) retired_.emplace(retired.id, &retired);
  }

  std::vector<Finding> findings() {
    for (const LedgerCertificate& certificate : ledger_.certificates) compare_certificate(certificate);
    for (const SurveyedCertificate& certificate : cloud_.certificates)
      if (known_as(certificate.arn) == nullptr) compare_unknown(certificate);
    for (const SurveyedThing& thing : cloud_.things) compare_thing(thing);
    return std::move(findings_);
  }

 private:
  void find(Difference difference, std::string device, std::string what, std::vector<Repair> repairs, bool may_fix,
            bool is_harmless = false) {
    findings_.push_back({difference, std::move(device), std::move(what), std::move(repairs), may_fix, is_harmless});
  }

  [[nodiscard]] const LedgerCertificate* known_as(std::string_view arn) const {
    auto known = by_id_.find(certificate_id_of(arn));
    return known == by_id_.end() ? nullptr : known->second;
  }
  [[nodiscard]] bool is_lost(const SurveyedCertificate& certificate) const {
    return certificate.public_key && lost_.contains(*certificate.public_key);
  }
  /// A request whose answer was not taken, for this certificate's name, but not its key.
  [[nodiscard]] const LostRequest* misanswered(const SurveyedCertificate& certificate) const {
    if (!certificate.public_key || !certificate.things.empty()) return nullptr;
    auto lost = std::ranges::find(ledger_.lost, certificate.common_name, &LostRequest::device_id);
    return lost == ledger_.lost.end() ? nullptr : &*lost;
  }
  /// For whose key it was made, where that has another certificate.
  [[nodiscard]] const LedgerCertificate* twin_of(const SurveyedCertificate& certificate) const {
    auto twin = certificate.public_key ? twins_.find(*certificate.public_key) : twins_.end();
    return twin == twins_.end() ? nullptr : twin->second;
  }
  [[nodiscard]] const SurveyedThing* thing_called(const std::string& name) const {
    auto thing = things_.find(name);
    return thing == things_.end() ? nullptr : thing->second;
  }

  /// Nobody can use it, whatever it is.
  static bool is_idle(const SurveyedCertificate& certificate) {
    return certificate.status == status::inactive && certificate.things.empty();
  }

  /// INACTIVE, off everything, deleted.
  static std::vector<Repair> removal_of(const SurveyedCertificate& certificate) {
    std::vector<Repair> repairs;
    if (certificate.status == status::active) repairs.push_back({Step::deactivate, certificate.arn, {}});
    for (const std::string& thing : certificate.things) repairs.push_back({Step::detach_thing, certificate.arn, thing});
    for (const std::string& policy : certificate.policies)
      repairs.push_back({Step::detach_policy, certificate.arn, policy});
    repairs.push_back({Step::delete_certificate, certificate.arn, {}});
    return repairs;
  }

  void compare_certificate(const LedgerCertificate& known) {
    auto found = there_.find(&known);
    const SurveyedCertificate* there = found == there_.end() ? nullptr : found->second;
    if (known.standing == Standing::verified) return compare_verified(known, there);
    if (there == nullptr) return;
    const bool is_active = there->status == status::active;
    if (known.standing == Standing::under_way) {
      if (is_active)
        find(Difference::active_but_unverified, known.device_id, "its certificate is ACTIVE before it is VERIFIED",
             {{Step::deactivate, there->arn, {}}}, true);
      return;
    }
    // Make before break: until the successor is proved, the board may still have this one.
    const bool awaits_successor =
        known.may_be_on_board || (known.has_open_acts && under_way_.contains(known.device_id));
    if (is_active && awaits_successor)
      return find(Difference::active_but_unverified, known.device_id,
                  "the certificate before is ACTIVE while its successor is not VERIFIED: prepare the board again",
                  removal_of(*there), false);
    find(is_active ? Difference::active_but_unverified : Difference::orphan, known.device_id,
         is_active ? "a certificate that is BURNED is ACTIVE" : "a certificate that is BURNED is still there",
         removal_of(*there), true, is_idle(*there));
  }

  void compare_verified(const LedgerCertificate& known, const SurveyedCertificate* there) {
    const std::string& device = known.device_id;
    const SurveyedThing* thing = thing_called(device);
    if (thing == nullptr)
      find(Difference::missing, device,
           known.has_open_acts ? "its thing is not there yet: `espmint cloud sync` makes it"
                               : "its thing is not there: `espmint prepare --renew` makes it",
           {}, false);
    else if (!thing->is_ours)
      find(Difference::foreign, device, "its thing does not have our mark: somebody made it, or took the mark away", {},
           false);
    if (there == nullptr)
      return find(Difference::missing, device,
                  known.has_open_acts
                      ? "its certificate is not there yet: `espmint cloud sync` makes it known"
                      : "its certificate is not there: `espmint prepare --renew` gives the board another",
                  {}, false);
    if (there->status != status::active) {
      // Where activating was settled, somebody turned it off since; that was meant.
      const bool may_fix = known.has_open_acts && there->status == status::inactive;
      find(Difference::verified_but_inactive, device, fmt::format("its certificate is {}", there->status),
           {{Step::activate, there->arn, {}}}, may_fix);
    }
    // One that was taken back by hand stays off everything.
    const bool taken_back = there->status != status::active && !known.has_open_acts;
    if (taken_back) return;
    compare_attachments(known, *there, thing);
    compare_policies(device, *there);
  }

  void compare_attachments(const LedgerCertificate& known, const SurveyedCertificate& there,
                           const SurveyedThing* thing) {
    const std::string& device = known.device_id;
    if (thing != nullptr && std::find(there.things.begin(), there.things.end(), device) == there.things.end())
      find(Difference::missing, device, "its certificate is not attached to its thing",
           {{Step::attach_thing, there.arn, device}}, thing->is_ours);
    for (const std::string& other : there.things) {
      if (other == device) continue;
      const SurveyedThing* wrong = thing_called(other);
      find(Difference::wrong_thing, device,
           fmt::format("its certificate is attached to {}, too", escape_controls(other)),
           {{Step::detach_thing, there.arn, other}}, wrong != nullptr && wrong->is_ours);
    }
  }

  void compare_policies(const std::string& device, const SurveyedCertificate& there) {
    const auto& has = there.policies;
    if (std::find(has.begin(), has.end(), options_.policy_name) == has.end())
      find(Difference::wrong_policy, device,
           fmt::format("its certificate does not have the policy {}", options_.policy_name),
           {{Step::attach_policy, there.arn, options_.policy_name}}, true);
    for (const std::string& policy : has)
      if (policy != options_.policy_name)
        find(Difference::wrong_policy, device,
             fmt::format("its certificate has the policy {}, too", escape_controls(policy)),
             {{Step::detach_policy, there.arn, policy}}, false);
  }

  void compare_unknown(const SurveyedCertificate& there) {
    const bool is_active = there.status == status::active;
    if (is_lost(there)) {
      find(is_active ? Difference::active_but_unverified : Difference::orphan, lost_.at(*there.public_key)->device_id,
           "a certificate whose answer was lost is there, and no board has it", removal_of(there), true,
           is_idle(there));
      return;
    }
    if (const LedgerCertificate* twin = twin_of(there)) {
      // Some emulations make it ACTIVE; without a policy it may do nothing all the same.
      const bool is_of_use = !there.things.empty() || (is_active && !there.policies.empty());
      find(is_active ? Difference::active_but_unverified : Difference::orphan, twin->device_id,
           fmt::format("a request arrived twice: a second certificate for its key is there, {}",
                       is_of_use ? "and somebody uses it" : "and nobody has it"),
           removal_of(there), !is_of_use, is_idle(there));
      return;
    }
    if (const LostRequest* request = misanswered(there))
      return find(is_active ? Difference::active_but_unverified : Difference::orphan, request->device_id,
                  "a certificate bears its name and another key than was asked for: an answer that was refused",
                  removal_of(there), false, is_idle(there));
    if (auto retired = retired_.find(std::string{certificate_id_of(there.arn)});
        retired != retired_.end() && there.things.empty())
      return find(Difference::foreign, retired->second->device_id,
                  is_active ? "a certificate that this ledger did not make was taken off it, and is ACTIVE again"
                            : "a certificate that this ledger did not make was taken off it, and is kept",
                  {}, false, !is_active);
    for (const std::string& thing : there.things) {
      const SurveyedThing* at = thing_called(thing);
      if (at == nullptr || !at->is_ours) continue;  // somebody else's thing has somebody else's certificates
      std::vector<Repair> repairs;
      if (is_active && there.things.size() == 1) repairs.push_back({Step::deactivate, there.arn, {}});
      repairs.push_back({Step::detach_thing, there.arn, thing});
      find(Difference::foreign, thing,
           fmt::format("a certificate that this ledger did not make is attached to it, {}", there.status),
           std::move(repairs), false);
    }
  }

  /// Whether every certificate of the thing is one that other findings take away.
  [[nodiscard]] bool is_emptied(const SurveyedThing& thing) const {
    return std::all_of(thing.principals.begin(), thing.principals.end(), [this](const std::string& arn) {
      if (const LedgerCertificate* known = known_as(arn)) return known->standing == Standing::burned;
      return std::any_of(cloud_.certificates.begin(), cloud_.certificates.end(),
                         [&](const auto& there) { return there.arn == arn && is_lost(there); });
    });
  }

  void compare_thing(const SurveyedThing& thing) {
    if (!thing.is_ours) return;  // told with its board
    auto device = devices_.find(thing.name);
    if (device == devices_.end())
      return find(Difference::foreign, thing.name,
                  "it has our mark, and this ledger never heard of it: another station's, or an older ledger's", {},
                  false);
    if (device->second) return;
    find(Difference::orphan, thing.name,
         thing.is_as_made
             ? "a thing was made, and its board was never VERIFIED"
             : "a thing has our mark and was changed since it was made, or adopted; its board was never VERIFIED",
         {{Step::delete_thing, {}, thing.name}}, thing.is_as_made && is_emptied(thing));
  }

  const LedgerView& ledger_;
  const CloudView& cloud_;
  const SurveyOptions& options_;
  std::map<std::string, const LedgerCertificate*> by_id_;
  std::map<const LedgerCertificate*, const SurveyedCertificate*> there_;
  std::map<std::string, const SurveyedThing*> things_;
  std::map<Sha256, const LostRequest*> lost_;
  std::map<Sha256, const LedgerCertificate*> twins_;     // by their key
  std::map<std::string, const LedgerRetired*> retired_;  // by AWS's id
  std::map<std::string, bool> devices_;
  std::set<std::string> under_way_;
  std::vector<Finding> findings_;
};

}  // namespace

std::string_view name_of(Difference difference) {
  switch (difference) {
    case Difference::missing:
      return "missing";
    case Difference::orphan:
      return "orphan";
    case Difference::active_but_unverified:
      return "active-but-unverified";
    case Difference::verified_but_inactive:
      return "verified-but-inactive";
    case Difference::wrong_policy:
      return "wrong-policy";
    case Difference::wrong_thing:
      return "wrong-thing";
    case Difference::foreign:
      return "foreign";
  }
  return {};
}

std::vector<Finding> compare(const LedgerView& ledger, const CloudView& cloud, const SurveyOptions& options) {
  return Comparison{ledger, cloud, options}.findings();
}

Task<Result<FixReport>> fix(Iot& iot, Clock& clock, std::vector<Finding> findings) {
  FixReport report;
  for (Finding& finding : findings) {
    if (!finding.may_fix || finding.repairs.empty()) continue;
    Result<void> done = co_await carry_out(iot, clock, std::move(finding.repairs));
    if (done) {
      ++report.fixed;
      continue;
    }
    done.error().where.board = finding.device_id;
    if (done.error().code != Code::cloud_refused) co_return fail(std::move(done.error()));
    report.failed.push_back(std::move(done.error()));
  }
  co_return report;
}

}  // namespace espmint::aws
