// The way into the virtual cloud: permissions, throttles, faults, and what devices may do.
#include "sim/cloud/iot.hpp"

#include <gtest/gtest.h>

#include "io/loop.hpp"
#include "io/run_task.hpp"
#include "sim/cloud/caller_for_tests.hpp"
#include "sim/cloud/link.hpp"

namespace espmint::sim {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr std::string_view device_policy = R"({"Version":"2012-10-17","Statement":[
  {"Effect":"Allow","Action":"iot:Connect","Resource":"arn:aws:iot:eu-central-1:123456789012:client/${iot:Connection.Thing.ThingName}",
   "Condition":{"Bool":{"iot:Connection.Thing.IsAttached":"true"}}},
  {"Effect":"Allow","Action":["iot:Publish","iot:Receive"],"Resource":[
   "arn:aws:iot:eu-central-1:123456789012:topic/dev/${iot:Connection.Thing.ThingName}/*",
   "arn:aws:iot:eu-central-1:123456789012:topic/$aws/things/${iot:Connection.Thing.ThingName}/shadow/*"]},
  {"Effect":"Allow","Action":"iot:Subscribe","Resource":"arn:aws:iot:eu-central-1:123456789012:topicfilter/dev/${iot:Connection.Thing.ThingName}/*"}]})";

struct World {
  VirtualLoop loop;
  Iot cloud{loop, {.seed = 4711}};
  Caller caller{cloud, loop};

  void let_pass(Duration duration) {
    loop.run([](VirtualLoop& clock, Duration time) -> Task<> { co_await clock.sleep_for(time); }(loop, duration));
  }
  /// A certificate's id.
  std::string certificate(bool active = false) {
    Device device;
    return caller
        .call("POST", active ? "/certificates?setAsActive=true" : "/certificates",
              {{"certificateSigningRequest", device.csr("board")}})
        .text("certificateId");
  }
  std::string arn(const std::string& id) { return cloud.account().arn("cert", id); }
};

TEST(VirtualIot, AnEnrolmentAsAStationDoesIt) {
  World w;
  EXPECT_TRUE(w.caller.call("POST", "/policies/device", {{"policyDocument", device_policy}}).good());
  w.caller.be(w.cloud.station());
  std::string id = w.certificate();
  ASSERT_EQ(id.size(), 64u);
  EXPECT_TRUE(w.caller.call("PUT", "/target-policies/device", {{"target", w.arn(id)}}).good());
  EXPECT_TRUE(
      w.caller.call("POST", "/things/24d7eb123456", {{"attributePayload", {{"attributes", {{"owner", "a@b.c"}}}}}})
          .good());
  EXPECT_TRUE(w.caller.call("PUT", "/things/24d7eb123456/principals", {}, w.arn(id)).good());
  EXPECT_FALSE(w.cloud.allowed(id, "24d7eb123456", "iot:Connect"));
  EXPECT_TRUE(w.caller.call("PUT", "/certificates/" + id + "?newStatus=ACTIVE").good());
  EXPECT_TRUE(w.cloud.allowed(id, "24d7eb123456", "iot:Connect"));
  EXPECT_EQ(w.caller.call("GET", "/endpoint?endpointType=iot%3AData-ATS").text("endpointAddress"),
            w.cloud.account().data_endpoint);
}

