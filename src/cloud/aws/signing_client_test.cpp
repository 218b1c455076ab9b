#include "cloud/aws/signing_client.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "base/text.hpp"
#include "cloud/aws/sigv4.hpp"
#include "io/event.hpp"
#include "io/run_task.hpp"

namespace espmint::aws {
namespace {

using namespace std::chrono_literals;
using Script = std::function<Result<HttpReply>(const HttpRequest&)>;

/// Answers by a script, each request `latency` after it was sent, and keeps what was sent and when.
class ScriptedHttp final : public HttpClient {
 public:
  explicit ScriptedHttp(Clock& clock) : clock_(clock) {}
  Task<Result<HttpReply>> send(HttpRequest request) override {
    sent.push_back(request);
    moments.push_back(clock_.now());
    Result<HttpReply> reply = script(request);
    co_await clock_.sleep_for(latency);
    co_return reply;
  }
  Script script;
  Duration latency = 200ms;
  std::vector<HttpRequest> sent;
  std::vector<Instant> moments;

 private:
  Clock& clock_;
};

/// Keys that differ after each forget().
class TestKeys final : public CredentialSource {
 public:
  Task<Result<Credentials>> get() override {
    if (missing) co_return fail({Code::credentials_missing, Remedy::refuse, "no keys"});
    Credentials keys;
    keys.access_key_id = "AKID" + std::to_string(forgotten);
    keys.secret_access_key = Secret{to_bytes("secret")};
    keys.session_token = Secret{to_bytes("token")};
    keys.from = "profile factory";
    co_return keys;
  }
  void forget() override { ++forgotten; }
  int forgotten = 0;
  bool missing = false;
};

/// Several at once may live, unlike those that seed OpenSSL too.
class TestDice final : public Entropy {
 public:
  void fill(ByteSpan out) override {
    for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random_());
  }

 private:
  std::mt19937 random_{4711};
};

HttpReply good(std::string body = R"({"ok":true})") { return {200, {}, std::move(body)}; }
HttpReply error(int status, std::string type, std::string message = "no") {
  return {status, {{"x-amzn-ErrorType", std::move(type)}}, "{\"message\":\"" + message + "\"}"};
}
Result<HttpReply> unreachable(Remedy remedy) {
  return fail({Code::cloud_unreachable, remedy, "no connection", {}, "refused"});
}

/// One after the other; the last one for ever.
Script in_turn(std::vector<Result<HttpReply>> replies) {
  auto at = std::make_shared<std::size_t>(0);
  return
      [replies = std::move(replies), at](const HttpRequest&) { return replies[std::min((*at)++, replies.size() - 1)]; };
}

Call describe_thing() { return {"DescribeThing", "GET", "/things/24d7eb123456", {}, {}, "", true}; }
Call issue() {
  return {"CreateCertificateFromCsr", "POST", "/certificates", {{"setAsActive", "false"}}, {}, "{}", false};
}

struct World {
  VirtualLoop loop;
  ScriptedHttp http{loop};
  TestKeys keys;
  TestDice entropy;
  SigningClient client;

