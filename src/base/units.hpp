// base/units.hpp: numbers that know what they count. Raw integers live on the wire only.
#pragma once

#include <compare>
#include <cstdint>

namespace espmint {

/// A count of bytes.
using ByteCount = std::uint64_t;

inline namespace literals {
constexpr ByteCount operator""_KiB(unsigned long long n) { return n * 1024; }
constexpr ByteCount operator""_MiB(unsigned long long n) { return n * 1024 * 1024; }
}  // namespace literals

/// A place in flash, in bytes from its start.
struct FlashOffset {
  std::uint32_t bytes = 0;
  auto operator<=>(const FlashOffset&) const = default;
};

/// A stretch of flash.
struct FlashRange {
  FlashOffset at;
  std::uint32_t size = 0;  // bytes
  auto operator<=>(const FlashRange&) const = default;
  [[nodiscard]] std::uint64_t end() const { return std::uint64_t{at.bytes} + size; }
  [[nodiscard]] bool overlaps(const FlashRange& other) const {
    return at.bytes < other.end() && other.at.bytes < end();
  }
};

/// Symbols a second on a serial line.
struct Baud {
  std::uint32_t per_second = 115'200;
  auto operator<=>(const Baud&) const = default;
};

}  // namespace espmint
