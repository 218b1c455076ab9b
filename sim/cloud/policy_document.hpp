// sim/cloud/policy_document.hpp: policy documents, IoT's and IAM's: what they allow.
// Source: AWS IoT Developer Guide, AWS IoT Core policies and their variables; IAM User Guide, policy elements.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace espmint::sim::iot {

struct PolicyStatement {
  bool allows = true;
  std::vector<std::string> actions;    // "iot:Connect", "iot:*"
  std::vector<std::string> resources;  // "*", "arn:aws:iot:eu-central-1:123456789012:topic/a/*"
  nlohmann::json conditions;           // {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}; null: none
};
using PolicyStatements = std::vector<PolicyStatement>;

enum class PolicyKind { iot, iam };
/// The statements, or what is malformed.
tl::expected<PolicyStatements, std::string> parse_policy_document(std::string_view text, PolicyKind);
/// Characters that count toward the limit: all but white space.
std::size_t counted_length(std::string_view document);

/// The value of a policy variable or condition key; nothing where it has none now, so that what names it matches
/// nothing.
using PolicyVariables = std::function<std::optional<std::string>(std::string_view name)>;

enum class Verdict { allowed, denied, not_said };
/// An explicit denial wins over everything, nothing said is a denial too.
Verdict judge(const PolicyStatements&, std::string_view action, std::string_view resource, const PolicyVariables&);

}  // namespace espmint::sim::iot
