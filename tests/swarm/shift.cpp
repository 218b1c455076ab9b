#include "tests/swarm/shift.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "io/file.hpp"
#include "tests/swarm/life.hpp"

namespace espmint::swarm {
namespace {

namespace fs = std::filesystem;

std::string pool_text(const Story& story) {
  std::string out;
  for (int key = 1; key <= story.keys; ++key) {
    for (int field = 1; field <= 3; ++field) out += secret_of(story, key, field) + (field < 3 ? "," : "");
    out += key == 1 && story.old_marks ? ",Provisioned\n" : "\n";
  }
  return out;
}

/// What of the disk was not synced when a process ended.
fs::path pending_of(const fs::path& folder) { return folder.string() + ".crash-disk"; }

void prepare_folder(Before before, const fs::path& folder) {
  if (before == Before::nothing) return;
  fs::remove_all(pending_of(folder));
  fs::remove_all(folder / "ledger");
  if (before == Before::ledger_of_before && fs::exists(folder / "ledger.old"))
    fs::copy(folder / "ledger.old", folder / "ledger", fs::copy_options::recursive);
}

bool any(const std::vector<PoolKey>& pool, KeyState state) {
  return std::ranges::any_of(pool, [state](const PoolKey& key) { return key.state == state; });
}

}  // namespace

ShiftRunner::ShiftRunner(fs::path scratch) : scratch_(std::move(scratch)) {
  world_ = static_cast<World*>(mmap(nullptr, sizeof(World), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  world_->make();
}

ShiftRunner::~ShiftRunner() {
  munmap(world_, sizeof(World));
  std::error_code ignored;
  fs::remove_all(pending_of(scratch_), ignored);
  fs::remove_all(scratch_, ignored);
}

Workshop& ShiftRunner::workshop(const Story& story) {
  auto& there = workshops_[{story.app, story.identity}];
  if (!there) there = std::make_unique<Workshop>(BenchKeys{story.app, {}}, story.identity);
  return *there;
}

/// True when the process stopped where its story says; false after a whole life.
bool ShiftRunner::live(const Story& story, std::size_t n) {
  Workshop& shop = workshop(story);
  pid_t child = fork();
  if (child == 0) swarm::live(story, n, *world_, scratch_, shop);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == stopped_here) return true;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    world_->accuse(rule::living_process, fmt::format("the process died (status {:#x})", status));
  return false;
}

std::optional<Violation> ShiftRunner::run(const Story& story, Tally& tally) {
  fs::remove_all(pending_of(scratch_));
  fs::remove_all(scratch_);
  fs::create_directories(scratch_);
  world_->begin(story);
  std::string file = pool_text(story);
  (void)write_file(scratch_ / "keys.csv", as_bytes(file));
  std::optional<Violation> found;
  bool after_exposed = false;
  for (std::size_t n = 0; n < story.lives.size() && !found; ++n) {
    if (n + 1 < story.lives.size() && story.lives[n + 1].before == Before::ledger_of_before &&
        fs::exists(scratch_ / "ledger")) {
      fs::remove_all(scratch_ / "ledger.old");
      fs::copy(scratch_ / "ledger", scratch_ / "ledger.old", fs::copy_options::recursive);
    }
    prepare_folder(story.lives[n].before, scratch_);
    world_->admitted = false;
    bool stopped = live(story, n);
    std::vector<PoolKey> pool = pool_in(scratch_);
    ++tally.lives;
    if (stopped) {
      const bool exposed = any(pool, KeyState::exposed), written = any(pool, KeyState::written);
      ++tally.stops;
      tally.at_reserved += any(pool, KeyState::reserved);
      tally.at_exposed += exposed;
      tally.at_written += written;
      after_exposed = after_exposed || exposed || written;
    }
    found = watch(story, *world_, scratch_ / "keys.csv", pool);
  }
  if (!found) found = watch_at_end(story, scratch_);
  ++tally.shifts;
  tally.provisionings += world_->provisionings;
  tally.verdicts += world_->verdicts;
  tally.verified += world_->verified;
  tally.shifts_stopped_after_exposed += after_exposed;
  return found;
}

Story shrink(ShiftRunner& runner, const Story& story, const std::string& watcher, int tries) {
  Story smallest = story;
  Tally ignored;
  for (bool again = true; again;) {
    again = false;
    for (const Story& less : smaller_stories(smallest)) {
      if (tries-- <= 0) return smallest;
      auto found = runner.run(less, ignored);
      if (!found || found->watcher != watcher) continue;
      smallest = less;
      again = true;
      break;
    }
  }
  return smallest;
}

}  // namespace espmint::swarm
