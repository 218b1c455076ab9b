// Any bytes as an ELF file, for every chip and option: an image that reads as intact, or a fault.
#include <array>
#include <cstdlib>

#include "image/app_build.hpp"
#include "image/app_image.hpp"
#include "image/elf.hpp"

using namespace espmint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  constexpr std::array<std::uint16_t, 11> chips{0, 2, 5, 9, 12, 13, 16, 18, 20, 23, 77};
  AppBuildOptions options;
  options.chip_id = chips[data[0] % chips.size()];
  options.from_segments = (data[1] & 1) != 0;
  options.digest = (data[1] & 2) == 0;
  if ((data[1] & 4) != 0) options.pad_to = 0x100;
  if ((data[1] & 8) != 0) options.elf_sha256_at = 0xb0;
  if ((data[1] & 16) != 0) options.page_bytes = 0x8000;
  options.secure_pad = static_cast<SecurePad>((data[1] >> 5) % 3);
  ByteView elf{data + 2, size - 2};

  Result<ElfFile> parsed = parse_elf(elf);
  Result<Bytes> image = build_app_image(elf, options);
  if (!image) return 0;
  if (!parsed) std::abort();
  Result<AppImage> again = parse_app_image(*image);
  if (!again || !again->intact() || again->entry != parsed->entry || again->chip_id != options.chip_id) std::abort();
  return 0;
}