  explicit World(Script script = {}, std::string_view url = "https://iot.eu-central-1.amazonaws.com")
      : client(http, keys, loop, entropy, {"eu-central-1", *parse_endpoint(url)}) {
    http.script = script ? std::move(script) : in_turn({good()});
  }
  Result<Answer> run(Call call) { return run_task(loop, client.call(std::move(call))); }
  std::string sent_header(std::size_t request, std::string_view name) {
    HttpReply as_reply{0, http.sent.at(request).headers, ""};
    return std::string{as_reply.header(name)};
  }
};

/// Many at once; what each got, in the order they ended.
std::vector<Result<Answer>> run_all(World& world, std::vector<Call> calls) {
  struct Shared {
    std::vector<Result<Answer>> out;
    std::size_t left;
    Event all;
  } shared{{}, calls.size(), {}};
  auto one = [](World& in, Call call, Shared& to) -> Task<> {
    to.out.push_back(co_await in.client.call(std::move(call)));
    if (--to.left == 0) to.all.set();
  };
  for (Call& call : calls) world.loop.spawn(one(world, std::move(call), shared));
  world.loop.run(shared.all.wait());
  return std::move(shared.out);
}

TEST(SigningClient, SendsWhatItSigned) {
  World world{{}, "http://Localhost:5000/aws/"};
  Call call{"AttachThingPrincipal",
            "PUT",
            "/things/" + encode_label("24:d7") + "/principals",
            {{"b", "x y"}, {"a", ""}},
            {{"x-amzn-principal", "arn:aws:iot:x"}, {"accept", "*/*"}},
            "{}"};
  auto answer = world.run(call);
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->body, R"({"ok":true})");
  const HttpRequest& sent = world.http.sent.at(0);
  EXPECT_EQ(sent.method, "PUT");
  EXPECT_EQ(sent.url, "http://localhost:5000/aws/things/24%3Ad7/principals?b=x%20y&a=");
  EXPECT_EQ(sent.body, "{}");
  EXPECT_EQ(world.sent_header(0, "content-type"), "application/json");
  EXPECT_EQ(world.sent_header(0, "x-amz-security-token"), "token");
  Signature expected =
      sign({"PUT",
            "/aws/things/24%3Ad7/principals",
            "b=x%20y&a=",
            {{"host", "localhost:5000"}, {"content-type", "application/json"}, {"x-amzn-principal", "arn:aws:iot:x"}},
            "{}"},
           {"AKID0", as_bytes("secret"), "token"}, {"eu-central-1", "iot", WallTime{1'760'000'000s}});
  EXPECT_EQ(world.sent_header(0, "authorization"), expected.headers.back().value);
}

TEST(SigningClient, HasNoContentTypeWithoutABody) {
  World world;
  ASSERT_TRUE(world.run({"CreateKeysAndCertificate", "POST", "/keys-and-certificate"}));
  EXPECT_EQ(world.sent_header(0, "content-type"), "");
  EXPECT_NE(world.sent_header(0, "authorization").find("SignedHeaders=host;x-amz-date;x-amz-security-token,"),
            std::string::npos);
}

TEST(SigningClient, AnErrorThatMeansSomethingIsAnAnswer) {
  World world{in_turn({error(404, "ResourceNotFoundException", "no such thing")})};
  auto answer = world.run(describe_thing());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error, "ResourceNotFoundException");
  EXPECT_EQ(answer->message, "no such thing");
  EXPECT_EQ(world.http.sent.size(), 1u);
}

TEST(SigningClient, NothingFromOutsideEndsAHeaderOrAPathEarly) {
  World world;
  Call header = describe_thing(), path = describe_thing(), query = describe_thing();
  header.headers = {{"x-amzn-principal", "arn\r\nx-evil: 1"}};
  path.path = "/things/a?b";
  query.path = "things/a b";
  for (const Call& call : {header, path, query}) {
    auto answer = world.run(call);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::cloud_refused);
  }
  EXPECT_TRUE(world.http.sent.empty());
}

// Clock and keys

HttpReply too_old(std::string date) {
  HttpReply reply = error(403, "InvalidSignatureException", "Signature expired: 1 is now earlier than 2");
  if (!date.empty()) reply.headers.push_back({"Date", std::move(date)});
  return reply;
}

TEST(SigningClient, CorrectsItsClockOnceByTheCloudsOwn) {
  // The virtual clock says Thu, 09 Oct 2025 08:53:20.
  World world{in_turn({too_old("Thu, 09 Oct 2025 10:53:20 GMT"), good()})};
  ASSERT_TRUE(world.run(issue()));
  EXPECT_EQ(world.sent_header(0, "x-amz-date"), "20251009T085320Z");
  EXPECT_EQ(world.sent_header(1, "x-amz-date"), "20251009T105320Z");
  EXPECT_EQ(world.client.clock_offset(), 2h);
  ASSERT_TRUE(world.run(describe_thing()));
  EXPECT_EQ(world.http.sent.size(), 3u) << "remembered";
  EXPECT_EQ(world.sent_header(2, "x-amz-date").substr(0, 11), "20251009T10");
}

TEST(SigningClient, CorrectsItsClockAgainWhenItWasSetMeanwhile) {
  World world{
      in_turn({too_old("Thu, 09 Oct 2025 10:53:20 GMT"), good(), too_old("Thu, 09 Oct 2025 10:53:25 GMT"), good()})};
  ASSERT_TRUE(world.run(describe_thing()));
  world.loop.shift_wall(2h);  // somebody started NTP
  ASSERT_TRUE(world.run(describe_thing()));
  EXPECT_LT(std::chrono::abs(world.client.clock_offset()), 10s);
}

TEST(SigningClient, ASecondDoubtAboutTheClockIsADenial) {
  for (const char* date : {"Thu, 09 Oct 2025 10:53:20 GMT", "", "yesterday"}) {
    World world{in_turn({too_old(date)})};
    auto answer = world.run(describe_thing());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::cloud_denied);
    EXPECT_EQ(answer.error().remedy, Remedy::stop_line);
    EXPECT_NE(answer.error().what.find("clock"), std::string::npos);
    EXPECT_LE(world.http.sent.size(), 2u);
  }
}

