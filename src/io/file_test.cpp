#include "io/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "io/test_folder.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

struct Files : testing::Test {
  TestFolder folder;
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
  }
  static unsigned mode_of(const fs::path& path) {
    struct stat facts {};
    return ::stat(path.c_str(), &facts) == 0 ? facts.st_mode & 0777U : 0;
  }
  std::string content(const fs::path& path) {
    const auto bytes = read_file(path);
    return bytes ? std::string{as_text(*bytes)} : "fault: " + bytes.error().what;
  }
  /// Runs `act` in a child with its own limits and user; its result is the child's exit status.
  template <typename Act>
  static int in_child(Act act) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(act());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

TEST_F(Files, AreReplacedWholeAndLeaveNoTempFile) {
  const auto path = folder / "keys.csv";
  ASSERT_TRUE(write_file(path, as_bytes("old")));
  ASSERT_TRUE(write_file(path, as_bytes("new content")));
  EXPECT_EQ(content(path), "new content");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Files, HaveTheModeThatWasAskedFor) {
  ASSERT_TRUE(write_file(folder / "public.crt", as_bytes("x"), FileMode::everyone));
  ASSERT_TRUE(write_file(folder / "private.key", as_bytes("x"), FileMode::owner_only));
  EXPECT_EQ(mode_of(folder / "private.key"), 0600U);
  EXPECT_EQ(mode_of(folder / "public.crt") & ~0644U, 0U);
}

TEST_F(Files, ThatWereStricterStayStrict) {
  ASSERT_TRUE(write_file(folder / "keys.csv", as_bytes("x"), FileMode::owner_only));
  ASSERT_TRUE(write_file(folder / "keys.csv", as_bytes("y"), FileMode::everyone));
  EXPECT_EQ(mode_of(folder / "keys.csv"), 0600U);
}

TEST_F(Files, AreWrittenThroughALink) {
  ASSERT_TRUE(write_file(folder / "real.csv", as_bytes("old")));
  fs::create_symlink("real.csv", folder / "keys.csv");
  ASSERT_TRUE(write_file(folder / "keys.csv", as_bytes("new")));
  EXPECT_TRUE(fs::is_symlink(folder / "keys.csv"));
  EXPECT_EQ(content(folder / "real.csv"), "new");
}

TEST_F(Files, AreCreatedButNeverOverwritten) {
  const auto path = folder / "ca.key";
  ASSERT_TRUE(create_file(path, as_bytes("first"), FileMode::owner_only));
  const auto again = create_file(path, as_bytes("second"));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::output_unwritable);
  EXPECT_NE(again.error().what.find("there already"), std::string::npos);
  EXPECT_EQ(content(path), "first");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Files, AreNotCreatedThroughADanglingLink) {
  fs::create_symlink("nowhere", folder / "ca.key");
  EXPECT_FALSE(create_file(folder / "ca.key", as_bytes("x")));
  EXPECT_FALSE(fs::exists(folder / "nowhere"));
}

TEST_F(Files, StayOldWhenThereIsNoRoomForTheNew) {
  const auto path = folder / "keys.csv";
  ASSERT_TRUE(write_file(path, as_bytes("old")));
  const int status = in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto result = write_file(path, Bytes(5000, 'n'));
    if (result) return 1;
    return result.error().code == Code::disk_full && result.error().remedy == Remedy::stop_line ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(content(path), "old");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Files, CannotBeWrittenWhereTheFolderIsMissing) {
  const auto result = write_file(folder / "none" / "keys.csv", as_bytes("x"));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::output_unwritable);
  EXPECT_NE(result.error().what.find("keys.csv"), std::string::npos);
}

TEST_F(Files, SayWhyTheyCannotBeRead) {
  EXPECT_EQ(read_file(folder / "none").error().code, Code::input_missing);
  EXPECT_EQ(read_file(folder.path()).error().code, Code::input_unreadable);
  ASSERT_TRUE(write_file(folder / "large", Bytes(100)));
  const auto large = read_file(folder / "large", 99);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, Code::input_unreadable);
  EXPECT_NE(large.error().seen.find("larger than 99 B"), std::string::npos);
  EXPECT_EQ(read_file(folder / "large", 100)->size(), 100U);
}

