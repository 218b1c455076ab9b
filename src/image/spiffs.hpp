// image/spiffs.hpp: builds and reads the SPIFFS partition from which firmware takes its certificate and key.
//   TRY(Bytes partition, build_spiffs(0xF0000, {}, files));
// Pure: no files, clock or randomness. Layout and what implementers get wrong: docs/formats/spiffs.md.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "image/file_tree.hpp"

namespace espmint {

/// The firmware decides these (CONFIG_SPIFFS_*); defaults are ESP-IDF's and those of its image generator.
struct SpiffsGeometry {
  std::uint32_t page_size = 256;    // bytes
  std::uint32_t block_size = 4096;  // bytes, a multiple of page_size
  std::uint32_t name_length = 32;   // bytes of a name with its slash and terminating zero
  std::uint32_t meta_length = 4;    // bytes
  bool magic = true;
  bool magic_length = true;
  bool big_endian = false;
  bool aligned_index_tables = false;
  bool operator==(const SpiffsGeometry&) const = default;
};

/// Files are laid in the order given. Faults (refuse): image_invalid for a geometry, name or size SPIFFS cannot hold;
/// image_no_space naming the file that did not fit. Bit for bit what the reference generator makes.
Result<Bytes> build_spiffs(ByteCount size, const SpiffsGeometry&, std::span<const FileView> files);

/// Any bytes in, files or a fault out; also reads what the C library wrote (deleted pages, later index pages).
Result<std::vector<FileOwned>> read_spiffs(ByteView image, const SpiffsGeometry&);

/// The geometry by which `image` reads as a non-empty, consistent file system: `hint` first, then the usual ones.
std::optional<SpiffsGeometry> detect_spiffs_geometry(ByteView image, const SpiffsGeometry& hint = {});

}  // namespace espmint
