// rom/diagnosis.hpp: why no loader answered: from what was heard on the line to one fault with one thing to do. Pure.
#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "io/port.hpp"

namespace espmint {

/// What a failed connect has learnt.
struct Heard {
  Bytes bytes;              // as they came, oldest first; a few KiB are enough
  std::uint64_t count = 0;  // how many came in all
  bool could_reset = true;  // the port has modem lines
  unsigned resets = 0;      // how often they were pulled: each brings a banner of its own
  std::uint32_t baud = 115'200;
};

/// Faults, all with the remedy refuse: brown_out, voltage_strap, flash_unknown, board_not_in_download_mode, board_deaf,
/// foreign_device, line_echo, noisy_line, no_reset_lines, board_silent.
Fault diagnose(const Heard&);

/// voltage_strap: the flash gets 1.8 V because a strapping pin says so.
Fault gets_low_voltage(std::string seen);

/// Whether this ended a connect because the chip's own USB hangs: it is enumerated, and nobody answers or takes bytes.
bool may_hang(const Port&, const Fault&);
/// usb_hangs (repower), when nothing else is left to try; the last fault is what was seen.
Fault own_usb_hangs(const Fault& last);

/// Faults of a port behind which no board was met: it is worth asking again, for the next board may be put there.
bool met_no_board(Code);

}  // namespace espmint
