#include <openssl/encoder.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <array>

#include "identity/identity.hpp"
#include "identity/openssl.hpp"

namespace espmint {
namespace {

using namespace detail;

struct KeyKindSpec {
  KeyKind kind;
  std::string_view name;
};
constexpr std::array key_kinds{KeyKindSpec{KeyKind::ec_p256, "ec-p256"}, KeyKindSpec{KeyKind::rsa_2048, "rsa-2048"}};

// A key file is a few hundred bytes to 1.7 KiB (RSA-2048, PEM); whatever is much longer is something else.
constexpr std::size_t longest_key_pem = 16 * 1024;

Fault key_fault(Remedy remedy, std::string what, std::string_view advice = {}) {
  Fault fault{Code::key_failed, remedy, std::move(what)};
  fault.seen = openssl_reason();
  fault.advice = advice;
  return fault;
}
constexpr std::string_view expected_key = "an unencrypted PEM of an EC P-256 or RSA-2048 private key is expected";
constexpr std::string_view check_random = "is the system's random generator working?";

/// OpenSSL would ask the terminal for a passphrase; a line has nobody who types one.
int no_passphrase(char*, int, int, void*) { return -1; }

}  // namespace

std::string_view name_of(KeyKind kind) {
  for (const KeyKindSpec& row : key_kinds)
    if (row.kind == kind) return row.name;
  return {};
}

std::optional<KeyKind> key_kind_named(std::string_view name) {
  for (const KeyKindSpec& row : key_kinds)
    if (row.name == name) return row.kind;
  return std::nullopt;
}

void PrivateKey::Free::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

PrivateKey::PrivateKey(evp_pkey_st* key) : key_(key) {}

Result<PrivateKey> PrivateKey::from_pem(const Secret& pem) {
  ErrorsEndHere errors;
  ByteView text = pem.reveal();
  if (text.empty() || text.size() > longest_key_pem)
    return fail(key_fault(Remedy::refuse, "this is no private key", expected_key));
  OwnedBio bio{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
  OwnedKey key{bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr};
  if (!key) return fail(key_fault(Remedy::refuse, "the private key cannot be read", expected_key));
  bool is_ec = EVP_PKEY_is_a(key.get(), "EC") == 1;
  bool is_rsa_2048 = EVP_PKEY_is_a(key.get(), "RSA") == 1 && EVP_PKEY_get_bits(key.get()) == 2048;
  if (!(is_ec || is_rsa_2048) || !is_board_key(key.get(), der_of(key.get(), i2d_PUBKEY)))
    return fail(key_fault(Remedy::refuse, "the private key is of another kind than boards have", expected_key));
  return PrivateKey{key.release()};
}

Result<Secret> PrivateKey::pem() const {
  ErrorsEndHere errors;
  // Memory of this BIO is wiped whenever it grows and at its end.
  OwnedBio bio{BIO_new(BIO_s_secmem())};
  Owned<OSSL_ENCODER_CTX, OSSL_ENCODER_CTX_free> encoder{
      OSSL_ENCODER_CTX_new_for_pkey(key_.get(), EVP_PKEY_KEYPAIR, "PEM", "type-specific", nullptr)};
  if (!bio || !encoder || OSSL_ENCODER_to_bio(encoder.get(), bio.get()) != 1)
    return fail(key_fault(Remedy::stop_line, "the private key cannot be written as PEM"));
  char* text = nullptr;
  long size = BIO_get_mem_data(bio.get(), &text);
  if (size <= 0) return fail(key_fault(Remedy::stop_line, "the private key cannot be written as PEM"));
  ByteView view{reinterpret_cast<const std::uint8_t*>(text), static_cast<std::size_t>(size)};
  return Secret{Bytes{view.begin(), view.end()}};
}

Bytes PrivateKey::public_key_der() const { return der_of(key_.get(), i2d_PUBKEY); }

KeyKind PrivateKey::kind() const { return EVP_PKEY_is_a(key_.get(), "EC") == 1 ? KeyKind::ec_p256 : KeyKind::rsa_2048; }

Result<PrivateKey> mint_key(KeyKind kind) {
  ErrorsEndHere errors;
  EVP_PKEY* key = kind == KeyKind::ec_p256 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")
                                           : EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048});
  if (key == nullptr) return fail(key_fault(Remedy::stop_line, "no key could be made", check_random));
  return PrivateKey{key};
}

Result<Bytes> mint_serial() {
  ErrorsEndHere errors;
  Bytes serial(20);
  if (RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1)
    return fail(key_fault(Remedy::stop_line, "no serial could be drawn", check_random));
  // 0x40 to 0x7f in front: positive, and 20 octets in DER whatever the rest is. 158 bits stay random.
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x3f) | 0x40);
  return serial;
}

}  // namespace espmint
