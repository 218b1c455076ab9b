// image/spiffs_layout.hpp: where things lie in a SPIFFS of one geometry; shared by builder and reader, by nobody else.
// Drawing and sources: docs/formats/spiffs.md.
#pragma once

#include <fmt/format.h>

#include "image/invalid.hpp"
#include "image/spiffs.hpp"

namespace espmint::spiffs {

// Sources: SPIFFS, technical specification and spiffs_nucleus.h; ESP-IDF's configuration of it (16-bit ids and pages).
inline constexpr std::uint32_t magic_seed = 0x2014'0529;
inline constexpr std::uint16_t index_bit = 0x8000;  // in an object id: an index page, not data
inline constexpr std::uint16_t free_id = 0xffff, deleted_id = 0x0000;
inline constexpr std::uint16_t greatest_id = 0x7ffe;  // with index_bit it is still no free_id
inline constexpr std::uint32_t greatest_page = 0xffff;
inline constexpr std::uint32_t unknown_size = 0xffff'ffff;  // the C library's size of a file not yet closed
inline constexpr std::uint8_t type_file = 1;

// Page flags; flash starts as ones, so a state is reached when its bit is 0.
inline constexpr std::uint8_t flag_used = 0x01, flag_final = 0x02, flag_index = 0x04, flag_index_delete = 0x40,
                              flag_delete = 0x80;
inline constexpr std::uint8_t flags_of_data = 0xfc;   // used, final
inline constexpr std::uint8_t flags_of_index = 0xf8;  // used, final, index

inline constexpr std::uint32_t page_header = 5;                          // object id, span, flags
inline constexpr std::uint32_t index_header = 8;                         // the same, padded to 4
inline constexpr std::uint32_t size_at = 8, type_at = 12, name_at = 13;  // in a file's first index page

struct Layout {
  std::uint32_t page = 0, block = 0;  // bytes
  std::uint32_t pages_per_block = 0;
  std::uint32_t lookup_pages = 0;   // at each block's start: one id for each of its other pages
  std::uint32_t usable_pages = 0;   // the others
  std::uint32_t data_room = 0;      // bytes of content in a data page
  std::uint32_t first_table = 0;    // where the page numbers begin in a file's first index page
  std::uint32_t first_entries = 0;  // how many lie there
  std::uint32_t later_entries = 0;  // and in each later one
  std::uint32_t magic_slot = 0;     // from the block's start, bytes
  bool big_endian = false;

  [[nodiscard]] std::uint16_t get16(ByteView bytes, std::size_t at) const {
    return big_endian ? static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]) : get_u16(bytes, at);
  }
  [[nodiscard]] std::uint32_t get32(ByteView bytes, std::size_t at) const {
    if (!big_endian) return get_u32(bytes, at);
    return static_cast<std::uint32_t>(get16(bytes, at)) << 16 | get16(bytes, at + 2);
  }
  void set16(ByteSpan bytes, std::size_t at, std::uint16_t value) const {
    bytes[at] = static_cast<std::uint8_t>(big_endian ? value >> 8 : value);
    bytes[at + 1] = static_cast<std::uint8_t>(big_endian ? value : value >> 8);
  }
  void set32(ByteSpan bytes, std::size_t at, std::uint32_t value) const {
    set16(bytes, at, static_cast<std::uint16_t>(big_endian ? value >> 16 : value));
    set16(bytes, at + 2, static_cast<std::uint16_t>(big_endian ? value : value >> 16));
  }
};

/// The word that marks block `index` of `blocks`. Source: spiffs_nucleus.h, SPIFFS_MAGIC.
inline std::uint16_t magic_of(const SpiffsGeometry& geometry, std::uint64_t blocks, std::uint64_t index) {
  std::uint64_t magic = magic_seed ^ geometry.page_size;
  if (geometry.magic_length) magic ^= blocks - index;
  return static_cast<std::uint16_t>(magic);
}

inline Result<Layout> layout_of(const SpiffsGeometry& g) {
  // Below 16 bytes a later index page holds hardly a number; at 64 KiB the magic no longer fits its 16 bits.
  if (g.page_size < 16 || g.page_size > 0x8000 || (g.page_size & (g.page_size - 1)) != 0)
    return fail(invalid(fmt::format("SPIFFS page size {} is not a power of two from 16 to 32768", g.page_size)));
  if (g.block_size == 0 || g.block_size % g.page_size != 0)
    return fail(
        invalid(fmt::format("SPIFFS block size {} is not a multiple of the page size {}", g.block_size, g.page_size)));
  std::uint64_t first_table = std::uint64_t{name_at} + g.name_length + g.meta_length;
  if (g.aligned_index_tables) first_table = (first_table + 1) & ~std::uint64_t{1};
  if (first_table > g.page_size)
    return fail(invalid(fmt::format("SPIFFS name length {} and meta length {} do not fit a page of {} bytes",
                                    g.name_length, g.meta_length, g.page_size)));
  Layout layout;
  layout.page = g.page_size;
  layout.block = g.block_size;
  layout.pages_per_block = g.block_size / g.page_size;
  layout.lookup_pages =
      static_cast<std::uint32_t>((std::uint64_t{layout.pages_per_block} * 2 + g.page_size - 1) / g.page_size);
  layout.usable_pages = layout.pages_per_block - layout.lookup_pages;
  layout.data_room = g.page_size - page_header;
  layout.first_table = static_cast<std::uint32_t>(first_table);
  layout.first_entries = (g.page_size - layout.first_table) / 2;
  layout.later_entries = (g.page_size - index_header) / 2;
  layout.magic_slot = layout.lookup_pages * g.page_size - 4;
  layout.big_endian = g.big_endian;
  return layout;
}

inline Result<std::uint32_t> blocks_of(std::uint64_t size, const Layout& layout) {
  if (size == 0 || size % layout.block != 0)
    return fail(invalid(fmt::format("SPIFFS size {} is not a multiple of the block size {}", size, layout.block), {},
                        "give the partition's size, or the firmware's block size"));
  if (size > 1_MiB * 1024) return fail(invalid(fmt::format("SPIFFS size {} is larger than 1 GiB", size)));
  return static_cast<std::uint32_t>(size / layout.block);
}

}  // namespace espmint::spiffs
