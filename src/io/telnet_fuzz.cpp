// Whatever a server sends, in whatever pieces, decodes the same; what we escape comes back as it was.
#include <cstdlib>

#include "io/telnet.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  using namespace espmint;
  const ByteView bytes{input, size};
  Bytes whole_data;
  std::vector<telnet::Event> whole_events;
  telnet::Decoder whole;
  whole.feed(bytes, whole_data, whole_events);

  Bytes data;
  std::vector<telnet::Event> events;
  telnet::Decoder pieces;
  for (std::size_t at = 0; at < size; ++at) pieces.feed(bytes.subspan(at, 1), data, events);
  if (data != whole_data || events.size() != whole_events.size()) std::abort();

  Bytes escaped;
  telnet::append_escaped(escaped, bytes);
  Bytes back;
  events.clear();
  telnet::Decoder{}.feed(escaped, back, events);
  if (!std::equal(back.begin(), back.end(), bytes.begin(), bytes.end()) || !events.empty()) std::abort();
  return 0;
}
