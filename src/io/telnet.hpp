// io/telnet.hpp: inside this room: data and commands told apart on a telnet connection, and put together again.
// Source: RFC 854 (commands, IAC), RFC 855 (subnegotiation), RFC 2217 (COM-PORT-OPTION).
#pragma once

#include <vector>

#include "base/bytes.hpp"

namespace espmint::telnet {

inline constexpr std::uint8_t se = 240, sb = 250, will = 251, wont = 252, do_it = 253, dont = 254, iac = 255;
inline constexpr std::uint8_t option_binary = 0, option_suppress_go_ahead = 3, option_com_port = 44;

/// What the other side said beside its data.
struct Event {
  std::uint8_t verb = 0;  // will, wont, do_it, dont; sb for a whole subnegotiation
  std::uint8_t option = 0;
  Bytes body;  // of a subnegotiation, unescaped, without the option
};

/// Keeps its place between reads: a command may arrive in pieces.
class Decoder {
 public:
  /// Data goes to `data`, commands to `events`, in order.
  void feed(ByteView received, Bytes& data, std::vector<Event>& events);

 private:
  enum class State { data, command, option, body, body_command };
  void finish_body(std::vector<Event>& events);

  State state_ = State::data;
  std::uint8_t verb_ = 0;
  Bytes body_;
};

/// Appends `bytes` with every 0xFF doubled.
void append_escaped(Bytes& out, ByteView bytes);
void append_negotiation(Bytes& out, std::uint8_t verb, std::uint8_t option);
/// IAC SB option body IAC SE.
void append_subnegotiation(Bytes& out, std::uint8_t option, ByteView body);

}  // namespace espmint::telnet
