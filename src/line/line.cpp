#include "line/line.hpp"

#include <algorithm>
#include <array>

#include "io/returning_port.hpp"
#include "io/system_ports.hpp"
#include "rom/connect.hpp"
#include "rom/diagnosis.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr auto reopen_pause = 250ms;  // a network port whose board is away
constexpr auto look_again = 1000ms;   // an adapter that stays while boards come and go

bool is_local_port(const std::string& name) { return name.find("://") == std::string::npos; }
bool is_port_away(const Fault& fault) { return fault.code == Code::port_gone || fault.code == Code::port_failed; }
bool is_unusable(const Fault& fault) {
  return fault.code == Code::port_denied || fault.code == Code::port_busy || fault.code == Code::port_claimed;
}
bool nobody_answered(const RunOutcome& outcome) {
  return !outcome.board && outcome.fault && met_no_board(outcome.fault->code);
}
/// The chips' own USB-Serial-JTAG peripheral.
bool is_usb_serial_jtag(const PortInfo& port) { return port.vendor_id == 0x303a && port.product_id == 0x1001; }

}  // namespace

Exit LineSummary::exit() const {
  if (stopped_by) return exit_of(stopped_by->code);
  if (interrupted) return Exit::interrupted;
  if (failed == 0) return Exit::good;
  // Only ports that never had a board behind them: that is a matter of ports, not of boards.
  std::uint64_t of_ports = 0;
  for (const auto& [name, boards] : causes)
    for (const CodeSpec& row : fault_codes)
      if (row.name == name && row.exit == Exit::port) of_ports += boards;
  return of_ports == failed && passed == 0 ? Exit::port : Exit::board_failed;
}

struct Line::Slot {
  std::string name;
  PortInfo info;
  bool named = false;                    // by --port: it is waited for; the others live as long as their node
  bool absent = false;                   // says the hot-plug
  bool served = false;                   // a board has been here
  std::optional<Instant> tried_since{};  // to open a port that is there and goes again
  std::unique_ptr<ReturningPort> port;
  BoardRun* running = nullptr;
};

Line::Line(Loop& loop, Station& station, PortOpener& opener, PortWatcher* watcher, LineObserver& observer,
           LineOptions options)
    : loop_(loop),
      station_(station),
      opener_(opener),
      watcher_(watcher),
      observer_(observer),
      options_(std::move(options)),
      ended_(std::make_unique<Event>()) {}

Line::~Line() = default;

bool Line::full() const { return options_.count && counted_.size() >= *options_.count; }

/// Boards under way may still fail; then another one takes the place.
bool Line::may_start() const { return !options_.count || counted_.size() + running_ < *options_.count; }

void Line::drain(std::optional<Fault> why) {
  if (why && !summary_.stopped_by) summary_.stopped_by = std::move(why);
  draining_ = true;
  for (auto& [location, slot] : slots_)
    if (slot->port && !slot->running) slot->port->close();
  if (living_ == 0) ended_->set();
}

void Line::halt(std::optional<Fault> why) {
  halted_ = true;
  station_.stopping = true;
  drain(std::move(why));
  for (auto& [location, slot] : slots_)
    if (slot->running && !slot->running->exposed()) slot->port->close();
}

void Line::interrupt() {
  summary_.interrupted = true;
  halt(std::nullopt);
  if (++interrupts_ < 2) return;
  for (auto& [location, slot] : slots_)
    if (slot->port) slot->port->close();
}

void Line::open_slot(const PortInfo& port, bool named) {
  if (draining_ || slots_.size() >= options_.slots) return;
  auto slot = std::make_shared<Slot>();
  slot->name = port.name;
  slot->info = port;
  slot->named = named;
  slots_[port.location] = slot;
  ++living_;
  loop_.spawn(live(slot));
}

