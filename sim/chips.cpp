#include "sim/chips.hpp"

#include <array>

namespace espmint::sim {
namespace {

// Read from the genuine mask ROM of revision 3: eFuse block 0 (CK8M_FREQ 0x50), TIMG0 RTC calibration (1280 cycles),
// UART date.
constexpr std::array esp32_registers{
    RegisterValue{0x3ff5'a010, 0x0000'0050},
    RegisterValue{0x3ff6'607c, 0x1604'2000},
    RegisterValue{0x3ff5'f06c, 0x0002'8000},
    RegisterValue{0x3ff4'0078, 0x1512'2500},
};

// Source of banners: logs in ESP-IDF's and ESP-AT's documentation. Of magic words: the chip tables of
// esp-serial-flasher and esptool-js; which revision of an ESP32-C2, -C5 or -C61 has which is a guess. Of port
// variables: `UartDev` in ESP-IDF's ROM symbols, six words on; for the ESP32-C3 and later, where those files lack it,
// the address that esptool reads.
constexpr std::array esp8266_roms{RomRow{0, "\r\n ets Jan  8 2013,", 0xfff0'c101}};
constexpr std::array esp32_roms{RomRow{0, "ets Jun  8 2016 00:22:57\r\n\r\n", 0x00f0'1d83},
                                RomRow{300, "ets Jul 29 2019 12:21:46\r\n\r\n", 0x00f0'1d83}};
constexpr std::array esp32s2_roms{
    RomRow{0, "ESP-ROM:esp32s2-rc4-20191025\r\nBuild:Oct 25 2019\r\n", 0x0000'07c6, 0, 0x3fff'fd14}};
constexpr std::array esp32s3_roms{
    RomRow{0, "ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021\r\n", 0x0000'0009, 0, 0x3fce'f14c}};
constexpr std::array esp32c3_roms{
    RomRow{0, "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n", 0x1b31'506f, 3, 0x3fcd'f07c},
    RomRow{100, "ESP-ROM:esp32c3-eco6-20230321\r\nBuild:Mar 21 2023\r\n", 0x4881'606f, 6, 0x3fcd'f07c}};
constexpr std::array esp32c2_roms{
    RomRow{0, "ESP-ROM:esp8684-api2-20220127\r\nBuild:Jan 27 2022\r\n", 0x6f51'306f, 1},
    RomRow{200, "ESP-ROM:esp32c2-eco4-20240515\r\nBuild:May 15 2024\r\n", 0x7c41'a06f, 4}};
constexpr std::array esp32c6_roms{
    RomRow{0, "ESP-ROM:esp32c6-20220919\r\nBuild:Sep 19 2022\r\n", 0x2ce0'806f, 0, 0x4087'f580}};
constexpr std::array esp32h2_roms{
    RomRow{0, "ESP-ROM:esp32h2-20221101\r\nBuild:Nov  1 2022\r\n", 0xd7b7'3e80, 0, 0x4084'fefc}};
constexpr std::array esp32c5_roms{
    RomRow{0, "ESP-ROM:esp32c5-20240329\r\nBuild:Mar 29 2024\r\n", 0x1101'406f, 0, 0x4085'f514},
    RomRow{100, "ESP-ROM:esp32c5-eco2-20250121\r\nBuild:Jan 21 2025\r\n", 0x5fd1'406f, 2, 0x4085'f514},
    RomRow{102, "ESP-ROM:esp32c5-eco3-20250704\r\nBuild:Jul  4 2025\r\n", 0x30e1'706f, 3, 0x4085'f514}};
constexpr std::array esp32c61_roms{
    RomRow{0, "ESP-ROM:esp32c61-eco3-20250228\r\nBuild:Feb 28 2025\r\n", 0x7211'606f, 3, 0x4084'f5e4}};
constexpr std::array esp32p4_roms{
    RomRow{0, "ESP-ROM:esp32p4-20230811\r\nBuild:Aug 11 2023\r\n", 0x0000'0000, 0, 0x4ff3'fec8},
    RomRow{100, "ESP-ROM:esp32p4-eco2-20240710\r\nBuild:Jul 10 2024\r\n", 0x0add'bad0, 2, 0x4ff3'fec8},
    RomRow{300, "ESP-ROM:esp32p4-eco5-20250430\r\nBuild:Apr 30 2025\r\n", 0x0add'bad0, 5, 0x4ffb'fec8}};

/// Since the ESP32-S2 every flash controller has its registers at the same places.
constexpr SpiController spi_at(std::uint32_t base) { return {base, 0x00, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x58}; }

constexpr std::string_view old_flash_setup =
    "configsip: 0, SPIWP:0xee\r\nclk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\r\n";

// Sources: Technical Reference Manuals and ESP-IDF's soc headers (registers, memory maps); boot text as the ROMs print
// it, from ESP-IDF's documentation and from logs in its issues. The download text of the ESP32-C61 is taken from the
// ESP32-C5.
constexpr std::array chip_rows{
    ChipRow{.name = "esp32",
            .image_chip_id = 0,
            .revision = 300,
            .roms = esp32_roms,
            .bootloader_offset = 0x1000,
            .crystal_mhz = 40,
            .baud_by_rtc = true,
            .security_bytes = 0,
            .uart_divider = 0x3ff4'0014,
            .strap = 0x3ff4'4038,
            .download_strap = 0x0f,
            .flash_strap = 0x12,
            .spi = {0x3ff4'2000, 0x00, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x80},
            .user_after_attach = 0x5000'0000,
            .user2_after_attach = 0x4000'0000,
            .stub_raises_user_command = true,
            .registers = esp32_registers,
            .power_on = "0x1 (POWERON_RESET)",
            .watchdog = "0x10 (RTCWDT_RTC_RESET)",
            .software = "0xc (SW_CPU_RESET)",
            .download = "0xf (UART_BOOT(UART0))",
            .from_flash = "0x12 (SPI_FAST_FLASH_BOOT)",
            .waiting = "",
            .flash_setup = old_flash_setup,
            .load_format = "load:0x{:08x},len:{}\r\n",
            .map_data = {0x3f40'0000, 0x3f80'0000},
            .map_code = {0x400d'0000, 0x4040'0000},
            .ram = {0x3ff8'0000, 0x400c'2000}},
    ChipRow{.name = "esp32c3",
            .image_chip_id = 5,
            .revision = 4,
            .roms = esp32c3_roms,
            .bootloader_offset = 0x0,
            .crystal_mhz = 40,
            .own_usb = 3,
            .uart_divider = 0x6000'0014,
            .strap = 0x6000'4038,
            .download_strap = 0x4,
            .flash_strap = 0xc,
            .spi = spi_at(0x6000'2000),
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (TG0WDT_SYS_RST)",
            .software = "0x3 (RTC_SW_SYS_RST)",
            .download = "0x4 (DOWNLOAD(USB/UART0/1))",
            .from_flash = "0xc (SPI_FAST_FLASH_BOOT)",
            .map_data = {0x3c00'0000, 0x3c80'0000},
            .map_code = {0x4200'0000, 0x4280'0000},
            .ram = {0x3fc8'0000, 0x403e'0000}},
    ChipRow{.name = "esp32s3",
            .image_chip_id = 9,
            .revision = 2,
            .roms = esp32s3_roms,
            .bootloader_offset = 0x0,
            .crystal_mhz = 40,
            .own_usb = 4,
            .wide_flash = true,
            .uart_divider = 0x6000'0014,
            .strap = 0x6000'4038,
            .download_strap = 0x0,
            .flash_strap = 0x8,
            .spi = spi_at(0x6000'2000),
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (TG0WDT_SYS_RST)",
            .software = "0x3 (RTC_SW_SYS_RST)",
            .download = "0x0 (DOWNLOAD(USB/UART0))",
            .from_flash = "0x8 (SPI_FAST_FLASH_BOOT)",
            .map_data = {0x3c00'0000, 0x3e00'0000},
            .map_code = {0x4200'0000, 0x4400'0000},
            .ram = {0x3fc8'8000, 0x403e'0000}},
    ChipRow{.name = "esp32s2",
            .image_chip_id = 2,
            .revision = 100,
            .roms = esp32s2_roms,
            .bootloader_offset = 0x1000,
            .crystal_mhz = 40,
            .security_bytes = 12,
            .own_usb = 2,
            .uart_divider = 0x3f40'0014,
            .strap = 0x3f40'4038,
            .download_strap = 0x0,
            .flash_strap = 0x8,
            .spi = spi_at(0x3f40'2000),
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x10 (RTCWDT_RTC_RST)",
            .software = "0x3 (RTC_SW_SYS_RST)",
            .download = "0x0 (DOWNLOAD(USB/UART0/1/SPI))",
            .from_flash = "0x8 (SPI_FAST_FLASH_BOOT)",
            .map_data = {0x3f00'0000, 0x3ff8'0000},
            .map_code = {0x4008'0000, 0x4080'0000},
            .ram = {0x3ffb'0000, 0x4007'2000}},
    ChipRow{.name = "esp32c6",
            .image_chip_id = 13,
            .revision = 1,
            .roms = esp32c6_roms,
            .bootloader_offset = 0x0,
            .crystal_mhz = 40,
            .own_usb = 3,
            .uart_divider = 0x6000'0014,
            .strap = 0x6009'1038,
            .download_strap = 0x4,
            .flash_strap = 0xc,
            .spi = spi_at(0x6000'3000),
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (TG0_WDT_HPSYS)",
            .software = "0xc (SW_CPU)",
            .own_usb_reset = "0x15 (USB_UART_HPSYS)",
            .download = "0x4 (DOWNLOAD(USB/UART0/SDIO_FEI_FEO))",
            .from_flash = "0xc (SPI_FAST_FLASH_BOOT)",
            .map_data = {0x4200'0000, 0x4300'0000},
            .map_code = {0x4200'0000, 0x4300'0000},
            .ram = {0x4080'0000, 0x4088'0000},
            .other_ram = {0x5000'0000, 0x5000'4000}},
    ChipRow{.name = "esp32c2",
            .image_chip_id = 12,
            .revision = 102,
            .roms = esp32c2_roms,
            .bootloader_offset = 0x0,
            .crystal_mhz = 26,
            .believed_mhz = 40,
            .uart_divider = 0x6000'0014,
            .strap = 0x6000'4038,
            .download_strap = 0x4,
            .flash_strap = 0xc,
            .spi = spi_at(0x6000'2000),
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (TG0WDT_SYS_RST)",
            .software = "0x3 (RTC_SW_SYS_RST)",
            .download = "0x4 (DOWNLOAD(UART0))",
            .from_flash = "0xc (SPI_FAST_FLASH_BOOT)",
            .map_data = {0x3c00'0000, 0x3c40'0000},
            .map_code = {0x4200'0000, 0x4240'0000},
            .ram = {0x3fca'0000, 0x403c'0000}},
    ChipRow{.name = "esp32c5",
            .image_chip_id = 23,
            .revision = 100,
            .roms = esp32c5_roms,
            .bootloader_offset = 0x2000,
            .crystal_mhz = 48,
            .crystal_register = 0x6009'6110,  // PCR_SYSCLK_CONF
            .own_usb = 3,
            .wide_flash = true,
            .uart_divider = 0x6000'0014,
            .strap = 0x6009'1000,
            .download_strap = 0x08,
            .flash_strap = 0x18,
            .spi = spi_at(0x6000'3000),
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (TG0_WDT_HPSYS)",
            .software = "0xc (SW_CPU)",
            .own_usb_reset = "0x15 (USB_UART_HPSYS)",
            .download = "0x8 (DOWNLOAD(UART0/USB))",
            .from_flash = "0x18 (SPI_FAST_FLASH_BOOT)",
            .flash_setup = "SPI ",
            .map_data = {0x4200'0000, 0x4400'0000},
            .map_code = {0x4200'0000, 0x4400'0000},
            .ram = {0x4080'0000, 0x4086'0000},
            .other_ram = {0x5000'0000, 0x5000'4000}},
    ChipRow{.name = "esp32c61",
            .image_chip_id = 20,
            .revision = 100,
            .roms = esp32c61_roms,
            .bootloader_offset = 0x0,
            .crystal_mhz = 40,
            .own_usb = 4,  // of the ROM above; ESP-IDF, esp_rom_caps.h. Samples before it had 3, at 0x4084f5ec
            .wide_flash = true,
            .uart_divider = 0x6000'0014,
            .strap = 0x6009'1000,
            .download_strap = 0x4,
            .flash_strap = 0xc,
            .spi = spi_at(0x6000'3000),
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (TG0_WDT_HPSYS)",
            .software = "0xc (SW_CPU)",
            .own_usb_reset = "0x15 (USB_UART_HPSYS)",
            .download = "0x4 (DOWNLOAD(UART0/USB))",
            .from_flash = "0xc (SPI_FAST_FLASH_BOOT)",
            .flash_setup = "SPI ",
            .map_data = {0x4200'0000, 0x4400'0000},
            .map_code = {0x4200'0000, 0x4400'0000},
            .ram = {0x4080'0000, 0x4085'0000},
            .other_ram = {}},
    ChipRow{.name = "esp32h2",
            .image_chip_id = 16,
            .revision = 2,
            .roms = esp32h2_roms,
            .bootloader_offset = 0x0,
            .crystal_mhz = 32,
            .own_usb = 3,
            .uart_divider = 0x6000'0014,
            .strap = 0x6009'1038,
            .download_strap = 0x4,
            .flash_strap = 0xc,
            .spi = spi_at(0x6000'3000),
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (TG0_WDT_HPSYS)",
            .software = "0xc (SW_CPU)",
            .own_usb_reset = "0x15 (USB_UART_HPSYS)",
            .download = "0x4 (DOWNLOAD(USB/UART0))",
            .from_flash = "0xc (SPI_FAST_FLASH_BOOT)",
            .map_data = {0x4200'0000, 0x4300'0000},
            .map_code = {0x4200'0000, 0x4300'0000},
            .ram = {0x4080'0000, 0x4085'0000},
            .other_ram = {0x5000'0000, 0x5000'1000}},
    ChipRow{.name = "esp32p4",
            .image_chip_id = 18,
            .revision = 103,
            .roms = esp32p4_roms,
            .bootloader_offset = 0x2000,
            .crystal_mhz = 40,
            .last_purpose = 13,
            .own_usb = 6,
            .wide_flash = true,
            .uart_divider = 0x500c'a014,
            .strap = 0x500e'0038,
            .download_strap = 0x07,
            .flash_strap = 0x0f,
            .spi = spi_at(0x5008'd000),
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (HP_SYS_HP_WDT_RESET)",
            .software = "0x3 (SW_SYS_RESET)",
            .own_usb_reset = "0x17 (CHIP_USB_UART_RESET)",
            .download = "0x107 (DOWNLOAD(USB/UART0/SPI))",
            .from_flash = "0x10f (SPI_FAST_FLASH_BOOT)",
            .flash_setup = "SPI ",
            .map_data = {0x4000'0000, 0x4400'0000},
            .map_code = {0x4000'0000, 0x4400'0000},
            .ram = {0x4ff0'0000, 0x4ffc'0000},
            .other_ram = {0x5010'8000, 0x5011'0000},
            .tight_ram = {0x3010'0000, 0x3010'2000}},
    ChipRow{.name = "esp8266",
            .image_chip_id = 0xffff,  // its images name none
            .revision = 0,
            .roms = esp8266_roms,
            .bootloader_offset = 0x0,
            .crystal_mhz = 26,
            .bare_rom = true,
            .security_bytes = 0,
            .uart_divider = 0x6000'0014,
            .spi = {0x6000'0200, 0x00, 0x1c, 0x20, 0x24, 0, 0, 0x40},
            .user_after_attach = 0x8000'0044,
            .user2_after_attach = 0x7000'0000,
            .power_on = "2",
            .watchdog = "4",
            .software = "2",
            .download = "(1,6)",
            .from_flash = "(3,6)",
            .waiting = "",
            .flash_setup = "",
            .load_format = "load 0x{:08x}, len {}, room 16 \r\ntail 0\r\n",
            .map_data = {0x4020'0000, 0x4030'0000},
            .map_code = {0x4020'0000, 0x4030'0000},
            .ram = {0x3ffe'8000, 0x4010'c000},
            .other_ram = {}},
};

}  // namespace

const RomRow& Chip::rom() const {
  const RomRow* found = &kind->roms.front();
  for (const RomRow& row : kind->roms)
    if (revision >= row.since) found = &row;
  return *found;
}

std::uint32_t Chip::boot_baud() const {
  bool counts_on_40 = kind->believed_mhz != 0 || kind->bare_rom;
  return counts_on_40 ? static_cast<std::uint32_t>(std::uint64_t{115'200} * crystal_hz() / 40'000'000) : 115'200;
}

std::span<const ChipRow> all_chip_rows() { return chip_rows; }

const ChipRow* chip_row_named(std::string_view name) {
  for (const ChipRow& row : chip_rows)
    if (row.name == name) return &row;
  return nullptr;
}

}  // namespace espmint::sim
