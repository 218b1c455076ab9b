// io/latency_timer.hpp: an FTDI adapter holds back short packets for 16 ms; 1 ms while a port is
// open.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "io/clock.hpp"

namespace espmint {

/// Where the kernel shows ttys; a test brings its own folder.
inline const std::filesystem::path tty_class_folder = "/sys/class/tty";

/// The time an adapter holds back what the board has sent; set back to what it was at its end. Others than FTDI have no
/// such timer, and who may not write it keeps it as it is: both cost nothing but time. Source: Linux, ftdi_sio.
class LatencyTimer {
 public:
  explicit LatencyTimer(const std::string& tty, const std::filesystem::path& tty_class = tty_class_folder);
  ~LatencyTimer();
  LatencyTimer(const LatencyTimer&) = delete;
  LatencyTimer& operator=(const LatencyTimer&) = delete;
  /// What it is now; 0 where there is none.
  [[nodiscard]] Duration now() const;

 private:
  bool write(int milliseconds) const;
  std::filesystem::path file_;
  std::optional<int> before_;  // milliseconds, where it was changed
};

/// Whether we may write this file.
bool may_write(const std::filesystem::path& file);

/// Whether this adapter holds back what its board says for longer than 1 ms, and we may not change that.
bool holds_back_answers(const std::string& tty, const std::filesystem::path& tty_class = tty_class_folder,
                        const std::function<bool(const std::filesystem::path&)>& ours = may_write);

}  // namespace espmint
