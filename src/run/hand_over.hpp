// run/hand_over.hpp: faults of a hand-over that both dialects know.
#pragma once

#include <string>

#include "base/result.hpp"

namespace espmint {

/// A person decides; the verdict is HELD.
Fault held_with(std::string what, std::string seen, std::string advice);

}  // namespace espmint
