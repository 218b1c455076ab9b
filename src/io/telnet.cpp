#include "io/telnet.hpp"

namespace espmint::telnet {
namespace {

// RFC 2217's longest body is a signature of a line of text; a peer that never ends one must not fill the memory.
constexpr std::size_t body_limit = 1024;

/// How many bytes come before the next IAC.
std::size_t plain_length(ByteView bytes) {
  const void* found = std::memchr(bytes.data(), iac, bytes.size());
  return found == nullptr ? bytes.size()
                          : static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - bytes.data());
}

}  // namespace

void Decoder::feed(ByteView received, Bytes& data, std::vector<Event>& events) {
  while (!received.empty()) {
    if (state_ == State::data) {
      const std::size_t plain = plain_length(received);
      append(data, received.first(plain));
      if (plain == received.size()) return;
      received = received.subspan(plain + 1);
      state_ = State::command;
      continue;
    }
    const std::uint8_t next = received.front();
    received = received.subspan(1);
    switch (state_) {
      case State::data:
        break;  // above
      case State::command:
        state_ = State::data;
        if (next == iac) {
          data.push_back(iac);
        } else if (next == sb) {
          body_.clear();
          state_ = State::body;
        } else if (next >= will && next <= dont) {
          verb_ = next;
          state_ = State::option;
        }  // the rest (NOP, go ahead, …) has no operand and no meaning here
        break;
      case State::option:
        events.push_back({verb_, next, {}});
        state_ = State::data;
        break;
      case State::body:
        if (next == iac) {
          state_ = State::body_command;
        } else if (body_.size() < body_limit) {
          body_.push_back(next);
        }
        break;
      case State::body_command:
        state_ = State::body;
        if (next == se) {
          finish_body(events);
        } else if (next == iac && body_.size() < body_limit) {
          body_.push_back(iac);
        }
        break;
    }
  }
}

void Decoder::finish_body(std::vector<Event>& events) {
  state_ = State::data;
  if (body_.empty() || body_.size() == body_limit) return;
  events.push_back({sb, body_.front(), Bytes(body_.begin() + 1, body_.end())});
}

void append_escaped(Bytes& out, ByteView bytes) {
  while (!bytes.empty()) {
    const std::size_t plain = plain_length(bytes);
    append(out, bytes.first(plain));
    if (plain == bytes.size()) return;
    out.push_back(iac);
    out.push_back(iac);
    bytes = bytes.subspan(plain + 1);
  }
}

void append_negotiation(Bytes& out, std::uint8_t verb, std::uint8_t option) {
  out.insert(out.end(), {iac, verb, option});
}

void append_subnegotiation(Bytes& out, std::uint8_t option, ByteView body) {
  out.insert(out.end(), {iac, sb, option});
  append_escaped(out, body);
  out.insert(out.end(), {iac, se});
}

}  // namespace espmint::telnet
