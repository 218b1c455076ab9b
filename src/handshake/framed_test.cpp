// The framed hand-shake with a board that answers as the test tells it to, in virtual time.
#include "handshake/framed.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>

#include "io/loop.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
using Kind = FramedAnswer::Kind;

const Mac mac = *parse_mac("24d7eb123456"), other_mac = *parse_mac("24d7eb999999");
const Nonce nonce{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
const Nonce later_nonce{0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00};

std::vector<Secret> secrets(std::initializer_list<std::string_view> fields) {
  std::vector<Secret> out;
  for (std::string_view field : fields) out.emplace_back(to_bytes(field));
  return out;
}
std::vector<Secret> key() { return secrets({"alpha-1", "bravo-22", "charlie-333"}); }

/// The conversation of docs/formats/handshake.md, "A worked example": who, and the frame.
struct Said {
  bool by_board;
  Bytes frame;
};
std::vector<Said> worked_example() {
  std::ifstream file{ESPMINT_SOURCE_DIR "/docs/formats/handshake.md"};
  std::vector<Said> out;
  std::vector<std::string> hex;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("```")) inside = line == "```hex";
    if (!inside || line.starts_with('#') || line.starts_with("```")) continue;
    if (!line.starts_with(' ')) {
      out.push_back({line.starts_with("board"), {}});
      hex.emplace_back();
      line = line.substr(line.find(' '));
    }
    std::erase(line, ' ');
    hex.back() += line;
  }
  for (std::size_t i = 0; i < out.size(); ++i) out[i].frame = from_hex(hex[i]).value();
  return out;
}

/// `hears` is told of each frame that the station sent.
class BoardPort final : public Port {
 public:
  explicit BoardPort(Clock& clock) : clock_(clock) {}
  void sends(Duration at, ByteView bytes) { pending_.emplace(Instant{at}, Bytes{bytes.begin(), bytes.end()}); }
  void answers(Duration after, ByteView bytes) {
    pending_.emplace(clock_.now() + after, Bytes{bytes.begin(), bytes.end()});
  }
  std::function<void(BoardPort&, const Frame&)> hears = [](BoardPort&, const Frame&) {};
  std::vector<FrameType> heard;
  std::vector<Bytes> written;
  std::optional<Duration> gone_at;

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    Instant next = pending_.empty() ? deadline : std::min(deadline, pending_.begin()->first);
    if (gone_at) next = std::min(next, Instant{*gone_at});
    if (next > clock_.now()) co_await clock_.sleep_until(next);
    if (gone_at && clock_.now() >= Instant{*gone_at})
      co_return fail({Code::port_gone, Remedy::reconnect, "the port is gone"});
    if (pending_.empty() || pending_.begin()->first > clock_.now()) co_return std::size_t{0};
    Bytes& bytes = pending_.begin()->second;
    std::size_t count = std::min(into.size(), bytes.size());
    std::copy_n(bytes.begin(), count, into.begin());
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    if (bytes.empty()) pending_.erase(pending_.begin());
    co_return count;
  }
  Task<Result<void>> write(ByteView bytes, Instant) override {
    FrameDecoder decoder;
    decoder.feed(bytes);
    std::optional<Frame> frame = decoder.next();
    EXPECT_TRUE(frame) << "each write is one whole frame";
    written.emplace_back(bytes.begin(), bytes.end());
    heard.push_back(frame->type);
    hears(*this, *frame);
    co_return ok();
  }
  Task<Result<void>> set_baud(Baud) override { co_return ok(); }
  Task<Result<void>> set_dtr(bool) override { co_return ok(); }
  Task<Result<void>> set_rts(bool) override { co_return ok(); }
  Task<Result<void>> set_dtr_rts(bool, bool) override { co_return ok(); }
  Task<Result<void>> discard_input() override { co_return ok(); }
  void close() override {}
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  Clock& clock_;
  std::multimap<Instant, Bytes> pending_;
  std::string name_ = "scripted";
};

