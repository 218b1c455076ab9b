#include "cloud/aws/survey.hpp"

#include <gtest/gtest.h>
#include <algorithm>

#include "cloud/aws/test_client.hpp"
#include "io/run_task.hpp"

namespace espmint::aws {
namespace {

using Standing = LedgerCertificate::Standing;

/// A ledger and an account that say the same of one VERIFIED board, "a".
struct Fleet {
  TestClient aws;
  Iot iot{aws};
  VirtualLoop loop;
  LedgerView ledger;
  SurveyOptions options{"lamp", "lamp-policy"};

  Fleet() {
    aws.add_policy("lamp-policy", "{}");
    aws.add_policy("other-policy", "{}");
    add_board("a", Standing::verified, "ACTIVE");
  }
  /// In the ledger and, attached, in the account.
  std::string add_board(const std::string& device, Standing standing, std::string status) {
    aws.add_thing(device, {{"espmint", "lamp"}});
    const std::string arn = aws.add_certificate(std::move(status), {device});
    aws.certificates.at(arn).policies = {"lamp-policy"};
    tell_ledger(device, standing, arn);
    return arn;
  }
  void tell_ledger(const std::string& device, Standing standing, const std::string& arn, bool keeps_thing = false) {
    Sha256 digest{};
    const Bytes id = *from_hex(certificate_id_of(arn));
    std::copy(id.begin(), id.end(), digest.begin());
    ledger.certificates.push_back({device, standing, digest, arn, false});
    ledger.devices.push_back({device, keeps_thing || standing != Standing::burned});
  }
  /// A certificate in the account whose answer the station never got.
  std::string add_lost(const std::string& device, std::string status, std::set<std::string> things = {}) {
    const PrivateKey key = *mint_key(KeyKind::ec_p256);
    ledger.lost.push_back({device, sha256_of(key.public_key_der()), WallTime{std::chrono::seconds{1'760'000'000}}});
    return aws.add_certificate(std::move(status), std::move(things), *build_csr(key, device));
  }
  /// What the first board's request was made with, answered then.
  PrivateKey key_of_first(WallTime answered) {
    PrivateKey key = *mint_key(KeyKind::ec_p256);
    ledger.certificates[0].public_key = sha256_of(key.public_key_der());
    ledger.certificates[0].answered = answered;
    return key;
  }
  std::string arn_of(const std::string& device) const {
    for (const auto& certificate : ledger.certificates)
      if (certificate.device_id == device) return certificate.cloud_id;
    return {};
  }
  std::vector<Finding> survey() {
    auto view = run_task(loop, read_cloud(iot, ledger, options));
    EXPECT_TRUE(view) << describe(view.error());
    return compare(ledger, *view, options);
  }
  Result<FixReport> run_fix() { return run_task(loop, fix(iot, loop, survey())); }
};

/// "orphan b *": `*` where --fix may.
std::vector<std::string> shown(const std::vector<Finding>& findings) {
  std::vector<std::string> lines;
  for (const Finding& finding : findings)
    lines.push_back(std::string{name_of(finding.difference)} + " " + finding.device_id + (finding.may_fix ? " *" : ""));
  return lines;
}
using Lines = std::vector<std::string>;
/// Where several are the account's alone: they come by their ids, which are chance.
Lines sorted(Lines lines) {
  std::sort(lines.begin(), lines.end());
  return lines;
}

TEST(Survey, FindsNothingWhereBothSayTheSame) {
  Fleet fleet;
  fleet.add_board("b", Standing::under_way, "INACTIVE");
  // Somebody else's in the same account.
  fleet.aws.add_thing("kettle", {{"espmint", "kettle"}});
  (void)fleet.aws.add_certificate("ACTIVE", {"kettle"});
  (void)fleet.aws.add_certificate("INACTIVE", {});
  EXPECT_EQ(shown(fleet.survey()), Lines{});
  EXPECT_EQ(fleet.aws.times("DescribeCertificate"), 0);
}

TEST(Survey, ReadsEveryPage) {
  Fleet fleet;
  fleet.aws.page = 1;
  fleet.add_board("b", Standing::verified, "ACTIVE");
  fleet.aws.certificates.at(fleet.arn_of("b")).policies.insert("other-policy");
  EXPECT_EQ(shown(fleet.survey()), Lines{"wrong-policy b"});
}

TEST(Survey, FindsWhatAVerifiedBoardLacks) {
  Fleet fleet;
  auto& certificate = fleet.aws.certificates.at(fleet.arn_of("a"));
  certificate.things.clear();
  EXPECT_EQ(shown(fleet.survey()), Lines{"missing a *"});
  certificate.policies.clear();
  EXPECT_EQ(shown(fleet.survey()), (Lines{"missing a *", "wrong-policy a *"}));
  EXPECT_EQ(fleet.run_fix()->fixed, 2);
  EXPECT_EQ(shown(fleet.survey()), Lines{});
  fleet.aws.things.clear();
  EXPECT_EQ(shown(fleet.survey()), Lines{"missing a"});
  fleet.aws.certificates.clear();
  EXPECT_EQ(shown(fleet.survey()), (Lines{"missing a", "missing a"}));
}

TEST(Survey, TurnsOnOnlyWhatNobodyTurnedOff) {
  Fleet fleet;
  fleet.aws.certificates.at(fleet.arn_of("a")).status = "INACTIVE";
  EXPECT_EQ(shown(fleet.survey()), Lines{"verified-but-inactive a"});
  EXPECT_EQ(fleet.run_fix()->fixed, 0);
  fleet.ledger.certificates[0].has_open_acts = true;
  EXPECT_EQ(shown(fleet.survey()), Lines{"verified-but-inactive a *"});
  fleet.aws.certificates.at(fleet.arn_of("a")).status = "REVOKED";
  EXPECT_EQ(shown(fleet.survey()), Lines{"verified-but-inactive a"});
}

TEST(Survey, TurnsOffWhatIsActiveBeforeItIsVerified) {
  Fleet fleet;
  const std::string arn = fleet.add_board("b", Standing::under_way, "ACTIVE");
  EXPECT_EQ(shown(fleet.survey()), Lines{"active-but-unverified b *"});
  ASSERT_EQ(fleet.run_fix()->fixed, 1);
  EXPECT_EQ(fleet.aws.certificates.at(arn).status, "INACTIVE");
  EXPECT_EQ(shown(fleet.survey()), Lines{});
}

TEST(Survey, SweepsWhatBurnedBoardsLeftBehind) {
  Fleet fleet;
  const std::string inactive = fleet.add_board("b", Standing::burned, "INACTIVE");
  const std::string active = fleet.add_board("c", Standing::burned, "ACTIVE");
  EXPECT_EQ(shown(fleet.survey()), (Lines{"orphan b *", "active-but-unverified c *", "orphan b *", "orphan c *"}));
  fleet.aws.detach_is_seen_after = 3;
  auto report = fleet.run_fix();
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_EQ(report->fixed, 4);
  EXPECT_GE(fleet.loop.now().time_since_epoch(), std::chrono::seconds{7}) << "waits for what was detached";
  EXPECT_FALSE(fleet.aws.certificates.contains(inactive) || fleet.aws.certificates.contains(active));
  EXPECT_EQ(fleet.aws.things.size(), 1U);
  EXPECT_EQ(shown(fleet.survey()), Lines{});
}

TEST(Survey, KeepsTheThingOfABoardThatWasVerifiedOnce) {
  Fleet fleet;
  fleet.add_board("b", Standing::burned, "INACTIVE");
  fleet.ledger.devices.back().keeps_thing = true;
  ASSERT_EQ(fleet.run_fix()->fixed, 1);
  EXPECT_TRUE(fleet.aws.things.contains("b"));
  EXPECT_EQ(shown(fleet.survey()), Lines{});
  fleet.ledger.devices.pop_back();  // nobody says that it may go
  EXPECT_EQ(shown(fleet.survey()), Lines{});
}

TEST(Survey, FindsWhatLostAnswersLeftBehindByTheirKey) {
  Fleet fleet;
  const std::string lost = fleet.add_lost("a", "INACTIVE");
  const std::string strange = fleet.aws.add_certificate("INACTIVE", {});
  const std::string long_before = fleet.aws.add_certificate("INACTIVE", {});
  fleet.aws.certificates.at(long_before).created = 1'700'000'000;
  EXPECT_EQ(shown(fleet.survey()), Lines{"orphan a *"});
  EXPECT_EQ(fleet.aws.times("DescribeCertificate"), 2);
  ASSERT_EQ(fleet.run_fix()->fixed, 1);
  EXPECT_FALSE(fleet.aws.certificates.contains(lost));
  EXPECT_TRUE(fleet.aws.certificates.contains(strange) && fleet.aws.certificates.contains(long_before));
  EXPECT_EQ(shown(fleet.survey()), Lines{});
}

TEST(Survey, FindsTheSecondCertificateOfARequestThatArrivedTwice) {
  Fleet fleet;
  const WallTime asked{std::chrono::seconds{1'760'000'000}};
  const PrivateKey key = fleet.key_of_first(asked);
  const std::string second = fleet.aws.add_certificate("INACTIVE", {}, *build_csr(key, "a"));
  fleet.aws.certificates.at(second).created = static_cast<double>(asked.time_since_epoch().count());
  const std::string of_another_day = fleet.aws.add_certificate("INACTIVE", {});
  fleet.aws.certificates.at(of_another_day).created = 1'700'000'000;
  EXPECT_EQ(shown(fleet.survey()), Lines{"orphan a *"});
  EXPECT_EQ(fleet.aws.times("DescribeCertificate"), 1);
  fleet.aws.certificates.at(second).things = {"kettle"};
  EXPECT_EQ(shown(fleet.survey()), Lines{"orphan a"}) << "somebody uses it";
  fleet.aws.certificates.at(second).things.clear();
  fleet.aws.certificates.at(second).policies = {"lamp-policy"};
  EXPECT_EQ(shown(fleet.survey()), Lines{"orphan a *"}) << "INACTIVE, on nothing: it serves nobody";
  ASSERT_EQ(fleet.run_fix()->fixed, 1);
  EXPECT_FALSE(fleet.aws.certificates.contains(second));
  EXPECT_EQ(shown(fleet.survey()), Lines{});
}

TEST(Survey, FindsWhatWasLostWhileThisMachinesClockWasDaysAhead) {
  Fleet fleet;
  const std::string lost = fleet.add_lost("a", "INACTIVE");
  const auto asked = fleet.ledger.lost[0].asked->time_since_epoch();
  fleet.aws.certificates.at(lost).created = static_cast<double>((asked - std::chrono::hours{72}).count());
  EXPECT_EQ(shown(fleet.survey()), Lines{});
  fleet.options.clock_offset = -std::chrono::hours{72};
  EXPECT_EQ(shown(fleet.survey()), Lines{"orphan a *"});
}

TEST(Survey, FindsTheCertificateOfAnAnswerThatWasRefused) {
  Fleet fleet;
  (void)fleet.add_lost("b", "INACTIVE");
  fleet.aws.certificates.clear();
  fleet.ledger.certificates.clear();
  fleet.aws.things.clear();
  const PrivateKey another = *mint_key(KeyKind::ec_p256);
  const std::string arn = fleet.aws.add_certificate("ACTIVE", {}, *build_csr(another, "b"));
  EXPECT_EQ(shown(fleet.survey()), Lines{"active-but-unverified b"}) << "not provably ours: a person's";
  fleet.aws.certificates.at(arn).status = "INACTIVE";
  EXPECT_EQ(shown(fleet.survey()), Lines{"orphan b"});
}

TEST(Survey, SweepsTheSecondCertificateOfABoardThatLostAnAnswerToo) {
  Fleet fleet;
  const PrivateKey key = fleet.key_of_first(WallTime{std::chrono::seconds{1'760'000'000}});
  (void)fleet.add_lost("a", "INACTIVE");
  const std::string second = fleet.aws.add_certificate("INACTIVE", {}, *build_csr(key, "a"));
  EXPECT_EQ(shown(fleet.survey()), (Lines{"orphan a *", "orphan a *"})) << "its key tells whose it is, not its name";
  ASSERT_EQ(fleet.run_fix()->fixed, 2);
  EXPECT_FALSE(fleet.aws.certificates.contains(second));
}

// moto makes every certificate ACTIVE, whatever was asked for.
TEST(Survey, SweepsASecondCertificateThatIsActiveAndMayDoNothing) {
  Fleet fleet;
  const PrivateKey key = fleet.key_of_first(WallTime{std::chrono::seconds{1'760'000'000}});
  (void)fleet.add_lost("b", "INACTIVE");
  const std::string second = fleet.aws.add_certificate("ACTIVE", {}, *build_csr(key, "a"));
  fleet.aws.certificates.at(second).policies = {"lamp-policy"};
  EXPECT_EQ(sorted(shown(fleet.survey())), (Lines{"active-but-unverified a", "orphan b *"})) << "somebody lets it in";
  fleet.aws.certificates.at(second).policies.clear();
  EXPECT_EQ(sorted(shown(fleet.survey())), (Lines{"active-but-unverified a *", "orphan b *"}));
  ASSERT_EQ(fleet.run_fix()->fixed, 2);
  EXPECT_FALSE(fleet.aws.certificates.contains(second));
}

TEST(Survey, LeavesTheCertificatesOfSomebodyElsesThingAlone) {
  Fleet fleet;
  fleet.aws.things["a"].attributes.clear();
  (void)fleet.aws.add_certificate("ACTIVE", {"a"});
  EXPECT_EQ(shown(fleet.survey()), Lines{"foreign a"}) << "only that the thing is not ours";
}

TEST(Survey, KeepsAnEyeOnWhatWasRetiredAndIsNotOurs) {
  Fleet fleet;
  const std::string arn = fleet.aws.add_certificate("INACTIVE", {});
  fleet.ledger.retired.push_back({"a", certificate_id_of(arn)});
  fleet.ledger.retired.push_back({"a", certificate_id_of(fleet.arn_of("a"))});  // ours has its own line, if any
  std::vector<Finding> kept = fleet.survey();
  EXPECT_EQ(shown(kept), Lines{"foreign a"}) << "never deleted by us";
  EXPECT_TRUE(kept.at(0).is_harmless && kept.at(0).repairs.empty());
  fleet.aws.certificates.at(arn).status = "ACTIVE";
  std::vector<Finding> again = fleet.survey();
  EXPECT_EQ(shown(again), Lines{"foreign a"});
  EXPECT_FALSE(again.at(0).is_harmless);
  fleet.aws.certificates.erase(arn);
  EXPECT_EQ(shown(fleet.survey()), Lines{}) << "somebody deleted it: its story ends";
}

TEST(Survey, LeavesTheCertificateBeforeToABoardWhoseRenewalIsNotProved) {
  Fleet fleet;
  fleet.ledger.certificates[0].standing = Standing::burned;
  fleet.ledger.certificates[0].has_open_acts = true;  // to be revoked, once the next is proved
  const std::string before = fleet.arn_of("a"), next = fleet.aws.add_certificate("INACTIVE", {"a"});
  fleet.tell_ledger("a", Standing::under_way, next);
  EXPECT_EQ(shown(fleet.survey()), Lines{"active-but-unverified a"});
  EXPECT_EQ(fleet.run_fix()->fixed, 0);
  fleet.ledger.certificates[1].standing = Standing::burned;
  EXPECT_EQ(shown(fleet.survey()), (Lines{"active-but-unverified a *", "orphan a *"}));
}

TEST(Survey, DoesNotDeleteAThingThatMayHaveBeenAdopted) {
  Fleet fleet;
  fleet.add_board("b", Standing::burned, "INACTIVE");
  fleet.aws.things["b"].version = 2;  // our mark was merged into it
  EXPECT_EQ(shown(fleet.survey()), (Lines{"orphan b *", "orphan b"}));
  ASSERT_EQ(fleet.run_fix()->fixed, 1);
  EXPECT_TRUE(fleet.aws.things.contains("b"));
}

TEST(Survey, TakesNothingThatItCannotProveToBeOurs) {
  Fleet fleet;
  // Another station's board, and a certificate that somebody attached to ours.
  fleet.aws.add_thing("station-2", {{"espmint", "lamp"}});
  const std::string theirs = fleet.aws.add_certificate("ACTIVE", {"station-2"});
  const std::string added = fleet.aws.add_certificate("ACTIVE", {"a"});
  EXPECT_EQ(shown(fleet.survey()).size(), 3U);
  for (const Finding& finding : fleet.survey()) EXPECT_EQ(finding.difference, Difference::foreign);
  EXPECT_EQ(fleet.run_fix()->fixed, 0);
  EXPECT_EQ(fleet.aws.certificates.at(theirs).status, "ACTIVE");
  EXPECT_EQ(fleet.aws.certificates.at(added).status, "ACTIVE");
}

TEST(Survey, DoesNotDeleteAThingThatAStrangersCertificateHas) {
  Fleet fleet;
  fleet.add_board("b", Standing::burned, "INACTIVE");
  (void)fleet.aws.add_certificate("ACTIVE", {"b"});
  EXPECT_EQ(shown(fleet.survey()), (Lines{"orphan b *", "foreign b", "orphan b"}));
  ASSERT_EQ(fleet.run_fix()->fixed, 1);
  EXPECT_TRUE(fleet.aws.things.contains("b"));
}

TEST(Survey, FindsACertificateOnAnotherThingAndAThingWithoutOurMark) {
  Fleet fleet;
  fleet.add_board("b", Standing::verified, "ACTIVE");
  fleet.aws.add_thing("kettle", {});
  fleet.aws.certificates.at(fleet.arn_of("a")).things = {"a", "b", "kettle"};
  fleet.aws.things["b"].attributes.clear();
  EXPECT_EQ(shown(fleet.survey()), (Lines{"wrong-thing a", "wrong-thing a", "foreign b"}));
  fleet.aws.things["b"].attributes = {{"espmint", "lamp"}};
  EXPECT_EQ(shown(fleet.survey()), (Lines{"wrong-thing a *", "wrong-thing a"}));
}

TEST(Survey, KnowsARegisteredCertificateByItsDigest) {
  Fleet fleet;
  fleet.ledger.certificates[0].cloud_id.clear();
  EXPECT_EQ(shown(fleet.survey()), Lines{});
}

TEST(Survey, GivesUpOnWhatStaysAttachedAndGoesOnWithTheRest) {
  Fleet fleet;
  fleet.add_board("b", Standing::burned, "INACTIVE");
  fleet.add_lost("c", "INACTIVE");
  fleet.aws.detach_is_seen_after = 12;  // 60 s and a little
  auto report = fleet.run_fix();
  ASSERT_TRUE(report);
  ASSERT_EQ(report->failed.size(), 1U);
  EXPECT_EQ(report->failed[0].remedy, Remedy::retry);
  EXPECT_EQ(report->failed[0].where.board, "b");
  EXPECT_GE(report->fixed, 1);
}

TEST(Survey, SaysEachRepairAsTheCallThatItIs) {
  const std::string arn = TestClient::arn_of(std::string(64, 'a'));
  EXPECT_EQ(words_of({Repair::Step::deactivate, arn, {}}),
            "UpdateCertificate certificateId=" + std::string(64, 'a') + " newStatus=INACTIVE");
  EXPECT_EQ(words_of({Repair::Step::detach_thing, arn, "b"}), "DetachThingPrincipal thingName=b principal=" + arn);
  EXPECT_EQ(words_of({Repair::Step::delete_thing, {}, "b"}), "DeleteThing thingName=b");
}

TEST(Revocation, TakesAllThatTheThingHasAndLeavesTheThing) {
  Fleet fleet;
  const std::string arn = fleet.arn_of("a");
  const std::string older = fleet.aws.add_certificate("ACTIVE", {"a"});
  const std::string loose = fleet.aws.add_certificate("ACTIVE", {});
  fleet.aws.certificates.at(loose).policies = {"lamp-policy"};
  auto plan = run_task(fleet.loop, plan_revocation(fleet.iot, {"a", "lamp", {loose}}));
  ASSERT_TRUE(plan) << describe(plan.error());
  EXPECT_EQ(plan->size(), 7U);
  EXPECT_EQ(fleet.aws.certificates.at(arn).status, "ACTIVE") << "a plan changes nothing";
  ASSERT_TRUE(run_task(fleet.loop, carry_out(fleet.iot, fleet.loop, *plan)));
  ASSERT_TRUE(run_task(fleet.loop, carry_out(fleet.iot, fleet.loop, *plan))) << "once more";
  for (const auto& [id, held] : fleet.aws.certificates) {
    EXPECT_EQ(held.status, "INACTIVE");
    EXPECT_TRUE(held.things.empty() && held.policies.empty());
  }
  EXPECT_TRUE(fleet.aws.things.contains("a"));
}

TEST(Revocation, LeavesAThingThatIsAnotherProductsUnlessItIsTold) {
  Fleet fleet;
  auto plan = run_task(fleet.loop, plan_revocation(fleet.iot, {"a", "kettle", {}}));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::thing_foreign);
  fleet.aws.things["a"].attributes.clear();
  EXPECT_FALSE(run_task(fleet.loop, plan_revocation(fleet.iot, {"a", "lamp", {}})));
  EXPECT_EQ(run_task(fleet.loop, plan_revocation(fleet.iot, {"a", "lamp", {}, true}))->size(), 3U);
}

TEST(Revocation, AsksBeforeOtherThingsLoseTheirs) {
  Fleet fleet;
  fleet.aws.certificates.at(fleet.arn_of("a")).things.insert("b");
  auto plan = run_task(fleet.loop, plan_revocation(fleet.iot, {"a", "lamp", {}}));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::cloud_refused);
  EXPECT_EQ(run_task(fleet.loop, plan_revocation(fleet.iot, {"a", "lamp", {}, true}))->size(), 4U);
  EXPECT_TRUE(run_task(fleet.loop, plan_revocation(fleet.iot, {"nowhere", "lamp", {}}))->empty());
}

}  // namespace
}  // namespace espmint::aws
