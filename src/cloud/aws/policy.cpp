#include "cloud/aws/policy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/text.hpp"

namespace espmint::aws {
namespace {

using Json = nlohmann::json;

constexpr std::string_view thing_variable = "${iot:Connection.Thing.ThingName}";
constexpr std::string_view client_id_variable = "${iot:ClientId}";
constexpr std::string_view attached_condition = "iot:Connection.Thing.IsAttached";
constexpr std::string_view policy_language = "2012-10-17";  // variables are texts in the one before
constexpr std::size_t longest_prefix = 128;

using Texts = std::vector<std::string>;

Fault policy_fault(std::string what, std::string seen) {
  return {Code::cloud_refused, Remedy::refuse, std::move(what), {}, std::move(seen), {}};
}

bool is_policy_region(std::string_view region) {
  return region == "*" || (!region.empty() && std::all_of(region.begin(), region.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         }));
}

bool is_account(std::string_view account) {
  return account == "*" || (account.size() == 12 &&
                            std::all_of(account.begin(), account.end(), [](char c) { return c >= '0' && c <= '9'; }));
}

/// No wildcard, variable or reserved topic may come in through it.
bool is_topic_prefix(std::string_view prefix) {
  if (prefix.empty() || prefix.size() > longest_prefix) return false;
  const auto levels = split(prefix, '/');
  return std::all_of(levels.begin(), levels.end(), [](std::string_view level) {
    return !level.empty() && std::all_of(level.begin(), level.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
             c == '.';
    });
  });
}

std::string partition_of(const PolicyScope& scope) {
  if (!scope.partition.empty()) return scope.partition;
  if (scope.region.starts_with("cn-")) return "aws-cn";
  return scope.region.starts_with("us-gov-") ? "aws-us-gov" : "aws";
}

/// Characters as AWS counts them: not white space, and one for each code point.
std::size_t length_of_policy(std::string_view document) {
  return static_cast<std::size_t>(std::count_if(document.begin(), document.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > ' ' && (byte & 0xC0U) != 0x80U;
  }));
}

/// What nests deeper is no policy, and is not copied or compared: both go down as deep.
bool is_nested_too_deep(std::string_view document) {
  constexpr int deepest = 16;
  int depth = 0;
  for (const char c : document) {
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > deepest) return true;
  }
  return false;
}

/// The document; discarded where it is no JSON. `twice`: some object has a name twice, of which readers take either.
Json parse_policy(std::string_view document, bool& twice) {
  std::vector<std::set<std::string>> names;
  auto watch = [&names, &twice](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key && !names.back().insert(parsed.get<std::string>()).second) twice = true;
    return true;
  };
  return Json::parse(document.begin(), document.end(), watch, false);
}

