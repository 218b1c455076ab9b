#include "sim/native_usb.hpp"

namespace espmint::sim {

bool NativeUsb::set_lines(bool dtr, bool rts) {
  if (!rts) wants_download_ = dtr;
  bool before = std::exchange(resets_, rts && !dtr);
  return resets_ && !before;
}

void NativeUsb::leave(Time at) {
  returns_at_ = at + options_.away;
  ++departures_;
  resets_ = open_ = false;
  kept_.clear();
}

void NativeUsb::advance(Time now) {
  if (returns_at_ && *returns_at_ <= now) returns_at_.reset();
}

void NativeUsb::keep(ByteView text) {
  append(kept_, text);
  if (kept_.size() > options_.keeps_bytes)
    kept_.erase(kept_.begin(), kept_.end() - static_cast<std::ptrdiff_t>(options_.keeps_bytes));
}

}  // namespace espmint::sim
