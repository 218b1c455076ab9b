#include "identity/crl.hpp"

#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "base/text.hpp"
#include "identity/openssl.hpp"

namespace espmint {

using namespace detail;

namespace {

using OwnedCrl = Owned<X509_CRL, X509_CRL_free>;
using OwnedRevoked = Owned<X509_REVOKED, X509_REVOKED_free>;
using OwnedInteger = Owned<ASN1_INTEGER, ASN1_INTEGER_free>;
using OwnedEnumerated = Owned<ASN1_ENUMERATED, ASN1_ENUMERATED_free>;
using OwnedKeyId = Owned<AUTHORITY_KEYID, AUTHORITY_KEYID_free>;
using OwnedPoint = Owned<ISSUING_DIST_POINT, ISSUING_DIST_POINT_free>;

constexpr std::size_t longest_crl = 64 * 1024 * 1024;

struct ReasonName {
  RevocationReason reason;
  std::string_view name;
};
constexpr std::array reasons{
    ReasonName{RevocationReason::unspecified, "unspecified"},
    ReasonName{RevocationReason::key_compromise, "key-compromise"},
    ReasonName{RevocationReason::superseded, "superseded"},
    ReasonName{RevocationReason::cessation_of_operation, "cessation-of-operation"},
    ReasonName{RevocationReason::privilege_withdrawn, "privilege-withdrawn"},
};

Fault crl_fault(std::string what, std::string seen = {}) {
  Fault fault{Code::certificate_invalid, Remedy::refuse, std::move(what)};
  fault.seen = seen.empty() ? openssl_reason() : std::move(seen);
  return fault;
}

// ---- building

bool add_entry(X509_CRL* crl, const RevokedCertificate& revoked) {
  auto octets = from_hex(revoked.serial);
  if (!octets || octets->empty() || octets->size() > 20) return false;
  Owned<BIGNUM, BN_free> number{BN_bin2bn(octets->data(), static_cast<int>(octets->size()), nullptr)};
  OwnedInteger serial{number ? BN_to_ASN1_INTEGER(number.get(), nullptr) : nullptr};
  OwnedTime when = to_asn1(revoked.when);
  OwnedRevoked entry{X509_REVOKED_new()};
  if (!serial || !when || !entry || X509_REVOKED_set_serialNumber(entry.get(), serial.get()) != 1 ||
      X509_REVOKED_set_revocationDate(entry.get(), when.get()) != 1)
    return false;
  if (revoked.reason != RevocationReason::unspecified) {  // that one is said by saying nothing: RFC 5280, 5.3.1
    OwnedEnumerated reason{ASN1_ENUMERATED_new()};
    if (!reason || ASN1_ENUMERATED_set(reason.get(), static_cast<long>(revoked.reason)) != 1 ||
        X509_REVOKED_add1_ext_i2d(entry.get(), NID_crl_reason, reason.get(), 0, 0) != 1)
      return false;
  }
  if (X509_CRL_add0_revoked(crl, entry.get()) != 1) return false;
  (void)entry.release();  // the list's now
  return true;
}

bool add_number(X509_CRL* crl, std::uint64_t number) {
  OwnedInteger value{ASN1_INTEGER_new()};
  return value && ASN1_INTEGER_set_uint64(value.get(), number) == 1 &&
         X509_CRL_add1_ext_i2d(crl, NID_crl_number, value.get(), 0, 0) == 1;
}

bool add_authority(X509_CRL* crl, X509* issuer) {
  const ASN1_OCTET_STRING* id = X509_get0_subject_key_id(issuer);
  if (id == nullptr) return true;  // found by its name
  OwnedKeyId authority{AUTHORITY_KEYID_new()};
  if (!authority) return false;
  authority->keyid = ASN1_OCTET_STRING_dup(id);
  return authority->keyid != nullptr &&
         X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier, authority.get(), 0, 0) == 1;
}

bool add_issuing_point(X509_CRL* crl, const std::string& url) {
  if (url.empty()) return true;
  OwnedPoint point{ISSUING_DIST_POINT_new()};
  if (!point) return false;
  point->distpoint = point_at(url).release();
  constexpr int is_critical = 1;  // RFC 5280, 5.2.5
  return point->distpoint != nullptr &&
         X509_CRL_add1_ext_i2d(crl, NID_issuing_distribution_point, point.get(), is_critical, 0) == 1;
}

// ---- reading

/// The one CRL of a PEM text.
Result<Bytes> crl_in_pem(ByteView text) {
  OwnedBio bio{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (!bio || PEM_read_bio(bio.get(), &name, &header, &data, &size) != 1)
    return fail(crl_fault("the PEM of the revocation list is damaged"));
  bool is_crl = std::string_view{name} == PEM_STRING_X509_CRL && *header == '\0';
  Bytes der{data, data + size};
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  if (!is_crl) return fail(crl_fault("a revocation list is expected", "another kind of PEM"));
  return der;
}

std::string pem_of(X509_CRL* crl) {
  OwnedBio bio{BIO_new(BIO_s_mem())};
  if (!bio || PEM_write_bio_X509_CRL(bio.get(), crl) != 1) return {};
  char* text = nullptr;
  long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(std::max(size, 0L))};
}

std::uint64_t number_in(const X509_CRL* crl) {
  OwnedInteger number{static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(crl, NID_crl_number, nullptr, nullptr))};
  std::uint64_t value = 0;
  return number && ASN1_INTEGER_get_uint64(&value, number.get()) == 1 ? value : 0;
}

