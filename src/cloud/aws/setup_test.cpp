#include "cloud/aws/setup.hpp"

#include <gtest/gtest.h>

#include "cloud/aws/policy.hpp"
#include "cloud/aws/test_client.hpp"
#include "io/run_task.hpp"

namespace espmint::aws {
namespace {

using CallWords = std::vector<std::string>;

SetupRequest lamp_setup() {
  SetupRequest request;
  request.policy_name = "lamp";
  request.policy_document = *build_policy({.topic_prefix = "lamp"});
  request.thing_type = "lamp-2";
  request.groups = {"hall-1"};
  return request;
}

Result<CallWords> run_setup(TestClient& aws, SetupRequest request) {
  VirtualLoop loop;
  Iot iot{aws};
  return run_task(loop, set_up(iot, std::move(request)));
}

std::string document_number(int number) { return *build_policy({.topic_prefix = "v" + std::to_string(number)}); }

TEST(CloudSetup, MakesWhatIsMissingAndThenNothingMore) {
  TestClient aws;
  SetupRequest request = lamp_setup();
  request.dry_run = true;
  EXPECT_EQ(*run_setup(aws, request), (CallWords{"CreatePolicy policyName=lamp", "CreateThingType thingTypeName=lamp-2",
                                                 "CreateThingGroup thingGroupName=hall-1"}));
  EXPECT_TRUE(aws.policies.empty() && aws.types.empty());
  EXPECT_EQ(*run_setup(aws, lamp_setup()),
            (CallWords{"CreatePolicy policyName=lamp", "CreateThingType thingTypeName=lamp-2",
                       "CreateThingGroup thingGroupName=hall-1"}));
  EXPECT_EQ(aws.policies.at("lamp").versions.at(1), lamp_setup().policy_document);
  EXPECT_TRUE(run_setup(aws, lamp_setup())->empty());
}

TEST(CloudSetup, RotatesVersionsWithinFive) {
  TestClient aws;
  SetupRequest request = lamp_setup();
  for (int version = 1; version <= 7; ++version) {
    request.policy_document = document_number(version);
    auto calls = run_setup(aws, request);
    ASSERT_TRUE(calls) << describe(calls.error());
    EXPECT_LE(aws.policies.at("lamp").versions.size(), most_policy_versions);
    EXPECT_EQ(aws.policies.at("lamp").versions.at(aws.policies.at("lamp").standard), request.policy_document);
  }
  // 1 and 2 had to go; somebody makes 3 the default again, so 4 is the oldest that may go.
  EXPECT_EQ(aws.policies.at("lamp").versions.begin()->first, 3U);
  aws.policies.at("lamp").standard = 3;
  request.policy_document = document_number(8);
  EXPECT_EQ(*run_setup(aws, request), (CallWords{"DeletePolicyVersion policyName=lamp policyVersionId=4",
                                                 "CreatePolicyVersion policyName=lamp setAsDefault=true"}));
  EXPECT_TRUE(aws.policies.at("lamp").versions.contains(3));
}

TEST(CloudSetup, LeavesAPolicyThatSaysTheSameInOtherWords) {
  TestClient aws;
  aws.add_policy("lamp", nlohmann::json::parse(lamp_setup().policy_document).dump(2));
  aws.types["lamp-2"] = false;
  aws.groups = {"hall-1"};
  EXPECT_TRUE(run_setup(aws, lamp_setup())->empty());
}

TEST(CloudSetup, SeesThatACallWhoseAnswerWasLostHadItsEffect) {
  TestClient aws;
  for (const char* operation : {"CreatePolicy", "CreateThingType"}) {
    aws.mishaps.push_back({operation, true, TestClient::error("ResourceAlreadyExistsException")});
    auto calls = run_setup(aws, lamp_setup());
    ASSERT_TRUE(calls) << describe(calls.error());
  }
  EXPECT_EQ(aws.policies.at("lamp").versions.size(), 1U);
  EXPECT_TRUE(run_setup(aws, lamp_setup())->empty());
}

TEST(CloudSetup, SendsNothingThatBoardsMustNotHave) {
  TestClient aws;
  SetupRequest request = lamp_setup();
  request.policy_document =
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]})";
  EXPECT_EQ(run_setup(aws, request).error().code, Code::cloud_refused);
  request.policy_name = "a b";
  EXPECT_EQ(run_setup(aws, request).error().code, Code::cloud_refused);
  request = lamp_setup();
  request.thing_type = "a b";
  EXPECT_EQ(run_setup(aws, request).error().code, Code::cloud_refused);
  EXPECT_TRUE(aws.heard.empty());
  request = lamp_setup();
  request.policy_document =
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]})";
  request.any_policy = true;
  EXPECT_TRUE(run_setup(aws, request));
}

TEST(CloudSetup, RefusesADeprecatedThingType) {
  TestClient aws;
  aws.types["lamp-2"] = true;
  EXPECT_EQ(run_setup(aws, lamp_setup()).error().code, Code::cloud_refused);
}

}  // namespace
}  // namespace espmint::aws
