// base/mac.hpp: a board's base MAC address, as burnt into eFuse.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace espmint {

struct Mac {
  std::array<std::uint8_t, 6> octets{};
  auto operator<=>(const Mac&) const = default;
};

std::string to_string(const Mac& mac);              // "24d7eb123456", how ids, JSON and the ledger write it
std::string to_string_with_colons(const Mac& mac);  // "24:d7:eb:12:34:56"
/// Accepts both forms, any case; nothing for anything else.
std::optional<Mac> parse_mac(std::string_view text);

}  // namespace espmint
