// run/backlog.hpp: what a cloud elsewhere is still to be told of, told beside the boards: no board waits for it. It
// lives in the ledger; this only knows how much there is and when to try again.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "io/clock.hpp"
#include "io/entropy.hpp"
#include "io/event.hpp"
#include "run/reconcile.hpp"

namespace espmint {

struct BacklogOptions {
  std::size_t limit = 1000;  // boards; with so many waiting none is begun
  std::size_t at_once = 8;   // boards that the cloud is told of side by side
  Duration first_pause = std::chrono::seconds{1}, longest_pause = std::chrono::seconds{60};  // while the cloud is away
};

class Backlog {
 public:
  /// `say` gets a sentence when the cloud is away and when it is back.
  Backlog(Clock& clock, Entropy& entropy, Cloud& cloud, Ledger& ledger, Pool& ledger_pool, BacklogOptions options,
          std::function<void(const std::string&)> say);
  Backlog(const Backlog&) = delete;
  Backlog& operator=(const Backlog&) = delete;

  /// Until finish(), one at a time. Stops by a fault of the ledger's, which `why_not` then gives.
  Task<> work();
  /// Ends work() where it can be left, after a call that is under way. What is left stays in the ledger.
  Task<> finish();
  /// There is something new in the ledger.
  void wake();
  /// Why no board may be begun now: the limit is reached (cloud_backlog), the cloud refuses this station, or the ledger
  /// failed.
  [[nodiscard]] std::optional<Fault> why_not() const;
  /// The same, with a fresh look at how many boards wait.
  Task<std::optional<Fault>> why_not_now();
  /// Waits until all is told, the cloud is away, or `until`. Returns how many boards are left.
  Task<std::size_t> settle_until(Instant until);
  [[nodiscard]] std::size_t size() const { return open_; }
  /// What keeps it from being told, now.
  [[nodiscard]] std::optional<Fault> trouble() const { return broken_ ? broken_ : away_ ? away_ : refusal_; }

 private:
  using Story = std::vector<OpenIntent>;  // of one board, in order
  struct Crew;
  Task<Result<bool>> drain();
  Task<> tell_story(Story story, std::shared_ptr<Crew> crew);
  Task<Result<void>> count();
  Task<> wait_for_bell();
  void pause_after(const Fault&);
  [[nodiscard]] Duration next_pause();

  Clock& clock_;
  Entropy& entropy_;
  Cloud& cloud_;
  Ledger& ledger_;
  Pool& ledger_pool_;
  BacklogOptions options_;
  std::function<void(const std::string&)> say_;
  std::size_t open_ = 0;
  bool idle_ = false;  // all is told
  bool working_ = false, finishing_ = false;
  Event ended_;
  std::shared_ptr<Event> bell_;      // rung by wake()
  std::set<std::string> set_aside_;  // boards that could not be told while the cloud was away: others are tried first
  int failures_ = 0;                 // in a row
  std::optional<Fault> away_;        // the cloud's last, while it is away or refuses
  std::set<std::string>
      refused_;  // boards of which the cloud will not take something: not told of again by this process
  std::optional<Fault> refusal_;  // the last of them
  bool nothing_to_tell_ = false;  // but of those
  std::optional<Fault> broken_;   // the ledger's
};

}  // namespace espmint
