#include "image/elf.hpp"

#include <gtest/gtest.h>

#include "image/test_elf.hpp"

namespace espmint {
namespace {

Bytes small_elf() {
  return test_elf({{".flash.text", 0x400d'0020, Bytes(40, 0x11), elf::flag_allocated | elf::flag_executable},
                   {".dram0.data", 0x3ffb'0000, Bytes(7, 0x22), elf::flag_allocated | elf::flag_write}});
}

/// Whatever it says, what comes out lies in the file.
void expect_inside(const ElfFile& file, const Bytes& bytes) {
  auto inside = [&bytes](ByteView content) {
    return content.empty() ||
           (content.data() >= bytes.data() && content.data() + content.size() <= bytes.data() + bytes.size());
  };
  for (const ElfSection& section : file.sections) EXPECT_TRUE(inside(section.content));
  for (const ElfSegment& segment : file.segments) EXPECT_TRUE(inside(segment.content));
}

TEST(Elf, SaysWhatTheLinkerLeft) {
  Bytes bytes = small_elf();
  Result<ElfFile> file = parse_elf(bytes);
  ASSERT_TRUE(file) << describe(file.error());
  EXPECT_EQ(file->machine, static_cast<std::uint16_t>(ElfMachine::xtensa));
  EXPECT_EQ(file->entry, 0x4008'0400u);
  ASSERT_EQ(file->sections.size(), 3u) << "two, and the names";
  EXPECT_EQ(file->sections[0].name, ".flash.text");
  EXPECT_EQ(file->sections[0].address, 0x400d'0020u);
  EXPECT_EQ(file->sections[0].flags, elf::flag_allocated | elf::flag_executable);
  EXPECT_EQ(file->sections[1].content.size(), 7u);
  EXPECT_EQ(file->sections[1].content[6], 0x22);
  EXPECT_EQ(file->sections[2].name, ".shstrtab");
  ASSERT_EQ(file->segments.size(), 2u);
  EXPECT_EQ(file->segments[0].type, elf::segment_load);
  EXPECT_EQ(file->segments[1].physical_address, 0x3ffb'0000u);
  EXPECT_EQ(file->segments[1].content.size(), 7u);
}

TEST(Elf, MemoryThatIsNotInTheFileHasNoContent) {
  Bytes bytes = test_elf({{".dram0.bss", 0x3ffb'0000, Bytes(4096), elf::flag_allocated | elf::flag_write, 8}});
  EXPECT_TRUE(parse_elf(bytes)->sections[0].content.empty());
  // Its offset and size need not lie in the file.
  set_u32(bytes, get_u32(bytes, 32) + 40 + 20, 0xffff'ffff);
  EXPECT_TRUE(parse_elf(bytes));
}

TEST(Elf, RefusesWhatIsNoFirmware) {
  EXPECT_FALSE(parse_elf({}));
  Result<ElfFile> image = parse_elf(Bytes{0xe9, 1, 2, 0x20});
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, Code::input_invalid);
  EXPECT_NE(image.error().seen.find("ESP firmware image"), std::string::npos) << "someone named the .bin";
  for (std::size_t at : {4u, 5u, 16u}) {  // class, byte order, type
    Bytes other = small_elf();
    other[at] = at == 16 ? 1 : 2;
    EXPECT_FALSE(parse_elf(other)) << at;
  }
}

TEST(Elf, RefusesEveryTruncation) {
  Bytes bytes = small_elf();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Result<ElfFile> file = parse_elf(ByteView{bytes}.first(size));
    ASSERT_FALSE(file) << size;
    EXPECT_EQ(file.error().code, Code::input_invalid);
  }
}

TEST(Elf, WithAnyHeaderBitFlippedStaysWithinTheFile) {
  Bytes bytes = small_elf();
  std::size_t headers_end = test_elf_header_bytes + 2 * test_elf_segment_bytes, sections_at = get_u32(bytes, 32);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (at >= headers_end && at < sections_at) continue;
    for (int bit = 0; bit < 8; ++bit) {
      Bytes damaged = bytes;
      damaged[at] ^= static_cast<std::uint8_t>(1u << bit);
      if (Result<ElfFile> file = parse_elf(damaged)) expect_inside(*file, damaged);
    }
  }
}

TEST(Elf, RefusesNamesThatDoNotEnd) {
  Bytes bytes = small_elf();
  std::size_t first = get_u32(bytes, 32) + test_elf_section_bytes;
  set_u32(bytes, first, 0x7fff'ffff);
  EXPECT_FALSE(parse_elf(bytes));
  bytes = small_elf();
  std::size_t names = get_u32(bytes, 32) + 3 * test_elf_section_bytes;
  set_u32(bytes, names + 20, get_u32(bytes, names + 20) - 1);  // without the last zero
  EXPECT_FALSE(parse_elf(bytes));
}

TEST(Elf, RefusesTablesThatWrapAround) {
  for (std::size_t field : {28u, 32u}) {
    Bytes bytes = small_elf();
    set_u32(bytes, field, 0xffff'fff0);
    EXPECT_FALSE(parse_elf(bytes)) << field;
  }
  Bytes bytes = small_elf();
  std::size_t first = get_u32(bytes, 32) + test_elf_section_bytes;
  set_u32(bytes, first + 16, 0xffff'fff0);
  set_u32(bytes, first + 20, 0x20);  // offset + size wraps to 0x10
  EXPECT_FALSE(parse_elf(bytes));
}

}  // namespace
}  // namespace espmint
