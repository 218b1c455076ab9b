#include "io/telnet.hpp"

#include <gtest/gtest.h>

namespace espmint::telnet {
namespace {

struct Decoded {
  Bytes data;
  std::vector<Event> events;
};

Decoded decode(const Bytes& wire, std::size_t piece) {
  Decoded out;
  Decoder decoder;
  for (std::size_t at = 0; at < wire.size(); at += piece) {
    decoder.feed(ByteView{wire}.subspan(at, std::min(piece, wire.size() - at)), out.data, out.events);
  }
  return out;
}

TEST(Telnet, TellsDataFromCommandsHoweverTheBytesArrive) {
  const Bytes wire{'a', iac, iac, 'b', iac, do_it, 44, iac, 241, 'c', iac, sb, 44, 101, 0, iac, iac, 2, iac, se, 'd'};
  for (std::size_t piece = 1; piece <= wire.size(); ++piece) {
    const Decoded out = decode(wire, piece);
    EXPECT_EQ(out.data, (Bytes{'a', 0xff, 'b', 'c', 'd'}));
    ASSERT_EQ(out.events.size(), 2U);
    EXPECT_EQ(out.events[0].verb, do_it);
    EXPECT_EQ(out.events[0].option, 44);
    EXPECT_EQ(out.events[1].verb, sb);
    EXPECT_EQ(out.events[1].option, 44);
    EXPECT_EQ(out.events[1].body, (Bytes{101, 0, 0xff, 2}));
  }
}

TEST(Telnet, DoublesEveryIacAndNothingElse) {
  Bytes out;
  append_escaped(out, Bytes{0xff, 1, 0xff, 0xff, 0xfe});
  EXPECT_EQ(out, (Bytes{0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff, 0xfe}));
}

TEST(Telnet, EscapesTheValueOfASetting) {
  Bytes out;
  append_subnegotiation(out, 44, Bytes{1, 0, 0xff, 0, 0});
  EXPECT_EQ(out, (Bytes{iac, sb, 44, 1, 0, 0xff, 0xff, 0, 0, iac, se}));
}

TEST(Telnet, ForgetsABodyThatNeverEndsInTime) {
  Bytes wire{iac, sb};
  wire.resize(5000, 'x');
  append(wire, Bytes{iac, se, 'd'});
  const Decoded out = decode(wire, wire.size());
  EXPECT_TRUE(out.events.empty());
  EXPECT_EQ(out.data, Bytes{'d'});
}

}  // namespace
}  // namespace espmint::telnet
