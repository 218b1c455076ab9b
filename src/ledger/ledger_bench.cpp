// What one board costs the ledger: every durable step from reservation to the story of the run, on the disk of /tmp (or
// TMPDIR). The line has one thread for it, so 32 slots share this.
#include <benchmark/benchmark.h>

#include "ledger/test_boards.hpp"

namespace espmint {
namespace {

void PrepareOneBoard(benchmark::State& state) {
  TestFolder folder{"/tmp"};
  TestClock clock;
  auto ledger = open_ledger(folder, clock);
  int n = 0;
  for (auto unused : state) {
    static_cast<void>(unused);
    verify_board(*ledger, ++n);
  }
}
BENCHMARK(PrepareOneBoard)->Unit(benchmark::kMillisecond)->UseRealTime();

void VerifyAudit(benchmark::State& state) {
  TestFolder folder{"/tmp"};
  TestClock clock;
  auto ledger = open_ledger(folder, clock);
  for (int n = 1; n <= 1000; ++n) verify_board(*ledger, n);
  std::int64_t rows = 0;
  for (auto unused : state) {
    static_cast<void>(unused);
    rows += verify_audit(folder.path()).value().rows;
  }
  state.SetItemsProcessed(rows);
}
BENCHMARK(VerifyAudit)->Unit(benchmark::kMillisecond);

void OpenAThousandBoards(benchmark::State& state) {
  TestFolder folder{"/tmp"};
  TestClock clock;
  {
    auto ledger = open_ledger(folder, clock);
    for (int n = 1; n <= 1000; ++n) verify_board(*ledger, n);
  }
  for (auto unused : state) {
    static_cast<void>(unused);
    auto ledger = open_ledger(folder, clock);
    benchmark::DoNotOptimize(ledger);
  }
}
BENCHMARK(OpenAThousandBoards)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace espmint
