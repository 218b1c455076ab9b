// The process is stopped at every durable write and at every frame of a run, restarted, and the rules are asked again:
// nothing that was exposed is free, no key is on two boards, and the board ends VERIFIED under the id that it had.
#include <gtest/gtest.h>

#include "ledger/invariants.hpp"
#include "tests/bench.hpp"
#include "tests/survivor.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

using World = Survivor;
constexpr ByteCount flash_bytes = surviving_flash_bytes;

LineSummary shift(World& world, std::uint64_t seed, const std::function<void(Bench&)>& prepare, bool& boots) {
  Bench bench{Seed{seed}, world.folder};
  // The same board each time, whatever the seed of the keys.
  bench.plug_in("a");
  bench.ports().board("a").swap(sim::Time{}, Mac{{0x24, 0xd7, 0xeb, 0, 0, 1}});
  std::copy_n(world.flash, flash_bytes, bench.flash("a").begin());
  auto keep_flash = [&] { std::copy_n(bench.flash("a").begin(), flash_bytes, world.flash); };
  if (prepare) prepare(bench);
  LineOptions options;
  options.ports = {"a"};
  options.count = 1;
  bench.before_write = [&, inner = bench.before_write] {
    keep_flash();
    if (inner) inner();
  };
  LineSummary summary = bench.run(options);
  keep_flash();
  boots = bench.boots_as_itself("a");
  return summary;
}

/// Runs a shift in a child that stops at the n-th point; true when it reached the point.
template <typename Arm>
bool stops_at(World& world, std::uint64_t seed, Arm arm) {
  return stops([&] {
    bool boots = false;
    shift(world, seed, arm, boots);
  });
}

/// The flash itself is asked: a key that is on it must have been recorded as exposed before.
void expect_no_key_that_the_ledger_does_not_admit(World& world, const std::string& where) {
  constexpr std::string_view key = "-----BEGIN EC PRIVATE KEY-----";
  std::string_view flash = as_text({world.flash, flash_bytes});
  if (flash.find(key) == std::string_view::npos) return;
  VirtualLoop clock;
  auto ledger = Ledger::open(world.folder / "ledger", {LedgerOptions::Mode::read, "thermostat", {}}, clock);
  ASSERT_TRUE(ledger) << where;
  auto device = (*ledger)->device("24d7eb000001");
  ASSERT_TRUE(device && *device) << where << ": a key is on a board that the ledger does not know";
  KeyState state = (*device)->state;
  EXPECT_TRUE(state == KeyState::exposed || state == KeyState::written || state == KeyState::verified)
      << where << ": a key is on the board, the ledger says " << name_of(state);
}

void expect_that_a_restart_finishes(World& world, std::uint64_t seed, const std::string& where) {
  expect_no_key_that_the_ledger_does_not_admit(world, where);
  auto violations = find_violations(world.folder / "ledger");
  // Stopped before the ledger existed: nothing to ask.
  if (violations)
    for (const auto& violation : *violations) ADD_FAILURE() << where << ", before the restart: " << violation;
  bool boots = false;
  LineSummary summary = shift(world, seed, {}, boots);
  EXPECT_EQ(summary.passed, 1u) << where;
  EXPECT_TRUE(boots) << where;
  auto after = find_violations(world.folder / "ledger");
  ASSERT_TRUE(after) << where << describe(after.error());
  for (const auto& violation : *after) ADD_FAILURE() << where << ", after the restart: " << violation;
}

TEST(Crash, AtEveryDurableWriteLosesNothing) {
  int points = 0;
  for (;; ++points) {
    World world;
    auto arm = [n = points](Bench&) mutable {
      set_ledger_crash_hook([n](std::string_view) mutable {
        if (n-- == 0) _exit(stopped_here);
      });
    };
    if (!stops_at(world, 1, arm)) break;
    expect_that_a_restart_finishes(world, 2, "durable point " + std::to_string(points));
  }
  EXPECT_GE(points, 20) << "reserve, record, settle, expose, written, verified, run: each before and after";
}

TEST(Crash, AtEveryFrameLosesNothing) {
  int points = 0;
  for (;; ++points) {
    World world;
    auto arm = [n = points](Bench& bench) {
      bench.before_write = [n]() mutable {
        if (n-- == 0) _exit(stopped_here);
      };
    };
    if (!stops_at(world, 3, arm)) break;
    expect_that_a_restart_finishes(world, 4, "frame " + std::to_string(points));
  }
  EXPECT_GE(points, 60);
}

TEST(Crash, TwiceInARowLosesNothingEither) {
  for (int first : {9, 11, 13, 15}) {
    for (int second = 0; second < 24; second += 3) {
      World world;
      auto arm_at = [](int n) {
        return [n](Bench&) mutable {
          set_ledger_crash_hook([n](std::string_view) mutable {
            if (n-- == 0) _exit(stopped_here);
          });
        };
      };
      ASSERT_TRUE(stops_at(world, 5, arm_at(first)));
      stops_at(world, 6, arm_at(second));
      expect_that_a_restart_finishes(world, 7,
                                     "durable points " + std::to_string(first) + " and " + std::to_string(second));
    }
  }
}

}  // namespace
}  // namespace espmint
