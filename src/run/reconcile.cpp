#include "run/reconcile.hpp"

#include <algorithm>
#include <set>

namespace espmint {

Result<void> settle(Ledger& ledger, const std::vector<Settlement>& settlements) {
  for (const Settlement& one : settlements) TRY(ledger.settle(one.attempt, one.act, one.outcome, one.answer));
  return ok();
}

bool is_local(const Cloud& cloud) {
  const auto& enrolment = cloud.ways().enrolment;
  return !enrolment.empty() && std::ranges::find(enrolment.front(), act::enrol) != enrolment.front().end();
}

bool is_for(const Cloud& cloud, const OpenIntent& intent) { return intent.is_local || !is_local(cloud); }

Task<Result<Settlement>> tell(Cloud& cloud, OpenIntent intent) {
  Settlement done{intent.attempt, intent.act, "done", {}};
  // What was only asked for by issuing has happened: the certificate is in the ledger. And of what was issued here
  // nobody else need be told, whichever cloud the product has now.
  if (intent.act == act::enrol || intent.is_local) co_return done;
  CloudSubject subject{intent.attempt.device_id, intent.certificate_sha256, std::move(intent.cloud_id),
                       std::move(intent.certificate_der)};
  auto told = co_await cloud.perform(intent.act, std::move(subject));
  if (!told) co_return fail(std::move(told.error()));
  done.answer = std::move(*told);
  co_return done;
}

Task<Result<std::vector<Settlement>>> tell_cloud(Cloud& cloud, Ledger& ledger, Pool& ledger_pool,
                                                 std::string device_id) {
  std::vector<Settlement> settlements;
  std::set<std::string> stuck;  // what comes after a step that was not taken is not told
  auto ask = [&ledger] { return ledger.open_intents(); };
  CO_TRY(std::vector<OpenIntent> open, co_await on_pool(ledger_pool, std::move(ask)));
  for (OpenIntent& intent : open) {
    if (!device_id.empty() && intent.attempt.device_id != device_id) continue;
    if (!is_for(cloud, intent) || stuck.contains(intent.attempt.device_id)) continue;
    const std::string device = intent.attempt.device_id;
    auto told = co_await tell(cloud, std::move(intent));
    if (told)
      settlements.push_back(std::move(*told));
    else
      stuck.insert(device);
  }
  co_return settlements;
}

Task<Result<void>> reconcile(Cloud& cloud, Ledger& ledger, Pool& ledger_pool, std::string device_id) {
  CO_TRY(std::vector<Settlement> settlements, co_await tell_cloud(cloud, ledger, ledger_pool, std::move(device_id)));
  auto keep = [&ledger, settlements = std::move(settlements)] { return settle(ledger, settlements); };
  co_return co_await on_pool(ledger_pool, std::move(keep));
}

}  // namespace espmint
