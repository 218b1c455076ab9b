#include "io/usb_bus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>

#include "base/text.hpp"
#include "io/kernel_log.hpp"

namespace espmint {

namespace fs = std::filesystem;

namespace {

struct SerialDriver {
  std::uint16_t vendor_id, first_product_id, last_product_id;
  std::string_view chip;
  std::string_view module;
};
// Serial converters of boards, and the module that makes a port of each. WCH also sells hubs and programmers, FTDI
// parallel ones: so products are named. Source: USB ID Repository; Linux, the drivers' tables of ids.
constexpr std::array serial_drivers{
    SerialDriver{0x10c4, 0xea60, 0xea7f, "CP210x", "cp210x"},
    SerialDriver{0x1a86, 0x7522, 0x7523, "CH340", "ch341"},
    SerialDriver{0x1a86, 0x5523, 0x5523, "CH341", "ch341"},
    SerialDriver{0x1a86, 0x55d2, 0x55df, "CH910x", "cdc_acm"},
    SerialDriver{0x0403, 0x6001, 0x6001, "FT232", "ftdi_sio"},
    SerialDriver{0x0403, 0x6010, 0x6015, "FT2232", "ftdi_sio"},
    SerialDriver{0x067b, 0x2300, 0x23ff, "PL2303", "pl2303"},
    SerialDriver{0x303a, 0x0002, 0x0002, "Espressif USB", "cdc_acm"},
    SerialDriver{0x303a, 0x1001, 0x1001, "USB JTAG/serial", "cdc_acm"},
};

constexpr unsigned unit_load_hub_gives_ma = 400;  // four ports of 100 mA. Source: USB 2.0 specification, 7.2.1.1
constexpr unsigned self_powered = 0x40;           // of bmAttributes
constexpr std::array services{std::string_view{"brltty"}, std::string_view{"ModemManager"}};

std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return std::string{trim(line)};
}

unsigned hex(const std::string& text) {
  unsigned value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

unsigned decimal(const std::string& text) {
  unsigned value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

struct UsbInterface {
  std::string name;    // "1-4.2:1.0"
  std::string driver;  // "cp210x", "usbfs"; empty: none
  bool has_port = false;
};

struct UsbDevice {
  std::string place;  // "1-4.2"; "usb1" is a root hub
  std::uint16_t vendor_id = 0, product_id = 0;
  std::string product;
  bool is_hub = false, is_configured = true;
  unsigned attributes = self_powered, milliamperes = 0, bus = 0, number = 0;
  std::vector<UsbInterface> interfaces;
  [[nodiscard]] bool is_directly_behind(const UsbDevice& hub) const {
    const std::string start = hub.place + ".";
    return place.starts_with(start) && place.find('.', start.size()) == std::string::npos;
  }
};

/// What Linux shows of the bus. Source: Linux, Documentation/ABI, sysfs-bus-usb.
class Bus {
 public:
  explicit Bus(const SystemView& view) : root_(view.root), folder_(view.root / "sys/bus/usb/devices") {
    for (const std::string& name : names_in(folder_)) {
      if (name.find(':') == std::string::npos)
        devices_.push_back(read_device(name));
      else
        interfaces_.push_back(name);
    }
    for (const std::string& name : interfaces_)
      for (UsbDevice& device : devices_)
        if (device.place == name.substr(0, name.find(':'))) device.interfaces.push_back(read_interface(name));
  }
  [[nodiscard]] const std::vector<UsbDevice>& devices() const { return devices_; }

  /// Ports of hubs that were switched off: name ("1-4-port2") and how often.
  [[nodiscard]] std::vector<std::pair<std::string, unsigned>> over_currents() const {
    std::vector<std::pair<std::string, unsigned>> out;
    for (const std::string& interface : interfaces_)
      for (const std::string& name : names_in(folder_ / interface)) {
        if (name.find("-port") == std::string::npos) continue;
        const unsigned count = decimal(first_line(folder_ / interface / name / "over_current_count"));
        if (count > 0) out.emplace_back(name, count);
      }
    return out;
  }

  [[nodiscard]] bool is_loaded(std::string_view module) const {
    std::error_code ignored;
    return fs::exists(root_ / "sys/module" / module, ignored);
  }

 private:
  [[nodiscard]] UsbDevice read_device(const std::string& name) const {
    const fs::path at = folder_ / name;
    UsbDevice device;
    device.place = name;
    device.vendor_id = static_cast<std::uint16_t>(hex(first_line(at / "idVendor")));
    device.product_id = static_cast<std::uint16_t>(hex(first_line(at / "idProduct")));
    device.product = first_line(at / "product");
    device.is_hub = first_line(at / "bDeviceClass") == "09";
    std::error_code ignored;
    device.is_configured =
        !fs::exists(at / "bConfigurationValue", ignored) || !first_line(at / "bConfigurationValue").empty();
    if (const std::string text = first_line(at / "bmAttributes"); !text.empty()) device.attributes = hex(text);
    device.milliamperes = decimal(first_line(at / "bMaxPower"));
    device.bus = decimal(first_line(at / "busnum"));
    device.number = decimal(first_line(at / "devnum"));
    return device;
  }

  [[nodiscard]] UsbInterface read_interface(const std::string& name) const {
    const fs::path at = folder_ / name;
    UsbInterface interface { name, {}, false };
    std::error_code none;
    const fs::path driver = fs::read_symlink(at / "driver", none);
    if (!none) interface.driver = driver.filename().string();
    // usb-serial puts "ttyUSB0" here, cdc_acm "tty/ttyACM0".
    for (const std::string& child : names_in(at))
      if (child.starts_with("ttyUSB")) interface.has_port = true;
    interface.has_port = interface.has_port || !names_in(at / "tty").empty();
    return interface;
  }

  fs::path root_, folder_;
  std::vector<UsbDevice> devices_;
  std::vector<std::string> interfaces_;
};

bool is_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// "pid 812 (brltty)"; empty when no such process runs.
std::string process_named(const fs::path& root, std::string_view command) {
  for (const std::string& pid : names_in(root / "proc"))
    if (is_number(pid) && first_line(root / "proc" / pid / "comm") == command)
      return fmt::format("pid {} ({})", pid, command);
  return {};
}

/// Who holds the raw USB device open, which is how programs drive it past the kernel.
std::string holder_of_device(const fs::path& root, const UsbDevice& device) {
  const fs::path node = fmt::format("/dev/bus/usb/{:03}/{:03}", device.bus, device.number);
  for (const std::string& pid : names_in(root / "proc")) {
    if (!is_number(pid)) continue;
    for (const std::string& number : names_in(root / "proc" / pid / "fd")) {
      std::error_code unreadable;
      if (fs::read_symlink(root / "proc" / pid / "fd" / number, unreadable) == node)
        return fmt::format("pid {} ({})", pid, escape_controls(first_line(root / "proc" / pid / "comm")));
    }
  }
  return {};
}

const SerialDriver* serial_driver_of(const UsbDevice& device) {
  for (const SerialDriver& row : serial_drivers)
    if (device.vendor_id == row.vendor_id && device.product_id >= row.first_product_id &&
        device.product_id <= row.last_product_id)
      return &row;
  return nullptr;
}

std::string mend_of_service(std::string_view service) {
  if (service == "brltty")
    return "Run `sudo apt remove brltty` (it is for Braille displays and takes every adapter of this kind), then "
           "unplug and "
           "plug the board";
  return "Run `sudo cp packaging/60-espmint.rules /etc/udev/rules.d/ && sudo udevadm control --reload`, then plug the "
         "board "
         "anew; "
         "or `sudo systemctl stop ModemManager`";
}

Fault at_place(Code code, const UsbDevice& device, std::string what, std::string seen, std::string advice) {
  return {code, Remedy::refuse, std::move(what), {.slot = "usb " + device.place}, std::move(seen), std::move(advice)};
}

/// A converter that is there and has no port.
std::optional<Fault> portless(const Bus& bus, const UsbDevice& device, const SystemView& view, const std::string& log) {
  const SerialDriver* row = serial_driver_of(device);
  if (row == nullptr || device.is_hub || !device.is_configured) return std::nullopt;
  if (std::any_of(device.interfaces.begin(), device.interfaces.end(), [](const UsbInterface& i) { return i.has_port; }))
    return std::nullopt;
  std::string driver;
  for (const UsbInterface& interface : device.interfaces)
    if (!interface.driver.empty()) driver = interface.driver;
  const std::string name = device.product.empty() ? std::string{row->chip} : escape_controls(device.product);
  const std::string id = fmt::format("{:04x}:{:04x}", device.vendor_id, device.product_id);
  const bool past_the_kernel = driver == "usbfs" || driver.empty();
  std::string holder = driver == "usbfs" ? holder_of_device(view.root, device) : std::string{};
  // brltty lets go of an adapter that is no display, and leaves it without a driver.
  const bool brltty = taker_in_kernel_log(log, device.place) == "brltty" ||
                      holder.find("(brltty)") != std::string::npos ||
                      (past_the_kernel && holder.empty() && !process_named(view.root, "brltty").empty());
  if (past_the_kernel && brltty) {
    if (holder.empty()) holder = process_named(view.root, "brltty");
    return at_place(Code::port_claimed, device,
                    fmt::format("brltty has taken the {} that is plugged in, so it has no port", name),
                    holder.empty() ? fmt::format("{}, taken from its driver", id) : fmt::format("{}, {}", id, holder),
                    mend_of_service("brltty"));
  }
  if (driver == "usbfs")
    return at_place(
        Code::port_claimed, device, fmt::format("a program drives the {} itself, so it has no port", name),
        holder.empty() ? id + ", by a process that is not visible from here" : fmt::format("{}, {}", id, holder),
        "Close that program");
  if (!driver.empty())
    return at_place(Code::driver_missing, device,
                    fmt::format("a {} is plugged in, and its driver makes no port of it", name),
                    fmt::format("{}, driver {}", id, driver),
                    fmt::format("It needs {}: echo {} | sudo tee /sys/bus/usb/drivers/{}/unbind, then sudo modprobe {}",
                                row->module, device.interfaces.front().name, driver, row->module));
  const bool loaded = bus.is_loaded(row->module);
  return at_place(
      Code::driver_missing, device, fmt::format("a {} is plugged in but has no driver", name),
      fmt::format("{}, module {} is {}", id, row->module, loaded ? "loaded and not bound to it" : "not loaded"),
      loaded
          ? std::string{"Unplug it and plug it in again"}
          : fmt::format("Run `sudo modprobe {}`; where that finds no module, install linux-modules-extra-$(uname -r)",
                        row->module));
}

/// Hubs that live on their cable and have given more than it carries.
void look_at_power(const Bus& bus, std::vector<Fault>& out) {
  for (const UsbDevice& device : bus.devices())
    if (!device.is_configured)
      out.push_back(
          at_place(Code::usb_trouble, device, "the USB hub has no power left for this device",
                   fmt::format("{} wants {} mA and was not switched on",
                               device.product.empty() ? "it" : escape_controls(device.product), device.milliamperes),
                   "Use a hub with a power supply of its own, or plug the board into the machine"));
  for (const UsbDevice& hub : bus.devices()) {
    if (!hub.is_hub || hub.place.starts_with("usb") || (hub.attributes & self_powered) != 0) continue;
    unsigned wanted_ma = 0, count = 0;
    for (const UsbDevice& device : bus.devices())
      if (device.is_directly_behind(hub)) wanted_ma += device.milliamperes, ++count;
    if (wanted_ma <= unit_load_hub_gives_ma) continue;
    out.push_back(
        at_place(Code::usb_trouble, hub, "this USB hub has no supply of its own and too much hangs on it",
                 fmt::format("{} devices want {} mA, it may give {}", count, wanted_ma, unit_load_hub_gives_ma),
                 "Use a hub with a power supply of its own, or fewer boards on this one"));
  }
  for (const auto& [port, count] : bus.over_currents())
    out.push_back({Code::usb_trouble,
                   Remedy::refuse,
                   "a USB port was switched off: what hangs on it draws too much current",
                   {.slot = "usb " + port},
                   fmt::format("{} since the machine started", count == 1 ? "once" : fmt::format("{} times", count)),
                   "Look for a short on the board; use a hub with a power supply of its own"});
}

/// udev's record of a device node, "E:ID_MM_DEVICE_IGNORE=1" among its lines.
bool is_ignored(const fs::path& root, const fs::path& sys_device) {
  const std::string numbers = first_line(sys_device / "dev");
  if (numbers.empty()) return false;
  std::ifstream record(root / "run/udev/data" / ("c" + numbers));
  for (std::string line; std::getline(record, line);)
    if (line == "E:ID_MM_DEVICE_IGNORE=1" || line == "E:ID_MM_PORT_IGNORE=1") return true;
  return false;
}

}  // namespace

std::vector<Fault> usb_faults(const SystemView& view) {
  const Bus bus{view};
  std::vector<Fault> out;
  if (bus.devices().empty()) return out;
  const std::string log = view.kernel_log ? view.kernel_log() : std::string{};
  for (const UsbDevice& device : bus.devices())
    if (auto fault = portless(bus, device, view, log)) out.push_back(std::move(*fault));
  look_at_power(bus, out);
  for (Fault& fault : faults_in_kernel_log(log)) {
    const bool known = std::any_of(out.begin(), out.end(), [&fault](const Fault& f) {
      return f.where.slot == fault.where.slot && f.code == fault.code;
    });
    if (!known) out.push_back(std::move(fault));
  }
  return out;
}

std::optional<std::string> modem_manager_note(const std::string& port, const SystemView& view) {
  if (process_named(view.root, "ModemManager").empty()) return std::nullopt;
  const fs::path tty = view.root / "sys/class/tty" / fs::path{port}.filename();
  if (is_ignored(view.root, tty)) return std::nullopt;
  // The rule may stand at the USB device above it.
  std::error_code error;
  fs::path above = fs::canonical(tty / "device", error);
  for (int levels = 0; !error && levels < 4; ++levels, above = above.parent_path())
    if (fs::exists(above / "idVendor", error) && is_ignored(view.root, above)) return std::nullopt;
  return mend_of_service("ModemManager");
}

Fault busy_fault(const std::string& port, const std::string& holder) {
  for (const std::string_view service : services)
    if (holder.find(fmt::format("({})", service)) != std::string::npos)
      return {Code::port_claimed,  Remedy::refuse,          fmt::format("{} has taken {}", service, port), {},
              "held by " + holder, mend_of_service(service)};
  return {Code::port_busy,
          Remedy::retry,
          fmt::format("{} is in use", port),
          {},
          holder.empty() ? std::string{"held by a process that is not visible from here"} : "held by " + holder,
          "close that program; one that grabs every new port by itself (ModemManager, brltty) must be kept off"};
}

}  // namespace espmint
