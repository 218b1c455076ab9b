// The process stops at every durable write of a board's way into the cloud; the account goes on living. Another process
// finishes the board, the doctor sweeps, and nothing is left that nobody knows.
#include <gtest/gtest.h>

#include "io/file.hpp"
#include "tests/aws_world.hpp"
#include "tests/line_words.hpp"
#include "tests/survivor.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr ByteCount flash_bytes = surviving_flash_bytes;

/// The account survives, too.
struct World : Survivor {
  [[nodiscard]] nlohmann::json account() const {
    auto saved = read_file(folder / "account.json");
    return saved ? nlohmann::json::parse(as_text(*saved)) : nlohmann::json{};
  }
  void keep(const sim::iot::Account& account) const {
    value_of(write_file(folder / "account.json", as_bytes(sim::iot::saved_account(account).dump())));
  }
};

struct ShiftOptions {
  std::uint64_t seed;
  aws::Issuance issuance = aws::Issuance::csr;
  bool renew = false;
  int stop_at = -1;   // durable point
  bool last = false;  // the doctor comes
};

LineSummary shift(World& world, const ShiftOptions& how) {
  Bench bench{Seed{how.seed}, world.folder};
  bench.loop.shift_wall(std::chrono::seconds{3600 * static_cast<int>(how.seed % 1000)});
  bench.plug_in("a");
  bench.ports().board("a").swap(sim::Time{}, Mac{{0x24, 0xd7, 0xeb, 0, 0, 1}});
  std::copy_n(world.flash, flash_bytes, bench.flash("a").begin());
  AwsWorld aws{bench.loop,
               {.latency = 20ms, .issuance = how.issuance, .signer = &bench.signer(), .saved = world.account()}};
  bench.cloud = &aws.cloud();
  bench.options.renew = how.renew;
  auto keep = [&] {
    std::copy_n(bench.flash("a").begin(), flash_bytes, world.flash);
    world.keep(aws.account.account());
  };
  int points = how.stop_at;
  if (how.stop_at >= 0)
    set_ledger_crash_hook([&](std::string_view) {
      if (points-- != 0) return;
      keep();
      _exit(stopped_here);
    });
  LineOptions options;
  options.ports = {"a"};
  options.count = 1;
  LineSummary summary = bench.run(options);
  set_ledger_crash_hook({});
  if (how.last) {
    const Doctored doctored = aws.doctor(bench.ledger());
    EXPECT_EQ(doctored.left(), 0u) << words_of(doctored.after);
    for (const Fault& fault : doctored.fixed.failed) ADD_FAILURE() << describe(fault);
    for (const std::string& wrong : wrongs_in(aws.account, bench.ledger(), bench.loop.now(), AwsWorld::policy))
      ADD_FAILURE() << wrong;
    EXPECT_TRUE(value_of(bench.ledger().open_intents()).empty());
    expect_sound(bench);
    EXPECT_TRUE(bench.boots_as_itself("a"));
  }
  keep();
  return summary;
}

class AwsCrash : public testing::TestWithParam<aws::Issuance> {};

TEST_P(AwsCrash, AtEveryDurableWriteLeavesNothingThatNobodyKnows) {
  int points = 0;
  for (;; ++points) {
    SCOPED_TRACE("durable point " + std::to_string(points));
    World world;
    if (!stops([&] { shift(world, {.seed = 1, .issuance = GetParam(), .stop_at = points}); })) break;
    EXPECT_EQ(shift(world, {.seed = 2, .issuance = GetParam(), .last = true}).passed, 1u);
    if (HasFailure()) break;
  }
  EXPECT_GE(points, 20);
}

TEST_P(AwsCrash, AtEveryDurableWriteOfARenewalLeavesNothingThatNobodyKnows) {
  int points = 0;
  for (;; ++points) {
    SCOPED_TRACE("durable point " + std::to_string(points));
    World world;
    EXPECT_EQ(shift(world, {.seed = 1, .issuance = GetParam()}).passed, 1u);
    if (!stops([&] { shift(world, {.seed = 2, .issuance = GetParam(), .renew = true, .stop_at = points}); })) break;
    EXPECT_EQ(shift(world, {.seed = 3, .issuance = GetParam(), .last = true}).passed, 1u);
    if (HasFailure()) break;
  }
  EXPECT_GE(points, 20);
}

INSTANTIATE_TEST_SUITE_P(Issuance, AwsCrash, testing::Values(aws::Issuance::csr, aws::Issuance::own_ca),
                         [](const auto& of) { return std::string{of.param == aws::Issuance::csr ? "csr" : "own_ca"}; });

}  // namespace
}  // namespace espmint
