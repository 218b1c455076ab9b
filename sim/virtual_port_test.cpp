#include "sim/virtual_port.hpp"

#include <gtest/gtest.h>

#include "io/loop.hpp"
#include "sim/desk_for_tests.hpp"

namespace espmint::sim {
namespace {
using namespace std::chrono_literals;

Task<Result<Bytes>> read_all(Port& port, Clock& clock, Duration patience) {
  Bytes all, some(4096);
  while (true) {
    CO_TRY(std::size_t count, co_await port.read_some(some, clock.now() + patience));
    if (count == 0) co_return all;
    append(all, ByteView{some}.first(count));
  }
}

Task<Result<void>> enter_download(Port& port, Clock& clock) {
  CO_TRY(co_await port.set_dtr(false));
  CO_TRY(co_await port.set_rts(true));
  co_await clock.sleep_for(100ms);
  CO_TRY(co_await port.set_dtr(true));
  CO_TRY(co_await port.set_rts(false));
  co_await clock.sleep_for(50ms);
  CO_TRY(co_await port.set_dtr(false));
  co_return ok();
}

TEST(VirtualPort, CarriesASyncInNoRealTime) {
  VirtualLoop loop;
  VirtualPorts ports{loop};
  ports.add("board0", {.preset = "fast"}, 1024 * 1024);
  Bytes heard;
  loop.run([](VirtualPorts& all, Clock& clock, Bytes& out) -> Task<> {
    auto port = co_await all.open("board0");
    EXPECT_TRUE(port);
    auto reset = co_await enter_download(**port, clock);
    EXPECT_TRUE(reset);
    Bytes frame = sync_frame();
    auto sent = co_await (*port)->write(frame, clock.now() + 1s);
    EXPECT_TRUE(sent);
    auto all_bytes = co_await read_all(**port, clock, 200ms);
    EXPECT_TRUE(all_bytes);
    out = *all_bytes;
  }(ports, loop, heard));
  // The boot text before the first END reads as one frame more.
  EXPECT_EQ(frames_in(heard).size(), 1u + 8u) << as_text(heard);
}

TEST(VirtualPort, WritesMoreThanTheAdapterHoldsAtTheSpeedOfTheWire) {
  VirtualLoop loop;
  VirtualPorts ports{loop};
  ports.add("board0", {.preset = "fast"}, 1024 * 1024);
  Duration took{};
  loop.run([](VirtualPorts& all, Clock& clock, Duration& out) -> Task<> {
    auto port = co_await all.open("board0");
    Instant begun = clock.now();
    Bytes much(115'200, 0x55);
    auto sent = co_await (*port)->write(much, clock.now() + 20s);
    EXPECT_TRUE(sent);
    out = clock.now() - begun;
  }(ports, loop, took));
  EXPECT_GT(took, 9s);
  EXPECT_LT(took, 10s);
}

TEST(VirtualPort, WakesItsReaderWhenThePlugIsPulled) {
  VirtualLoop loop;
  VirtualPorts ports{loop};
  ports.add("board0", {.preset = "fast"}, 1024 * 1024);
  Code code{};
  Duration took{};
  loop.spawn([](VirtualPorts& all, Clock& clock) -> Task<> {
    co_await clock.sleep_for(7s);
    all.unplug("board0");
  }(ports, loop));
  loop.run([](VirtualPorts& all, Clock& clock, Code& out, Duration& when) -> Task<> {
    auto port = co_await all.open("board0");
    Instant begun = clock.now();
    while (true) {
      auto bytes = co_await read_all(**port, clock, 60s);
      if (bytes) continue;
      out = bytes.error().code;
      break;
    }
    when = clock.now() - begun;
    auto again = co_await all.open("board0");
    EXPECT_FALSE(again);
    all.plug("board0");
    auto back = co_await all.open("board0");
    EXPECT_TRUE(back);
    // The old one stays gone.
    auto still = co_await (*port)->discard_input();
    EXPECT_FALSE(still);
  }(ports, loop, code, took));
  EXPECT_EQ(code, Code::port_gone);
  EXPECT_EQ(took, 7s);
}

TEST(VirtualPort, IsOpenedByOneAtATime) {
  VirtualLoop loop;
  VirtualPorts ports{loop};
  ports.add("board0", {}, 1024 * 1024);
  loop.run([](VirtualPorts& all) -> Task<> {
    auto first = co_await all.open("board0");
    EXPECT_TRUE(first);
    auto second = co_await all.open("board0");
    EXPECT_FALSE(second);
    first->reset();
    auto third = co_await all.open("board0");
    EXPECT_TRUE(third);
    auto nobody = co_await all.open("board1");
    EXPECT_FALSE(nobody);
  }(ports));
}

TEST(VirtualPort, TellsOfBoardsThatComeAndGo) {
  VirtualLoop loop;
  VirtualPorts ports{loop};
  ports.add("board0", {.faults = {.unplug_at_byte = 10}}, 1024 * 1024);
  std::vector<PortEvent::Kind> kinds;
  loop.run([](VirtualPorts& all, Clock& clock, std::vector<PortEvent::Kind>& out) -> Task<> {
    PortEvent event = co_await all.next();
    out.push_back(event.kind);
    auto port = co_await all.open(event.port.name);
    Bytes bytes(20, 1);
    auto sent = co_await (*port)->write(bytes, clock.now() + 1s);
    EXPECT_FALSE(sent);
    event = co_await all.next();
    out.push_back(event.kind);
    all.plug("board0");
    event = co_await all.next();
    out.push_back(event.kind);
  }(ports, loop, kinds));
  EXPECT_EQ(kinds, (std::vector{PortEvent::Kind::appeared, PortEvent::Kind::vanished, PortEvent::Kind::appeared}));
}

Task<Result<void>> ask_for_download(Port& port) {
  CO_TRY(co_await port.set_dtr(true));
  CO_TRY(co_await port.set_rts(true));
  co_return co_await port.set_dtr(false);
}

TEST(NativeUsb, LeavesWithAResetAndComesBackInTheModeThatWasAskedFor) {
  VirtualLoop loop;
  VirtualPorts ports{loop};
  ports.add("board0", {.native_usb = {.away = 300ms}}, 1024 * 1024);
  loop.run([](VirtualPorts& all, Clock& clock) -> Task<> {
    auto port = co_await all.open("board0");
    auto reset = co_await ask_for_download(**port);
    EXPECT_TRUE(reset);
    auto lost = co_await (*port)->set_rts(false);
    EXPECT_EQ(lost.error().code, Code::port_gone);
    co_await clock.sleep_for(299ms);
    auto early = co_await all.open("board0");
    EXPECT_EQ(early.error().code, Code::port_missing);
    co_await clock.sleep_for(1ms);
    auto back = co_await all.open("board0");
    EXPECT_TRUE(back);
    Bytes frame = sync_frame();
    auto sent = co_await (*back)->write(frame, clock.now() + 1s);
    EXPECT_TRUE(sent);
    auto heard = co_await read_all(**back, clock, 100ms);
    EXPECT_EQ(frames_in(*heard).size(), 1u + 8u) << as_text(*heard);
    auto old = co_await (*port)->discard_input();
    EXPECT_EQ(old.error().code, Code::port_gone) << "the old file stays dead";
  }(ports, loop));
}

TEST(NativeUsb, IsDeadToItsHostEvenWhenNobodyLookedWhileItWasAway) {
  VirtualLoop loop;
  VirtualPorts ports{loop};
  ports.add("board0", {.native_usb = {.away = 300ms}}, 1024 * 1024);
  std::vector<PortEvent::Kind> kinds;
  loop.run([](VirtualPorts& all, Clock& clock, std::vector<PortEvent::Kind>& out) -> Task<> {
    auto port = co_await all.open("board0");
    auto reset = co_await ask_for_download(**port);
    EXPECT_TRUE(reset);
    co_await clock.sleep_for(1s);
    auto old = co_await (*port)->set_baud(Baud{});
    EXPECT_EQ(old.error().code, Code::port_gone);
    for (int i = 0; i < 3; ++i) {
      PortEvent event = co_await all.next();
      out.push_back(event.kind);
    }
  }(ports, loop, kinds));
  EXPECT_EQ(kinds, (std::vector{PortEvent::Kind::appeared, PortEvent::Kind::vanished, PortEvent::Kind::appeared}));
}

TEST(NativeUsb, TellsItsWatcherOfTheReturnThoughNobodyAsks) {
  VirtualLoop loop;
  VirtualPorts ports{loop};
  ports.add("board0", {.native_usb = {.away = 300ms}}, 1024 * 1024);
  loop.run([](VirtualPorts& all, Clock& clock) -> Task<> {
    auto port = co_await all.open("board0");
    auto reset = co_await ask_for_download(**port);
    EXPECT_TRUE(reset);
    Instant begun = clock.now();
    PortEvent event = co_await all.next();
    while (event.kind != PortEvent::Kind::vanished) event = co_await all.next();
    event = co_await all.next();
    EXPECT_EQ(event.kind, PortEvent::Kind::appeared);
    EXPECT_EQ(clock.now() - begun, 300ms);
  }(ports, loop));
}

}  // namespace
}  // namespace espmint::sim
