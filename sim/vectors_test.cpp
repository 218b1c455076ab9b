// What the genuine mask ROM and the genuine stub answered, byte for byte, when they were asked by esptool and by hand.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/desk_for_tests.hpp"

namespace espmint::sim {
namespace {
namespace fs = std::filesystem;
using nlohmann::json;

const fs::path vectors = fs::path{ESPMINT_SOURCE_DIR} / ".." / "shared" / "vectors" / "rom";

/// Recorded exchanges that a virtual board does not repeat, each with its reason.
struct Exception {
  std::string_view file;
  std::size_t line;  // from 0
  std::string_view reason;
};
constexpr std::array exceptions{
    Exception{"esp32-session.jsonl", 0, "SYNC lost before autobaud: the recording began while the chip was starting"},
    Exception{"esp32-session.jsonl", 1, "SYNC lost before autobaud"},
    Exception{"esp32-stub-1.2.2-write.jsonl", 0, "SYNC lost before autobaud"},
    Exception{"esp32-stub-1.2.2-write.jsonl", 1, "SYNC lost before autobaud"},
    Exception{"esp32-stub-1.2.2-read.jsonl", 0, "SYNC lost before autobaud"},
    Exception{"esp32-stub-1.2.2-read.jsonl", 1, "SYNC lost before autobaud"},
    Exception{"esp32-stub-1.2.2-erase.jsonl", 0, "SYNC lost before autobaud"},
    Exception{"esp32-stub-1.2.2-erase.jsonl", 1, "SYNC lost before autobaud"},
    Exception{"esp32-stub-1.2.2-flashid.jsonl", 0, "SYNC lost before autobaud"},
    Exception{"esp32-stub-1.2.2-flashid.jsonl", 1, "SYNC lost before autobaud"},
};

std::optional<std::string_view> exception_for(std::string_view file, std::size_t line) {
  for (const Exception& row : exceptions)
    if (row.file == file && row.line == line) return row.reason;
  return std::nullopt;
}

/// A block whose data the recording left out: filler with the recorded checksum. The last byte mends it.
Bytes filler_block(const json& row) {
  Bytes head = *from_hex(row["sent_header"].get<std::string>());
  std::uint8_t wanted = head[5];
  Bytes payload(head.begin() + 1, head.end());
  std::uint32_t size = get_u32(payload, 8);
  Bytes data(size, 0x11);
  data.back() = static_cast<std::uint8_t>(data.back() ^ block_checksum(data) ^ wanted);
  append(payload, data);
  Bytes frame;
  append_slip_frame(frame, payload);
  return frame;
}

void put_at(Desk& desk, std::uint32_t at, ByteView bytes) {
  std::copy(bytes.begin(), bytes.end(), desk.flash.begin() + at);
}

/// Sends each recorded request and compares each byte of the answer.
void replay(const std::string& file, Desk& desk) {
  std::ifstream in{vectors / file};
  ASSERT_TRUE(in) << file;
  std::string line;
  std::size_t compared = 0;
  bool probing = false;
  for (std::size_t number = 0; std::getline(in, line); ++number) {
    json row = json::parse(line);
    if (exception_for(file, number)) continue;
    SCOPED_TRACE(fmt::format("{} line {}: {}", file, number + 1, row.value("command", "probe")));
    if (row.contains("probe")) {
      // The probes are a session of their own: the chip was reset before them.
      if (!std::exchange(probing, true)) {
        desk.reset(true);
        desk.hear();
      }
      Bytes data = *from_hex(row["data"].get<std::string>());
      auto opcode = row["op"].get<std::uint8_t>();
      if (opcode == op::sync) data.resize(36, 0x55);
      Bytes raw = desk.talk(request_frame(opcode, data));
      EXPECT_EQ(to_hex(raw), row["raw_reply"].get<std::string>());
      ++compared;
      continue;
    }
    Bytes sent = row.contains("sent_header") ? filler_block(row) : *from_hex(row["sent"].get<std::string>());
    std::vector<Bytes> heard = frames_in(desk.talk(sent));
    const json& replies = row["replies"];
    ASSERT_EQ(heard.size(), replies.size());
    for (std::size_t i = 0; i < heard.size(); ++i) EXPECT_EQ(to_hex(heard[i]), replies[i].get<std::string>());
    if (row.value("op", 0) == op::change_baudrate) desk.board.set_host_baud(desk.now, get_u32(frames_in(sent)[0], 8));
    ++compared;
  }
  EXPECT_GT(compared, 80u);
}

/// The SPI controller still holds what the recorded chip's last run left in it.
void leave_in_spi_user(Desk& desk, std::uint32_t value) {
  desk.connect();
  desk.ask(request_frame(op::write_reg, words({0x3ff4'201c, value, 0xffff'ffff, 0})));
}

/// The recorded one had nothing burnt but its MAC, under the ROM of revision 0.3.
BoardOptions esp32c3() { return {.chip = "esp32c3", .registers = {{0x6000'8850, 0}, {0x6000'8858, 0}}}; }

class RecordedExchange : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(vectors)) GTEST_SKIP() << "no recordings at " << vectors << ": the literals below still hold";
  }
};