Bytes with(ByteView a, ByteView b, ByteView c = {}) {
  Bytes out{a.begin(), a.end()};
  append(out, b);
  append(out, c);
  return out;
}
Bytes echo_of(const Mac& who, const Nonce& of) { return encode_frame(FrameType::echo, with(who.octets, of, Bytes{0})); }
Bytes refusal(FrameType of, std::uint8_t reason) {
  return encode_frame(FrameType::refused, Bytes{static_cast<std::uint8_t>(of), reason});
}

struct Bench {
  VirtualLoop loop;
  BoardPort port{loop};
  Instant deadline{5s};

  Result<FramedAnswer> gives(std::vector<Secret> fields = key()) {
    return run([&]() { return give_key(port, loop, mac, nonce, fields, deadline); });
  }
  Result<FramedAnswer> reads_back() {
    auto fields = key();
    return run([&]() { return read_back(port, loop, mac, later_nonce, fields, deadline); });
  }
  Result<FramedAnswer> reads_digest() {
    return run([&]() { return read_digest(port, loop, later_nonce, deadline); });
  }
  Result<FramedAnswer> locks() {
    return run([&]() { return lock_board(port, loop, mac, nonce, deadline); });
  }
  Result<FramedAnswer> tests() {
    return run([&]() { return self_test(port, loop, deadline); });
  }
  Result<std::optional<BoardHello>> hails() {
    return run([&]() { return hail(port, loop, deadline); });
  }

 private:
  template <typename Call>
  auto run(Call call) -> typename std::invoke_result_t<Call>::value_type {
    std::optional<typename std::invoke_result_t<Call>::value_type> out;
    loop.run(await_into(call, out));
    return std::move(*out);
  }
  template <typename Call, typename Out>
  static Task<> await_into(Call& call, Out& out) {
    out.emplace(co_await call());
  }
};

TEST(Framed, SaysAndUnderstandsTheWorkedExample) {
  std::vector<Said> example = worked_example();
  ASSERT_EQ(example.size(), 13u);
  Bench bench;
  bench.port.hears = [&](BoardPort& port, const Frame&) {
    // What follows the frame in the example is the board's answer to it.
    for (std::size_t i = 0; i + 1 < example.size(); ++i)
      if (!example[i].by_board && example[i].frame == port.written.back()) {
        port.answers(5ms, example[i + 1].frame);
        return;
      }
    if (port.heard.back() == FrameType::hail) port.answers(5ms, example[0].frame);
  };
  auto hello = bench.hails();
  ASSERT_TRUE(hello && *hello);
  EXPECT_EQ((*hello)->mac, mac);
  EXPECT_EQ((*hello)->state, BoardState::unprovisioned);
  EXPECT_EQ((*hello)->fields_wanted, 3);
  EXPECT_EQ((*hello)->firmware, "1.4.0");
  EXPECT_EQ(bench.gives()->kind, Kind::good);
  auto another = bench.gives(secrets({"alpha-1", "bravo-22", "charlie-334"}));
  EXPECT_EQ(another->kind, Kind::refused);
  EXPECT_EQ(another->reason, 6);
  EXPECT_EQ(another->seen, "the board refused: it has another key already");
  EXPECT_EQ(bench.reads_back()->kind, Kind::good);
  auto measured = bench.tests();
  EXPECT_EQ(measured->kind, Kind::good);
  EXPECT_EQ(measured->values, (std::vector<std::pair<std::string, std::int32_t>>{{"vbat_mv", 3301}, {"temp_dc", -12}}));
  EXPECT_EQ(bench.locks()->kind, Kind::good);
}

TEST(FrameDecoder, FindsFramesBetweenLogLinesAndNoiseHoweverCut) {
  Bytes stream = to_bytes("I (12) boot: hello\r\n\xf5\x45\xf5");
  append(stream, encode_frame(FrameType::stored, Bytes(32, 7)));
  append(stream, to_bytes("rst:0x1\r\n\xf5"
                          "EMK\x01\x92\xff\xff"));  // too long a frame
  append(stream, to_bytes("\xf5"
                          "EMK\x02\x92"));  // of another version
  append(stream, encode_frame(FrameType::hello, {}));
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    FrameDecoder decoder;
    std::vector<FrameType> found;
    for (ByteView part : {ByteView{stream}.first(cut), ByteView{stream}.subspan(cut)}) {
      decoder.feed(part);
      while (auto frame = decoder.next()) found.push_back(frame->type);
    }
    EXPECT_EQ(found, (std::vector{FrameType::stored, FrameType::hello})) << cut;
  }
}

