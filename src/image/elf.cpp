#include "image/elf.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "image/file_kind.hpp"

namespace espmint {
namespace {

// Source: ELF 1.2, Elf32_Ehdr, Elf32_Shdr, Elf32_Phdr.
constexpr std::size_t elf_header_bytes = 52, section_entry_bytes = 40, segment_entry_bytes = 32;
constexpr std::uint8_t class_32 = 1, data_little_endian = 1;
constexpr std::uint16_t type_executable = 2;
constexpr std::uint32_t section_null = 0, section_strings = 3, section_no_bits = 8;

Fault bad_elf(std::string what, std::string seen = {}, std::optional<std::uint64_t> at = {}) {
  Fault fault{.code = Code::input_invalid,
              .remedy = Remedy::refuse,
              .what = std::move(what),
              .seen = std::move(seen),
              .advice = "name the .elf that the linker wrote, or build the firmware again"};
  fault.where.offset = at;
  return fault;
}

/// What an entry says lies at [at, at + size).
struct ElfExtent {
  std::uint32_t at, size;
  [[nodiscard]] bool lies_in(ByteView file) const { return std::uint64_t{at} + size <= file.size(); }
  [[nodiscard]] ByteView of(ByteView file) const { return file.subspan(at, size); }
};

/// Where a table of entries lies, and how many there are.
struct ElfTable {
  std::uint32_t at;
  std::uint16_t entry_bytes, count;
};

Result<void> check_elf_table(ByteView file, const ElfTable& table, std::size_t least, std::string_view of_what) {
  if (table.count == 0) return ok();
  if (table.entry_bytes < least)
    return fail(bad_elf("the ELF file is damaged",
                        fmt::format("an entry of its {} has {} bytes, not {}", of_what, table.entry_bytes, least)));
  if (std::uint64_t{table.at} + std::uint64_t{table.entry_bytes} * table.count > file.size())
    return fail(bad_elf(
        "the ELF file is cut short",
        fmt::format("its {} ({} entries) lie outside of its {} bytes", of_what, table.count, file.size()), table.at));
  return ok();
}

Result<std::string> elf_name_at(ByteView names, std::uint32_t at, std::size_t index) {
  std::string_view text = as_text(names);
  std::size_t end = at < text.size() ? text.find('\0', at) : std::string_view::npos;
  if (end == std::string_view::npos)
    return fail(bad_elf("the ELF file is damaged", fmt::format("the name of section {} does not end", index)));
  return std::string{text.substr(at, end - at)};
}

Result<std::vector<ElfSection>> parse_sections(ByteView file, const ElfTable& table, std::uint16_t names_index) {
  std::vector<ElfSection> out;
  if (table.count == 0) return out;
  auto entry = [&](std::size_t i) { return file.subspan(table.at + i * table.entry_bytes, section_entry_bytes); };
  if (names_index >= table.count || get_u32(entry(names_index), 4) != section_strings)
    return fail(bad_elf("the ELF file is damaged", fmt::format("section {} should hold the names", names_index)));
  ElfExtent names{get_u32(entry(names_index), 16), get_u32(entry(names_index), 20)};
  if (!names.lies_in(file)) return fail(bad_elf("the ELF file is cut short", "the sections' names are missing"));
  for (std::size_t i = 0; i < table.count; ++i) {
    ByteView header = entry(i);
    ElfSection section;
    section.type = get_u32(header, 4);
    if (section.type == section_null) continue;
    section.flags = get_u32(header, 8);
    section.address = get_u32(header, 12);
    TRY(section.name, elf_name_at(names.of(file), get_u32(header, 0), i));
    ElfExtent extent{get_u32(header, 16), get_u32(header, 20)};
    if (section.type != section_no_bits) {
      if (!extent.lies_in(file))
        return fail(
            bad_elf("the ELF file is cut short", fmt::format("section {} has {} bytes at {:#x}, the file ends at {:#x}",
                                                             section.name, extent.size, extent.at, file.size())));
      section.content = extent.of(file);
    }
    out.push_back(std::move(section));
  }
  return out;
}

Result<std::vector<ElfSegment>> parse_segments(ByteView file, const ElfTable& table) {
  std::vector<ElfSegment> out;
  for (std::size_t i = 0; i < table.count; ++i) {
    ByteView header = file.subspan(table.at + i * table.entry_bytes, segment_entry_bytes);
    ElfExtent extent{get_u32(header, 4), get_u32(header, 16)};
    if (!extent.lies_in(file))
      return fail(
          bad_elf("the ELF file is cut short", fmt::format("segment {} has {} bytes at {:#x}, the file ends at {:#x}",
                                                           i, extent.size, extent.at, file.size())));
    out.push_back({.type = get_u32(header, 0),
                   .flags = get_u32(header, 24),
                   .virtual_address = get_u32(header, 8),
                   .physical_address = get_u32(header, 12),
                   .content = extent.of(file)});
  }
  return out;
}

}  // namespace

Result<ElfFile> parse_elf(ByteView bytes) {
  if (!as_text(bytes).starts_with("\x7f"
                                  "ELF")) {
    std::string_view title = title_of(file_kind_of(bytes));
    return fail(bad_elf("this is no ELF file", title.empty() ? std::string{} : fmt::format("it is {}", title)));
  }
  if (bytes.size() < elf_header_bytes)
    return fail(bad_elf("the ELF file is cut short", fmt::format("{} bytes, its header has 52", bytes.size())));
  if (bytes[4] != class_32 || bytes[5] != data_little_endian)
    return fail(bad_elf("this ELF file is for another kind of processor", "it is not 32-bit and little-endian"));
  if (std::uint16_t type = get_u16(bytes, 16); type != type_executable)
    return fail(bad_elf("this ELF file is no executable", fmt::format("its type is {}, not 2", type)));
  ElfFile out;
  out.machine = get_u16(bytes, 18);
  out.entry = get_u32(bytes, 24);
  ElfTable segments{get_u32(bytes, 28), get_u16(bytes, 42), get_u16(bytes, 44)};
  ElfTable sections{get_u32(bytes, 32), get_u16(bytes, 46), get_u16(bytes, 48)};
  // More than 65,279 sections are counted elsewhere; a linked firmware has some dozens.
  if (sections.at != 0 && sections.count == 0) return fail(bad_elf("this ELF file has too many sections"));
  TRY(check_elf_table(bytes, sections, section_entry_bytes, "sections"));
  TRY(check_elf_table(bytes, segments, segment_entry_bytes, "segments"));
  TRY(out.sections, parse_sections(bytes, sections, get_u16(bytes, 50)));
  TRY(out.segments, parse_segments(bytes, segments));
  return out;
}

}  // namespace espmint
