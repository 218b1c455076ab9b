#include "app/terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "app/json.hpp"

namespace espmint::app {
namespace {

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

int terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

bool wants_colour(bool on_terminal) {
  const char* term = std::getenv("TERM");
  const char* no = std::getenv("NO_COLOR");
  const char* force = std::getenv("CLICOLOR_FORCE");
  if (no && *no) return false;
  if (force && *force && std::string_view{force} != "0") return true;
  return on_terminal && !(term && std::string_view{term} == "dumb");
}

std::string painted(Colour colour, std::string_view text, bool on) {
  if (!on) return std::string{text};
  static constexpr std::string_view codes[] = {"32", "31", "33", "36", "2", "1"};
  return fmt::format("\x1b[{}m{}\x1b[0m", codes[static_cast<std::size_t>(colour)], text);
}

std::string progress_bar(std::uint64_t done, std::uint64_t total, int cells) {
  auto full = total ? static_cast<int>(std::min(done, total) * static_cast<std::uint64_t>(cells) / total) : 0;
  std::string out;
  for (int i = 0; i < cells; ++i) out += i < full ? "█" : "░";
  return out;
}

std::optional<Pace::Figures> Pace::at(double now, std::uint64_t done, double every) {
  const bool end = done >= total_;
  const bool due = end ? !told_end_ : !told_ || now - *told_ >= every;
  if (total_ == 0 || !due) return std::nullopt;
  told_ = now;
  told_end_ = end;
  constexpr double too_early = 0.05;
  const double spent = now - started_;
  Figures figures{std::min(done, total_), total_, static_cast<int>(std::min(done, total_) * 100 / total_), 0, {}};
  if (spent > too_early && done > 0) {
    figures.bytes_per_second = static_cast<double>(figures.done) / spent;
    figures.seconds_left = static_cast<double>(total_ - figures.done) / figures.bytes_per_second;
  }
  return figures;
}

std::string show_progress(const Pace::Figures& figures, int cells) {
  std::string text = fmt::format("{} {:3}%", progress_bar(figures.done, figures.total, cells), figures.percent);
  if (figures.bytes_per_second > 0) text += fmt::format(" {:.0f} KB/s", figures.bytes_per_second / 1024);
  if (figures.seconds_left && figures.done < figures.total)
    text += fmt::format(", {:.0f} s left", *figures.seconds_left);
  return text;
}

ProgressLine::ProgressLine(std::string title, std::uint64_t total, const Voice& voice, std::string what)
    : title_(std::move(title)),
      what_(std::move(what)),
      json_(voice.json),
      live_(!voice.json && !voice.quiet && stderr_is_terminal()),
      pace_(total, now_seconds()) {}

ProgressLine::~ProgressLine() {
  // What it came to is the next line.
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void ProgressLine::show(std::uint64_t done) {
  if (!json_ && !live_) return;
  constexpr double for_programs = 0.2, for_people = 0.1;
  auto figures = pace_.at(now_seconds(), done, json_ ? for_programs : for_people);
  if (!figures) return;
  if (json_) {
    print_json({{"v", 1},
                {"event", "progress"},
                {"what", what_},
                {"title", title_},
                {"done", figures->done},
                {"total", figures->total},
                {"bytes_per_second", std::round(figures->bytes_per_second)},
                {"seconds_left", figures->seconds_left ? Json(std::round(*figures->seconds_left * 10) / 10) : Json{}}});
    return;
  }
  drawn_ = true;
  const int cells = std::clamp(terminal_columns() - static_cast<int>(title_.size()) - 30, 5, 24);
  std::fputs(fmt::format("\r\x1b[K{} {}", title_, show_progress(*figures, cells)).c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace espmint::app
