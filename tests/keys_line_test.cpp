// Whole lines that hand out keys, in virtual time. The watchers look at the boards' flash and at the user's file, not only
// at the ledger: one key on one board, one board with one key, and "available" only of keys that never left.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "ledger/invariants.hpp"
#include "tests/bench.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr int keys_in_the_pool = 6, fields_of_a_key = 3;

std::string secret(int key, int field) { return fmt::format("k{:02}f{}-0123456789abcdef", key, field); }

std::string pool_text() {
  std::string out;
  for (int key = 1; key <= keys_in_the_pool; ++key)
    for (int field = 1; field <= fields_of_a_key; ++field) out += secret(key, field) + (field < fields_of_a_key ? "," : "\n");
  return out;
}

/// What every board's flash held, also of boards that are gone.
class Boards {
 public:
  void see(Bench& bench, const std::string& slot) {
    std::string_view flash = as_text(bench.flash(slot));
    std::string mac = to_string(bench.ports().board(slot).mac());
    for (int key = 1; key <= keys_in_the_pool; ++key)
      if (flash.find(secret(key, 1)) != std::string_view::npos) held_[mac].insert(key);
  }
  /// One key, one board, and the ledger knew before.
  void expect_sound(Bench& bench, const std::string& where) {
    std::set<int> met;
    auto pool = bench.ledger().pool();
    ASSERT_TRUE(pool) << where;
    for (const auto& [mac, keys] : held_) {
      EXPECT_LE(keys.size(), 1u) << where << ": " << mac << " holds more than one key";
      for (int key : keys) {
        EXPECT_TRUE(met.insert(key).second) << where << ": key " << key << " is on two boards";
        const PoolKey& row = pool->at(static_cast<std::size_t>(key - 1));
        EXPECT_EQ(row.device, mac) << where << ": key " << key;
        EXPECT_TRUE(row.state != KeyState::available && row.state != KeyState::reserved) << where << ": key " << key << " is " << name_of(row.state);
      }
    }
    expect_csv_is_careful(bench, where);
  }
  void expect_csv_is_careful(Bench& bench, const std::string& where) {
    std::ifstream in{bench.csv()};
    std::string line;
    int key = 0;
    while (std::getline(in, line)) {
      ++key;
      EXPECT_TRUE(line.starts_with(secret(key, 1) + "," + secret(key, 2) + "," + secret(key, 3))) << where << ": the user's bytes";
      for (const auto& [mac, keys] : held_)
        EXPECT_FALSE(keys.contains(key) && line.ends_with(",available")) << where << ": key " << key << " is on " << mac << " and offered";
    }
    EXPECT_EQ(key, keys_in_the_pool) << where;
  }

 private:
  std::map<std::string, std::set<int>> held_;
};

LineOptions on(std::vector<std::string> ports, std::uint64_t count) {
  LineOptions options;
  options.ports = std::move(ports);
  options.count = count;
  return options;
}
LineOptions once(const std::string& port) {
  LineOptions options = on({port}, 1);
  options.count.reset();
  options.one_pass = true;
  return options;
}
const RunOutcome& last(Bench& bench, const std::string& slot) { return bench.listener.done[slot].back(); }
std::string said(Bench& bench, const std::string& slot) {
  const RunOutcome& outcome = last(bench, slot);
  return outcome.fault ? describe(*outcome.fault) : "";
}
KeyState state_of(Bench& bench, int key) { return bench.ledger().pool()->at(static_cast<std::size_t>(key - 1)).state; }

void expect_rules(Bench& bench, const std::string& where = "") {
  auto violations = find_violations(bench.folder() / "ledger");
  ASSERT_TRUE(violations) << where << describe(violations.error());
  for (const auto& violation : *violations) ADD_FAILURE() << where << violation;
}

class Kinds : public testing::TestWithParam<const char*> {};

TEST_P(Kinds, OfFirmwareGetEachBoardAKeyOfItsOwn) {
  Bench bench{Seed{21}, {}, {GetParam(), pool_text()}};
  for (const char* slot : {"a", "b", "c"}) bench.plug_in(slot);
  LineSummary summary = bench.run(on({"a", "b", "c"}, 3));
  EXPECT_EQ(summary.passed, 3u) << said(bench, "a") << said(bench, "b") << said(bench, "c");
  Boards boards;
  for (const char* slot : {"a", "b", "c"}) boards.see(bench, slot);
  boards.expect_sound(bench, GetParam());
  for (int key : {1, 2, 3}) EXPECT_EQ(state_of(bench, key), KeyState::verified);
  EXPECT_EQ(state_of(bench, 4), KeyState::available);
  expect_rules(bench);
}
INSTANTIATE_TEST_SUITE_P(, Kinds, testing::Values("old3", "device-line"));

