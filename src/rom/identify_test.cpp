// Each chip's ROM as far as it differs from the others', answered by script.
#include "rom/identify.hpp"

#include <gtest/gtest.h>

#include "rom/flash.hpp"
#include "rom/scripted_port.hpp"
#include "rom/stub.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

/// A ROM with some registers; the others read as 0.
struct ScriptedRom {
  RegisterWords registers;
  Bytes status{0, 0, 0, 0};
  Bytes security_info;          // empty: the command is unknown
  bool tells_registers = true;  // not in secure download mode
  std::uint32_t value = 0x2012'0707;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> written{};
  Op before = Op::sync;

  Bytes refuse() const { return reply_frame(before, value, Bytes{1, 5, 0, 0}); }
  Bytes operator()(const Bytes& request) {
    const Op op = op_of(request);
    if (op == Op::read_reg && !tells_registers) return refuse();
    if (op == Op::get_security_info && security_info.empty()) return refuse();
    before = op;
    if (op == Op::read_reg) value = registers[get_u32(request, 8)];
    if (op == Op::write_reg) {
      written.emplace_back(get_u32(request, 8), get_u32(request, 12));
      registers[get_u32(request, 8)] = get_u32(request, 12);
    }
    Bytes body = op == Op::get_security_info ? security_info : Bytes{};
    append(body, status);
    return reply_frame(op, value, body);
  }
};

/// Flags, flash encryption's count, seven purposes; a chip id and a version where there is one.
Bytes security_info(std::uint32_t flags, std::uint8_t crypt_count, std::optional<std::uint32_t> chip_id) {
  Bytes body;
  put_u32(body, flags);
  append(body, Bytes{crypt_count, 9, 4, 0, 0, 0, 0, 12});
  if (chip_id) {
    put_u32(body, *chip_id);
    put_u32(body, 0);
  }
  return body;
}

struct RomBench : Bench {
  ScriptedRom rom;
  RomBench() : Bench([this](const Bytes& request) { return rom(request); }) { (void)run(loader.start_over()); }
  void connect() { ASSERT_TRUE(run(loader.sync(20ms))); }
  std::size_t asked(Op op) const {
    return static_cast<std::size_t>(std::count_if(port.requests.begin(), port.requests.end(),
                                                  [op](const Bytes& each) { return op_of(each) == op; }));
  }
};

