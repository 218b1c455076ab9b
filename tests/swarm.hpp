// tests/swarm.hpp: whole shifts with everything that goes wrong in one, from a seed: boards pulled, swapped and plugged in
// twice, bytes lost, firmware that lies, the process stopped at any frame or durable write and started again. After every
// life of the process watchers look at the boards and at the user's file, not only at the ledger.
//   SwarmTally tally;
//   for (std::uint64_t seed = 1; seed <= 1000; ++seed) if (auto wrong = run_shift(seed, tally)) …
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace espmint {

struct SwarmTally {
  std::uint64_t shifts = 0, lives = 0, provisionings = 0, verified = 0;
  std::uint64_t stops = 0;                                  // of the process
  std::uint64_t at_reserved = 0, at_exposed = 0, at_written = 0;  // stops with a key in that state
  std::uint64_t shifts_stopped_after_exposed = 0;
};

/// One shift of one to three slots, two to six boards and up to three lives of the process. Same seed, same shift. What a
/// watcher found, with the seed and what happened before; nothing when every rule held.
std::optional<std::string> run_shift(std::uint64_t seed, SwarmTally&);

}  // namespace espmint
