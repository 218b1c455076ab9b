// Whole lines with a board whose own USB hangs, in virtual time: where its hub can, its supply is cut once, and the run
// goes on with the same board; where it cannot, a hand is asked for.
#include <gtest/gtest.h>

#include "ledger/invariants.hpp"
#include "tests/bench.hpp"
#include "tests/hung_usb.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

sim::BoardOptions native() {
  sim::BoardOptions options;
  options.native_usb.away = 300ms;
  return options;
}

/// A line with one slot, "a", where a board with USB of its own sits.
struct Hanging {
  Bench bench{Seed{81}};
  HungUsb usb{bench.ports()};
  Hanging() {
    bench.opener = &usb;
    bench.plug_in("a", native());
  }
  void hang_at(Step when) {
    bench.listener.when_step = [this, when, done = false](const std::string& slot, Step step) mutable {
      if (step == when && !std::exchange(done, true)) usb.hung.insert(slot);
    };
  }
  LineSummary run() {
    LineOptions options;
    options.ports = {"a"};
    options.count = 1;
    return bench.run(options);
  }
  [[nodiscard]] const RunOutcome& last() { return bench.listener.done["a"].back(); }
  std::string said() { return last().fault ? describe(*last().fault) : ""; }
  void expect_rules() {
    auto violations = find_violations(bench.folder() / "ledger");
    ASSERT_TRUE(violations) << describe(violations.error());
    for (const auto& violation : *violations) ADD_FAILURE() << violation;
  }
};

class HangsAt : public testing::TestWithParam<Step> {};

TEST_P(HangsAt, AndIsFinishedAfterItsHubHasCutItsSupply) {
  Hanging line;
  line.hang_at(GetParam());
  EXPECT_EQ(line.run().passed, 1u) << line.said();
  EXPECT_EQ(line.usb.times_off, 1);
  EXPECT_EQ(line.bench.listener.done["a"].size(), 1u) << "in the same run";
  EXPECT_TRUE(line.bench.boots_as_itself("a"));
  line.expect_rules();
}
INSTANTIATE_TEST_SUITE_P(, HangsAt,
                         testing::Values(Step::connect, Step::flash_firmware, Step::flash_identity, Step::evidence),
                         [](const auto& one) {
                           std::string name{spec_of(one.param).name};
                           std::erase(name, '-');
                           return name;
                         });

TEST(HubPowerLine, AsksForAHandWhereTheHubCannotAndGoesOnAfterIt) {
  Hanging line;
  line.usb.hung.insert("a");
  line.usb.hub_switches = false;
  auto replug = [](Bench& bench, HungUsb& usb) -> Task<> {
    co_await bench.loop.sleep_for(20s);
    bench.ports().unplug("a");
    usb.hung.clear();
    co_await bench.loop.sleep_for(3s);
    bench.ports().plug("a");
  };
  LineOptions options;
  options.ports = {"a"};
  options.count = 2;
  LineSummary summary = line.bench.run(options, replug(line.bench, line.usb));
  ASSERT_EQ(line.bench.listener.done["a"].size(), 2u);
  const RunOutcome& first = line.bench.listener.done["a"].front();
  ASSERT_TRUE(first.fault);
  EXPECT_EQ(first.fault->code, Code::usb_hangs);
  EXPECT_NE(describe(*first.fault).find("REPLUG"), std::string::npos) << describe(*first.fault);
  EXPECT_NE(describe(*first.fault).find("its hub says that it cannot"), std::string::npos) << describe(*first.fault);
  EXPECT_EQ(line.usb.times_off, 0);
  EXPECT_EQ(summary.passed, 1u) << line.said();
  EXPECT_EQ(summary.causes.at("usb-hangs"), 1u);
}

TEST(HubPowerLine, CutsTheSupplyOnlyOnce) {
  Hanging line;
  line.usb.hung.insert("a");
  line.usb.power_helps = false;
  LineSummary summary = line.run();
  EXPECT_EQ(line.usb.times_off, 1);
  EXPECT_EQ(line.last().fault->code, Code::usb_hangs) << line.said();
  EXPECT_EQ(line.bench.listener.done["a"].size(), 1u);
  EXPECT_EQ(summary.exit(), Exit::port);
}

TEST(HubPowerLine, GivesNothingToAnotherBoardThatSitsThereAfterTheCut) {
  Hanging line;
  line.hang_at(Step::flash_identity);
  line.usb.while_off = [&line] { line.bench.ports().swap("a", Mac{{0x24, 0xd7, 0xeb, 0x77, 0x77, 0x77}}); };
  const std::string first = to_string(line.bench.ports().board("a").mac());
  line.run();
  ASSERT_TRUE(line.last().fault);
  EXPECT_EQ(line.last().fault->code, Code::board_changed) << line.said();
  EXPECT_EQ(to_string(line.last().board->mac), first);
  auto second = line.bench.device("a");
  EXPECT_FALSE(second && second->certificate) << "nothing was made for it";
  line.expect_rules();
}

TEST(HubPowerLine, LeavesABoardWithAnAdapterItsSupply) {
  Hanging line;
  line.bench.plug_in("b");
  line.usb.hung.insert("b");
  LineOptions options;
  options.ports = {"b"};
  options.count = 1;
  line.bench.run(options);
  EXPECT_EQ(line.usb.times_off, 0);
  EXPECT_EQ(line.bench.listener.done["b"].back().fault->code, Code::board_silent);
}

}  // namespace
}  // namespace espmint
