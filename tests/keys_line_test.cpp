// Whole lines that hand out keys, in virtual time. The watchers look at the boards' flash and at the user's file, not
// only at the ledger: one key on one board, one board with one key, and "available" only of keys that never left.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "ledger/invariants.hpp"
#include "tests/line_words.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr int keys_in_the_pool = 6, fields_of_a_key = 3;

std::string secret(int key, int field) { return fmt::format("k{:02}f{}-0123456789abcdef", key, field); }

std::string pool_text() {
  std::string out;
  for (int key = 1; key <= keys_in_the_pool; ++key)
    for (int field = 1; field <= fields_of_a_key; ++field)
      out += secret(key, field) + (field < fields_of_a_key ? "," : "\n");
  return out;
}

/// A line with this firmware. What device-framed speaks is found out by listening.
BenchKeys pool_for(const std::string& app) {
  return {app, pool_text(), app.find("framed") != std::string::npos ? Handshake::automatic : Handshake::line};
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
        EXPECT_TRUE(row.state != KeyState::available && row.state != KeyState::reserved)
            << where << ": key " << key << " is " << name_of(row.state);
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
      EXPECT_TRUE(line.starts_with(secret(key, 1) + "," + secret(key, 2) + "," + secret(key, 3)))
          << where << ": the user's bytes";
      for (const auto& [mac, keys] : held_)
        EXPECT_FALSE(keys.contains(key) && line.ends_with(",available"))
            << where << ": key " << key << " is on " << mac << " and offered";
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
  Bench bench{Seed{21}, {}, pool_for(GetParam())};
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
INSTANTIATE_TEST_SUITE_P(, Kinds, testing::Values("old3", "device-line", "device-framed"));

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
  for (const char* app : {"old3", "device-line", "device-framed"}) {
    Bench bench{Seed{400 + static_cast<std::uint64_t>(GetParam())}, {}, pool_for(app)};
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
  for (const char* app : {"old3", "device-framed"}) {
    Bench bench{Seed{500 + static_cast<std::uint64_t>(GetParam())}, {}, pool_for(app)};
    bench.plug_in("a");
    Boards boards;
    bench.run(on({"a"}, 2), swap_at(bench, "a", 53ms * GetParam(), Mac{{0x24, 0xd7, 0xeb, 0x77, 0x77, 0x77}}, boards),
              4min);
    boards.see(bench, "a");
    boards.expect_sound(bench, fmt::format("{}, swapped after {} ms", app, 53 * GetParam()));
    expect_rules(bench);
  }
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
  if (in)
    in.read(reinterpret_cast<char*>(bench.flash("a").data()), static_cast<std::streamsize>(bench.flash("a").size()));
}
void save_flash(Bench& bench, const Stopped& world) {
  std::ofstream out{world.flash, std::ios::binary};
  out.write(reinterpret_cast<const char*>(bench.flash("a").data()),
            static_cast<std::streamsize>(bench.flash("a").size()));
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
    Bench bench{Seed{31}, world.folder, pool_for(app)};
    plug_the_same(bench, world);
    auto count = [&bench, &world, left = point]() mutable {
      if (left-- > 0) return;
      save_flash(bench, world);
      _exit(stopped_here);
    };
    if (at_frames)
      bench.before_write = count;
    else
      set_ledger_crash_hook([count](std::string_view) mutable { count(); });
    bench.run(on({"a"}, 1));
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status)) << "the child died of signal " << WTERMSIG(status);
  return WIFEXITED(status) && WEXITSTATUS(status) == stopped_here;
}

using CrashOf = std::tuple<bool, const char*>;  // at frames or at durable points; the firmware
class KeyCrash : public testing::TestWithParam<CrashOf> {};