TEST(SigningClient, ManyCallsUnderAWrongClockEachRepeatOnce) {
  World world;
  world.http.script = [&](const HttpRequest& request) -> Result<HttpReply> {
    HttpReply as_reply{0, request.headers, ""};
    if (as_reply.header("x-amz-date").substr(9, 2) != "10") return too_old("Thu, 09 Oct 2025 10:53:20 GMT");
    return good();
  };
  for (const auto& answer : run_all(world, std::vector<Call>(64, describe_thing()))) EXPECT_TRUE(answer);
  EXPECT_LE(world.http.sent.size(), 128u);
}

TEST(SigningClient, AnExpiredTokenIsRenewedOnce) {
  World world{in_turn({error(403, "ExpiredTokenException"), good()})};
  ASSERT_TRUE(world.run(issue()));
  EXPECT_EQ(world.keys.forgotten, 1);
  EXPECT_NE(world.sent_header(1, "authorization").find("AKID1"), std::string::npos);

  World still{in_turn({error(403, "ExpiredTokenException")})};
  auto answer = still.run(describe_thing());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::cloud_denied);
  EXPECT_NE(describe(answer.error()).find("token has expired"), std::string::npos);
  EXPECT_EQ(still.http.sent.size(), 2u);
}

TEST(SigningClient, ManyCallsWithAnExpiredTokenRenewItOnce) {
  World world;
  world.http.script = [&](const HttpRequest& request) -> Result<HttpReply> {
    HttpReply as_reply{0, request.headers, ""};
    if (as_reply.header("authorization").find("AKID0") != std::string_view::npos) return error(403, "ExpiredToken");
    return good();
  };
  for (const auto& answer : run_all(world, std::vector<Call>(64, describe_thing()))) EXPECT_TRUE(answer);
  EXPECT_EQ(world.keys.forgotten, 1);
}

TEST(SigningClient, ADenialNamesTheActionAndIsNotRepeated) {
  World world{in_turn({error(401, "UnauthorizedException")})};
  auto answer = world.run(issue());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::cloud_denied);
  EXPECT_NE(describe(answer.error()).find("iot:CreateCertificateFromCsr to the keys from profile factory"),
            std::string::npos);
  EXPECT_EQ(world.http.sent.size(), 1u);

  World without;
  without.keys.missing = true;
  EXPECT_EQ(without.run(issue()).error().code, Code::credentials_missing);
  EXPECT_TRUE(without.http.sent.empty());
}

// Trying again

