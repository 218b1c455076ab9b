// A certificate as RFC 5280 wants it: extensions are built as values, not as configuration text, which OpenSSL would
// parse anew for every board.
#include "identity/openssl.hpp"

namespace espmint::detail {
namespace {

using OwnedBits = Owned<ASN1_BIT_STRING, ASN1_BIT_STRING_free>;
using OwnedOctets = Owned<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free>;
using OwnedConstraints = Owned<BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free>;
using OwnedUses = Owned<EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free>;
using OwnedNames = Owned<GENERAL_NAMES, GENERAL_NAMES_free>;
using OwnedOneName = Owned<GENERAL_NAME, GENERAL_NAME_free>;
using OwnedPoints = Owned<CRL_DIST_POINTS, CRL_DIST_POINTS_free>;
using OwnedOnePoint = Owned<DIST_POINT, DIST_POINT_free>;
using OwnedAuthority = Owned<AUTHORITY_KEYID, AUTHORITY_KEYID_free>;

// Bits of keyUsage. Source: RFC 5280, 4.2.1.3.
constexpr int digital_signature = 0, key_encipherment = 2, key_cert_sign = 5, crl_sign = 6;
constexpr int critical = 1, not_critical = 0;

bool add(X509* certificate, int extension, void* value, int is_critical) {
  return value != nullptr && X509_add1_ext_i2d(certificate, extension, value, is_critical, X509V3_ADD_APPEND) == 1;
}

bool add_constraints(X509* certificate, bool is_ca) {
  OwnedConstraints constraints{BASIC_CONSTRAINTS_new()};
  if (!constraints) return false;
  constraints->ca = is_ca ? 0xff : 0;
  if (is_ca) {
    // 0: below this root come boards, never another CA.
    constraints->pathlen = ASN1_INTEGER_new();
    if (constraints->pathlen == nullptr || ASN1_INTEGER_set(constraints->pathlen, 0) != 1) return false;
  }
  return add(certificate, NID_basic_constraints, constraints.get(), critical);
}

bool add_usage(X509* certificate, std::initializer_list<int> uses) {
  OwnedBits bits{ASN1_BIT_STRING_new()};
  if (!bits) return false;
  for (int use : uses)
    if (ASN1_BIT_STRING_set_bit(bits.get(), use, 1) != 1) return false;
  return add(certificate, NID_key_usage, bits.get(), critical);
}

/// One of NID_client_auth and NID_server_auth: a board's certificate never passes for a broker's, nor the other way.
bool add_purpose(X509* certificate, int purpose) {
  OwnedUses uses{EXTENDED_KEY_USAGE_new()};
  // OBJ_nid2obj hands out a row of a static table: pushing it gives nothing away that needs freeing.
  if (!uses || sk_ASN1_OBJECT_push(uses.get(), OBJ_nid2obj(purpose)) <= 0) return false;
  return add(certificate, NID_ext_key_usage, uses.get(), not_critical);
}

/// What a client compares with the host that it meant: the name, or the address. Source: RFC 6125, 6.4; RFC
/// 5280, 4.2.1.6.
bool add_host(X509* certificate, const std::string& host) {
  OwnedNames names{GENERAL_NAMES_new()};
  OwnedOneName name{GENERAL_NAME_new()};
  if (!names || !name) return false;
  if (ASN1_OCTET_STRING* address = a2i_IPADDRESS(host.c_str()); address != nullptr) {
    GENERAL_NAME_set0_value(name.get(), GEN_IPADD, address);
  } else {
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    if (text == nullptr) return false;
    GENERAL_NAME_set0_value(name.get(), GEN_DNS, text);
    if (ASN1_STRING_set(text, host.data(), static_cast<int>(host.size())) != 1) return false;
  }
  if (sk_GENERAL_NAME_push(names.get(), name.get()) <= 0) return false;
  (void)name.release();
  return add(certificate, NID_subject_alt_name, names.get(), not_critical);
}

bool add_crl_place(X509* certificate, const std::string& url) {
  if (url.empty()) return true;
  OwnedPoints points{CRL_DIST_POINTS_new()};
  OwnedOnePoint point{DIST_POINT_new()};
  if (!points || !point) return false;
  point->distpoint = point_at(url).release();
  if (point->distpoint == nullptr || sk_DIST_POINT_push(points.get(), point.get()) <= 0) return false;
  (void)point.release();
  return add(certificate, NID_crl_distribution_points, points.get(), not_critical);
}

/// The first 160 bits of the key's SHA-256. Source: RFC 7093, 2, method 1.
OwnedOctets key_id_of(const X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  OwnedOctets id{ASN1_OCTET_STRING_new()};
  if (!id || X509_pubkey_digest(certificate, EVP_sha256(), digest, &length) != 1 || length < 20 ||
      ASN1_OCTET_STRING_set(id.get(), digest, 20) != 1)
    return nullptr;
  return id;
}

bool add_key_ids(X509* certificate, X509* issuer) {
  OwnedOctets own = key_id_of(certificate);
  if (!own || !add(certificate, NID_subject_key_identifier, own.get(), not_critical)) return false;
  if (issuer == nullptr) return true;  // a root needs none: RFC 5280, 4.2.1.1
  // What the issuer says of itself, however it was computed; a CA that says nothing is found by its name.
  const ASN1_OCTET_STRING* theirs = X509_get0_subject_key_id(issuer);
  if (theirs == nullptr) return true;
  OwnedAuthority authority{AUTHORITY_KEYID_new()};
  if (!authority) return false;
  authority->keyid = ASN1_OCTET_STRING_dup(theirs);
  return authority->keyid != nullptr && add(certificate, NID_authority_key_identifier, authority.get(), not_critical);
}

bool set_serial(X509* certificate, ByteView serial) {
  Owned<BIGNUM, BN_free> number{BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr)};
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool add_extensions(X509* certificate, const CertificateText& text) {
  bool is_ca = text.issuer == nullptr;
  if (!add_constraints(certificate, is_ca)) return false;
  if (is_ca) return add_usage(certificate, {key_cert_sign, crl_sign}) && add_key_ids(certificate, nullptr);
  // Old TLS suites encrypt to an RSA key; an EC key only ever signs.
  bool usage = EVP_PKEY_is_a(text.public_key, "RSA") == 1
                   ? add_usage(certificate, {digital_signature, key_encipherment})
                   : add_usage(certificate, {digital_signature});
  bool is_server = !text.server.empty();
  return usage && add_purpose(certificate, is_server ? NID_server_auth : NID_client_auth) &&
         (!is_server || add_host(certificate, text.server)) && add_key_ids(certificate, text.issuer) &&
         add_crl_place(certificate, text.crl_url);
}

}  // namespace

Result<OwnedCertificate> build_certificate(const CertificateText& text, EVP_PKEY* signing_key) {
  OwnedCertificate certificate{X509_new()};
  X509_NAME* issuer = text.issuer != nullptr ? X509_get_subject_name(text.issuer) : text.subject;
  bool is_built = certificate && X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
                  set_serial(certificate.get(), text.serial) &&
                  X509_set_subject_name(certificate.get(), text.subject) == 1 &&
                  X509_set_issuer_name(certificate.get(), issuer) == 1 &&
                  X509_set1_notBefore(certificate.get(), text.not_before) == 1 &&
                  X509_set1_notAfter(certificate.get(), text.not_after) == 1 &&
                  X509_set_pubkey(certificate.get(), text.public_key) == 1 && add_extensions(certificate.get(), text) &&
                  X509_sign(certificate.get(), signing_key, EVP_sha256()) > 0;
  if (!is_built) {
    Fault fault{Code::key_failed, Remedy::stop_line, "the certificate could not be signed"};
    fault.seen = openssl_reason();
    return fail(std::move(fault));
  }
  return certificate;
}

}  // namespace espmint::detail
