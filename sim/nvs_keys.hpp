// sim/nvs_keys.hpp: encrypted NVS as a virtual board reads it: XTS-AES-256, entry by entry, with keys from its
// partition nvs_keys or derived from an HMAC key in eFuse.
//   Bytes clear = decrypt_nvs(partition, *parse_nvs_keys(keys));
//   Nvs{NorFlash{clear}, 0, size}.all()
// Source: ESP-IDF Programming Guide, NVS Encryption.
#pragma once

#include <array>
#include <optional>

#include "base/bytes.hpp"

namespace espmint::sim {

/// The key of the entries, then the key of their places.
using NvsKeys = std::array<std::uint8_t, 64>;

/// Nothing when the checksum is wrong, so also when the partition is blank.
std::optional<NvsKeys> parse_nvs_keys(ByteView partition);

/// From the 32 bytes burnt with the purpose HMAC_UP.
NvsKeys derive_nvs_keys(ByteView hmac_key);

/// The partition with its written entries in clear; page headers never were encrypted, and blank entries are blank.
Bytes decrypt_nvs(ByteView partition, const NvsKeys&);

}  // namespace espmint::sim
