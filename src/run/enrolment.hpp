// run/enrolment.hpp: one board's identity at the cloud, from a new key to a certificate that is the board's thing's and
// not yet accepted. Each step is in the ledger before it is taken, and settled there after.
#pragma once

#include <functional>

#include "cloud/cloud.hpp"
#include "io/clock.hpp"
#include "io/pool.hpp"
#include "ledger/ledger.hpp"

namespace espmint {

/// A certificate and its key, before any of it is on a board.
struct Minted {
  Secret key_pem;
  Issued issued;
};

class Enrolment {
 public:
  struct World {
    Cloud& cloud;
    Ledger& ledger;
    Pool& pool;  // heavy pure work
    Pool& ledger_pool;
    Clock& clock;
    /// Another attempt for the same board, after the one before was released. Faults as Ledger::reserve.
    std::function<Task<Result<Attempt>>()> reserve_again;
    std::function<void(const std::string&)> say;
    std::function<bool()> stopping;
  };
  explicit Enrolment(World world) : world_(std::move(world)) {}

  /// A new key and its certificate. A cloud that is away is waited for, for a while. `attempt` is another one
  /// afterwards where an answer was lost: what was asked for then is never asked for again, and is known by its key
  /// (Ledger::unanswered_issues). None where there is no open one.
  Task<Result<Minted>> mint(KeyKind kind, std::optional<Attempt>& attempt);
  /// The certificate, with what the cloud is to be told of it.
  Task<Result<void>> record(Attempt attempt, CertificateRecord record);
  /// Tells it, where that does not wait: `record` then has its cloud_id.
  Task<Result<void>> enrol(Attempt attempt, CertificateRecord& record);

 private:
  Task<Result<Issued>> issue(Attempt attempt, Bytes csr, Bytes serial, std::optional<Sha256> public_key);
  Task<Result<void>> perform(std::string act, Attempt attempt, CertificateRecord& record);
  [[nodiscard]] bool may_wait(const Fault&);
  World world_;
  std::optional<Instant> give_up_;  // set by the first answer that did not come
};

}  // namespace espmint
