// The selftest of virtual boards in virtual time: what works is said to work, what does not is not, and the flash is
// the same afterwards.
#include "app/selftest.hpp"

#include <gtest/gtest.h>

#include "app/flash_compare.hpp"
#include "app/terminal.hpp"
#include "io/loop.hpp"
#include "io/returning_port.hpp"
#include "sim/virtual_port.hpp"

namespace espmint::app {
namespace {

using namespace std::chrono_literals;
using State = SelftestCheck::State;

constexpr std::uint32_t flash_bytes = 1024 * 1024;
constexpr FlashRange last_64k{{flash_bytes - 0x1'0000}, 0x1'0000};

/// The virtual board takes any program for a current stub.
StubLibrary any_stub() {
  StubImage stub;
  stub.entry = 0x4008'0010;
  stub.text_start = 0x4008'0000;
  stub.text = Bytes(64, 0x2a);
  return {{"esp32.json", std::make_shared<const StubImage>(stub)}};
}

struct Bench {
  VirtualLoop loop;
  sim::VirtualPorts ports{loop};
  StubLibrary stubs = any_stub();
  SelftestPlan plan{.connect = {.return_patience = return_patience}};
  SelftestReport report;
  bool stop = false;
  explicit Bench(sim::BoardOptions options = {}) { ports.add("a", std::move(options), flash_bytes); }

  static Task<> open_and_test(Bench& bench, std::optional<Result<void>>& end) {
    auto opened = co_await bench.ports.open("a");
    ReturningPort port{bench.ports, bench.loop, {.name = "a", .location = "a"}, std::move(*opened)};
    Loader loader{port, bench.loop};
    end = co_await selftest(loader, bench.stubs, bench.plan, bench.report, bench.stop);
  }
  Result<void> run() {
    std::optional<Result<void>> end;
    loop.run(open_and_test(*this, end));
    return *end;
  }
  [[nodiscard]] State state_of(std::string_view name) const {
    for (const SelftestCheck& row : report.checks)
      if (row.name == name) return row.state;
    ADD_FAILURE() << name << " was not checked";
    return State::skipped;
  }
  [[nodiscard]] std::string all() const {
    std::string out;
    for (const SelftestCheck& row : report.checks)
      out += fmt::format("{} {} {}\n", static_cast<int>(row.state), row.name, row.seen);
    return out;
  }
};

TEST(Selftest, FindsAllWellWithAGoodBoardAndLeavesItsFlashAsItWas) {
  Bench bench;
  ByteSpan flash = bench.ports.flash("a");
  const Bytes before{flash.begin(), flash.end()};
  auto end = bench.run();
  ASSERT_TRUE(end) << describe(end.error());
  EXPECT_TRUE(bench.report.good()) << bench.all();
  for (const char* name : {"reset: tight", "some way into download mode", "baud 115200", "baud 921600", "baud 3000000",
                           "ROM: write, MD5", "stub: start", "stub: write, MD5", "read back", "erase, MD5", "put back"})
    EXPECT_EQ(bench.state_of(name), State::good) << bench.all();
  EXPECT_EQ(bench.report.scratch, last_64k);
  EXPECT_TRUE(Bytes(flash.begin(), flash.end()) == before);
}

TEST(Selftest, PutsBackWhatTheRegionHeld) {
  Bench bench;
  ByteSpan flash = bench.ports.flash("a");
  for (std::size_t i = 0; i < 5000; ++i) flash[last_64k.at.bytes + 100 + i] = static_cast<std::uint8_t>(i * 7);
  const Bytes before{flash.begin(), flash.end()};
  auto end = bench.run();
  ASSERT_TRUE(end) << describe(end.error()) << bench.all();
  EXPECT_TRUE(bench.report.good()) << bench.all();
  EXPECT_TRUE(Bytes(flash.begin(), flash.end()) == before);
}

TEST(Selftest, RefusesARegionThatHoldsTheBootloader) {
  Bench bench;
  bench.ports.flash("a")[0x1000] = 0xe9;
  bench.plan.region = FlashRange{{0x1000}, 0x1000};
  auto end = bench.run();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::usage);
  EXPECT_NE(describe(end.error()).find("bootloader"), std::string::npos);
  EXPECT_EQ(bench.ports.flash("a")[0x1000], 0xe9);
}

TEST(Selftest, RefusesARegionThatIsNotWholeSectorsOrNotThere) {
  for (FlashRange range :
       {FlashRange{{0x9100}, 0x1000}, FlashRange{{0x9000}, 0x800}, FlashRange{{flash_bytes}, 0x1000}}) {
    Bench bench;
    bench.plan.region = range;
    auto end = bench.run();
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code, Code::usage);
  }
}

TEST(Selftest, SaysWhichSpeedsACableDoesNotCarryAndGoesOnWithTheBestThatItDoes) {
  Bench bench{{.max_clean_baud = 500'000}};
  auto end = bench.run();
  ASSERT_TRUE(end) << describe(end.error()) << bench.all();
  EXPECT_EQ(bench.state_of("baud 460800"), State::good) << bench.all();
  EXPECT_EQ(bench.state_of("baud 2000000"), State::bad) << bench.all();
  EXPECT_EQ(bench.state_of("stub: write, MD5"), State::good) << bench.all();
  EXPECT_TRUE(bench.report.good()) << bench.all();
}

TEST(Selftest, WorksThroughTheRomAlone) {
  Bench bench;
  bench.stubs.clear();
  auto end = bench.run();
  ASSERT_TRUE(end) << describe(end.error()) << bench.all();
  EXPECT_TRUE(bench.report.good()) << bench.all();
  EXPECT_EQ(bench.state_of("stub"), State::skipped);
  EXPECT_EQ(bench.state_of("write, MD5"), State::good);
}

TEST(Selftest, FollowsAPortThatGoesWithEachReset) {
  Bench bench{{.native_usb = {.away = 300ms}}};
  bench.plan.connect.usb_serial_jtag = true;
  auto end = bench.run();
  ASSERT_TRUE(end) << describe(end.error()) << bench.all();
  EXPECT_TRUE(bench.report.good()) << bench.all();
}

TEST(Selftest, PutsBackWhatItHasWrittenWhenItIsStopped) {
  Bench bench;
  ByteSpan flash = bench.ports.flash("a");
  flash[last_64k.at.bytes] = 0x42;
  bench.plan.on_check = [&bench](const SelftestCheck& row) {
    bench.stop = bench.stop || row.name == "ROM: write, MD5";
  };
  auto end = bench.run();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::interrupted);
  EXPECT_EQ(bench.state_of("put back"), State::good);
  EXPECT_EQ(flash[last_64k.at.bytes], 0x42);
  EXPECT_EQ(flash[last_64k.at.bytes + 1], 0xff);
}

TEST(Selftest, ReportsASilentBoardAsWhatItIs) {
  Bench bench;
  bench.ports.power("a", false);
  auto end = bench.run();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::board_silent);
  EXPECT_FALSE(bench.report.good());
}

// ---------------------------------------------------------------------------------------------------- comparing

struct Compared {
  std::optional<FlashRange> at;
  std::vector<std::uint64_t> told;
};

Task<> compare_with(Bench& bench, const Bytes& wanted, Result<Compared>& out) {
  auto port = co_await bench.ports.open("a");
  Loader loader{**port, bench.loop};
  auto connected = co_await connect(loader);
  auto known = co_await identify(loader);
  auto attached = co_await read_flash_id(loader, *known);
  EXPECT_TRUE(connected && attached);
  Compared compared;
  auto end = co_await first_difference(loader, {0x1'0000}, wanted,
                                       [&compared](std::uint64_t done) { compared.told.push_back(done); });
  if (end) compared.at = *end;
  out = std::move(compared);
}
Compared compare(Bench& bench, const Bytes& wanted) {
  Result<Compared> out;
  bench.loop.run(compare_with(bench, wanted, out));
  return *out;
}

TEST(FlashCompare, FindsTheFirstSectorsThatDiffer) {
  Bytes wanted(600'000);
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] = static_cast<std::uint8_t>(i * 31 >> 3);
  Bench bench;
  std::copy(wanted.begin(), wanted.end(), bench.ports.flash("a").begin() + 0x1'0000);
  Compared equal = compare(bench, wanted);
  EXPECT_FALSE(equal.at);
  EXPECT_EQ(equal.told.back(), wanted.size());
  bench.ports.flash("a")[0x1'0000 + 300'001] ^= 1;
  bench.ports.flash("a")[0x1'0000 + 304'000] ^= 1;  // in the next sector
  EXPECT_EQ(compare(bench, wanted).at, (FlashRange{{0x1'0000 + 299'008}, 0x2000}));
  bench.ports.flash("a")[0x1'0000] ^= 1;
  EXPECT_EQ(compare(bench, wanted).at, (FlashRange{{0x1'0000}, 0x1000}));
}

TEST(FlashCompare, FindsADifferenceInTheLastOddBytes) {
  Bytes wanted(5001, 0x11);
  Bench bench;
  std::copy(wanted.begin(), wanted.end(), bench.ports.flash("a").begin() + 0x1'0000);
  EXPECT_FALSE(compare(bench, wanted).at);
  bench.ports.flash("a")[0x1'0000 + 5000] = 0;
  EXPECT_EQ(compare(bench, wanted).at, (FlashRange{{0x1'1000}, 905}));
}

// ---------------------------------------------------------------------------------------------------- progress

TEST(Pace, TellsAtMostSoOftenAndAlwaysTheEndOnce) {
  Pace pace{1000, 0};
  int told = 0;
  for (int tick = 0; tick <= 100; ++tick)
    if (pace.at(tick * 0.01, static_cast<std::uint64_t>(tick) * 9, 0.2)) ++told;
  EXPECT_GE(told, 5);
  EXPECT_LE(told, 6);
  auto end = pace.at(1.01, 1000, 0.2);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->percent, 100);
  EXPECT_FALSE(pace.at(9, 1000, 0.2));
}

TEST(Pace, SaysHowFastAndHowLongStill) {
  Pace pace{1024 * 1024, 10};
  EXPECT_FALSE(pace.at(10, 0, 0.1)->seconds_left) << "too early to say";
  auto figures = pace.at(12, 262'144, 0.1);
  ASSERT_TRUE(figures);
  EXPECT_DOUBLE_EQ(figures->bytes_per_second, 131'072);
  EXPECT_DOUBLE_EQ(*figures->seconds_left, 6);
  EXPECT_EQ(show_progress(*figures, 4), "█░░░  25% 128 KB/s, 6 s left");
}

}  // namespace
}  // namespace espmint::app
