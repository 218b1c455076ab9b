// Whole lines in virtual time: what an operator would see, and what the ledger says afterwards.
#include <gtest/gtest.h>

#include <set>

#include "tests/line_words.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

LineOptions on(std::vector<std::string> ports, std::uint64_t count) {
  LineOptions options;
  options.ports = std::move(ports);
  options.count = count;
  return options;
}
TEST(Line, GivesAPluggedInBoardItsFirmwareAndAnIdentityOfItsOwn) {
  Bench bench{Seed{1}};
  bench.plug_in("a");
  LineSummary summary = bench.run(on({"a"}, 1));
  EXPECT_EQ(summary.exit(), Exit::good) << (last(bench, "a").fault ? describe(*last(bench, "a").fault) : "");
  auto device = bench.device("a");
  ASSERT_TRUE(device);
  EXPECT_EQ(device->state, KeyState::verified);
  EXPECT_TRUE(bench.boots_as_itself("a"));
  EXPECT_TRUE(is_issued_by(*parse_certificate(device->certificate->der), bench.ca().root()));
  EXPECT_EQ(bench.listener.notes.size(), 0u) << bench.listener.notes.front();
  expect_sound(bench);
}

TEST(Line, ServesManySlotsAtOnceWithoutMixingThemUp) {
  Bench bench{Seed{2}};
  std::vector<std::string> slots;
  for (int i = 0; i < 8; ++i) {
    slots.push_back("slot" + std::to_string(i));
    bench.plug_in(slots.back());
  }
  LineSummary summary = bench.run(on(slots, 8));
  EXPECT_EQ(summary.passed, 8u);
  std::set<Sha256> certificates;
  for (const auto& slot : slots) {
    EXPECT_TRUE(bench.boots_as_itself(slot)) << slot;
    certificates.insert(bench.device(slot)->certificate->sha256);
  }
  EXPECT_EQ(certificates.size(), 8u);
  expect_sound(bench);
}

TEST(Line, TellsAKnownBoardFromANewOneAndMintsNothing) {
  Bench bench{Seed{3}};
  bench.plug_in("a");
  bench.run(on({"a"}, 1));
  Sha256 before = bench.device("a")->certificate->sha256;
  LineSummary again = bench.run(once("a"));
  EXPECT_EQ(again.exit(), Exit::good);
  EXPECT_TRUE(last(bench, "a").already);
  EXPECT_EQ(last(bench, "a").flashed_bytes, 0u) << "what is there already is not written again";
  EXPECT_EQ(bench.device("a")->certificate->sha256, before);
  expect_sound(bench);
}

TEST(Line, RenewsAnIdentityOnlyWhenAsked) {
  Bench bench{Seed{4}};
  bench.plug_in("a");
  bench.run(on({"a"}, 1));
  Sha256 before = bench.device("a")->certificate->sha256;
  std::string id = bench.device("a")->id;
  bench.options.renew = true;
  EXPECT_EQ(bench.run(once("a")).exit(), Exit::good);
  EXPECT_NE(bench.device("a")->certificate->sha256, before);
  EXPECT_EQ(bench.device("a")->id, id);
  EXPECT_TRUE(bench.boots_as_itself("a"));
  EXPECT_TRUE(bench.ledger().open_intents()->empty()) << "enrolled, activated, and the old one revoked";
  expect_sound(bench);
}

TEST(Line, HoldsARevokedBoardUntilSomebodyPreparesItByHand) {
  Bench bench{Seed{4}};
  bench.plug_in("a");
  bench.run(on({"a"}, 1));
  Sha256 before = bench.device("a")->certificate->sha256;
  std::string id = bench.device("a")->id;
  ASSERT_TRUE(bench.ledger().revoke(id, "stolen"));
  EXPECT_EQ(bench.run(once("a")).exit(), Exit::board_failed);
  EXPECT_EQ(last(bench, "a").verdict, Verdict::held);
  EXPECT_NE(describe(*last(bench, "a").fault).find("stolen"), std::string::npos);
  bench.options.readmit = true;
  EXPECT_EQ(bench.run(once("a")).exit(), Exit::good);
  EXPECT_EQ(bench.device("a")->state, KeyState::verified);
  EXPECT_NE(bench.device("a")->certificate->sha256, before);
  EXPECT_EQ(bench.device("a")->id, id);
  EXPECT_TRUE(bench.boots_as_itself("a"));
  expect_sound(bench);
  bench.options.readmit = false;
  EXPECT_EQ(bench.run(once("a")).exit(), Exit::good) << "it is a board like any other again";
}

