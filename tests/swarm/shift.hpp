// tests/swarm/shift.hpp: runs a story: every life of the process in a process of its own, watchers after each.
//   Tally tally;
//   ShiftRunner runner{folder};
//   if (auto found = runner.run(draw_story(4711), tally)) …
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "tests/bench.hpp"
#include "tests/swarm/watchers.hpp"

namespace espmint::swarm {

struct Tally {
  std::uint64_t shifts = 0, lives = 0;
  std::uint64_t provisionings = 0;  // boards that were identified and taken on, whatever became of them
  std::uint64_t verdicts = 0, verified = 0;
  std::uint64_t stops = 0;                                        // of the process
  std::uint64_t at_reserved = 0, at_exposed = 0, at_written = 0;  // stops with a key in that state
  std::uint64_t shifts_stopped_after_exposed = 0;
};

class ShiftRunner {
 public:
  /// Files of a shift are kept below `scratch` while it runs; best in memory.
  explicit ShiftRunner(std::filesystem::path scratch);
  ~ShiftRunner();
  ShiftRunner(const ShiftRunner&) = delete;
  ShiftRunner& operator=(const ShiftRunner&) = delete;

  /// What the first watcher saw; nothing when every rule held. Same story, same end.
  std::optional<Violation> run(const Story&, Tally&);

 private:
  Workshop& workshop(const Story&);
  bool live(const Story&, std::size_t life);
  std::filesystem::path scratch_;
  World* world_ = nullptr;  // shared with the lives' processes
  std::map<std::pair<std::string, bool>, std::unique_ptr<Workshop>> workshops_;
};

/// The smallest story found, with less and less in it, that breaks the same rule; at most `tries` runs.
Story shrink(ShiftRunner&, const Story&, const std::string& watcher, int tries);

}  // namespace espmint::swarm
