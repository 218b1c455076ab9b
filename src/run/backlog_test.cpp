// What a cloud elsewhere is still to be told of, in virtual time: outages, crashes, one board that the cloud cannot
// stand.
#include "run/backlog.hpp"

#include <gtest/gtest.h>

#include "io/loop.hpp"
#include "ledger/test_boards.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

/// Takes its time, goes away when it is told to, and remembers what it heard.
class MoodyCloud final : public Cloud {
 public:
  explicit MoodyCloud(Clock& clock) : clock_(clock) { ways_.enrolment = {{act::register_}, {act::attach}}; }
  [[nodiscard]] std::string_view name() const override { return "moody"; }
  [[nodiscard]] const CloudWays& ways() const override { return ways_; }
  Task<Result<Issued>> issue(IssueRequest) override {
    co_return fail({Code::internal, Remedy::refuse, "nobody asks here"});
  }
  Task<Result<std::string>> perform(std::string act, CloudSubject subject) override {
    ++calls;
    ++side_by_side_;
    most_at_once = std::max(most_at_once, side_by_side_);
    co_await clock_.sleep_for(latency);
    --side_by_side_;
    if (clock_.now() >= away_from && clock_.now() < away_until)
      co_return fail({Code::cloud_unreachable, Remedy::reconcile, "no answer"});
    if (subject.device_id == poison) co_return fail({Code::cloud_reply_invalid, Remedy::reconcile, "nonsense"});
    if (denies) co_return fail({Code::cloud_denied, Remedy::stop_line, "the keys are no longer valid"});
    if (act == refused_act) co_return fail({Code::cloud_refused, Remedy::refuse, "no such thing"});
    heard.push_back(act + " " + subject.device_id);
    if (act == act::register_) co_return std::string{"arn:" + subject.device_id};
    names.push_back(subject.cloud_id);
    co_return std::string{};
  }
  [[nodiscard]] std::string root_ca_pem() const override { return {}; }
  [[nodiscard]] std::string endpoint() const override { return {}; }

  Duration latency = 200ms;
  Instant away_from{}, away_until{};
  std::string poison, refused_act;
  bool denies = false;
  std::vector<std::string> heard, names;
  std::size_t calls = 0, most_at_once = 0;

 private:
  Clock& clock_;
  CloudWays ways_;
  std::size_t side_by_side_ = 0;
};

struct BacklogTest : testing::Test {
  TestFolder folder;
  VirtualLoop loop;
  std::unique_ptr<Ledger> ledger = open_ledger(folder, loop);
  std::unique_ptr<Pool> pool = make_inline_pool();
  std::unique_ptr<Entropy> entropy = make_seeded_entropy(1);
  MoodyCloud cloud{loop};
  BacklogOptions options;
  std::vector<std::string> said;
  std::unique_ptr<Backlog> backlog;

  void start() {
    backlog = std::make_unique<Backlog>(loop, *entropy, cloud, *ledger, *pool, options,
                                        [this](const std::string& text) { said.push_back(text); });
    loop.spawn(backlog->work());
  }
  /// A board that was made while nobody was told.
  void make_board(int n) {
    if (!backlog) start();
    Attempt attempt = reserve_board(*ledger, n);
    CertificateRecord record = certificate_of(attempt.number);
    must(ledger->record_certificate(attempt, record, {act::register_, act::attach}));
    must(ledger->expose(attempt));
    must(ledger->mark_written(attempt));
    must(ledger->mark_verified(attempt, evidence_of(record), {act::activate}));
    backlog->wake();
  }
  void pass(Duration time) {
    loop.run(
        [](VirtualLoop& clock, Duration for_so_long) -> Task<> { co_await clock.sleep_for(for_so_long); }(loop, time));
  }
  std::size_t settle(Duration patience) {
    std::size_t left = 0;
    loop.run([](BacklogTest& self, Duration for_so_long, std::size_t& out) -> Task<> {
      out = co_await self.backlog->settle_until(self.loop.now() + for_so_long);
    }(*this, patience, left));
    return left;
  }
  std::size_t open() { return must(ledger->open_intents()).size(); }
};

TEST_F(BacklogTest, TellsTheCloudOfEachBoardInOrder) {
  make_board(1);
  EXPECT_EQ(settle(10s), 0u);
  EXPECT_EQ(cloud.heard,
            (std::vector<std::string>{"register " + id_of(1), "attach " + id_of(1), "activate " + id_of(1)}));
  EXPECT_EQ(cloud.names, (std::vector<std::string>(2, "arn:" + id_of(1))))
      << "what the registration said is used at once";
  EXPECT_EQ(open(), 0u);
  EXPECT_TRUE(said.empty());
}

TEST_F(BacklogTest, DoesNotTakeOneCertificateOfABoardForAnother) {
  cloud.away_until = loop.now() + 1h;
  start();
  Attempt first = reserve_board(*ledger, 1);
  must(ledger->record_certificate(first, certificate_of(first.number), {act::register_}));
  must(ledger->expose(first));
  must(ledger->burn(first, "another identity is on the board"));
  make_board(1);
  pass(62min);
  EXPECT_EQ(settle(60s), 0u);
  ASSERT_EQ(cloud.heard.back(), "revoke " + id_of(1));
  EXPECT_EQ(cloud.names.back(), "") << "what is taken back is the first one, which nobody registered";
}

