// cloud/aws/pacing.hpp: how often calls go out, how long to wait before the next try, and when to stop trying.
// Pure: moments and dice come in, moments come out.
// Source: AWS SDKs and Tools Reference Guide, Retry behavior; "Exponential Backoff And Jitter", AWS Architecture Blog.
#pragma once

#include <cstdint>
#include <string_view>

#include "io/clock.hpp"

namespace espmint::aws {

/// What an account may call in a second unless it asked for more: calls of `operation`; 10 where it is not in the
/// table.
double default_rate(std::string_view operation);

/// One operation's calls, in single file. After a throttle it gives up three tenths of its rate, once for all that were
/// under way, or up to four fifths where calls went well at so much less. In two seconds it is back at the rate that
/// was too high, and from there it creeps to the full one in twenty.
class Pace {
 public:
  explicit Pace(double per_second) : full_(per_second), lowered_(per_second), too_high_(per_second) {}

  /// A place in the file: from `at` on, as long as it holds.
  struct Turn {
    Instant at;
    std::uint64_t file = 0;
  };
  Turn take(Instant now);
  /// False once the rate was lowered: whoever waited takes another turn, so that a queue does not go on at the old
  /// rate.
  [[nodiscard]] bool holds(const Turn& turn) const { return turn.file == file_; }
  /// The service carried out a call.
  void answered(Instant now);
  /// The service refused a call that was sent at `sent`.
  void throttled(Instant sent, Instant now);
  [[nodiscard]] double per_second(Instant now) const;

 private:
  [[nodiscard]] double recent(Instant now) const;

  double full_, lowered_, too_high_;
  Instant lowered_at_ = Instant::min();
  Instant next_ = Instant::min();
  std::uint64_t file_ = 0;
  double recent_ = 0;  // calls that went well, each counting e^-t after t seconds: at a steady rate, that rate
  Instant recent_at_{};
};

/// Full jitter: between nothing and `base`, 2 · base, 4 · base ... by the number of tries so far, never past 20 s.
/// `dice` is in [0, 1).
Duration pause_before(unsigned tries, Duration base, double dice);

/// What all calls together may try again: bad hours end in faults soon, not in eight times the traffic.
class RetryBudget {
 public:
  bool spend();
  /// A call ended well; what was spent on it comes back. So a service that fails every second time is asked on, and one
  /// that fails always is not.
  void earn(unsigned retries);

 private:
  static constexpr int full = 500, price = 5;
  int left_ = full;
};

/// Once nobody has been reached eight times in a row and for two seconds, calls fail at once, and one at a time goes
/// out to look. What is over sooner is left to each call's own tries.
class Breaker {
 public:
  enum class Pass { go, probe, stop };
  /// Asked before each request. `patience`: how long a probe that never reports counts as under way.
  Pass ask(Instant now, Duration patience);
  [[nodiscard]] bool is_open(Instant now) const { return open_ && now < until_; }
  void reached();
  void unreachable(Pass pass, Instant now);
  /// Until when it stays open.
  [[nodiscard]] Instant until() const { return until_; }

 private:
  unsigned failures_ = 0;
  Instant failing_since_{};
  bool open_ = false;
  Instant until_{};
  Duration closed_for_{};
};

}  // namespace espmint::aws
