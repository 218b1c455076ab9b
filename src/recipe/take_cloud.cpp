// What [cloud.aws] of a recipe says. Every key: docs/formats/recipe.md. Names that AWS would refuse are refused here,
// as AWS would (exit 5), but before any call and before a board is there. Sources: AWS IoT API Reference, CreateThing,
// CreateThingType, CreateThingGroup, CreatePolicy, AttributePayload; AWS IoT Core quotas.
#include <array>

#include "recipe/section.hpp"

namespace espmint {
namespace {

/// Characters and lengths that AWS takes; letters and digits go everywhere.
struct AwsName {
  std::string_view what, beside;
  std::size_t longest;
};
constexpr AwsName thing_type_name{"name of a thing type", ":_-", 128}, group_name{"name of a thing group", ":_-", 128},
    policy_name{"name of a policy", "_+=,.@-", 128}, attribute_name{"name of an attribute", "_.,@/:#-", 128},
    attribute_value{"value of an attribute", "_.,@/:#-", 800};

// Of a thing without a thing type, and of one with; one of them is the mark by which this program knows its own.
constexpr std::size_t attributes_without_type = 3, attributes_with_type = 50;
constexpr std::string_view mark = "espmint";
constexpr std::size_t most_groups = 10;  // that a thing can be in
constexpr std::uint64_t largest_backlog = 1'000'000;
// A topic has 256 bytes, 7 slashes and no wildcards; below the prefix come the thing's name and the firmware's topics.
constexpr std::size_t longest_prefix = 64;

bool is_plain(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 && static_cast<unsigned char>(c) < 0x80;
}

bool has_only(std::string_view text, std::string_view beside) {
  return std::ranges::all_of(text,
                             [beside](char c) { return is_plain(c) || beside.find(c) != std::string_view::npos; });
}

/// "a-z A-Z 0-9 : _ -"
std::string alphabet(std::string_view beside) {
  std::string out = "a-z A-Z 0-9";
  for (char c : beside) out += {' ', c};
  return out;
}

std::string check_name(const AwsName& name, std::string_view text) {
  if (text.empty() || text.size() > name.longest)
    return fmt::format("the {} has 1 to {} characters", name.what, name.longest);
  for (char c : text)
    if (!is_plain(c) && name.beside.find(c) == std::string_view::npos)
      return fmt::format("\"{}\" can be no {}: '{}' is none of {}", text, name.what, c, alphabet(name.beside));
  return {};
}

/// As Section::wrong, for what the recipe may well mean but AWS does not take.
Fault aws_refuses(const Section& section, const toml::node& node, std::string what, std::string advice = {}) {
  Fault fault = section.wrong(node.source(), std::move(what), std::move(advice));
  fault.code = Code::cloud_refused;
  return fault;
}

Result<void> take_name(Section& section, std::string_view key, const AwsName& name, std::string& out) {
  TRY(section.take<std::string>(key, out, "a name in quotes"));
  const toml::node* node = section.node(key);
  if (!node) return ok();
  std::string why = check_name(name, out);
  return why.empty() ? ok() : fail(aws_refuses(section, *node, fmt::format("{}{}: {}", section.prefix(), key, why)));
}

Result<void> take_attributes(Section& section, AwsPlan& aws) {
  const toml::node* node = section.node("attributes");
  if (!node) return ok();
  const toml::table* table = node->as_table();
  const std::string key = section.prefix() + "attributes";
  if (!table)
    return fail(section.wrong(node->source(), key + " is a table of names and texts: { owner = \"line-3\" }"));
  for (const auto& [name, value] : *table) {
    auto text = value.value_exact<std::string>();
    if (!text) return fail(section.wrong(value.source(), fmt::format("{}.{} is text in quotes", key, name.str())));
    std::string why = check_name(attribute_name, name.str());
    if (why.empty()) why = check_name(attribute_value, *text);
    if (!why.empty()) return fail(aws_refuses(section, value, fmt::format("{}: {}", key, why)));
    if (name.str() == mark)
      return fail(section.wrong(value.source(), fmt::format("{}.{} is given to every thing already", key, mark),
                                "It is how this program knows the things that it made"));
    aws.attributes.emplace(name.str(), *text);
  }
  const std::size_t most = (aws.thing_type.empty() ? attributes_without_type : attributes_with_type) - 1;
  if (aws.attributes.size() > most)
    return fail(aws_refuses(
        section, *node,
        fmt::format("{}: a thing with{} a thing type has {} attributes at most, and one of them is \"{}\"", key,
                    aws.thing_type.empty() ? "out" : "", most + 1, mark),
        aws.thing_type.empty() ? fmt::format("Say a thing_type: with one it has up to {}", attributes_with_type) : ""));
  return ok();
}

Result<void> take_groups(Section& section, AwsPlan& aws) {
  TRY((take_list<std::string>(section, "groups", "a list of names in quotes", aws.groups)));
  const toml::node* node = section.node("groups");
  const std::string key = section.prefix() + "groups";
  for (auto group = aws.groups.begin(); group != aws.groups.end(); ++group) {
    if (std::string why = check_name(group_name, *group); !why.empty())
      return fail(aws_refuses(section, *node, key + ": " + why));
    if (std::find(aws.groups.begin(), group, *group) != group)
      return fail(section.wrong(node->source(), fmt::format("{} has \"{}\" twice", key, *group)));
  }
  if (aws.groups.size() > most_groups)
    return fail(aws_refuses(section, *node, fmt::format("{}: a thing is in {} groups at most", key, most_groups)));
  return ok();
}

std::string check_region(const std::string& text) {
  const bool good = text.size() <= 32 && has_only(text, "-") && !text.empty() && text.front() != '-' &&
                    std::ranges::none_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
  return good ? "" : fmt::format("\"{}\" is no region; one is eu-central-1", text);
}

std::string check_host(const std::string& text) {
  const bool good = !text.empty() && text.size() <= 253 && has_only(text, "-.") && text.front() != '-' &&
                    text.front() != '.' && text.back() != '.';
  return good ? "" : "it is a host's name alone, without https:// and without a port";
}

std::string check_url(const std::string& text) {
  const bool web = text.starts_with("https://") || text.starts_with("http://");
  const std::string_view rest = web ? std::string_view{text}.substr(text.find("//") + 2) : std::string_view{};
  const bool good = !rest.empty() && rest.front() != '/' && has_only(rest, "-._~:/[]%");
  return good ? "" : "it is an address as http://localhost:5000, without a query and without keys in it";
}

std::string check_prefix(const std::string& text) {
  const bool good = !text.empty() && text.size() <= longest_prefix && has_only(text, "_-.:/") && text.front() != '/' &&
                    text.back() != '/' && text.find("//") == std::string::npos && std::ranges::count(text, '/') <= 3;
  return good ? ""
              : fmt::format("\"{}\" cannot begin a topic: 1 to {} of {}, with 3 slashes at most and none at the ends",
                            text, longest_prefix, alphabet("_-.:"));
}

std::string check_not_empty(const std::string& text) {
  const bool controls = std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  return text.empty() ? "it is empty" : controls ? "it has control characters" : "";
}

Result<void> take_root_ca(Section& section, AwsPlan& aws) {
  static constexpr std::array<std::string_view, 4> roots{"amazon-root-ca-1", "amazon-root-ca-2", "amazon-root-ca-3",
                                                         "amazon-root-ca-4"};
  std::string root;
  TRY(section.take<std::string>("root_ca", root, "a word or a path in quotes", check_not_empty));
  if (root.empty()) return ok();
  auto known = std::find(roots.begin(), roots.end(), root);
  if (known != roots.end()) {
    aws.amazon_root = static_cast<unsigned>(known - roots.begin()) + 1;
    return ok();
  }
  // A path has a dot or a slash in it; without either a word was mistyped.
  if (root.find_first_of("./") == std::string::npos)
    return fail(section.wrong(section.node("root_ca")->source(),
                              fmt::format("{}root_ca: {}", section.prefix(), one_of(roots)(root)),
                              "Or name a PEM file, as \"./root-ca.pem\""));
  aws.root_ca_file = std::move(root);
  return ok();
}

Result<void> take_aws(Section& section, AwsPlan& aws) {
  static constexpr std::array<std::string_view, 5> ways{"csr", "own-ca", "aws-keys", "bulk", "jitp"};
  std::string issuance = "csr";
  std::uint64_t backlog = aws.backlog;
  TRY(section.take<std::string>("region", aws.region, "a word in quotes", check_region));
  TRY(section.take<std::string>("profile", aws.profile, "a name in quotes", check_not_empty));
  TRY(section.take<std::string>("endpoint_url", aws.endpoint_url, "an address in quotes", check_url));
  TRY(section.take<std::string>("data_endpoint", aws.data_endpoint, "a host's name in quotes", check_host));
  TRY(section.take<std::string>("issuance", issuance, "a word in quotes", one_of(ways)));
  aws.issuance = static_cast<AwsIssuance>(std::find(ways.begin(), ways.end(), issuance) - ways.begin());
  TRY(take_name(section, "policy_name", policy_name, aws.policy_name));
  TRY(section.take<std::string>("policy_file", aws.policy_file, "a path in quotes", check_not_empty));
  TRY(section.take<std::string>("topic_prefix", aws.topic_prefix, "text in quotes", check_prefix));
  TRY(take_name(section, "thing_type", thing_type_name, aws.thing_type));
  TRY(take_attributes(section, aws));
  TRY(take_groups(section, aws));
  TRY(section.take<bool>("adopt", aws.adopt, "true or false"));
  TRY(take_root_ca(section, aws));
  TRY(section.take<std::uint64_t>("backlog", backlog, "a whole number", [](const std::uint64_t& boards) -> std::string {
    return boards > largest_backlog ? fmt::format("{} at most", largest_backlog) : "";
  }));
  aws.backlog = static_cast<std::uint32_t>(backlog);
  TRY(section.nothing_else());
  // Nothing is asked of AWS there, so nobody else says where the boards connect to.
  const bool asks_nothing = aws.issuance == AwsIssuance::bulk || aws.issuance == AwsIssuance::jitp;
  if (asks_nothing && aws.data_endpoint.empty())
    return fail(section.wrong(section.node("issuance")->source(),
                              fmt::format("cloud.aws.issuance = \"{}\" needs data_endpoint", issuance),
                              "`aws iot describe-endpoint --endpoint-type iot:Data-ATS` says it"));
  // Two ways to say it, of which one would be ignored.
  if (!aws.policy_file.empty() && !aws.topic_prefix.empty())
    return fail(
        section.wrong(section.node("topic_prefix")->source(),
                      "cloud.aws.topic_prefix is for the policy that is generated, and policy_file names another"));
  return ok();
}

}  // namespace

Result<void> take_cloud(Section& section, Recipe& recipe) {
  const toml::node* node = section.node("aws");
  TRY(section.nothing_else());
  if (!node) return ok();
  const toml::table* table = node->as_table();
  if (!table) return fail(section.wrong(node->source(), "cloud.aws is a section: [cloud.aws]"));
  if (recipe.issuer != "aws")
    return fail(section.wrong(node->source(), fmt::format("[cloud.aws] is of no use: the issuer is {}", recipe.issuer),
                              "Set issuer = \"aws\" in [identity], or remove the section"));
  Section own{*table, "cloud.aws", section.filename()};
  return take_aws(own, recipe.aws.emplace());
}

}  // namespace espmint
