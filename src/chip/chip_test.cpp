#include "chip/chip.hpp"

#include <gtest/gtest.h>

#include <set>

namespace espmint {
namespace {

TEST(Chip, IsFoundByNameInAnyUsualSpelling) {
  EXPECT_EQ(chip_named("ESP32-C3")->id, ChipId::esp32c3);
  EXPECT_EQ(chip_named("esp32c3")->id, ChipId::esp32c3);
  EXPECT_EQ(chip_named("esp32")->id, ChipId::esp32);
  EXPECT_EQ(chip_named("esp99"), nullptr);
}

TEST(Chip, IsToldByTheWordThatItsRomHolds) {
  EXPECT_EQ(chip_with_magic(0x00f01d83)->id, ChipId::esp32);
  EXPECT_EQ(chip_with_magic(0x1b31506f)->id, ChipId::esp32c3);
  EXPECT_EQ(chip_with_magic(0), nullptr) << "unused places of a row match nothing";
}

TEST(Chip, RowsDoNotContradictEachOther) {
  std::set<std::string_view> names;
  std::set<std::uint16_t> ids;
  std::set<std::uint32_t> magics;
  for (const ChipSpec& chip : all_chips()) {
    EXPECT_TRUE(names.insert(chip.name).second);
    EXPECT_TRUE(ids.insert(chip.image_chip_id).second) << chip.name;
    EXPECT_EQ(&spec_of(chip.id), &chip);
    EXPECT_EQ(chip_named(chip.title), &chip);
    for (std::uint32_t magic : chip.magic) {
      EXPECT_TRUE(magic == 0 || magics.insert(magic).second) << chip.name;
    }
    bool by_id = chip.rom.security_info_bytes == 20;
    EXPECT_TRUE(by_id || chip.magic[0] != 0) << chip.name << " cannot be told at all";
    EXPECT_EQ(chip_with_image_id(chip.image_chip_id), has_recipes(chip) ? &chip : nullptr) << chip.name;
    EXPECT_NE(chip.crystal.mhz[0], 0) << chip.name;
    bool tells_crystal = chip.rom.baud == BaudRule::believes_40_mhz || chip.rom.baud == BaudRule::believes_register;
    EXPECT_TRUE(!tells_crystal || chip.crystal.mhz[1] != 0)
        << chip.name << " has one crystal, so its ROM cannot be wrong";
    EXPECT_FALSE(chip.stubs[0].name.empty()) << chip.name;
    EXPECT_EQ(chip.watchdogs.config != 0, chip.console[0].usb_serial_jtag != 0)
        << chip.name << ": they outlive that reset only";
  }
}

TEST(Chip, KnowsElevenOfThem) {
  EXPECT_EQ(names_of_all_chips(),
            "esp32, esp32s3, esp32c3, esp32s2, esp32c6, esp32c2, esp32c5, esp32c61, esp32h2, esp32p4, esp8266");
}

TEST(Chip, OnlyTheS2AnswersItsSecurityInfoInTwelveBytes) {
  for (const ChipSpec& chip : all_chips()) EXPECT_EQ(chip.rom.security_info_bytes == 12, chip.id == ChipId::esp32s2);
}

TEST(Chip, HasItsStubByRevision) {
  EXPECT_EQ(stub_file(spec_of(ChipId::esp32p4), {1, 3}), "esp32p4-rev1.json");
  EXPECT_EQ(stub_file(spec_of(ChipId::esp32p4), {3, 0}), "esp32p4.json");
  EXPECT_EQ(stub_file(spec_of(ChipId::esp32c6), {3, 0}), "esp32c6.json");
}

TEST(Chip, KeepsTheNumberOfItsPortInAVariableThatMovedWithARevision) {
  const ChipSpec& c3 = spec_of(ChipId::esp32c3);
  EXPECT_EQ(console_variable(c3, {0, 4}).address, 0x3fcd'f07cu);
  EXPECT_EQ(console_variable(c3, {1, 1}).address, 0x3fcd'f078u);
  EXPECT_EQ(console_of(console_variable(c3, {0, 4}), 0xffff'ff03), Console::usb_serial_jtag)
      << "its lowest byte counts";
  const ChipSpec& s3 = spec_of(ChipId::esp32s3);
  EXPECT_EQ(console_of(console_variable(s3, {}), 3), Console::usb_otg);
  EXPECT_EQ(console_of(console_variable(s3, {}), 4), Console::usb_serial_jtag);
  EXPECT_EQ(console_of(console_variable(s3, {}), 0), Console::uart);
  EXPECT_EQ(console_variable(spec_of(ChipId::esp32), {}).address, 0u);
}

TEST(Crystal, IsToldByTheUartsDividerWhereItMayDiffer) {
  EXPECT_EQ(crystal_mhz(spec_of(ChipId::esp32), 347, Baud{115'200}), 40u);
  EXPECT_EQ(crystal_mhz(spec_of(ChipId::esp32c2), 226, Baud{115'200}), 26u);
  EXPECT_EQ(crystal_mhz(spec_of(ChipId::esp32c5), 417, Baud{115'200}), 48u);
  EXPECT_EQ(crystal_mhz(spec_of(ChipId::esp32c5), 0xf0'0000 + 347, Baud{115'200}), 40u)
      << "the divider's fraction stands above";
  EXPECT_EQ(crystal_mhz(spec_of(ChipId::esp8266), 451, Baud{115'200}), 26u) << "its UART has twice the crystal's clock";
  EXPECT_EQ(crystal_mhz(spec_of(ChipId::esp32), 694, Baud{115'200}), 0u) << "80 MHz are no crystal";
  EXPECT_EQ(crystal_mhz(spec_of(ChipId::esp32h2), 0, Baud{}), 32u) << "never another";
}

TEST(Flash, SizeComesFromTheCapacityByteOfTheJedecId) {
  EXPECT_EQ(flash_size_of(0x164020), 4u << 20);
  EXPECT_EQ(flash_size_of(0x1840c8), 16u << 20);
  EXPECT_EQ(flash_size_of(0x2040ef), 64u << 20);
  EXPECT_EQ(flash_size_of(0xffffff), std::nullopt);
  EXPECT_EQ(flash_size_of(0), std::nullopt);
}

}  // namespace
}  // namespace espmint
