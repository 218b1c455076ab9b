#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "image/littlefs.hpp"

namespace espmint {
namespace {

struct ThirtyFiles {
  std::vector<FileOwned> owned;
  std::vector<FileView> views;
  ThirtyFiles() {
    for (std::size_t i = 0; i < 30; ++i)
      owned.push_back({fmt::format("folder{}/file{}.bin", i % 5, i), Bytes(i * 1000, 0x5a)});
    for (const FileOwned& file : owned) views.push_back({file.path, file.content});
  }
};

/// 1 MiB with 30 files of 0 to 29 KB in 5 folders. Bar: 10 ms.
void BuildLittlefs(benchmark::State& state) {
  ThirtyFiles files;
  for (auto _ : state) benchmark::DoNotOptimize(build_littlefs(1_MiB, {}, files.views));
}
BENCHMARK(BuildLittlefs)->Unit(benchmark::kMicrosecond);

void ReadLittlefs(benchmark::State& state) {
  Bytes image = build_littlefs(1_MiB, {}, ThirtyFiles{}.views).value();
  for (auto _ : state) benchmark::DoNotOptimize(read_littlefs(image));
}
BENCHMARK(ReadLittlefs)->Unit(benchmark::kMicrosecond);

/// The worst case: an image that is no LittleFS of any block size.
void ReadLittlefsInVain(benchmark::State& state) {
  Bytes image(1_MiB, 0xff);
  for (auto _ : state) benchmark::DoNotOptimize(read_littlefs(image));
}
BENCHMARK(ReadLittlefsInVain)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace espmint
