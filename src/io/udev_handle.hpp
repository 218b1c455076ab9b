// io/udev_handle.hpp: inside this room: what libudev hands out is given back.
#pragma once

#include <libudev.h>

#include <memory>

namespace espmint {

struct UdevUnref {
  void operator()(udev* p) const { udev_unref(p); }
  void operator()(udev_enumerate* p) const { udev_enumerate_unref(p); }
  void operator()(udev_monitor* p) const { udev_monitor_unref(p); }
  void operator()(udev_device* p) const { udev_device_unref(p); }
};
template <typename T>
using UdevHandle = std::unique_ptr<T, UdevUnref>;

}  // namespace espmint
