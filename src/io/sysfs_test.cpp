// What the kernel shows of an adapter and of the hub above it, in folders of a test.
#include "io/hub_power.hpp"

#include <gtest/gtest.h>
#include <fstream>

#include "io/latency_timer.hpp"
#include "io/loop.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

void put(const fs::path& file, std::string_view text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}
std::string get(const fs::path& file) {
  std::ifstream in(file);
  std::string text;
  in >> text;
  return text;
}

/// A hub's descriptor up to wHubCharacteristics, whose low bits say how it switches.
Bytes hub_descriptor(std::uint8_t how) { return {0x09, 0x29, 0x04, how, 0x00, 0x32, 0x64}; }
constexpr std::uint8_t ganged = 0xe0, individual = 0xe9, not_at_all = 0x02;

/// /sys as the kernel lays it out for a board at port 2 of the hub 1-4, and nothing at its port 3.
struct FakeSys {
  TestFolder folder;
  fs::path hub = folder.path() / "devices/usb1/1-4", peer_hub = folder.path() / "devices/usb2/2-4";
  fs::path hub_port = hub / "1-4:1.0/1-4-port2";
  HubView view{folder.path() / "class/tty", [this](const fs::path& asked) {
                 EXPECT_EQ(asked, fs::canonical(hub));
                 return descriptor;
               }};
  Bytes descriptor = hub_descriptor(individual);
  FakeSys() {
    const fs::path device = hub / "1-4.2";
    put(hub_port / "disable", "0");
    put(hub / "idVendor", "05e3");
    put(device / "idVendor", "303a");
    fs::create_directories(device / "1-4.2:1.0");
    fs::create_directory_symlink(hub_port, device / "port");
    fs::create_directory_symlink(device, hub_port / "device");
    fs::create_directories(hub / "1-4:1.0/1-4-port3");
    fs::create_directories(view.tty_class / "ttyACM7");
    fs::create_directory_symlink(device / "1-4.2:1.0", view.tty_class / "ttyACM7/device");
  }
  void use_port_3() const {
    fs::create_directories(hub / "1-4.3");
    fs::create_directory_symlink(hub / "1-4.3", hub / "1-4:1.0/1-4-port3/device");
  }
  void use_port_3_of_its_super_speed_half() const {
    fs::create_directories(peer_hub / "2-4:1.0/2-4-port3");
    fs::create_directories(peer_hub / "2-4.3");
    fs::create_directory_symlink(peer_hub / "2-4.3", peer_hub / "2-4:1.0/2-4-port3/device");
    fs::create_directory_symlink(peer_hub / "2-4:1.0/2-4-port3", hub / "1-4:1.0/1-4-port3/peer");
  }
  [[nodiscard]] std::string why_not(const std::string& tty = "/dev/ttyACM7") const {
    auto found = power_switch_of(tty, view);
    return found ? "" : describe(found.error());
  }
};

TEST(HubPower, FindsTheSwitchOfThePortUnderATty) {
  FakeSys sys;
  auto power = power_switch_of("/dev/ttyACM7", sys.view);
  ASSERT_TRUE(power) << describe(power.error());
  EXPECT_TRUE((*power)->set(false));
  EXPECT_EQ(get(sys.hub_port / "disable"), "1");
  EXPECT_TRUE((*power)->set(true));
  EXPECT_EQ(get(sys.hub_port / "disable"), "0");
  EXPECT_NE(sys.why_not("/dev/ttyACM8").find("no USB device"), std::string::npos) << "not there";
  fs::remove(sys.hub_port / "disable");
  EXPECT_NE(sys.why_not().find("older than 6.0"), std::string::npos) << sys.why_not();
}

TEST(HubPower, IsNeverTakenFromAnotherDevice) {
  struct Row {
    std::uint8_t how;
    bool hub_may_be_asked, others, others_are_fast, may;
  };
  for (const Row& row : {Row{individual, true, true, true, true}, Row{ganged, true, false, false, true},
                         Row{ganged, true, true, false, false}, Row{ganged, true, false, true, false},
                         Row{individual, false, true, false, false}, Row{individual, false, false, false, true},
                         Row{not_at_all, true, false, false, false}}) {
    FakeSys sys;
    sys.descriptor = row.hub_may_be_asked ? hub_descriptor(row.how) : Bytes{};
    if (row.others) sys.use_port_3();
    if (row.others_are_fast) sys.use_port_3_of_its_super_speed_half();
    EXPECT_EQ(sys.why_not().empty(), row.may) << int{row.how} << row.others << row.others_are_fast << sys.why_not();
    const bool because_of_others = sys.why_not().find("others are in use: 1-4-port3") != std::string::npos;
    EXPECT_EQ(because_of_others, !row.may && row.how != not_at_all) << sys.why_not();
  }
}

