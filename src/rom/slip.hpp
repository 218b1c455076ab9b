// rom/slip.hpp: SLIP framing (RFC 1055), the envelope of everything said to the ROM loader and the stub. Pure.
#pragma once

#include <optional>

#include "base/bytes.hpp"

namespace espmint {

/// The frame as it goes on the wire: END, escaped bytes, END.
Bytes encode_slip(ByteView frame);
/// Appends to `out` instead, for frames that are joined.
void encode_slip_to(Bytes& out, ByteView frame);

/// Bytes in, frames out. Each END closes what came before it and opens what follows, so one lost END costs one frame.
/// What a board prints between frames therefore comes out as a frame of text too: the reader of replies tells by
/// content.
class SlipDecoder {
 public:
  /// A frame longer than `limit` bytes is dropped and the decoder waits for the next END.
  explicit SlipDecoder(std::size_t limit = 64 * 1024) : limit_(limit) {}
  void push(ByteView bytes);
  /// The next whole frame, oldest first. Empty frames and frames with a bad escape are not reported.
  std::optional<Bytes> next();
  void clear();
  /// What came before the first END and what no END has closed yet: where a boot log is found. Of each at most
  /// `limit` bytes.
  [[nodiscard]] Bytes unframed() const;
  /// All bytes that ever came.
  [[nodiscard]] std::uint64_t bytes_seen() const { return seen_; }

 private:
  enum class State { before_first_end, inside, escaped, damaged };
  void end_frame();
  std::size_t limit_;
  State state_ = State::before_first_end;
  Bytes before_;
  Bytes frame_;
  std::vector<Bytes> frames_;
  std::size_t taken_ = 0;
  std::uint64_t seen_ = 0;
};

}  // namespace espmint