Task<LineSummary> Line::run() {
  Instant start = station_.clock.now();
  if (options_.ports.empty()) {
    loop_.spawn(watch());
  } else {
    // Asking the system takes milliseconds; ports on the network are not its to know.
    bool some_local = std::any_of(options_.ports.begin(), options_.ports.end(), is_local_port);
    std::vector<PortInfo> known = some_local ? list_ports() : std::vector<PortInfo>{};
    for (const std::string& name : options_.ports) {
      PortInfo info;
      for (const PortInfo& there : known)
        if (there.name == name) info = there;
      info.name = name;
      if (info.location.empty()) info.location = name;
      open_slot(info, true);
    }
  }
  co_await ended_->wait();
  summary_.seconds = std::chrono::duration<double>(station_.clock.now() - start).count();
  co_return summary_;
}

Task<> Line::watch() {
  while (!draining_) {
    PortEvent event = co_await watcher_->next();
    auto there = slots_.find(event.port.location);
    if (event.kind == PortEvent::Kind::vanished) {
      // No more: whoever has the port open notices by himself, and knows whether a reset explains it.
      if (there != slots_.end()) there->second->absent = true;
      continue;
    }
    if (there != slots_.end()) {
      there->second->absent = false;
      there->second->info = event.port;
    }
    if (!is_known_adapter(event.port)) {
      observer_.on_ignored(event.port);
    } else if (there == slots_.end()) {
      open_slot(event.port, false);
    }
  }
}

Task<> Line::live(std::shared_ptr<Slot> slot) {
  observer_.on_waiting(slot->name);
  while (!draining_) {
    bool again = co_await serve_one_board(*slot);
    if (!again) break;
  }
  if (slot->port) slot->port->close();
  slot->port.reset();
  if (auto mine = slots_.find(slot->info.location); mine != slots_.end() && mine->second == slot) slots_.erase(mine);
  --living_;
  bool only_named = !options_.ports.empty();
  if (living_ == 0 && (only_named || draining_)) ended_->set();
}

/// Opens the port, prepares the board behind it and waits until it has left. False when this slot is over.
Task<bool> Line::serve_one_board(Slot& slot) {
  if (!may_start()) {
    co_await station_.clock.sleep_for(reopen_pause);
    co_return true;
  }
  // After a board with USB of its own the place's port may have another name.
  if (auto there = opener_.look_again(slot.info)) slot.info = std::move(*there);
  auto opened = co_await opener_.open(slot.info.name);
  if (!opened) {
    Fault fault = std::move(opened.error());
    bool wait_for_it = slot.named && !options_.one_pass && !is_unusable(fault) && fault.remedy != Remedy::refuse;
    // A chip without firmware resets itself again and again, and with USB of its own the port goes each time.
    if (!slot.tried_since) slot.tried_since = station_.clock.now();
    bool just_left = fault.code == Code::port_gone && station_.clock.now() - *slot.tried_since < return_patience;
    wait_for_it = wait_for_it || (slot.named && just_left);
    if (wait_for_it) {
      co_await station_.clock.sleep_for(reopen_pause);
      co_return true;
    }
    if (!slot.absent && !slot.served && !draining_) {
      RunOutcome outcome;
      fault.where.slot = slot.name;
      outcome.record.slot = slot.name;
      outcome.record.verdict = name_of(outcome.verdict);
      outcome.record.code = name_of(fault.code);
      outcome.record.fault = describe(fault);
      outcome.fault = std::move(fault);
      account(outcome);
      observer_.on_done(slot.name, outcome);
      if (full()) drain(std::nullopt);
    }
    co_return false;
  }
  slot.port = std::make_unique<ReturningPort>(opener_, station_.clock, slot.info, std::move(*opened));
  slot.served = true;
  while (!draining_ && may_start()) {
    observer_.on_started(slot.name);
    RunOutcome outcome;
    {
      BoardRun run{station_, *slot.port, slot.name, is_usb_serial_jtag(slot.info)};
      slot.running = &run;
      ++running_;
      outcome = co_await run.prepare();
      --running_;
      slot.running = nullptr;
    }
    account(outcome);
    observer_.on_done(slot.name, outcome);
    bool nothing_left =
        outcome.fault && (outcome.fault->code == Code::quota_reached || outcome.fault->code == Code::pool_exhausted);
    if (nothing_left) {
      drain(outcome.fault);
    } else if (outcome.fault && outcome.fault->remedy == Remedy::stop_line) {
      halt(outcome.fault);
    }
    if (full()) drain(std::nullopt);
    if (draining_ || options_.one_pass) co_return false;
    bool away = outcome.fault && is_port_away(*outcome.fault);
    if (!away) co_await wait_until_left(slot, outcome);
    observer_.on_left(slot.name);
    // The port closed: open it anew. It stayed open: the next board is on the same adapter already.
    auto still_open = co_await slot.port->discard_input();
    if (!still_open) break;
  }
  slot.port->close();
  slot.port.reset();
  if (!draining_) observer_.on_waiting(slot.name);
  if (slot.named) co_return true;
  // The port may have noticed before the hot-plug did. A board that is there again by now was not announced anew.
  co_await station_.clock.sleep_for(reopen_pause);
  co_return !slot.absent;
}

