// io/usb_bus.hpp: why a board that is plugged in has no port: no driver, a program that took it, no power, no
// bandwidth.
//   for (const Fault& fault : usb_faults()) say(describe(fault));
// Reads /sys, /proc, udev's records and the kernel's log; a test brings a folder and a text instead.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace espmint {

/// The kernel's messages of the last ten minutes as `dmesg` shows them; empty where one may not read them.
std::string read_kernel_log();

struct SystemView {
  std::filesystem::path root = "/";  // of sys/, proc/, run/udev/
  std::function<std::string()> kernel_log = read_kernel_log;
};

/// What is wrong on the bus now, the likeliest reason for a missing port first. Codes: port_claimed, driver_missing,
/// usb_trouble; `where.slot` is the place, "usb 1-4.2".
std::vector<Fault> usb_faults(const SystemView& = {});

/// A sentence of the mend when ModemManager runs and nobody told it to leave this port ("/dev/ttyUSB0") alone: it
/// writes into new serial ports to see whether they are modems.
std::optional<std::string> modem_manager_note(const std::string& port, const SystemView& = {});

/// port_busy, or port_claimed where the holder ("pid 4711 (ModemManager)") is a service that grabs ports by itself.
Fault busy_fault(const std::string& port, const std::string& holder);

}  // namespace espmint
