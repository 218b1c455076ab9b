#include "io/latency_timer.hpp"

#include <algorithm>
#include <fstream>

namespace espmint {
namespace {

constexpr int quick_ms = 1, longest_ms = 255;

}  // namespace

LatencyTimer::LatencyTimer(const std::string& tty, const std::filesystem::path& tty_class) {
  std::error_code ignored;  // the name may be a link, as those in /dev/serial are
  file_ = tty_class / std::filesystem::weakly_canonical(tty, ignored).filename() / "device/latency_timer";
  const auto there = read();
  if (there && *there > quick_ms && write(quick_ms)) before_ = there;
}

LatencyTimer::~LatencyTimer() {
  if (before_) write(*before_);
}

Duration LatencyTimer::now() const { return std::chrono::milliseconds{std::clamp(read().value_or(0), 0, longest_ms)}; }

std::optional<int> LatencyTimer::read() const {
  std::ifstream file(file_);
  int milliseconds = 0;
  if (file >> milliseconds) return milliseconds;
  return std::nullopt;
}

bool LatencyTimer::write(int milliseconds) const {
  std::ofstream file(file_);
  file << milliseconds << std::flush;
  return file.good();
}

}  // namespace espmint
