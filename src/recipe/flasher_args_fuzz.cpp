// Any bytes as flasher_args.json of an otherwise good build: a set whose parts fit, or a sentence.
#include <cstdlib>

#include "recipe/make_plan.hpp"
#include "recipe/test_images.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espmint;
  static const MemoryFolder whole = idf_project();
  MemoryFolder folder = whole;
  folder.put("build/flasher_args.json", Bytes(data, data + size));
  auto set = find_firmware(folder, "build");
  if (!set) {
    if (describe(set.error()).empty() || exit_of(set.error().code) != Exit::configuration) std::abort();
    return 0;
  }
  for (std::size_t i = 1; i < set->parts.size(); ++i)
    if (set->parts[i - 1].range().overlaps(set->parts[i].range())) std::abort();
  auto plan = make_plan(default_recipe(), std::move(*set));
  if (plan && describe_plan(*plan).empty()) std::abort();
  return 0;
}
