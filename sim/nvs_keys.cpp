#include "sim/nvs_keys.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <zlib.h>

#include <memory>

namespace espmint::sim {
namespace {

constexpr std::size_t keys_page = 4096, keys_bitmap = 32, keys_entries = 64, keys_entry = 32;
constexpr unsigned keys_written = 2;  // of an entry's two bits
/// What the chip's HMAC is taken of, eight times over.
constexpr std::uint32_t word_for_entries = 0xaebe'5a5a, word_for_places = 0xcede'a5a5;

}  // namespace

std::optional<NvsKeys> parse_nvs_keys(ByteView partition) {
  NvsKeys keys;
  if (partition.size() < keys.size() + 4) return std::nullopt;
  ByteView field = partition.first(keys.size());
  if (crc32(0xffff'ffff, field.data(), static_cast<uInt>(field.size())) != get_u32(partition, keys.size()))
    return std::nullopt;
  std::copy(field.begin(), field.end(), keys.begin());
  return keys;
}

NvsKeys derive_nvs_keys(ByteView hmac_key) {
  NvsKeys keys{};
  std::size_t at = 0;
  for (std::uint32_t word : {word_for_entries, word_for_places}) {
    Bytes message;
    for (int i = 0; i < 8; ++i) put_u32(message, word);
    unsigned length = 0;
    HMAC(EVP_sha256(), hmac_key.data(), static_cast<int>(hmac_key.size()), message.data(), message.size(),
         keys.data() + at, &length);
    at += keys.size() / 2;
  }
  return keys;
}

Bytes decrypt_nvs(ByteView partition, const NvsKeys& keys) {
  Bytes out{partition.begin(), partition.end()};
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context{EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free};
  for (std::size_t page = 0; page + keys_page <= out.size(); page += keys_page) {
    if (get_u32(out, page) == 0xffff'ffff) continue;
    for (std::size_t at = page + keys_entries; at < page + keys_page; at += keys_entry) {
      std::size_t number = (at - page - keys_entries) / keys_entry;
      if ((out[page + keys_bitmap + number / 4] >> 2 * (number % 4) & 3u) != keys_written) continue;
      std::array<std::uint8_t, 16> place{};
      set_u32(place, 0, static_cast<std::uint32_t>(at));
      int length = 0;
      if (EVP_DecryptInit_ex(context.get(), EVP_aes_256_xts(), nullptr, keys.data(), place.data()) == 1)
        EVP_DecryptUpdate(context.get(), out.data() + at, &length, partition.data() + at, keys_entry);
    }
  }
  return out;
}

}  // namespace espmint::sim
