#include "io/kernel_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <map>
#include <string>

#include "base/text.hpp"
#include "io/descriptor.hpp"
#include "io/usb_bus.hpp"

namespace espmint {
namespace {

constexpr double recent_s = 600;
constexpr double storm_within_s = 60;
constexpr std::size_t storm_of = 4;

struct KernelSign {
  std::string_view says;
  std::string_view what;
  std::string_view advice;
};
// Source: Linux, drivers/usb/core (hub.c, message.c, config.c) and drivers/usb/host, their messages.
constexpr std::array signs{
    KernelSign{"over-current", "the USB port was switched off: what hangs on it draws too much current",
               "Look for a short on the board; use a hub with a power supply of its own"},
    KernelSign{"insufficient available bus power", "the USB hub has no power left for this device",
               "Use a hub with a power supply of its own"},
    KernelSign{"ot enough bandwidth", "the USB bus has no bandwidth left for this device",
               "Fewer boards on this hub, or a hub with a transaction translator for each port, on another USB port of "
               "the machine"},
    KernelSign{"disabled by hub (EMI?)", "the hub switched a USB port off because of disturbances",
               "A shorter, shielded cable; another hub"},
    KernelSign{"unable to enumerate USB device", "a device on USB is there and does not say what it is",
               "Another cable (some carry no data, or lose it), another port, a hub with a power supply"},
    KernelSign{"can't set config #1, error -28", "the USB bus has no bandwidth left for this device",
               "Fewer boards on this hub"},
};

struct KernelLine {
  double at_s = 0;
  std::string_view text;
  std::string_view place;  // "1-4.2"; empty for what is not about USB
};

/// "[ 2899.502800] usb 3-8.3: USB disconnect, device number 12".
KernelLine parse_line(std::string_view line) {
  KernelLine out{0, trim(line), {}};
  if (out.text.starts_with('[')) {
    const std::size_t end = out.text.find(']');
    if (end == std::string_view::npos) return out;
    const std::string_view stamp = trim(out.text.substr(1, end - 1));
    std::from_chars(stamp.data(), stamp.data() + stamp.size(), out.at_s);
    out.text = trim(out.text.substr(end + 1));
  }
  const bool about_usb = out.text.starts_with("usb ") || out.text.starts_with("hub ");
  if (!about_usb) return out;
  out.place = out.text.substr(4, out.text.find(": ") - 4);
  out.place = out.place.substr(0, out.place.find(':'));  // "1-4:1.0" is an interface of 1-4
  return out;
}

}  // namespace

std::vector<Fault> faults_in_kernel_log(std::string_view log) {
  std::vector<Fault> faults;
  std::map<std::string_view, std::map<std::string_view, bool>> told;
  std::map<std::string_view, std::vector<double>> disconnects;
  for (const std::string_view raw : split(log, '\n')) {
    const KernelLine line = parse_line(raw);
    if (line.place.empty()) continue;
    if (line.text.find("USB disconnect") != std::string_view::npos) disconnects[line.place].push_back(line.at_s);
    for (const KernelSign& sign : signs) {
      if (line.text.find(sign.says) == std::string_view::npos || std::exchange(told[line.place][sign.what], true))
        continue;
      faults.push_back({Code::usb_trouble,
                        Remedy::refuse,
                        std::string{sign.what},
                        {.slot = fmt::format("usb {}", line.place)},
                        fmt::format("the kernel said \"{}\"", line.text),
                        std::string{sign.advice}});
    }
  }
  for (const auto& [place, times] : disconnects) {
    if (times.size() < storm_of || times.back() - times[times.size() - storm_of] > storm_within_s) continue;
    faults.push_back(
        {Code::usb_trouble,
         Remedy::refuse,
         "what is plugged in there comes and goes",
         {.slot = fmt::format("usb {}", place)},
         fmt::format("{} disconnects within {:.0f} s", times.size(), times.back() - times.front()),
         "Check its plug, cable and power; a chip with USB of its own and without firmware does so by itself"});
  }
  return faults;
}

std::string_view taker_in_kernel_log(std::string_view log, std::string_view place) {
  std::string_view taker;
  for (const std::string_view raw : split(log, '\n')) {
    const KernelLine line = parse_line(raw);
    constexpr std::string_view key = " while '";
    const std::size_t at = line.text.find(key);
    if (line.place != place || at == std::string_view::npos || line.text.find("usbfs:") == std::string_view::npos)
      continue;
    taker = line.text.substr(at + key.size());
    taker = taker.substr(0, taker.find('\''));
  }
  return taker;
}

std::string read_kernel_log() {
  const FileHandle log{::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (!log.is_open()) return {};
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  std::string out;
  std::array<char, 8192> record;
  // A record a read, the oldest first; one that was overwritten meanwhile answers EPIPE.
  for (int reads = 0; reads < 100'000; ++reads) {
    const ssize_t count = ::read(log.get(), record.data(), record.size());
    if (count < 0 && errno == EPIPE) continue;
    if (count <= 0) break;
    // "6,339,5140900,-;usb 1-4: USB disconnect": level, number, microseconds, flags.
    const std::string_view text{record.data(), static_cast<std::size_t>(count)};
    const std::size_t body = text.find(';');
    const std::vector<std::string_view> head = split(text.substr(0, body), ',');
    if (body == std::string_view::npos || head.size() < 3) continue;
    const double at_s = static_cast<double>(parse_number(head[2]).value_or(0)) / 1e6;
    if (at_s + recent_s < static_cast<double>(now.tv_sec)) continue;
    const std::string_view message = text.substr(body + 1);
    out += fmt::format("[{:.6f}] {}\n", at_s, message.substr(0, message.find('\n')));
  }
  return out;
}

}  // namespace espmint
