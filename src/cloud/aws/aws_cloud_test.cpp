#include "cloud/aws/aws_cloud.hpp"

#include <gtest/gtest.h>

#include "cloud/aws/policy.hpp"
#include "cloud/aws/test_client.hpp"
#include "io/run_task.hpp"

namespace espmint::aws {
namespace {

constexpr const char* board = "24d7eb123456";
using Words = std::vector<std::string>;

AwsOptions usual_options() {
  AwsOptions options;
  options.policy_name = "lamp-policy";
  options.product = "lamp";
  options.attributes = {{"owner", "hello@iotready.co"}};
  options.root_ca_pem = "root";
  return options;
}

/// A cloud that is set up, and what a station has of one board.
struct Account {
  TestClient aws;
  TestFolder folder;
  LocalCa own_ca = *LocalCa::init(folder / "ca", "Ours", WallTime{std::chrono::seconds{1'760'000'000}});
  AwsCloud cloud;
  CloudSubject subject;

  explicit Account(AwsOptions options = usual_options()) : cloud(aws, &own_ca, std::move(options)) {
    aws.add_policy("lamp-policy", *build_policy({.topic_prefix = "lamp"}));
    aws.types = {{"lamp", false}, {"old-lamp", true}};
    aws.groups = {"hall-1"};
    subject.device_id = board;
  }

  template <typename T>
  Result<T> run(Task<Result<T>> task) {
    VirtualLoop loop;
    return run_task(loop, std::move(task));
  }
  Result<Issued> issue(const std::string& device = board, const PrivateKey& key = *mint_key(KeyKind::ec_p256)) {
    auto issued = run(cloud.issue({device, *build_csr(key, device), *mint_serial()}));
    if (issued) subject = {device, issued->certificate.sha256, issued->cloud_id, issued->certificate.der};
    return issued;
  }
  Result<std::string> perform(std::string_view act) {
    auto answer = run(cloud.perform(std::string{act}, subject));
    if (answer && act == act::register_) subject.cloud_id = *answer;
    return answer;
  }
  /// All of what a board needs; the first fault ends it.
  Result<std::string> enrol(const std::string& device = board) {
    if (auto issued = issue(device); !issued) return fail(issued.error());
    Result<std::string> answer;
    for (const auto& stage : cloud.ways().enrolment)
      for (std::string_view act : stage)
        if (answer = perform(act); !answer) return answer;
    for (std::string_view act : cloud.ways().completion)
      if (answer = perform(act); !answer) return answer;
    return answer;
  }
  TestClient::HeldCertificate& certificate() { return aws.certificates.at(subject.cloud_id); }
};

TEST(AwsCloud, EnrolsANewBoardInSixCalls) {
  Account account;
  ASSERT_TRUE(account.run(account.cloud.start()));
  EXPECT_EQ(account.aws.heard, (Words{"DescribeEndpoint", "GetPolicy"}));
  EXPECT_EQ(account.cloud.endpoint(), "a1b2c3-ats.iot.eu-central-1.amazonaws.com");
  account.aws.heard.clear();
  auto enrolled = account.enrol();
  ASSERT_TRUE(enrolled) << describe(enrolled.error());
  EXPECT_EQ(account.aws.heard, (Words{"CreateCertificateFromCsr", "AttachPolicy", "CreateThing", "AttachThingPrincipal",
                                      "UpdateCertificate", "ListThingPrincipals"}));
  EXPECT_EQ(account.certificate().status, "ACTIVE");
  EXPECT_EQ(account.certificate().things, std::set<std::string>{board});
  EXPECT_EQ(account.certificate().policies, std::set<std::string>{"lamp-policy"});
  EXPECT_EQ(account.aws.things.at(board).attributes, (Attributes{{"espmint", "lamp"}, {"owner", "hello@iotready.co"}}));
}

TEST(AwsCloud, SaysWhatEachWayOfIssuingNeeds) {
  AwsOptions options = usual_options();
  const Account csr{options};
  EXPECT_TRUE(csr.cloud.ways().issues_elsewhere);
  EXPECT_FALSE(csr.cloud.ways().makes_keys || csr.cloud.ways().can_wait);
  options.issuance = Issuance::own_ca;
  const Account own{options};
  EXPECT_TRUE(own.cloud.ways().can_wait);
  EXPECT_FALSE(own.cloud.ways().issues_elsewhere);
  EXPECT_EQ(own.cloud.ways().enrolment.at(0), std::vector<std::string_view>{act::register_});
  options.issuance = Issuance::aws_keys;
  const Account keys{options};
  EXPECT_TRUE(keys.cloud.ways().makes_keys && keys.cloud.ways().issues_elsewhere);
}

TEST(AwsCloud, ACertificateIsInactiveUntilItIsActivated) {
  Account account;
  ASSERT_TRUE(account.issue());
  EXPECT_EQ(account.certificate().status, "INACTIVE");
  for (std::string_view act : {act::policy, act::thing, act::attach}) ASSERT_TRUE(account.perform(act));
  EXPECT_EQ(account.certificate().status, "INACTIVE");
  ASSERT_TRUE(account.perform(act::activate));
  EXPECT_EQ(account.certificate().status, "ACTIVE");
}

TEST(AwsCloud, StartsOnlyWithWhatEveryBoardNeeds) {
  AwsOptions options = usual_options();
  options.policy_name = "nobody-made-it";
  Account no_policy{options};
  auto started = no_policy.run(no_policy.cloud.start());
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Code::cloud_refused);
  EXPECT_NE(started.error().advice.find("espmint cloud setup"), std::string::npos);

  options = usual_options();
  options.thing_type = "no-type";
  Account no_type{options};
  EXPECT_EQ(no_type.run(no_type.cloud.start()).error().code, Code::cloud_refused);
  options.thing_type = "old-lamp";
  Account deprecated{options};
  EXPECT_EQ(deprecated.run(deprecated.cloud.start()).error().code, Code::cloud_refused);
  options.thing_type = "lamp";
  Account typed{options};
  EXPECT_TRUE(typed.run(typed.cloud.start()));
}

TEST(AwsCloud, StartsWithAnUnsafePolicyOnlyWhereSomebodyKnows) {
  AwsOptions options = usual_options();
  for (const bool knows : {false, true}) {
    options.any_policy = knows;
    Account account{options};
    account.aws.add_policy(
        "lamp-policy", R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]})");
    EXPECT_EQ(account.run(account.cloud.start()).has_value(), knows);
  }
}

TEST(AwsCloud, SendsNothingForNamesThatAwsWouldRefuse) {
  auto starts_silently = [](AwsOptions options) {
    Account account{std::move(options)};
    auto started = account.run(account.cloud.start());
    return !started && started.error().code == Code::cloud_refused && account.aws.heard.empty();
  };
  AwsOptions options = usual_options();
  options.policy_name = "my policy";
  EXPECT_TRUE(starts_silently(options));
  options = usual_options();
  options.attributes = {{"owner", "My Co"}};
  EXPECT_TRUE(starts_silently(options));
  options.attributes = {{"a", "1"}, {"b", "2"}, {"c", "3"}};  // with our mark: one too many
  EXPECT_TRUE(starts_silently(options));
  options.attributes = {{"espmint", "theirs"}};
  EXPECT_TRUE(starts_silently(options));
  options = usual_options();
  options.groups = {"a b"};
  EXPECT_TRUE(starts_silently(options));
  Account account;
  EXPECT_EQ(account.issue("my board").error().code, Code::cloud_refused);
  EXPECT_TRUE(account.aws.heard.empty());
}

TEST(AwsCloud, AsksForNoCertificateForARequestOfAnotherDevice) {
  Account account;
  const Bytes csr = *build_csr(*mint_key(KeyKind::ec_p256), "24d7eb999999");
  auto issued = account.run(account.cloud.issue({board, csr, {}}));
  EXPECT_EQ(issued.error().code, Code::certificate_invalid);
  EXPECT_EQ(issued.error().where.board, board);
  EXPECT_TRUE(account.aws.heard.empty());
}

TEST(AwsCloud, RefusesACertificateForAnotherKeyAndNamesIt) {
  Account account;
  account.aws.answers_for_another_key = true;
  auto issued = account.issue();
  ASSERT_FALSE(issued);
  EXPECT_EQ(issued.error().code, Code::certificate_invalid);
  EXPECT_EQ(issued.error().remedy, Remedy::stop_line);
  EXPECT_NE(issued.error().seen.find(account.aws.certificates.begin()->first), std::string::npos);
}

TEST(AwsCloud, AnAnswerThatIsNoCertificateMayStillHaveMadeOne) {
  Account account;
  account.aws.mishaps.push_back({"CreateCertificateFromCsr", true,
                                 TestClient::good(R"({"certificateArn":")" + TestClient::arn_of(std::string(64, 'a')) +
                                                  R"(","certificatePem":"hello"})")});
  auto issued = account.issue();
  EXPECT_EQ(issued.error().code, Code::cloud_reply_invalid);
  EXPECT_EQ(issued.error().remedy, Remedy::reconcile);
  EXPECT_EQ(account.aws.times("CreateCertificateFromCsr"), 1);
}

TEST(AwsCloud, EveryActMayBeToldAgainWhereItsAnswerWasLost) {
  AwsOptions options = usual_options();
  options.groups = {"hall-1"};
  options.thing_type = "lamp";
  const std::vector<std::pair<std::string_view, Words>> acts{
      {act::policy, {"AttachPolicy"}},
      {act::thing, {"CreateThing", "AddThingToThingGroup"}},
      {act::attach, {"AttachThingPrincipal"}},
      {act::activate, {"UpdateCertificate"}},
      {act::retire, {"ListThingPrincipals", "ListPrincipalThings", "UpdateCertificate", "DetachThingPrincipal"}},
  };
  for (const bool has_effect : {false, true}) {
    Account account{options};
    ASSERT_TRUE(account.issue());
    for (const auto& [act, operations] : acts) {
      if (act == act::retire) (void)account.aws.add_certificate("ACTIVE", {board});
      for (const std::string& operation : operations) {
        account.aws.mishaps.push_back({operation, has_effect, TestClient::lost()});
        auto lost = account.perform(act);
        ASSERT_FALSE(lost) << operation;
        EXPECT_EQ(lost.error().remedy, Remedy::reconcile);
        EXPECT_EQ(lost.error().where.step, operation);
        EXPECT_TRUE(account.aws.mishaps.empty());
      }
      auto again = account.perform(act);
      ASSERT_TRUE(again) << act << ": " << describe(again.error());
      ASSERT_TRUE(account.perform(act)) << act << " once more";
    }
    EXPECT_EQ(account.certificate().status, "ACTIVE");
    EXPECT_EQ(account.aws.things.at(board).groups, std::set<std::string>{"hall-1"});
    EXPECT_EQ(account.aws.things.at(board).type, "lamp");
    for (const auto& [arn, held] : account.aws.certificates)
      EXPECT_EQ(held.status == "ACTIVE" && held.things.contains(board), arn == account.subject.cloud_id) << arn;
  }
}

TEST(AwsCloud, MergesWithAThingOfOursAndKeepsWhatItHas) {
  Account account;
  account.aws.add_thing(board, {{"espmint", "lamp"}, {"owner", "before"}, {"room", "7"}});
  account.aws.things[board].groups = {"theirs"};
  ASSERT_TRUE(account.issue());
  ASSERT_TRUE(account.perform(act::thing));
  const auto& thing = account.aws.things.at(board);
  EXPECT_EQ(thing.id, "thing-id-of-24d7eb123456");
  EXPECT_EQ(thing.attributes, (Attributes{{"espmint", "lamp"}, {"owner", "hello@iotready.co"}, {"room", "7"}}));
  EXPECT_EQ(thing.groups, std::set<std::string>{"theirs"});
  account.aws.heard.clear();
  ASSERT_TRUE(account.perform(act::thing));
  EXPECT_EQ(account.aws.times("UpdateThing"), 0);  // it has all already
}

TEST(AwsCloud, HoldsABoardWhoseThingIsSomebodyElses) {
  for (const Attributes& theirs : {Attributes{}, Attributes{{"espmint", "kettle"}}}) {
    Account account;
    account.aws.add_thing(board, theirs);
    ASSERT_TRUE(account.issue());
    auto made = account.perform(act::thing);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, Code::thing_foreign);
    EXPECT_EQ(made.error().remedy, Remedy::refuse);
    EXPECT_EQ(account.aws.things.at(board).attributes, theirs);
  }
  AwsOptions options = usual_options();
  options.adopt = true;
  Account account{options};
  account.aws.add_thing(board, {{"site", "x"}});
  ASSERT_TRUE(account.issue());
  ASSERT_TRUE(account.perform(act::thing));
  EXPECT_EQ(account.aws.things.at(board).attributes.size(), 3U);
  EXPECT_EQ(account.aws.things.at(board).id, "thing-id-of-24d7eb123456");
}

TEST(AwsCloud, LooksAgainAtAThingThatChangedMeanwhileButNotForEver) {
  Account account;
  account.aws.add_thing(board, {{"espmint", "lamp"}});
  ASSERT_TRUE(account.issue());
  account.aws.refuse("UpdateThing", "VersionConflictException");
  EXPECT_TRUE(account.perform(act::thing));
  account.aws.things[board].attributes.erase("owner");
  for (int i = 0; i < 2; ++i) account.aws.refuse("UpdateThing", "VersionConflictException");
  auto busy = account.perform(act::thing);
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().remedy, Remedy::retry);
}

