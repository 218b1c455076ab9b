// Whatever comes, in whatever pieces, the same frames come out, none of them empty or past the limit; what we frame
// comes back as it was, also behind noise that an END has closed.
#include <cstdlib>

#include "rom/slip.hpp"

using namespace espmint;

namespace {

std::vector<Bytes> frames_of(SlipDecoder& decoder, ByteView bytes, std::size_t step) {
  std::vector<Bytes> frames;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    decoder.push(bytes.subspan(at, std::min(step, bytes.size() - at)));
    while (auto frame = decoder.next()) frames.push_back(std::move(*frame));
  }
  return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t limit = 1 + data[0], step = 1 + data[1];
  const ByteView bytes{data + 2, size - 2};

  SlipDecoder whole{limit}, pieces{limit};
  std::vector<Bytes> frames = frames_of(whole, bytes, bytes.size() + 1);
  if (frames_of(pieces, bytes, step) != frames || whole.unframed() != pieces.unframed()) std::abort();
  for (const Bytes& frame : frames)
    if (frame.empty() || frame.size() > limit) std::abort();
  if (whole.unframed().size() > 2 * limit) std::abort();

  // Our own frame after all that: its first END closes whatever was open.
  Bytes wire = encode_slip(bytes);
  if (wire.size() < bytes.size() + 2 || wire.size() > 2 * bytes.size() + 2) std::abort();
  std::vector<Bytes> own = frames_of(pieces, wire, step);
  bool reported = !own.empty() && std::equal(own.back().begin(), own.back().end(), bytes.begin(), bytes.end());
  if (!bytes.empty() && reported != (bytes.size() <= limit)) std::abort();

  whole.clear();
  if (whole.next() || !whole.unframed().empty()) std::abort();
  return 0;
}
