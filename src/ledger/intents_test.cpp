// What a cloud elsewhere is asked and told, as the ledger keeps it.
#include <gtest/gtest.h>

#include "ledger/test_boards.hpp"
#include "ledger/test_ledger.hpp"

namespace espmint {
namespace {

const Acts enrolment{"policy", "thing", "attach"};
const Acts completion{"activate", "retire"};
const Sha256 a_key = sha256_of(as_bytes("a public key"));
constexpr const char* arn = "arn:aws:iot:eu-central-1:123456789012:cert/00";

struct Intents : testing::Test {
  TestFolder folder;
  TestClock clock;
  std::unique_ptr<Ledger> ledger = open_ledger(folder, clock);
  void TearDown() override { EXPECT_EQ(violations_of(folder), ""); }

  std::vector<std::string> acts() {
    std::vector<std::string> out;
    for (const OpenIntent& intent : must(ledger->open_intents())) out.push_back(intent.act);
    return out;
  }
  CertificateRecord named(const Attempt& attempt) {
    CertificateRecord record = certificate_of(attempt.number);
    record.cloud_id = arn;
    return record;
  }
  Attempt issued(int n, bool renew = false) {
    Attempt attempt = reserve_board(*ledger, n, renew);
    must(ledger->begin_issue(attempt, a_key));
    must(ledger->record_certificate(attempt, named(attempt), enrolment));
    return attempt;
  }
  Attempt verified(int n, bool renew = false) {
    Attempt attempt = issued(n, renew);
    must(ledger->expose(attempt));
    must(ledger->mark_written(attempt));
    must(ledger->mark_verified(attempt, evidence_of(certificate_of(attempt.number)), completion));
    return attempt;
  }
  void settle_all() {
    for (const OpenIntent& intent : must(ledger->open_intents()))
      must(ledger->settle(intent.attempt, intent.act, "done"));
  }
};

TEST_F(Intents, ACertificateAskedForElsewhereIsKnownBeforeItIsThere) {
  Attempt attempt = reserve_board(*ledger, 1);
  EXPECT_OK(ledger->begin_issue(attempt, a_key));
  EXPECT_TRUE(must(ledger->unanswered_issues()).empty()) << "it is being asked for now";
  EXPECT_TRUE(acts().empty()) << "never to be repeated";
  EXPECT_OK(ledger->release(attempt, "the answer was lost"));
  auto lost = must(ledger->unanswered_issues());
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_EQ(lost[0].attempt.device_id, id_of(1));
  EXPECT_EQ(lost[0].public_key_sha256, a_key);
  EXPECT_OK(ledger->settle(attempt, "issue", "swept"));
  EXPECT_TRUE(must(ledger->unanswered_issues()).empty());
}

TEST_F(Intents, AQuestionThatACrashCutOffStaysOpen) {
  Attempt attempt = reserve_board(*ledger, 1);
  EXPECT_OK(ledger->begin_issue(attempt, a_key));
  ledger.reset();
  ledger = open_ledger(folder, clock);  // frees what was RESERVED
  ASSERT_EQ(must(ledger->unanswered_issues()).size(), 1u);
  EXPECT_TRUE(must(ledger->reserve(board_of(1), id_of(1), plan_a, {}, false)).number > attempt.number);
}

TEST_F(Intents, ACertificateIsNeverAskedForTwice) {
  Attempt attempt = reserve_board(*ledger, 1);
  EXPECT_OK(ledger->begin_issue(attempt, a_key));
  EXPECT_EQ(fault_of(ledger->begin_issue(attempt, a_key)).code, Code::ledger_refused);
}

TEST_F(Intents, OpenInTheOrderInWhichTheyAreTold) {
  verified(1);
  EXPECT_EQ(acts(), (std::vector<std::string>{"policy", "thing", "attach", "activate", "retire"}));
  EXPECT_EQ(must(ledger->open_intents(2)).size(), 2u);
  EXPECT_EQ(must(ledger->boards_to_tell()), 1u);
  for (const OpenIntent& intent : must(ledger->open_intents())) {
    EXPECT_EQ(intent.cloud_id, arn);
    EXPECT_EQ(sha256_of(intent.certificate_der), intent.certificate_sha256);
  }
}

TEST_F(Intents, WhatARunTellsItselfNobodyElseTells) {
  Attempt attempt = issued(1);
  EXPECT_TRUE(acts().empty()) << "its run does, before the board is exposed";
  EXPECT_EQ(must(ledger->boards_to_tell()), 0u);
  EXPECT_FALSE(must(ledger->may_tell(attempt, "policy")));
  EXPECT_OK(ledger->settle(attempt, "policy", "done"));
  must(ledger->expose(attempt));
  EXPECT_TRUE(must(ledger->may_tell(attempt, "attach")));
  EXPECT_EQ(acts(), (std::vector<std::string>{"thing", "attach"}));
  must(ledger->burn(attempt, "its key is gone"));
  EXPECT_FALSE(must(ledger->may_tell(attempt, "attach")));
}

TEST_F(Intents, WhatARegistrationAnsweredIsTheCertificatesName) {
  Attempt attempt = reserve_board(*ledger, 1);
  EXPECT_OK(ledger->record_certificate(attempt, certificate_of(attempt.number), {"register", "attach"}));
  EXPECT_TRUE(acts().empty()) << "not before the board gets it";
  EXPECT_OK(ledger->expose(attempt));
  EXPECT_OK(ledger->settle(attempt, "register", "done", arn));
  EXPECT_EQ(must(ledger->open_intents())[0].cloud_id, arn);
  EXPECT_EQ(must(ledger->certificates())[0].cloud_id, arn);
}

TEST_F(Intents, ACertificateThatTheCloudMayKnowIsTakenBackWhenItsBoardNeverGetsIt) {
  Attempt attempt = issued(1);
  EXPECT_OK(ledger->release(attempt, "unplugged"));
  EXPECT_EQ(acts(), std::vector<std::string>{"revoke"});
  EXPECT_EQ(must(ledger->open_intents())[0].cloud_id, arn);
}

TEST_F(Intents, ARenewalTakesTheOldOneBackLastAndOnlyWhenTheNewOneIsProved) {
  verified(1);
  settle_all();
  Attempt second = issued(1, true);
  must(ledger->expose(second));
  EXPECT_EQ(acts(), (std::vector<std::string>{"policy", "thing", "attach"}));
  must(ledger->mark_written(second));
  must(ledger->mark_verified(second, evidence_of(certificate_of(second.number)), completion));
  // What this ledger has retired once, it knows: no second look at the thing's certificates.
  EXPECT_EQ(acts(), (std::vector<std::string>{"policy", "thing", "attach", "activate", "revoke"}));
}

TEST_F(Intents, ARenewalThatIsBurnedLeavesTheCertificateThatTheBoardMayStillHave) {
  Attempt first = verified(1);
  settle_all();
  Attempt second = issued(1, true);
  must(ledger->expose(second));
  must(ledger->burn(second, "unplugged before its first byte"));
  EXPECT_EQ(acts(), std::vector<std::string>{"revoke"}) << "of the one that was never on a board";
  EXPECT_EQ(must(ledger->open_intents())[0].attempt.number, second.number);
  for (const KnownCertificate& one : must(ledger->certificates()))
    EXPECT_EQ(one.may_be_on_board, one.attempt.number == first.number);
  Attempt third = verified(1);
  auto left = must(ledger->open_intents());
  EXPECT_EQ(left.back().attempt.number, second.number);
  EXPECT_TRUE(must(ledger->may_tell(first, "revoke"))) << "the third is proved";
  EXPECT_GT(third.number, second.number);
}

TEST_F(Intents, RetiringWaitsWhileTheBoardIsOnItsWayToAnotherCertificate) {
  Attempt first = verified(1);
  EXPECT_TRUE(must(ledger->may_tell(first, "retire")));
  Attempt second = issued(1, true);
  EXPECT_FALSE(must(ledger->may_tell(first, "retire"))) << "it would take the second one off its thing";
  must(ledger->release(second, "unplugged"));
  EXPECT_TRUE(must(ledger->may_tell(first, "retire")));
}

TEST_F(Intents, WhatAPersonTakesBackIsToldAtOnceAndStaysTakenBack) {
  Attempt attempt = verified(1);
  EXPECT_OK(ledger->revoke(id_of(1), "lost in the field"));
  EXPECT_EQ(acts(), std::vector<std::string>{"revoke"}) << "no longer activate, retire";
  EXPECT_TRUE(must(ledger->may_tell(attempt, "revoke"))) << "there is no successor to wait for";
  EXPECT_FALSE(must(ledger->certificates())[0].may_be_on_board);
  EXPECT_EQ(state_of(*ledger, 1), KeyState::revoked);
  EXPECT_EQ(fault_of(ledger->revoke(id_of(1), "again")).code, Code::ledger_refused);

  Admission met = must(ledger->admit(board_of(1), plan_a));
  EXPECT_EQ(met.kind, Admission::Kind::revoked);
  EXPECT_EQ(met.why, "lost in the field");
  EXPECT_EQ(fault_of(ledger->reserve(board_of(1), id_of(1), plan_a, std::nullopt, false)).code, Code::ledger_refused);
  Attempt given_up = issued(1, true);
  EXPECT_OK(ledger->release(given_up, "unplugged"));
  EXPECT_EQ(must(ledger->admit(board_of(1), plan_a)).kind, Admission::Kind::revoked) << "nothing came of it";
  verified(1, true);
  EXPECT_EQ(state_of(*ledger, 1), KeyState::verified);
  EXPECT_TRUE(must(ledger->verify_audit()).why.empty());
}

TEST_F(Intents, TakingBackABoardTakesBackWhatItHadBefore) {
  Attempt first = verified(1);
  settle_all();
  Attempt second = issued(1, true);
  EXPECT_OK(ledger->expose(second));
  EXPECT_FALSE(must(ledger->may_tell(first, "revoke"))) << "make before break";
  EXPECT_OK(ledger->revoke(id_of(1), "by hand"));
  EXPECT_TRUE(must(ledger->may_tell(first, "revoke")));
  EXPECT_TRUE(must(ledger->may_tell(second, "revoke")));
}

TEST_F(Intents, WhatWasRetiredIsRemembered) {
  Attempt attempt = verified(1);
  EXPECT_OK(ledger->settle(attempt, "retire", "done", "00aa 11bb"));
  auto retired = must(ledger->retired_certificates());
  ASSERT_EQ(retired.size(), 2u);
  EXPECT_EQ(retired[1].device_id + " " + retired[1].id, id_of(1) + " 11bb");
  EXPECT_EQ(must(ledger->certificates())[0].cloud_id, arn) << "it is no name of the board's own certificate";
  EXPECT_EQ(must(ledger->device(id_of(1)))->certificate->cloud_id, arn);
}

TEST_F(Intents, EveryCertificateIsListedForAComparison) {
  verified(1);
  Attempt second = issued(2);
  EXPECT_OK(ledger->release(second, "unplugged"));
  auto all = must(ledger->certificates());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].state, KeyState::verified);
  EXPECT_TRUE(all[0].waits);
  EXPECT_EQ(all[1].state, KeyState::available) << "nobody's";
  settle_all();
  EXPECT_FALSE(must(ledger->certificates())[0].waits);
}

}  // namespace
}  // namespace espmint
