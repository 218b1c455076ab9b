// sim/slip.hpp: RFC 1055 framing as the chip's ROM and its stub see it.
#pragma once

#include "base/bytes.hpp"

namespace espmint::sim {

/// One frame with both ENDs.
void append_slip_frame(Bytes& out, ByteView payload);

/// Takes bytes until something happens that has a time of its own: a frame begins, or one is whole.
class SlipReader {
 public:
  enum class Event { none, began, complete };
  struct Taken {
    std::size_t bytes;
    Event event;
  };
  explicit SlipReader(std::size_t limit = 64 * 1024) : limit_(limit) {}
  Taken take(ByteView);
  /// The whole frame; empty when it was damaged or too long.
  Bytes frame();
  /// Forgets the frame that has begun: its bytes are skipped to the next END.
  void drop_this_one() { dropping_ = true; }
  void reset();
  void set_limit(std::size_t limit) { limit_ = limit; }

 private:
  std::size_t limit_;
  Bytes buffer_;
  bool inside_ = false;
  bool escaped_ = false;
  bool dropping_ = false;
};

}  // namespace espmint::sim
