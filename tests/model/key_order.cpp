#include "tests/model/key_order.hpp"

namespace espmint::model {
namespace {

constexpr bool past_return(KeyState state) { return state >= KeyState::exposed; }

/// The acts possible in one state. Each public member is one actor; each act copies the state and changes the copy.
class Acts {
 public:
  Acts(const Setup& setup, const State& now, std::vector<Edge>& out)
      : setup_{setup}, order_{setup.order}, bounds_{setup.bounds}, now_{now}, out_{out} {}

  void hands();
  void disasters();
  void restart(int station);
  void run(int slot);

 private:
  // ---- who belongs to whom
  int station_of(int slot) const { return setup_.stations == 1 ? 0 : slot; }
  int folder_of_station(int station) const { return order_.one_folder ? 0 : station; }
  Folder& folder(State& s, int slot) const { return s.folders[folder_of_station(station_of(slot))]; }
  const Folder& folder(int slot) const { return now_.folders[folder_of_station(station_of(slot))]; }
  int board_in(const State& s, int slot) const {
    for (int b = 0; b < bounds_.boards; ++b)
      if (s.boards[b].slot == slot) return b;
    return none;
  }

  // ---- adding
  void add(Act act, int who, int board, int key, State to, std::string_view how = {}) {
    for (Folder& f : to.folders)
      for (int k = 0; k < bounds_.keys; ++k)
        if (f.has_ledger && past_return(f.ledger[k].state)) f.gone |= static_cast<std::uint8_t>(1 << k);
    out_.push_back({{act, u8(who), u8(board), u8(key), how}, to});
  }
  /// The slot's own act, which ends at `step`.
  void step(Act act, int slot, Step step, State to, std::string_view how = {}) {
    const Slot& was = now_.slots[slot];
    Slot& is = to.slots[slot];
    is.step = step;
    auto board = is.board == none ? was.board : is.board;
    auto key = is.key == none ? was.key : is.key;
    if (step == Step::empty) is = {};
    add(act, slot, board, key, to, how);
  }
  static std::uint8_t u8(int n) { return static_cast<std::uint8_t>(n); }

  // ---- the physical side
  static void lose_power(Board& board) {
    if (board.content == Content::ram) board = {Content::nothing, none, board.slot, board.got};
  }
  /// What a transfer on the wire leaves when the cable goes, or the process (which may have sent all of it).
  std::vector<State> cut_wire(const std::vector<State>& before, int slot, bool may_be_whole) const;
  void unplug_from(State& s, int slot) const {
    s.slots[slot].session = false;
    lose_power(s.boards[board_in(s, slot)]);
    s.boards[board_in(s, slot)].slot = none;
  }
  void dies(State& s, int station) const {
    s.stations[station] = {Phase::down, {}};
    for (int slot = 0; slot < slot_count; ++slot)
      if (station_of(slot) == station) s.slots[slot] = {};
  }
  /// Adds the death of the stations in `mask`, with every fate of what they had on the wire and of an unsynced rename.
  void die(Act act, int who, unsigned mask, bool power, int lost_folder);

  // ---- the CSV
  Row row_of(const Record& record) const {
    std::uint8_t owner = order_.mark_names_board ? record.owner : none;
    if (record.state == KeyState::available) return {};
    return {record.state == KeyState::verified ? Word::verified : Word::open, owner};
  }
  Image projection(const Folder& f) const {
    Image image{};
    for (int k = 0; k < bounds_.keys; ++k) image[k] = row_of(f.ledger[k]);
    return image;
  }
  bool csv_is_free(int slot) const;
  /// temp, rename, sync: the three acts of a rewrite in which the row of the slot's key becomes `row`.
  void rewrite(int slot, Row row, Step temp);
  void rename(int slot, Step renamed);
  void sync(int slot, Step synced);

  // ---- the run
  int open_rows(int slot, int board) const {
    int n = 0;
    for (int k = 0; k < bounds_.keys; ++k) n += folder(slot).ledger[k].owner == board;
    return n;
  }
  void admit(int slot);
  void reserve(int slot, Act act);
  void confirm(int slot);
  void fail(Act act, int slot);
  void commit(Act act, int slot, KeyState to, Step then, std::string_view how = {});

