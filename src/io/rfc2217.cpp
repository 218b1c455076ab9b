// The client side of RFC 2217: a serial port behind telnet. Data crosses without waiting for anything; only speed,
// modem lines and purges wait for the server's word, because what follows them relies on them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "io/carriers.hpp"
#include "io/telnet.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

// Source: RFC 2217, Com Port Configuration Commands. A server answers with the command plus 100.
enum Command : std::uint8_t {
  set_baudrate = 1,
  set_datasize = 2,
  set_parity = 3,
  set_stopsize = 4,
  set_control = 5,
  set_linestate_mask = 10,
  set_modemstate_mask = 11,
  purge_data = 12,
};
constexpr std::uint8_t answer_offset = 100;

enum Control : std::uint8_t {
  no_flow_control = 1,
  dtr_on = 8,
  dtr_off = 9,
  rts_on = 11,
  rts_off = 12,
};
constexpr std::uint8_t purge_receive_buffer = 1;

/// What a server can be asked and answers apart from the rest.
enum class Setting { baud, data_bits, parity, stop_bits, flow, dtr, rts, purge, count };

/// SET-CONTROL speaks of three things; the value says which. Source: RFC 2217, SET-CONTROL.
Setting setting_of_control(std::uint8_t value) {
  if (value >= 7 && value <= 9) return Setting::dtr;
  if (value >= 10 && value <= 12) return Setting::rts;
  return Setting::flow;
}

constexpr Duration negotiation_limit = 3s;
constexpr Duration answer_limit = 1s;
constexpr Duration command_limit = 3s;  // for the bytes of a command to leave
constexpr std::size_t read_size = 16 * 1024;
constexpr std::size_t write_size = 256 * 1024;

/// What the coroutines of one connection share; they hold it, so the port may go first.
class Line : public std::enable_shared_from_this<Line> {
 public:
  Line(std::shared_ptr<FdStream> stream, NetworkName name) : stream_(std::move(stream)), place_(std::move(name)) {
    // Some servers change the lines and never say so; pyserial's users know this option for them.
    confirms_.fill(true);
    if (place_.options.find("ign_set_control") != std::string::npos) {
      confirms(Setting::dtr) = false;
      confirms(Setting::rts) = false;
    }
  }

  static Task<Result<Duration>> negotiate(std::shared_ptr<Line> self);
  static Task<Result<std::size_t>> read_some(std::shared_ptr<Line> self, ByteSpan into, Instant deadline);
  static Task<Result<void>> write(std::shared_ptr<Line> self, ByteView bytes, Instant deadline);
  static Task<Result<void>> set_baud(std::shared_ptr<Line> self, Baud baud);
  static Task<Result<void>> set_lines(std::shared_ptr<Line> self, std::optional<bool> dtr, std::optional<bool> rts);
  static Task<Result<void>> discard_input(std::shared_ptr<Line> self);

  void close() { stream_->close(); }
  [[nodiscard]] const std::string& name() const { return stream_->name(); }

 private:
  enum class Agreed : std::uint8_t { no, asked, yes };
  struct Option {
    Agreed ours = Agreed::no;    // we do it; they said DO
    Agreed theirs = Agreed::no;  // they do it; they said WILL
    bool refused = false;
  };

  /// Takes what has arrived, answers telnet's questions. Whether there was anything.
  Result<bool> pump();
  void answer(const telnet::Event& event);
  void note_setting(ByteView body);
  /// Sends what pump() wants said, unless somebody is in the middle of writing, who then does it.
  Result<void> send_replies();
  static Task<Result<void>> send_queued(std::shared_ptr<Line> self, Instant deadline);
  void ask(Command command, ByteView value);
  void ask(Command command, std::uint8_t value) { ask(command, ByteView{&value, 1}); }
  /// Waits until every one of `settings` is answered; false when the time is over.
  static Task<Result<bool>> wait_for(std::shared_ptr<Line> self, std::vector<Setting> settings, Duration limit);
  std::optional<std::uint32_t>& answer_to(Setting setting) { return answers_[static_cast<std::size_t>(setting)]; }
  bool& confirms(Setting setting) { return confirms_[static_cast<std::size_t>(setting)]; }

  std::shared_ptr<FdStream> stream_;
  NetworkName place_;
  telnet::Decoder decoder_;
  std::vector<telnet::Event> events_;
  Bytes received_;  // data nobody has read yet, from received_at_ on
  std::size_t received_at_ = 0;
  Bytes scratch_ = Bytes(read_size);
  Bytes escaped_;  // kept between writes for its memory
  Bytes queued_;   // commands and replies that wait for their turn
  bool writing_ = false;
  int waiting_ = 0;
  std::map<std::uint8_t, Option> options_;
  std::array<std::optional<std::uint32_t>, static_cast<std::size_t>(Setting::count)> answers_{};
  std::array<bool, static_cast<std::size_t>(Setting::count)> confirms_{};

