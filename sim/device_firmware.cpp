#include "sim/device_firmware.hpp"

namespace espmint::sim {
namespace {

constexpr std::string_view provision_locked = "locked";
constexpr const char* key_names[]{"key1", "key2", "key3"};
constexpr Time loop_every = milliseconds{50};
constexpr Time settled_after = milliseconds{2000};  // what was cut off is forgotten, the restart done

device::Options options_of(device::Dialect dialect, const Mac& mac, DeviceFlaw flaw) {
  device::Options options;
  options.dialect = dialect;
  options.names = key_names;
  options.fields = std::size(key_names);
  std::copy(mac.octets.begin(), mac.octets.end(), options.mac);
  options.firmware = "sim 1.0.0";
  if (flaw == DeviceFlaw::other_mac) options.mac[5] ^= 1;
  return options;
}

}  // namespace

DeviceFirmware::DeviceFirmware(device::Dialect dialect, const Mac& mac, Nvs nvs, DeviceFlaw flaw)
    : nvs_(nvs), flaw_(flaw), provisioner_(options_of(dialect, mac, flaw), *this, *this, *this) {}

Reaction DeviceFirmware::hear(Time now, ByteView bytes) {
  provisioner_.receive(bytes.data(), bytes.size());
  heard_at_ = now;
  if (!next_) next_ = now + loop_every;
  return react();
}

Reaction DeviceFirmware::tick(Time now) {
  provisioner_.poll(static_cast<std::uint32_t>(now / milliseconds{1}));
  // A board that has its key and hears nothing need not wake.
  bool idle = provisioner_.state() != device::State::unprovisioned && now - heard_at_ > settled_after;
  next_ = idle ? std::nullopt : std::optional{now + loop_every};
  return react();
}

Reaction DeviceFirmware::react() {
  if (restarts_) next_.reset();
  return {.says = std::exchange(said_, {}), .restarts = std::exchange(restarts_, false)};
}

device::State DeviceFirmware::state() {
  if (flaw_ == DeviceFlaw::forgets) return stored_now_ ? device::State::provisioned : device::State::unprovisioned;
  if (nvs_.get_u8(provision_space, provision_done).value_or(0) == 0) return device::State::unprovisioned;
  return nvs_.get_u8(provision_space, provision_locked).value_or(0) == 0 ? device::State::provisioned
                                                                         : device::State::locked;
}

int DeviceFirmware::read(std::size_t index, std::uint8_t* into) {
  std::optional<std::string> text = nvs_.get_string(provision_space, key_names[index]);
  if (flaw_ == DeviceFlaw::forgets) text = in_memory_[index];
  if (text && flaw_ == DeviceFlaw::keeps_other && !stored_now_) text->back() ^= 1;
  if (!text || text->size() > device::max_field_bytes) return -1;
  std::copy(text->begin(), text->end(), into);
  return static_cast<int>(text->size());
}

bool DeviceFirmware::commit(const device::View* fields, std::size_t count) {
  stored_now_ = true;
  if (flaw_ == DeviceFlaw::forgets) {
    for (std::size_t i = 0; i < count; ++i) in_memory_[i] = as_text({fields[i].data, fields[i].size});
    return true;
  }
  for (std::size_t i = 0; i < count; ++i)
    if (!nvs_.set_string(provision_space, key_names[i], as_text({fields[i].data, fields[i].size}))) return false;
  return nvs_.set_u8(provision_space, provision_done, 1);
}

bool DeviceFirmware::lock() { return nvs_.set_u8(provision_space, provision_locked, 1); }

void DeviceFirmware::write(device::View bytes) { append(said_, {bytes.data, bytes.size}); }

std::size_t DeviceFirmware::selftest(device::SelftestValue* into, std::size_t) {
  into[0] = {"vbat_mv", 3301};
  into[1] = {"temp_dc", 231};
  return 2;
}

}  // namespace espmint::sim
