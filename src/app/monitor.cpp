#include "app/monitor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "rom/connect.hpp"

namespace espmint::app {
namespace {

using namespace std::chrono_literals;

// A prompt has no line end: after so much silence it is shown as it is.
constexpr Duration silence_ends_line = 500ms;
// How often somebody who wants to stop is looked for while the port is away.
constexpr Duration look_for_stop = 200ms;

/// Length of a change of colour at the start of `text`, 0 where there is none.
std::size_t colour_change(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  std::size_t at = 2;
  while (at < text.size() && ((text[at] >= '0' && text[at] <= '9') || text[at] == ';')) ++at;
  return at < text.size() && text[at] == 'm' ? at + 1 : 0;
}

/// Length of the UTF-8 character at the start of `text` that a terminal may have as it is, 0 where there is none.
std::size_t printable_character(std::string_view text) {
  auto byte = [&text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned first = byte(0);
  if (first < 0x80) return first == '\t' || (first >= 0x20 && first != 0x7f) ? 1 : 0;
  const std::size_t length = first >= 0xf0 && first < 0xf5   ? 4
                             : first >= 0xe0 && first < 0xf0 ? 3
                             : first >= 0xc2 && first < 0xe0 ? 2
                                                             : 0;
  if (length == 0 || text.size() < length) return 0;
  std::uint32_t code = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<std::uint32_t, 5> least{0, 0, 0x80, 0x800, 0x1'0000};
  const bool valid = code >= least[length] && code <= 0x10'ffff && (code < 0xd800 || code > 0xdfff);
  const bool control = code < 0xa0 || code == 0x2028 || code == 0x2029;
  const bool direction =
      (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0x200e || code == 0x200f;
  return valid && !control && !direction ? length : 0;
}

}  // namespace

std::vector<HeardLine> LineCutter::push(ByteView bytes) {
  std::vector<HeardLine> lines;
  for (std::uint8_t byte : bytes) {
    if (byte == '\n') {
      if (rest_.ends_with('\r')) rest_.pop_back();
      lines.push_back({std::exchange(rest_, {}), true});
      continue;
    }
    rest_ += static_cast<char>(byte);
    if (rest_.size() == longest) lines.push_back({std::exchange(rest_, {}), false});
  }
  return lines;
}

std::optional<HeardLine> LineCutter::take_rest() {
  if (rest_.empty()) return std::nullopt;
  return HeardLine{std::exchange(rest_, {}), false};
}

std::string without_colours(std::string_view line) {
  std::string out;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t change = colour_change(line.substr(at));
    if (change == 0) out += line[at];
    at += std::max<std::size_t>(change, 1);
  }
  return out;
}

std::string show_heard(std::string_view line, bool colour) {
  std::string out;
  bool changed = false;
  for (std::size_t at = 0; at < line.size();) {
    const std::string_view left = line.substr(at);
    std::size_t length = colour_change(left);
    if (length > 0) {
      if (colour) out += left.substr(0, length);
      changed = colour;
    } else if (length = printable_character(left); length > 0) {
      out += left.substr(0, length);
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(left[0]));
      length = 1;
    }
    at += length;
  }
  if (changed) out += "\x1b[0m";
  return out;
}

Result<Patterns> Patterns::parse(const std::vector<std::string>& texts) {
  Patterns patterns;
  for (const std::string& text : texts) {
    try {
      patterns.list_.emplace_back(text, std::regex::ECMAScript | std::regex::nosubs | std::regex::optimize);
    } catch (const std::regex_error& error) {
      return fail({Code::usage,
                   Remedy::refuse,
                   fmt::format("\"{}\" is no regular expression", text),
                   {},
                   error.what(),
                   "Put a backslash before ( [ { * + ? . where they mean themselves"});
    }
  }
  return patterns;
}

bool Patterns::match(std::string_view line) const {
  return std::any_of(list_.begin(), list_.end(), [line](const std::regex& pattern) {
    return std::regex_search(line.begin(), line.end(), pattern);
  });
}

namespace {

/// One listening, from the first byte to its end.
class Listening {
 public:
  Listening(Port& port, Clock& clock, const MonitorPlan& plan, MonitorEar& ear, const bool& stop)
      : port_(port), clock_(clock), plan_(plan), ear_(ear), stop_(stop), begun_(clock.now()) {
    if (plan.limit) over_ = begun_ + *plan.limit;
  }