TEST(Line, HoldsAVerifiedBoardWhoseIdentityWasErasedSince) {
  Bench bench{Seed{5}};
  bench.plug_in("a");
  bench.run(on({"a"}, 1));
  std::fill_n(bench.flash("a").begin() + bench.plan.images.front().partition.range.at.bytes, 4096, std::uint8_t{0xff});
  EXPECT_EQ(bench.run(once("a")).exit(), Exit::board_failed);
  EXPECT_EQ(last(bench, "a").verdict, Verdict::held);
  EXPECT_NE(describe(*last(bench, "a").fault).find("--renew"), std::string::npos);
}

Task<> unplug_for(Bench& bench, std::string slot, Duration when, Duration away) {
  co_await bench.loop.sleep_for(when);
  bench.ports().unplug(slot);
  co_await bench.loop.sleep_for(away);
  bench.ports().plug(slot);
}

class Unplugged : public testing::TestWithParam<int> {};

// The cable is pulled at some moment of a run of about a second, and the board comes back.
TEST_P(Unplugged, BoardIsFinishedWithTheIdentityItWasExposedTo) {
  Bench bench{Seed{100 + static_cast<std::uint64_t>(GetParam())}};
  bench.plug_in("a");
  Duration when = 25ms * GetParam();
  LineSummary summary = bench.run(on({"a"}, 1), unplug_for(bench, "a", when, 3s));
  EXPECT_EQ(summary.passed, 1u) << "pulled after " << when / 1ms << " ms";
  EXPECT_TRUE(bench.boots_as_itself("a"));
  EXPECT_EQ(bench.device("a")->state, KeyState::verified);
  expect_sound(bench);
}
INSTANTIATE_TEST_SUITE_P(AtAnyMoment, Unplugged, testing::Range(0, 48));

class Swapped : public testing::TestWithParam<int> {};

Task<> swap_at(Bench& bench, std::string slot, Duration when, Mac other) {
  co_await bench.loop.sleep_for(when);
  bench.ports().swap(slot, other);
}

// Another board takes the first one's place while the port stays open: nothing of the first lands on the second.
TEST_P(Swapped, BoardNeverGetsWhatWasPlannedForAnother) {
  Bench bench{Seed{200 + static_cast<std::uint64_t>(GetParam())}};
  Mac first = bench.plug_in("a").mac();
  Mac second{{0x24, 0xd7, 0xeb, 0x77, 0x77, 0x77}};
  bench.run(on({"a"}, 2), swap_at(bench, "a", 25ms * GetParam(), second), 2min);
  auto of_first = bench.ledger().device(to_string(first));
  ASSERT_TRUE(of_first);
  if (*of_first && (*of_first)->certificate) {
    const FlashRange& range = bench.plan.images.front().partition.range;
    Md5 on_second = md5_of(ByteView{bench.flash("a")}.subspan(range.at.bytes, range.size));
    EXPECT_NE(on_second, (*of_first)->certificate->image_md5) << "the first board's key is on the second";
  }
  auto of_second = bench.device("a");
  if (of_second && of_second->state == KeyState::verified) {
    EXPECT_TRUE(bench.boots_as_itself("a"));
  }
  expect_sound(bench);
}
INSTANTIATE_TEST_SUITE_P(AtAnyMoment, Swapped, testing::Range(1, 48));

int notes_about(const Bench& bench, std::string_view words) {
  int count = 0;
  for (const std::string& sentence : bench.listener.notes) count += sentence.find(words) != std::string::npos ? 1 : 0;
  return count;
}

Task<> swap_after_the_first(Bench& bench, Mac second, int& notes_by_then) {
  while (bench.listener.done.empty()) co_await bench.loop.sleep_for(100ms);
  notes_by_then = notes_about(bench, "baud, going on at");
  bench.ports().swap("a", second);
}

