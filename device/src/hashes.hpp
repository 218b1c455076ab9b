// hashes.hpp: SHA-256 and CRC-32, small rather than fast, so that the component needs no library.
#pragma once

#include <cstddef>
#include <cstdint>

namespace espmint::device {

/// Source: FIPS 180-4, sections 4.1.2, 4.2.2, 5.3.3, 6.2.
class Sha256 {
 public:
  void add(const std::uint8_t* bytes, std::size_t count);
  /// Into 32 bytes; nothing may be added afterwards.
  void finish(std::uint8_t* digest);

 private:
  void compress();
  std::uint32_t hash_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::uint64_t total_bytes_ = 0;
  std::uint8_t block_[64] = {};
};

/// The CRC of Ethernet and zlib: reflected polynomial 0xedb88320, starts with and ends inverted by 0xffffffff. Source:
/// IEEE 802.3, section 3.2.9.
std::uint32_t crc32(const std::uint8_t* bytes, std::size_t count);

/// Zeros that the compiler may not leave out.
void wipe(void* bytes, std::size_t count);

}  // namespace espmint::device