TEST(AwsCloud, RetiresOnlyWhenTheBoardsOwnCertificateIsTheThings) {
  Account account;
  account.aws.page = 1;
  ASSERT_TRUE(account.enrol());
  const std::string old = account.aws.add_certificate("ACTIVE", {board});
  const std::string older = account.aws.add_certificate("ACTIVE", {board});
  const std::string fleet = account.aws.add_certificate("ACTIVE", {board, "another-board"});
  account.certificate().things.clear();
  auto ended = account.perform(act::retire);
  ASSERT_TRUE(ended);
  for (const std::string& arn : {old, older, fleet}) EXPECT_NE(ended->find(certificate_id_of(arn)), std::string::npos);
  EXPECT_EQ(account.certificate().status, "ACTIVE");
  EXPECT_TRUE(account.certificate().things.contains(board));
  for (const std::string& arn : {old, older}) {
    EXPECT_EQ(account.aws.certificates.at(arn).status, "INACTIVE");
    EXPECT_TRUE(account.aws.certificates.at(arn).things.empty());
  }
  EXPECT_EQ(account.aws.certificates.at(fleet).status, "ACTIVE") << "another board lives by it";
  EXPECT_EQ(account.aws.certificates.at(fleet).things, std::set<std::string>{"another-board"});
}

