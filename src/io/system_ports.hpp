// io/system_ports.hpp: the real ports of this machine: ttys with any baud, RFC 2217, TCP; and who comes and goes.
#pragma once

#include "io/loop.hpp"
#include "io/port.hpp"

namespace espmint {

/// "/dev/…" (or any path to a tty), "rfc2217://host:port", "socket://host:port".
std::unique_ptr<PortOpener> make_system_port_opener(Loop&);

/// Serial ports of this machine now, sorted by location: USB-serial of any id, and built-in UARTs that exist.
std::vector<PortInfo> list_ports();

/// Adapters that boards use (CP210x, CH34x/CH910x, FTDI, PL2303, Espressif 303A); others are touched only when named.
bool is_known_adapter(const PortInfo&);

/// udev where it runs (/run/udev/control), else the kernel's events, always inotify on /dev, and a rescan every 2 s.
std::unique_ptr<PortWatcher> make_port_watcher(Loop&);

/// Who holds this device: "pid 4711 (screen)", empty when nobody visible does. Reads /proc.
std::string holder_of(const std::string& device);

}  // namespace espmint
