// image/littlefs.hpp: builds and reads the LittleFS partition, the file system with folders that survives power cuts.
//   TRY(Bytes partition, build_littlefs(1_MiB, {}, files));
// Pure: no files, clock or randomness. Layout and what implementers get wrong: docs/formats/littlefs.md.
#pragma once

#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "image/file_tree.hpp"

namespace espmint {

/// What the firmware must agree to; the rest (cache, read and write sizes) does not show in an image.
struct LittlefsGeometry {
  std::uint32_t block_size = 4096;  // bytes, a power of two from 128 to 1 MiB: the flash's erase sector
  std::uint32_t name_max = 255;     // bytes; a firmware whose LFS_NAME_MAX is less does not mount the image
  bool operator==(const LittlefsGeometry&) const = default;
};

/// What an image says of itself.
struct LittlefsSuperblock {
  std::uint16_t major = 0, minor = 0;  // disk version: 2.0 or 2.1
  std::uint32_t block_size = 0;        // bytes
  std::uint32_t block_count = 0;
  std::uint32_t name_max = 0, file_max = 0, attribute_max = 0;  // bytes
  bool operator==(const LittlefsSuperblock&) const = default;
};

/// A fresh file system of disk version 2.1 with exactly these files and folders; the same input gives the same bytes.
/// Faults (refuse): image_invalid for a geometry, name or size LittleFS cannot hold; image_no_space naming the file
/// that did not fit.
Result<Bytes> build_littlefs(ByteCount size, const LittlefsGeometry&, std::span<const FileView> files);

/// Any bytes in, a tree or a fault (refuse, image_invalid) out: each folder, then its files, then its folders, by byte
/// value. Also reads what the C library wrote and what a power cut left of it. The block size is the image's own; the
/// hint's is only tried first. Together the contents are never larger than the image.
Result<std::vector<FileOwned>> read_littlefs(ByteView image, const LittlefsGeometry& hint = {});

/// The superblock that counts; faults as read_littlefs, but no file is read.
Result<LittlefsSuperblock> read_littlefs_superblock(ByteView image, const LittlefsGeometry& hint = {});

}  // namespace espmint
