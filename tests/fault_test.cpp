// Faults that only a whole run can meet: something changes between what was done and what is found afterwards.
#include <gtest/gtest.h>

#include "tests/bench.hpp"

namespace espmint {
namespace {

LineOptions one_pass(std::vector<std::string> ports) {
  LineOptions options;
  options.ports = std::move(ports);
  options.one_pass = true;
  return options;
}

/// Does something to slot "a" once, when its run comes to this step; then what the run ended with.
RunOutcome outcome_when(Bench& bench, Step step, std::function<void()> harm) {
  bench.listener.when_step = [&, done = false](const std::string& slot, Step now) mutable {
    if (slot != "a" || now != step || std::exchange(done, true)) return;
    harm();
  };
  bench.run(one_pass({"a"}));
  return bench.listener.done["a"].front();
}

ByteSpan identity_of(Bench& bench, const std::string& slot) {
  const FlashRange& range = bench.plan.images.front().partition.range;
  return bench.flash(slot).subspan(range.at.bytes, range.size);
}

void expect_fault(const RunOutcome& outcome, Code code) {
  ASSERT_TRUE(outcome.fault);
  EXPECT_EQ(outcome.fault->code, code) << describe(*outcome.fault);
  EXPECT_NE(outcome.verdict, Verdict::verified);
  EXPECT_FALSE(outcome.fault->advice.empty());
}

TEST(Fault, BoardChangedWhenAnotherOneSitsThereBeforeTheSecret) {
  Bench bench{Seed{1}};
  bench.plug_in("a");
  auto exchange = [&] { bench.ports().replace("a", Mac{{0x24, 0xd7, 0xeb, 0x77, 0x77, 0x77}}); };
  RunOutcome outcome = outcome_when(bench, Step::flash_identity, exchange);
  expect_fault(outcome, Code::board_changed);
  EXPECT_NE(outcome.fault->seen.find("24:d7:eb:77:77:77"), std::string::npos) << outcome.fault->seen;
}

TEST(Fault, ImageDiffersWhenAByteOfTheIdentityIsAnotherAfterTheReset) {
  Bench bench{Seed{2}};
  bench.plug_in("a");
  auto flip = [&] { identity_of(bench, "a")[100] ^= 0x01; };
  expect_fault(outcome_when(bench, Step::evidence, flip), Code::image_differs);
}

TEST(Fault, ChallengeFailedWhenTheFirmwareSignsWithAnotherBoardsKey) {
  Bench bench{Seed{3}};
  bench.plug_in("b");
  bench.run(one_pass({"b"}));
  ASSERT_EQ(bench.listener.done["b"].back().verdict, Verdict::verified);
  bench.plug_in("a");
  auto copy = [&] {
    const ByteSpan others = identity_of(bench, "b");
    std::copy(others.begin(), others.end(), identity_of(bench, "a").begin());
  };
  expect_fault(outcome_when(bench, Step::boot, copy), Code::challenge_failed);
}

TEST(Fault, ChallengeSilentWhenTheFirmwareDoesNotStartAndTheRecipeDemandsProof) {
  Bench bench{Seed{4}};
  bench.plan.challenge = ChallengePolicy::required;
  bench.plug_in("a");
  auto erase_bootloader = [&] { std::fill_n(bench.flash("a").begin() + 0x1000, 0x1000, std::uint8_t{0xff}); };
  RunOutcome outcome = outcome_when(bench, Step::boot, erase_bootloader);
  expect_fault(outcome, Code::challenge_silent);
  EXPECT_EQ(bench.device("a")->state, KeyState::written) << "it holds the key, and nobody has seen it proved";
}

}  // namespace
}  // namespace espmint
