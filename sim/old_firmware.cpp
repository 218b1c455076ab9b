#include "sim/old_firmware.hpp"

#include <fmt/format.h>

namespace espmint::sim {
namespace {

using std::chrono::seconds;
constexpr Time prompt_every = milliseconds{500};
constexpr Time read_timeout = milliseconds{1000};  // Arduino's Stream::setTimeout, as it comes
constexpr Time address_every = seconds{3};
constexpr std::size_t longest_line = 4096;

/// "26011bda" as "0x26 0x01 0x1b 0xda"; what is no hex digit counts as zero.
std::string as_hex_bytes(std::string_view text) {
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 0;
  };
  std::string out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out += fmt::format(" 0x{:02x}", digit(text[i]) << 4 | digit(text[i + 1]));
  return out;
}

}  // namespace

Nvs nvs_of(NorFlash flash, const std::vector<Partition>& table) {
  for (const Partition& row : table)
    if (row.type == 1 && row.subtype == 2) return {flash, row.at, row.size};
  return {flash, 0, 0};
}

Reaction OldFirmware::start(Time now) {
  provisioned_ = nvs_.get_u8(provision_space, provision_done) == 1;
  if (!provisioned_) {
    next_ = now;
    return {};
  }
  std::string text = "Provisioned\r\n";
  for (const OldSketch::Name& field : sketch_.fields)
    if (sketch_.shows)
      text += fmt::format("{}: {}\r\n", field.shown, nvs_.get_string(provision_space, field.key).value_or(""));
  if (sketch_.repeats_address) next_ = now + address_every;
  return {.says = to_bytes(text)};
}

Reaction OldFirmware::tick(Time now) {
  if (reading_) return take_line(now);
  if (!provisioned_) {
    next_ = now + prompt_every;
    return {.says = to_bytes("Provisioning\r\n")};
  }
  next_ = now + address_every;
  std::string first = nvs_.get_string(provision_space, sketch_.fields[0].key).value_or("");
  return {.says = to_bytes(fmt::format("{} en bytes:{}\r\n", sketch_.fields[0].shown, as_hex_bytes(first)))};
}

Reaction OldFirmware::hear(Time now, ByteView bytes) {
  for (std::uint8_t byte : bytes) {
    if (provisioned_ || restarting_) return {};
    reading_ = true;
    next_ = now + read_timeout;
    if (byte == '\n') {
      Reaction reaction = take_line(now);
      if (reaction.restarts) return reaction;
    } else if (line_.size() < longest_line) {
      line_ += static_cast<char>(byte);
    }
  }
  return {};
}

Reaction OldFirmware::take_line(Time now) {
  reading_ = false;
  next_ = now + prompt_every;
  std::string line = std::exchange(line_, {});
  if (line.ends_with('\r')) line.pop_back();
  if (line.find(',') == line.npos) return {};
  std::string_view rest = line;
  for (std::size_t i = 0; i < sketch_.fields.size() && sketch_.stores; ++i) {
    bool last = i + 1 == sketch_.fields.size();
    std::string_view field = last ? rest : rest.substr(0, rest.find(','));
    rest = field.size() < rest.size() ? rest.substr(field.size() + 1) : std::string_view{};
    nvs_.set_string(provision_space, sketch_.fields[i].key, field);
  }
  if (sketch_.stores) nvs_.set_u8(provision_space, provision_done, 1);
  restarting_ = true;
  next_.reset();
  return {.says = to_bytes("Provisioned\r\n"), .restarts = true};
}

}  // namespace espmint::sim
