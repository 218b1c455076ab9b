#include "tests/swarm/watchers.hpp"

#include <fmt/format.h>

#include <bit>

#include "io/file.hpp"
#include "io/loop.hpp"
#include "ledger/invariants.hpp"

namespace espmint::swarm {
namespace {

namespace fs = std::filesystem;

std::string user_part_of(const Story& story, int key) {
  return secret_of(story, key, 1) + "," + secret_of(story, key, 2) + "," + secret_of(story, key, 3);
}

bool left_the_process(KeyState state) { return state != KeyState::available && state != KeyState::reserved; }

std::string_view nvs_of(const World::Board& board) { return as_text(ByteView{board.low}.subspan(nvs_at, nvs_bytes)); }

std::optional<Violation> watch_boards(const Story& story, const World& world, const std::vector<FileRow>& rows,
                                      const std::vector<PoolKey>& pool) {
  std::array<std::uint64_t, most_boards> of_device{};
  for (std::size_t board = 0; board < story.boards.size(); ++board)
    of_device[device_of(story, board)] |= world.boards[board].sent | world.boards[board].held;
  std::uint64_t met = 0;
  for (std::size_t device = 0; device < story.boards.size(); ++device) {
    const std::uint64_t keys = of_device[device];
    if (keys & met)
      return Violation{std::string{rule::one_board_per_key},
                       fmt::format("board {} has a key that another has", device)};
    if (std::popcount(keys) > 1)
      return Violation{std::string{rule::one_key_per_board},
                       fmt::format("board {} has had {} keys", device, std::popcount(keys))};
    met |= keys;
    if (keys == 0) continue;
    const int key = std::countr_zero(keys);
    if (rows[static_cast<std::size_t>(key - 1)].available)
      return Violation{std::string{rule::careful_file},
                       fmt::format("the file offers key {}, which board {} has", key, device)};
    if (!world.admitted) continue;  // the ledger may be an old one that has not yet been told
    if (pool.empty())
      return Violation{std::string{rule::write_ahead},
                       fmt::format("board {} has key {}, the ledger knows no key", device, key)};
    const PoolKey& row = pool.at(static_cast<std::size_t>(key - 1));
    if (!left_the_process(row.state))
      return Violation{std::string{rule::no_return},
                       fmt::format("board {} has key {}, which the ledger calls {}", device, key, name_of(row.state))};
    if (row.device != to_string(story.boards[device]))
      return Violation{std::string{rule::write_ahead}, fmt::format("board {} has key {}, the ledger says {} of \"{}\"",
                                                                   device, key, name_of(row.state), row.device)};
  }
  return std::nullopt;
}

std::optional<Violation> watch_pool(const Story& story, const World& world, const std::vector<FileRow>& rows,
                                    const std::vector<PoolKey>& pool) {
  for (const PoolKey& key : pool) {
    const FileRow& row = rows.at(static_cast<std::size_t>(key.number - 1));
    // RESERVED and not yet marked is nobody's loss: nothing of it left the process.
    if (row.available && left_the_process(key.state))
      return Violation{std::string{rule::careful_file},
                       fmt::format("the file offers key {}, which is {}", key.number, name_of(key.state))};
    if (key.state != KeyState::verified || key.device.empty()) continue;
    bool there = false;
    for (std::size_t board = 0; board < story.boards.size(); ++board)
      there = there || (key.device == to_string(story.boards[board]) &&
                        holds_whole_key(story, nvs_of(world.boards[board]), static_cast<int>(key.number)));
    if (!there)
      return Violation{std::string{rule::honest_green},
                       fmt::format("key {} is VERIFIED on {}, whose flash does not hold it", key.number, key.device)};
  }
  return std::nullopt;
}

}  // namespace

std::uint64_t keys_in(const Story& story, std::string_view text) {
  std::uint64_t out = 0;
  for (std::size_t at = text.find(secret_mark); at != std::string_view::npos; at = text.find(secret_mark, at + 1)) {
    // "4711k03f1k03-0123456789ab": the mark stands behind twelve characters.
    constexpr std::size_t before = 12;
    if (at < before) continue;
    std::string_view field = text.substr(at - before, before + secret_mark.size());
    for (int key = 1; key <= story.keys; ++key)
      for (int n = 1; n <= 3; ++n)
        if (field == secret_of(story, key, n)) out |= 1ull << key;
  }
  return out;
}

bool holds_whole_key(const Story& story, std::string_view flash, int key) {
  for (int field = 1; field <= 3; ++field)
    if (flash.find(secret_of(story, key, field)) == std::string_view::npos) return false;
  return true;
}

std::vector<PoolKey> pool_in(const fs::path& folder) {
  VirtualLoop clock;
  auto ledger = Ledger::open(folder / "ledger", {LedgerOptions::Mode::read, "thermostat", {}}, clock);
  if (!ledger) return {};
  auto pool = (*ledger)->pool();
  return pool ? std::move(*pool) : std::vector<PoolKey>{};
}

std::vector<FileRow> read_rows(const Story& story, const fs::path& csv) {
  std::vector<FileRow> out;
  auto bytes = read_file(csv);
  if (!bytes) return out;
  std::string_view text = as_text(*bytes);
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const int key = static_cast<int>(out.size()) + 1;
    out.push_back({line.ends_with(",available"), line.starts_with(user_part_of(story, key))});
  }
  return out;
}

std::optional<Violation> watch(const Story& story, const World& world, const fs::path& csv,
                               const std::vector<PoolKey>& pool) {
  if (world.watcher[0] != 0) return Violation{world.watcher, world.found};
  std::vector<FileRow> rows = read_rows(story, csv);
  if (rows.size() != static_cast<std::size_t>(story.keys))
    return Violation{std::string{rule::conservation},
                     fmt::format("the file has {} rows of {}", rows.size(), story.keys)};
  for (std::size_t n = 0; n < rows.size(); ++n)
    if (!rows[n].whole)
      return Violation{std::string{rule::conservation}, fmt::format("row {} lost the user's bytes", n + 1)};
  if (auto found = watch_boards(story, world, rows, pool)) return found;
  return world.admitted ? watch_pool(story, world, rows, pool) : std::nullopt;
}

std::optional<Violation> watch_at_end(const Story&, const fs::path& folder) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator{folder / "ledger"}) {
    if (!entry.is_regular_file()) continue;
    auto content = read_file(entry.path());
    if (content && as_text(*content).find(secret_mark) != std::string_view::npos)
      return Violation{std::string{rule::secrecy}, "a key is in " + entry.path().filename().string()};
  }
  auto violations = find_violations(folder / "ledger");
  if (!violations) return Violation{std::string{rule::sound_ledger}, describe(violations.error())};
  if (!violations->empty()) return Violation{std::string{rule::sound_ledger}, violations->front()};
  return std::nullopt;
}

}  // namespace espmint::swarm
