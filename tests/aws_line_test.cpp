// Whole lines against a virtual AWS account, in virtual time: what the account has afterwards, what it was asked, and
// that no board waits for it.
#include <gtest/gtest.h>

#include "tests/aws_world.hpp"
#include "tests/line_words.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
using Counts = std::map<std::string, std::uint64_t>;

LineOptions on(std::vector<std::string> ports, std::uint64_t count) {
  LineOptions options;
  options.ports = std::move(ports);
  options.count = count;
  return options;
}

std::vector<std::string> slots_named(int count) {
  std::vector<std::string> out;
  for (int i = 0; i < count; ++i) out.push_back("slot" + std::to_string(i));
  return out;
}

std::string why(Bench& bench, const std::string& slot) {
  const RunOutcome& outcome = last(bench, slot);
  return outcome.fault ? describe(*outcome.fault) : "";
}

void expect_agreed(AwsWorld& world, Bench& bench, const std::set<Sha256>& foreign = {}) {
  for (const std::string& wrong : wrongs_in(world.account, bench.ledger(), bench.loop.now(), AwsWorld::policy, foreign))
    ADD_FAILURE() << wrong;
  expect_sound(bench);
}

/// What was detached is shown for some seconds more.
void wait(Bench& bench, Duration time) {
  bench.loop.run(
      [](VirtualLoop& clock, Duration so_long) -> Task<> { co_await clock.sleep_for(so_long); }(bench.loop, time));
}

void expect_healthy(AwsWorld& world, Bench& bench) {
  const Doctored doctored = world.doctor(bench.ledger());
  EXPECT_EQ(doctored.left(), 0u) << words_of(doctored.after);
  for (const Fault& fault : doctored.fixed.failed) ADD_FAILURE() << describe(fault);
  expect_agreed(world, bench);
}

struct OneBoard {
  explicit OneBoard(std::uint64_t seed, AwsWorldOptions options = {}, sim::BoardOptions board = {})
      : bench(Seed{seed}), world(bench.loop, with_signer(std::move(options))) {
    bench.cloud = &world.cloud();
    bench.plug_in("a", std::move(board));
    name = to_string(bench.ports().board("a").mac());
  }
  AwsWorldOptions with_signer(AwsWorldOptions options) {
    options.signer = &bench.signer();
    return options;
  }
  Exit run() { return bench.run(once("a")).exit(); }
  Exit renew() {
    bench.options.renew = true;
    const Exit exit = run();
    bench.options.renew = false;
    return exit;
  }
  Sha256 certificate() { return bench.device("a")->certificate->sha256; }
  Result<aws::Answer> call_as_admin(aws::Call call) {
    return run_task(bench.loop, world.admin().call(std::move(call)));
  }
  /// A thing that is there before the board comes.
  void make_thing(std::string body) {
    auto made = call_as_admin({"CreateThing", "POST", "/things/" + name, {}, {}, std::move(body)});
    ASSERT_TRUE(made && made->good());
  }

  Bench bench;
  AwsWorld world;
  std::string name;
};

TEST(AwsLine, GivesEachBoardItsThingItsPolicyAndACertificateThatIsAccepted) {
  Bench bench{Seed{1}};
  AwsWorld world{bench.loop};
  ASSERT_TRUE(world.started) << describe(world.started.error());
  bench.cloud = &world.cloud();
  const auto slots = slots_named(8);
  for (const auto& slot : slots) bench.plug_in(slot);
  world.calls_since();
  EXPECT_EQ(bench.run(on(slots, 8)).passed, 8u) << why(bench, slots[0]);
  const Counts six{{"CreateCertificateFromCsr", 8}, {"AttachPolicy", 8},      {"CreateThing", 8},
                   {"AttachThingPrincipal", 8},     {"UpdateCertificate", 8}, {"ListThingPrincipals", 8}};
  EXPECT_EQ(world.calls_since(), six) << "six calls a new board";
  for (const auto& slot : slots) {
    EXPECT_TRUE(bench.boots_as_itself(slot)) << slot;
    const std::string name = to_string(bench.ports().board(slot).mac());
    const auto* thing = world.thing(name);
    ASSERT_TRUE(thing) << slot;
    EXPECT_EQ(thing->type, AwsWorld::thing_type);
    EXPECT_EQ(thing->attributes.at("owner"), "hello@iotready.co");
    const auto* certificate = world.certificate(bench.device(slot)->certificate->sha256);
    ASSERT_TRUE(certificate) << slot;
    EXPECT_EQ(certificate->status, "ACTIVE");
    const std::string id = thing->certificates.begin()->first;
    EXPECT_TRUE(world.account.allowed(id, name, "iot:Connect"));
    EXPECT_TRUE(world.account.allowed(id, name, "iot:Publish", "thermostat/" + name + "/temperature"));
    EXPECT_TRUE(world.account.allowed(id, name, "iot:Publish", "$aws/things/" + name + "/shadow/update"));
    EXPECT_FALSE(world.account.allowed(id, name, "iot:Publish", "thermostat/somebody/temperature"));
    EXPECT_FALSE(world.account.allowed(id, "somebody", "iot:Connect"));
  }
  expect_agreed(world, bench);
  EXPECT_TRUE(world.findings(bench.ledger()).empty()) << words_of(world.findings(bench.ledger()));
}

