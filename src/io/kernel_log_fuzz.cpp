// Whatever stands in the log, each fault is whole, and a place is told once of each kind.
#include <cstdlib>
#include <set>

#include "io/kernel_log.hpp"

using namespace espmint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view log{reinterpret_cast<const char*>(data), size};
  std::set<std::pair<std::string, std::string>> told;
  for (const Fault& fault : faults_in_kernel_log(log)) {
    if (fault.code != Code::usb_trouble || fault.seen.empty() || fault.advice.empty()) std::abort();
    if (!told.insert({fault.where.slot, fault.what}).second) std::abort();
    for (const char c : describe(fault))
      if (static_cast<unsigned char>(c) < 0x20) std::abort();
  }
  if (taker_in_kernel_log(log, "1-4").size() > size) std::abort();
  return 0;
}
