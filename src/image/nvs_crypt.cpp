#include "image/nvs_crypt.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstdlib>

#include "image/nvs_layout.hpp"

namespace espmint::nvs {
namespace {

constexpr std::size_t keys_crc_at = NvsKeys::bytes;
constexpr std::size_t half = NvsKeys::bytes / 2;

// What the HMAC is taken of: these four bytes, eight times. Source: ESP-IDF, nvs_sec_provider.c and its documentation.
using Seed = std::array<std::uint8_t, 4>;
constexpr Seed data_seed{0x5a, 0x5a, 0xbe, 0xae}, tweak_seed{0xa5, 0xa5, 0xde, 0xce};

Fault bad_keys(std::string what, std::string seen = {}, std::string advice = {}) {
  return invalid(Code::input_invalid, std::move(what), std::move(seen), std::move(advice));
}

void derive(ByteView hmac_key, const Seed& seed, ByteSpan out) {
  Bytes message;
  for (int i = 0; i < 8; ++i) append(message, seed);
  unsigned length = 0;
  // No memory, or an OpenSSL without SHA-256: nothing here may go on without it.
  if (HMAC(EVP_sha256(), hmac_key.data(), static_cast<int>(hmac_key.size()), message.data(), message.size(), out.data(),
           &length) == nullptr ||
      length != out.size())
    std::abort();
}

/// Calls `visit(entry, address)` for the entries that `chosen(page, number)` names, of every page with a header.
template <typename Chosen, typename Visit>
void for_entries(ByteSpan partition, Chosen chosen, Visit visit) {
  for (std::size_t at = 0; at + page_bytes <= partition.size(); at += page_bytes) {
    ByteSpan page = partition.subspan(at, page_bytes);
    for (std::size_t entry = 0; entry < entries_a_page; ++entry) {
      const std::size_t offset = first_entry_at + entry * entry_bytes;
      if (chosen(page, entry)) visit(page.subspan(offset, entry_bytes), at + offset);
    }
  }
}

/// What the encryption leaves plain, so that a wrong key is told from what is no NVS at all.
bool has_sound_page(ByteView partition) {
  for (std::size_t at = 0; at + page_bytes <= partition.size(); at += page_bytes) {
    ByteView page = partition.subspan(at, page_bytes);
    if (!is_blank(page.first(first_entry_at)) && get_u32(page, page_crc_at) == crc_of_page(page)) return true;
  }
  return false;
}

}  // namespace
}  // namespace espmint::nvs

