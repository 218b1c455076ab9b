// tests/swarm/world.hpp: what outlives the process: boards with their flash, and what crossed the wires. Memory that a
// life's process and its parent share.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.hpp"
#include "tests/swarm/story.hpp"

namespace espmint::swarm {

constexpr std::size_t most_slots = 3;
constexpr std::size_t flash_bytes = 0x200000;
constexpr std::size_t low_flash = 0x13000;  // bootloader, partition table, NVS, app
constexpr std::size_t storage_at = 0x110000, storage_bytes = 0x4000;
constexpr std::size_t nvs_at = 0x9000, nvs_bytes = 0x6000;

struct World {
  struct Board {
    std::array<std::uint8_t, low_flash> low;
    std::array<std::uint8_t, storage_bytes> storage;
    std::uint64_t sent, held;  // bit k: some of key k crossed the wire to it; was once in its flash
    bool met;                  // it was plugged in at least once
  };
  std::array<Board, most_boards> boards;
  std::array<std::array<std::uint8_t, flash_bytes>, most_slots>
      sockets;    // the flash chips of the boards that are plugged in
  bool admitted;  // this life's line has opened the pool
  std::uint64_t provisionings, verdicts, verified;
  char watcher[32], found[480];  // what a watcher inside the process saw

  /// Once, before the first story.
  void make() {
    for (auto& socket : sockets) socket.fill(0xff);
  }
  /// As new, for this story.
  void begin(const Story& story) {
    for (std::size_t n = 0; n < story.boards.size(); ++n) {
      boards[n].low.fill(0xff);
      boards[n].storage.fill(0xff);
      boards[n].sent = boards[n].held = 0;
      boards[n].met = false;
    }
    admitted = false;
    provisionings = verdicts = verified = 0;
    watcher[0] = found[0] = 0;
  }
  void accuse(std::string_view name, std::string_view sentence) {
    if (watcher[0] != 0) return;
    watcher[name.copy(watcher, sizeof watcher - 1)] = 0;
    found[sentence.copy(found, sizeof found - 1)] = 0;
  }
};

/// The first board with its MAC: two boards with one MAC are one device to everybody.
inline std::size_t device_of(const Story& story, std::size_t board) {
  return static_cast<std::size_t>(std::find(story.boards.begin(), story.boards.end(), story.boards[board]) -
                                  story.boards.begin());
}

}  // namespace espmint::swarm