/// A board has left when its node vanishes or the connection closes. Where the adapter stays (a fixture), the next
/// board is told by the banner that every ROM prints at power-on; a slot where nobody answered is asked again every
/// second.
Task<> Line::wait_until_left(Slot& slot, const RunOutcome& outcome) {
  std::string tail;
  std::array<std::uint8_t, 1024> buffer;
  // The banner of our own last reset may still be on its way.
  Instant own_banner_over = station_.clock.now() + look_again;
  bool asks = nobody_answered(outcome);
  // Banners are printed at this speed, whatever speed the last board ended at.
  if (auto slow = co_await slot.port->set_baud(Baud{}); !slow) {
    bool stays = co_await only_restarted(slot);
    if (!stays) co_return;
  }
  while (!draining_) {
    auto got = co_await slot.port->read_some(buffer, station_.clock.now() + look_again);
    if (!got) {
      bool stays = co_await only_restarted(slot);
      if (!stays) co_return;
      continue;
    }
    tail += as_text(ByteView{buffer.data(), *got});
    bool powered_on = tail.find("(POWERON_RESET)") != std::string::npos || tail.find("(POWERON)") != std::string::npos;
    if (powered_on && station_.clock.now() > own_banner_over) co_return;
    if (powered_on) tail.clear();
    if (tail.size() > 64) tail.erase(0, tail.size() - 64);
    if (asks && *got == 0) {
      Loader loader{*slot.port, station_.clock};
      auto somebody = co_await connect(loader, {.usb_serial_jtag = is_usb_serial_jtag(slot.info), .patience = 200ms});
      if (somebody) co_return;
      if (is_port_away(somebody.error())) co_return;
    }
  }
}

/// The port went while nobody wanted anything of the board. One that has taken it along before, at its resets, may just
/// have restarted; no hand puts another board there that fast, and its USB may say who it is.
Task<bool> Line::only_restarted(Slot& slot) {
  if (slot.port->absences().count == 0) co_return false;
  auto back = co_await slot.port->reopen(station_.clock.now() + fastest_hand);
  co_return back && back->who != PortReturn::Who::other &&
      (back->who == PortReturn::Who::same || back->away <= fastest_hand);
}

void Line::account(const RunOutcome& outcome) {
  bool away = outcome.fault && (is_port_away(*outcome.fault) || outcome.fault->code == Code::interrupted);
  if (away && !options_.one_pass) return;  // no verdict yet: it gets the same identity when it comes back
  std::string who = outcome.board ? to_string(outcome.board->mac) : outcome.record.slot;
  counted_.insert(who);
  if (outcome.verdict == Verdict::verified) {
    ++summary_.passed;
  } else {
    ++summary_.failed;
    if (outcome.fault) ++summary_.causes[std::string{name_of(outcome.fault->code)}];
  }
}

}  // namespace espmint
