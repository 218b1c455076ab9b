// Who looks, and at what: the watchers know boards, files and records, but no step and no rule. Below them, the orders
// that they must catch.
#include "tests/model/key_order.hpp"

namespace espmint::model {
namespace {

constexpr bool has(std::uint8_t mask, int bit) { return mask >> bit & 1; }

template <class Holds>
bool in_each_folder(const Setup& setup, const State& s, Holds&& holds) {
  for (int f = 0; f < (setup.order.one_folder ? 1 : most_stations); ++f)
    for (int k = 0; k < setup.bounds.keys; ++k)
      if (!holds(s.folders[f], k)) return false;
  return true;
}

bool each_key_has_one_state(const Setup& setup, const State& s) {
  int counted = 0;
  return in_each_folder(setup, s, [&](const Folder& f, int k) {
    const auto& [state, owner] = f.ledger[k];
    bool owned = owner < setup.bounds.boards;
    switch (state) {
      case KeyState::available:
        return owner == none && ++counted;
      case KeyState::reserved:
      case KeyState::exposed:
      case KeyState::written:
      case KeyState::verified:
        return owned && ++counted;
      case KeyState::quarantined:
        return (owned || owner == none) && ++counted;
    }
    return false;
  });
}

bool one_key_one_board(const Setup& setup, const State& s) {
  for (int b = 0; b < setup.bounds.boards; ++b)
    for (int other = 0; other < b; ++other)
      if (s.boards[b].got & s.boards[other].got) return false;
  return in_each_folder(setup, s, [&](const Folder& f, int k) {
    const Record& record = f.ledger[k];
    if (record.state < KeyState::exposed || record.owner == none) return true;
    for (int b = 0; b < setup.bounds.boards; ++b)
      if (b != record.owner && has(s.boards[b].got, k)) return false;
    return true;
  });
}

bool one_board_one_key(const Setup& setup, const State& s) {
  for (int b = 0; b < setup.bounds.boards; ++b)
    if (s.boards[b].got & (s.boards[b].got - 1)) return false;
  return true;
}

bool written_ahead(const Setup& setup, const State& s) {
  std::uint8_t exposed = s.folders[0].gone | s.folders[1].gone;
  for (int b = 0; b < setup.bounds.boards; ++b)
    if (s.boards[b].got & ~exposed) return false;
  return true;
}

bool no_return(const Setup& setup, const State& s) {
  return in_each_folder(setup, s, [](const Folder& f, int k) {
    return !f.has_ledger || !has(f.gone, k) || f.ledger[k].state >= KeyState::exposed;
  });
}

bool honest_pass(const Setup& setup, const State& s) {
  return in_each_folder(setup, s, [&](const Folder& f, int k) {
    if (f.ledger[k].state != KeyState::verified) return true;
    const Board& board = s.boards[f.ledger[k].owner];
    return board.content == Content::whole && board.key == k;
  });
}

bool pessimistic_csv(const Setup& setup, const State& s) {
  return in_each_folder(setup, s, [](const Folder& f, int k) {
    bool available = f.csv[k].word == Word::available || f.synced_csv[k].word == Word::available;
    return !available || !has(f.gone, k);
  });
}

constexpr std::array all_watchers{
    Watcher{Watch::i1, "I1", "each key is in exactly one state, and has an owner where the state has one",
            each_key_has_one_state},
    Watcher{Watch::i4, "I4", "no byte of a key reached a board before the ledger had it as EXPOSED or later",
            written_ahead},
    Watcher{Watch::i2, "I2", "a key reaches one board, the one on record", one_key_one_board},
    Watcher{Watch::i3, "I3", "a board is given one key", one_board_one_key},
    Watcher{Watch::i7, "I7", "a VERIFIED key is whole on its board, and survives a reset", honest_pass},
    Watcher{Watch::i5, "I5", "no key that was EXPOSED or later is AVAILABLE or RESERVED again", no_return},
    Watcher{Watch::i14, "I14", "no image of the CSV that may survive says available of a key that was EXPOSED or later",
            pessimistic_csv},
};

constexpr std::array broken{
    Variant{"mark-after-write", "EXPOSED is recorded once the board has answered", Watch::i4, 1,
            [](Order& o) { o.exposed_before_send = false; }},
    Variant{"crash-frees-exposed", "a restart frees EXPOSED keys along with RESERVED ones", Watch::i5, 1,
            [](Order& o) { o.exposed_survives_crash = false; }},
    Variant{"no-mark-before-exposure", "the CSV is marked at the end only", Watch::i14, 1,
            [](Order& o) { o.mark_before_exposure = false; }},
    Variant{"no-folder-sync", "a rename is taken for durable", Watch::i14, 1,
            [](Order& o) { o.folder_synced = false; }},
    Variant{"rewrites-interleave", "two slots rewrite the CSV at the same time", Watch::i14, 1,
            [](Order& o) { o.one_rewrite_at_a_time = false; }},
    Variant{"csv-written-in-place", "no temporary file and rename: a cut leaves a row without a word", Watch::i3, 1,
            [](Order& o) { o.replaced_by_rename = false; }},
    Variant{"blank-row-is-available", "written in place, and after a loss of the ledger a blank row is available",
            Watch::i5, 1, [](Order& o) { o.replaced_by_rename = o.blank_rows_quarantined = false; }},
    Variant{"open-row-is-available", "after a loss of the ledger every row that is not VERIFIED is available",
            Watch::i5, 1, [](Order& o) { o.open_rows_quarantined = false; }},
    Variant{"rebuild-from-unsynced-csv", "after a loss of the ledger a rename is believed that a power cut may undo",
            Watch::i14, 1, [](Order& o) { o.synced_before_rebuild = false; }},
    Variant{"mark-without-identity", "a marked row does not say whose the key is", Watch::i3, 1,
            [](Order& o) { o.mark_names_board = false; }},
    Variant{"no-second-identification", "the port is opened again and the key sent to who is there", Watch::i2, 1,
            [](Order& o) { o.identified_before_send = false; }},
    Variant{"new-key-for-replugged-board", "a board that comes back with an open row gets the next key", Watch::i3, 1,
            [](Order& o) { o.same_key_for_same_board = false; }},
    Variant{"retry-with-next-key", "after a failed transfer the next key is tried", Watch::i3, 1,
            [](Order& o) { o.same_key_on_retry = false; }},
    Variant{"pass-by-banner", "VERIFIED when the board says so, nothing is read back", Watch::i7, 1,
            [](Order& o) { o.read_back = false; }},
    Variant{"read-back-without-reset", "what the board answers before a reset counts", Watch::i7, 1,
            [](Order& o) { o.reset_before_read_back = false; }},
    Variant{"free-before-unmark", "a released key is AVAILABLE while its row is still to be rewritten", Watch::i14, 1,
            [](Order& o) { o.unmarked_before_release = false; }},
    Variant{"stale-marks-and-duplicates", "freed keys are not projected again, boards with two open rows not held",
            Watch::i3, 1, [](Order& o) { o.projected_before_admission = o.duplicates_held = false; }},
    Variant{"second-writer", "a second station opens the same ledger without the lock", Watch::i14, 2,
            [](Order& o) { o.one_writer = false; }},
    Variant{"copied-folders", "two stations, each with a copy of ledger and CSV", Watch::i2, 2,
            [](Order& o) { o.one_folder = false; }},
};

constexpr std::array sound{
    Variant{"right-order", "the order of docs/ledger.md", Watch::i1, 1, [](Order&) {}},
    Variant{"two-stations", "the second is refused by the lock until the first is gone", Watch::i1, 2, [](Order&) {}},
    Variant{"stale-marks-only", "freed keys are not projected again; duplicates are held", Watch::i1, 1,
            [](Order& o) { o.projected_before_admission = false; }},
    Variant{"duplicates-only", "boards with two open rows are not held; freed keys are projected again", Watch::i1, 1,
            [](Order& o) { o.duplicates_held = false; }},
    Variant{"blank-trusted-only", "a blank row is available; but the CSV is replaced by rename, so none is blank",
            Watch::i1, 1, [](Order& o) { o.blank_rows_quarantined = false; }},
    Variant{"mark-projects-all", "a mark projects the whole ledger instead of changing its row", Watch::i1, 1,
            [](Order& o) { o.marks_one_row = false; }},
};

}  // namespace

std::span<const Watcher> watchers() { return all_watchers; }

const Watcher* violated(const Setup& setup, const State& state) {
  for (const Watcher& watcher : all_watchers)
    if (!watcher.holds(setup, state)) return &watcher;
  return nullptr;
}

bool all_verified(const Setup& setup, const State& state) {
  int verified = 0;
  for (const Record& record : state.folders[0].ledger) verified += record.state == KeyState::verified;
  return verified == setup.bounds.boards;
}

std::span<const Variant> broken_orders() { return broken; }
std::span<const Variant> sound_orders() { return sound; }

Setup Variant::setup(Bounds bounds) const {
  Setup setup{.bounds = bounds, .stations = stations};
  spoil(setup.order);
  return setup;
}

}  // namespace espmint::model
