// sim/nor_flash.hpp: NOR flash: erasing sets bits, programming only clears them, and both take their time.
#pragma once

#include <array>

#include "base/bytes.hpp"

namespace espmint::sim {

class NorFlash {
 public:
  static constexpr std::uint32_t sector = 4096, block = 65536, page = 256;

  explicit NorFlash(ByteSpan content) : content_(content) {}
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(content_.size()); }
  [[nodiscard]] bool contains(std::uint64_t at, std::uint64_t bytes) const { return at + bytes <= content_.size(); }
  [[nodiscard]] ByteView view() const { return content_; }
  /// What lies inside the chip; 0xff beyond its end.
  [[nodiscard]] Bytes read(std::uint32_t at, std::uint32_t bytes) const;
  void erase(std::uint32_t at, std::uint32_t bytes);
  void program(std::uint32_t at, ByteView bytes);
  [[nodiscard]] bool is_blank(std::uint32_t at, std::uint32_t bytes) const;
  [[nodiscard]] std::array<std::uint8_t, 16> md5(std::uint32_t at, std::uint32_t bytes) const;
  /// JEDEC id, manufacturer in the low byte: a GigaDevice part of this size.
  [[nodiscard]] std::uint32_t jedec_id() const;
  /// An old firmware's rests: nothing blank, nothing bootable.
  void make_dirty(std::uint64_t seed);

 private:
  ByteSpan content_;
};

}  // namespace espmint::sim
