// sim/device_firmware.hpp: the very code of device/ on a virtual board, with NVS on its flash.
#pragma once

#include "device/include/espmint_device.hpp"
#include "sim/old_firmware.hpp"

namespace espmint::sim {

/// Mistakes of whoever builds firmware around device/.
enum class DeviceFlaw {
  none,
  forgets,      // what it stores is gone after a restart
  keeps_other,  // after a restart its storage gives back other bytes
  other_mac,    // it takes itself for another board
};

class DeviceFirmware final : public AppFirmware,
                             private device::Storage,
                             private device::SerialLine,
                             private device::Application {
 public:
  /// Three fields, `key1` to `key3`.
  DeviceFirmware(device::Dialect, const Mac&, Nvs, DeviceFlaw = DeviceFlaw::none);
  Reaction start(Time now) override { return tick(now); }
  Reaction hear(Time now, ByteView) override;
  [[nodiscard]] std::optional<Time> next_tick() const override { return next_; }
  Reaction tick(Time now) override;

 private:
  device::State state() override;
  int read(std::size_t index, std::uint8_t* into) override;
  bool commit(const device::View* fields, std::size_t count) override;
  bool lock() override;
  void write(device::View) override;
  void restart() override { restarts_ = true; }
  std::size_t selftest(device::SelftestValue* into, std::size_t room) override;
  Reaction react();

  Nvs nvs_;
  DeviceFlaw flaw_;
  std::array<std::string, 3> in_memory_;  // of one that forgets
  bool stored_now_ = false;               // since its start
  Bytes said_;
  bool restarts_ = false;
  std::optional<Time> next_;
  Time heard_at_{};
  device::Provisioner provisioner_;
};

}  // namespace espmint::sim
