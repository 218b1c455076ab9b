#include "tests/swarm/life.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include "io/event.hpp"
#include "tests/crash_disk.hpp"
#include "tests/swarm/watchers.hpp"

namespace espmint::swarm {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto patience = 100s;  // of whoever waits for a verdict
constexpr auto longest_life = 3h, between_lives = 5h;
constexpr std::string_view slot_prefix = "sim://";  // a name that no system knows, and none is asked
constexpr std::size_t longest_key_write = 2048;     // no write that carries a key is larger

class Shop final : public WireTap {
 public:
  Shop(const Story& story, const Life& life, World& world, CrashDisk& disk, Bench& bench)
      : story_(story), life_(life), world_(world), disk_(disk), bench_(bench), slots_(story.slots) {
    for (std::size_t n = 0; n < slots_.size(); ++n) {
      slots_[n].name = std::string{slot_prefix} + static_cast<char>('a' + n);
      sim::BoardOptions options;
      options.faults.seed = story.seed * 8 + n;
      options.faults.lose_one_of = life.quiet ? 0 : story.lose_one_of;
      options.faults.garble_one_of = life.quiet ? 0 : story.garble_one_of;
      if (story.vanishes) options.native_usb.away = 300ms;
      bench_.plug_in(slots_[n].name, options, ByteSpan{world.sockets[n]});
      bench_.ports().unplug(slots_[n].name);
    }
    bench_.tap = this;
    bench_.listener.when_step = [this](const std::string& name, Step step) {
      if (step != Step::hand_over) return;
      Slot& at = slot(name);
      ++hand_overs_;
      if (std::exchange(at.handing_over, true)) return;
      if (due(at, Moment::From::listening)) bench_.loop.spawn(strike_later(at, at.visit));
    };
    bench_.listener.when_board = [this](const std::string&, const BoardInfo&) {
      world_.admitted = true;
      ++world_.provisionings;
    };
    bench_.listener.when_done = [this](const std::string& name, const RunOutcome& outcome) {
      see(slot(name), outcome);
    };
    disk_.before_each([this](std::string_view, const std::string&) { point(); });
    set_ledger_crash_hook([this](std::string_view) { point(); });
  }