TEST(Identify, TellsAnS2WhoseSecurityInfoHasNoChipId) {
  RomBench bench;
  bench.rom.registers = {{0x4000'1000, 0x7c6},
                         {0x3f41'a044, 0xc412'3456},
                         {0x3f41'a048, 0x240a},
                         {0x3f41'a050, 1u << 18},
                         {0x3fff'fd14, 2}};
  bench.rom.security_info = security_info(0, 0, {});
  auto board = bench.run(identify(bench.loader));
  ASSERT_TRUE(board) << describe(board.error());
  EXPECT_EQ(board->chip->id, ChipId::esp32s2);
  EXPECT_EQ(to_string(board->mac), "240ac4123456");
  EXPECT_EQ(to_string(board->revision), "1.0");
  EXPECT_EQ(board->console, Console::usb_otg);
}

TEST(Identify, GoesByTheChipIdWhereTheDetectionWordIsNew) {
  for (const ChipSpec& chip : all_chips()) {
    if (chip.rom.security_info_bytes != 20) continue;
    SCOPED_TRACE(chip.title);
    RomBench bench;
    auto mac = mac_registers(chip);
    bench.rom.registers = {{0x4000'1000, 0x1234'5678}, {mac[0], 0xc412'3456}, {mac[1], 0x240a}};
    bench.rom.security_info = security_info(0, 0, chip.image_chip_id);
    auto board = bench.run(identify(bench.loader));
    ASSERT_TRUE(board) << describe(board.error());
    EXPECT_EQ(board->chip, &chip);
    EXPECT_EQ(to_string(board->mac), "240ac4123456");
  }
}

TEST(Identify, NamesTheIdOfAChipThatNoRowHas) {
  RomBench bench;
  bench.rom.registers = {{0x4000'1000, 0x1234'5678}};
  bench.rom.security_info = security_info(0, 0, 28);
  auto board = bench.run(identify(bench.loader));
  ASSERT_FALSE(board);
  EXPECT_EQ(board.error().code, Code::chip_unknown);
  EXPECT_EQ(board.error().seen, "detection word 0x12345678, chip id 28");
  EXPECT_NE(board.error().advice.find("esp32h2, esp32p4, esp8266"), std::string::npos);
}

TEST(Identify, SaysThatABoardInSecureDownloadModeIsLocked) {
  for (auto [chip_id, title] :
       {std::pair{std::optional<std::uint32_t>{}, "ESP32-S2"}, {std::optional<std::uint32_t>{5}, "ESP32-C3"}}) {
    RomBench bench;
    bench.connect();
    bench.rom.tells_registers = false;
    bench.rom.security_info = security_info(1u << 0 | 1u << 2 | 1u << 7, 0b001, chip_id);
    auto board = bench.run(identify(bench.loader));
    ASSERT_FALSE(board);
    EXPECT_EQ(board.error().code, Code::board_locked);
    EXPECT_EQ(board.error().remedy, Remedy::refuse);
    EXPECT_EQ(board.error().seen, std::string{title} + ", flash encryption on, secure boot on, secure download on");
    EXPECT_EQ(bench.loop.now().time_since_epoch(), 0s) << "no time-out was waited for";

    auto told = bench.run(identify_locked(bench.loader));
    ASSERT_TRUE(told) << describe(told.error());
    EXPECT_EQ(told->chip->title, title);
    EXPECT_EQ(told->mac, Mac{}) << "nobody may learn it";
    EXPECT_TRUE(told->security.locked() && told->security.secure_download && told->security.jtag_hard);
    EXPECT_EQ(told->security.key_purposes, (std::vector<std::uint8_t>{9, 4, 0, 0, 0, 0}));
  }
}

TEST(Identify, ARegisterThatIsRefusedIsNoLock) {
  RomBench bench;
  bench.connect();
  bench.rom.tells_registers = false;
  bench.rom.security_info = security_info(0, 0, 5);
  auto board = bench.run(identify(bench.loader));
  ASSERT_FALSE(board);
  EXPECT_EQ(board.error().code, Code::command_refused);
}

TEST(Esp8266, IsNoStubThoughItsRomSendsTwoStatusBytes) {
  RomBench bench;
  bench.rom.status = {0, 0};
  ASSERT_TRUE(bench.run(bench.loader.sync(20ms)));
  EXPECT_EQ(bench.loader.speaker(), Speaker::rom);
  bench.rom.value = 0;
  ASSERT_TRUE(bench.run(bench.loader.sync(20ms)));
  EXPECT_EQ(bench.loader.speaker(), Speaker::stub);
}

TEST(Esp8266, IsIdentifiedAndItsFlashWithCommandsThatItsRomHas) {
  RomBench bench;
  bench.rom.status = {0, 0};
  bench.rom.registers = {
      {0x4000'1000, 0xfff0'c101}, {0x3ff0'0050, 0x5600'0000}, {0x3ff0'0054, 0x0202'1234}, {0x3ff0'005c, 0x005c'cf7f}};
  auto board = bench.run(identify(bench.loader));
  ASSERT_TRUE(board) << describe(board.error());
  EXPECT_EQ(board->chip->id, ChipId::esp8266);
  EXPECT_EQ(to_string(board->mac), "5ccf7f123456");
  EXPECT_FALSE(board->security.locked());
  (void)bench.run(bench.loader.change_baud(Baud{921'600}));
  EXPECT_EQ(bench.loader.baud(), Baud{}) << "its ROM has one speed";
  (void)bench.run(read_flash_id(bench.loader, *board));
  for (Op op : {Op::change_baudrate, Op::spi_attach, Op::spi_set_params, Op::get_security_info})
    EXPECT_EQ(bench.asked(op), 0u);
  EXPECT_EQ(bench.asked(Op::flash_begin), 1u) << "attached by a write of nothing";
  EXPECT_EQ(bench.rom.registers[0x6000'0220], 23u << 8) << "24 bits of answer, told in USR1";
}

TEST(Esp8266, FlashIsLeftToTheStub) {
  RomBench bench;
  bench.loader.chip_is(*chip_named("esp8266"));
  auto region = prepare_region({0x1000}, Bytes(0x1000, 0x5a), WriteFormat::of(Speaker::rom, *bench.loader.chip()));
  auto written = bench.run(write_region(bench.loader, *region));
  auto erased = bench.run(erase_region(bench.loader, {{0x1000}, 0x1000}));
  auto digest = bench.run(flash_md5(bench.loader, {{0x1000}, 0x1000}));
  auto bytes = bench.run(read_flash(bench.loader, {{0x1000}, 0x1000}));
  EXPECT_FALSE(digest || bytes);
  constexpr std::string_view why = "the ROM of the ESP8266 cannot prove what it writes";
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().what, why);
  ASSERT_FALSE(erased);
  EXPECT_EQ(erased.error().what, why);
  EXPECT_TRUE(bench.port.requests.empty()) << "nothing was begun";
}

struct SpeedCase {
  const char* chip;
  std::uint32_t divider;   // UART0's, at 115200
  std::uint32_t believed;  // the C5's register
  std::uint32_t asked;     // for 921600
};

TEST(ChangeBaud, IsScaledWhereARomBelievesInAnotherCrystal) {
  for (const SpeedCase& speed : {SpeedCase{"esp32c2", 226, 0, 1'417'846}, SpeedCase{"esp32c2", 347, 0, 921'600},
                                 SpeedCase{"esp32c5", 417, 40, 768'000}, SpeedCase{"esp32c5", 347, 48, 1'105'920},
                                 SpeedCase{"esp32c5", 417, 48, 921'600}, SpeedCase{"esp32c6", 226, 0, 921'600}}) {
    RomBench bench;
    bench.loader.chip_is(*chip_named(speed.chip));
    bench.rom.registers = {{0x6000'0014, speed.divider}, {0x6009'6110, speed.believed << 24}};
    ASSERT_TRUE(bench.run(bench.loader.change_baud(Baud{921'600})));
    for (const Bytes& request : bench.port.requests) {
      if (op_of(request) != Op::change_baudrate) continue;
      EXPECT_EQ(get_u32(request, 8), speed.asked) << speed.chip << " " << speed.divider;
    }
    EXPECT_EQ(bench.asked(Op::change_baudrate), 1u);
  }
}

TEST(Stub, IsSentInSmallerBlocksOverUsbOtg) {
  const StubImage stub{0x4008'0000, 0x4008'0000, 0, Bytes(0x1800, 0x2a), {}};
  for (auto [console, blocks] :
       {std::pair{Console::usb_otg, 3u}, {Console::usb_serial_jtag, 1u}, {Console::uart, 1u}}) {
    RomBench bench;
    bench.loader.chip_is(*chip_named("esp32s3"), {}, console);
    (void)bench.run(start_stub(bench.loader, stub));
    EXPECT_EQ(bench.asked(Op::mem_data), blocks) << name_of(console);
  }
}

TEST(Watchdogs, AreQuietedWhereAResetByUsbLeavesThemRunning) {
  RomBench bench;
  const ChipSpec& h2 = *chip_named("esp32h2");
  bench.rom.registers = {{0x600b'1c20, 0x4}};
  for (Console console : {Console::uart, Console::usb_serial_jtag}) {
    bench.loader.chip_is(h2, {0, 1}, console);
    EXPECT_TRUE(bench.rom.written.empty());
    EXPECT_TRUE(bench.run(make_ready(bench.loader)));
  }
  using Written = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
  EXPECT_EQ(bench.rom.written, (Written{{0x600b'1c1c, 0x50d8'3aa1},
                                        {0x600b'1c00, 0},
                                        {0x600b'1c1c, 0},
                                        {0x600b'1c24, 0x50d8'3aa1},
                                        {0x600b'1c20, 1u << 18 | 4},
                                        {0x600b'1c24, 0}}));
  bench.rom.written.clear();
  bench.loader.stub_speaks();
  EXPECT_TRUE(bench.run(make_ready(bench.loader)));
  EXPECT_TRUE(bench.rom.written.empty()) << "it was done before the stub came";
}

TEST(ALockedBoard, IsErasedOnlyWhereSomethingThatStartsCanBeWrittenAgain) {
  constexpr FlashRange everything{{0}, 0x40'0000}, behind_the_bootloader{{0x9000}, 0x6000};
  struct Row {
    Security security;
    FlashRange range;
    bool may, may_by_force;
    const char* way_out;
  };
  const Row rows[] = {
      {{}, everything, true, true, ""},
      {{.flash_encryption = true}, everything, false, true, "flash write --encrypt"},
      {{.flash_encryption = true, .encryption_for_good = true},
       behind_the_bootloader,
       false,
       false,
       "its own firmware"},
      {{.secure_boot = true}, everything, false, false, "what lies behind 0x8000"},
      {{.secure_boot = true}, behind_the_bootloader, false, true, "signed images"},
      {{.secure_boot = true, .flash_encryption = true}, behind_the_bootloader, false, true, "--encrypt"},
      {{.secure_download = true}, behind_the_bootloader, false, false, "its own firmware"},
  };
  for (const Row& row : rows) {
    BoardInfo board;
    board.security = row.security;
    SCOPED_TRACE(row.way_out);
    auto asked = check_erasable(board, row.range, false), forced = check_erasable(board, row.range, true);
    EXPECT_EQ(asked.has_value(), row.may);
    EXPECT_EQ(forced.has_value(), row.may_by_force);
    if (asked) continue;
    EXPECT_EQ(asked.error().code, Code::board_locked);
    EXPECT_NE(describe(asked.error()).find(row.way_out), std::string::npos) << describe(asked.error());
    EXPECT_EQ(describe(asked.error()).find("--force") != std::string::npos,
              row.may_by_force || row.range == everything);
  }
}

TEST(FlashPower, IsGivenByTheP4sRevisionsThatLeaveItOff) {
  const ChipSpec& p4 = *chip_named("esp32p4");
  constexpr std::uint32_t pmu_date = 0x5011'53fc, efuse_repeat1 = 0x5012'd034;
  auto written = [&](Revision revision, bool forced) {
    RomBench bench;
    bench.loader.chip_is(p4, revision);
    bench.rom.registers = {{efuse_repeat1, forced ? 1u << 16 : 0u}, {pmu_date, 0xab03}};
    EXPECT_TRUE(bench.run(make_ready(bench.loader)));
    return bench.rom.written;
  };
  EXPECT_TRUE(written({1, 3}, false).empty());
  EXPECT_TRUE(written({3, 0}, false).empty());
  auto full = written({3, 1}, true);
  ASSERT_EQ(full.size(), 8u);
  EXPECT_EQ(full.front(), (std::pair<std::uint32_t, std::uint32_t>{0x5011'010c, 1}));
  EXPECT_EQ(written({3, 2}, false), full);
  EXPECT_EQ(written({3, 2}, true), (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{pmu_date, 0xab00}}));
}

}  // namespace
}  // namespace espmint