TEST(AwsLine, TakesFiveCallsForABoardThatTheLedgerKnowsAndTakesTheOldCertificateBack) {
  OneBoard one{2};
  ASSERT_EQ(one.run(), Exit::good) << why(one.bench, "a");
  one.world.calls_since();
  ASSERT_EQ(one.renew(), Exit::good) << why(one.bench, "a");
  const Counts five_and_revoking{
      {"CreateCertificateFromCsr", 1}, {"AttachPolicy", 1},         {"CreateThing", 1},
      {"AttachThingPrincipal", 1},     {"UpdateCertificate", 2},    {"ListPrincipalThings", 1},
      {"DetachThingPrincipal", 1},     {"ListAttachedPolicies", 1}, {"DetachPolicy", 1}};
  EXPECT_EQ(one.world.calls_since(), five_and_revoking);
  expect_healthy(one.world, one.bench);
}

TEST(AwsLine, HidesEnrolmentBehindTheFlash) {
  const sim::BoardOptions real{.preset = "fast"};
  double alone = 0;
  {
    Bench bench{Seed{3}};
    bench.plan = bench_plan(512_KiB);
    bench.plug_in("a", real);
    bench.run(once("a"));
    alone = last(bench, "a").record.seconds;
  }
  OneBoard one{3, {}, real};
  one.bench.plan = bench_plan(512_KiB);
  ASSERT_EQ(one.run(), Exit::good) << why(one.bench, "a");
  const double with_cloud = last(one.bench, "a").record.seconds;
  RecordProperty("local_ms", static_cast<int>(alone * 1000));
  RecordProperty("aws_ms", static_cast<int>(with_cloud * 1000));
  EXPECT_GT(alone, 1.0) << "a flash to hide behind";
  EXPECT_LE(with_cloud, alone + 0.050);
}

// ---------------------------------------------------------------------------------------------------- things

/// What lies where the identity belongs, before anything is written there.
bool is_blank(Bench& bench) {
  const FlashRange& range = bench.plan.images.front().partition.range;
  auto flash = bench.flash("a").subspan(range.at.bytes, range.size);
  return std::all_of(flash.begin(), flash.end(), [](std::uint8_t byte) { return byte == 0xff; });
}

TEST(AwsLine, HoldsABoardWhoseThingIsSomebodyElses) {
  OneBoard one{4};
  one.make_thing(R"({"attributePayload":{"attributes":{"owner":"somebody"}}})");
  const std::string id = one.world.thing(one.name)->id;
  EXPECT_EQ(one.run(), Exit::board_failed);
  EXPECT_EQ(last(one.bench, "a").verdict, Verdict::held);
  EXPECT_EQ(last(one.bench, "a").fault->code, Code::thing_foreign);
  EXPECT_TRUE(is_blank(one.bench)) << "nothing was exposed";
  const auto* thing = one.world.thing(one.name);
  EXPECT_EQ(thing->id, id);
  EXPECT_EQ(thing->attributes.size(), 1u) << "it is as it was";
  EXPECT_TRUE(thing->certificates.empty());
  ASSERT_EQ(one.world.account.account().certificates.size(), 1u);
  const auto& left = one.world.account.account().certificates.begin()->second;
  EXPECT_EQ(left.status, "INACTIVE");
  EXPECT_TRUE(left.policies.empty()) << "taken back";
  expect_healthy(one.world, one.bench);
  EXPECT_TRUE(one.world.account.account().certificates.empty());
  EXPECT_TRUE(one.world.thing(one.name)) << "what is not ours is not deleted";
}

