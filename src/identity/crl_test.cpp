// Revocation lists as those who check them see them: OpenSSL's verifier, and its program.
#include "identity/crl.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "identity/ca_register.hpp"
#include "identity/openssl.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

constexpr WallTime now{std::chrono::seconds{1'790'000'000}};
using namespace std::chrono_literals;

struct World {
  TestFolder folder;
  LocalCa ca = *LocalCa::init(folder / "ca", "Acme devices", now);

  Certificate mint(const std::string& id) {
    return *ca.sign(*parse_csr(*build_csr(*mint_key(KeyKind::ec_p256), id)), *mint_serial());
  }
  CaRegister reg() { return *CaRegister::open(folder / "ca", "a test"); }
  /// As a broker judges a board: chain and revocation list at a moment. X509_V_OK, or why not.
  int judge(const Certificate& leaf, const Crl& crl, WallTime moment = now + 1h) const {
    using namespace detail;
    Owned<X509_STORE, X509_STORE_free> store{X509_STORE_new()};
    OwnedCertificate root = certificate_from_der(ca.root().der), board = certificate_from_der(leaf.der);
    const unsigned char* at = crl.der.data();
    Owned<X509_CRL, X509_CRL_free> list{d2i_X509_CRL(nullptr, &at, static_cast<long>(crl.der.size()))};
    X509_STORE_add_cert(store.get(), root.get());
    X509_STORE_add_crl(store.get(), list.get());
    X509_STORE_set_flags(store.get(), X509_V_FLAG_CRL_CHECK);
    Owned<X509_STORE_CTX, X509_STORE_CTX_free> context{X509_STORE_CTX_new()};
    X509_STORE_CTX_init(context.get(), store.get(), board.get(), nullptr);
    X509_STORE_CTX_set_time(context.get(), 0, static_cast<time_t>(moment.time_since_epoch().count()));
    X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_CLIENT);
    X509_verify_cert(context.get());
    return X509_STORE_CTX_get_error(context.get());
  }
};

Revocation revoke(const Certificate& one, RevocationReason reason = RevocationReason::key_compromise) {
  return {one.sha256, one.serial, one.common_name, now, reason};
}

TEST(Crl, KeepsARevokedBoardOutAndLetsTheOthersIn) {
  World world;
  Certificate good = world.mint("24d7eb000001"), stolen = world.mint("24d7eb000002");
  CaRegister reg = world.reg();
  ASSERT_TRUE(reg.add(revoke(stolen)));
  auto crl = reg.write_crl(world.ca, {}, now);
  ASSERT_TRUE(crl) << describe(crl.error());
  EXPECT_EQ(world.judge(good, *crl), X509_V_OK);
  EXPECT_EQ(world.judge(stolen, *crl), X509_V_ERR_CERT_REVOKED);
  ASSERT_EQ(crl->revoked.size(), 1U);
  EXPECT_EQ(crl->revoked[0].serial, stolen.serial);
  EXPECT_EQ(crl->revoked[0].when, now);
  EXPECT_EQ(crl->revoked[0].reason, RevocationReason::key_compromise);
  EXPECT_TRUE(is_signed_by(*crl, world.ca.root()));
}

TEST(Crl, IsGoodForThirtyDaysAndNotForOneMore) {
  World world;
  Certificate board = world.mint("24d7eb000001");
  Crl crl = *world.reg().write_crl(world.ca, {}, now);
  EXPECT_EQ(crl.next_update - crl.this_update, 30 * 24h);
  EXPECT_EQ(world.judge(board, crl, now + 29 * 24h), X509_V_OK);
  EXPECT_EQ(world.judge(board, crl, now + 31 * 24h), X509_V_ERR_CRL_HAS_EXPIRED);
}

TEST(Crl, NumbersGrowAlsoWhereTheLastListWasLost) {
  World world;
  CaRegister reg = world.reg();
  Crl first = *reg.write_crl(world.ca, {}, now), second = *reg.write_crl(world.ca, {}, now);
  EXPECT_EQ(second.number, first.number + 1) << "within one second";
  std::filesystem::remove(reg.crl_file());
  EXPECT_GT(reg.write_crl(world.ca, {}, now + 1h)->number, second.number);
  auto early = reg.write_crl(world.ca, {}, now);
  ASSERT_FALSE(early) << "a clock that went back";
  EXPECT_EQ(early.error().code, Code::clock_backwards);
}

TEST(Crl, OfAPlaceIsForCertificatesThatNameThePlace) {
  World world;
  const std::string url = "http://pki.example.com/ca.crl";
  Certificate before = world.mint("24d7eb000001");
  ASSERT_TRUE(write_file(world.folder / "ca/crl-url.txt", as_bytes(url + "\n")));
  world.ca = *LocalCa::open(world.folder / "ca", now);
  EXPECT_EQ(world.ca.crl_url(), url);
  Certificate after = world.mint("24d7eb000002");
  CaRegister reg = world.reg();
  ASSERT_TRUE(reg.add(revoke(before)));
  Crl plain = *reg.write_crl(world.ca, {}, now);
  EXPECT_EQ(world.judge(before, plain), X509_V_ERR_CERT_REVOKED);
  EXPECT_EQ(world.judge(after, plain), X509_V_OK);
  CaRegister::CrlWish placed;
  placed.url = url;
  Crl at_place = *reg.write_crl(world.ca, placed, now);
  EXPECT_EQ(at_place.url, url);
  EXPECT_EQ(world.judge(after, at_place), X509_V_OK);
  EXPECT_EQ(world.judge(before, at_place), X509_V_ERR_DIFFERENT_CRL_SCOPE);
}

TEST(Crl, HoldsWhatTheLedgerBurnedOnce) {
  World world;
  Certificate burned = world.mint("24d7eb000001");
  CaRegister reg = world.reg();
  ASSERT_TRUE(reg.add(revoke(burned)));
  CaRegister::CrlWish wish;
  wish.also = {{burned.serial, now + 1h, RevocationReason::superseded}};
  Crl crl = *reg.write_crl(world.ca, wish, now + 2h);
  ASSERT_EQ(crl.revoked.size(), 1U);
  EXPECT_EQ(crl.revoked[0].reason, RevocationReason::key_compromise) << "what a person said";
}

TEST(Crl, IsReadByOpensslsProgram) {
  if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl program";
  World world;
  CaRegister reg = world.reg();
  ASSERT_TRUE(reg.add(revoke(world.mint("24d7eb000001"))));
  ASSERT_TRUE(reg.write_crl(world.ca, {}, now));
  std::string call = "openssl crl -noout -CAfile " + (world.folder / "ca/ca.cert.pem").string() + " -in " +
                     reg.crl_file().string() + " -text 2>&1 | grep -q 'verify OK' && openssl crl -noout -text -in " +
                     reg.crl_file().string() + " | grep -q 'Key Compromise'";
  EXPECT_EQ(std::system(call.c_str()), 0);
}

TEST(Crl, OfAnotherCaOrDamagedIsNone) {
  World world, other;
  Crl crl = *world.reg().write_crl(world.ca, {}, now);
  EXPECT_FALSE(is_signed_by(crl, other.ca.root()));
  EXPECT_EQ(parse_crl(as_bytes(crl.pem))->number, crl.number);
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, crl.der.size() / 2, crl.der.size() - 1}) {
    auto cut = parse_crl(ByteView{crl.der}.first(size));
    ASSERT_FALSE(cut) << size;
    EXPECT_EQ(cut.error().code, Code::certificate_invalid);
  }
  EXPECT_FALSE(parse_crl(as_bytes(world.ca.root().pem)));
}

