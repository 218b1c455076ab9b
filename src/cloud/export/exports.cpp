#include "cloud/export/exports.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"

namespace espmint::exports {
namespace {

bool is_made_of(std::string_view text, std::string_view marks, std::size_t longest) {
  return !text.empty() && text.size() <= longest && std::all_of(text.begin(), text.end(), [marks](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           marks.find(c) != std::string_view::npos;
  });
}

Result<void> wrong(std::string what, std::string_view seen, std::string may_be) {
  Fault fault{Code::usage, Remedy::refuse, std::move(what)};
  fault.seen = "\"" + escape_controls(seen.substr(0, 200)) + "\"";
  fault.advice = std::move(may_be);
  return fail(std::move(fault));
}

/// A topic prefix: levels of plain characters; a wildcard would open other boards' topics.
bool is_topic_prefix(std::string_view text) {
  auto levels = split(text, '/');
  return text.size() <= 128 && std::all_of(levels.begin(), levels.end(),
                                           [](std::string_view level) { return is_made_of(level, "_.:-", 64); });
}

bool is_listen(std::string_view text) {
  std::size_t colon = text.rfind(':');
  std::string_view port = colon == std::string_view::npos ? text : text.substr(colon + 1);
  bool is_number =
      is_made_of(port, "", 5) && std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  auto number = is_number ? parse_number(port) : std::nullopt;
  return number && *number > 0 && *number < 65536 &&
         (colon == std::string_view::npos || is_made_of(text.substr(0, colon), ".:-[]", 100));
}

}  // namespace

const std::vector<ExportKind>& all_exports() {
  static const std::vector<ExportKind> kinds{
      {"bulk", false, build_bulk},           {"jitp", false, build_jitp},
      {"azure-dps", false, build_azure_dps}, {"thingsboard", false, build_thingsboard},
      {"mosquitto", true, build_mosquitto},  {"emqx", true, build_emqx},
  };
  return kinds;
}

// Source of the names: AWS IoT API Reference (patterns of thingTypeName, policyName, attributeName, attributeValue).
Result<void> check_input(const ExportInput& input) {
  const std::string name_form = "It is 1 to 128 of a-z A-Z 0-9 : _ -";
  if (!input.thing_type.empty() && !is_made_of(input.thing_type, ":_-", 128))
    return wrong("--thing-type is no name of a thing type", input.thing_type, name_form);
  if (!is_made_of(input.policy_name, "_+=,.@-", 128))
    return wrong("--policy is no name of a policy", input.policy_name, "It is 1 to 128 of a-z A-Z 0-9 _ + = , . @ -");
  for (const auto& [name, value] : input.attributes)
    if (!is_made_of(name, "_.,@/:#-", 128) || !is_made_of(value, "_.,@/:#-", 800))
      return wrong("--attribute is none that AWS IoT takes", name + "=" + value,
                   "NAME=VALUE of a-z A-Z 0-9 _ . , @ / : # -, without spaces");
  // One more is our mark.
  if (input.attributes.size() > (input.thing_type.empty() ? 2U : 49U))
    return wrong("these are more attributes than a thing may have", std::to_string(input.attributes.size()),
                 "2 without --thing-type, 49 with it");
  for (const std::string& group : input.groups)
    if (!is_made_of(group, ":_-", 128)) return wrong("--group is no name of a thing group", group, name_form);
  if (!input.role_arn.empty() && !(input.role_arn.starts_with("arn:") && is_made_of(input.role_arn, ":/_+=,.@-", 200)))
    return wrong("--role-arn is no ARN", input.role_arn, "arn:aws:iam::123456789012:role/NAME");
  if (!is_topic_prefix(input.topic_prefix))
    return wrong("--prefix is no beginning of a topic", input.topic_prefix,
                 "Levels of a-z A-Z 0-9 _ . : - with / between them");
  if (!is_listen(input.listen)) return wrong("--listen is no port", input.listen, "8883 or 10.0.0.5:8883");
  for (const ExportDevice& device : input.devices)  // what this line makes always passes
    if (!is_made_of(device.id, ":_-", 128))
      return wrong("a device's id has no place in these files", device.id, name_form);
  return ok();
}

}  // namespace espmint::exports
