#include "base/mac.hpp"

#include <algorithm>

#include "base/bytes.hpp"

namespace espmint {

std::string to_string(const Mac& mac) { return to_hex(mac.octets); }

std::string to_string_with_colons(const Mac& mac) {
  std::string out;
  for (std::uint8_t octet : mac.octets) {
    if (!out.empty()) out.push_back(':');
    out += to_hex(ByteView{&octet, 1});
  }
  return out;
}

std::optional<Mac> parse_mac(std::string_view text) {
  std::string digits;
  if (text.size() == 17) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (i % 3 == 2) {
        if (text[i] != ':' && text[i] != '-') return std::nullopt;
      } else {
        digits.push_back(text[i]);
      }
    }
  } else {
    digits = text;
  }
  auto octets = from_hex(digits);
  if (!octets || octets->size() != 6) return std::nullopt;
  Mac mac;
  std::copy(octets->begin(), octets->end(), mac.octets.begin());
  return mac;
}

}  // namespace espmint
