// io/clock.hpp: time as something handed in. The line only knows this interface; a test's clock jumps.
#pragma once

#include <chrono>

#include "io/task.hpp"

namespace espmint {

using Duration = std::chrono::nanoseconds;
/// A moment on the monotonic clock of the loop.
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// The machine's clock, for what waits on the kernel and never runs in virtual time.
inline Instant steady_now() { return std::chrono::steady_clock::now(); }
/// A moment in UTC; for records and certificates only, no decision compares two of them (DESIGN §5 names the
/// exception).
using WallTime = std::chrono::sys_seconds;

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Instant now() const = 0;
  [[nodiscard]] virtual WallTime wall() const = 0;
  virtual Task<> sleep_until(Instant) = 0;
  Task<> sleep_for(Duration duration) { return sleep_until(now() + duration); }
};

/// "2026-11-21T08:15:30Z", how every record writes a moment.
std::string to_string(WallTime);

}  // namespace espmint