TEST_P(KeyCrash, LosesNoKeyAndGivesNoneTwice) {
  const auto [at_frames, app] = GetParam();
  int points = 0;
  for (;; points += at_frames ? 3 : 1) {
    Stopped world;
    if (!stops_at(world, at_frames, points, app)) break;
    std::string where = fmt::format("{}, {} {}", app, at_frames ? "frame" : "durable point", points);
    Bench bench{Seed{32}, world.folder, pool_for(app)};
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
INSTANTIATE_TEST_SUITE_P(AtEvery, KeyCrash, testing::Combine(testing::Bool(), testing::Values("old3", "device-framed")),
                         [](const auto& one) {
                           std::string app = std::get<1>(one.param) == std::string{"old3"} ? "Old3" : "Framed";
                           return (std::get<0>(one.param) ? "ThirdFrame" : "DurableWrite") + app;
                         });

// ---- the framed dialect

struct Speaks {
  friend void PrintTo(const Speaks& speaks, std::ostream* out) { *out << speaks.app; }
  const char *app, *evidence;
};
class Auto : public testing::TestWithParam<Speaks> {};

TEST_P(Auto, SpeaksWhatTheFirmwareSpeaks) {
  Bench bench{Seed{41}, {}, {GetParam().app, pool_text(), Handshake::automatic}};
  bench.plug_in("a");
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 1u) << said(bench, "a");
  EXPECT_EQ(last(bench, "a").evidence, GetParam().evidence);
  EXPECT_EQ(bench.run(once("a")).exit(), Exit::good) << said(bench, "a");
  EXPECT_TRUE(last(bench, "a").already);
  EXPECT_EQ(last(bench, "a").evidence, GetParam().evidence);
  EXPECT_EQ(state_of(bench, 2), KeyState::available);
  expect_rules(bench);
}
INSTANTIATE_TEST_SUITE_P(, Auto,
                         testing::Values(Speaks{"device-framed", "framed-digest"}, Speaks{"old3", "read-back"},
                                         Speaks{"device-line", "read-back"}));

BenchKeys framed(const std::string& app = "device-framed") { return {app, pool_text(), Handshake::framed}; }

TEST(FramedLine, IsNotSpokenWhereTheRecipeWantsLine) {
  Bench lines{Seed{42}, {}, {"device-framed", pool_text(), Handshake::line}};
  lines.plug_in("a");
  lines.run(on({"a"}, 1));
  EXPECT_EQ(last(lines, "a").fault->code, Code::recipe_invalid) << said(lines, "a");
  EXPECT_EQ(state_of(lines, 1), KeyState::available);
}

TEST(FramedLine, SaysNothingToFirmwareThatSpeaksLine) {
  Bench frames{Seed{43}, {}, framed("old3")};
  frames.plug_in("a");
  frames.run(on({"a"}, 1));
  EXPECT_EQ(last(frames, "a").fault->code, Code::recipe_invalid) << said(frames, "a");
  frames.plan.keys->handshake = Handshake::line;
  EXPECT_EQ(frames.run(on({"a"}, 1)).passed, 1u) << "a question in frames would be its key now: " << said(frames, "a");
}

TEST(FramedLine, SendsNothingToABoardThatSaysAnotherMac) {
  Bench bench{Seed{44}, {}, framed("framed-stranger")};
  bench.plug_in("a");
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 0u);
  EXPECT_EQ(last(bench, "a").verdict, Verdict::held) << said(bench, "a");
  EXPECT_EQ(state_of(bench, 1), KeyState::available) << "never exposed";
  EXPECT_EQ(as_text(bench.flash("a")).find(secret(1, 1)), std::string_view::npos);
}

class FramedFlaw : public testing::TestWithParam<const char*> {};

TEST_P(FramedFlaw, IsNeverGreenAndItsKeyIsQuarantined) {
  Bench bench{Seed{45}, {}, framed(GetParam())};
  bench.plug_in("a");
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 0u);
  EXPECT_EQ(last(bench, "a").verdict, Verdict::quarantined) << said(bench, "a");
  EXPECT_EQ(last(bench, "a").fault->code, Code::key_not_stored);
  EXPECT_EQ(state_of(bench, 1), KeyState::quarantined);
  bench.run(once("a"));
  EXPECT_EQ(last(bench, "a").verdict, Verdict::held);
  EXPECT_EQ(state_of(bench, 2), KeyState::available) << "no second key";
  expect_rules(bench);
}
INSTANTIATE_TEST_SUITE_P(, FramedFlaw, testing::Values("framed-forgetful", "framed-other"));

