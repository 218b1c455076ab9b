// tests/model/key_order.hpp: the order in which keys are handed to boards, small enough to visit every state it can
// reach.
//
//   Setup setup{.bounds = {.boards = 2, .keys = 2}};
//   Report report = search(setup);                     // search.hpp: every state, or the shortest way to a violation
//
// The rules are docs/ledger.md's, the states and acts are listed in docs/model.md. The model shares nothing with src/:
// it proves the order, other tests prove that the program keeps it. Pure: no clock, files or randomness.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace espmint::model {

inline constexpr int slot_count = 2;
inline constexpr int most_stations = 2;
inline constexpr int most_boards = 3;
inline constexpr int most_keys = 3;
/// For a board's number, a key's or a slot's: there is none.
inline constexpr std::uint8_t none = 3;

// ---- what lasts ----------------------------------------------------------------------------------------------------

enum class KeyState : std::uint8_t { available, reserved, exposed, written, verified, quarantined };

struct Record {
  KeyState state = KeyState::available;
  std::uint8_t owner = none;
  bool operator==(const Record&) const = default;
};

/// What a row of the CSV says. `open` stands for RESERVED, EXPOSED, WRITTEN and QUARANTINED: no rule tells them apart.
enum class Word : std::uint8_t { available, open, verified, blank };

struct Row {
  Word word = Word::available;
  std::uint8_t owner = none;
  bool operator==(const Row&) const = default;
};
using Image = std::array<Row, most_keys>;

/// A state folder: the ledger, whose commits are atomic and durable, and the CSV, whose last rename may not be.
struct Folder {
  bool has_ledger = true;
  std::array<Record, most_keys> ledger{};
  Image csv{};            // what a reader sees
  Image synced_csv{};     // what a power cut may bring back; differs between rename and the folder's fsync
  std::uint8_t gone = 0;  // for the watchers: bit k is set once key k was EXPOSED or later here
  bool operator==(const Folder&) const = default;
};

/// `half`: a cut transfer that may count as the key. `ram`: the board answers with the key until it is reset.
enum class Content : std::uint8_t { nothing, half, whole, ram };

struct Board {
  Content content = Content::nothing;
  std::uint8_t key = none;
  std::uint8_t slot = none;
  std::uint8_t got = 0;  // for the watchers: bit k is set once any byte of key k reached this board
  bool operator==(const Board&) const = default;
};

// ---- what a process remembers --------------------------------------------------------------------------------------

enum class Step : std::uint8_t {
  empty,
  identified,    // the first identification
  reserved,      // the ledger holds the key for this board
  mark_temp,     // the CSV's next image is written and synced under another name
  mark_renamed,  // … has the CSV's name
  marked,        // … and the folder is synced
  confirmed,     // port opened again, the same board identified
  exposed,       // EXPOSED is durable
  sent,          // bytes are on the wire
  stored,        // the board has done with them what it does
  answered,      // the board said that it is provisioned
  written,       // WRITTEN is durable
  rebooted,      // reset, not yet identified
  seen_again,    // the same board identified after the reset
  read_back,     // it answered with the key
  verified,      // VERIFIED is durable
  done_temp,
  done_renamed,
  dropping,  // the board left before exposure: its key is to be released
  drop_temp,
  drop_renamed,
  dropped,
};

struct Slot {
  Step step = Step::empty;
  std::uint8_t board = none;
  std::uint8_t key = none;
  bool session = false;  // an open port; unplugging the board closes it for good
  Image temp{};
  bool operator==(const Slot&) const = default;
};

enum class Phase : std::uint8_t { down, started, freed, temp, renamed, up };

struct Station {
  Phase phase = Phase::up;
  Image temp{};
  bool operator==(const Station&) const = default;
};

struct State {
  std::array<Folder, most_stations> folders{};
  std::array<Board, most_boards> boards{};
  std::array<Slot, slot_count> slots{};
  std::array<Station, most_stations> stations{};
  std::uint8_t swaps = 0, crashes = 0, losses = 0;  // spent so far
  bool operator==(const State&) const = default;
};

// ---- the order, and how much may go wrong --------------------------------------------------------------------------

