#include "identity/local_ca.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include "identity/openssl.hpp"
#include "io/file.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;
using openssl::last_error;
using openssl::Owned;

constexpr std::chrono::days root_lifetime{30 * 365};

Fault ca_fault(Code code, std::string what, const fs::path& file, std::string seen = {}, std::string advice = {}) {
  Fault fault{code, Remedy::refuse, std::move(what)};
  fault.where.input = file.string();
  fault.seen = std::move(seen);
  fault.advice = std::move(advice);
  return fault;
}

bool add_extension(X509* x509, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, x509, nullptr, nullptr, 0);
  Owned<X509_EXTENSION> extension{X509V3_EXT_conf_nid(nullptr, &context, nid, value)};
  return extension && X509_add_ext(x509, extension.get(), -1) == 1;
}

bool set_serial(X509* x509, ByteView serial) {
  Owned<BIGNUM> number{BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr)};
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(x509)) != nullptr;
}

bool set_dates(X509* x509, WallTime from, WallTime to) {
  auto seconds = [](WallTime time) { return static_cast<time_t>(time.time_since_epoch().count()); };
  return ASN1_TIME_set(X509_getm_notBefore(x509), seconds(from)) && ASN1_TIME_set(X509_getm_notAfter(x509), seconds(to));
}

Owned<X509> load(const Certificate& certificate) {
  const unsigned char* at = certificate.der.data();
  return Owned<X509>{d2i_X509(nullptr, &at, static_cast<long>(certificate.der.size()))};
}

}  // namespace

