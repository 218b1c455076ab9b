// io/returning_port.hpp: a port that outlives its device's absence. Chips with USB of their own (S2, S3, C3, C6) take
// the port along when they are reset; some hundred milliseconds later it is back, perhaps under another name.
//   ReturningPort port{opener, clock, info, std::move(opened)};
//   … port_gone …  CO_TRY(PortReturn back, co_await port.reopen(clock.now() + return_patience));
// It never opens anything by itself: whoever reset the board knows that it will be back, and what must be asked anew.
#pragma once

#include <optional>

#include "io/port.hpp"

namespace espmint {

/// Enumerating takes 0.2 to 1 s on Linux, behind hubs and with udev's rules more. Who is not back by then was
/// unplugged.
inline constexpr Duration return_patience = std::chrono::seconds{5};
/// Nobody unplugs one board and plugs in another in less. A longer absence may have brought another board.
inline constexpr Duration fastest_hand = std::chrono::seconds{1};

class ReturningPort final : public Port {
 public:
  /// `info`: what is known of the place; `port` is open.
  ReturningPort(PortOpener& opener, Clock& clock, PortInfo info, std::unique_ptr<Port> port);

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override;
  Task<Result<void>> write(ByteView bytes, Instant deadline) override;
  Task<Result<void>> set_baud(Baud) override;
  [[nodiscard]] bool has_baud() const override { return port_->has_baud(); }
  Task<Result<void>> set_dtr(bool asserted) override;
  Task<Result<void>> set_rts(bool asserted) override;
  Task<Result<void>> set_dtr_rts(bool dtr, bool rts) override;
  Task<Result<void>> discard_input() override;
  /// For good: reopen() then faults too.
  void close() override;
  Task<Result<PortReturn>> reopen(Instant deadline) override;
  [[nodiscard]] Absences absences() const override { return absences_; }
  [[nodiscard]] bool is_chips_own() const override;
  Task<Result<void>> repower() override;
  [[nodiscard]] const std::string& name() const override { return info_.name; }
  [[nodiscard]] Duration latency() const override { return port_->latency(); }

 private:
  template <typename T>
  Result<T> noticed(Result<T> result);

  PortOpener& opener_;
  Clock& clock_;
  PortInfo info_;
  std::unique_ptr<Port> port_;  // never null; a closed one during an absence
  std::optional<Instant> gone_since_;
  Absences absences_;
  bool closed_ = false;
};

}  // namespace espmint
