// Whole enrolments under faults, and what a survey makes of what they leave.
#include <gtest/gtest.h>

#include <random>

#include "cloud/aws/aws_cloud.hpp"
#include "cloud/aws/survey.hpp"
#include "cloud/aws/test_client.hpp"
#include "io/run_task.hpp"

namespace espmint::aws {
namespace {

/// Loses calls before and after their effect, by a seed.
class LossyClient final : public Client {
 public:
  LossyClient(Client& real, unsigned seed, unsigned percent) : real_(real), random_(seed), percent_(percent) {}
  Task<Result<Answer>> call(Call call) override {
    const bool lost_before = draw() < percent_, lost_after = draw() < percent_;
    if (lost_before) co_return TestClient::lost();
    Result<Answer> answer = co_await real_.call(std::move(call));
    if (lost_after) co_return TestClient::lost();
    co_return answer;
  }
  [[nodiscard]] const std::string& region() const override { return real_.region(); }

 private:
  unsigned draw() { return static_cast<unsigned>(random_() % 100); }
  Client& real_;
  std::mt19937 random_;
  unsigned percent_;
};

constexpr int patience = 3;  // times that an act is told

/// A station with a ledger as far as the cloud needs one: asked for, then recorded, then VERIFIED or BURNED.
class SmallStation {
 public:
  SmallStation(Client& client, AwsOptions options) : cloud_(client, nullptr, std::move(options)) {}

  void prepare(const std::string& device, bool board_is_good) {
    ledger.devices.push_back({device, false});
    LedgerDevice& entry = ledger.devices.back();
    const PrivateKey key = *mint_key(KeyKind::ec_p256);
    auto issued = run(cloud_.issue({device, *build_csr(key, device), {}}));
    if (!issued) {
      ledger.lost.push_back({device, sha256_of(key.public_key_der()), {}});
      return;
    }
    CloudSubject subject{device, issued->certificate.sha256, issued->cloud_id, issued->certificate.der};
    ledger.certificates.push_back(
        {device, LedgerCertificate::Standing::under_way, subject.certificate, subject.cloud_id});
    LedgerCertificate& certificate = ledger.certificates.back();
    certificate.standing = LedgerCertificate::Standing::burned;
    for (const auto& stage : cloud_.ways().enrolment)
      for (std::string_view act : stage)
        if (!tell(act, subject)) return;
    if (!board_is_good) return;
    certificate.standing = LedgerCertificate::Standing::verified;
    entry.keeps_thing = true;
    for (std::string_view act : cloud_.ways().completion)
      if (!tell(act, subject)) certificate.has_open_acts = true;
  }

  LedgerView ledger;

 private:
  template <typename T>
  Result<T> run(Task<Result<T>> task) {
    VirtualLoop loop;
    return run_task(loop, std::move(task));
  }
  bool tell(std::string_view act, const CloudSubject& subject) {
    for (int time = 0; time < patience; ++time)
      if (run(cloud_.perform(std::string{act}, subject))) return true;
    return false;
  }
  AwsCloud cloud_;
};

class Enrolment : public testing::TestWithParam<unsigned> {};

TEST_P(Enrolment, LeavesNothingThatASurveyDoesNotBringInOrder) {
  TestClient aws;
  aws.add_policy("lamp-policy", "{}");
  AwsOptions options;
  options.policy_name = "lamp-policy";
  options.product = "lamp";
  LossyClient lossy{aws, GetParam(), 30};
  SmallStation station{lossy, options};
  constexpr int boards = 24;
  for (int board = 0; board < boards; ++board) station.prepare("board-" + std::to_string(board), board % 4 != 0);

  for (const auto& [arn, held] : aws.certificates) {
    const bool verified = std::any_of(
        station.ledger.certificates.begin(), station.ledger.certificates.end(), [&arn = arn](const auto& known) {
          return known.cloud_id == arn && known.standing == LedgerCertificate::Standing::verified;
        });
    EXPECT_TRUE(verified || held.status == "INACTIVE") << "before any repair";
  }

  Iot iot{aws};
  VirtualLoop loop;
  const SurveyOptions survey{"lamp", "lamp-policy"};
  auto view = run_task(loop, read_cloud(iot, station.ledger, survey));
  ASSERT_TRUE(view);
  auto findings = compare(station.ledger, *view, survey);
  EXPECT_FALSE(findings.empty());
  for (const Finding& finding : findings) EXPECT_TRUE(finding.may_fix) << finding.device_id << ": " << finding.what;
  auto report = run_task(loop, fix(iot, loop, findings));
  ASSERT_TRUE(report) << describe(report.error());
  EXPECT_TRUE(report->failed.empty());

  view = run_task(loop, read_cloud(iot, station.ledger, survey));
  for (const Finding& finding : compare(station.ledger, *view, survey))
    ADD_FAILURE() << name_of(finding.difference) << " " << finding.device_id << ": " << finding.what;
  const auto verified =
      std::count_if(station.ledger.certificates.begin(), station.ledger.certificates.end(),
                    [](const auto& known) { return known.standing == LedgerCertificate::Standing::verified; });
  EXPECT_EQ(static_cast<long>(aws.certificates.size()), verified);
  EXPECT_EQ(static_cast<long>(aws.things.size()), verified);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Enrolment, testing::Range(1U, 9U));

}  // namespace
}  // namespace espmint::aws
