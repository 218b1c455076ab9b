// Boards with USB of their own take the port along when they are reset. It is waited for where a reset explains that it
// went, and what comes back counts as another board until it was identified.
#include <fmt/format.h>

#include <algorithm>

#include "io/returning_port.hpp"
#include "rom/connect.hpp"
#include "run/board_run.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

/// Absences after a reset resemble each other. One that is longer by this may have had a hand in it: the board is
/// identified again, which costs seconds and measures anew.
Duration longest_explained(Duration usual) { return usual + std::max<Duration>(usual / 2, 200ms); }

}  // namespace

/// After a connect that ended with this board identified.
void BoardRun::note_absences(const Port::Absences& before) {
  const Port::Absences now = port_.absences();
  vanishes_ = usb_serial_jtag_ || now.count != before.count;
  if (vanishes_ && board_) usual_absence_ = now.last;
  absences_ = 0;
  long_absence_ = false;
}

/// Whether the port went because the board was reset: by us, or by itself while its application runs.
bool BoardRun::is_explained(const Fault& fault) const {
  return vanishes_ && fault.code == Code::port_gone && !port_.absences().for_good;
}

/// Reset into the application, with the port open again at `baud` where that took it along.
Task<Result<void>> BoardRun::start_application(Baud baud) {
  auto end = co_await reset_into_application(port_, station_.clock);
  if (!end && is_explained(end.error())) end = co_await come_back(baud);
  co_return end;
}

/// Fault port_gone when the port stays away: then the board was unplugged. Fault board_changed when its USB says so.
Task<Result<void>> BoardRun::come_back(Baud baud) {
  CO_TRY(PortReturn back, co_await port_.reopen(station_.clock.now() + return_patience));
  if (back.who == PortReturn::Who::other) {
    Fault fault{Code::board_changed, Remedy::refuse, "another board is on this slot now"};
    fault.seen = "its USB serial number is another than before the reset";
    fault.advice =
        "Nothing of the first board's identity was written to it; plug one board in and leave it until it is done";
    co_return fail(std::move(fault));
  }
  ++absences_;
  bool too_long = back.away > longest_explained(usual_absence_);
  long_absence_ = long_absence_ || (back.who == PortReturn::Who::unknown && too_long);
  co_return co_await port_.set_baud(baud);
}

/// Since it was identified it has been away other than for the one reset into its application.
bool BoardRun::may_be_another() const { return absences_ > 1 || long_absence_; }

}  // namespace espmint
