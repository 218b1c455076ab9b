#include "chip/chip.hpp"

#include <cstdlib>
#include <limits>

#include "base/text.hpp"

namespace espmint {
namespace {

// Sources, chip by chip: docs/chips.md.

// ------------------------------------------------------------------------------------------------- eFuse fields

constexpr EfuseTable with_revision(EfuseTable table, EfuseField major, EfuseField minor, EfuseField major_high = {},
                                   EfuseField minor_high = {}) {
  table.major = major;
  table.major_high = major_high;
  table.minor = minor;
  table.minor_high = minor_high;
  return table;
}

/// As most chips since the C3 have it.
constexpr EfuseTable usual_efuse(std::uint32_t base) {
  EfuseTable table{};
  table.blocks = {base + 0x2c, base + 0x44, base + 0x5c};
  table.mac = {1, 0, 48};
  table.unique_id = {2, 0, 128};
  table.secure_boot = {0, 116, 1};
  table.flash_encryption = {0, 82, 3};
  table.jtag_soft = {0, 48, 3};
  table.jtag_hard = {0, 51, 1};
  table.download_disabled = {0, 128, 1};
  table.secure_download = {0, 133, 1};
  table.key0_purpose = {0, 88, 4};
  return table;
}

constexpr EfuseTable esp32_efuse = [] {
  EfuseTable table{};
  table.blocks = {0x3ff5'a000, 0x3ff5'a038, 0x3ff5'a058};
  table.mac = {0, 32, 48};
  table.revision_rule = RevisionRule::esp32;
  table.minor = {0, 184, 2};
  table.secure_boot = {0, 196, 2};  // version 1, version 2
  table.flash_encryption = {0, 20, 7};
  table.jtag_hard = {0, 198, 1};
  table.download_disabled = {0, 27, 1};
  return table;
}();

constexpr EfuseTable esp32s2_efuse = [] {
  EfuseTable table = with_revision(usual_efuse(0x3f41'a000), {1, 114, 2}, {1, 132, 3}, {}, {1, 116, 1});
  table.jtag_soft = {0, 49, 1};
  table.jtag_hard = {0, 50, 1};
  return table;
}();

/// S3 and C3: the minor number's fourth bit stands apart.
constexpr EfuseTable split_minor_efuse(std::uint32_t base) {
  return with_revision(usual_efuse(base), {1, 184, 2}, {1, 114, 3}, {}, {1, 183, 1});
}
constexpr EfuseTable esp32s3_efuse = [] {
  EfuseTable table = split_minor_efuse(0x6000'7000);
  table.revision_rule = RevisionRule::esp32s3;
  return table;
}();

constexpr EfuseTable esp32c2_efuse = [] {
  EfuseTable table{};
  table.blocks = {0x6000'882c, 0x6000'8834, 0x6000'8840};
  table.mac = {2, 0, 48};
  table.major = {2, 52, 2};
  table.minor = {2, 48, 4};
  table.secure_boot = {0, 53, 1};
  table.flash_encryption = {0, 39, 3};
  table.jtag_hard = {0, 36, 1};
  table.download_disabled = {0, 46, 1};
  table.secure_download = {0, 48, 1};
  return table;  // one key block, whose purpose no field tells
}();

constexpr EfuseTable esp32c5_efuse = [] {
  EfuseTable table = with_revision(usual_efuse(0x600b'4800), {1, 68, 2}, {1, 64, 4});
  table.secure_boot = {0, 121, 1};
  table.flash_encryption = {0, 80, 3};
  table.key0_purpose = {0, 86, 5};
  return table;
}();

constexpr EfuseTable esp32c61_efuse = [] {
  EfuseTable table = with_revision(usual_efuse(0x600b'4800), {1, 68, 2}, {1, 64, 4});
  table.secure_boot = {0, 90, 1};
  table.flash_encryption = {0, 55, 3};
  table.jtag_soft = {};
  table.jtag_hard = {0, 45, 1};
  table.download_disabled = {0, 96, 1};
  table.secure_download = {0, 100, 1};
  table.key0_purpose = {0, 64, 4};
  return table;
}();

constexpr EfuseTable esp8266_otp = [] {
  EfuseTable table{};
  table.blocks = {0x3ff0'0050, 0x3ff0'0050, 0x3ff0'0050};
  table.mac_rule = MacRule::esp8266;
  table.revision_rule = RevisionRule::none;
  return table;
}();

// --------------------------------------------------------------------------------------------------- flash power

// The P4's ROM 3.1 and 3.2 leave the flash without power where no eFuse sets its voltage. Source: esptool-js, ESP32-P4.
constexpr std::uint32_t lp_pad_group = 0x5011'010c, ldo = 0x5011'51b8, ldo_analog = 0x5011'51bc, pmu_date = 0x5011'53fc;
constexpr std::uint32_t current_limit = 1u << 27, ldo_tie_high = 1u << 7, ldo_target = 0xffu << 23, flash_force_on = 3;
constexpr EfuseField download_mode_xpd_on{0, 80, 1};
using std::chrono::milliseconds;
constexpr std::array p4_power_up{
    RegisterStep{lp_pad_group, 0xffff'ffff, 1, milliseconds{10}},
    RegisterStep{ldo_analog, 0, current_limit, milliseconds{0}},
    RegisterStep{ldo, 0, ldo_tie_high, milliseconds{0}},
    RegisterStep{pmu_date, 0, flash_force_on, milliseconds{1}},
    RegisterStep{ldo_analog, current_limit, 0, milliseconds{0}},
    RegisterStep{ldo, ldo_target, 0, milliseconds{0}},
    RegisterStep{ldo, 0, ldo_tie_high, milliseconds{0}},
    RegisterStep{ldo, ldo_tie_high, 0, milliseconds{2}},
};
// ROM 3.2 powers it itself where this eFuse says so, and fails at a second session unless it is let go.
constexpr std::array p4_let_go{RegisterStep{pmu_date, flash_force_on, 0, milliseconds{0}}};
constexpr std::array p4_flash_power{
    FlashPower{301, {}, false, p4_power_up},
    FlashPower{302, download_mode_xpd_on, false, p4_power_up},
    FlashPower{302, download_mode_xpd_on, true, p4_let_go},
};

// --------------------------------------------------------------------------------------------------- all the rest

constexpr RomTraits esp32_rom{
    .status_bytes = 4, .deflate_begin_has_encrypted = false, .security_info_bytes = 0, .baud = BaudRule::believes_rtc};
constexpr RomTraits esp8266_rom{.status_bytes = 2,
                                .deflate_begin_has_encrypted = false,
                                .security_info_bytes = 0,
                                .baud = BaudRule::fixed,
                                .has_flash_commands = false};

constexpr SpiRegisters spi_at(std::uint32_t base) { return {base, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x58}; }
constexpr std::uint32_t usual_uart_divider = 0x6000'0014;

/// Chips that have only USB-Serial-JTAG count it as port 3.
constexpr std::array<ConsoleVariable, 2> serial_jtag_at(std::uint32_t address) {
  return {ConsoleVariable{0, address, 0, 3}, ConsoleVariable{}};
}

// Source: ESP-IDF, rtc_cntl_reg.h and lp_wdt_reg.h of each chip; the keys: rwdt_ll.h, lpwdt_ll.h.
constexpr Watchdogs rtc_watchdogs(std::uint32_t config, std::uint32_t protect) {
  return {config, protect, protect + 4, protect + 8, 0x8f1d'312a, 1u << 31};
}
constexpr Watchdogs lp_watchdogs(std::uint32_t base, std::uint32_t protect = 0x18) {
  return {base, base + protect, base + protect + 4, base + protect + 8, watchdog_key, 1u << 18};
}

constexpr std::array chips{
    ChipSpec{.id = ChipId::esp32,
             .name = "esp32",
             .title = "ESP32",
             .image_chip_id = 0,
             .magic = {0x00f0'1d83},
             .bootloader = {0x1000},
             .efuse = esp32_efuse,
             .uart_clock_divider = 0x3ff4'0014,
             .crystal = {{26, 40}},
             .spi = {0x3ff4'2000, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x80},
             .rom = esp32_rom,
             .console = {},
             .flash_power = {},
             .watchdogs = {},
             .stubs = {StubFile{0, "esp32.json"}}},
    ChipSpec{.id = ChipId::esp32s3,
             .name = "esp32s3",
             .title = "ESP32-S3",
             .image_chip_id = 9,
             .magic = {0x0000'0009},
             .bootloader = {0x0},
             .efuse = esp32s3_efuse,
             .uart_clock_divider = usual_uart_divider,
             .crystal = {{40}},
             .spi = spi_at(0x6000'2000),
             .rom = {},
             .console = {ConsoleVariable{0, 0x3fce'f14c, 3, 4}},
             .flash_power = {},
             .watchdogs = rtc_watchdogs(0x6000'8098, 0x6000'80b0),
             .stubs = {StubFile{0, "esp32s3.json"}}},
    ChipSpec{.id = ChipId::esp32c3,
             .name = "esp32c3",
             .title = "ESP32-C3",
             .image_chip_id = 5,
             .magic = {0x6921'506f, 0x1b31'506f, 0x4881'606f, 0x4361'606f},
             .bootloader = {0x0},
             .efuse = split_minor_efuse(0x6000'8800),
             .uart_clock_divider = usual_uart_divider,
             .crystal = {{40}},
             .spi = spi_at(0x6000'2000),
             .rom = {},
             .console = {ConsoleVariable{0, 0x3fcd'f07c, 0, 3}, ConsoleVariable{101, 0x3fcd'f078, 0, 3}},
             .flash_power = {},
             .watchdogs = rtc_watchdogs(0x6000'8090, 0x6000'80a8),
             .stubs = {StubFile{0, "esp32c3.json"}}},
    ChipSpec{.id = ChipId::esp32s2,
             .name = "esp32s2",
             .title = "ESP32-S2",
             .image_chip_id = 2,
             .magic = {0x0000'07c6},
             .bootloader = {0x1000},
             .efuse = esp32s2_efuse,
             .uart_clock_divider = 0x3f40'0014,
             .crystal = {{40}},
             .spi = spi_at(0x3f40'2000),
             .rom = {.security_info_bytes = 12},
             .console = {ConsoleVariable{0, 0x3fff'fd14, 2, 0}},
             .flash_power = {},
             .watchdogs = {},
             .stubs = {StubFile{0, "esp32s2.json"}}},
    ChipSpec{.id = ChipId::esp32c6,
             .name = "esp32c6",
             .title = "ESP32-C6",
             .image_chip_id = 13,
             .magic = {0x2ce0'806f},
             .bootloader = {0x0},
             .efuse = with_revision(usual_efuse(0x600b'0800), {1, 118, 2}, {1, 114, 4}),
             .uart_clock_divider = usual_uart_divider,
             .crystal = {{40}},
             .spi = spi_at(0x6000'3000),
             .rom = {},
             .console = serial_jtag_at(0x4087'f580),
             .flash_power = {},
             .watchdogs = lp_watchdogs(0x600b'1c00),
             .stubs = {StubFile{0, "esp32c6.json"}}},
    ChipSpec{.id = ChipId::esp32c2,
             .name = "esp32c2",
             .title = "ESP32-C2",
             .image_chip_id = 12,
             .magic = {0x6f51'306f, 0x7c41'a06f, 0x0c21'e06f},
             .bootloader = {0x0},
             .efuse = esp32c2_efuse,
             .uart_clock_divider = usual_uart_divider,
             .crystal = {{26, 40}},
             .spi = spi_at(0x6000'2000),
             .rom = {.baud = BaudRule::believes_40_mhz},
             .console = {},
             .flash_power = {},
             .watchdogs = {},
             .stubs = {StubFile{0, "esp32c2.json"}}},
    ChipSpec{.id = ChipId::esp32c5,
             .name = "esp32c5",
             .title = "ESP32-C5",
             .image_chip_id = 23,
             .magic = {0x1101'406f, 0x63e1'406f, 0x5fd1'406f, 0x30e1'706f},
             .bootloader = {0x2000},
             .efuse = esp32c5_efuse,
             .uart_clock_divider = usual_uart_divider,
             .crystal = {{40, 48}},
             .spi = spi_at(0x6000'3000),
             .rom = {.baud = BaudRule::believes_register},
             .console = serial_jtag_at(0x4085'f514),
             .flash_power = {},
             .watchdogs = lp_watchdogs(0x600b'1c00),
             .stubs = {StubFile{0, "esp32c5.json"}}},
    ChipSpec{.id = ChipId::esp32c61,
             .name = "esp32c61",
             .title = "ESP32-C61",
             .image_chip_id = 20,
             .magic = {0x33f0'206f, 0x2421'606f, 0x7211'606f},
             .bootloader = {0x0},
             .efuse = esp32c61_efuse,
             .uart_clock_divider = usual_uart_divider,
             .crystal = {{40}},
             .spi = spi_at(0x6000'3000),
             .rom = {},
             .console = {ConsoleVariable{0, 0x4084'f5ec, 0, 3}, ConsoleVariable{3, 0x4084'f5e4, 0, 4}},
             .flash_power = {},
             .watchdogs = lp_watchdogs(0x600b'1c00),
             .stubs = {StubFile{0, "esp32c61.json"}}},
    ChipSpec{.id = ChipId::esp32h2,
             .name = "esp32h2",
             .title = "ESP32-H2",
             .image_chip_id = 16,
             .magic = {0xd7b7'3e80},
             .bootloader = {0x0},
             .efuse = with_revision(usual_efuse(0x600b'0800), {1, 117, 2}, {1, 114, 3}),
             .uart_clock_divider = usual_uart_divider,
             .crystal = {{32}},
             .spi = spi_at(0x6000'3000),
             .rom = {},
             .console = serial_jtag_at(0x4084'fefc),
             .flash_power = {},
             .watchdogs = lp_watchdogs(0x600b'1c00, 0x1c),
             .stubs = {StubFile{0, "esp32h2.json"}}},
    // 0x40001000 is no ROM here; what reads there (0, 0x0addbad0) tells nothing.
    ChipSpec{.id = ChipId::esp32p4,
             .name = "esp32p4",
             .title = "ESP32-P4",
             .image_chip_id = 18,
             .magic = {},
             .bootloader = {0x2000},
             .efuse = with_revision(usual_efuse(0x5012'd000), {1, 68, 2}, {1, 64, 4}, {1, 87, 1}),
             .uart_clock_divider = 0x500c'a014,
             .crystal = {{40}},
             .spi = spi_at(0x5008'd000),
             .rom = {},
             .console = {ConsoleVariable{0, 0x4ff3'fec8, 5, 6}, ConsoleVariable{300, 0x4ffb'fec8, 5, 6}},
             .flash_power = p4_flash_power,
             .watchdogs = lp_watchdogs(0x5011'6000),
             .stubs = {StubFile{0, "esp32p4-rev1.json"}, StubFile{300, "esp32p4.json"}}},
    ChipSpec{.id = ChipId::esp8266,
             .name = "esp8266",
             .title = "ESP8266",
             .image_chip_id = no_image_chip_id,
             .magic = {0xfff0'c101},
             .bootloader = {0x0},
             .efuse = esp8266_otp,
             .uart_clock_divider = usual_uart_divider,
             .crystal = {{26, 40}, 2},
             .spi = {0x6000'0200, 0x1c, 0x20, 0x24, 0, 0, 0x40},
             .rom = esp8266_rom,
             .console = {},
             .flash_power = {},
             .watchdogs = {},
             .stubs = {StubFile{0, "esp8266.json"}}},
};

template <typename Matches>
const ChipSpec* find_chip(Matches matches) {
  for (const ChipSpec& chip : chips)
    if (matches(chip)) return &chip;
  return nullptr;
}

/// The last row that a revision has reached; rows without content end the list.
template <typename Row, typename IsThere>
const Row& row_for(const std::array<Row, 2>& rows, Revision revision, IsThere is_there) {
  bool later = is_there(rows[1]) && revision.full() >= rows[1].from;
  return rows[later ? 1 : 0];
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
  if (image_chip_id == no_image_chip_id) return nullptr;
  return find_chip([image_chip_id](const ChipSpec& chip) { return chip.image_chip_id == image_chip_id; });
}

std::string names_of_all_chips() {
  std::string names;
  for (const ChipSpec& chip : chips) names += (names.empty() ? "" : ", ") + std::string{chip.name};
  return names;
}

std::string_view stub_file(const ChipSpec& chip, Revision revision) {
  return row_for(chip.stubs, revision, [](const StubFile& row) { return !row.name.empty(); }).name;
}

const ConsoleVariable& console_variable(const ChipSpec& chip, Revision revision) {
  return row_for(chip.console, revision, [](const ConsoleVariable& row) { return row.address != 0; });
}

Console console_of(const ConsoleVariable& variable, std::uint32_t value) {
  const std::uint32_t port = value & 0xff;
  if (variable.usb_otg != 0 && port == variable.usb_otg) return Console::usb_otg;
  if (variable.usb_serial_jtag != 0 && port == variable.usb_serial_jtag) return Console::usb_serial_jtag;
  return Console::uart;
}

std::string_view name_of(Console console) {
  switch (console) {
    case Console::uart:
      return "UART";
    case Console::usb_otg:
      return "USB-OTG";
    case Console::usb_serial_jtag:
      return "USB-Serial-JTAG";
    case Console::unknown:
      break;
  }
  return "unknown";
}

unsigned crystal_mhz(const ChipSpec& chip, std::uint32_t uart_divider, Baud baud) {
  const CrystalRule& rule = chip.crystal;
  if (rule.mhz[1] == 0) return rule.mhz[0];
  constexpr std::uint32_t whole_part = 0xf'ffff;
  // The divider was measured by the ROM: some percent off are usual.
  constexpr double tolerance = 0.12;
  const double measured = double(uart_divider & whole_part) * baud.per_second / 1e6 / rule.uart_clocks_per_cycle;
  unsigned nearest = 0;
  double distance = std::numeric_limits<double>::max();
  for (std::uint8_t mhz : rule.mhz) {
    double away = std::abs(measured - mhz);
    if (away < distance) {
      nearest = mhz;
      distance = away;
    }
  }
  return distance <= tolerance * nearest ? nearest : 0;
}

std::optional<std::uint32_t> flash_size_of(std::uint32_t jedec_id) {
  // JEDEC capacity code: log2 of the size for most makers; Adesto and some Winbond parts above 16 MB count from 0x20.
  std::uint32_t capacity = jedec_id >> 16 & 0xff;
  if (capacity >= 0x12 && capacity <= 0x19) return std::uint32_t{1} << capacity;
  switch (capacity) {
    case 0x1a:
    case 0x20:
      return 64u << 20;
    case 0x1b:
    case 0x21:
      return 128u << 20;
    case 0x1c:
    case 0x22:
      return 256u << 20;
    case 0x32:
      return 256u << 10;
    case 0x33:
      return 512u << 10;
    case 0x34:
      return 1u << 20;
    case 0x35:
      return 2u << 20;
    case 0x36:
      return 4u << 20;
    case 0x37:
      return 8u << 20;
    case 0x38:
      return 16u << 20;
    case 0x39:
      return 32u << 20;
    case 0x3a:
      return 64u << 20;
    default:
      return std::nullopt;
  }
}

}  // namespace espmint