  Task<Result<MonitorEnd>> run() {
    Result<void> ready = co_await port_.set_baud(plan_.baud);
    if (ready && plan_.reset) {
      ready = co_await reset_into_application(port_, clock_);
      // Some drivers lose the speed of a port whose lines they change; and the board prints from here on.
      if (ready) ready = co_await port_.set_baud(plan_.baud);
    }
    if (!ready && !co_await is_back(ready.error())) co_return ended_by(std::move(ready.error()));
    std::array<std::uint8_t, 4096> buffer;
    while (!end_ && !over()) {
      auto got = co_await port_.read_some(buffer, std::min(over_, clock_.now() + silence_ends_line));
      if (!got) {
        flush();
        if (!end_ && !co_await is_back(got.error())) co_return ended_by(std::move(got.error()));
      } else if (*got == 0) {
        flush();
      } else {
        hear(ByteView{buffer.data(), *got});
      }
    }
    flush();
    if (end_) co_return *end_;
    co_return MonitorEnd{stop_ ? MonitorEnd::Why::stopped : MonitorEnd::Why::time_over, {}};
  }

 private:
  [[nodiscard]] bool over() const { return stop_ || clock_.now() >= over_; }

  Result<MonitorEnd> ended_by(Fault fault) const {
    if (stop_) return MonitorEnd{MonitorEnd::Why::stopped, {}};
    if (over() && fault.code == Code::port_gone) return MonitorEnd{MonitorEnd::Why::time_over, {}};
    return fail(std::move(fault));
  }

  /// Waits for a port that went; false where it is over or was another fault.
  Task<bool> is_back(Fault why) {
    if (why.code != Code::port_gone || stop_) co_return false;
    ear_.on_gone(why);
    while (!over()) {
      const Instant asked = clock_.now();
      auto back = co_await port_.reopen(std::min(over_, asked + look_for_stop));
      if (back) {
        auto ready = co_await port_.set_baud(plan_.baud);
        if (!ready) continue;
        ear_.on_back(*back, port_.name());
        co_return true;
      }
      if (clock_.now() == asked && !over()) co_return false;  // nobody knows how to open it again
    }
    co_return false;
  }

  void flush() {
    if (auto rest = cutter_.take_rest()) tell(*rest);
  }
  void hear(ByteView bytes) {
    ear_.on_bytes(bytes);
    for (const HeardLine& line : cutter_.push(bytes)) tell(line);
  }
  void tell(const HeardLine& line) {
    if (end_) return;  // what came with the last line is in the log
    const std::string plain = without_colours(line.text);
    const bool shown = (plan_.only.empty() || plan_.only.match(plain)) && !plan_.without.match(plain);
    if (shown) ear_.on_line(line, clock_.now() - begun_);
    if (plan_.until.match(plain)) end_ = MonitorEnd{MonitorEnd::Why::matched, plain};
  }

  Port& port_;
  Clock& clock_;
  const MonitorPlan& plan_;
  MonitorEar& ear_;
  const bool& stop_;
  Instant begun_;
  Instant over_ = Instant::max();
  LineCutter cutter_;
  std::optional<MonitorEnd> end_;
};

}  // namespace

Task<Result<MonitorEnd>> monitor(Port& port, Clock& clock, const MonitorPlan& plan, MonitorEar& ear, const bool& stop) {
  Listening listening{port, clock, plan, ear, stop};
  co_return co_await listening.run();
}

}  // namespace espmint::app
