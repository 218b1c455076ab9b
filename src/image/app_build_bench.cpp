#include <benchmark/benchmark.h>

#include "image/app_build.hpp"
#include "image/app_image.hpp"
#include "image/merge.hpp"
#include "image/test_elf.hpp"

namespace espmint {
namespace {

/// 1 MiB to load and 3 MiB of debug sections, as a linker leaves it.
Bytes megabyte_elf() {
  return test_elf({{".flash.appdesc", 0x3f40'0020, Bytes(200'000, 0x11)},
                   {".flash.text", 0x400d'0020, Bytes(740'000, 0x22), elf::flag_allocated | elf::flag_executable},
                   {".iram0.text", 0x4008'0000, Bytes(90'000, 0x33), elf::flag_allocated | elf::flag_executable},
                   {".dram0.data", 0x3ffb'0000, Bytes(20'000, 0x44), elf::flag_allocated | elf::flag_write},
                   {".debug_info", 0, Bytes(3'000'000, 0x55), 0}});
}

/// Bar: 5 ms, of which SHA-256 is most.
void BuildApp(benchmark::State& state) {
  Bytes elf = megabyte_elf();
  for (auto _ : state) benchmark::DoNotOptimize(build_app_image(elf, {.flash_size = 4_MiB}));
}
BENCHMARK(BuildApp)->Unit(benchmark::kMicrosecond);

void ReadApp(benchmark::State& state) {
  Bytes image = build_app_image(megabyte_elf(), {.flash_size = 4_MiB}).value();
  for (auto _ : state) benchmark::DoNotOptimize(parse_app_image(image));
}
BENCHMARK(ReadApp)->Unit(benchmark::kMicrosecond);

void MergeFourMegabytes(benchmark::State& state) {
  Bytes app = build_app_image(megabyte_elf(), {.flash_size = 4_MiB}).value(), boot(20'000, 0x11);
  MergeOptions options;
  options.fill_to = 4_MiB;
  for (auto _ : state)
    benchmark::DoNotOptimize(merge_parts({{{0x1000}, boot, "boot"}, {{0x10000}, app, "app"}}, options));
}
BENCHMARK(MergeFourMegabytes)->Unit(benchmark::kMicrosecond);

void SplitFourMegabytes(benchmark::State& state) {
  Bytes app = build_app_image(megabyte_elf(), {.flash_size = 4_MiB}).value();
  Bytes table = build_partition_table(
                    parse_partition_csv("nvs,data,nvs,0x9000,0x6000\nfactory,app,factory,0x10000,0x180000\n").value())
                    .value();
  MergeOptions options;
  options.fill_to = 4_MiB;
  Bytes whole = merge_parts({{{0x8000}, table, "table"}, {{0x10000}, app, "app"}}, options).value();
  for (auto _ : state) benchmark::DoNotOptimize(split_flash(whole, {}));
}
BENCHMARK(SplitFourMegabytes)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace espmint
