// tests/swarm/life.hpp: one life of the process: a line, hands that plug boards in and out, and harm at its moment.
#pragma once

#include <filesystem>

#include "tests/bench.hpp"
#include "tests/swarm/world.hpp"

namespace espmint::swarm {

constexpr int stopped_here = 77;

/// Runs in a process of its own and never returns: exit code 0 after a whole life, stopped_here after its stop.
[[noreturn]] void live(const Story&, std::size_t life, World&, const std::filesystem::path& folder, Workshop&);

}  // namespace espmint::swarm