TEST(AwsCloud, LeavesPrincipalsThatAreNoCertificates) {
  Account account;
  ASSERT_TRUE(account.enrol());
  account.aws.mishaps.push_back(
      {"ListThingPrincipals", false,
       TestClient::good(R"({"principals":["eu-central-1:0f0e-11","arn:aws:iam::123456789012:user/x",")" +
                        account.subject.cloud_id + R"("]})")});
  account.aws.heard.clear();
  ASSERT_TRUE(account.perform(act::retire));
  EXPECT_EQ(account.aws.heard, Words{"ListThingPrincipals"});
}

TEST(AwsCloud, RevokesWithAllThatTheCertificateHasAndDeletesNothing) {
  Account account;
  ASSERT_TRUE(account.enrol());
  account.certificate().things.insert("another-thing");
  account.certificate().policies.insert("more");
  account.aws.add_thing("another-thing", {});
  account.aws.add_policy("more", "{}");
  account.aws.heard.clear();
  ASSERT_TRUE(account.perform(act::revoke));
  EXPECT_EQ(account.aws.heard.at(0), "UpdateCertificate");
  EXPECT_EQ(account.certificate().status, "INACTIVE");
  EXPECT_TRUE(account.certificate().things.empty());
  EXPECT_TRUE(account.certificate().policies.empty());
  EXPECT_TRUE(account.aws.things.contains(board));
  account.aws.certificates.clear();
  EXPECT_TRUE(account.perform(act::revoke)) << "what is nowhere is revoked";
  account.subject.cloud_id.clear();
  EXPECT_TRUE(account.perform(act::revoke));
}

