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
    EXPECT_TRUE(ids.insert(chip.image_chip_id).second);
    for (std::uint32_t magic : chip.magic) {
      EXPECT_TRUE(magic == 0 || magics.insert(magic).second) << chip.name;
    }
    EXPECT_EQ(chip.mac_high, chip.mac_low + 4);
  }
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
