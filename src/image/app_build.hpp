// image/app_build.hpp: makes the image that the bootloader starts (or the ROM, of a bootloader) of what the linker
// left.
//   TRY(Bytes image, build_app_image(elf, {.chip_id = 5, .flash_mode = 2, .flash_size = 4_MiB}));
// Pure. Same bytes as esptool 4.8.1's elf2image. Layout and rules: docs/formats/app-image.md.
#pragma once

#include <optional>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace espmint {

enum class SecurePad { none, v1, v2 };

struct AppBuildOptions {
  std::uint16_t chip_id = 0;                     // esp_chip_id_t, as in the header
  std::uint8_t flash_mode = 0;                   // 0 QIO, 1 QOUT, 2 DIO, 3 DOUT
  std::optional<std::uint8_t> frequency_code{};  // nothing: the chip's usual one
  ByteCount flash_size = 1_MiB;
  std::uint16_t min_revision = 0, max_revision = 0xffff;  // major * 100 + minor
  bool digest = true;                                     // SHA-256 behind the checksum
  SecurePad secure_pad = SecurePad::none;                 // so that with its signature it ends a 64 KiB page
  std::optional<std::uint32_t>
      elf_sha256_at{};           // where in the image the ELF's SHA-256 goes; 0xb0 is the description's place
  std::uint32_t page_bytes = 0;  // of the cache that maps the flash; 0: the chip's usual one
  ByteCount pad_to = 0;          // FF behind it up to a multiple of this
  bool from_segments = false;    // by the ELF's program headers instead of its sections
};

/// Faults (refuse): input_invalid for what is no ELF file or has nothing to load, two mapped segments within one page,
/// or segments that overlap; image_invalid for options that the chip or the header cannot have, or more segments
/// than 16.
Result<Bytes> build_app_image(ByteView elf, const AppBuildOptions&);

}  // namespace espmint
