// app/monitor.hpp: listening to what a board says: bytes cut into lines, made safe to show, chosen by patterns.
//   CO_TRY(MonitorEnd end, co_await monitor(port, clock, plan, ear, stop));
// What is heard goes to a MonitorEar, so that a test hears it as a screen does. It sends nothing to the board.
#pragma once

#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "io/port.hpp"

namespace espmint::app {

/// What stood between two line ends, without them.
struct HeardLine {
  std::string text;
  bool whole = true;  // false: cut at the greatest length, or shown because nothing more came
};

/// Cuts bytes into lines at \n; a \r before it belongs to the end. A line without an end is cut at `longest` bytes.
class LineCutter {
 public:
  static constexpr std::size_t longest = 2048;
  std::vector<HeardLine> push(ByteView);
  /// What has come of a line that has no end yet; nothing where there is nothing.
  std::optional<HeardLine> take_rest();

 private:
  std::string rest_;
};

/// Without the sequences by which a terminal changes colours (ESC [ … m).
std::string without_colours(std::string_view line);
/// Safe for a terminal: control characters of both kinds, text direction marks and what is no UTF-8 as \xNN. Changes of
/// colour stay when `colour`, and end with the line; otherwise they are left out.
std::string show_heard(std::string_view line, bool colour);

/// Regular expressions (ECMAScript), of which one must be found.
class Patterns {
 public:
  /// Fault usage names the one that is none.
  static Result<Patterns> parse(const std::vector<std::string>&);
  [[nodiscard]] bool empty() const { return list_.empty(); }
  [[nodiscard]] bool match(std::string_view line) const;

 private:
  std::vector<std::regex> list_;
};

struct MonitorPlan {
  Baud baud{};
  bool reset = false;             // start the application first
  Patterns only, without;         // lines to show; lines to leave out
  Patterns until;                 // ends with the first line in which one is found, shown or not
  std::optional<Duration> limit;  // ends after so long
};

class MonitorEar {
 public:
  virtual ~MonitorEar() = default;
  /// As they come, all of them.
  virtual void on_bytes(ByteView) {}
  /// A line that is to be shown; `since`: the start.
  virtual void on_line(const HeardLine&, Duration since) = 0;
  virtual void on_gone(const Fault&) {}
  virtual void on_back(const PortReturn&, const std::string& name) { (void)name; }
};

struct MonitorEnd {
  enum class Why { stopped, matched, time_over } why = Why::stopped;
  std::string line;  // in which `until` was found
};

/// Listens until `until`, `limit` or `stop`; whoever sets `stop` also closes the port. A port that vanishes is waited
/// for. Faults: no_reset_lines where a reset was wanted; port_gone where nobody can open it again; port_failed.
Task<Result<MonitorEnd>> monitor(Port&, Clock&, const MonitorPlan&, MonitorEar&, const bool& stop);

}  // namespace espmint::app
