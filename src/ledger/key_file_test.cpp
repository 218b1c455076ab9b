// A user's keys.csv beside the ledger: what it imports, what it writes, and what an edited file means.
#include "ledger/key_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "ledger/test_ledger.hpp"

namespace espmint {
namespace {

struct Keys : testing::Test {
  TestFolder folder, state;
  TestClock clock;
  std::unique_ptr<Ledger> ledger = open_ledger(state, clock);
  std::filesystem::path csv = folder.path() / "keys.csv";

  Keys() { std::filesystem::create_directories(folder.path()); }
  void put(const std::string& text) { std::ofstream{csv, std::ios::binary} << text; }
  std::string now() const {
    std::ifstream in{csv, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  Result<KeyFile> open(KeyFileOptions options = {}) {
    options.holder = "a test";
    return KeyFile::open(csv, *ledger, std::move(options));
  }
  KeyFile opened(KeyFileOptions options = {}) { return must(open(std::move(options))); }
  std::string said(const std::vector<std::string>& list) const {
    std::string out;
    for (const std::string& sentence : list) out += sentence + "\n";
    return out;
  }
  /// The next key, all the way onto a board.
  std::int64_t give(KeyFile& file, int board) {
    std::int64_t key = *must(file.next());
    must(ledger->reserve_key(key, board_of(board), id_of(board), std::nullopt));
    must(file.mark(key));
    must(ledger->expose_key(key));
    must(ledger->mark_key_written(key));
    must(ledger->mark_key_verified(key, {"read-back", ""}));
    must(file.mark(key));
    return key;
  }
  void lose_ledger() {
    ledger.reset();
    std::filesystem::remove_all(state.path());
    std::filesystem::create_directories(state.path());
    ledger = open_ledger(state, clock);
  }
  std::string values(KeyFile& file, std::int64_t key) {
    std::string out;
    for (const Secret& field : must(file.fields(key))) out += std::string{as_text(field.reveal())} + " ";
    return out;
  }
};

TEST_F(Keys, TheOldScriptsFileNeedsNoEdit) {
  put("u1,n1,a1\nu2,n2,a2\n");
  KeyFile file = opened();
  EXPECT_EQ(file.report().usable, 2u);
  EXPECT_EQ(now(), "u1,n1,a1,available\nu2,n2,a2,available\n");
  EXPECT_EQ(values(file, *must(file.next())), "u1 n1 a1 ");
}

TEST_F(Keys, EveryKeyIsUsedOnceInTheFilesOrder) {
  put("u1,n1\r\nu2,n2\r\nu3,n3\r\n");
  KeyFile file = opened();
  EXPECT_EQ(give(file, 1), 1);
  EXPECT_EQ(give(file, 2), 2);
  EXPECT_EQ(now(),
            "u1,n1,Provisioned,VERIFIED,24d7eb000001,2026-11-21T00:00:00Z,Provisioned\r\n"
            "u2,n2,Provisioned,VERIFIED,24d7eb000002,2026-11-21T00:00:00Z,Provisioned\r\nu3,n3,available\r\n");
  EXPECT_EQ(give(file, 3), 3);
  EXPECT_EQ(must(file.next()), std::nullopt) << "exhausted";
}

TEST_F(Keys, AFileThatTheOldScriptUsedIsTakenOver) {
  put("u1,n1,a1,Provisioned\nu2,n2,a2,Provisioned\nu3,n3,a3\nu4,n4,a4\n");
  KeyFile file = opened();
  EXPECT_EQ(file.report().usable, 1u);
  EXPECT_NE(said(file.report().warnings).find("row 3 is quarantined"), std::string::npos);
  EXPECT_NE(said(file.report().warnings).find("--first-unmarked-unused"), std::string::npos);
  EXPECT_EQ(values(file, *must(file.next())), "u4 n4 a4 ");
  EXPECT_NE(now().find("u1,n1,a1,Provisioned,VERIFIED,,"), std::string::npos);
  EXPECT_NE(now().find("u3,n3,a3,Provisioned,QUARANTINED,,"), std::string::npos);
}

TEST_F(Keys, TheSuspectedRowIsFreeWhenTheUserSaysSo) {
  put("u1,n1,a1,Provisioned\nu3,n3,a3\n");
  EXPECT_EQ(opened({.first_unmarked_unused = true}).report().usable, 1u);
}

TEST_F(Keys, AFileWithoutMarksQuarantinesNothing) {
  put("u1,n1\nu2,n2\n");
  EXPECT_EQ(opened().report().usable, 2u);
}

TEST_F(Keys, AFreeRowThatRepeatsAUsedOneIsRefusedAlone) {
  put("a,b,c,Provisioned\na,b,c,Provisioned\na,b,c\n");
  KeyFile file = opened();
  EXPECT_EQ(file.report().usable, 0u);
  EXPECT_EQ(file.report().rows, 3u);
  EXPECT_NE(said(file.report().refused).find("row 3 repeats row 1"), std::string::npos);
  EXPECT_NE(said(file.report().warnings).find("row 2 repeats row 1"), std::string::npos) << "history";
  EXPECT_EQ(must(file.next()), std::nullopt);
}

TEST_F(Keys, TwoEqualFreeRowsRefuseTheFile) {
  for (const char* text : {"a,b\nc,d\na,b\n", "a,b\nc,d\na,e\n", "a,b\nc,b\n"}) {
    put(text);
    auto file = open();
    ASSERT_FALSE(file) << text;
    EXPECT_EQ(file.error().code, Code::input_invalid);
    EXPECT_EQ(now(), text) << "nothing was imported, nothing written";
    EXPECT_TRUE(must(ledger->pool()).empty());
  }
  EXPECT_EQ(opened({.csv = {.shared = {2}}}).report().usable, 2u) << "a column that may repeat";
  put("e,e,e\n");
  EXPECT_EQ(opened().report().usable, 1u) << "repeats inside a row are fine";
}

TEST_F(Keys, ARowAddedWhileTheLineRunsIsImported) {
  put("u1,n1\n");
  KeyFile file = opened();
  give(file, 1);
  EXPECT_EQ(must(file.next()), std::nullopt);
  put(now() + "u2,n2\n");
  EXPECT_EQ(values(file, *must(file.next())), "u2 n2 ");
  EXPECT_NE(now().find("u2,n2,available"), std::string::npos);
}

TEST_F(Keys, AMarkThatSomebodyTookAwayComesBack) {
  put("u1,n1\nu2,n2\n");
  KeyFile file = opened();
  give(file, 1);
  const std::string marked = now();
  put("u1,n1\nu2,n2\n");
  EXPECT_EQ(*must(file.next()), 2);
  EXPECT_EQ(now(), marked);
  put("u2,n2,available\nu1,n1,available\n");
  EXPECT_EQ(*must(file.next()), 2) << "sorted anew, and the first key is still used";
}

TEST_F(Keys, AMarkThatCouldNotBeWrittenSpoilsNoLaterOne) {
  put("u1,n1\nu2,n2\nu3,n3\n");
  KeyFile file = opened();
  const std::string before = now();
  must(ledger->reserve_key(1, board_of(1), id_of(1), std::nullopt));
  must(ledger->reserve_key(3, board_of(3), id_of(3), std::nullopt));
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit tiny{16, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tiny), 0);
  auto refused = file.mark(1);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(fault_of(std::move(refused)).code, Code::disk_full);
  EXPECT_EQ(now(), before) << "old or new, never half";
  must(file.mark(3));
  EXPECT_TRUE(now().starts_with("u1,n1,Provisioned,RESERVED,24d7eb000001,")) << now();
  EXPECT_NE(now().find("\nu2,n2,available\nu3,n3,Provisioned,RESERVED,24d7eb000003,"), std::string::npos) << now();
}

TEST_F(Keys, AMarkThatSomebodyElseMadeIsObeyed) {
  put("u1,n1\nu2,n2\nu3,n3\n");
  opened();
  put("u1,n1,Provisioned\nu2,n2,Provisioned,RESERVED,24d7eb999999,2026-11-21T08:00:00Z,Provisioned\nu3,n3,available\n");
  KeyFile file = opened();
  EXPECT_EQ(*must(file.next()), 3) << "an earlier script, and another ledger, have given out the first two";
  EXPECT_EQ(must(ledger->pool())[0].state, KeyState::quarantined);
  EXPECT_EQ(must(ledger->pool())[1].device, "24d7eb999999");
}

TEST_F(Keys, OnlyASuspectedKeyIsAcquitted) {
  put("u1,n1,Provisioned\nu2,n2,Prov\nu3,n3\nu4,n4\n");
  opened();
  EXPECT_EQ(must(ledger->suspected_keys()), std::vector<std::int64_t>{3});
  EXPECT_OK(ledger->acquit_key(3, "it was never sent"));
  EXPECT_TRUE(must(ledger->suspected_keys()).empty());
  EXPECT_EQ(must(ledger->pool())[1].state, KeyState::quarantined) << "a torn mark stays one";
  EXPECT_EQ(must(verify_audit(state.path())).why, "");
}

TEST_F(Keys, AKeyWhoseSecretWasChangedIsNotUsed) {
  put("u1,n1\nu2,n2\n");
  KeyFile file = opened();
  put("u1,other\nu2,n2\n");
  EXPECT_EQ(*must(file.next()), 2);
  EXPECT_NE(said(file.report().refused).find("row 1 was changed"), std::string::npos);
}

TEST_F(Keys, ASecretThatComesBackUnderAnotherNameIsNotUsed) {
  put("u1,0123456789abcdef,fedcba9876543210\nu2,n2,a2\nu3,n3,a3\n");
  KeyFile file = opened();
  give(file, 1);
  put("u2,n2,a2\nu3,n3,a3\nnew1,0123456789abcdef,fedcba9876543210\nnew2,n4,a4\n");
  must(file.look_again());
  EXPECT_EQ(file.report().usable, 3u) << said(file.report().refused);
  EXPECT_NE(said(file.report().refused).find("row 3 has the secrets of key 1 under another first field"),
            std::string::npos)
      << said(file.report().refused);
  EXPECT_NE(now().find("new1,0123456789abcdef,fedcba9876543210,Provisioned,REFUSED,,,Provisioned\n"), std::string::npos)
      << now();
  put("u2,n2,a2\nu3,n3,a3\nnew3,other,fedcba9876543210\n");
  must(file.look_again());
  EXPECT_NE(said(file.report().refused).find("row 3 (column 3) has the secret of key 1"), std::string::npos)
      << said(file.report().refused);
  EXPECT_EQ(must(verify_audit(state.path())).why, "");
}

TEST_F(Keys, AMarkedRowUnderAnotherNameTakesItsKeyWithIt) {
  put("u1,n1,a1\nu2,n2,a2\n");
  opened();
  put("other,n1,a1,Provisioned\nu2,n2,a2,available\n");
  KeyFile file = opened();
  EXPECT_EQ(*must(file.next()), 2);
  EXPECT_EQ(must(ledger->pool())[0].state, KeyState::quarantined) << "its secrets are on a board";
  EXPECT_TRUE(now().starts_with("other,n1,a1,Provisioned\n")) << "history, left as it is";
}

TEST_F(Keys, ASecondKeyMarkedForADeviceIsQuarantinedWithItsRow) {
  put("u1,n1\nu2,n2\n");
  KeyFile file = opened();
  give(file, 1);
  put(now() + "u3,n3,Provisioned,VERIFIED," + id_of(1) + ",2026-11-21T08:00:00Z,Provisioned\n");
  must(file.look_again());
  EXPECT_NE(said(file.report().warnings).find("row 3 names " + id_of(1) + ", which has key 1"), std::string::npos)
      << said(file.report().warnings);
  EXPECT_EQ(must(ledger->pool())[2].state, KeyState::quarantined);
}

TEST_F(Keys, AnEditWithinOneTickOfTheClockIsSeen) {
  put("u1,n1\nu2,n2\nu3,n3\n");
  KeyFile file = opened();
  for (int board = 1; board <= 2; ++board) {
    const std::int64_t key = give(file, board);
    EXPECT_EQ(key, board);
    // As many bytes, and the very time that the file had: only its content tells.
    std::string text = now();
    struct stat before {};
    ASSERT_EQ(::stat(csv.c_str(), &before), 0);
    text.replace(text.rfind("VERIFIED"), 8, "EXPOSED!");
    put(text);
    const timespec times[2] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, csv.c_str(), times, 0), 0);
    must(file.next());
    EXPECT_EQ(now().find("EXPOSED!"), std::string::npos) << "written again as the ledger has it";
  }
}

TEST_F(Keys, ATouchedFileIsNotReadAnew) {
  put("u1,n1\nu2,n2\n");
  KeyFile file = opened();
  struct stat before {
  }, after{};
  ASSERT_EQ(::stat(csv.c_str(), &before), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, csv.c_str(), nullptr, 0), 0);
  EXPECT_EQ(*must(file.next()), 1);
  ASSERT_EQ(::stat(csv.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(Keys, ManyRowsInAnyOrderKeepTheirNumbers) {
  std::vector<std::string> rows;
  for (int i = 1; i <= 500; ++i) rows.push_back(fmt::format("u{},n{}", i, i));
  auto text = [&](std::size_t from = 0) {
    std::string out;
    for (std::size_t i = from; i < rows.size(); ++i) out += rows[i] + "\n";
    return out;
  };
  put(text());
  opened();
  auto number_of_first = [&](KeyFile& file) { return *must(file.next()); };
  std::reverse(rows.begin(), rows.end());
  put(text());
  {
    KeyFile file = opened();
    EXPECT_EQ(number_of_first(file), 500);
    EXPECT_EQ(values(file, 17), "u17 n17 ");
    EXPECT_EQ(file.report().imported, 0u);
  }
  std::reverse(rows.begin(), rows.end());
  put("v1,m1\nv2,m2\n" + text(200));
  KeyFile file = opened();
  EXPECT_EQ(number_of_first(file), 501) << "a new row before those that are known";
  EXPECT_EQ(values(file, 201), "u201 n201 ");
  EXPECT_EQ(file.fields(17).error().code, Code::ledger_refused);
  EXPECT_EQ(file.report().usable, 302u);
}

TEST_F(Keys, AFreeRowGivesItsKeyToAMarkedOneThatEqualsIt) {
  put("u1,n1\nu2,n2\n");
  opened();
  put("u1,n1,available\nu1,n1,Provisioned\nu2,n2,available\n");
  KeyFile file = opened();
  EXPECT_EQ(*must(file.next()), 2);
  EXPECT_EQ(must(ledger->pool())[0].state, KeyState::quarantined);
  EXPECT_TRUE(now().starts_with("u1,n1,Provisioned,REFUSED,,,Provisioned\nu1,n1,Provisioned,QUARANTINED,,")) << now();
}

TEST_F(Keys, ThePictureBeforeIsNeverAPool) {
  put("u1,n1\nu2,n2\n");
  opened();
  auto file = KeyFile::open(csv.string() + ".prev", *ledger, {.holder = "a test"});
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Code::input_invalid);
}

TEST_F(Keys, AFaultNamesFileRowAndColumn) {
  put("u1,n1\nu2,\"n2\n");
  auto file = open();
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().where.input, csv.string() + ", row 2, column 2");
}

TEST_F(Keys, ReadingEndsWhereAFileCanBeNoKeys) {
  const std::string good(3 * 1024 * 1024, '\n');
  put(std::string(64 * 1024 * 1024, 'a'));
  EXPECT_LE(must(read_key_text(csv)).size(), 2u * 1024 * 1024);
  put(good + std::string(4096, 'a') + "\r\n" + good);
  EXPECT_EQ(must(read_key_text(csv)).size(), 2 * good.size() + 4098) << "the longest row is whole";
}

TEST_F(Keys, ARowThatWasRemovedIsNotGivenOut) {
  put("u1,n1\nu2,n2\n");
  KeyFile file = opened();
  put("u2,n2,available\n");
  EXPECT_EQ(*must(file.next()), 2);
  EXPECT_EQ(file.fields(1).error().code, Code::ledger_refused);
}

TEST_F(Keys, ALostLedgerIsRebuiltFromTheFilePessimistically) {
  put("u1,n1\nu2,n2\nu3,n3\nu4,n4\n");
  {
    KeyFile file = opened();
    give(file, 1);
    std::int64_t key = *must(file.next());
    must(ledger->reserve_key(key, board_of(2), id_of(2), std::nullopt));
    must(file.mark(key));
    must(ledger->expose_key(key));
  }
  lose_ledger();
  KeyFile file = opened();
  auto pool = must(ledger->pool());
  EXPECT_EQ(pool[0].state, KeyState::verified);
  EXPECT_EQ(pool[0].device, id_of(1));
  EXPECT_EQ(pool[1].state, KeyState::quarantined) << "it said RESERVED, which may have been exposed since";
  EXPECT_EQ(pool[1].device, id_of(2));
  EXPECT_EQ(file.report().usable, 2u);
  EXPECT_EQ(fault_of(ledger->reserve_key(3, board_of(2), id_of(2), std::nullopt)).code, Code::ledger_refused)
      << "the board of a key in doubt gets no second one";
}

TEST_F(Keys, TheFileSaysAvailableOnlyOfKeysThatWereNeverExposed) {
  put("u1,n1\nu2,n2\n");
  KeyFile file = opened();
  std::int64_t key = *must(file.next());
  must(ledger->reserve_key(key, board_of(1), id_of(1), std::nullopt));
  must(file.mark(key));
  EXPECT_EQ(now().find("u1,n1,available"), std::string::npos);
  must(ledger->release_key(key, "the board left"));
  must(file.mark(key));
  EXPECT_NE(now().find("u1,n1,available"), std::string::npos);
  EXPECT_EQ(*must(file.next()), key) << "it is the next again";
}

TEST_F(Keys, AFreedKeyIsProjectedBeforeAnyBoardIsAdmitted) {
  put("u1,n1\nu2,n2\n");
  {
    KeyFile file = opened();
    must(ledger->reserve_key(1, board_of(1), id_of(1), std::nullopt));
    must(file.mark(1));
  }
  ledger.reset();
  ledger = open_ledger(state, clock);  // a crash: RESERVED is freed
  opened();
  EXPECT_EQ(now(), "u1,n1,available\nu2,n2,available\n");
}

TEST_F(Keys, ASecondProcessIsToldWhoHasTheFile) {
  put("u1,n1\n");
  KeyFile file = opened();
  TestFolder other_state;
  auto other = open_ledger(other_state, clock);
  auto second = KeyFile::open(csv, *other, {.holder = "another"});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::ledger_locked);
  EXPECT_NE(describe(second.error()).find("a test"), std::string::npos);
}