TEST(FrameDecoder, ADamagedFrameIsNone) {
  const Bytes good = encode_frame(FrameType::stored, Bytes(32, 7));
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bent = good;
    bent[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    FrameDecoder decoder;
    decoder.feed(bent);
    EXPECT_FALSE(decoder.next()) << bit;
    decoder.give_up_begun();
    decoder.feed(good);
    EXPECT_TRUE(decoder.next()) << bit;
  }
  FrameDecoder longest;
  longest.feed(encode_frame(FrameType::key, Bytes(longest_frame_payload, 1)));
  EXPECT_TRUE(longest.next());
}

TEST(Hello, IsWholeOrNone) {
  const Bytes good = with(with(Bytes{1}, mac.octets), Bytes{2, 5, 3, '1', 0x1b, 'x'});
  ASSERT_TRUE(parse_hello(good));
  EXPECT_EQ(parse_hello(good)->state, BoardState::locked);
  EXPECT_EQ(parse_hello(good)->firmware, "1?x");
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(parse_hello(ByteView{good}.first(size)));
  for (auto [at, value] : {std::pair{0, 2}, {7, 3}, {9, 2}, {9, 4}, {9, 200}}) {
    Bytes bent = good;
    bent[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(value);
    EXPECT_FALSE(parse_hello(bent)) << at;
  }
}

TEST(GiveKey, SendsNoKeyToAnotherBoard) {
  Bench bench;
  bench.port.hears = [](BoardPort& port, const Frame&) { port.answers(5ms, echo_of(other_mac, nonce)); };
  auto answer = bench.gives();
  EXPECT_EQ(answer->kind, Kind::wrong_board);
  EXPECT_EQ(answer->seen, "board 24d7eb999999 answered, this should be 24d7eb123456");
  EXPECT_EQ(bench.port.heard, std::vector{FrameType::challenge});
}

TEST(GiveKey, AnEchoOfAnotherNonceIsNobodys) {
  Bench bench;
  bench.port.hears = [](BoardPort& port, const Frame&) { port.answers(5ms, echo_of(mac, later_nonce)); };
  EXPECT_EQ(bench.gives()->kind, Kind::silent);
  for (FrameType type : bench.port.heard) EXPECT_EQ(type, FrameType::challenge);
}

TEST(GiveKey, AsksAgainForWhatWasLost) {
  Bench bench;
  bench.port.hears = [](BoardPort& port, const Frame& frame) {
    auto times = std::count(port.heard.begin(), port.heard.end(), frame.type);
    if (times < 3) return;
    if (frame.type == FrameType::challenge) port.answers(5ms, echo_of(mac, nonce));
    if (frame.type == FrameType::key) port.answers(5ms, encode_frame(FrameType::stored, key_digest(nonce, mac, key())));
  };
  EXPECT_EQ(bench.gives()->kind, Kind::good);
  using enum FrameType;
  EXPECT_EQ(bench.port.heard, (std::vector{challenge, challenge, challenge, key, challenge, key, challenge, key}));
  EXPECT_EQ(bench.port.written[3], bench.port.written[7]) << "the very same key";
  EXPECT_EQ(bench.loop.now(), Instant{2020ms});
}

TEST(GiveKey, SendsNothingMoreToABoardThatHasBecomeAnother) {
  Bench bench;
  bench.port.hears = [](BoardPort& port, const Frame& frame) {
    bool before = std::ranges::count(port.heard, FrameType::key) == 0;
    const Mac there = before ? mac : other_mac;
    if (frame.type == FrameType::challenge) port.answers(5ms, echo_of(there, nonce));
  };
  EXPECT_EQ(bench.gives()->kind, Kind::wrong_board);
  EXPECT_EQ(std::ranges::count(bench.port.heard, FrameType::key), 1);
}

TEST(GiveKey, RefusesFieldsThatTheBoardWouldRefuse) {
  using namespace std::string_view_literals;
  Bench bench;
  for (std::string_view field : {""sv, "a\nb"sv, "\x7f"sv, "\0"sv}) {
    auto answer = bench.gives(secrets({"a", field}));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::input_invalid);
    EXPECT_NE(answer.error().what.find("field 2"), std::string::npos);
  }
  EXPECT_FALSE(bench.gives(secrets({std::string(129, 'x')})));
  EXPECT_FALSE(bench.gives({}));
  EXPECT_TRUE(bench.port.written.empty());
}

