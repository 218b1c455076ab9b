// What a certificate says, and what no bytes can make the parser believe. openssl's own command line is the second
// reader.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "identity/local_ca.hpp"
#include "io/file.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

constexpr WallTime now{std::chrono::seconds{1'790'000'000}};

struct Issuer {
  TestFolder folder;
  LocalCa ca = *LocalCa::init(folder / "ca", "Test CA", now);
  Certificate issue(KeyKind kind, const std::string& id) {
    return *ca.sign(*parse_csr(*build_csr(*mint_key(kind), id)), *mint_serial());
  }
};

bool has_openssl() { return std::system("openssl version >/dev/null 2>&1") == 0; }

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer;
  for (std::size_t count; (count = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.append(buffer.data(), count);
  pclose(pipe);
  return out;
}

std::string text_of(const Issuer& issuer, const Certificate& certificate) {
  EXPECT_TRUE(write_file(issuer.folder / "shown.pem", as_bytes(certificate.pem)));
  return output_of("openssl x509 -noout -text -in " + (issuer.folder / "shown.pem").string());
}

/// A request as some other program might make it: any key, any subject.
Bytes foreign_csr(EVP_PKEY* key, const std::vector<std::pair<const char*, std::string>>& subject) {
  X509_REQ* request = X509_REQ_new();
  X509_NAME* name = X509_REQ_get_subject_name(request);
  for (const auto& [field, value] : subject)
    X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                               static_cast<int>(value.size()), -1, 0);
  X509_REQ_set_pubkey(request, key);
  X509_REQ_sign(request, key, EVP_sha256());
  unsigned char* der = nullptr;
  int size = i2d_X509_REQ(request, &der);
  Bytes out{der, der + size};
  OPENSSL_free(der);
  X509_REQ_free(request);
  return out;
}

TEST(Leaf, SaysWhatABoardMayDoAndNothingElse) {
  if (!has_openssl()) GTEST_SKIP() << "no openssl command here";
  Issuer issuer;
  std::string ec = text_of(issuer, issuer.issue(KeyKind::ec_p256, "24d7eb123456"));
  for (const char* line :
       {"Version: 3", "Issuer: CN = Test CA", "Subject: CN = 24d7eb123456", "NIST CURVE: P-256",
        "Signature Algorithm: ecdsa-with-SHA256", "CA:FALSE", "TLS Web Client Authentication",
        "X509v3 Subject Key Identifier", "X509v3 Authority Key Identifier", "X509v3 Key Usage: critical"})
    EXPECT_NE(ec.find(line), std::string::npos) << line << "\n" << ec;
  EXPECT_NE(ec.find("Digital Signature\n"), std::string::npos);
  EXPECT_EQ(ec.find("Key Encipherment"), std::string::npos) << "an EC key only signs";
  std::string rsa = text_of(issuer, issuer.issue(KeyKind::rsa_2048, "24d7eb123456"));
  EXPECT_NE(rsa.find("Digital Signature, Key Encipherment"), std::string::npos) << rsa;
  EXPECT_NE(rsa.find("Public-Key: (2048 bit)"), std::string::npos) << rsa;
}

TEST(Root, SignsBoardsAndNoOtherCa) {
  if (!has_openssl()) GTEST_SKIP() << "no openssl command here";
  Issuer issuer;
  std::string root = text_of(issuer, issuer.ca.root());
  for (const char* line : {"X509v3 Basic Constraints: critical", "CA:TRUE, pathlen:0", "X509v3 Key Usage: critical",
                           "Certificate Sign, CRL Sign", "X509v3 Subject Key Identifier", "NIST CURVE: P-256"})
    EXPECT_NE(root.find(line), std::string::npos) << line << "\n" << root;
  std::string verified =
      output_of("openssl verify -x509_strict -attime 1790000000 -CAfile " +
                (issuer.folder / "ca/ca.cert.pem").string() + " " + (issuer.folder / "ca/ca.cert.pem").string());
  EXPECT_NE(verified.find(": OK"), std::string::npos) << verified;
}

TEST(Leaf, OfEitherKindChainsForOpenssl) {
  if (!has_openssl()) GTEST_SKIP() << "no openssl command here";
  Issuer issuer, stranger;
  for (KeyKind kind : {KeyKind::ec_p256, KeyKind::rsa_2048}) {
    ASSERT_TRUE(write_file(issuer.folder / "leaf.pem", as_bytes(issuer.issue(kind, "24d7eb123456").pem)));
    std::string verify = "openssl verify -x509_strict -purpose sslclient -attime 1790000000 -CAfile ";
    std::string leaf = (issuer.folder / "leaf.pem").string();
    EXPECT_NE(output_of(verify + (issuer.folder / "ca/ca.cert.pem").string() + " " + leaf).find(": OK"),
              std::string::npos);
    EXPECT_EQ(output_of(verify + (stranger.folder / "ca/ca.cert.pem").string() + " " + leaf).find(": OK"),
              std::string::npos);
  }
}

TEST(Leaf, IsNoIssuerAndARootIssuesItself) {
  Issuer issuer;
  Certificate leaf = issuer.issue(KeyKind::ec_p256, "24d7eb123456");
  EXPECT_TRUE(is_issued_by(issuer.ca.root(), issuer.ca.root()));
  EXPECT_FALSE(is_issued_by(leaf, leaf));
  EXPECT_FALSE(is_issued_by(issuer.ca.root(), leaf));
  EXPECT_FALSE(is_issued_by(leaf, Certificate{}));
  EXPECT_FALSE(is_issued_by(Certificate{}, issuer.ca.root()));
}

TEST(Leaf, CarriesTheSerialThatWasDrawnBefore) {
  Issuer issuer;
  Bytes serial = *mint_serial();
  Certificate leaf = *issuer.ca.sign(*parse_csr(*build_csr(*mint_key(KeyKind::ec_p256), "x")), serial);
  EXPECT_EQ(leaf.serial, to_hex(serial));
  CertificateRequest request = *parse_csr(*build_csr(*mint_key(KeyKind::ec_p256), "x"));
  Bytes negative = serial, short_in_der = serial;
  negative[0] |= 0x80;
  short_in_der[0] = 0;
  for (const Bytes& bad : {negative, short_in_der, Bytes(21, 1), Bytes{}, Bytes(20, 0)})
    EXPECT_EQ(issuer.ca.sign(request, bad).error().code, Code::certificate_invalid) << to_hex(bad);
}

TEST(Serial, IsAlwaysTwentyOctetsAndNeverTheSame) {
  std::set<Bytes> seen;
  for (int i = 0; i < 10'000; ++i) {
    Bytes serial = *mint_serial();
    ASSERT_EQ(serial.size(), 20u);
    ASSERT_GE(serial[0], 0x40);
    ASSERT_LT(serial[0], 0x80);
    ASSERT_TRUE(seen.insert(std::move(serial)).second);
  }
}

TEST(Request, NamesOneDeviceByAKeyThatBoardsHave) {
  auto key = mint_key(KeyKind::ec_p256);
  auto read = parse_csr(*build_csr(*key, "24d7eb123456"));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->common_name, "24d7eb123456");
  EXPECT_EQ(read->public_key_der, key->public_key_der());
  EXPECT_TRUE(parse_csr(*build_csr(*key, "Gerät-7")));

  for (const std::string& name : {std::string{}, std::string(65, 'a'), std::string{"a\nb"}, std::string{"a\0b", 3},
                                  std::string{"\xff"}, std::string{"\xc2\x9b"}})
    EXPECT_EQ(build_csr(*key, name).error().code, Code::key_failed) << name;
  EXPECT_TRUE(parse_csr(foreign_csr(key->get(), {{"CN", "x"}})));
  EXPECT_FALSE(parse_csr(foreign_csr(key->get(), {}))) << "nobody";
  EXPECT_FALSE(parse_csr(foreign_csr(key->get(), {{"O", "Acme"}, {"CN", "x"}}))) << "more than a name";
  EXPECT_FALSE(parse_csr(foreign_csr(key->get(), {{"CN", "x"}, {"CN", "y"}}))) << "two names";

  EVP_PKEY* other_curve = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384");
  EVP_PKEY* weak = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{1024});
  EXPECT_FALSE(parse_csr(foreign_csr(other_curve, {{"CN", "x"}})));
  EXPECT_FALSE(parse_csr(foreign_csr(weak, {{"CN", "x"}})));
  EVP_PKEY_free(other_curve);
  EVP_PKEY_free(weak);
}

