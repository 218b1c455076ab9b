// sim/rfc2217_server.hpp: the adapter's end of a serial line over TCP: telnet's options and the com-port option, as
// bytes in, events and bytes out.
#pragma once

#include <array>
#include <deque>

#include "base/bytes.hpp"

namespace espmint::sim {

/// What the client wants, in its order.
struct SerialEvent {
  enum class Kind { data, baud, dtr, rts, purge_input, purge_output } kind = Kind::data;
  Bytes bytes{};            // data
  std::uint32_t value = 0;  // baud; 0 or 1 for a line
};

/// Source: RFC 854, 855 (telnet), 856 (binary), 858 (suppress go ahead), 2217 (com port control).
class Rfc2217Server {
 public:
  /// What a server says first.
  [[nodiscard]] Bytes greeting();
  /// Takes the client's bytes; appends answers to `reply`.
  void feed(ByteView, std::deque<SerialEvent>& events, Bytes& reply);
  /// Data for the client.
  static void append_escaped(Bytes& out, ByteView data);
  /// Between FLOWCONTROL-SUSPEND and -RESUME the client wants no data.
  [[nodiscard]] bool suspended() const { return suspended_; }

 private:
  enum class State { data, command, option, sub, sub_command };
  void negotiate(std::uint8_t verb, std::uint8_t option, Bytes& reply);
  void subnegotiate(std::deque<SerialEvent>& events, Bytes& reply);
  void answer(std::uint8_t command, ByteView value, Bytes& reply);
  State state_ = State::data;
  std::uint8_t verb_ = 0;
  Bytes sub_;
  std::array<bool, 256> we_{}, they_{};
  std::uint32_t baud_ = 115'200;
  bool dtr_ = false, rts_ = false, suspended_ = false;
  std::uint8_t flow_ = 1;
};

}  // namespace espmint::sim