  /// The turn to write. A write that ends early (cancelled, deadline) has torn a command or an escaped byte: the stream
  /// means nothing afterwards.
  class Turn {
   public:
    explicit Turn(Line& line) : line_(line) { line_.writing_ = true; }
    ~Turn() {
      line_.writing_ = false;
      if (!whole_) line_.close();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    void done() { whole_ = true; }

   private:
    Line& line_;
    bool whole_ = false;
  };

  struct Waiting {
    explicit Waiting(int& c) : count(c) { ++count; }
    ~Waiting() { --count; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    int& count;
  };
};

Result<bool> Line::pump() {
  TRY(const std::size_t count, stream_->read_now(scratch_));
  if (count == 0) return false;
  if (received_at_ == received_.size()) {
    received_.clear();
    received_at_ = 0;
  }
  events_.clear();
  decoder_.feed(ByteView{scratch_}.first(count), received_, events_);
  for (const telnet::Event& event : events_) answer(event);
  TRY(send_replies());
  // Whoever else waits for these bytes or answers will not hear of them from the system again.
  if (waiting_ > 0) stream_->wake_all();
  return true;
}

void Line::answer(const telnet::Event& event) {
  using namespace telnet;
  if (event.verb == sb) {
    if (event.option == option_com_port) note_setting(event.body);
    return;
  }
  const bool wanted =
      event.option == option_binary || event.option == option_suppress_go_ahead || event.option == option_com_port;
  Option& option = options_[event.option];
  // Each side answers a change only (RFC 1143): repeating what is agreed would never end.
  switch (event.verb) {
    case do_it:
      if (!wanted)
        append_negotiation(queued_, wont, event.option);
      else if (option.ours == Agreed::no)
        append_negotiation(queued_, will, event.option);
      if (wanted) option.ours = Agreed::yes;
      break;
    case will:
      if (!wanted)
        append_negotiation(queued_, dont, event.option);
      else if (option.theirs == Agreed::no)
        append_negotiation(queued_, do_it, event.option);
      if (wanted) option.theirs = Agreed::yes;
      break;
    case dont:
      if (option.ours == Agreed::yes) append_negotiation(queued_, wont, event.option);
      if (option.ours == Agreed::asked) option.refused = true;
      option.ours = Agreed::no;
      break;
    case wont:
      if (option.theirs == Agreed::yes) append_negotiation(queued_, dont, event.option);
      option.theirs = Agreed::no;
      break;
    default:
      break;
  }
}

void Line::note_setting(ByteView body) {
  if (body.size() < 2 || body[0] < answer_offset) return;
  const std::uint8_t command = body[0] - answer_offset;
  if (command == set_baudrate && body.size() >= 5) {
    answer_to(Setting::baud) = static_cast<std::uint32_t>(body[1]) << 24 | static_cast<std::uint32_t>(body[2]) << 16 |
                               static_cast<std::uint32_t>(body[3]) << 8 | body[4];
  }
  if (command == set_datasize) answer_to(Setting::data_bits) = body[1];
  if (command == set_parity) answer_to(Setting::parity) = body[1];
  if (command == set_stopsize) answer_to(Setting::stop_bits) = body[1];
  if (command == set_control) answer_to(setting_of_control(body[1])) = body[1];
  if (command == purge_data) {
    answer_to(Setting::purge) = body[1];
  }
}

Result<void> Line::send_replies() {
  if (writing_ || queued_.empty()) return ok();
  TRY(const std::size_t count, stream_->write_now(queued_));
  queued_.erase(queued_.begin(), queued_.begin() + static_cast<std::ptrdiff_t>(count));
  return ok();
}

Task<Result<void>> Line::send_queued(std::shared_ptr<Line> self, Instant deadline) {
  if (self->writing_) co_return ok();  // the writer sends it when its turn ends
  Turn turn(*self);
  while (!self->queued_.empty()) {
    const Bytes bytes = std::exchange(self->queued_, {});
    CO_TRY(co_await FdStream::write(self->stream_, bytes, deadline));
  }
  turn.done();
  co_return ok();
}

void Line::ask(Command command, ByteView value) {
  Bytes body{command};
  append(body, value);
  telnet::append_subnegotiation(queued_, telnet::option_com_port, body);
}

Task<Result<bool>> Line::wait_for(std::shared_ptr<Line> self, std::vector<Setting> settings, Duration limit) {
  const Instant deadline = steady_now() + limit;
  for (;;) {
    const bool all = std::all_of(settings.begin(), settings.end(),
                                 [&](Setting setting) { return self->answer_to(setting).has_value(); });
    if (all) co_return true;
    CO_TRY(const bool heard, self->pump());
    if (heard) continue;
    if (steady_now() >= deadline) co_return false;
    const Waiting waiting(self->waiting_);
    co_await FdStream::wait(self->stream_, FdStream::Waiter::control, deadline);
  }
}

Task<Result<Duration>> Line::negotiate(std::shared_ptr<Line> self) {
  using namespace telnet;
  for (const std::uint8_t name : {option_com_port, option_binary, option_suppress_go_ahead}) {
    append_negotiation(self->queued_, will, name);
    append_negotiation(self->queued_, do_it, name);
    self->options_[name] = Option{Agreed::asked, Agreed::asked, false};
  }
  CO_TRY(co_await send_queued(self, steady_now() + negotiation_limit));

  const Instant deadline = steady_now() + negotiation_limit;
  const Option& com_port = self->options_[option_com_port];
  while (com_port.ours != Agreed::yes && com_port.theirs != Agreed::yes) {
    CO_TRY(const bool heard, self->pump());
    if (heard) continue;
    if (com_port.refused || steady_now() >= deadline) {
      Fault fault = port_failed(self->name(), "the server does not speak RFC 2217",
                                com_port.refused ? "it refused COM-PORT-OPTION" : "no answer within 3 s");
      fault.remedy = Remedy::refuse;
      fault.advice = "a server of bare bytes is named socket://HOST:PORT";
      co_return fail(std::move(fault));
    }
    co_await FdStream::wait(self->stream_, FdStream::Waiter::control, deadline);
  }

  // 115200 8N1 without flow control, and no news of modem and line state: nobody here reads them.
  const Instant asked = steady_now();
  const std::array<std::uint8_t, 4> baud{0x00, 0x01, 0xc2, 0x00};
  self->ask(set_baudrate, baud);
  self->ask(set_datasize, 8);
  self->ask(set_parity, 1);
  self->ask(set_stopsize, 1);
  self->ask(set_control, no_flow_control);
  self->ask(set_linestate_mask, 0);
  self->ask(set_modemstate_mask, 0);
  CO_TRY(co_await send_queued(self, steady_now() + negotiation_limit));
  std::vector<Setting> expected{Setting::baud, Setting::data_bits, Setting::parity, Setting::stop_bits};
  CO_TRY(const bool answered, co_await wait_for(self, std::move(expected), negotiation_limit));
  // A server may be silent about what cannot be otherwise; about the speed it must speak.
  if (!answered && !self->answer_to(Setting::baud)) {
    co_return fail(port_failed(self->name(), "the server does not set the speed", "no answer within 3 s"));
  }
  co_return steady_now() - asked;
}

Task<Result<std::size_t>> Line::read_some(std::shared_ptr<Line> self, ByteSpan into, Instant deadline) {
  for (;;) {
    const std::size_t there = self->received_.size() - self->received_at_;
    if (there > 0 || into.empty()) {
      const std::size_t count = std::min(there, into.size());
      std::copy_n(self->received_.begin() + static_cast<std::ptrdiff_t>(self->received_at_), count, into.begin());
      self->received_at_ += count;
      co_return count;
    }
    CO_TRY(const bool heard, self->pump());
    if (heard) continue;
    if (steady_now() >= deadline) co_return std::size_t{0};
    const Waiting waiting(self->waiting_);
    co_await FdStream::wait(self->stream_, FdStream::Waiter::reader, deadline);
  }
}

Task<Result<void>> Line::write(std::shared_ptr<Line> self, ByteView bytes, Instant deadline) {
  CO_TRY(co_await send_queued(self, deadline));
  Turn turn(*self);
  while (!bytes.empty()) {
    const ByteView part = bytes.first(std::min(bytes.size(), write_size));
    bytes = bytes.subspan(part.size());
    ByteView wire = part;
    if (std::memchr(part.data(), telnet::iac, part.size()) != nullptr) {
      self->escaped_.clear();
      telnet::append_escaped(self->escaped_, part);
      wire = self->escaped_;
    }
    CO_TRY(co_await FdStream::write(self->stream_, wire, deadline));
  }
  while (!self->queued_.empty()) {
    const Bytes commands = std::exchange(self->queued_, {});
    CO_TRY(co_await FdStream::write(self->stream_, commands, steady_now() + command_limit));
  }
  turn.done();
  co_return ok();
}

Task<Result<void>> Line::set_baud(std::shared_ptr<Line> self, Baud baud) {
  const std::uint32_t value = baud.per_second;
  const std::array<std::uint8_t, 4> wire{static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
                                         static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
  const auto refused = [&](std::string seen) -> Fault {
    return {Code::baud_failed, Remedy::reconnect,      fmt::format("{} cannot run at {} baud", self->name(), value), {},
            std::move(seen),   "choose a lower --baud"};
  };
  self->answer_to(Setting::baud).reset();
  self->ask(set_baudrate, wire);
  CO_TRY(co_await send_queued(self, steady_now() + command_limit));
  std::vector<Setting> expected{Setting::baud};
  CO_TRY(const bool answered, co_await wait_for(self, std::move(expected), negotiation_limit));
  if (!answered) co_return fail(refused("the server does not answer"));
  const std::uint64_t real = *self->answer_to(Setting::baud);
  if (real * 100 < std::uint64_t{value} * 97 || real * 100 > std::uint64_t{value} * 103) {
    co_return fail(refused(fmt::format("the server runs at {}", real)));
  }
  co_return ok();
}

Task<Result<void>> Line::set_lines(std::shared_ptr<Line> self, std::optional<bool> dtr, std::optional<bool> rts) {
  struct Change {
    Setting setting;
    std::uint8_t value;
  };
  std::vector<Change> changes;
  if (dtr) changes.push_back({Setting::dtr, *dtr ? dtr_on : dtr_off});
  if (rts) changes.push_back({Setting::rts, *rts ? rts_on : rts_off});
  std::vector<Setting> expected;
  for (const Change& change : changes) {
    self->answer_to(change.setting).reset();
    self->ask(set_control, change.value);
    if (self->confirms(change.setting)) expected.push_back(change.setting);
  }
  CO_TRY(co_await send_queued(self, steady_now() + command_limit));
  if (expected.empty()) co_return ok();
  CO_TRY(const bool answered, co_await wait_for(self, expected, answer_limit));
  for (const Change& change : changes) {
    const auto& real = self->answer_to(change.setting);
    // A server that never says so may still have done it: the board's silence will tell. It is asked no more.
    if (!answered && !real) self->confirms(change.setting) = false;
    if (real && *real != change.value) {
      co_return fail({Code::no_reset_lines,
                      Remedy::refuse,
                      fmt::format("{}: the server does not drive {}", self->name(),
                                  change.setting == Setting::dtr ? "DTR" : "RTS"),
                      {},
                      fmt::format("asked for {}, answered {} (SET-CONTROL)", change.value, *real),
                      "use an adapter with these lines, or hold BOOT and press RESET on the board"});
    }
  }
  co_return ok();
}

Task<Result<void>> Line::discard_input(std::shared_ptr<Line> self) {
  self->answer_to(Setting::purge).reset();
  self->ask(purge_data, purge_receive_buffer);
  CO_TRY(co_await send_queued(self, steady_now() + command_limit));
  // What was sent before the answer was there before the purge: dropping all of it up to the answer is exact.
  if (self->confirms(Setting::purge)) {
    std::vector<Setting> expected{Setting::purge};
    CO_TRY(self->confirms(Setting::purge), co_await wait_for(self, std::move(expected), answer_limit));
  }
  for (;;) {
    self->received_.clear();
    self->received_at_ = 0;
    CO_TRY(const bool heard, self->pump());
    if (!heard) co_return ok();
  }
}

class Rfc2217Port final : public Port {
 public:
  Rfc2217Port(std::shared_ptr<Line> line, Duration round_trip)
      : line_(std::move(line)), name_(line_->name()), latency_(std::clamp<Duration>(2 * round_trip, 2ms, 500ms)) {}
  ~Rfc2217Port() override { line_->close(); }
  Rfc2217Port(const Rfc2217Port&) = delete;
  Rfc2217Port& operator=(const Rfc2217Port&) = delete;

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    return Line::read_some(line_, into, deadline);
  }
  Task<Result<void>> write(ByteView bytes, Instant deadline) override { return Line::write(line_, bytes, deadline); }
  Task<Result<void>> set_baud(Baud baud) override { return Line::set_baud(line_, baud); }
  Task<Result<void>> set_dtr(bool asserted) override { return Line::set_lines(line_, asserted, std::nullopt); }
  Task<Result<void>> set_rts(bool asserted) override { return Line::set_lines(line_, std::nullopt, asserted); }
  Task<Result<void>> set_dtr_rts(bool dtr, bool rts) override { return Line::set_lines(line_, dtr, rts); }
  Task<Result<void>> discard_input() override { return Line::discard_input(line_); }
  void close() override { line_->close(); }
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Duration latency() const override { return latency_; }

 private:
  std::shared_ptr<Line> line_;
  std::string name_;
  Duration latency_;
};

}  // namespace

Task<Result<std::unique_ptr<Port>>> open_rfc2217(boost::asio::io_context& context, NetworkName name) {
  CO_TRY(Connection connection, co_await connect_tcp(context, name));
  auto line = std::make_shared<Line>(std::move(connection.stream), std::move(name));
  CO_TRY(const Duration round_trip, co_await Line::negotiate(line));
  co_return std::make_unique<Rfc2217Port>(std::move(line), round_trip);
}

}  // namespace espmint
