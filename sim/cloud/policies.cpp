// Policies and their versions. Source: AWS IoT API Reference, CreatePolicy … DeletePolicyVersion; quotas of AWS IoT
// Core.
#include <fmt/format.h>

#include <charconv>

#include "sim/cloud/account.hpp"

namespace espmint::sim::iot {
namespace {

constexpr std::size_t longest_document = 2048, most_versions = 5;

Outcome bad_policy_name(std::string_view name) {
  return invalid_request(
      fmt::format("1 validation error detected: Value '{}' at 'policyName' failed to satisfy "
                  "constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+",
                  name));
}
Outcome no_policy(std::string_view name) { return not_found(fmt::format("Policy not found (name={})", name)); }

/// Why a document is not taken.
std::optional<Outcome> document_refusal(const std::string& document) {
  if (counted_length(document) > longest_document)
    return malformed_policy(
        fmt::format("Policy document is longer than {} characters, white space excluded", longest_document));
  auto statements = parse_policy_document(document, PolicyKind::iot);
  if (!statements) return malformed_policy(statements.error());
  return std::nullopt;
}

std::optional<unsigned> version_number(std::string_view text) {
  unsigned number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// The policy of the first label and, where there is a second one, its version.
struct NamedVersion {
  Policy* policy = nullptr;
  unsigned version = 0;
  std::optional<Outcome> refusal;
};
NamedVersion named_version(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_policy_name(name)) return {nullptr, 0, bad_policy_name(name)};
  auto at = account.policies.find(name);
  if (at == account.policies.end()) return {nullptr, 0, no_policy(name)};
  if (ask.labels.size() < 2) return {&at->second, at->second.default_version, std::nullopt};
  auto number = version_number(ask.labels[1]);
  if (!number) return {nullptr, 0, invalid_request(fmt::format("Invalid policy version id: {}", ask.labels[1]))};
  if (!at->second.versions.contains(*number))
    return {nullptr, 0, not_found(fmt::format("Policy version not found (name={}, version={})", name, *number))};
  return {&at->second, *number, std::nullopt};
}

json version_body(const Account& account, const std::string& name, const Policy& policy, unsigned number) {
  const PolicyVersion& version = policy.versions.at(number);
  return {{"policyArn", account.arn("policy", name)},
          {"policyDocument", version.document},
          {"policyVersionId", std::to_string(number)},
          {"isDefaultVersion", number == policy.default_version}};
}

}  // namespace

Outcome create_policy(Account& account, const Ask& ask) {
  const std::string& name = ask.labels[0];
  if (!is_policy_name(name)) return bad_policy_name(name);
  if (!ask.body.contains("policyDocument")) return invalid_request("policyDocument must not be null");
  std::string document = ask.text("policyDocument");
  if (auto refusal = document_refusal(document)) return *refusal;
  if (account.policies.contains(name))
    return already_exists(fmt::format("Policy cannot be created - name already exists (name={})", name), name,
                          account.arn("policy", name));
  Policy policy;
  policy.versions[1] = {document, ask.wall};
  policy.generation = account.new_uuid();
  policy.created = policy.modified = ask.wall;
  policy.order = account.next_order++;
  account.policies[name] = std::move(policy);
  return answered({{"policyName", name},
                   {"policyArn", account.arn("policy", name)},
                   {"policyDocument", document},
                   {"policyVersionId", "1"}});
}

Outcome get_policy(Account& account, const Ask& ask) {
  auto named = named_version(account, ask);
  if (named.refusal) return *named.refusal;
  return answered({{"policyName", ask.labels[0]},
                   {"policyArn", account.arn("policy", ask.labels[0])},
                   {"policyDocument", named.policy->versions.at(named.version).document},
                   {"defaultVersionId", std::to_string(named.version)},
                   {"creationDate", moment(named.policy->created)},
                   {"lastModifiedDate", moment(named.policy->modified)},
                   {"generationId", named.policy->generation}});
}

Outcome list_policies(Account& account, const Ask& ask) {
  std::map<std::string, std::string> by_order;
  for (const auto& [name, policy] : account.policies) by_order[order_key(policy.order)] = name;
  std::vector<std::string_view> keys;
  for (const auto& [key, name] : by_order) keys.push_back(key);
  auto page = page_of(keys, ask, by_marker, !ask.is_true("isAscendingOrder"));
  if (!page) return invalid_request("Invalid page size or marker");
  json body{{"policies", json::array()}};
  for (const std::string& key : page->keys)
    body["policies"].push_back({{"policyName", by_order[key]}, {"policyArn", account.arn("policy", by_order[key])}});
  if (!page->next.empty()) body["nextMarker"] = page->next;
  return answered(std::move(body));
}

Outcome delete_policy(Account& account, const Ask& ask) {
  auto named = named_version(account, ask);
  if (named.refusal) return *named.refusal;
  const std::string& name = ask.labels[0];
  if (named.policy->versions.size() > 1)
    return delete_conflict(fmt::format(
        "The policy cannot be deleted as versions other than than default version exist for the policy (name={})",
        name));
  if (!named.policy->targets.empty() || ask.now < named.policy->deletable_at)
    return delete_conflict(fmt::format(
        "The policy cannot be deleted as the policy is attached to one or more principals (name={})", name));
  account.policies.erase(name);
  return done();
}

Outcome create_policy_version(Account& account, const Ask& ask) {
  auto named = named_version(account, ask);
  if (named.refusal) return *named.refusal;
  std::string document = ask.text("policyDocument");
  if (auto refusal = document_refusal(document)) return *refusal;
  Policy& policy = *named.policy;
  if (policy.versions.size() >= most_versions)
    return {409, "VersionsLimitExceededException",
            fmt::format("The policy {} already has the maximum number of versions ({})", ask.labels[0], most_versions)};
  unsigned number = ++policy.last_version;
  policy.versions[number] = {document, ask.wall};
  policy.modified = ask.wall;
  policy.generation = account.new_uuid();
  if (ask.is_true("setAsDefault")) policy.default_version = number;
  return answered(version_body(account, ask.labels[0], policy, number));
}

Outcome get_policy_version(Account& account, const Ask& ask) {
  auto named = named_version(account, ask);
  if (named.refusal) return *named.refusal;
  json body = version_body(account, ask.labels[0], *named.policy, named.version);
  body["policyName"] = ask.labels[0];
  body["creationDate"] = moment(named.policy->versions.at(named.version).created);
  body["lastModifiedDate"] = body["creationDate"];
  body["generationId"] = named.policy->generation;
  return answered(std::move(body));
}

Outcome list_policy_versions(Account& account, const Ask& ask) {
  auto named = named_version(account, ask);
  if (named.refusal) return *named.refusal;
  json body{{"policyVersions", json::array()}};
  for (const auto& [number, version] : named.policy->versions)
    body["policyVersions"].push_back({{"versionId", std::to_string(number)},
                                      {"isDefaultVersion", number == named.policy->default_version},
                                      {"createDate", moment(version.created)}});
  return answered(std::move(body));
}

Outcome set_default_policy_version(Account& account, const Ask& ask) {
  auto named = named_version(account, ask);
  if (named.refusal) return *named.refusal;
  named.policy->default_version = named.version;
  named.policy->modified = ask.wall;
  return done();
}

Outcome delete_policy_version(Account& account, const Ask& ask) {
  auto named = named_version(account, ask);
  if (named.refusal) return *named.refusal;
  if (named.version == named.policy->default_version)
    return delete_conflict(fmt::format("Cannot delete the default version of a policy (name={}, version={})",
                                       ask.labels[0], named.version));
  named.policy->versions.erase(named.version);
  return done();
}

}  // namespace espmint::sim::iot
