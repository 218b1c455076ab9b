// tests/swarm/watchers.hpp: the rules, each looked at from outside: at the boards' flash, the wires and the user's
// file, and only then at what the ledger says of them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "ledger/ledger.hpp"
#include "tests/swarm/world.hpp"

namespace espmint::swarm {

struct Violation {
  std::string watcher, sentence;
};

/// Watchers' names, for tables: every rule that can be broken.
namespace rule {
constexpr std::string_view one_board_per_key = "one board per key";
constexpr std::string_view one_key_per_board = "one key per board";
constexpr std::string_view write_ahead = "write-ahead";
constexpr std::string_view no_return = "no return";
constexpr std::string_view honest_green = "honest green";
constexpr std::string_view careful_file = "careful file";
constexpr std::string_view conservation = "conservation";
constexpr std::string_view secrecy = "secrecy";
constexpr std::string_view one_station = "one station";
constexpr std::string_view progress = "progress";
constexpr std::string_view sound_ledger = "sound ledger";
constexpr std::string_view living_process = "living process";
}  // namespace rule

/// Bit k: the text holds some field of key k.
std::uint64_t keys_in(const Story&, std::string_view text);
/// All fields of key k are there.
bool holds_whole_key(const Story&, std::string_view flash, int key);

/// What the ledger says of its keys; nothing where it cannot be read.
std::vector<PoolKey> pool_in(const std::filesystem::path& folder);
/// Between two lives: boards and wires against the file and the ledger.
std::optional<Violation> watch(const Story&, const World&, const std::filesystem::path& csv,
                               const std::vector<PoolKey>&);
/// After the last: what lies in the folder, and the ledger's own invariants.
std::optional<Violation> watch_at_end(const Story&, const std::filesystem::path& folder);

/// The user's file, as somebody else reads it.
struct FileRow {
  bool available = false;
  bool whole = false;  // the user's fields are there, byte for byte
};
std::vector<FileRow> read_rows(const Story&, const std::filesystem::path& csv);

}  // namespace espmint::swarm
