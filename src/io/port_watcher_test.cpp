#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/hotplug.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::vector<PortInfo> ports_in(const fs::path& folder) {
  std::vector<PortInfo> out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!fs::exists(entry.path())) continue;
    PortInfo port;
    port.name = entry.path().string();
    port.location = port.name;
    out.push_back(port);
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

struct Watcher : testing::Test {
  RealLoop loop;
  TestFolder dev;
  std::vector<std::string> seen;  // "+ttyUSB0", "-ttyUSB0"

  WatchedPlaces places(Duration rescan) {
    WatchedPlaces out;
    out.folder = dev.path();
    out.list = [folder = dev.path()] { return ports_in(folder); };
    out.listens_to_udev = false;
    out.rescan = rescan;
    return out;
  }
  void plug(const std::string& name) const { std::ofstream(dev / name) << "x"; }
  void unplug(const std::string& name) const { fs::remove(dev / name); }

  static Task<> watch(PortWatcher& watcher, std::vector<std::string>& seen) {
    for (;;) {
      const PortEvent event = co_await watcher.next();
      seen.push_back((event.kind == PortEvent::Kind::appeared ? "+" : "-") +
                     fs::path{event.port.name}.filename().string());
    }
  }
  /// Until that many events were seen, at most 5 s.
  static Task<> until(Watcher& test, std::size_t count) {
    const Instant limit = test.loop.now() + 5s;
    while (test.seen.size() < count && test.loop.now() < limit) co_await test.loop.sleep_for(1ms);
  }
};

Task<> come_and_go(Watcher& test) {
  co_await Watcher::until(test, 1);
  test.plug("ttyUSB1");
  co_await Watcher::until(test, 2);
  test.unplug("ttyUSB0");
  co_await Watcher::until(test, 3);
}

TEST_F(Watcher, TellsOfThoseThatAreThereAndOfThoseThatComeAndGo) {
  plug("ttyUSB0");
  // The rescan is too far away to help: inotify alone tells.
  const auto watcher = make_port_watcher(loop, places(1h));
  loop.spawn(watch(*watcher, seen));
  const Instant start = loop.now();
  loop.run(come_and_go(*this));
  EXPECT_EQ(seen, (std::vector<std::string>{"+ttyUSB0", "+ttyUSB1", "-ttyUSB0"}));
  EXPECT_LT(loop.now() - start, 3s);
}

Task<> replug_at_once(Watcher& test) {
  co_await Watcher::until(test, 1);
  test.plug("other");  // holds the old inode's place, so that the new node gets another number
  fs::rename(test.dev / "other", test.dev / "ttyACM0");
  co_await Watcher::until(test, 3);
}

TEST_F(Watcher, NoticesAnotherDeviceUnderTheSameName) {
  plug("ttyACM0");
  const auto watcher = make_port_watcher(loop, places(1h));
  loop.spawn(watch(*watcher, seen));
  loop.run(replug_at_once(*this));
  EXPECT_EQ(seen, (std::vector<std::string>{"+ttyACM0", "-ttyACM0", "+ttyACM0"}));
}

Task<> come_silently(Watcher& test) { co_await Watcher::until(test, 1); }

TEST_F(Watcher, FindsByRescanWhatNobodyAnnounces) {
  auto where = places(20ms);
  where.folder = dev / "nowhere";
  const auto watcher = make_port_watcher(loop, where);
  loop.spawn(watch(*watcher, seen));
  plug("ttyS4");
  loop.run(come_silently(*this));
  EXPECT_EQ(seen, (std::vector<std::string>{"+ttyS4"}));
}

Task<> link_and_unlink(Watcher& test, std::string target) {
  fs::create_symlink(target, test.dev / "board");
  co_await Watcher::until(test, 1);
  fs::remove(test.dev / "board");
  co_await Watcher::until(test, 2);
}

TEST_F(Watcher, SeesALinkToATerminal) {
  int master = -1;
  int slave = -1;
  char name[64];
  ASSERT_EQ(::openpty(&master, &slave, name, nullptr, nullptr), 0);
  const auto watcher = make_port_watcher(loop, places(1h));
  loop.spawn(watch(*watcher, seen));
  loop.run(link_and_unlink(*this, name));
  EXPECT_EQ(seen, (std::vector<std::string>{"+board", "-board"}));
  ::close(master);
  ::close(slave);
}

Task<> expect_quiet(Watcher& test) { co_await test.loop.sleep_for(100ms); }

TEST_F(Watcher, OfThisMachineStartsWithItsList) {
  const auto watcher = make_port_watcher(loop);
  loop.spawn(watch(*watcher, seen));
  loop.run(expect_quiet(*this));
  EXPECT_EQ(seen.size(), list_ports().size());
}

TEST(KnownAdapters, AreThoseBoardsUse) {
  const auto known = [](std::uint16_t vendor, std::uint16_t product) {
    PortInfo port;
    port.vendor_id = vendor;
    port.product_id = product;
    return is_known_adapter(port);
  };
  EXPECT_TRUE(known(0x10c4, 0xea60));   // CP2102
  EXPECT_TRUE(known(0x1a86, 0x7523));   // CH340
  EXPECT_TRUE(known(0x1a86, 0x55d4));   // CH9102
  EXPECT_TRUE(known(0x0403, 0x6010));   // FT2232H
  EXPECT_TRUE(known(0x067b, 0x2303));   // PL2303
  EXPECT_TRUE(known(0x303a, 0x1001));   // USB-Serial-JTAG
  EXPECT_FALSE(known(0x2341, 0x0043));  // an Arduino Uno
  EXPECT_FALSE(known(0x10c4, 0x8a2a));  // a Z-Wave stick of the same maker
  EXPECT_FALSE(known(0, 0));
}

TEST(HolderOf, IsNobodyForWhatNobodyHolds) {
  EXPECT_EQ(holder_of("/dev/ttyUSB-none"), "");
  EXPECT_EQ(holder_of("/dev/tty63"), "");
}

}  // namespace
}  // namespace espmint
