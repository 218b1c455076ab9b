// The order in which keys are handed to boards holds in every state of the model, and each shortcut is caught: a model
// that nothing can break would prove nothing. Bounds are small here; `espmint-model` searches further (docs/model.md).
#include <gtest/gtest.h>

#include <iostream>
#include <set>

#include "tests/model/search.hpp"

namespace espmint::model {

/// GoogleTest finds it beside the type: the test's name ends in the order's.
static void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

namespace {

constexpr Bounds small{.boards = 2, .keys = 2, .swaps = 2, .crashes = 1, .losses = 1};
constexpr Bounds smaller{.boards = 2, .keys = 2, .swaps = 1, .crashes = 1, .losses = 1};

std::string told(const std::vector<Action>& trace) {
  std::string out;
  for (const Action& action : trace) out += "  " + in_words(action) + "\n";
  return out;
}

/// Plays a trace through the transitions again, without the search.
State replay(const Setup& setup, const Report& report) {
  State state = first_state(setup);
  std::vector<Edge> edges;
  for (const Action& action : report.trace) {
    EXPECT_EQ(violated(setup, state), nullptr) << "violated before the end of the trace";
    next(setup, state, edges);
    auto same = [&](const Edge& edge) {
      return edge.action.act == action.act && in_words(edge.action) == in_words(action);
    };
    auto found = std::find_if(edges.begin(), edges.end(), same);
    if (found == edges.end()) {
      ADD_FAILURE() << "cannot happen: " << in_words(action);
      return state;
    }
    state = found->to;
  }
  return state;
}

std::string name_of_variant(const testing::TestParamInfo<Variant>& info) {
  std::string name{info.param.name};
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::vector<Variant> all_of(std::span<const Variant> variants) { return {variants.begin(), variants.end()}; }

class SoundOrder : public testing::TestWithParam<Variant> {};
class BrokenOrder : public testing::TestWithParam<Variant> {};

TEST_P(SoundOrder, HoldsInEveryState) {
  // The right order has the larger bounds; what differs from it in one rule needs what its broken sister needs.
  bool right = GetParam().name == "right-order";
  Report report = search(GetParam().setup(right ? small : smaller));
  std::cout << report.states << " states, " << report.transitions << " transitions, depth " << report.depth << "\n";
  RecordProperty("states", static_cast<int>(report.states));
  ASSERT_EQ(report.violation, nullptr) << report.violation->name << " is broken:\n" << told(report.trace);
  EXPECT_TRUE(report.complete);
  EXPECT_GT(report.all_verified, 0U) << "no run ever ends well: nothing was proved";
}

TEST_P(BrokenOrder, IsCaughtByItsWatcher) {
  model::Setup setup = GetParam().setup(smaller);
  Report report = search(setup);
  ASSERT_NE(report.violation, nullptr) << "not refuted in " << report.states << " states";
  std::cout << report.violation->name << " after " << report.trace.size() << " steps, " << report.states << " states:\n"
            << told(report.trace);
  RecordProperty("watcher", std::string{report.violation->name});
  RecordProperty("trace", static_cast<int>(report.trace.size()));
  EXPECT_EQ(report.violation->watch, GetParam().caught_by) << "caught by " << report.violation->name;
  EXPECT_FALSE(report.trace.empty());
  EXPECT_EQ(static_cast<int>(report.trace.size()), report.depth) << "the trace is not a shortest one";
  EXPECT_EQ(violated(setup, replay(setup, report)), report.violation) << "the trace does not lead there";
}

INSTANTIATE_TEST_SUITE_P(Model, SoundOrder, testing::ValuesIn(all_of(sound_orders())), name_of_variant);
INSTANTIATE_TEST_SUITE_P(Model, BrokenOrder, testing::ValuesIn(all_of(broken_orders())), name_of_variant);

TEST(KeyOrder, LeavesNoActUntried) {
  // These belong to broken orders; everything else must have happened on the way through the right one.
  const std::set<Act> only_broken{
      Act::admit_without_projection, Act::confirm_unasked, Act::expose_late, Act::retry_with_next_key,
      Act::write_in_place,           Act::end_in_place,    Act::skip,        Act::verify_by_banner};
  Report report = search({.bounds = {.boards = 2, .keys = 2, .swaps = 1, .crashes = 1, .losses = 1}});
  for (int act = 0; act < static_cast<int>(Act::count); ++act) {
    bool expected = !only_broken.contains(static_cast<Act>(act));
    EXPECT_EQ(report.acts.test(static_cast<std::size_t>(act)), expected) << in_words({.act = static_cast<Act>(act)});
  }
}

TEST(KeyOrder, StillHoldsWithMoreKeysThanBoards) {
  Report report = search({.bounds = {.boards = 2, .keys = 3, .swaps = 1, .crashes = 0, .losses = 1}});
  ASSERT_EQ(report.violation, nullptr) << told(report.trace);
  EXPECT_TRUE(report.complete);
}

// ---- the checker itself --------------------------------------------------------------------------------------------

TEST(Search, FoldsSymmetryWithoutLosingAState) {
  // Each folded state counted as often as it has numberings gives exactly the states of the plain search.
  for (int stations : {1, 2}) {
    model::Setup setup{.bounds = {.boards = 2, .keys = 2, .swaps = 1, .crashes = stations - 1, .losses = 0},
                       .stations = stations};
    Report folded = search(setup, {.count_unfolded = true});
    Report plain = search(setup, {.fold_symmetry = false});
    EXPECT_TRUE(folded.complete && plain.complete);
    EXPECT_EQ(folded.unfolded_states, plain.states);
    EXPECT_EQ(folded.depth, plain.depth);
    EXPECT_LT(folded.states, plain.states);
  }
}

TEST(Search, StopsWhereItIsTold) {
  Report report = search({}, {.most_states = 1000});
  EXPECT_FALSE(report.complete);
  EXPECT_EQ(report.violation, nullptr);
}

TEST(Packing, KeepsEveryFieldOfEveryState) {
  for (const Variant& variant : broken_orders()) {
    model::Setup setup = variant.setup(small);
    ASSERT_TRUE(fits(setup)) << variant.name;
    std::vector<State> now{first_state(setup)};
    std::vector<Edge> edges;
    for (int level = 0; level < 60; ++level) {  // one path per variant, turning at every level
      next(setup, now.back(), edges);
      if (edges.empty()) break;
      now.push_back(edges[static_cast<std::size_t>(level * 7) % edges.size()].to);
      ASSERT_EQ(unpack(setup, pack(setup, now.back())), now.back()) << variant.name << ", level " << level;
    }
  }
}

class Watchers : public testing::Test {
 protected:
  /// Key A is VERIFIED, whole and marked on board 1: all is well.
  Watchers() {
    folder().ledger[0] = {KeyState::verified, 0};
    folder().csv[0] = folder().synced_csv[0] = {Word::verified, 0};
    folder().gone = 0b01;
    state_.boards[0] = {Content::whole, 0, none, 0b01};
  }
  Folder& folder() { return state_.folders[0]; }
  std::string caught() const {
    const Watcher* watcher = violated(setup_, state_);
    return std::string{watcher ? watcher->name : ""};
  }
  model::Setup setup_;  // a bare Setup is a member of testing::Test
  State state_;
};

TEST_F(Watchers, AreContentWhenAllIsWell) { EXPECT_EQ(caught(), ""); }

TEST_F(Watchers, I1SeesAKeyWithoutItsOwner) {
  folder().ledger[1] = {KeyState::reserved, none};
  EXPECT_EQ(caught(), "I1");
}
TEST_F(Watchers, I2SeesAKeyOnTwoBoards) {
  folder().ledger[0] = {KeyState::quarantined, none};
  state_.boards[1] = {Content::half, 0, none, 0b01};
  EXPECT_EQ(caught(), "I2");
}
TEST_F(Watchers, I2SeesAKeyOnABoardThatIsNotTheOneOnRecord) {
  folder().ledger[0] = {KeyState::exposed, 1};
  EXPECT_EQ(caught(), "I2");
}
TEST_F(Watchers, I3SeesASecondKeyEvenIfNothingOfItWasStored) {
  folder().gone = 0b11;
  folder().ledger[1] = {KeyState::exposed, 0};
  folder().csv[1] = folder().synced_csv[1] = {Word::open, 0};
  state_.boards[0].got = 0b11;
  EXPECT_EQ(caught(), "I3");
}
TEST_F(Watchers, I4SeesAByteBeforeItsRecord) {
  state_.boards[1].got = 0b10;
  EXPECT_EQ(caught(), "I4");
}
TEST_F(Watchers, I5SeesAKeyReturn) {
  folder().ledger[0] = {};
  EXPECT_EQ(caught(), "I5");
}
TEST_F(Watchers, I7SeesAHalfAForgottenAndAWrongKey) {
  state_.boards[0].content = Content::half;
  EXPECT_EQ(caught(), "I7");
  state_.boards[0].content = Content::ram;
  EXPECT_EQ(caught(), "I7");
  state_.boards[0].content = Content::whole;
  state_.boards[0].key = 1;
  EXPECT_EQ(caught(), "I7");
}
TEST_F(Watchers, I14SeesTheImageThatAPowerCutMayBringBack) {
  folder().synced_csv[0] = {};
  EXPECT_EQ(caught(), "I14");
}

}  // namespace
}  // namespace espmint::model
