// sim/chips.hpp: what a virtual board knows of the chip it plays. Its own tables: the station's may be wrong.
// Where the eFuses lie: sim/efuse.hpp.
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

/// The controller that reaches the flash, byte offsets from `base`. No registers of their own for the lengths: they are
/// fields of USER1.
struct SpiController {
  std::uint32_t base, command, user, user1, user2, mosi_bits, miso_bits, data;
};

struct AddressRange {
  std::uint32_t start = 0, end = 0;
  [[nodiscard]] bool holds(std::uint32_t address) const { return address >= start && address < end; }
};

/// A mask ROM, from a revision of the chip on.
struct RomRow {
  unsigned since;                 // revision, major * 100 + minor
  std::string_view banner;        // up to "rst:"
  std::uint32_t magic;            // at 0x40001000
  std::uint32_t eco = 0;          // as GET_SECURITY_INFO tells it
  std::uint32_t uart_device = 0;  // its variable that holds the number of the port in use; 0: it has none
};

struct ChipRow {
  std::string_view name;
  std::uint16_t image_chip_id;
  unsigned revision;  // of a board that is not asked for another
  std::span<const RomRow> roms;
  std::uint32_t bootloader_offset;
  std::uint32_t crystal_mhz;
  std::uint32_t believed_mhz = 0;      // the crystal that the ROM's CHANGE_BAUDRATE counts on; 0: the true one
  std::uint32_t crystal_register = 0;  // says it in MHz from bit 24, and is what the ROM counts on; 0: no such register
  bool baud_by_rtc = false;            // the ROM computes baud rates from an RTC calibration
  bool bare_rom = false;               // the ESP8266's: no attaching, deflate, MD5 or change of baud, two status bytes
  std::uint8_t security_bytes = 20;    // of GET_SECURITY_INFO; 0: no such command
  std::uint8_t last_purpose = 12;      // the seventh of its key purposes, which is no key's
  std::uint8_t own_usb = 0;            // the port's number when the chip's own USB is in use; 0: it has none
  bool wide_flash = false;             // a stub reaches flash behind 16 MB
  std::uint32_t uart_divider = 0;      // register
  std::uint32_t strap = 0;             // register; 0: none
  std::uint8_t download_strap = 0, flash_strap = 0;
  SpiController spi;
  std::uint32_t user_after_attach = 0x8000'00c0, user2_after_attach = 0x7000'0000;
  bool stub_raises_user_command = false;  // the stub leaves bit 31 of SPI_USER set
  std::span<const RegisterValue> registers = {};
  // Boot text.
  std::string_view power_on, watchdog, software;  // after "rst:"
  std::string_view own_usb_reset = "0x15 (USB_UART_CHIP_RESET)";
  std::string_view download, from_flash;                  // after "boot:"
  std::string_view waiting = "waiting for download\r\n";  // last line in download mode
  std::string_view flash_setup = "SPIWP:0xee\r\n";        // before "mode:"
  std::string_view load_format = "load:0x{:08x},len:0x{:x}\r\n";
  // Where loaded segments may lie.
  AddressRange map_data, map_code, ram;
  AddressRange other_ram = {0x5000'0000, 0x5000'2000};
  AddressRange tight_ram = {};
};

/// What of a chip's security is burnt.
struct Security {
  bool secure_boot = false, flash_encryption = false, secure_download = false;
  bool hmac_key = false;  // one with the purpose HMAC_UP, which nothing outside the chip can read
};

inline constexpr std::size_t hmac_key_bytes = 32;

/// One chip: its kind and what its maker and its owner have burnt.
struct Chip {
  Chip(const ChipRow& row) : kind(&row), revision(row.revision) {}  // NOLINT: a row is its usual specimen
  [[nodiscard]] const ChipRow& row() const { return *kind; }
  [[nodiscard]] const RomRow& rom() const;
  [[nodiscard]] std::uint32_t crystal_hz() const {
    return (crystal_mhz != 0 ? crystal_mhz : kind->crystal_mhz) * 1'000'000;
  }
  /// The ROM counts on a 40 MHz crystal until it has measured the host.
  [[nodiscard]] std::uint32_t boot_baud() const;

  const ChipRow* kind;
  unsigned revision;
  std::uint32_t crystal_mhz = 0;  // 0: the usual one
  Security security{};
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
