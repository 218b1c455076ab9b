// image/elf.hpp: what a linker leaves: the sections and segments of an ELF file, of which an app image is made.
//   TRY(ElfFile elf, parse_elf(bytes));
// Pure; contents are borrowed from `bytes`. Source: Tool Interface Standard, Executable and Linking Format 1.2.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace espmint {

enum class ElfMachine : std::uint16_t { xtensa = 94, riscv = 243 };

struct ElfSection {
  std::string name;
  std::uint32_t type = 0, flags = 0, address = 0;
  ByteView content;  // none for what lies in memory only (NOBITS)
};
namespace elf {
inline constexpr std::uint32_t section_bits = 1, section_init_array = 14, section_fini_array = 15,
                               section_preinit_array = 16;
inline constexpr std::uint32_t flag_write = 1, flag_allocated = 2, flag_executable = 4;
inline constexpr std::uint32_t segment_load = 1;
}  // namespace elf

struct ElfSegment {
  std::uint32_t type = 0, flags = 0;
  std::uint32_t virtual_address = 0, physical_address = 0;
  ByteView content;  // what the file has of it
};

struct ElfFile {
  std::uint16_t machine = 0;  // ElfMachine, or another
  std::uint32_t entry = 0;
  std::vector<ElfSection> sections;  // in the file's order, without the null section
  std::vector<ElfSegment> segments;
};

/// A 32-bit little-endian executable; any bytes in. Fault (refuse, input_invalid) for everything else, for tables or
/// contents that lie outside of the file, and for names that do not end.
Result<ElfFile> parse_elf(ByteView bytes);

}  // namespace espmint
