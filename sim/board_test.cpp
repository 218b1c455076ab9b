#include "sim/board.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <zlib.h>

#include "base/base64.hpp"
#include "sim/desk_for_tests.hpp"
#include "sim/make_firmware.hpp"

namespace espmint::sim {
namespace {
using std::chrono::seconds;

Bytes deflated(ByteView bytes) {
  uLongf size = compressBound(bytes.size());
  Bytes out(size);
  compress2(out.data(), &size, bytes.data(), bytes.size(), 9);
  out.resize(size);
  return out;
}

/// Writes through the stub as a flashing tool does; returns when it was done, data phase only.
Time write_deflated(Desk& desk, std::uint32_t at, ByteView content) {
  Bytes packed = deflated(content);
  auto size = static_cast<std::uint32_t>(content.size());
  auto blocks = static_cast<std::uint32_t>((packed.size() + 0x3fff) / 0x4000);
  EXPECT_FALSE(desk.ask(request_frame(op::defl_begin, words({size, blocks, 0x4000, at, 0}))).empty());
  Time begun = desk.now;
  for (std::uint32_t i = 0; i < blocks; ++i) {
    ByteView block = ByteView{packed}.subspan(i * 0x4000);
    Bytes reply =
        desk.ask(block_frame(op::defl_data, i, block.first(std::min<std::size_t>(block.size(), 0x4000))), seconds{60});
    EXPECT_EQ(to_hex(reply), "01110200000000000000") << i;
  }
  EXPECT_EQ(to_hex(desk.ask(request_frame(op::defl_end, words({1})), seconds{60})), "01120200000000000000");
  return desk.now - begun;
}

Bytes code(std::size_t bytes) {
  Firmware firmware = *make_firmware({.app_bytes = bytes, .flash_size = 16_MiB});
  return firmware.app;
}

void change_baud(Desk& desk, std::uint32_t baud) {
  desk.ask(request_frame(op::change_baudrate, words({baud, 115'200})));
  desk.wait(milliseconds{20});
  desk.board.set_host_baud(desk.now, baud);
}

TEST(Flash, ProgrammingOnlyClearsBits) {
  Bytes content(NorFlash::block, 0xff);
  NorFlash flash{content};
  flash.program(10, Bytes{0xf0});
  flash.program(10, Bytes{0x0f});
  EXPECT_EQ(content[10], 0x00);
  flash.program(11, Bytes{0xff});
  EXPECT_EQ(content[11], 0xff);
  flash.erase(0, NorFlash::sector);
  EXPECT_TRUE(flash.is_blank(0, NorFlash::sector));
}

TEST(Flash, AWriteWithoutTheEraseItNeededShowsInTheDigest) {
  Desk desk;
  desk.connect();
  // FLASH_BEGIN of the ROM erases its region; blocks behind the region meet what was there.
  std::fill(desk.flash.begin() + 0x21000, desk.flash.begin() + 0x22000, std::uint8_t{0x0f});
  desk.ask(request_frame(op::flash_begin, words({4096, 4, 1024, 0x20000})));
  for (std::uint32_t i = 0; i < 5; ++i) desk.ask(block_frame(op::flash_data, i, Bytes(1024, 0xf3)));
  EXPECT_EQ(desk.flash[0x20fff], 0xf3);
  EXPECT_EQ(desk.flash[0x21000], 0x03);
}

TEST(Stub, WritesWhatItIsSentAndTellsItsDigest) {
  Desk desk;
  desk.connect();
  desk.run_stub();
  Bytes app = code(100'000);
  write_deflated(desk, 0x10000, app);
  EXPECT_TRUE(std::equal(app.begin(), app.end(), desk.flash.begin() + 0x10000));
  Bytes reply = desk.ask(request_frame(op::flash_md5, words({0x10000, static_cast<std::uint32_t>(app.size()), 0, 0})));
  std::array<std::uint8_t, 16> md5{};
  EVP_Digest(app.data(), app.size(), md5.data(), nullptr, EVP_md5(), nullptr);
  EXPECT_EQ(to_hex(reply), "0113120000000000" + to_hex(md5) + "0000");
}

TEST(Stub, OverwritesUsedFlashByErasingIt) {
  Desk desk;
  NorFlash{desk.flash}.make_dirty(3);
  desk.connect();
  desk.run_stub();
  Bytes app = code(200'000);
  write_deflated(desk, 0x10000, app);
  EXPECT_TRUE(std::equal(app.begin(), app.end(), desk.flash.begin() + 0x10000));
}

TEST(Stub, AcknowledgesABlockBeforeTheWorkAndTellsOfItsFailureOnTheNextCommand) {
  Desk desk;
  desk.connect();
  desk.run_stub();
  desk.ask(request_frame(op::defl_begin, words({4096, 1, 0x4000, 0x10000, 0})));
  EXPECT_EQ(to_hex(desk.ask(block_frame(op::defl_data, 0, Bytes(64, 0x99)))), "01110200000000000000");
  EXPECT_EQ(to_hex(desk.ask(request_frame(op::defl_end, words({1})))), "0112020000000000c700");
}

TEST(Stub, RefusesWhatIsWrongInABlockAtOnce) {
  Desk desk;
  desk.connect();
  desk.run_stub();
  EXPECT_EQ(to_hex(desk.ask(block_frame(op::flash_data, 0, Bytes(64, 1)))), "0103020000000000c600");
  desk.ask(request_frame(op::flash_begin, words({4096, 1, 0x4000, 0x10000, 0})));
  Bytes wrong = block_frame(op::flash_data, 0, Bytes(64, 1));
  wrong[5] ^= 0x10;
  EXPECT_EQ(to_hex(desk.ask(wrong)), "0103020000000000c100");
  EXPECT_EQ(to_hex(desk.ask(request_frame(op::flash_end, words({1})))), "0104020000000000c800");
  EXPECT_EQ(to_hex(desk.ask(request_frame(0x55, {}))), "0155020000000000c300");
}

TEST(Stub, DropsAFrameThatStartsWhileBothItsBuffersAreFull) {
  Desk desk{{.preset = "max"}};
  desk.connect();
  desk.run_stub();
  change_baud(desk, 3'000'000);
  desk.ask(request_frame(op::flash_begin, words({0x10000, 4, 0x4000, 0x10000, 0})));
  Bytes burst;
  for (std::uint32_t i = 0; i < 4; ++i) append(burst, block_frame(op::flash_data, i, Bytes(0x4000, 0x21)));
  desk.send(burst);
  std::size_t replies = 0;
  while (!desk.next_frame(seconds{2}).empty()) ++replies;
  EXPECT_EQ(replies, 2u);
  ASSERT_FALSE(desk.board.warnings().empty());
  EXPECT_NE(desk.board.warnings().back().find("dropped"), std::string::npos);
}

TEST(Wire, IsAsFastAsItsBaudRate) {
  for (std::uint32_t baud : {115'200u, 921'600u, 2'000'000u}) {
    Desk desk{{.preset = "fast"}};
    desk.connect();
    desk.run_stub();
    change_baud(desk, baud);
    Time begun = desk.now;
    // 64 KiB back: as many bytes, their escapes and frames, and nothing in between.
    std::fill_n(desk.flash.begin(), 0x10000, std::uint8_t{0x11});
    desk.send(request_frame(op::read_flash, words({0, 0x10000, 0x1000, 64})));
    desk.next_frame();
    for (int i = 0; i < 16; ++i) ASSERT_EQ(desk.next_frame().size(), 4096u);
    double took = std::chrono::duration<double>(desk.now - begun).count();
    double wire = (0x10000 + 16 * 2) * 10.0 / baud;
    EXPECT_GT(took, wire);
    EXPECT_LT(took, wire * 1.03 + 0.01) << baud;
  }
}

TEST(Wire, TurnsBytesToNoiseWhenTheBaudRatesDiffer) {
  Desk desk{{.preset = "fast"}};
  desk.connect();
  EXPECT_FALSE(desk.ask(request_frame(op::read_reg, words({0x4000'1000}))).empty());
  desk.board.set_host_baud(desk.now, 118'000);  // 2.4 %
  EXPECT_EQ(to_hex(desk.ask(request_frame(op::read_reg, words({0x4000'1000})))), "010a0400831df00000000000");
  desk.board.set_host_baud(desk.now, 119'000);  // 3.3 %
  EXPECT_TRUE(frames_in(desk.talk(request_frame(op::read_reg, words({0x4000'1000})))).empty());
  desk.board.set_host_baud(desk.now, 115'200);
  EXPECT_FALSE(frames_in(desk.talk(request_frame(op::read_reg, words({0x4000'1000})))).empty());
}

TEST(Wire, TakesNoMoreThanTheAdapterHolds) {
  Desk desk{{.preset = "fast"}};
  desk.connect();
  EXPECT_EQ(desk.board.receive(desk.now, Bytes(10'000, 0)), 512u + 4096);
  EXPECT_EQ(desk.board.receive(desk.now, Bytes(10'000, 0)), 0u);
  Time room = *desk.board.next_event();
  EXPECT_GT(room, desk.now + milliseconds{100});
  EXPECT_GT(desk.board.receive(room, Bytes(10'000, 0)), 1000u);
}

TEST(MaskRom, NeedsABaudRateScaledByTheCrystalItBelievesIn) {
  Desk desk{{.preset = "fast", .rtc_per_mille = 50}};
  desk.connect();
  change_baud(desk, 460'800);
  EXPECT_TRUE(frames_in(desk.talk(sync_frame())).empty());

  Desk scaled{{.preset = "fast", .rtc_per_mille = 50}};
  scaled.connect();
  scaled.ask(request_frame(op::change_baudrate, words({460'800 * 105 / 100, 0})));
  scaled.wait(milliseconds{20});
  scaled.board.set_host_baud(scaled.now, 460'800);
  EXPECT_EQ(frames_in(scaled.talk(sync_frame())).size(), 8u);
}

TEST(MaskRom, GoesSilentWhenItsFuseForTheClockIsBlank) {
  Desk desk{{.registers = {{0x3ff5'a010, 0}}}};
  desk.connect();
  desk.ask(request_frame(op::change_baudrate, words({460'800, 0})));
  desk.board.set_host_baud(desk.now, 460'800);
  EXPECT_TRUE(frames_in(desk.talk(sync_frame())).empty());
}

TEST(Reset, SamplesTheStrapWhenEnRises) {
  Desk desk;
  desk.reset(true);
  EXPECT_EQ(desk.board.state(), "rom");
  // Both lines asserted on the way, as with two calls: the capacitor on EN forgives a moment.
  desk.board.set_lines(desk.now, false, true);
  desk.wait(milliseconds{100});
  desk.board.set_lines(desk.now, true, true);
  desk.wait(microseconds{200});
  desk.board.set_lines(desk.now, true, false);
  desk.wait(milliseconds{50});
  EXPECT_EQ(desk.board.state(), "rom");
  desk.reset(false);
  EXPECT_NE(desk.board.state(), "rom");
}

TEST(Reset, HearsSyncThirtyMillisecondsAfterEnIsHigh) {
  Desk desk{{.preset = "fast"}};
  desk.board.set_lines(desk.now, false, true);
  desk.wait(milliseconds{100});
  desk.board.set_lines(desk.now, true, false);
  desk.wait(milliseconds{10});
  desk.send(sync_frame());
  desk.wait(milliseconds{19});
  EXPECT_TRUE(frames_in(desk.hear(Time{0})).empty());
  desk.wait(milliseconds{1});
  Time asked = desk.now;
  EXPECT_EQ(desk.ask(sync_frame()).size(), 12u);
  EXPECT_LT(desk.now - asked, milliseconds{10});
}

TEST(Reset, InTheMiddleOfAWriteLeavesItHalfDone) {
  Desk desk{{.preset = "classic"}};
  NorFlash{desk.flash}.make_dirty(9);
  desk.connect();
  desk.run_stub();
  Bytes app = code(64 * 1024);
  desk.ask(request_frame(op::flash_begin, words({0x10000, 4, 0x4000, 0x10000, 0})));
  desk.ask(block_frame(op::flash_data, 0, ByteView{app}.first(0x4000)));
  desk.wait(milliseconds{230});
  desk.reset(true);
  std::size_t same = 0;
  while (same < 0x4000 && desk.flash[0x10000 + same] == app[same]) ++same;
  EXPECT_GT(same, 0u);
  EXPECT_LT(same, 0x4000u);
  EXPECT_EQ(desk.board.state(), "rom");
}

/// Bounds of the calibration logs, within 15 %: 1.77 MB through a current stub at 2 Mbaud, classic flash.
TEST(Presets, ReproduceTheLogsTheyWereCalibratedOn) {
  Bytes app = code(1'770'000);
  struct Row {
    bool dirty;
    double seconds;
  };
  for (const Row& row : {Row{true, 13.0}, Row{false, 7.6}}) {
    Desk desk{{.preset = "classic"}};
    if (row.dirty) NorFlash{desk.flash}.make_dirty(1);
    desk.connect();
    desk.run_stub();
    change_baud(desk, 2'000'000);
    double took = std::chrono::duration<double>(write_deflated(desk, 0x10000, app)).count();
    EXPECT_NEAR(took, row.seconds, row.seconds * 0.15) << (row.dirty ? "dirty" : "blank");
  }
}

TEST(Presets, AreWithinAFewPercentOfTheWireOnBlankFastFlash) {
  Bytes app = code(1024 * 1024);
  Desk desk{{.preset = "fast"}};
  desk.connect();
  desk.run_stub();
  change_baud(desk, 921'600);
  double took = std::chrono::duration<double>(write_deflated(desk, 0x10000, app)).count();
  double wire = static_cast<double>(deflated(app).size()) * 1.01 * 10 / 921'600;
  EXPECT_GT(took, wire);
  EXPECT_LT(took, wire * 1.13);
}

TEST(Faults, AreTheSameForTheSameSeed) {
  auto heard = [](std::uint64_t seed) {
    Faults faults{.seed = seed,
                  .lose_one_of = 40,
                  .duplicate_one_of = 50,
                  .garble_one_of = 60,
                  .delay_one_of = 300,
                  .short_reads = true};
    Desk desk{{.preset = "fast", .faults = faults}};
    desk.reset(true);
    Bytes all = desk.hear();
    for (int i = 0; i < 20; ++i) append(all, desk.talk(sync_frame(), milliseconds{100}));
    return to_hex(all);
  };
  EXPECT_EQ(heard(1), heard(1));
  EXPECT_NE(heard(1), heard(2));
}

TEST(Faults, PullThePlugAtTheByteTheyName) {
  Desk desk{{.faults = {.unplug_at_byte = 100}}};
  desk.connect();
  EXPECT_TRUE(desk.board.plugged());
  desk.send(sync_frame());
  desk.send(sync_frame());
  EXPECT_FALSE(desk.board.plugged());
  EXPECT_TRUE(desk.hear().empty());
  desk.board.plug(desk.now);
  desk.connect();
  EXPECT_EQ(desk.board.state(), "rom");
}

TEST(Faults, SwapTheBoardForAnotherBlankOne) {
  Desk desk{{.faults = {.swap_at_byte = 60}}};
  desk.flash[0] = 0;
  Mac before = desk.board.mac();
  desk.connect();
  desk.send(sync_frame());
  desk.board.plug(desk.now);
  EXPECT_NE(desk.board.mac(), before);
  EXPECT_EQ(desk.flash[0], 0xff);
}

TEST(Faults, ResetTheBoardInTheMiddle) {
  Desk desk{{.faults = {.reset_at_byte = 200}}};
  desk.connect();
  desk.talk(sync_frame());
  desk.talk(sync_frame());
  desk.talk(sync_frame());
  desk.talk(sync_frame());
  EXPECT_EQ(desk.board.state(), "looping");
}

TEST(Board, TellsItsMacInItsFuses) {
  Desk desk{{.mac = {{0x24, 0xd7, 0xeb, 1, 2, 3}}}};
  desk.connect();
  EXPECT_EQ(to_hex(desk.ask(request_frame(op::read_reg, words({0x3ff5'a004})))),
            "010a040003020"
            "1eb00000000");
  Mac other{{0x24, 0xd7, 0xeb, 9, 9, 9}};
  desk.board.swap(desk.now, other);
  desk.connect();
  EXPECT_EQ(to_hex(desk.ask(request_frame(op::read_reg, words({0x3ff5'a004})))).substr(8, 8), "090909eb");
}

TEST(Board, KnowsTheCrcThatLiesBesideAMac) {
  // Read from a chip: the third byte of the second word.
  EXPECT_EQ(mac_crc({{0x24, 0x0a, 0xc4, 0x12, 0x34, 0x56}}), 0xf5);
}

TEST(Board, IsSilentWithoutPower) {
  Desk desk;
  desk.connect();
  desk.board.power(desk.now, false);
  EXPECT_TRUE(desk.talk(sync_frame()).empty());
  desk.board.power(desk.now, true);
  EXPECT_FALSE(desk.hear().empty());
}

}  // namespace
}  // namespace espmint::sim
