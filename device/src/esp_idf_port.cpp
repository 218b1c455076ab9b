#ifdef ESP_PLATFORM

#include <cstring>

#include "../include/espmint_esp_idf.hpp"
#include "hashes.hpp"
#include "nvs.h"
#ifndef ARDUINO
#include "driver/uart.h"
#include "freertos/FreeRTOS.h"
#endif

namespace espmint::device {
namespace {

constexpr char done[] = "done", locked[] = "locked";

/// An open namespace; closed at its end.
class Handle {
 public:
  Handle(const char* name_space, nvs_open_mode_t mode) : open_(nvs_open(name_space, mode, &handle_) == ESP_OK) {}
  ~Handle() {
    if (open_) nvs_close(handle_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  bool is_open() const { return open_; }
  nvs_handle_t get() const { return handle_; }
  bool is_set(const char* key) const {
    std::uint8_t value = 0;
    return open_ && nvs_get_u8(handle_, key, &value) == ESP_OK && value != 0;
  }

 private:
  nvs_handle_t handle_ = 0;
  bool open_;
};

}  // namespace

State NvsStorage::state() {
  Handle nvs{name_space_, NVS_READONLY};
  if (!nvs.is_set(done)) return State::unprovisioned;
  return nvs.is_set(locked) ? State::locked : State::provisioned;
}

int NvsStorage::read(std::size_t index, std::uint8_t* into) {
  Handle nvs{name_space_, NVS_READONLY};
  if (!nvs.is_open() || index >= count_) return -1;
  char text[max_field_bytes + 1];
  std::size_t size = sizeof text;  // with the NUL
  int length = -1;
  if (nvs_get_str(nvs.get(), names_[index], text, &size) == ESP_OK && size > 0) {
    length = static_cast<int>(size - 1);
    std::memcpy(into, text, size - 1);
  }
  wipe(text, sizeof text);
  return length;
}

/// Each nvs_set_ reaches the flash by itself: `done` comes last, and the commit says that it has.
bool NvsStorage::commit(const View* fields, std::size_t count) {
  Handle nvs{name_space_, NVS_READWRITE};
  if (!nvs.is_open() || count != count_) return false;
  char text[max_field_bytes + 1];
  bool good = true;
  for (std::size_t i = 0; i < count && good; ++i) {
    good = fields[i].size <= max_field_bytes;
    if (!good) break;
    std::memcpy(text, fields[i].data, fields[i].size);
    text[fields[i].size] = 0;
    good = nvs_set_str(nvs.get(), names_[i], text) == ESP_OK;
  }
  wipe(text, sizeof text);
  return good && nvs_set_u8(nvs.get(), done, 1) == ESP_OK && nvs_commit(nvs.get()) == ESP_OK;
}

bool NvsStorage::lock() {
  Handle nvs{name_space_, NVS_READWRITE};
  return nvs.is_open() && nvs_set_u8(nvs.get(), locked, 1) == ESP_OK && nvs_commit(nvs.get()) == ESP_OK;
}

#ifndef ARDUINO
void UartLine::write(View bytes) { uart_write_bytes(static_cast<uart_port_t>(port_), bytes.data, bytes.size); }

std::size_t UartLine::read(std::uint8_t* into, std::size_t room) {
  int count = uart_read_bytes(static_cast<uart_port_t>(port_), into, room, pdMS_TO_TICKS(20));
  return count > 0 ? static_cast<std::size_t>(count) : 0;
}
#endif

}  // namespace espmint::device

#endif  // ESP_PLATFORM