TEST(FramedLine, MeasuresTheBoardBeforeItsKeyIsTouched) {
  Bench bench{Seed{46}, {}, framed()};
  bench.plan.keys->selftest = {{"vbat_mv", 3000, 3600}};
  bench.plug_in("a");
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 1u) << said(bench, "a");
  using Measured = std::vector<std::pair<std::string, std::int32_t>>;
  EXPECT_EQ(last(bench, "a").record.selftest, (Measured{{"vbat_mv", 3301}, {"temp_dc", 231}}));
  for (const SelftestLimit& limit :
       {SelftestLimit{"vbat_mv", 3302, 3600}, {"temp_dc", -100, 230}, {"rssi_dbm", -70, 0}}) {
    bench.plan.keys->selftest = {limit};
    bench.plug_in(limit.name);
    bench.run(on({limit.name}, 1));
    const RunOutcome& outcome = last(bench, limit.name);
    EXPECT_EQ(outcome.verdict, Verdict::failed);
    EXPECT_EQ(outcome.fault->code, Code::selftest_failed);
    EXPECT_EQ(outcome.record.selftest.size(), 2u);
    EXPECT_NE(said(bench, limit.name).find(limit.name), std::string::npos) << said(bench, limit.name);
    EXPECT_EQ(state_of(bench, 2), KeyState::available) << limit.name;
    EXPECT_EQ(as_text(bench.flash(limit.name)).find(secret(2, 1)), std::string_view::npos);
  }
  expect_rules(bench);
}

TEST(FramedLine, LocksABoardThatIsProvenWhereTheRecipeWants) {
  Bench bench{Seed{47}, {}, framed()};
  auto locked = [&] { return as_text(bench.flash("a")).find("locked") != std::string_view::npos; };
  bench.plug_in("a");
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 1u) << said(bench, "a");
  EXPECT_FALSE(locked());
  bench.plan.keys->lock = true;
  for (int again : {1, 2}) {
    EXPECT_EQ(bench.run(once("a")).exit(), Exit::good) << again << said(bench, "a");
    EXPECT_TRUE(locked());
  }
}

Task<> swap_in_the_fixture(Bench& bench, Duration after) {
  co_await bench.loop.sleep_for(after);
  bench.ports().power("a", false);
  co_await bench.loop.sleep_for(400ms);
  bench.ports().replace("a", Mac{{0x24, 0xd7, 0xeb, 7, 7, 7}}, true);  // with the same firmware, and no key
  bench.ports().power("a", true);
}

TEST(KeyLine, ABoardThatStartsLateIsNotTakenForTheOneThatWasReset) {
  for (auto after = 0ms; after < 500ms; after += 10ms) {
    Bench bench{Seed{77}, {}, {"device-line", pool_text()}};
    bench.plug_in("a");
    bool once = false;
    bench.listener.when_step = [&](const std::string&, Step step) {
      if (step == Step::hand_over && !std::exchange(once, true)) bench.loop.spawn(swap_in_the_fixture(bench, after));
    };
    std::map<int, std::set<std::string>> sent_to;
    bench.before_send = [&](const std::string&, ByteView bytes) {
      for (int key = 1; key <= keys_in_the_pool; ++key)
        if (as_text(bytes).find(secret(key, 1)) != std::string_view::npos)
          sent_to[key].insert(to_string(bench.ports().board("a").mac()));
    };
    LineOptions options;
    options.ports = {"a"};
    options.count = 1;
    bench.run(options, 2min);
    for (const auto& [key, boards] : sent_to) EXPECT_EQ(boards.size(), 1u) << after.count() << " ms: key " << key;
    if (sent_to.contains(1)) {
      EXPECT_EQ(bench.ledger().pool()->front().device, *sent_to[1].begin()) << after.count() << " ms";
    }
    expect_rules(bench);
  }
}