TEST(VirtualIot, ADeviceMayOnlyWhatItsPolicySays) {
  World w;
  w.caller.call("POST", "/policies/device", {{"policyDocument", device_policy}});
  std::string id = w.certificate(true);
  w.caller.call("PUT", "/target-policies/device", {{"target", w.arn(id)}});
  w.caller.call("POST", "/things/one", json::object());
  w.caller.call("POST", "/things/two", json::object());
  EXPECT_FALSE(w.cloud.allowed(id, "one", "iot:Connect")) << "not attached yet";
  w.caller.call("PUT", "/things/one/principals", {}, w.arn(id));
  EXPECT_TRUE(w.cloud.allowed(id, "one", "iot:Connect"));
  EXPECT_FALSE(w.cloud.allowed(id, "two", "iot:Connect"));
  EXPECT_TRUE(w.cloud.allowed(id, "one", "iot:Publish", "dev/one/temperature"));
  EXPECT_FALSE(w.cloud.allowed(id, "one", "iot:Publish", "dev/two/temperature"));
  EXPECT_TRUE(w.cloud.allowed(id, "one", "iot:Publish", "$aws/things/one/shadow/update"));
  EXPECT_FALSE(w.cloud.allowed(id, "one", "iot:Publish", "$aws/things/two/shadow/update"));
  EXPECT_TRUE(w.cloud.allowed(id, "one", "iot:Subscribe", "dev/one/#"));
  EXPECT_FALSE(w.cloud.allowed(id, "one", "iot:Subscribe", "dev/#"));
  w.caller.call("PUT", "/certificates/" + id + "?newStatus=INACTIVE");
  EXPECT_FALSE(w.cloud.allowed(id, "one", "iot:Connect"));
}

TEST(VirtualIot, AValueInAPolicyIsNoWildcard) {
  World w;
  w.caller.call("POST", "/policies/client",
                {{"policyDocument", R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Action":"iot:*","Resource":"arn:aws:iot:eu-central-1:123456789012:topic/${iot:ClientId}/x"}]})"}});
  std::string id = w.certificate(true);
  w.caller.call("PUT", "/target-policies/client", {{"target", w.arn(id)}});
  EXPECT_TRUE(w.cloud.allowed(id, "a", "iot:Publish", "a/x"));
  EXPECT_FALSE(w.cloud.allowed(id, "*", "iot:Publish", "a/x"));
}

TEST(VirtualIot, WhoMayNotIsToldWhat) {
  World w;
  w.caller.be(w.cloud.station());
  Said said = w.caller.call("POST", "/policies/device", {{"policyDocument", device_policy}});
  EXPECT_EQ(said.status, 403);
  EXPECT_EQ(said.error, "AccessDeniedException");
  EXPECT_EQ(said.text("message"),
            "User: arn:aws:iam::123456789012:user/station is not authorized to perform: iot:CreatePolicy on resource: "
            "arn:aws:iot:eu-central-1:123456789012:policy/device because no identity-based policy allows the "
            "iot:CreatePolicy action");
  EXPECT_EQ(w.caller.call("DELETE", "/things/a").error, "AccessDeniedException");
  EXPECT_TRUE(w.cloud.account().policies.empty());

  auto user = w.cloud.add_user("half", R"({"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"iot:*","Resource":"*"},
    {"Effect":"Deny","Action":"iot:Delete*","Resource":"*"},
    {"Effect":"Deny","Action":"iot:CreateThing","Resource":"arn:aws:iot:*:*:thing/forbidden*"}]})");
  ASSERT_TRUE(user);
  w.caller.be(**user);
  EXPECT_EQ(w.caller.call("DELETE", "/things/a").error, "AccessDeniedException");
  EXPECT_EQ(w.caller.call("POST", "/things/forbidden1", json::object()).error, "AccessDeniedException");
  EXPECT_TRUE(w.caller.call("POST", "/things/free", json::object()).good());
}

TEST(VirtualIot, AQuotaIsHeldByItsClock) {
  World w;
  ASSERT_TRUE(w.cloud.faults().add("rate=2:DescribeThing"));
  w.caller.call("POST", "/things/a", json::object());
  EXPECT_TRUE(w.caller.call("GET", "/things/a").good());
  EXPECT_TRUE(w.caller.call("GET", "/things/a").good());
  Said said = w.caller.call("GET", "/things/a");
  EXPECT_EQ(said.error, "ThrottlingException");
  EXPECT_TRUE(said.status == 400 || said.status == 429);
  w.let_pass(600ms);
  EXPECT_TRUE(w.caller.call("GET", "/things/a").good());
}

