// The CA as files that people copy, lose and open by mistake.
#include "identity/local_ca.hpp"

#include <gtest/gtest.h>

#include "base/text.hpp"
#include "io/file.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;
constexpr WallTime now{std::chrono::seconds{1'790'000'000}};

TEST(LocalCa, LivesThirtyYearsToTheDay) {
  TestFolder folder;
  LocalCa ca = *LocalCa::init(folder / "ca", "Acme devices", now);
  EXPECT_EQ(ca.root().common_name, "Acme devices");
  EXPECT_EQ(to_string(ca.root().not_before), "2026-09-21T14:13:20Z");
  EXPECT_EQ(to_string(ca.root().not_after), "2056-09-21T14:13:20Z")
      << "past 2050, where X.509 writes dates another way";
  EXPECT_TRUE(LocalCa::open(folder / "ca", ca.root().not_after - std::chrono::seconds{1}));
  EXPECT_EQ(LocalCa::open(folder / "ca", ca.root().not_after).error().code, Code::ca_invalid);
}

TEST(LocalCa, IsMadeOnALeapDayToo) {
  TestFolder folder;
  auto leap_day = std::chrono::sys_days{std::chrono::year{2028} / 2 / 29} + std::chrono::hours{9};
  auto ca = LocalCa::init(folder / "ca", "x", leap_day);
  ASSERT_TRUE(ca) << describe(ca.error());
  EXPECT_EQ(to_string(ca->root().not_after), "2058-02-28T09:00:00Z");
}

TEST(LocalCa, SignsUnderAClockThatIsBehind) {
  TestFolder folder;
  ASSERT_TRUE(LocalCa::init(folder / "ca", "x", now));
  auto ca = LocalCa::open(folder / "ca", WallTime{});
  ASSERT_TRUE(ca) << "1970: a machine without a battery before its first NTP answer";
  Certificate leaf = *ca->sign(*parse_csr(*build_csr(*mint_key(KeyKind::ec_p256), "x")), *mint_serial());
  EXPECT_EQ(leaf.not_before, now);
}

TEST(LocalCa, KeepsItsKeyToItsOwner) {
  TestFolder folder;
  ASSERT_TRUE(LocalCa::init(folder / "state/ca", "x", now));
  EXPECT_EQ(fs::status(folder / "state/ca").permissions() & fs::perms::mask, fs::perms::owner_all);
  EXPECT_EQ(fs::status(folder / "state/ca/ca.key.pem").permissions() & fs::perms::mask,
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_NE(fs::status(folder / "state/ca/ca.cert.pem").permissions() & fs::perms::others_read, fs::perms::none);
}

TEST(LocalCa, SaysTheCommandThatMendsALooseKey) {
  TestFolder folder;
  fs::path ca = folder / "Bob's CA";
  ASSERT_TRUE(LocalCa::init(ca, "x", now));
  for (auto loose : {fs::perms::group_read, fs::perms::others_read, fs::perms::group_write}) {
    fs::permissions(ca / "ca.key.pem", fs::perms::owner_read | fs::perms::owner_write | loose);
    auto opened = LocalCa::open(ca, now);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Code::ca_invalid);
    EXPECT_EQ(opened.error().remedy, Remedy::refuse);
    std::string shell_safe = "'" + (folder / "Bob").string() + "'\\''s CA/ca.key.pem'";
    EXPECT_EQ(opened.error().advice, "chmod 600 " + shell_safe);
    EXPECT_NE(opened.error().seen.find("mode 06"), std::string::npos);
  }
  fs::permissions(ca / "ca.key.pem", fs::perms::owner_read);
  EXPECT_TRUE(LocalCa::open(ca, now)) << "stricter is fine";
}

TEST(LocalCa, NamesTheCommandThatMakesOne) {
  TestFolder folder;
  auto none = LocalCa::open(folder / "ca", now);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::ca_missing);
  EXPECT_NE(none.error().advice.find("espmint ca init"), std::string::npos);
}

TEST(LocalCa, FinishesAnInterruptedInitWithTheSameKey) {
  TestFolder folder;
  LocalCa first = *LocalCa::init(folder / "ca", "x", now);
  Certificate leaf = *first.sign(*parse_csr(*build_csr(*mint_key(KeyKind::ec_p256), "board")), *mint_serial());
  fs::remove(folder / "ca/ca.cert.pem");
  EXPECT_EQ(LocalCa::open(folder / "ca", now).error().code, Code::ca_invalid)
      << "a lost certificate is not for a run to replace";
  auto again = LocalCa::init(folder / "ca", "x", now);
  ASSERT_TRUE(again) << describe(again.error());
  EXPECT_EQ(again->root().public_key_der, first.root().public_key_der);
  EXPECT_TRUE(is_issued_by(leaf, again->root()));
}

TEST(LocalCa, NeverReplacesACertificateWhoseKeyIsGone) {
  TestFolder folder;
  ASSERT_TRUE(LocalCa::init(folder / "ca", "x", now));
  fs::remove(folder / "ca/ca.key.pem");
  EXPECT_EQ(LocalCa::init(folder / "ca", "x", now).error().code, Code::ca_invalid);
  EXPECT_EQ(LocalCa::open(folder / "ca", now).error().code, Code::ca_invalid);
}

TEST(LocalCa, RefusesALeafInTheRootsPlace) {
  TestFolder folder;
  LocalCa ca = *LocalCa::init(folder / "ca", "x", now);
  auto key = mint_key(KeyKind::ec_p256);
  Certificate leaf = *ca.sign(*parse_csr(*build_csr(*key, "board")), *mint_serial());
  fs::create_directory(folder / "other");
  ASSERT_TRUE(create_file(folder / "other/ca.key.pem", key->pem()->reveal(), FileMode::owner_only));
  ASSERT_TRUE(create_file(folder / "other/ca.cert.pem", as_bytes(leaf.pem)));
  auto opened = LocalCa::open(folder / "other", now);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::ca_invalid);
}

TEST(LocalCa, RefusesDamagedFilesWithoutShowingThem) {
  TestFolder folder;
  ASSERT_TRUE(LocalCa::init(folder / "ca", "x", now));
  Bytes key = *read_file(folder / "ca/ca.key.pem"), certificate = *read_file(folder / "ca/ca.cert.pem");
  std::string secret{as_text(key).substr(40, 20)};
  for (std::size_t size : {std::size_t{0}, std::size_t{10}, key.size() / 2}) {
    ASSERT_TRUE(write_file(folder / "ca/ca.key.pem", ByteView{key}.first(size), FileMode::owner_only));
    auto opened = LocalCa::open(folder / "ca", now);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Code::ca_invalid);
    EXPECT_EQ(describe(opened.error()).find(secret), std::string::npos);
  }
  ASSERT_TRUE(write_file(folder / "ca/ca.key.pem", key, FileMode::owner_only));
  ASSERT_TRUE(write_file(folder / "ca/ca.cert.pem", ByteView{certificate}.first(certificate.size() / 2)));
  EXPECT_EQ(LocalCa::open(folder / "ca", now).error().code, Code::ca_invalid);
}

TEST(LocalCa, RefusesANameThatNoCertificateCarries) {
  TestFolder folder;
  for (const std::string& name : {std::string{}, std::string(65, 'x'), std::string{"a\x1b[2J"}}) {
    EXPECT_EQ(LocalCa::init(folder / "ca", name, now).error().code, Code::ca_invalid);
    EXPECT_FALSE(fs::exists(folder / "ca/ca.key.pem")) << "nothing is left behind";
  }
}

}  // namespace
}  // namespace espmint
