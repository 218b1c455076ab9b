// run/reconcile.hpp: what the ledger has promised the cloud and has not heard back from: asked and settled, never
// repeated blindly.
#pragma once

#include "cloud/cloud.hpp"
#include "io/pool.hpp"
#include "ledger/ledger.hpp"

namespace espmint {

/// How an intent ended: "done", or the cloud's reason.
struct Settlement {
  Attempt attempt;
  std::string act, outcome;
};
Result<void> settle(Ledger&, const std::vector<Settlement>&);

/// Tells the cloud what is open of one device, or of all (empty id), in the order the intents were made, and brings back
/// what is to be settled; what may or may not have happened stays open. Faults: the ledger's.
Task<Result<std::vector<Settlement>>> tell_cloud(Cloud& cloud, Ledger& ledger, Pool& ledger_pool, std::string device_id);

/// Both: settles the open intents of one device, or of all (empty id), in the order they were made. Steps of the cloud that
/// fault stay open for the next time. Faults: the ledger's.
Task<Result<void>> reconcile(Cloud& cloud, Ledger& ledger, Pool& ledger_pool, std::string device_id);

}  // namespace espmint
