// Any bytes as a partition with wear levelling, their checksums made good so that more than those is tried: content of
// the image's sectors or a fault, and what lies inside reads as a tree or a fault.
#include <zlib.h>

#include <cstdlib>

#include "image/fat.hpp"
#include "image/wear_levelling.hpp"

using namespace espmint;

namespace {

void mend_checksum(Bytes& image, std::size_t at, std::size_t length) {
  if (at + length + 4 > image.size()) return;
  set_u32(image, at + length, static_cast<std::uint32_t>(crc32(0xffff'ffff, &image[at], static_cast<uInt>(length))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t sector = 4096, largest = 64;
  if (size < 2 || size > largest * sector) return 0;
  // The first byte says which checksums; the rest is the partition, its end in the end of the data.
  Bytes image((size - 1 + sector - 1) / sector * sector, 0xff);
  std::copy(data + 1, data + size, image.end() - static_cast<std::ptrdiff_t>(size - 1));
  if (image.size() >= 3 * sector) {
    std::size_t end = image.size();
    if ((data[0] & 1) != 0) mend_checksum(image, end - 3 * sector, 60);
    if ((data[0] & 2) != 0) mend_checksum(image, end - 2 * sector, 60);
    if ((data[0] & 4) != 0) mend_checksum(image, end - 1 * sector, 32);
  }
  Result<Unwrapped> unwrapped = unwrap_wear_levelling(image);
  if (unwrapped && !is_wear_levelled(image)) std::abort();
  if (!unwrapped) return 0;
  if (unwrapped->content.size() >= image.size() || unwrapped->content.size() % sector != 0) std::abort();
  Result<std::vector<FileOwned>> files = read_fat(unwrapped->content);
  if (!files) return 0;
  std::size_t together = 0;
  for (const FileOwned& file : *files) together += file.content.size();
  if (together > image.size()) std::abort();
  return 0;
}
