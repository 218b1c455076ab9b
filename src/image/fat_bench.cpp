#include "image/fat.hpp"

#include <benchmark/benchmark.h>

#include "image/wear_levelling.hpp"

namespace espmint {
namespace {

struct ThreeFiles {
  std::vector<FileOwned> owned{{"aws-root-ca.pem", Bytes(1188, 'r')},
                               {"certificate.pem.crt", Bytes(1224, 'c')},
                               {"private.pem.key", Bytes(1679, 'k')}};
  std::vector<FileView> views;
  ThreeFiles() {
    for (const FileOwned& file : owned) views.push_back({file.path, file.content});
  }
};

constexpr FatGeometry long_names{.long_names = true};

/// What each board waits for. Bar: 5 ms.
void BuildFatOfThreeFiles(benchmark::State& state) {
  ThreeFiles files;
  for (auto _ : state) benchmark::DoNotOptimize(build_fat(1_MiB, long_names, files.views));
}
BENCHMARK(BuildFatOfThreeFiles)->Unit(benchmark::kMicrosecond);

void BuildFatInWearLevelling(benchmark::State& state) {
  ThreeFiles files;
  for (auto _ : state) {
    Bytes volume = build_fat(room_in_wear_levelling(1_MiB, {}).value(), long_names, files.views).value();
    benchmark::DoNotOptimize(wrap_in_wear_levelling(volume, 1_MiB, {}));
  }
}
BENCHMARK(BuildFatInWearLevelling)->Unit(benchmark::kMicrosecond);

/// Many links and many entries: sectors of 512, filled.
void BuildFatFullOfSmallFiles(benchmark::State& state) {
  std::vector<FileOwned> owned;
  for (int i = 0; i < 900; ++i)
    owned.push_back({"folder " + std::to_string(i % 9) + "/file number " + std::to_string(i), Bytes(900, 'x')});
  std::vector<FileView> views;
  for (const FileOwned& file : owned) views.push_back({file.path, file.content});
  FatGeometry geometry{.sector_size = 512, .long_names = true};
  for (auto _ : state) benchmark::DoNotOptimize(build_fat(1_MiB, geometry, views));
}
BENCHMARK(BuildFatFullOfSmallFiles)->Unit(benchmark::kMicrosecond);

void ReadFatOfThreeFiles(benchmark::State& state) {
  Bytes image = build_fat(1_MiB, long_names, ThreeFiles{}.views).value();
  for (auto _ : state) benchmark::DoNotOptimize(read_fat(image));
}
BENCHMARK(ReadFatOfThreeFiles)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace espmint
