// run/reconcile.hpp: what the ledger has promised the cloud and has not heard back from: told and settled, never
// repeated blindly.
#pragma once

#include "cloud/cloud.hpp"
#include "io/pool.hpp"
#include "ledger/ledger.hpp"

namespace espmint {

/// How an intent ended: "done", or the cloud's reason.
struct Settlement {
  Attempt attempt;
  std::string act, outcome, answer;
};
Result<void> settle(Ledger&, const std::vector<Settlement>&);

/// Whether what this cloud issues is known here alone.
bool is_local(const Cloud&);
/// Whether this cloud may be told of an intent: a product may have had another.
bool is_for(const Cloud&, const OpenIntent&);
/// One intent told: what is to be settled, or the cloud's fault; then it stays open, and what comes after it is not
/// told.
Task<Result<Settlement>> tell(Cloud& cloud, OpenIntent intent);

/// Tells the cloud what is open of one device, or of all (empty id), in the order the intents were made, and brings
/// back what is to be settled; what may or may not have happened stays open. Faults: the ledger's.
Task<Result<std::vector<Settlement>>> tell_cloud(Cloud& cloud, Ledger& ledger, Pool& ledger_pool,
                                                 std::string device_id);

/// Both: settles the open intents of one device, or of all (empty id), in the order they were made. Steps of the cloud
/// that fault stay open for the next time. Faults: the ledger's.
Task<Result<void>> reconcile(Cloud& cloud, Ledger& ledger, Pool& ledger_pool, std::string device_id);

}  // namespace espmint
