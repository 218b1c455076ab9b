// sim/digest.hpp: the digests in firmware images and partition tables, and the ones the chip computes.
#pragma once

#include <openssl/evp.h>

#include "base/bytes.hpp"

namespace espmint::sim {

constexpr std::size_t digest_bytes = 32;  // of an appended SHA-256

/// `kind` is EVP_md5() or EVP_sha256().
Bytes digest(const EVP_MD* kind, ByteView);

}  // namespace espmint::sim
