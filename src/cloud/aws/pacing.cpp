#include "cloud/aws/pacing.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace espmint::aws {
namespace {

using namespace std::chrono_literals;
using Seconds = std::chrono::duration<double>;

struct OperationRate {
  std::string_view operation;
  double per_second;
};
// Source: AWS General Reference, AWS IoT Core quotas, API throttling (defaults of the large regions; adjustable); those
// that are not published per operation are taken as 10.
constexpr std::array operation_rates{
    OperationRate{"AddThingToThingGroup", 100},
    OperationRate{"AttachPolicy", 15},
    OperationRate{"AttachThingPrincipal", 100},
    OperationRate{"CreateCertificateFromCsr", 15},
    OperationRate{"CreateKeysAndCertificate", 10},
    OperationRate{"CreatePolicy", 10},
    OperationRate{"CreateThing", 100},
    OperationRate{"DeleteCertificate", 10},
    OperationRate{"DescribeCertificate", 10},
    OperationRate{"DescribeThing", 350},
    OperationRate{"DescribeThingGroup", 100},
    OperationRate{"DescribeThingType", 100},
    OperationRate{"DetachPolicy", 15},
    OperationRate{"GetPolicy", 10},
    OperationRate{"RegisterCertificateWithoutCA", 10},
    OperationRate{"RegisterThing", 10},
    OperationRate{"UpdateCertificate", 10},
};
constexpr double other_rate = 10;

constexpr double burst_seconds = 0.2;                // of calls may go at once after a quiet time
constexpr double most_kept = 0.7, least_kept = 0.2;  // of the rate after a throttle
constexpr Seconds return_time = 2s, creep_time = 20s;
constexpr double lowest_rate = 1;  // is asked even of a service that refuses all

constexpr Duration longest_pause = 20s;
constexpr unsigned failures_in_a_row = 8;
constexpr Duration failing_for = 2s;
constexpr Duration first_closed = 5s, longest_closed = 60s;

Duration interval_of(double per_second) { return std::chrono::duration_cast<Duration>(Seconds{1 / per_second}); }

}  // namespace

double default_rate(std::string_view operation) {
  for (const OperationRate& row : operation_rates)
    if (row.operation == operation) return row.per_second;
  return other_rate;
}

double Pace::per_second(Instant now) const {
  if (lowered_at_ == Instant::min()) return full_;
  const Seconds passed = now - lowered_at_;
  const double returned = (too_high_ - lowered_) * std::min(1.0, passed / return_time);
  const double crept = full_ * std::max(0.0, (passed - return_time) / creep_time);
  return std::min(full_, lowered_ + returned + crept);
}

Pace::Turn Pace::take(Instant now) {
  const double rate = per_second(now);
  const Duration interval = interval_of(rate);
  const double spare = std::max(0.0, rate * burst_seconds - 1);
  const Instant start = std::max(next_, now - std::chrono::duration_cast<Duration>(interval * spare));
  next_ = start + interval;
  return {std::max(start, now), file_};
}

double Pace::recent(Instant now) const { return recent_ * std::exp(-Seconds{now - recent_at_}.count()); }

void Pace::answered(Instant now) {
  recent_ = recent(now) + 1;
  recent_at_ = now;
}

void Pace::throttled(Instant sent, Instant now) {
  if (sent <= lowered_at_) return;  // one of those that were under way when the rate was lowered
  const double rate = per_second(now), went_well = recent(now);
  // Fewer than one tell nothing: the first calls of a quiet hour.
  const double lower = went_well < 1 ? rate * most_kept : std::clamp(went_well, rate * least_kept, rate * most_kept);
  lowered_ = std::max(std::min(full_, lowest_rate), lower);
  too_high_ = std::max(lowered_, std::min(rate, lowered_ / most_kept));
  lowered_at_ = now;
  next_ = now + interval_of(lowered_);
  ++file_;
}

Duration pause_before(unsigned tries, Duration base, double dice) {
  const Duration most = std::min(longest_pause, base * (std::int64_t{1} << std::min(tries, 10u)));
  return std::chrono::duration_cast<Duration>(most * dice);
}

bool RetryBudget::spend() {
  if (left_ < price) return false;
  left_ -= price;
  return true;
}

void RetryBudget::earn(unsigned retries) {
  left_ = std::min(full, left_ + (retries > 0 ? price * static_cast<int>(retries) : 1));
}

Breaker::Pass Breaker::ask(Instant now, Duration patience) {
  if (!open_) return Pass::go;
  if (now < until_) return Pass::stop;
  until_ = now + patience;  // the others wait for this one
  return Pass::probe;
}

void Breaker::reached() {
  failures_ = 0;
  open_ = false;
  closed_for_ = {};
}

void Breaker::unreachable(Pass pass, Instant now) {
  // What was sent before it opened says nothing new.
  if (open_ && pass != Pass::probe) return;
  if (!open_) {
    if (failures_++ == 0) failing_since_ = now;
    if (failures_ < failures_in_a_row || now - failing_since_ < failing_for) return;
  }
  open_ = true;
  closed_for_ = closed_for_ == Duration{} ? first_closed : std::min(longest_closed, closed_for_ * 2);
  until_ = now + closed_for_;
}

}  // namespace espmint::aws