TEST(AwsCloud, PreparedRevokedAndPreparedAgainTheThingIsTheSame) {
  Account account;
  ASSERT_TRUE(account.enrol());
  account.aws.things[board].groups = {"hall-1"};
  ASSERT_TRUE(account.perform(act::revoke));
  auto again = account.enrol();
  ASSERT_TRUE(again) << describe(again.error());
  EXPECT_EQ(account.aws.things.at(board).id, "thing-id-of-24d7eb123456");
  EXPECT_EQ(account.aws.things.at(board).groups, std::set<std::string>{"hall-1"});
  EXPECT_EQ(account.certificate().status, "ACTIVE");
}

TEST(AwsCloud, RegistersWhatOurOwnCaMade) {
  AwsOptions options = usual_options();
  options.issuance = Issuance::own_ca;
  Account account{options};
  auto issued = account.issue();
  ASSERT_TRUE(issued) << describe(issued.error());
  EXPECT_TRUE(is_issued_by(issued->certificate, account.own_ca.root()));
  EXPECT_TRUE(account.aws.heard.empty()) << "without a network";
  EXPECT_EQ(account.cloud.root_ca_pem(), "root");
  account.aws.lose_reply_of("RegisterCertificateWithoutCA");
  ASSERT_FALSE(account.perform(act::register_));
  auto arn = account.perform(act::register_);
  ASSERT_TRUE(arn) << describe(arn.error());
  EXPECT_EQ(*arn, TestClient::arn_of(to_hex(issued->certificate.sha256)));
  EXPECT_EQ(account.certificate().status, "INACTIVE");
  for (std::string_view act : {act::policy, act::thing, act::attach, act::activate, act::retire})
    ASSERT_TRUE(account.perform(act)) << act;
  EXPECT_EQ(account.aws.certificates.size(), 1U);
  // The answer of registering never reached the ledger.
  account.subject.cloud_id.clear();
  ASSERT_TRUE(account.perform(act::attach));
  ASSERT_TRUE(account.perform(act::revoke));
  EXPECT_EQ(account.aws.certificates.begin()->second.status, "INACTIVE");
}