/// What a client sees of one request through the link.
std::string seen(World& w, const std::string& method, const std::string& target, const std::string& body = {}) {
  auto http = connect_to(w.cloud, w.loop, {.latency = 200ms});
  CloudRequest signed_one = w.caller.request(method, target, body);
  HttpRequest request{.method = method, .url = w.cloud.url() + target, .headers = signed_one.headers, .body = body};
  request.timeout = 1s;
  auto reply = run_task(w.loop, http->send(std::move(request)));
  if (reply) return std::to_string(reply->status);
  EXPECT_EQ(reply.error().code, Code::cloud_unreachable);
  return reply.error().remedy == Remedy::retry ? "retry" : "reconcile";
}

struct MishapCase {
  const char* fault;
  const char* seen;
  std::size_t things;  // that there are afterwards
};

TEST(VirtualIot, EachMishapIsWhatItSays) {
  for (const MishapCase& one :
       {MishapCase{"cut-before@1", "reconcile", 0}, MishapCase{"cut-after@1", "reconcile", 1},
        MishapCase{"refuse@1", "retry", 0}, MishapCase{"outage=0..60", "retry", 0}, MishapCase{"error@1", "500", 0},
        MishapCase{"error-after@1", "500", 1}, MishapCase{"unavailable@1", "503", 0},
        MishapCase{"late@1", "reconcile", 1}, MishapCase{"garbage@1", "200", 1}, MishapCase{"portal@1", "200", 0},
        MishapCase{"twice@1", "200", 1}, MishapCase{"skew=-600", "403", 0}, MishapCase{"cut-after@2", "200", 1},
        MishapCase{"cut-after@1:DeleteThing", "200", 1}}) {
    World w;
    ASSERT_TRUE(w.cloud.faults().add(one.fault, w.loop.now())) << one.fault;
    EXPECT_EQ(seen(w, "POST", "/things/a", "{}"), one.seen) << one.fault;
    EXPECT_EQ(w.cloud.account().things.size(), one.things) << one.fault;
  }
}

TEST(VirtualIot, ACallTakesItsTime) {
  World w;
  Instant before = w.loop.now();
  EXPECT_EQ(seen(w, "POST", "/things/a", "{}"), "200");
  EXPECT_EQ(w.loop.now() - before, 200ms);
}

TEST(VirtualIot, ChancesComeFromTheSeed) {
  auto story = [](std::uint64_t seed) {
    CloudFaults faults{seed};
    EXPECT_TRUE(faults.add("cut-after=0.25"));
    std::string out;
    for (int i = 0; i < 400; ++i) out.push_back(faults.next("CreateThing", Instant{}) == Mishap::none ? '.' : 'x');
    return out;
  };
  EXPECT_EQ(story(1), story(1));
  EXPECT_NE(story(1), story(2));
  std::string one = story(1);
  EXPECT_NEAR(static_cast<double>(std::count(one.begin(), one.end(), 'x')), 100, 30);
}

TEST(VirtualIot, FaultsThatAreNoneAreRefused) {
  CloudFaults faults;
  for (const char* text : {"", "cut", "cut-after", "cut-after=2", "cut-after@0", "outage=5", "outage=9..3", "rate=x"})
    EXPECT_FALSE(faults.add(text)) << text;
}

TEST(VirtualIot, OneSeedIsOneCloud) {
  VirtualLoop loop;
  Iot a{loop, {.seed = 5}}, b{loop, {.seed = 5}}, c{loop, {.seed = 6}};
  EXPECT_EQ(a.admin().key.secret, b.admin().key.secret);
  EXPECT_EQ(a.account().data_endpoint, b.account().data_endpoint);
  EXPECT_NE(a.admin().key.secret, c.admin().key.secret);
}

TEST(VirtualIot, StateTellsEverythingButKeys) {
  World w;
  w.certificate();
  w.caller.call("POST", "/things/a", json::object());
  json state = w.cloud.state();
  EXPECT_TRUE(state["things"].contains("a"));
  EXPECT_EQ(state["certificates"].size(), 1u);
  EXPECT_EQ(state["calls"]["CreateThing"]["effective"], 1);
  EXPECT_EQ(state.dump().find(w.cloud.admin().key.secret), std::string::npos);
}

}  // namespace
}  // namespace espmint::sim
