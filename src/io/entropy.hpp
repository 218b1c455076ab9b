// io/entropy.hpp: randomness as something handed in.
#pragma once

#include <memory>

#include "base/bytes.hpp"

namespace espmint {

class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual void fill(ByteSpan) = 0;
};

/// The system's; OpenSSL's own generator behind it.
std::unique_ptr<Entropy> make_system_entropy();

/// One seed, one sequence; while it lives OpenSSL draws from it too (keys and ECDSA repeat). Tests only; one at a time.
std::unique_ptr<Entropy> make_seeded_entropy(std::uint64_t seed);

}  // namespace espmint
