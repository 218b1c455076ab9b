// sim/dice.hpp: the virtual board's own randomness: one seed, one sequence, on every machine.
#pragma once

#include <cstdint>

namespace espmint::sim {

/// SplitMix64. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t roll() {
    std::uint64_t z = state_ += 0x9e37'79b9'7f4a'7c15;
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
    return z ^ z >> 31;
  }
  std::uint8_t byte() { return static_cast<std::uint8_t>(roll() >> 32); }
  /// 0 … below-1.
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : roll() % bound; }

 private:
  std::uint64_t state_;
};

}  // namespace espmint::sim
