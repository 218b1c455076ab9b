#include "ledger/certificates.hpp"

#include "ledger/test_ledger.hpp"

namespace espmint {
namespace {

std::vector<RecordedCertificate> all_of(const TestFolder& folder) {
  std::vector<RecordedCertificate> out;
  EXPECT_OK(each_certificate(folder.path(), [&](RecordedCertificate one) { out.push_back(std::move(one)); }));
  return out;
}

TEST(RecordedCertificates, AreAllOfThemWithWhatBecameOfEach) {
  TestFolder folder;
  TestClock clock;
  auto ledger = open_ledger(folder, clock);
  Attempt burned = write_board(*ledger, 1);
  clock.time += std::chrono::hours{1};
  EXPECT_OK(ledger->burn(burned, "its key is gone"));
  Attempt live = verify_board(*ledger, 1), pending = record_board(*ledger, 2);
  auto all = all_of(folder);  // while the writer is there
  ASSERT_EQ(all.size(), 3U);
  using State = RecordedCertificate::State;
  EXPECT_EQ(all[0].state, State::burned);
  EXPECT_EQ(all[0].since, "2026-11-21T01:00:00Z");
  EXPECT_EQ(all[0].sha256, certificate_of(burned.number).sha256);
  EXPECT_EQ(all[1].state, State::live);
  EXPECT_EQ(all[1].device_id, id_of(1));
  EXPECT_EQ(all[1].der, certificate_of(live.number).der);
  EXPECT_EQ(all[2].state, State::pending);
  EXPECT_EQ(all[2].serial, certificate_of(pending.number).serial);
}

TEST(RecordedCertificates, OfNoLedgerAreAFault) {
  TestFolder folder;
  EXPECT_EQ(fault_of(each_certificate(folder.path(), [](const RecordedCertificate&) {})).code, Code::ledger_missing);
}

}  // namespace
}  // namespace espmint
