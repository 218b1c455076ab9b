#include "tests/swarm.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <set>

#include "ledger/invariants.hpp"
#include "tests/bench.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr int stopped_here = 77;
constexpr std::size_t most_boards = 6;
constexpr std::size_t kept_flash = 0x40000;  // all that the lean firmware and its NVS use

/// SplitMix64: small, and the same everywhere.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
  std::uint64_t roll(std::uint64_t sides) {
    state_ += 0x9e3779b97f4a7c15ull;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (z ^ (z >> 31)) % sides;
  }
  bool one_of(std::uint64_t sides) { return roll(sides) == 0; }

 private:
  std::uint64_t state_;
};

std::string secret(std::uint64_t seed, int key, int field) { return fmt::format("{:04x}k{:02}f{}-0123456789ab", seed & 0xffff, key, field); }
Mac mac_of_board(std::size_t n) { return Mac{{0x24, 0xd7, 0xeb, 1, 0, static_cast<std::uint8_t>(n + 1)}}; }

/// What outlives the process: memory that children share, and files in the folder.
struct Outside {
  std::array<std::array<std::uint8_t, kept_flash>, most_boards> flash;
  std::array<std::uint64_t, most_boards> held;  // bit k: key k was once on the board
  std::uint64_t provisionings, verified;
  char story[8192];
  std::size_t told;
  void tell(const std::string& sentence) {
    std::size_t count = std::min(sentence.size(), sizeof story - told - 1);
    std::copy_n(sentence.data(), count, story + told);
    told += count;
  }
};

/// What this shift is like.
struct Shift {
  std::uint64_t seed;
  const char* app;
  std::size_t slots, boards;
  int keys, lives;
  bool old_marks;  // the file's first row was marked by an earlier script
  std::uint64_t lose_one_of;
};

Shift draw(std::uint64_t seed, Dice& dice) {
  static constexpr std::array apps{"old3", "old3", "old3", "device-line", "device-line", "forgetful", "mute"};
  Shift out{};
  out.seed = seed;
  out.app = apps[dice.roll(apps.size())];
  out.slots = 1 + dice.roll(2);
  out.boards = 2 + dice.roll(3);
  out.keys = 2 + static_cast<int>(dice.roll(5));
  out.lives = 1 + static_cast<int>(dice.roll(3));
  out.old_marks = dice.one_of(4);
  out.lose_one_of = dice.one_of(4) ? 20'000 + dice.roll(40'000) : 0;
  return out;
}

std::string pool_of(const Shift& shift) {
  std::string out;
  for (int key = 1; key <= shift.keys; ++key) {
    for (int field = 1; field <= 3; ++field) out += secret(shift.seed, key, field) + (field < 3 ? "," : "");
    out += key == 1 && shift.old_marks ? ",Provisioned\n" : "\n";
  }
  return out;
}

/// The boards and who sits where, in one life.
class Hands {
 public:
  Hands(Bench& bench, Outside& outside, const Shift& shift) : bench_(bench), outside_(outside), shift_(shift), in_slot_(shift.slots, shift.boards) {}

  void put(std::size_t slot, std::size_t board) {
    bench_.ports().swap(name(slot), mac_of_board(board));
    std::copy_n(outside_.flash[board].begin(), kept_flash, bench_.flash(name(slot)).begin());
    in_slot_[slot] = board;
  }
  void save() {
    for (std::size_t slot = 0; slot < in_slot_.size(); ++slot)
      if (in_slot_[slot] < shift_.boards) save(slot);
  }
  void save(std::size_t slot) {
    std::size_t board = in_slot_[slot];
    ByteSpan flash = bench_.flash(name(slot));
    std::copy_n(flash.begin(), kept_flash, outside_.flash[board].begin());
    std::string_view text = as_text(ByteView{flash}.first(kept_flash));
    for (int key = 1; key <= shift_.keys; ++key)
      if (text.find(secret(shift_.seed, key, 1)) != std::string_view::npos) outside_.held[board] |= 1ull << key;
  }
  /// A board that is nowhere else.
  std::optional<std::size_t> free_board(Dice& dice) {
    for (int tries = 0; tries < 8; ++tries) {
      std::size_t board = dice.roll(shift_.boards);
      if (std::find(in_slot_.begin(), in_slot_.end(), board) == in_slot_.end()) return board;
    }
    return std::nullopt;
  }
  static std::string name(std::size_t slot) { return std::string(1, static_cast<char>('a' + slot)); }

