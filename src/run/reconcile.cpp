#include "run/reconcile.hpp"

namespace espmint {
namespace {

Task<Result<void>> act(Cloud& cloud, const OpenIntent& intent) {
  if (intent.act == "activate") co_return co_await cloud.activate(intent.attempt.device_id, intent.certificate_sha256);
  if (intent.act == "revoke") co_return co_await cloud.revoke(intent.attempt.device_id, intent.certificate_sha256);
  // "enrol": the certificate is in the ledger, so it was issued; that it was is all there is to know.
  co_return ok();
}

}  // namespace

Result<void> settle(Ledger& ledger, const std::vector<Settlement>& settlements) {
  for (const Settlement& one : settlements) TRY(ledger.settle(one.attempt, one.act, one.outcome));
  return ok();
}

Task<Result<std::vector<Settlement>>> tell_cloud(Cloud& cloud, Ledger& ledger, Pool& ledger_pool, std::string device_id) {
  std::vector<Settlement> settlements;
  auto ask = [&ledger] { return ledger.open_intents(); };
  CO_TRY(std::vector<OpenIntent> open, co_await on_pool(ledger_pool, std::move(ask)));
  for (const OpenIntent& intent : open) {
    if (!device_id.empty() && intent.attempt.device_id != device_id) continue;
    Result<void> done = co_await act(cloud, intent);
    if (!done && done.error().remedy == Remedy::reconcile) continue;
    settlements.push_back({intent.attempt, intent.act, done ? std::string{"done"} : done.error().what});
  }
  co_return settlements;
}

Task<Result<void>> reconcile(Cloud& cloud, Ledger& ledger, Pool& ledger_pool, std::string device_id) {
  CO_TRY(std::vector<Settlement> settlements, co_await tell_cloud(cloud, ledger, ledger_pool, std::move(device_id)));
  auto keep = [&ledger, settlements = std::move(settlements)] { return settle(ledger, settlements); };
  co_return co_await on_pool(ledger_pool, std::move(keep));
}

}  // namespace espmint
