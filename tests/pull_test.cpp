// The board is pulled out of its fixture behind every single byte of what cannot be taken back: the image with its
// private key, and the key of the pool; and at a thousand other places of the whole conversation. It comes back after
// some seconds.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "ledger/invariants.hpp"
#include "tests/bench.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr auto comes_back_after = 3s;
constexpr int shards = 8;  // tests that may run beside each other; each takes every eighth byte

std::string secret(int key, int field) { return fmt::format("k{}f{}-0123456789", key, field); }

/// Pulls the board behind the n-th byte that is sent to it during one step, or ever.
class Puller final : public WireTap {
 public:
  Puller(Bench& bench, std::optional<Step> during, std::optional<std::size_t> behind)
      : bench_(bench), during_(during), behind_(behind) {
    bench_.tap = this;
    bench_.listener.when_step = [this](const std::string&, Step now) { now_ = now; };
  }
  std::optional<std::size_t> on_write(const std::string&, ByteView bytes) override {
    if (during_ && now_ != during_) return std::nullopt;
    const std::size_t before = std::exchange(sent_, sent_ + bytes.size());
    if (pulled_ || !behind_ || *behind_ > sent_) return std::nullopt;
    return *behind_ - before;
  }
  std::size_t when_cut(const std::string& slot) override {
    pulled_ = true;
    bench_.ports().unplug(slot);
    bench_.loop.spawn(plug_later(bench_, slot));
    return 0;
  }
  [[nodiscard]] std::size_t sent() const { return sent_; }
  [[nodiscard]] bool pulled() const { return pulled_; }

 private:
  static Task<> plug_later(Bench& bench, std::string slot) {
    co_await bench.loop.sleep_for(comes_back_after);
    bench.ports().plug(slot);
  }
  Bench& bench_;
  std::optional<Step> during_, now_;
  std::optional<std::size_t> behind_;
  std::size_t sent_ = 0;
  bool pulled_ = false;
};

LineOptions one_board() {
  LineOptions options;
  options.ports = {"a"};
  options.count = 1;
  return options;
}

void expect_sound(Bench& bench, const std::string& where) {
  auto violations = find_violations(bench.folder() / "ledger");
  ASSERT_TRUE(violations) << describe(violations.error());
  for (const auto& violation : *violations) ADD_FAILURE() << where << ": " << violation;
}

// ---- minted identities

/// Bytes that a run sends during the step; nothing pulled.
std::size_t bytes_of(std::optional<Step> during, const BenchKeys& keys, Workshop& workshop) {
  Bench bench{Seed{1}, {}, keys, &workshop};
  Puller puller{bench, during, std::nullopt};
  bench.plug_in("a");
  EXPECT_EQ(bench.run(one_board()).passed, 1u);
  return puller.sent();
}

void pull_identity(std::optional<Step> during, std::size_t behind, Workshop& workshop) {
  const std::string where = fmt::format("pulled behind byte {}", behind);
  Bench bench{Seed{1}, {}, {}, &workshop};
  Puller puller{bench, during, behind};
  bench.plug_in("a");
  LineSummary summary = bench.run(one_board());
  EXPECT_TRUE(puller.pulled()) << where;
  EXPECT_EQ(summary.passed, 1u) << where;
  EXPECT_TRUE(bench.boots_as_itself("a")) << where;
  EXPECT_EQ(bench.device("a")->state, KeyState::verified) << where;
  expect_sound(bench, where);
}

class Pulled : public testing::TestWithParam<int> {};

TEST_P(Pulled, BehindEachByteOfItsIdentityABoardIsFinishedWithTheOneItWasExposedTo) {
  Workshop workshop{{}, true};
  const std::size_t bytes = bytes_of(Step::flash_identity, {}, workshop);
  ASSERT_GT(bytes, 500u) << "the image crosses the wire in this step";
  for (auto behind = static_cast<std::size_t>(GetParam()); behind <= bytes; behind += shards)
    pull_identity(Step::flash_identity, behind, workshop);
}

TEST_P(Pulled, AnywhereInAWholeRunABoardIsFinished) {
  Workshop workshop{{}, true};
  const std::size_t bytes = bytes_of(std::nullopt, {}, workshop);
  std::mt19937_64 dice{static_cast<std::uint64_t>(GetParam())};
  constexpr int places = 1000;
  for (int i = 0; i < places / shards; ++i) pull_identity(std::nullopt, 1 + dice() % bytes, workshop);
}

// ---- keys of the pool

class KeyPulled : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(KeyPulled, BehindEachByteOfItsKeyABoardHasThatOneOrNone) {
  const auto [app, first] = GetParam();
  std::string pool;
  for (int key = 1; key <= 3; ++key) pool += secret(key, 1) + "," + secret(key, 2) + "," + secret(key, 3) + "\n";
  const bool old_firmware = std::string{app} == "old3";
  const BenchKeys keys{app, pool, old_firmware ? Handshake::line : Handshake::automatic};
  Workshop workshop{keys, false};
  const std::size_t bytes = bytes_of(Step::hand_over, keys, workshop);
  ASSERT_GT(bytes, 40u) << "the key crosses the wire in this step";
  for (auto behind = static_cast<std::size_t>(first); behind <= bytes; behind += shards) {
    const std::string where = fmt::format("{}, pulled behind byte {} of {}", app, behind, bytes);
    Bench bench{Seed{1}, {}, keys, &workshop};
    Puller puller{bench, Step::hand_over, behind};
    bench.plug_in("a");
    LineSummary summary = bench.run(one_board());
    EXPECT_TRUE(puller.pulled()) << where;
    // A line that was cut off stays in old firmware for ever: then it is put aside, and never green.
    const bool put_aside = old_firmware && bench.listener.done["a"].back().verdict == Verdict::quarantined;
    EXPECT_TRUE(summary.passed == 1 || put_aside) << where;
    std::set<int> on_board;
    for (int key = 1; key <= 3; ++key)
      if (as_text(bench.flash("a")).find(secret(key, 1)) != std::string_view::npos) on_board.insert(key);
    EXPECT_LE(on_board.size(), 1u) << where;
    auto rows = bench.ledger().pool();
    ASSERT_TRUE(rows) << where;
    EXPECT_EQ(rows->at(1).state, KeyState::available) << where << ": a second key was touched";
    if (summary.passed == 1) {
      EXPECT_EQ(on_board, std::set{1}) << where;
    }
    expect_sound(bench, where);
  }
}

INSTANTIATE_TEST_SUITE_P(Shard, Pulled, testing::Range(1, shards + 1));
INSTANTIATE_TEST_SUITE_P(Shard, KeyPulled,
                         testing::Combine(testing::Values("old3", "device-line", "device-framed"),
                                          testing::Range(1, shards + 1)));

}  // namespace
}  // namespace espmint
