// espmint-torture-cloud: boards enrolled in a virtual AWS account while calls fail and processes die; one process a
// core.
//   espmint-torture-cloud --seed 1 --enrolments 1000000 --jobs 4
//   espmint-torture-cloud --measure               no faults: enrolments a second, processor time of one
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>

#include "tests/swarm_cloud/shift.hpp"

// Secrets are kept out of swap; these are nobody's, and the system's bookkeeping for it takes longer than they do.
extern "C" int mlock(const void*, std::size_t) { return 0; }
extern "C" int munlock(const void*, std::size_t) { return 0; }

namespace {

namespace fs = std::filesystem;
using namespace espmint;
using namespace espmint::swarm_cloud;

constexpr std::chrono::seconds between_signs_of_life{60};

struct Orders {
  std::uint64_t seed = 1, enrolments = 3000;
  int boards = 300;
  double faults = 0.05;
  unsigned jobs = 1;
  bool measure = false, keep = false;
};

/// Three shifts in four with AWS's own certificates, one with a CA of its own.
ShiftOptions shift_of(const Orders& orders, std::uint64_t seed) {
  ShiftOptions shift{.seed = seed, .boards = orders.boards, .faults = orders.faults};
  if (orders.measure) shift.faults = 0, shift.crashes = false, shift.mishaps = false;
  if (!orders.measure && seed % 4 == 3) shift.issuance = aws::Issuance::own_ca;
  return shift;
}

Tally work(const Orders& orders, unsigned job) {
  Tally tally;
  auto next_sign = std::chrono::steady_clock::now() + between_signs_of_life;
  const fs::path memory{"/dev/shm"};
  const fs::path top =
      (fs::exists(memory) ? memory : fs::temp_directory_path()) / ("espmint-swarm-cloud-" + std::to_string(getpid()));
  for (std::uint64_t seed = orders.seed + job; tally.enrolments * orders.jobs < orders.enrolments;
       seed += orders.jobs) {
    const fs::path folder = top / std::to_string(seed);
    fs::create_directories(folder);
    std::vector<std::string> wrongs;
    try {
      wrongs = run_shift(shift_of(orders, seed), folder, tally);
    } catch (const std::exception& thrown) {
      wrongs.emplace_back(thrown.what());
      ++tally.violations;
    }
    for (const std::string& wrong : wrongs)
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), wrong.c_str());
    std::fflush(stdout);
    if (!wrongs.empty() && orders.keep) {
      std::printf("its ledger: %s\n", folder.c_str());
      return tally;
    }
    fs::remove_all(folder);
    if (!wrongs.empty()) break;
    if (job == 0 && std::chrono::steady_clock::now() > next_sign) {
      next_sign += between_signs_of_life;
      std::fprintf(stderr, "  about %llu enrolments, at seed %llu\n",
                   static_cast<unsigned long long>(tally.enrolments * orders.jobs),
                   static_cast<unsigned long long>(seed));
    }
  }
  fs::remove_all(top);
  return tally;
}

/// Each in a process of its own; their sums.
Tally work_in_parallel(const Orders& orders) {
  if (orders.jobs == 1) return work(orders, 0);
  Tally sum;
  std::vector<int> pipes;
  for (unsigned job = 0; job < orders.jobs; ++job) {
    int ends[2];
    if (pipe(ends) != 0) std::abort();
    if (fork() == 0) {
      const Tally mine = work(orders, job);
      _exit(write(ends[1], &mine, sizeof mine) == sizeof mine ? 0 : 1);
    }
    close(ends[1]);
    pipes.push_back(ends[0]);
  }
  for (int end : pipes) {
    Tally part;
    if (read(end, &part, sizeof part) == sizeof part)
      sum.add(part);
    else
      ++sum.violations;
    close(end);
  }
  while (wait(nullptr) > 0) {
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 64 * 1024 * 1024);
  Orders orders;
  CLI::App app{
      "Boards enrolled in a virtual AWS account, in virtual time, while calls fail and processes die; what is broken "
      "is told with its seed",
      "espmint-torture-cloud"};
  app.add_option("--seed", orders.seed, "Of the first shift");
  app.add_option("--enrolments", orders.enrolments, "End after so many certificates");
  app.add_option("--boards", orders.boards, "Of one shift, with a ledger and an account of its own")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--faults", orders.faults,
                 "Share of the calls that something befalls, 0.05: before they take effect, after, or on the way")
      ->check(CLI::Range(0.0, 0.9));
  app.add_option("--jobs", orders.jobs, "Processes")->check(CLI::Range(1, 256));
  app.add_flag("--measure", orders.measure, "No faults, no crashes, every board VERIFIED: what an enrolment takes");
  app.add_flag("--keep", orders.keep, "The ledger of a shift that broke a rule stays where it is");
  CLI11_PARSE(app, argc, argv);

  const auto start = std::chrono::steady_clock::now();
  const Tally sum = work_in_parallel(orders);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto number = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
  const double enrolments = static_cast<double>(std::max<std::uint64_t>(sum.enrolments, 1));
  std::printf(
      "%llu enrolments of %llu boards in %llu shifts, %llu VERIFIED, %llu crashes; the doctor found %llu and ended "
      "%llu; %llu violations\n",
      number(sum.enrolments), number(sum.boards), number(sum.shifts), number(sum.verified), number(sum.crashes),
      number(sum.found), number(sum.fixed), number(sum.violations));
  std::printf("%.3f calls for each that was needed; %.0f enrolments/s on %u processes, the doctor's visits among it\n",
              static_cast<double>(sum.sent) / static_cast<double>(std::max<std::uint64_t>(sum.needed, 1)),
              enrolments / seconds, orders.jobs);
  std::printf(
      "processor time of one: %.2f ms line and account (of that the account %.2f ms), %.2f ms doctor; virtual time "
      "%.1f enrolments/s\n",
      sum.line_cpu / enrolments * 1e3, sum.account_cpu / enrolments * 1e3, sum.doctor_cpu / enrolments * 1e3,
      enrolments / std::max(sum.line_seconds, 1e-9));
  return sum.violations == 0 ? 0 : 1;
}
