// sim/desk_for_tests.hpp: a virtual board on a desk: the tests' way to send bytes and hear what comes back, in virtual
// time.
#pragma once

#include "sim/board.hpp"

namespace espmint::sim {

/// A request as a host frames it.
inline Bytes request_frame(std::uint8_t opcode, ByteView data, std::uint32_t checksum = 0) {
  Bytes payload{0x00, opcode};
  put_u16(payload, static_cast<std::uint16_t>(data.size()));
  put_u32(payload, checksum);
  append(payload, data);
  Bytes frame;
  append_slip_frame(frame, payload);
  return frame;
}

inline Bytes words(std::initializer_list<std::uint32_t> values) {
  Bytes out;
  for (std::uint32_t value : values) put_u32(out, value);
  return out;
}

/// FLASH_DATA and its kin: the header, the data, the checksum over it.
inline Bytes block_frame(std::uint8_t opcode, std::uint32_t sequence, ByteView data) {
  Bytes body = words({static_cast<std::uint32_t>(data.size()), sequence, 0, 0});
  append(body, data);
  return request_frame(opcode, body, block_checksum(data));
}

inline Bytes sync_frame() {
  Bytes data{0x07, 0x07, 0x12, 0x20};
  data.resize(36, 0x55);
  return request_frame(op::sync, data);
}

struct Desk {
  explicit Desk(BoardOptions options = {}, std::size_t flash_bytes = 4 * 1024 * 1024)
      : flash(flash_bytes, 0xff), board(std::move(options), flash) {}

  void wait(Time span) { board.advance(now += span); }

  void reset(bool into_download) {
    board.set_lines(now, false, true);
    wait(milliseconds{100});
    board.set_lines(now, into_download, false);
    wait(milliseconds{50});
    board.set_lines(now, false, false);
  }

  /// Lets time pass until nothing comes for `patience`, or for ten times as long; all that came.
  Bytes hear(Time patience = milliseconds{300}) {
    Bytes out;
    Time until = now + patience, latest = now + 10 * patience;
    while (true) {
      std::array<std::uint8_t, 4096> some;
      std::size_t count = board.transmit(now, some);
      if (count > 0) {
        append(out, ByteView{some}.first(count));
        until = std::min(now + patience, latest);
        continue;
      }
      std::optional<Time> next = board.next_event();
      if (!next || *next > until) break;
      now = std::max(now, *next);
      board.advance(now);
    }
    now = until;
    return out;
  }

  void send(ByteView bytes) {
    while (!bytes.empty()) {
      std::size_t taken = board.receive(now, bytes);
      bytes = bytes.subspan(taken);
      if (bytes.empty()) break;
      now = std::max(now, board.next_room());
      board.advance(now);
    }
  }

  Bytes talk(ByteView bytes, Time patience = milliseconds{300}) {
    send(bytes);
    return hear(patience);
  }

  /// The next frame, as soon as it is there; empty after `patience`.
  Bytes next_frame(Time patience = std::chrono::seconds{10}) {
    Time until = now + patience;
    while (true) {
      while (!unread.empty()) {
        SlipReader::Taken taken = reader.take(unread);
        unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(taken.bytes));
        if (taken.event == SlipReader::Event::complete) return reader.frame();
      }
      std::array<std::uint8_t, 4096> some;
      std::size_t count = board.transmit(now, some);
      append(unread, ByteView{some}.first(count));
      if (count > 0) continue;
      std::optional<Time> next = board.next_event();
      if (!next || *next > until) return {};
      now = std::max(now, *next);
      board.advance(now);
    }
  }
  Bytes ask(ByteView frame, Time patience = std::chrono::seconds{10}) {
    send(frame);
    return next_frame(patience);
  }

  /// In download mode, SYNC answered, nothing unread.
  void connect() {
    reset(true);
    hear(milliseconds{50});
    talk(sync_frame());
  }

  /// Any program at all: the board takes an unknown stub for a current one.
  void run_stub() {
    Bytes text(64, 0x2a);
    ask(request_frame(op::mem_begin, words({64, 1, 64, 0x4008'0000})));
    ask(block_frame(op::mem_data, 0, text));
    ask(request_frame(op::mem_end, words({0, 0x4008'0010})));
    next_frame();  // OHAI
  }

  Bytes flash;
  Board board;
  Time now{};
  Bytes unread;
  SlipReader reader;
};

/// Payloads of all whole frames in `bytes`.
inline std::vector<Bytes> frames_in(ByteView bytes) {
  SlipReader reader;
  std::vector<Bytes> out;
  while (!bytes.empty()) {
    SlipReader::Taken taken = reader.take(bytes);
    bytes = bytes.subspan(taken.bytes);
    if (taken.event == SlipReader::Event::complete) out.push_back(reader.frame());
  }
  return out;
}

}  // namespace espmint::sim
