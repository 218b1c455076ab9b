// identity/openssl.hpp: OpenSSL's objects with one owner each, and its errors as one sentence. For this room only.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "identity/crl.hpp"
#include "io/clock.hpp"

namespace espmint::detail {

template <auto free>
struct FreedBy {
  template <typename T>
  void operator()(T* object) const {
    free(object);
  }
};
template <typename T, auto free>
using Owned = std::unique_ptr<T, FreedBy<free>>;

using OwnedBio = Owned<BIO, BIO_free>;
using OwnedKey = Owned<EVP_PKEY, EVP_PKEY_free>;
using OwnedCertificate = Owned<X509, X509_free>;
using OwnedRequest = Owned<X509_REQ, X509_REQ_free>;
using OwnedName = Owned<X509_NAME, X509_NAME_free>;
using OwnedTime = Owned<ASN1_TIME, ASN1_TIME_free>;
using OwnedPointName = Owned<DIST_POINT_NAME, DIST_POINT_NAME_free>;

/// OpenSSL's error queue is per thread and outlives a call: what fails here must not speak up in somebody's TLS later.
struct ErrorsEndHere {
  ErrorsEndHere() { ERR_clear_error(); }
  ErrorsEndHere(const ErrorsEndHere&) = delete;
  ErrorsEndHere& operator=(const ErrorsEndHere&) = delete;
  ~ErrorsEndHere() { ERR_clear_error(); }
};

/// Why the last call failed, in OpenSSL's words; they quote no input.
inline std::string openssl_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason != nullptr ? reason : "";
}

/// DER of whatever `i2d` encodes; empty when it cannot.
template <typename T, typename Encode>
Bytes der_of(const T* object, Encode encode) {
  int size = encode(object, nullptr);
  if (size <= 0) return {};
  Bytes der(static_cast<std::size_t>(size));
  unsigned char* end = der.data();
  if (encode(object, &end) != size) return {};
  return der;
}

/// A subject or issuer of one CN. Nothing when it is not 1 to 64 characters of printable UTF-8.
OwnedName name_of_one(std::string_view common_name);
/// The first CN of a name; empty where it has none or cannot be read as UTF-8.
std::string common_name_in(const X509_NAME*);

OwnedTime to_asn1(WallTime);
/// Nothing for null and for what is no date.
std::optional<WallTime> from_asn1(const ASN1_TIME*);
/// A serial, as Certificate has it.
std::string hex_of(const ASN1_INTEGER*);
/// A place from which a CRL is fetched; null when OpenSSL has no memory for it.
OwnedPointName point_at(const std::string& url);

/// Whether the key is one that boards have: P-256 on the named curve, or RSA of 2048 to 4096 bits.
bool is_board_key(EVP_PKEY*, ByteView public_key_der);

/// Exactly these bytes as one certificate in DER; null for anything else.
OwnedCertificate certificate_from_der(ByteView der);

/// For the local CA: who it is for, how long it lives and what it may do.
struct CertificateText {
  ByteView serial;  // 20 octets
  X509_NAME* subject = nullptr;
  EVP_PKEY* public_key = nullptr;
  X509* issuer = nullptr;  // null: signs itself, a root
  const ASN1_TIME* not_before = nullptr;
  const ASN1_TIME* not_after = nullptr;
  std::string crl_url;  // where it is said whether this certificate still counts; empty: nowhere
  /// The host name or address of a broker: a server's certificate, and no board's. Empty: a board's.
  std::string server;
};
Result<OwnedCertificate> build_certificate(const CertificateText&, EVP_PKEY* signing_key);

/// Faults: certificate_invalid (a serial that is none), key_failed.
Result<Crl> build_crl(const CrlText&, X509* issuer, EVP_PKEY* signing_key);

}  // namespace espmint::detail
