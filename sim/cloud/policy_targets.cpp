// What policies are attached to. Source: AWS IoT API Reference, AttachPolicy … ListPolicyPrincipals; 10 policies a
// target.
#include <fmt/format.h>

#include "sim/cloud/account.hpp"

namespace espmint::sim::iot {
namespace {

constexpr std::size_t most_policies = 10;

/// What an ARN names: its set of policies, or why there is none.
struct Target {
  std::set<std::string>* policies = nullptr;
  std::optional<Outcome> refusal;
};
Target target_of(Account& account, const std::string& arn) {
  if (auto id = account.certificate_in(arn)) {
    auto at = account.certificates.find(*id);
    if (at == account.certificates.end()) return {nullptr, not_found(fmt::format("Invalid target: {}", arn))};
    return {&at->second.policies, std::nullopt};
  }
  std::string group_start = account.arn("thinggroup", "");
  if (arn.starts_with(group_start)) {
    auto at = account.groups.find(arn.substr(group_start.size()));
    if (at == account.groups.end()) return {nullptr, not_found(fmt::format("Invalid target: {}", arn))};
    return {&at->second.policies, std::nullopt};
  }
  return {nullptr, invalid_request(fmt::format("Invalid target: {}", arn))};
}

Outcome attach_to(Account& account, const std::string& name, const std::string& arn) {
  if (!is_policy_name(name)) return invalid_request(fmt::format("Invalid policy name: {}", name));
  auto at = account.policies.find(name);
  if (at == account.policies.end()) return not_found(fmt::format("Policy not found (name={})", name));
  Target target = target_of(account, arn);
  if (target.refusal) return *target.refusal;
  if (!target.policies->contains(name) && target.policies->size() >= most_policies)
    return limit_exceeded(fmt::format("The maximum number of policies for the target has been exceeded: {}", arn));
  target.policies->insert(name);
  at->second.targets.insert(arn);
  return done();
}

/// Of what is not attached: nothing to do. Only the deprecated operation says that the policy is not there.
Outcome detach_from(Account& account, const Ask& ask, const std::string& arn) {
  const std::string& name = ask.labels[0];
  if (!is_policy_name(name)) return invalid_request(fmt::format("Invalid policy name: {}", name));
  Target target = target_of(account, arn);
  if (target.refusal) return target.refusal->status == 404 ? done() : *target.refusal;
  auto at = account.policies.find(name);
  if (at == account.policies.end() || !target.policies->contains(name)) return done();
  target.policies->erase(name);
  at->second.targets.erase(arn);
  at->second.deletable_at = ask.now + account.delays.policy_release;
  return done();
}

Outcome policies_page(Account& account, const Ask& ask, const std::set<std::string>& names) {
  auto page = page_of({names.begin(), names.end()}, ask, by_marker);
  if (!page) return invalid_request("Invalid page size or marker");
  json body{{"policies", json::array()}};
  for (const std::string& name : page->keys)
    body["policies"].push_back({{"policyName", name}, {"policyArn", account.arn("policy", name)}});
  if (!page->next.empty()) body["nextMarker"] = page->next;
  return answered(std::move(body));
}

Outcome targets_page(Account& account, const Ask& ask, const std::string& name, std::string_view member) {
  auto at = account.policies.find(name);
  if (at == account.policies.end()) return not_found(fmt::format("Policy not found (name={})", name));
  const std::set<std::string>& targets = at->second.targets;
  auto page = page_of({targets.begin(), targets.end()}, ask, by_marker);
  if (!page) return invalid_request("Invalid page size or marker");
  json body{{std::string{member}, page->keys}};
  if (!page->next.empty()) body["nextMarker"] = page->next;
  return answered(std::move(body));
}

}  // namespace

Outcome attach_policy(Account& account, const Ask& ask) {
  return attach_to(account, ask.labels[0], ask.text("target"));
}

Outcome detach_policy(Account& account, const Ask& ask) { return detach_from(account, ask, ask.text("target")); }

Outcome list_attached_policies(Account& account, const Ask& ask) {
  Target target = target_of(account, ask.labels[0]);
  if (target.refusal) return *target.refusal;
  return policies_page(account, ask, *target.policies);
}

Outcome list_targets_for_policy(Account& account, const Ask& ask) {
  return targets_page(account, ask, ask.labels[0], "targets");
}

Outcome attach_principal_policy(Account& account, const Ask& ask) {
  return attach_to(account, ask.labels[0], ask.header("x-amzn-iot-principal"));
}

Outcome detach_principal_policy(Account& account, const Ask& ask) {
  if (!account.policies.contains(ask.labels[0]))
    return not_found(fmt::format("Policy not found (name={})", ask.labels[0]));
  return detach_from(account, ask, ask.header("x-amzn-iot-principal"));
}

Outcome list_principal_policies(Account& account, const Ask& ask) {
  Target target = target_of(account, ask.header("x-amzn-iot-principal"));
  if (target.refusal) return *target.refusal;
  return policies_page(account, ask, *target.policies);
}

Outcome list_policy_principals(Account& account, const Ask& ask) {
  return targets_page(account, ask, ask.header("x-amzn-iot-policy"), "principals");
}

}  // namespace espmint::sim::iot
