#include "sim/nor_flash.hpp"

#include <openssl/evp.h>

#include <bit>

#include "sim/dice.hpp"

namespace espmint::sim {

Bytes NorFlash::read(std::uint32_t at, std::uint32_t bytes) const {
  Bytes out(bytes, 0xff);
  if (at < content_.size()) {
    std::size_t there = std::min<std::size_t>(bytes, content_.size() - at);
    std::copy_n(content_.begin() + at, there, out.begin());
  }
  return out;
}

void NorFlash::erase(std::uint32_t at, std::uint32_t bytes) {
  if (at >= content_.size()) return;
  std::size_t there = std::min<std::size_t>(bytes, content_.size() - at);
  std::memset(content_.data() + at, 0xff, there);
}

void NorFlash::program(std::uint32_t at, ByteView bytes) {
  for (std::size_t i = 0; i < bytes.size() && at + i < content_.size(); ++i) content_[at + i] &= bytes[i];
}

bool NorFlash::is_blank(std::uint32_t at, std::uint32_t bytes) const {
  if (at >= content_.size()) return true;
  ByteView there = ByteView{content_}.subspan(at, std::min<std::size_t>(bytes, content_.size() - at));
  if (there.empty() || there[0] != 0xff) return there.empty();
  return std::memcmp(there.data(), there.data() + 1, there.size() - 1) == 0;
}

std::array<std::uint8_t, 16> NorFlash::md5(std::uint32_t at, std::uint32_t bytes) const {
  std::array<std::uint8_t, 16> digest{};
  unsigned length = 0;
  if (contains(at, bytes)) {
    EVP_Digest(content_.data() + at, bytes, digest.data(), &length, EVP_md5(), nullptr);
  } else {
    Bytes padded = read(at, bytes);
    EVP_Digest(padded.data(), padded.size(), digest.data(), &length, EVP_md5(), nullptr);
  }
  return digest;
}

std::uint32_t NorFlash::jedec_id() const {
  return 0x0040c8u | static_cast<std::uint32_t>(std::bit_width(content_.size()) - 1) << 16;
}

void NorFlash::make_dirty(std::uint64_t seed) {
  Dice dice{seed};
  for (std::size_t i = 0; i + 8 <= content_.size(); i += 8) {
    std::uint64_t word = dice.roll();
    std::memcpy(content_.data() + i, &word, 8);
  }
}

}  // namespace espmint::sim
