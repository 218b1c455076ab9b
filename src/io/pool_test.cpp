#include "io/pool.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <thread>

#include "io/loop.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

Task<> sum_on(Pool& pool, int& sum) {
  for (int i = 1; i <= 100; ++i) sum += co_await on_pool(pool, [i] { return i; });
}

Task<> take_a_move_only_value(Pool& pool, int& seen) {
  auto input = std::make_unique<int>(20);
  auto add_one = [input = std::move(input)] { return std::make_unique<int>(*input + 1); };
  auto output = co_await on_pool(pool, std::move(add_one));
  seen = *output;
}

Task<> take_a_result(Pool& pool, Result<std::unique_ptr<int>>& out) {
  out = co_await on_pool(pool, []() -> Result<std::unique_ptr<int>> {
    return fail({Code::key_failed, Remedy::stop_line, "no key today"});
  });
}

Task<> take_an_exception(Pool& pool) {
  static_cast<void>(co_await on_pool(pool, []() -> int { throw std::runtime_error("no memory"); }));
}

struct Pools : testing::TestWithParam<bool> {
  RealLoop loop;  // the pool ends before the loop it answers to
  std::unique_ptr<Pool> pool = GetParam() ? make_thread_pool(3) : make_inline_pool();
};
INSTANTIATE_TEST_SUITE_P(, Pools, testing::Bool(),
                         [](const auto& made) { return std::string{made.param ? "Threads" : "Inline"}; });

TEST_P(Pools, BringBackEveryValue) {
  int sum = 0;
  loop.run(sum_on(*pool, sum));
  EXPECT_EQ(sum, 5050);
}

TEST_P(Pools, MoveWhatCannotBeCopied) {
  int seen = 0;
  loop.run(take_a_move_only_value(*pool, seen));
  EXPECT_EQ(seen, 21);
}

TEST_P(Pools, BringBackFaults) {
  Result<std::unique_ptr<int>> out;
  loop.run(take_a_result(*pool, out));
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().what, "no key today");
}

TEST_P(Pools, ThrowAtTheAwaiterWhatTheWorkThrew) {
  EXPECT_THROW(loop.run(take_an_exception(*pool)), std::runtime_error);
}

Task<> think_long(Pool& pool, bool& done) {
  static_cast<void>(co_await on_pool(pool, [] {
    std::this_thread::sleep_for(60ms);
    return 1;
  }));
  done = true;
}

Task<> tick_meanwhile(Loop& loop, Pool& pool, int& ticks) {
  bool done = false;
  loop.spawn(think_long(pool, done));
  while (!done) {
    co_await loop.sleep_for(2ms);
    ++ticks;
  }
}

TEST(ThreadPool, LeavesTheLoopFree) {
  RealLoop loop;
  const auto pool = make_thread_pool(1);
  int ticks = 0;
  loop.run(tick_meanwhile(loop, *pool, ticks));
  EXPECT_GT(ticks, 3);
}

Task<> leave_work_behind(Loop& loop, Pool& pool, bool& done) {
  loop.spawn(think_long(pool, done));
  co_await loop.sleep_for(1ms);
}

TEST(ThreadPool, EndsCleanlyWhileWorkIsStillRunning) {
  bool done = false;
  {
    RealLoop loop;
    const auto pool = make_thread_pool(2);
    loop.run(leave_work_behind(loop, *pool, done));
  }
  EXPECT_FALSE(done);
}

TEST(InlinePool, CostsVirtualTimeNothing) {
  VirtualLoop loop;
  const auto pool = make_inline_pool();
  int sum = 0;
  loop.run(sum_on(*pool, sum));
  EXPECT_EQ(sum, 5050);
  EXPECT_EQ(loop.now(), Instant{});
}

}  // namespace
}  // namespace espmint