TEST_F(BacklogTest, TellsOfManyBoardsSideBySideAndOfOneStepByStep) {
  for (int n = 1; n <= 40; ++n) make_board(n);
  pass(1ms);
  const Instant start = loop.now();
  EXPECT_EQ(settle(60s), 0u);
  EXPECT_EQ(cloud.most_at_once, options.at_once);
  EXPECT_LE(loop.now() - start, 40 / 8 * 3 * 200ms + 1s);
}

TEST_F(BacklogTest, AnOutageOfEightHoursCostsFewCallsAndIsMadeUpFor) {
  cloud.away_from = loop.now();
  cloud.away_until = loop.now() + 8h;
  for (int n = 1; n <= 100; ++n) {
    make_board(n);
    pass(4min);
    EXPECT_FALSE(backlog->why_not()) << "the line goes on";
  }
  EXPECT_EQ(open(), 300u);
  EXPECT_LT(cloud.calls, 1600u) << "no storm while it is away";
  ASSERT_FALSE(said.empty());
  EXPECT_NE(said[0].find("the line goes on"), std::string::npos);
  pass(cloud.away_until - loop.now() + 2min);
  EXPECT_EQ(settle(60s), 0u);
  EXPECT_EQ(said.size(), 2u) << "away, and back: not a sentence a try";
  EXPECT_LE(cloud.heard.size(), 300u) << "nothing is told twice";
}

TEST_F(BacklogTest, AboveItsLimitNoBoardIsBegun) {
  options.limit = 2;
  cloud.away_until = loop.now() + 1h;
  make_board(1);
  pass(1s);
  EXPECT_FALSE(backlog->why_not());
  make_board(2);
  pass(2min);
  auto fault = backlog->why_not();
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->code, Code::cloud_backlog);
  EXPECT_EQ(fault->remedy, Remedy::stop_line);
  pass(62min);
  EXPECT_FALSE(backlog->why_not()) << "told meanwhile";
}

TEST_F(BacklogTest, OneBoardThatTheCloudCannotAnswerForDoesNotHoldUpTheOthers) {
  cloud.poison = id_of(1);
  for (int n = 1; n <= 20; ++n) make_board(n);
  pass(10min);
  EXPECT_EQ(open(), 3u) << "only its own";
}

TEST_F(BacklogTest, BehindAStepThatTheCloudWillNeverTakeNothingIsTold) {
  cloud.refused_act = act::attach;
  make_board(1);
  EXPECT_EQ(settle(10s), 1u);
  EXPECT_EQ(cloud.heard, std::vector<std::string>{"register " + id_of(1)})
      << "it is not activated on somebody else's thing";
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("no such thing"), std::string::npos);
  cloud.refused_act.clear();
  make_board(2);
  EXPECT_EQ(settle(10s), 1u) << "the others go on";
  EXPECT_EQ(cloud.heard.back(), "activate " + id_of(2));
  EXPECT_EQ(backlog->trouble()->code, Code::cloud_refused);
}

TEST_F(BacklogTest, BoardsOfTheLocalIssuerAreNotToldToACloudElsewhere) {
  Attempt attempt = reserve_board(*ledger, 1);
  CertificateRecord record = certificate_of(attempt.number);
  must(ledger->record_certificate(attempt, record));
  must(ledger->settle(attempt, act::enrol, "done"));
  must(ledger->expose(attempt));
  must(ledger->mark_written(attempt));
  must(ledger->mark_verified(attempt, evidence_of(record)));
  make_board(2);
  settle(10s);
  for (const std::string& told : cloud.heard) EXPECT_EQ(told.find(id_of(1)), std::string::npos) << told;
}

TEST_F(BacklogTest, ACloudThatRefusesThisStationStopsIt) {
  cloud.denies = true;
  make_board(1);
  pass(5s);
  ASSERT_TRUE(backlog->why_not());
  EXPECT_EQ(backlog->why_not()->code, Code::cloud_denied);
  EXPECT_EQ(open(), 3u) << "nothing is forgotten";
}

TEST_F(BacklogTest, AtTheEndOfALineItIsNotWaitedForACloudThatIsAway) {
  cloud.away_until = loop.now() + 1h;
  make_board(1);
  EXPECT_EQ(settle(30s), 1u);
  EXPECT_LT(loop.now(), Instant{30s});
}

TEST_F(BacklogTest, EndsWhereItCanBeLeftAndForgetsNothing) {
  for (int n = 1; n <= 30; ++n) make_board(n);
  pass(300ms);
  loop.run([](BacklogTest& self) -> Task<> { co_await self.backlog->finish(); }(*this));
  const std::size_t told = cloud.heard.size();
  EXPECT_EQ(open(), 90 - told);
  pass(1min);
  EXPECT_EQ(cloud.heard.size(), told);
}

}  // namespace
}  // namespace espmint