std::string url_in(const X509_CRL* crl) {
  OwnedPoint point{
      static_cast<ISSUING_DIST_POINT*>(X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, nullptr, nullptr))};
  if (!point || point->distpoint == nullptr || point->distpoint->type != 0) return {};
  const GENERAL_NAMES* names = point->distpoint->name.fullname;
  if (sk_GENERAL_NAME_num(names) != 1) return {};
  const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, 0);
  if (name->type != GEN_URI) return {};
  const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)), static_cast<std::size_t>(ASN1_STRING_length(uri))};
}

RevocationReason reason_in(const X509_REVOKED* entry) {
  OwnedEnumerated code{
      static_cast<ASN1_ENUMERATED*>(X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, nullptr, nullptr))};
  long value = code ? ASN1_ENUMERATED_get(code.get()) : 0;
  for (const ReasonName& row : reasons)
    if (static_cast<long>(row.reason) == value) return row.reason;
  return RevocationReason::unspecified;
}

}  // namespace

namespace detail {

Result<Crl> build_crl(const CrlText& text, X509* issuer, EVP_PKEY* key) {
  OwnedTime this_update = to_asn1(text.this_update), next_update = to_asn1(text.next_update);
  OwnedCrl crl{X509_CRL_new()};
  bool is_built = crl && this_update && next_update && X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2) == 1 &&
                  X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(issuer)) == 1 &&
                  X509_CRL_set1_lastUpdate(crl.get(), this_update.get()) == 1 &&
                  X509_CRL_set1_nextUpdate(crl.get(), next_update.get()) == 1;
  for (const RevokedCertificate& revoked : text.revoked) {
    if (is_built && !add_entry(crl.get(), revoked))
      return fail(crl_fault("this cannot be revoked", "serial " + escape_controls(revoked.serial.substr(0, 60))));
  }
  is_built = is_built && add_authority(crl.get(), issuer) && add_number(crl.get(), text.number) &&
             add_issuing_point(crl.get(), text.url) && X509_CRL_sort(crl.get()) == 1 &&
             X509_CRL_sign(crl.get(), key, EVP_sha256()) > 0;
  if (is_built) return parse_crl(der_of(crl.get(), i2d_X509_CRL));
  Fault fault{Code::key_failed, Remedy::refuse, "the revocation list could not be signed"};
  fault.seen = openssl_reason();
  return fail(std::move(fault));
}

}  // namespace detail

std::string_view name_of(RevocationReason reason) {
  for (const ReasonName& row : reasons)
    if (row.reason == reason) return row.name;
  return reasons.front().name;
}

std::optional<RevocationReason> revocation_reason_named(std::string_view name) {
  for (const ReasonName& row : reasons)
    if (row.name == name) return row.reason;
  return std::nullopt;
}

std::string revocation_reasons() {
  std::string out;
  for (const ReasonName& row : reasons) out += (out.empty() ? "" : ", ") + std::string{row.name};
  return out;
}

bool is_crl_url(std::string_view url) {
  std::size_t host = url.starts_with("http://") ? 7 : url.starts_with("https://") ? 8 : 0;
  return host != 0 && url.size() > host && url[host] != '/' && url.size() <= 200 &&
         std::all_of(url.begin(), url.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; });
}

Result<Crl> parse_crl(ByteView bytes) {
  ErrorsEndHere errors;
  if (bytes.empty() || bytes.size() > longest_crl)
    return fail(crl_fault("this is no revocation list", std::to_string(bytes.size()) + " B"));
  Bytes unwrapped;
  if (bytes[0] != 0x30) {
    TRY(unwrapped, crl_in_pem(bytes));
    bytes = unwrapped;
  }
  const unsigned char* at = bytes.data();
  OwnedCrl x509{d2i_X509_CRL(nullptr, &at, static_cast<long>(bytes.size()))};
  if (!x509 || at != bytes.data() + bytes.size()) return fail(crl_fault("the revocation list cannot be read"));
  std::optional<WallTime> from = from_asn1(X509_CRL_get0_lastUpdate(x509.get()));
  std::optional<WallTime> until = from_asn1(X509_CRL_get0_nextUpdate(x509.get()));
  if (!from || !until) return fail(crl_fault("the revocation list has no readable dates", "lastUpdate, nextUpdate"));
  Crl crl;
  crl.der = der_of(x509.get(), i2d_X509_CRL);
  crl.pem = pem_of(x509.get());
  crl.number = number_in(x509.get());
  crl.this_update = *from;
  crl.next_update = *until;
  crl.url = url_in(x509.get());
  STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(x509.get());
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {  // -1 of none
    const X509_REVOKED* entry = sk_X509_REVOKED_value(entries, i);
    std::optional<WallTime> when = from_asn1(X509_REVOKED_get0_revocationDate(entry));
    if (!when) return fail(crl_fault("the revocation list has no readable dates", "entry " + std::to_string(i + 1)));
    crl.revoked.push_back({hex_of(X509_REVOKED_get0_serialNumber(entry)), *when, reason_in(entry)});
  }
  if (crl.der.empty() || crl.pem.empty()) return fail(crl_fault("the revocation list cannot be read"));
  return crl;
}

bool is_signed_by(const Crl& crl, const Certificate& ca) {
  ErrorsEndHere errors;
  const unsigned char* at = crl.der.data();
  OwnedCrl list{d2i_X509_CRL(nullptr, &at, static_cast<long>(crl.der.size()))};
  OwnedCertificate signer = certificate_from_der(ca.der);
  EVP_PKEY* key = signer ? X509_get0_pubkey(signer.get()) : nullptr;
  return list && key != nullptr &&
         X509_NAME_cmp(X509_CRL_get_issuer(list.get()), X509_get_subject_name(signer.get())) == 0 &&
         X509_CRL_verify(list.get(), key) == 1;
}

}  // namespace espmint
