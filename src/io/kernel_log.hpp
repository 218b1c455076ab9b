// io/kernel_log.hpp: what the kernel's log says about USB. Pure: lines as `dmesg` prints them.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace espmint {

/// usb_trouble for each place that has too little power or bandwidth, does not enumerate, or comes and goes.
std::vector<Fault> faults_in_kernel_log(std::string_view log);

/// The process that took the device at this place ("1-4.2") from its driver: "usbfs: interface 0 claimed by cp210x
/// while 'brltty' sets config #1" → "brltty". Empty when none did.
std::string_view taker_in_kernel_log(std::string_view log, std::string_view place);

}  // namespace espmint
