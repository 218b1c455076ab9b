// What a CA did by hand, in files that people copy, cut and edit.
#include "identity/ca_register.hpp"

#include <gtest/gtest.h>

#include "io/test_folder.hpp"

namespace espmint {
namespace {

constexpr WallTime now{std::chrono::seconds{1'790'000'000}};

Certificate mint(LocalCa& ca, const std::string& id) {
  return *ca.sign(*parse_csr(*build_csr(*mint_key(KeyKind::ec_p256), id)), *mint_serial());
}

TEST(CaRegister, RemembersWhatWasRevokedAndIssued) {
  TestFolder folder;
  LocalCa ca = *LocalCa::init(folder / "ca", "x", now);
  Certificate one = mint(ca, "24d7eb000001"), two = mint(ca, "24d7eb000002");
  {
    CaRegister reg = *CaRegister::open(folder / "ca", "a test");
    ASSERT_TRUE(reg.add(Revocation{one.sha256, one.serial, one.common_name, now, RevocationReason::superseded}));
    ASSERT_TRUE(reg.add(HandIssue{two, now, true}));
  }
  CaRegister reg = *CaRegister::open(folder / "ca", "a test");
  ASSERT_NE(reg.revocation_of(one.sha256), nullptr);
  EXPECT_EQ(reg.revocation_of(one.sha256)->reason, RevocationReason::superseded);
  EXPECT_EQ(reg.revocation_of(two.sha256), nullptr);
  ASSERT_EQ(reg.issues().size(), 1U);
  EXPECT_EQ(reg.issues()[0].certificate.sha256, two.sha256);
  EXPECT_EQ(reg.issues()[0].when, now);
  EXPECT_TRUE(reg.issues()[0].server);
}

TEST(CaRegister, RefusesAFileThatWasCutAndNamesTheLine) {
  TestFolder folder;
  LocalCa ca = *LocalCa::init(folder / "ca", "x", now);
  {
    CaRegister reg = *CaRegister::open(folder / "ca", "a test");
    for (const char* id : {"a", "b"}) {
      Certificate one = mint(ca, id);
      ASSERT_TRUE(reg.add(Revocation{one.sha256, one.serial, id, now, RevocationReason::unspecified}));
    }
  }
  Bytes whole = *read_file(folder / "ca/revoked.jsonl");
  ASSERT_TRUE(write_file(folder / "ca/revoked.jsonl", ByteView{whole}.first(whole.size() - 5)));
  auto cut = CaRegister::open(folder / "ca", "a test");
  ASSERT_FALSE(cut) << "it would let a stolen board in again";
  EXPECT_EQ(cut.error().code, Code::ca_invalid);
  EXPECT_NE(describe(cut.error()).find("line 2"), std::string::npos) << describe(cut.error());
}

TEST(CaRegister, TakesNoLineForWhatItIsNot) {
  for (std::string_view line : {"\n", "{}\n", "[]\n", "{\"v\":1}\n", "{\"v\":2,\"serial\":\"01\"}\n", "\xff\xfe\n",
                                "{\"v\":1,\"certificate\":\"!\"}\n"}) {
    EXPECT_FALSE(parse_revocations(as_bytes(line))) << line;
    EXPECT_FALSE(parse_hand_issues(as_bytes(line))) << line;
  }
  EXPECT_TRUE(parse_revocations({})->empty());
}

TEST(Moment, IsReadAsItIsWritten) {
  EXPECT_EQ(parse_moment(to_string(now)), now);
  for (std::string_view wrong : {"", "2026-11-21T08:15:30", "2026-13-21T08:15:30Z", "2026-02-30T08:15:30Z",
                                 "2026-11-21 08:15:30Z", "2026-11-21T24:00:00Z"})
    EXPECT_FALSE(parse_moment(wrong)) << wrong;
}

}  // namespace
}  // namespace espmint
