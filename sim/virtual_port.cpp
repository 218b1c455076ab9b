#include "sim/virtual_port.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <stdexcept>

namespace espmint::sim {
namespace asio = boost::asio;

/// Wakes whoever waits for a change that no clock foretells.
struct VirtualPorts::Bell {
  using Waiting = std::vector<asio::steady_timer*>;
  /// Shared with the waiters: some are ended with their loop, after this.
  std::shared_ptr<Waiting> waiting = std::make_shared<Waiting>();

  Task<> wait() {
    asio::steady_timer parked{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
    struct Place {
      std::shared_ptr<Waiting> list;
      asio::steady_timer* timer;
      ~Place() { std::erase(*list, timer); }
    } place{waiting, &parked};
    waiting->push_back(&parked);
    co_await parked.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  void ring() {
    for (asio::steady_timer* timer : *waiting) timer->cancel();
  }
};

struct VirtualPorts::Socket {
  std::string name;
  Bytes own_flash;
  ByteSpan flash;
  std::optional<Board> board;
  Bell bell;
  bool open = false;
  bool seen = false;        // as the watcher was last told
  unsigned plugging = 0;    // counts plugs: a port opened before the last one stays gone
  unsigned departures = 0;  // of the board's own USB, as the watcher was last told
};

class VirtualPorts::VirtualPort final : public Port {
 public:
  VirtualPort(VirtualPorts& ports, Socket& socket) : ports_(ports), socket_(socket), plugging_(socket.plugging) {
    socket_.open = true;
  }
  ~VirtualPort() override { close(); }

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    while (true) {
      if (gone()) co_return fail(gone_fault());
      std::size_t count = board().transmit(now(), into);
      if (count > 0) co_return count;
      if (ports_.clock_.now() >= deadline) co_return std::size_t{0};
      co_await wait(deadline, board().next_event());
    }
  }

  Task<Result<void>> write(ByteView bytes, Instant deadline) override {
    while (!bytes.empty()) {
      if (gone()) co_return fail(gone_fault());
      std::size_t taken = board().receive(now(), bytes);
      bytes = bytes.subspan(taken);
      if (taken > 0) socket_.bell.ring();
      ports_.notice(socket_);
      if (bytes.empty()) break;
      if (ports_.clock_.now() >= deadline) {
        co_return fail({.code = Code::port_failed,
                        .remedy = Remedy::reconnect,
                        .what = "the port took no more bytes in time",
                        .where = {.slot = socket_.name},
                        .seen = std::to_string(bytes.size()) + " B left"});
      }
      co_await wait(deadline, board().next_room());
    }
    if (gone()) co_return fail(gone_fault());
    co_return ok();
  }

  Task<Result<void>> set_baud(Baud baud) override {
    if (gone()) co_return fail(gone_fault());
    board().set_host_baud(now(), baud.per_second);
    co_return ok();
  }
  Task<Result<void>> set_dtr(bool asserted) override {
    dtr_ = asserted;
    return set_lines();
  }
  Task<Result<void>> set_rts(bool asserted) override {
    rts_ = asserted;
    return set_lines();
  }
  Task<Result<void>> set_dtr_rts(bool dtr, bool rts) override {
    dtr_ = dtr;
    rts_ = rts;
    return set_lines();
  }
  Task<Result<void>> discard_input() override {
    if (gone()) co_return fail(gone_fault());
    board().discard_input(now());
    co_return ok();
  }
  void close() override {
    if (closed_) return;
    closed_ = true;
    if (plugging_ == socket_.plugging) socket_.open = false;
  }
  [[nodiscard]] const std::string& name() const override { return socket_.name; }

 private:
  Board& board() { return *socket_.board; }
  [[nodiscard]] Time now() const { return ports_.clock_.now().time_since_epoch(); }
  [[nodiscard]] bool gone() {
    board().advance(now());
    ports_.notice(socket_);
    return closed_ || plugging_ != socket_.plugging || !board().present();
  }
  [[nodiscard]] Fault gone_fault() const {
    return {.code = Code::port_gone,
            .remedy = Remedy::reconnect,
            .what = "the port is gone",
            .where = {.slot = socket_.name},
            .advice = "plug the board in again"};
  }
  Task<Result<void>> set_lines() {
    if (gone()) co_return fail(gone_fault());
    board().set_lines(now(), dtr_, rts_);
    socket_.bell.ring();
    co_return ok();
  }
  /// Until the moment given, the deadline, or a change from elsewhere.
  Task<> wait(Instant deadline, std::optional<Time> next) {
    using namespace asio::experimental::awaitable_operators;
    Instant until = deadline;
    if (next) until = std::min(until, Instant{*next});
    co_await (ports_.clock_.sleep_until(until) || socket_.bell.wait());
  }

  VirtualPorts& ports_;
  Socket& socket_;
  unsigned plugging_;
  bool closed_ = false, dtr_ = false, rts_ = false;
};

VirtualPorts::VirtualPorts(Clock& clock) : clock_(clock), event_bell_(std::make_unique<Bell>()) {}
VirtualPorts::~VirtualPorts() = default;

VirtualPorts::Socket& VirtualPorts::socket(const std::string& name) {
  auto found = sockets_.find(name);
  if (found == sockets_.end()) throw std::out_of_range("no virtual board is called " + name);
  return *found->second;
}

Board& VirtualPorts::add(const std::string& name, BoardOptions options, ByteCount flash_bytes, bool dirty) {
  Bytes flash(flash_bytes, 0xff);
  if (dirty) NorFlash{flash}.make_dirty(options.seed);
  Board& board = add(name, std::move(options), flash);
  socket(name).own_flash = std::move(flash);
  return board;
}

Board& VirtualPorts::add(const std::string& name, BoardOptions options, ByteSpan flash) {
  auto made = std::make_unique<Socket>();
  made->name = name;
  made->flash = flash;
  made->board.emplace(std::move(options), made->flash, clock_.now().time_since_epoch());
  Socket& place = *made;
  sockets_[name] = std::move(made);
  notice(place);
  return *place.board;
}

Board& VirtualPorts::board(const std::string& name) { return *socket(name).board; }
ByteSpan VirtualPorts::flash(const std::string& name) { return socket(name).flash; }

void VirtualPorts::notice(Socket& place) {
  bool left = place.departures != place.board->departures();  // perhaps it is back already
  place.departures = place.board->departures();
  if (place.seen && (left || !place.board->present())) {
    place.seen = false;
    ++place.plugging;
    place.open = false;
    tell(place, PortEvent::Kind::vanished);
  }
  if (!place.seen && place.board->present()) {
    place.seen = true;
    tell(place, PortEvent::Kind::appeared);
  }
}

void VirtualPorts::tell(Socket& place, PortEvent::Kind kind) {
  events_.push_back({kind, info_of(place)});
  place.bell.ring();
  event_bell_->ring();
}

PortInfo VirtualPorts::info_of(const Socket& place) const {
  PortInfo info{.name = place.name, .location = place.name, .product = "virtual board"};
  if (!place.board->has_native_usb() || !tells_serial) return info;
  info.serial = to_string_with_colons(place.board->mac());
  info.vendor_id = 0x303a;
  info.product_id = 0x1001;
  return info;
}

Result<PortInfo> VirtualPorts::look_again(const PortInfo& before) {
  auto found = sockets_.find(before.name);
  if (found == sockets_.end()) return before;
  found->second->board->advance(clock_.now().time_since_epoch());
  notice(*found->second);
  return info_of(*found->second);
}

void VirtualPorts::unplug(const std::string& name) {
  Socket& place = socket(name);
  place.board->unplug(clock_.now().time_since_epoch());
  notice(place);
}

void VirtualPorts::plug(const std::string& name) {
  Socket& place = socket(name);
  notice(place);
  place.board->plug(clock_.now().time_since_epoch());
  notice(place);
}

void VirtualPorts::swap(const std::string& name, const Mac& mac, bool keep_flash) {
  Socket& place = socket(name);
  unplug(name);
  place.board->swap(clock_.now().time_since_epoch(), mac, keep_flash);
  plug(name);
}

void VirtualPorts::power(const std::string& name, bool on) {
  Socket& place = socket(name);
  place.board->power(clock_.now().time_since_epoch(), on);
  place.bell.ring();
}

void VirtualPorts::replace(const std::string& name, const Mac& mac, bool keep_flash) {
  Socket& place = socket(name);
  place.board->swap(clock_.now().time_since_epoch(), mac, keep_flash);
  place.bell.ring();
}

Task<Result<std::unique_ptr<Port>>> VirtualPorts::open(const std::string& name) {
  auto found = sockets_.find(name);
  if (found != sockets_.end()) {
    found->second->board->advance(clock_.now().time_since_epoch());
    notice(*found->second);
  }
  if (found == sockets_.end() || !found->second->board->present()) {
    co_return fail({.code = Code::port_missing,
                    .remedy = Remedy::retry,
                    .what = "there is no port " + name,
                    .where = {.slot = name}});
  }
  Socket& place = *found->second;
  if (place.open) {
    co_return fail({.code = Code::port_busy,
                    .remedy = Remedy::retry,
                    .what = "the port is open already",
                    .where = {.slot = name}});
  }
  Time now = clock_.now().time_since_epoch();
  place.board->set_host_baud(now, 115'200);
  place.board->host_opens(now);
  std::unique_ptr<Port> port = std::make_unique<VirtualPort>(*this, place);
  co_return port;
}

Task<PortEvent> VirtualPorts::next() {
  using namespace asio::experimental::awaitable_operators;
  while (events_.empty()) {
    std::optional<Time> next;
    for (auto& [name, place] : sockets_) {
      place->board->advance(clock_.now().time_since_epoch());
      notice(*place);
      if (auto at = place->board->returns_at()) next = next ? std::min(*next, *at) : *at;
    }
    if (!events_.empty()) break;
    if (next)
      co_await (clock_.sleep_until(Instant{*next}) || event_bell_->wait());
    else
      co_await event_bell_->wait();
  }
  PortEvent event = std::move(events_.front());
  events_.pop_front();
  co_return event;
}

}  // namespace espmint::sim
