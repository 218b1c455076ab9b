// The rules of the key pool, as the ledger keeps them.
#include "ledger/test_ledger.hpp"

namespace espmint {
namespace {

struct Pool : testing::Test {
  TestFolder folder;
  TestClock clock;
  std::unique_ptr<Ledger> ledger = open_ledger(folder, clock);

  PoolImport key(int n, KeyState state = KeyState::available, std::string device = "") {
    return {pool_digests(ledger->salt(), {fmt::format("uuid-{}", n), fmt::format("secret-{}", n)}), state,
            std::move(device)};
  }
  void fill(int count) {
    std::vector<PoolImport> rows;
    for (int n = 1; n <= count; ++n) rows.push_back(key(n));
    EXPECT_EQ(must(ledger->import_keys(rows, "keys.csv")), 1);
  }
  PoolKey at(std::int64_t number) { return must(ledger->pool()).at(static_cast<std::size_t>(number - 1)); }
  void reserve(std::int64_t number, int board) {
    EXPECT_OK(ledger->reserve_key(number, board_of(board), id_of(board), std::nullopt));
  }
  void give(std::int64_t number, int board) {
    reserve(number, board);
    EXPECT_OK(ledger->expose_key(number));
    EXPECT_OK(ledger->mark_key_written(number));
    EXPECT_OK(ledger->mark_key_verified(number, {"read-back", "2 values"}));
  }
  void reopen() {
    ledger.reset();
    ledger = open_ledger(folder, clock);
  }
  void TearDown() override {
    EXPECT_EQ(violations_of(folder), "");
    EXPECT_EQ(must(verify_audit(folder.path())).why, "");
  }
};

TEST_F(Pool, AKeyPassesEveryStateInOrder) {
  fill(2);
  reserve(1, 7);
  EXPECT_EQ(at(1).state, KeyState::reserved);
  EXPECT_EQ(at(1).device, id_of(7));
  EXPECT_OK(ledger->expose_key(1));
  EXPECT_OK(ledger->mark_key_written(1));
  EXPECT_OK(ledger->mark_key_verified(1, {"read-back", ""}));
  EXPECT_EQ(at(1).state, KeyState::verified);
  EXPECT_EQ(at(2).state, KeyState::available);
  EXPECT_EQ(must(ledger->keys_of(id_of(7))).size(), 1u);
}

TEST_F(Pool, NoStepIsSkippedAndNoKeyReturns) {
  fill(2);
  EXPECT_EQ(fault_of(ledger->expose_key(1)).code, Code::ledger_refused);
  reserve(1, 7);
  EXPECT_EQ(fault_of(ledger->mark_key_written(1)).code, Code::ledger_refused);
  EXPECT_OK(ledger->expose_key(1));
  EXPECT_EQ(fault_of(ledger->release_key(1, "no")).code, Code::ledger_refused);
  EXPECT_EQ(fault_of(ledger->retire_key(1, "a, b", "no")).code, Code::ledger_refused);
  EXPECT_EQ(fault_of(ledger->mark_key_verified(1, {"read-back", ""})).code, Code::ledger_refused);
  EXPECT_OK(ledger->mark_key_written(1));
  EXPECT_EQ(fault_of(ledger->mark_key_verified(1, {"banner", "it says Provisioned"})).code, Code::ledger_refused);
  EXPECT_EQ(at(1).state, KeyState::written);
  EXPECT_EQ(fault_of(ledger->expose_key(3)).what, "the pool has no key 3");
}

TEST_F(Pool, OneBoardHasOneKeyAndOneKeyOneBoard) {
  fill(3);
  give(1, 7);
  EXPECT_EQ(fault_of(ledger->reserve_key(2, board_of(7), id_of(7), std::nullopt)).code, Code::ledger_refused);
  EXPECT_EQ(fault_of(ledger->reserve_key(1, board_of(8), id_of(8), std::nullopt)).code, Code::ledger_refused);
  reserve(2, 8);
  EXPECT_EQ(fault_of(ledger->reserve_key(2, board_of(9), id_of(9), std::nullopt)).code, Code::ledger_refused);
}

TEST_F(Pool, AReservedKeyIsFreeAgainAfterACrashAndAnExposedOneIsNot) {
  fill(3);
  reserve(1, 7);
  reserve(2, 8);
  EXPECT_OK(ledger->expose_key(2));
  reopen();
  EXPECT_EQ(at(1).state, KeyState::available);
  EXPECT_EQ(at(1).device, "");
  EXPECT_EQ(at(2).state, KeyState::exposed);
  EXPECT_EQ(at(2).device, id_of(8));
}

TEST_F(Pool, AQuarantinedKeyStaysWithItsBoard) {
  fill(2);
  reserve(1, 7);
  EXPECT_OK(ledger->expose_key(1));
  EXPECT_OK(ledger->quarantine_key(1, "it prompted again after its restart"));
  EXPECT_EQ(at(1).device, id_of(7));
  EXPECT_EQ(fault_of(ledger->reserve_key(2, board_of(7), id_of(7), std::nullopt)).code, Code::ledger_refused)
      << "a board whose key is in doubt gets no second one";
  EXPECT_OK(ledger->trust_key(1, "its firmware was mended"));
  EXPECT_EQ(at(1).state, KeyState::exposed);
  EXPECT_OK(ledger->quarantine_key(1, "again"));
  EXPECT_OK(ledger->retire_key(1, "ann, bob", "scrapped"));
  EXPECT_EQ(at(1).state, KeyState::retired);
  reserve(2, 7);
}

TEST_F(Pool, AQuarantinedKeyOfNobodyKnownCanOnlyBeRetired) {
  must(ledger->import_keys({key(1, KeyState::verified), key(2, KeyState::quarantined), key(3)}, "keys.csv"));
  EXPECT_NE(fault_of(ledger->trust_key(2, "it was never sent")).advice.find("retire"), std::string::npos);
  EXPECT_EQ(fault_of(ledger->reserve_key(2, board_of(7), id_of(7), std::nullopt)).code, Code::ledger_refused);
  EXPECT_OK(ledger->retire_key(2, "ann, bob", "nobody knows where it is"));
}

TEST_F(Pool, ALegacyKeyIsBoundToTheBoardItIsFoundOn) {
  must(ledger->import_keys({key(1, KeyState::verified), key(2)}, "keys.csv"));
  EXPECT_OK(ledger->bind_key(1, board_of(7), id_of(7)));
  EXPECT_EQ(at(1).device, id_of(7));
  EXPECT_EQ(at(1).state, KeyState::verified);
  EXPECT_EQ(fault_of(ledger->bind_key(1, board_of(8), id_of(8))).code, Code::ledger_refused) << "one key, one board";
  EXPECT_EQ(fault_of(ledger->bind_key(2, board_of(8), id_of(8))).code, Code::ledger_refused) << "nobody gave it out";
  EXPECT_EQ(fault_of(ledger->reserve_key(2, board_of(7), id_of(7), std::nullopt)).code, Code::ledger_refused);
}

TEST_F(Pool, AnImportIsWholeOrNothing) {
  fill(2);
  EXPECT_EQ(fault_of(ledger->import_keys({key(3), key(1)}, "more.csv")).code, Code::ledger_refused);
  PoolImport same_name = key(4);
  same_name.digests.name = key(2).digests.name;
  EXPECT_EQ(fault_of(ledger->import_keys({key(3), same_name}, "more.csv")).code, Code::ledger_refused);
  EXPECT_EQ(must(ledger->pool()).size(), 2u);
  EXPECT_EQ(must(ledger->import_keys({key(3)}, "more.csv")), 3);
}

TEST_F(Pool, KeysAreFoundByWhatTheyAreAndNotByTheirWords) {
  fill(2);
  EXPECT_EQ(must(ledger->key_with_row(key(2).digests.row))->number, 2);
  EXPECT_EQ(must(ledger->key_with_name(key(1).digests.name))->number, 1);
  EXPECT_FALSE(must(ledger->key_with_row(key(5).digests.row)));
  EXPECT_NE(pool_digests("other ledger", {"uuid-2", "secret-2"}).row, key(2).digests.row);
  EXPECT_NE(pool_digests("s", {"a", "bc"}).row, pool_digests("s", {"ab", "c"}).row);
}

TEST_F(Pool, TheQuotaCountsBoardsWhateverTheyGot) {
  fill(3);
  EXPECT_OK(ledger->reserve_key(1, board_of(1), id_of(1), 2));
  EXPECT_OK(ledger->expose_key(1));
  must(ledger->reserve(board_of(1), id_of(1), plan_a, 2, false));  // the same board's identity
  EXPECT_OK(ledger->reserve_key(2, board_of(2), id_of(2), 2));
  EXPECT_EQ(fault_of(ledger->reserve_key(3, board_of(3), id_of(3), 2)).code, Code::quota_reached);
  EXPECT_EQ(fault_of(ledger->reserve(board_of(3), id_of(3), plan_a, 2, false)).code, Code::quota_reached);
}

TEST(PoolAudit, NamesWhatWasWrittenPastIt) {
  struct Case {
    const char *sql, *says;
  };
  for (const Case& one :
       {Case{"UPDATE pool_key SET state = 'AVAILABLE', device = '', board = NULL WHERE number = 1",
             "key 1 was changed"},
        Case{"UPDATE pool_key SET row_sha256 = zeroblob(32) WHERE number = 3", "another SHA-256"},
        Case{"UPDATE pool_key SET traces = zeroblob(8) WHERE number = 3", "another SHA-256"},
        Case{"DELETE FROM pool_key WHERE number = 2", "key 2 is missing"},
        Case{"DELETE FROM pool_key WHERE number = 3", "missing"},
        Case{"INSERT INTO pool_key VALUES (4, randomblob(32), randomblob(32), zeroblob(8), 'AVAILABLE', '', NULL, 2)",
             "key 4 is in no audit row"}}) {
    TestFolder folder;
    TestClock clock;
    auto ledger = open_ledger(folder, clock);
    std::vector<PoolImport> rows;
    for (const char* name : {"a", "b", "c"})
      rows.push_back({pool_digests(ledger->salt(), {name}), KeyState::available, ""});
    must(ledger->import_keys(rows, "keys.csv"));
    must(ledger->reserve_key(1, board_of(7), id_of(7), std::nullopt));
    must(ledger->expose_key(1));
    ledger.reset();
    EXPECT_EQ(must(verify_audit(folder.path())).why, "");
    tamper(folder, one.sql);
    EXPECT_NE(must(verify_audit(folder.path())).why.find(one.says), std::string::npos)
        << must(verify_audit(folder.path())).why;
  }
}

}  // namespace
}  // namespace espmint
