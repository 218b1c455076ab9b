// identity/identity.hpp: what makes a board itself: a key nobody else has, a request that proves it, a certificate.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/hash.hpp"
#include "base/result.hpp"
#include "base/secret.hpp"
#include "io/clock.hpp"

struct evp_pkey_st;

namespace espmint {

enum class KeyKind { ec_p256, rsa_2048 };
std::string_view name_of(KeyKind);  // "ec-p256", "rsa-2048", as recipes write them
std::optional<KeyKind> key_kind_named(std::string_view);

/// Moved, never copied; wiped at its end.
class PrivateKey {
 public:
  /// Unencrypted PEM, SEC 1, PKCS #1 or PKCS #8. Fault key_failed; what it says never quotes the text.
  static Result<PrivateKey> from_pem(const Secret& pem);
  explicit PrivateKey(evp_pkey_st* key);
  /// What the board's firmware reads: "BEGIN EC PRIVATE KEY" (SEC 1) or "BEGIN RSA PRIVATE KEY" (PKCS #1), PEM.
  [[nodiscard]] Result<Secret> pem() const;
  /// SubjectPublicKeyInfo, DER.
  [[nodiscard]] Bytes public_key_der() const;
  [[nodiscard]] KeyKind kind() const;
  [[nodiscard]] evp_pkey_st* get() const { return key_.get(); }

 private:
  struct Free {
    void operator()(evp_pkey_st*) const;
  };
  std::unique_ptr<evp_pkey_st, Free> key_;
};

/// Draws from OpenSSL's generator. Heavy for RSA: call on a pool.
Result<PrivateKey> mint_key(KeyKind);

/// PKCS #10, DER, subject CN = `common_name` (1 to 64 printable characters, UTF-8), signed with the key. Fault
/// key_failed.
Result<Bytes> build_csr(const PrivateKey&, std::string_view common_name);

struct CertificateRequest {
  std::string common_name;
  Bytes public_key_der;  // SubjectPublicKeyInfo
};
/// PEM (exactly one) or DER, any bytes; its own signature is checked, so whoever made it held the key. Fault
/// certificate_invalid: also for a key that boards do not have (P-256 or RSA of 2048 to 4096 bits) and for a subject
/// that is more than one CN.
Result<CertificateRequest> parse_csr(ByteView pem_or_der);

struct Certificate {
  Bytes der;
  std::string pem;
  Sha256 sha256{};     // of the DER: the certificate's id everywhere
  std::string serial;  // hex
  std::string common_name;
  Bytes public_key_der;  // SubjectPublicKeyInfo
  WallTime not_before, not_after;
};

/// PEM (exactly one certificate) or DER, at most 64 KiB, any bytes. Fault certificate_invalid.
Result<Certificate> parse_certificate(ByteView pem_or_der);
/// Whether `leaf` was signed by `issuer`, which may sign certificates (signature, names, usage; not dates).
bool is_issued_by(const Certificate& leaf, const Certificate& issuer);

/// Signs what it is given; the local CA here, PKCS#11 later.
class Signer {
 public:
  virtual ~Signer() = default;
  /// Of what the request asks only the CN and the key are taken. Serial: 20 octets, at least 64 random bits, drawn
  /// before (mint_serial). Faults: certificate_invalid (request or serial), key_failed.
  virtual Result<Certificate> sign(const CertificateRequest&, ByteView serial) = 0;
  [[nodiscard]] virtual const Certificate& root() const = 0;
};

/// A serial for `sign`: 20 octets from OpenSSL's generator, positive and never shorter in DER. Source: RFC
/// 5280, 4.1.2.2.
Result<Bytes> mint_serial();

}  // namespace espmint