TEST(FramedLine, AsksAgainForWhatWasDamagedAndNeverTakesAnotherKey) {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    Bench bench{Seed{600 + seed}, {}, framed()};
    // Of the frames to and from the board one of three is damaged.
    int damaged = 0;
    bench.garble = [&damaged, state = seed](ByteSpan bytes) mutable {
      constexpr std::array<std::uint8_t, 4> magic{0xf5, 'E', 'M', 'K'};
      const auto frame = std::search(bytes.begin(), bytes.end(), magic.begin(), magic.end());
      if (frame == bytes.end()) return;
      state = state * 1'664'525 + 1'013'904'223;
      if ((state >> 16) % 3 != 0) return;
      *(bytes.end() - 1 - (state >> 20) % (bytes.end() - frame)) ^= 0x40;
      ++damaged;
    };
    bench.plug_in("a");
    EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 1u) << seed << ": " << said(bench, "a");
    EXPECT_GT(damaged, 0) << seed;
    EXPECT_EQ(state_of(bench, 2), KeyState::available) << seed;
    Boards boards;
    boards.see(bench, "a");
    boards.expect_sound(bench, fmt::format("seed {}", seed));
    expect_rules(bench);
  }
}

/// Its board has a key that another ledger gave it.
void provision_elsewhere(const Stopped& world, int keys_before) {
  Bench other{Seed{31}, {}, framed()};
  for (int i = 0; i < keys_before; ++i) {
    other.plug_in(fmt::format("b{}", i));
    EXPECT_EQ(other.run(on({fmt::format("b{}", i)}, 1)).passed, 1u);
  }
  other.plug_in("a");
  other.ports().swap("a", Mac{{0x24, 0xd7, 0xeb, 0, 0, 1}});
  EXPECT_EQ(other.run(on({"a"}, 1)).passed, 1u);
  save_flash(other, world);
}

TEST(FramedLine, RecognisesABoardByItsDigestAndBindsItToItsRow) {
  Stopped world;
  provision_elsewhere(world, 1);
  std::string marked = pool_text();
  for (std::size_t row = 0, at = 0; row < 2; ++row) {
    at = marked.find('\n', at);
    marked.insert(at, ",Provisioned");
    at = marked.find('\n', at) + 1;
  }
  Bench bench{Seed{32}, {}, {"device-framed", marked, Handshake::automatic}};
  plug_the_same(bench, world);
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 1u) << said(bench, "a");
  EXPECT_EQ(last(bench, "a").key, 2);
  EXPECT_EQ(last(bench, "a").evidence, "framed-digest");
  EXPECT_EQ(state_of(bench, 4), KeyState::available);
  expect_rules(bench);
}

TEST(FramedLine, HoldsABoardWithAnUnknownKeyOrErasesIt) {
  Stopped world;
  provision_elsewhere(world, 0);
  Bench bench{Seed{32}, {}, {"device-framed", "k09f1-0123456789abcdef,b,c\n", Handshake::automatic}};
  plug_the_same(bench, world);
  bench.run(on({"a"}, 1));
  EXPECT_EQ(last(bench, "a").verdict, Verdict::held);
  EXPECT_EQ(last(bench, "a").fault->code, Code::board_provisioned) << said(bench, "a");
  EXPECT_EQ(state_of(bench, 1), KeyState::available);
  bench.plan.keys->erase_provisioned = true;
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 1u) << said(bench, "a");
  EXPECT_EQ(state_of(bench, 1), KeyState::verified);
  expect_rules(bench);
}

TEST(FramedLine, CallsNoBoardGreenThatHoldsAnotherKeyThanItsOwn) {
  Stopped elsewhere;
  provision_elsewhere(elsewhere, 2);
  Bench bench{Seed{32}, {}, framed()};
  plug_the_same(bench, Stopped{});
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 1u) << said(bench, "a");
  load_flash(bench, elsewhere);
  bench.run(once("a"));
  EXPECT_EQ(last(bench, "a").verdict, Verdict::held) << said(bench, "a");
  EXPECT_EQ(state_of(bench, 3), KeyState::available);
}

}  // namespace
}  // namespace espmint