TEST(AwsLine, AdoptsAThingWhereTheRecipeSaysSo) {
  OneBoard one{5, {.adopt = true}};
  one.make_thing(R"({"attributePayload":{"attributes":{"colour":"red"}}})");
  const std::string id = one.world.thing(one.name)->id;
  EXPECT_EQ(one.run(), Exit::good) << why(one.bench, "a");
  const auto* thing = one.world.thing(one.name);
  EXPECT_EQ(thing->id, id);
  EXPECT_EQ(thing->attributes.at("colour"), "red");
  EXPECT_EQ(thing->attributes.at("owner"), "hello@iotready.co");
  expect_healthy(one.world, one.bench);
}

TEST(AwsLine, NeverDeletesAThingThatItAdopted) {
  OneBoard one{6, {.adopt = true}};
  one.make_thing(R"({"attributePayload":{"attributes":{"colour":"red"}}})");
  // The thing bears our mark from now on; its board is pulled before it gets anything.
  one.bench.listener.when_step = [&](const std::string&, Step step) {
    if (step == Step::flash_identity) one.bench.ports().unplug("a");
  };
  EXPECT_NE(one.run(), Exit::good);
  EXPECT_TRUE(one.world.thing(one.name)->attributes.contains("espmint"));
  expect_healthy(one.world, one.bench);
  ASSERT_TRUE(one.world.thing(one.name)) << "a customer's thing is gone";
  EXPECT_EQ(one.world.thing(one.name)->attributes.at("colour"), "red");
}

TEST(AwsLine, LeavesAThingItsIdItsAttributesAndItsGroupsWhenABoardIsPreparedAgain) {
  OneBoard one{7};
  ASSERT_EQ(one.run(), Exit::good) << why(one.bench, "a");
  auto group = one.call_as_admin({"CreateThingGroup", "POST", "/thing-groups/kitchen", {}, {}, "{}"});
  ASSERT_TRUE(group && group->good());
  auto joined = one.call_as_admin({"AddThingToThingGroup",
                                   "PUT",
                                   "/thing-groups/addThingToThingGroup",
                                   {},
                                   {},
                                   R"({"thingGroupName":"kitchen","thingName":")" + one.name + "\"}"});
  ASSERT_TRUE(joined && joined->good());
  auto painted = one.call_as_admin({"UpdateThing",
                                    "PATCH",
                                    "/things/" + one.name,
                                    {},
                                    {},
                                    R"({"attributePayload":{"attributes":{"colour":"red"},"merge":true}})"});
  ASSERT_TRUE(painted && painted->good());
  const std::string id = one.world.thing(one.name)->id;
  ASSERT_EQ(one.renew(), Exit::good) << why(one.bench, "a");
  const auto* thing = one.world.thing(one.name);
  EXPECT_EQ(thing->id, id);
  EXPECT_EQ(thing->attributes.at("colour"), "red");
  EXPECT_TRUE(thing->groups.contains("kitchen"));
  expect_healthy(one.world, one.bench);
}

TEST(AwsLine, PutsEachThingIntoTheGroupsOfTheRecipe) {
  OneBoard one{8, {.groups = {"kitchen"}}};
  auto group = one.call_as_admin({"CreateThingGroup", "POST", "/thing-groups/kitchen", {}, {}, "{}"});
  ASSERT_TRUE(group && group->good());
  ASSERT_EQ(one.run(), Exit::good) << why(one.bench, "a");
  EXPECT_TRUE(one.world.thing(one.name)->groups.contains("kitchen"));
}

// ---------------------------------------------------------------------------------------------------- certificates

TEST(AwsLine, MakesBeforeItBreaksWhenABoardIsRenewed) {
  OneBoard one{9};
  ASSERT_EQ(one.run(), Exit::good) << why(one.bench, "a");
  const Sha256 before = one.certificate();
  std::vector<std::string> seen;
  one.bench.listener.when_step = [&](const std::string&, Step step) {
    if (step != Step::flash_identity && step != Step::evidence && step != Step::record) return;
    std::string active;
    for (const auto& [id, certificate] : one.world.account.account().certificates)
      if (certificate.status == "ACTIVE") active += sha256_of(certificate.der) == before ? "old " : "new ";
    seen.push_back(active);
  };
  ASSERT_EQ(one.renew(), Exit::good) << why(one.bench, "a");
  EXPECT_EQ(seen, (std::vector<std::string>{"old ", "old ", "old "})) << "until the new one is VERIFIED";
  wait(one.bench, 10s);
  EXPECT_EQ(one.world.certificate(before)->status, "INACTIVE");
  EXPECT_TRUE(one.world.certificate(before)->things.empty());
  EXPECT_EQ(one.world.certificate(one.certificate())->status, "ACTIVE");
  expect_healthy(one.world, one.bench);
}

