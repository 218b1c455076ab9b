// rom/connect.hpp: getting a board to listen: reset it into download mode by DTR and RTS, then SYNC.
#pragma once

#include <functional>
#include <span>

#include "rom/loader.hpp"

namespace espmint {

/// One thing done to the lines; then time passes. On the usual circuit EN is low while RTS alone is asserted, and IO0
/// is low while DTR alone is. Source: esptool documentation, Boot Mode Selection.
struct LineStep {
  enum class What { dtr, rts, both } what;
  bool dtr, rts;
  std::chrono::milliseconds then;
};

struct ResetSequence {
  std::string_view name;
  std::span<const LineStep> steps;
  /// The boot pin is released only once the board has answered: a slow EN capacitor may sample it late.
  bool holds_boot_pin;
};

/// Ways into download mode, the likeliest first for this port (303A:1001 is the chips' own USB-Serial-JTAG).
std::span<const ResetSequence> download_sequences(bool usb_serial_jtag);

struct ConnectOptions {
  bool usb_serial_jtag = false;
  bool reset = true;  // false: the board is in download mode already
  Duration patience = std::chrono::milliseconds{4500};
  /// A port that the reset takes along (native USB) is waited for as long as this. 0: that is a fault.
  Duration return_patience{};
  /// Where no way worked and none of the lines may lead anywhere, a person can hold BOOT and press RESET: SYNC is asked
  /// for as long as this, and `ask_for_button` is called once, with what would have been the fault. 0: nobody is there.
  Duration button_patience{};
  std::function<void(const Fault&)> ask_for_button{};
  bool button_even_if_silent = false;  // also where lines exist and not a byte came: perhaps nothing is there
};

/// Resets into download mode and synchronises; tries each sequence until `patience` is over. A port without modem lines
/// is synchronised as it is. Where the port vanishes with a reset and comes back, another board may answer: identify.
/// Faults: those of diagnose() (diagnosis.hpp), decided within 5 s; port faults.
Task<Result<void>> connect(Loader&, ConnectOptions = {});

/// One way into download mode, once, and nobody else's: for whoever wants to know which ways a board understands. Asks
/// for `window` after the last step. Faults: no_reset_lines; reply_missing where nobody answered; port faults.
Task<Result<void>> connect_by(Loader&, const ResetSequence&, Duration window, Duration return_patience = {});

/// Whether the board printed a ROM's boot banner since the last start_over(): proof that a reset reached it. Chips
/// whose banner is switched off by eFuse or strap print none.
[[nodiscard]] bool banner_heard(const Loader&);

/// Lets the application run: EN low for 100 ms with IO0 high. Faults: no_reset_lines; port_gone where the reset takes
/// the port along.
Task<Result<void>> reset_into_application(Port&, Clock&);

}  // namespace espmint
