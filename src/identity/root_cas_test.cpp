// Which root a board gets to know AWS by, and what no bundle can pass for one.
#include "identity/root_cas.hpp"

#include <gtest/gtest.h>

#include "identity/local_ca.hpp"
#include "identity/openssl.hpp"
#include "io/file.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

constexpr WallTime now{std::chrono::seconds{1'790'000'000}};
constexpr WallTime in_ten_years = now + std::chrono::days{3650};

struct Root {
  std::string country = "US", organization = "Amazon", name = "Amazon Root CA 1";
  WallTime until = in_ten_years;
};

/// A root as somebody might make it; `signs` where it is not its own key that signs.
std::string root_pem(const Root& wanted, const PrivateKey* signs = nullptr) {
  PrivateKey key = *mint_key(KeyKind::ec_p256);
  detail::OwnedName subject{X509_NAME_new()};
  for (const auto& [nid, text] :
       {std::pair{NID_countryName, wanted.country}, std::pair{NID_organizationName, wanted.organization},
        std::pair{NID_commonName, wanted.name}})
    if (!text.empty())
      X509_NAME_add_entry_by_NID(subject.get(), nid, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()),
                                 static_cast<int>(text.size()), -1, 0);
  Bytes serial = *mint_serial();
  detail::OwnedTime from = detail::to_asn1(now - std::chrono::days{20'000}), until = detail::to_asn1(wanted.until);
  auto made = detail::build_certificate({serial, subject.get(), key.get(), nullptr, from.get(), until.get()},
                                        signs ? signs->get() : key.get());
  return parse_certificate(detail::der_of(made->get(), i2d_X509))->pem;
}

Result<RootCa> pick(const std::string& bundle, unsigned number = 1) {
  return amazon_root_ca(as_bytes(bundle), number, now);
}

TEST(RootCa, OfAmazonIsFoundAmongOthersByItsNumber) {
  std::string one = root_pem({}), three = root_pem({.name = "Amazon Root CA 3"});
  std::string bundle = "# a comment\n" + root_pem({.name = "Amazon Root CA 11"}) +
                       root_pem({.organization = "Amason"}) + three +
                       "garbage\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + one;
  auto root = pick(bundle);
  ASSERT_TRUE(root) << describe(root.error());
  EXPECT_EQ(root->pem, one);
  EXPECT_EQ(root->title, "Amazon Root CA 1");
  EXPECT_EQ(root->expires, in_ten_years);
  EXPECT_EQ(pick(bundle, 3)->pem, three);
  EXPECT_FALSE(pick(bundle, 2));
}

TEST(RootCa, ThatOnlyBearsItsNameIsNoAmazons) {
  PrivateKey another = *mint_key(KeyKind::ec_p256);
  for (const std::string& wrong : {root_pem({}, &another), root_pem({.country = "GB"}), root_pem({.country = ""}),
                                   root_pem({.organization = "Amazon Inc"})}) {
    auto root = pick(wrong);
    ASSERT_FALSE(root);
    EXPECT_EQ(root.error().code, Code::ca_missing);
  }
}

TEST(RootCa, ThatExpiredIsSaidToHave) {
  std::string old = root_pem({.until = now - std::chrono::days{1}});
  auto root = pick(old);
  ASSERT_FALSE(root);
  EXPECT_EQ(root.error().code, Code::ca_missing);
  EXPECT_NE(describe(root.error()).find("expired on 2026-09-2"), std::string::npos) << describe(root.error());
  EXPECT_TRUE(pick(old + root_pem({}))) << "a newer one of the same name";
  EXPECT_NE(describe(pick("").error()).find("ca-certificates"), std::string::npos);
}

TEST(RootCa, OfThisSystemAreAmazonsFour) {
  auto bundle = read_file("/etc/ssl/certs/ca-certificates.crt");
  if (!bundle) GTEST_SKIP() << "no ca-certificates here";
  const std::array<std::pair<const char*, std::size_t>, 4> known{
      {{"2038-01-17", 1188}, {"2040-05-26", 1883}, {"2040-05-26", 656}, {"2040-05-26", 737}}};
  for (unsigned number = 1; number <= 4; ++number) {
    auto root = amazon_root_ca(*bundle, number, now);
    ASSERT_TRUE(root) << describe(root.error());
    EXPECT_EQ(to_string(root->expires).substr(0, 10), known[number - 1].first);
    EXPECT_EQ(root->pem.size(), known[number - 1].second);
  }
}

TEST(RootCa, OfAFileIsEveryCertificateInItAndNothingElse) {
  std::string first = root_pem({.name = "Factory Root", .until = in_ten_years + std::chrono::days{1}}),
              second = root_pem({});
  auto read = [](const std::string& text) { return read_root_ca(as_bytes(text), now); };
  auto both = read("Factory\n=======\n" + first + "\r\n" + second);
  ASSERT_TRUE(both) << describe(both.error());
  EXPECT_EQ(both->pem, first + second) << "without what stands between them";
  EXPECT_EQ(both->title, "Factory Root");
  EXPECT_EQ(both->expires, in_ten_years) << "the earlier one's";

  Secret key = *mint_key(KeyKind::ec_p256)->pem();
  auto with_key = read(first + std::string{as_text(key.reveal())});
  ASSERT_FALSE(with_key) << "it would lie on every board";
  EXPECT_EQ(with_key.error().code, Code::ca_invalid);
  for (const std::string& wrong :
       {std::string{}, std::string{"no certificate"}, first.substr(0, first.size() / 2),
        first + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", root_pem({.until = now})}) {
    auto root = read(wrong);
    ASSERT_FALSE(root) << wrong;
    EXPECT_EQ(root.error().code, Code::ca_invalid);
  }
}

}  // namespace
}  // namespace espmint