TEST(KeyLine, KnowsABoardAgainAndGivesItNothingNew) {
  Bench bench{Seed{22}, {}, {"old3", pool_text()}};
  bench.plug_in("a");
  bench.run(on({"a"}, 1));
  EXPECT_EQ(bench.run(once("a")).exit(), Exit::good) << said(bench, "a");
  EXPECT_TRUE(last(bench, "a").already);
  EXPECT_EQ(state_of(bench, 2), KeyState::available);
}

TEST(KeyLine, GivesNoGreenToFirmwareThatDidNotStoreItsKey) {
  Bench bench{Seed{23}, {}, {"forgetful", pool_text()}};
  bench.plug_in("a");
  LineSummary summary = bench.run(on({"a"}, 1));
  EXPECT_EQ(summary.passed, 0u);
  EXPECT_EQ(last(bench, "a").verdict, Verdict::quarantined);
  EXPECT_NE(said(bench, "a").find("did not store"), std::string::npos) << said(bench, "a");
  EXPECT_EQ(state_of(bench, 1), KeyState::quarantined);
  bench.run(once("a"));
  EXPECT_EQ(last(bench, "a").verdict, Verdict::held);
  EXPECT_EQ(state_of(bench, 2), KeyState::available) << "no second key";
  expect_rules(bench);
}

TEST(KeyLine, CallsABoardWrittenWhoseFirmwareProvesNothing) {
  Bench bench{Seed{24}, {}, {"mute", pool_text()}};
  bench.plug_in("a");
  bench.run(on({"a"}, 1));
  EXPECT_EQ(last(bench, "a").verdict, Verdict::written) << said(bench, "a");
  EXPECT_EQ(state_of(bench, 1), KeyState::written);
}

TEST(KeyLine, ReadsTheNvsOfFirmwareThatPrintsNothingWhereTheRecipeAllows) {
  Bench bench{Seed{26}, {}, {"mute", pool_text()}};
  bench.plan.keys->nvs_space = "provision";
  bench.plug_in("a");
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 1u) << said(bench, "a");
  EXPECT_EQ(state_of(bench, 1), KeyState::verified);
  bench.plan.keys->nvs_names = {"key1", "key3"};
  bench.plug_in("b");
  bench.run(on({"b"}, 1));
  EXPECT_EQ(last(bench, "b").verdict, Verdict::quarantined) << "the second field is not under that name";
  expect_rules(bench);
}

TEST(KeyLine, StopsWhenThePoolIsExhausted) {
  Bench bench{Seed{25}, {}, {"old3", "k01f1-0123456789abcdef,b,c\n"}};
  for (const char* slot : {"a", "b"}) bench.plug_in(slot);
  LineSummary summary = bench.run(on({"a", "b"}, 2));
  EXPECT_EQ(summary.passed, 1u);
  EXPECT_EQ(summary.exit(), Exit::ledger);
}

Task<> unplug_for(Bench& bench, std::string slot, Duration when, Duration away) {
  co_await bench.loop.sleep_for(when);
  bench.ports().unplug(slot);
  co_await bench.loop.sleep_for(away);
  bench.ports().plug(slot);
}

class KeyUnplugged : public testing::TestWithParam<int> {};

TEST_P(KeyUnplugged, BoardEndsWithTheKeyItWasExposedTo) {
  for (const char* app : {"old3", "device-line"}) {
    Bench bench{Seed{400 + static_cast<std::uint64_t>(GetParam())}, {}, {app, pool_text()}};
    bench.plug_in("a");
    LineSummary summary = bench.run(on({"a"}, 1), unplug_for(bench, "a", 53ms * GetParam(), 3s));
    std::string where = fmt::format("{}, pulled after {} ms", app, 53 * GetParam());
    // A transfer that was cut may leave old firmware with half a key for ever: then it is never green.
    bool poisoned = last(bench, "a").verdict == Verdict::quarantined && std::string{app} == "old3";
    EXPECT_TRUE(summary.passed == 1u || poisoned) << where << ": " << said(bench, "a");
    Boards boards;
    boards.see(bench, "a");
    boards.expect_sound(bench, where);
    EXPECT_EQ(state_of(bench, 2), KeyState::available) << where;
    expect_rules(bench, where);
  }
}
INSTANTIATE_TEST_SUITE_P(AtAnyMoment, KeyUnplugged, testing::Range(0, 64));

