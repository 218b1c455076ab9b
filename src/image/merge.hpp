// image/merge.hpp: files and their places in flash to one file that is written at once, and such a file, or a flash
// dump, back to its parts.
//   TRY(Bytes whole, merge_parts({{{0x1000}, bootloader, "bootloader.bin"}, {{0x10000}, app, "app.bin"}}, {}));
//   TRY(SplitFlash parts, split_flash(whole, {}));
// Pure. What a part is called and how a split is made whole again: docs/formats/merged-image.md.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "image/app_image.hpp"
#include "image/partition_table.hpp"

namespace espmint {

/// Borrowed bytes and where they go.
struct MergePart {
  FlashOffset at;
  ByteView bytes;
  std::string source;  // for people: a file's name
  [[nodiscard]] std::uint64_t end() const { return std::uint64_t{at.bytes} + bytes.size(); }
};

struct MergeOptions {
  FlashOffset target{};                   // where the merged file's first byte goes
  std::optional<ByteCount> fill_to;       // the flash offset up to which erased flash (FF) follows the last part
  std::optional<FlashOffset> bootloader;  // whose header is to say:
  FlashHeader header{};                   // nothing in it: as it is
};

/// One file, gaps filled with FF. Faults (refuse, input_invalid): nothing to merge, an empty part, parts that overlap
/// (both are named), a part in front of `target` or behind `fill_to`, an end past 4 GiB; with a header to change also
/// those of with_flash_header, and input_invalid where no image lies at `bootloader`.
Result<Bytes> merge_parts(std::vector<MergePart>, const MergeOptions&);

enum class SplitKind { bootloader, partition_table, app, data, unlisted };
struct SplitPart {
  FlashOffset at;
  SplitKind kind = SplitKind::unlisted;
  std::string name;  // of its file, safe below a folder, unlike every other's: "bootloader.bin", "nvs.bin"
  ByteView bytes;    // borrowed
};
struct SplitFlash {
  FlashOffset target;  // of the file's first byte
  FlashOffset table_at;
  PartitionTable table;
  std::vector<SplitPart> parts;        // in flash order; merged again they are the file, up to FF at its end
  std::vector<std::string> blank;      // partitions that the file holds erased
  std::vector<std::string> beyond;     // partitions that lie behind the file's end, or past it in part
  std::optional<AppImage> bootloader;  // what it says of itself
};
struct SplitOptions {
  std::optional<FlashOffset> target;           // nothing: 0, or where a table is found
  std::optional<FlashOffset> table_at;         // nothing: 0x8000, or the first sector that holds a table
  std::span<const FlashOffset> bootloaders{};  // where chips look for theirs; nothing: 0x0, 0x1000, 0x2000
};

/// Any bytes in. Apps and bootloader come out with their exact length, and the signature's sector where one follows;
/// data partitions whole, as far as the file goes; erased ones not at all; what lies elsewhere as `unlisted`.
/// Faults (refuse, image_invalid): no partition table, partitions that overlap.
Result<SplitFlash> split_flash(ByteView bytes, const SplitOptions&);

}  // namespace espmint
