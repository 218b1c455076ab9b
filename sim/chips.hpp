// sim/chips.hpp: what a virtual board knows of the chip it plays. Its own table: the station's may be wrong.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace espmint::sim {

constexpr std::uint8_t image_magic = 0xe9;  // the first byte of every app and bootloader

struct RegisterValue {
  std::uint32_t address;
  std::uint32_t value;
};

/// SPI1, byte offsets from `base`.
struct SpiController {
  std::uint32_t base, command, user, user1, user2, mosi_bits, miso_bits, data;
};

struct ChipRow {
  std::string_view name;
  std::uint16_t image_chip_id;
  unsigned revision;                // major * 100 + minor, as the registers below say it
  std::uint32_t bootloader_offset;
  std::uint32_t mac_low, mac_high;  // eFuse registers
  bool mac_has_crc;                 // CRC8 beside it
  bool has_security_info;
  bool baud_by_rtc;                 // the ROM computes baud rates from an RTC calibration
  std::uint32_t uart_divider;       // register
  std::uint32_t strap;              // register
  SpiController spi;
  std::uint32_t user_after_attach, user2_after_attach;
  bool stub_raises_user_command;    // the stub leaves bit 31 of SPI_USER set
  std::span<const RegisterValue> registers;
  // Boot text.
  std::string_view banner;          // up to "rst:"
  std::string_view power_on, watchdog, software;  // after "rst:"
  std::string_view download, from_flash;          // after "boot:"
  std::string_view waiting;         // last line in download mode
  // Where loaded segments may lie: data and instruction memory, mapped flash.
  std::uint32_t map_data_start, map_data_end, map_code_start, map_code_end;
  std::uint32_t ram_start, ram_end;
};

std::span<const ChipRow> all_chip_rows();
const ChipRow* chip_row_named(std::string_view name);

/// A stub's text, told by its SHA-256.
struct StubRow {
  std::string_view sha256;
  std::string_view name;
  bool skips_blank_erases;
  bool raises_clock;
};
/// Nothing for a text never seen before.
const StubRow* known_stub(std::string_view sha256);

}  // namespace espmint::sim
