#include "cloud/aws/iot.hpp"

#include <gtest/gtest.h>

#include "cloud/aws/test_client.hpp"
#include "io/run_task.hpp"

namespace espmint::aws {
namespace {

const std::string some_id(64, 'c');

/// Remembers the calls and gives the answers it was given, in order.
class ScriptedClient final : public Client {
 public:
  explicit ScriptedClient(std::vector<Answer> answers) : answers_(answers.begin(), answers.end()) {}
  Task<Result<Answer>> call(Call call) override {
    calls.push_back(std::move(call));
    if (answers_.empty()) co_return TestClient::good("{}");
    Answer next = std::move(answers_.front());
    answers_.pop_front();
    co_return next;
  }
  [[nodiscard]] const std::string& region() const override { return region_; }
  std::vector<Call> calls;

 private:
  std::deque<Answer> answers_;
  std::string region_ = "eu-central-1";
};

template <typename T>
Result<T> run_iot(Task<Result<T>> task) {
  VirtualLoop loop;
  return run_task(loop, std::move(task));
}

TEST(Iot, EncodesWhatStandsInAPathAndSendsThePrincipalAsAHeader) {
  ScriptedClient client{{}};
  Iot iot{client};
  const std::string arn = TestClient::arn_of(some_id);
  ASSERT_TRUE(run_iot(iot.attach_thing_principal("aa:bb", arn)));
  EXPECT_EQ(client.calls[0].operation, "AttachThingPrincipal");
  EXPECT_EQ(client.calls[0].method, "PUT");
  EXPECT_EQ(client.calls[0].path, "/things/aa%3Abb/principals");
  EXPECT_EQ(client.calls[0].headers.at(0).name, "x-amzn-principal");
  EXPECT_EQ(client.calls[0].headers.at(0).value, arn);
  EXPECT_EQ(client.calls[0].body, "");
  (void)run_iot(iot.policies_of(arn));
  EXPECT_EQ(client.calls[1].method, "POST");
  EXPECT_EQ(client.calls[1].path,
            "/attached-policies/arn%3Aaws%3Aiot%3Aeu-central-1%3A123456789012%3Acert%2F" + some_id);
}

TEST(Iot, SendsAStatusInTheQueryAndTheTargetOfAPolicyInTheBody) {
  ScriptedClient client{{}};
  Iot iot{client};
  ASSERT_TRUE(run_iot(iot.update_certificate(some_id, "ACTIVE")));
  EXPECT_EQ(client.calls[0].query, (std::vector<std::pair<std::string, std::string>>{{"newStatus", "ACTIVE"}}));
  ASSERT_TRUE(run_iot(iot.attach_policy("a+b", TestClient::arn_of(some_id))));
  EXPECT_EQ(client.calls[1].path, "/target-policies/a%2Bb");
  EXPECT_EQ(client.calls[1].body, R"({"target":")" + TestClient::arn_of(some_id) + R"("})");
  ASSERT_TRUE(run_iot(iot.update_thing("t", "", {{"owner", "me"}}, 7)));
  EXPECT_EQ(client.calls[2].method, "PATCH");
  EXPECT_EQ(client.calls[2].body,
            R"({"attributePayload":{"attributes":{"owner":"me"},"merge":true},"expectedVersion":7})");
}

TEST(Iot, NeverRepeatsWhatWouldMakeASecondCertificate) {
  ScriptedClient client{{}};
  Iot iot{client};
  (void)run_iot(iot.create_certificate_from_csr("csr"));
  (void)run_iot(iot.create_keys_and_certificate());
  (void)run_iot(iot.register_certificate_without_ca("pem"));
  EXPECT_FALSE(client.calls[0].repeatable);
  EXPECT_EQ(client.calls[0].query.at(0), (std::pair<std::string, std::string>{"setAsActive", "false"}));
  EXPECT_FALSE(client.calls[1].repeatable);
  EXPECT_TRUE(client.calls[2].repeatable);
}

TEST(Iot, SendsNothingForNamesThatAwsWouldRefuse) {
  ScriptedClient client{{}};
  Iot iot{client};
  auto refused_here = [](const auto& result) {
    return !result && result.error().code == Code::cloud_refused && result.error().remedy == Remedy::refuse;
  };
  EXPECT_TRUE(refused_here(run_iot(iot.create_thing("my thing", "", {}))));
  EXPECT_TRUE(refused_here(run_iot(iot.create_thing("", "", {}))));
  EXPECT_TRUE(refused_here(run_iot(iot.create_thing(std::string(129, 'a'), "", {}))));
  EXPECT_TRUE(refused_here(run_iot(iot.create_thing("t", "a type", {}))));
  EXPECT_TRUE(refused_here(run_iot(iot.create_thing("t", "", {{"owner", "My Co"}}))));
  EXPECT_TRUE(refused_here(run_iot(iot.create_thing("t", "", {{"owner", ""}}))));
  EXPECT_TRUE(refused_here(run_iot(iot.create_thing("t", "", {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}}))));
  EXPECT_TRUE(refused_here(run_iot(iot.get_policy("a/b"))));
  EXPECT_TRUE(refused_here(run_iot(iot.add_thing_to_group("t", "a group"))));
  EXPECT_TRUE(refused_here(run_iot(iot.attach_thing_principal("t", "arn:aws:iot:x:1:cert/1\r\nx-amz-date: 1"))));
  EXPECT_TRUE(refused_here(run_iot(iot.update_certificate("../things", "ACTIVE"))));
  EXPECT_TRUE(refused_here(run_iot(iot.create_certificate_from_csr(std::string(4097, 'a')))));
  EXPECT_TRUE(client.calls.empty());
  EXPECT_TRUE(run_iot(iot.update_thing("t", "type", {{"owner", "hello@iotready.co"}}, 1)));
  EXPECT_EQ(client.calls.size(), 1U);
}

TEST(Iot, AnswersWithWhatMeansSomethingAndFailsWithTheServicesWordsOtherwise) {
  struct Row {
    const char* error;
    std::optional<Refusal> refusal;
  };
  for (const Row& row :
       {Row{"ResourceAlreadyExistsException", Refusal::exists}, Row{"ResourceNotFoundException", Refusal::absent},
        Row{"VersionConflictException", Refusal::conflict}, Row{"CertificateStateException", Refusal::conflict},
        Row{"DeleteConflictException", Refusal::conflict}, Row{"LimitExceededException", Refusal::full},
        Row{"VersionsLimitExceededException", Refusal::full}, Row{"InvalidRequestException", {}},
        Row{"MalformedPolicyException", {}}, Row{"", {}}}) {
    ScriptedClient client{{TestClient::error(row.error, "\x1b[2Jnot\nso")}};
    Iot iot{client};
    auto reply = run_iot(iot.create_policy("p", "{}"));
    if (row.refusal) {
      ASSERT_TRUE(reply) << row.error;
      EXPECT_EQ(reply->refusal, row.refusal) << row.error;
      EXPECT_EQ(reply->words, std::string{row.error} + R"(: \x1b[2Jnot so)");
    } else if (*row.error != '\0') {
      ASSERT_FALSE(reply) << row.error;
      EXPECT_EQ(reply.error().code, Code::cloud_refused);
      EXPECT_EQ(reply.error().where.step, "CreatePolicy");
      EXPECT_NE(reply.error().seen.find("\\x1b[2Jnot so"), std::string::npos);
    } else {
      EXPECT_TRUE(reply);
    }
  }
}

TEST(Iot, TakesAThingThatIsStillAttachedForAConflictOfDeleteThingOnly) {
  ScriptedClient client{{TestClient::error("InvalidRequestException"), TestClient::error("InvalidRequestException")}};
  Iot iot{client};
  EXPECT_EQ(run_iot(iot.delete_thing("t"))->refusal, Refusal::conflict);
  EXPECT_FALSE(run_iot(iot.describe_thing("t")));
}

TEST(Iot, ReadsListsToTheirLastPage) {
  TestClient client;
  Iot iot{client};
  for (int i = 0; i < 7; ++i) client.add_thing("thing-" + std::to_string(i), {{"espmint", i == 3 ? "other" : "p"}});
  client.page = 2;
  auto things = run_iot(iot.things_with("espmint", "p"));
  ASSERT_TRUE(things) << describe(things.error());
  EXPECT_EQ(things->value.size(), 6U);
  EXPECT_EQ(things->value.at(0).attributes.at("espmint"), "p");
  EXPECT_EQ(client.times("ListThings"), 3);
}

TEST(Iot, EndsAListThatGoesInCircles) {
  const Answer again = TestClient::good(R"({"principals":["x"],"nextToken":"same"})");
  ScriptedClient client{{again, again, again, again}};
  Iot iot{client};
  auto principals = run_iot(iot.principals_of("t"));
  ASSERT_FALSE(principals);
  EXPECT_EQ(principals.error().code, Code::cloud_reply_invalid);
  EXPECT_EQ(client.calls.size(), 2U);
}

TEST(Iot, RefusesAnswersThatAreNotAsDocumented) {
  const std::string arn = TestClient::arn_of(some_id);
  const std::string other = TestClient::arn_of(std::string(64, 'd'));
  for (const std::string& body :
       {std::string{}, std::string{"null"}, std::string{"[]"}, std::string{"{}"}, std::string{"<html>"},
        std::string(100'000, '['), std::string{R"({"certificateArn":"x","certificatePem":"y"})"},
        R"({"certificateArn":")" + arn + R"("})", R"({"certificateArn":")" + arn + R"(","certificatePem":7})",
        R"({"certificateArn":")" + arn + R"(","certificatePem":""})",
        R"({"certificateArn":")" + arn + R"(","certificateId":")" + certificate_id_of(other) +
            R"(","certificatePem":"y"})"}) {
    auto made = read_created_certificate(body);
    ASSERT_FALSE(made) << body;
    EXPECT_EQ(made.error().code, Code::cloud_reply_invalid);
    EXPECT_EQ(made.error().remedy, Remedy::reconcile);
  }
  EXPECT_TRUE(read_created_certificate(R"({"certificateArn":")" + arn + R"(","certificatePem":"y"})"));
  const std::string deep = R"({"certificateArn":)" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}";
  EXPECT_FALSE(read_created_certificate(deep));
  EXPECT_FALSE(read_endpoint(R"({"endpointAddress":"evil.example/path"})"));
  EXPECT_FALSE(read_endpoint(R"({"endpointAddress":"a b"})"));
  EXPECT_FALSE(read_thing(R"({"thingName":"../x","version":1})"));
  EXPECT_FALSE(read_thing(R"({"thingName":"x","version":"1"})"));
  EXPECT_FALSE(read_thing(R"({"thingName":"x","attributes":{"a":{}}})"));
  EXPECT_FALSE(read_principals(R"({"principals":["a\u000db"]})"));
  EXPECT_FALSE(read_policy_versions(R"({"policyVersions":[{"versionId":"1/../2"}]})"));
}