TEST(AwsCloud, FindsARegisteredCertificateWhoseArnTheServiceDoesNotSay) {
  AwsOptions options = usual_options();
  options.issuance = Issuance::own_ca;
  Account account{options};
  ASSERT_TRUE(account.issue());
  account.aws.mishaps.push_back(
      {"RegisterCertificateWithoutCA", true, TestClient::error("ResourceAlreadyExistsException")});
  auto arn = account.perform(act::register_);
  ASSERT_TRUE(arn) << describe(arn.error());
  EXPECT_EQ(*arn, account.aws.certificates.begin()->first);
}

TEST(AwsCloud, TakesAKeyFromAwsOnlyWithItsOwnCertificate) {
  AwsOptions options = usual_options();
  options.issuance = Issuance::aws_keys;
  Account account{options};
  auto issued = account.run(account.cloud.issue({board, {}, {}}));
  ASSERT_TRUE(issued) << describe(issued.error());
  auto key = PrivateKey::from_pem(issued->private_key_pem);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->public_key_der(), issued->certificate.public_key_der);
  EXPECT_EQ(account.aws.certificates.at(issued->cloud_id).status, "INACTIVE");

  const std::string arn = issued->cloud_id;
  nlohmann::json answer{{"certificateArn", arn}, {"certificatePem", issued->certificate.pem}};
  answer["keyPair"]["PrivateKey"] = as_text(mint_key(KeyKind::ec_p256)->pem()->reveal());
  account.aws.mishaps.push_back({"CreateKeysAndCertificate", false, TestClient::good(answer.dump())});
  auto mixed = account.run(account.cloud.issue({board, {}, {}}));
  ASSERT_FALSE(mixed);
  EXPECT_EQ(mixed.error().code, Code::certificate_invalid);
  EXPECT_EQ(describe(mixed.error()).find("PRIVATE"), std::string::npos);
}

TEST(AwsCloud, DoesNothingToACertificateItCannotName) {
  Account account;
  account.subject.cloud_id = "arn:aws:iot:x\r\n";
  for (std::string_view act : {act::policy, act::attach, act::activate, act::retire, act::revoke})
    EXPECT_EQ(account.perform(act).error().code, Code::cloud_refused) << act;
  EXPECT_EQ(account.perform("dance").error().code, Code::cloud_refused);
  EXPECT_TRUE(account.aws.heard.empty());
}

}  // namespace
}  // namespace espmint::aws