  Task<> work(Dice dice, int acts) {
    for (int act = 0; act < acts; ++act) {
      co_await bench_.loop.sleep_for(10ms * static_cast<std::int64_t>(dice.roll(400)));
      std::size_t slot = dice.roll(shift_.slots);
      std::uint64_t what = dice.roll(4);
      save(slot);
      if (what == 0) {
        outside_.tell(fmt::format("  {} pulled\n", name(slot)));
        bench_.ports().unplug(name(slot));
        co_await bench_.loop.sleep_for(10ms * static_cast<std::int64_t>(dice.roll(300)));
        save(slot);
        bench_.ports().plug(name(slot));
      } else {
        auto board = free_board(dice);
        if (!board) continue;
        outside_.tell(fmt::format("  {} becomes board {}{}\n", name(slot), *board, what == 1 ? ", the port stays open" : ""));
        if (what != 1) {
          bench_.ports().unplug(name(slot));
          co_await bench_.loop.sleep_for(2500ms);
          save(slot);
        }
        put(slot, *board);
        if (what != 1) bench_.ports().plug(name(slot));
      }
    }
  }

 private:
  Bench& bench_;
  Outside& outside_;
  const Shift& shift_;
  std::vector<std::size_t> in_slot_;
};

/// One life of the process; never returns to the caller's process.
[[noreturn]] void live(const Shift& shift, Outside& outside, const fs::path& folder, Dice dice, bool stops) {
  Bench bench{Seed{shift.seed * 16 + dice.roll(16)}, folder, {shift.app, {}}};
  std::vector<std::string> names;
  for (std::size_t slot = 0; slot < shift.slots; ++slot) {
    names.push_back(Hands::name(slot));
    sim::BoardOptions options;
    options.faults.seed = dice.roll(1'000'000);
    options.faults.lose_one_of = static_cast<std::uint32_t>(shift.lose_one_of);
    bench.plug_in(names.back(), options);
  }
  Hands hands{bench, outside, shift};
  for (std::size_t slot = 0; slot < shift.slots; ++slot)
    if (auto board = hands.free_board(dice)) hands.put(slot, *board);
  // Half of the stops fall among the few moments of the hand-over, where they hurt.
  bool late = dice.one_of(2), counts = !late;
  auto left = static_cast<std::int64_t>(dice.roll(late ? 40 : 160));
  auto point = [&] {
    if (!stops || !counts || left-- > 0) return;
    hands.save();
    _exit(stopped_here);
  };
  bench.listener.when_step = [&](const std::string&, Step step) { counts = counts || step == Step::hand_over; };
  bench.before_write = point;
  set_ledger_crash_hook([&](std::string_view) { point(); });
  LineOptions options;
  options.ports = names;
  options.count = 1 + dice.roll(4);
  bench.run(options, hands.work(dice, static_cast<int>(dice.roll(5))), 90s);
  hands.save();
  for (const auto& [slot, outcomes] : bench.listener.done)
    for (const RunOutcome& outcome : outcomes) {
      ++outside.provisionings;
      outside.verified += outcome.verdict == Verdict::verified;
      outside.tell(fmt::format("  {}: {} {}\n", slot, name_of(outcome.verdict), outcome.fault ? outcome.fault->what : ""));
    }
  _exit(0);
}

struct Row {
  bool available = false, whole = false;
};

/// The file from outside: our own reading of it.
std::vector<Row> rows_of(const fs::path& csv, const Shift& shift) {
  std::vector<Row> out;
  std::ifstream in{csv};
  std::string line;
  while (std::getline(in, line)) {
    int key = static_cast<int>(out.size()) + 1;
    std::string user = secret(shift.seed, key, 1) + "," + secret(shift.seed, key, 2) + "," + secret(shift.seed, key, 3) + ",";
    bool torn = key == 1 && shift.old_marks ? false : !line.starts_with(user.substr(0, user.size() - 1));
    out.push_back({line.ends_with(",available"), !torn});
  }
  return out;
}

