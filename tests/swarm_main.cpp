// espmint-torture: shifts from seeds, until the runs are over or a rule is broken; one process a core.
//   espmint-torture --seed 1 --runs 20000
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <thread>

#include "tests/swarm.hpp"

namespace {

struct Part {
  espmint::SwarmTally tally;
  std::uint64_t violations = 0;
};

Part work(std::uint64_t seed, std::uint64_t runs, unsigned core, unsigned cores) {
  Part part;
  for (std::uint64_t i = core; i < runs; i += cores) {
    auto wrong = espmint::run_shift(seed + i, part.tally);
    if (!wrong) continue;
    ++part.violations;
    std::printf("%s\n", wrong->c_str());
    std::fflush(stdout);
  }
  return part;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 1, runs = 1000;
  unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  CLI::App app{"Whole shifts with everything that goes wrong in one, in virtual time; a violation prints its seed and its story", "espmint-torture"};
  app.add_option("--seed", seed, "Of the first shift");
  app.add_option("--runs", runs, "Shifts");
  app.add_option("--jobs", cores, "Processes");
  CLI11_PARSE(app, argc, argv);
  auto began = std::chrono::steady_clock::now();
  std::vector<int> ends;
  for (unsigned core = 0; core < cores; ++core) {
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) return 2;
    if (fork() == 0) {
      Part part = work(seed, runs, core, cores);
      bool told = write(pipe_ends[1], &part, sizeof part) == sizeof part;
      _exit(told ? 0 : 2);
    }
    close(pipe_ends[1]);
    ends.push_back(pipe_ends[0]);
  }
  Part all;
  bool whole = true;
  for (int end : ends) {
    Part part;
    whole = read(end, &part, sizeof part) == sizeof part && whole;
    all.violations += part.violations;
    for (auto field : {&espmint::SwarmTally::shifts, &espmint::SwarmTally::lives, &espmint::SwarmTally::provisionings, &espmint::SwarmTally::verified,
                       &espmint::SwarmTally::stops, &espmint::SwarmTally::at_reserved, &espmint::SwarmTally::at_exposed,
                       &espmint::SwarmTally::at_written, &espmint::SwarmTally::shifts_stopped_after_exposed})
      all.tally.*field += part.tally.*field;
  }
  while (wait(nullptr) > 0) {
  }
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const espmint::SwarmTally& t = all.tally;
  auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("seeds %llu to %llu: %llu shifts, %llu lives, %llu boards with a verdict (%llu VERIFIED) in %.1f s\n", n(seed), n(seed + runs - 1), n(t.shifts),
              n(t.lives), n(t.provisionings), n(t.verified), seconds);
  std::printf("stops of the process: %llu; with a key RESERVED %llu, EXPOSED %llu, WRITTEN %llu; %.0f %% of the shifts stopped after EXPOSED\n", n(t.stops),
              n(t.at_reserved), n(t.at_exposed), n(t.at_written), t.shifts ? 100.0 * static_cast<double>(t.shifts_stopped_after_exposed) / static_cast<double>(t.shifts) : 0);
  std::printf("%llu violations\n", n(all.violations));
  return all.violations != 0 || !whole ? 1 : 0;
}
