#include "identity/local_ca.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "base/units.hpp"
#include "identity/openssl.hpp"
#include "io/file.hpp"

namespace espmint {
namespace {

using namespace detail;
namespace fs = std::filesystem;

constexpr std::string_view key_name = "ca.key.pem", certificate_name = "ca.cert.pem", crl_url_name = "crl-url.txt";
constexpr ByteCount longest_file = 64_KiB;

Fault ca_fault(Code code, std::string what, const fs::path& where, std::string seen, std::string advice) {
  Fault fault{code, Remedy::refuse, std::move(what)};
  fault.where.input = where.string();
  fault.seen = std::move(seen);
  fault.advice = std::move(advice);
  return fault;
}

/// As a person would type it into a shell.
std::string quoted(const fs::path& path) {
  std::string text = path.string();
  auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view{"/._-+,:@%"}.find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_plain)) return text;
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string{"'\\''"} : std::string(1, c);
  return out + "'";
}

/// Whether it is there. A folder that may not be entered is a fault, never an answer: a second CA would be the end of
/// it.
Result<bool> is_there(const fs::path& path) {
  std::error_code error;
  fs::file_type type = fs::symlink_status(path, error).type();
  if (type == fs::file_type::not_found) return false;
  if (type == fs::file_type::none)
    return fail(ca_fault(Code::ca_invalid, "it cannot be seen whether a CA is here", path, error.message(),
                         "run as the user who owns the CA's folder"));
  return true;
}

/// A file of the CA; what goes wrong is the CA's fault, with the reading's own words as evidence.
Result<Bytes> read_part(const fs::path& path) {
  auto bytes = read_file(path, longest_file);
  if (bytes) return bytes;
  Fault& fault = bytes.error();
  return fail(ca_fault(Code::ca_invalid, "a file of the CA cannot be read", path, fault.what + ": " + fault.seen,
                       "run as the user who owns it, or restore it from your backup"));
}

Result<PrivateKey> read_key(const fs::path& path) {
  std::error_code error;
  fs::perms allowed = fs::status(path, error).permissions();
  if (!error && (allowed & (fs::perms::group_all | fs::perms::others_all)) != fs::perms::none)
    return fail(ca_fault(Code::ca_invalid, "others may read or change the CA's private key", path,
                         fmt::format("mode {:04o}", static_cast<unsigned>(allowed & fs::perms::mask)),
                         "chmod 600 " + quoted(path)));
  TRY(Bytes bytes, read_part(path));
  auto key = PrivateKey::from_pem(Secret{std::move(bytes)});
  if (key) return key;
  return fail(ca_fault(Code::ca_invalid, "the CA's private key cannot be used", path,
                       key.error().what + (key.error().seen.empty() ? "" : ": " + key.error().seen),
                       "restore it from your backup"));
}

/// Where the CA's revocation list can be fetched; empty where nobody said.
Result<std::string> read_crl_url(const fs::path& path) {
  TRY(bool is_said, is_there(path));
  if (!is_said) return std::string{};
  TRY(Bytes bytes, read_part(path));
  std::string url{trim(as_text(bytes))};
  if (is_crl_url(url)) return url;
  return fail(ca_fault(Code::ca_invalid, "this is no place for a revocation list", path,
                       "\"" + escape_controls(url.substr(0, 80)) + "\"",
                       "write one line such as http://pki.example.com/ca.crl, or remove the file"));
}

/// By a signature and not by comparing the public halves: a key file carries its public half as text beside the secret.
bool belong_together(const PrivateKey& key, EVP_PKEY* certified) {
  constexpr std::string_view words = "espmint: is this the key of that certificate?";
  Owned<EVP_MD_CTX, EVP_MD_CTX_free> context{EVP_MD_CTX_new()};
  if (!context || certified == nullptr || EVP_PKEY_eq(key.get(), certified) != 1 ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1)
    return false;
  const auto* text = reinterpret_cast<const unsigned char*>(words.data());
  std::size_t length = 0;
  if (EVP_DigestSign(context.get(), nullptr, &length, text, words.size()) != 1) return false;
  Bytes signature(length);
  if (EVP_DigestSign(context.get(), signature.data(), &length, text, words.size()) != 1) return false;
  Owned<EVP_MD_CTX, EVP_MD_CTX_free> check{EVP_MD_CTX_new()};
  return check && EVP_DigestVerifyInit(check.get(), nullptr, EVP_sha256(), nullptr, certified) == 1 &&
         EVP_DigestVerify(check.get(), signature.data(), length, text, words.size()) == 1;
}

}  // namespace

