// io/hub_power.hpp: a chip whose own USB hangs has no reset that reaches it: only its supply is left. Some hubs can
// switch that off for one port, and Linux 6.0 or later lets root ask them to.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "io/clock.hpp"

namespace espmint {

/// The file that switches the hub port under a tty, looked up while the tty is there; nothing where it is no USB device
/// or the kernel is older. Source: Linux, Documentation/ABI/testing/sysfs-bus-usb, port<X>/disable.
std::optional<std::filesystem::path> power_switch_of(const std::string& tty,
                                                     const std::filesystem::path& tty_class = "/sys/class/tty");

/// Off for `off`, then on. Whether the hub really cuts the supply nobody says; the device is enumerated anew in any
/// case. Faults: port_denied where only root may; port_failed.
Task<Result<void>> switch_off_and_on(std::filesystem::path power_switch, Clock&,
                                     Duration off = std::chrono::seconds{1});

}  // namespace espmint
