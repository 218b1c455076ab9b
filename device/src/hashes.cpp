#include "hashes.hpp"

namespace espmint::device {
namespace {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr std::uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr std::uint32_t rotate(std::uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

}  // namespace

void Sha256::compress() {
  std::uint32_t schedule[64];
  for (int i = 0; i < 16; ++i)
    schedule[i] = static_cast<std::uint32_t>(block_[4 * i]) << 24 |
                  static_cast<std::uint32_t>(block_[4 * i + 1]) << 16 |
                  static_cast<std::uint32_t>(block_[4 * i + 2]) << 8 | block_[4 * i + 3];
  for (int i = 16; i < 64; ++i) {
    std::uint32_t near = schedule[i - 15], far = schedule[i - 2];
    std::uint32_t sigma0 = rotate(near, 7) ^ rotate(near, 18) ^ near >> 3;
    std::uint32_t sigma1 = rotate(far, 17) ^ rotate(far, 19) ^ far >> 10;
    schedule[i] = schedule[i - 16] + sigma0 + schedule[i - 7] + sigma1;
  }
  std::uint32_t a = hash_[0], b = hash_[1], c = hash_[2], d = hash_[3];
  std::uint32_t e = hash_[4], f = hash_[5], g = hash_[6], h = hash_[7];
  for (int i = 0; i < 64; ++i) {
    std::uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
    std::uint32_t one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + choice + round_constants[i] + schedule[i];
    std::uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + majority;
    h = g, g = f, f = e, e = d + one;
    d = c, c = b, b = a, a = one + two;
  }
  hash_[0] += a, hash_[1] += b, hash_[2] += c, hash_[3] += d;
  hash_[4] += e, hash_[5] += f, hash_[6] += g, hash_[7] += h;
  wipe(schedule, sizeof schedule);
}

void Sha256::add(const std::uint8_t* bytes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    block_[total_bytes_++ % 64] = bytes[i];
    if (total_bytes_ % 64 == 0) compress();
  }
}

void Sha256::finish(std::uint8_t* digest) {
  std::uint64_t total_bits = total_bytes_ * 8;
  const std::uint8_t one_bit = 0x80, zero = 0;
  add(&one_bit, 1);
  while (total_bytes_ % 64 != 56) add(&zero, 1);
  for (int shift = 56; shift >= 0; shift -= 8) {
    auto byte = static_cast<std::uint8_t>(total_bits >> shift);
    add(&byte, 1);
  }
  for (int i = 0; i < 32; ++i) digest[i] = static_cast<std::uint8_t>(hash_[i / 4] >> (24 - 8 * (i % 4)));
  wipe(block_, sizeof block_);
}

std::uint32_t crc32(const std::uint8_t* bytes, std::size_t count) {
  std::uint32_t crc = 0xffffffff;
  for (std::size_t i = 0; i < count; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

void wipe(void* bytes, std::size_t count) {
  volatile auto* byte = static_cast<volatile std::uint8_t*>(bytes);
  while (count-- > 0) *byte++ = 0;
}

}  // namespace espmint::device
