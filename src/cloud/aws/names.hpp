// cloud/aws/names.hpp: what AWS IoT lets a name, an attribute or an ARN be, asked before it is called.
// Source: AWS IoT API Reference (patterns of thingName, policyName, attributeName, attributeValue, certificateId).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace espmint::aws {

using Attributes = std::map<std::string, std::string>;

/// The attribute by which a thing is known as ours; its value is the product.
inline constexpr std::string_view mark_attribute = "espmint";

/// Things, thing types and thing groups share one pattern: 1 to 128 of letters, digits, `:`, `_`, `-`.
bool is_thing_name(std::string_view);
/// 1 to 128 of letters, digits, `_+=,.@-`.
bool is_policy_name(std::string_view);
/// 64 hex digits.
bool is_certificate_id(std::string_view);
/// arn:PARTITION:iot:REGION:ACCOUNT:cert/ID
bool is_certificate_arn(std::string_view);
/// The ID of a certificate's ARN that `is_certificate_arn` accepts.
std::string certificate_id_of(std::string_view arn);

/// Faults of the following: cloud_refused (refuse). `role` is what the name is for: "thing type".
Result<void> check_thing_name(std::string_view name, std::string_view role);
Result<void> check_policy_name(std::string_view name);
/// 1 to 128 and 1 to 800 of letters, digits, `_.,@/:#-`; at most 3 where the thing has no type, 50 where it has. An
/// empty value would delete the attribute.
Result<void> check_attributes(const Attributes&, bool has_type);
/// `product` with every character that an attribute must not have as `-`, at most 128.
std::string mark_of(std::string_view product);

}  // namespace espmint::aws
