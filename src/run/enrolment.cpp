#include "run/enrolment.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "boost/asio/experimental/awaitable_operators.hpp"
#include "run/reconcile.hpp"

namespace espmint {
namespace {

/// How often a board's certificate is asked for when answers are lost: each time with another key.
constexpr int issue_attempts = 10;
/// How long a board waits for a cloud that is away: as long as its firmware may take to cross the wire.
constexpr std::chrono::seconds cloud_patience{60};
constexpr std::chrono::milliseconds ask_again{2000}, after_lost{100};  // the second once more for each
constexpr int nonsense_attempts = 2;

struct FreshKey {
  Secret key_pem;
  Bytes csr, serial;
  Sha256 public_key{};  // of SubjectPublicKeyInfo
};

Result<FreshKey> make_key(KeyKind kind, const std::string& device_id) {
  TRY(PrivateKey key, mint_key(kind));
  FreshKey fresh;
  fresh.public_key = sha256_of(key.public_key_der());
  TRY(fresh.csr, build_csr(key, device_id));
  TRY(fresh.serial, mint_serial());
  TRY(fresh.key_pem, key.pem());
  return fresh;
}

}  // namespace

/// The cloud is away, or wants to be asked more slowly; not for long yet.
bool Enrolment::may_wait(const Fault& fault) {
  const bool passes =
      fault.code == Code::cloud_unreachable || fault.code == Code::cloud_throttled || fault.remedy == Remedy::reconcile;
  if (!passes) return false;
  if (!give_up_) give_up_ = world_.clock.now() + cloud_patience;
  return world_.clock.now() < *give_up_;
}

Task<Result<Issued>> Enrolment::issue(Attempt attempt, Bytes csr, Bytes serial, std::optional<Sha256> public_key) {
  const bool elsewhere = world_.cloud.ways().issues_elsewhere;
  if (elsewhere) {
    auto begin = [&ledger = world_.ledger, attempt, public_key] { return ledger.begin_issue(attempt, public_key); };
    CO_TRY(co_await on_pool(world_.ledger_pool, std::move(begin)));
  }
  IssueRequest request{attempt.device_id, std::move(csr), std::move(serial)};
  auto issued = co_await world_.cloud.issue(std::move(request));
  // Of a wrong answer, too, it must be found what it left behind.
  const bool nothing_came_of_it =
      !issued && issued.error().remedy != Remedy::reconcile && issued.error().code != Code::certificate_invalid;
  if (elsewhere && nothing_came_of_it) {
    auto close = [&ledger = world_.ledger, attempt, why = issued.error().what] {
      return ledger.settle(attempt, act::issue, why);
    };
    CO_TRY(co_await on_pool(world_.ledger_pool, std::move(close)));
  }
  co_return issued;
}

Task<Result<Minted>> Enrolment::mint(KeyKind kind, std::optional<Attempt>& attempt) {
  const bool makes_keys = world_.cloud.ways().makes_keys;
  for (int tries = 1;; ++tries) {
    FreshKey fresh;
    std::optional<Sha256> public_key;
    if (!makes_keys) {
      auto making = [kind, id = attempt->device_id] { return make_key(kind, id); };
      CO_TRY(fresh, co_await on_pool(world_.pool, std::move(making)));
      public_key = fresh.public_key;
    }
    auto issued = co_await issue(*attempt, std::move(fresh.csr), std::move(fresh.serial), public_key);
    if (issued) {
      Minted minted{std::move(fresh.key_pem), std::move(*issued)};
      if (makes_keys) minted.key_pem = std::move(minted.issued.private_key_pem);
      co_return minted;
    }
    const bool lost = issued.error().remedy == Remedy::reconcile;
    const bool nonsense = issued.error().code == Code::cloud_reply_invalid;  // whoever answers so will again
    const bool again = may_wait(issued.error()) && (!lost || tries < (nonsense ? nonsense_attempts : issue_attempts));
    if (!again || world_.stopping()) co_return fail(std::move(issued.error()));
    co_await world_.clock.sleep_for(lost ? tries * after_lost : ask_again);
    world_.say(fmt::format("{}; asking anew, with another key", describe(issued.error())));
    auto release = [&ledger = world_.ledger, old = *attempt, why = issued.error().what] {
      return ledger.release(old, why);
    };
    CO_TRY(co_await on_pool(world_.ledger_pool, std::move(release)));
    attempt.reset();
    CO_TRY(attempt, co_await world_.reserve_again());
  }
}

Task<Result<void>> Enrolment::record(Attempt attempt, CertificateRecord record) {
  Acts acts;
  for (const auto& stage : world_.cloud.ways().enrolment) acts.insert(acts.end(), stage.begin(), stage.end());
  auto keep = [&ledger = world_.ledger, attempt, record = std::move(record), acts = std::move(acts)] {
    return ledger.together([&]() -> Result<void> {
      TRY(ledger.record_certificate(attempt, record, acts));
      // A cloud that is this machine enrols by issuing: its intent is settled with the certificate that it made.
      if (std::ranges::find(acts, act::enrol) == acts.end()) return ok();
      return ledger.settle(attempt, act::enrol, "done");
    });
  };
  co_return co_await on_pool(world_.ledger_pool, std::move(keep));
}

Task<Result<void>> Enrolment::perform(std::string act, Attempt attempt, CertificateRecord& record) {
  for (int tries = 1;; ++tries) {
    CloudSubject subject{attempt.device_id, record.sha256, record.cloud_id, record.der};
    auto performed = co_await world_.cloud.perform(act, std::move(subject));
    if (!performed) {
      const bool nonsense = performed.error().code == Code::cloud_reply_invalid && tries >= nonsense_attempts;
      if (nonsense || !may_wait(performed.error()) || world_.stopping()) co_return fail(std::move(performed.error()));
      co_await world_.clock.sleep_for(ask_again);
      continue;
    }
    if (!performed->empty()) record.cloud_id = std::move(*performed);
    co_return ok();
  }
}

/// What stands in one stage is done side by side; all of it is settled in one commit.
Task<Result<void>> Enrolment::enrol(Attempt attempt, CertificateRecord& record) {
  using boost::asio::experimental::awaitable_operators::operator&&;
  const CloudWays& ways = world_.cloud.ways();
  if (!ways.issues_elsewhere || ways.can_wait) co_return ok();
  std::vector<Settlement> settlements;
  for (const auto& stage : ways.enrolment) {
    for (std::size_t i = 0; i < stage.size(); i += 2) {
      std::string first{stage[i]};
      if (i + 1 == stage.size()) {
        CO_TRY(co_await perform(std::move(first), attempt, record));
        continue;
      }
      std::string second{stage[i + 1]};
      auto [one, other] =
          co_await (perform(std::move(first), attempt, record) && perform(std::move(second), attempt, record));
      CO_TRY(std::move(one));
      CO_TRY(std::move(other));
    }
    for (std::string_view act : stage) settlements.push_back({attempt, std::string{act}, "done", {}});
  }
  auto keep = [&ledger = world_.ledger, settlements = std::move(settlements)] {
    return ledger.together([&]() -> Result<void> { return settle(ledger, settlements); });
  };
  co_return co_await on_pool(world_.ledger_pool, std::move(keep));
}

}  // namespace espmint