TEST(AwsLine, LeavesTheOldCertificateToABoardWhoseRenewalIsNotProved) {
  OneBoard one{10};
  ASSERT_EQ(one.run(), Exit::good) << why(one.bench, "a");
  const Sha256 before = one.certificate();
  one.bench.listener.when_step = [&](const std::string&, Step step) {
    if (step == Step::evidence) one.bench.ports().unplug("a");
  };
  EXPECT_NE(one.renew(), Exit::good);
  const Doctored doctored = one.world.doctor(one.bench.ledger());
  EXPECT_EQ(doctored.left(), 0u) << words_of(doctored.after);
  ASSERT_TRUE(one.world.certificate(before));
  EXPECT_EQ(one.world.certificate(before)->status, "ACTIVE") << "the board may still have it";
  // It comes back: finished with the identity that it was exposed to, or with another one.
  one.bench.listener.when_step = nullptr;
  one.bench.ports().plug("a");
  EXPECT_EQ(one.run(), Exit::good) << why(one.bench, "a");
  EXPECT_NE(one.certificate(), before);
  expect_healthy(one.world, one.bench);
  EXPECT_FALSE(one.world.certificate(before)) << "proved: now it is gone";
}

TEST(AwsLine, DetachesForeignCertificatesOfTheThingWithoutDeletingThem) {
  OneBoard one{11};
  one.make_thing(R"({"thingTypeName":"thermostat","attributePayload":{"attributes":{"espmint":"thermostat"}}})");
  const PrivateKey key = *mint_key(KeyKind::ec_p256);
  auto foreign = value_of(one.bench.signer().sign(*request_for(one.name, *build_csr(key, one.name)), *mint_serial()));
  const std::string id =
      one.world.account.account().add_certificate(foreign.der, "ACTIVE", "SNI_ONLY", {}, one.bench.loop.wall());
  const std::string arn = one.world.account.account().arn("cert", id);
  auto attached = one.call_as_admin(
      {"AttachThingPrincipal", "PUT", "/things/" + one.name + "/principals", {}, {{"x-amzn-principal", arn}}, {}});
  ASSERT_TRUE(attached && attached->good());
  ASSERT_EQ(one.run(), Exit::good) << why(one.bench, "a");
  ASSERT_TRUE(one.world.certificate(foreign.sha256)) << "never deleted";
  wait(one.bench, 10s);
  EXPECT_EQ(one.world.certificate(foreign.sha256)->status, "INACTIVE");
  EXPECT_TRUE(one.world.certificate(foreign.sha256)->things.empty());
  expect_agreed(one.world, one.bench, {foreign.sha256});
}

// ---------------------------------------------------------------------------------------------------- faults

/// Boards one after the other in each slot, as an operator brings them: one that failed is plugged in again.
class Operator {
 public:
  Operator(Bench& bench, std::vector<std::string> slots, int boards) : bench_(bench), left_(boards) {
    for (const std::string& slot : slots) {
      bench.plug_in(slot);
      bench.ports().replace(slot, next_mac());
      --left_;
      bench.loop.spawn(serve(slot));
    }
  }
  /// Until all are VERIFIED.
  LineSummary run(std::vector<std::string> slots, Duration limit) {
    LineOptions options;
    options.ports = std::move(slots);
    busy_ = static_cast<int>(options.ports.size());
    return bench_.run(options, limit);
  }
  int again = 0;
  std::vector<std::string> macs;

 private:
  Mac next_mac() {
    const auto n = static_cast<std::uint16_t>(macs.size());
    Mac mac{{0x24, 0xd7, 0xeb, 0x55, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)}};
    macs.push_back(to_string(mac));
    return mac;
  }
  Task<> serve(std::string slot) {
    std::size_t seen = 0;
    for (;;) {
      while (bench_.listener.done[slot].size() == seen) co_await bench_.loop.sleep_for(20ms);
      seen = bench_.listener.done[slot].size();
      co_await bench_.loop.sleep_for(200ms);
      if (bench_.listener.done[slot].back().verdict != Verdict::verified) {
        ++again;
        bench_.ports().unplug(slot);
        co_await bench_.loop.sleep_for(1s);
        bench_.ports().plug(slot);
      } else if (left_ > 0) {
        --left_;
        bench_.ports().swap(slot, next_mac());
      } else {
        if (--busy_ == 0) bench_.interrupt();
        co_return;
      }
    }
  }
  Bench& bench_;
  int left_, busy_ = 0;
};

