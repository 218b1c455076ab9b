#include "app/terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

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

ProgressLine::ProgressLine(std::string title, std::uint64_t total, const Voice& voice)
    : title_(std::move(title)), total_(total), silent_(voice.json || voice.quiet), live_(stderr_is_terminal()), started_(now_seconds()) {}

ProgressLine::~ProgressLine() {
  if (drawn_ && live_) std::fputs("\n", stderr);
}

void ProgressLine::show(std::uint64_t done) {
  if (silent_ || total_ == 0) return;
  double now = now_seconds(), spent = now - started_;
  auto percent = static_cast<int>(done * 100 / total_);
  double rate = spent > 0.05 ? static_cast<double>(done) / spent : 0;
  if (live_) {
    if (done < total_ && now - last_drawn_ < 0.1) return;
    last_drawn_ = now;
    drawn_ = true;
    std::string left = rate > 0 && done < total_ ? fmt::format(", {:.0f} s left", static_cast<double>(total_ - done) / rate) : "";
    std::fputs(fmt::format("\r\x1b[K{} {} {:3}% {:.0f} KB/s{}", title_, progress_bar(done, total_, 24), percent, rate / 1024, left).c_str(), stderr);
    std::fflush(stderr);
  } else if (percent / 10 > last_tenth_) {
    last_tenth_ = percent / 10;
    std::fputs(fmt::format("{} {}%\n", title_, percent).c_str(), stderr);
  }
}

}  // namespace espmint::app
