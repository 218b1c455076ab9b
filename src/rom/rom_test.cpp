// The loader against a scripted line: what the genuine ROM really answers, as far as it can be written down as bytes.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "rom/connect.hpp"
#include "rom/flash.hpp"
#include "rom/identify.hpp"
#include "rom/loader.hpp"
#include "rom/scripted_port.hpp"
#include "rom/stub.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

const Bytes good(4, 0);

TEST(Slip, ComesBackAsItWasSent) {
  Bytes all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<std::uint8_t>(i));
  Bytes wire = encode_slip(all);
  for (std::size_t step : {std::size_t{1}, std::size_t{3}, wire.size()}) {
    SlipDecoder decoder;
    std::vector<Bytes> frames;
    for (std::size_t at = 0; at < wire.size(); at += step) {
      decoder.push(ByteView{wire}.subspan(at, std::min(step, wire.size() - at)));
      while (auto frame = decoder.next()) frames.push_back(*frame);
    }
    ASSERT_EQ(frames.size(), 1u) << step;
    EXPECT_EQ(frames[0], all);
  }
}

TEST(Slip, DropsAFrameWithABadEscapeAndFindsTheNext) {
  SlipDecoder decoder;
  decoder.push(Bytes{0xc0, 0x01, 0xdb, 0x00, 0x02, 0xc0, 0xc0, 0x03, 0xc0});
  EXPECT_EQ(decoder.next(), (Bytes{0x03}));
  EXPECT_FALSE(decoder.next());
}

TEST(Slip, KeepsABootLogThatCameBeforeTheFirstFrame) {
  SlipDecoder decoder;
  decoder.push(as_bytes("ets Jul 29 2019\r\n"));
  decoder.push(Bytes{0xc0, 0x01, 0xc0});
  EXPECT_EQ(as_text(decoder.unframed()), "ets Jul 29 2019\r\n");
  EXPECT_EQ(decoder.next(), (Bytes{0x01}));
}

