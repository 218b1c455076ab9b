// Every chip of the station's table against the virtual board of that name, whose facts were looked up apart: told,
// named, written, proved, read and erased, by the stub and by the ROM alone. Virtual time; ends with the table of what
// held.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/file.hpp"
#include "io/loop.hpp"
#include "io/returning_port.hpp"
#include "io/run_task.hpp"
#include "rom/connect.hpp"
#include "rom/flash.hpp"
#include "rom/identify.hpp"
#include "rom/stub.hpp"
#include "sim/virtual_port.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

const Mac mac{{0x24, 0x0a, 0xc4, 0x12, 0x34, 0x56}};
constexpr std::uint32_t flash_bytes = 4 * 1024 * 1024;
constexpr FlashRange place{{0x1'0000}, 0x3000};

/// Espressif's, where set-up has fetched it; else a program that the virtual board takes for one.
StubImage stub_of(const ChipSpec& chip, Revision revision) {
  auto file = std::filesystem::path{ESPMINT_SOURCE_DIR} / "stub/node_modules/esptool-js/lib/targets/stub_flasher" /
              stub_file(chip, revision);
  if (auto json = read_file(file))
    if (auto stub = parse_stub(*json)) return std::move(*stub);
  return {0x4008'0010, 0x4008'0000, 0, Bytes(64, 0x2a), {}};
}

/// Half of it can be deflated, half not.
Bytes content() {
  Bytes bytes(place.size, 0x5a);
  std::uint32_t state = 1;
  for (std::size_t i = bytes.size() / 2; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

class Meeting {
 public:
  explicit Meeting(sim::BoardOptions options) : ports_(loop_) {
    options.mac = mac;
    options.preset = "fast";
    ports_.add("board", std::move(options), flash_bytes, true);
    auto opened = run(ports_.open("board"));
    PortInfo info;
    info.name = "board";
    port_ = std::make_unique<ReturningPort>(ports_, loop_, info, std::move(*opened));
    loader_.emplace(*port_, loop_);
  }

  template <typename T>
  T run(Task<T> task) {
    return run_task(loop_, std::move(task));
  }
  Loader& loader() { return *loader_; }
  ByteView flash() { return ports_.flash("board"); }

  Result<BoardInfo> meet(bool own_usb = false) {
    TRY(run(connect(loader(), {.usb_serial_jtag = own_usb, .return_patience = 5s})));
    return run(identify(loader()));
  }
  /// As the desk and the line do it.
  Result<void> speed_up(bool by_stub, BoardInfo& board) {
    TRY(run(loader().change_baud(Baud{921'600})));
    if (by_stub) {
      StubImage stub = stub_of(*board.chip, board.revision);
      TRY(run(start_stub(loader(), stub)));
      TRY(run(loader().change_baud(Baud{921'600})));
    }
    return run(read_flash_id(loader(), board));
  }

 private:
  VirtualLoop loop_;
  sim::VirtualPorts ports_;
  std::unique_ptr<Port> port_;
  std::optional<Loader> loader_;
};

struct Row {
  std::string chip, by;
  std::vector<std::string> cells;  // "ok", "fault-code", "WRONG"
};

/// The name of what happened: "ok", or the fault's.
template <typename T>
std::string word_of(const Result<T>& end) {
  return end ? "ok" : std::string{name_of(end.error().code)};
}

Row meet_all_over(const ChipSpec& chip, bool by_stub) {
  Row row{std::string{chip.name}, by_stub ? "stub" : "ROM", {}};
  auto cell = [&row](std::string word) { row.cells.push_back(std::move(word)); };
  Meeting meeting{{.chip = std::string{chip.name}}};
  auto board = meeting.meet();
  cell(board ? (board->chip == &chip ? "ok" : "WRONG") : word_of(board));
  if (!board) {
    ADD_FAILURE() << describe(board.error());
    return row;
  }
  cell(board->mac == mac ? "ok" : "WRONG");
  EXPECT_FALSE(board->security.locked());
  auto fast = meeting.speed_up(by_stub, *board);
  EXPECT_TRUE(fast) << describe(fast.error());
  EXPECT_EQ(board->flash_size, flash_bytes);
  Loader& loader = meeting.loader();
  EXPECT_EQ(loader.speaker(), by_stub ? Speaker::stub : Speaker::rom);

  const Bytes bytes = content();
  auto on_flash = [&](const Bytes& wanted) {
    return std::equal(wanted.begin(), wanted.end(), meeting.flash().begin() + place.at.bytes);
  };
  auto region = prepare_region(place.at, bytes, WriteFormat::of(loader.speaker(), chip));
  auto written = meeting.run(write_region(loader, *region));
  cell(written && !on_flash(bytes) ? "WRONG" : word_of(written));
  auto digest = meeting.run(flash_md5(loader, place));
  cell(digest && *digest != region->md5 ? "WRONG" : word_of(digest));
  auto read = meeting.run(read_flash(loader, place));
  cell(read && *read != bytes ? "WRONG" : word_of(read));
  auto erased = meeting.run(erase_region(loader, place));
  cell(erased && !on_flash(Bytes(place.size, 0xff)) ? "WRONG" : word_of(erased));
  return row;
}

TEST(EveryChip, IsToldNamedWrittenProvedReadAndErased) {
  constexpr std::array<std::string_view, 6> columns{"detect", "MAC", "write", "verify", "read", "erase"};
  std::string table = fmt::format("{:<10}{:<6}", "chip", "by");
  for (std::string_view column : columns) table += fmt::format("{:<17}", column);
  for (const ChipSpec& chip : all_chips())
    for (bool by_stub : {true, false}) {
      SCOPED_TRACE(fmt::format("{} by the {}", chip.title, by_stub ? "stub" : "ROM"));
      Row row = meet_all_over(chip, by_stub);
      row.cells.resize(columns.size(), "-");
      table += fmt::format("\n{:<10}{:<6}", row.chip, row.by);
      for (std::size_t i = 0; i < columns.size(); ++i) {
        // A ROM that cannot prove what it writes is asked to do nothing with the flash.
        bool works = i < 2 || by_stub || chip.rom.has_flash_commands;
        EXPECT_EQ(row.cells[i], works ? "ok" : "command-refused") << columns[i];
        table += fmt::format("{:<17}", row.cells[i]);
      }
    }
  fmt::print("{}\n", table);
}

TEST(EveryChip, IsOfTheRevisionThatItsBoardSays) {
  struct Case {
    const char* chip;
    unsigned revision;
  };
  for (Case each : {Case{"esp32", 0},
                    {"esp32", 100},
                    {"esp32", 301},
                    {"esp32s2", 100},
                    {"esp32s3", 2},
                    {"esp32c3", 4},
                    {"esp32c3", 101},
                    {"esp32c2", 200},
                    {"esp32c6", 2},
                    {"esp32h2", 102},
                    {"esp32c5", 102},
                    {"esp32c61", 101},
                    {"esp32p4", 103},
                    {"esp32p4", 300},
                    {"esp32p4", 301},
                    {"esp32p4", 302}}) {
    SCOPED_TRACE(fmt::format("{} {}", each.chip, each.revision));
    Meeting meeting{{.chip = each.chip, .revision = each.revision}};
    auto board = meeting.meet();
    ASSERT_TRUE(board) << describe(board.error());
    EXPECT_EQ(board->revision.full(), each.revision);
    auto fast = meeting.speed_up(true, *board);
    EXPECT_TRUE(fast) << describe(fast.error());
  }
}

TEST(EveryChip, TalksFastWithAnyCrystalThatItMayHave) {
  for (const ChipSpec& chip : all_chips())
    for (std::uint8_t mhz : chip.crystal.mhz) {
      if (mhz == 0) continue;
      SCOPED_TRACE(fmt::format("{} with {} MHz", chip.title, mhz));
      Meeting meeting{{.chip = std::string{chip.name}, .crystal_mhz = mhz}};
      auto board = meeting.meet();
      ASSERT_TRUE(board) << describe(board.error());
      auto crystal = meeting.run(meeting.loader().read_crystal());
      EXPECT_TRUE(crystal && *crystal == mhz) << (crystal ? std::to_string(*crystal) : describe(crystal.error()));
      auto fast = meeting.speed_up(false, *board);
      EXPECT_TRUE(fast) << describe(fast.error());
    }
}

TEST(EveryChip, SaysByWhichOfItsPortsItTalks) {
  for (const ChipSpec& chip : all_chips()) {
    const ConsoleVariable& variable = chip.console[0];
    if (variable.address == 0) continue;
    for (bool own_usb : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", chip.title, own_usb ? "by its own USB" : "by an adapter"));
      sim::NativeUsbOptions usb;
      if (own_usb) usb.away = 300ms;
      Meeting meeting{{.chip = std::string{chip.name}, .native_usb = usb}};
      auto board = meeting.meet(own_usb);
      ASSERT_TRUE(board) << describe(board.error());
      // Where a chip has both, the virtual board is plugged into the one that is a serial port by itself.
      Console wanted = variable.usb_serial_jtag != 0 ? Console::usb_serial_jtag : Console::usb_otg;
      EXPECT_EQ(name_of(board->console), name_of(own_usb ? wanted : Console::uart));
      auto fast = meeting.speed_up(true, *board);
      EXPECT_TRUE(fast) << describe(fast.error());
    }
  }
}

TEST(Esp32C5, TalksFastWhereItsRomBelievesInTheOtherCrystal) {
  for (auto [true_mhz, believed_mhz] : {std::pair{40u, 48u}, {48u, 40u}}) {
    SCOPED_TRACE(fmt::format("{} MHz, believes in {}", true_mhz, believed_mhz));
    Meeting meeting{
        {.chip = "esp32c5", .registers = {{crystal_register, believed_mhz << 24}}, .crystal_mhz = true_mhz}};
    auto board = meeting.meet();
    ASSERT_TRUE(board) << describe(board.error());
    auto fast = meeting.speed_up(false, *board);
    EXPECT_TRUE(fast) << describe(fast.error());
  }
}

TEST(EveryChip, IsKnownToBeLockedBeforeAnythingIsWritten) {
  for (const ChipSpec& chip : all_chips()) {
    if (!chip.efuse.flash_encryption.there()) continue;
    SCOPED_TRACE(chip.title);
    for (auto security : {sim::Security{.flash_encryption = true}, sim::Security{.secure_boot = true}}) {
      Meeting meeting{{.chip = std::string{chip.name}, .security = security}};
      auto board = meeting.meet();
      ASSERT_TRUE(board) << describe(board.error());
      EXPECT_EQ(board->security.flash_encryption, security.flash_encryption);
      EXPECT_EQ(board->security.secure_boot, security.secure_boot);
      EXPECT_FALSE(check_unlocked(*board));
    }
    if (!chip.efuse.secure_download.there()) continue;
    Meeting meeting{{.chip = std::string{chip.name}, .security = {.secure_download = true}}};
    auto board = meeting.meet();
    ASSERT_FALSE(board);
    EXPECT_EQ(board.error().code, Code::board_locked) << describe(board.error());
    auto told = meeting.run(identify_locked(meeting.loader()));
    ASSERT_TRUE(told) << describe(told.error());
    EXPECT_EQ(told->chip, &chip);
    EXPECT_TRUE(told->security.secure_download);
  }
}

}  // namespace
}  // namespace espmint
