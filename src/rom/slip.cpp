#include "rom/slip.hpp"

namespace espmint {
namespace {

constexpr std::uint8_t end = 0xc0, escape = 0xdb, escaped_end = 0xdc, escaped_escape = 0xdd;

}  // namespace

void encode_slip_to(Bytes& out, ByteView frame) {
  out.push_back(end);
  for (std::uint8_t byte : frame) {
    if (byte == end) {
      out.insert(out.end(), {escape, escaped_end});
    } else if (byte == escape) {
      out.insert(out.end(), {escape, escaped_escape});
    } else {
      out.push_back(byte);
    }
  }
  out.push_back(end);
}

Bytes encode_slip(ByteView frame) {
  Bytes out;
  out.reserve(frame.size() + frame.size() / 64 + 16);
  encode_slip_to(out, frame);
  return out;
}

void SlipDecoder::end_frame() {
  if (state_ == State::inside && !frame_.empty()) frames_.push_back(std::move(frame_));
  frame_.clear();
  state_ = State::inside;
}

void SlipDecoder::push(ByteView bytes) {
  seen_ += bytes.size();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::uint8_t byte = bytes[i];
    if (byte == end) {
      end_frame();
      continue;
    }
    switch (state_) {
      case State::before_first_end:
        if (before_.size() < limit_) before_.push_back(byte);
        break;
      case State::damaged:
        break;
      case State::escaped:
        if ((byte == escaped_end || byte == escaped_escape) && frame_.size() < limit_) {
          frame_.push_back(byte == escaped_end ? end : escape);
          state_ = State::inside;
        } else {
          state_ = State::damaged;
        }
        break;
      case State::inside:
        if (byte == escape) {
          state_ = State::escaped;
        } else if (frame_.size() >= limit_) {
          state_ = State::damaged;
        } else {
          // Data frames of a flash read are long runs without escapes: take the run at once.
          std::size_t from = i, room = limit_ - frame_.size();
          while (i + 1 < bytes.size() && bytes[i + 1] != end && bytes[i + 1] != escape && i + 1 - from < room) ++i;
          append(frame_, bytes.subspan(from, i + 1 - from));
        }
        break;
    }
  }
}

Bytes SlipDecoder::unframed() const {
  Bytes out = before_;
  append(out, frame_);
  return out;
}

std::optional<Bytes> SlipDecoder::next() {
  if (taken_ == frames_.size()) {
    frames_.clear();
    taken_ = 0;
    return std::nullopt;
  }
  return std::move(frames_[taken_++]);
}

void SlipDecoder::clear() {
  state_ = State::before_first_end;
  before_.clear();
  frame_.clear();
  frames_.clear();
  taken_ = 0;
}

}  // namespace espmint
