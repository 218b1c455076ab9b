// A board on the desk whose own USB hangs: its hub is asked before a person is.
#include <gtest/gtest.h>

#include "app/desk.hpp"
#include "io/loop.hpp"
#include "tests/hung_usb.hpp"

namespace espmint::app {
namespace {

using namespace std::chrono_literals;

/// A board with USB of its own that hangs, and what the command was told.
struct HangingDesk {
  VirtualLoop loop;
  sim::VirtualPorts ports{loop};
  HungUsb usb{ports};
  DeskOptions options;
  Desk desk;
  Result<void> end;
  HangingDesk() {
    options.voice.quiet = true;
    options.wait_seconds = 0;
    ports.add("a", {.chip = "esp32s3", .native_usb = {.away = 300ms}}, 4_MiB);
    usb.hung.insert("a");
  }
  static Task<> sit(HangingDesk& all) {
    PortInfo info{.name = "a", .location = "a", .product = {}, .serial = {}, .vendor_id = 0x303a, .product_id = 0x1001};
    all.end = co_await sit_down(all.desk, all.loop, all.usb, info, all.options, nullptr);
  }
  void run() { loop.run(sit(*this)); }
};

TEST(DeskOfHungUsb, GetsTheBoardWhereItsHubCanCutItsSupply) {
  HangingDesk at;
  at.run();
  ASSERT_TRUE(at.end) << describe(at.end.error());
  EXPECT_EQ(at.usb.times_off, 1);
  EXPECT_EQ(at.desk.board.mac, at.ports.board("a").mac());
}

TEST(DeskOfHungUsb, AsksForAHandWhereTheHubCannot) {
  HangingDesk at;
  at.usb.hub_switches = false;
  at.run();
  ASSERT_FALSE(at.end);
  EXPECT_EQ(at.end.error().code, Code::usb_hangs);
  const std::string said = describe(at.end.error());
  EXPECT_NE(said.find("REPLUG"), std::string::npos) << said;
  EXPECT_NE(said.find("its hub says that it cannot"), std::string::npos) << said;
}

TEST(DeskOfHungUsb, WaitsForAHandAfterTheHubWasAskedInVain) {
  HangingDesk at;
  at.usb.hub_switches = false;
  at.options.wait_seconds = 30;
  at.loop.spawn([](HangingDesk& there) -> Task<> {
    co_await there.loop.sleep_for(20s);
    there.usb.hung.clear();
    sim::Board& board = there.ports.board("a");
    const auto now = there.loop.now().time_since_epoch();
    board.set_lines(now, true, false);  // BOOT and RESET, in the words of its USB
    board.set_lines(now, false, true);
  }(at));
  at.run();
  EXPECT_TRUE(at.end) << describe(at.end.error());
  EXPECT_EQ(at.usb.times_off, 0);
}

TEST(DeskOfHungUsb, CutsTheSupplyOnlyOnce) {
  HangingDesk at;
  at.usb.power_helps = false;
  at.run();
  ASSERT_FALSE(at.end);
  EXPECT_EQ(at.end.error().code, Code::usb_hangs);
  EXPECT_EQ(at.usb.times_off, 1);
}

TEST(DeskOfHungUsb, LeavesABoardAloneThatIsNotToBeReset) {
  HangingDesk at;
  at.options.no_reset = true;
  at.run();
  ASSERT_FALSE(at.end);
  EXPECT_EQ(at.end.error().code, Code::board_silent);
  EXPECT_EQ(at.usb.times_off, 0);
}

}  // namespace
}  // namespace espmint::app
