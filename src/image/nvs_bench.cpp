#include <benchmark/benchmark.h>

#include "image/nvs_crypt.hpp"
#include "image/nvs_csv.hpp"

namespace espmint {
namespace {

constexpr ByteCount board_size = 0x6000;

/// What a board with an identity in NVS holds.
std::vector<NvsEntry> identity() {
  return {{"aws", "thing_name", NvsType::string, to_bytes("thing-0001")},
          {"aws", "certificate", NvsType::string, Bytes(1224, 'c')},
          {"aws", "priv_key", NvsType::string, Bytes(1679, 'k')},
          {"aws", "root_ca", NvsType::string, Bytes(1188, 'r')},
          {"wifi", "ssid", NvsType::string, to_bytes("network")},
          {"wifi", "port", NvsType::u16, {}, 8883},
          {"wifi", "blob", NvsType::blob, Bytes(5000, 0x5a)}};
}
NvsKeys bench_keys() {
  Bytes both(64, 0x11);
  both[0] = 0x22;
  return NvsKeys::of(Secret{std::move(both)}).value();
}

/// What each board waits for. Bar: 1 ms.
void BuildNvs(benchmark::State& state) {
  const std::vector<NvsEntry> entries = identity();
  for (auto _ : state) benchmark::DoNotOptimize(build_nvs(board_size, {}, entries));
}
BENCHMARK(BuildNvs)->Unit(benchmark::kMicrosecond);

void BuildEncryptedNvs(benchmark::State& state) {
  const std::vector<NvsEntry> entries = identity();
  const NvsKeys keys = bench_keys();
  for (auto _ : state) benchmark::DoNotOptimize(encrypt_nvs(build_nvs(board_size, {}, entries).value(), keys));
}
BENCHMARK(BuildEncryptedNvs)->Unit(benchmark::kMicrosecond);

void ReadNvs(benchmark::State& state) {
  const Bytes image = build_nvs(board_size, {}, identity()).value();
  for (auto _ : state) benchmark::DoNotOptimize(read_nvs(image));
}
BENCHMARK(ReadNvs)->Unit(benchmark::kMicrosecond);

void DecryptNvs(benchmark::State& state) {
  const NvsKeys keys = bench_keys();
  const Bytes image = encrypt_nvs(build_nvs(board_size, {}, identity()).value(), keys).value();
  for (auto _ : state) benchmark::DoNotOptimize(decrypt_nvs(image, keys));
}
BENCHMARK(DecryptNvs)->Unit(benchmark::kMicrosecond);

void ParseNvsCsv(benchmark::State& state) {
  const std::string text = encode_nvs_csv(identity(), NvsValues::inside).value().csv;
  const NvsCsv csv{"in.csv", text};
  for (auto _ : state) benchmark::DoNotOptimize(parse_nvs_csv({&csv, 1}, nullptr));
}
BENCHMARK(ParseNvsCsv)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace espmint