TEST_F(Files, WithoutASizeAreReadToTheirEnd) {
  const auto status = read_file("/proc/self/status");
  ASSERT_TRUE(status);
  EXPECT_EQ(as_text(*status).substr(0, 5), "Name:");
  const auto endless = read_file("/dev/zero", 100'000);
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().code, Code::input_unreadable);
}

TEST_F(Files, OfOtherUsersAreNotRead) {
  ASSERT_TRUE(write_file(folder / "private.key", as_bytes("x"), FileMode::owner_only));
  if (::getuid() != 0) GTEST_SKIP() << "only root can become another user";
  ::chmod(folder.path().c_str(), 0755);
  const int status = in_child([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 1;
    const auto result = read_file(folder / "private.key");
    return !result && result.error().code == Code::input_unreadable ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
}

TEST_F(Files, LieInFoldersThatAreMadeWithTheirParents) {
  const auto deep = folder / "state" / "espmint" / "ca";
  ASSERT_TRUE(make_folder(deep, true));
  EXPECT_EQ(mode_of(deep), 0700U);
  EXPECT_EQ(mode_of(folder / "state"), 0700U);
  EXPECT_TRUE(make_folder(deep, true));
  EXPECT_TRUE(make_folder((folder / "a" / "b").string() + "/"));
  EXPECT_TRUE(fs::is_directory(folder / "a" / "b"));
  ASSERT_TRUE(write_file(folder / "file", as_bytes("x")));
  EXPECT_EQ(make_folder(folder / "file" / "below").error().code, Code::output_unwritable);
}

TEST_F(Files, KnowTheRoomLeftEvenWhereTheFolderIsStillMissing) {
  const auto there = free_bytes(folder.path());
  const auto below = free_bytes(folder / "not" / "yet");
  ASSERT_TRUE(there && below);
  EXPECT_GT(*below, 0U);
  EXPECT_FALSE(is_on_network("/proc"));
}

TEST_F(Files, AreLockedByOneWriterWhoseNameTheOthersLearn) {
  const auto path = folder / "ledger.lock";
  auto lock = FileLock::acquire(path, "pid 4711 on line-3: espmint run");
  ASSERT_TRUE(lock);
  const auto second = [&] {
    const auto refused = FileLock::acquire(path, "pid 4712 on line-3: espmint keys import");
    if (refused) return 1;
    if (refused.error().code != Code::ledger_locked) return 2;
    return refused.error().seen == "held by pid 4711 on line-3: espmint run" ? 0 : 3;
  };
  EXPECT_EQ(in_child(second), 0);
  EXPECT_EQ(second(), 0) << "the same process must not get it twice either";
  EXPECT_EQ(content(path), "pid 4711 on line-3: espmint run\n");
}

TEST_F(Files, AreFreeAgainWhenTheLockEnds) {
  const auto path = folder / "ledger.lock";
  {
    auto lock = FileLock::acquire(path, "first, whose note is the longer one");
    ASSERT_TRUE(lock);
    FileLock moved = std::move(*lock);
    EXPECT_FALSE(FileLock::acquire(path, "x"));
  }
  EXPECT_EQ(content(path), "");
  const auto next = FileLock::acquire(path, "next");
  ASSERT_TRUE(next);
  EXPECT_EQ(content(path), "next\n");
}

TEST_F(Files, AreFreeAgainWhenTheHolderDies) {
  const auto path = folder / "ledger.lock";
  EXPECT_EQ(in_child([&] { return FileLock::acquire(path, "one who crashes") ? 7 : 1; }), 7);
  EXPECT_TRUE(FileLock::acquire(path, "next"));
}

}  // namespace
}  // namespace espmint
