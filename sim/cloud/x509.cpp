#include "sim/cloud/x509.hpp"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "base/hash.hpp"

namespace espmint::sim::iot {
namespace {

template <auto release>
struct Released {
  template <typename T>
  void operator()(T* object) const {
    release(object);
  }
};
using BioHandle = std::unique_ptr<BIO, Released<BIO_free>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, Released<EVP_PKEY_free>>;
using CertificateHandle = std::unique_ptr<X509, Released<X509_free>>;
using RequestHandle = std::unique_ptr<X509_REQ, Released<X509_REQ_free>>;
using NameHandle = std::unique_ptr<X509_NAME, Released<X509_NAME_free>>;

/// OpenSSL's queue of errors is the thread's: what fails here must not speak up elsewhere.
struct QuietErrors {
  QuietErrors() { ERR_clear_error(); }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;
  ~QuietErrors() { ERR_clear_error(); }
};

template <typename T, typename Encode>
Bytes encoded(const T* object, Encode encode) {
  int size = encode(object, nullptr);
  if (size <= 0) return {};
  Bytes out(static_cast<std::size_t>(size));
  unsigned char* end = out.data();
  encode(object, &end);
  return out;
}

BioHandle reading(std::string_view text) {
  return BioHandle{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

std::string text_in(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

/// Source: AWS IoT API Reference, CreateCertificateFromCsr: RSA from 2048 bits, NIST P-256, P-384, P-521.
bool is_taken(EVP_PKEY* key) {
  if (!key) return false;
  if (EVP_PKEY_is_a(key, "RSA")) return EVP_PKEY_get_bits(key) >= 2048;
  if (!EVP_PKEY_is_a(key, "EC")) return false;
  char curve[64] = {};
  if (EVP_PKEY_get_group_name(key, curve, sizeof curve, nullptr) != 1) return false;
  int nid = OBJ_txt2nid(curve);
  return nid == NID_X9_62_prime256v1 || nid == NID_secp384r1 || nid == NID_secp521r1;
}

std::string first_common_name(const X509_NAME* name) {
  int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (size < 0) return {};
  std::string out{reinterpret_cast<char*>(text), static_cast<std::size_t>(size)};
  OPENSSL_free(text);
  return out;
}

WallTime wall_of(const ASN1_TIME* time) {
  std::tm tm{};
  if (ASN1_TIME_to_tm(time, &tm) != 1) return {};
  namespace chr = std::chrono;
  return chr::sys_days{chr::year{tm.tm_year + 1900} / chr::month{static_cast<unsigned>(tm.tm_mon + 1)} /
                       chr::day{static_cast<unsigned>(tm.tm_mday)}} +
         chr::hours{tm.tm_hour} + chr::minutes{tm.tm_min} + chr::seconds{tm.tm_sec};
}

ReadCertificate looked_at(X509* certificate) {
  ReadCertificate out;
  out.der = encoded(certificate, i2d_X509);
  out.id = to_hex(sha256_of(out.der));
  out.common_name = first_common_name(X509_get_subject_name(certificate));
  out.subject = encoded(X509_get_subject_name(certificate), i2d_X509_NAME);
  out.issuer = encoded(X509_get_issuer_name(certificate), i2d_X509_NAME);
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key) out.public_key = encoded(key, i2d_PUBKEY);
  out.key_is_taken = is_taken(key);
  out.is_authority = X509_check_ca(certificate) == 1;
  out.not_before = wall_of(X509_get0_notBefore(certificate));
  out.not_after = wall_of(X509_get0_notAfter(certificate));
  return out;
}

KeyHandle public_key_from(ByteView der) {
  const unsigned char* at = der.data();
  return KeyHandle{d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size()))};
}

NameHandle name_of(std::initializer_list<std::pair<const char*, const char*>> entries) {
  NameHandle name{X509_NAME_new()};
  for (auto [field, text] : entries)
    X509_NAME_add_entry_by_txt(name.get(), field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text), -1, -1,
                               0);
  return name;
}

void add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  if (X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value)) {
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
}

