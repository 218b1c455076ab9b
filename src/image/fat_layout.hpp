// image/fat_layout.hpp: where things lie in a FAT volume; shared by builder and reader, by nobody else.
// Drawing and sources: docs/formats/fat.md.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "image/fat.hpp"
#include "image/invalid.hpp"

namespace espmint::fat {

// Offsets into the boot sector. Source: Microsoft, FAT specification, boot sector and BPB.
inline constexpr std::size_t jump_at = 0, oem_at = 3, sector_size_at = 11, sectors_per_cluster_at = 13,
                             reserved_sectors_at = 14, fat_count_at = 16, root_entries_at = 17, sectors_16_at = 19,
                             media_at = 21, fat_sectors_at = 22, sectors_per_track_at = 24, heads_at = 26,
                             hidden_sectors_at = 28, sectors_32_at = 32, drive_at = 36, boot_signature_at = 38,
                             volume_id_at = 39, label_at = 43, type_name_at = 54, signature_at = 510;
inline constexpr std::size_t boot_header = 512;

// Offsets into a directory entry, and into one that holds a part of a long name.
inline constexpr std::size_t entry_size = 32;
inline constexpr std::size_t attributes_at = 11, case_at = 12, created_at = 16, accessed_at = 18, written_at = 24,
                             first_cluster_at = 26, file_size_at = 28;
inline constexpr std::size_t long_checksum_at = 13;
inline constexpr std::uint8_t long_unit_at[] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
inline constexpr std::size_t units_per_entry = std::size(long_unit_at);
inline constexpr std::size_t short_name_size = 11, base_size = 8, extension_size = 3;

inline constexpr std::uint8_t attribute_volume = 0x08, attribute_folder = 0x10, attribute_archive = 0x20,
                              attribute_long_name = 0x0f, attribute_mask = 0x3f;
inline constexpr std::uint8_t small_base = 0x08, small_extension = 0x10;  // at case_at: letters were small
inline constexpr std::uint8_t last_long_entry = 0x40;                     // in its order
inline constexpr std::uint8_t deleted_entry = 0xe5, stands_for_e5 = 0x05;

// FatFs tells the types apart by these counts of clusters; Microsoft has 4084 and 65524. The firmware's word counts.
inline constexpr std::uint32_t most_clusters_fat12 = 4085, most_clusters_fat16 = 65525;
inline constexpr std::uint32_t first_cluster = 2;

inline constexpr std::size_t longest_name = 255;    // characters; CONFIG_FATFS_MAX_LFN
inline constexpr std::size_t longest_path = 1'024;  // bytes; ours, so that a hostile tree stays small

/// What no name on FAT can have, besides control bytes. Source: Microsoft, FAT specification, long directory entries.
inline constexpr std::string_view never_in_names = "\"*/:<>?\\|";
/// What only long names can have.
inline constexpr std::string_view only_in_long_names = " +,.;=[]";

struct Layout {
  std::uint32_t sector = 0, sectors = 0;  // bytes; of the whole volume
  std::uint32_t cluster = 0;              // bytes
  std::uint32_t bits = 0;                 // of a link: 12 or 16
  std::uint32_t fats = 0;
  std::uint32_t fat_sectors = 0;
  std::size_t fat_at = 0, fat_size = 0;  // the first one
  std::size_t root_at = 0, root_size = 0;
  std::size_t data_at = 0;
  std::uint32_t clusters = 0;  // the first one's number is 2

  [[nodiscard]] std::size_t cluster_at(std::uint32_t number) const {
    return data_at + std::size_t{number - first_cluster} * cluster;
  }
  [[nodiscard]] bool has_cluster(std::uint32_t number) const {
    return number >= first_cluster && number - first_cluster < clusters;
  }
  [[nodiscard]] std::uint32_t end_of_chain() const { return bits == 12 ? 0xfff : 0xffff; }  // as it is written
  [[nodiscard]] bool ends_chain(std::uint32_t link) const { return link >= (bits == 12 ? 0xff8u : 0xfff8u); }
};

/// Links of 12 bits lie two in three bytes, the lower one first.
inline std::uint32_t get_link(ByteView image, const Layout& layout, std::uint32_t number) {
  if (layout.bits == 16) return get_u16(image, layout.fat_at + std::size_t{number} * 2);
  std::uint32_t pair = get_u16(image, layout.fat_at + number + number / 2);
  return number % 2 == 0 ? pair & 0xfff : pair >> 4;
}

inline void set_u16(ByteSpan bytes, std::size_t at, std::uint32_t value) {
  bytes[at] = static_cast<std::uint8_t>(value);
  bytes[at + 1] = static_cast<std::uint8_t>(value >> 8);
}

inline void set_link(ByteSpan image, const Layout& layout, std::uint32_t number, std::uint32_t link) {
  if (layout.bits == 16) return set_u16(image, layout.fat_at + std::size_t{number} * 2, link);
  std::size_t at = layout.fat_at + number + number / 2;
  std::uint32_t pair = get_u16(image, at);
  set_u16(image, at, number % 2 == 0 ? (pair & 0xf000) | link : (pair & 0x000f) | link << 4);
}

/// By which long entries know their short one. Source: Microsoft, FAT specification, short name checksum.
inline std::uint8_t checksum_of(ByteView short_name) {
  std::uint8_t sum = 0;
  for (std::uint8_t byte : short_name) sum = static_cast<std::uint8_t>((sum << 7 | sum >> 1) + byte);
  return sum;
}

}  // namespace espmint::fat
