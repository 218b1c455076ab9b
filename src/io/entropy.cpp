#include "io/entropy.hpp"

#include <openssl/rand.h>

#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>

namespace espmint {
namespace {

class SystemEntropy final : public Entropy {
 public:
  void fill(ByteSpan into) override {
    // Without randomness every key is a lie: there is no way on.
    if (RAND_bytes(into.data(), static_cast<int>(into.size())) != 1) {
      std::fputs("espmint: the system gives no randomness\n", stderr);
      std::abort();
    }
  }
};

/// xoshiro256** seeded by splitmix64: quick and repeatable, no secret. Source: Blackman and Vigna, Scrambled Linear
/// Pseudorandom Number Generators.
class SeededEntropy final : public Entropy {
 public:
  explicit SeededEntropy(std::uint64_t seed);
  ~SeededEntropy() override;
  SeededEntropy(const SeededEntropy&) = delete;
  SeededEntropy& operator=(const SeededEntropy&) = delete;
  void fill(ByteSpan into) override {
    std::size_t at = 0;
    while (at < into.size()) {
      const std::uint64_t word = next();
      const std::size_t count = std::min<std::size_t>(8, into.size() - at);
      for (std::size_t i = 0; i < count; ++i) into[at + i] = static_cast<std::uint8_t>(word >> (8 * i));
      at += count;
    }
  }

 private:
  std::uint64_t next() {
    const std::uint64_t out = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return out;
  }

  std::array<std::uint64_t, 4> state_{};
};

// OpenSSL's method is a table of plain functions, so the living generator has to be found from there.
SeededEntropy* living = nullptr;

int draw(unsigned char* into, int count) {
  living->fill({into, static_cast<std::size_t>(count)});
  return 1;
}
int always_ready() { return 1; }

// RAND_set_rand_method is deprecated in OpenSSL 3; its successor, a provider, is a library of its own for the same end.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
const RAND_METHOD seeded_method{nullptr, draw, nullptr, nullptr, draw, always_ready};

void let_openssl_draw_from(SeededEntropy* entropy) {
  living = entropy;
  RAND_set_rand_method(entropy != nullptr ? &seeded_method : nullptr);
}
#pragma GCC diagnostic pop

SeededEntropy::SeededEntropy(std::uint64_t seed) {
  for (std::uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    std::uint64_t mixed = seed;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    word = mixed ^ (mixed >> 31);
  }
  if (living != nullptr) {
    std::fputs("espmint: two seeded entropies at once would not repeat\n", stderr);
    std::abort();
  }
  let_openssl_draw_from(this);
}

SeededEntropy::~SeededEntropy() { let_openssl_draw_from(nullptr); }

}  // namespace

std::unique_ptr<Entropy> make_system_entropy() { return std::make_unique<SystemEntropy>(); }
std::unique_ptr<Entropy> make_seeded_entropy(std::uint64_t seed) { return std::make_unique<SeededEntropy>(seed); }

}  // namespace espmint