TEST(SigningClient, TriesAgainWhatMayGoBetterAndOnlyWhereThatDoesNoHarm) {
  struct Row {
    const char* name;
    Result<HttpReply> first;
    std::size_t sent_repeatable, sent_once;  // requests, when the second would be answered
    Code code_once;                          // of the fault where there was no second
  };
  const Row rows[] = {
      {"refused connection", unreachable(Remedy::retry), 2, 2, {}},
      {"reply cut", unreachable(Remedy::reconcile), 2, 1, Code::cloud_unreachable},
      {"throttled", error(400, "ThrottlingException"), 2, 2, {}},
      {"429", error(429, ""), 2, 2, {}},
      {"too many", error(400, "TooManyRequestsException"), 2, 2, {}},
      {"500", error(500, "InternalFailureException"), 2, 1, Code::cloud_unreachable},
      {"502", HttpReply{502, {}, "<html>"}, 2, 1, Code::cloud_unreachable},
      {"503", error(503, "ServiceUnavailableException"), 2, 1, Code::cloud_unreachable},
      {"504", HttpReply{504, {}, ""}, 2, 1, Code::cloud_unreachable},
      {"RequestTimeout", error(400, "RequestTimeout"), 2, 1, Code::cloud_unreachable},
      {"web page", HttpReply{200, {}, "<html>"}, 1, 1, Code::cloud_reply_invalid},
      {"no JSON", HttpReply{200, {}, "{\"a\":"}, 1, 1, Code::cloud_reply_invalid},
      {"redirect", HttpReply{302, {}, ""}, 1, 1, Code::cloud_reply_invalid},
      {"proxy's password", HttpReply{407, {}, ""}, 1, 1, Code::cloud_unreachable},
      {"denied", error(403, "AccessDeniedException"), 1, 1, Code::cloud_denied},
      {"other fault", fail({Code::cloud_reply_invalid, Remedy::reconcile, "no HTTP"}), 1, 1, Code::cloud_reply_invalid},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    World repeatable{in_turn({row.first, good()})}, once{in_turn({row.first, good()})};
    EXPECT_EQ(repeatable.run(describe_thing()).has_value(), row.sent_repeatable == 2);
    EXPECT_EQ(repeatable.http.sent.size(), row.sent_repeatable);
    auto answer = once.run(issue());
    EXPECT_EQ(answer.has_value(), row.sent_once == 2);
    EXPECT_EQ(once.http.sent.size(), row.sent_once);
    if (answer) continue;
    EXPECT_EQ(answer.error().code, row.code_once);
    if (row.sent_repeatable == 2) {
      EXPECT_EQ(answer.error().remedy, Remedy::reconcile);
    }
  }
  for (const char* type : {"InvalidRequestException", "ResourceAlreadyExistsException", "LimitExceededException"}) {
    World world{in_turn({error(409, type), good()})};
    EXPECT_EQ(world.run(describe_thing())->error, type);
    EXPECT_EQ(world.http.sent.size(), 1u) << type;
  }
}

TEST(SigningClient, EachTryIsSignedAnew) {
  World world{in_turn({unreachable(Remedy::retry), unreachable(Remedy::retry), unreachable(Remedy::retry), good()})};
  ASSERT_TRUE(world.run(issue()));
  EXPECT_NE(world.sent_header(0, "x-amz-date"), world.sent_header(3, "x-amz-date"));
}

TEST(SigningClient, GivesUpAfterEightTriesAndSaysWhetherItMayHaveHappened) {
  struct Row {
    std::vector<Result<HttpReply>> replies;
    Code code;
    Remedy remedy;
  };
  const Row rows[] = {
      {{unreachable(Remedy::retry)}, Code::cloud_unreachable, Remedy::retry},
      {{unreachable(Remedy::reconcile), unreachable(Remedy::retry)}, Code::cloud_unreachable, Remedy::reconcile},
      {{error(503, "")}, Code::cloud_unreachable, Remedy::reconcile},
      {{error(429, "")}, Code::cloud_throttled, Remedy::retry},
      {{error(500, ""), error(429, "")}, Code::cloud_unreachable, Remedy::reconcile},
  };
  for (const Row& row : rows) {
    World world{in_turn(row.replies)};
    auto answer = world.run(describe_thing());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, row.code);
    EXPECT_EQ(answer.error().remedy, row.remedy);
    EXPECT_NE(answer.error().seen.find("try 8"), std::string::npos) << answer.error().seen;
    EXPECT_EQ(world.http.sent.size(), 8u);
    EXPECT_LT(world.loop.now().time_since_epoch(), 90s);
    for (std::size_t i = 1; i < 8; ++i) EXPECT_LE(world.http.moments[i] - world.http.moments[i - 1], 21s);
  }
}

