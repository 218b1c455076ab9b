// A user's keys.csv of a real size: the first import, a start with everything known, and a mark.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "ledger/key_file.hpp"
#include "ledger/test_boards.hpp"

namespace espmint {
namespace {

/// On a disk, not in memory: what counts is the sync.
struct Pool {
  TestFolder folder{"/var/tmp"};
  TestClock clock;
  std::unique_ptr<Ledger> ledger = open_ledger(folder, clock);
  std::filesystem::path csv = folder.path() / "keys.csv";
  explicit Pool(std::int64_t rows) {
    std::ofstream out{csv};
    for (std::int64_t i = 0; i < rows; ++i)
      out << fmt::format("{:08x}-uuid,{:016x}{:016x},{:016x}{:016x}\n", i, i * 7919, i, i * 104729, i);
  }
  KeyFile open() { return must(KeyFile::open(csv, *ledger, {.holder = "bench"})); }
};

void import(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    Pool pool{state.range(0)};
    state.ResumeTiming();
    benchmark::DoNotOptimize(pool.open().report().usable);
  }
}
BENCHMARK(import)->Arg(50'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->Iterations(1);

void start(benchmark::State& state) {
  Pool pool{state.range(0)};
  pool.open();
  for (auto _ : state) benchmark::DoNotOptimize(pool.open().report().usable);
}
BENCHMARK(start)->Arg(50'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->Iterations(5);

void mark(benchmark::State& state) {
  Pool pool{state.range(0)};
  KeyFile file = pool.open();
  std::int64_t key = state.range(0) / 2;
  must(pool.ledger->reserve_key(key, board_of(1), id_of(1), std::nullopt));
  bool reserved = true;
  std::vector<double> ms;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    must(file.mark(key));
    ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    state.PauseTiming();
    reserved = !reserved;
    if (reserved)
      must(pool.ledger->reserve_key(key, board_of(1), id_of(1), std::nullopt));
    else
      must(pool.ledger->release_key(key, "bench"));
    state.ResumeTiming();
  }
  std::sort(ms.begin(), ms.end());
  state.counters["min_ms"] = ms.front();
  state.counters["p50_ms"] = ms[ms.size() / 2];
}
BENCHMARK(mark)->Arg(50'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->Iterations(20);

void reserve(benchmark::State& state) {
  Pool pool{state.range(0)};
  KeyFile file = pool.open();
  int board = 0;
  std::vector<double> ms;
  for (auto _ : state) {
    const auto begin = std::chrono::steady_clock::now();
    ++board;
    must(pool.ledger->reserve_key(board, board_of(board), id_of(board), std::nullopt));
    ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(ms.begin(), ms.end());
  state.counters["p50_ms"] = ms[ms.size() / 2];
  state.counters["p99_ms"] = ms[ms.size() * 99 / 100];
}
BENCHMARK(reserve)->Arg(50'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->Iterations(1000);

}  // namespace
}  // namespace espmint
