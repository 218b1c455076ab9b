// image/nvs_layout.hpp: where things lie in an NVS partition; shared by reader, builder and cipher, by nobody else.
// Drawing and sources: docs/formats/nvs.md.
#pragma once

#include <fmt/format.h>
#include <zlib.h>

#include "image/nvs.hpp"

namespace espmint::nvs {

// Source of all numbers: ESP-IDF Programming Guide, NVS Library, Internals, Structure of a Page and of Entry; the
// types: nvs_handle.hpp, ItemType.
//
//   page   state 4 | sequence 4 | version 1 | unused 19 | CRC 4 ‖ entry states 32, two bits each ‖ 126 entries
//   entry  namespace 1 | type 1 | span 1 | chunk 1 | CRC 4 | key 16 | data 8 ‖ span - 1 entries with bytes
inline constexpr std::size_t page_bytes = 4096, entry_bytes = 32, entries_a_page = 126, first_entry_at = 64;
inline constexpr std::size_t sequence_at = 4, version_at = 8, page_crc_at = 28, states_at = 32;
inline constexpr std::uint32_t page_blank = 0xffff'ffff, page_active = 0xffff'fffe, page_full = 0xffff'fffc,
                               page_freeing = 0xffff'fff8;
inline constexpr unsigned entry_written = 2, entry_blank = 3;

inline constexpr std::size_t span_at = 2, chunk_at = 3, entry_crc_at = 4, key_at = 8, key_bytes = 16, data_at = 24;
inline constexpr std::size_t longest_name = key_bytes - 1;
inline constexpr std::uint8_t string_type = 0x21, blob_type = 0x41;
inline constexpr std::uint8_t blob_data_type = 0x42, blob_index_type = 0x48;  // of version 2
inline constexpr std::uint8_t no_chunk = 0xff;
inline constexpr std::uint8_t greatest_space = 0xfe;  // 0 names the namespaces, 0xff means any

/// As the ROM's crc32_le(0xffffffff, …). A view of nothing must still point somewhere, or zlib starts anew.
inline std::uint32_t crc_of(ByteView bytes, std::uint32_t crc = 0xffff'ffff) {
  if (bytes.empty()) return crc;
  return static_cast<std::uint32_t>(crc32(crc, bytes.data(), static_cast<uInt>(bytes.size())));
}
/// Of an entry's 32 bytes, but not of the four that hold it.
inline std::uint32_t crc_of_entry(ByteView entry) {
  return crc_of(entry.subspan(key_at, entry_bytes - key_at), crc_of(entry.first(entry_crc_at)));
}
inline std::uint32_t crc_of_page(ByteView page) { return crc_of(page.subspan(sequence_at, page_crc_at - sequence_at)); }

inline unsigned state_of(ByteView page, std::size_t entry) {
  return page[states_at + entry / 4] >> (entry % 4 * 2) & 3u;
}
inline std::size_t entries_for(std::size_t bytes) { return (bytes + entry_bytes - 1) / entry_bytes; }

inline bool is_integer(std::uint8_t type) {
  std::uint8_t width = type & 0x0f;
  return (type & 0xe0) == 0 && (width == 1 || width == 2 || width == 4 || width == 8);
}
inline bool is_signed(std::uint8_t type) { return (type & 0x10) != 0; }
/// Of an integer, bytes.
inline std::size_t width_of(std::uint8_t type) { return type & 0x0f; }

inline bool is_blank(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0xff; });
}

inline Fault invalid(Code code, std::string what, std::string seen = {}, std::string advice = {}) {
  return Fault{.code = code,
               .remedy = Remedy::refuse,
               .what = std::move(what),
               .seen = std::move(seen),
               .advice = std::move(advice)};
}

}  // namespace espmint::nvs
