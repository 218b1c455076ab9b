// run/ledger_view.hpp: what a comparison with AWS IoT (cloud/aws/survey.hpp) must know of the ledger.
#pragma once

#include "cloud/aws/survey.hpp"
#include "ledger/ledger.hpp"

namespace espmint {

/// Whoever fixes what comes of it holds the ledger for writing until then. Faults: the ledger's.
Result<aws::LedgerView> ledger_view(Ledger&);

}  // namespace espmint
