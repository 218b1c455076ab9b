// chip/chip.hpp: a row per chip: how to tell it, where its MAC is, how it resets, where its bootloader goes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/mac.hpp"
#include "base/units.hpp"

namespace espmint {

enum class ChipId { esp32, esp32s3, esp32c3 };

/// Registers of SPI1, the controller that reaches the flash; byte offsets from `base`.
struct SpiRegisters {
  std::uint32_t base;
  std::uint32_t usr, usr1, usr2, mosi_dlen, miso_dlen, w0;
};

/// How the chip's ROM answers; what differs is here, what is equal is in rom/.
struct RomTraits {
  std::uint8_t status_bytes;        // behind each reply of the ROM; the stub's replies have 2
  bool deflate_begin_has_encrypted; // FLASH_(DEFL_)BEGIN carries a fifth word to the ROM
  bool has_security_info;           // GET_SECURITY_INFO exists
  bool baud_needs_crystal;          // CHANGE_BAUDRATE must be scaled by the crystal the ROM believes in
};

struct ChipSpec {
  ChipId id;
  std::string_view name;   // "esp32c3": command line, JSON, recipe
  std::string_view title;  // "ESP32-C3": for people
  std::uint16_t image_chip_id;                // in app image headers and in GET_SECURITY_INFO
  std::array<std::uint32_t, 4> magic;         // values of the word at 0x40001000, 0 where fewer; empty: told by chip id
  FlashOffset bootloader;                     // where the ROM looks for the second-stage bootloader
  std::uint32_t efuse_base;                   // of the eFuse controller's registers
  std::uint32_t mac_low, mac_high;            // registers: low 32 bits, high 16 bits of the base MAC
  std::uint32_t uart_clock_divider;           // UART0 CLKDIV register
  SpiRegisters spi;
  RomTraits rom;
  std::string_view stub_file;                 // "esp32.json" of Espressif's stub flasher
};

/// Address of the word that tells older chips apart. Source: esptool documentation, chip detection.
inline constexpr std::uint32_t chip_magic_register = 0x4000'1000;

std::span<const ChipSpec> all_chips();
const ChipSpec& spec_of(ChipId);
const ChipSpec* chip_named(std::string_view name);               // "esp32", "ESP32-C3", any case
const ChipSpec* chip_with_magic(std::uint32_t magic);
const ChipSpec* chip_with_image_id(std::uint16_t image_chip_id);

/// "3.0", "0.4": major.minor. From eFuse words whose meaning is the chip's.
struct Revision {
  unsigned major = 0;
  unsigned minor = 0;
  [[nodiscard]] unsigned full() const { return major * 100 + minor; }  // as image headers write it
  auto operator<=>(const Revision&) const = default;
};
std::string to_string(Revision);

/// Flash size in bytes from the JEDEC id (manufacturer low byte, type, capacity); nothing for an unknown capacity code.
std::optional<std::uint32_t> flash_size_of(std::uint32_t jedec_id);

}  // namespace espmint
