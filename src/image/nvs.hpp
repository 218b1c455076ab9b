// image/nvs.hpp: what lies in the NVS partition in which firmware keeps its settings and keys, and how it is read.
//   TRY(std::vector<NvsEntry> entries, read_nvs(partition));
// Pure: no files, clock or randomness. What comes out is what the firmware would find, and may be secret.
// nvs_build.hpp makes a partition of entries, nvs_csv.hpp entries of ESP-IDF's tables, nvs_crypt.hpp ciphertext of it.
// Source: ESP-IDF Programming Guide, NVS Library, Internals; format versions 1 and 2. Drawing: docs/formats/nvs.md.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace espmint {

/// The numbers are those of the format. A blob of version 2 lies in chunks behind an index; it comes out as one blob.
enum class NvsType : std::uint8_t {
  u8 = 0x01,
  i8 = 0x11,
  u16 = 0x02,
  i16 = 0x12,
  u32 = 0x04,
  i32 = 0x14,
  u64 = 0x08,
  i64 = 0x18,
  string = 0x21,
  blob = 0x41,
};
/// "u8", "string", "blob"; empty for a number that is no type.
std::string_view name_of(NvsType);

struct NvsEntry {
  std::string space, key;  // 1 to 15 bytes each, any but NUL
  NvsType type = NvsType::u8;
  Bytes value{};             // of a string (without its NUL) or blob
  std::uint64_t number = 0;  // of an integer; negative ones as two's complement of 64 bits
  bool operator==(const NvsEntry&) const = default;

  /// Of the value, as it counts against the type's limits: with a string's NUL.
  [[nodiscard]] std::size_t size() const;
};

/// Entries in the order of the log, the latest of each name and type; a blank partition has none. As the firmware does,
/// it passes over what is erased, unfinished or damaged; into `damage`, where given, goes a sentence for each thing
/// damaged. Faults (refuse): image_invalid where `partition` is not whole pages of 4096 bytes, holds no readable page,
/// or was written by a later version, and where no written entry at all is sound: then it is encrypted, most likely.
Result<std::vector<NvsEntry>> read_nvs(ByteView partition, std::vector<std::string>* damage = nullptr);

}  // namespace espmint
