// The presets against public logs of real boards: how long the data of one file took, within 15 %. Where each log comes
// from and which ones no preset reproduces: docs/virtual-board.md, Times.
#include <gtest/gtest.h>
#include <zlib.h>

#include "sim/desk_for_tests.hpp"

namespace espmint::sim {
namespace {

struct Log {
  friend void PrintTo(const Log& log, std::ostream* out) { *out << log.what; }
  const char* what;
  const char* preset;
  bool used;           // flash that held something
  std::uint32_t baud;  // 8,000,000 stands for the chip's own USB
  std::uint32_t bytes, compressed;
  double seconds;
};

// Boards in the field hold something already, and the stubs of that time erase in any case.
constexpr std::array logs{
    Log{"ESP32, esptool 2.2.1", "no-boost", true, 2'000'000, 506'960, 313'240, 5.2},
    Log{"ESP32 with 16 MB, esptool 2.9", "no-boost", true, 2'000'000, 1'527'120, 623'923, 12.7},
    Log{"ESP32, esptool 2.8", "no-boost", true, 2'000'000, 2'291'152, 1'366'321, 22.4},
    Log{"ESP32-D0WDQ6, esptool 4.5.1, whole flash of 4 MB", "classic", true, 2'000'000, 4'194'304, 1'381'652, 27.4},
    Log{"ESP32 behind CP2102N", "no-boost", true, 2'000'000, 1'388'912, 858'612, 13.5},
    Log{"ESP32 behind CH340, the same image", "no-boost", true, 921'600, 1'388'912, 858'612, 13.8},
    Log{"ESP32-PICO-D4, esptool 5.1.0", "no-boost", true, 1'500'000, 1'079'232, 687'982, 10.0},
    Log{"ESP32-PICO-D4", "no-boost", true, 1'500'000, 783'520, 478'987, 7.6},
    Log{"ESP32-D0WD-V3, esptool 4.6.2", "no-boost", true, 921'600, 1'851'472, 1'063'799, 17.6},
    Log{"ESP32-D0WD-V3", "gd25q-typical", true, 921'600, 732'656, 475'614, 6.3},
    Log{"ESP32-S3 by UART, esptool 3.2", "classic", true, 460'800, 168'208, 88'178, 2.4},
    Log{"ESP32-C6 by UART, esptool 4.10", "classic", true, 115'200, 1'220'480, 677'594, 59.9},
    Log{"ESP32-S3 behind CP2102, esptool 4.8.1", "classic", true, 115'200, 2'371'296, 1'444'488, 130.1},
    Log{"ESP32-C6, stub 1.x, 512 KiB", "classic", true, 921'600, 524'288, 367'000, 5.2},
    Log{"ESP32-C3 by USB", "fast", true, 8'000'000, 1'342'768, 822'175, 4.7},
    Log{"ESP32-S3 by USB", "w25q-typical", true, 8'000'000, 1'005'184, 641'999, 4.3},
    Log{"ESP32-U4WDH on a production stand, used", "classic", true, 2'000'000, 1'770'000, 1'045'000, 13.0},
    Log{"ESP32-U4WDH on a production stand, blank", "classic", false, 2'000'000, 1'770'000, 1'045'000, 7.6},
};

/// A zlib stream by Huffman codes alone: quick, and there is nothing else in these bytes.
Bytes packed(ByteView bytes) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15, 9, Z_HUFFMAN_ONLY);
  Bytes out(deflateBound(&stream, bytes.size()));
  stream.next_in = const_cast<Bytef*>(bytes.data());  // zlib only reads it
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// Of a thousand bytes so many at random, the others all the same.
Bytes mixed(std::uint32_t bytes, std::uint64_t of_thousand) {
  Dice dice{bytes};
  Bytes out(bytes, 0x20);
  for (std::uint8_t& byte : out)
    if (dice.below(1000) < of_thousand) byte = dice.byte();
  return out;
}

/// Bytes that deflate to about this much.
Bytes image_of(std::uint32_t bytes, std::uint32_t compressed) {
  constexpr std::uint32_t sample = 64 * 1024;
  std::uint64_t low = 0, high = 1000;
  while (high - low > 1) {
    const std::uint64_t middle = (low + high) / 2;
    const double ratio = static_cast<double>(packed(mixed(sample, middle)).size()) / sample;
    (ratio * bytes < compressed ? low : high) = middle;
  }
  return mixed(bytes, low);
}

/// As a flashing tool does; from the first block to the last one's end.
double seconds_to_write(Desk& desk, std::uint32_t at, std::uint32_t size, ByteView stream) {
  const auto blocks = static_cast<std::uint32_t>((stream.size() + 0x3fff) / 0x4000);
  desk.ask(request_frame(op::defl_begin, words({size, blocks, 0x4000, at, 0})));
  const Time begun = desk.now;
  for (std::uint32_t i = 0; i < blocks; ++i) {
    ByteView block = stream.subspan(std::size_t{i} * 0x4000);
    EXPECT_FALSE(desk.ask(block_frame(op::defl_data, i, block.first(std::min<std::size_t>(block.size(), 0x4000))),
                          std::chrono::seconds{60})
                     .empty());
  }
  desk.ask(request_frame(op::read_reg, words({0x4000'1000})), std::chrono::seconds{60});
  return std::chrono::duration<double>(desk.now - begun).count();
}

class Calibration : public testing::TestWithParam<Log> {};

TEST_P(Calibration, ReproducesTheLogWithinFifteenPercent) {
  const Log& log = GetParam();
  const Bytes image = image_of(log.bytes, log.compressed), stream = packed(image);
  ASSERT_NEAR(static_cast<double>(stream.size()), log.compressed, log.compressed * 0.04);
  Desk desk{{.preset = log.preset}, 8 * 1024 * 1024};
  if (log.used) NorFlash{desk.flash}.make_dirty(1);
  desk.connect();
  desk.run_stub();
  desk.ask(request_frame(op::change_baudrate, words({log.baud, 115'200})));
  desk.wait(milliseconds{20});
  desk.board.set_host_baud(desk.now, log.baud);
  const double took = seconds_to_write(desk, 0x10000, log.bytes, stream);
  RecordProperty("seconds", std::to_string(took));
  EXPECT_NEAR(took, log.seconds, log.seconds * 0.15) << log.what;
}
INSTANTIATE_TEST_SUITE_P(PublicLogs, Calibration, testing::ValuesIn(logs),
                         [](const auto& about) { return "log" + std::to_string(about.index); });

}  // namespace
}  // namespace espmint::sim
