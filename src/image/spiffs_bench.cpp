#include <benchmark/benchmark.h>

#include "image/spiffs.hpp"

namespace espmint {
namespace {

struct ThreeCertificates {
  std::vector<FileOwned> owned{{"aws-root-ca.pem", Bytes(1188, 'r')},
                               {"certificate.pem.crt", Bytes(1224, 'c')},
                               {"private.pem.key", Bytes(1679, 'k')}};
  std::vector<FileView> views;
  ThreeCertificates() {
    for (const FileOwned& file : owned) views.push_back({file.path, file.content});
  }
};

/// What each board waits for. Bar: 2 ms (the reference generator takes 30 ms).
void BuildThreeCertificates(benchmark::State& state) {
  ThreeCertificates files;
  for (auto _ : state) benchmark::DoNotOptimize(build_spiffs(0xf0000, {}, files.views));
}
BENCHMARK(BuildThreeCertificates)->Unit(benchmark::kMicrosecond);

void BuildFull(benchmark::State& state) {
  Bytes content(900'000, 0x5a);
  FileView file{"big", content};
  for (auto _ : state) benchmark::DoNotOptimize(build_spiffs(0xf0000, {}, {&file, 1}));
}
BENCHMARK(BuildFull)->Unit(benchmark::kMicrosecond);

void ReadThreeCertificates(benchmark::State& state) {
  Bytes image = build_spiffs(0xf0000, {}, ThreeCertificates{}.views).value();
  for (auto _ : state) benchmark::DoNotOptimize(read_spiffs(image, {}));
}
BENCHMARK(ReadThreeCertificates)->Unit(benchmark::kMicrosecond);

/// The worst case: an image that is no SPIFFS of any shape.
void DetectInVain(benchmark::State& state) {
  Bytes image(0xf0000, 0xff);
  for (auto _ : state) benchmark::DoNotOptimize(detect_spiffs_geometry(image));
}
BENCHMARK(DetectInVain)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace espmint
