// tests/swarm/story.hpp: one shift of a line as a value: its boards, its keys, what happens to each board that is
// plugged in, and what happens to the process. Drawn whole from a seed before it runs, so that it can be run again with
// less.
//   Story story = draw_story(4711);
//   story.lives.erase(story.lives.begin());      // still a story
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/mac.hpp"

namespace espmint::swarm {

constexpr std::size_t most_boards = 24;

/// SplitMix64: small, and the same everywhere.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
  std::uint64_t roll(std::uint64_t sides);
  bool one_of(std::uint64_t sides) { return roll(sides) == 0; }

 private:
  std::uint64_t state_;
};

/// A moment of one board's visit.
struct Moment {
  enum class From {
    plugged,    // `count` ms after it was plugged in
    hand_over,  // before the count-th write to its port after the step "hand over" began
    listening,  // `count` ms after that step began
    secret,     // after `count` bytes of the write that carries its key
    quiet,      // `count` ms after a write of the hand-over behind which no other came: the application starts, or asks
  } from = From::plugged;
  std::uint64_t count = 0;
};

/// What happens to a board that is being prepared.
enum class Harm { none, pulled, pulled_and_back, browned_out, swapped_in_the_fixture, bytes_lost };
constexpr int harms = 6;

/// One board, put into one slot, until it has its verdict or somebody takes it out.
struct Visit {
  std::size_t slot = 0, board = 0;
  Harm harm = Harm::none;
  Moment when;
  std::size_t other = 0;         // the board that is in the fixture afterwards
  std::size_t lost = 1;          // bytes
  std::uint64_t pause_ms = 300;  // before the next one
};

/// How a life of the process ends, if not by itself.
struct Stop {
  enum class At {
    never,
    point,      // the count-th write to a port or durable step of the ledger or of a file
    hand_over,  // the same, counted from the moment when the `nth` board is to get its key
    secret,     // after `count` bytes of the `nth` write that carries a key
  } at = At::never;
  std::uint64_t count = 0, nth = 1;
  bool power_cut = false;  // of the whole machine: what was not synced may be lost, torn or out of order
};

/// What the disk does wrong.
struct DiskHarm {
  enum class Kind { none, full, short_write, failing, read_only } kind = Kind::none;
  std::uint64_t nth = 1;  // call that changes the disk
  bool once = false;      // else all after it, too
};
constexpr int disk_harms = 5;

/// What is done to the folder before a life begins.
enum class Before { nothing, ledger_of_before, no_ledger };

struct Life {
  std::vector<Visit> visits;
  Stop stop;
  DiskHarm disk;
  Before before = Before::nothing;
  int wall_jump_seconds = 0;    // of the wall clock, in the middle
  bool second_station = false;  // another process tries the same ledger and file
  bool quiet = false;           // nothing is lost on the wires: whoever is new must end VERIFIED
};

struct Story {
  std::uint64_t seed = 0;
  std::string app;         // what the boards' firmware does
  bool automatic = false;  // the station finds out which dialect it speaks; else it is told
  bool stub = false;       // boards are flashed through the stub; else by the ROM
  bool vanishes = false;   // boards have USB of their own: their ports go with every reset and come back
  bool identity = false;   // besides the key
  std::size_t slots = 1;
  std::vector<Mac> boards;  // two may have one MAC
  int keys = 0;
  bool old_marks = false;                            // the file's first row was marked by an earlier script
  std::uint64_t lose_one_of = 0, garble_one_of = 0;  // bytes, on every wire; 0: none
  std::vector<Life> lives;                           // drawn: the last is a quiet one
};

Story draw_story(std::uint64_t seed);
/// For people, a line for each thing that happens.
std::string tell(const Story&);
/// Every story with one thing less than this one, large things first.
std::vector<Story> smaller_stories(const Story&);

/// A field (from 1) of a key (from 1): what the watchers look for.
std::string secret_of(const Story&, int key, int field);
/// In every secret and nowhere else.
constexpr std::string_view secret_mark = "-0123456789ab";

}  // namespace espmint::swarm