TEST(AwsLine, TellsNothingTwiceWhileBoardsComeAndGo) {
  Bench bench{Seed{19}};
  AwsWorld world{bench.loop};
  bench.cloud = &world.cloud();
  const auto slots = slots_named(4);
  Operator hands{bench, slots, 100};
  world.calls_since();
  hands.run(slots, 1h);
  EXPECT_EQ(hands.again, 0);
  EXPECT_EQ(total(world.calls_since()), 600u);
  expect_healthy(world, bench);
}

class AwsFaults : public testing::TestWithParam<const char*> {};

// Every second call goes wrong, for a shift of a hundred boards.
TEST_P(AwsFaults, LeaveNoBoardBehindAndNoOrphan) {
  Bench bench{Seed{20}};
  AwsWorld world{bench.loop};
  bench.cloud = &world.cloud();
  ASSERT_TRUE(world.account.faults().add(GetParam(), bench.loop.now()));
  const auto slots = slots_named(4);
  Operator hands{bench, slots, 100};
  hands.run(slots, 4h);
  ASSERT_TRUE(world.account.faults().add("none"));
  ASSERT_EQ(hands.macs.size(), 100u);
  for (const std::string& mac : hands.macs) {
    auto device = bench.ledger().device(mac);
    ASSERT_TRUE(device && *device) << mac;
    EXPECT_EQ((*device)->state, KeyState::verified) << mac;
  }
  // `cloud sync`, for what was still to be told when the line ended.
  value_of(run_task(bench.loop, reconcile(world.cloud(), bench.ledger(), *make_inline_pool(), {})));
  EXPECT_TRUE(value_of(bench.ledger().open_intents()).empty());
  expect_healthy(world, bench);
  RecordProperty("plugged_in_again", hands.again);
  const bool is_script = std::string_view{GetParam()}.find("@") != std::string_view::npos;
  EXPECT_LE(hands.again, is_script ? 5 : 100) << "hardly a hand is needed";
  RecordProperty("calls", static_cast<int>(total(world.calls_since())));
}
INSTANTIATE_TEST_SUITE_P(EverySecondCall, AwsFaults,
                         testing::Values("cut-after@2", "cut-before@2", "throttle@2", "error@2", "error-after@2",
                                         "unavailable@2", "refuse@2", "twice@2", "late@2", "garbage=0.1"),
                         [](const auto& of) {
                           std::string name = of.param;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
                           return name;
                         });

TEST(AwsLine, NeverRepeatsAnIssuanceWhoseReplyWasLost) {
  Bench bench{Seed{21}};
  AwsWorld world{bench.loop};
  bench.cloud = &world.cloud();
  ASSERT_TRUE(world.account.faults().add("cut-after@2:CreateCertificateFromCsr"));
  const auto slots = slots_named(4);
  Operator hands{bench, slots, 20};
  hands.run(slots, 1h);
  const auto& certificates = world.account.account().certificates;
  EXPECT_GE(certificates.size(), 30u) << "every second reply was lost";
  std::set<Bytes> keys;
  for (const auto& [id, one] : certificates) keys.insert(parse_certificate(one.der)->public_key_der);
  EXPECT_EQ(keys.size(), certificates.size()) << "each was asked for with a key of its own";
  EXPECT_EQ(world.account.calls_of("CreateCertificateFromCsr"), certificates.size());
  expect_healthy(world, bench);
}

TEST(AwsLine, CorrectsAClockThatIsTenMinutesOff) {
  for (int skew : {-600, 600}) {
    OneBoard one{22};
    ASSERT_TRUE(one.world.account.faults().add("skew=" + std::to_string(skew)));
    one.world.restart();
    ASSERT_TRUE(one.world.started) << describe(one.world.started.error());
    EXPECT_EQ(one.run(), Exit::good) << why(one.bench, "a");
    EXPECT_EQ(one.world.client().clock_offset(), std::chrono::seconds{skew});
    expect_healthy(one.world, one.bench);
  }
}

