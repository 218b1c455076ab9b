// The rules of DESIGN §5, one test each.
#include "ledger/ledger.hpp"

#include "ledger/test_ledger.hpp"

namespace espmint {
namespace {

using Kind = Admission::Kind;

struct LedgerRules : testing::Test {
  TestFolder folder;
  TestClock clock;
  std::unique_ptr<Ledger> ledger = open_ledger(folder, clock);

  Admission admit(int n, const Sha256& plan = plan_a) { return must(ledger->admit(board_of(n), plan)); }
  void TearDown() override { EXPECT_EQ(violations_of(folder), ""); }
};

TEST_F(LedgerRules, ABoardThatNobodyKnowsIsFresh) {
  auto admission = admit(1);
  EXPECT_EQ(admission.kind, Kind::fresh);
  EXPECT_EQ(admission.state, KeyState::available);
  EXPECT_TRUE(must(ledger->devices()).empty());  // looking at a board records nothing
}

TEST_F(LedgerRules, OneBoardPassesEveryStateInOrder) {
  Attempt attempt = reserve_board(*ledger, 1);
  EXPECT_EQ(state_of(*ledger, 1), KeyState::reserved);
  CertificateRecord record = certificate_of(attempt.number);
  EXPECT_OK(ledger->record_certificate(attempt, record));
  EXPECT_OK(ledger->settle(attempt, "enrol", "done"));
  EXPECT_OK(ledger->expose(attempt));
  EXPECT_EQ(state_of(*ledger, 1), KeyState::exposed);
  EXPECT_OK(ledger->mark_written(attempt));
  EXPECT_EQ(state_of(*ledger, 1), KeyState::written);
  EXPECT_OK(ledger->mark_verified(attempt, evidence_of(record)));
  EXPECT_EQ(state_of(*ledger, 1), KeyState::verified);

  auto device = must(ledger->device("24:D7:EB:00:00:01"));
  ASSERT_TRUE(device);
  EXPECT_EQ(device->id, "24d7eb000001");
  EXPECT_EQ(device->board, board_of(1));
  ASSERT_TRUE(device->certificate);
  EXPECT_EQ(device->certificate->sha256, record.sha256);
  EXPECT_EQ(device->certificate->der, record.der);
  EXPECT_EQ(device->certificate->image_md5, record.image_md5);
  EXPECT_EQ(device->updated, "2026-11-21T00:00:00Z");
}

TEST_F(LedgerRules, TransitionsThatGoTogetherAreAllThereOrNone) {
  Attempt attempt = reserve_board(*ledger, 1);
  CertificateRecord record = certificate_of(attempt.number);
  auto before = must(ledger->verify_audit()).rows;
  auto half = ledger->together([&]() -> Result<void> {
    TRY(ledger->record_certificate(attempt, record));
    return ledger->settle(attempt, "activate", "done");  // there is no such intent yet
  });
  EXPECT_EQ(fault_of(half).code, Code::ledger_refused);
  EXPECT_EQ(must(ledger->verify_audit()).rows, before);
  EXPECT_TRUE(must(ledger->open_intents()).empty());
  auto unsaid = ledger->together([&]() -> Result<void> {
    (void)ledger->settle(attempt, "activate", "done");
    return ok();
  });
  EXPECT_EQ(fault_of(unsaid).code, Code::ledger_refused) << "a fault that nobody returned";
  EXPECT_OK(ledger->together([&]() -> Result<void> {
    TRY(ledger->record_certificate(attempt, record));
    return ledger->settle(attempt, "enrol", "done");
  }));
  EXPECT_EQ(must(ledger->verify_audit()).rows, before + 2);
  EXPECT_EQ(must(ledger->verify_audit()).broken_at, std::nullopt);
}

TEST_F(LedgerRules, NoStepIsSkippedRepeatedOrTakenBack) {
  Attempt attempt = reserve_board(*ledger, 1);
  CertificateRecord record = certificate_of(attempt.number);
  EXPECT_EQ(fault_of(ledger->expose(attempt)).code, Code::ledger_refused);  // nothing recorded yet
  EXPECT_EQ(fault_of(ledger->mark_written(attempt)).code, Code::ledger_refused);
  EXPECT_OK(ledger->record_certificate(attempt, record));
  EXPECT_EQ(fault_of(ledger->record_certificate(attempt, certificate_of(attempt.number, 1))).code,
            Code::ledger_refused);
  EXPECT_EQ(fault_of(ledger->burn(attempt, "too early")).code, Code::ledger_refused);
  EXPECT_OK(ledger->expose(attempt));
  EXPECT_EQ(fault_of(ledger->expose(attempt)).code, Code::ledger_refused);
  EXPECT_EQ(fault_of(ledger->release(attempt, "changed my mind")).code, Code::ledger_refused);  // I5
  EXPECT_EQ(fault_of(ledger->mark_verified(attempt, evidence_of(record))).code, Code::ledger_refused);
  EXPECT_OK(ledger->mark_written(attempt));
  EXPECT_EQ(fault_of(ledger->release(attempt, "changed my mind")).code, Code::ledger_refused);
  EXPECT_OK(ledger->mark_verified(attempt, evidence_of(record)));
  EXPECT_EQ(fault_of(ledger->burn(attempt, "a VERIFIED one is only replaced by a renewal")).code, Code::ledger_refused);
  EXPECT_EQ(fault_of(ledger->mark_written(attempt)).code, Code::ledger_refused);
  EXPECT_EQ(state_of(*ledger, 1), KeyState::verified);
}

TEST_F(LedgerRules, ARefusalSaysWhichAttemptAndWhatItIs) {
  Attempt attempt = expose_board(*ledger, 1);
  Fault fault = fault_of(ledger->release(attempt, "x"));
  EXPECT_EQ(fault.remedy, Remedy::refuse);
  EXPECT_EQ(describe(fault), "attempt 1 of 24d7eb000001 cannot be released: it is EXPOSED, not RESERVED");
  EXPECT_EQ(fault_of(ledger->expose({7, "24d7eb000001"})).what, "the ledger knows no attempt 7 of 24d7eb000001");
  EXPECT_EQ(fault_of(ledger->expose({1, "somebody else"})).what, "the ledger knows no attempt 1 of somebody else");
}

TEST_F(LedgerRules, VerifiedNeedsEvidenceOfTheRecordedImage) {
  Attempt attempt = write_board(*ledger, 1);
  CertificateRecord record = certificate_of(attempt.number);
  EXPECT_EQ(fault_of(ledger->mark_verified(attempt, {"banner", record.image_md5, "says Provisioned"})).code,
            Code::ledger_refused);
  Evidence other = evidence_of(record);
  other.image_md5[0] ^= 1;
  EXPECT_EQ(fault_of(ledger->mark_verified(attempt, other)).code, Code::ledger_refused);
  EXPECT_EQ(state_of(*ledger, 1), KeyState::written);
  EXPECT_OK(ledger->mark_verified(attempt, {"rom-digest+challenge", record.image_md5, ""}));
}

TEST_F(LedgerRules, AKnownBoardIsVerifiedInPlaceWithTheSamePlanOnly) {
  Attempt attempt = verify_board(*ledger, 1);
  auto same = admit(1);
  EXPECT_EQ(same.kind, Kind::verified);
  EXPECT_EQ(same.device_id, id_of(1));
  EXPECT_EQ(same.when, "2026-11-21T00:00:00Z");
  ASSERT_TRUE(same.attempt && same.certificate);
  EXPECT_EQ(same.attempt->number, attempt.number);
  EXPECT_EQ(same.certificate->sha256, certificate_of(attempt.number).sha256);
  auto other = admit(1, plan_of("b"));
  EXPECT_EQ(other.kind, Kind::replan);
  EXPECT_EQ(other.plan_digest, plan_a);
  EXPECT_EQ(fault_of(ledger->reserve(board_of(1), id_of(1), plan_of("b"), {}, false)).code, Code::ledger_refused);
}

TEST_F(LedgerRules, AnExposedOrWrittenBoardIsResumedWithWhatWasMeantForIt) {
  Attempt attempt = expose_board(*ledger, 1);
  for (KeyState state : {KeyState::exposed, KeyState::written}) {
    auto admission = admit(1, plan_of("any plan"));
    EXPECT_EQ(admission.kind, Kind::resume);
    EXPECT_EQ(admission.state, state);
    ASSERT_TRUE(admission.attempt && admission.certificate);
    EXPECT_EQ(admission.attempt->number, attempt.number);
    EXPECT_EQ(admission.certificate->image_md5, certificate_of(attempt.number).image_md5);
    EXPECT_EQ(fault_of(ledger->reserve(board_of(1), id_of(1), plan_a, {}, true)).code, Code::ledger_refused);
    if (state == KeyState::exposed) EXPECT_OK(ledger->mark_written(attempt));
  }
}

TEST_F(LedgerRules, ABoardUnderWayOnAnotherSlotIsHeldAndSaysWhichAttempt) {
  Attempt attempt = reserve_board(*ledger, 1);
  auto admission = admit(1);
  EXPECT_EQ(admission.kind, Kind::held);
  EXPECT_EQ(admission.state, KeyState::reserved);
  ASSERT_TRUE(admission.attempt);
  EXPECT_EQ(admission.attempt->number, attempt.number);
  EXPECT_EQ(admission.why, "attempt 1 of this board is still under way on another slot, since 2026-11-21T00:00:00Z");
  EXPECT_EQ(fault_of(ledger->reserve(board_of(1), id_of(1), plan_a, {}, false)).code, Code::ledger_refused);
}

TEST_F(LedgerRules, AReleasedBoardIsFreshAgainAndItsCertificateBurned) {
  Attempt first = record_board(*ledger, 1);
  EXPECT_OK(ledger->release(first, "unplugged"));
  EXPECT_EQ(admit(1).kind, Kind::fresh);
  auto device = must(ledger->device(id_of(1)));
  EXPECT_EQ(device->state, KeyState::available);
  EXPECT_FALSE(device->certificate);
  EXPECT_TRUE(must(ledger->open_intents()).empty());  // nobody enrols it any more
  Attempt second = reserve_board(*ledger, 1);
  EXPECT_GT(second.number, first.number);
  EXPECT_EQ(fault_of(ledger->expose(first)).code, Code::ledger_refused);  // the old attempt stays what it is
}

TEST_F(LedgerRules, ABurnedBoardKeepsItsIdAndGetsAnotherKey) {
  Attempt first = write_board(*ledger, 1);
  EXPECT_OK(ledger->burn(first, "the key is gone and the board holds another image"));
  EXPECT_EQ(admit(1).kind, Kind::fresh);
  EXPECT_EQ(admit(1).device_id, id_of(1));
  EXPECT_EQ(fault_of(ledger->reserve(board_of(1), "another", plan_a, {}, false)).code, Code::ledger_refused);
  EXPECT_EQ(fault_of(ledger->reserve(board_of(2), id_of(1), plan_a, {}, false)).code, Code::ledger_refused);
  Attempt second = verify_board(*ledger, 1);
  EXPECT_EQ(second.device_id, first.device_id);
  EXPECT_GT(second.number, first.number);
}

TEST_F(LedgerRules, AnIdMayStillChangeWhileNothingWasExposed) {
  EXPECT_OK(ledger->release(must(ledger->reserve(board_of(1), "tyop", plan_a, {}, false)), "recipe mended"));
  auto attempt = must(ledger->reserve(board_of(1), "typo", plan_a, {}, false));
  EXPECT_EQ(attempt.device_id, "typo");
  EXPECT_TRUE(must(ledger->reserve(board_of(2), "tyop", plan_a, {}, false)).number);
}

TEST_F(LedgerRules, OneIdIsNeverOnTwoBoards) {
  verify_board(*ledger, 1);
  Fault fault = fault_of(ledger->reserve(board_of(2), id_of(1), plan_a, {}, false));
  EXPECT_EQ(fault.code, Code::ledger_refused);
  EXPECT_EQ(fault.seen, "board 24d7eb000001");
  for (auto id : {std::string{}, std::string{"a\nb"}, std::string(129, 'x'), std::string{"\xff\xfe"}})
    EXPECT_EQ(fault_of(ledger->reserve(board_of(2), id, plan_a, {}, false)).code, Code::ledger_refused);
}

TEST_F(LedgerRules, OneKeySerialOrCertificateIsNeverRecordedTwice) {
  Attempt first = verify_board(*ledger, 1);
  CertificateRecord used = certificate_of(first.number);
  Attempt second = reserve_board(*ledger, 2);
  for (int what = 0; what < 3; ++what) {
    CertificateRecord record = certificate_of(second.number);
    if (what == 0) record = used;
    if (what == 1) record.serial = used.serial;
    if (what == 2) record.public_key_der = used.public_key_der;
    Fault fault = fault_of(ledger->record_certificate(second, record));
    EXPECT_EQ(fault.code, Code::ledger_refused);
    EXPECT_EQ(fault.remedy, Remedy::stop_line) << "a generator that repeats itself is wrong on every slot";
  }
  CertificateRecord torn = certificate_of(second.number);
  torn.der.pop_back();
  EXPECT_EQ(fault_of(ledger->record_certificate(second, torn)).code, Code::ledger_refused);
}

TEST_F(LedgerRules, ARenewalBurnsTheOldCertificateWhenTheNewOneIsExposed) {
  Attempt old = verify_board(*ledger, 1);
  EXPECT_OK(ledger->settle(old, "activate", "done"));
  Attempt renewed = record_board(*ledger, 1, true);
  auto between = must(ledger->device(id_of(1)));
  EXPECT_EQ(between->state, KeyState::verified);  // the old identity is still what the board holds
  EXPECT_EQ(between->certificate->sha256, certificate_of(old.number).sha256);
  EXPECT_OK(ledger->expose(renewed));
  auto after = must(ledger->device(id_of(1)));
  EXPECT_EQ(after->state, KeyState::exposed);
  EXPECT_EQ(after->certificate->sha256, certificate_of(renewed.number).sha256);
  auto open = must(ledger->open_intents());
  ASSERT_EQ(open.size(), 1u);  // enrol the new one; until it is proved the board may still have the old one
  EXPECT_EQ(open[0].act, "enrol");
  EXPECT_OK(ledger->mark_written(renewed));
  EXPECT_OK(ledger->mark_verified(renewed, evidence_of(certificate_of(renewed.number))));
  open = must(ledger->open_intents());
  ASSERT_EQ(open.size(), 3u);
  EXPECT_EQ(open[1].act, "activate");
  EXPECT_EQ(open[2].act, "revoke") << "last: make before break";
  EXPECT_EQ(open[2].attempt.number, old.number);
  EXPECT_EQ(open[2].certificate_sha256, certificate_of(old.number).sha256);
  EXPECT_OK(ledger->settle(old, "revoke", "done"));
}

TEST_F(LedgerRules, ARenewalReleasedBeforeExposureLeavesTheOldOneVerified) {
  Attempt old = verify_board(*ledger, 1);
  EXPECT_OK(ledger->release(record_board(*ledger, 1, true), "unplugged"));
  auto admission = admit(1);
  EXPECT_EQ(admission.kind, Kind::verified);
  EXPECT_EQ(admission.attempt->number, old.number);
  EXPECT_EQ(must(ledger->device(id_of(1)))->certificate->sha256, certificate_of(old.number).sha256);
}

TEST_F(LedgerRules, AMacWithAnotherTupleIsACloneAndBothAreHeld) {
  verify_board(*ledger, 1);
  BoardIdentity clone = board_of(1);
  clone.flash_id = 0x1840ef;
  auto second = must(ledger->admit(clone, plan_a));
  EXPECT_EQ(second.kind, Kind::held);
  EXPECT_EQ(second.why,
            "two boards claim MAC 24:d7:eb:00:00:01: esp32, flash id 0x164020; and esp32, flash id 0x1840ef");
  EXPECT_EQ(admit(1).kind, Kind::held);
  EXPECT_EQ(must(ledger->admit(clone, plan_a)).kind, Kind::held);
  EXPECT_EQ(fault_of(ledger->reserve(clone, "x", plan_a, {}, false)).code, Code::board_held);
  EXPECT_EQ(fault_of(ledger->reserve(board_of(1), id_of(1), plan_a, {}, true)).code, Code::board_held);
  ASSERT_EQ(must(ledger->devices()).size(), 2u);
  EXPECT_FALSE(must(ledger->devices())[1].held.empty());
  EXPECT_EQ(must(ledger->device(id_of(1)))->state, KeyState::verified);  // what happened stays on record
}

TEST_F(LedgerRules, AnyPartOfTheTupleMakesAClone) {
  for (int part = 0; part < 3; ++part) {
    verify_board(*ledger, part + 1);
    BoardIdentity clone = board_of(part + 1);
    if (part == 0) clone.chip = "esp32s3";
    if (part == 1) clone.unique_id = "00112233445566778899aabbccddeeff";
    if (part == 2) clone.flash_id ^= 1;
    // reserve() notices by itself too: admit() may have seen both before either was recorded.
    EXPECT_EQ(fault_of(ledger->reserve(clone, "clone", plan_a, {}, false)).code, Code::board_held);
    EXPECT_EQ(admit(part + 1).kind, Kind::held);
  }
}

TEST_F(LedgerRules, ACloneStopsTheFirstBoardBeforeItsKeyIsExposedAndBeforeGreen) {
  Attempt reserved = record_board(*ledger, 1);
  Attempt written = write_board(*ledger, 2);
  for (int n : {1, 2}) {
    BoardIdentity clone = board_of(n);
    clone.chip = "esp32c3";
    EXPECT_EQ(must(ledger->admit(clone, plan_a)).kind, Kind::held);
  }
  EXPECT_EQ(fault_of(ledger->expose(reserved)).code, Code::board_held);
  EXPECT_OK(ledger->release(reserved, "held"));
  EXPECT_EQ(fault_of(ledger->mark_verified(written, evidence_of(certificate_of(written.number)))).code,
            Code::board_held);
}

TEST_F(LedgerRules, TheQuotaCountsDistinctBoardsEverExposed) {
  auto reserve = [&](int n) { return ledger->reserve(board_of(n), id_of(n), plan_a, 2, false); };
  verify_board(*ledger, 1);
  Attempt second = must(reserve(2));
  EXPECT_EQ(fault_of(reserve(3)).code, Code::quota_reached);  // one done, one under way
  EXPECT_OK(ledger->release(second, "unplugged"));
  Attempt third = must(reserve(3));  // never exposed: the place is free again
  EXPECT_OK(ledger->record_certificate(third, certificate_of(third.number)));
  EXPECT_OK(ledger->expose(third));
  EXPECT_OK(ledger->burn(third, "the key is gone"));
  EXPECT_EQ(fault_of(reserve(4)).code, Code::quota_reached);  // a failure counts
  EXPECT_TRUE(reserve(3));                                    // but the same board does not count twice
}

TEST_F(LedgerRules, AClockEarlierThanTheLastEntryStopsIssuingAndNothingElse) {
  Attempt attempt = write_board(*ledger, 1);
  clock.time -= std::chrono::seconds{1};
  Fault fault = fault_of(ledger->reserve(board_of(2), id_of(2), plan_a, {}, false));
  EXPECT_EQ(fault.code, Code::clock_backwards);
  EXPECT_EQ(fault.remedy, Remedy::stop_line);
  EXPECT_EQ(fault.seen, "clock 2026-11-20T23:59:59Z, ledger 2026-11-21T00:00:00Z");
  // What is on the board already is finished, and does not make the early clock look right.
  EXPECT_OK(ledger->mark_verified(attempt, evidence_of(certificate_of(attempt.number))));
  EXPECT_EQ(fault_of(ledger->reserve(board_of(2), id_of(2), plan_a, {}, false)).code, Code::clock_backwards);
  clock.time += std::chrono::seconds{1};
  EXPECT_TRUE(ledger->reserve(board_of(2), id_of(2), plan_a, {}, false));
}

TEST_F(LedgerRules, IntentsStayOpenUntilSettledOnce) {
  Attempt attempt = record_board(*ledger, 1);
  EXPECT_TRUE(must(ledger->open_intents()).empty()) << "its own run tells it";
  EXPECT_OK(ledger->expose(attempt));
  ASSERT_EQ(must(ledger->open_intents()).size(), 1u);
  EXPECT_EQ(must(ledger->open_intents())[0].act, "enrol");
  EXPECT_EQ(fault_of(ledger->settle(attempt, "activate", "done")).code, Code::ledger_refused);  // not before VERIFIED
  EXPECT_OK(ledger->settle(attempt, "enrol", "cloud away"));
  EXPECT_EQ(fault_of(ledger->settle(attempt, "enrol", "done")).seen, "it ended with: cloud away");
  EXPECT_OK(ledger->mark_written(attempt));
  EXPECT_OK(ledger->mark_verified(attempt, evidence_of(certificate_of(attempt.number))));
  ASSERT_EQ(must(ledger->open_intents()).size(), 1u);
  EXPECT_EQ(must(ledger->open_intents())[0].act, "activate");
}

TEST_F(LedgerRules, EveryRunIsKeptAndTheLastOneShownWithItsDevice) {
  Attempt attempt = verify_board(*ledger, 1);
  RunRecord failed = run_of(1, std::nullopt, "FAILED");
  failed.code = "flash-differs";
  failed.fault = "flash differs from image after write\x1b[31m \xff";
  EXPECT_OK(ledger->record_run(failed));
  EXPECT_OK(ledger->record_run(run_of(9, std::nullopt, "HELD")));  // of a board that has no identity
  auto runs = must(ledger->runs());
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[0].certificate_sha256, certificate_of(attempt.number).sha256);
  EXPECT_DOUBLE_EQ(runs[0].seconds, 9.25);
  EXPECT_EQ(runs[0].slot, "/dev/ttyUSB0");
  EXPECT_EQ(runs[1].fault, "flash differs from image after write\\x1b[31m \xef\xbf\xbd");
  EXPECT_FALSE(runs[1].certificate_sha256);
  EXPECT_EQ(must(ledger->device(id_of(1)))->last_run->code, "flash-differs");
}

TEST_F(LedgerRules, ARunMayNotSayVerifiedOfAnIdentityThatIsNot) {
  Attempt attempt = write_board(*ledger, 1);
  auto certificate = certificate_of(attempt.number).sha256;
  EXPECT_EQ(fault_of(ledger->record_run(run_of(1, certificate))).code, Code::ledger_refused);
  EXPECT_OK(ledger->record_run(run_of(1, certificate, "WRITTEN")));
  EXPECT_OK(ledger->record_run(run_of(2, std::nullopt)));  // a product without identities
  EXPECT_EQ(fault_of(ledger->record_run(run_of(1, certificate, "GREEN"))).code, Code::ledger_refused);
}

TEST_F(LedgerRules, APrivateKeyNeverEnters) {
  Attempt attempt = record_board(*ledger, 1);
  EXPECT_EQ(fault_of(ledger->release(attempt, "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ")).code, Code::ledger_refused);
  EXPECT_EQ(state_of(*ledger, 1), KeyState::reserved);  // refused as a whole
}

// The rules hold below the program too: whoever writes SQL past it meets them in the file.
TEST_F(LedgerRules, TheFileItselfRefusesToGoBack) {
  verify_board(*ledger, 1);
  Attempt exposed = expose_board(*ledger, 2);
  EXPECT_OK(ledger->burn(expose_board(*ledger, 3), "gone"));
  static_cast<void>(exposed);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(database_in(folder.path()).c_str(), &db), SQLITE_OK);
  for (const char* sql : {
           "UPDATE identity SET state = 'RESERVED', audit = 99 WHERE attempt = 2",
           "UPDATE identity SET state = 'RELEASED', audit = 99 WHERE attempt = 2",
           "UPDATE identity SET state = 'VERIFIED', audit = 99 WHERE attempt = 2",
           "UPDATE identity SET state = 'WRITTEN' WHERE attempt = 2",             // without an audit row
           "UPDATE identity SET state = 'BURNED', audit = 99 WHERE attempt = 1",  // VERIFIED, not renewed
           "UPDATE identity SET board = 3 WHERE attempt = 2",
           "UPDATE identity SET plan = lower(plan) || '' WHERE attempt = 2",
           "DELETE FROM identity",
           "INSERT INTO identity VALUES (9, 2, (SELECT plan FROM identity LIMIT 1), NULL, 'RESERVED', 1)",
           "INSERT INTO identity VALUES (9, 3, (SELECT plan FROM identity LIMIT 1), NULL, 'EXPOSED', 1)",
           "UPDATE certificate SET state = 'LIVE' WHERE attempt = 3",
           "UPDATE certificate SET der = x'00' WHERE attempt = 2",
           "DELETE FROM certificate",
           "UPDATE board SET mac = '000000000000' WHERE number = 1",
           "UPDATE board SET device_id = 'other' WHERE number = 1",
           "UPDATE board SET exposed = 0 WHERE number = 1",
           "UPDATE audit SET detail = '{}' WHERE seq = 2",
           "DELETE FROM audit WHERE seq = 2",
           "INSERT INTO audit SELECT seq + 100, time, event, device, detail, previous, hash FROM audit WHERE seq = 2",
           "UPDATE evidence SET method = 'banner'",
           "UPDATE run SET verdict = 'FAILED'",
           "UPDATE meta SET value = 'x'",
       }) {
    EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_CONSTRAINT) << sql;
  }
  sqlite3_close(db);
}

}  // namespace
}  // namespace espmint
