// What audit verify finds and names. The one who tampers has the file, a shell and time, but not ledger.head, or not
// the hash that was in it.
#include <gtest/gtest.h>

#include "io/file.hpp"
#include "ledger/store.hpp"
#include "ledger/test_ledger.hpp"

namespace espmint {
namespace {

struct Tampering : testing::Test {
  TestFolder folder;
  TestClock clock;
  void SetUp() override {
    auto ledger = open_ledger(folder, clock);
    for (int n : {1, 2, 3}) verify_board(*ledger, n);
    must(ledger->burn(expose_board(*ledger, 4), "gone"));
    rows = must(ledger->verify_audit()).rows;
  }
  AuditReport verify() { return must(verify_audit(folder.path())); }
  /// `row` is named, in words that hold `word`.
  void expect_broken(std::int64_t row, std::string_view word, std::string_view sql = {}) {
    auto report = verify();
    ASSERT_TRUE(report.broken_at) << sql;
    EXPECT_EQ(*report.broken_at, row) << report.why << " " << sql;
    EXPECT_NE(report.why.find(word), std::string::npos) << report.why << " " << sql;
    EXPECT_NE(violations_of(folder), "");
  }
  /// Every row from `first` on gets the hash that its texts have: what one does who knows how the chain is made.
  void rewrite_hashes_from(std::int64_t first) {
    Database db = must(Database::open(database_in(folder.path()), Database::Mode::read_write));
    Sha256 previous{};
    if (first > 1)
      previous = *must(db.first("SELECT hash FROM audit WHERE seq = ?1", {first - 1},
                                [](const Row& row) { return row.digest<32>(0); }));
    std::vector<AuditRow> all;
    must(db.each("SELECT seq, time, event, device, detail FROM audit WHERE seq >= ?1 ORDER BY seq", {first},
                 [&](const Row& row) {
                   all.push_back({row.integer(0), row.text(1), row.text(2), row.text(3), row.text(4)});
                 }));
    for (const AuditRow& row : all) {
      Sha256 hash = hash_of_row(row, previous);
      must(db.run("UPDATE audit SET previous = ?2, hash = ?3 WHERE seq = ?1",
                  {row.sequence, to_hex(previous), to_hex(hash)}));
      previous = hash;
    }
  }
  std::int64_t rows = 0;
};

TEST_F(Tampering, NothingIsFoundInALedgerThatNobodyTouched) {
  auto report = verify();
  EXPECT_FALSE(report.broken_at) << report.why;
  EXPECT_EQ(report.rows, rows);
  EXPECT_EQ(report.rows, 1 + 3 * 7 + 4);
  EXPECT_EQ(report.head.size(), 64u);
  EXPECT_EQ(violations_of(folder), "");
}

// The bytes of docs/ledger.md, made with Python's hashlib and struct: another pen, the same page.
TEST(AuditChain, ARowHashesToWhatThePageSays) {
  AuditRow row{1, "2026-11-21T08:15:30Z", "created", "", R"({"ledger":"00","product":"thermostat"})"};
  Sha256 first = hash_of_row(row, {});
  EXPECT_EQ(to_hex(first), "1f2776291f798a97925ea3f5b92322af2cd75ace2f0226f602cfea9b1aa837a2");
  AuditRow next{2, "2026-11-21T08:15:31Z", "reserved", "24d7eb123456", R"({"attempt":1})"};
  EXPECT_EQ(to_hex(hash_of_row(next, first)), "3fd066cd004c31e56214241ce0fdd5ca660b619269b35b1fdffe8b0d28d8b696");
}

TEST(AuditChain, AHeadIsReadExactlyAsItIsWritten) {
  Head head{"0123456789abcdef0123456789abcdef", 42, sha256_of(as_bytes("row"))};
  std::string text = encode_head(head);
  auto read = parse_head(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->sequence, 42);
  EXPECT_EQ(read->hash, head.hash);
  for (std::size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(parse_head(text.substr(0, i)));
    std::string flipped = text;
    flipped[i] ^= 0x20;  // upper case, and other signs
    auto again = parse_head(flipped);
    EXPECT_TRUE(!again || again->sequence != head.sequence || again->hash != head.hash ||
                again->ledger_id != head.ledger_id);
  }
  EXPECT_FALSE(parse_head(text + text));
}

TEST_F(Tampering, AFlippedByteInAnyColumnOfAnyRowIsNamed) {
  for (std::int64_t row = 1; row <= rows; ++row) {
    for (std::string column : {"time", "event", "device", "detail", "previous", "hash"}) {
      std::string before;
      Database db = must(Database::open(database_in(folder.path()), Database::Mode::read_write));
      must(db.script("PRAGMA foreign_keys = OFF; DROP TRIGGER IF EXISTS audit_is_append_only;"));
      must(
          db.each("SELECT " + column + " FROM audit WHERE seq = ?1", {row}, [&](const Row& r) { before = r.text(0); }));
      std::string after = before.empty() ? "x" : before;
      if (!before.empty()) after[static_cast<std::size_t>(row) % after.size()] ^= 1;
      std::string sql = "UPDATE audit SET " + column + " = ?2 WHERE seq = ?1";
      must(db.run(sql, {row, after}));
      auto report = verify();
      EXPECT_EQ(report.broken_at, row) << column << ": " << report.why;
      EXPECT_EQ(report.why, fmt::format("row {} was changed", row)) << column;
      must(db.run(sql, {row, before}));
    }
  }
  EXPECT_FALSE(verify().broken_at);
}

TEST_F(Tampering, ADigestInOtherLettersIsAChangeToo) {
  tamper(folder, "UPDATE audit SET previous = upper(previous) WHERE seq = 5");
  expect_broken(5, "row 5 was changed");
}

TEST_F(Tampering, ADroppedRowIsNamed) {
  tamper(folder, "DELETE FROM audit WHERE seq = 9");
  expect_broken(9, "row 9 is missing");
}
TEST_F(Tampering, TheFirstRowDroppedIsNamed) {
  tamper(folder, "DELETE FROM audit WHERE seq = 1");
  expect_broken(1, "row 1 is missing");
}
TEST_F(Tampering, SeveralDroppedRowsAreCounted) {
  tamper(folder, "DELETE FROM audit WHERE seq BETWEEN 9 AND 12");
  expect_broken(9, "rows 9 to 12 are missing");
}
TEST_F(Tampering, ADroppedRowIsNamedAlsoWhenTheOthersCloseUp) {
  tamper(folder,
         "DELETE FROM audit WHERE seq = 9; UPDATE audit SET seq = -(seq - 1) WHERE seq > 9;"
         "UPDATE audit SET seq = -seq WHERE seq < 0");
  expect_broken(9, "row 9 is missing: row 10 stands in its place");
}
TEST_F(Tampering, ANumberChangedLeavesAGap) {
  tamper(folder, "UPDATE audit SET seq = 1000 WHERE seq = 9");
  expect_broken(9, "row 9 is missing");
}
TEST_F(Tampering, AnAddedRowIsNamed) {
  tamper(folder, "INSERT INTO audit SELECT 0, time, event, device, detail, previous, hash FROM audit WHERE seq = 1");
  expect_broken(0, "row 0 was added");
}

TEST_F(Tampering, TwoSwappedRowsAreNamed) {
  tamper(folder,
         "UPDATE audit SET seq = -4 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5;"
         "UPDATE audit SET seq = 5 WHERE seq = -4");
  expect_broken(4, "rows 4 and 5 are swapped");
}
TEST_F(Tampering, TwoRowsFarApartSwappedAreNamed) {
  tamper(folder,
         "UPDATE audit SET seq = -4 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 15;"
         "UPDATE audit SET seq = 15 WHERE seq = -4");
  expect_broken(4, "rows 4 and 15 are swapped");
}
TEST_F(Tampering, TwoRowsWhoseTextsAreSwappedAreNamed) {
  tamper(folder,
         "CREATE TEMP TABLE copy AS SELECT * FROM audit WHERE seq IN (4, 5);"
         "UPDATE audit SET (time, event, device, detail) = (SELECT time, event, device, detail FROM copy "
         "WHERE copy.seq = 9 - audit.seq) WHERE seq IN (4, 5)");
  expect_broken(4, "rows 4 and 5 are swapped");
}

TEST_F(Tampering, ACutTailIsNamed) {
  tamper(folder, fmt::format("DELETE FROM audit WHERE seq > {}", rows - 3));
  expect_broken(rows - 2, "the last 3 rows were cut off");
}
TEST_F(Tampering, TheLastRowCutOffIsNamed) {
  tamper(folder, fmt::format("DELETE FROM audit WHERE seq = {}", rows));
  expect_broken(rows, fmt::format("the last row, {}, was cut off", rows));
}
TEST_F(Tampering, AnEmptiedChainIsNamed) {
  tamper(folder, "DELETE FROM audit");
  expect_broken(1, "row 1 is missing");
}

TEST_F(Tampering, ARowChangedWithItsHashIsNamedByTheNext) {
  tamper(folder, "UPDATE audit SET device = 'other' WHERE seq = 9");
  Database db = must(Database::open(database_in(folder.path()), Database::Mode::read_write));
  AuditRow row;
  Sha256 previous{};
  must(db.each("SELECT seq, time, event, device, detail, previous FROM audit WHERE seq = 9", {}, [&](const Row& r) {
    row = {r.integer(0), r.text(1), r.text(2), r.text(3), r.text(4)};
    previous = r.digest<32>(5);
  }));
  must(db.run("UPDATE audit SET hash = ?1 WHERE seq = 9", {to_hex(hash_of_row(row, previous))}));
  expect_broken(9, "row 9 was changed: row 10 remembers another hash of it");
}

TEST_F(Tampering, AChainReWrittenFromScratchIsFoundByTheHeadOutside) {
  tamper(folder, "UPDATE audit SET time = '2026-11-21T00:00:00Z', detail = replace(detail, 'gone', 'lost')");
  rewrite_hashes_from(1);
  expect_broken(1, "the chain was re-written");
}
TEST_F(Tampering, AChainReWrittenFromTheMiddleIsFoundToo) {
  tamper(folder, "UPDATE audit SET device = 'other' WHERE seq = 20");
  rewrite_hashes_from(20);
  expect_broken(1, "the chain was re-written");
}
TEST_F(Tampering, AReWrittenChainIsFoundAfterItGrewAgain) {
  tamper(folder, fmt::format("DELETE FROM audit WHERE seq = {}", rows));
  {
    Database db = must(Database::open(database_in(folder.path()), Database::Mode::read_write));
    Tail tail = must(read_tail(db));
    for (int i = 0; i < 3; ++i) {
      AuditRow row{tail.sequence + 1, "2026-11-21T00:00:00Z", "run", "x", "{}"};
      Sha256 hash = hash_of_row(row, tail.hash);
      must(db.run("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                  {row.sequence, row.time, row.event, row.device_id, row.detail, to_hex(tail.hash), to_hex(hash)}));
      tail = {row.sequence, hash, row.time};
    }
  }
  expect_broken(1, "the chain was re-written");
}

TEST_F(Tampering, AMissingForeignOrDamagedHeadIsNoProof) {
  auto head = must(read_file(head_in(folder.path())));
  std::filesystem::remove(head_in(folder.path()));
  expect_broken(rows, "ledger.head is missing");
  must(write_file(head_in(folder.path()), as_bytes("espmint-head-v1 x\n")));
  expect_broken(rows, "ledger.head does not hold a head");
  std::string other{as_text(head)};
  other[16] = other[16] == 'f' ? '0' : 'f';
  must(write_file(head_in(folder.path()), as_bytes(other)));
  expect_broken(1, "ledger.head is of ledger");
}

// The chain is whole, but the tables say otherwise: the audit row that said so last is named.
TEST_F(Tampering, ARowEditedInAnyTableIsFoundByWhatTheChainTold) {
  struct Edit {
    std::string sql, word;
  };
  for (const Edit& edit : std::vector<Edit>{
           {"UPDATE identity SET state = 'VERIFIED' WHERE attempt = 4",
            "identity 4 was changed: its state is \"VERIFIED\""},
           {"UPDATE identity SET plan = (SELECT hash FROM audit LIMIT 1) WHERE attempt = 2", "its plan is"},
           {"UPDATE identity SET board = 2 WHERE attempt = 4", "its board is"},
           {"UPDATE identity SET audit = 1 WHERE attempt = 2", "it names audit row 1"},
           {"UPDATE certificate SET state = 'LIVE' WHERE attempt = 4", "its state is \"LIVE\""},
           {"UPDATE certificate SET serial = 'ff' WHERE attempt = 1", "its serial is"},
           {"UPDATE certificate SET image_md5 = '00112233445566778899aabbccddeeff' WHERE attempt = 1", "its image_md5"},
           {"UPDATE certificate SET der = x'3000' WHERE attempt = 1", "its bytes have another SHA-256"},
           {"UPDATE certificate SET public_key_der = x'3000' WHERE attempt = 1", "its bytes have another SHA-256"},
           {"UPDATE board SET device_id = 'other' WHERE number = 1", "its device_id is \"other\""},
           {"UPDATE board SET flash_id = 7 WHERE number = 1", "its flash_id is \"7\""},
           {"UPDATE board SET held = 'x' WHERE number = 1", "its held is"},
           {"UPDATE intent SET outcome = 'x' WHERE attempt = 1 AND act = 'enrol'", "its outcome is"},
           {"UPDATE evidence SET method = 'rom-digest+challenge' WHERE attempt = 1", "its method is"},
           {"UPDATE run SET verdict = 'FAILED' WHERE number = 2", "its verdict is \"FAILED\""},
           {"UPDATE run SET milliseconds = 1 WHERE number = 2", "its milliseconds is"},
           {"UPDATE meta SET value = 'kettle' WHERE key = 'product'", "its value is \"kettle\""},
           {"DELETE FROM run WHERE number = 2", "run 2 is missing"},
           {"DELETE FROM evidence WHERE attempt = 1", "evidence 1 is missing"},
           {"INSERT INTO run SELECT 9, mac, chip, unique_id, flash_id, device_id, slot, firmware_version, "
            "firmware_sha256, "
            "plan, certificate_sha256, started, milliseconds, verdict, code, fault, audit FROM run WHERE number = 1",
            "run 9 is in no audit row"},
       }) {
    std::filesystem::path copy = folder.top() / "copy";
    std::filesystem::remove_all(copy);
    std::filesystem::copy(folder.path(), copy);
    tamper(folder, edit.sql);
    auto report = verify();
    EXPECT_TRUE(report.broken_at) << edit.sql;
    EXPECT_NE(report.why.find(edit.word), std::string::npos) << report.why << "\n" << edit.sql;
    std::filesystem::remove_all(folder.path());
    std::filesystem::copy(copy, folder.path());
  }
  EXPECT_FALSE(verify().broken_at);
}

TEST_F(Tampering, AStateChangedByHandNamesTheRowThatLeftItOtherwise) {
  tamper(folder, "UPDATE identity SET state = 'WRITTEN' WHERE attempt = 1");
  // Board 1: rows 2 to 8; "verified" is the sixth of reserved, certificate, settled, exposed, written, verified, run.
  expect_broken(7, "identity 1 was changed: its state is \"WRITTEN\", audit row 7 left it \"VERIFIED\"");
}

TEST_F(Tampering, IsSeenOnOpeningForWritingWhereItMatters) {
  tamper(folder, "SELECT 1");  // only takes the triggers away
  EXPECT_FALSE(verify().broken_at);
  Fault fault = fault_of(Ledger::open(folder.path(), options_of(), clock));
  EXPECT_EQ(fault.code, Code::ledger_damaged);
  EXPECT_NE(fault.seen.find("trigger audit_follows is missing"), std::string::npos) << fault.seen;
}

TEST_F(Tampering, VerifyingWorksWhileAWriterRuns) {
  auto writer = open_ledger(folder, clock);
  std::int64_t before = verify().rows;
  verify_board(*writer, 9);
  auto report = verify();
  EXPECT_FALSE(report.broken_at) << report.why;
  EXPECT_EQ(report.rows, before + 7);
}

}  // namespace
}  // namespace espmint
