#include "sim/slip.hpp"

#include <algorithm>

namespace espmint::sim {
namespace {
constexpr std::uint8_t end = 0xc0, escape = 0xdb, escaped_end = 0xdc, escaped_escape = 0xdd;
}

void append_slip_frame(Bytes& out, ByteView payload) {
  out.reserve(out.size() + payload.size() + payload.size() / 64 + 2);
  out.push_back(end);
  for (std::uint8_t byte : payload) {
    if (byte == end) {
      out.push_back(escape);
      out.push_back(escaped_end);
    } else if (byte == escape) {
      out.push_back(escape);
      out.push_back(escaped_escape);
    } else {
      out.push_back(byte);
    }
  }
  out.push_back(end);
}

SlipReader::Taken SlipReader::take(ByteView bytes) {
  std::size_t i = 0;
  while (i < bytes.size()) {
    if (!inside_) {
      // Two ENDs in a row frame nothing; the first other byte begins a frame.
      while (i < bytes.size() && bytes[i] == end) ++i;
      if (i == bytes.size()) break;
      inside_ = true;
      dropping_ = escaped_ = false;
      buffer_.clear();
      return {i, Event::began};
    }
    if (!dropping_ && !escaped_) {
      std::size_t plain = i;
      while (plain < bytes.size() && bytes[plain] != end && bytes[plain] != escape) ++plain;
      plain = std::min(plain, i + limit_ + 1 - std::min(limit_ + 1, buffer_.size()));
      buffer_.insert(buffer_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(i),
                     bytes.begin() + static_cast<std::ptrdiff_t>(plain));
      i = plain;
      if (buffer_.size() > limit_) dropping_ = true;
      if (i == bytes.size()) break;
    }
    std::uint8_t byte = bytes[i++];
    if (byte == end) {
      inside_ = false;
      if (dropping_ || escaped_) buffer_.clear();
      if (!buffer_.empty()) return {i, Event::complete};
    } else if (dropping_) {
      continue;
    } else if (escaped_) {
      escaped_ = false;
      if (byte == escaped_end)
        buffer_.push_back(end);
      else if (byte == escaped_escape)
        buffer_.push_back(escape);
      else
        dropping_ = true;
    } else if (byte == escape) {
      escaped_ = true;
    }
    if (buffer_.size() > limit_) dropping_ = true;
  }
  return {i, Event::none};
}

Bytes SlipReader::frame() {
  Bytes whole;
  whole.swap(buffer_);
  return whole;
}

void SlipReader::reset() {
  buffer_.clear();
  inside_ = escaped_ = dropping_ = false;
}

}  // namespace espmint::sim