class KeySwapped : public testing::TestWithParam<int> {};

Task<> swap_at(Bench& bench, std::string slot, Duration when, Mac other, Boards& boards) {
  co_await bench.loop.sleep_for(when);
  boards.see(bench, slot);
  bench.ports().swap(slot, other);
}

TEST_P(KeySwapped, BoardNeverGetsAnothersKey) {
  Bench bench{Seed{500 + static_cast<std::uint64_t>(GetParam())}, {}, {"old3", pool_text()}};
  bench.plug_in("a");
  Boards boards;
  bench.run(on({"a"}, 2), swap_at(bench, "a", 53ms * GetParam(), Mac{{0x24, 0xd7, 0xeb, 0x77, 0x77, 0x77}}, boards), 4min);
  boards.see(bench, "a");
  boards.expect_sound(bench, fmt::format("swapped after {} ms", 53 * GetParam()));
  expect_rules(bench);
}
INSTANTIATE_TEST_SUITE_P(AtAnyMoment, KeySwapped, testing::Range(1, 64));

// ---- the process stops

struct Stopped {
  std::filesystem::path folder;
  std::filesystem::path flash;  // the board's, as it was when the process stopped
  Stopped() {
    std::string name = std::filesystem::temp_directory_path() / "espmint-keys-XXXXXX";
    folder = mkdtemp(name.data());
    flash = folder / "flash.bin";
  }
  ~Stopped() { std::filesystem::remove_all(folder); }
};

constexpr int stopped_here = 77;

void load_flash(Bench& bench, const Stopped& world) {
  std::ifstream in{world.flash, std::ios::binary};
  if (in) in.read(reinterpret_cast<char*>(bench.flash("a").data()), static_cast<std::streamsize>(bench.flash("a").size()));
}
void save_flash(Bench& bench, const Stopped& world) {
  std::ofstream out{world.flash, std::ios::binary};
  out.write(reinterpret_cast<const char*>(bench.flash("a").data()), static_cast<std::streamsize>(bench.flash("a").size()));
}
void plug_the_same(Bench& bench, const Stopped& world) {
  bench.plug_in("a");
  bench.ports().swap("a", Mac{{0x24, 0xd7, 0xeb, 0, 0, 1}});
  load_flash(bench, world);
}

/// Runs the line in a child that stops at the n-th point; whether it reached it.
bool stops_at(const Stopped& world, bool at_frames, int point, const char* app) {
  pid_t child = fork();
  if (child == 0) {
    Bench bench{Seed{31}, world.folder, {app, pool_text()}};
    plug_the_same(bench, world);
    auto count = [&bench, &world, left = point]() mutable {
      if (left-- > 0) return;
      save_flash(bench, world);
      _exit(stopped_here);
    };
    if (at_frames) bench.before_write = count;
    else set_ledger_crash_hook([count](std::string_view) mutable { count(); });
    bench.run(on({"a"}, 1));
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status)) << "the child died of signal " << WTERMSIG(status);
  return WIFEXITED(status) && WEXITSTATUS(status) == stopped_here;
}

class KeyCrash : public testing::TestWithParam<bool> {};

TEST_P(KeyCrash, LosesNoKeyAndGivesNoneTwice) {
  const bool at_frames = GetParam();
  int points = 0;
  for (;; points += at_frames ? 3 : 1) {
    Stopped world;
    if (!stops_at(world, at_frames, points, "old3")) break;
    std::string where = fmt::format("{} {}", at_frames ? "frame" : "durable point", points);
    Bench bench{Seed{32}, world.folder, {"old3", pool_text()}};
    plug_the_same(bench, world);
    Boards boards;
    boards.see(bench, "a");
    LineSummary summary = bench.run(on({"a"}, 1));
    EXPECT_EQ(summary.passed, 1u) << where << ": " << said(bench, "a");
    boards.see(bench, "a");
    boards.expect_sound(bench, where);
    EXPECT_EQ(state_of(bench, 2), KeyState::available) << where << ": one board took two keys";
    expect_rules(bench, where);
  }
  EXPECT_GE(points, at_frames ? 40 : 16);
}
INSTANTIATE_TEST_SUITE_P(AtEvery, KeyCrash, testing::Bool(), [](const auto& one) { return one.param ? "ThirdFrame" : "DurableWrite"; });

}  // namespace
}  // namespace espmint
