#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "base/text.hpp"
#include "identity/identity.hpp"
#include "identity/openssl.hpp"

namespace espmint {
namespace detail {
namespace {

bool is_printable_utf8(std::string_view text) {
  bool has_controls = std::any_of(text.begin(), text.end(), [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
  if (has_controls) return false;
  // UTF8_getc walks one character at a time and refuses overlong forms, surrogates and cut ones.
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  for (auto left = static_cast<int>(text.size()); left > 0;) {
    unsigned long character = 0;
    int length = UTF8_getc(at, left, &character);
    if (length <= 0 || (character >= 0x80 && character < 0xa0)) return false;
    at += length;
    left -= length;
  }
  return true;
}

// SubjectPublicKeyInfo of any P-256 key on the named curve, up to the 64 octets of the point: id-ecPublicKey,
// prime256v1, BIT STRING, 0x04 (uncompressed). Source: RFC 5480, 2. Firmware's readers know no explicit parameters.
constexpr std::array<std::uint8_t, 27> p256_prefix{0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                                   0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                                   0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};

}  // namespace

OwnedName name_of_one(std::string_view common_name) {
  // 64 characters: ub-common-name, RFC 5280, appendix A; OpenSSL counts them.
  if (common_name.empty() || common_name.size() > 256 || !is_printable_utf8(common_name)) return nullptr;
  OwnedName name{X509_NAME_new()};
  if (!name || X509_NAME_add_entry_by_NID(name.get(), NID_commonName, MBSTRING_UTF8,
                                          reinterpret_cast<const unsigned char*>(common_name.data()),
                                          static_cast<int>(common_name.size()), -1, 0) != 1)
    return nullptr;
  return name;
}

std::string common_name_in(const X509_NAME* name) {
  int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* utf8 = nullptr;
  int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (size < 0) return {};
  std::string text{reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size)};
  OPENSSL_free(utf8);
  return text;
}

OwnedTime to_asn1(WallTime moment) {
  return OwnedTime{ASN1_TIME_set(nullptr, static_cast<time_t>(moment.time_since_epoch().count()))};
}

std::optional<WallTime> from_asn1(const ASN1_TIME* moment) {
  std::tm parts{};
  // Unlike the comparing calls, ASN1_TIME_to_tm takes null for "now".
  if (moment == nullptr || ASN1_TIME_to_tm(moment, &parts) != 1) return std::nullopt;
  std::chrono::year_month_day day{std::chrono::year{parts.tm_year + 1900},
                                  std::chrono::month{static_cast<unsigned>(parts.tm_mon + 1)},
                                  std::chrono::day{static_cast<unsigned>(parts.tm_mday)}};
  if (!day.ok()) return std::nullopt;
  return std::chrono::sys_days{day} + std::chrono::hours{parts.tm_hour} + std::chrono::minutes{parts.tm_min} +
         std::chrono::seconds{parts.tm_sec};
}

std::string hex_of(const ASN1_INTEGER* serial) {
  ByteView octets{ASN1_STRING_get0_data(serial), static_cast<std::size_t>(ASN1_STRING_length(serial))};
  std::string sign = ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER ? "-" : "";
  return sign + to_hex(octets);
}

OwnedPointName point_at(const std::string& url) {
  OwnedPointName point{DIST_POINT_NAME_new()};
  Owned<GENERAL_NAME, GENERAL_NAME_free> name{GENERAL_NAME_new()};
  Owned<ASN1_IA5STRING, ASN1_IA5STRING_free> uri{ASN1_IA5STRING_new()};
  GENERAL_NAMES* names = GENERAL_NAMES_new();
  if (!point || names == nullptr) return nullptr;
  point->type = 0;  // fullName
  point->name.fullname = names;
  if (!name || !uri || ASN1_STRING_set(uri.get(), url.data(), static_cast<int>(url.size())) != 1) return nullptr;
  GENERAL_NAME_set0_value(name.get(), GEN_URI, uri.release());
  if (sk_GENERAL_NAME_push(names, name.get()) <= 0) return nullptr;
  (void)name.release();
  return point;
}

bool is_board_key(EVP_PKEY* key, ByteView der) {
  if (EVP_PKEY_is_a(key, "EC") == 1)
    return der.size() == p256_prefix.size() + 64 && std::equal(p256_prefix.begin(), p256_prefix.end(), der.begin());
  int bits = EVP_PKEY_get_bits(key);
  return EVP_PKEY_is_a(key, "RSA") == 1 && bits >= 2048 && bits <= 4096;
}

OwnedCertificate certificate_from_der(ByteView der) {
  const unsigned char* at = der.data();
  OwnedCertificate certificate{d2i_X509(nullptr, &at, static_cast<long>(der.size()))};
  // Bytes behind it, or another encoding than DER, would let one certificate have two digests.
  if (!certificate || at != der.data() + der.size()) return nullptr;
  Bytes again = der_of(certificate.get(), i2d_X509);
  if (!std::equal(again.begin(), again.end(), der.begin(), der.end())) return nullptr;
  return certificate;
}

}  // namespace detail

namespace {

using namespace detail;

constexpr std::size_t longest_certificate = 64 * 1024;
constexpr std::size_t longest_request = 16 * 1024;

Fault certificate_fault(std::string what, std::string seen = {}) {
  Fault fault{Code::certificate_invalid, Remedy::refuse, std::move(what)};
  fault.seen = seen.empty() ? openssl_reason() : std::move(seen);
  return fault;
}

std::string pem_of(X509* certificate) {
  OwnedBio bio{BIO_new(BIO_s_mem())};
  if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) return {};
  char* text = nullptr;
  long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(std::max(size, 0L))};
}

/// The one block of a PEM text. Its name and header are judged here, so that no "TRUSTED CERTIFICATE" with more than a
/// certificate in it, and no encrypted block, passes as one. `what`: "certificate".
Result<Bytes> der_in_pem(ByteView text, std::string_view what, std::initializer_list<std::string_view> labels) {
  OwnedBio bio{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (!bio || PEM_read_bio(bio.get(), &name, &header, &data, &size) != 1)
    return fail(certificate_fault("the PEM of the " + std::string{what} + " is damaged"));
  std::string label{name};
  bool has_header = *header != '\0';
  Bytes der{data, data + size};
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  if (std::find(labels.begin(), labels.end(), label) == labels.end() || has_header)
    return fail(certificate_fault("a " + std::string{what} + " is expected",
                                  "PEM of \"" + escape_controls(label.substr(0, 40)) + "\""));
  char* rest = nullptr;
  long rest_size = BIO_get_mem_data(bio.get(), &rest);
  if (std::string_view{rest, static_cast<std::size_t>(rest_size)}.find("-----BEGIN") != std::string_view::npos)
    return fail(
        certificate_fault("one " + std::string{what} + " is expected", "the file holds more than one PEM block"));
  return der;
}

Result<OwnedCertificate> read_certificate(ByteView bytes) {
  if (bytes.empty() || bytes.size() > longest_certificate)
    return fail(certificate_fault("this is no certificate", std::to_string(bytes.size()) + " B"));
  Bytes unwrapped;
  // DER begins with the tag of a SEQUENCE, which no PEM text does.
  if (bytes[0] != 0x30) {
    TRY(unwrapped, der_in_pem(bytes, "certificate", {PEM_STRING_X509}));
    bytes = unwrapped;
  }
  OwnedCertificate certificate = certificate_from_der(bytes);
  if (!certificate) return fail(certificate_fault("the certificate cannot be read"));
  return certificate;
}

}  // namespace

Result<Certificate> parse_certificate(ByteView pem_or_der) {
  ErrorsEndHere errors;
  TRY(OwnedCertificate x509, read_certificate(pem_or_der));
  std::optional<WallTime> from = from_asn1(X509_get0_notBefore(x509.get()));
  std::optional<WallTime> until = from_asn1(X509_get0_notAfter(x509.get()));
  if (!from || !until) return fail(certificate_fault("the certificate has no readable dates"));
  Certificate certificate;
  certificate.der = der_of(x509.get(), i2d_X509);
  certificate.pem = pem_of(x509.get());
  certificate.sha256 = sha256_of(certificate.der);
  certificate.serial = hex_of(X509_get0_serialNumber(x509.get()));
  certificate.common_name = common_name_in(X509_get_subject_name(x509.get()));
  certificate.public_key_der = der_of(X509_get_X509_PUBKEY(x509.get()), i2d_X509_PUBKEY);
  certificate.not_before = *from;
  certificate.not_after = *until;
  if (certificate.pem.empty() || certificate.public_key_der.empty())
    return fail(certificate_fault("the certificate cannot be read"));
  return certificate;
}

bool is_issued_by(const Certificate& leaf, const Certificate& issuer) {
  ErrorsEndHere errors;
  OwnedCertificate signed_one = certificate_from_der(leaf.der), signer = certificate_from_der(issuer.der);
  if (!signed_one || !signer || X509_check_ca(signer.get()) != 1) return false;
  EVP_PKEY* key = X509_get0_pubkey(signer.get());
  return X509_check_issued(signer.get(), signed_one.get()) == X509_V_OK && key != nullptr &&
         X509_verify(signed_one.get(), key) == 1;
}

Result<Bytes> build_csr(const PrivateKey& key, std::string_view common_name) {
  ErrorsEndHere errors;
  Fault fault{Code::key_failed, Remedy::refuse, "the certificate request could not be made"};
  OwnedName subject = name_of_one(common_name);
  if (!subject) {
    fault.seen = "\"" + escape_controls(common_name.substr(0, 80)) + "\" cannot be a common name";
    fault.advice = "a device id has 1 to 64 printable characters";
    return fail(std::move(fault));
  }
  OwnedRequest request{X509_REQ_new()};
  if (!request || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_subject_name(request.get(), subject.get()) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) <= 0) {
    fault.seen = openssl_reason();
    return fail(std::move(fault));
  }
  return der_of(request.get(), i2d_X509_REQ);
}

