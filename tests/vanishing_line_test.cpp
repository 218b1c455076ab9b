// Whole lines with boards that have USB of their own, in virtual time: the port vanishes at every reset and comes back.
// One board gets one key, whoever comes back; a port that stays away is an unplugged board.
#include <gtest/gtest.h>

#include <fstream>

#include "io/returning_port.hpp"
#include "ledger/invariants.hpp"
#include "tests/line_words.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr int keys_in_the_pool = 4;

std::string secret(int key, int field) { return fmt::format("v{:02}f{}-0123456789abcdef", key, field); }

std::string pool_text(int fields) {
  std::string out;
  for (int key = 1; key <= keys_in_the_pool; ++key)
    for (int field = 1; field <= fields; ++field) out += secret(key, field) + (field < fields ? "," : "\n");
  return out;
}
int fields_of(std::string_view app) { return app == "old5" ? 5 : 3; }

/// Which keys of the pool the flash of the board in this slot holds.
std::vector<int> keys_on(Bench& bench, const std::string& slot) {
  std::vector<int> held;
  for (int key = 1; key <= keys_in_the_pool; ++key)
    if (as_text(bench.flash(slot)).find(secret(key, 1)) != std::string_view::npos) held.push_back(key);
  return held;
}

sim::BoardOptions native(Duration away = 300ms) {
  sim::BoardOptions options;
  options.native_usb.away = away;
  return options;
}
LineOptions on(std::vector<std::string> ports, std::uint64_t count) {
  LineOptions options;
  options.ports = std::move(ports);
  options.count = count;
  return options;
}
std::string said(Bench& bench, const std::string& slot) {
  if (bench.listener.done[slot].empty()) return "no board was ever done";
  const RunOutcome& outcome = last(bench, slot);
  return outcome.fault ? describe(*outcome.fault) : "";
}
PoolKey key_of(Bench& bench, int key) { return bench.ledger().pool()->at(static_cast<std::size_t>(key - 1)); }
void expect_rules(Bench& bench, const std::string& where = "") {
  auto violations = find_violations(bench.folder() / "ledger");
  ASSERT_TRUE(violations) << where << describe(violations.error());
  for (const auto& violation : *violations) ADD_FAILURE() << where << violation;
}

class VanishingKinds : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(VanishingKinds, OfFirmwareGetEachBoardAKeyOfItsOwnInOneGo) {
  auto [app, away_ms] = GetParam();
  Bench bench{Seed{41}, {}, {app, pool_text(fields_of(app))}};
  for (const char* slot : {"a", "b"}) bench.plug_in(slot, native(std::chrono::milliseconds{away_ms}));
  LineSummary summary = bench.run(on({"a", "b"}, 2));
  EXPECT_EQ(summary.passed, 2u) << said(bench, "a") << "; " << said(bench, "b");
  for (const char* slot : {"a", "b"}) {
    EXPECT_EQ(bench.listener.done[slot].size(), 1u) << "no run ended for want of a port";
    EXPECT_LT(last(bench, slot).record.seconds, 12 + 8 * away_ms / 1000.0);
    ASSERT_EQ(keys_on(bench, slot).size(), 1u);
    PoolKey key = key_of(bench, keys_on(bench, slot).front());
    EXPECT_EQ(key.state, KeyState::verified);
    EXPECT_EQ(key.device, to_string(bench.ports().board(slot).mac()));
  }
  EXPECT_NE(keys_on(bench, "a"), keys_on(bench, "b"));
  EXPECT_EQ(key_of(bench, 3).state, KeyState::available);
  expect_rules(bench);
}
INSTANTIATE_TEST_SUITE_P(, VanishingKinds,
                         testing::Combine(testing::Values("old3", "old5", "device-line"),
                                          testing::Values(20, 300, 1500)));

TEST(VanishingLine, GivesABoardAnIdentityWithEvidenceAndChallenge) {
  Bench bench{Seed{42}};
  bench.plan.challenge = ChallengePolicy::required;
  bench.plug_in("a", native());
  LineSummary summary = bench.run(on({"a"}, 1));
  EXPECT_EQ(summary.passed, 1u) << said(bench, "a");
  EXPECT_EQ(bench.listener.done["a"].size(), 1u);
  EXPECT_TRUE(bench.boots_as_itself("a"));
  expect_rules(bench);
}

TEST(VanishingLine, TakesTheVanishedPortForTheResetWhereTheRomItselfFlashes) {
  Bench bench{Seed{43}};
  bench.options.use_stub = false;
  bench.plug_in("a", native());
  EXPECT_EQ(bench.run(on({"a"}, 1)).passed, 1u) << said(bench, "a");
}

