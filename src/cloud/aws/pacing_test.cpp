#include "cloud/aws/pacing.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace espmint::aws {
namespace {

using namespace std::chrono_literals;
const Instant start{1h};

TEST(Pace, LetsAFewGoAtOnceThenOneByOne) {
  Pace pace{10};  // two at once, as 0.2 s of ten a second
  EXPECT_EQ(pace.take(start).at, start);
  EXPECT_EQ(pace.take(start).at, start);
  EXPECT_EQ(pace.take(start).at, start + 100ms);
  EXPECT_EQ(pace.take(start).at, start + 200ms);
  EXPECT_EQ(pace.take(start + 10s).at, start + 10s) << "time that passes is not hoarded";
  EXPECT_EQ(pace.take(start + 10s).at, start + 10s);
  EXPECT_EQ(pace.take(start + 10s).at, start + 10s + 100ms);
}

TEST(Pace, ANeverIdleOneKeepsItsRateToTheCall) {
  Pace pace{15};
  int calls = 0;
  while (pace.take(start).at < start + 60s) ++calls;
  EXPECT_NEAR(calls, 15 * 60, 3);
}

TEST(Pace, GivesWayOnceForAllThatWereUnderWay) {
  Pace pace{10};
  for (int i = 0; i < 10; ++i) pace.throttled(start, start + 200ms);
  EXPECT_DOUBLE_EQ(pace.per_second(start + 200ms), 7);
  pace.throttled(start + 300ms, start + 400ms);
  EXPECT_NEAR(pace.per_second(start + 400ms), 7.3 * 0.7, 0.01) << "of what it had come back to";
}

TEST(Pace, GivesWayFurtherWhereMuchLessWentWell) {
  Pace pace{350};
  Instant now = start;
  for (int round = 0; round < 3; ++round, now += 300ms) {
    for (int i = 0; i < 3; ++i) pace.answered(now);
    pace.throttled(now, now + 1ms);
  }
  EXPECT_LT(pace.per_second(now), 20) << "where it finds itself after a few, for the table may be of another region";
}

TEST(Pace, CallsWhoeverWaitsBackIntoASlowerFile) {
  Pace pace{10};
  Pace::Turn turn;
  for (int i = 0; i < 5; ++i) turn = pace.take(start);
  EXPECT_TRUE(pace.holds(turn));
  pace.throttled(start, start + 100ms);
  EXPECT_FALSE(pace.holds(turn));
  EXPECT_NEAR((pace.take(start + 100ms).at - start) / 1ms, 100 + 1000 / 7, 1);
}

TEST(Pace, IsSoonBackWhereItWasAndCreepsFromThere) {
  Pace pace{100};
  for (int i = 0; i < 30; ++i) pace.answered(start);
  pace.throttled(start - 1ms, start);
  EXPECT_NEAR(pace.per_second(start), 30, 0.01);
  EXPECT_NEAR(pace.per_second(start + 2s), 30 / 0.7, 0.01);
  EXPECT_NEAR(pace.per_second(start + 8s), 30 / 0.7 + 30, 0.01);
  EXPECT_DOUBLE_EQ(pace.per_second(start + 15s), 100);
  EXPECT_DOUBLE_EQ(pace.per_second(start + 8h), 100);
}

TEST(Pace, AsksAServiceThatRefusesAllOnceASecond) {
  Pace pace{10};
  Instant now = start;
  for (int i = 0; i < 50; ++i) {
    pace.throttled(now, now + 1ms);
    now += 2ms;
  }
  EXPECT_NEAR(pace.per_second(now), 1, 0.1);
}

TEST(Pace, RatesAreTheServicesDefaults) {
  EXPECT_EQ(default_rate("AttachPolicy"), 15);
  EXPECT_EQ(default_rate("DescribeThing"), 350);
  EXPECT_EQ(default_rate("ListThingPrincipals"), 10);
}

TEST(Pause, IsFullJitterUpToTwentySeconds) {
  EXPECT_EQ(pause_before(0, 1s, 0), 0s);
  EXPECT_EQ(pause_before(0, 1s, 0.5), 500ms);
  EXPECT_EQ(pause_before(3, 1s, 0.5), 4s);
  EXPECT_EQ(pause_before(5, 1s, 0.5), 10s);
  EXPECT_LT(pause_before(4'000'000, 500ms, 0.999), 20s);
}

TEST(RetryBudget, EndsAStormAndIsEarnedBack) {
  RetryBudget budget;
  int retries = 0;
  while (budget.spend()) ++retries;
  EXPECT_EQ(retries, 100);
  budget.earn(1);
  EXPECT_TRUE(budget.spend());
  EXPECT_FALSE(budget.spend());
  for (int i = 0; i < 5; ++i) budget.earn(0);
  EXPECT_TRUE(budget.spend());
}

/// Eight failures, a third of a second apart.
Instant open_it(Breaker& breaker) {
  Instant now = start;
  for (int i = 0; i < 8; ++i) breaker.unreachable(breaker.ask(now, 30s), now), now += 300ms;
  return now - 300ms;
}

TEST(Breaker, LeavesToEachCallWhatIsOverSoon) {
  Breaker breaker;
  for (int i = 0; i < 64; ++i) breaker.unreachable(Breaker::Pass::go, start + 1999ms * (i > 0));
  EXPECT_EQ(breaker.ask(start + 1999ms, 30s), Breaker::Pass::go);
  breaker.reached();
  for (int i = 0; i < 7; ++i) breaker.unreachable(Breaker::Pass::go, start + i * 1s);
  EXPECT_EQ(breaker.ask(start + 7s, 30s), Breaker::Pass::go);
}

TEST(Breaker, OpensAfterEightInARowAndLooksOneAtATime) {
  Breaker breaker;
  const Instant opened = open_it(breaker);
  for (int i = 0; i < 64; ++i) breaker.unreachable(Breaker::Pass::go, opened + 1s);
  EXPECT_EQ(breaker.until(), opened + 5s) << "those that were under way do not lengthen it";
  EXPECT_EQ(breaker.ask(opened + 4s, 30s), Breaker::Pass::stop);
  EXPECT_EQ(breaker.ask(opened + 5s, 30s), Breaker::Pass::probe);
  EXPECT_EQ(breaker.ask(opened + 6s, 30s), Breaker::Pass::stop);
  breaker.unreachable(Breaker::Pass::probe, opened + 7s);
  EXPECT_EQ(breaker.until(), opened + 17s);
  EXPECT_EQ(breaker.ask(opened + 17s, 30s), Breaker::Pass::probe);
  EXPECT_EQ(breaker.ask(opened + 47s, 30s), Breaker::Pass::probe) << "a probe that was cancelled holds nobody for ever";
  breaker.reached();
  EXPECT_EQ(breaker.ask(opened + 47s, 30s), Breaker::Pass::go);
}

TEST(Breaker, IsOpenForAMinuteAtMost) {
  Breaker breaker;
  Instant now = open_it(breaker);
  for (int i = 0; i < 10; ++i) {
    now = breaker.until();
    breaker.unreachable(breaker.ask(now, 30s), now);
  }
  EXPECT_EQ(breaker.until() - now, 60s);
}

}  // namespace
}  // namespace espmint::aws
