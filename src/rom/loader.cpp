#include "rom/loader.hpp"

#include <fmt/format.h>

#include <array>

#include "base/text.hpp"

namespace espmint {
namespace {

constexpr std::size_t header_bytes = 8;
constexpr std::size_t heard_limit = 4096;
constexpr std::uint8_t status_unknown_command = 0x05;

Fault missing_reply(Op op, Duration patience, std::string_view heard) {
  Fault fault{Code::reply_missing, Remedy::reconnect, fmt::format("the board did not answer {}", spec_of(op).name)};
  fault.seen =
      fmt::format("nothing within {} ms", std::chrono::duration_cast<std::chrono::milliseconds>(patience).count());
  if (!heard.empty()) fault.seen += fmt::format(", but it said \"{}\"", trim(heard).substr(0, 160));
  fault.advice = "Check the cable and the supply; twice on one slot: change the cable, then the adapter";
  return fault;
}

}  // namespace

std::string describe_status(std::uint8_t reason, Speaker speaker) {
  // Source: esptool documentation, Serial Protocol, Status and Error.
  static constexpr std::pair<std::uint8_t, std::string_view> rom_words[] = {
      {0x05, "message is invalid"},     {0x06, "failed to act on it"}, {0x07, "checksum wrong"},
      {0x08, "flash write failed"},     {0x09, "flash read failed"},   {0x0a, "flash read length wrong"},
      {0x0b, "deflate stream damaged"},
  };
  static constexpr std::pair<std::uint8_t, std::string_view> stub_words[] = {
      {0xc0, "bad data length"},   {0xc1, "checksum wrong"},         {0xc2, "bad block size"},
      {0xc3, "command unknown"},   {0xc4, "flash operation failed"}, {0xc5, "flash unlock failed"},
      {0xc6, "not in flash mode"}, {0xc7, "inflate failed"},         {0xc8, "not enough data"},
      {0xc9, "too much data"},     {0xff, "not implemented"},
  };
  std::string_view word = "unknown reason";
  for (auto [code, text] : rom_words)
    if (code == reason) word = text;
  if (speaker == Speaker::stub)
    for (auto [code, text] : stub_words)
      if (code == reason) word = text;
  return fmt::format("status {:#04x} ({})", reason, word);
}

Bytes encode_request(Op op, ByteView body, std::uint8_t checksum) {
  Bytes packet;
  packet.reserve(header_bytes + body.size());
  packet.push_back(0x00);
  packet.push_back(static_cast<std::uint8_t>(op));
  put_u16(packet, static_cast<std::uint16_t>(body.size()));
  put_u32(packet, checksum);
  append(packet, body);
  return packet;
}

std::uint8_t checksum_of(ByteView data) {
  std::uint8_t sum = checksum_seed;
  for (std::uint8_t byte : data) sum ^= byte;
  return sum;
}

Task<Result<void>> Loader::start_over() {
  speaker_ = Speaker::rom;
  previous_.reset();
  chip_ = nullptr;
  revision_ = {};
  console_ = Console::unknown;
  decoder_.clear();
  heard_.clear();
  baud_ = Baud{};
  CO_TRY(co_await port_.set_baud(baud_));
  co_return ok();
}

Bytes Loader::heard_bytes() const {
  Bytes all = heard_;
  append(all, decoder_.unframed());
  return all;
}

std::string Loader::heard() const {
  std::string text;
  for (std::uint8_t byte : heard_bytes())
    text.push_back(byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : (byte == '\n' ? '\n' : '.'));
  return text;
}

void Loader::keep_heard(ByteView bytes) {
  append(heard_, bytes);
  if (heard_.size() > heard_limit) heard_.erase(heard_.begin(), heard_.end() - heard_limit);
}

Task<Result<bool>> Loader::receive_some(Instant deadline) {
  std::array<std::uint8_t, 4096> buffer;
  CO_TRY(std::size_t count, co_await port_.read_some(buffer, deadline));
  decoder_.push(ByteView{buffer.data(), count});
  co_return count > 0;
}

std::optional<Result<Reply>> Loader::read_reply(Op op, ByteView frame) {
  // Not a reply: text between frames, or our own request echoed by the ROM's BASIC prompt.
  if (frame.size() < header_bytes || frame[0] != 0x01) {
    keep_heard(frame);
    return std::nullopt;
  }
  std::size_t status_bytes = speaker_ == Speaker::stub ? 2 : chip_ ? chip_->rom.status_bytes : 4;
  std::size_t body_bytes = frame.size() - header_bytes;
  // The length field says what follows; a shorter frame is damaged and is waited past, as if it had been lost.
  if (get_u16(frame, 2) != body_bytes) return std::nullopt;
  // Until the chip is known both status lengths are possible; old ROMs send 2.
  if (body_bytes < status_bytes) status_bytes = 2;
  if (body_bytes < status_bytes) return std::nullopt;
  ByteView status = frame.last(status_bytes);
  bool refused = status[0] != 0;
  Op answered = static_cast<Op>(frame[1]);
  // An opcode the ROM does not know is answered with the opcode of the command before it and "message is invalid".
  bool unknown = refused && status[1] == status_unknown_command && previous_ && answered == *previous_;
  if (answered != op && !unknown) return std::nullopt;
  if (refused) {
    Fault fault{Code::command_refused, Remedy::retry, fmt::format("the board refused {}", spec_of(op).name)};
    // The stub says its reason with the first byte ("c1 00"), the ROM with the second ("01 07").
    fault.seen = describe_status(status[0] == 1 ? status[1] : status[0], speaker_);
    return fail(std::move(fault));
  }
  return Reply{get_u32(frame, 4), Bytes(frame.begin() + header_bytes, frame.end() - status_bytes), status_bytes};
}

Task<Result<Reply>> Loader::await_reply(Op op, Instant deadline) {
  Instant asked = clock_.now();
  for (;;) {
    while (auto frame = decoder_.next()) {
      if (auto reply = read_reply(op, *frame)) {
        // A command that it does not know leaves the one before in its reply, however often it is asked.
        if (static_cast<Op>((*frame)[1]) == op) previous_ = op;
        co_return std::move(*reply);
      }
    }
    CO_TRY(bool more, co_await receive_some(deadline));
    if (!more) co_return fail(missing_reply(op, deadline - asked, heard()));
  }
}

Task<Result<Reply>> Loader::command_framed(Op op, ByteView framed, Duration patience) {
  // The budget of an answer starts when the request has left; the request itself takes its time on the wire.
  const Duration wire = wire_time(framed.size());
  CO_TRY(co_await port_.write(framed, clock_.now() + wire * 2 + std::chrono::seconds{1} + patience));
  co_return co_await await_reply(op, clock_.now() + wire + patience + port_.latency());
}

Task<Result<void>> Loader::send_framed(ByteView framed) {
  co_return co_await port_.write(framed, clock_.now() + wire_time(framed.size()) * 2 + std::chrono::seconds{3});
}

Task<Result<Reply>> Loader::answer_to(Op op, Duration patience) {
  co_return co_await await_reply(op, clock_.now() + patience + port_.latency());
}

Task<Result<Reply>> Loader::command(Op op, ByteView body, std::uint8_t checksum, Duration patience) {
  Bytes framed = encode_slip(encode_request(op, body, checksum));
  if (patience == Duration::zero()) patience = budget_of(op);
  co_return co_await command_framed(op, framed, patience);
}

Task<Result<Bytes>> Loader::receive_frame(Duration patience) {
  Instant deadline = clock_.now() + patience + port_.latency();
  for (;;) {
    if (auto frame = decoder_.next()) co_return std::move(*frame);
    CO_TRY(bool more, co_await receive_some(deadline));
    if (!more) {
      Fault fault{Code::reply_missing, Remedy::reconnect, "the board stopped sending"};
      fault.seen =
          fmt::format("no frame within {} ms", std::chrono::duration_cast<std::chrono::milliseconds>(patience).count());
      co_return fail(std::move(fault));
    }
  }
}

Task<Result<void>> Loader::send_frame(ByteView body) {
  Bytes framed = encode_slip(body);
  co_return co_await port_.write(framed, clock_.now() + std::chrono::seconds{3});
}

Task<Result<void>> Loader::sync(Duration patience) {
  // 07 07 12 20, then 32 bytes 0x55, by which the ROM measures our speed.
  Bytes body{0x07, 0x07, 0x12, 0x20};
  body.resize(36, 0x55);
  CO_TRY(Reply reply, co_await command(Op::sync, body, 0, patience));
  // ROMs send 4 status bytes, the stub 2; so does the ESP8266's ROM, but what it says in the value is never 0.
  if (reply.status_bytes == 2 && reply.value == 0) speaker_ = Speaker::stub;
  co_return ok();
}

Task<Result<std::uint32_t>> Loader::read_reg(std::uint32_t address) {
  Bytes body;
  put_u32(body, address);
  CO_TRY(Reply reply, co_await command(Op::read_reg, body));
  co_return reply.value;
}

Task<Result<void>> Loader::write_reg(std::uint32_t address, std::uint32_t value) {
  Bytes body;
  for (std::uint32_t word : {address, value, 0xffff'ffffu, 0u}) put_u32(body, word);
  CO_TRY(co_await command(Op::write_reg, body));
  co_return ok();
}

Task<Result<unsigned>> Loader::read_crystal() {
  constexpr std::uint32_t anything = 0;
  if (!chip_) co_return 0u;
  if (chip_->crystal.mhz[1] == 0) co_return crystal_mhz(*chip_, anything, baud_);
  bool uart_in_use = console_ == Console::unknown || console_ == Console::uart;
  if (speaker_ == Speaker::stub || !uart_in_use) co_return 0u;
  CO_TRY(std::uint32_t divider, co_await read_reg(chip_->uart_clock_divider));
  co_return crystal_mhz(*chip_, divider, baud_);
}

// The ESP32's ROM guesses its crystal from an RTC calibration and an eFuse; where it guesses 41 MHz for 40, a request
// for 921600 makes 944640. So the request is scaled by the same guess. A blank eFuse makes the guess 0: then leave it
// alone, for a scale of 0 silences the ROM until a reset. Source: ESP32 TRM, RTC calibration; rom-protocol note 10.
Task<Result<std::uint32_t>> Loader::believed_by_rtc(Baud baud) {
  constexpr std::uint32_t rtc_calibration = 0x3ff5'f06c, efuse_word4 = 0x3ff5'a010;
  CO_TRY(std::uint32_t calibration, co_await read_reg(rtc_calibration));
  CO_TRY(std::uint32_t efuse, co_await read_reg(efuse_word4));
  std::uint64_t guessed_hz = std::uint64_t{calibration >> 7} * 15'625 * (efuse & 0xff) / 40;
  if (guessed_hz == 0) co_return baud.per_second;
  std::uint64_t crystal_hz = guessed_hz > 33'000'000 ? 40'000'000 : 26'000'000;
  co_return static_cast<std::uint32_t>(baud.per_second * guessed_hz / crystal_hz);
}

/// What to ask the speaker for, so that `baud` comes out (BaudRule).
Task<Result<std::uint32_t>> Loader::baud_word(Baud baud) {
  if (speaker_ == Speaker::stub || !chip_) co_return baud.per_second;
  const BaudRule rule = chip_->rom.baud;
  if (rule == BaudRule::believes_rtc) co_return co_await believed_by_rtc(baud);
  if (rule != BaudRule::believes_40_mhz && rule != BaudRule::believes_register) co_return baud.per_second;
  CO_TRY(unsigned crystal, co_await read_crystal());
  if (crystal == 0) co_return baud.per_second;
  unsigned believed = 40;
  if (rule == BaudRule::believes_register) {
    CO_TRY(std::uint32_t word, co_await read_reg(crystal_register));
    believed = word >> 24 & 0x7f;
  }
  if (believed == 0) co_return baud.per_second;
  co_return static_cast<std::uint32_t>(std::uint64_t{baud.per_second} * believed / crystal);
}

Task<Result<void>> Loader::change_baud(Baud baud) {
  if (baud == baud_ || !port_.has_baud()) co_return ok();
  bool cannot = speaker_ == Speaker::rom && chip_ && chip_->rom.baud == BaudRule::fixed;
  if (cannot) co_return ok();  // the stub can, once it runs
  CO_TRY(std::uint32_t word, co_await baud_word(baud));
  Bytes body;
  put_u32(body, word);
  put_u32(body, speaker_ == Speaker::stub ? baud_.per_second : 0);
  CO_TRY(co_await command(Op::change_baudrate, body));
  CO_TRY(co_await port_.set_baud(baud));
  Baud before = std::exchange(baud_, baud);
  // The board switches after its answer has left; what is on the wire meanwhile is noise.
  co_await clock_.sleep_for(std::chrono::milliseconds{5});
  CO_TRY(co_await port_.discard_input());
  decoder_.clear();
  Bytes question;
  put_u32(question, chip_magic_register);
  const Instant asked = clock_.now();
  int unanswered = 0;
  for (int patience_ms : {60, 120, 300}) {
    auto answer = co_await command(Op::read_reg, question, 0, std::chrono::milliseconds{patience_ms});
    if (answer) {
      // Perhaps the earlier answers were not lost but late: then more will come, and must not pass for those to later
      // questions. They take no longer than this one did.
      const Instant quiet = clock_.now() + (clock_.now() - asked);
      while (unanswered-- > 0) {
        auto late = co_await await_reply(Op::read_reg, quiet);
        if (!late) break;
      }
      co_return ok();
    }
    ++unanswered;
    if (answer.error().code == Code::port_gone) co_return fail(std::move(answer.error()));
  }
  Fault fault{Code::baud_failed, Remedy::reconnect,
              fmt::format("the board does not answer at {} baud", baud.per_second)};
  fault.seen = fmt::format("it did at {}", before.per_second);
  fault.advice = "A long or bad cable: use a shorter one, or a lower --baud";
  co_return fail(std::move(fault));
}

}  // namespace espmint
