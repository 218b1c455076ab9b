// sim/fat_view.hpp: reads a FAT partition the way the firmware's driver does, below wear levelling where there is some.
// Written from the format, sharing nothing with what builds images.
#pragma once

#include <optional>
#include <vector>

#include "sim/stored_file.hpp"

namespace espmint::sim {

struct FatVolume {
  unsigned bits = 0;      // of a cluster's number: 12 or 16
  bool levelled = false;  // behind ESP-IDF's wear levelling
  std::uint32_t sector_bytes = 0;
  std::vector<StoredFile> files;
};

/// The files of a partition, long names as UTF-8; nothing when it would not mount or a chain leads astray. What was
/// being rewritten when power went (mode "safe" with sectors of 512 B) is not mended.
/// Source: Microsoft FAT specification; the bound between FAT12 and FAT16 as FatFs has it.
std::optional<FatVolume> read_fat(ByteView partition);

}  // namespace espmint::sim
