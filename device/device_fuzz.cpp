// Any bytes in any pieces: nothing that is not whole is kept, nothing that was kept changes, and no bytes of the key
// come back. The first byte chooses dialect and number of fields, the others are sent, 0xfe as a pause.
#include <cstdlib>
#include <cstring>

#include "device/include/espmint_device.hpp"

namespace {

using namespace espmint::device;

constexpr const char* names[]{"a", "b", "c", "d"};

struct Memory final : Storage {
  std::uint8_t bytes[max_fields][max_field_bytes];
  std::size_t sizes[max_fields], count = 0;
  bool locked = false;
  State state() override { return count == 0 ? State::unprovisioned : locked ? State::locked : State::provisioned; }
  int read(std::size_t index, std::uint8_t* into) override {
    if (index >= count) return -1;
    std::memcpy(into, bytes[index], sizes[index]);
    return static_cast<int>(sizes[index]);
  }
  bool commit(const View* fields, std::size_t number) override {
    if (count != 0 || number == 0 || number > max_fields) std::abort();
    for (std::size_t i = 0; i < number; ++i) {
      if (fields[i].size == 0 || fields[i].size > max_field_bytes) std::abort();
      if (std::memchr(fields[i].data, '\n', fields[i].size) || std::memchr(fields[i].data, 0, fields[i].size))
        std::abort();
      std::memcpy(bytes[i], fields[i].data, sizes[i] = fields[i].size);
    }
    count = number;
    return true;
  }
  bool lock() override { return locked = true; }
};

struct Sink final : SerialLine {
  void write(View bytes) override {
    if (bytes.size > 700) std::abort();
  }
};

struct App final : Application {
  void restart() override {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Dialect dialect = (data[0] & 1) != 0 ? Dialect::line : Dialect::framed;
  std::size_t fields = 1 + (data[0] >> 1) % 4;
  Memory memory;
  Sink sink;
  App app;
  Provisioner provisioner{{dialect, names, fields, {2, 2, 2, 2, 2, 2}, "1"}, memory, sink, app};
  std::uint32_t now = 0;
  for (std::size_t at = 1; at < size;) {
    const void* found = std::memchr(data + at, 0xfe, size - at);
    std::size_t end = found ? static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - data) : size;
    provisioner.receive(data + at, end - at);
    for (int i = 0; i < 6; ++i) provisioner.poll(now += 250);
    at = end + 1;
  }
  if (memory.count != 0 && memory.count != fields) std::abort();
  return 0;
}
