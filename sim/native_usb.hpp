// sim/native_usb.hpp: the USB inside the chip, in place of an adapter: it goes with every reset, so the host's port
// vanishes and comes back some hundred milliseconds later. No file of the host survives that, nor a line it held.
#pragma once

#include <optional>

#include "base/bytes.hpp"
#include "sim/presets.hpp"

namespace espmint::sim {

struct NativeUsbOptions {
  Time away{};  // from a reset until the host has a port again; 0: there is an adapter instead
  /// What the application says while nobody has the port open waits in the chip, the newest bytes of it. 0: it is lost.
  std::size_t keeps_bytes = 256;
};

class NativeUsb {
 public:
  /// No wire has its speed; bauds are a word here.
  static constexpr std::uint32_t bytes_go_at = 8'000'000;

  explicit NativeUsb(NativeUsbOptions options) : options_(options) {}
  [[nodiscard]] bool used() const { return options_.away > Time{0}; }

  /// The lines as the host sets them; whether that resets the chip. DTR alone asks for download mode at the next reset,
  /// neither takes it back, RTS alone resets, both together mean nothing.
  /// Source: ESP32-C3 Technical Reference Manual, USB Serial/JTAG Controller, CDC-ACM.
  bool set_lines(bool dtr, bool rts);
  [[nodiscard]] bool wants_download() const { return wants_download_; }

  void leave(Time at);
  /// Power comes: nothing is asked for.
  void power_on() { wants_download_ = resets_ = open_ = false; }
  /// Call with the time before any question.
  void advance(Time now);
  [[nodiscard]] bool is_away() const { return returns_at_.has_value(); }
  [[nodiscard]] std::optional<Time> returns_at() const { return returns_at_; }
  /// How often it has left: whoever opened the port before that has a dead file, even when it is back.
  [[nodiscard]] unsigned departures() const { return departures_; }
  void host_opens() { open_ = true; }
  [[nodiscard]] bool is_open() const { return open_ && !is_away(); }

  /// Said while nobody listens.
  void keep(ByteView text);
  Bytes take_kept() { return std::exchange(kept_, {}); }

 private:
  NativeUsbOptions options_;
  std::optional<Time> returns_at_;
  unsigned departures_ = 0;
  bool wants_download_ = false, resets_ = false, open_ = false;
  Bytes kept_;
};

}  // namespace espmint::sim
