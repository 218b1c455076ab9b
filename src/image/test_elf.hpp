// image/test_elf.hpp: for tests: ELF files written by the format's own words. Source: ELF 1.2.
#pragma once

#include <string>
#include <vector>

#include "image/elf.hpp"

namespace espmint {

struct TestSection {
  std::string name;
  std::uint32_t address = 0;
  Bytes content{};
  std::uint32_t flags = elf::flag_allocated;
  std::uint32_t type = elf::section_bits;
};

inline constexpr std::size_t test_elf_header_bytes = 52, test_elf_segment_bytes = 32, test_elf_section_bytes = 40;

/// Header, a loadable segment per section, contents, names, section headers (the null one first, the names' last).
inline Bytes test_elf(const std::vector<TestSection>& sections, std::uint32_t entry = 0x4008'0400,
                      ElfMachine machine = ElfMachine::xtensa) {
  std::string names(1, '\0');
  std::vector<std::uint32_t> name_at, content_at;
  Bytes body;
  std::size_t begin = test_elf_header_bytes + test_elf_segment_bytes * sections.size();
  for (const TestSection& section : sections) {
    name_at.push_back(static_cast<std::uint32_t>(names.size()));
    names += section.name + '\0';
    body.resize((body.size() + 3) / 4 * 4);
    content_at.push_back(static_cast<std::uint32_t>(begin + body.size()));
    append(body, section.content);
  }
  auto names_name_at = static_cast<std::uint32_t>(names.size());
  names += std::string{".shstrtab"} + '\0';
  auto names_at = static_cast<std::uint32_t>(begin + body.size());
  append(body, as_bytes(names));
  body.resize((begin + body.size() + 3) / 4 * 4 - begin);

  Bytes out{0x7f, 'E', 'L', 'F', 1, 1, 1};
  out.resize(16);
  put_u16(out, 2);
  put_u16(out, static_cast<std::uint16_t>(machine));
  put_u32(out, 1);
  put_u32(out, entry);
  put_u32(out, test_elf_header_bytes);
  put_u32(out, static_cast<std::uint32_t>(begin + body.size()));
  put_u32(out, 0);
  auto segments = static_cast<std::uint16_t>(sections.size());
  for (std::uint16_t word : {std::uint16_t{52}, std::uint16_t{32}, segments, std::uint16_t{40},
                             static_cast<std::uint16_t>(segments + 2), static_cast<std::uint16_t>(segments + 1)})
    put_u16(out, word);
  for (std::size_t i = 0; i < sections.size(); ++i) {
    auto size = static_cast<std::uint32_t>(sections[i].content.size());
    for (std::uint32_t word : {elf::segment_load, content_at[i], sections[i].address, sections[i].address, size, size,
                               std::uint32_t{5}, std::uint32_t{4}})
      put_u32(out, word);
  }
  append(out, body);
  auto put_section = [&out](std::initializer_list<std::uint32_t> words) {
    for (std::uint32_t word : words) put_u32(out, word);
  };
  put_section({0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  for (std::size_t i = 0; i < sections.size(); ++i)
    put_section({name_at[i], sections[i].type, sections[i].flags, sections[i].address, content_at[i],
                 static_cast<std::uint32_t>(sections[i].content.size()), 0, 0, 4, 0});
  put_section({names_name_at, 3, 0, 0, names_at, static_cast<std::uint32_t>(names.size()), 0, 0, 1, 0});
  return out;
}

}  // namespace espmint
