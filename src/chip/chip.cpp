#include "chip/chip.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace espmint {
namespace {

// Sources: each chip's Technical Reference Manual (eFuse controller, SPI controller, UART); Espressif's image format
// documentation for the chip ids; esptool documentation for the detection values.
constexpr std::array chips{
    ChipSpec{.id = ChipId::esp32,
             .name = "esp32",
             .title = "ESP32",
             .image_chip_id = 0,
             .magic = {0x00f0'1d83},
             .bootloader = {0x1000},
             .efuse_base = 0x3ff5'a000,
             .mac_low = 0x3ff5'a004,
             .mac_high = 0x3ff5'a008,
             .uart_clock_divider = 0x3ff4'0014,
             .spi = {0x3ff4'2000, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x80},
             .rom = {.status_bytes = 4,
                     .deflate_begin_has_encrypted = false,
                     .has_security_info = false,
                     .baud_needs_crystal = true},
             .stub_file = "esp32.json"},
    ChipSpec{.id = ChipId::esp32s3,
             .name = "esp32s3",
             .title = "ESP32-S3",
             .image_chip_id = 9,
             .magic = {0x0000'0009},
             .bootloader = {0x0},
             .efuse_base = 0x6000'7000,
             .mac_low = 0x6000'7044,
             .mac_high = 0x6000'7048,
             .uart_clock_divider = 0x6000'0014,
             .spi = {0x6000'2000, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x58},
             .rom = {.status_bytes = 4,
                     .deflate_begin_has_encrypted = true,
                     .has_security_info = true,
                     .baud_needs_crystal = false},
             .stub_file = "esp32s3.json"},
    ChipSpec{.id = ChipId::esp32c3,
             .name = "esp32c3",
             .title = "ESP32-C3",
             .image_chip_id = 5,
             .magic = {0x6921'506f, 0x1b31'506f, 0x4881'606f, 0x4361'606f},
             .bootloader = {0x0},
             .efuse_base = 0x6000'8800,
             .mac_low = 0x6000'8844,
             .mac_high = 0x6000'8848,
             .uart_clock_divider = 0x6000'0014,
             .spi = {0x6000'2000, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x58},
             .rom = {.status_bytes = 4,
                     .deflate_begin_has_encrypted = true,
                     .has_security_info = true,
                     .baud_needs_crystal = false},
             .stub_file = "esp32c3.json"},
};

template <typename Matches>
const ChipSpec* find_chip(Matches matches) {
  for (const ChipSpec& chip : chips)
    if (matches(chip)) return &chip;
  return nullptr;
}

}  // namespace

std::span<const ChipSpec> all_chips() { return chips; }

const ChipSpec& spec_of(ChipId id) {
  return *find_chip([id](const ChipSpec& chip) { return chip.id == id; });
}

const ChipSpec* chip_named(std::string_view name) {
  std::string wanted = lower(name);
  std::erase(wanted, '-');
  return find_chip([&wanted](const ChipSpec& chip) { return chip.name == wanted; });
}

const ChipSpec* chip_with_magic(std::uint32_t magic) {
  if (magic == 0) return nullptr;
  return find_chip([magic](const ChipSpec& chip) {
    for (std::uint32_t known : chip.magic)
      if (known == magic) return true;
    return false;
  });
}

const ChipSpec* chip_with_image_id(std::uint16_t image_chip_id) {
  return find_chip([image_chip_id](const ChipSpec& chip) { return chip.image_chip_id == image_chip_id; });
}

std::string to_string(Revision revision) { return fmt::format("{}.{}", revision.major, revision.minor); }

std::optional<std::uint32_t> flash_size_of(std::uint32_t jedec_id) {
  // JEDEC capacity code: log2 of the size for most makers; Adesto and some Winbond parts above 16 MB count from 0x20.
  std::uint32_t capacity = jedec_id >> 16 & 0xff;
  if (capacity >= 0x12 && capacity <= 0x19) return std::uint32_t{1} << capacity;
  switch (capacity) {
    case 0x1a: case 0x20: return 64u << 20;
    case 0x1b: case 0x21: return 128u << 20;
    case 0x1c: case 0x22: return 256u << 20;
    case 0x32: return 256u << 10;
    case 0x33: return 512u << 10;
    case 0x34: return 1u << 20;
    case 0x35: return 2u << 20;
    case 0x36: return 4u << 20;
    case 0x37: return 8u << 20;
    case 0x38: return 16u << 20;
    case 0x39: return 32u << 20;
    case 0x3a: return 64u << 20;
    default: return std::nullopt;
  }
}

}  // namespace espmint
