// io/hub_power.hpp: a chip whose own USB hangs has no reset that reaches it: only its supply is left. Some hubs can
// switch that off for one port, and Linux 6.0 or later lets root ask them to.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/bytes.hpp"
#include "io/port.hpp"

namespace espmint {

/// How a hub switches the supply of its ports. Source: USB 2.0 specification, 11.23.2.1, wHubCharacteristics.
enum class Switching { individual, ganged, none, unknown };
/// From a hub descriptor; unknown where it is too short to say.
Switching switching_of(ByteView hub_descriptor);

/// The descriptor of the hub that this folder of /sys shows, asked through its node in /dev/bus/usb; empty where one
/// may not ask.
Bytes read_hub_descriptor(const std::filesystem::path& hub);

struct HubView {
  std::filesystem::path tty_class = "/sys/class/tty";
  std::function<Bytes(const std::filesystem::path& hub)> descriptor = read_hub_descriptor;
};

/// The switch of the hub's port under a tty, looked up while the tty is there. Never one that could take the supply
/// from another device: where the hub switches its ports together, or does not say how, this must be the only one in
/// use. Faults (port_failed): no USB device, an older kernel, a hub that cannot, others in use. Source: Linux,
/// Documentation/ABI/testing/sysfs-bus-usb, port<X>/disable.
Result<std::unique_ptr<PowerSwitch>> power_switch_of(const std::string& tty, const HubView& = {});

/// Off for `off`, then on, also where the task is ended between the two. Whether the hub really cuts the supply nobody
/// says; the device is enumerated anew in any case. Faults: those of PowerSwitch.
Task<Result<void>> switch_off_and_on(PowerSwitch&, Clock&, Duration off = std::chrono::seconds{1});

}  // namespace espmint
