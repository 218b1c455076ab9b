// tests/swarm/seeded_bug.hpp: which of the planted bugs (bugs.py) is on; 0: none. In every source of the build that has
// them.
#pragma once

namespace espmint {
inline int seeded_bug = 0;
}
