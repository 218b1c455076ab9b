#include "run/ledger_view.hpp"

#include <gtest/gtest.h>

#include "ledger/test_boards.hpp"

namespace espmint {
namespace {

using Standing = aws::LedgerCertificate::Standing;

struct LedgerViewTest : testing::Test {
  TestFolder folder;
  TestClock clock;
  std::unique_ptr<Ledger> ledger = open_ledger(folder, clock);
  bool keeps_thing(int n) {
    const aws::LedgerView view = must(ledger_view(*ledger));
    for (const auto& device : view.devices)
      if (device.id == id_of(n)) return device.keeps_thing;
    ADD_FAILURE() << "the device is not there";
    return false;
  }
};

TEST_F(LedgerViewTest, TellsWhichCertificatesBoardsHave) {
  verify_board(*ledger, 1);
  expose_board(*ledger, 2);
  must(ledger->release(record_board(*ledger, 3), "unplugged"));
  const aws::LedgerView view = must(ledger_view(*ledger));
  ASSERT_EQ(view.certificates.size(), 3u);
  EXPECT_EQ(view.certificates[0].standing, Standing::verified);
  EXPECT_EQ(view.certificates[1].standing, Standing::under_way);
  EXPECT_EQ(view.certificates[2].standing, Standing::burned);
}

TEST_F(LedgerViewTest, ThingOfABoardThatWasVerifiedOnceStays) {
  verify_board(*ledger, 1);
  must(ledger->burn(expose_board(*ledger, 1, true), "its key is gone"));
  EXPECT_TRUE(keeps_thing(1));
  must(ledger->burn(expose_board(*ledger, 2), "its key is gone"));
  EXPECT_FALSE(keeps_thing(2));
  expose_board(*ledger, 3);
  EXPECT_TRUE(keeps_thing(3));
}

TEST_F(LedgerViewTest, KnowsWhenALostCertificateWasAskedFor) {
  Attempt attempt = reserve_board(*ledger, 1);
  must(ledger->begin_issue(attempt, plan_of("a public key")));
  must(ledger->release(attempt, "no answer"));
  Attempt again = reserve_board(*ledger, 1);
  must(ledger->begin_issue(again, std::nullopt));
  must(ledger->release(again, "no answer"));
  const aws::LedgerView view = must(ledger_view(*ledger));
  ASSERT_EQ(view.lost.size(), 1u) << "a key that the cloud was to make is known to nobody";
  EXPECT_EQ(view.lost[0].public_key, plan_of("a public key"));
  EXPECT_EQ(view.lost[0].asked, clock.time);
}

}  // namespace
}  // namespace espmint
