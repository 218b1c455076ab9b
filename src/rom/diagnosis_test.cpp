// From what was heard to one sentence with one thing to do. The logs are as the ROMs and ESP-IDF print them.
#include "rom/diagnosis.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.hpp"
#include "rom/boot_log.hpp"

namespace espmint {
namespace {

constexpr std::string_view esp32_banner = "ets Jul 29 2019 12:21:46\r\n\r\n";
constexpr std::string_view esp32c3_banner = "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n";
constexpr std::string_view esp32s3_banner = "ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021\r\n";

Heard heard(std::string_view text) {
  Heard out;
  out.bytes = to_bytes(text);
  out.count = text.size();
  out.resets = 4;
  return out;
}
std::string joined(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (std::string_view part : parts) out += part;
  return out;
}
bool says(const Fault& fault, std::string_view words) { return describe(fault).find(words) != std::string::npos; }

TEST(BootLog, KnowsCauseAndStrapsOfEachStart) {
  BootLog log = parse_boot_log(
      joined({esp32_banner, "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\nconfigsip: 0, SPIWP:0xee\r\n",
              esp32_banner, "rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\n"}));
  EXPECT_EQ(log.chip, "esp32");
  ASSERT_EQ(log.starts.size(), 2u);
  EXPECT_EQ(log.starts[0].straps, 0x13u);
  EXPECT_EQ(log.starts[0].reset_cause, 1u);
  EXPECT_FALSE(log.starts[0].into_download);
  EXPECT_TRUE(log.starts[1].into_download);
}

TEST(BootLog, NamesThePinsOfEachFamily) {
  EXPECT_EQ(straps_in_words("esp32", 0x33),
            "GPIO0 high, GPIO2 low, GPIO12 (MTDI) high, GPIO15 (MTDO) high, GPIO4 low, GPIO5 high");
  EXPECT_EQ(straps_in_words("esp32s3", 0x08), "GPIO0 high, GPIO46 low");
  EXPECT_EQ(straps_in_words("esp32s2", 0x18), "GPIO0 high, GPIO46 low, GPIO45 high");
  EXPECT_EQ(straps_in_words("esp32c3", 0x0d), "GPIO9 high, GPIO8 high, GPIO2 high");
  EXPECT_EQ(straps_in_words("esp32c5", 0x18), "GPIO28 high, GPIO27 high");
  EXPECT_EQ(straps_in_words("esp32h2", 0x04), "GPIO9 low, GPIO8 high");
  EXPECT_EQ(straps_in_words("esp99", 0x04), "");
  EXPECT_EQ(parse_boot_log("ESP-ROM:esp8684-api2-20220127\r\n").chip, "esp32c2")
      << "the C2 says the name of its package";
  EXPECT_EQ(reset_cause_in_words(0x0f), "brown-out");
}

TEST(BootLog, ReadsARealBoardsLog) {
  const std::filesystem::path file =
      std::filesystem::path{ESPMINT_SOURCE_DIR} / "../shared/vectors/rom/esp32-boot-hello-world.txt";
  std::ifstream in(file, std::ios::binary);
  if (!in) GTEST_SKIP() << "no vectors here";
  std::stringstream text;
  text << in.rdbuf();
  BootLog log = parse_boot_log(text.str());
  EXPECT_EQ(log.chip, "esp32");
  ASSERT_GE(log.starts.size(), 1u);
  EXPECT_EQ(log.starts[0].reset_cause, 0xcu);
  EXPECT_EQ(log.starts[0].straps, 0x12u);
  EXPECT_EQ(diagnose(heard(text.str())).code, Code::board_not_in_download_mode);
}

TEST(Diagnosis, OfNothingIsSilence) {
  Fault fault = diagnose(heard(""));
  EXPECT_EQ(fault.code, Code::board_silent);
  EXPECT_TRUE(says(fault, "not a single byte came back"));
}

TEST(Diagnosis, NamesTheBootPinOfTheChip) {
  Fault esp32 = diagnose(heard(joined({esp32_banner, "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"})));
  EXPECT_EQ(esp32.code, Code::board_not_in_download_mode);
  EXPECT_TRUE(says(esp32, "GPIO0 high")) << describe(esp32);
  EXPECT_TRUE(says(esp32, "BOOT pin (GPIO0) is not wired to DTR")) << describe(esp32);
  Fault c3 = diagnose(heard(joined({esp32c3_banner, "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n"})));
  EXPECT_TRUE(says(c3, "BOOT pin (GPIO9)")) << describe(c3);
}

TEST(Diagnosis, BlamesTheSecondStrapWhereTheBootPinIsRight) {
  Fault c3 = diagnose(heard(joined({esp32c3_banner, "rst:0x1 (POWERON),boot:0x0 (USB_BOOT)\r\n"})));
  EXPECT_EQ(c3.code, Code::board_not_in_download_mode);
  EXPECT_TRUE(says(c3, "GPIO8 must be high at reset")) << describe(c3);
  Fault s3 = diagnose(heard(joined({esp32s3_banner, "rst:0x1 (POWERON),boot:0x4 (INVALID)\r\n"})));
  EXPECT_TRUE(says(s3, "GPIO46 must be low or open at reset")) << describe(s3);
}

TEST(Diagnosis, TellsABlankFlashAndACrashFromAWorkingFirmware) {
  Fault blank = diagnose(
      heard(joined({esp32_banner,
                    "rst:0x10 (RTCWDT_RTC_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\ninvalid header: 0xffffffff\r\n"})));
  EXPECT_EQ(blank.code, Code::board_not_in_download_mode);
  EXPECT_TRUE(says(blank, "blank")) << describe(blank);
  Fault crash = diagnose(
      heard(joined({esp32_banner, "rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n",
                    "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r\n"})));
  EXPECT_EQ(crash.code, Code::board_not_in_download_mode);
  EXPECT_TRUE(says(crash, "crashes")) << describe(crash);
  EXPECT_TRUE(says(crash, "LoadProhibited")) << describe(crash);
}

TEST(Diagnosis, OfABoardThatWaitsIsItsDeafness) {
  Fault fault = diagnose(heard(
      joined({esp32c3_banner, "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1))\r\nwaiting for download\r\n"})));
  EXPECT_EQ(fault.code, Code::board_deaf);
  EXPECT_TRUE(says(fault, "TX wire")) << describe(fault);
}

TEST(Diagnosis, QuotesWhatItHeardWhereTheLineOfTheStartIsDamaged) {  // found by its fuzz target
  Fault fault = diagnose(
      heard("ESP-ROM:esp32c3-api1-20210207\r\nrst:0x1 (POWERON),bo\xd4ot:0x4 (DOWN\r\nwaiting for download\r\n"));
  EXPECT_EQ(fault.code, Code::board_deaf);
  EXPECT_EQ(fault.seen, "waiting for download");
}

TEST(Diagnosis, SeesTheSupplyBreakDown) {
  Fault said = diagnose(heard(
      joined({esp32_banner,
              "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n\r\nBrownout detector was triggered\r\n\r\n",
              esp32_banner, "rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"})));
  EXPECT_EQ(said.code, Code::brown_out);
  EXPECT_EQ(
      diagnose(heard(joined({esp32s3_banner, "rst:0xf (RTCWDT_BROWN_OUT_RST),boot:0x8 (SPI_FAST_FLASH_BOOT)\r\n"})))
          .code,
      Code::brown_out);
  // Without a word of it: more power-on resets than we have made.
  std::string dying;
  for (int i = 0; i < 12; ++i)
    dying += joined({esp32_banner, "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"});
  EXPECT_EQ(diagnose(heard(dying)).code, Code::brown_out);
}

TEST(Diagnosis, TellsADeadFlashFromAWrongVoltage) {
  Fault dead = diagnose(heard(joined(
      {esp32_banner,
       "rst:0x10 (RTCWDT_RTC_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\nflash read err, 1000\r\nets_main.c 371 \r\n"})));
  EXPECT_EQ(dead.code, Code::flash_unknown);
  Fault strap = diagnose(heard(joined(
      {esp32_banner,
       "rst:0x10 (RTCWDT_RTC_RESET),boot:0x33 (SPI_FAST_FLASH_BOOT)\r\nflash read err, 1000\r\nets_main.c 371 \r\n"})));
  EXPECT_EQ(strap.code, Code::voltage_strap);
  EXPECT_TRUE(says(strap, "GPIO12")) << describe(strap);
  // Bit 5 is another pin on newer chips.
  Fault s3 = diagnose(heard(joined(
      {esp32s3_banner, "rst:0x10 (RTCWDT_RTC_RST),boot:0x2b (SPI_FAST_FLASH_BOOT)\r\nflash read err, 1000\r\n"})));
  EXPECT_EQ(s3.code, Code::flash_unknown);
}

TEST(Diagnosis, KnowsWhoElseTalks) {
  EXPECT_EQ(diagnose(heard("$GNRMC,120000.00,V,,,,,,,211126,,,N*6D\r\n")).code, Code::foreign_device);
  EXPECT_TRUE(says(diagnose(heard("\r\nRDY\r\n+CPIN: READY\r\n")), "a modem is on this port"));
  EXPECT_TRUE(says(diagnose(heard(" ets Jan  8 2013,rst cause:2, boot mode:(3,6)\r\n")), "an ESP8266"));
}

TEST(Diagnosis, HearsItsOwnVoice) {
  std::string sync("\xc0\x00\x08\x24\x00\x00\x00\x00\x00\x07\x07\x12\x20", 13);
  sync += std::string(32, 'U') + "\xc0";
  Fault joined_wires = diagnose(heard(sync + sync));
  EXPECT_EQ(joined_wires.code, Code::line_echo);
  std::string interpreter("\x08\x24\x07\x07\x12\x20", 6);
  EXPECT_EQ(diagnose(heard(interpreter + std::string(32, 'U'))).code, Code::board_not_in_download_mode);
}

TEST(Diagnosis, TellsNoiseFromText) {
  std::string noise;
  std::uint32_t state = 7;
  for (int i = 0; i < 400; ++i) noise += static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  EXPECT_EQ(diagnose(heard(noise)).code, Code::noisy_line);
  EXPECT_EQ(diagnose(heard(std::string(200, '\0'))).code, Code::noisy_line);
  EXPECT_EQ(diagnose(heard("hello from something that talks\r\n")).code, Code::board_silent);
}

TEST(Diagnosis, SaysThatTheResetDoesNotReachAFirmwareThatGoesOn) {
  Heard log = heard("I (123456) main: temperature 21.5\r\nI (123956) main: temperature 21.6\r\n");
  EXPECT_EQ(diagnose(log).code, Code::no_reset_lines);
  log.could_reset = false;
  EXPECT_EQ(diagnose(log).code, Code::board_not_in_download_mode);
}

TEST(Diagnosis, AlwaysRefusesAndAlwaysAdvises) {
  for (std::string_view text :
       {"", "x", "rst:0x,boot:0x", "boot:0xzz", "ESP-ROM:", "boot:0x13", "rst:0xfffffffff,boot:0xfffffffffff\n"}) {
    Fault fault = diagnose(heard(text));
    EXPECT_EQ(fault.remedy, Remedy::refuse) << text;
    EXPECT_FALSE(fault.advice.empty()) << text;
  }
}

}  // namespace
}  // namespace espmint
