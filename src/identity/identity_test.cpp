#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "identity/local_ca.hpp"
#include "io/file.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;
constexpr WallTime now{std::chrono::seconds{1'790'000'000}};

struct Folder {
  fs::path path;
  Folder() {
    std::string name = fs::temp_directory_path() / "espmint-ca-XXXXXX";
    path = mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
};

Certificate issue(LocalCa& ca, KeyKind kind, const std::string& id) {
  auto key = mint_key(kind);
  auto csr = build_csr(*key, id);
  return *ca.sign(*parse_csr(*csr), *mint_serial());
}

TEST(Key, ComesBackFromItsPemWithTheSamePublicHalf) {
  for (KeyKind kind : {KeyKind::ec_p256, KeyKind::rsa_2048}) {
    auto key = mint_key(kind);
    ASSERT_TRUE(key);
    auto pem = key->pem();
    ASSERT_TRUE(pem);
    std::string_view text = as_text(pem->reveal());
    EXPECT_TRUE(text.starts_with(kind == KeyKind::ec_p256 ? "-----BEGIN EC PRIVATE KEY-----"
                                                          : "-----BEGIN RSA PRIVATE KEY-----"))
        << "what mbedTLS of old firmware reads";
    auto again = PrivateKey::from_pem(*pem);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->public_key_der(), key->public_key_der());
    EXPECT_EQ(again->kind(), kind);
  }
}

TEST(Key, IsNeverTheSameTwice) {
  std::set<Bytes> seen;
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(seen.insert(mint_key(KeyKind::ec_p256)->public_key_der()).second);
}

TEST(Ca, IsMadeOnceAndFoundAgain) {
  Folder folder;
  auto made = LocalCa::init(folder.path / "ca", "Test CA", now);
  ASSERT_TRUE(made);
  EXPECT_FALSE(LocalCa::init(folder.path / "ca", "Test CA", now))
      << "a second one would orphan every device of the first";
  auto found = LocalCa::open(folder.path / "ca", now);
  ASSERT_TRUE(found) << describe(found.error());
  EXPECT_EQ(found->root().sha256, made->root().sha256);
  struct stat info {};
  ASSERT_EQ(stat((folder.path / "ca/ca.key.pem").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(Ca, RefusesWhatCannotBeTrusted) {
  Folder folder;
  EXPECT_EQ(LocalCa::open(folder.path / "none", now).error().code, Code::ca_missing);
  ASSERT_TRUE(LocalCa::init(folder.path / "a", "A", now));
  ASSERT_TRUE(LocalCa::init(folder.path / "b", "B", now));
  fs::permissions(folder.path / "a/ca.key.pem", fs::perms{0644});
  auto loose = LocalCa::open(folder.path / "a", now);
  ASSERT_FALSE(loose);
  EXPECT_NE(loose.error().advice.find("chmod 600"), std::string::npos);
  fs::permissions(folder.path / "a/ca.key.pem", fs::perms{0600});
  EXPECT_FALSE(LocalCa::open(folder.path / "a", now + std::chrono::days{40 * 365})) << "expired";
  fs::copy_file(folder.path / "b/ca.cert.pem", folder.path / "a/ca.cert.pem", fs::copy_options::overwrite_existing);
  EXPECT_EQ(LocalCa::open(folder.path / "a", now).error().code, Code::ca_invalid)
      << "the halves do not belong together";
  fs::remove(folder.path / "a/ca.cert.pem");
  EXPECT_EQ(LocalCa::open(folder.path / "a", now).error().code, Code::ca_invalid) << "half of it is gone";
}

TEST(Certificate, BindsTheKeyToTheDeviceUnderTheCa) {
  Folder folder;
  LocalCa ca = *LocalCa::init(folder.path / "ca", "Test CA", now),
          other = *LocalCa::init(folder.path / "other", "Test CA", now);
  for (KeyKind kind : {KeyKind::ec_p256, KeyKind::rsa_2048}) {
    Certificate leaf = issue(ca, kind, "24d7eb123456");
    EXPECT_EQ(leaf.common_name, "24d7eb123456");
    EXPECT_EQ(leaf.serial.size(), 40u);
    EXPECT_TRUE(is_issued_by(leaf, ca.root()));
    EXPECT_FALSE(is_issued_by(leaf, other.root())) << "the same name, another key";
    EXPECT_EQ(leaf.not_before, ca.root().not_before) << "a station with a wrong clock makes no dead boards";
    EXPECT_EQ(leaf.not_after, ca.root().not_after);
    EXPECT_EQ(parse_certificate(as_bytes(leaf.pem))->sha256, leaf.sha256);
  }
}

TEST(Certificate, ChainsToTheCaForOpensslToo) {
  if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl command here";
  Folder folder;
  LocalCa ca = *LocalCa::init(folder.path / "ca", "Test CA", WallTime{std::chrono::seconds{std::time(nullptr)}});
  Certificate leaf = issue(ca, KeyKind::ec_p256, "24d7eb123456");
  ASSERT_TRUE(write_file(folder.path / "leaf.pem", as_bytes(leaf.pem)));
  std::string verify = "openssl verify -x509_strict -purpose sslclient -CAfile " +
                       (folder.path / "ca/ca.cert.pem").string() + " " + (folder.path / "leaf.pem").string() +
                       " >/dev/null";
  EXPECT_EQ(std::system(verify.c_str()), 0);
}

TEST(Certificate, IsNotIssuedForARequestThatItsOwnKeyDidNotSign) {
  Folder folder;
  LocalCa ca = *LocalCa::init(folder.path / "ca", "Test CA", now);
  auto key = mint_key(KeyKind::ec_p256);
  Bytes csr = *build_csr(*key, "24d7eb123456");
  for (std::size_t at = 0; at < csr.size(); ++at) {
    Bytes bent = csr;
    bent[at] ^= 0x01;
    EXPECT_FALSE(parse_csr(bent)) << "byte " << at;
  }
  EXPECT_FALSE(ca.sign({}, *mint_serial()));
  EXPECT_FALSE(ca.sign({"24d7eb123456", {}}, *mint_serial()));
  EXPECT_FALSE(ca.sign(*parse_csr(csr), Bytes(19, 1))) << "a short serial";
}

TEST(Certificate, ParserTakesAnyBytes) {
  Folder folder;
  LocalCa ca = *LocalCa::init(folder.path / "ca", "Test CA", now);
  Certificate leaf = issue(ca, KeyKind::ec_p256, "x");
  for (std::size_t size = 0; size < leaf.der.size(); ++size)
    EXPECT_FALSE(parse_certificate(ByteView{leaf.der}.first(size)));
  for (std::size_t size = 0; size + 30 < leaf.pem.size(); ++size)
    EXPECT_FALSE(parse_certificate(as_bytes(leaf.pem).first(size)));
  EXPECT_FALSE(parse_certificate(as_bytes("no certificate")));
}

}  // namespace
}  // namespace espmint