TEST_F(Keys, ThePictureBeforeIsKeptAndNothingElseIsLeft) {
  put("u1,n1\nu2,n2\n");
  std::ofstream{folder.path() / ".keys.csv.4711-0.tmp"} << "left by a crash";
  KeyFile file = opened();
  give(file, 1);
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator{folder.path()})
    names.insert(entry.path().filename().string());
  EXPECT_EQ(names, (std::set<std::string>{"keys.csv", "keys.csv.lock", "keys.csv.prev"}));
  struct stat facts {};
  ASSERT_EQ(::stat(csv.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 077, 0u) << "secrets are for their owner";
}

TEST_F(Keys, TheRecipesColumnsAreGivenInItsOrder) {
  put("name,comment,secret\nx1,blue,s1\nx2,red,s2\n");
  KeyFile file = opened({.csv = {.columns = {"secret", "name"}}});
  EXPECT_EQ(values(file, *must(file.next())), "s1 x1 ");
  EXPECT_NE(now().find("x1,blue,s1,available"), std::string::npos) << "unused columns are kept";
}

TEST_F(Keys, NoSecretIsInTheLedger) {
  put("uuid-of-one,very-secret-word\n");
  KeyFile file = opened();
  give(file, 1);
  ledger.reset();
  for (const auto& entry : std::filesystem::recursive_directory_iterator{state.path()}) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in{entry.path(), std::ios::binary};
    std::string content{std::istreambuf_iterator<char>{in}, {}};
    EXPECT_EQ(content.find("very-secret-word"), std::string::npos) << entry.path();
    EXPECT_EQ(content.find("uuid-of-one"), std::string::npos) << entry.path();
  }
}

}  // namespace
}  // namespace espmint
