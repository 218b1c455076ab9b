#include "identity/root_cas.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/text.hpp"
#include "identity/identity.hpp"
#include "identity/openssl.hpp"

namespace espmint {
namespace {

using namespace detail;

constexpr std::string_view pem_begin = "-----BEGIN ", certificate_begin = "-----BEGIN CERTIFICATE-----",
                           certificate_end = "-----END CERTIFICATE-----";

/// The next certificate's PEM from `at` on, which moves behind it; empty at the end.
std::string_view next_certificate(std::string_view text, std::size_t& at) {
  std::size_t begin = text.find(certificate_begin, std::min(at, text.size()));
  std::size_t end = begin == std::string_view::npos ? begin : text.find(certificate_end, begin);
  if (end == std::string_view::npos) return {};
  at = end + certificate_end.size();
  return text.substr(begin, at - begin);
}

/// The one value of an attribute of a name; none where it has several or none.
std::optional<std::string> text_in(const X509_NAME* name, int nid) {
  int at = X509_NAME_get_index_by_NID(name, nid, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0) return std::nullopt;
  unsigned char* utf8 = nullptr;
  int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (size < 0) return std::nullopt;
  std::string text{reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size)};
  OPENSSL_free(utf8);
  return text;
}

bool is_amazons(const Certificate& certificate, std::string_view title) {
  if (certificate.common_name != title) return false;
  OwnedCertificate x509 = certificate_from_der(certificate.der);
  const X509_NAME* subject = x509 ? X509_get_subject_name(x509.get()) : nullptr;
  return subject != nullptr && X509_NAME_entry_count(subject) == 3 && text_in(subject, NID_countryName) == "US" &&
         text_in(subject, NID_organizationName) == "Amazon" && is_issued_by(certificate, certificate);
}

/// "2038-01-17"
std::string day_of(WallTime moment) { return to_string(moment).substr(0, 10); }

}  // namespace

Result<RootCa> amazon_root_ca(ByteView bundle, unsigned number, WallTime now) {
  const std::string title = fmt::format("Amazon Root CA {}", number);
  Fault fault{Code::ca_missing, Remedy::refuse, fmt::format("there is no {} that boards could know AWS by", title)};
  fault.seen = "it is not among the certificates";
  fault.advice = "Update the package ca-certificates, or name a PEM file: root_ca in [cloud.aws]";
  std::string_view text = as_text(bundle);
  std::size_t at = 0;
  for (std::string_view pem = next_certificate(text, at); !pem.empty(); pem = next_certificate(text, at)) {
    auto certificate = parse_certificate(as_bytes(pem));
    if (!certificate || !is_amazons(*certificate, title)) continue;
    if (now < certificate->not_after) return RootCa{title, certificate->pem, certificate->not_after};
    fault.seen = fmt::format("it expired on {}, by this machine's clock", day_of(certificate->not_after));
  }
  return fail(std::move(fault));
}

Result<RootCa> read_root_ca(ByteView bytes, WallTime now) {
  auto refuse = [](std::string seen) {
    Fault fault{Code::ca_invalid, Remedy::refuse, "these are no root CAs that boards could know their servers by"};
    fault.seen = std::move(seen);
    fault.advice = "It is a file of PEM certificates, \"BEGIN CERTIFICATE\", and nothing else";
    return fail(std::move(fault));
  };
  std::string_view text = as_text(bytes);
  std::optional<RootCa> out;
  std::size_t at = 0, blocks = 0, certificates = 0;
  for (std::size_t begin = text.find(pem_begin); begin != std::string_view::npos;
       begin = text.find(pem_begin, begin + pem_begin.size()))
    ++blocks;
  for (std::string_view pem = next_certificate(text, at); !pem.empty(); pem = next_certificate(text, at)) {
    ++certificates;
    auto certificate = parse_certificate(as_bytes(pem));
    if (!certificate)
      return refuse(fmt::format("certificate {} of the file: {}", certificates, certificate.error().what));
    if (certificate->not_after <= now)
      return refuse(fmt::format("\"{}\" expired on {}, by this machine's clock",
                                escape_controls(certificate->common_name), day_of(certificate->not_after)));
    if (!out) out = RootCa{certificate->common_name, {}, certificate->not_after};
    out->pem += certificate->pem;
    out->expires = std::min(out->expires, certificate->not_after);
  }
  // A private key beside its certificate would lie on every board.
  if (blocks != certificates) return refuse("it holds something else than certificates");
  if (!out) return refuse("it holds no certificate");
  return *out;
}

}  // namespace espmint
