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

Task<Result<void>> reconcile(Cloud& cloud, Ledger& ledger, Pool& ledger_pool, std::string device_id) {
  auto ask = [&ledger] { return ledger.open_intents(); };
  CO_TRY(std::vector<OpenIntent> open, co_await on_pool(ledger_pool, std::move(ask)));
  for (const OpenIntent& intent : open) {
    if (!device_id.empty() && intent.attempt.device_id != device_id) continue;
    Result<void> done = co_await act(cloud, intent);
    if (!done && done.error().remedy == Remedy::reconcile) continue;
    auto settle = [&ledger, attempt = intent.attempt, what = intent.act, outcome = done ? std::string{"done"} : done.error().what] {
      return ledger.settle(attempt, what, outcome);
    };
    CO_TRY(co_await on_pool(ledger_pool, std::move(settle)));
  }
  co_return ok();
}

}  // namespace espmint
