// base/hash.hpp: the digests that flash, certificates and the ledger are compared by.
#pragma once

#include <array>

#include "base/bytes.hpp"

namespace espmint {

using Md5 = std::array<std::uint8_t, 16>;
using Sha256 = std::array<std::uint8_t, 32>;

Md5 md5_of(ByteView bytes);
Sha256 sha256_of(ByteView bytes);
/// SHA-256 over several pieces as if they were one.
Sha256 sha256_of(std::initializer_list<ByteView> pieces);

}  // namespace espmint
