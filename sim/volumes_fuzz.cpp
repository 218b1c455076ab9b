// Whatever lies in a partition, the virtual board's readers end, and give no more than it can hold. The input is its
// beginning, the rest is blank.
#include <cstdlib>

#include "sim/identity_source.hpp"

using namespace espmint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t partition_bytes = 64 * 1024;
  Bytes flash(data, data + std::min(size, partition_bytes));
  flash.resize(partition_bytes, 0xff);
  for (std::uint8_t subtype : {0x02, 0x04, 0x81, 0x82, 0x83}) {
    const sim::Partition row{"storage", 1, subtype, 0, static_cast<std::uint32_t>(flash.size())};
    const std::vector<sim::Mounted> storages = sim::mount_all(flash, {row});
    if (storages.size() != 1) std::abort();
    std::size_t bytes = 0;
    for (const sim::StoredFile& file : storages[0].files) bytes += file.content.size();
    if (bytes > 2 * flash.size()) std::abort();
    if (!storages[0].fault.empty() && !storages[0].files.empty()) std::abort();
    sim::find_identity(storages);
  }
  return 0;
}
