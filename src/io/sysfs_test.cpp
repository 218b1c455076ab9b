// What the kernel shows of an adapter and of the hub above it, in folders of a test.
#include "io/hub_power.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

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

/// /sys as the kernel lays it out for a board at port 2 of the hub 1-4.
struct FakeSys {
  TestFolder folder;
  fs::path tty_class = folder.path() / "class/tty";
  fs::path hub_port = folder.path() / "devices/usb1/1-4/1-4:1.0/1-4-port2";
  FakeSys() {
    const fs::path device = folder.path() / "devices/usb1/1-4/1-4.2";
    put(hub_port / "disable", "0");
    put(device / "idVendor", "303a");
    fs::create_directories(device / "1-4.2:1.0");
    fs::create_directory_symlink(hub_port, device / "port");
    fs::create_directories(tty_class / "ttyACM7");
    fs::create_directory_symlink(device / "1-4.2:1.0", tty_class / "ttyACM7/device");
  }
};

TEST(HubPower, FindsTheSwitchOfThePortUnderATty) {
  FakeSys sys;
  EXPECT_EQ(power_switch_of("/dev/ttyACM7", sys.tty_class), fs::canonical(sys.hub_port) / "disable");
  EXPECT_FALSE(power_switch_of("/dev/ttyACM8", sys.tty_class)) << "not there";
  fs::remove(sys.hub_port / "disable");
  EXPECT_FALSE(power_switch_of("/dev/ttyACM7", sys.tty_class)) << "a kernel before 6.0";
}

TEST(HubPower, SwitchesOffAndOnAgain) {
  FakeSys sys;
  VirtualLoop loop;
  std::string while_off;
  loop.run([](FakeSys& at, VirtualLoop& clock, std::string& seen) -> Task<> {
    clock.spawn([](FakeSys& there, VirtualLoop& time, std::string& word) -> Task<> {
      co_await time.sleep_for(500ms);
      word = get(there.hub_port / "disable");
    }(at, clock, seen));
    auto end = co_await switch_off_and_on(at.hub_port / "disable", clock);
    EXPECT_TRUE(end);
  }(sys, loop, while_off));
  EXPECT_EQ(while_off, "1");
  EXPECT_EQ(get(sys.hub_port / "disable"), "0");
  EXPECT_EQ(loop.now().time_since_epoch(), 1s);
}

TEST(HubPower, SaysWhyItCannot) {
  VirtualLoop loop;
  loop.run([](VirtualLoop& clock) -> Task<> {
    auto end = co_await switch_off_and_on("/nonexistent/disable", clock);
    EXPECT_FALSE(end);
    EXPECT_EQ(end.error().code, Code::port_failed);
  }(loop));
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
  fs::permissions(timer, fs::perms::owner_read);
  if (access(timer.c_str(), W_OK) == 0) GTEST_SKIP() << "root may write everything";
  EXPECT_TRUE(holds_back_answers("/dev/ttyUSB0", folder.path()));
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
