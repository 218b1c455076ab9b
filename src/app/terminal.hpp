// app/terminal.hpp: what kind of reader stands at stdout and stderr, and words in colour for the kind that sees it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace espmint::app {

/// How a command speaks. Data goes to stdout, the rest to stderr.
struct Voice {
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  bool bell = false;
};

bool stdout_is_terminal();
bool stderr_is_terminal();
/// Columns of the terminal on stderr, 80 where unknown.
int terminal_columns();
/// NO_COLOR, TERM=dumb and a pipe say no; CLICOLOR_FORCE says yes.
bool wants_colour(bool on_terminal);

enum class Colour { green, red, yellow, cyan, dim, bold };
std::string painted(Colour, std::string_view text, bool colour);

/// A bar of `cells` characters: "███████░░░".
std::string progress_bar(std::uint64_t done, std::uint64_t total, int cells);

/// How fast something gets on, from moments in seconds. Pure: a test brings its own moments.
class Pace {
 public:
  Pace(std::uint64_t total, double started) : total_(total), started_(started) {}
  struct Figures {
    std::uint64_t done = 0, total = 0;
    int percent = 0;
    double bytes_per_second = 0;         // 0: too early to say
    std::optional<double> seconds_left;  // nothing: too early to say
  };
  /// Nothing when the last ones are younger than `every` seconds, unless this is the end and it was not told yet.
  std::optional<Figures> at(double now, std::uint64_t done, double every);

 private:
  std::uint64_t total_;
  double started_;
  std::optional<double> told_;
  bool told_end_ = false;
};

/// "██████░░░░  40% 320 KB/s, 3 s left"
std::string show_progress(const Pace::Figures&, int cells);

/// Long work of a single command: one line on stderr that is redrawn where somebody watches, an event `progress` at
/// most five times a second with --json, nothing in a pipe.
class ProgressLine {
 public:
  /// `title` for people; `what` for programs: "write", "read", "verify", "erase".
  ProgressLine(std::string title, std::uint64_t total, const Voice&, std::string what = "write");
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void show(std::uint64_t done);

 private:
  std::string title_, what_;
  bool json_, live_;
  Pace pace_;
  bool drawn_ = false;
};

}  // namespace espmint::app