/// A text, or a list of texts; nothing where it is neither.
std::optional<Texts> texts_of(const Json& statement, const char* name) {
  auto value = statement.find(name);
  if (value == statement.end()) return Texts{};
  if (value->is_string()) return Texts{value->get<std::string>()};
  if (!value->is_array()) return std::nullopt;
  Texts texts;
  for (const Json& text : *value) {
    if (!text.is_string()) return std::nullopt;
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

/// `*` and `?` in the pattern; what is left of the text where a `*` was taken too short is tried again.
bool matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool is_all_wildcard(std::string_view text) {
  return text.find_first_of("*?+#") != std::string_view::npos &&
         text.find_first_not_of("*?+#/") == std::string_view::npos;
}

/// What an ARN of AWS IoT is of: "client/x" of "arn:aws:iot:r:a:client/x"; "*" of "*". Nothing: no such ARN.
std::optional<std::string> resource_of(std::string_view arn) {
  if (is_all_wildcard(arn)) return "*";
  std::size_t colon = 0;
  for (int i = 0; i < 5; ++i) {
    colon = arn.find(':', i == 0 ? 0 : colon + 1);
    if (colon == std::string_view::npos) break;
  }
  // A wildcard swallows colons, too.
  if (colon == std::string_view::npos)
    return arn.find('*') != std::string_view::npos ? std::optional{"*"} : std::nullopt;
  if (!arn.starts_with("arn:") && arn.find('*') > colon) return std::nullopt;
  return std::string{arn.substr(colon + 1)};
}

struct Statement {
  std::string name;  // "statement 2"
  Texts actions;     // lower case
  Texts resources;   // as resource_of has them
  bool only_attached = false;

  [[nodiscard]] bool allows(std::string_view action) const {
    return std::any_of(actions.begin(), actions.end(), [action](const auto& a) { return matches(a, action); });
  }
  [[nodiscard]] bool any_resource(bool (*is)(std::string_view)) const {
    return std::any_of(resources.begin(), resources.end(), is);
  }
};

/// Condition {"Bool": {"iot:Connection.Thing.IsAttached": ["true"]}}, and nothing that "false" would fulfil.
bool demands_attachment(const Json& statement) {
  auto condition = statement.find("Condition");
  if (condition == statement.end() || !condition->is_object()) return false;
  for (const auto& [test, about] : condition->items()) {
    if (lower(test) != "bool" || !about.is_object()) continue;
    for (const auto& [key, wanted] : about.items()) {
      if (lower(key) != lower(attached_condition)) continue;
      const Json one = wanted.is_array() && wanted.size() == 1 ? wanted[0] : wanted;
      if (one == Json(true) || one == Json("true")) return true;
    }
  }
  return false;
}

bool is_everything(std::string_view resource) { return is_all_wildcard(resource); }
bool is_any_client(std::string_view resource) {
  return is_all_wildcard(resource) || (resource.starts_with("client/") && is_all_wildcard(resource.substr(7)));
}
bool is_any_topic(std::string_view resource) {
  for (const std::string_view kind : {"topic/", "topicfilter/"})
    if (resource.starts_with(kind) && is_all_wildcard(resource.substr(kind.size()))) return true;
  // "topic*": of either kind.
  return is_all_wildcard(resource) || (resource.starts_with("topic") && resource.find('/') == std::string_view::npos);
}
/// A reserved topic with a wildcard where the thing's name stands.
bool is_any_shadow(std::string_view resource) {
  const std::size_t at = resource.find("$aws/things/");
  if (at == std::string_view::npos) return false;
  const std::string_view name = resource.substr(at + 12, resource.substr(at + 12).find('/'));
  return name.find_first_of("*?+#") != std::string_view::npos;
}
bool has_client_id(std::string_view resource) {
  return lower(resource).find(lower(client_id_variable)) != std::string::npos;
}
/// A client id that the certificate or the thing decides. Unattached, ${iot:Connection.Thing…} is nothing at all.
bool is_bound_client(std::string_view resource) {
  return resource.find("${iot:Connection.Thing.") != std::string_view::npos ||
         resource.find("${iot:Certificate.") != std::string_view::npos ||
         (resource.find('*') == std::string_view::npos && resource.find("${") == std::string_view::npos);
}

class PolicyLinter {
 public:
  std::vector<PolicyFinding> lint(std::string_view document) {
    read_document(document);
    for (const Statement& statement : allowed_) judge(statement);
    std::stable_partition(findings_.begin(), findings_.end(),
                          [](const PolicyFinding& f) { return f.level == PolicyFinding::Level::refused; });
    return std::move(findings_);
  }

 private:
  void refuse(std::string what) { findings_.push_back({PolicyFinding::Level::refused, std::move(what)}); }
  void note(std::string what) { findings_.push_back({PolicyFinding::Level::noted, std::move(what)}); }

  void read_document(std::string_view document) {
    const std::size_t length = length_of_policy(document);
    if (length > longest_policy)
      refuse(fmt::format("{} characters without white space; AWS takes {}", length, longest_policy));
    if (is_nested_too_deep(document)) return refuse("nested deeper than any policy");
    if (document.size() > 64 * longest_policy) return refuse("longer than anyone writes");
    bool twice = false;
    const Json policy = parse_policy(document, twice);
    if (!policy.is_object()) return refuse("no JSON object");
    if (twice) refuse("a name stands twice in one object");
    read_language(policy, document);
    auto statements = policy.find("Statement");
    if (statements == policy.end() || (!statements->is_array() && !statements->is_object()) || statements->empty())
      return refuse("no statement");
    const Json list = statements->is_array() ? *statements : Json::array({*statements});
    for (std::size_t i = 0; i < list.size(); ++i) read(list[i], fmt::format("statement {}", i + 1));
  }

  void read_language(const Json& policy, std::string_view document) {
    auto version = policy.find("Version");
    if (version != policy.end() && *version == Json(policy_language)) return;
    const std::string what = fmt::format("Version is not \"{}\"", policy_language);
    if (document.find("${") != std::string_view::npos)
      refuse(what + ": variables mean nothing in it");
    else
      note(what);
  }

  void read(const Json& statement, const std::string& name) {
    if (!statement.is_object()) return refuse(name + ": no object");
    auto effect = statement.find("Effect");
    if (effect != statement.end() && *effect == Json("Deny")) return;  // takes away only
    if (effect == statement.end() || *effect != Json("Allow")) return refuse(name + ": neither Allow nor Deny");
    if (statement.contains("NotAction")) refuse(name + ": allows with NotAction, so everything that AWS adds, too");
    if (statement.contains("NotResource")) refuse(name + ": allows with NotResource, so everything that is not named");
    auto actions = texts_of(statement, "Action");
    auto resources = texts_of(statement, "Resource");
    if (!actions || !resources) return refuse(name + ": Action and Resource are a text or a list of texts");
    if (actions->empty() && !statement.contains("NotAction")) refuse(name + ": no Action");
    if (resources->empty() && !statement.contains("NotResource")) refuse(name + ": no Resource");
    Statement one{name, {}, {}, demands_attachment(statement)};
    for (const std::string& action : *actions) one.actions.push_back(lower(action));
    for (const std::string& arn : *resources) {
      if (auto resource = resource_of(arn))
        one.resources.push_back(std::move(*resource));
      else
        refuse(fmt::format("{}: {} is no ARN", name, escape_controls(arn.substr(0, 100))));
    }
    allowed_.push_back(std::move(one));
  }

  /// Whether every way to connect leaves no choice of client id.
  [[nodiscard]] bool connects_bound() const {
    return std::all_of(allowed_.begin(), allowed_.end(), [](const Statement& s) {
      return !s.allows("iot:connect") || s.only_attached ||
             std::all_of(s.resources.begin(), s.resources.end(), is_bound_client);
    });
  }

  void judge(const Statement& s) {
    const bool any_action = std::any_of(s.actions.begin(), s.actions.end(),
                                        [](const auto& a) { return a == "iot:*" || is_all_wildcard(a); });
    if (any_action && s.any_resource(is_everything)) return refuse(s.name + ": every action on every resource");
    if (any_action) note(s.name + ": every action");
    if (s.allows("iot:connect") && !s.only_attached && s.any_resource(is_any_client))
      refuse(s.name + ": connects with any client id, so a board can be any other");
    const bool moves = s.allows("iot:publish") || s.allows("iot:subscribe") || s.allows("iot:receive") ||
                       s.allows("iot:retainpublish");
    if (moves && s.any_resource(is_any_topic))
      refuse(s.name + ": has every topic, so those of other boards, too");
    else if (moves && s.any_resource(is_any_shadow))
      refuse(s.name + ": has the shadows of other boards, too");
    if (s.any_resource(has_client_id) && !s.only_attached && !connects_bound())
      refuse(
          fmt::format("{}: {} alone is what the client says of itself, and may be \"+\"", s.name, client_id_variable));
  }

  std::vector<Statement> allowed_;
  std::vector<PolicyFinding> findings_;
};

}  // namespace

Result<std::string> build_policy(const PolicyScope& scope) {
  if (!is_topic_prefix(scope.topic_prefix))
    return fail(policy_fault("this is no prefix for topics",
                             fmt::format("\"{}\"", escape_controls(scope.topic_prefix.substr(0, longest_prefix)))));
  const std::string partition = partition_of(scope);
  if (!is_policy_region(scope.region) || !is_account(scope.account) || !is_policy_region(partition))
    return fail(policy_fault("this is no region, account or partition",
                             escape_controls(fmt::format("{} {} {}", partition, scope.region, scope.account))));
  auto arn = [&](std::string_view kind, std::string_view rest) {
    return fmt::format("arn:{}:iot:{}:{}:{}/{}", partition, scope.region, scope.account, kind, rest);
  };
  const std::string own_topics = fmt::format("{}/{}/*", scope.topic_prefix, thing_variable);
  const std::string own_shadow = fmt::format("$aws/things/{}/shadow/*", thing_variable);
  const Json connect{{"Effect", "Allow"},
                     {"Action", "iot:Connect"},
                     {"Resource", arn("client", thing_variable)},
                     {"Condition", {{"Bool", {{attached_condition, Json::array({"true"})}}}}}};
  const Json move{{"Effect", "Allow"},
                  {"Action", Json::array({"iot:Publish", "iot:Receive"})},
                  {"Resource", Json::array({arn("topic", own_topics), arn("topic", own_shadow)})}};
  const Json subscribe{{"Effect", "Allow"},
                       {"Action", "iot:Subscribe"},
                       {"Resource", Json::array({arn("topicfilter", own_topics), arn("topicfilter", own_shadow)})}};
  std::string document =
      Json{{"Version", policy_language}, {"Statement", Json::array({connect, move, subscribe})}}.dump();
  if (length_of_policy(document) > longest_policy)
    return fail(policy_fault("the policy would be too long", fmt::format("{} characters", document.size())));
  return document;
}

std::vector<PolicyFinding> lint_policy(std::string_view document) { return PolicyLinter{}.lint(document); }

Result<void> check_policy(std::string_view name, std::string_view document) {
  for (PolicyFinding& finding : lint_policy(document)) {
    if (finding.level != PolicyFinding::Level::refused) continue;
    Fault fault =
        policy_fault(fmt::format("the policy {} is not safe to give to boards", name), std::move(finding.what));
    fault.advice = "Let `espmint cloud setup` make one, or mend it; --i-know takes it as it is";
    return fail(std::move(fault));
  }
  return ok();
}

bool is_same_policy(std::string_view a, std::string_view b) {
  if (is_nested_too_deep(a) || is_nested_too_deep(b)) return a == b;
  const Json one = Json::parse(a.begin(), a.end(), nullptr, false);
  const Json other = Json::parse(b.begin(), b.end(), nullptr, false);
  return one.is_discarded() || other.is_discarded() ? a == b : one == other;
}

}  // namespace espmint::aws
