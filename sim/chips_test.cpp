// Every chip that is played: what it says of itself when asked by raw frames, and that its firmware boots.
#include "sim/chips.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/base64.hpp"
#include "sim/boot.hpp"
#include "sim/desk_for_tests.hpp"
#include "sim/digest.hpp"
#include "sim/efuse.hpp"
#include "sim/make_firmware.hpp"

namespace espmint::sim {
namespace {

const Mac test_mac{{0x24, 0x0a, 0xc4, 0x12, 0x34, 0x56}};

/// Facts of each chip as a host relies on them, written once more and by hand. Sources: esptool documentation
/// (bootloader offsets, chips with GET_SECURITY_INFO), ESP-IDF esp_chip_model / image chip ids, soc headers.
struct Expected {
  friend void PrintTo(const Expected& of, std::ostream* out) { *out << of.chip; }
  std::string_view chip;
  unsigned image_chip_id;
  std::uint32_t bootloader;
  std::size_t security_bytes;
  std::uint32_t mac_low;       // register
  std::uint32_t version_word;  // register that holds the minor revision
  unsigned minor_shift, minor_mask, minor;
  std::uint32_t divider_at_115200;
};
constexpr std::array expected{
    Expected{"esp8266", 0xffff, 0x0, 0, 0, 0, 0, 0, 0, 451},
    Expected{"esp32", 0, 0x1000, 0, 0x3ff5'a004, 0x3ff5'a014, 24, 3, 0, 0x15a},
    Expected{"esp32s2", 2, 0x1000, 12, 0x3f41'a044, 0x3f41'a054, 4, 7, 0, 347 | 3 << 20},
    Expected{"esp32s3", 9, 0x0, 20, 0x6000'7044, 0x6000'7050, 18, 7, 2, 347 | 3 << 20},
    Expected{"esp32c3", 5, 0x0, 20, 0x6000'8844, 0x6000'8850, 18, 7, 4, 347 | 3 << 20},
    Expected{"esp32c2", 12, 0x0, 20, 0x6000'8840, 0x6000'8844, 16, 15, 2, 225 | 11 << 20},
    Expected{"esp32c6", 13, 0x0, 20, 0x600b'0844, 0x600b'0850, 18, 15, 1, 347 | 3 << 20},
    Expected{"esp32h2", 16, 0x0, 20, 0x600b'0844, 0x600b'0850, 18, 7, 2, 277 | 12 << 20},
    Expected{"esp32c5", 23, 0x2000, 20, 0x600b'4844, 0x600b'484c, 0, 15, 0, 416 | 10 << 20},
    Expected{"esp32c61", 20, 0x0, 20, 0x600b'4844, 0x600b'484c, 0, 15, 0, 347 | 3 << 20},
    Expected{"esp32p4", 18, 0x2000, 20, 0x5012'd044, 0x5012'd04c, 0, 15, 3, 347 | 3 << 20},
};

std::uint32_t read_register(Desk& desk, std::uint32_t address) {
  Bytes reply = desk.ask(request_frame(op::read_reg, words({address})));
  return reply.size() >= 8 ? get_u32(reply, 4) : 0xdead'beef;
}

class EveryChip : public ::testing::TestWithParam<Expected> {
 protected:
  const Expected& e = GetParam();
  BoardOptions options(Security security = {}) const {
    return {.chip = std::string{e.chip}, .mac = test_mac, .security = security};
  }
};

TEST_P(EveryChip, IsInTheTableOnceAndAsExpected) {
  const ChipRow* row = chip_row_named(e.chip);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->image_chip_id, e.image_chip_id);
  EXPECT_EQ(row->bootloader_offset, e.bootloader);
  EXPECT_TRUE(can_have_revision(*row, row->revision));
}

TEST_P(EveryChip, AnswersItsRomsCommandsWithItsRomsStatus) {
  Desk desk{options()};
  desk.connect();
  EXPECT_EQ(read_register(desk, 0x4000'1000), Chip{*chip_row_named(e.chip)}.rom().magic);
  Bytes reply = desk.ask(request_frame(op::flash_begin, words({0, 0, 1024, 0})));
  EXPECT_EQ(reply.size(), 8u + (e.chip == "esp8266" ? 2 : 4));
  EXPECT_EQ(reply[8], 0);
  // The ESP8266's ROM knows neither a digest nor another baud; a stub's command is known to none.
  for (std::uint8_t opcode : {op::flash_md5, op::change_baudrate, op::spi_attach, op::defl_begin}) {
    if (e.chip != "esp8266") continue;
    reply = desk.ask(request_frame(opcode, words({0, 0, 0, 0})));
    EXPECT_EQ(reply[8], 1) << int{opcode};
    EXPECT_EQ(reply[9], 5) << int{opcode};
  }
  reply = desk.ask(request_frame(op::erase_flash, {}));
  EXPECT_EQ(reply[8], 1);
}

TEST_P(EveryChip, TellsItsSecurityInfoInItsLength) {
  Desk desk{options()};
  desk.connect();
  Bytes reply = desk.ask(request_frame(op::security_info, {}));
  if (e.security_bytes == 0) {
    EXPECT_EQ(reply[8], 1);
    return;
  }
  ASSERT_EQ(reply.size(), 8 + e.security_bytes + 4);
  EXPECT_EQ(get_u32(reply, 8), 0u);
  if (e.security_bytes == 20) {
    EXPECT_EQ(get_u32(reply, 8 + 12), e.image_chip_id);
  }
}

TEST_P(EveryChip, HoldsMacRevisionAndUniqueIdInItsEfuses) {
  Desk desk{options()};
  desk.connect();
  if (e.chip == "esp8266") {
    EXPECT_EQ(read_register(desk, 0x3ff0'0050) >> 24, 0x56u);
    EXPECT_EQ(read_register(desk, 0x3ff0'0054) & 0xffff, 0x1234u);
    EXPECT_EQ(read_register(desk, 0x3ff0'005c), 0x24'0ac4u);
    return;
  }
  EXPECT_EQ(read_register(desk, e.mac_low), 0xc412'3456u);
  std::uint32_t high = read_register(desk, e.mac_low + 4);
  EXPECT_EQ(high & 0xffff, 0x240au);
  bool has_802154 = e.chip == "esp32c6" || e.chip == "esp32h2" || e.chip == "esp32c5";
  EXPECT_EQ(high >> 16 == 0xfffe, has_802154);
  EXPECT_EQ(read_register(desk, e.version_word) >> e.minor_shift & e.minor_mask, e.minor);
  // Nobody overwrites what is burnt.
  desk.ask(request_frame(op::write_reg, words({e.mac_low, 0, 0xffff'ffff, 0})));
  EXPECT_EQ(read_register(desk, e.mac_low), 0xc412'3456u);
}

TEST_P(EveryChip, HoldsTheDividerOfTheBaudItHeard) {
  Desk desk{options()};
  desk.connect();
  EXPECT_EQ(read_register(desk, chip_row_named(e.chip)->uart_divider), e.divider_at_115200);
}

TEST_P(EveryChip, ReachesItsFlashThroughItsController) {
  Desk desk{options(), 16 * 1024 * 1024};
  desk.connect();
  desk.ask(request_frame(e.chip == "esp8266" ? op::flash_begin : op::spi_attach, words({0, 0, 0, 0})));
  const SpiController& spi = chip_row_named(e.chip)->spi;
  auto write = [&](std::uint32_t at, std::uint32_t value) {
    desk.ask(request_frame(op::write_reg, words({spi.base + at, value, 0xffff'ffff, 0})));
  };
  if (spi.miso_bits != 0)
    write(spi.miso_bits, 23);
  else
    write(spi.user1, 23 << 8);
  write(spi.user, 1u << 31 | 1u << 28);
  write(spi.user2, 7u << 28 | 0x9f);
  write(spi.data, 0);
  write(spi.command, 1u << 18);
  EXPECT_EQ(read_register(desk, spi.base + spi.command), 0u);
  EXPECT_EQ(read_register(desk, spi.base + spi.data), 0x18'40c8u);
}

TEST_P(EveryChip, BootsItsFirmwareAndSaysSoInItsOwnWords) {
  const ChipRow& row = *chip_row_named(e.chip);
  Firmware made = *make_firmware({.chip = std::string{e.chip}, .app_bytes = 64 * 1024});
  EXPECT_EQ(made.bootloader_at, e.bootloader);
  Desk desk{options()};
  auto put = [&desk](std::uint32_t at, const Bytes& bytes) {
    std::copy(bytes.begin(), bytes.end(), desk.flash.begin() + at);
  };
  put(made.bootloader_at, made.bootloader);
  put(made.table_at, made.partition_table);
  put(made.app_at, made.app);
  desk.board.set_host_baud(desk.now, Chip{row}.boot_baud());
  desk.reset(false);
  std::string text{as_text(desk.hear(milliseconds{100}))};
  EXPECT_TRUE(text.starts_with(Chip{row}.rom().banner)) << text;
  EXPECT_NE(text.find(row.from_flash), std::string::npos) << text;
  EXPECT_EQ(desk.board.state(), "app") << text;
}

TEST_P(EveryChip, WaitsForDownloadAndSaysSo) {
  const ChipRow& row = *chip_row_named(e.chip);
  Desk desk{options()};
  desk.board.set_host_baud(desk.now, Chip{row}.boot_baud());
  desk.reset(true);
  std::string text{as_text(desk.hear(milliseconds{100}))};
  EXPECT_NE(text.find(row.download), std::string::npos) << text;
  EXPECT_EQ(desk.board.state(), "rom");
}

TEST_P(EveryChip, InSecureDownloadModeWritesFlashAndLittleElse) {
  if (!possible_security(*chip_row_named(e.chip)).secure_download) GTEST_SKIP() << "has no such mode";
  Desk desk{options({.secure_boot = true, .flash_encryption = true, .secure_download = true})};
  desk.connect();
  Bytes info = desk.ask(request_frame(op::security_info, {}));
  EXPECT_EQ(get_u32(info, 8), 5u);
  EXPECT_EQ(info[12], 1);
  if (e.chip != "esp32c2") {
    EXPECT_EQ(info[13], 9);
    EXPECT_EQ(info[14], 4);
  }
  for (std::uint8_t opcode : {op::read_reg, op::write_reg, op::mem_begin, op::mem_end, op::flash_md5, op::defl_begin,
                              op::read_flash_slow, op::erase_flash}) {
    Bytes reply = desk.ask(request_frame(opcode, words({0x4000'1000, 0, 0, 0})));
    EXPECT_EQ(reply[8], 1) << int{opcode};
    EXPECT_EQ(reply[9], 5) << int{opcode};
    EXPECT_EQ(get_u32(reply, 4), 0x2012'0707u) << int{opcode};
  }
  // Until it is told its size, the flash ends at 2 MB.
  auto begin_at = [&](std::uint32_t at) {
    return desk.ask(request_frame(op::flash_begin, words({4096, 4, 1024, at, 0})))[8];
  };
  EXPECT_EQ(begin_at(0x10'0000), 0);
  EXPECT_EQ(begin_at(0x20'0000), 1);
  desk.ask(request_frame(op::spi_set_params, words({0, 4 << 20, 65536, 4096, 256, 0xffff})));
  EXPECT_EQ(begin_at(0x20'0000), 0);
  EXPECT_EQ(desk.ask(block_frame(op::flash_data, 0, Bytes(1024, 0x5a)))[8], 0);
  EXPECT_EQ(desk.flash[0x20'0000], 0x5a);
}

TEST_P(EveryChip, WithSecurityBurntBootsNothingInClearOrUnsigned) {
  Security possible = possible_security(*chip_row_named(e.chip));
  if (!possible.secure_boot) GTEST_SKIP() << "has none";
  Firmware made = *make_firmware({.chip = std::string{e.chip}, .app_bytes = 64 * 1024, .bootloader_bytes = 8 * 1024});
  Bytes flash(4 * 1024 * 1024, 0xff);
  auto put = [&flash](std::uint32_t at, const Bytes& bytes) {
    std::copy(bytes.begin(), bytes.end(), flash.begin() + at);
  };
  put(made.bootloader_at, made.bootloader);
  put(made.table_at, made.partition_table);
  put(made.app_at, made.app);
  Chip chip{*chip_row_named(e.chip)};
  chip.security = {.flash_encryption = true};
  EXPECT_FALSE(boot(chip, flash).running);
  EXPECT_NE(boot(chip, flash).rom_text.find("invalid header"), std::string::npos);
  chip.security = {.secure_boot = true};
  EXPECT_FALSE(boot(chip, flash).running);
  std::size_t block = (made.bootloader_at + made.bootloader.size() + 0xfff) & ~std::size_t{0xfff};
  flash[block] = 0xe7;
  flash[block + 1] = 0x02;
  EXPECT_TRUE(boot(chip, flash).running);
}

INSTANTIATE_TEST_SUITE_P(Chips, EveryChip, ::testing::ValuesIn(expected),
                         [](const auto& about) { return std::string{about.param.chip}; });

TEST(Chips, AreAllExpected) {
  std::set<std::string_view> names;
  for (const ChipRow& row : all_chip_rows()) EXPECT_TRUE(names.insert(row.name).second) << row.name;
  EXPECT_EQ(names.size(), expected.size());
}

TEST(Chips, HaveTheRomOfTheirRevision) {
  Chip p4 = *chip_row_named("esp32p4");
  EXPECT_EQ(p4.rom().eco, 2u);
  p4.revision = 301;
  EXPECT_EQ(p4.rom().eco, 5u);
  EXPECT_TRUE(can_have_revision(p4.row(), 301));
  EXPECT_TRUE(can_have_revision(p4.row(), 500)) << "a third bit of the major revision lies apart";
  EXPECT_FALSE(can_have_revision(p4.row(), 900));
  auto registers = burnt_registers(p4, test_mac, 16 << 20, 1);
  EXPECT_EQ(registers[0x5012'd04c] & 0xff, 0x31u);
  EXPECT_FALSE(can_have_revision(*chip_row_named("esp32"), 400));
  EXPECT_FALSE(can_have_revision(*chip_row_named("esp8266"), 100));
}

TEST(Chips, HaveAUniqueIdPerBoardWhereTheyHaveOne) {
  for (const ChipRow& row : all_chip_rows()) {
    auto one = burnt_registers(row, test_mac, 4 << 20, 1), same = burnt_registers(row, test_mac, 4 << 20, 1),
         other = burnt_registers(row, test_mac, 4 << 20, 2);
    EXPECT_EQ(one, same) << row.name;
    bool has_none = row.name == "esp8266" || row.name == "esp32" || row.name == "esp32c2";
    EXPECT_EQ(one == other, has_none) << row.name;
  }
}

/// Each file that the station can upload; those for chips that are not played are new to the board.
TEST(KnownStubs, AreThoseOfEsptoolJs) {
  namespace fs = std::filesystem;
  fs::path folder = fs::path{ESPMINT_SOURCE_DIR} / "stub/node_modules/esptool-js/lib/targets/stub_flasher";
  if (!fs::exists(folder)) GTEST_SKIP() << "no stubs at " << folder;
  std::size_t known = 0;
  for (const ChipRow& row : all_chip_rows()) {
    for (std::string_view variant : {"", "-rev1"}) {
      fs::path file = folder / fmt::format("{}{}.json", row.name, variant);
      if (!fs::exists(file)) continue;
      std::ifstream in{file};
      std::optional<Bytes> text = from_base64(nlohmann::json::parse(in)["text"].get<std::string>());
      ASSERT_TRUE(text) << file;
      const StubRow* stub = known_stub(to_hex(digest(EVP_sha256(), *text)));
      ASSERT_TRUE(stub) << file;
      EXPECT_TRUE(stub->name.starts_with(row.name)) << file;
      EXPECT_TRUE(stub->skips_blank_erases) << file;
      ++known;
    }
  }
  EXPECT_EQ(known, all_chip_rows().size() + 1) << "two for the ESP32-P4";
}

TEST(Esp8266, ErasesMoreThanItIsAskedUpToTheNextBlock) {
  Desk desk{{.chip = "esp8266"}};
  std::fill(desk.flash.begin(), desk.flash.end(), std::uint8_t{0});
  desk.connect();
  auto erased = [&](std::uint32_t sectors, std::uint32_t at) {
    std::fill(desk.flash.begin(), desk.flash.end(), std::uint8_t{0});
    desk.ask(request_frame(op::flash_begin, words({sectors * 4096, 1, 1024, at})));
    std::size_t blank = 0;
    while (at + blank < desk.flash.size() && desk.flash[at + blank] == 0xff) ++blank;
    return blank / 4096;
  };
  EXPECT_EQ(erased(1, 0x1'0000), 2u);
  EXPECT_EQ(erased(20, 0x1'0000), 36u) << "sixteen sectors counted twice";
  EXPECT_EQ(erased(4, 0x1'e000), 6u) << "two sectors to the next block";
}

TEST(Esp32C2, WithASlowCrystalSpeaksSlowlyAndTakesBaudsForAFastOne) {
  Desk desk{{.chip = "esp32c2"}};
  desk.reset(true);
  std::string noise{as_text(desk.hear(milliseconds{100}))};
  EXPECT_EQ(noise.find("waiting for download"), std::string::npos) << "74880 is noise at 115200";
  desk.talk(sync_frame());
  // 26/40 of what is asked for.
  EXPECT_EQ(desk.ask(request_frame(op::change_baudrate, words({460'800u * 40 / 26, 0})))[8], 0);
  desk.board.set_host_baud(desk.now, 460'800);
  EXPECT_EQ(read_register(desk, 0x4000'1000), 0x6f51'306fu);
  Desk fast{{.chip = "esp32c2", .crystal_mhz = 40}};
  fast.reset(true);
  std::string text{as_text(fast.hear(milliseconds{100}))};
  EXPECT_NE(text.find("waiting for download"), std::string::npos) << text;
}

TEST(LargeFlash, IsReachedByTheStubsOfSomeChipsAndByNoRom) {
  constexpr std::uint32_t behind = 0x180'0000;
  for (auto [name, reaches] : {std::pair{"esp32s3", true}, {"esp32p4", true}, {"esp32", false}}) {
    Desk desk{{.chip = name}, 32 * 1024 * 1024};
    desk.connect();
    desk.ask(request_frame(op::spi_attach, words({0, 0})));
    desk.ask(request_frame(op::flash_begin, words({4096, 4, 1024, behind, 0})));
    desk.ask(block_frame(op::flash_data, 0, Bytes(1024, 0x5a)));
    EXPECT_EQ(desk.flash[behind], 0xff) << name;
    EXPECT_EQ(desk.flash[behind & 0xff'ffff], 0x5a) << name << ": the address lost its fourth byte";
    desk.run_stub();
    desk.ask(request_frame(op::flash_begin, words({4096, 1, 4096, behind, 0})));
    desk.ask(block_frame(op::flash_data, 0, Bytes(4096, 0x3c)));
    desk.ask(request_frame(op::flash_md5, words({0, 16, 0, 0})));
    EXPECT_EQ(desk.flash[reaches ? behind : behind & 0xff'ffff], 0x3c) << name;
  }
}

TEST(OwnUsb, IsNamedByTheRomsVariable) {
  for (const ChipRow& row : all_chip_rows()) {
    if (row.own_usb == 0) continue;
    Desk desk{{.chip = std::string{row.name}, .native_usb = {.away = milliseconds{1}}}};
    Registers by_usb{row, test_mac, NorFlash{desk.flash}, 1, true},
        by_uart{row, test_mac, NorFlash{desk.flash}, 1, false};
    EXPECT_EQ(by_usb.read(Chip{row}.rom().uart_device), row.own_usb) << row.name;
    EXPECT_EQ(by_uart.read(Chip{row}.rom().uart_device), 0u) << row.name;
  }
}

}  // namespace
}  // namespace espmint::sim
