// chip/chip.hpp: a row per chip: how to tell it, where its eFuses are, what its ROM understands, where its bootloader
// goes.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/mac.hpp"
#include "base/units.hpp"
#include "chip/efuse.hpp"

namespace espmint {

enum class ChipId {
  esp32,
  esp32s3,
  esp32c3,
  esp32s2,
  esp32c6,
  esp32c2,
  esp32c5,
  esp32c61,
  esp32h2,
  esp32p4,
  esp8266,
};

/// Registers of SPI1, the controller that reaches the flash; byte offsets from `base`. Without `miso_dlen` the length
/// of an answer stands in USR1, from bit 8 on (ESP8266).
struct SpiRegisters {
  std::uint32_t base;
  std::uint32_t usr, usr1, usr2, mosi_dlen, miso_dlen, w0;
};

/// What CHANGE_BAUDRATE needs, so that the ROM comes out at the speed that was meant. A ROM divides the crystal it
/// believes in; where that is not the one on the board, the number is scaled by the difference.
enum class BaudRule {
  as_asked,
  believes_rtc,       // ESP32: an RTC calibration times an eFuse
  believes_40_mhz,    // C2: also where the crystal has 26
  believes_register,  // C5: a register says which crystal
  fixed,              // ESP8266: the ROM keeps the speed that SYNC came with
};

/// How the chip's ROM answers; what differs is here, what is equal is in rom/.
struct RomTraits {
  std::uint8_t status_bytes = 4;            // behind each reply of the ROM; the stub's replies have 2
  bool deflate_begin_has_encrypted = true;  // FLASH_(DEFL_)BEGIN carries a fifth word to the ROM
  std::uint8_t security_info_bytes = 20;    // of GET_SECURITY_INFO: without a chip id 12, unknown 0
  BaudRule baud = BaudRule::as_asked;
  /// SPI_ATTACH, SPI_SET_PARAMS, deflate, MD5 and reading flash; the ESP8266's has none of them.
  bool has_flash_commands = true;
};

/// The crystal beside the chip: what it always is, or what it may be and is told by the UART's divider.
struct CrystalRule {
  std::array<std::uint8_t, 2> mhz{};       // one: always that
  std::uint8_t uart_clocks_per_cycle = 1;  // the UART's clock may be a multiple of the crystal's
};

/// By which of its ports the ROM speaks: it keeps the port's number in a variable.
enum class Console { unknown, uart, usb_otg, usb_serial_jtag };
/// Of revisions from `from` on (major * 100 + minor).
struct ConsoleVariable {
  unsigned from = 0;
  std::uint32_t address = 0;                      // 0: this chip has no USB
  std::uint8_t usb_otg = 0, usb_serial_jtag = 0;  // the port's number; 0: it has none
};

/// Changes one register: bits cleared, bits set, then time passes.
struct RegisterStep {
  std::uint32_t address, clear, set;
  std::chrono::milliseconds then;
};

/// Flash that the ROM leaves without power, by revision.
struct FlashPower {
  unsigned revision;  // major * 100 + minor
  EfuseField forced;  // this case holds where the field reads `is_forced`
  bool is_forced;
  std::span<const RegisterStep> steps;
};

/// The two watchdogs that a reset by USB-Serial-JTAG leaves running, as an application or its bootloader set them. They
/// would reset the board in the middle of a write.
struct Watchdogs {
  std::uint32_t config = 0, protect = 0;              // registers of the first; config 0: nothing to be quieted
  std::uint32_t super_config = 0, super_protect = 0;  // of the "super" one, which can only be told to feed itself
  std::uint32_t super_key = 0, super_feeds = 0;       // what opens its registers; the bit that does so
};
/// What opens the first watchdog's registers.
inline constexpr std::uint32_t watchdog_key = 0x50d8'3aa1;

/// A stub flasher's file, for revisions from `from` on (major * 100 + minor).
struct StubFile {
  unsigned from = 0;
  std::string_view name{};
};

struct ChipSpec {
  ChipId id;
  std::string_view name;               // "esp32c3": command line, JSON, recipe
  std::string_view title;              // "ESP32-C3": for people
  std::uint16_t image_chip_id;         // in app image headers and in GET_SECURITY_INFO; no_image_chip_id: in neither
  std::array<std::uint32_t, 4> magic;  // values of the word at 0x40001000, 0 where fewer; empty: told by chip id
  FlashOffset bootloader;              // where the ROM looks for the second-stage bootloader
  EfuseTable efuse;
  std::uint32_t uart_clock_divider;  // UART0 CLKDIV register
  CrystalRule crystal;
  SpiRegisters spi;
  RomTraits rom;
  std::array<ConsoleVariable, 2> console;  // the oldest revision's first
  std::span<const FlashPower> flash_power;
  Watchdogs watchdogs;
  std::array<StubFile, 2> stubs;  // of Espressif's stub flasher: the oldest revision's first
};

/// Not a chip's: what an image header holds that says nothing. Source: ESP-IDF, esp_chip_id_t.
inline constexpr std::uint16_t no_image_chip_id = 0xffff;

/// Address of the word that tells older chips apart. Source: esptool documentation, chip detection.
inline constexpr std::uint32_t chip_magic_register = 0x4000'1000;
/// The C5's PCR_SYSCLK_CONF: bits 24 to 30 are the crystal that the ROM believes in, in MHz. Source: ESP32-C5 TRM, PCR.
inline constexpr std::uint32_t crystal_register = 0x6009'6110;
/// MEM_DATA takes this much a block over UART, and this over USB-OTG. Source: esptool documentation, Serial Protocol.
inline constexpr std::uint32_t ram_block_bytes = 0x1800, ram_block_bytes_usb_otg = 0x800;

std::span<const ChipSpec> all_chips();
const ChipSpec& spec_of(ChipId);
const ChipSpec* chip_named(std::string_view name);  // "esp32", "ESP32-C3", any case
const ChipSpec* chip_with_magic(std::uint32_t magic);
const ChipSpec* chip_with_image_id(std::uint16_t image_chip_id);
/// "esp32, esp32s3, …": for advice.
std::string names_of_all_chips();

/// Whether images, partitions and recipes of this chip are read here; the ESP8266's are of another make.
[[nodiscard]] constexpr bool has_recipes(const ChipSpec& chip) { return chip.image_chip_id != no_image_chip_id; }

/// The stub for this revision.
[[nodiscard]] std::string_view stub_file(const ChipSpec&, Revision);
/// This revision's variable; address 0 where the chip has none.
[[nodiscard]] const ConsoleVariable& console_variable(const ChipSpec&, Revision);
/// Which of the ROM's ports the variable's value means.
[[nodiscard]] Console console_of(const ConsoleVariable&, std::uint32_t value);
/// "USB-OTG", "UART".
[[nodiscard]] std::string_view name_of(Console);
/// The crystal in MHz, from the UART's divider and the speed at which it talks; 0: it is none that this chip may have.
[[nodiscard]] unsigned crystal_mhz(const ChipSpec&, std::uint32_t uart_divider, Baud);

/// Flash size in bytes from the JEDEC id (manufacturer low byte, type, capacity); nothing for an unknown capacity code.
std::optional<std::uint32_t> flash_size_of(std::uint32_t jedec_id);

}  // namespace espmint
