// identity/openssl.hpp: OpenSSL's objects with one owner each, and its errors as a sentence. For this room only.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

#include "identity/identity.hpp"

namespace espmint::openssl {

struct Freeing {
  void operator()(BIO* p) const { BIO_free_all(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(X509_REQ* p) const { X509_REQ_free(p); }
  void operator()(X509_NAME* p) const { X509_NAME_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
  void operator()(BIGNUM* p) const { BN_free(p); }
  void operator()(ASN1_INTEGER* p) const { ASN1_INTEGER_free(p); }
  void operator()(OSSL_ENCODER_CTX* p) const { OSSL_ENCODER_CTX_free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, Freeing>;

/// The newest error of this thread's queue in words; the queue is empty afterwards.
inline std::string last_error() {
  unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return {};
  const char* reason = ERR_reason_error_string(code);
  return reason ? reason : "unknown reason";
}

inline Owned<X509_NAME> common_name(std::string_view cn) {
  Owned<X509_NAME> name{X509_NAME_new()};
  bool good = name && X509_NAME_add_entry_by_txt(name.get(), "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(cn.data()),
                                                 static_cast<int>(cn.size()), -1, 0) == 1;
  return good ? std::move(name) : nullptr;
}

Result<Certificate> describe_certificate(x509_st* x509);

}  // namespace espmint::openssl