TEST(Request, CutAnywhereOrWithBytesBehindItIsNone) {
  Bytes csr = *build_csr(*mint_key(KeyKind::rsa_2048), "24d7eb123456");
  for (std::size_t size = 0; size < csr.size(); ++size) EXPECT_FALSE(parse_csr(ByteView{csr}.first(size))) << size;
  csr.push_back(0);
  EXPECT_FALSE(parse_csr(csr));
}

TEST(Key, OfAnotherKindOrWithAPassphraseOrCutIsRefusedWithoutAWordOfIt) {
  Secret pem = *mint_key(KeyKind::ec_p256)->pem();
  for (std::size_t size = 0; size + 30 < pem.reveal().size(); ++size) {
    ByteView cut = pem.reveal().first(size);
    auto key = PrivateKey::from_pem(Secret{Bytes{cut.begin(), cut.end()}});
    ASSERT_FALSE(key) << size;
    EXPECT_EQ(key.error().code, Code::key_failed);
  }
  EXPECT_FALSE(PrivateKey::from_pem(Secret{Bytes(1 << 20, 'A')}));
  EVP_PKEY* other_curve = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384");
  EXPECT_FALSE(PrivateKey::from_pem(*PrivateKey{other_curve}.pem()));

  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
  for (const EVP_CIPHER* cipher : {static_cast<const EVP_CIPHER*>(nullptr), EVP_aes_128_cbc()}) {
    BIO* bio = BIO_new(BIO_s_mem());
    std::string passphrase = "secret";
    PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, cipher ? passphrase.data() : nullptr, cipher ? 6 : 0, nullptr,
                                  nullptr);
    char* text = nullptr;
    long size = BIO_get_mem_data(bio, &text);
    auto read = PrivateKey::from_pem(Secret{Bytes{text, text + size}});
    EXPECT_EQ(read.has_value(), cipher == nullptr) << "PKCS #8 is read, an encrypted one asks nobody";
    BIO_free(bio);
  }
  EVP_PKEY_free(key);
}

