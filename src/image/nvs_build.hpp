// image/nvs_build.hpp: an NVS partition from values, bit for bit as ESP-IDF's nvs_partition_gen 0.2.0 makes it.
//   std::vector<NvsEntry> entries{{"aws", "thing_name", NvsType::string, to_bytes(id)}, …};
//   TRY(Bytes partition, build_nvs(24_KiB, {}, entries));
// Pure. Values may be secret: they reach the partition and no fault. Layout: docs/formats/nvs.md.
#pragma once

#include <span>

#include "base/units.hpp"
#include "image/nvs.hpp"

namespace espmint {

/// Of the format: with 2 a blob may be longer than a page.
enum class NvsVersion { v1, v2 };

struct NvsBuildOptions {
  NvsVersion version = NvsVersion::v2;
  /// A name that is there already: both are written, as the generator does. Which one the firmware finds depends on
  /// where they lie, so that only who must agree with the generator wants this.
  bool twice = false;
};

/// A namespace as an entry of its own, which may then stay empty. Others come into being with their first entry.
inline NvsEntry namespace_entry(std::string name) { return {std::move(name), {}}; }

/// Whether it can lie in a partition: names of 1 to 15 bytes, a number that its type holds, a value that is not too
/// long (string with NUL: 3968 bytes; blob: 508000; both 1984 in version 1). Fault (refuse) input_invalid, by name.
Result<void> check_nvs_entry(const NvsEntry&, NvsVersion);

/// `size`: of the partition, a multiple of 4096; a page of it is kept free for the firmware. One below 0x3000 bytes is
/// for reading only: all its pages are used, and only those used come out. Entries are written in their order; the
/// namespaces get their numbers in the order in which they are met. Faults (refuse): what check_nvs_entry says;
/// input_invalid for a name that is there twice and for more than 254 namespaces; image_invalid for the size;
/// image_no_space, which says what size would do.
Result<Bytes> build_nvs(ByteCount size, const NvsBuildOptions&, std::span<const NvsEntry> entries);

/// What a partition holds, with `items` put in as an application would: a name that is there gets the new type and
/// value and keeps its place, the others follow in their order. For partitions that are read, changed and written.
std::vector<NvsEntry> merge_nvs(std::vector<NvsEntry> existing, std::span<const NvsEntry> items);

}  // namespace espmint
