#include "io/loop.hpp"

#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace espmint {
namespace {

using namespace std::chrono_literals;
using namespace boost::asio::experimental::awaitable_operators;

Task<> note_after(Clock& clock, Duration pause, std::string name, std::vector<std::string>& notes) {
  co_await clock.sleep_for(pause);
  notes.push_back(std::move(name));
}

Task<> sleep_a_shift(Clock& clock) { co_await clock.sleep_for(8h); }

Task<> fail_after(Clock& clock, Duration pause) {
  co_await clock.sleep_for(pause);
  throw std::runtime_error("the board bites");
}

TEST(VirtualLoop, AShiftPassesAtOnce) {
  VirtualLoop loop;
  const Instant start = loop.now();
  loop.run(sleep_a_shift(loop));
  EXPECT_EQ(loop.now() - start, 8h);
  EXPECT_EQ(to_string(loop.wall()), "2025-10-09T16:53:20Z");
}

Task<> spawn_out_of_order(Loop& loop, std::vector<std::string>& notes) {
  loop.spawn(note_after(loop, 30ms, "late", notes));
  loop.spawn(note_after(loop, 10ms, "first of two", notes));
  loop.spawn(note_after(loop, 10ms, "second of two", notes));
  loop.spawn(note_after(loop, 0ms, "now", notes));
  co_await loop.sleep_for(30ms);
  notes.push_back("main");
}

TEST(VirtualLoop, WakesByTimeAndThenInTheOrderOfAsking) {
  for (int repeat = 0; repeat < 3; ++repeat) {
    VirtualLoop loop;
    std::vector<std::string> notes;
    loop.run(spawn_out_of_order(loop, notes));
    // A spawned task runs up to its first wait at once, so "late" asked for 30 ms before main did.
    EXPECT_EQ(notes, (std::vector<std::string>{"now", "first of two", "second of two", "late", "main"}));
  }
}

Task<> race_often(Loop& loop, int rounds, int& first_won) {
  for (int i = 0; i < rounds; ++i) {
    const auto winner = co_await (loop.sleep_for(1ms) || loop.sleep_for(1h));
    if (winner.index() == 0) ++first_won;
  }
}

TEST(VirtualLoop, ARacedWaitEndsWithTheFirstAndForgetsTheOther) {
  VirtualLoop loop;
  int first_won = 0;
  loop.run(race_often(loop, 1000, first_won));
  EXPECT_EQ(first_won, 1000);
  EXPECT_EQ(loop.now().time_since_epoch(), 1s);
}

Task<> sleep_into_the_past(Loop& loop, Instant& woke) {
  co_await loop.sleep_for(1s);
  co_await loop.sleep_until(Instant{} + 1ms);
  woke = loop.now();
}

TEST(VirtualLoop, TimeNeverGoesBack) {
  VirtualLoop loop;
  Instant woke;
  loop.run(sleep_into_the_past(loop, woke));
  EXPECT_EQ(woke.time_since_epoch(), 1s);
}

TEST(VirtualLoop, AShiftedWallClockLeavesSteadyTimeAlone) {
  VirtualLoop loop(WallTime{1'000'000s});
  loop.shift_wall(-3600s);
  EXPECT_EQ(loop.wall(), WallTime{1'000'000s - 3600s});
  EXPECT_EQ(loop.now(), Instant{});
}

Task<> wait_for_nobody(std::function<void()>& forgotten) {
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void()>(
      [&forgotten](auto handler) {
        auto kept = std::make_shared<decltype(handler)>(std::move(handler));
        forgotten = [kept] {};
      },
      boost::asio::use_awaitable);
}

TEST(VirtualLoop, SaysSoWhenMainCanNeverEnd) {
  std::function<void()> forgotten;
  VirtualLoop loop;
  EXPECT_THROW(loop.run(wait_for_nobody(forgotten)), std::logic_error);
  forgotten = nullptr;
}

struct Alive {
  explicit Alive(int& c) : count(c) { ++count; }
  Alive(const Alive&) = delete;
  Alive& operator=(const Alive&) = delete;
  ~Alive() { --count; }
  int& count;
};

Task<> sleep_holding(Clock& clock, int& alive) {
  const Alive held(alive);
  co_await (clock.sleep_for(1000h) || clock.sleep_for(2000h));
}

template <typename T>
class AnyLoop : public testing::Test {};
using Loops = testing::Types<RealLoop, VirtualLoop>;
TYPED_TEST_SUITE(AnyLoop, Loops);

Task<> leave_sleepers(Loop& loop, int& alive) {
  loop.spawn(sleep_holding(loop, alive));
  loop.spawn(sleep_holding(loop, alive));
  co_await loop.sleep_for(2ms);
  EXPECT_EQ(alive, 2);
}

TYPED_TEST(AnyLoop, DestroysWhatStillRunsWithItself) {
  int alive = 0;
  {
    TypeParam loop;
    loop.run(leave_sleepers(loop, alive));
    EXPECT_EQ(alive, 2);
  }
  EXPECT_EQ(alive, 0);
}

TYPED_TEST(AnyLoop, HandsOnWhatMainThrows) {
  TypeParam loop;
  EXPECT_THROW(loop.run(fail_after(loop, 1ms)), std::runtime_error);
}

TYPED_TEST(AnyLoop, RunsAgainAfterItHasRun) {
  TypeParam loop;
  std::vector<std::string> notes;
  loop.run(note_after(loop, 1ms, "once", notes));
  loop.run(note_after(loop, 1ms, "twice", notes));
  EXPECT_EQ(notes, (std::vector<std::string>{"once", "twice"}));
}

Task<> cancel_a_sleeper(Loop& loop, bool& woke_early) {
  namespace asio = boost::asio;
  const auto signal = std::make_shared<asio::cancellation_signal>();
  const auto ended = std::make_shared<bool>(false);
  asio::co_spawn(loop.context(), sleep_a_shift(loop),
                 asio::bind_cancellation_slot(signal->slot(), [ended](std::exception_ptr) { *ended = true; }));
  co_await loop.sleep_for(2ms);
  signal->emit(asio::cancellation_type::terminal);
  co_await loop.sleep_for(2ms);
  woke_early = *ended;
}

TYPED_TEST(AnyLoop, CancelsASleeperThroughItsSlot) {
  TypeParam loop;
  bool woke_early = false;
  loop.run(cancel_a_sleeper(loop, woke_early));
  EXPECT_TRUE(woke_early);
}

TYPED_TEST(AnyLoop, AnExceptionOutOfASpawnedTaskEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        TypeParam loop;
        loop.spawn(fail_after(loop, 1ms));
        loop.run(sleep_a_shift(loop));
      },
      "the board bites");
}

TEST(RealLoop, SleepsAtLeastAsLongAsAsked) {
  RealLoop loop;
  std::vector<std::string> notes;
  const Instant start = loop.now();
  loop.run(note_after(loop, 20ms, "awake", notes));
  EXPECT_GE(loop.now() - start, 20ms);
  EXPECT_LT(loop.now() - start, 5s);
}

TEST(WallTime, IsWrittenAsRecordsWriteIt) {
  EXPECT_EQ(to_string(WallTime{0s}), "1970-01-01T00:00:00Z");
  EXPECT_EQ(to_string(WallTime{951'827'696s}), "2000-02-29T12:34:56Z");
  EXPECT_EQ(to_string(WallTime{1'795'249'530s}), "2026-11-21T08:25:30Z");
}

}  // namespace
}  // namespace espmint
