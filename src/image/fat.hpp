// image/fat.hpp: builds and reads the FAT12 and FAT16 partitions that ESP-IDF's firmware mounts, with or without wear
// levelling around them (image/wear_levelling.hpp).
//   TRY(Bytes partition, build_fat(1_MiB, {.long_names = true}, files));
// Pure: no files, clock or randomness. Layout and what implementers get wrong: docs/formats/fat.md.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "image/file_tree.hpp"

namespace espmint {

/// Defaults are those of ESP-IDF's generator.
struct FatGeometry {
  std::uint32_t sector_size = 4096;  // bytes: 512, 1024, 2048 or 4096
  std::uint32_t fat_type = 0;        // 12 or 16 must be what the size makes of it; 0: either
  std::uint32_t fat_count = 2;
  std::uint32_t sectors_per_cluster = 1;
  std::uint32_t root_entries = 512;          // of 32 bytes
  bool long_names = false;                   // the firmware needs CONFIG_FATFS_LONG_FILENAMES for them
  std::optional<std::uint32_t> volume_id{};  // none: a checksum of the image, so that equal files make equal images
  bool operator==(const FatGeometry&) const = default;
};

/// In every folder by byte value of the names, whatever the order given; every date is 1980-01-01. Without long names
/// letters become capitals, with them small ones. Faults (refuse): image_invalid for a geometry, size or name that FAT
/// cannot hold or the firmware could not open, and for names that only differ in case; image_no_space naming what did
/// not fit. Bit for bit what the reference generator makes.
Result<Bytes> build_fat(ByteCount size, const FatGeometry&, std::span<const FileView> files);

/// The size that the reference generator's "detect" finds: enough for these files, at least 128 sectors.
Result<ByteCount> smallest_fat(const FatGeometry&, std::span<const FileView> files);

/// Any bytes in, files and folders or a fault out; also reads what firmware wrote. Each cluster serves one file once,
/// so there is never more content than image. A folder comes before what it holds, a folder's files before its folders.
Result<std::vector<FileOwned>> read_fat(ByteView image);

/// What an image's header says.
struct FatVolume {
  FatGeometry geometry;        // fat_type 12 or 16; whether there are long names it does not say
  ByteCount size = 0;          // the image may be longer
  std::uint32_t clusters = 0;  // for files and folders other than the root
};
/// Fault (refuse, image_invalid): no FAT, FAT32, or one that leaves the image.
Result<FatVolume> parse_fat_header(ByteView image);

}  // namespace espmint
