#include "io/latency_timer.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace espmint {
namespace {

constexpr int quick_ms = 1, longest_ms = 255;

std::filesystem::path timer_of(const std::string& tty, const std::filesystem::path& tty_class) {
  std::error_code ignored;  // the name may be a link, as those in /dev/serial are
  return tty_class / std::filesystem::weakly_canonical(tty, ignored).filename() / "device/latency_timer";
}

std::optional<int> read_timer(const std::filesystem::path& file) {
  std::ifstream in(file);
  int milliseconds = 0;
  if (in >> milliseconds) return milliseconds;
  return std::nullopt;
}

}  // namespace

LatencyTimer::LatencyTimer(const std::string& tty, const std::filesystem::path& tty_class) {
  file_ = timer_of(tty, tty_class);
  const auto there = read_timer(file_);
  if (there && *there > quick_ms && write(quick_ms)) before_ = there;
}

LatencyTimer::~LatencyTimer() {
  if (before_) write(*before_);
}

Duration LatencyTimer::now() const {
  return std::chrono::milliseconds{std::clamp(read_timer(file_).value_or(0), 0, longest_ms)};
}

bool LatencyTimer::write(int milliseconds) const {
  std::ofstream file(file_);
  file << milliseconds << std::flush;
  return file.good();
}

bool may_write(const std::filesystem::path& file) { return access(file.c_str(), W_OK) == 0; }

bool holds_back_answers(const std::string& tty, const std::filesystem::path& tty_class,
                        const std::function<bool(const std::filesystem::path&)>& ours) {
  const std::filesystem::path file = timer_of(tty, tty_class);
  return read_timer(file).value_or(0) > quick_ms && !ours(file);
}

}  // namespace espmint
