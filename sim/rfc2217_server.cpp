#include "sim/rfc2217_server.hpp"

namespace espmint::sim {
namespace {
constexpr std::uint8_t iac = 255, dont = 254, do_ = 253, wont = 252, will = 251, sb = 250, se = 240;
constexpr std::uint8_t binary = 0, suppress_go_ahead = 3, com_port = 44;
constexpr std::uint8_t signature = 0, set_baud = 1, set_size = 2, set_parity = 3, set_stop = 4, set_control = 5,
                       notify_line = 6, notify_modem = 7, flow_suspend = 8, flow_resume = 9, line_mask = 10,
                       modem_mask = 11, purge = 12, from_server = 100;
constexpr std::uint8_t modem_ready = 0xb0;  // carrier, data set ready, clear to send

bool is_supported(std::uint8_t option) { return option == binary || option == suppress_go_ahead || option == com_port; }
}  // namespace

Bytes Rfc2217Server::greeting() {
  Bytes out;
  for (std::uint8_t option : {binary, suppress_go_ahead}) {
    append(out, std::array<std::uint8_t, 6>{iac, will, option, iac, do_, option});
    we_[option] = they_[option] = true;
  }
  append(out, std::array<std::uint8_t, 3>{iac, do_, com_port});
  they_[com_port] = true;
  return out;
}

void Rfc2217Server::append_escaped(Bytes& out, ByteView data) {
  for (std::uint8_t byte : data) {
    out.push_back(byte);
    if (byte == iac) out.push_back(iac);
  }
}

void Rfc2217Server::negotiate(std::uint8_t verb, std::uint8_t option, Bytes& reply) {
  // Only a change is answered, or both sides would agree for ever.
  bool wants = verb == do_ || verb == will;
  bool about_us = verb == do_ || verb == dont;
  bool& current = about_us ? we_[option] : they_[option];
  bool agreed = wants && is_supported(option);
  if (agreed == current && agreed == wants) return;
  current = agreed;
  std::uint8_t answer = about_us ? (agreed ? will : wont) : (agreed ? do_ : dont);
  append(reply, std::array<std::uint8_t, 3>{iac, answer, option});
}

void Rfc2217Server::answer(std::uint8_t command, ByteView value, Bytes& reply) {
  append(reply, std::array<std::uint8_t, 4>{iac, sb, com_port, static_cast<std::uint8_t>(command + from_server)});
  append_escaped(reply, value);
  append(reply, std::array<std::uint8_t, 2>{iac, se});
}

void Rfc2217Server::subnegotiate(std::deque<SerialEvent>& events, Bytes& reply) {
  if (sub_.size() < 2 || sub_[0] != com_port) return;
  std::uint8_t command = sub_[1];
  ByteView value = ByteView{sub_}.subspan(2);
  auto first = [&value](std::uint8_t otherwise) { return value.empty() || value[0] == 0 ? otherwise : value[0]; };
  switch (command) {
    case signature:
      return answer(command, as_bytes("espmint virtual board"), reply);
    case set_baud: {
      if (value.size() < 4) return;
      std::uint32_t asked =
          std::uint32_t{value[0]} << 24 | std::uint32_t{value[1]} << 16 | std::uint32_t{value[2]} << 8 | value[3];
      if (asked != 0) {
        baud_ = asked;
        events.push_back({SerialEvent::Kind::baud, {}, asked});
      }
      std::array<std::uint8_t, 4> now{static_cast<std::uint8_t>(baud_ >> 24), static_cast<std::uint8_t>(baud_ >> 16),
                                      static_cast<std::uint8_t>(baud_ >> 8), static_cast<std::uint8_t>(baud_)};
      return answer(command, now, reply);
    }
    // The board speaks 8N1 whatever is asked; the client hears what it asked for, as adapters answer.
    case set_size:
      return answer(command, std::array{first(8)}, reply);
    case set_parity:
    case set_stop:
      return answer(command, std::array{first(1)}, reply);
    case set_control: {
      if (value.empty()) return;
      std::uint8_t what = value[0];
      switch (what) {
        case 0:
          what = flow_;
          break;
        case 1:
        case 2:
        case 3:
          flow_ = what;
          break;
        case 4:
          what = 6;
          break;
        case 7:
          what = dtr_ ? 8 : 9;
          break;
        case 8:
        case 9:
          dtr_ = what == 8;
          events.push_back({SerialEvent::Kind::dtr, {}, dtr_ ? 1u : 0u});
          break;
        case 10:
          what = rts_ ? 11 : 12;
          break;
        case 11:
        case 12:
          rts_ = what == 11;
          events.push_back({SerialEvent::Kind::rts, {}, rts_ ? 1u : 0u});
          break;
        case 13:
          what = 14;
          break;
        default:
          break;
      }
      return answer(command, std::array{what}, reply);
    }
    case notify_line:
      return answer(command, std::array<std::uint8_t, 1>{0}, reply);
    case notify_modem:
      return answer(command, std::array{modem_ready}, reply);
    case flow_suspend:
      suspended_ = true;
      return;
    case flow_resume:
      suspended_ = false;
      return;
    case line_mask:
      return answer(command, value, reply);
    case modem_mask:
      answer(command, value, reply);
      return answer(notify_modem, std::array{modem_ready}, reply);
    case purge: {
      std::uint8_t what = first(3);
      if (what & 1) events.push_back({SerialEvent::Kind::purge_input, {}, 0});
      if (what & 2) {
        // What was sent and not yet passed on goes too.
        std::erase_if(events, [](const SerialEvent& event) { return event.kind == SerialEvent::Kind::data; });
        events.push_back({SerialEvent::Kind::purge_output, {}, 0});
      }
      return answer(command, std::array{what}, reply);
    }
    default:
      return;
  }
}

void Rfc2217Server::feed(ByteView bytes, std::deque<SerialEvent>& events, Bytes& reply) {
  auto data = [&events](ByteView some) {
    if (some.empty()) return;
    if (events.empty() || events.back().kind != SerialEvent::Kind::data) events.push_back({});
    append(events.back().bytes, some);
  };
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::uint8_t byte = bytes[i];
    switch (state_) {
      case State::data: {
        const void* next = std::memchr(bytes.data() + i, iac, bytes.size() - i);
        std::size_t end =
            next ? static_cast<std::size_t>(static_cast<const std::uint8_t*>(next) - bytes.data()) : bytes.size();
        data(bytes.subspan(i, end - i));
        i = end;
        if (next) state_ = State::command;
        break;
      }
      case State::command:
        state_ = State::data;
        if (byte == iac) {
          data({&byte, 1});
        } else if (byte >= will) {
          verb_ = byte;
          state_ = State::option;
        } else if (byte == sb) {
          sub_.clear();
          state_ = State::sub;
        }
        break;
      case State::option:
        negotiate(verb_, byte, reply);
        state_ = State::data;
        break;
      case State::sub:
        if (byte == iac)
          state_ = State::sub_command;
        else if (sub_.size() < 64)
          sub_.push_back(byte);
        break;
      case State::sub_command:
        if (byte == iac) {
          if (sub_.size() < 64) sub_.push_back(iac);
          state_ = State::sub;
        } else {
          if (byte == se) subnegotiate(events, reply);
          state_ = State::data;
        }
        break;
    }
  }
}

}  // namespace espmint::sim
