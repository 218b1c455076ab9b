#include "identity/identity.hpp"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>

#include "identity/openssl.hpp"

namespace espmint {

using openssl::last_error;
using openssl::Owned;

std::string_view name_of(KeyKind kind) { return kind == KeyKind::ec_p256 ? "ec-p256" : "rsa-2048"; }

std::optional<KeyKind> key_kind_named(std::string_view name) {
  for (KeyKind kind : {KeyKind::ec_p256, KeyKind::rsa_2048})
    if (name == name_of(kind)) return kind;
  return std::nullopt;
}

void PrivateKey::Free::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }
PrivateKey::PrivateKey(evp_pkey_st* key) : key_(key) {}

Result<PrivateKey> PrivateKey::from_pem(const Secret& pem) {
  Owned<BIO> bio{BIO_new_mem_buf(pem.reveal().data(), static_cast<int>(pem.reveal().size()))};
  auto no_passphrase = [](char*, int, int, void*) { return 0; };
  EVP_PKEY* key = bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr;
  if (!key) return fail({Code::key_failed, Remedy::refuse, "this is no private key in PEM", {}, last_error(), {}});
  return PrivateKey{key};
}

Result<Secret> PrivateKey::pem() const {
  // The traditional forms: firmware in the field hands the file to an mbedTLS that may have been built without PKCS #8.
  Owned<OSSL_ENCODER_CTX> encoder{OSSL_ENCODER_CTX_new_for_pkey(key_.get(), EVP_PKEY_KEYPAIR, "PEM", "type-specific", nullptr)};
  unsigned char* text = nullptr;
  std::size_t size = 0;
  if (!encoder || OSSL_ENCODER_to_data(encoder.get(), &text, &size) != 1)
    return fail({Code::key_failed, Remedy::stop_line, "a private key could not be written as PEM", {}, last_error(), {}});
  Secret pem{Bytes(text, text + size)};
  OPENSSL_clear_free(text, size);
  return pem;
}

Bytes PrivateKey::public_key_der() const {
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(key_.get(), &der);
  Bytes out(der, der + std::max(size, 0));
  OPENSSL_free(der);
  return out;
}

KeyKind PrivateKey::kind() const { return EVP_PKEY_is_a(key_.get(), "EC") ? KeyKind::ec_p256 : KeyKind::rsa_2048; }

Result<PrivateKey> mint_key(KeyKind kind) {
  EVP_PKEY* key = kind == KeyKind::ec_p256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
  if (!key) return fail({Code::key_failed, Remedy::stop_line, "no key could be made", {}, last_error(), "Is the system's random generator working?"});
  return PrivateKey{key};
}

Result<Bytes> mint_serial() {
  Bytes serial(20);
  if (RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1)
    return fail({Code::key_failed, Remedy::stop_line, "no random serial could be drawn", {}, last_error(), {}});
  // Positive, and never shorter than 20 octets. Source: RFC 5280, 4.1.2.2.
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7f) | 0x40);
  return serial;
}

Result<Bytes> build_csr(const PrivateKey& key, std::string_view common_name) {
  Owned<X509_REQ> request{X509_REQ_new()};
  Owned<X509_NAME> name = openssl::common_name(common_name);
  bool good = request && name && X509_REQ_set_version(request.get(), 0) == 1 &&
              X509_REQ_set_subject_name(request.get(), name.get()) == 1 &&
              X509_REQ_set_pubkey(request.get(), key.get()) == 1 &&
              X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0;
  unsigned char* der = nullptr;
  int size = good ? i2d_X509_REQ(request.get(), &der) : -1;
  if (size <= 0) return fail({Code::key_failed, Remedy::refuse, "no certificate request could be made", {}, last_error(), {}});
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}

