// cloud/aws/policy.hpp: what boards may do once they are connected: the policy we generate, and what is wrong with
// others. Source: AWS IoT Core Developer Guide, "Thing policy variables", "AWS IoT Core policy actions", "Security best
// practices".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace espmint::aws {

/// Where a generated policy holds. "*" is any region, or any account: the policy is attached within one anyway.
struct PolicyScope {
  std::string topic_prefix;    // boards have <topic_prefix>/<thing name>/…; levels of letters, digits, `_`, `-`, `.`
  std::string region = "*";    // "cn-north-1" and its like take the partition aws-cn, "us-gov-…" aws-us-gov
  std::string account = "*";   // 12 digits
  std::string partition = {};  // empty: the region's
};

/// A thing connects only as itself while the certificate is attached to it, and has its own topics and its own shadow.
/// Compact JSON. Fault cloud_refused: a scope that cannot be, or a document that would be too long.
Result<std::string> build_policy(const PolicyScope&);

struct PolicyFinding {
  enum class Level { refused, noted };
  Level level = Level::refused;
  std::string what;  // "statement 2: every action on every resource"
};

/// What AWS counts: without white space.
inline constexpr std::size_t longest_policy = 2048;

/// What is wrong with a document, worst first; empty: nothing. Any bytes.
std::vector<PolicyFinding> lint_policy(std::string_view document);
/// The first finding that is `refused`, as a fault cloud_refused about the policy called `name`.
Result<void> check_policy(std::string_view name, std::string_view document);
/// Whether two documents say the same, however they are written. Documents that are no JSON are compared as texts.
bool is_same_policy(std::string_view a, std::string_view b);

}  // namespace espmint::aws
