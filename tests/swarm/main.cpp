// espmint-torture: shifts from seeds, until the runs are over or a rule is broken; one process a core.
//   espmint-torture --seed 1 --runs 20000
//   espmint-torture-bugs --bugs all              every planted bug (bugs.py), until a watcher sees it
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "tests/swarm/shift.hpp"
#ifdef ESPMINT_SEEDED_BUGS
#include "tests/swarm/seeded_bug.hpp"
#endif

// Secrets are kept out of swap; these are nobody's, and the system's bookkeeping for it is a thirtieth of the time.
extern "C" int mlock(const void*, std::size_t) { return 0; }
extern "C" int munlock(const void*, std::size_t) { return 0; }

namespace {

namespace fs = std::filesystem;
using namespace espmint::swarm;

constexpr int shrinking_runs = 600;
constexpr std::chrono::seconds between_signs_of_life{60};

struct Part {
  Tally tally;
  std::uint64_t violations = 0;
};

struct Orders {
  std::uint64_t seed = 1, runs = 1000, provisionings = 0;
  bool keep_going = false;
};

void report(ShiftRunner& runner, const Story& story, const espmint::swarm::Violation& found) {
  Story smallest = shrink(runner, story, found.watcher, shrinking_runs);
  Tally ignored;
  auto again = runner.run(smallest, ignored);
  std::printf("seed %llu broke \"%s\": %s\nshortest history found (%s):\n%s\n",
              static_cast<unsigned long long>(story.seed), found.watcher.c_str(), found.sentence.c_str(),
              again ? again->sentence.c_str() : "not seen again", tell(smallest).c_str());
  std::fflush(stdout);
}

fs::path scratch_folder() {
  return (fs::exists("/dev/shm") ? fs::path{"/dev/shm"} : fs::temp_directory_path()) /
         ("espmint-swarm-" + std::to_string(getpid()));
}

Part work(const Orders& orders, unsigned core, unsigned cores) {
  Part part;
  auto next_sign = std::chrono::steady_clock::now() + between_signs_of_life;
  {
    ShiftRunner runner{scratch_folder()};
    for (std::uint64_t i = core; i < orders.runs; i += cores) {
      if (core == 0 && std::chrono::steady_clock::now() > next_sign) {
        next_sign += between_signs_of_life;
        std::fprintf(stderr, "  about %llu provisionings, at seed %llu\n",
                     static_cast<unsigned long long>(part.tally.provisionings * cores),
                     static_cast<unsigned long long>(orders.seed + i));
      }
      if (orders.provisionings != 0 && part.tally.provisionings * cores >= orders.provisionings) break;
      Story story = draw_story(orders.seed + i);
      auto found = runner.run(story, part.tally);
      if (!found) continue;
      ++part.violations;
      report(runner, story, *found);
      if (!orders.keep_going) break;
    }
  }
  return part;
}

#ifdef ESPMINT_SEEDED_BUGS
struct BugRow {
  int number;
  const char* what;
};
constexpr BugRow bugs[] = {
#include "bugs.inc"
};

/// Every bug, or the one that is named, until a watcher sees it; how many were not seen. `next`: shared by the
/// processes, each of which takes the next bug when it is done with one.
int hunt(const Orders& orders, const std::string& which, std::atomic<unsigned>& next) {
  int missed = 0;
  {
    ShiftRunner runner{scratch_folder()};
    for (unsigned n = next++; n < std::size(bugs); n = next++) {
      const BugRow& bug = bugs[n];
      if (which != "all" && which != std::to_string(bug.number)) continue;
      espmint::seeded_bug = bug.number;
      auto began = std::chrono::steady_clock::now();
      Tally tally;
      std::optional<espmint::swarm::Violation> found;
      Story story;
      for (std::uint64_t i = 0; i < orders.runs && !found; ++i) {
        story = draw_story(orders.seed + i);
        found = runner.run(story, tally);
      }
      double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
      std::printf("%s %2d  %-62s  %-18s  seed %llu, %llu runs, %.1f s\n", found ? "caught" : "MISSED", bug.number,
                  bug.what, found ? found->watcher.c_str() : "", static_cast<unsigned long long>(story.seed),
                  static_cast<unsigned long long>(tally.shifts), seconds);
      std::fflush(stdout);
      missed += !found;
      if (which != "all" && found) report(runner, story, *found);
    }
  }
  return missed;
}

int hunt_all(const Orders& orders, const std::string& which, unsigned cores) {
  auto began = std::chrono::steady_clock::now();
  void* shared =
      mmap(nullptr, sizeof(std::atomic<unsigned>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& next = *new (shared) std::atomic<unsigned>{0};
  for (unsigned core = 0; core < cores; ++core)
    if (fork() == 0) _exit(std::min(100, hunt(orders, which, next)));
  int missed = 0, status = 0;
  while (wait(&status) > 0) missed += WIFEXITED(status) ? WEXITSTATUS(status) : 100;
  std::printf("%zu bugs planted, %d missed, %.0f s\n", std::size(bugs), missed,
              std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
  return missed == 0 ? 0 : 1;
}
#endif

void print_bar(const char* name, std::uint64_t count, std::uint64_t of) {
  const double share = of ? static_cast<double>(count) / static_cast<double>(of) : 0;
  std::printf("  %-28s %9llu  %5.1f %%  %s\n", name, static_cast<unsigned long long>(count), 100 * share,
              std::string(static_cast<std::size_t>(share * 40), '#').c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Orders orders;
  unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  CLI::App app{
      "Whole shifts with everything that goes wrong in one, in virtual time; a violation prints its seed and its "
      "shortest history",
      "espmint-torture"};
  app.add_option("--seed", orders.seed, "Of the first shift");
  app.add_option("--runs", orders.runs, "Shifts");
  app.add_option("--provisionings", orders.provisionings, "End after so many boards (then --runs is the most shifts)");
  app.add_option("--jobs", cores, "Processes");
  app.add_flag("--keep-going", orders.keep_going, "Go on after a violation");
#ifdef ESPMINT_SEEDED_BUGS
  std::string which;
  app.add_option("--bugs", which, "Look for planted bugs instead: all, or a number of the list");
#endif
  CLI11_PARSE(app, argc, argv);
  // Lives are short: what they take from the system they need not give back.
  mallopt(M_TOP_PAD, 16 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
#ifdef ESPMINT_SEEDED_BUGS
  if (!which.empty()) return hunt_all(orders, which, cores);
#endif
  if (orders.provisionings != 0 && app.get_option("--runs")->empty()) orders.runs = orders.provisionings;
  auto began = std::chrono::steady_clock::now();
  std::vector<int> ends;
  for (unsigned core = 0; core < cores; ++core) {
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) return 2;
    if (fork() == 0) {
      Part part = work(orders, core, cores);
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
    for (auto field :
         {&Tally::shifts, &Tally::lives, &Tally::provisionings, &Tally::verdicts, &Tally::verified, &Tally::stops,
          &Tally::at_reserved, &Tally::at_exposed, &Tally::at_written, &Tally::shifts_stopped_after_exposed})
      all.tally.*field += part.tally.*field;
  }
  while (wait(nullptr) > 0) {
  }
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const Tally& t = all.tally;
  auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "from seed %llu: %llu shifts, %llu lives of the process, %llu provisionings (%llu with a verdict, %llu VERIFIED) "
      "in %.1f s\n",
      n(orders.seed), n(t.shifts), n(t.lives), n(t.provisionings), n(t.verdicts), n(t.verified), seconds);
  std::printf("stops of the process: %llu; with a key that was then\n", n(t.stops));
  print_bar("RESERVED", t.at_reserved, t.stops);
  print_bar("EXPOSED", t.at_exposed, t.stops);
  print_bar("WRITTEN", t.at_written, t.stops);
  std::printf("shifts\n");
  print_bar("stopped after EXPOSED", t.shifts_stopped_after_exposed, t.shifts);
  if (!whole) std::printf("a worker died\n");
  std::printf("%llu violations\n", n(all.violations));
  return all.violations != 0 || !whole ? 1 : 0;
}
