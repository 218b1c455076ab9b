// image/nvs_crypt.hpp: NVS partitions as ciphertext, and the keys for it.
//   TRY(NvsKeys keys, parse_nvs_keys(key_partition));
//   TRY(Bytes encrypted, encrypt_nvs(partition, keys));
// Every entry of 32 bytes is a sector of XTS-AES-256 (IEEE 1619), its number the entry's address in the partition; page
// headers and entry states stay plain. Pure: randomness comes in as bytes.
// Source: ESP-IDF Programming Guide, NVS Encryption. Drawing: docs/formats/nvs.md.
#pragma once

#include "base/secret.hpp"
#include "image/nvs.hpp"

namespace espmint {

class NvsKeys {
 public:
  static constexpr std::size_t bytes = 64, hmac_key_bytes = 32;
  /// 32 bytes for the data, 32 for the tweak. Fault (refuse) input_invalid: another length, or both halves alike.
  static Result<NvsKeys> of(Secret both);
  /// As a chip with this key in an eFuse block of purpose HMAC_UP derives them. Fault input_invalid: not 32 bytes.
  static Result<NvsKeys> from_hmac_key(ByteView hmac_key);
  [[nodiscard]] ByteView reveal() const { return both_.reveal(); }

 private:
  explicit NvsKeys(Secret both) : both_(std::move(both)) {}
  Secret both_;
};

/// Of the 64 bytes alone, or of a key partition, which has a checksum behind them. Faults (refuse) input_invalid: no
/// key in it (blank flash), a checksum that does not fit, another length.
Result<NvsKeys> parse_nvs_keys(ByteView file);
/// The key partition, 4096 bytes.
Secret encode_nvs_keys(const NvsKeys&);

/// Of a plain partition. Faults: what read_nvs says of it.
Result<Bytes> encrypt_nvs(Bytes plain, const NvsKeys&);
/// Every entry that is not blank, also those that were erased. Faults (refuse) image_invalid: no NVS, one that is not
/// encrypted, or encrypted with other keys.
Result<Bytes> decrypt_nvs(Bytes encrypted, const NvsKeys&);

/// XTS-AES-256 as NVS uses it; apart for its test against the vectors of IEEE 1619.
class NvsCipher {
 public:
  enum class Does { encrypt, decrypt };
  NvsCipher(const NvsKeys&, Does);
  ~NvsCipher();
  NvsCipher(const NvsCipher&) = delete;
  NvsCipher& operator=(const NvsCipher&) = delete;
  /// 32 bytes, in place.
  void apply(ByteSpan entry, std::uint64_t address);

 private:
  void* context_;
};

}  // namespace espmint
