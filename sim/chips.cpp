#include "sim/chips.hpp"

#include <array>

namespace espmint::sim {
namespace {

// Read from the genuine mask ROM of revision 3: eFuse block 0 (chip version, CK8M_FREQ 0x50), APB_CTRL date (its top
// bit is part of the revision), TIMG0 RTC calibration (1280 cycles), UART date.
constexpr std::array esp32_registers{
    RegisterValue{0x4000'1000, 0x00f0'1d83}, RegisterValue{0x3ff5'a00c, 0x0000'8000},
    RegisterValue{0x3ff5'a010, 0x0000'0050}, RegisterValue{0x3ff5'a014, 0x0010'0000},
    RegisterValue{0x3ff6'607c, 0x9604'2000}, RegisterValue{0x3ff5'f06c, 0x0002'8000},
    RegisterValue{0x3ff4'0078, 0x1512'2500},
};
constexpr std::array esp32c3_registers{
    RegisterValue{0x4000'1000, 0x6921'506f},
    RegisterValue{0x6000'2018, 0x8000'00c0},
    RegisterValue{0x6000'2020, 0x7000'0000},
};
constexpr std::array esp32s3_registers{
    RegisterValue{0x4000'1000, 0x0000'0009},
    RegisterValue{0x6000'2018, 0x8000'00c0},
    RegisterValue{0x6000'2020, 0x7000'0000},
};

// Sources: Technical Reference Manual of each chip (memory map, SPI, eFuse, UART); boot text as the ROMs print it.
constexpr std::array chip_rows{
    ChipRow{.name = "esp32",
            .image_chip_id = 0,
            .revision = 300,
            .bootloader_offset = 0x1000,
            .mac_low = 0x3ff5'a004,
            .mac_high = 0x3ff5'a008,
            .mac_has_crc = true,
            .has_security_info = false,
            .baud_by_rtc = true,
            .uart_divider = 0x3ff4'0014,
            .strap = 0x3ff4'4038,
            .spi = {0x3ff4'2000, 0x00, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x80},
            .user_after_attach = 0x5000'0000,
            .user2_after_attach = 0x4000'0000,
            .stub_raises_user_command = true,
            .registers = esp32_registers,
            .banner = "ets Jul 29 2019 12:21:46\r\n\r\n",
            .power_on = "0x1 (POWERON_RESET)",
            .watchdog = "0x10 (RTCWDT_RTC_RESET)",
            .software = "0xc (SW_CPU_RESET)",
            .download = "0xf (UART_BOOT(UART0))",
            .from_flash = "0x12 (SPI_FAST_FLASH_BOOT)",
            .waiting = "",
            .map_data_start = 0x3f40'0000,
            .map_data_end = 0x3f80'0000,
            .map_code_start = 0x400d'0000,
            .map_code_end = 0x4040'0000,
            .ram_start = 0x3ff8'0000,
            .ram_end = 0x400c'2000},
    ChipRow{.name = "esp32c3",
            .image_chip_id = 5,
            .revision = 0,
            .bootloader_offset = 0x0,
            .mac_low = 0x6000'8844,
            .mac_high = 0x6000'8848,
            .mac_has_crc = false,
            .has_security_info = true,
            .baud_by_rtc = false,
            .uart_divider = 0x6000'0014,
            .strap = 0x6000'4038,
            .spi = {0x6000'2000, 0x00, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x58},
            .user_after_attach = 0x8000'00c0,
            .user2_after_attach = 0x7000'0000,
            .stub_raises_user_command = false,
            .registers = esp32c3_registers,
            .banner = "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n",
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (TG0WDT_SYS_RST)",
            .software = "0x3 (RTC_SW_SYS_RST)",
            .download = "0x4 (DOWNLOAD(USB/UART0/1))",
            .from_flash = "0xc (SPI_FAST_FLASH_BOOT)",
            .waiting = "waiting for download\r\n",
            .map_data_start = 0x3c00'0000,
            .map_data_end = 0x3c80'0000,
            .map_code_start = 0x4200'0000,
            .map_code_end = 0x4280'0000,
            .ram_start = 0x3fc8'0000,
            .ram_end = 0x403e'0000},
    ChipRow{.name = "esp32s3",
            .image_chip_id = 9,
            .revision = 0,
            .bootloader_offset = 0x0,
            .mac_low = 0x6000'7044,
            .mac_high = 0x6000'7048,
            .mac_has_crc = false,
            .has_security_info = true,
            .baud_by_rtc = false,
            .uart_divider = 0x6000'0014,
            .strap = 0x6000'4038,
            .spi = {0x6000'2000, 0x00, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x58},
            .user_after_attach = 0x8000'00c0,
            .user2_after_attach = 0x7000'0000,
            .stub_raises_user_command = false,
            .registers = esp32s3_registers,
            .banner = "ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021\r\n",
            .power_on = "0x1 (POWERON)",
            .watchdog = "0x7 (TG0WDT_SYS_RST)",
            .software = "0x3 (RTC_SW_SYS_RST)",
            .download = "0x0 (DOWNLOAD(USB/UART0))",
            .from_flash = "0x8 (SPI_FAST_FLASH_BOOT)",
            .waiting = "waiting for download\r\n",
            .map_data_start = 0x3c00'0000,
            .map_data_end = 0x3e00'0000,
            .map_code_start = 0x4200'0000,
            .map_code_end = 0x4400'0000,
            .ram_start = 0x3fc8'8000,
            .ram_end = 0x403e'0000},
};

// SHA-256 of the text of published stubs. Since 1.1.0 they leave blank flash unerased and raise the clock.
constexpr std::array stubs{
    //      SHA-256                                                              name  skips blank erases, raises clock
    StubRow{"fc5fb606754d152b9b9e4f20c72fdad83d1d99b1b139744bc53cc160b1edd570",
            "esp32 1.2.2", true, true},
    StubRow{"c06cc1a34a02d8f8755692cf89843b388978d19a255b0d9c26b10a0f41a90ffb",
            "esp32c3 1.2.2", true, true},
    StubRow{"c37a7d12d52633fd629fbed13f3a7418216af368d8e80f17853ce6de29741374",
            "esp32s3 1.2.2", true, true},
    StubRow{"59c217e201a5910c15a0f202f2852c8ea44b7406bbf227e2cd6e88fd6a2a75af",
            "esp32 1.0.0, of esptool 5.3.1", false, false},
    StubRow{"3197a9e051fd53da0fe3e39d9aded139e5386f50edfc8af998382b065a173c35",
            "esp32c3 1.0.0, of esptool 5.3.1", false, false},
    StubRow{"d0f85e42389e8f5fba03e47444d9fab43e59c2dcd6649059fb22ab69c54f5cdd",
            "esp32s3 1.0.0, of esptool 5.3.1", false, false},
    StubRow{"c3d3ddfa74e6b41710863f07a2d0496bb6f758a2011bf1d9cdd5b280479db6b9",
            "esp32, legacy, of esptool 4.8.1", false, false},
    StubRow{"9b8c66b2975c18c28464869050541b847e683fe0b5345b3163176ee55c7372f7",
            "esp32c3, legacy, of esptool 4.8.1", false, false},
    StubRow{"14ab7c0beb0520624f7c14f4547f9c42657e651f50c19106cb510477751c8e29",
            "esp32s3, legacy, of esptool 4.8.1", false, false},
};

}  // namespace

std::span<const ChipRow> all_chip_rows() { return chip_rows; }

const ChipRow* chip_row_named(std::string_view name) {
  for (const ChipRow& row : chip_rows)
    if (row.name == name) return &row;
  return nullptr;
}

const StubRow* known_stub(std::string_view sha256) {
  for (const StubRow& row : stubs)
    if (row.sha256 == sha256) return &row;
  return nullptr;
}

}  // namespace espmint::sim
