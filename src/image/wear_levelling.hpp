// image/wear_levelling.hpp: the layer that ESP-IDF puts under FAT so that no sector of flash wears out before the
// others.
//   TRY(ByteCount room, room_in_wear_levelling(1_MiB, {}));
//   TRY(Bytes volume, build_fat(room, geometry, files));
//   TRY(Bytes partition, wrap_in_wear_levelling(volume, 1_MiB, {}));
// Pure: no files, clock or randomness. Layout: docs/formats/fat.md.
#pragma once

#include <optional>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace espmint {

/// How sectors of 512 bytes are written into flash that erases 4096 (CONFIG_WL_SECTOR_MODE).
enum class WlMode { perf, safe };

struct WearLevelling {
  std::uint32_t sector_size = 4096;          // of the file system, bytes; 512 or 4096 (CONFIG_WL_SECTOR_SIZE)
  WlMode mode = WlMode::perf;                // safe only with sectors of 512
  std::optional<std::uint32_t> device_id{};  // none: a checksum of the content
};

/// What is left for the file system, bytes. Faults (refuse): image_invalid for options that exclude each other or a
/// partition that is not a multiple of 4096; image_no_space for one that is too small.
Result<ByteCount> room_in_wear_levelling(ByteCount partition, const WearLevelling&);

/// The smallest partition that leaves `room` bytes.
Result<ByteCount> partition_for_wear_levelling(ByteCount room, const WearLevelling&);

/// Bit for bit as the reference generator does it: in safe mode the image is two sectors shorter than the partition.
/// Fault (refuse, image_invalid): `content` is not what room_in_wear_levelling says of `partition`.
Result<Bytes> wrap_in_wear_levelling(ByteView content, ByteCount partition, const WearLevelling&);

/// Whether a state sector with its checksum lies where the firmware would look for it, or the generator puts it.
bool is_wear_levelled(ByteView image);

struct Unwrapped {
  Bytes content;  // what the file system sees; in safe mode its last two sectors are none of its
  std::uint32_t device_id = 0;
  std::uint32_t position = 0;    // of the sector in reserve
  std::uint32_t move_count = 0;  // how often the reserve has gone all the way round
};
/// Any bytes in; also reads what firmware has moved about. Fault (refuse, image_invalid).
Result<Unwrapped> unwrap_wear_levelling(ByteView image);

}  // namespace espmint