TEST(ServerCertificate, IsForABrokerAndForNoBoard) {
  World world;
  CertificateRequest request = *parse_csr(*build_csr(*mint_key(KeyKind::ec_p256), "mqtt.example.com"));
  Certificate broker = *world.ca.sign_server(request, *mint_serial());
  using namespace detail;
  OwnedCertificate x509 = certificate_from_der(broker.der),
                   board = certificate_from_der(world.mint("24d7eb000001").der);
  EXPECT_EQ(X509_check_purpose(x509.get(), X509_PURPOSE_SSL_SERVER, 0), 1);
  EXPECT_EQ(X509_check_purpose(x509.get(), X509_PURPOSE_SSL_CLIENT, 0), 0);
  EXPECT_EQ(X509_check_purpose(board.get(), X509_PURPOSE_SSL_SERVER, 0), 0);
  EXPECT_EQ(X509_check_host(x509.get(), "mqtt.example.com", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_host(x509.get(), "other.example.com", 0, 0, nullptr), 0);
  request.common_name = "127.0.0.1";
  OwnedCertificate at_address = certificate_from_der(world.ca.sign_server(request, *mint_serial())->der);
  EXPECT_EQ(X509_check_ip_asc(at_address.get(), "127.0.0.1", 0), 1);
}

}  // namespace
}  // namespace espmint
