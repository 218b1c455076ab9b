// Opening: whose file it is, who else has it, whether it is whole; and what a full or failing disk does to a line.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "io/file.hpp"
#include "ledger/test_disk.hpp"
#include "ledger/test_ledger.hpp"

namespace espmint {
namespace {

struct Opening : testing::Test {
  TestFolder folder;
  TestClock clock;
  Result<std::unique_ptr<Ledger>> open(LedgerOptions::Mode mode = LedgerOptions::Mode::write,
                                       std::string product = "thermostat") {
    LedgerOptions options = options_of(std::move(product));
    options.mode = mode;
    return Ledger::open(folder.path(), options, clock);
  }
  void sql(const std::string& text, const std::filesystem::path& file) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(file.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, text.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << text;
    sqlite3_close(db);
  }
};

TEST_F(Opening, MakesALedgerWithItsThreeFiles) {
  auto ledger = open_ledger(folder, clock);
  for (const auto& file : {database_in(folder.path()), lock_in(folder.path()), head_in(folder.path())})
    EXPECT_TRUE(std::filesystem::exists(file)) << file;
  EXPECT_TRUE(parse_head(as_text(must(read_file(head_in(folder.path()))))));
  EXPECT_EQ(std::filesystem::status(folder.path()).permissions(), std::filesystem::perms::owner_all);
  EXPECT_EQ(must(verify_audit(folder.path())).rows, 1);
}

TEST_F(Opening, ForReadingNeedsALedgerAndMakesNothing) {
  EXPECT_EQ(fault_of(open(LedgerOptions::Mode::read)).code, Code::ledger_missing);
  EXPECT_EQ(fault_of(verify_audit(folder.path())).code, Code::ledger_missing);
  EXPECT_FALSE(std::filesystem::exists(folder.path()));
}

TEST_F(Opening, FindsEverythingAgain) {
  Attempt verified = verify_board(*open_ledger(folder, clock), 1);
  auto ledger = open_ledger(folder, clock);
  EXPECT_EQ(state_of(*ledger, 1), KeyState::verified);
  EXPECT_EQ(verify_board(*ledger, 2).number, verified.number + 1);
  EXPECT_EQ(violations_of(folder), "");
}

TEST_F(Opening, FreesWhatWasReservedAndKeepsWhatWasExposed) {
  {
    auto ledger = open_ledger(folder, clock);
    reserve_board(*ledger, 1);
    record_board(*ledger, 2);
    expose_board(*ledger, 3);
    write_board(*ledger, 4);
    verify_board(*ledger, 5);
    record_board(*ledger, 5, true);
  }
  auto ledger = open_ledger(folder, clock);
  EXPECT_EQ(state_of(*ledger, 1), KeyState::available);
  EXPECT_EQ(state_of(*ledger, 2), KeyState::available);
  EXPECT_EQ(state_of(*ledger, 3), KeyState::exposed);
  EXPECT_EQ(state_of(*ledger, 4), KeyState::written);
  EXPECT_EQ(must(ledger->admit(board_of(5), plan_a)).kind, Admission::Kind::verified);  // the renewal is gone
  EXPECT_EQ(violations_of(folder), "");
}

TEST_F(Opening, ASecondWriterIsToldWhoTheFirstIs) {
  auto first = open_ledger(folder, clock);
  ::pid_t child = ::fork();
  if (child == 0) {
    auto second = Ledger::open(folder.path(), options_of(), clock);
    bool good = !second && second.error().code == Code::ledger_locked &&
                describe(second.error()).find(fmt::format("pid {} on bench", ::getppid())) != std::string::npos;
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(fault_of(open()).code, Code::ledger_locked);  // in one process too
  first.reset();
  EXPECT_TRUE(open());
}

TEST_F(Opening, ReadersSeeACommittedWriterFromAnotherProcess) {
  auto writer = open_ledger(folder, clock);
  verify_board(*writer, 1);
  ::pid_t child = ::fork();
  if (child == 0) {
    // A new connection: what was opened before the fork belongs to the parent.
    auto reader = open(LedgerOptions::Mode::read);
    bool good = reader && must((*reader)->devices()).size() == 1 && !must((*reader)->verify_audit()).broken_at &&
                fault_of((*reader)->reserve(board_of(2), id_of(2), plan_a, {}, false)).code == Code::ledger_refused;
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  verify_board(*writer, 2);
}

TEST_F(Opening, AReaderSeesACloneAndRecordsNothing) {
  verify_board(*open_ledger(folder, clock), 1);
  auto rows = must(verify_audit(folder.path())).rows;
  auto reader = must(open(LedgerOptions::Mode::read));
  BoardIdentity clone = board_of(1);
  clone.chip = "esp32s2";
  EXPECT_EQ(must(reader->admit(clone, plan_a)).kind, Admission::Kind::held);
  EXPECT_EQ(must(verify_audit(folder.path())).rows, rows);
}

TEST_F(Opening, RefusesAnotherProgramsFileWithoutTouchingIt) {
  must(make_folder(folder.path()));
  Bytes text = to_bytes("This is the diary of the line, and no database at all.\n");
  must(write_file(database_in(folder.path()), text));
  Fault fault = fault_of(open());
  EXPECT_EQ(fault.code, Code::ledger_foreign);
  EXPECT_EQ(fault_of(open(LedgerOptions::Mode::read)).code, Code::ledger_foreign);
  EXPECT_EQ(must(read_file(database_in(folder.path()))), text);
}

TEST_F(Opening, RefusesAnotherProgramsDatabaseWithoutTouchingIt) {
  must(make_folder(folder.path()));
  sql("CREATE TABLE songs(title TEXT)", database_in(folder.path()));
  Bytes before = must(read_file(database_in(folder.path())));
  EXPECT_EQ(fault_of(open()).code, Code::ledger_foreign);
  EXPECT_EQ(must(read_file(database_in(folder.path()))), before);
  sql("PRAGMA application_id = 7", database_in(folder.path()));
  EXPECT_EQ(fault_of(open()).code, Code::ledger_foreign);
  EXPECT_EQ(fault_of(open(LedgerOptions::Mode::read)).code, Code::ledger_foreign);
}

TEST_F(Opening, RefusesTheLedgerOfAnotherProduct) {
  open_ledger(folder, clock).reset();
  Fault fault = fault_of(open(LedgerOptions::Mode::write, "kettle"));
  EXPECT_EQ(fault.code, Code::ledger_foreign);
  EXPECT_EQ(fault.seen, "it is of \"thermostat\", asked for was \"kettle\"");
  EXPECT_EQ(fault_of(open(LedgerOptions::Mode::read, "kettle")).code, Code::ledger_foreign);
  EXPECT_TRUE(open());
}

TEST_F(Opening, RefusesANewerFormat) {
  open_ledger(folder, clock).reset();
  sql("PRAGMA user_version = 99", database_in(folder.path()));
  EXPECT_EQ(fault_of(open()).code, Code::ledger_refused);
}

TEST_F(Opening, ALedgerWhoseFileIsGoneEmptyOrOverwrittenIsNotReplacedByANewOne) {
  verify_board(*open_ledger(folder, clock), 1);
  for (auto content :
       {std::optional<Bytes>{}, std::optional<Bytes>{Bytes{}}, std::optional<Bytes>{Bytes(8192, 0xff)}}) {
    std::filesystem::remove(database_in(folder.path()));
    if (content) must(write_file(database_in(folder.path()), *content));
    Fault fault = fault_of(open());
    EXPECT_EQ(fault.code, Code::ledger_damaged) << describe(fault);
    EXPECT_EQ(fault.remedy, Remedy::stop_line);
  }
}

TEST_F(Opening, ADamagedPageIsFoundBeforeAnyBoard) {
  {
    auto ledger = open_ledger(folder, clock);
    for (int n = 1; n <= 40; ++n) verify_board(*ledger, n);
  }
  Bytes good = must(read_file(database_in(folder.path())));
  int found = 0;
  for (std::size_t page = 1; page * 4096 < good.size(); page += 7) {
    Bytes bad = good;
    std::fill_n(bad.begin() + static_cast<std::ptrdiff_t>(page * 4096), 64, std::uint8_t{0xa5});
    must(write_file(database_in(folder.path()), bad));
    auto opened = open();
    if (opened) continue;
    EXPECT_EQ(opened.error().code, Code::ledger_damaged) << describe(opened.error());
    ++found;
  }
  EXPECT_GT(found, 3);
  must(write_file(database_in(folder.path()), good));
  EXPECT_TRUE(open());
}

TEST_F(Opening, AnOldCopyIsFoundByTheHeadOutside) {
  verify_board(*open_ledger(folder, clock), 1);
  std::filesystem::copy(database_in(folder.path()), folder.top() / "backup.db");
  verify_board(*open_ledger(folder, clock), 2);
  std::filesystem::copy(folder.top() / "backup.db", database_in(folder.path()),
                        std::filesystem::copy_options::overwrite_existing);
  Fault fault = fault_of(open());
  EXPECT_EQ(fault.code, Code::ledger_damaged);
  EXPECT_EQ(fault.seen,
            "it ends with audit row 8, ledger.head remembers row 15: it was cut off, or restored from an old copy");
}

TEST_F(Opening, AnOldCopyThatGrewElsewhereIsFoundToo) {
  verify_board(*open_ledger(folder, clock), 1);
  std::filesystem::copy(folder.path(), folder.top() / "fork", std::filesystem::copy_options::recursive);
  verify_board(*open_ledger(folder, clock), 2);
  auto elsewhere = must(Ledger::open(folder.top() / "fork", options_of(), clock));
  for (int n : {3, 4}) verify_board(*elsewhere, n);
  elsewhere.reset();
  std::filesystem::copy(folder.top() / "fork" / "ledger.db", database_in(folder.path()),
                        std::filesystem::copy_options::overwrite_existing);
  Fault fault = fault_of(open());
  EXPECT_EQ(fault.code, Code::ledger_damaged);
  EXPECT_NE(fault.seen.find("another hash"), std::string::npos) << fault.seen;
}

TEST_F(Opening, AHeadThatLagsBehindTheCommitsAfterItIsMovedOn) {
  verify_board(*open_ledger(folder, clock), 1);
  Bytes head = must(read_file(head_in(folder.path())));
  verify_board(*open_ledger(folder, clock), 2);
  must(write_file(head_in(folder.path()), head));
  EXPECT_TRUE(open());
  EXPECT_EQ(parse_head(as_text(must(read_file(head_in(folder.path())))))->sequence, 15);
  EXPECT_EQ(violations_of(folder), "");
}

TEST_F(Opening, AHeadThatAPowerCutCaughtGrowingByADigitIsUnderstood) {
  verify_board(*open_ledger(folder, clock), 1);
  Bytes head = must(read_file(head_in(folder.path())));
  Bytes longer = head;
  longer.push_back(0);  // the new length, the old bytes
  Bytes shorter{head.begin(), head.end() - 1};
  for (const Bytes& left : {longer, shorter}) {
    must(write_file(head_in(folder.path()), left));
    EXPECT_TRUE(open());
    EXPECT_EQ(violations_of(folder), "");
  }
  must(write_file(head_in(folder.path()), Bytes{head.begin(), head.end() - 2}));
  EXPECT_EQ(fault_of(open()).code, Code::ledger_damaged);
}

TEST_F(Opening, AMissingHeadIsNotMadeUp) {
  verify_board(*open_ledger(folder, clock), 1);
  std::filesystem::remove(head_in(folder.path()));
  EXPECT_EQ(fault_of(open()).code, Code::ledger_damaged);
  must(write_file(head_in(folder.path()), as_bytes("nonsense")));
  EXPECT_EQ(fault_of(open()).code, Code::ledger_damaged);
}

TEST_F(Opening, ACopyOnReadOnlyMediaCanBeVerified) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere: the fallback is not reached";
  verify_board(*open_ledger(folder, clock), 1);
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  auto report = verify_audit(folder.path());
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all);
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_FALSE(report->broken_at);
}

// ---- a disk that is full, or fails

/// Runs a board; whether it came through. A fault must be `code`, stop the line, and leave the ledger whole.
void run_until_the_disk_fails(FailingDisk::Call call, int code, Code expected) {
  int went_well = 0;
  for (int nth = 1; went_well == 0; ++nth) {
    ASSERT_LT(nth, 500) << "the disk's failures never end";
    TestFolder folder;
    TestClock clock;
    std::vector<std::string> acknowledged;
    {
      FailingDisk disk{call, nth, code};
      auto check = [&](const Fault& fault) {
        EXPECT_EQ(fault.code, expected) << nth << ": " << describe(fault);
        EXPECT_EQ(fault.remedy, Remedy::stop_line);
      };
      auto ledger = Ledger::open(folder.path(), options_of(), clock);
      if (!ledger) {
        check(ledger.error());
      } else {
        auto step = [&](const char* state, Result<void> result) {
          if (!result) check(result.error());
          if (result) acknowledged.emplace_back(state);
          return result.has_value();
        };
        auto attempt = (*ledger)->reserve(board_of(1), id_of(1), plan_a, {}, false);
        if (!attempt) {
          check(attempt.error());
          // Nothing more is written on a disk that failed to write or sync: not even to try again.
          if (expected == Code::ledger_io) {
            int failed = FailingDisk::failures();
            FailingDisk::heal();
            EXPECT_EQ(fault_of((*ledger)->reserve(board_of(1), id_of(1), plan_a, {}, false)).code, Code::ledger_io);
            EXPECT_EQ(FailingDisk::failures(), failed);
          }
        } else {
          CertificateRecord record = certificate_of(attempt->number);
          acknowledged.emplace_back("AVAILABLE");  // RESERVED is freed on opening
          if (step("AVAILABLE", (*ledger)->record_certificate(*attempt, record)) &&
              step("EXPOSED", (*ledger)->expose(*attempt)) && step("WRITTEN", (*ledger)->mark_written(*attempt)) &&
              step("VERIFIED", (*ledger)->mark_verified(*attempt, evidence_of(record))))
            went_well = FailingDisk::failures() == 0 ? 1 : 0;
        }
      }
    }
    // The disk is whole again; what was acknowledged is there, and the rules hold.
    auto ledger = open_ledger(folder, clock);
    ASSERT_EQ(violations_of(folder), "") << "failing call " << nth;
    if (!acknowledged.empty()) {
      auto rank = [](std::string_view name) {
        constexpr std::array<std::string_view, 4> order{"AVAILABLE", "EXPOSED", "WRITTEN", "VERIFIED"};
        return std::find(order.begin(), order.end(), name) - order.begin();
      };
      EXPECT_GE(rank(name_of(state_of(*ledger, 1))), rank(acknowledged.back())) << "failing call " << nth;
    }
  }
}

TEST(Disk, WhenItIsFullAtAnyWriteTheLineStopsAndNothingIsLost) {
  run_until_the_disk_fails(FailingDisk::Call::write, SQLITE_FULL, Code::disk_full);
}
TEST(Disk, WhenAnyWriteFailsTheLineStopsAndNothingIsLost) {
  run_until_the_disk_fails(FailingDisk::Call::write, SQLITE_IOERR_WRITE, Code::ledger_io);
}
TEST(Disk, WhenAnySyncFailsTheLineStopsAndItIsNotTriedAgain) {
  run_until_the_disk_fails(FailingDisk::Call::sync, SQLITE_IOERR_FSYNC, Code::ledger_io);
}

TEST(Disk, AfterAFullDiskTheSameLedgerGoesOnOnceThereIsRoom) {
  TestFolder folder;
  TestClock clock;
  FailingDisk disk{FailingDisk::Call::write, 1 << 30, SQLITE_FULL};
  auto ledger = open_ledger(folder, clock);
  verify_board(*ledger, 1);
  FailingDisk::fail_from_now();
  EXPECT_EQ(fault_of(ledger->reserve(board_of(2), id_of(2), plan_a, {}, false)).code, Code::disk_full);
  FailingDisk::heal();
  verify_board(*ledger, 2);
  EXPECT_EQ(violations_of(folder), "");
}

// A limit of the system's own: files may not grow past it (SIGXFSZ ignored, as every service manager does it).
TEST(Disk, AFileSizeLimitIsAFullDisk) {
  TestFolder folder;
  TestClock clock;
  ::pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    auto ledger = open_ledger(folder, clock);
    ::rlimit limit{300'000, 300'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    for (int n = 1; n < 200; ++n) {
      auto attempt = ledger->reserve(board_of(n), id_of(n), plan_a, {}, false);
      if (attempt) continue;
      if (attempt.error().code != Code::disk_full) fmt::print(stderr, "{}\n", describe(attempt.error()));
      ::_exit(attempt.error().code == Code::disk_full ? 0 : 2);
    }
    ::_exit(3);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace espmint
