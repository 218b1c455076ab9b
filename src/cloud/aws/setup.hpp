// cloud/aws/setup.hpp: what every board of a product shares in the account: the policy, the thing type and
// static groups. Needs the admin's credentials, and is told once; again changes nothing.
#pragma once

#include <string>
#include <vector>

#include "cloud/aws/iot.hpp"

namespace espmint::aws {

struct SetupRequest {
  std::string policy_name;
  std::string policy_document;  // JSON
  bool any_policy = false;      // what the linter refuses is taken
  std::string thing_type;       // empty: none
  std::vector<std::string> groups{};
  bool dry_run = false;  // reads only
};

/// Versions of a policy that AWS keeps.
inline constexpr std::size_t most_policy_versions = 5;

/// The calls that changed something, or with `dry_run` would: "CreatePolicy policyName=lamp". Empty: all was as asked.
/// A policy that says something else gets a new default version; where there are five, the oldest that is not the
/// default goes first. Faults: the client's; cloud_refused (refuse) for names, for a policy that is not safe, for a
/// thing type that is deprecated.
Task<Result<std::vector<std::string>>> set_up(Iot& iot, SetupRequest request);

}  // namespace espmint::aws
