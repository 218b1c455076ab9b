// Fields from example words, chip by chip. The words are put together here by hand from register maps (offset, bit),
// not from the blocks and bits of the table.
#include "chip/efuse.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "chip/chip.hpp"

namespace espmint {
namespace {

struct Example {
  const char* chip;
  std::uint32_t mac_low;  // register
  RegisterWords words;    // besides the MAC
  Revision revision;
  bool secure_boot, flash_encryption, jtag_soft, jtag_hard, no_download, secure_download;
  std::vector<std::uint8_t> purposes;
};

const std::vector<std::uint8_t> one_to_six{1, 2, 3, 4, 5, 6}, none_used{0, 0, 0, 0, 0, 0};

// Registers: ESP-IDF, soc/<chip>/efuse_reg.h.
const Example examples[] = {
    {"esp32",
     0x3ff5'a004,
     {{0x3ff5'a000, 1u << 20},
      {0x3ff5'a00c, 1u << 15},
      {0x3ff5'a014, 1u << 20 | 1u << 24},
      {0x3ff5'a018, 1u << 5 | 1u << 6},
      {0x3ff6'607c, 1u << 31}},
     {3, 1},
     true,
     true,
     false,
     true,
     false,
     false,
     {}},
    {"esp32s2",
     0x3f41'a044,
     {{0x3f41'a030, 1u << 17},
      {0x3f41'a034, 1u << 18 | 1u << 24 | 2u << 28},
      {0x3f41'a038, 1u << 20 | 3 | 4u << 4 | 5u << 8 | 6u << 12},
      {0x3f41'a03c, 1u << 5},
      {0x3f41'a050, 1u << 18 | 1u << 20},
      {0x3f41'a054, 2u << 4}},
     {1, 10},
     true,
     true,
     true,
     false,
     false,
     true,
     one_to_six},
    {"esp32s3",
     0x6000'7044,
     {{0x6000'7030, 1u << 19},
      {0x6000'7034, 3u << 18},
      {0x6000'703c, 1},
      {0x6000'7050, 1u << 18},
      {0x6000'7058, 1u << 23 | 1u << 24}},
     {1, 9},
     false,
     false,
     false,
     true,
     true,
     false,
     none_used},
    {"esp32c3",
     0x6000'8844,
     {{0x6000'8830, 1u << 16},
      {0x6000'8834, 7u << 18 | 1u << 24 | 2u << 28},
      {0x6000'8838, 3 | 4u << 4 | 5u << 8 | 6u << 12},
      {0x6000'8850, 4u << 18}},
     {0, 4},
     false,
     true,
     true,
     false,
     false,
     false,
     one_to_six},
    {"esp32c6",
     0x600b'0844,
     {{0x600b'0838, 1u << 20}, {0x600b'0850, 9u << 18 | 1u << 22}},
     {1, 9},
     true,
     false,
     false,
     false,
     false,
     false,
     none_used},
    {"esp32h2",
     0x600b'0844,
     {{0x600b'0830, 3u << 16}, {0x600b'0834, 1u << 19}, {0x600b'0850, 2u << 18 | 1u << 21}},
     {1, 2},
     false,
     true,
     false,
     false,
     false,
     false,
     none_used},
    {"esp32c2",
     0x6000'8840,
     {{0x6000'8830, 1u << 4 | 1u << 7 | 1u << 14 | 1u << 16 | 1u << 21}, {0x6000'8844, 3u << 16 | 1u << 20}},
     {1, 3},
     true,
     true,
     false,
     true,
     true,
     true,
     {}},
    {"esp32c5",
     0x600b'4844,
     {{0x600b'4834, 1u << 16 | 1u << 22 | 2u << 27},
      {0x600b'4838, 1u << 25 | 3 | 4u << 5 | 5u << 10 | 6u << 15},
      {0x600b'484c, 2 | 1u << 4}},
     {1, 2},
     true,
     true,
     false,
     false,
     false,
     false,
     one_to_six},
    {"esp32c61",
     0x600b'4844,
     {{0x600b'4830, 1u << 13 | 1u << 23},
      {0x600b'4834, 1 | 2u << 4 | 3u << 8 | 4u << 12 | 5u << 16 | 6u << 20 | 1u << 26},
      {0x600b'4838, 1 | 1u << 4},
      {0x600b'484c, 1 | 1u << 4}},
     {1, 1},
     true,
     true,
     false,
     true,
     true,
     true,
     one_to_six},
    {"esp32p4",
     0x5012'd044,
     {{0x5012'd034, 1u << 18 | 1u << 24 | 2u << 28},
      {0x5012'd038, 1u << 20 | 3 | 4u << 4 | 5u << 8 | 6u << 12},
      {0x5012'd04c, 1 | 1u << 4 | 1u << 23}},
     {5, 1},
     true,
     true,
     false,
     false,
     false,
     false,
     one_to_six},
};

TEST(Efuse, FieldsAreReadOfEachChipsOwnWords) {
  for (const Example& example : examples) {
    SCOPED_TRACE(example.chip);
    const ChipSpec& chip = *chip_named(example.chip);
    for (const auto& [address, word] : example.words) {
      auto asked = efuse_registers(chip);
      EXPECT_NE(std::find(asked.begin(), asked.end(), address), asked.end())
          << std::hex << address << " is not asked for";
    }
    EfuseFacts facts = decode_efuses(chip, example.words);
    EXPECT_EQ(to_string(facts.revision), to_string(example.revision));
    EXPECT_EQ(facts.security.secure_boot, example.secure_boot);
    EXPECT_EQ(facts.security.flash_encryption, example.flash_encryption);
    EXPECT_EQ(facts.security.jtag_soft, example.jtag_soft);
    EXPECT_EQ(facts.security.jtag_hard, example.jtag_hard);
    EXPECT_EQ(facts.security.download_disabled, example.no_download);
    EXPECT_EQ(facts.security.secure_download, example.secure_download);
    EXPECT_EQ(facts.security.key_purposes, example.purposes);
    EXPECT_EQ(facts.unique_id, "") << "blank";
  }
}

TEST(Efuse, BlankWordsForbidNothing) {
  for (const ChipSpec& chip : all_chips()) {
    EfuseFacts facts = decode_efuses(chip, {});
    EXPECT_FALSE(facts.security.locked() || facts.security.jtag_disabled() || facts.security.download_disabled)
        << chip.name;
    EXPECT_FALSE(decode_mac(chip, {})) << chip.name;
    EXPECT_EQ(to_string(facts.revision), "0.0") << chip.name;
  }
}

TEST(Efuse, MacStandsHighestOctetFirst) {
  for (const Example& example : examples) {
    RegisterWords words{{example.mac_low, 0xc412'3456}, {example.mac_low + 4, 0xabcd'240a}};
    auto mac = decode_mac(*chip_named(example.chip), words);
    ASSERT_TRUE(mac) << example.chip;
    EXPECT_EQ(to_string(*mac), "240ac4123456") << example.chip << ": what stands above the 48 bits is not of it";
    words[example.mac_low + 4] = 0x0100;
    EXPECT_FALSE(decode_mac(*chip_named(example.chip), words)) << "a group's address";
  }
}

TEST(Efuse, MacOfTheEsp8266LiesAcrossItsOtp) {
  const ChipSpec& chip = *chip_named("esp8266");
  EXPECT_EQ(to_string(*decode_mac(chip, {{0x3ff0'0050, 0x5600'0000}, {0x3ff0'0054, 0x0000'1234}})), "18fe34123456");
  EXPECT_EQ(to_string(*decode_mac(chip, {{0x3ff0'0050, 0x5600'0000}, {0x3ff0'0054, 0x0001'1234}})), "acd074123456");
  EXPECT_EQ(to_string(*decode_mac(
                chip, {{0x3ff0'0050, 0x5600'0000}, {0x3ff0'0054, 0x0202'1234}, {0x3ff0'005c, 0x005c'cf7f}})),
            "5ccf7f123456");
  EXPECT_FALSE(decode_mac(chip, {{0x3ff0'0050, 0x5600'0000}, {0x3ff0'0054, 0x0002'1234}})) << "a maker nobody knows";
  EXPECT_EQ(mac_registers(chip), (std::vector<std::uint32_t>{0x3ff0'0050, 0x3ff0'0054, 0x3ff0'005c}));
}

TEST(Efuse, UniqueIdIsBlockTwosFirstSixteenBytes) {
  const ChipSpec& c6 = *chip_named("esp32c6");
  EXPECT_EQ(decode_efuses(c6, {{0x600b'085c, 0x0403'0201}, {0x600b'0868, 0x100f'0e0d}}).unique_id,
            "010203040000000000000000"
            "0d0e0f10");
  for (const char* without : {"esp32", "esp32c2", "esp8266"})
    EXPECT_FALSE(chip_named(without)->efuse.unique_id.there());
}

TEST(Efuse, TheFirstS3HasOtherThingsWhereItsRevisionStands) {
  const ChipSpec& s3 = *chip_named("esp32s3");
  // Block version 1.1 and no minor number: the major number is none.
  RegisterWords words{{0x6000'7050, 1u << 24}, {0x6000'7058, 3u << 24}, {0x6000'706c, 1}};
  EXPECT_EQ(to_string(decode_efuses(s3, words).revision), "0.0");
  words[0x6000'706c] = 0;
  EXPECT_EQ(to_string(decode_efuses(s3, words).revision), "3.0");
}

TEST(Efuse, TheEsp32HeedsItsDownloadBitFromRevision3On) {
  const ChipSpec& esp32 = *chip_named("esp32");
  RegisterWords words{{0x3ff5'a000, 1u << 27}, {0x3ff5'a00c, 1u << 15}};
  EXPECT_FALSE(decode_efuses(esp32, words).security.download_disabled);
  words[0x3ff5'a014] = 1u << 20;
  words[0x3ff6'607c] = 1u << 31;
  EXPECT_TRUE(decode_efuses(esp32, words).security.download_disabled);
}

TEST(KeyPurposes, AreNotTheSameOnEveryChip) {
  EXPECT_EQ(key_purpose_words(*chip_named("esp32c3"), 9), "secure boot digest 0");
  EXPECT_EQ(key_purpose_words(*chip_named("esp32h2"), 1), "ECDSA private key");
  EXPECT_EQ(key_purpose_words(*chip_named("esp32c3"), 1), "purpose 1") << "reserved";
  EXPECT_EQ(key_purpose_words(*chip_named("esp32s2"), 2), "flash encryption, AES-256, first half");
  EXPECT_EQ(key_purpose_words(*chip_named("esp32c6"), 2), "purpose 2");
  EXPECT_EQ(key_purpose_words(*chip_named("esp32c61"), 8), "purpose 8") << "it has no HMAC";
}

}  // namespace
}  // namespace espmint