KeyHandle p256_key_from(std::uint64_t seed) {
  // Any 32 bytes below the order are a key; the chance of one above is 2^-32, and another seed helps.
  Bytes text = to_bytes("espmint virtual cloud authority ");
  for (int shift = 0; shift < 64; shift += 8) text.push_back(static_cast<std::uint8_t>(seed >> shift));
  Sha256 secret = sha256_of(text);
  BIGNUM* number = BN_bin2bn(secret.data(), static_cast<int>(secret.size()), nullptr);
  EC_GROUP* group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
  EC_POINT* point = EC_POINT_new(group);
  EC_POINT_mul(group, point, number, nullptr, nullptr, nullptr);
  Bytes public_point(65);
  EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, public_point.data(), public_point.size(), nullptr);
  OSSL_PARAM_BLD* build = OSSL_PARAM_BLD_new();
  OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, number);
  OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, public_point.data(), public_point.size());
  OSSL_PARAM* params = OSSL_PARAM_BLD_to_param(build);
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
  EVP_PKEY* key = nullptr;
  EVP_PKEY_fromdata_init(context);
  EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params);
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(build);
  EC_POINT_free(point);
  EC_GROUP_free(group);
  BN_free(number);
  return KeyHandle{key};
}

// Certificates and requests of P-256 are put together and taken apart here: a million enrolments are simulated, and
// what OpenSSL's decoders and builders need for one is milliseconds. Source: RFC 5280, RFC 2986, X.690.
constexpr std::uint8_t der_integer = 0x02, der_bits = 0x03, der_octets = 0x04, der_utc_time = 0x17, der_sequence = 0x30,
                       der_explicit_3 = 0xa3;
constexpr std::uint8_t ecdsa_with_sha256[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
constexpr std::uint8_t p256_key_start[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                           0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                           0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

Bytes tlv(std::uint8_t tag, std::initializer_list<ByteView> parts) {
  std::size_t size = 0;
  for (ByteView part : parts) size += part.size();
  Bytes out{tag};
  if (size < 0x80) {
    out.push_back(static_cast<std::uint8_t>(size));
  } else {
    if (size > 0xff) {
      out.push_back(0x82);
      out.push_back(static_cast<std::uint8_t>(size >> 8));
    } else {
      out.push_back(0x81);
    }
    out.push_back(static_cast<std::uint8_t>(size));
  }
  for (ByteView part : parts) append(out, part);
  return out;
}

/// One element from the front of `rest`: whole and its content; nothing where it does not lie in it.
struct DerElement {
  ByteView whole, content;
};
std::optional<DerElement> take_element(ByteView& rest, std::uint8_t tag) {
  if (rest.size() < 2 || rest[0] != tag) return std::nullopt;
  std::size_t size = rest[1], head = 2;
  if (size == 0x81 && rest.size() > 2) {
    size = rest[2];
    head = 3;
  } else if (size == 0x82 && rest.size() > 3) {
    size = static_cast<std::size_t>(rest[2]) << 8 | rest[3];
    head = 4;
  } else if (size >= 0x80) {
    return std::nullopt;
  }
  if (rest.size() - head < size) return std::nullopt;
  DerElement out{rest.first(head + size), rest.subspan(head, size)};
  rest = rest.subspan(head + size);
  return out;
}

/// Of a P-256 request signed with SHA-256, its signature checked; nothing of any other, which OpenSSL reads.
std::optional<ReadRequest> read_p256_request(ByteView der) {
  auto request = take_element(der, der_sequence);
  if (!request || !der.empty()) return std::nullopt;
  ByteView inside = request->content;
  auto info = take_element(inside, der_sequence);
  auto algorithm = take_element(inside, der_sequence);
  auto signature = take_element(inside, der_bits);
  if (!info || !algorithm || !signature || signature->content.size() < 2 || !inside.empty()) return std::nullopt;
  if (!std::equal(algorithm->whole.begin(), algorithm->whole.end(), std::begin(ecdsa_with_sha256),
                  std::end(ecdsa_with_sha256)))
    return std::nullopt;
  ByteView fields = info->content;
  auto version = take_element(fields, der_integer);
  auto subject = take_element(fields, der_sequence);
  auto public_key = take_element(fields, der_sequence);
  if (!version || !subject || !public_key || public_key->whole.size() < sizeof p256_key_start) return std::nullopt;
  if (!std::equal(std::begin(p256_key_start), std::end(p256_key_start), public_key->whole.begin())) return std::nullopt;
  KeyHandle key = public_key_from(public_key->whole);
  if (!key) return std::nullopt;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ByteView bits = signature->content.subspan(1);
  bool good = EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
              EVP_DigestVerify(context, bits.data(), bits.size(), info->whole.data(), info->whole.size()) == 1;
  EVP_MD_CTX_free(context);
  if (!good) return std::nullopt;
  return ReadRequest{Bytes(subject->whole.begin(), subject->whole.end()), !subject->content.empty(),
                     Bytes(public_key->whole.begin(), public_key->whole.end())};
}

/// "261122081530Z"; good until 2049.
Bytes utc_time(WallTime at) {
  std::string text = to_string(at).substr(2);
  std::erase_if(text, [](char c) { return c == '-' || c == ':' || c == 'T'; });
  return tlv(der_utc_time, {as_bytes(text)});
}

CertificateHandle begun(ByteView serial, WallTime from, const char* until) {
  CertificateHandle certificate{X509_new()};
  X509_set_version(certificate.get(), X509_VERSION_3);
  BIGNUM* number = BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
  BN_free(number);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), std::chrono::system_clock::to_time_t(from));
  ASN1_TIME_set_string(X509_getm_notAfter(certificate.get()), until);
  return certificate;
}

}  // namespace