  /// The bench closes its ledger later, and nobody is here to be told.
  ~Shop() {
    disk_.before_each({});
    set_ledger_crash_hook({});
  }
  Shop(const Shop&) = delete;
  Shop& operator=(const Shop&) = delete;

  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const Slot& slot : slots_) out.push_back(slot.name);
    return out;
  }

  /// Everybody's hands; the life is over when all are done.
  Task<> work() {
    for (std::size_t n = 0; n < slots_.size(); ++n) bench_.loop.spawn(serve(n));
    if (life_.wall_jump_seconds != 0) bench_.loop.spawn(set_the_clock());
    if (life_.second_station) bench_.loop.spawn(try_a_second_station());
    co_return;
  }

  void save() {
    for (Slot& slot : slots_) save(slot);
  }

  /// A line that ends by itself takes back what it had only RESERVED.
  void see_what_is_left() {
    if (life_.disk.kind != DiskHarm::Kind::none || life_.wall_jump_seconds != 0) return;
    auto pool = bench_.ledger().pool();
    for (const PoolKey& key : pool ? *pool : std::vector<PoolKey>{})
      if (key.state == KeyState::reserved)
        world_.accuse(rule::conservation, fmt::format("key {} is left RESERVED", key.number));
  }

  std::optional<std::size_t> on_write(const std::string& name, ByteView bytes) override {
    point();
    Slot& at = slot(name);
    const std::uint64_t count = at.handing_over ? at.writes++ : 0;
    const std::uint64_t keys = bytes.size() <= longest_key_write && at.board ? keys_in(story_, as_text(bytes)) : 0;
    if (keys != 0) {
      sent(at, keys);
      if (life_.stop.at == Stop::At::secret && ++keys_sent_ >= life_.stop.nth) return life_.stop.count;
      if (due(at, Moment::From::secret)) return at.visit->when.count;
    }
    if (due(at, Moment::From::quiet) && at.handing_over) bench_.loop.spawn(strike_when_quiet(at, at.visit, at.writes));
    if (due(at, Moment::From::hand_over) && at.handing_over && count >= at.visit->when.count) return 0;
    return std::nullopt;
  }

  std::size_t when_cut(const std::string& name) override {
    if (life_.stop.at == Stop::At::secret && keys_sent_ >= life_.stop.nth) stop();
    Slot& at = slot(name);
    strike(at);
    return at.visit->harm == Harm::bytes_lost ? at.visit->lost : 0;
  }

 private:
  struct Slot {
    std::string name;
    std::optional<std::size_t> board;
    const Visit* visit = nullptr;
    bool handing_over = false, struck = false, judged = false, must_pass = false;
    std::uint64_t writes = 0;
    std::unique_ptr<Event> changed;
  };

  Slot& slot(const std::string& name) { return slots_[static_cast<std::size_t>(name.back() - 'a')]; }
  static bool due(const Slot& slot, Moment::From from) {
    return slot.visit && slot.visit->harm != Harm::none && !slot.struck && slot.visit->when.from == from;
  }

  [[noreturn]] void stop() {
    stopping_ = true;
    save();
    if (life_.stop.power_cut) disk_.cut_power(story_.seed + points_);
    disk_.keep_for_next_life();
    _exit(stopped_here);
  }

  void point() {
    if (stopping_) return;  // the hook is called for what the cut itself does
    bool counts =
        life_.stop.at == Stop::At::point || (life_.stop.at == Stop::At::hand_over && hand_overs_ >= life_.stop.nth);
    if (counts && points_++ >= life_.stop.count) stop();
  }

  // ---- what is seen

  std::string where(const Slot& at) const {
    return fmt::format("board {} in slot {}", device_of(story_, *at.board), at.name);
  }

  /// Before the first byte of it leaves.
  void sent(Slot& at, std::uint64_t keys) {
    const std::size_t device = device_of(story_, *at.board);
    for (std::size_t board = 0; board < story_.boards.size(); ++board) {
      const World::Board& other = world_.boards[board];
      if (device_of(story_, board) != device && ((other.sent | other.held) & keys))
        world_.accuse(rule::one_board_per_key, fmt::format("{} is sent a key that board {} has", where(at), board));
    }
    World::Board& board = world_.boards[*at.board];
    board.sent |= keys;
    if (std::popcount(board.sent) > 1)
      world_.accuse(rule::one_key_per_board, fmt::format("{} is sent a second key", where(at)));
    constexpr std::uint64_t given_out_by_others = 0b110;  // the marked row, and the one behind it
    if (story_.old_marks && (keys & given_out_by_others))
      world_.accuse(rule::no_return, fmt::format("{} is sent a key that an earlier script has given out", where(at)));
    const int key = std::countr_zero(keys);
    bool written_before = says_exposed(bench_.ledger().pool_keys(key, 1), at);
    // The line's own connection may have met a failing disk since.
    if (!written_before) written_before = says_exposed(key_in(bench_.folder(), key), at);
    if (!written_before)
      world_.accuse(rule::write_ahead, fmt::format("{} is sent key {}, which the ledger does not say", where(at), key));
    std::vector<FileRow> rows = read_rows(story_, bench_.csv());
    if (static_cast<std::size_t>(key) > rows.size() || rows[static_cast<std::size_t>(key - 1)].available)
      world_.accuse(rule::careful_file, fmt::format("{} is sent key {}, which the file offers", where(at), key));
  }

  [[nodiscard]] bool says_exposed(const Result<std::vector<PoolKey>>& known, const Slot& at) const {
    if (!known || known->empty()) return false;
    const PoolKey& row = known->front();
    return row.state != KeyState::available && row.state != KeyState::reserved &&
           row.device == to_string(story_.boards[*at.board]);
  }
  static Result<std::vector<PoolKey>> key_in(const fs::path& folder, int key) {
    std::vector<PoolKey> known = pool_in(folder), out;
    if (known.size() >= static_cast<std::size_t>(key))
      out.push_back(std::move(known[static_cast<std::size_t>(key - 1)]));
    return out;
  }

  void see(Slot& at, const RunOutcome& outcome) {
    world_.verdicts += outcome.board.has_value();
    save(at);
    std::string said = outcome.fault ? describe(*outcome.fault) : std::string{};
    if (said.find(secret_mark) != std::string::npos) world_.accuse(rule::secrecy, "a key is in a fault's text");
    for (const std::string& note : bench_.listener.notes)
      if (note.find(secret_mark) != std::string::npos) world_.accuse(rule::secrecy, "a key is in a note");
    if (outcome.verdict == Verdict::verified) {
      ++world_.verified;
      see_green(at, outcome);
    } else if (life_.quiet && at.board && at.must_pass && outcome.fault &&
               outcome.fault->code != Code::pool_exhausted) {
      world_.accuse(rule::progress,
                    fmt::format("{}, left in peace with no key or its own, is not VERIFIED: {}", where(at), said));
    }
    at.judged = true;
    at.changed->set();
  }

  /// Green may only be what the board itself holds.
  void see_green(const Slot& at, const RunOutcome& outcome) {
    if (!outcome.board) return;
    bool there = false;
    for (std::size_t board = 0; board < story_.boards.size(); ++board) {
      if (story_.boards[board] != outcome.board->mac) continue;
      std::string_view nvs = as_text(ByteView{world_.boards[board].low}.subspan(nvs_at, nvs_bytes));
      for (int key = 1; key <= story_.keys; ++key) there = there || holds_whole_key(story_, nvs, key);
    }
    if (!there)
      world_.accuse(rule::honest_green,
                    fmt::format("slot {} is green for {}, which holds no key", at.name, to_string(outcome.board->mac)));
  }

  // ---- what is done

  void save(Slot& at) {
    if (!at.board) return;
    World::Board& board = world_.boards[*at.board];
    ByteSpan flash = bench_.flash(at.name);
    std::copy_n(flash.begin(), low_flash, board.low.begin());
    if (story_.identity) std::copy_n(flash.begin() + storage_at, storage_bytes, board.storage.begin());
    board.held |= keys_in(story_, as_text(ByteView{board.low}.subspan(nvs_at, nvs_bytes)));
  }

  void load(Slot& at, std::size_t board) {
    ByteSpan flash = bench_.flash(at.name);
    std::copy_n(world_.boards[board].low.begin(), low_flash, flash.begin());
    if (story_.identity) std::copy_n(world_.boards[board].storage.begin(), storage_bytes, flash.begin() + storage_at);
    at.board = board;
  }

  /// A board that comes with the firmware on it, and no key.
  void flash_before(std::size_t board, std::size_t like) {
    auto& low = world_.boards[board].low;
    low = world_.boards[like].low;
    std::fill_n(low.begin() + nvs_at, nvs_bytes, std::uint8_t{0xff});
  }

  [[nodiscard]] bool is_free(std::size_t board) const {
    return std::ranges::none_of(slots_, [board](const Slot& slot) { return slot.board == board; });
  }

  /// Harm's first half, at its moment; the second is the operator's.
  void strike(Slot& at) {
    if (at.struck) return;
    at.struck = true;
    save(at);
    switch (at.visit->harm) {
      case Harm::none:
      case Harm::bytes_lost:
        return;
      case Harm::pulled:
      case Harm::pulled_and_back:
        bench_.ports().unplug(at.name);
        break;
      case Harm::browned_out:
      case Harm::swapped_in_the_fixture:
        cut_supply(at);
        break;
    }
    at.changed->set();
  }

  /// Without an adapter the port goes with the supply.
  void cut_supply(Slot& at) {
    if (story_.vanishes)
      bench_.ports().unplug(at.name);
    else
      bench_.ports().power(at.name, false);
  }

  Task<> strike_later(Slot& at, const Visit* visit) {
    co_await bench_.loop.sleep_for(std::chrono::milliseconds{visit->when.count});
    if (at.visit == visit && !at.judged) strike(at);
  }

  Task<> strike_when_quiet(Slot& at, const Visit* visit, std::uint64_t writes) {
    co_await bench_.loop.sleep_for(std::chrono::milliseconds{visit->when.count});
    if (at.visit == visit && !at.judged && at.writes == writes) strike(at);
  }

  Task<> wait(Slot& at, Duration at_most) {
    using namespace boost::asio::experimental::awaitable_operators;
    co_await (at.changed->wait() || bench_.loop.sleep_for(at_most));
    at.changed = std::make_unique<Event>();
  }

  Task<> serve(std::size_t n) {
    ++busy_;
    Slot& at = slots_[n];
    at.changed = std::make_unique<Event>();
    for (const Visit& visit : life_.visits) {
      if (visit.slot == n && is_free(visit.board)) co_await serve_visit(at, visit);
    }
    if (--busy_ == 0) bench_.interrupt();
  }

  Task<> serve_visit(Slot& at, const Visit& visit) {
    at.visit = &visit;
    at.handing_over = at.struck = at.judged = false;
    at.writes = 0;
    at.must_pass = must_pass(visit);
    world_.boards[visit.board].met = true;
    bench_.ports().replace(at.name, story_.boards[visit.board], true);
    load(at, visit.board);
    bench_.ports().plug(at.name);
    if (due(at, Moment::From::plugged)) {
      co_await wait(at, std::chrono::milliseconds{visit.when.count});
      if (!at.judged) strike(at);
    }
    if (!at.judged && !at.struck) co_await wait(at, patience);
    if (at.struck && !at.judged) co_await undo(at, visit);
    co_await bench_.loop.sleep_for(200ms);
    save(at);
    bench_.ports().unplug(at.name);
    bench_.ports().power(at.name, true);
    at.board.reset();
    at.visit = nullptr;
    co_await bench_.loop.sleep_for(std::chrono::milliseconds{visit.pause_ms});
  }

  /// Harm's second half.
  Task<> undo(Slot& at, const Visit& visit) {
    if (visit.harm == Harm::pulled) co_return;
    // Ports that vanish by themselves: no hand is as fast (docs/decisions/0006).
    co_await bench_.loop.sleep_for(story_.vanishes ? 1500ms : 400ms);
    if (visit.harm == Harm::swapped_in_the_fixture && is_free(visit.other)) {
      save(at);
      if (!world_.boards[visit.other].met) flash_before(visit.other, *at.board);
      world_.boards[visit.other].met = true;
      at.must_pass = false;
      bench_.ports().replace(at.name, story_.boards[visit.other], true);
      load(at, visit.other);
    }
    bench_.ports().power(at.name, true);
    bench_.ports().plug(at.name);
    at.judged = false;
    co_await wait(at, patience);
  }

  /// All of the key that the ledger has given out for it, and no other.
  [[nodiscard]] bool holds_its_key(std::size_t board) const {
    const World::Board& it = world_.boards[board];
    if (std::popcount(it.sent | it.held) != 1) return false;
    const int key = std::countr_zero(it.sent | it.held);
    if (!holds_whole_key(story_, as_text(ByteView{it.low}.subspan(nvs_at, nvs_bytes)), key)) return false;
    auto known = bench_.ledger().pool_keys(key, 1);
    if (!known || known->front().device != to_string(story_.boards[board])) return false;
    const KeyState state = known->front().state;
    return state == KeyState::exposed || state == KeyState::written || state == KeyState::verified;
  }

  /// A board left in peace that was never sent a key or holds its own, with firmware that proves it.
  [[nodiscard]] bool must_pass(const Visit& visit) const {
    const World::Board& board = world_.boards[visit.board];
    bool able = story_.app == "old3" || story_.app.starts_with("device-");
    bool alone = std::ranges::count(story_.boards, story_.boards[visit.board]) == 1;
    // After a lost ledger a mark in the file keeps a key for a board that never got it.
    bool known =
        board.met && std::ranges::any_of(story_.lives, [](const Life& life) { return life.before != Before::nothing; });
    if (!able || !alone || known || visit.harm != Harm::none) return false;
    return (board.sent == 0 && board.held == 0) || holds_its_key(visit.board);
  }

  Task<> set_the_clock() {
    co_await bench_.loop.sleep_for(3s);
    bench_.loop.shift_wall(std::chrono::seconds{life_.wall_jump_seconds});
  }

  /// It must be refused whatever it tries first.
  Task<> try_a_second_station() {
    co_await bench_.loop.sleep_for(5s);
    VirtualLoop its_clock;
    if (Ledger::open(bench_.folder() / "ledger", {LedgerOptions::Mode::write, "thermostat", "other"}, its_clock))
      world_.accuse(rule::one_station, "a second process opened the ledger for writing");
    auto another =
        Ledger::open(bench_.folder() / "other", {LedgerOptions::Mode::write, "thermostat", "other"}, its_clock);
    if (another && KeyFile::open(bench_.csv(), **another, {.holder = "other"}))
      world_.accuse(rule::one_station, "a second process with a ledger of its own took the keys' file");
  }

  const Story& story_;
  const Life& life_;
  World& world_;
  CrashDisk& disk_;
  Bench& bench_;
  std::vector<Slot> slots_;
  bool stopping_ = false;
  std::uint64_t points_ = 0, hand_overs_ = 0, keys_sent_ = 0;
  std::size_t busy_ = 0;
};

