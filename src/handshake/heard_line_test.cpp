// The words of the text hand-shake one by one: what a line is, what a key becomes, what counts as read back.
#include <gtest/gtest.h>

#include "handshake/line_dialect.hpp"

namespace espmint {
namespace {

using Line = HeardLine::Kind;

const LineDialect dialect;

constexpr std::string_view rom_text =
    "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
    "configsip: 0, SPIWP:0xee\r\nclk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\r\n"
    "mode:DIO, clock div:2\r\nload:0x3fff0030,len:1344\r\nho 0 tail 12 room 4\r\nentry 0x400805f0\r\n"
    "\x1b[0;32mI (29) boot: ESP-IDF v5.1 2nd stage bootloader\x1b[0m\r\n";
constexpr std::string_view c3_rom_text =
    "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\nrst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n"
    "SPIWP:0xee\r\nSaved PC:0x4038368e\r\n";

std::vector<Secret> secrets(std::initializer_list<std::string_view> fields) {
  std::vector<Secret> out;
  for (std::string_view field : fields) out.emplace_back(to_bytes(field));
  return out;
}

Line kind_of(std::string_view line) { return classify_line(line, dialect).kind; }

TEST(HeardLine, PromptIsTheWholeLineOrEndsALogLine) {
  for (std::string_view line :
       {"Provisioning", "Provisioning\r", "  Provisioning \r\r", "\x1b[0;32mProvisioning\x1b[0m\r",
        "I (312) app: Provisioning", "\x1b[0;32mI (312) app: Provisioning\x1b[0m\r",
        "W (12:01:22.123) my tag: Provisioning", "[   312][I][main.cpp:20] loop(): Provisioning"})
    EXPECT_EQ(kind_of(line), Line::prompt) << line;
  for (std::string_view line :
       {"Provisionin", "rovisioning", "Provisioning...", "provisioning", "not Provisioning",
        "Provisioning Provisioning", "I (312) app: still Provisioning", "app: Provisioning", "I (x) app: Provisioning",
        "[312] Provisioning", "Provisioning\x1b[", "ProvisioningProvisioned"})
    EXPECT_NE(kind_of(line), Line::prompt) << line;
}

TEST(HeardLine, DoneIsNoPartOfAnotherWord) {
  EXPECT_EQ(kind_of("Provisioned\r"), Line::done);
  EXPECT_EQ(kind_of("I (400) app: Provisioned"), Line::done);
  for (std::string_view line : {"Unprovisioned", "NotProvisioned", "Provisioned!", "not Provisioned", "Provisioned: no",
                                "I (400) app: not Provisioned", "Provisioned Provisioned"})
    EXPECT_NE(kind_of(line), Line::done) << line;
}

TEST(HeardLine, ValuesHaveANameAndAreExact) {
  auto value = [](std::string_view line) -> std::pair<std::string, std::string> {
    HeardLine heard = classify_line(line, dialect);
    EXPECT_EQ(heard.kind, Line::value) << line;
    return {std::string{heard.name}, std::string{heard.value}};
  };
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(value("Key1: abc\r"), (Pair{"Key1", "abc"}));
  EXPECT_EQ(value("Key1:abc"), (Pair{"Key1", "abc"}));
  EXPECT_EQ(value("  dev addr :  abc  \r"), (Pair{"dev addr", " abc  "}))
      << "one blank is the printer's, the others the value's";
  EXPECT_EQ(value("Key1: "), (Pair{"Key1", ""}));
  EXPECT_EQ(value("Key1: a: b"), (Pair{"Key1", "a: b"}));
  EXPECT_EQ(value("\x1b[0;32mapp_key-2: abc\x1b[0m\r\r"), (Pair{"app_key-2", "abc"}));
  EXPECT_EQ(value("k: a\rb"), (Pair{"k", "a\rb"})) << "a CR inside is no end of line";
  EXPECT_EQ(value(std::string(32, 'n') + ": x").first.size(), 32u);
  EXPECT_EQ(kind_of(std::string(33, 'n') + ": x"), Line::other);
  for (std::string_view line : {"1key: abc", ": abc", "a.b: c", "just words", "key = abc"})
    EXPECT_EQ(kind_of(line), Line::other) << line;
  EXPECT_EQ(kind_of("k: " + std::string(longest_heard_line, 'v')), Line::other);
}

TEST(HeardLine, WhatRomBootloaderLogsAndCrashesPrintIsNoValue) {
  for (std::string_view text : {rom_text, c3_rom_text}) {
    while (!text.empty()) {
      std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(line.size() + 1);
      Line kind = kind_of(line);
      EXPECT_TRUE(kind == Line::boot || kind == Line::banner || kind == Line::blank) << line;
    }
  }
  EXPECT_EQ(kind_of("rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"), Line::banner);
  EXPECT_EQ(kind_of("\xff\x80rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r"), Line::banner);
  EXPECT_EQ(kind_of("ERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"), Line::boot) << "somebody else read its start";
  EXPECT_EQ(kind_of("I (330) wifi:mode : sta"), Line::log);
  EXPECT_EQ(kind_of("I (330) app: Key1: abc"), Line::log);
  for (std::string_view line :
       {"Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.",
        "PC      : 0x400d1234  PS      : 0x00060030  A0      : 0x800d5678", "Backtrace: 0x400d1234:0x3ffb1234",
        "Core  0 register dump:", "ELF file SHA256: 0123456789abcdef"})
    EXPECT_EQ(kind_of(line), Line::other) << line;
}

TEST(HeardLine, DumpsAreNoValues) {
  for (std::string_view line : {"devAddr en bytes: 0x26, 0x0B", "nwkSKey En Bytes: 0x00", "en bytes: 0x00",
                                "a very long name that no value line would have en bytes: 0x00"}) {
    EXPECT_EQ(kind_of(line), Line::dump) << line;
    EXPECT_EQ(line.substr(0, classify_line(line, dialect).open_bytes).find("0x"), std::string_view::npos);
  }
}

TEST(HeardLine, ARefusalIsNoValueAndItsReasonMayBeShown) {
  constexpr std::string_view line = "Refused: 2 fields, 3 are wanted\r";
  EXPECT_EQ(kind_of(line), Line::refused);
  EXPECT_EQ(classify_line(line, dialect).open_bytes, line.size());
}

TEST(HeardLine, FollowsTheRecipesWords) {
  LineDialect own;
  own.prompt = "READY?";
  own.done = "STORED";
  own.values = "> {name} = {value}";
  ASSERT_TRUE(is_usable(own));
  EXPECT_EQ(classify_line("READY?\r", own).kind, Line::prompt);
  EXPECT_EQ(classify_line("STORED\r", own).kind, Line::done);
  EXPECT_EQ(classify_line("> Key1 = abc\r", own).value, "abc");
  EXPECT_EQ(classify_line(">Key1=abc", own).value, "abc");
  EXPECT_EQ(classify_line("Key1 = abc", own).kind, Line::other);
  EXPECT_EQ(classify_line("Provisioning", own).kind, Line::other);
}

TEST(KeyLine, JoinsFieldsWithCommas) {
  EXPECT_EQ(as_text(key_line(secrets({"a"}))->reveal()), "a");
  EXPECT_EQ(as_text(key_line(secrets({"a", " b ", "", "c"}))->reveal()), "a, b ,,c");
  EXPECT_EQ(key_line(secrets({std::string(1000, 'k'), std::string(23, 'l')}))->reveal().size(), 1024u);
}

TEST(KeyLine, RefusesWhatTheBoardWouldReadOtherwise) {
  using namespace std::string_view_literals;
  for (std::string_view field : {"x,yz"sv, "xyz\r"sv, "x\nyz"sv, "\0xyz"sv}) {
    auto line = key_line(secrets({"a", field}));
    ASSERT_FALSE(line);
    EXPECT_EQ(line.error().code, Code::input_invalid);
    EXPECT_EQ(line.error().remedy, Remedy::refuse);
    EXPECT_EQ(describe(line.error()).find("yz"), std::string::npos) << describe(line.error());
    EXPECT_NE(line.error().what.find("field 2"), std::string::npos);
  }
  EXPECT_EQ(key_line({}).error().code, Code::input_invalid);
  EXPECT_EQ(key_line(secrets({std::string(1000, 'k'), std::string(24, 'l')})).error().code, Code::input_invalid);
}

TEST(FirstDifference, HoldsForExactValuesOnly) {
  Greeting greeting{Greeting::Kind::provisioned, {{"a", "one"}, {"b", "two"}}, 0, "", false};
  EXPECT_EQ(first_difference(greeting, secrets({"one", "two"})), std::nullopt);
  EXPECT_EQ(first_difference(greeting, secrets({"one", "twO"})), 2u);
  EXPECT_EQ(first_difference(greeting, secrets({"on", "two"})), 1u);
  EXPECT_EQ(first_difference(greeting, secrets({"one1", "two"})), 1u);
  EXPECT_EQ(first_difference(greeting, secrets({"one", "two", "three"})), 3u) << "one is missing";
  EXPECT_EQ(first_difference(greeting, secrets({"one"})), 2u) << "one too many";
  EXPECT_EQ(first_difference(greeting, {}), 1u) << "no field is no evidence";
  // printf one | sha256sum | cut -c1-16
  greeting.values[0].second = "sha256:7692c3ad3540bb80";
  EXPECT_EQ(first_difference(greeting, secrets({"one", "two"})), std::nullopt);
  EXPECT_EQ(first_difference(greeting, secrets({"onE", "two"})), 1u);
  greeting.values[0].second = "sha256:7692c3ad3540bb8";
  EXPECT_EQ(first_difference(greeting, secrets({"one", "two"})), 1u);
  greeting.values[0].second = "none";
  EXPECT_EQ(first_difference(greeting, secrets({"one", "two"})), 1u);
  greeting.values[0].second = "one";
  greeting.kind = Greeting::Kind::prompt;
  EXPECT_EQ(first_difference(greeting, secrets({"one", "two"})), 1u);
}

}  // namespace
}  // namespace espmint
