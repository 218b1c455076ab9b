// A port on a virtual board with USB of its own, in virtual time.
#include "io/returning_port.hpp"

#include <gtest/gtest.h>

#include "io/loop.hpp"
#include "sim/virtual_port.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t flash_bytes = 1024 * 1024;

/// A virtual board with USB of its own, its port open.
struct Place {
  VirtualLoop loop;
  sim::VirtualPorts ports{loop};
  Place() {
    ports.tells_serial = true;
    ports.add("a", {.native_usb = {.away = 300ms}}, flash_bytes);
  }
  void run(Task<> (*test)(Place&, ReturningPort&)) {
    loop.run([](Place& place, Task<> (*body)(Place&, ReturningPort&)) -> Task<> {
      auto info = place.ports.look_again({.name = "a", .location = "a"});
      auto opened = co_await place.ports.open("a");
      ReturningPort port{place.ports, place.loop, *info, std::move(*opened)};
      co_await body(place, port);
    }(*this, test));
  }
};

Task<Code> code_of(ReturningPort& port) {
  auto end = co_await port.set_baud(Baud{});
  co_return end ? Code::interrupted : end.error().code;
}

TEST(ReturningPort, StaysGoneUntilItIsAskedAndTellsHowLongItWas) {
  Place place;
  place.run([](Place& at, ReturningPort& port) -> Task<> {
    auto reset = co_await port.set_rts(true);
    EXPECT_TRUE(reset);
    EXPECT_EQ(co_await code_of(port), Code::port_gone);
    co_await at.loop.sleep_for(1s);
    EXPECT_EQ(co_await code_of(port), Code::port_gone) << "it is there again, but nobody asked";
    auto back = co_await port.reopen(at.loop.now() + return_patience);
    EXPECT_TRUE(back);
    EXPECT_EQ(back->who, PortReturn::Who::same);
    EXPECT_EQ(back->away, 1s);
    EXPECT_EQ(port.absences().count, 1u);
    auto works = co_await port.set_baud(Baud{});
    EXPECT_TRUE(works);
  });
}

TEST(ReturningPort, SeesThatAnotherBoardCameBack) {
  Place place;
  place.run([](Place& at, ReturningPort& port) -> Task<> {
    at.ports.swap("a", Mac{{0x24, 0xd7, 0xeb, 1, 2, 3}});
    auto back = co_await port.reopen(at.loop.now() + return_patience);
    EXPECT_TRUE(back);
    EXPECT_EQ(back->who, PortReturn::Who::other);
  });
}

TEST(ReturningPort, GivesUpWhenThePatienceIsOver) {
  Place place;
  place.run([](Place& at, ReturningPort& port) -> Task<> {
    at.ports.unplug("a");
    Instant begun = at.loop.now();
    auto back = co_await port.reopen(begun + return_patience);
    EXPECT_FALSE(back);
    EXPECT_EQ(back.error().code, Code::port_gone);
    EXPECT_EQ(at.loop.now() - begun, return_patience);
    EXPECT_TRUE(port.absences().for_good);
  });
}

TEST(ReturningPort, IsClosedForGood) {
  Place place;
  place.run([](Place& at, ReturningPort& port) -> Task<> {
    port.close();
    auto back = co_await port.reopen(at.loop.now() + return_patience);
    EXPECT_FALSE(back);
    EXPECT_EQ(at.loop.now(), Instant{});
  });
}

}  // namespace
}  // namespace espmint
