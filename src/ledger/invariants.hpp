// ledger/invariants.hpp: the promises of DESIGN §5 asked of a ledger's file by queries that share nothing with the
// transitions. For crash and torture tests, and for `doctor`; read only, a writer may run meanwhile.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace espmint {

/// One sentence per violation, its invariant first ("I3: board 2 has two open identities"); empty when all hold.
/// Faults: as verify_audit.
Result<std::vector<std::string>> find_violations(const std::filesystem::path& folder);

}  // namespace espmint
