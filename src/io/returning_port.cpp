#include "io/returning_port.hpp"

#include <fmt/format.h>

#include "base/mac.hpp"
#include "io/hub_power.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr Duration look_every = 20ms;

Fault gone(const std::string& name, std::string seen) {
  Fault fault{Code::port_gone, Remedy::reconnect, fmt::format("{} is gone", name)};
  fault.seen = std::move(seen);
  fault.advice = "plug it in again; if it was never touched, check cable and power";
  return fault;
}

/// Only within one kind of device: a chip may call itself differently in download mode and in its application.
PortReturn::Who compare(const PortInfo& before, const PortInfo& after) {
  bool alike = before.is_usb() && before.vendor_id == after.vendor_id && before.product_id == after.product_id;
  auto was = parse_mac(before.serial), is = parse_mac(after.serial);
  if (!alike || !was || !is) return PortReturn::Who::unknown;
  return *was == *is ? PortReturn::Who::same : PortReturn::Who::other;
}

}  // namespace

ReturningPort::ReturningPort(PortOpener& opener, Clock& clock, PortInfo info, std::unique_ptr<Port> port)
    : opener_(opener), clock_(clock), info_(std::move(info)), port_(std::move(port)) {}

template <typename T>
Result<T> ReturningPort::noticed(Result<T> result) {
  if (!result && result.error().code == Code::port_gone && !gone_since_) gone_since_ = clock_.now();
  return result;
}

Task<Result<std::size_t>> ReturningPort::read_some(ByteSpan into, Instant deadline) {
  co_return noticed(co_await port_->read_some(into, deadline));
}
Task<Result<void>> ReturningPort::write(ByteView bytes, Instant deadline) {
  co_return noticed(co_await port_->write(bytes, deadline));
}
Task<Result<void>> ReturningPort::set_baud(Baud baud) { co_return noticed(co_await port_->set_baud(baud)); }
Task<Result<void>> ReturningPort::set_dtr(bool asserted) { co_return noticed(co_await port_->set_dtr(asserted)); }
Task<Result<void>> ReturningPort::set_rts(bool asserted) { co_return noticed(co_await port_->set_rts(asserted)); }
Task<Result<void>> ReturningPort::set_dtr_rts(bool dtr, bool rts) {
  co_return noticed(co_await port_->set_dtr_rts(dtr, rts));
}
Task<Result<void>> ReturningPort::discard_input() { co_return noticed(co_await port_->discard_input()); }

void ReturningPort::close() {
  closed_ = true;
  port_->close();
}

Task<Result<PortReturn>> ReturningPort::reopen(Instant deadline) {
  port_->close();
  const Instant since = gone_since_.value_or(clock_.now());
  Fault last = gone(info_.name, "it did not come back");
  while (!closed_) {
    auto there = opener_.look_again(info_);
    if (there) {
      auto opened = co_await opener_.open(there->name);
      // A node is there before udev has set its group, and some programs grab every new port for a moment.
      if (opened && !closed_) {
        PortReturn back{compare(info_, *there), clock_.now() - since};
        info_ = std::move(*there);
        port_ = std::move(*opened);
        gone_since_.reset();
        absences_ = {absences_.count + 1, back.away, false};
        co_return back;
      }
      if (!opened) last.seen = describe(opened.error());
    }
    if (clock_.now() >= deadline) {
      absences_.for_good = true;
      last.seen = fmt::format("{}; waited {:.1f} s for it", last.seen,
                              std::chrono::duration<double>(clock_.now() - since).count());
      co_return fail(std::move(last));
    }
    co_await clock_.sleep_for(look_every);
  }
  co_return fail(gone(info_.name, "it was closed"));
}

bool ReturningPort::is_chips_own() const {
  constexpr std::uint16_t espressif = 0x303a, usb_bridge = 0x1002;  // the bridge is an adapter. Source: usb-pids
  return info_.vendor_id == espressif && info_.product_id != usb_bridge;
}

Task<Result<void>> ReturningPort::repower() {
  CO_TRY(std::unique_ptr<PowerSwitch> power, opener_.power_of(info_));
  CO_TRY(co_await switch_off_and_on(*power, clock_));
  auto back = co_await reopen(clock_.now() + return_patience);
  if (back) co_return ok();
  co_return fail(std::move(back.error()));
}

}  // namespace espmint