TEST(Iot, AFaultAboutAnAnswerDoesNotQuoteIt) {
  auto keys = read_created_keys(R"({"certificateArn":")" + TestClient::arn_of(some_id) +
                                R"(","certificatePem":"y","keyPair":{"PrivateKey":["hunter2"]}})");
  ASSERT_FALSE(keys);
  EXPECT_EQ(describe(keys.error()).find("hunter2"), std::string::npos);
}

TEST(Iot, ReadsTheTimeOfACertificateAndPassesOverOneThatCannotBe) {
  const std::string before = R"({"certificates":[{"certificateArn":")" + TestClient::arn_of(some_id) +
                             R"(","status":"ACTIVE","creationDate":)";
  EXPECT_EQ(read_certificates(before + "1760000000.123}]}")->items.at(0).created,
            WallTime{std::chrono::seconds{1'760'000'000}});
  for (const char* odd : {"-1", "1e300", "\"x\"", "null", "{}"})
    EXPECT_FALSE(read_certificates(before + odd + "}]}")->items.at(0).created.has_value()) << odd;
}

TEST(Iot, KnowsTheArnsOfEveryPartition) {
  EXPECT_TRUE(is_certificate_arn(TestClient::arn_of(some_id)));
  EXPECT_TRUE(is_certificate_arn("arn:aws-cn:iot:cn-north-1:123456789012:cert/" + some_id));
  EXPECT_TRUE(is_certificate_arn("arn:aws-us-gov:iot:us-gov-west-1:123456789012:cert/" + some_id));
  for (const std::string& other :
       {std::string{}, std::string{"arn"}, "arn:aws:iot:eu-central-1:12345678901:cert/" + some_id,
        "arn:aws:iot:eu-central-1:123456789012:thing/" + some_id,
        "arn:aws:s3:eu-central-1:123456789012:cert/" + some_id, TestClient::arn_of(some_id) + "0",
        std::string{"eu-central-1:0f0e0d0c-0000-0000-0000-000000000000"}})
    EXPECT_FALSE(is_certificate_arn(other)) << other;
}

TEST(Names, AProductBecomesAMarkThatAnAttributeMayHave) {
  EXPECT_EQ(mark_of("Lamp 2 (EU)"), "Lamp-2--EU-");
  EXPECT_TRUE(check_attributes({{"espmint", mark_of("Lamp 2 \xc3\xa4")}}, false));
}

}  // namespace
}  // namespace espmint::aws