std::optional<ReadCertificate> read_certificate(ByteView der) {
  QuietErrors quiet;
  const unsigned char* at = der.data();
  CertificateHandle certificate{d2i_X509(nullptr, &at, static_cast<long>(der.size()))};
  if (!certificate) return std::nullopt;
  return looked_at(certificate.get());
}

std::optional<ReadCertificate> read_certificate_pem(std::string_view pem) {
  QuietErrors quiet;
  CertificateHandle certificate{PEM_read_bio_X509(reading(pem).get(), nullptr, nullptr, nullptr)};
  if (!certificate) return std::nullopt;
  return looked_at(certificate.get());
}

bool is_signed_by(const ReadCertificate& child, const ReadCertificate& parent) {
  QuietErrors quiet;
  const unsigned char* at = child.der.data();
  CertificateHandle certificate{d2i_X509(nullptr, &at, static_cast<long>(child.der.size()))};
  KeyHandle key = public_key_from(parent.public_key);
  return certificate && key && X509_verify(certificate.get(), key.get()) == 1;
}

std::optional<ReadRequest> read_request_pem(std::string_view pem, std::string& why) {
  QuietErrors quiet;
  char *kind = nullptr, *header = nullptr;
  unsigned char* der = nullptr;
  long der_size = 0;
  if (PEM_read_bio(reading(pem).get(), &kind, &header, &der, &der_size) == 1) {
    std::string_view name{kind};
    bool is_request = name == PEM_STRING_X509_REQ || name == PEM_STRING_X509_REQ_OLD;
    auto quickly = is_request ? read_p256_request({der, static_cast<std::size_t>(der_size)}) : std::nullopt;
    OPENSSL_free(kind);
    OPENSSL_free(header);
    OPENSSL_free(der);
    if (quickly) return quickly;
  }
  RequestHandle request{PEM_read_bio_X509_REQ(reading(pem).get(), nullptr, nullptr, nullptr)};
  if (!request) {
    why = "The certificate signing request could not be parsed";
    return std::nullopt;
  }
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (!is_taken(key)) {
    why = "The public key of the certificate signing request is not supported";
    return std::nullopt;
  }
  if (X509_REQ_verify(request.get(), key) != 1) {
    why = "The signature of the certificate signing request is invalid";
    return std::nullopt;
  }
  const X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  return ReadRequest{encoded(subject, i2d_X509_NAME), X509_NAME_entry_count(subject) > 0, encoded(key, i2d_PUBKEY)};
}

std::string pem_of_certificate(ByteView der) {
  BioHandle bio{BIO_new(BIO_s_mem())};
  PEM_write_bio(bio.get(), PEM_STRING_X509, "", der.data(), static_cast<long>(der.size()));
  return text_in(bio.get());
}