// A long cable is one board's trouble: the next ones in its slot start where it answered.
TEST(Line, RemembersTheSpeedThatASlotsCableCarries) {
  Bench bench{Seed{61}};
  bench.options.baud = Baud{921'600};
  bench.plug_in("a", {.max_clean_baud = 300'000});
  int notes = 0;
  LineSummary summary =
      bench.run(on({"a"}, 2), swap_after_the_first(bench, Mac{{0x24, 0xd7, 0xeb, 0x77, 0x77, 0x77}}, notes), 3min);
  EXPECT_EQ(summary.passed, 2u) << (bench.listener.done["a"].front().fault
                                        ? describe(*bench.listener.done["a"].front().fault)
                                        : "");
  EXPECT_GE(notes, 1);
  EXPECT_EQ(notes_about(bench, "baud, going on at"), notes) << "the second board fell back, too";
}

TEST(BaudMemory, StartsLowerWhereASpeedFailedUntilTheSlotHasDoneWellLongEnough) {
  BaudMemory memory;
  const Baud fast{921'600}, slow{230'400};
  EXPECT_EQ(memory.start("a", fast), fast);
  memory.fell_back("a", slow);
  EXPECT_EQ(memory.start("a", fast), slow);
  EXPECT_EQ(memory.start("a", Baud{115'200}), Baud{115'200}) << "never faster than was asked for";
  EXPECT_EQ(memory.start("b", fast), fast);
  for (int board = 1; board < BaudMemory::good_boards_until_forgotten; ++board) memory.went_well("a");
  EXPECT_EQ(memory.start("a", fast), slow);
  memory.went_well("a");
  EXPECT_EQ(memory.start("a", fast), fast);
}

TEST(Line, EndsAtTheQuotaWithoutExposingOneMore) {
  Bench bench{Seed{6}};
  bench.plan.quota = 2;
  for (const char* slot : {"a", "b", "c"}) bench.plug_in(slot);
  LineSummary summary = bench.run(on({"a", "b", "c"}, 3));
  EXPECT_EQ(summary.passed, 2u);
  EXPECT_EQ(summary.exit(), Exit::ledger);
  int exposed = 0;
  for (const char* slot : {"a", "b", "c"}) {
    auto device = bench.device(slot);
    exposed += device && device->certificate && device->state != KeyState::available;
  }
  EXPECT_EQ(exposed, 2);
  expect_sound(bench);
}

TEST(Line, RefusesABoardOfAnotherChipBeforeAWrite) {
  Bench bench{Seed{7}};
  sim::BoardOptions options;
  options.chip = "esp32c3";
  bench.plug_in("a", options);
  LineSummary summary = bench.run(once("a"));
  EXPECT_EQ(summary.exit(), Exit::board_failed);
  EXPECT_EQ(last(bench, "a").fault->code, Code::chip_mismatch);
  EXPECT_TRUE(std::all_of(bench.flash("a").begin(), bench.flash("a").end(), [](auto byte) { return byte == 0xff; }));
}

TEST(Line, IsNotSlowedByASilentSlot) {
  double alone = 0;
  {
    Bench bench{Seed{8}};
    bench.plug_in("good");
    bench.run(on({"good"}, 1));
    alone = last(bench, "good").record.seconds;
  }
  Bench both{Seed{8}};
  both.plug_in("good");
  both.plug_in("dead").power(sim::Time{}, false);
  LineSummary summary = both.run(on({"good", "dead"}, 2));
  EXPECT_EQ(summary.passed, 1u);
  EXPECT_EQ(last(both, "dead").fault->code, Code::board_silent);
  EXPECT_LE(last(both, "dead").record.seconds, 5.0);
  EXPECT_LE(last(both, "good").record.seconds, alone * 1.05);
}

TEST(Line, WritesTheSameFlashThroughTheRomWhereThereIsNoStub) {
  Bench bench{Seed{9}};
  bench.options.use_stub = false;
  bench.plug_in("a");
  LineSummary summary = bench.run(on({"a"}, 1));
  EXPECT_EQ(summary.exit(), Exit::good) << (last(bench, "a").fault ? describe(*last(bench, "a").fault) : "");
  EXPECT_TRUE(bench.boots_as_itself("a"));
}

TEST(Line, DemandsTheProofWhereTheRecipeDoesAndGetsIt) {
  Bench bench{Seed{10}};
  bench.plan.challenge = ChallengePolicy::required;
  bench.plug_in("a", {}, true);
  LineSummary summary = bench.run(on({"a"}, 1));
  EXPECT_EQ(summary.exit(), Exit::good) << (last(bench, "a").fault ? describe(*last(bench, "a").fault) : "");
}

class Noisy : public testing::TestWithParam<int> {};

TEST_P(Noisy, LineEitherVerifiesHonestlyOrSaysWhyNot) {
  Bench bench{Seed{300 + static_cast<std::uint64_t>(GetParam())}};
  sim::BoardOptions options;
  options.faults.seed = static_cast<std::uint64_t>(GetParam());
  options.faults.lose_one_of = 20'000;
  options.faults.duplicate_one_of = 40'000;
  bench.plug_in("a", options);
  LineSummary summary = bench.run(once("a"));
  if (summary.exit() == Exit::good) {
    EXPECT_TRUE(bench.boots_as_itself("a"));
  } else {
    ASSERT_TRUE(last(bench, "a").fault);
    EXPECT_FALSE(last(bench, "a").fault->what.empty());
  }
  expect_sound(bench);
}
INSTANTIATE_TEST_SUITE_P(Wire, Noisy, testing::Range(0, 24));

}  // namespace
}  // namespace espmint