Result<Bytes> public_key_of_csr(ByteView csr_der) {
  const unsigned char* at = csr_der.data();
  Owned<X509_REQ> request{d2i_X509_REQ(nullptr, &at, static_cast<long>(csr_der.size()))};
  EVP_PKEY* key = request ? X509_REQ_get0_pubkey(request.get()) : nullptr;
  unsigned char* der = nullptr;
  int size = key ? i2d_PUBKEY(key, &der) : -1;
  if (size <= 0) return fail({Code::certificate_invalid, Remedy::refuse, "this is no certificate request", {}, last_error(), {}});
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}

namespace {

Fault no_certificate(std::string seen) {
  return {Code::certificate_invalid, Remedy::refuse, "this is no certificate", {}, std::move(seen), {}};
}

std::optional<WallTime> time_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (!time || ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return WallTime{std::chrono::seconds{timegm(&parts)}};
}

}  // namespace

Result<Certificate> parse_certificate(ByteView bytes) {
  if (bytes.empty() || bytes.size() > 64 * 1024) return fail(no_certificate(bytes.empty() ? "it is empty" : "it is too long"));
  Owned<X509> x509;
  if (bytes[0] == 0x30) {
    const unsigned char* at = bytes.data();
    x509.reset(d2i_X509(nullptr, &at, static_cast<long>(bytes.size())));
    if (x509 && at != bytes.data() + bytes.size()) return fail(no_certificate("bytes follow behind it"));
  } else {
    Owned<BIO> bio{BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()))};
    auto no_passphrase = [](char*, int, int, void*) { return 0; };
    if (bio) x509.reset(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
  }
  if (!x509) return fail(no_certificate(last_error()));
  return openssl::describe_certificate(x509.get());
}

Result<Certificate> openssl::describe_certificate(x509_st* x509) {
  Certificate out;
  unsigned char* der = nullptr;
  int size = i2d_X509(x509, &der);
  if (size <= 0) return fail(no_certificate(last_error()));
  out.der.assign(der, der + size);
  OPENSSL_free(der);
  out.sha256 = sha256_of(out.der);
  Owned<BIO> text{BIO_new(BIO_s_mem())};
  if (!text || PEM_write_bio_X509(text.get(), x509) != 1) return fail(no_certificate(last_error()));
  char* start = nullptr;
  long length = BIO_get_mem_data(text.get(), &start);
  out.pem.assign(start, static_cast<std::size_t>(length));
  Owned<BIGNUM> serial{ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), nullptr)};
  if (!serial) return fail(no_certificate("its serial is no number"));
  Bytes octets(static_cast<std::size_t>(BN_num_bytes(serial.get())));
  BN_bn2bin(serial.get(), octets.data());
  out.serial = to_hex(octets);
  X509_NAME* subject = X509_get_subject_name(x509);
  int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at >= 0) {
    unsigned char* utf8 = nullptr;
    int bytes = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (bytes >= 0) out.common_name.assign(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(bytes));
    OPENSSL_free(utf8);
  }
  EVP_PKEY* key = X509_get0_pubkey(x509);
  unsigned char* spki = nullptr;
  int spki_size = key ? i2d_PUBKEY(key, &spki) : -1;
  if (spki_size <= 0) return fail(no_certificate("its key is of no known kind"));
  out.public_key_der.assign(spki, spki + spki_size);
  OPENSSL_free(spki);
  auto from = time_of(X509_get0_notBefore(x509)), to = time_of(X509_get0_notAfter(x509));
  if (!from || !to) return fail(no_certificate("its dates are no dates"));
  out.not_before = *from;
  out.not_after = *to;
  return out;
}

bool is_issued_by(const Certificate& leaf, const Certificate& issuer) {
  auto load = [](const Bytes& der) {
    const unsigned char* at = der.data();
    return Owned<X509>{d2i_X509(nullptr, &at, static_cast<long>(der.size()))};
  };
  Owned<X509> below = load(leaf.der), above = load(issuer.der);
  bool issued = below && above && X509_NAME_cmp(X509_get_issuer_name(below.get()), X509_get_subject_name(above.get())) == 0 &&
                X509_verify(below.get(), X509_get0_pubkey(above.get())) == 1;
  ERR_clear_error();
  return issued;
}

}  // namespace espmint
