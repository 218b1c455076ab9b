// io/hotplug.hpp: inside this room: the watcher with its places named, so that a test can bring its own folder.
#pragma once

#include <filesystem>
#include <functional>

#include "io/system_ports.hpp"

namespace espmint {

struct WatchedPlaces {
  std::filesystem::path folder = "/dev";  // where nodes come and go
  std::function<std::vector<PortInfo>()> list = list_ports;
  bool listens_to_udev = true;
  Duration rescan = std::chrono::seconds{2};
};

std::unique_ptr<PortWatcher> make_port_watcher(Loop&, WatchedPlaces);

}  // namespace espmint
