#include "sim/cloud/policy_document.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"

namespace espmint::sim::iot {
namespace {

using nlohmann::json;

/// One text or a list of texts.
std::optional<std::vector<std::string>> texts_in(const json& value) {
  std::vector<std::string> out;
  if (value.is_string()) return std::vector{value.get<std::string>()};
  if (!value.is_array() || value.empty()) return std::nullopt;
  for (const json& one : value) {
    if (!one.is_string()) return std::nullopt;
    out.push_back(one);
  }
  return out;
}

/// A pattern in which what came from a variable means only itself.
struct PatternCharacter {
  char c;
  bool may_be_wild;
};

/// Nothing where a variable has no value.
std::optional<std::vector<PatternCharacter>> with_values(std::string_view text, const PolicyVariables& variables) {
  std::vector<PatternCharacter> out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto end = text.substr(i).starts_with("${") ? text.find('}', i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      out.push_back({text[i], true});
      continue;
    }
    std::string_view name = text.substr(i + 2, end - i - 2);
    std::optional<std::string> value;
    if (name == "*" || name == "?" || name == "$")
      value = std::string{name};
    else
      value = variables(name);
    if (!value) return std::nullopt;
    for (char c : *value) out.push_back({c, false});
    i = end;
  }
  return out;
}

bool is_match(const std::vector<PatternCharacter>& pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string::npos, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p].may_be_wild && pattern[p].c == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && (pattern[p].c == text[t] || (pattern[p].may_be_wild && pattern[p].c == '?'))) {
      ++p;
      ++t;
    } else if (star != std::string::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p].may_be_wild && pattern[p].c == '*') ++p;
  return p == pattern.size();
}

bool is_match(std::string_view pattern, std::string_view text, const PolicyVariables& variables) {
  auto ready = with_values(pattern, variables);
  return ready && is_match(*ready, text);
}

/// Whether one value of a condition agrees with what the request has; an operator that this does not know never does.
bool agrees(std::string_view operation, const std::string& value, const std::string& actual,
            const PolicyVariables& variables) {
  if (operation == "Bool" || operation == "StringEqualsIgnoreCase") return lower(actual) == lower(value);
  if (operation == "StringLike") return is_match(value, actual, variables);
  auto ready = with_values(value, variables);
  if (!ready) return false;
  std::string text;
  for (PatternCharacter one : *ready) text.push_back(one.c);
  return operation == "StringEquals" && text == actual;
}

/// Whether one of the values agrees; what the request does not have agrees with none.
bool one_agrees(std::string_view operation, const json& wanted, const std::optional<std::string>& actual,
                const PolicyVariables& variables) {
  if (!actual) return false;
  for (const json& one : wanted.is_array() ? wanted : json::array({wanted}))
    if (agrees(operation, one.is_string() ? one.get<std::string>() : one.dump(), *actual, variables)) return true;
  return false;
}

/// Whether all conditions hold.
bool all_hold(const json& conditions, const PolicyVariables& variables) {
  if (conditions.is_null()) return true;
  for (const auto& [operation, keys] : conditions.items()) {
    if (!keys.is_object()) return false;
    for (const auto& [key, wanted] : keys.items())
      if (!one_agrees(operation, wanted, variables(key), variables)) return false;
  }
  return true;
}

}  // namespace

tl::expected<PolicyStatements, std::string> parse_policy_document(std::string_view text, PolicyKind kind) {
  auto malformed = [](std::string what) { return tl::unexpected("Policy document is Malformed: " + std::move(what)); };
  json document = json::parse(text, nullptr, false);
  if (document.is_discarded() || !document.is_object()) return malformed("it is no JSON object");
  for (const auto& [key, value] : document.items())
    if (key != "Version" && key != "Statement" && key != "Id") return malformed(fmt::format("unknown field {}", key));
  if (document.contains("Version") && document["Version"] != "2012-10-17" && document["Version"] != "2008-10-17")
    return malformed("the policy language version is invalid");
  if (!document.contains("Statement")) return malformed("Statement is missing");
  json statements = document["Statement"];
  if (statements.is_object()) statements = json::array({statements});
  if (!statements.is_array() || statements.empty()) return malformed("Statement is empty");
  PolicyStatements out;
  for (const json& statement : statements) {
    if (!statement.is_object()) return malformed("a statement is no object");
    for (const auto& [key, value] : statement.items())
      if (key != "Sid" && key != "Effect" && key != "Action" && key != "Resource" && key != "Condition")
        return malformed(fmt::format("unknown field {}", key));
    PolicyStatement one;
    if (!statement.contains("Effect") || (statement["Effect"] != "Allow" && statement["Effect"] != "Deny"))
      return malformed("Effect is neither Allow nor Deny");
    one.allows = statement["Effect"] == "Allow";
    auto actions = texts_in(statement.value("Action", json()));
    if (!actions) return malformed("Action is missing");
    auto resources = texts_in(statement.value("Resource", json()));
    if (!resources) return malformed("Resource is missing");
    for (const std::string& action : *actions)
      if (action != "*" && (action.find(':') == std::string::npos || action.ends_with(':')))
        return malformed(fmt::format("The following actions are invalid : \"{}\"", action));
    for (const std::string& resource : *resources)
      if (resource != "*" && (!resource.starts_with("arn:") || split(resource, ':').size() < 6))
        return malformed(fmt::format("The following resources are invalid : \"{}\"", resource));
    one.actions = std::move(*actions);
    one.resources = std::move(*resources);
    one.conditions = statement.value("Condition", json());
    if (!one.conditions.is_null() && !one.conditions.is_object()) return malformed("Condition is no object");
    out.push_back(std::move(one));
  }
  if (kind == PolicyKind::iot && !document.contains("Version")) return malformed("Version is missing");
  return out;
}

std::size_t counted_length(std::string_view document) {
  return static_cast<std::size_t>(std::count_if(
      document.begin(), document.end(), [](char c) { return c != ' ' && c != '\n' && c != '\r' && c != '\t'; }));
}

Verdict judge(const PolicyStatements& statements, std::string_view action, std::string_view resource,
              const PolicyVariables& variables) {
  const PolicyVariables none = [](std::string_view) { return std::nullopt; };
  Verdict verdict = Verdict::not_said;
  for (const PolicyStatement& statement : statements) {
    // Actions are compared without their case, resources with it.
    bool names_it = std::any_of(statement.actions.begin(), statement.actions.end(), [&](const std::string& pattern) {
      return is_match(lower(pattern), lower(action), none);
    });
    names_it =
        names_it && std::any_of(statement.resources.begin(), statement.resources.end(),
                                [&](const std::string& pattern) { return is_match(pattern, resource, variables); });
    if (!names_it || !all_hold(statement.conditions, variables)) continue;
    if (!statement.allows) return Verdict::denied;
    verdict = Verdict::allowed;
  }
  return verdict;
}

}  // namespace espmint::sim::iot
