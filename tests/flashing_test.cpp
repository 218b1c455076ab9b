// Flashing against virtual boards in virtual time: what is sent again after a fault and what is not, and how long the
// phases around the data take. Times are exact: the same on every machine.
#include <gtest/gtest.h>

#include "io/file.hpp"
#include "io/run_task.hpp"
#include "rom/connect.hpp"
#include "rom/identify.hpp"
#include "rom/stub.hpp"
#include "rom/update_region.hpp"
#include "tests/bench.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr const char* slot = "a";

/// As code does, it deflates to about two thirds; no two sectors alike.
Bytes code_like(std::size_t bytes, std::uint32_t seed = 1) {
  Bytes out(bytes, 0x20);
  std::uint32_t state = seed;
  for (std::size_t i = 0; i < bytes; i += 2)
    out[i] = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return out;
}

/// Any program at all: the virtual board takes it for a current stub. Of the size of the real one.
StubImage some_stub() { return {0x4008'0010, 0x4008'0000, 0x3ffc'0000, Bytes(6600, 0x2a), Bytes(64, 1)}; }

/// A virtual board on a desk, reached through a tap.
struct Table {
  explicit Table(sim::BoardOptions options = {.preset = "fast"}, ByteCount flash_bytes = 4_MiB, bool dirty = false) {
    board = &ports.add(slot, std::move(options), flash_bytes, dirty);
    tapped.emplace(ports, tap);
  }

  /// Connected, identified, at `baud`, through the stub where asked.
  Task<Result<void>> sit_down(Baud baud, bool use_stub) {
    CO_TRY(port, co_await tapped->open(slot));
    loader = std::make_unique<Loader>(*port, loop);
    co_return co_await come_back(baud, use_stub);
  }
  /// The same with the loader that is there, from the reset on.
  Task<Result<void>> come_back(Baud baud, bool use_stub) {
    CO_TRY(co_await connect(*loader));
    CO_TRY(info, co_await identify(*loader));
    CO_TRY(co_await loader->change_baud(baud));
    static const StubImage stub = some_stub();
    if (use_stub) CO_TRY(co_await start_stub(*loader, stub));
    CO_TRY(co_await read_flash_id(*loader, info));
    co_return ok();
  }
  void connect_to_board(Baud baud = {921'600}, bool use_stub = true) {
    loader.reset();
    port.reset();
    auto end = run(sit_down(baud, use_stub));
    ASSERT_TRUE(end) << describe(end.error());
  }
  std::shared_ptr<const PreparedRegion> prepare(FlashOffset at, const Bytes& bytes) const {
    return prepare_region(at, bytes, WriteFormat::of(loader->speaker(), *loader->chip()));
  }
  Result<RegionUpdate> update(std::shared_ptr<const PreparedRegion> region, LookFirst look = LookFirst::yes) {
    return run(update_region(*loader, *pool, std::move(region), look));
  }
  [[nodiscard]] bool holds(FlashOffset at, const Bytes& bytes) {
    return std::equal(bytes.begin(), bytes.end(), ports.flash(slot).begin() + at.bytes);
  }

  template <typename T>
  T run(Task<T> task) {
    return run_task(loop, std::move(task));
  }

  struct Tap final : WireTap {
    std::function<void(ByteSpan)> change;
    std::optional<std::size_t> on_write(const std::string&, ByteView) override { return std::nullopt; }
    std::size_t when_cut(const std::string&) override { return 0; }
    [[nodiscard]] bool garbles() const override { return change != nullptr; }
    void garble(ByteSpan bytes) override {
      if (change) change(bytes);
    }
  };

  VirtualLoop loop;
  std::unique_ptr<Pool> pool = make_inline_pool();
  sim::VirtualPorts ports{loop};
  Tap tap;
  std::optional<TappedOpener> tapped;
  sim::Board* board = nullptr;
  std::unique_ptr<Port> port;
  std::unique_ptr<Loader> loader;
  BoardInfo info;
};

TEST(Update, SendsNothingThatTheBoardHoldsAlready) {
  Table table;
  table.connect_to_board();
  const Bytes app = code_like(300'000);
  auto region = table.prepare({0x10000}, app);
  auto first = table.update(region);
  ASSERT_TRUE(first) << describe(first.error());
  EXPECT_EQ(first->written_bytes, app.size());
  auto second = table.update(region);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->written_bytes, 0u);
  EXPECT_EQ(second->wire_bytes, 0u);
  EXPECT_EQ(second->kept_bytes, app.size());
}

TEST(Update, CostsABoardWithOtherFirmwareOneSmallDigest) {
  Table looked{{.preset = "fast"}, 4_MiB, true}, straight{{.preset = "fast"}, 4_MiB, true};
  const Bytes app = code_like(300'000);
  Duration took[2];
  for (auto [table, look, i] : {std::tuple{&looked, LookFirst::yes, 0}, std::tuple{&straight, LookFirst::no, 1}}) {
    table->connect_to_board();
    const Instant from = table->loop.now();
    auto done = table->update(table->prepare({0x10000}, app), look);
    ASSERT_TRUE(done) << describe(done.error());
    took[i] = table->loop.now() - from;
  }
  EXPECT_LT(took[0] - took[1], 4ms);
}

TEST(Update, KeepsTheBlocksBeforeTheFirstThatDiffers) {
  for (std::uint32_t changed : {0u, 0x3000u, 0xefffu, 0xf000u, 0x2'f000u, 0x4'9000u}) {
    Table table;
    table.connect_to_board();
    Bytes app = code_like(300'000);
    ASSERT_TRUE(table.update(table.prepare({0x11000}, app)));
    app[changed] = static_cast<std::uint8_t>(~app[changed]);
    auto done = table.update(table.prepare({0x11000}, app));
    ASSERT_TRUE(done) << describe(done.error());
    EXPECT_TRUE(table.holds({0x11000}, app)) << changed;
    // Blocks of the flash, so the first of a region that begins within one is shorter.
    const std::uint32_t kept = changed < 0xf000 ? 0 : (changed - 0xf000) / 0x10000 * 0x10000 + 0xf000;
    EXPECT_EQ(done->kept_bytes, kept) << changed;
    EXPECT_EQ(done->written_bytes, app.size() - kept) << changed;
  }
}

/// The cable is pulled after so many tenths of a write, on used flash or not, through the stub or not; then it is put
/// back.
class BrokenOff : public testing::TestWithParam<std::tuple<int, bool, bool>> {};

TEST_P(BrokenOff, WriteGoesOnWhereItWas) {
  auto [tenth, dirty, use_stub] = GetParam();
  const Bytes app = code_like(use_stub ? 600'000 : 300'000);
  // What a whole write takes, to pull the cable in the middle of it.
  std::uint64_t before = 0, whole = 0;
  {
    Table table{{.preset = "fast"}, 2_MiB, dirty};
    table.connect_to_board({921'600}, use_stub);
    before = table.board->bytes_from_host();
    auto done = table.update(table.prepare({0x10000}, app));
    ASSERT_TRUE(done) << describe(done.error());
    whole = done->wire_bytes;
  }
  sim::BoardOptions options{.preset = "fast"};
  const std::uint64_t sent = whole * static_cast<std::uint64_t>(tenth) / 10;
  options.faults.unplug_at_byte = before + 200 + sent;
  Table table{options, 2_MiB, dirty};
  table.connect_to_board({921'600}, use_stub);
  auto region = table.prepare({0x10000}, app);
  auto broken = table.update(region);
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, Code::port_gone);
  table.ports.plug(slot);
  table.connect_to_board({921'600}, use_stub);
  auto done = table.update(region);
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_TRUE(table.holds({0x10000}, app));
  // Two frames may be on their way or in the stub's window of 32 KiB; the block of 64 KiB that it broke off in is
  // written anew.
  const double share = static_cast<double>(whole) / static_cast<double>(app.size());
  const double again = share * 64 * 1024 + 2 * 0x4000 + share * 32 * 1024;
  EXPECT_LE(static_cast<double>(done->wire_bytes), static_cast<double>(whole - sent) * 1.03 + again);
  EXPECT_EQ(done->kept_bytes + done->written_bytes, app.size());
}
INSTANTIATE_TEST_SUITE_P(AtEveryTenth, BrokenOff,
                         testing::Combine(testing::Range(0, 10), testing::Bool(), testing::Values(true)));
INSTANTIATE_TEST_SUITE_P(ThroughTheRom, BrokenOff,
                         testing::Combine(testing::Values(2, 5, 9), testing::Values(false), testing::Values(false)));

TEST(Write, SendsABlockAgainThatCameDamaged) {
  for (int damaged : {1, 2}) {  // so many times the same block
    Table table;
    table.connect_to_board();
    const Bytes app = code_like(300'000);
    auto region = table.prepare({0x10000}, app);
    int frames = 0;
    table.tap.change = [&](ByteSpan bytes) {
      if (bytes.size() < 8000) return;
      ++frames;
      std::uint8_t& byte = bytes[5000];
      const bool framing = byte == 0xc0 || byte == 0xdb || byte == 0xdc || byte == 0xdd || bytes[4999] == 0xdb;
      if (frames > 3 && frames <= 3 + damaged && !framing) byte = static_cast<std::uint8_t>(byte == 0x11 ? 0x12 : 0x11);
    };
    auto done = table.update(region, LookFirst::no);
    ASSERT_TRUE(done) << describe(done.error());
    EXPECT_EQ(frames, static_cast<int>(region->blocks.size()) + damaged);
    EXPECT_TRUE(table.holds({0x10000}, app));
  }
}

TEST(Write, GivesUpABlockThatIsAlwaysDamaged) {
  Table table;
  table.connect_to_board();
  const Bytes app = code_like(300'000);
  int frames = 0;
  table.tap.change = [&](ByteSpan bytes) {
    if (bytes.size() >= 8000 && ++frames > 2) bytes[5000] = bytes[5000] == 0x11 ? 0x12 : 0x11;
  };
  auto done = table.update(table.prepare({0x10000}, app), LookFirst::no);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::command_refused);
  EXPECT_EQ(frames, 2 + block_attempts);
}

TEST(Write, IsProvedWhileItIsOnTheWire) {
  for (bool dirty : {false, true}) {
    Table table{{.preset = "fast"}, 4_MiB, dirty};
    table.connect_to_board();
    const Bytes app = code_like(1'500'000);
    auto region = table.prepare({0x10000}, app);
    auto proved = table.run(write_region(*table.loader, *region));
    ASSERT_TRUE(proved) << describe(proved.error());
    EXPECT_GE(*proved, app.size() * 2 / 3);
    EXPECT_TRUE(table.holds({0x10000}, app));
    EXPECT_TRUE(table.board->warnings().size() <= 1)
        << "an unknown stub; never a dropped frame: " << table.board->warnings().back();
  }
}

TEST(Write, IsNotProvedByWhatWentWrongOnTheWay) {
  Table table;
  table.connect_to_board();
  const Bytes app = code_like(1'500'000);
  auto region = table.prepare({0x10000}, app);
  int frames = 0;
  table.tap.change = [&](ByteSpan bytes) {
    if (bytes.size() >= 8000 && ++frames == 20) table.ports.flash(slot)[0x10000 + 5000] = 0x00;
  };
  auto done = table.update(region, LookFirst::no);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::flash_differs);
}

TEST(Write, SendsOneRequestAtATimeOnceAStubHasLostTheSecond) {
  Table table;
  table.connect_to_board();
  const Bytes app = code_like(1'500'000);
  auto region = table.prepare({0x10000}, app);
  bool beside = false;
  int lost = 0;
  table.tap.change = [&](ByteSpan bytes) {
    if (beside && bytes.size() >= 8000) {
      std::fill(bytes.begin(), bytes.end(), std::uint8_t{0});
      ++lost;
    }
    beside = bytes.size() > 3 && bytes.size() < 100 && bytes[1] == 0x00 &&
             bytes[2] == static_cast<std::uint8_t>(Op::spi_flash_md5);
  };
  auto broken = table.update(region, LookFirst::no);
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, Code::reply_missing);
  ASSERT_TRUE(table.run(table.come_back({921'600}, true)));
  auto done = table.update(region);
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_EQ(lost, 1);
  EXPECT_GT(done->kept_bytes, 0u);
  EXPECT_TRUE(table.holds({0x10000}, app));
}

/// A storage partition as identity images are: some sectors of files, then nothing.
Bytes mostly_blank(std::size_t size) {
  Bytes image(size, 0xff);
  const Bytes files = code_like(10'000, 7);
  std::copy(files.begin(), files.end(), image.begin());
  return image;
}

TEST(Blank, IsNeitherSentNorProgrammed) {
  const Bytes image = mostly_blank(960_KiB);
  for (bool dirty : {false, true}) {
    Table table{{.preset = "fast"}, 4_MiB, dirty};
    table.connect_to_board();
    auto region = table.prepare({0x11'0000}, image);
    ASSERT_EQ(region->blanks.size(), 1u);
    EXPECT_EQ(region->blanks[0].range, (FlashRange{{0x11'3000}, 0xe'd000}));
    EXPECT_EQ(region->blanks[0].erase, (FlashRange{{0x11'0000}, 0xf'0000}));
    const Instant from = table.loop.now();
    auto done = table.update(region);
    const Duration took = table.loop.now() - from;
    ASSERT_TRUE(done) << describe(done.error());
    EXPECT_TRUE(table.holds({0x11'0000}, image)) << dirty;
    // The digest alone takes 0.34 s; programming it all would be 1.3 s more. Used flash is erased by 15 blocks.
    EXPECT_LT(took, dirty ? 2200ms : 550ms);
  }
}

TEST(Blank, IsErasedWhereSomethingLiesInTheMiddleOfIt) {
  const Bytes image = mostly_blank(512_KiB);
  for (std::uint32_t at : {0x3000u, 0x2'8123u, 0x7'ffffu}) {
    Table table;
    table.ports.flash(slot)[0x11'0000 + at] = 0x00;
    table.connect_to_board();
    auto done = table.update(table.prepare({0x11'0000}, image));
    ASSERT_TRUE(done) << describe(done.error());
    EXPECT_TRUE(table.holds({0x11'0000}, image)) << at;
  }
}

TEST(Blank, LiesBetweenPartsOfAMergedImageToo) {
  Bytes image(1_MiB, 0xff);
  const Bytes code = code_like(200'000);
  std::copy_n(code.begin(), 20'000, image.begin() + 0x1000);
  std::copy_n(code.begin(), 3'000, image.begin() + 0x8000);
  std::copy(code.begin(), code.end(), image.begin() + 0x1'0000);
  std::copy_n(code.begin(), 5, image.end() - 5);
  for (bool dirty : {false, true}) {
    Table table{{.preset = "fast"}, 2_MiB, dirty};
    table.connect_to_board();
    auto region = table.prepare({0}, image);
    EXPECT_GE(region->blanks.size(), 2u);
    auto done = table.update(region);
    ASSERT_TRUE(done) << describe(done.error());
    EXPECT_TRUE(table.holds({0}, image)) << dirty;
    EXPECT_EQ(table.update(region)->written_bytes, 0u);
  }
}

TEST(Blank, HasNoPartOfItsOwnInWhatTheRomIsSent) {
  const Bytes image = mostly_blank(256_KiB);
  auto region = prepare_region({0x11'0000}, image, WriteFormat::of(Speaker::rom, *chip_named("esp32")));
  EXPECT_TRUE(region->blanks.empty());
  auto secret = prepare_secret_region({0x11'0000}, image, {});
  EXPECT_FALSE(secret->blanks.empty());
  EXPECT_TRUE(secret->plain.empty());
  EXPECT_TRUE(secret->parts.at(0)->secret);
}

TEST(Large, FlashOf32MebibytesIsWrittenReadAndProvedAboveSixteen) {
  Table table{{.chip = "esp32s3", .preset = "instant"}, 32_MiB};
  table.connect_to_board({2'000'000});
  ASSERT_EQ(table.info.flash_size, 32_MiB);
  // What wrapped around at 16 MiB would land on what is there.
  const Bytes low = code_like(200'000, 1), across = code_like(300'000, 2), high = code_like(100'000, 3);
  const FlashOffset low_at{0}, across_at{0xfe'0000}, high_at{0x1fe'7000};
  for (auto [at, bytes] : {std::pair{low_at, &low}, std::pair{across_at, &across}, std::pair{high_at, &high}}) {
    auto done = table.update(table.prepare(at, *bytes));
    ASSERT_TRUE(done) << describe(done.error());
  }
  for (auto [at, bytes] : {std::pair{low_at, &low}, std::pair{across_at, &across}, std::pair{high_at, &high}}) {
    EXPECT_TRUE(table.holds(at, *bytes)) << at.bytes;
    auto read = table.run(read_flash(*table.loader, {at, static_cast<std::uint32_t>(bytes->size())}));
    ASSERT_TRUE(read) << describe(read.error());
    EXPECT_EQ(*read, *bytes);
  }
  ASSERT_TRUE(table.run(erase_region(*table.loader, {{0x1fe'0000}, 0x2'0000})));
  EXPECT_TRUE(std::all_of(table.ports.flash(slot).begin() + 0x1fe'0000, table.ports.flash(slot).end(),
                          [](auto byte) { return byte == 0xff; }));
}

TEST(Large, ImageOf32MebibytesIsOneRegion) {
  Table table{{.chip = "esp32s3", .preset = "instant"}, 32_MiB, true};
  table.connect_to_board({2'000'000});
  Bytes image(32_MiB, 0xff);
  const Bytes code = code_like(500'000);
  for (std::size_t at : {std::size_t{0}, std::size_t{0xfc'0000}, std::size_t{32_MiB - 500'000}})
    std::copy(code.begin(), code.end(), image.begin() + static_cast<std::ptrdiff_t>(at));
  auto region = table.prepare({0}, image);
  auto done = table.update(region);
  ASSERT_TRUE(done) << describe(done.error());
  EXPECT_TRUE(table.holds({0}, image));
  EXPECT_LT(region->wire_bytes(), 3 * code.size() * 7 / 10) << "32 MiB of it are not sent";
}

// ------------------------------------------------------------------------------------ how long what is not data takes

double seconds(Duration span) { return std::chrono::duration<double>(span).count(); }

/// The reference job: 1 MiB of application, bootloader, table, a storage image with one set of files.
TEST(Budget, OfADeskWriteOutsideTheDataIsOneSecond) {
  for (bool dirty : {false, true}) {
    Table table{{.preset = "fast"}, 4_MiB, dirty};
    const Instant ready = table.loop.now();
    table.connect_to_board();
    const Instant first_byte = table.loop.now();
    Duration writing{};
    for (auto [at, bytes] :
         {std::pair{FlashOffset{0x1000}, code_like(26'000, 1)}, std::pair{FlashOffset{0x8000}, code_like(3'072, 2)},
          std::pair{FlashOffset{0x1'0000}, code_like(1_MiB, 3)},
          std::pair{FlashOffset{0x11'0000}, mostly_blank(64_KiB)}}) {
      auto done = table.update(table.prepare(at, bytes));
      ASSERT_TRUE(done) << describe(done.error());
      writing += done->writing;
    }
    const Duration after = table.loop.now() - first_byte - writing;
    RecordProperty(dirty ? "dirty" : "blank",
                   std::to_string(seconds(first_byte - ready)) + " + " + std::to_string(seconds(after)));
    EXPECT_LE(seconds(first_byte - ready), 0.35);
    EXPECT_LE(seconds(after), 0.45) << "digests of 1.1 MB by a stub at full clock: 0.40 s of it";
  }
}

/// When each step of a board's life began, and its end.
std::map<std::string, double> steps_of(Bench& bench) {
  std::map<std::string, double> began;
  const Instant start = bench.loop.now();
  bench.listener.when_step = [&](const std::string&, Step step) {
    began[std::string{spec_of(step).name}] = seconds(bench.loop.now() - start);
  };
  bench.listener.when_done = [&](const std::string&, const RunOutcome&) {
    began["done"] = seconds(bench.loop.now() - start);
  };
  LineOptions options;
  options.ports = {slot};
  options.one_pass = true;
  LineSummary summary = bench.run(options);
  EXPECT_EQ(summary.exit(), Exit::good);
  bench.listener.when_step = nullptr;
  bench.listener.when_done = nullptr;
  return began;
}

TEST(Budget, OfABoardOnTheLine) {
  Bench bench{Seed{77}};
  if (!bench.options.use_stub) GTEST_SKIP() << "no stub here: set-up fetches it";
  bench.plan = bench_plan(1_MiB);
  bench.plug_in(slot, {.preset = "fast"});
  auto first = steps_of(bench);
  const RunOutcome outcome = bench.listener.done[slot].back();
  ASSERT_TRUE(!outcome.fault) << describe(*outcome.fault);
  EXPECT_LE(first["flash-firmware"], 0.40);
  EXPECT_LE(first["evidence"] - outcome.flashing_seconds, 0.95)
      << "from the port to the proof of all that was written, data apart";
  EXPECT_LE(first["done"] - first["evidence"], 1.0) << "reset, read back, start, challenge";
  // The same board again: nothing is written, all of it is read.
  auto again = steps_of(bench);
  EXPECT_EQ(bench.listener.done[slot].back().flashed_bytes, 0u);
  EXPECT_TRUE(bench.listener.done[slot].back().already);
  EXPECT_LE(again["evidence"], 1.0);
  EXPECT_LE(again["boot"], 1.5) << "to the digest read back after a reset";
  EXPECT_LE(again["done"], 2.7);
}

TEST(Resume, LineGoesOnWithTheBoardThatCameBack) {
  for (std::uint64_t at : {100'000u, 250'000u, 500'000u}) {
    Bench bench{Seed{78}};
    if (!bench.options.use_stub) GTEST_SKIP() << "no stub here: set-up fetches it";
    bench.plan = bench_plan(1_MiB);
    sim::BoardOptions options{.preset = "fast"};
    options.faults.unplug_at_byte = at;
    sim::Board& board = bench.plug_in(slot, options);
    LineOptions once;
    once.ports = {slot};
    once.count = 1;
    auto hands = [](Bench& b) -> Task<> {
      co_await b.loop.sleep_for(20s);
      b.ports().plug(slot);
    };
    bench.run(once, hands(bench));
    ASSERT_FALSE(bench.listener.done[slot].empty());
    const RunOutcome& outcome = bench.listener.done[slot].back();
    EXPECT_EQ(outcome.verdict, Verdict::verified) << (outcome.fault ? describe(*outcome.fault) : "");
    EXPECT_TRUE(bench.boots_as_itself(slot));
    // Both connections with their stubs, and what two blocks of flash take twice.
    EXPECT_LT(board.bytes_from_host(), 640'000u + 3 * 9'000u + 100'000u) << at;
  }
}

}  // namespace
}  // namespace espmint