  const Setup& setup_;
  const Order& order_;
  const Bounds& bounds_;
  const State& now_;
  std::vector<Edge>& out_;
};

// ---- hands: plug, unplug, swap, at any moment ----------------------------------------------------------------------

std::vector<State> Acts::cut_wire(const std::vector<State>& before, int slot, bool may_be_whole) const {
  std::vector<State> after;
  for (const State& s : before) {
    after.push_back(s);  // the board keeps what it had
    if (s.slots[slot].step != Step::sent) continue;
    int b = board_in(s, slot);
    after.back().slots[slot].step = Step::stored;
    for (Content content : {Content::half, Content::whole}) {
      if (content == Content::whole && !may_be_whole) continue;
      after.push_back(after[after.size() - 1]);
      after.back().boards[b].content = content;
      after.back().boards[b].key = s.slots[slot].key;
    }
  }
  return after;
}

void Acts::hands() {
  for (int b = 0; b < bounds_.boards; ++b) {
    if (now_.boards[b].slot != none) continue;
    for (int slot = 0; slot < slot_count; ++slot) {
      if (board_in(now_, slot) != none) continue;
      State to = now_;
      to.boards[b].slot = u8(slot);
      add(Act::plug, slot, b, none, to);
    }
  }
  if (now_.swaps == bounds_.swaps) return;
  State spent = now_;
  ++spent.swaps;
  for (int slot = 0; slot < slot_count; ++slot) {
    int b = board_in(now_, slot);
    if (b == none) continue;
    for (State to : cut_wire({spent}, slot, false)) {
      bool half = !(to.boards[b].content == now_.boards[b].content) || to.boards[b].key != now_.boards[b].key;
      std::string_view how = half ? ", which leaves half of the key on it" : "";
      unplug_from(to, slot);
      add(Act::unplug, slot, b, none, to, how);
      for (int other = 0; other < bounds_.boards; ++other) {
        if (now_.boards[other].slot != none) continue;
        State swapped = to;
        swapped.boards[other].slot = u8(slot);
        add(Act::swap, slot, other, none, swapped, how);
      }
    }
  }
  int first = board_in(now_, 0), second = board_in(now_, 1);
  if (first == none || second == none) return;
  for (State to : cut_wire(cut_wire({spent}, 0, false), 1, false)) {
    unplug_from(to, 0);
    unplug_from(to, 1);
    to.boards[first].slot = 1;
    to.boards[second].slot = 0;
    add(Act::exchange, none, none, none, to);
  }
}

// ---- disasters -----------------------------------------------------------------------------------------------------

void Acts::die(Act act, int who, unsigned mask, bool power, int lost_folder) {
  std::vector<State> fates{now_};
  ++(act == Act::lose_ledger ? fates[0].losses : fates[0].crashes);
  for (int slot = 0; slot < slot_count; ++slot)
    if (mask >> station_of(slot) & 1) fates = cut_wire(fates, slot, true);
  for (State& s : fates) {
    for (int station = 0; station < setup_.stations; ++station)
      if (mask >> station & 1) dies(s, station);
    if (power)
      for (Board& board : s.boards) lose_power(board);
    if (lost_folder != none) {
      s.folders[lost_folder].has_ledger = false;
      s.folders[lost_folder].ledger = {};
    }
  }
  for (int f = 0; power && f < most_stations; ++f) {
    std::size_t n = now_.folders[f].csv == now_.folders[f].synced_csv ? 0 : fates.size();
    for (std::size_t i = 0; i < n; ++i) {
      fates.push_back(fates[i]);
      fates.back().folders[f].csv = fates[i].folders[f].synced_csv;
      fates[i].folders[f].synced_csv = fates[i].folders[f].csv;
    }
  }
  bool unsynced = !(now_.folders[0].csv == now_.folders[0].synced_csv);
  for (const State& s : fates) {
    std::string_view how = power ? "by a power cut" : "by a kill";
    if (power && unsynced)
      how = s.folders[0].csv == now_.folders[0].csv ? "by a power cut; the CSV's new image survives"
                                                    : "by a power cut; the CSV's old image comes back";
    add(act, who, none, none, s, how);
  }
}

void Acts::disasters() {
  unsigned up = 0, all = (1U << setup_.stations) - 1;
  for (int station = 0; station < setup_.stations; ++station)
    if (now_.stations[station].phase != Phase::down) up |= 1U << station;
  if (now_.crashes < bounds_.crashes) {
    for (int station = 0; station < setup_.stations; ++station)
      if (up >> station & 1) die(Act::kill, station, 1U << station, false, none);
    die(Act::power_cut, none, all, true, none);
  }
  if (now_.losses == bounds_.losses) return;
  for (int f = 0; f < (order_.one_folder ? 1 : setup_.stations); ++f) {
    unsigned users = order_.one_folder ? all : 1U << f;
    if (!now_.folders[f].has_ledger) continue;
    die(Act::lose_ledger, f, users, false, f);
    die(Act::lose_ledger, f, all, true, f);
  }
}

// ---- the CSV's rewrite ---------------------------------------------------------------------------------------------

bool Acts::csv_is_free(int slot) const {
  if (!order_.one_rewrite_at_a_time) return true;
  for (int other = 0; other < slot_count; ++other) {
    if (station_of(other) != station_of(slot)) continue;
    switch (now_.slots[other].step) {
      case Step::mark_temp:
      case Step::mark_renamed:
      case Step::done_temp:
      case Step::done_renamed:
      case Step::drop_temp:
      case Step::drop_renamed:
        return false;
      default:
        break;
    }
  }
  return true;
}

void Acts::rewrite(int slot, Row row, Step temp) {
  if (!csv_is_free(slot)) return;
  State to = now_;
  Folder& f = folder(to, slot);
  Slot& mine = to.slots[slot];
  mine.temp = order_.marks_one_row ? f.csv : projection(f);
  mine.temp[mine.key] = row;
  std::string_view how = row.word == Word::available ? "available" : row.word == Word::open ? "open" : "VERIFIED";
  if (order_.replaced_by_rename) return step(Act::mark_temp, slot, temp, to, how);
  f.csv = mine.temp;
  f.csv[mine.key] = {Word::blank, none};
  step(Act::write_in_place, slot, temp, to, how);
}

void Acts::rename(int slot, Step renamed) {
  State to = now_;
  folder(to, slot).csv = to.slots[slot].temp;
  to.slots[slot].temp = {};
  step(order_.replaced_by_rename ? Act::mark_rename : Act::end_in_place, slot, renamed, to);
}

void Acts::sync(int slot, Step synced) {
  State to = now_;
  if (!order_.folder_synced) {
    step(Act::skip, slot, synced, to, "does not sync the folder");
    return;
  }
  folder(to, slot).synced_csv = folder(to, slot).csv;
  step(Act::mark_sync, slot, synced, to);
}

// ---- start and recovery --------------------------------------------------------------------------------------------

void Acts::restart(int station) {
  int at = folder_of_station(station);
  State to = now_;
  Folder& f = to.folders[at];
  Station& me = to.stations[station];
  switch (me.phase) {
    case Phase::down:
      for (int other = 0; order_.one_writer && other < setup_.stations; ++other)
        if (folder_of_station(other) == at && now_.stations[other].phase != Phase::down) return;
      me.phase = Phase::started;
      return add(Act::start, station, none, none, to, order_.one_writer ? "and takes the lock" : "without the lock");
    case Phase::started: {
      me.phase = Phase::freed;
      if (f.has_ledger) {
        for (Record& record : f.ledger)
          if (record.state == KeyState::reserved ||
              (record.state == KeyState::exposed && !order_.exposed_survives_crash))
            record = {};
        return add(Act::free_reserved, station, none, none, to);
      }
      if (order_.synced_before_rebuild && !(f.csv == f.synced_csv)) {
        me.phase = Phase::started;
        f.synced_csv = f.csv;
        return add(Act::sync_before_rebuild, station, none, none, to);
      }
      f.has_ledger = true;
      for (int k = 0; k < bounds_.keys; ++k) {
        const Row& row = f.csv[k];
        bool available = row.word == Word::available || (row.word == Word::open && !order_.open_rows_quarantined) ||
                         (row.word == Word::blank && !order_.blank_rows_quarantined);
        f.ledger[k] = available ? Record{} : Record{KeyState::quarantined, row.owner};
      }
      return add(Act::rebuild, station, none, none, to);
    }
    case Phase::freed:
      if (!order_.projected_before_admission) {
        me.phase = Phase::up;
        return add(Act::admit_without_projection, station, none, none, to);
      }
      me.phase = Phase::temp;
      me.temp = projection(f);
      return add(Act::project_temp, station, none, none, to);
    case Phase::temp:
      f.csv = me.temp;
      me = {Phase::renamed, {}};
      return add(Act::project_rename, station, none, none, to);
    case Phase::renamed:
      me.phase = Phase::up;
      if (order_.folder_synced) f.synced_csv = f.csv;
      return add(order_.folder_synced ? Act::project_sync : Act::admit_without_projection, station, none, none, to);
    case Phase::up:
      return;
  }
}

// ---- one board's run -----------------------------------------------------------------------------------------------

void Acts::reserve(int slot, Act act) {
  for (int k = 0; k < bounds_.keys; ++k) {
    if (folder(slot).ledger[k].state != KeyState::available) continue;
    State to = now_;
    to.slots[slot].key = u8(k);
    folder(to, slot).ledger[k] = {KeyState::reserved, now_.slots[slot].board};
    step(act, slot, Step::reserved, to);
  }
}

void Acts::admit(int slot) {
  const Slot& mine = now_.slots[slot];
  if (!mine.session) step(Act::board_left, slot, Step::empty, now_);
  int open = open_rows(slot, mine.board);
  if (open == 0) return reserve(slot, Act::reserve);
  if (open > 1 && order_.duplicates_held) return;  // held: a person decides
  for (int k = 0; k < bounds_.keys; ++k) {
    const Record& record = folder(slot).ledger[k];
    if (record.owner != mine.board || record.state == KeyState::verified) continue;
    State to = now_;
    to.slots[slot].key = u8(k);
    if (record.state == KeyState::reserved) {
      step(Act::take_up_reserved, slot, Step::reserved, to);
    } else if (!order_.same_key_for_same_board) {
      reserve(slot, Act::reserve);
    } else if (mine.session) {
      to.slots[slot].session = false;
      lose_power(to.boards[mine.board]);
      step(Act::resume, slot, Step::rebooted, to);
    }
  }
}

void Acts::fail(Act act, int slot) {
  step(act, slot, Step::empty, now_);  // RESERVED or EXPOSED, the key waits for its board
  if (folder(slot).ledger[now_.slots[slot].key].state != KeyState::reserved) return;
  State to = now_;
  to.slots[slot].session = false;
  step(Act::drop, slot, Step::dropping, to);
}

void Acts::confirm(int slot) {
  int there = board_in(now_, slot);
  State to = now_;
  to.slots[slot].session = true;
  if (there == none || (order_.identified_before_send && there != now_.slots[slot].board))
    return fail(Act::give_up, slot);
  step(order_.identified_before_send ? Act::confirm : Act::confirm_unasked, slot, Step::confirmed, to);
}

/// One transaction: the key's state becomes `to` if the row still is this board's; else the run ends.
void Acts::commit(Act act, int slot, KeyState to, Step then, std::string_view how) {
  const Slot& mine = now_.slots[slot];
  State after = now_;
  Record& record = folder(after, slot).ledger[mine.key];
  if (!folder(slot).has_ledger || record.owner != mine.board) return step(Act::give_up, slot, Step::empty, now_);
  record.state = to;
  step(act, slot, then, after, how);
}

void Acts::run(int slot) {
  if (now_.stations[station_of(slot)].phase != Phase::up) return;
  const Slot& mine = now_.slots[slot];
  State to = now_;
  auto record = [&] { return folder(slot).ledger[mine.key]; };
  auto lost_contact = [&] {
    if (!mine.session) step(Act::give_up, slot, Step::empty, now_);
    return !mine.session;
  };
  switch (mine.step) {
    case Step::empty: {
      int there = board_in(now_, slot);
      if (there == none) return;
      for (int other = 0; other < slot_count; ++other)  // a board is in one slot of its station at a time
        if (station_of(other) == station_of(slot) && now_.slots[other].board == there) return;
      to.slots[slot].board = u8(there);
      to.slots[slot].session = true;
      return step(Act::identify, slot, Step::identified, to);
    }
    case Step::identified:
      return admit(slot);
    case Step::reserved:
      if (!order_.mark_before_exposure) return step(Act::skip, slot, Step::marked, to, "leaves the CSV for later");
      return rewrite(slot, {Word::open, order_.mark_names_board ? mine.board : none}, Step::mark_temp);
    case Step::mark_temp:
      return rename(slot, Step::mark_renamed);
    case Step::mark_renamed:
      return sync(slot, Step::marked);
    case Step::marked:
      return confirm(slot);
    case Step::confirmed:
      if (!order_.exposed_before_send) return step(Act::expose_late, slot, Step::exposed, to);
      if (record().state == KeyState::written) return step(Act::expose, slot, Step::exposed, to, "again");
      return commit(Act::expose, slot, KeyState::exposed, Step::exposed);
    case Step::exposed: {
      if (lost_contact()) return;
      to.boards[board_in(now_, slot)].got |= u8(1 << mine.key);
      return step(Act::send, slot, Step::sent, to);
    }
    case Step::sent: {
      Board& board = to.boards[board_in(now_, slot)];
      step(Act::store, slot, Step::stored, to, "keeps what it had");
      board.key = mine.key;
      board.content = Content::half;
      step(Act::store, slot, Step::stored, to, "stores half of it");
      board.content = Content::ram;
      step(Act::store, slot, Step::stored, to, "has it in RAM only");
      board.content = Content::whole;
      return step(Act::store, slot, Step::stored, to, "stores it");
    }
    case Step::stored:
      if (mine.session) step(Act::answer, slot, Step::answered, to);
      if (!order_.same_key_on_retry) return reserve(slot, Act::retry_with_next_key);
      step(Act::give_up, slot, Step::empty, to);
      to.slots[slot].session = false;
      return step(Act::no_answer, slot, Step::marked, to);
    case Step::answered:
      return commit(Act::write_down, slot, KeyState::written, Step::written);
    case Step::written:
      if (!order_.read_back) return commit(Act::verify_by_banner, slot, KeyState::verified, Step::verified);
      if (lost_contact()) return;
      if (!order_.reset_before_read_back)
        return step(Act::skip, slot, Step::seen_again, to, "does not reset the board");
      to.slots[slot].session = false;
      lose_power(to.boards[board_in(now_, slot)]);
      return step(Act::reset, slot, Step::rebooted, to);
    case Step::rebooted:
      if (board_in(now_, slot) != mine.board) return step(Act::give_up, slot, Step::empty, to);
      to.slots[slot].session = true;
      return step(Act::identify_again, slot, Step::seen_again, to);
    case Step::seen_again: {
      if (lost_contact()) return;
      const Board& board = now_.boards[board_in(now_, slot)];
      if (board.key == mine.key && (board.content == Content::whole || board.content == Content::ram))
        return step(Act::read_back, slot, Step::read_back, to);
      commit(Act::quarantine, slot, KeyState::quarantined, Step::empty);
      to.slots[slot].session = false;
      return step(Act::read_back_differs, slot, Step::marked, to);
    }
    case Step::read_back:
      return commit(Act::verify, slot, KeyState::verified, Step::verified);
    case Step::verified:
      return rewrite(slot, {Word::verified, order_.mark_names_board ? mine.board : none}, Step::done_temp);
    case Step::done_temp:
      return rename(slot, Step::done_renamed);
    case Step::done_renamed:
      return sync(slot, Step::empty);
    case Step::dropping:
      if (order_.unmarked_before_release) return rewrite(slot, {}, Step::drop_temp);
      folder(to, slot).ledger[mine.key] = {};
      return step(Act::free_dropped, slot, Step::dropped, to);
    case Step::drop_temp:
      return rename(slot, Step::drop_renamed);
    case Step::drop_renamed:
      return sync(slot, order_.unmarked_before_release ? Step::dropped : Step::empty);
    case Step::dropped:
      if (!order_.unmarked_before_release) return rewrite(slot, {}, Step::drop_temp);
      folder(to, slot).ledger[mine.key] = {};
      return step(Act::free_dropped, slot, Step::empty, to);
  }
}

}  // namespace

State first_state(const Setup& setup) {
  State s;
  if (setup.stations == 2)
    for (Station& station : s.stations) station.phase = Phase::down;
  return s;
}

void next(const Setup& setup, const State& now, std::vector<Edge>& out) {
  out.clear();
  Acts acts{setup, now, out};
  acts.hands();
  acts.disasters();
  for (int station = 0; station < setup.stations; ++station) acts.restart(station);
  for (int slot = 0; slot < slot_count; ++slot) acts.run(slot);
}

}  // namespace espmint::model