/// The first rule that does not hold; empty when all do.
std::string watch(const Shift& shift, const Outside& outside, const fs::path& folder, const std::vector<PoolKey>& pool) {
  std::vector<Row> rows = rows_of(folder / "keys.csv", shift);
  if (rows.size() != static_cast<std::size_t>(shift.keys)) return fmt::format("conservation: the file has {} rows of {}", rows.size(), shift.keys);
  std::uint64_t met = 0;
  for (std::size_t board = 0; board < shift.boards; ++board) {
    std::uint64_t keys = outside.held[board];
    if (keys & met) return fmt::format("one board per key: board {} holds a key that another holds", board);
    if (keys & (keys - 1)) return fmt::format("one key per board: board {} held more than one", board);
    met |= keys;
    for (int key = 1; key <= shift.keys; ++key) {
      if (!(keys & 1ull << key)) continue;
      if (rows[static_cast<std::size_t>(key - 1)].available) return fmt::format("the file offers key {}, which is on board {}", key, board);
      if (pool.empty()) return fmt::format("write-ahead: key {} is on board {}, the ledger knows no key", key, board);
      const PoolKey& row = pool[static_cast<std::size_t>(key - 1)];
      bool admits = row.state != KeyState::available && row.state != KeyState::reserved;
      if (!admits || row.device != to_string(mac_of_board(board)))
        return fmt::format("write-ahead: key {} is on board {}, the ledger says {} of \"{}\"", key, board, name_of(row.state), row.device);
    }
  }
  for (const PoolKey& key : pool) {
    const Row& row = rows.at(static_cast<std::size_t>(key.number - 1));
    if (!row.whole) return fmt::format("conservation: row {} lost the user's bytes", key.number);
    // RESERVED and not yet marked is nobody's loss: nothing of it left the process.
    if (row.available && key.state != KeyState::available && key.state != KeyState::reserved) return fmt::format("the file offers key {}, which is {}", key.number, name_of(key.state));
    if (key.state != KeyState::verified || key.device.empty()) continue;
    bool there = false;
    for (std::size_t board = 0; board < shift.boards; ++board) {
      std::string_view flash = as_text(ByteView{outside.flash[board]});
      bool all = true;
      for (int field = 1; field <= 3; ++field) all = all && flash.find(secret(shift.seed, static_cast<int>(key.number), field)) != std::string_view::npos;
      there = there || (all && key.device == to_string(mac_of_board(board)));
    }
    if (!there) return fmt::format("honest green: key {} is VERIFIED on {}, whose flash does not hold it", key.number, key.device);
  }
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator{folder / "ledger"}) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in{entry.path(), std::ios::binary};
    std::string content{std::istreambuf_iterator<char>{in}, {}};
    if (content.find(secret(shift.seed, 1, 2).substr(0, 9)) != std::string::npos) return "secrecy: a key is in " + entry.path().filename().string();
  }
  auto violations = find_violations(folder / "ledger");
  if (violations && !violations->empty()) return violations->front();
  return {};
}

std::vector<PoolKey> pool_in(const fs::path& folder) {
  VirtualLoop clock;
  auto ledger = Ledger::open(folder / "ledger", {LedgerOptions::Mode::read, "thermostat", {}}, clock);
  if (!ledger) return {};
  auto pool = (*ledger)->pool();
  return pool ? std::move(*pool) : std::vector<PoolKey>{};
}

}  // namespace

std::optional<std::string> run_shift(std::uint64_t seed, SwarmTally& tally) {
  Dice dice{seed};
  Shift shift = draw(seed, dice);
  std::string name = (fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path().string()) + "/espmint-swarm-XXXXXX";
  fs::path folder = mkdtemp(name.data());
  auto* outside = static_cast<Outside*>(mmap(nullptr, sizeof(Outside), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (std::size_t board = 0; board < shift.boards; ++board) outside->flash[board].fill(0xff);
  std::ofstream{folder / "keys.csv"} << pool_of(shift);
  std::optional<std::string> wrong;
  bool after_exposed = false;
  for (int life = 1; life <= shift.lives && !wrong; ++life) {
    bool stops = life < shift.lives || dice.one_of(2);
    outside->tell(fmt::format(" life {}\n", life));
    Dice its_own{dice.roll(1'000'000'007)};
    pid_t child = fork();
    if (child == 0) live(shift, *outside, folder, its_own, stops);
    int status = 0;
    waitpid(child, &status, 0);
    ++tally.lives;
    bool stopped = WIFEXITED(status) && WEXITSTATUS(status) == stopped_here;
    std::vector<PoolKey> pool = pool_in(folder);
    if (stopped) {
      ++tally.stops;
      bool reserved = false, exposed = false, written = false;
      for (const PoolKey& key : pool) {
        reserved = reserved || key.state == KeyState::reserved;
        exposed = exposed || key.state == KeyState::exposed;
        written = written || key.state == KeyState::written;
      }
      tally.at_reserved += reserved;
      tally.at_exposed += exposed;
      tally.at_written += written;
      after_exposed = after_exposed || exposed || written;
      outside->tell("  the process stops\n");
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      wrong = fmt::format("the process died (status {:#x})", status);
    }
    if (std::string rule = watch(shift, *outside, folder, pool); !wrong && !rule.empty()) wrong = rule;
  }
  ++tally.shifts;
  tally.provisionings += outside->provisionings;
  tally.verified += outside->verified;
  tally.shifts_stopped_after_exposed += after_exposed;
  if (wrong) {
    wrong = fmt::format("seed {}: {}\n {} on {} slots, {} boards, {} keys{}\n{}", seed, *wrong, shift.app, shift.slots, shift.boards, shift.keys,
                        shift.old_marks ? ", a file that an earlier script marked" : "", std::string{outside->story, outside->told});
  }
  munmap(outside, sizeof(Outside));
  fs::remove_all(folder);
  return wrong;
}

}  // namespace espmint
