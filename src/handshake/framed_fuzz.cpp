// Any bytes as what a board sends: frames are found within bounds, and the same ones however the bytes are cut.
#include <cstdlib>

#include "handshake/framed.hpp"

using namespace espmint;

namespace {

std::vector<Frame> frames_of(ByteView bytes, std::size_t piece) {
  std::vector<Frame> out;
  FrameDecoder decoder;
  while (!bytes.empty()) {
    const std::size_t count = std::min(piece, bytes.size());
    decoder.feed(bytes.first(count));
    bytes = bytes.subspan(count);
    while (std::optional<Frame> frame = decoder.next()) out.push_back(std::move(*frame));
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView bytes{data, size};
  const std::vector<Frame> whole = frames_of(bytes, size + 1), cut = frames_of(bytes, 7);
  if (whole.size() != cut.size()) std::abort();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (whole[i].payload != cut[i].payload || whole[i].payload.size() > longest_frame_payload) std::abort();
    (void)parse_hello(whole[i].payload);
    const Bytes again = encode_frame(whole[i].type, whole[i].payload);
    if (frames_of(again, again.size()).size() != 1) std::abort();
  }
  (void)parse_hello(bytes);
  return 0;
}
