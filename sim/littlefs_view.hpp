// sim/littlefs_view.hpp: reads a LittleFS partition the way the firmware's driver does: through the commits of its
// metadata pairs. Written from the format, sharing nothing with what builds images.
#pragma once

#include <optional>
#include <vector>

#include "sim/stored_file.hpp"

namespace espmint::sim {

struct LittlefsVolume {
  unsigned major = 0, minor = 0;  // of the disk format: 2.0 or 2.1
  std::uint32_t blocks = 0;
  std::vector<StoredFile> files;
};

/// ESP-IDF's driver has one size of block.
inline constexpr std::uint32_t littlefs_block = 4096;

/// Whether a superblock is there, whole or not: what tells a LittleFS from a SPIFFS in a partition labelled so.
bool looks_like_littlefs(ByteView partition, std::uint32_t block = littlefs_block);

/// The files of a partition; nothing when it would not mount or something leads astray. It may be smaller than its
/// partition, as the driver takes the number of blocks from the superblock. A move that power cut short is taken as
/// done. Source: littlefs SPEC.md, disk versions 2.0 and 2.1.
std::optional<LittlefsVolume> read_littlefs(ByteView partition, std::uint32_t block = littlefs_block);

}  // namespace espmint::sim
