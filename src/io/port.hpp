// io/port.hpp: a serial line to a board, whatever carries it: a tty, RFC 2217, a bare socket, or a virtual board.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "io/clock.hpp"

namespace espmint {

/// What is known of a port before it is opened.
struct PortInfo {
  std::string name;      // what open() takes: "/dev/ttyUSB0", "rfc2217://host:4000", "socket://host:4001"
  std::string location;  // the physical place, "usb-1-4.2" (ID_PATH); the name where there is none. This is the slot.
  std::string product;   // "CP2102N USB to UART Bridge Controller"
  std::string serial;
  std::uint16_t vendor_id = 0;
  std::uint16_t product_id = 0;
  [[nodiscard]] bool is_usb() const { return vendor_id != 0; }
};

/// What came back at the place of a port that had vanished.
struct PortReturn {
  /// Told by the serial number that a chip's own USB has from its MAC; unknown where none is seen.
  enum class Who { same, unknown, other } who = Who::unknown;
  Duration away{};
};

/// One owner; closing twice is fine. After close() or a vanished device every call faults with port_gone.
/// Faults: port_gone (reconnect), port_failed (reconnect), no_reset_lines (refuse).
class Port {
 public:
  virtual ~Port() = default;
  /// Reads what is there, at least one byte; 0 when the deadline passed first.
  virtual Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) = 0;
  /// Writes all of it, waiting for room; faults when the deadline passes with bytes left.
  virtual Task<Result<void>> write(ByteView bytes, Instant deadline) = 0;
  /// Takes effect for bytes written from now on; what was written before leaves at the old speed.
  virtual Task<Result<void>> set_baud(Baud) = 0;
  /// False where the carrier knows no speed (a bare socket): then nobody is asked to change it.
  [[nodiscard]] virtual bool has_baud() const { return true; }
  /// true = asserted (low on the pin). Only the named line changes. Fault no_reset_lines where the port has none.
  virtual Task<Result<void>> set_dtr(bool asserted) = 0;
  virtual Task<Result<void>> set_rts(bool asserted) = 0;
  /// Both in one operation where the carrier can (TIOCMSET), else DTR then RTS.
  virtual Task<Result<void>> set_dtr_rts(bool dtr, bool rts) = 0;
  /// Drops what has arrived and was not read.
  virtual Task<Result<void>> discard_input() = 0;
  virtual void close() = 0;
  /// After port_gone: waits until its place has a port again and opens that. What was on its way is lost, the lines are
  /// released, the speed is the first one, and another board may sit there. Fault port_gone when the time is over, and
  /// at once where nobody knows how to open it again.
  virtual Task<Result<PortReturn>> reopen(Instant deadline) {
    (void)deadline;
    co_return fail({Code::port_gone, Remedy::reconnect, name() + " is gone", {}, {}, "plug it in again"});
  }
  struct Absences {
    unsigned count = 0;     // how often it has come back
    Duration last{};        // how long it was away the last time
    bool for_good = false;  // it was waited for in vain
  };
  [[nodiscard]] virtual Absences absences() const { return {}; }
  /// The chip's own USB (303A), no adapter before it: where that hangs, no reset reaches the chip.
  [[nodiscard]] virtual bool is_chips_own() const { return false; }
  /// The last resort for such a chip: its hub takes the supply away for a second, and the port is opened again at its
  /// place. Who is there then must be identified. Faults (refuse): port_failed where the hub cannot or must not, which
  /// leaves the port as it was; port_denied; port_gone when nothing came back.
  virtual Task<Result<void>> repower() {
    co_return fail({Code::port_failed, Remedy::refuse, "its power cannot be switched from here", {}, {}, {}});
  }
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// Time a byte needs beyond the wire to get there and back; waits for echoes add it.
  [[nodiscard]] virtual Duration latency() const { return std::chrono::milliseconds{0}; }
};

/// The supply of one place at a hub.
class PowerSwitch {
 public:
  virtual ~PowerSwitch() = default;
  /// Faults (refuse): port_denied, port_failed.
  virtual Result<void> set(bool on) = 0;
};

class PortOpener {
 public:
  virtual ~PortOpener() = default;
  /// Opens exclusively at 115200 8N1, raw, without touching DTR and RTS where the system lets us.
  /// Faults: port_missing, port_denied (with the exact mend), port_busy (naming the holder), port_failed.
  virtual Task<Result<std::unique_ptr<Port>>> open(const std::string& name) = 0;
  /// The port that is at this place now; its name may be another than before. The same again where places are not known
  /// (a network, a pty). Fault port_missing.
  virtual Result<PortInfo> look_again(const PortInfo& before) { return before; }
  /// What switches the supply of this port and of nothing else, looked up while the port is there. Faults (refuse):
  /// port_failed, which says why nobody can, or nobody should.
  virtual Result<std::unique_ptr<PowerSwitch>> power_of(const PortInfo&) {
    return fail({Code::port_failed, Remedy::refuse, "its power cannot be switched from here", {}, {}, {}});
  }
};

struct PortEvent {
  enum class Kind { appeared, vanished } kind;
  PortInfo port;
};

/// Tells of ports that come and go; at the start one `appeared` for each that is there.
class PortWatcher {
 public:
  virtual ~PortWatcher() = default;
  virtual Task<PortEvent> next() = 0;
};

}  // namespace espmint
