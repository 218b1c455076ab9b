// image/partition_table.hpp: ESP-IDF's partition table, from CSV, from flash, back to either, and checked.
// Layout: docs/formats/partition-table.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace espmint {

struct Partition {
  std::string name;
  std::uint8_t type = 0;
  std::uint8_t subtype = 0;
  FlashRange range;
  bool encrypted = false;
  bool read_only = false;

  [[nodiscard]] bool is_app() const { return type == 0x00; }
  [[nodiscard]] bool is_data(std::uint8_t data_subtype) const { return type == 0x01 && subtype == data_subtype; }
};
inline constexpr std::uint8_t data_subtype_ota = 0x00, data_subtype_nvs = 0x02, data_subtype_nvs_keys = 0x04,
                              data_subtype_fat = 0x81, data_subtype_spiffs = 0x82, data_subtype_littlefs = 0x83;

struct PartitionTable {
  std::vector<Partition> partitions;
  /// One past the last byte any partition uses.
  [[nodiscard]] std::uint64_t end() const;
  [[nodiscard]] const Partition* named(std::string_view name) const;
};

enum class SecureBoot { none, v1, v2 };
struct PartitionTableOptions {
  FlashOffset offset{0x8000};  // of the table itself
  bool md5 = true;
  std::optional<ByteCount> flash_size{};  // the table must end within it
  SecureBoot secure = SecureBoot::none;
  bool verify = true;
};

/// ESP-IDF's CSV. Faults (refuse, input_invalid) name the line. Places what has no offset; order and overlaps are
/// always refused here, the rest by check_partition_table. The environment's variables are the caller's to put in.
Result<PartitionTable> parse_partition_csv(std::string_view csv, const PartitionTableOptions& = {});
/// The binary table as it lies in flash (up to 0xC00 bytes; bytes behind its end are ignored). Any bytes in.
/// Not checked beyond magic, MD5 and end: boards in the field bear tables that today's rules refuse.
Result<PartitionTable> parse_partition_table(ByteView binary, const PartitionTableOptions& = {});
/// 0xC00 bytes. Checks first unless told not to; a given flash size is always heeded.
Result<Bytes> build_partition_table(const PartitionTable&, const PartitionTableOptions& = {});
/// Overlaps, alignment, flash size, duplicate names: what the reference tool refuses.
Result<void> check_partition_table(const PartitionTable&, const PartitionTableOptions& = {});
/// The reference tool's CSV form.
std::string partition_csv(const PartitionTable&);

}  // namespace espmint