TEST(VanishingLine, FollowsTheHotPlug) {
  Bench bench{Seed{44}, {}, {"old3", pool_text(3)}};
  bench.ports().tells_serial = true;
  for (const char* slot : {"a", "b"}) bench.plug_in(slot, native());
  LineOptions options;
  options.count = 2;
  EXPECT_EQ(bench.run(options).passed, 2u) << said(bench, "a") << "; " << said(bench, "b");
  for (const char* slot : {"a", "b"}) EXPECT_EQ(bench.listener.done[slot].size(), 1u);
  expect_rules(bench);
}

Task<> restart_after(Bench& bench, std::string slot, Duration when) {
  co_await bench.loop.sleep_for(when);
  sim::Board& board = bench.ports().board(slot);
  auto at = bench.loop.now().time_since_epoch();
  board.set_lines(at, false, false);
  board.set_lines(at, false, true);
}

TEST(VanishingLine, DoesNotTakeARestartOfAFinishedBoardForTheNextOne) {
  Bench bench{Seed{45}, {}, {"old3", pool_text(3)}};
  bench.plug_in("a", native());
  bench.run(on({"a"}, 2), restart_after(bench, "a", 30s), 1min);
  EXPECT_EQ(bench.listener.done["a"].size(), 1u);
  EXPECT_EQ(last(bench, "a").verdict, Verdict::verified) << said(bench, "a");
}

TEST(VanishingLine, ServesTheBoardThatAHandPutsInItsPlace) {
  Bench bench{Seed{46}, {}, {"old3", pool_text(3)}};
  bench.plug_in("a", native());
  auto hand = [](Bench& all) -> Task<> {
    co_await all.loop.sleep_for(30s);
    all.ports().unplug("a");
    co_await all.loop.sleep_for(2s);
    all.ports().swap("a", Mac{{0x24, 0xd7, 0xeb, 0x77, 0x77, 0x77}});
  };
  LineSummary summary = bench.run(on({"a"}, 2), hand(bench));
  EXPECT_EQ(summary.passed, 2u) << said(bench, "a");
  EXPECT_EQ(key_of(bench, 2).device, "24d7eb777777");
  expect_rules(bench);
}

TEST(VanishingLine, GivesNoGreenWhereWhatTheFirmwarePrintedIsLostUnlessItsNvsMayBeRead) {
  for (bool may_read : {false, true}) {
    Bench bench{Seed{47}, {}, {"device-line", pool_text(3)}};
    sim::BoardOptions board = native();
    board.native_usb.keeps_bytes = 0;
    bench.plug_in("a", board);
    if (may_read) bench.plan.keys->nvs_space = "provision";
    EXPECT_EQ(bench.run(on({"a"}, 1)).passed, may_read ? 1u : 0u) << said(bench, "a");
    EXPECT_EQ(key_of(bench, 1).state, may_read ? KeyState::verified : KeyState::written) << said(bench, "a");
    EXPECT_EQ(key_of(bench, 2).state, KeyState::available);
    expect_rules(bench);
  }
}

TEST(VanishingLine, CallsABoardWithAnAdapterUnpluggedAtOnce) {
  Bench bench{Seed{48}, {}, {"old3", pool_text(3)}};
  bench.plug_in("a");
  bench.listener.when_step = [&bench](const std::string&, Step step) {
    if (step == Step::hand_over) bench.ports().unplug("a");
  };
  LineOptions one_pass = on({"a"}, 1);
  one_pass.one_pass = true;
  bench.run(one_pass);
  EXPECT_EQ(last(bench, "a").fault->code, Code::port_gone);
  EXPECT_LT(last(bench, "a").record.seconds, 3.0);
  EXPECT_EQ(key_of(bench, 1).state, KeyState::available);
}

// ---- another board comes back

/// What the flash of every board that was here held.
struct Seen {
  std::map<std::string, std::vector<int>> held;
  void see(Bench& bench) { held[to_string(bench.ports().board("a").mac())] = keys_on(bench, "a"); }
  void expect_one_key_one_board(Bench& bench, const std::string& where) const {
    for (const auto& [mac, keys] : held) {
      EXPECT_LE(keys.size(), 1u) << where << ": " << mac << " holds more than one key";
      for (int key : keys) EXPECT_EQ(key_of(bench, key).device, mac) << where << ": key " << key;
    }
  }
};