TEST_F(RecordedExchange, OfTheEsp32MaskRomIsRepeated) {
  Desk desk;
  desk.reset(true);
  desk.hear();
  // The probes ask for the digest of 4 KiB at 0x10000, which held what the session wrote.
  replay("esp32-session.jsonl", desk);
}

TEST_F(RecordedExchange, OfTheEsp32C3MaskRomIsRepeated) {
  Desk desk{esp32c3()};
  desk.reset(true);
  desk.hear();
  replay("esp32c3-session.jsonl", desk);
}

TEST_F(RecordedExchange, OfTheStubWritingIsRepeated) {
  Desk desk;
  desk.reset(true);
  desk.hear();
  replay("esp32-stub-1.2.2-write.jsonl", desk);
}

TEST_F(RecordedExchange, OfTheStubOnTheC3IsRepeated) {
  Desk desk{esp32c3()};
  desk.reset(true);
  desk.hear();
  replay("esp32c3-stub-1.2.2-write.jsonl", desk);
}

TEST_F(RecordedExchange, OfTheStubErasingIsRepeated) {
  Desk desk;
  leave_in_spi_user(desk, 0x5000'0000);
  put_at(desk, 0x10000, Bytes(0x2000, 0x00));
  replay("esp32-stub-1.2.2-erase.jsonl", desk);
  EXPECT_EQ(desk.flash[0x10000], 0xff);
  EXPECT_EQ(desk.flash[0x11fff], 0xff);
}

TEST_F(RecordedExchange, OfTheStubTellingTheFlashIdIsRepeated) {
  Desk desk;
  leave_in_spi_user(desk, 0x5000'0000);
  replay("esp32-stub-1.2.2-flashid.jsonl", desk);
}

TEST_F(RecordedExchange, OfTheStubReadingFlashIsRepeated) {
  Desk desk;
  leave_in_spi_user(desk, 0x5000'0000);
  // What the recorded chip held, as its answer shows.
  std::string content;
  for (int i = 0; content.size() < 0x4000; ++i) content += fmt::format("block {:08}\n", i);
  put_at(desk, 0x10000, as_bytes(content).first(0x4000));
  replay("esp32-stub-1.2.2-read.jsonl", desk);
}

/// esp32-flash-sequence.txt names its requests in words; here they are as bytes.
TEST(MaskRom, AnswersWrongSequencesAndChecksumsAsRecorded) {
  Desk desk;
  EXPECT_EQ(as_text([&] {
              desk.reset(true);
              return desk.hear();
            }()),
            "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0xf (UART_BOOT(UART0))\r\n");
  Bytes data(1024, 0x5a);
  auto begin = [](std::uint32_t block) { return request_frame(op::flash_begin, words({4096, 4, block, 0x20000})); };
  Bytes wrong = block_frame(op::flash_data, 1, data);
  wrong[5] ^= 1;  // its checksum
  Bytes defl_short = block_frame(op::defl_data, 0, Bytes{0x78, 0xda, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01});
  struct Row {
    std::string_view what;
    Bytes sent;
    std::string_view reply;
  };
  const std::array rows{
      Row{"attach", request_frame(op::spi_attach, words({0, 0})), "c0010d04000707122000000000c0"},
      Row{"parameters", request_frame(op::spi_set_params, words({0, 4 << 20, 65536, 4096, 256, 0xffff})),
          "c0010b04000707122000000000c0"},
      Row{"begin", begin(1024), "c0010204000707122000000000c0"},
      Row{"block 0", block_frame(op::flash_data, 0, data), "c0010304000707122000000000c0"},
      Row{"block 0 again", block_frame(op::flash_data, 0, data), "c0010304000707122001050000c0"},
      Row{"block 1", block_frame(op::flash_data, 1, data), "c0010304000707122000050000c0"},
      Row{"block 3 for 2", block_frame(op::flash_data, 3, data), "c0010304000707122001050000c0"},
      Row{"block 2", block_frame(op::flash_data, 2, data), "c0010304000707122000050000c0"},
      Row{"begin anew", begin(1024), "c0010204000707122000050000c0"},
      Row{"block 0", block_frame(op::flash_data, 0, data), "c0010304000707122000050000c0"},
      Row{"block 1, checksum wrong", wrong, "c0010304000707122001070000c0"},
      Row{"block 1 again, right", block_frame(op::flash_data, 1, data), "c0010304000707122001050000c0"},
      Row{"begin again", begin(1024), "c0010204000707122000050000c0"},
      Row{"block 0", block_frame(op::flash_data, 0, data), "c0010304000707122000050000c0"},
      Row{"block 1", block_frame(op::flash_data, 1, data), "c0010304000707122000050000c0"},
      Row{"block 2", block_frame(op::flash_data, 2, data), "c0010304000707122000050000c0"},
      Row{"block 3", block_frame(op::flash_data, 3, data), "c0010304000707122000050000c0"},
      Row{"block 4, beyond", block_frame(op::flash_data, 4, data), "c0010304000707122000050000c0"},
      Row{"begin, 4096 B blocks", begin(4096), "c0010204000707122000050000c0"},
      Row{"4096 B", block_frame(op::flash_data, 0, Bytes(4096, 1)), "c0010304000707122000050000c0"},
      Row{"begin, 2048 B blocks", begin(2048), "c0010204000707122000050000c0"},
      Row{"2048 B", block_frame(op::flash_data, 0, Bytes(2048, 2)), "c0010304000707122000050000c0"},
  };
  // SYNC: eight equal replies.
  Bytes synced = desk.talk(sync_frame());
  std::vector<Bytes> replies = frames_in(synced);
  ASSERT_EQ(replies.size(), 8u);
  for (const Bytes& reply : replies) EXPECT_EQ(to_hex(reply), "010804000707122000000000");
  for (const Row& row : rows) EXPECT_EQ(to_hex(desk.talk(row.sent)), row.reply) << row.what;
}

TEST(MaskRom, KeepsThePreviousOpcodeForAnUnknownCommandAndRemainsOfADigestInItsStatus) {
  Desk desk;
  desk.connect();
  EXPECT_EQ(to_hex(desk.talk(request_frame(op::read_reg, words({0x4000'1000})))), "c0010a0400831df00000000000c0");
  EXPECT_EQ(to_hex(desk.talk(request_frame(op::security_info, {}))), "c0010a0400831df00001050000c0");
  EXPECT_EQ(to_hex(desk.talk(request_frame(op::erase_flash, {}))), "c0010a0400831df00001050000c0");
  Bytes digest = desk.talk(request_frame(op::flash_md5, words({0x10000, 4096, 0, 0})));
  ASSERT_EQ(frames_in(digest).at(0).size(), 8u + 32 + 4);
  std::string text{as_text(ByteView{frames_in(digest)[0]}.subspan(8, 32))};
  EXPECT_EQ(text, to_hex(NorFlash{desk.flash}.md5(0x10000, 4096)));
  // The digest's third and fourth characters stay behind as the last two status bytes.
  std::string rest = to_hex(as_bytes(text.substr(2, 2)));
  EXPECT_EQ(to_hex(desk.talk(request_frame(op::spi_attach, words({0, 0})))), "c0010d0400831df0000000" + rest + "c0");
}

TEST(MaskRom, FallsIntoAnInterpreterThatEchoesWhenThereIsNothingToRun) {
  Desk desk;
  desk.connect();
  Bytes end = desk.talk(request_frame(op::flash_end, words({1})));
  EXPECT_TRUE(as_text(end).find("Falling back to built-in command interpreter.\r\nOK\r\n>") != std::string::npos);
  EXPECT_EQ(to_hex(desk.talk(sync_frame())),
            "c008200824070712205555555555555555555555555555555555555555555555555555555555555555c0");
}

}  // namespace
}  // namespace espmint::sim