void harm(CrashDisk& disk, const DiskHarm& harm) {
  switch (harm.kind) {
    case DiskHarm::Kind::none:
      break;
    case DiskHarm::Kind::full:
      disk.fail_at(harm.nth, CrashDisk::Error::enospc, harm.once);
      break;
    case DiskHarm::Kind::short_write:
      disk.fail_at(harm.nth, CrashDisk::Error::short_write, harm.once);
      break;
    case DiskHarm::Kind::failing:
      disk.fail_at(harm.nth, CrashDisk::Error::eio, harm.once);
      break;
    case DiskHarm::Kind::read_only:
      disk.fail_at(harm.nth, CrashDisk::Error::read_only, harm.once);
      break;
  }
}

Handshake handshake_of(const Story& story) {
  if (story.automatic) return Handshake::automatic;
  return story.app.find("framed") == std::string::npos ? Handshake::line : Handshake::framed;
}

}  // namespace

void live(const Story& story, std::size_t n, World& world, const fs::path& folder, Workshop& workshop) {
  const Life& life = story.lives[n];
  CrashDisk disk{folder};
  harm(disk, life.disk);
  try {
    Bench bench{Seed{story.seed * 16 + n}, folder, {story.app, {}, handshake_of(story)}, &workshop};
    bench.loop.shift_wall(between_lives * static_cast<std::int64_t>(n));
    Shop shop{story, life, world, disk, bench};
    bench.options.use_stub = bench.options.use_stub && story.stub;
    LineOptions options;
    options.ports = shop.names();
    bench.run(options, shop.work(), longest_life);
    shop.save();
    shop.see_what_is_left();
  } catch (const std::exception& refused) {
    // A ledger or a file that cannot be opened: no board is prepared.
    if (life.quiet) world.accuse(rule::progress, refused.what());
  }
  disk.keep_for_next_life();
  _exit(0);
}

}  // namespace espmint::swarm