TEST(SigningClient, CountsWhatCameOfTheCalls) {
  World world{in_turn({error(429, ""), unreachable(Remedy::retry), error(500, ""), good()})};
  ASSERT_TRUE(world.run(describe_thing()));
  ASSERT_TRUE(world.run(describe_thing()));
  const CallCounts& counts = world.client.counts().at("DescribeThing");
  EXPECT_EQ(counts.calls, 2u);
  EXPECT_EQ(counts.sent, 5u);
  EXPECT_EQ(counts.retries, 3u);
  EXPECT_EQ(counts.throttled, 1u);
  EXPECT_EQ(counts.failed, 2u);
}

// Storms

/// Lets `per_second` through and throttles the rest, as the service's own bucket does.
Script throttling_server(VirtualLoop& loop, double per_second) {
  struct Bucket {
    double tokens;
    Instant filled;
  };
  auto bucket = std::make_shared<Bucket>(Bucket{per_second, loop.now()});
  return [&loop, per_second, bucket](const HttpRequest&) -> Result<HttpReply> {
    const std::chrono::duration<double> passed = loop.now() - bucket->filled;
    bucket->filled = loop.now();
    bucket->tokens = std::min(per_second, bucket->tokens + passed.count() * per_second);
    if (bucket->tokens < 1) return error(400, "ThrottlingException", "Rate exceeded");
    bucket->tokens -= 1;
    return good();
  };
}

TEST(SigningClient, SixtyFourCallersMakeNoStorm) {
  for (const char* operation : {"ListThingPrincipals", "AttachPolicy", "CreateThing", "DescribeThing"}) {
    World world;
    world.http.script = throttling_server(world.loop, 10);
    Call call = describe_thing();
    call.operation = operation;
    std::size_t good_ones = 0;
    for (const auto& answer : run_all(world, std::vector<Call>(64, call))) good_ones += answer.has_value();
    const CallCounts& counts = world.client.counts().at(operation);
    RecordProperty(std::string{operation} + "_sent", static_cast<int>(counts.sent));
    EXPECT_EQ(good_ones, 64u) << operation;
    // 6.4 s is the service's own time for them. CreateThing and DescribeThing start at ten and 35 times what it allows:
    // 54 of DescribeThing's are under way before the first refusal is back.
    EXPECT_LE(counts.sent, 64u * 9 / 4) << operation;
    EXPECT_LE(world.loop.now().time_since_epoch(), 30s) << operation;
  }
}

TEST(SigningClient, ALongQueueSettlesAtWhatTheServiceAllows) {
  World world;
  world.http.script = throttling_server(world.loop, 10);
  Call call = describe_thing();
  call.operation = "CreateThing";  // 100 a second by default: another station has the rest
  auto worker = [](World& in, Call one, int& done, int& left, Event& all) -> Task<> {
    for (int i = 0; i < 100; ++i) done += (co_await in.client.call(one)).has_value();
    if (--left == 0) all.set();
  };
  int done = 0, left = 64;
  Event all;
  for (int i = 0; i < 64; ++i) world.loop.spawn(worker(world, call, done, left, all));
  world.loop.run(all.wait());
  const CallCounts& counts = world.client.counts().at("CreateThing");
  EXPECT_EQ(done, 6400);
  EXPECT_LE(counts.sent, 6400u * 1.2);
  EXPECT_LE(world.loop.now().time_since_epoch(), 6400s / 10 * 2);
}

TEST(SigningClient, AFailingServiceIsNotAskedEightTimesByAll) {
  World world{in_turn({error(500, "InternalFailureException")})};
  for (const auto& answer : run_all(world, std::vector<Call>(64, describe_thing()))) EXPECT_FALSE(answer);
  EXPECT_LE(world.http.sent.size(), 64u + 100u);
}

TEST(SigningClient, AServiceThatFailsEverySecondTimeIsAskedOn) {
  World world;
  auto asked = std::make_shared<int>(0);
  world.http.script = [asked](const HttpRequest&) {
    return ++*asked % 2 == 0 ? Result<HttpReply>{error(503, "ServiceUnavailableException")} : Result<HttpReply>{good()};
  };
  std::size_t good_ones = 0;
  for (int round = 0; round < 20; ++round)
    for (const auto& answer : run_all(world, std::vector<Call>(64, describe_thing()))) good_ones += answer.has_value();
  EXPECT_GE(good_ones, 20u * 64 * 98 / 100) << "one of 256 fails eight times";
}

