#include "io/hub_power.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

#include "io/descriptor.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

Result<void> write_switch(const fs::path& file, char value) {
  FileHandle handle{::open(file.c_str(), O_WRONLY | O_CLOEXEC)};
  if (handle.is_open() && ::write(handle.get(), &value, 1) == 1) return ok();
  const int error = errno;
  const bool denied = error == EACCES || error == EPERM;
  return fail({denied ? Code::port_denied : Code::port_failed,
               Remedy::refuse,
               "the hub's port cannot be switched",
               {},
               fmt::format("{}: {}", file.string(), error_text(error)),
               denied ? "root may; a udev rule may give you the file" : ""});
}

}  // namespace

std::optional<fs::path> power_switch_of(const std::string& tty, const fs::path& tty_class) {
  std::error_code error;
  const fs::path node = fs::weakly_canonical(tty, error).filename();
  fs::path device = fs::canonical(tty_class / node / "device", error);
  if (error) return std::nullopt;
  // From the interface up to the device, whose link `port` leads into the hub.
  for (; device.has_relative_path(); device = device.parent_path()) {
    if (!fs::exists(device / "idVendor", error)) continue;
    fs::path file = fs::canonical(device / "port", error) / "disable";
    if (!error && fs::exists(file, error)) return file;
    return std::nullopt;
  }
  return std::nullopt;
}

Task<Result<void>> switch_off_and_on(fs::path power_switch, Clock& clock, Duration off) {
  CO_TRY(write_switch(power_switch, '1'));
  co_await clock.sleep_for(off);
  co_return write_switch(power_switch, '0');
}

}  // namespace espmint
