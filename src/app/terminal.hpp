// app/terminal.hpp: what kind of reader stands at stdout and stderr, and words in colour for the kind that sees it.
#pragma once

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

/// One line on stderr that is redrawn, for long work of a single command; a line every 10 % where nobody watches.
class ProgressLine {
 public:
  ProgressLine(std::string title, std::uint64_t total, const Voice&);
  ~ProgressLine();
  void show(std::uint64_t done);

 private:
  std::string title_;
  std::uint64_t total_;
  bool silent_, live_;
  int last_tenth_ = -1;
  double started_;
  double last_drawn_ = 0;
  bool drawn_ = false;
};

}  // namespace espmint::app
