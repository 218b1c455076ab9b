#include "cloud/aws/policy.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace espmint::aws {
namespace {

using nlohmann::json;

/// A client that is connecting or connected, as the broker sees it.
struct Peer {
  std::string client_id;
  std::string attached_thing;  // empty: the certificate is attached to none
};

/// AWS IoT's rules as its documentation has them, apart from the linter's: a thing's variables have a value only while
/// the client id is the name of a thing that the certificate is attached to; a variable without one matches nothing.
class Broker {
 public:
  explicit Broker(std::string_view document) : policy_(json::parse(document)) {}

  [[nodiscard]] bool lets(const Peer& peer, const std::string& action, const std::string& resource) const {
    const std::string arn = "arn:aws:iot:eu-central-1:123456789012:" + resource;
    bool allowed = false;
    for (const json& statement : policy_["Statement"]) {
      if (!fits(statement["Action"], action, peer, false) || !fits(statement["Resource"], arn, peer, true)) continue;
      if (!holds(statement, peer)) continue;
      if (statement["Effect"] == "Deny") return false;
      allowed = true;
    }
    return allowed;
  }

 private:
  static bool is_attached(const Peer& peer) { return peer.attached_thing == peer.client_id; }

  static bool glob(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) return text.empty();
    if (pattern[0] == '*') return glob(pattern.substr(1), text) || (!text.empty() && glob(pattern, text.substr(1)));
    return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) && glob(pattern.substr(1), text.substr(1));
  }

  static bool fits(const json& patterns, const std::string& text, const Peer& peer, bool variables) {
    for (const json& pattern : patterns.is_array() ? patterns : json::array({patterns})) {
      std::string filled = pattern;
      if (variables && !fill(filled, "${iot:Connection.Thing.ThingName}", is_attached(peer) ? peer.client_id : ""))
        continue;
      if (variables && !fill(filled, "${iot:ClientId}", peer.client_id)) continue;
      if (glob(filled, text)) return true;
    }
    return false;
  }

  static bool fill(std::string& text, std::string_view variable, const std::string& value) {
    for (std::size_t at = text.find(variable); at != std::string::npos; at = text.find(variable)) {
      if (value.empty()) return false;
      text.replace(at, variable.size(), value);
    }
    return true;
  }

  static bool holds(const json& statement, const Peer& peer) {
    if (!statement.contains("Condition")) return true;
    return statement["Condition"]["Bool"]["iot:Connection.Thing.IsAttached"][0] ==
           (is_attached(peer) ? "true" : "false");
  }

  json policy_;
};

std::string ours() { return *build_policy({.topic_prefix = "lamp"}); }

std::vector<std::string> refused_in(std::string_view document) {
  std::vector<std::string> what;
  for (const PolicyFinding& finding : lint_policy(document))
    if (finding.level == PolicyFinding::Level::refused) what.push_back(finding.what);
  return what;
}

std::string with_statement(const std::string& statement) {
  return R"({"Version":"2012-10-17","Statement":[)" + statement + "]}";
}

std::string allow(const std::string& action, const std::string& resource, const std::string& more = {}) {
  return with_statement(R"({"Effect":"Allow","Action":")" + action + R"(","Resource":")" + resource + "\"" + more +
                        "}");
}

constexpr const char* if_attached = R"(,"Condition":{"Bool":{"iot:Connection.Thing.IsAttached":["true"]}})";
const Peer board{"24d7eb123456", "24d7eb123456"};

TEST(Policy, LetsABoardBeItselfAndUseItsOwnTopics) {
  const Broker broker{ours()};
  EXPECT_TRUE(broker.lets(board, "iot:Connect", "client/24d7eb123456"));
  EXPECT_TRUE(broker.lets(board, "iot:Publish", "topic/lamp/24d7eb123456/telemetry"));
  EXPECT_TRUE(broker.lets(board, "iot:Receive", "topic/lamp/24d7eb123456/commands/on"));
  EXPECT_TRUE(broker.lets(board, "iot:Subscribe", "topicfilter/lamp/24d7eb123456/#"));
}

// What esp-aws-iot's shadow client and the firmware in the field send with the client id = thing name.
TEST(Policy, LetsABoardUseItsOwnShadow) {
  const Broker broker{ours()};
  const std::string shadow = "$aws/things/24d7eb123456/shadow/";
  for (const char* topic : {"update", "get"}) EXPECT_TRUE(broker.lets(board, "iot:Publish", "topic/" + shadow + topic));
  for (const char* topic : {"update/delta", "update/accepted", "update/rejected", "update/documents", "get/accepted"}) {
    EXPECT_TRUE(broker.lets(board, "iot:Subscribe", "topicfilter/" + shadow + topic)) << topic;
    EXPECT_TRUE(broker.lets(board, "iot:Receive", "topic/" + shadow + topic)) << topic;
  }
}

