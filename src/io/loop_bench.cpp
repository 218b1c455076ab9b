// What an await costs in virtual time: a whole shift in a test is made of these.
#include <benchmark/benchmark.h>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "io/loop.hpp"
#include "io/pool.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
using namespace boost::asio::experimental::awaitable_operators;

Task<> sleep_often(Loop& loop, std::int64_t times) {
  for (std::int64_t i = 0; i < times; ++i) co_await loop.sleep_for(1ms);
}

Task<> race_often(Loop& loop, std::int64_t times) {
  for (std::int64_t i = 0; i < times; ++i) {
    benchmark::DoNotOptimize(co_await (loop.sleep_for(1ms) || loop.sleep_for(1h)));
  }
}

Task<> work_often(Pool& pool, std::int64_t times) {
  for (std::int64_t i = 0; i < times; ++i) benchmark::DoNotOptimize(co_await on_pool(pool, [i] { return i; }));
}

constexpr std::int64_t batch = 1000;

void VirtualSleep(benchmark::State& state) {
  for (auto _ : state) {
    VirtualLoop loop;
    loop.run(sleep_often(loop, batch));
  }
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(VirtualSleep)->Unit(benchmark::kMicrosecond);

void VirtualRacedWait(benchmark::State& state) {
  for (auto _ : state) {
    VirtualLoop loop;
    loop.run(race_often(loop, batch));
  }
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(VirtualRacedWait)->Unit(benchmark::kMicrosecond);

void VirtualSleepBesideManySleepers(benchmark::State& state) {
  for (auto _ : state) {
    VirtualLoop loop;
    for (int i = 0; i < 63; ++i) loop.spawn(sleep_often(loop, batch));
    loop.run(sleep_often(loop, batch));
  }
  state.SetItemsProcessed(state.iterations() * batch * 64);
}
BENCHMARK(VirtualSleepBesideManySleepers)->Unit(benchmark::kMicrosecond);

void InlinePool(benchmark::State& state) {
  const auto pool = make_inline_pool();
  for (auto _ : state) {
    VirtualLoop loop;
    loop.run(work_often(*pool, batch));
  }
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(InlinePool)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace espmint
