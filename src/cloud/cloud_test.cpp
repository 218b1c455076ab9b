#include <gtest/gtest.h>

#include "cloud/local.hpp"
#include "identity/local_ca.hpp"
#include "io/loop.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

constexpr WallTime now{std::chrono::seconds{1'790'000'000}};

Task<> enrol_into(Cloud& cloud, std::string id, Bytes csr, Bytes serial, std::optional<Result<Certificate>>& answer) {
  IssueRequest request{std::move(id), std::move(csr), std::move(serial)};
  auto issued = co_await cloud.issue(std::move(request));
  if (issued)
    answer.emplace(std::move(issued->certificate));
  else
    answer.emplace(fail(std::move(issued.error())));
}

Result<Certificate> enrol(Cloud& cloud, const std::string& id, const Bytes& csr) {
  VirtualLoop loop;
  std::optional<Result<Certificate>> answer;
  loop.run(enrol_into(cloud, id, csr, *mint_serial(), answer));
  return std::move(*answer);
}

Task<> activate_into(Cloud& cloud, Sha256 certificate, std::optional<Result<std::string>>& answer) {
  CloudSubject subject{"24d7eb123456", certificate, {}, {}};
  answer.emplace(co_await cloud.perform(std::string{act::activate}, std::move(subject)));
}

/// Remembers what it signed; answers with the certificate of the request before, as a stand-in for AWS does.
class ConfusedSigner final : public Signer {
 public:
  explicit ConfusedSigner(Signer& real) : real_(real) {}
  Result<Certificate> sign(const CertificateRequest& csr, ByteView serial) override {
    TRY(Certificate right, real_.sign(csr, serial));
    std::swap(right, last_);
    return right.der.empty() ? last_ : right;
  }
  [[nodiscard]] const Certificate& root() const override { return real_.root(); }

 private:
  Signer& real_;
  Certificate last_;
};

/// Signs as one CA and claims to be another.
class ForeignRoot final : public Signer {
 public:
  ForeignRoot(Signer& real, Certificate claimed) : real_(real), claimed_(std::move(claimed)) {}
  Result<Certificate> sign(const CertificateRequest& csr, ByteView serial) override { return real_.sign(csr, serial); }
  [[nodiscard]] const Certificate& root() const override { return claimed_; }

 private:
  Signer& real_;
  Certificate claimed_;
};

struct World {
  TestFolder folder;
  LocalCa ca = *LocalCa::init(folder / "ca", "Test CA", now);
};

TEST(LocalCloud, EnrolsADeviceUnderItsOwnKey) {
  World world;
  LocalCloud cloud{world.ca};
  EXPECT_EQ(cloud.name(), "local");
  EXPECT_EQ(cloud.root_ca_pem(), world.ca.root().pem);
  PrivateKey key = *mint_key(KeyKind::ec_p256);
  auto answer = enrol(cloud, "24d7eb123456", *build_csr(key, "24d7eb123456"));
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->common_name, "24d7eb123456");
  EXPECT_EQ(answer->public_key_der, key.public_key_der());
  EXPECT_TRUE(is_issued_by(*answer, world.ca.root()));
}

TEST(LocalCloud, ActivatesAsOftenAsItIsAsked) {
  World world;
  LocalCloud cloud{world.ca};
  VirtualLoop loop;
  for (int time = 0; time < 2; ++time) {
    std::optional<Result<std::string>> answer;
    loop.run(activate_into(cloud, Sha256{}, answer));
    EXPECT_TRUE(answer->has_value());
  }
}

TEST(LocalCloud, SignsNothingForARequestThatNamesAnotherDevice) {
  World world;
  LocalCloud cloud{world.ca};
  auto answer = enrol(cloud, "24d7eb123456", *build_csr(*mint_key(KeyKind::ec_p256), "24d7eb999999"));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::certificate_invalid);
  EXPECT_EQ(answer.error().remedy, Remedy::stop_line);
  EXPECT_EQ(answer.error().where.board, "24d7eb123456");
}

TEST(LocalCloud, RefusesABentRequest) {
  World world;
  LocalCloud cloud{world.ca};
  Bytes csr = *build_csr(*mint_key(KeyKind::ec_p256), "24d7eb123456");
  csr[csr.size() - 1] ^= 1;
  EXPECT_EQ(enrol(cloud, "24d7eb123456", csr).error().code, Code::certificate_invalid);
  EXPECT_EQ(enrol(cloud, "24d7eb123456", {}).error().code, Code::certificate_invalid);
}

TEST(LocalCloud, RefusesAnAnswerForAnotherKey) {
  World world;
  ConfusedSigner confused{world.ca};
  LocalCloud cloud{confused};
  ASSERT_TRUE(enrol(cloud, "24d7eb123456", *build_csr(*mint_key(KeyKind::ec_p256), "24d7eb123456")));
  auto second = enrol(cloud, "24d7eb123456", *build_csr(*mint_key(KeyKind::ec_p256), "24d7eb123456"));
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().what.find("another key"), std::string::npos);
}

TEST(LocalCloud, RefusesAnAnswerThatDoesNotChainToItsRoot) {
  World world, stranger;
  ForeignRoot liar{world.ca, stranger.ca.root()};
  LocalCloud cloud{liar};
  auto answer = enrol(cloud, "24d7eb123456", *build_csr(*mint_key(KeyKind::ec_p256), "24d7eb123456"));
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().what.find("chain"), std::string::npos);
}

}  // namespace
}  // namespace espmint
