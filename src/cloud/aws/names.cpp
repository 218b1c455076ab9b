#include "cloud/aws/names.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"

namespace espmint::aws {
namespace {

constexpr std::size_t longest_name = 128;
constexpr std::size_t longest_value = 800;
constexpr std::size_t certificate_id_digits = 64;
constexpr std::size_t account_digits = 12;
constexpr std::size_t attributes_without_type = 3, attributes_with_type = 50;

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

/// One to `longest` characters, each a letter, a digit or one of `marks`.
bool is_made_of(std::string_view text, std::string_view marks, std::size_t longest) {
  return !text.empty() && text.size() <= longest && std::all_of(text.begin(), text.end(), [marks](char c) {
    return is_letter_or_digit(c) || marks.find(c) != std::string_view::npos;
  });
}

bool is_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

constexpr std::string_view attribute_marks = "_.,@/:#-";

Result<void> name_refused(std::string_view role, std::string_view name, std::string_view may_be) {
  Fault fault{Code::cloud_refused, Remedy::refuse, fmt::format("AWS IoT does not allow this name for a {}", role)};
  std::string shown{name.substr(0, longest_name + 1)};
  fault.seen = fmt::format("\"{}\"{}", escape_controls(shown), name.size() > longest_name ? ", cut" : "");
  fault.advice = fmt::format("A {} is {}; nothing was sent", role, may_be);
  return fail(std::move(fault));
}

}  // namespace

bool is_thing_name(std::string_view name) { return is_made_of(name, ":_-", longest_name); }
bool is_policy_name(std::string_view name) { return is_made_of(name, "_+=,.@-", longest_name); }

bool is_certificate_id(std::string_view id) {
  return id.size() == certificate_id_digits && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
         });
}

bool is_certificate_arn(std::string_view arn) {
  constexpr std::string_view kind = "cert/";
  const auto parts = split(arn.substr(0, 256), ':');
  if (arn.size() > 256 || parts.size() != 6) return false;
  return parts[0] == "arn" && parts[1].starts_with("aws") && is_made_of(parts[1], "-", 32) && parts[2] == "iot" &&
         is_made_of(parts[3], "-", 32) && parts[4].size() == account_digits && is_digits(parts[4]) &&
         parts[5].starts_with(kind) && is_certificate_id(std::string_view{parts[5]}.substr(kind.size()));
}

std::string certificate_id_of(std::string_view arn) { return std::string{arn.substr(arn.rfind('/') + 1)}; }

Result<void> check_thing_name(std::string_view name, std::string_view role) {
  if (is_thing_name(name)) return ok();
  return name_refused(role, name, "1 to 128 letters, digits, ':', '_' and '-'");
}

Result<void> check_policy_name(std::string_view name) {
  if (is_policy_name(name)) return ok();
  return name_refused("policy", name, "1 to 128 letters, digits and '_+=,.@-'");
}

Result<void> check_attributes(const Attributes& attributes, bool has_type) {
  for (const auto& [name, value] : attributes) {
    if (!is_made_of(name, attribute_marks, longest_name))
      return name_refused("attribute", name, "1 to 128 letters, digits and '_.,@/:#-'");
    if (!is_made_of(value, attribute_marks, longest_value))
      return name_refused(fmt::format("value of attribute {}", name), value, "1 to 800 letters, digits and '_.,@/:#-'");
  }
  const std::size_t most = has_type ? attributes_with_type : attributes_without_type;
  if (attributes.size() <= most) return ok();
  Fault fault{Code::cloud_refused, Remedy::refuse, "the thing would have more attributes than AWS IoT allows"};
  fault.seen = fmt::format("{} with \"{}\", at most {}", attributes.size(), mark_attribute, most);
  fault.advice = has_type ? "Take some out" : "Take some out, or give it a thing type: then 50 are allowed";
  return fail(std::move(fault));
}

std::string mark_of(std::string_view product) {
  std::string mark{product.substr(0, longest_name)};
  for (char& c : mark)
    if (!is_letter_or_digit(c) && attribute_marks.find(c) == std::string_view::npos) c = '-';
  return mark;
}

}  // namespace espmint::aws