TEST(Key, IsNamedAsRecipesNameIt) {
  EXPECT_EQ(key_kind_named("ec-p256"), KeyKind::ec_p256);
  EXPECT_EQ(key_kind_named("rsa-2048"), KeyKind::rsa_2048);
  EXPECT_FALSE(key_kind_named("rsa-1024"));
  for (KeyKind kind : {KeyKind::ec_p256, KeyKind::rsa_2048}) EXPECT_EQ(key_kind_named(name_of(kind)), kind);
}

TEST(Parser, KnowsOneCertificateByOneDigestOnly) {
  Issuer issuer;
  Certificate leaf = issuer.issue(KeyKind::rsa_2048, "24d7eb123456");
  EXPECT_EQ(leaf.sha256, sha256_of(leaf.der));

  Bytes longer = leaf.der;
  longer.push_back(0);
  EXPECT_FALSE(parse_certificate(longer)) << "bytes behind it";
  // The outer length in one byte more than it needs: BER, the same certificate under another digest.
  Bytes ber{0x30, 0x83, 0x00, leaf.der[2], leaf.der[3]};
  ASSERT_EQ(leaf.der[1], 0x82);
  append(ber, ByteView{leaf.der}.subspan(4));
  EXPECT_FALSE(parse_certificate(ber));

  EXPECT_FALSE(parse_certificate(as_bytes(leaf.pem + issuer.ca.root().pem))) << "two in one file: which one is meant?";
  EXPECT_EQ(parse_certificate(as_bytes("subject=CN = x\r\n" + leaf.pem + "\n\n"))->sha256, leaf.sha256);
  std::string trusted = leaf.pem;
  for (std::size_t at; (at = trusted.find(" CERTIFICATE")) != std::string::npos;)
    trusted.replace(at, 12, " TRUSTED  CERT");
  EXPECT_FALSE(parse_certificate(as_bytes(trusted)));
  EXPECT_FALSE(parse_certificate(mint_key(KeyKind::ec_p256)->pem()->reveal())) << "a key is no certificate";
  EXPECT_FALSE(parse_certificate(Bytes(65 * 1024, 0x30)));
}

TEST(Parser, TakesAnyBentByteOfACertificate) {
  Issuer issuer;
  Certificate leaf = issuer.issue(KeyKind::ec_p256, "24d7eb123456");
  for (std::size_t at = 0; at < leaf.der.size(); ++at) {
    for (std::uint8_t bits : {0x01, 0x80, 0xff}) {
      Bytes bent = leaf.der;
      bent[at] ^= bits;
      auto read = parse_certificate(bent);
      if (!read) continue;
      EXPECT_NE(read->sha256, leaf.sha256);
      EXPECT_FALSE(is_issued_by(*read, issuer.ca.root())) << "byte " << at;
    }
  }
}

}  // namespace
}  // namespace espmint