TEST(Policy, LetsABoardDoNothingOfAnothers) {
  const Broker broker{ours()};
  EXPECT_FALSE(broker.lets(board, "iot:Connect", "client/24d7eb999999"));
  EXPECT_FALSE(broker.lets(board, "iot:Connect", "client/+"));
  EXPECT_FALSE(broker.lets(board, "iot:Publish", "topic/lamp/24d7eb999999/telemetry"));
  EXPECT_FALSE(broker.lets(board, "iot:Publish", "topic/lamp"));
  EXPECT_FALSE(broker.lets(board, "iot:Publish", "topic/$aws/things/24d7eb999999/shadow/update"));
  EXPECT_FALSE(broker.lets(board, "iot:Publish", "topic/$aws/things/24d7eb123456/jobs/start-next"));
  EXPECT_FALSE(broker.lets(board, "iot:Subscribe", "topicfilter/#"));
  EXPECT_FALSE(broker.lets(board, "iot:Subscribe", "topicfilter/lamp/+/telemetry"));
  EXPECT_FALSE(broker.lets(board, "iot:Receive", "topic/lamp/24d7eb999999/commands/on"));
  EXPECT_FALSE(broker.lets(board, "iot:UpdateThingShadow", "thing/24d7eb123456"));
}

TEST(Policy, LetsNobodyInWhoIsNotAttachedOrCallsItselfOtherwise) {
  const Broker broker{ours()};
  const Peer unattached{"24d7eb123456", ""}, posing{"24d7eb999999", "24d7eb123456"}, wild{"+", "24d7eb123456"};
  for (const Peer& peer : {unattached, posing, wild}) {
    EXPECT_FALSE(broker.lets(peer, "iot:Connect", "client/" + peer.client_id)) << peer.client_id;
    EXPECT_FALSE(broker.lets(peer, "iot:Publish", "topic/lamp/" + peer.client_id + "/x")) << peer.client_id;
    EXPECT_FALSE(broker.lets(peer, "iot:Publish", "topic/lamp/24d7eb123456/x")) << peer.client_id;
  }
}

TEST(Policy, OursIsShortAndSoundForEveryPlace) {
  for (const PolicyScope& scope :
       {PolicyScope{.topic_prefix = "lamp"}, PolicyScope{.topic_prefix = std::string(128, 'x')},
        PolicyScope{.topic_prefix = "a/b.c", .region = "us-gov-west-1", .account = "123456789012"},
        PolicyScope{.topic_prefix = "lamp", .region = "cn-north-1", .account = "123456789012"}}) {
    auto document = build_policy(scope);
    ASSERT_TRUE(document) << describe(document.error());
    EXPECT_LT(document->size(), longest_policy);
    EXPECT_TRUE(lint_policy(*document).empty());
  }
  EXPECT_NE(build_policy({.topic_prefix = "x", .region = "cn-north-1"})->find("arn:aws-cn:iot:cn-north-1:*:"),
            std::string::npos);
}

TEST(Policy, RefusesAPrefixThatWouldOpenMoreThanItSays) {
  for (const char* prefix :
       {"", "*", "a/*", "a?", "${iot:ClientId}", "$aws", "a//b", "/a", "a/", "a b", "a#", "+", "a\"b"})
    EXPECT_EQ(build_policy({.topic_prefix = prefix}).error().code, Code::cloud_refused) << prefix;
  EXPECT_FALSE(build_policy({.topic_prefix = "x", .region = "EU"}));
  EXPECT_FALSE(build_policy({.topic_prefix = "x", .account = "12"}));
}

TEST(PolicyLint, RefusesEverythingOnEverything) {
  for (const char* action : {"*", "iot:*", "IOT:*", "**"})
    for (const char* resource : {"*", "**", "arn:aws:iot:*:*:*", "arn:aws:iot:*", "arn:*"})
      EXPECT_EQ(refused_in(allow(action, resource)).size(), 1U) << action << " on " << resource;
  // The old script's.
  EXPECT_FALSE(check_policy(
      "old", R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]})"));
}

TEST(PolicyLint, RefusesToConnectAsAnybody) {
  for (const char* resource : {"*", "arn:aws:iot:*:*:client/*", "arn:aws:iot:eu-central-1:123456789012:client/**"}) {
    EXPECT_EQ(refused_in(allow("iot:Connect", resource)).size(), 1U) << resource;
    EXPECT_EQ(refused_in(allow("iot:C*", resource)).size(), 1U) << resource;
    EXPECT_TRUE(refused_in(allow("iot:Connect", resource, if_attached)).empty()) << resource;
    EXPECT_FALSE(refused_in(allow("iot:Connect", resource,
                                  R"(,"Condition":{"Bool":{"iot:Connection.Thing.IsAttached":["true","false"]}})"))
                     .empty());
  }
}

