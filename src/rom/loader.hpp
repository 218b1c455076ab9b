// rom/loader.hpp: one conversation with a board's ROM loader or with the stub that replaced it: a command, its answer.
//   Loader loader{port, clock};
//   CO_TRY(co_await loader.sync(deadline));
//   CO_TRY(std::uint32_t word, co_await loader.read_reg(0x3ff5a004));
// It asks once and reports; whoever wants another try decides that above. What the ROM really answers, with its
// stale values and borrowed opcodes: docs/formats/rom-protocol.md.
#pragma once

#include <functional>

#include "chip/chip.hpp"
#include "io/port.hpp"
#include "rom/commands.hpp"
#include "rom/slip.hpp"

namespace espmint {

struct ResetSequence;  // connect.hpp

struct Reply {
  std::uint32_t value = 0;  // means something for READ_REG only
  Bytes body;               // without the status bytes
  std::size_t status_bytes = 0;
};

class Loader {
 public:
  Loader(Port& port, Clock& clock) : port_(port), clock_(clock) {}

  Port& port() { return port_; }
  Clock& clock() { return clock_; }
  [[nodiscard]] Speaker speaker() const { return speaker_; }
  [[nodiscard]] Baud baud() const { return baud_; }
  /// After a reset: the ROM speaks, at 115200, and nothing is known of the chip.
  Task<Result<void>> start_over();

  /// One SYNC and its answer; the other seven answers are skipped when they come. Afterwards speaker() tells who it
  /// was: on a port without reset lines a stub may still run from before. Fault reply_missing.
  Task<Result<void>> sync(Duration patience);
  Task<Result<std::uint32_t>> read_reg(std::uint32_t address);
  Task<Result<void>> write_reg(std::uint32_t address, std::uint32_t value);
  /// A command and its answer within `patience`. Faults: reply_missing, command_refused with the status in words.
  Task<Result<Reply>> command(Op, ByteView body, std::uint8_t checksum = 0, Duration patience = Duration::zero());
  /// The same with a frame that was encoded before (PreparedRegion).
  Task<Result<Reply>> command_framed(Op, ByteView framed, Duration patience);
  /// The two halves of command_framed(), for who knows that the other end has room for two requests.
  Task<Result<void>> send_framed(ByteView framed);
  Task<Result<Reply>> answer_to(Op, Duration patience);
  /// The next frame as it comes, for what is no reply: OHAI, flash data.
  Task<Result<Bytes>> receive_frame(Duration patience);
  Task<Result<void>> send_frame(ByteView body);

  /// Agrees on another speed with whoever speaks, switches the port, and asks a question to see that it holds. A ROM
  /// that has one speed only (ESP8266) keeps it, and that is no fault: baud() tells. Fault baud_failed (reconnect): the
  /// board must be reset.
  Task<Result<void>> change_baud(Baud);

  /// What the board printed that was no reply, newest 4 KiB, for diagnosis.
  [[nodiscard]] std::string heard() const;
  /// The same as it came, byte for byte.
  [[nodiscard]] Bytes heard_bytes() const;
  /// Bytes that came since the loader was made, whatever they were.
  [[nodiscard]] std::uint64_t bytes_seen() const { return decoder_.bytes_seen(); }
  void forget_heard() {
    heard_.clear();
    decoder_.clear();
  }

  // Known once identified; the answers' shape depends on it.
  void chip_is(const ChipSpec& chip, Revision revision = {}, Console console = Console::unknown) {
    chip_ = &chip;
    revision_ = revision;
    console_ = console;
  }
  [[nodiscard]] const ChipSpec* chip() const { return chip_; }
  [[nodiscard]] Revision revision() const { return revision_; }
  [[nodiscard]] Console console() const { return console_; }
  /// The crystal beside the chip in MHz; 0 where it cannot be told: another speed than the chip knows, a stub that has
  /// changed the clocks, a UART that is not the one in use.
  Task<Result<unsigned>> read_crystal();
  void stub_speaks() { speaker_ = Speaker::stub; }
  // Which way into download mode this board took last; it is tried first.
  void came_by(const ResetSequence& way) { way_ = &way; }
  [[nodiscard]] const ResetSequence* way() const { return way_; }
  // An answer was missing after two requests at once: from then on this board gets one at a time, after a reset too.
  void keep_to_one_request() { one_request_ = true; }
  [[nodiscard]] bool takes_two_requests() const { return !one_request_; }

 private:
  Task<Result<Reply>> await_reply(Op, Instant deadline);
  std::optional<Result<Reply>> read_reply(Op, ByteView frame);
  Task<Result<bool>> receive_some(Instant deadline);
  void keep_heard(ByteView bytes);
  Task<Result<std::uint32_t>> baud_word(Baud);
  Task<Result<std::uint32_t>> believed_by_rtc(Baud);
  [[nodiscard]] Duration wire_time(std::size_t bytes) const {
    return std::chrono::nanoseconds{bytes * 10'000'000'000ull / baud_.per_second};
  }

  Port& port_;
  Clock& clock_;
  SlipDecoder decoder_;
  Speaker speaker_ = Speaker::rom;
  Baud baud_{};
  const ChipSpec* chip_ = nullptr;
  Revision revision_;
  Console console_ = Console::unknown;
  const ResetSequence* way_ = nullptr;
  bool one_request_ = false;
  std::optional<Op> previous_;
  Bytes heard_;
};

/// The request packet of the protocol: direction, opcode, length, checksum, body; not yet framed.
Bytes encode_request(Op, ByteView body, std::uint8_t checksum);
std::uint8_t checksum_of(ByteView data);

}  // namespace espmint