TEST(HubPower, KnowsHowAHubSwitches) {
  EXPECT_EQ(switching_of(hub_descriptor(0x00)), Switching::ganged);
  EXPECT_EQ(switching_of(hub_descriptor(0x01)), Switching::individual);
  EXPECT_EQ(switching_of(hub_descriptor(0x02)), Switching::none);
  EXPECT_EQ(switching_of(hub_descriptor(0x03)), Switching::none);
  EXPECT_EQ(switching_of(Bytes{0x09, 0x29, 0x04}), Switching::unknown);
  EXPECT_EQ(switching_of({}), Switching::unknown);
}

Task<> cut_power(FakeSys& sys, Clock& clock, Result<void>& end) {
  auto power = power_switch_of("/dev/ttyACM7", sys.view);
  end = co_await switch_off_and_on(**power, clock);
}

TEST(HubPower, SwitchesOffAndOnAgain) {
  FakeSys sys;
  VirtualLoop loop;
  std::string while_off;
  Result<void> end;
  loop.spawn([](FakeSys& there, VirtualLoop& time, std::string& word) -> Task<> {
    co_await time.sleep_for(500ms);
    word = get(there.hub_port / "disable");
  }(sys, loop, while_off));
  loop.run(cut_power(sys, loop, end));
  EXPECT_TRUE(end);
  EXPECT_EQ(while_off, "1");
  EXPECT_EQ(get(sys.hub_port / "disable"), "0");
  EXPECT_EQ(loop.now().time_since_epoch(), 1s);
}

TEST(HubPower, SwitchesOnAgainWhereItIsEndedMeanwhile) {
  FakeSys sys;
  Result<void> end;
  {
    VirtualLoop loop;
    loop.spawn(cut_power(sys, loop, end));
    loop.run([](VirtualLoop& time) -> Task<> { co_await time.sleep_for(500ms); }(loop));
    EXPECT_EQ(get(sys.hub_port / "disable"), "1");
  }
  EXPECT_EQ(get(sys.hub_port / "disable"), "0");
}

TEST(HubPower, SaysWhyItCannot) {
  FakeSys sys;
  auto power = power_switch_of("/dev/ttyACM7", sys.view);
  ASSERT_TRUE(power);
  fs::remove_all(sys.hub_port);
  auto end = (*power)->set(false);
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::port_failed);
}

TEST(LatencyTimer, IsOneMillisecondWhileThePortIsOpenAndSetBackAfterwards) {
  TestFolder folder;
  const fs::path file = folder.path() / "ttyUSB0/device/latency_timer";
  put(file, "16\n");
  {
    LatencyTimer timer{"/dev/ttyUSB0", folder.path()};
    EXPECT_EQ(get(file), "1");
    EXPECT_EQ(timer.now(), 1ms);
  }
  EXPECT_EQ(get(file), "16");
}

TEST(LatencyTimer, IsReportedWhereItIsSlowAndNotOurs) {
  TestFolder folder;
  const fs::path timer = folder.path() / "ttyUSB0/device/latency_timer";
  put(timer, "16");
  EXPECT_FALSE(holds_back_answers("/dev/ttyUSB0", folder.path())) << "we set it ourselves when we open the port";
  EXPECT_FALSE(holds_back_answers("/dev/ttyUSB1", folder.path())) << "no such timer";
  const auto of_somebody_else = [](const fs::path&) { return false; };
  EXPECT_TRUE(holds_back_answers("/dev/ttyUSB0", folder.path(), of_somebody_else));
  EXPECT_FALSE(holds_back_answers("/dev/ttyUSB1", folder.path(), of_somebody_else)) << "no such timer";
  put(timer, "1");
  EXPECT_FALSE(holds_back_answers("/dev/ttyUSB0", folder.path(), of_somebody_else)) << "quick as it is";
  EXPECT_FALSE(may_write(folder.path() / "none"));
}

TEST(LatencyTimer, LeavesAQuickOneAndAMissingOneAlone) {
  TestFolder folder;
  const fs::path file = folder.path() / "ttyUSB0/device/latency_timer";
  put(file, "1\n");
  { LatencyTimer timer{"/dev/ttyUSB0", folder.path()}; }
  EXPECT_EQ(get(file), "1");
  LatencyTimer none{"/dev/ttyUSB1", folder.path()};
  EXPECT_EQ(none.now(), 0ms);
  EXPECT_FALSE(fs::exists(folder.path() / "ttyUSB1"));
}

}  // namespace
}  // namespace espmint