TEST(Slip, IsBoundedWhateverComes) {
  SlipDecoder decoder{1000};
  Bytes flood(100'000, 0x55);
  decoder.push(Bytes{0xc0});
  decoder.push(flood);
  decoder.push(Bytes{0xc0, 0x07, 0xc0});
  EXPECT_EQ(decoder.next(), (Bytes{0x07}));
}

TEST(Slip, HoldsItsLimitWhateverThePiecesAre) {
  // Found by slip_fuzz: a run that came in one piece went past the limit, and so did an escape at it.
  for (const Bytes& wire : {Bytes{0xc0, 0x01, 0x02, 0xc0}, Bytes{0xc0, 0x01, 0xdb, 0xdc, 0xc0}}) {
    SlipDecoder decoder{1};
    decoder.push(wire);
    EXPECT_FALSE(decoder.next());
  }
}

TEST(Loader, SkipsTheSevenOtherAnswersOfASync) {
  Bench bench{[](const Bytes& request) {
    Bytes out;
    if (op_of(request) == Op::sync) {
      for (int i = 0; i < 8; ++i) append(out, reply_frame(Op::sync, 0x2012'0707, good));
      return out;
    }
    return reply_frame(Op::read_reg, 0x1234, good);
  }};
  ASSERT_TRUE(bench.run(bench.loader.sync(20ms)));
  EXPECT_EQ(*bench.run(bench.loader.read_reg(0x3ff5'a004)), 0x1234u);
}

TEST(Loader, TakesSuccessFromTheFirstStatusByteAlone) {
  // Behind it stand remains of an older error or of an MD5 ("1b").
  Bench bench{[](const Bytes&) { return reply_frame(Op::read_reg, 7, Bytes{0x00, 0x05, 0x31, 0x62}); }};
  EXPECT_EQ(*bench.run(bench.loader.read_reg(0)), 7u);
}

TEST(Loader, UnderstandsThatAnUnknownCommandIsAnsweredInTheNameOfThePrevious) {
  Bench bench{[](const Bytes& request) {
    bool unknown = op_of(request) == Op::get_security_info;
    return reply_frame(Op::read_reg, 0xf01d83, unknown ? Bytes{0x01, 0x05, 0x00, 0x00} : good);
  }};
  ASSERT_TRUE(bench.run(bench.loader.read_reg(chip_magic_register)));
  Instant before = bench.loop.now();
  auto answer = bench.run(bench.loader.command(Op::get_security_info, {}));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::command_refused);
  EXPECT_LT(bench.loop.now() - before, 10ms) << "it must not wait for its own opcode until the time-out";
}

TEST(Loader, DoesNotTakeAnEchoForAnAnswer) {
  // After a FLASH_END without an application the ROM falls into BASIC, which echoes what it gets.
  Bench bench{[](const Bytes& request) { return encode_slip(request); }};
  auto answer = bench.run(bench.loader.read_reg(0));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::reply_missing);
}

TEST(Loader, IgnoresDamagedAndForeignFramesBeforeTheAnswer) {
  Bench bench{[](const Bytes&) {
    Bytes out = encode_slip(as_bytes("rst:0x1 (POWERON_RESET)"));
    append(out, Bytes{0xc0, 0x01, 0x0a, 0xc0});                                      // cut short
    append(out, reply_frame(Op::write_reg, 1, good));                                // of another command
    append(out, Bytes{0xc0, 0x01, 0x0a, 0x09, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0});  // its length lies
    append(out, reply_frame(Op::read_reg, 42, good));
    return out;
  }};
  EXPECT_EQ(*bench.run(bench.loader.read_reg(0)), 42u);
}

TEST(Loader, SaysInWordsWhyTheBoardRefused) {
  Bench bench{[](const Bytes& request) { return reply_frame(op_of(request), 0, Bytes{0x01, 0x07, 0, 0}); }};
  auto answer = bench.run(bench.loader.command(Op::flash_data, {}));
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().seen.find("0x07 (checksum wrong)"), std::string::npos) << answer.error().seen;
}

TEST(ChangeBaud, ScalesByTheCrystalThatTheEsp32RomBelievesIn) {
  std::uint32_t asked = 0;
  Bench bench{[&asked](const Bytes& request) {
    if (op_of(request) == Op::change_baudrate) asked = get_u32(request, 8);
    std::uint32_t value = 0;
    if (op_of(request) == Op::read_reg) {
      std::uint32_t address = get_u32(request, 8);
      if (address == 0x3ff5'f06c) value = 1320u << 7;  // 41.25 MHz where the crystal has 40
      if (address == 0x3ff5'a010) value = 80;
    }
    return reply_frame(op_of(request), value, good);
  }};
  ASSERT_TRUE(bench.run(bench.loader.change_baud(Baud{921'600})));
  EXPECT_EQ(asked, 950'400u);
  EXPECT_EQ(bench.port.bauds.back(), Baud{921'600});
}

TEST(ChangeBaud, NeverSendsAScaleOfZeroThatWouldSilenceTheRom) {
  std::uint32_t asked = 0;
  Bench bench{[&asked](const Bytes& request) {
    if (op_of(request) == Op::change_baudrate) asked = get_u32(request, 8);
    return reply_frame(op_of(request), 0, good);  // a blank eFuse
  }};
  ASSERT_TRUE(bench.run(bench.loader.change_baud(Baud{921'600})));
  EXPECT_EQ(asked, 921'600u);
}

TEST(Connect, NamesASilentPortWithinFiveSeconds) {
  Bench bench{[](const Bytes&) { return Bytes{}; }};
  auto end = bench.run(connect(bench.loader));
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::board_silent);
  EXPECT_LE(bench.loop.now().time_since_epoch(), 5s);
}

TEST(Connect, TellsABoardThatBootedFromOneThatIsSilent) {
  Bench bench{[](const Bytes&) { return Bytes{}; }};
  bench.port.banner = ("ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n");
  auto end = bench.run(connect(bench.loader));
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::board_not_in_download_mode);
  EXPECT_NE(end.error().seen.find("SPI_FAST_FLASH_BOOT"), std::string::npos);
}

TEST(Connect, UsesABoardThatIsInDownloadModeOnAPortWithoutModemLines) {
  Bench bench{[](const Bytes& request) { return reply_frame(op_of(request), 0, good); }};
  bench.port.has_lines = false;
  EXPECT_TRUE(bench.run(connect(bench.loader)));
}

TEST(Flash, AttributesALateErrorToTheBlockThatCausedIt) {
  Bytes noise(64 * 1024);
  std::uint32_t state = 1;
  for (auto& byte : noise) byte = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  int data_frames = 0;
  Bench bench{[&data_frames](const Bytes& request) {
    bool data = op_of(request) == Op::flash_data;
    // The stub acknowledges block 1 and reports its failure with the answer to block 2.
    bool late = data && data_frames++ == 2;
    return reply_frame(op_of(request), 0, late ? Bytes{0x01, 0xc4} : Bytes{0, 0});
  }};
  bench.loader.stub_speaks();
  auto region = prepare_region({0x10000}, noise, {});
  ASSERT_FALSE(region->deflated) << "noise is sent plain";
  ASSERT_EQ(region->blocks.size(), 4u);
  auto end = bench.run(write_region(bench.loader, *region));
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().where.offset, 0x10000u + 0x4000u);
  EXPECT_NE(end.error().seen.find("block 2 of 4"), std::string::npos) << end.error().seen;
}

TEST(Flash, FramesOfASecretRegionHoldTheSameAsOthers) {
  Bytes image(4096, 0xff);
  std::copy_n("-----BEGIN EC PRIVATE KEY-----", 30, image.begin());
  auto open = prepare_region({0}, image, {});
  auto secret = prepare_secret_region({0}, image, {});
  EXPECT_EQ(open->md5, secret->md5);
  EXPECT_TRUE(secret->secret);
  EXPECT_EQ(secret->blocks.size(), 1u);
}

TEST(Flash, GivesUpAReadThatComesInFragments) {
  // Found by rom_reply_fuzz: a byte a frame was taken for progress, 4 MiB of which would have been weeks.
  Bench bench{[](const Bytes& request) {
    if (request.size() < 8) return encode_slip(Bytes{0x41});  // our acknowledgement
    Bytes out = reply_frame(op_of(request), 0, Bytes{0, 0});
    append(out, encode_slip(Bytes{0x41}));
    return out;
  }};
  bench.loader.stub_speaks();
  auto bytes = bench.run(read_flash(bench.loader, {{0x1000}, 0x2000}));
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, Code::reply_damaged);
  EXPECT_EQ(bytes.error().seen, "1 bytes where 4096 were due");
  EXPECT_EQ(bench.port.requests.size(), 1u) << "a fragment is not acknowledged";
}

TEST(Stub, ThatDoesNotGreetHasNotStarted) {
  Bench bench{[](const Bytes& request) {
    Bytes answer = reply_frame(op_of(request), 0, Bytes(4, 0));
    if (op_of(request) == Op::mem_end)
      for (int i = 0; i < 4; ++i) append(answer, encode_slip(as_bytes("HUH?")));
    return answer;
  }};
  StubImage stub;
  stub.entry = stub.text_start = 0x4008'0000;
  stub.text = Bytes(64, 0x2a);
  auto end = bench.run(start_stub(bench.loader, stub));
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::stub_failed);
  EXPECT_EQ(end.error().remedy, Remedy::reconnect) << "only a reset brings the ROM back";
  EXPECT_EQ(bench.loader.speaker(), Speaker::rom);
}

TEST(Stub, FileIsRefusedWholeWhenItIsNotOne) {
  EXPECT_TRUE(parse_stub(as_bytes(R"({"entry":1,"text_start":2,"text":"AAAA","data_start":3,"data":"AA=="})")));
  for (auto text : {"", "{", "[]", R"({"entry":1})", R"({"entry":1,"text_start":2,"text":"*"})",
                    R"({"entry":"x","text_start":2,"text":""})"})
    EXPECT_FALSE(parse_stub(as_bytes(text))) << text;
}

// ---------------------------------------------------------------------- recorded with the genuine ROM and stub

std::vector<nlohmann::json> recorded(const std::string& name) {
  std::ifstream file{std::string{ESPMINT_SOURCE_DIR} + "/../shared/vectors/rom/" + name};
  std::vector<nlohmann::json> out;
  for (std::string line; std::getline(file, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

Bytes bytes_of(const nlohmann::json& hex) { return *from_hex(hex.get<std::string>()); }

class Recorded : public testing::TestWithParam<const char*> {};

TEST_P(Recorded, RequestsAreSentByteForByteAndTheirAnswersUnderstood) {
  auto exchange = recorded(GetParam());
  if (exchange.empty()) GTEST_SKIP() << "no recorded exchange beside the project";
  const nlohmann::json* now = nullptr;
  Bench bench{[&now](const Bytes& request) {
    if (now->contains("sent")) {
      EXPECT_EQ(to_hex(encode_slip(request)), (*now)["sent"].get<std::string>());
    }
    Bytes out;
    for (const auto& reply : (*now)["replies"]) append(out, encode_slip(bytes_of(reply)));
    return out;
  }};
  bench.loader.chip_is(*chip_named(std::string{GetParam()}.starts_with("esp32c3") ? "esp32c3" : "esp32"));
  int compared = 0;
  for (const auto& step : exchange) {
    if (!step.contains("sent")) {  // the stub's upload, of which only frame headers were kept: the greeting is taken
      if (step.contains("replies") && step["replies"].size() == 2) bench.loader.stub_speaks();
      continue;
    }
    now = &step;
    SlipDecoder decoder;
    decoder.push(bytes_of(step["sent"]));
    Bytes request = *decoder.next();
    auto op = static_cast<Op>(request[1]);
    if (op == Op::read_flash) continue;  // a stream, not a reply
    auto answer = bench.run(bench.loader.command(op, ByteView{request}.subspan(8), request[4], 50ms));
    if (op == Op::mem_end && step["replies"].size() == 2) bench.loader.stub_speaks();
    ++compared;
    if (step["replies"].empty()) {
      EXPECT_FALSE(answer) << step;
      continue;
    }
    Bytes first = bytes_of(step["replies"][0]);
    bool refused = first[8] != 0 && first.size() <= 12;
    EXPECT_EQ(answer.has_value(), !refused) << step.dump().substr(0, 200) << (answer ? "" : describe(answer.error()));
    if (answer && op == Op::read_reg) {
      EXPECT_EQ(answer->value, get_u32(first, 4));
    }
  }
  EXPECT_GT(compared, 20);
}

INSTANTIATE_TEST_SUITE_P(Genuine, Recorded,
                         testing::Values("esp32-session.jsonl", "esp32-stub-1.2.2-write.jsonl",
                                         "esp32-stub-1.2.2-erase.jsonl", "esp32-stub-1.2.2-flashid.jsonl",
                                         "esp32-stub-1.2.2-read.jsonl", "esp32c3-session.jsonl",
                                         "esp32c3-stub-1.2.2-write.jsonl"));

TEST(Genuine, Esp32IsIdentifiedFromWhatItsRomAnswered) {
  auto exchange = recorded("esp32-session.jsonl");
  if (exchange.empty()) GTEST_SKIP() << "no recorded exchange beside the project";
  std::map<std::string, Bytes> by_request;
  std::map<std::uint32_t, Bytes> by_register;
  for (const auto& step : exchange) {
    if (!step.contains("sent") || step["replies"].empty()) continue;
    Bytes sent = bytes_of(step["sent"]);
    by_request[to_hex(sent)] = bytes_of(step["replies"][0]);
  }
  Bench bench{[&](const Bytes& request) {
    auto found = by_request.find(to_hex(encode_slip(request)));
    // What esptool did not ask (flash encryption word) reads as a blank eFuse.
    return found != by_request.end() ? encode_slip(found->second) : reply_frame(op_of(request), 0, good);
  }};
  auto board = bench.run(identify(bench.loader));
  ASSERT_TRUE(board) << describe(board.error());
  EXPECT_EQ(board->chip->id, ChipId::esp32);
  EXPECT_EQ(to_string(board->mac), "240ac4123456");
  EXPECT_EQ(to_string(board->revision), "3.0");
  EXPECT_FALSE(board->security.locked());
}

}  // namespace
}  // namespace espmint
