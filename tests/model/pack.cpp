// A state in 128 bits, and its other numberings.
#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "tests/model/key_order.hpp"

namespace espmint::model {
namespace {

/// Gives each field of a state its bits, in one order for all who write, read or count them.
template <class Bits>
void lay_out(const Setup& setup, State& s, Bits& bits) {
  const Bounds& bounds = setup.bounds;
  auto row = [&](Row& r) {
    bits(r.word, 2);
    bits(r.owner, 2);
  };
  auto image = [&](Image& i) {
    for (int k = 0; k < bounds.keys; ++k) row(i[k]);
  };
  for (int p = 0; p < setup.stations; ++p) bits(s.stations[p].phase, 3);
  for (int f = 0; f < (setup.order.one_folder ? 1 : setup.stations); ++f) {
    Folder& folder = s.folders[f];
    bits(folder.has_ledger, 1);
    bits(folder.gone, bounds.keys);
    for (int k = 0; k < bounds.keys; ++k) {
      bits(folder.ledger[k].state, 3);
      bits(folder.ledger[k].owner, 2);
    }
    image(folder.csv);
    image(folder.synced_csv);
  }
  for (int b = 0; b < bounds.boards; ++b) {
    Board& board = s.boards[b];
    bits(board.content, 2);
    bits(board.key, 2);
    bits(board.slot, 2);
    bits(board.got, bounds.keys);
  }
  for (int i = 0; i < slot_count; ++i) {
    Slot& slot = s.slots[i];
    bits(slot.step, 5);
    bits(slot.board, 2);
    bits(slot.key, 2);
    bits(slot.session, 1);
    // While a station projects, none of its slots runs: the two images share their place.
    bool projects = i < setup.stations && s.stations[i].phase == Phase::temp;
    image(projects ? s.stations[i].temp : slot.temp);
  }
  bits(s.swaps, 2);
  bits(s.crashes, 2);
  bits(s.losses, 2);
}

struct Writer {
  Packed out{};
  int at = 0;
  template <class T>
  void operator()(T& field, int width) {
    auto value = static_cast<std::uint64_t>(field);
    if (at < 64) out.low |= value << at;
    if (at >= 64) out.high |= value << (at - 64);
    if (at < 64 && at + width > 64) out.high |= value >> (64 - at);
    at += width;
  }
};

struct Reader {
  Packed in;
  int at = 0;
  template <class T>
  void operator()(T& field, int width) {
    std::uint64_t value = at < 64 ? in.low >> at : in.high >> (at - 64);
    if (at < 64 && at + width > 64) value |= in.high << (64 - at);
    field = static_cast<T>(value & ((std::uint64_t{1} << width) - 1));
    at += width;
  }
};

struct Counter {
  int at = 0;
  template <class T>
  void operator()(T&, int width) {
    at += width;
  }
};

using Numbering = std::array<std::uint8_t, 4>;  // old number → new; 3 is nobody and stays

std::vector<Numbering> numberings(int n) {
  std::vector<Numbering> all;
  Numbering p{0, 1, 2, 3};
  do all.push_back(p);
  while (std::next_permutation(p.begin(), p.begin() + n));
  return all;
}

std::uint8_t renumber_mask(std::uint8_t mask, const Numbering& keys) {
  std::uint8_t out = 0;
  for (int k = 0; k < most_keys; ++k)
    if (mask >> k & 1) out |= static_cast<std::uint8_t>(1 << keys[k]);
  return out;
}

State renumber(const Setup& setup, const State& s, const Numbering& boards, const Numbering& keys,
               const Numbering& slots) {
  State to = s;
  auto image = [&](const Image& from) {
    Image out{};
    for (int k = 0; k < most_keys; ++k) out[keys[k]] = {from[k].word, boards[from[k].owner]};
    return out;
  };
  for (int f = 0; f < most_stations; ++f) {
    const Folder& from = s.folders[f];
    Folder& folder = to.folders[setup.order.one_folder ? f : slots[f]];
    folder.has_ledger = from.has_ledger;
    for (int k = 0; k < most_keys; ++k) folder.ledger[keys[k]] = {from.ledger[k].state, boards[from.ledger[k].owner]};
    folder.csv = image(from.csv);
    folder.synced_csv = image(from.synced_csv);
    folder.gone = renumber_mask(from.gone, keys);
  }
  for (int b = 0; b < most_boards; ++b) {
    const Board& from = s.boards[b];
    to.boards[boards[b]] = {from.content, keys[from.key], slots[from.slot], renumber_mask(from.got, keys)};
  }
  for (int i = 0; i < slot_count; ++i) {
    const Slot& from = s.slots[i];
    to.slots[slots[i]] = {from.step, boards[from.board], keys[from.key], from.session, image(from.temp)};
  }
  for (int p = 0; p < most_stations; ++p)
    to.stations[setup.stations == 1 ? p : slots[p]] = {s.stations[p].phase, image(s.stations[p].temp)};
  return to;
}

/// What of a board, key or slot does not depend on any numbering: numberings that sort by it are enough to compare.
struct Ranks {
  std::array<int, most_boards> boards{};
  std::array<int, most_keys> keys{};
  std::array<int, slot_count> slots{};
};

Ranks ranks_of(const Setup& setup, const State& s) {
  Ranks ranks;
  for (int b = 0; b < setup.bounds.boards; ++b) {
    const Board& board = s.boards[b];
    ranks.boards[b] = static_cast<int>(board.content) << 2 | (board.slot != none) << 1 | (board.got != 0);
  }
  if (setup.order.one_folder) {  // else a key's state depends on which of two folders is the first
    const Folder& f = s.folders[0];
    for (int k = 0; k < setup.bounds.keys; ++k)
      ranks.keys[k] = static_cast<int>(f.ledger[k].state) << 2 | static_cast<int>(f.csv[k].word);
  }
  for (int i = 0; i < slot_count; ++i) {
    int phase = setup.stations == 1 ? 0 : static_cast<int>(s.stations[i].phase);
    ranks.slots[i] = phase << 6 | static_cast<int>(s.slots[i].step) << 1 | s.slots[i].session;
  }
  return ranks;
}

template <class Rank>
bool sorts(const Numbering& numbering, const Rank& rank, int n) {
  for (int a = 0; a < n; ++a)
    for (int b = 0; b < n; ++b)
      if (numbering[a] < numbering[b] && rank[a] > rank[b]) return false;
  return true;
}

}  // namespace

Packed pack(const Setup& setup, const State& state) {
  Writer writer;
  lay_out(setup, const_cast<State&>(state), writer);  // a writer only reads
  return writer.out;
}

State unpack(const Setup& setup, Packed packed) {
  State state;
  Reader reader{packed};
  lay_out(setup, state, reader);
  return state;
}

bool fits(const Setup& setup) {
  State state;
  Counter counter;
  lay_out(setup, state, counter);
  return counter.at <= 128;
}

void renumbered(const Setup& setup, const State& state, Numberings which, std::vector<State>& out) {
  static const std::array<std::vector<Numbering>, 4> all{numberings(0), numberings(1), numberings(2), numberings(3)};
  const Ranks ranks = which == Numberings::sorted ? ranks_of(setup, state) : Ranks{};
  out.clear();
  for (const Numbering& boards : all[setup.bounds.boards]) {
    if (!sorts(boards, ranks.boards, setup.bounds.boards)) continue;
    for (const Numbering& keys : all[setup.bounds.keys]) {
      if (!sorts(keys, ranks.keys, setup.bounds.keys)) continue;
      for (const Numbering& slots : all[slot_count])
        if (sorts(slots, ranks.slots, slot_count)) out.push_back(renumber(setup, state, boards, keys, slots));
    }
  }
}

}  // namespace espmint::model
