// sim/cloud/faults.hpp: what goes wrong on the way to the virtual cloud and in it: values from a seed, or a script.
//   CloudFaults faults{7};
//   TRY(faults.add("cut-after@2"));              every second call: it takes effect, its reply is lost
//   TRY(faults.add("throttle=0.05:CreateThing"));  5 % of these calls
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "io/clock.hpp"
#include "sim/dice.hpp"

namespace espmint::sim {

enum class Mishap {
  none,
  refuse,       // no connection
  cut_before,   // the request is lost on its way: no effect, no reply
  cut_after,    // it took effect, the reply is lost
  error,        // 500 InternalFailureException, no effect
  error_after,  // the same words, and it took effect
  unavailable,  // 503 ServiceUnavailableException
  throttle,     // ThrottlingException, 400 or 429
  garbage,      // it took effect, the reply is no JSON
  portal,       // somebody else answers: 200 and a page of HTML
  late,         // it took effect, the reply comes late
  twice,        // it arrives twice; the second reply is the one that is seen
};
/// "cut-after"; empty for none.
std::string_view name_of(Mishap);
std::optional<Mishap> mishap_named(std::string_view);

class CloudFaults {
 public:
  explicit CloudFaults(std::uint64_t seed = 1) : dice_(seed) {}

  /// One of
  ///   cut-after=0.05[:CreateThing]   by chance, of all calls or of one operation
  ///   cut-after@2[:CreateThing]      every second one
  ///   rate=10[:CreateThing]          so many calls a second (of each operation); rate=aws: the usual quotas
  ///   outage=60..120                 from second to second of the clock, beginning where it stood when this was said
  ///   late-by=2000                   ms, of `late`
  ///   skew=-600                      s, of the cloud's clock
  ///   none                           forgets all of them
  /// Fault usage (refuse).
  Result<void> add(std::string_view text, Instant now = {});
  /// What happens to this call; each asks the dice.
  Mishap next(std::string_view operation, Instant now);
  /// Whether the quota of this operation allows one more; takes it.
  bool take(std::string_view operation, Instant now);

  Duration late_by = std::chrono::seconds{2};
  std::chrono::seconds skew{0};

 private:
  struct Chance {
    Mishap mishap;
    double share;           // of all calls; 0: none
    std::uint64_t each;     // every so-manieth; 0: none
    std::string operation;  // empty: any
    std::uint64_t seen = 0;
  };
  struct Bucket {
    double tokens = 0;
    Instant filled{};
    bool used = false;
  };
  struct Outage {
    Instant from, until;
  };
  [[nodiscard]] double rate_of(std::string_view operation) const;
  Dice dice_;
  std::vector<Chance> chances_;
  std::vector<Outage> outages_;
  bool usual_rates_ = false;
  double rate_ = 0;  // 0: no limit
  std::map<std::string, double, std::less<>> rates_;
  std::map<std::string, Bucket, std::less<>> buckets_;
};

}  // namespace espmint::sim