TEST(PolicyLint, RefusesAClientIdThatNothingVouchesFor) {
  const std::string as_it_says = "arn:aws:iot:*:*:client/${iot:ClientId}";
  EXPECT_FALSE(refused_in(allow("iot:Connect", as_it_says)).empty());
  EXPECT_TRUE(refused_in(allow("iot:Connect", as_it_says, if_attached)).empty());
  const std::string connect = R"({"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:*:*:client/)";
  const std::string publish =
      R"({"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/x/${iot:ClientId}/*"})";
  EXPECT_FALSE(refused_in(with_statement(connect + R"(lamp-*"},)" + publish)).empty());
  EXPECT_TRUE(refused_in(with_statement(connect + R"(${iot:Connection.Thing.ThingName}"},)" + publish)).empty());
}

TEST(PolicyLint, RefusesEveryBoardsTopics) {
  for (const char* resource : {"*", "arn:aws:iot:*:*:topic/*", "arn:aws:iot:*:*:topic*", "arn:aws:iot:*:*:topic/*/*",
                               "arn:aws:iot:*:*:topic/$aws/things/*/shadow/update"})
    EXPECT_EQ(refused_in(allow("iot:Publish", resource)).size(), 1U) << resource;
  EXPECT_EQ(refused_in(allow("iot:Subscribe", "arn:aws:iot:*:*:topicfilter/#")).size(), 1U);
  EXPECT_TRUE(refused_in(allow("iot:Publish", "arn:aws:iot:*:*:topic/all/news")).empty());
}

TEST(PolicyLint, RefusesWhatAllowsAllButSomething) {
  EXPECT_FALSE(refused_in(with_statement(R"({"Effect":"Allow","NotAction":"iot:Connect","Resource":"x"})")).empty());
  EXPECT_FALSE(refused_in(with_statement(R"({"Effect":"Allow","Action":"iot:Connect","NotResource":"x"})")).empty());
  EXPECT_TRUE(refused_in(with_statement(R"({"Effect":"Deny","NotAction":"iot:Connect","Resource":"*"})")).empty());
}

TEST(PolicyLint, RefusesWhatIsNoPolicy) {
  for (const char* text : {"", "null", "[]", "{}", "{", "\xff", R"({"Version":"2012-10-17"})",
                           R"({"Version":"2012-10-17","Statement":[]})", R"({"Version":"2012-10-17","Statement":[7]})",
                           R"({"Version":"2012-10-17","Statement":[{"Action":"a","Resource":"*"}]})",
                           R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":7,"Resource":"*"}]})",
                           R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect"}]})"})
    EXPECT_FALSE(refused_in(text).empty()) << text;
  // Readers disagree about which of the two holds.
  EXPECT_FALSE(
      refused_in(
          with_statement(
              R"({"Effect":"Allow","Effect":"Deny","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/a"})"))
          .empty());
  EXPECT_FALSE(
      refused_in(
          R"({"Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:*:*:client/${iot:Connection.Thing.ThingName}"}})")
          .empty())
      << "variables of the old language";
}

TEST(PolicyLint, TellsTheWorstFirst) {
  const auto findings = lint_policy(R"({"Version":"2008-10-17"})");
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(findings[0].level, PolicyFinding::Level::refused);
}

TEST(PolicyLint, CountsCharactersAsAwsDoes) {
  const std::string start =
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/)";
  const std::string end = "\"}]}";
  const std::string fits(longest_policy - start.size() - end.size(), 'x');
  EXPECT_TRUE(refused_in(start + fits + end).empty());
  EXPECT_TRUE(refused_in(start + fits + end + std::string(5000, '\n')).empty());
  EXPECT_EQ(refused_in(start + fits + "x" + end).size(), 1U);
  EXPECT_FALSE(refused_in(std::string(1'000'000, '[')).empty());
  const std::string deep = R"({"Version":"2012-10-17","Statement":)" + std::string(30'000, '[');
  EXPECT_FALSE(refused_in(deep + std::string(30'000, ']') + "}").empty());
}

TEST(Policy, IsTheSameHoweverItIsWritten) {
  EXPECT_TRUE(is_same_policy(R"({"a":1,"b":[2]})", R"({ "b": [2], "a": 1 })"));
  EXPECT_FALSE(is_same_policy(R"({"a":1})", R"({"a":2})"));
  EXPECT_TRUE(is_same_policy("{", "{"));
  EXPECT_FALSE(is_same_policy("{", "["));
  const std::string deep = std::string(30'000, '[') + std::string(30'000, ']');
  EXPECT_TRUE(is_same_policy(deep, deep));
}

}  // namespace
}  // namespace espmint::aws