Result<LocalCa> LocalCa::init(const fs::path& folder, std::string_view name, WallTime now) {
  fs::path key_file = folder / "ca.key.pem", certificate_file = folder / "ca.cert.pem";
  std::error_code ignored;
  if (fs::exists(key_file, ignored) || fs::exists(certificate_file, ignored))
    return fail(ca_fault(Code::ca_invalid, "there is a CA here already", folder, {}, "`espmint ca show` shows it; name another --state for another one"));
  TRY(PrivateKey key, mint_key(KeyKind::ec_p256));
  TRY(Bytes serial, mint_serial());
  Owned<X509> x509{X509_new()};
  Owned<X509_NAME> subject = openssl::common_name(name);
  bool good = x509 && subject && X509_set_version(x509.get(), X509_VERSION_3) == 1 && set_serial(x509.get(), serial) &&
              set_dates(x509.get(), now, now + root_lifetime) && X509_set_subject_name(x509.get(), subject.get()) == 1 &&
              X509_set_issuer_name(x509.get(), subject.get()) == 1 && X509_set_pubkey(x509.get(), key.get()) == 1 &&
              add_extension(x509.get(), x509.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
              add_extension(x509.get(), x509.get(), NID_key_usage, "critical,keyCertSign,cRLSign") &&
              add_extension(x509.get(), x509.get(), NID_subject_key_identifier, "hash") &&
              X509_sign(x509.get(), key.get(), EVP_sha256()) > 0;
  if (!good) return fail(ca_fault(Code::ca_invalid, "no CA could be made", folder, last_error()));
  TRY(Certificate root, openssl::describe_certificate(x509.get()));
  TRY(make_folder(folder, true));
  TRY(Secret pem, key.pem());
  // The key first: a certificate without its key is a CA that cannot sign, and is refused.
  TRY(create_file(key_file, pem.reveal(), FileMode::owner_only));
  TRY(create_file(certificate_file, as_bytes(root.pem)));
  return LocalCa{std::move(key), std::move(root)};
}

Result<LocalCa> LocalCa::open(const fs::path& folder, WallTime now) {
  fs::path key_file = folder / "ca.key.pem", certificate_file = folder / "ca.cert.pem";
  struct stat info{};
  std::error_code ignored;
  bool has_key = stat(key_file.c_str(), &info) == 0, has_certificate = fs::exists(certificate_file, ignored);
  if (!has_key && !has_certificate)
    return fail(ca_fault(Code::ca_missing, "there is no CA yet", folder, {}, "`espmint ca init` makes one"));
  if (!has_key || !has_certificate)
    return fail(ca_fault(Code::ca_invalid, "half of the CA is missing", has_key ? certificate_file : key_file, {}, "Restore it from your backup"));
  if ((info.st_mode & 077) != 0)
    return fail(ca_fault(Code::ca_invalid, "the CA's key can be read by others", key_file, fmt::format("mode {:o}", info.st_mode & 0777),
                         fmt::format("chmod 600 {}", key_file.string())));
  TRY(Bytes key_pem, read_file(key_file, 64 * 1024));
  Secret secret{std::move(key_pem)};
  auto key = in_input(PrivateKey::from_pem(secret), key_file.string());
  if (!key) return fail(ca_fault(Code::ca_invalid, "the CA's key is damaged", key_file, key.error().seen, "Restore it from your backup"));
  TRY(Bytes certificate_pem, read_file(certificate_file, 64 * 1024));
  auto root = parse_certificate(certificate_pem);
  if (!root) return fail(ca_fault(Code::ca_invalid, "the CA's certificate is damaged", certificate_file, root.error().seen, "Restore it from your backup"));
  if (root->public_key_der != key->public_key_der())
    return fail(ca_fault(Code::ca_invalid, "the CA's key and certificate do not belong together", folder, {}, "Restore both from one backup"));
  if (now > root->not_after)
    return fail(ca_fault(Code::ca_invalid, "the CA has expired", certificate_file, to_string(root->not_after), "Check this machine's clock; else a new CA is due"));
  return LocalCa{std::move(*key), std::move(*root)};
}

Result<Certificate> LocalCa::sign(ByteView csr_der, ByteView serial) {
  const unsigned char* at = csr_der.data();
  Owned<X509_REQ> request{d2i_X509_REQ(nullptr, &at, static_cast<long>(csr_der.size()))};
  EVP_PKEY* subject_key = request ? X509_REQ_get0_pubkey(request.get()) : nullptr;
  if (!subject_key || X509_REQ_verify(request.get(), subject_key) != 1)
    return fail({Code::certificate_invalid, Remedy::refuse, "the certificate request is not signed by its own key", {}, last_error(), {}});
  if (serial.size() != 20 || (serial[0] & 0x80) != 0)
    return fail({Code::certificate_invalid, Remedy::refuse, "a serial has 20 octets and is positive", {}, to_hex(serial), {}});
  Owned<X509> x509{X509_new()}, root = load(root_);
  bool rsa = EVP_PKEY_is_a(subject_key, "RSA") == 1;
  bool good = x509 && root && X509_set_version(x509.get(), X509_VERSION_3) == 1 && set_serial(x509.get(), serial) &&
              set_dates(x509.get(), root_.not_before, root_.not_after) &&
              X509_set_subject_name(x509.get(), X509_REQ_get_subject_name(request.get())) == 1 &&
              X509_set_issuer_name(x509.get(), X509_get_subject_name(root.get())) == 1 &&
              X509_set_pubkey(x509.get(), subject_key) == 1 &&
              add_extension(x509.get(), root.get(), NID_basic_constraints, "critical,CA:FALSE") &&
              add_extension(x509.get(), root.get(), NID_key_usage, rsa ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature") &&
              add_extension(x509.get(), root.get(), NID_ext_key_usage, "clientAuth") &&
              add_extension(x509.get(), root.get(), NID_subject_key_identifier, "hash") &&
              add_extension(x509.get(), root.get(), NID_authority_key_identifier, "keyid:always") &&
              X509_sign(x509.get(), key_.get(), EVP_sha256()) > 0;
  if (!good) return fail({Code::certificate_invalid, Remedy::stop_line, "the CA could not sign", {}, last_error(), {}});
  return openssl::describe_certificate(x509.get());
}

}  // namespace espmint
