// What a board waits for: a key, a request, a certificate.
#include <benchmark/benchmark.h>

#include "identity/local_ca.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

void mint(benchmark::State& state, KeyKind kind) {
  for (auto _ : state) benchmark::DoNotOptimize(mint_key(kind));
}
BENCHMARK_CAPTURE(mint, ec_p256, KeyKind::ec_p256)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(mint, rsa_2048, KeyKind::rsa_2048)->Unit(benchmark::kMicrosecond);

void write_pem(benchmark::State& state) {
  PrivateKey key = *mint_key(KeyKind::ec_p256);
  for (auto _ : state) benchmark::DoNotOptimize(key.pem());
}
BENCHMARK(write_pem)->Unit(benchmark::kMicrosecond);

void request(benchmark::State& state) {
  PrivateKey key = *mint_key(KeyKind::ec_p256);
  for (auto _ : state) benchmark::DoNotOptimize(build_csr(key, "24d7eb123456"));
}
BENCHMARK(request)->Unit(benchmark::kMicrosecond);

void sign(benchmark::State& state, KeyKind kind) {
  TestFolder folder;
  LocalCa ca = *LocalCa::init(folder / "ca", "bench", WallTime{std::chrono::seconds{1'790'000'000}});
  CertificateRequest request = *parse_csr(*build_csr(*mint_key(kind), "24d7eb123456"));
  Bytes serial = *mint_serial();
  for (auto _ : state) benchmark::DoNotOptimize(ca.sign(request, serial));
}
BENCHMARK_CAPTURE(sign, ec_p256, KeyKind::ec_p256)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sign, rsa_2048, KeyKind::rsa_2048)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace espmint