Result<CertificateRequest> parse_csr(ByteView pem_or_der) {
  ErrorsEndHere errors;
  ByteView der = pem_or_der;
  Bytes unwrapped;
  if (der.size() > 0 && der.size() <= longest_certificate && der[0] != 0x30) {
    TRY(unwrapped, der_in_pem(der, "certificate request", {PEM_STRING_X509_REQ, PEM_STRING_X509_REQ_OLD}));
    der = unwrapped;
  }
  const unsigned char* at = der.data();
  OwnedRequest request;
  if (!der.empty() && der.size() <= longest_request)
    request.reset(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
  if (!request || at != der.data() + der.size()) return fail(certificate_fault("this is no certificate request"));
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  CertificateRequest read;
  read.public_key_der = der_of(X509_REQ_get_X509_PUBKEY(request.get()), i2d_X509_PUBKEY);
  // The kind before the signature: a key of absurd size would make checking it the attack.
  if (key == nullptr || !is_board_key(key, read.public_key_der))
    return fail(certificate_fault("the certificate request is for a key that boards do not have",
                                  key == nullptr ? "unreadable" : "neither P-256 nor RSA of 2048 to 4096 bits"));
  if (X509_REQ_verify(request.get(), key) != 1)
    return fail(certificate_fault("the certificate request is not signed by its own key"));
  const X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  read.common_name = common_name_in(subject);
  if (X509_NAME_entry_count(subject) != 1 || !name_of_one(read.common_name))
    return fail(certificate_fault("the certificate request must name one device by its CN",
                                  escape_controls(read.common_name.substr(0, 80))));
  return read;
}

}  // namespace espmint