/// One rule per field; all of them true is the right order.
struct Order {
  bool exposed_before_send = true;         // EXPOSED durable, then the first secret byte
  bool exposed_survives_crash = true;      // a restart frees RESERVED keys only
  bool mark_before_exposure = true;        // the CSV's row is marked before EXPOSED
  bool folder_synced = true;               // a rename counts once the folder is synced
  bool replaced_by_rename = true;          // the CSV is never written in place
  bool one_rewrite_at_a_time = true;       // slots take turns at the CSV
  bool mark_names_board = true;            // a marked row says whose the key is
  bool identified_before_send = true;      // the port is opened again, then asked who is there
  bool same_key_for_same_board = true;     // a board that comes back gets what was EXPOSED for it
  bool same_key_on_retry = true;           // a failed transfer is repeated with the key in hand
  bool read_back = true;                   // a banner is no evidence
  bool reset_before_read_back = true;      // neither is what a board says before it was reset
  bool unmarked_before_release = true;     // a released key is available in the CSV first, in the ledger then
  bool projected_before_admission = true;  // a restart rewrites the CSV before any board is admitted
  bool synced_before_rebuild = true;       // ledger lost: the folder is synced before the CSV is believed
  bool open_rows_quarantined = true;       // ledger lost: a row that is not `available` is not available
  bool blank_rows_quarantined = true;      // … not even one without a word
  bool duplicates_held = true;             // a board with two open rows is never written
  bool one_writer = true;                  // a second station is refused by the lock
  bool one_folder = true;                  // both stations use one ledger, not copies of it
  bool marks_one_row = true;               // either will do: a mark changes its row, or projects the whole ledger
};

struct Bounds {
  int boards = 2;
  int keys = 2;
  int swaps = 2;    // unplugs and swaps; plugging in is free
  int crashes = 1;  // kills and power cuts
  int losses = 1;   // of the whole ledger, by a kill or a power cut
};

struct Setup {
  Order order{};
  Bounds bounds{};
  int stations = 1;  // two: slot 1 belongs to the first, slot 2 to the second
};

State first_state(const Setup&);

// ---- acts ----------------------------------------------------------------------------------------------------------

enum class Act : std::uint8_t {
  plug,
  unplug,
  swap,
  exchange,
  kill,
  power_cut,
  lose_ledger,
  start,
  sync_before_rebuild,
  rebuild,
  free_reserved,
  project_temp,
  project_rename,
  project_sync,
  admit_without_projection,
  identify,
  board_left,
  reserve,
  take_up_reserved,
  resume,
  mark_temp,
  mark_rename,
  mark_sync,
  write_in_place,
  end_in_place,
  skip,
  confirm,
  confirm_unasked,
  give_up,
  drop,
  expose,
  expose_late,
  send,
  store,
  answer,
  no_answer,
  retry_with_next_key,
  write_down,
  reset,
  identify_again,
  read_back,
  read_back_differs,
  quarantine,
  verify,
  verify_by_banner,
  free_dropped,
  count,
};

/// One step of the world. `who` is a slot, or a station for the acts of a process.
struct Action {
  Act act = Act::plug;
  std::uint8_t who = none;
  std::uint8_t board = none;
  std::uint8_t key = none;
  std::string_view how{};  // "and half of the key stays on the board"
};
std::string in_words(const Action&);

struct Edge {
  Action action;
  State to;
};

/// Everything that can happen next; replaces what `out` held.
void next(const Setup&, const State&, std::vector<Edge>& out);

// ---- watchers: they ask boards, wire and files, and know no order ---------------------------------------------------

enum class Watch : std::uint8_t { i1, i2, i3, i4, i5, i7, i14 };

struct Watcher {
  Watch watch;
  std::string_view name;       // "I2"
  std::string_view statement;  // "one key reached one board"
  bool (*holds)(const Setup&, const State&);
};
std::span<const Watcher> watchers();

/// The first that does not hold, or nullptr.
const Watcher* violated(const Setup&, const State&);

/// True when every board is VERIFIED: that the model can get there shows that it is not proved by standing still.
bool all_verified(const Setup&, const State&);

// ---- broken orders -------------------------------------------------------------------------------------------------

/// A shortcut that looks harmless, and who must catch it.
struct Variant {
  std::string_view name;  // "mark-after-write"
  std::string_view what;
  Watch caught_by;
  int stations = 1;
  void (*spoil)(Order&);
  Setup setup(Bounds) const;
};
std::span<const Variant> broken_orders();

/// Orders that lack one of two defences, or choose another of two ways, and hold all the same.
std::span<const Variant> sound_orders();

// ---- packing -------------------------------------------------------------------------------------------------------

struct Packed {
  std::uint64_t low = 0, high = 0;
  bool operator==(const Packed&) const = default;
  auto operator<=>(const Packed&) const = default;
};

Packed pack(const Setup&, const State&);
State unpack(const Setup&, Packed);
/// False where a state has more than 128 bits: three of all and copied folders.
bool fits(const Setup&);

/// `sorted`: those that bring boards, keys and slots into the order of what they are; at least one, the same set of
/// states for every renumbering of a state.
enum class Numberings : std::uint8_t { all, sorted };

/// The same state with its boards, keys and slots (and stations, with their folders) numbered otherwise.
void renumbered(const Setup&, const State&, Numberings, std::vector<State>& out);

}  // namespace espmint::model