TEST(SigningClient, ABlipOfASecondIsRiddenOut) {
  World world;
  world.http.script = [&](const HttpRequest&) {
    return world.loop.now() >= Instant{1s} ? Result<HttpReply>{good()} : unreachable(Remedy::retry);
  };
  for (const auto& answer : run_all(world, std::vector<Call>(32, issue()))) EXPECT_TRUE(answer);
}

TEST(SigningClient, AnOutageFailsFastLooksOneAtATimeAndEnds) {
  World world;
  bool is_up = false;
  world.http.script = [&](const HttpRequest&) {
    return is_up ? Result<HttpReply>{good()} : unreachable(Remedy::retry);
  };
  for (const auto& answer : run_all(world, std::vector<Call>(64, describe_thing()))) EXPECT_FALSE(answer);
  EXPECT_LE(world.http.sent.size(), 64u + 100u) << "each once, and what two seconds and the budget allow";

  const std::size_t before = world.http.sent.size();
  auto hour = [](World& in) -> Task<> {
    for (int i = 0; i < 3600; ++i) {
      co_await in.loop.sleep_for(1s);
      auto answer = co_await in.client.call(issue());
      EXPECT_FALSE(answer);
      EXPECT_EQ(answer.error().code, Code::cloud_unreachable);
      EXPECT_EQ(answer.error().remedy, Remedy::retry) << "nothing was sent, or nothing arrived";
    }
  };
  world.loop.run(hour(world));
  EXPECT_LE(world.http.sent.size() - before, 75u) << "one a minute";

  is_up = true;
  auto wait = [](World& in) -> Task<> { co_await in.loop.sleep_for(61s); };
  world.loop.run(wait(world));
  for (const auto& answer : run_all(world, std::vector<Call>(10, describe_thing()))) {
    if (!answer) {
      EXPECT_EQ(answer.error().remedy, Remedy::retry) << "while the one that looks is under way";
    }
  }
  EXPECT_TRUE(world.run(describe_thing()));
}

TEST(ParseEndpoint, TakesWhatOneCanCall) {
  struct Row {
    const char *url, *origin, *host, *prefix;
  };
  const Row rows[] = {
      {"https://iot.eu-central-1.amazonaws.com", "https://iot.eu-central-1.amazonaws.com",
       "iot.eu-central-1.amazonaws.com", ""},
      {"https://h:443/", "https://h", "h", ""},
      {"http://h:80", "http://h", "h", ""},
      {"http://h:443", "http://h:443", "h:443", ""},
      {" HTTP://LocalHost:05000/a/b// ", "http://localhost:5000", "localhost:5000", "/a/b"},
      {"http://[::1]", "http://[::1]", "[::1]", ""},
      {"http://[::1]:4566/x", "http://[::1]:4566", "[::1]:4566", "/x"},
      {"http://127.0.0.1:4566", "http://127.0.0.1:4566", "127.0.0.1:4566", ""},
  };
  for (const Row& row : rows) {
    auto endpoint = parse_endpoint(row.url);
    ASSERT_TRUE(endpoint) << row.url;
    EXPECT_EQ(endpoint->origin, row.origin);
    EXPECT_EQ(endpoint->host, row.host);
    EXPECT_EQ(endpoint->prefix, row.prefix);
  }
  for (const char* bad :
       {"", "h", "iot.eu-central-1.amazonaws.com", "ftp://h", "https://", "https:///x", "https://h:", "https://h:0",
        "https://h:65536", "https://h:99999999999999999999", "https://h:1a", "https://h:0x10", "https://h?x",
        "https://h/#x", "https://h/a b", "https://[::1", "https://h\r\nx", "https://\xC3\xBC.de", "https://a]:1"})
    EXPECT_FALSE(parse_endpoint(bad)) << bad;
  auto secret = parse_endpoint("https://ann:hunter2@h");
  ASSERT_FALSE(secret);
  EXPECT_EQ(describe(secret.error()).find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace espmint::aws
