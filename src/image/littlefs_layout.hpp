// image/littlefs_layout.hpp: words and numbers of LittleFS on flash; shared by builder and reader, by nobody else.
// Drawing and sources: docs/formats/littlefs.md.
#pragma once

#include <fmt/format.h>

#include <array>
#include <bit>

#include "image/invalid.hpp"
#include "image/littlefs.hpp"

namespace espmint::littlefs {

// Source: littlefs SPEC.md (disk version 2.1), Metadata types.
enum class Type : std::uint16_t {
  file = 0x001,
  folder = 0x002,
  superblock = 0x0ff,
  folder_struct = 0x200,
  inline_struct = 0x201,
  skip_list_struct = 0x202,
  create = 0x401,
  remove = 0x4ff,
  crc = 0x500,          // bit 0: what the next commit's valid bit must be
  forward_crc = 0x5ff,  // since 2.1
  soft_tail = 0x600,    // the next pair of the thread through all pairs
  hard_tail = 0x601,    // the same, and it goes on with this folder
  move_state = 0x7ff,
};
inline constexpr std::uint32_t group_mask =
    0x700;  // of a type: name, struct, attribute, splice, crc, tail, global state
inline constexpr std::uint32_t name_group = 0x000, struct_group = 0x200, splice_group = 0x400, tail_group = 0x600;
inline constexpr std::uint32_t crc_mask = 0x780;  // tells crc from forward_crc

/// What stands before each piece of metadata. On flash: big-endian, xor the tag before it; bit 31 is 0 where valid.
struct Tag {
  Type type;
  std::uint16_t id = 0;    // whose: the n-th entry of the pair
  std::uint16_t size = 0;  // bytes that follow
};
inline constexpr std::uint16_t no_id = 0x3ff;
inline constexpr std::uint16_t deleted_size = 0x3ff;  // no bytes follow, and what was said before is taken back
inline constexpr std::uint16_t greatest_size = 0x3fe;
inline constexpr std::uint32_t before_first_tag = 0xffff'ffff, invalid_bit = 0x8000'0000;

constexpr std::uint32_t word_of(const Tag& tag) {
  return static_cast<std::uint32_t>(tag.type) << 20 | std::uint32_t{tag.id} << 10 | tag.size;
}
constexpr Tag tag_of(std::uint32_t word) {
  return {static_cast<Type>(word >> 20 & 0x7ff), static_cast<std::uint16_t>(word >> 10 & 0x3ff),
          static_cast<std::uint16_t>(word & 0x3ff)};
}

inline constexpr std::string_view magic = "littlefs";
inline constexpr std::uint32_t null_block = 0xffff'ffff;
inline constexpr std::uint32_t revision_size = 4, tag_size = 4, crc_size = 4, superblock_size = 24;  // bytes
inline constexpr std::uint32_t smallest_block = 128,
                               greatest_block = 1024 * 1024;  // bytes; the least the C library takes

/// CRC-32 (polynomial 0x04c11db7, reflected) without the usual last inversion; begin with 0xffffffff.
inline std::uint32_t crc_of(ByteView bytes, std::uint32_t crc = 0xffff'ffff) {
  static constexpr auto table = [] {
    std::array<std::uint32_t, 256> out{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0xedb8'8320 : value >> 1;
      out[i] = value;
    }
    return out;
  }();
  for (std::uint8_t byte : bytes) crc = crc >> 8 ^ table[(crc ^ byte) & 0xff];
  return crc;
}

/// Two blocks of which one holds a part of a folder and the other its state before.
struct PairAddress {
  std::uint32_t first = null_block, second = null_block;
  [[nodiscard]] bool is_null() const { return first == null_block || second == null_block; }
  /// Of an old and a new address of one pair, half may have moved.
  [[nodiscard]] bool shares_a_block_with(const PairAddress& other) const {
    return first == other.first || first == other.second || second == other.first || second == other.second;
  }
};
inline constexpr PairAddress superblock_pair{0, 1};

/// A file's n-th block begins with pointers to the blocks 1, 2, 4, … before it, as many as 2 divides n, and one.
/// Source: littlefs DESIGN.md, CTZ skip-lists.
inline std::uint32_t pointers_in(std::uint32_t n) {
  return n == 0 ? 0 : static_cast<std::uint32_t>(std::countr_zero(n)) + 1;
}
inline std::uint32_t room_in(std::uint32_t n, std::uint32_t block_size) { return block_size - 4 * pointers_in(n); }

/// How many blocks a skip-list of `size` bytes has, and how many bytes lie in the last of them.
struct SkipList {
  std::uint32_t blocks = 0;
  std::uint32_t in_last = 0;
};
inline SkipList skip_list_of(std::uint32_t size, std::uint32_t block_size) {
  SkipList out;
  while (size > 0) {
    out.in_last = std::min(size, room_in(out.blocks++, block_size));
    size -= out.in_last;
  }
  return out;
}

}  // namespace espmint::littlefs
