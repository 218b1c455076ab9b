// image/file_kind.hpp: what a file looks like, so that whoever named the wrong one hears which it is.
#pragma once

#include <string_view>

#include "base/bytes.hpp"

namespace espmint {

enum class FileKind {
  unknown,
  blank,            // empty, or erased flash to its last byte
  esp_image,        // an app or a bootloader
  partition_table,  // as it lies in flash
  partition_csv,    // its source
  spiffs,
  littlefs,
  elf,
  intel_hex,
  uf2,
  zip,
  gzip,
  png,
  web_page,  // what a failed download leaves
};

/// Any bytes in; told by how the file begins, a SPIFFS by reading it. No promise that the rest is whole.
FileKind file_kind_of(ByteView bytes);
/// "a partition table", "an ELF file"; empty for `unknown`.
std::string_view title_of(FileKind);
/// Whether a LittleFS superblock lies in either of the first two blocks (of 4096 bytes). Source: LittleFS, SPEC.md,
/// The superblock.
bool looks_like_littlefs(ByteView bytes);

}  // namespace espmint
