// tests/hung_usb.hpp: virtual boards whose own USB hangs until their supply was cut: they are there, take every byte
// and say nothing. And the hub above them, which can switch one port, or cannot.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "sim/virtual_port.hpp"

namespace espmint {

class HungUsb final : public PortOpener {
 public:
  explicit HungUsb(sim::VirtualPorts& ports) : ports_(ports) { ports.tells_serial = true; }

  std::set<std::string> hung;  // the places where a board hangs now
  bool hub_switches = true;
  bool power_helps = true;
  std::function<void()> while_off = {};  // what a hand does meanwhile
  int times_off = 0;

  Task<Result<std::unique_ptr<Port>>> open(const std::string& name) override {
    CO_TRY(std::unique_ptr<Port> port, co_await ports_.open(name));
    co_return std::unique_ptr<Port>{std::make_unique<HungPort>(*this, std::move(port))};
  }
  Result<PortInfo> look_again(const PortInfo& before) override { return ports_.look_again(before); }
  Result<std::unique_ptr<PowerSwitch>> power_of(const PortInfo& port) override {
    if (!hub_switches) return fail({Code::port_failed, Remedy::refuse, "its hub says that it cannot", {}, {}, {}});
    return std::unique_ptr<PowerSwitch>{std::make_unique<Switch>(*this, port.name)};
  }

 private:
  class HungPort final : public Port {
   public:
    HungPort(HungUsb& usb, std::unique_ptr<Port> next) : usb_(usb), next_(std::move(next)) {}
    Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
      for (;;) {
        CO_TRY(std::size_t count, co_await next_->read_some(into, deadline));
        if (count == 0 || !hangs()) co_return count;
      }
    }
    Task<Result<void>> write(ByteView bytes, Instant deadline) override {
      if (hangs()) return next_->discard_input();
      return next_->write(bytes, deadline);
    }
    Task<Result<void>> set_baud(Baud baud) override { return next_->set_baud(baud); }
    Task<Result<void>> set_dtr(bool on) override { return hangs() ? next_->discard_input() : next_->set_dtr(on); }
    Task<Result<void>> set_rts(bool on) override { return hangs() ? next_->discard_input() : next_->set_rts(on); }
    Task<Result<void>> set_dtr_rts(bool dtr, bool rts) override {
      return hangs() ? next_->discard_input() : next_->set_dtr_rts(dtr, rts);
    }
    Task<Result<void>> discard_input() override { return next_->discard_input(); }
    void close() override { next_->close(); }
    [[nodiscard]] const std::string& name() const override { return next_->name(); }

   private:
    [[nodiscard]] bool hangs() const { return usb_.hung.contains(next_->name()); }
    HungUsb& usb_;
    std::unique_ptr<Port> next_;
  };

  class Switch final : public PowerSwitch {
   public:
    Switch(HungUsb& usb, std::string name) : usb_(usb), name_(std::move(name)) {}
    Result<void> set(bool on) override {
      if (!on) {
        ++usb_.times_off;
        usb_.ports_.unplug(name_);
        if (usb_.power_helps) usb_.hung.erase(name_);
        if (usb_.while_off) usb_.while_off();
      } else if (!usb_.ports_.board(name_).plugged()) {
        usb_.ports_.plug(name_);
      }
      return ok();
    }

   private:
    HungUsb& usb_;
    std::string name_;
  };

  sim::VirtualPorts& ports_;
};

}  // namespace espmint