KeyPair make_key_pair() {
  QuietErrors quiet;
  KeyHandle key{EVP_RSA_gen(2048)};
  BioHandle private_bio{BIO_new(BIO_s_secmem())}, public_bio{BIO_new(BIO_s_mem())};
  PEM_write_bio_PrivateKey_traditional(private_bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  PEM_write_bio_PUBKEY(public_bio.get(), key.get());
  return {text_in(public_bio.get()), Secret{to_bytes(text_in(private_bio.get()))}, encoded(key.get(), i2d_PUBKEY)};
}

struct CertificateAuthority::Key {
  KeyHandle key;
  Bytes issuer, key_id;  // DER of the name; bytes
};

CertificateAuthority::CertificateAuthority(std::uint64_t seed, WallTime now) : key_(std::make_unique<Key>()) {
  QuietErrors quiet;
  key_->key = p256_key_from(seed);
  const Bytes serial{1};
  CertificateHandle made = begun(serial, now - std::chrono::hours{24}, "20991231235959Z");
  X509* root = made.get();
  NameHandle name =
      name_of({{"O", "espmint"}, {"OU", "Virtual cloud, for rehearsal"}, {"CN", "Virtual device authority"}});
  X509_set_subject_name(root, name.get());
  X509_set_issuer_name(root, name.get());
  X509_set_pubkey(root, key_->key.get());
  add_extension(root, root, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(root, root, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(root, root, NID_subject_key_identifier, "hash");
  X509_sign(root, key_->key.get(), EVP_sha256());
  root_ = encoded(root, i2d_X509);
  key_->issuer = encoded(X509_get_subject_name(root), i2d_X509_NAME);
  const ASN1_OCTET_STRING* key_id = X509_get0_subject_key_id(root);
  key_->key_id.assign(ASN1_STRING_get0_data(key_id), ASN1_STRING_get0_data(key_id) + ASN1_STRING_length(key_id));
}

CertificateAuthority::~CertificateAuthority() = default;

Bytes CertificateAuthority::issue(ByteView public_key, ByteView subject, ByteView serial, WallTime now) const {
  QuietErrors quiet;
  constexpr std::uint8_t version_3[] = {0xa0, 0x03, 0x02, 0x01, 0x02};
  constexpr std::uint8_t authority_key_id[] = {0x06, 0x03, 0x55, 0x1d, 0x23},
                         subject_key_id[] = {0x06, 0x03, 0x55, 0x1d, 0x0e};
  constexpr std::uint8_t no_authority[] = {0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13,
                                           0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00};
  constexpr std::uint8_t signs_only[] = {0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01,
                                         0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x07, 0x80};
  constexpr std::uint8_t key_id_tag = 0x80;
  constexpr std::size_t key_id_bytes = 20;
  Bytes usual_subject;
  if (subject.empty()) {
    usual_subject = encoded(name_of({{"CN", "AWS IoT Certificate"}}).get(), i2d_X509_NAME);
    subject = usual_subject;
  }
  Sha256 own_id = sha256_of(public_key);  // its first 20 bytes: RFC 7093, method 1 of another hash
  Bytes authority =
      tlv(der_sequence, {authority_key_id, tlv(der_octets, {tlv(der_sequence, {tlv(key_id_tag, {key_->key_id})})})});
  Bytes own =
      tlv(der_sequence, {subject_key_id, tlv(der_octets, {tlv(der_octets, {ByteView{own_id}.first(key_id_bytes)})})});
  Bytes extensions = tlv(der_explicit_3, {tlv(der_sequence, {authority, own, no_authority, signs_only})});
  Bytes until = tlv(der_utc_time, {as_bytes("491231235959Z")});
  Bytes validity = tlv(der_sequence, {utc_time(now - std::chrono::minutes{2}), until});
  Bytes to_sign = tlv(der_sequence, {version_3, tlv(der_integer, {serial}), ecdsa_with_sha256, key_->issuer, validity,
                                     subject, public_key, extensions});
  Bytes signature(1 + 80);
  std::size_t size = signature.size() - 1;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key_->key.get());
  EVP_DigestSign(context, signature.data() + 1, &size, to_sign.data(), to_sign.size());  // behind "no unused bits"
  EVP_MD_CTX_free(context);
  signature.resize(1 + size);
  return tlv(der_sequence, {to_sign, ecdsa_with_sha256, tlv(der_bits, {signature})});
}

}  // namespace espmint::sim::iot
