// run/reconcile.hpp: what the ledger has promised the cloud and has not heard back from: asked and settled, never
// repeated blindly.
#pragma once

#include "cloud/cloud.hpp"
#include "io/pool.hpp"
#include "ledger/ledger.hpp"

namespace espmint {

/// Settles the open intents of one device, or of all (empty id), in the order they were made. Steps of the cloud that
/// fault stay open for the next time. Faults: the ledger's.
Task<Result<void>> reconcile(Cloud& cloud, Ledger& ledger, Pool& ledger_pool, std::string device_id);

}  // namespace espmint