Result<LocalCa> LocalCa::init(const fs::path& folder, std::string_view name, WallTime now) {
  ErrorsEndHere errors;
  fs::path key_file = folder / key_name, certificate_file = folder / certificate_name;
  TRY(bool has_certificate, is_there(certificate_file));
  TRY(bool has_key, is_there(key_file));
  if (has_certificate)
    return fail(ca_fault(Code::ca_invalid, "there is a CA already", folder, std::string{certificate_name} + " is there",
                         "`espmint ca show` shows it; a second one needs another folder (--state)"));
  OwnedName subject = name_of_one(name);
  if (!subject)
    return fail(ca_fault(Code::ca_invalid, "this cannot be the name of a CA", folder,
                         "\"" + std::string{name.substr(0, 80)} + "\"", "a name has 1 to 64 printable characters"));
  auto until = std::chrono::year_month_day{std::chrono::floor<std::chrono::days>(now)} + std::chrono::years{30};
  if (!until.ok()) until = until.year() / std::chrono::February / 28;  // made on a 29th of February
  OwnedTime not_before = to_asn1(now),
            not_after = to_asn1(std::chrono::sys_days{until} + (now - std::chrono::floor<std::chrono::days>(now)));
  if (!not_before || !not_after)
    return fail(ca_fault(Code::ca_invalid, "this machine's clock shows no date that a certificate can have", folder,
                         to_string(now), "set the clock"));

  TRY(make_folder(folder, true));
  auto key = has_key ? read_key(key_file) : mint_key(KeyKind::ec_p256);
  if (!key) return fail(std::move(key.error()));
  // The key first: alone it is harmless and can be finished, while a certificate alone would be a CA that is lost.
  if (!has_key) {
    TRY(Secret pem, key->pem());
    TRY(create_file(key_file, pem.reveal(), FileMode::owner_only));
  }
  TRY(Bytes serial, mint_serial());
  TRY(OwnedCertificate root,
      build_certificate({serial, subject.get(), key->get(), nullptr, not_before.get(), not_after.get(), {}, {}},
                        key->get()));
  TRY(Certificate certificate, parse_certificate(der_of(root.get(), i2d_X509)));
  TRY(create_file(certificate_file, as_bytes(certificate.pem)));
  return open(folder, now);
}

Result<LocalCa> LocalCa::open(const fs::path& folder, WallTime now) {
  ErrorsEndHere errors;
  fs::path key_file = folder / key_name, certificate_file = folder / certificate_name;
  TRY(bool has_certificate, is_there(certificate_file));
  TRY(bool has_key, is_there(key_file));
  if (!has_key && !has_certificate)
    return fail(ca_fault(Code::ca_missing, "there is no local CA yet", folder, "", "`espmint ca init` makes one"));
  if (!has_certificate)
    return fail(
        ca_fault(Code::ca_invalid, "half of the CA is missing", certificate_file, "its key is there",
                 "restore it from your backup; if this CA never issued anything, `espmint ca init` finishes it"));
  if (!has_key)
    return fail(ca_fault(Code::ca_invalid, "half of the CA is missing", key_file, "its certificate is there",
                         "restore the key from your backup; without it this CA can sign no more boards"));
  TRY(PrivateKey key, read_key(key_file));
  TRY(Bytes bytes, read_part(certificate_file));
  auto root = parse_certificate(bytes);
  if (!root)
    return fail(ca_fault(Code::ca_invalid, "the CA's certificate cannot be read", certificate_file,
                         root.error().what + (root.error().seen.empty() ? "" : ": " + root.error().seen),
                         "restore it from your backup"));
  std::shared_ptr<X509> issuer{certificate_from_der(root->der).release(), X509_free};
  if (!issuer || X509_check_ca(issuer.get()) != 1 || (X509_get_key_usage(issuer.get()) & KU_KEY_CERT_SIGN) == 0)
    return fail(ca_fault(Code::ca_invalid, "this certificate may not sign others", certificate_file,
                         "CN " + root->common_name, "put the certificate of a CA here"));
  if (!belong_together(key, X509_get0_pubkey(issuer.get())))
    return fail(ca_fault(Code::ca_invalid, "the CA's key and certificate do not belong together", folder,
                         "CN " + root->common_name, "restore both files from the same backup"));
  if (root->not_after <= now)
    return fail(ca_fault(Code::ca_invalid, "the CA has expired", certificate_file,
                         "it was valid until " + to_string(root->not_after) + ", now is " + to_string(now),
                         "if the clock is right, make a new CA in another folder (--state)"));
  TRY(std::string crl_url, read_crl_url(folder / crl_url_name));
  return LocalCa{std::move(key), std::move(*root), std::move(issuer), std::move(crl_url)};
}

Result<Certificate> LocalCa::sign(const CertificateRequest& request, ByteView serial) {
  return sign_as(request, serial, {});
}

Result<Certificate> LocalCa::sign_server(const CertificateRequest& request, ByteView serial) {
  return sign_as(request, serial, request.common_name);
}

Result<Crl> LocalCa::sign_crl(const CrlText& text) const {
  ErrorsEndHere errors;
  return build_crl(text, issuer_.get(), key_.get());
}

Result<Certificate> LocalCa::sign_as(const CertificateRequest& request, ByteView serial, const std::string& server) {
  ErrorsEndHere errors;
  if (serial.size() != 20 || serial[0] == 0 || serial[0] >= 0x80) {
    Fault fault{Code::certificate_invalid, Remedy::refuse, "a serial has 20 octets and is positive"};
    fault.seen = to_hex(serial.first(std::min<std::size_t>(serial.size(), 32)));
    return fail(std::move(fault));
  }
  OwnedName subject = name_of_one(request.common_name);
  const unsigned char* at = request.public_key_der.data();
  OwnedKey public_key{d2i_PUBKEY(nullptr, &at, static_cast<long>(request.public_key_der.size()))};
  if (!subject || !public_key) {
    Fault fault{Code::certificate_invalid, Remedy::refuse, "the request names no device or holds no key"};
    fault.seen = escape_controls(request.common_name.substr(0, 80));
    return fail(std::move(fault));
  }
  TRY(OwnedCertificate leaf,
      build_certificate({serial, subject.get(), public_key.get(), issuer_.get(), X509_get0_notBefore(issuer_.get()),
                         X509_get0_notAfter(issuer_.get()), crl_url_, server},
                        key_.get()));
  return parse_certificate(der_of(leaf.get(), i2d_X509));
}

}  // namespace espmint
