// rom/commands.hpp: the words of the serial protocol, who understands them and how long an answer may take.
// Source: esptool documentation, Serial Protocol; observed on the genuine ROM (docs/formats/rom-protocol.md).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/units.hpp"

namespace espmint {

enum class Op : std::uint8_t {
  flash_begin = 0x02,
  flash_data = 0x03,
  flash_end = 0x04,
  mem_begin = 0x05,
  mem_end = 0x06,
  mem_data = 0x07,
  sync = 0x08,
  write_reg = 0x09,
  read_reg = 0x0a,
  spi_set_params = 0x0b,
  spi_attach = 0x0d,
  read_flash_slow = 0x0e,
  change_baudrate = 0x0f,
  flash_defl_begin = 0x10,
  flash_defl_data = 0x11,
  flash_defl_end = 0x12,
  spi_flash_md5 = 0x13,
  get_security_info = 0x14,
  erase_flash = 0xd0,
  erase_region = 0xd1,
  read_flash = 0xd2,
};

enum class Speaker { rom, stub };

struct CommandSpec {
  Op op;
  std::string_view name;
  bool rom, stub;                          // who answers it
  std::chrono::milliseconds timeout;       // of the answer
  std::chrono::milliseconds per_mebibyte;  // more, for each MiB the command works on
};

// The budgets allow for flash at its data-sheet maximum (rom-protocol note 14) and for emulators on busy machines, not
// for what a healthy board needs.
inline constexpr std::array commands{
    CommandSpec{Op::flash_begin, "FLASH_BEGIN", true, true, std::chrono::seconds{3}, std::chrono::seconds{30}},
    CommandSpec{Op::flash_data, "FLASH_DATA", true, true, std::chrono::seconds{3}, std::chrono::seconds{40}},
    CommandSpec{Op::flash_end, "FLASH_END", true, true, std::chrono::seconds{3}, {}},
    CommandSpec{Op::mem_begin, "MEM_BEGIN", true, true, std::chrono::seconds{3}, {}},
    CommandSpec{Op::mem_end, "MEM_END", true, true, std::chrono::milliseconds{500}, {}},
    CommandSpec{Op::mem_data, "MEM_DATA", true, true, std::chrono::seconds{3}, {}},
    CommandSpec{Op::sync, "SYNC", true, true, std::chrono::milliseconds{100}, {}},
    CommandSpec{Op::write_reg, "WRITE_REG", true, true, std::chrono::seconds{3}, {}},
    CommandSpec{Op::read_reg, "READ_REG", true, true, std::chrono::seconds{3}, {}},
    CommandSpec{Op::spi_set_params, "SPI_SET_PARAMS", true, true, std::chrono::seconds{3}, {}},
    CommandSpec{Op::spi_attach, "SPI_ATTACH", true, true, std::chrono::seconds{3}, {}},
    CommandSpec{Op::read_flash_slow, "READ_FLASH_SLOW", true, false, std::chrono::seconds{3}, {}},
    CommandSpec{Op::change_baudrate, "CHANGE_BAUDRATE", true, true, std::chrono::seconds{3}, {}},
    CommandSpec{Op::flash_defl_begin, "FLASH_DEFL_BEGIN", true, true, std::chrono::seconds{3},
                std::chrono::seconds{30}},
    CommandSpec{Op::flash_defl_data, "FLASH_DEFL_DATA", true, true, std::chrono::seconds{3}, std::chrono::seconds{40}},
    CommandSpec{Op::flash_defl_end, "FLASH_DEFL_END", true, true, std::chrono::seconds{3}, {}},
    CommandSpec{Op::spi_flash_md5, "SPI_FLASH_MD5", true, true, std::chrono::seconds{3}, std::chrono::seconds{8}},
    CommandSpec{Op::get_security_info, "GET_SECURITY_INFO", true, true, std::chrono::seconds{1}, {}},
    CommandSpec{Op::erase_flash, "ERASE_FLASH", false, true, std::chrono::seconds{120}, {}},
    CommandSpec{Op::erase_region, "ERASE_REGION", false, true, std::chrono::seconds{3}, std::chrono::seconds{30}},
    CommandSpec{Op::read_flash, "READ_FLASH", false, true, std::chrono::seconds{3}, std::chrono::seconds{40}},
};

constexpr const CommandSpec& spec_of(Op op) {
  for (const CommandSpec& row : commands)
    if (row.op == op) return row;
  return commands.front();
}

/// The budget of one command that works on `bytes` of flash.
constexpr std::chrono::milliseconds budget_of(Op op, ByteCount bytes = 0) {
  const CommandSpec& row = spec_of(op);
  return row.timeout + std::chrono::milliseconds{row.per_mebibyte.count() * static_cast<long>(bytes) / (1024 * 1024)};
}

/// "0x07 (checksum wrong)": what the second status byte says.
std::string describe_status(std::uint8_t reason, Speaker);

/// FLASH_DATA, MEM_DATA and FLASH_DEFL_DATA carry this over their data.
constexpr std::uint8_t checksum_seed = 0xef;

}  // namespace espmint
