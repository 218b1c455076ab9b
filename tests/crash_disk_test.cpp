// What a disk may do in a power cut and what it may not, shown on plain files, on SQLite and on write_file.
#include "tests/crash_disk.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <set>

#include "io/file.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t many = 500;  // seeds

/// An empty folder, in memory where there is such a file system.
class Folder {
 public:
  Folder() {
    std::string name =
        (fs::exists("/dev/shm") ? fs::path{"/dev/shm"} : fs::temp_directory_path()) / "crash-disk-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    fs::remove_all(path_);
    fs::remove_all(path_.string() + ".crash-disk");
  }
  std::string operator/(const char* name) const { return path_ / name; }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// A descriptor that ends with its block; what it is asked must go through.
class File {
 public:
  explicit File(const std::string& path, int flags = O_RDWR | O_CREAT) : fd_(::open(path.c_str(), flags, 0600)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(fd_); }
  File& put(const std::string& text, off_t at) {
    EXPECT_EQ(::pwrite(fd_, text.data(), text.size(), at), static_cast<ssize_t>(text.size())) << std::strerror(errno);
    return *this;
  }
  File& sync() {
    EXPECT_EQ(::fsync(fd_), 0) << std::strerror(errno);
    return *this;
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

void sync_folder(const Folder& folder) { File{folder.path(), O_RDONLY | O_DIRECTORY}.sync(); }

/// Its content; "-" where there is no such file.
std::string content_of(const std::string& path) {
  auto bytes = read_file(path);
  return bytes ? std::string{as_text(*bytes)} : "-";
}
std::string mixed(std::size_t size, char fill) { return std::string(size, fill); }

/// What `path` may hold after the power went behind `act`, over many seeds; `before` was durable.
std::set<std::string> left_of(const char* path, const std::string& before,
                              const std::function<void(const Folder&)>& act, std::uint64_t seeds = many) {
  std::set<std::string> out;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Folder folder;
    if (before != "-") File{folder / path}.put(before, 0);
    CrashDisk disk{folder.path()};
    act(folder);
    disk.cut_power(seed);
    disk.power_on();
    out.insert(content_of(folder / path));
  }
  return out;
}

using Outcomes = std::set<std::string>;

// ---- plain files

TEST(CrashDisk, KeepsWhatWasSyncedWithItsFolder) {
  auto left = left_of("a", "-", [](const Folder& folder) {
    File{folder / "a"}.put("hello", 0).sync();
    sync_folder(folder);
  });
  EXPECT_EQ(left, Outcomes{"hello"});
}

TEST(CrashDisk, MayLoseTheNameOfASyncedFile) {
  auto left = left_of("a", "-", [](const Folder& folder) { File{folder / "a"}.put("hello", 0).sync(); });
  EXPECT_EQ(left, (Outcomes{"-", "hello"}));
}

TEST(CrashDisk, MayLeaveANewFileEmpty) {
  auto left = left_of("a", "-", [](const Folder& folder) {
    File{folder / "a"}.put("hello", 0);
    sync_folder(folder);
  });
  EXPECT_TRUE(left.contains("") && left.contains("hello")) << "nothing, and everything";
  EXPECT_TRUE(left.contains(std::string(5, '\0'))) << "the length without the bytes";
  EXPECT_FALSE(left.contains("-"));
}

TEST(CrashDisk, KeepsOneUnsyncedWriteAndLosesAnEarlierOne) {
  auto left =
      left_of("a", "----", [](const Folder& folder) { File{folder / "a"}.put("1", 0).put("2", 1).put("3", 2); });
  EXPECT_EQ(left, (Outcomes{"----", "1---", "-2--", "--3-", "12--", "1-3-", "-23-", "123-"}));
}

TEST(CrashDisk, TearsAWriteAtSectorsOnly) {
  auto left =
      left_of("a", mixed(4096, 'o'), [](const Folder& folder) { File{folder / "a"}.put(mixed(2048, 'n'), 1024); });
  bool torn = false;
  for (const std::string& text : left) {
    EXPECT_EQ(text.size(), 4096u);
    EXPECT_EQ(text.substr(0, 1024) + text.substr(3072), mixed(2048, 'o')) << "what was not written is not touched";
    for (std::size_t sector = 0; sector < 4096; sector += 512)
      EXPECT_EQ(text.substr(sector, 512), mixed(512, text[sector])) << "a sector is written whole or not";
    torn = torn || (text.find('n') != std::string::npos && text.substr(1024, 2048) != mixed(2048, 'n'));
  }
  EXPECT_TRUE(torn);
  EXPECT_TRUE(left.contains(mixed(4096, 'o')));
}

TEST(CrashDisk, TakesATruncateBack) {
  auto left = left_of("a", "long text", [](const Folder& folder) {
    File file{folder / "a"};
    ASSERT_EQ(::ftruncate(file.fd(), 4), 0);
  });
  EXPECT_EQ(left, (Outcomes{"long text", "long"}));
  left = left_of("a", "long text", [](const Folder& folder) { File{folder / "a", O_WRONLY | O_TRUNC}.put("new", 0); });
  EXPECT_TRUE(left.contains("long text") && left.contains("") && left.contains("new") && left.contains("newg text"));
}

TEST(CrashDisk, KeepsARenameWholeOrNotAtAll) {
  for (std::uint64_t seed = 1; seed <= many; ++seed) {
    Folder folder;
    File{folder / "from"}.put("new", 0);
    File{folder / "to"}.put("old", 0);
    CrashDisk disk{folder.path()};
    ASSERT_EQ(::rename((folder / "from").c_str(), (folder / "to").c_str()), 0);
    disk.cut_power(seed);
    const std::string both = content_of(folder / "from") + content_of(folder / "to");
    EXPECT_TRUE(both == "newold" || both == "-new") << both;
  }
}

TEST(CrashDisk, BringsAnUnlinkedFileBack) {
  auto left = left_of("a", "old", [](const Folder& folder) { ::unlink((folder / "a").c_str()); });
  EXPECT_EQ(left, (Outcomes{"old", "-"}));
  left = left_of("a", "old", [](const Folder& folder) {
    ::unlink((folder / "a").c_str());
    sync_folder(folder);
  });
  EXPECT_EQ(left, Outcomes{"-"});
}

TEST(CrashDisk, LosesAFolderWithAllThatIsInIt) {
  std::set<bool> there;
  for (std::uint64_t seed = 1; seed <= many; ++seed) {
    Folder folder;
    CrashDisk disk{folder.path()};
    fs::create_directory(folder / "sub");
    File{folder / "sub/a"}.put("hello", 0).sync();
    File{folder / "sub", O_RDONLY | O_DIRECTORY}.sync();
    disk.cut_power(seed);
    there.insert(fs::exists(folder / "sub"));
    EXPECT_EQ(content_of(folder / "sub/a"), fs::exists(folder / "sub") ? "hello" : "-");
  }
  EXPECT_EQ(there, (std::set<bool>{true, false}));
}

TEST(CrashDisk, LeavesTheSameFolderForTheSameSeed) {
  auto once = [](std::uint64_t seed) {
    Folder folder;
    CrashDisk disk{folder.path()};
    for (const char* name : {"a", "b", "c"}) File{folder / name}.put(mixed(3000, 'x'), 0).put("y", 1500);
    ::rename((folder / "c").c_str(), (folder / "a").c_str());
    disk.cut_power(seed);
    return content_of(folder / "a") + "|" + content_of(folder / "b") + "|" + content_of(folder / "c");
  };
  for (std::uint64_t seed = 1; seed <= 100; ++seed) EXPECT_EQ(once(seed), once(seed)) << seed;
}

TEST(CrashDisk, LosesAllNowAndThenAndNothingNowAndThen) {
  int nothing = 0, all = 0;
  for (std::uint64_t seed = 1; seed <= many; ++seed) {
    Folder folder;
    CrashDisk disk{folder.path()};
    for (int i = 0; i < 20; ++i) File{folder / std::to_string(i).c_str()}.put("hello", 0);
    disk.cut_power(seed);
    int whole = 0;
    for (int i = 0; i < 20; ++i) whole += content_of(folder / std::to_string(i).c_str()) == "hello";
    nothing += whole == 20;
    all += fs::is_empty(folder.path());
  }
  EXPECT_GT(nothing, 30);
  EXPECT_GT(all, 30);
}

TEST(CrashDisk, IsDeadToDescriptorsFromBeforeTheCut) {
  Folder folder;
  CrashDisk disk{folder.path()};
  File before{folder / "a"};
  disk.cut_power(1);
  EXPECT_LT(::open((folder / "b").c_str(), O_RDWR | O_CREAT, 0600), 0);
  EXPECT_EQ(errno, EIO);
  disk.power_on();
  EXPECT_LT(::write(before.fd(), "x", 1), 0);
  File{folder / "b"}.put("hello", 0);
}

TEST(CrashDisk, KeepsWhatIsPendingForTheNextProcess) {
  Outcomes left;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Folder folder;
    if (const pid_t child = fork(); child == 0) {
      CrashDisk disk{folder.path()};
      File{folder / "tmp"}.put("hello", 0);
      ::rename((folder / "tmp").c_str(), (folder / "a").c_str());
      disk.keep_for_next_life();
      _exit(0);
    } else {
      waitpid(child, nullptr, 0);
    }
    CrashDisk disk{folder.path()};
    EXPECT_EQ(content_of(folder / "a"), "hello") << "the process has ended, not the machine";
    disk.cut_power(seed);
    left.insert(content_of(folder / "a"));
  }
  EXPECT_TRUE(left.contains("-") && left.contains("") && left.contains("hello"));
}

// ---- a disk that fails

TEST(CrashDisk, TellsAndCountsEachChangingCall) {
  Folder folder;
  CrashDisk disk{folder.path()};
  std::string told;
  disk.before_each([&](std::string_view call, const std::string& path) {
    told += std::string{call} + " " + fs::path{path}.filename().string() + "; ";
  });
  ASSERT_TRUE(write_file(folder / "a", as_bytes("x")));
  ASSERT_EQ(::unlink((folder / "a").c_str()), 0);
  const std::string temp = told.substr(7, told.find(';') - 7);
  EXPECT_EQ(told, "create " + temp + "; write " + temp + "; fsync " + temp + "; rename a; fsync " +
                      folder.path().filename().string() + "; unlink a; ");
  EXPECT_EQ(disk.calls(), 6u);
}

TEST(CrashDisk, IsFullAtTheNthCall) {
  Folder folder;
  CrashDisk disk{folder.path()};
  File file{folder / "a"};
  disk.fail_at(2, CrashDisk::Error::enospc);
  file.put("x", 0);
  EXPECT_LT(::write(file.fd(), "y", 1), 0);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_LT(::open((folder / "b").c_str(), O_RDWR | O_CREAT, 0600), 0);
  EXPECT_EQ(::unlink((folder / "a").c_str()), 0) << "needs no room";
  disk.heal();
  File{folder / "b"}.put("z", 0);
}

TEST(CrashDisk, WritesAPartBeforeItIsFull) {
  Folder folder;
  CrashDisk disk{folder.path()};
  File file{folder / "a"};
  disk.fail_at(1, CrashDisk::Error::short_write);
  EXPECT_EQ(::write(file.fd(), mixed(10'000, 'x').data(), 10'000), 4096) << "pages are whole";
  EXPECT_LT(::write(file.fd(), "x", 1), 0);
  EXPECT_EQ(errno, ENOSPC);
  disk.fail_at(2, CrashDisk::Error::short_write);
  auto written = write_file(folder / "b", as_bytes(mixed(10'000, 'x')));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::disk_full);
  EXPECT_EQ(content_of(folder / "b"), "-");
}

TEST(CrashDisk, ForgetsWhatAFailedFsyncWasToWrite) {
  Outcomes left;
  for (std::uint64_t seed = 1; seed <= many; ++seed) {
    Folder folder;
    CrashDisk disk{folder.path()};
    File file{folder / "a"};
    sync_folder(folder);
    file.put("old", 0).sync().put("new", 0);
    disk.fail_at(1, CrashDisk::Error::eio, true);
    EXPECT_LT(::fsync(file.fd()), 0);
    EXPECT_EQ(errno, EIO);
    file.sync().put("!", 3).sync();  // whoever believes the second fsync …
    EXPECT_EQ(content_of(folder / "a"), "new!");
    disk.cut_power(seed);
    left.insert(content_of(folder / "a"));
  }
  EXPECT_EQ(left, (Outcomes{"old!", "new!"})) << "… is wrong, mostly";
}

TEST(CrashDisk, LetsRewriteDurablySaveWhatAFailedFsyncForgot) {
  Outcomes left;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Folder folder;
    CrashDisk disk{folder.path()};
    File file{folder / "a"};
    file.put("new", 0);
    disk.fail_at(1, CrashDisk::Error::eio, true);
    EXPECT_LT(::fsync(file.fd()), 0);
    EXPECT_TRUE(rewrite_durably(folder / "a"));
    disk.cut_power(seed);
    left.insert(content_of(folder / "a"));
  }
  EXPECT_EQ(left, Outcomes{"new"});
}

TEST(CrashDisk, BecomesReadOnly) {
  Folder folder;
  CrashDisk disk{folder.path()};
  File file{folder / "a"};
  disk.fail_at(1, CrashDisk::Error::read_only);
  EXPECT_LT(::write(file.fd(), "x", 1), 0);
  EXPECT_EQ(errno, EROFS);
  EXPECT_LT(::open((folder / "a").c_str(), O_RDWR), 0);
  EXPECT_EQ(errno, EROFS);
  const File reader{folder / "a", O_RDONLY};
  EXPECT_GE(reader.fd(), 0);
  EXPECT_LT(::unlink((folder / "a").c_str()), 0);
}

// ---- files replaced

TEST(CrashDisk, FindsOldOrNewWhereWriteFileWrote) {
  const std::string old_text = mixed(5000, 'o'), new_text = mixed(6000, 'n');
  auto left =
      left_of("a", old_text, [&](const Folder& folder) { ASSERT_TRUE(write_file(folder / "a", as_bytes(new_text))); });
  EXPECT_EQ(left, Outcomes{new_text}) << "durable once it has returned";
  left.clear();
  for (std::uint64_t seed = 1; seed <= many; ++seed) {
    Folder folder;
    File{folder / "a"}.put(old_text, 0);
    CrashDisk disk{folder.path()};
    disk.before_each([&, at = seed % 6](std::string_view, const std::string&) mutable {
      if (at-- == 0) disk.cut_power(seed);
    });
    EXPECT_EQ(write_file(folder / "a", as_bytes(new_text)).has_value(), seed % 6 > 4)
        << "it never says done of what is not";
    if (seed % 6 > 4) disk.cut_power(seed);
    left.insert(content_of(folder / "a"));
  }
  EXPECT_EQ(left, (Outcomes{old_text, new_text}));
}

TEST(CrashDisk, CatchesARewriteInPlace) {
  auto left = left_of("a", mixed(5000, 'o'), [](const Folder& folder) {
    File{folder / "a", O_WRONLY | O_TRUNC}.put(mixed(5000, 'n'), 0).sync();
  });
  EXPECT_EQ(left, Outcomes{mixed(5000, 'n')}) << "whole, where nothing stops it";
  left = left_of("a", mixed(5000, 'o'), [](const Folder& folder) {
    File{folder / "a", O_WRONLY | O_TRUNC}.put(mixed(5000, 'n'), 0);
  });
  EXPECT_TRUE(left.contains("")) << "neither old nor new";
}

TEST(CrashDisk, CatchesARenameWithoutFsync) {
  auto left = left_of("a", "old", [](const Folder& folder) {
    File{folder / "tmp"}.put("new", 0);
    ASSERT_EQ(::rename((folder / "tmp").c_str(), (folder / "a").c_str()), 0);
    sync_folder(folder);
  });
  EXPECT_TRUE(left.contains("")) << "the new name, and nothing in it";
  EXPECT_FALSE(left.contains("old"));
}

// ---- SQLite

struct Mode {
  friend void PrintTo(const Mode& mode, std::ostream* out) { *out << mode.name; }
  const char* name;
  const char* journal;
  const char* synchronous;
};

void run(sqlite3* db, const std::string& sql) {
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sql << ": " << sqlite3_errmsg(db);
}
std::string ask(sqlite3* db, const std::string& sql) {
  std::string out;
  auto take = [](void* to, int, char** values, char**) {
    *static_cast<std::string*>(to) = values[0] ? values[0] : "";
    return 0;
  };
  const int code = sqlite3_exec(db, sql.c_str(), take, &out, nullptr);
  return code == SQLITE_OK ? out : "failed: " + std::string{sqlite3_errmsg(db)};
}

struct Losses {
  int damaged = 0, lost = 0;
};

/// Commits rows until the power goes at some call, then looks at what is there: damage, and rows lost that were
/// committed.
Losses losses_of(const Mode& mode, std::uint64_t seeds) {
  Losses out;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Folder folder;
    CrashDisk disk{folder.path()};
    const std::string path = folder / "test.db";
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
    run(db, std::string{"PRAGMA journal_mode = "} + mode.journal);
    run(db, std::string{"PRAGMA synchronous = "} + mode.synchronous);
    run(db, "PRAGMA wal_autocheckpoint = 5");
    run(db, "CREATE TABLE t(n INTEGER PRIMARY KEY, filler)");
    disk.before_each([&, left = 5 + seed % 90](std::string_view, const std::string&) mutable {
      if (left-- == 0) disk.cut_power(seed);
    });
    int committed = 0;
    while (committed < 40 &&
           sqlite3_exec(db, "INSERT INTO t(filler) VALUES (randomblob(3000))", nullptr, nullptr, nullptr) == SQLITE_OK)
      ++committed;
    disk.before_each({});
    if (committed == 40) disk.cut_power(seed);
    sqlite3_close(db);
    disk.power_on();
    EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
    const std::string count = ask(db, "SELECT count(*) FROM t");
    if (ask(db, "PRAGMA integrity_check") != "ok")
      ++out.damaged;
    else if (count.starts_with("failed") || std::stoi(count) < committed)
      ++out.lost;
    sqlite3_close(db);
  }
  return out;
}

class Safe : public testing::TestWithParam<Mode> {};
TEST_P(Safe, SqliteKeepsEachCommit) {
  const Losses losses = losses_of(GetParam(), many);
  EXPECT_EQ(losses.damaged, 0);
  EXPECT_EQ(losses.lost, 0);
}
std::string name_of_mode(const testing::TestParamInfo<Mode>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(CrashDisk, Safe,
                         testing::Values(Mode{"Wal", "WAL", "FULL"}, Mode{"Truncate", "TRUNCATE", "FULL"},
                                         Mode{"Delete", "DELETE", "EXTRA"}),
                         name_of_mode);

TEST(CrashDisk, SeesWhatSqliteWrites) {
  Folder folder;
  CrashDisk disk{folder.path()};
  std::map<std::string, int> seen;
  disk.before_each([&](std::string_view call, const std::string& path) {
    ++seen[std::string{call} + " " + fs::path{path}.filename().string()];
  });
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((folder / "test.db").c_str(), &db), SQLITE_OK);
  run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t(n); INSERT INTO t VALUES (1)");
  sqlite3_close(db);
  for (const char* call :
       {"create test.db", "write test.db", "fsync test.db", "create test.db-journal", "unlink test.db-journal",
        "create test.db-wal", "write test.db-wal", "fsync test.db-wal", "unlink test.db-wal"})
    EXPECT_GE(seen[call], 1) << call;
  EXPECT_GE(seen["fsync " + folder.path().filename().string()], 1) << "the names of its files";
}

TEST(CrashDisk, CatchesSqliteThatDoesNotSync) {
  EXPECT_GT(losses_of({"", "WAL", "OFF"}, 100).lost, 10);
  EXPECT_GT(losses_of({"", "WAL", "NORMAL"}, 100).lost, 10) << "syncs at checkpoints only";
  EXPECT_EQ(losses_of({"", "WAL", "NORMAL"}, 100).damaged, 0);
  EXPECT_GT(losses_of({"", "DELETE", "OFF"}, 100).damaged, 3);
}

TEST(CrashDisk, CatchesTheJournalThatComesBack) {
  // FULL does not sync the folder after the journal was deleted; EXTRA does. Source: SQLite, PRAGMA synchronous.
  const Losses losses = losses_of({"", "DELETE", "FULL"}, many);
  EXPECT_EQ(losses.damaged, 0);
  EXPECT_GT(losses.lost, 5);
}

// ---- what it costs

TEST(CrashDisk, CostsMicroseconds) {
  Folder folder;
  auto microseconds_a_call = [&](int fd) {
    const std::string text(512, 'x');
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 20'000; ++i)
      if (::pwrite(fd, text.data(), text.size(), 512 * (i % 64)) < 0 || (i % 8 == 0 && ::fsync(fd) != 0)) std::abort();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() / 20'000;
  };
  const double plain = microseconds_a_call(File{folder / "a"}.fd());
  CrashDisk disk{folder.path()};
  const double watched = microseconds_a_call(File{folder / "b"}.fd());
  RecordProperty("microseconds_a_write", std::to_string(watched));
  std::printf("%.2f us a write and an eighth of an fsync, %.2f without\n", watched, plain);
  EXPECT_LT(watched, 50);
}

}  // namespace
}  // namespace espmint