/// Waits for the n-th absence and then puts another board there, with the same firmware, after what a hand needs.
Task<> swap_at_absence(Bench& bench, unsigned nth, Duration hand, Seen& seen) {
  while (bench.ports().board("a").departures() < nth) co_await bench.loop.sleep_for(5ms);
  co_await bench.loop.sleep_for(100ms);
  seen.see(bench);
  bench.ports().unplug("a");
  co_await bench.loop.sleep_for(hand);
  // The same firmware in another board, which never had a key.
  const FlashRange& nvs = bench.plan.keys->nvs->range;
  std::fill_n(bench.flash("a").begin() + nvs.at.bytes, nvs.size, std::uint8_t{0xff});
  bench.ports().swap("a", Mac{{0x24, 0xd7, 0xeb, 0x77, 0x77, 0x77}}, true);
}

class VanishingSwap : public testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(VanishingSwap, GivesTheSecondBoardNeitherTheFirstOnesKeyNorItsGreen) {
  auto [nth, tells_serial] = GetParam();
  Bench bench{Seed{600 + static_cast<std::uint64_t>(nth)}, {}, {"old3", pool_text(3)}};
  bench.ports().tells_serial = tells_serial;
  bench.plug_in("a", native());
  Seen seen;
  // Where its USB says who it is, no hand is too fast.
  Duration hand = tells_serial ? 0ms : 500ms;
  LineOptions options = tells_serial ? LineOptions{} : on({"a"}, 2);
  bench.run(options, swap_at_absence(bench, static_cast<unsigned>(nth), hand, seen), 3min);
  seen.see(bench);
  std::string where = fmt::format("absence {}: {}", nth, said(bench, "a"));
  seen.expect_one_key_one_board(bench, where);
  for (const RunOutcome& outcome : bench.listener.done["a"]) {
    if (outcome.verdict != Verdict::verified) continue;
    std::string mac = to_string(outcome.board->mac);
    EXPECT_EQ(seen.held[mac].size(), 1u) << where << ": green for " << mac << ", which holds no key of its own";
  }
  EXPECT_EQ(key_of(bench, 3).state, KeyState::available) << where;
  expect_rules(bench, where);
}
INSTANTIATE_TEST_SUITE_P(AtAnyAbsence, VanishingSwap, testing::Combine(testing::Range(1, 9), testing::Bool()));

// ---- nobody comes back

Task<> pull_at_absence(Bench& bench, std::string slot, unsigned nth) {
  while (bench.ports().board(slot).departures() < nth) co_await bench.loop.sleep_for(5ms);
  bench.ports().unplug(slot);
}

class VanishingForGood : public testing::TestWithParam<int> {};

TEST_P(VanishingForGood, EndsTheTicketAndKeepsTheKeyForThatBoard) {
  Bench bench{Seed{700 + static_cast<std::uint64_t>(GetParam())}, {}, {"old3", pool_text(3)}};
  std::string mac = to_string(bench.plug_in("a", native()).mac());
  auto nth = static_cast<unsigned>(GetParam());
  LineOptions one_pass = on({"a"}, 1);
  one_pass.count.reset();
  one_pass.one_pass = true;
  bench.run(one_pass, pull_at_absence(bench, "a", nth), 2min);
  std::string where = fmt::format("absence {}: {}", nth, said(bench, "a"));
  std::vector<int> held = keys_on(bench, "a");
  bool finished = last(bench, "a").verdict == Verdict::verified;
  if (!finished) {
    ASSERT_TRUE(last(bench, "a").fault) << where;
    EXPECT_EQ(last(bench, "a").fault->code, Code::port_gone) << where;
    EXPECT_NE(said(bench, "a").find("waited 5."), std::string::npos) << where;
  }
  for (int key : held) {
    EXPECT_EQ(key_of(bench, key).device, mac) << where;
    EXPECT_TRUE(key_of(bench, key).state == KeyState::exposed || key_of(bench, key).state == KeyState::written ||
                finished)
        << where;
  }
  if (held.empty()) {
    EXPECT_EQ(key_of(bench, 1).state, KeyState::available) << where << ": nothing of it left";
  }
  expect_rules(bench, where);
  // It is plugged in again: the same key, or its first.
  bench.ports().plug("a");
  bench.loop.run([](VirtualLoop& loop) -> Task<> { co_await loop.sleep_for(1s); }(bench.loop));
  EXPECT_EQ(bench.run(one_pass).passed, 1u) << where << ": " << said(bench, "a");
  EXPECT_EQ(keys_on(bench, "a"), std::vector{1}) << where;
  EXPECT_EQ(key_of(bench, 2).state, KeyState::available) << where;
  expect_rules(bench, where);
}
INSTANTIATE_TEST_SUITE_P(AtAnyAbsence, VanishingForGood, testing::Range(1, 8));

}  // namespace
}  // namespace espmint