namespace espmint {

Result<NvsKeys> NvsKeys::of(Secret both) {
  ByteView view = both.reveal();
  if (view.size() != bytes)
    return fail(nvs::bad_keys(fmt::format("NVS keys are {} bytes", bytes), fmt::format("{} bytes", view.size())));
  if (std::equal(view.begin(), view.begin() + nvs::half, view.begin() + nvs::half))
    return fail(nvs::bad_keys("the two halves of these NVS keys are alike", {}, "XTS needs two different keys"));
  return NvsKeys{std::move(both)};
}

Result<NvsKeys> NvsKeys::from_hmac_key(ByteView hmac_key) {
  if (hmac_key.size() != hmac_key_bytes)
    return fail(nvs::bad_keys(fmt::format("an HMAC key is {} bytes", hmac_key_bytes),
                              fmt::format("{} bytes", hmac_key.size()),
                              "give the very file that is burned into the eFuse"));
  Bytes both(bytes);
  nvs::derive(hmac_key, nvs::data_seed, ByteSpan{both}.first(nvs::half));
  nvs::derive(hmac_key, nvs::tweak_seed, ByteSpan{both}.last(nvs::half));
  return of(Secret{std::move(both)});
}

Result<NvsKeys> parse_nvs_keys(ByteView file) {
  const bool alone = file.size() == NvsKeys::bytes;
  if (!alone && file.size() != nvs::page_bytes)
    return fail(
        nvs::bad_keys("this is no file with NVS keys", fmt::format("{} bytes", file.size()),
                      fmt::format("a key partition has {} bytes, the keys alone {}", nvs::page_bytes, NvsKeys::bytes)));
  ByteView keys = file.first(NvsKeys::bytes);
  if (nvs::is_blank(keys))
    return fail(nvs::bad_keys("this NVS key partition is blank", "64 bytes of 0xff",
                              "firmware that finds it so makes keys of its own; `image nvs keys` makes some"));
  if (!alone && get_u32(file, nvs::keys_crc_at) != nvs::crc_of(keys))
    return fail(nvs::bad_keys("the checksum of these NVS keys does not fit", {},
                              "the file is damaged, was read from a board with flash encryption, or holds no keys"));
  return NvsKeys::of(Secret{Bytes{keys.begin(), keys.end()}});
}

Secret encode_nvs_keys(const NvsKeys& keys) {
  Bytes out(nvs::page_bytes, 0xff);
  std::copy(keys.reveal().begin(), keys.reveal().end(), out.begin());
  set_u32(out, nvs::keys_crc_at, nvs::crc_of(keys.reveal()));
  return Secret{std::move(out)};
}

NvsCipher::NvsCipher(const NvsKeys& keys, Does does) {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  context_ = context;
  if (context == nullptr || EVP_CipherInit_ex(context, EVP_aes_256_xts(), nullptr, keys.reveal().data(), nullptr,
                                              does == Does::encrypt ? 1 : 0) != 1)
    std::abort();  // no memory, or an OpenSSL without AES; equal halves were refused before
}
NvsCipher::~NvsCipher() { EVP_CIPHER_CTX_free(static_cast<EVP_CIPHER_CTX*>(context_)); }

void NvsCipher::apply(ByteSpan entry, std::uint64_t address) {
  auto* context = static_cast<EVP_CIPHER_CTX*>(context_);
  std::array<std::uint8_t, 16> tweak{};
  for (std::size_t i = 0; i < sizeof address; ++i) tweak[i] = static_cast<std::uint8_t>(address >> (8 * i));
  int length = 0;
  const auto size = static_cast<int>(entry.size());
  if (EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, tweak.data(), -1) != 1 ||
      EVP_CipherUpdate(context, entry.data(), &length, entry.data(), size) != 1 || length != size)
    std::abort();
}

Result<Bytes> encrypt_nvs(Bytes plain, const NvsKeys& keys) {
  TRY(read_nvs(plain));
  NvsCipher cipher{keys, NvsCipher::Does::encrypt};
  // By state, not by content: a written entry may well be 32 bytes of 0xff.
  auto is_used = [](ByteView page, std::size_t entry) { return nvs::state_of(page, entry) != nvs::entry_blank; };
  nvs::for_entries(plain, is_used, [&](ByteSpan entry, std::uint64_t address) { cipher.apply(entry, address); });
  return plain;
}

Result<Bytes> decrypt_nvs(Bytes encrypted, const NvsKeys& keys) {
  Result<std::vector<NvsEntry>> as_it_is = read_nvs(encrypted);
  if (as_it_is && !as_it_is->empty())
    return fail(nvs::invalid(Code::image_invalid, "this NVS partition is not encrypted",
                             fmt::format("{} of its entries can be read as they are", as_it_is->size())));
  NvsCipher cipher{keys, NvsCipher::Does::decrypt};
  auto is_used = [](ByteView page, std::size_t entry) {
    return !nvs::is_blank(page.subspan(nvs::first_entry_at + entry * nvs::entry_bytes, nvs::entry_bytes));
  };
  nvs::for_entries(encrypted, is_used, [&](ByteSpan entry, std::uint64_t address) { cipher.apply(entry, address); });
  Result<std::vector<NvsEntry>> entries = read_nvs(encrypted);
  if (entries) return encrypted;
  if (!nvs::has_sound_page(encrypted)) return fail(std::move(entries.error()));
  return fail(nvs::invalid(Code::image_invalid, "these keys do not open this NVS partition",
                           "decrypted with them, no entry in it is sound", "give the keys of this board"));
}

}  // namespace espmint
