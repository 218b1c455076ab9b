// espmint_esp_idf.hpp: the hand-shake's storage and line on a chip: NVS and UART. For ESP-IDF, and the storage for
// Arduino-ESP32 too. nvs_flash_init() comes first.
#pragma once

#include "espmint_device.hpp"

namespace espmint::device {

/// The key in the NVS partition `nvs`: a string under each name, then `done` u8 = 1; `locked` u8 = 1 after LOCK.
/// Source: docs/formats/handshake.md, In NVS.
class NvsStorage final : public Storage {
 public:
  /// Names have at most 15 characters and, as the namespace, outlive this object.
  NvsStorage(const char* const* names, std::size_t count, const char* name_space = "provision")
      : names_(names), count_(count), name_space_(name_space) {}
  State state() override;
  int read(std::size_t index, std::uint8_t* into) override;
  bool commit(const View* fields, std::size_t count) override;
  bool lock() override;

 private:
  const char* const* names_;
  std::size_t count_;
  const char* name_space_;
};

#ifndef ARDUINO
/// A UART whose driver the application has installed with a receive buffer of at least 2304 bytes: the longest frame,
/// and what comes behind it.
class UartLine final : public SerialLine {
 public:
  explicit UartLine(int port) : port_(port) {}
  void write(View) override;
  /// What has come within 20 ms, at most `room` bytes; for Provisioner::receive().
  std::size_t read(std::uint8_t* into, std::size_t room);

 private:
  int port_;
};
#endif

}  // namespace espmint::device
