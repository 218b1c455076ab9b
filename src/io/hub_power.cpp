#include "io/hub_power.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/usbdevice_fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "io/descriptor.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

Fault no_switch(std::string seen, std::string advice = {}) {
  return {Code::port_failed, Remedy::refuse,   "the power of its USB port cannot be switched", {},
          std::move(seen),   std::move(advice)};
}

class SwitchFile final : public PowerSwitch {
 public:
  explicit SwitchFile(fs::path file) : file_(std::move(file)) {}
  Result<void> set(bool on) override {
    const char value = on ? '0' : '1';  // the file says whether the port is disabled
    FileHandle handle{::open(file_.c_str(), O_WRONLY | O_CLOEXEC)};
    if (handle.is_open() && ::write(handle.get(), &value, 1) == 1) return ok();
    const int error = errno;
    Fault fault = no_switch(fmt::format("{}: {}", file_.string(), error_text(error)));
    if (error == EACCES || error == EPERM) {
      fault.code = Code::port_denied;
      fault.advice = "root may; a udev rule may give you the file";
    }
    return fail(std::move(fault));
  }

 private:
  fs::path file_;
};

/// Whoever has switched off switches on.
class OnAgain {
 public:
  explicit OnAgain(PowerSwitch& power) : power_(power) {}
  ~OnAgain() {
    if (!done_) static_cast<void>(power_.set(true));
  }
  OnAgain(const OnAgain&) = delete;
  OnAgain& operator=(const OnAgain&) = delete;
  Result<void> now() {
    done_ = true;
    return power_.set(true);
  }

 private:
  PowerSwitch& power_;
  bool done_ = false;
};

unsigned number_in(const fs::path& file) {
  std::ifstream in(file);
  unsigned number = 0;
  in >> number;
  return number;
}

/// The other ports of this hub that have a device, also those of its half for SuperSpeed: "1-4-port3".
std::vector<std::string> others_in_use(const fs::path& port) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator entry(port.parent_path(), error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.find("-port") == std::string::npos) continue;
    std::error_code ignored;
    const bool here = name != port.filename() && fs::exists(entry->path() / "device", ignored);
    if (here || fs::exists(entry->path() / "peer" / "device", ignored)) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

Switching switching_of(ByteView hub_descriptor) {
  constexpr std::size_t characteristics = 3;
  constexpr unsigned one_by_one = 1, not_at_all = 2;  // bit 0; bit 1 for both its values
  if (hub_descriptor.size() < characteristics + 2) return Switching::unknown;
  const unsigned mode = hub_descriptor[characteristics];
  if ((mode & not_at_all) != 0) return Switching::none;
  return (mode & one_by_one) != 0 ? Switching::individual : Switching::ganged;
}

Bytes read_hub_descriptor(const fs::path& hub) {
  constexpr unsigned super_speed = 5000;  // Mbit/s
  const unsigned bus = number_in(hub / "busnum"), device = number_in(hub / "devnum");
  FileHandle node{::open(fmt::format("/dev/bus/usb/{:03}/{:03}", bus, device).c_str(), O_RDWR | O_CLOEXEC)};
  if (!node.is_open()) return {};
  constexpr std::uint8_t class_from_device = 0xa0, get_descriptor = 6, hub_type = 0x29, super_speed_hub_type = 0x2a;
  Bytes descriptor(15, 0);
  usbdevfs_ctrltransfer ask{};
  ask.bRequestType = class_from_device;
  ask.bRequest = get_descriptor;
  ask.wValue =
      static_cast<std::uint16_t>((number_in(hub / "speed") >= super_speed ? super_speed_hub_type : hub_type) << 8);
  ask.wLength = static_cast<std::uint16_t>(descriptor.size());
  ask.timeout = 500;  // milliseconds
  ask.data = descriptor.data();
  const int got = ::ioctl(node.get(), USBDEVFS_CONTROL, &ask);
  descriptor.resize(static_cast<std::size_t>(std::max(got, 0)));
  return descriptor;
}

Result<std::unique_ptr<PowerSwitch>> power_switch_of(const std::string& tty, const HubView& view) {
  std::error_code error;
  const fs::path node = fs::weakly_canonical(tty, error).filename();
  fs::path device = fs::canonical(view.tty_class / node / "device", error);
  if (error) return fail(no_switch("it is no USB device of this machine"));
  // From the interface up to the device, whose link `port` leads into the hub.
  while (device.has_relative_path() && !fs::exists(device / "idVendor", error)) device = device.parent_path();
  const fs::path port = fs::canonical(device / "port", error);
  if (error || !fs::exists(port / "disable", error))
    return fail(no_switch("the kernel shows no switch: it is older than 6.0, or this is no USB port"));
  const Switching switching = switching_of(view.descriptor(port.parent_path().parent_path()));
  if (switching == Switching::none) return fail(no_switch("its hub says that it cannot"));
  if (const auto others = others_in_use(port); switching != Switching::individual && !others.empty())
    return fail(no_switch(fmt::format("its hub {}, and others are in use: {}",
                                      switching == Switching::ganged ? "switches all its ports together"
                                                                     : "does not tell us whether it switches one alone",
                                      fmt::join(others, ", ")),
                          "A hub that switches each port by itself can bring such a board back"));
  std::unique_ptr<PowerSwitch> found = std::make_unique<SwitchFile>(port / "disable");
  return found;
}

Task<Result<void>> switch_off_and_on(PowerSwitch& power, Clock& clock, Duration off) {
  CO_TRY(power.set(false));
  OnAgain on{power};
  co_await clock.sleep_for(off);
  co_return on.now();
}

}  // namespace espmint
