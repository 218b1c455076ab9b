#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <tuple>

#include "base/text.hpp"
#include "io/system_ports.hpp"
#include "io/udev_handle.hpp"

namespace espmint {
namespace {

std::string text_or_empty(const char* text) { return text != nullptr ? std::string{trim(text)} : std::string{}; }

std::uint16_t usb_id(const char* hex) {
  std::uint16_t value = 0;
  if (hex != nullptr) std::from_chars(hex, hex + std::strlen(hex), value, 16);
  return value;
}

/// A UART that the board's designer placed, and that is really there: the PC's spare ttyS entries have type 0.
bool is_real_uart(udev_device* device) {
  if (udev_device_get_parent(device) == nullptr) return false;
  const char* type = udev_device_get_sysattr_value(device, "type");
  return type == nullptr || std::string_view{type} != "0";
}

/// "usb-1-4.2" for the hub port "1-4.2"; a converter with several ports adds the interface, "usb-1-4.2:1.1".
std::string usb_place(udev_device* usb, udev_device* interface) {
  std::string place = fmt::format("usb-{}", udev_device_get_sysname(usb));
  if (interface == nullptr) return place;
  const std::string_view name = udev_device_get_sysname(interface);
  const std::size_t colon = name.find(':');
  if (colon != std::string_view::npos && !name.ends_with(".0")) place += name.substr(colon);
  return place;
}

std::optional<PortInfo> port_of(udev_device* device, bool udev_runs) {
  const char* node = udev_device_get_devnode(device);
  // A container sees the host's devices in /sys, but has only those nodes it was given.
  if (node == nullptr || ::access(node, F_OK) != 0) return std::nullopt;
  PortInfo info;
  info.name = node;
  info.location = node;
  udev_device* usb = udev_device_get_parent_with_subsystem_devtype(device, "usb", "usb_device");
  if (usb == nullptr) {
    if (!is_real_uart(device)) return std::nullopt;
    info.product = "built-in UART";
    return info;
  }
  // Until udev is done with it, group and links are missing; it will say so (or the next rescan finds it).
  if (udev_runs && udev_device_get_is_initialized(device) == 0) return std::nullopt;
  info.vendor_id = usb_id(udev_device_get_sysattr_value(usb, "idVendor"));
  info.product_id = usb_id(udev_device_get_sysattr_value(usb, "idProduct"));
  info.product = text_or_empty(udev_device_get_sysattr_value(usb, "product"));
  info.serial = text_or_empty(udev_device_get_sysattr_value(usb, "serial"));
  const char* path = udev_device_get_property_value(device, "ID_PATH");
  info.location = path != nullptr
                      ? std::string{path}
                      : usb_place(usb, udev_device_get_parent_with_subsystem_devtype(device, "usb", "usb_interface"));
  return info;
}

struct Adapter {
  std::uint16_t vendor_id;
  std::uint16_t first_product_id;
  std::uint16_t last_product_id;
  std::string_view name;
};
// Source: USB ID Repository. WCH has given CH34x and CH910x many ids, so its whole vendor id counts, as do FTDI's
// and Espressif's; of Silicon Labs and Prolific only the serial converters.
constexpr std::array adapters{
    Adapter{0x10c4, 0xea60, 0xea7f, "Silicon Labs CP210x"}, Adapter{0x1a86, 0x0000, 0xffff, "WCH CH34x, CH910x"},
    Adapter{0x0403, 0x0000, 0xffff, "FTDI FT2xx"},          Adapter{0x067b, 0x2300, 0x23ff, "Prolific PL2303"},
    Adapter{0x303a, 0x0000, 0xffff, "Espressif"},
};

}  // namespace

std::vector<PortInfo> list_ports() {
  std::vector<PortInfo> ports;
  const UdevHandle<udev> library(udev_new());
  if (!library) return ports;
  const bool udev_runs = ::access("/run/udev/control", F_OK) == 0;
  const UdevHandle<udev_enumerate> search(udev_enumerate_new(library.get()));
  if (!search || udev_enumerate_add_match_subsystem(search.get(), "tty") < 0 ||
      udev_enumerate_scan_devices(search.get()) < 0) {
    return ports;
  }
  for (udev_list_entry* entry = udev_enumerate_get_list_entry(search.get()); entry != nullptr;
       entry = udev_list_entry_get_next(entry)) {
    const std::string_view path = udev_list_entry_get_name(entry);
    // Consoles and the like: no hardware behind them, and most of the list.
    if (path.starts_with("/sys/devices/virtual/")) continue;
    const UdevHandle<udev_device> device(udev_device_new_from_syspath(library.get(), path.data()));
    if (!device) continue;
    if (auto port = port_of(device.get(), udev_runs)) ports.push_back(std::move(*port));
  }
  std::sort(ports.begin(), ports.end(), [](const PortInfo& a, const PortInfo& b) {
    return std::tie(a.location, a.name) < std::tie(b.location, b.name);
  });
  return ports;
}

bool is_known_adapter(const PortInfo& port) {
  return std::any_of(adapters.begin(), adapters.end(), [&](const Adapter& row) {
    return port.vendor_id == row.vendor_id && port.product_id >= row.first_product_id &&
           port.product_id <= row.last_product_id;
  });
}

}  // namespace espmint