TEST(ReadBack, OneStaleDigestCondemnsNoBoardTwoDo) {
  Bench bench;
  bench.port.sends(0ms, encode_frame(FrameType::digest, Bytes(32, 1)));
  bench.port.hears = [](BoardPort& port, const Frame&) {
    port.answers(5ms, encode_frame(FrameType::digest, key_digest(later_nonce, mac, key())));
  };
  EXPECT_EQ(bench.reads_back()->kind, Kind::good);
  Bench wrong;
  wrong.port.hears = [](BoardPort& port, const Frame&) {
    port.answers(5ms, encode_frame(FrameType::digest, key_digest(nonce, mac, key())));
  };
  EXPECT_EQ(wrong.reads_back()->kind, Kind::differs) << "a digest with an old nonce";
  Bench once;
  once.port.sends(5ms, encode_frame(FrameType::digest, Bytes(32, 1)));
  EXPECT_EQ(once.reads_back()->kind, Kind::differs);
}

TEST(ReadDigest, GivesWhatAnUnknownBoardHolds) {
  Bench bench;
  bench.port.hears = [](BoardPort& port, const Frame& question) {
    ASSERT_EQ(question.type, FrameType::readback);
    EXPECT_EQ(question.payload, (Bytes{later_nonce.begin(), later_nonce.end()}));
    port.answers(5ms, encode_frame(FrameType::digest, key_digest(later_nonce, mac, key())));
  };
  auto answer = bench.reads_digest();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->kind, Kind::good);
  EXPECT_EQ(answer->digest, key_digest(later_nonce, mac, key()));
}

TEST(Framed, EndsRefusedSilentOrWithThePortsFault) {
  Bench refused;
  refused.port.hears = [](BoardPort& port, const Frame&) { port.answers(5ms, refusal(FrameType::readback, 9)); };
  EXPECT_EQ(refused.reads_back()->reason, 9);
  Bench other;
  other.port.hears = [](BoardPort& port, const Frame&) { port.answers(5ms, refusal(FrameType::key, 9)); };
  EXPECT_EQ(other.reads_back()->kind, Kind::silent) << "a refusal of something else";
  EXPECT_EQ(other.loop.now(), Instant{5s});
  EXPECT_EQ(other.port.heard.size(), 10u);
  Bench dead;
  EXPECT_EQ(*dead.hails(), std::nullopt);
  Bench gone;
  gone.port.gone_at = 300ms;
  EXPECT_EQ(gone.gives().error().code, Code::port_gone);
}

TEST(Framed, AFrameThatStopsHalfWayDoesNotSwallowTheNext) {
  Bench bench;
  Bytes begun = encode_frame(FrameType::digest, Bytes(2000, 1));
  begun.resize(20);
  bench.port.sends(0ms, begun);
  bench.port.hears = [](BoardPort& port, const Frame&) {
    if (port.heard.size() == 2) port.answers(5ms, encode_frame(FrameType::digest, key_digest(later_nonce, mac, key())));
  };
  EXPECT_EQ(bench.reads_back()->kind, Kind::good);
  EXPECT_EQ(bench.loop.now(), Instant{505ms});
}

TEST(SelfTest, TakesWholeLists) {
  for (const Bytes& payload :
       {Bytes{}, Bytes{1}, Bytes{1, 1, 'a', 0, 0, 0}, Bytes{0, 0}, Bytes{17}, Bytes{1, 200, 'a', 0, 0, 0, 0}}) {
    Bench bench;
    bench.port.hears = [&](BoardPort& port, const Frame&) {
      port.answers(5ms, encode_frame(FrameType::values, payload));
    };
    EXPECT_EQ(bench.tests()->kind, Kind::silent);
  }
}

}  // namespace
}  // namespace espmint