TEST(AwsLine, StopsAtAMissingPermissionNamesItAndExposesNothing) {
  const std::string rights = R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"},
    {"Effect":"Deny","Action":"iot:AttachPolicy","Resource":"*"}]})";
  Bench bench{Seed{23}};
  AwsWorld world{bench.loop, {.station_rights = rights}};
  bench.cloud = &world.cloud();
  const auto slots = slots_named(4);
  for (const auto& slot : slots) bench.plug_in(slot);
  const LineSummary summary = bench.run(on(slots, 4));
  EXPECT_EQ(summary.passed, 0u);
  EXPECT_EQ(summary.exit(), Exit::cloud);
  ASSERT_TRUE(summary.stopped_by);
  EXPECT_NE(describe(*summary.stopped_by).find("iot:AttachPolicy"), std::string::npos) << describe(*summary.stopped_by);
  for (const auto& slot : slots) {
    auto device = bench.device(slot);
    EXPECT_TRUE(!device || device->state == KeyState::available) << slot;
  }
  expect_healthy(world, bench);
}

// ---------------------------------------------------------------------------------------------------- own CA

TEST(AwsLine, KeepsItsRhythmWithoutACloudUntilTooMuchWaits) {
  Bench bench{Seed{30}};
  AwsWorld world{bench.loop, {.issuance = aws::Issuance::own_ca, .signer = &bench.signer()}};
  bench.cloud = &world.cloud();
  ASSERT_TRUE(world.account.faults().add("rate=aws"));
  ASSERT_TRUE(world.account.faults().add("outage=10..28810", bench.loop.now()));
  bench.backlog.limit = 60;
  const auto slots = slots_named(4);
  Operator hands{bench, slots, 200};
  std::vector<double> before, during;
  const Instant start = bench.loop.now();
  bench.listener.when_done = [&](const std::string&, const RunOutcome& outcome) {
    if (outcome.verdict != Verdict::verified) return;
    (bench.loop.now() - start < 10s ? before : during).push_back(outcome.record.seconds);
  };
  const LineSummary summary = hands.run(slots, 7h);
  ASSERT_TRUE(summary.stopped_by);
  EXPECT_EQ(summary.stopped_by->code, Code::cloud_backlog);
  EXPECT_EQ(summary.exit(), Exit::cloud);
  ASSERT_FALSE(before.empty());
  ASSERT_GE(during.size(), 40u);
  EXPECT_LE(*std::max_element(during.begin(), during.end()), *std::max_element(before.begin(), before.end()) * 1.02);
  const std::size_t waiting = value_of(bench.ledger().boards_to_tell());
  EXPECT_GE(waiting, 60u);
  EXPECT_LE(waiting, 64u) << "those under way when the limit was reached";
}

TEST(AwsLine, DrainsAfterAnOutageWithoutAStorm) {
  Bench bench{Seed{31}};
  AwsWorld world{bench.loop, {.issuance = aws::Issuance::own_ca, .signer = &bench.signer()}};
  bench.cloud = &world.cloud();
  ASSERT_TRUE(world.account.faults().add("rate=aws"));
  ASSERT_TRUE(world.account.faults().add("outage=0..28800", bench.loop.now()));
  const auto slots = slots_named(4);
  constexpr int boards = 200;
  Operator hands{bench, slots, boards};
  hands.run(slots, 8h);
  EXPECT_EQ(value_of(bench.ledger().boards_to_tell()), static_cast<std::size_t>(boards));
  const std::uint64_t tried = total(world.calls_since());
  RecordProperty("calls_during_outage", static_cast<int>(tried));
  // `cloud sync`, when the internet is back.
  wait(bench, 28900s - bench.loop.now().time_since_epoch());
  world.restart();
  world.calls_since();
  auto pool = make_inline_pool();
  DiceEntropy entropy{5};
  Backlog backlog{bench.loop, entropy, world.cloud(), bench.ledger(), *pool, {}, [](const std::string&) {}};
  const Instant start = bench.loop.now();
  bench.loop.spawn(backlog.work());
  const std::size_t left = run_task(bench.loop, backlog.settle_until(start + 1h));
  bench.loop.run(backlog.finish());
  EXPECT_EQ(left, 0u);
  const auto calls = world.calls_since();
  constexpr double needed = 6.0 * boards;  // register, policy, thing, attach, activate, retire
  EXPECT_LE(static_cast<double>(total(calls)), needed * 1.3);
  RecordProperty("calls_per_thousand_needed", static_cast<int>(static_cast<double>(total(calls)) / needed * 1000));
  RecordProperty("drain_seconds", static_cast<int>((bench.loop.now() - start) / 1s));
  expect_healthy(world, bench);
}

}  // namespace
}  // namespace espmint
