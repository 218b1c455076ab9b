// Any bytes as an NVS partition: entries or a fault, never more content than the partition has; what was read can be
// built and read again. The second half of the runs gets checksums that fit, so that what lies behind them is reached.
#include <zlib.h>

#include <cstdlib>

#include "image/nvs_build.hpp"

using namespace espmint;

namespace {

constexpr std::size_t page_bytes = 4096;

std::uint32_t crc(ByteView bytes, std::uint32_t from = 0xffff'ffff) {
  return bytes.empty() ? from : static_cast<std::uint32_t>(crc32(from, bytes.data(), static_cast<uInt>(bytes.size())));
}

void mend(ByteSpan partition) {
  for (std::size_t page = 0; page < partition.size(); page += page_bytes) {
    ByteSpan bytes = partition.subspan(page, page_bytes);
    set_u32(bytes, 28, crc(bytes.subspan(4, 24)));
    for (std::size_t at = 64; at < page_bytes; at += 32) {
      ByteSpan entry = bytes.subspan(at, 32);
      const std::size_t size = get_u16(entry, 24);
      const bool long_value = entry[1] == 0x21 || entry[1] == 0x41 || entry[1] == 0x42;
      if (long_value && at + 32 + size <= page_bytes) set_u32(entry, 28, crc(bytes.subspan(at + 32, size)));
      set_u32(entry, 4, crc(entry.subspan(8), crc(entry.first(4))));
      // Its value must stay as its checksum has it.
      if (long_value) at += (size + 31) / 32 * 32;
    }
  }
}

void read(ByteView partition) {
  std::vector<std::string> damage;
  Result<std::vector<NvsEntry>> entries = read_nvs(partition, &damage);
  if (damage.size() > partition.size() / 32 * 2) std::abort();
  if (!entries) return;
  std::size_t together = 0;
  for (const NvsEntry& entry : *entries) {
    if (entry.key.empty() || entry.key.size() > 15 || entry.space.empty() || entry.space.size() > 15) std::abort();
    together += entry.value.size();
  }
  if (together > partition.size()) std::abort();
  // What was read is built to a partition that reads the same, where our builder takes such strings at all: the
  // firmware lets one fill a page to its last entry, ESP-IDF's generator and we do not.
  if (Result<Bytes> built = build_nvs(partition.size() * 2 + 4 * page_bytes, {}, *entries)) {
    Result<std::vector<NvsEntry>> again = read_nvs(*built);
    if (!again || again->size() != entries->size()) std::abort();
    for (const NvsEntry& entry : *entries)
      if (std::find(again->begin(), again->end(), entry) == again->end()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Seeds need not bring 4 KiB: what lacks of the last page is blank.
  Bytes partition{data, data + size};
  read(partition);
  partition.resize((size + page_bytes - 1) / page_bytes * page_bytes, 0xff);
  read(partition);
  mend(partition);
  read(partition);
  return 0;
}
