#include "cloud/aws/credentials.hpp"

#include <gtest/gtest.h>

#include "base/text.hpp"
#include "cloud/aws/credential_json.hpp"
#include "cloud/aws/surroundings_double.hpp"
#include "io/event.hpp"
#include "io/run_task.hpp"

namespace espmint::aws {
namespace {

using namespace std::chrono_literals;

// Made up; whatever fails, it may not show.
const std::string secret = "wJalrXUtnFEMI/K7MDENG+never";

std::string pair_of(const std::string& id) {
  return "aws_access_key_id = " + id + "\naws_secret_access_key = " + secret + "\n";
}

/// A metadata service by its answers; what it does not know does not answer for as long as it is waited for.
struct MetadataDouble final : HttpClient {
  explicit MetadataDouble(Clock& c) : clock(c) {}
  Task<Result<HttpReply>> send(HttpRequest request) override {
    std::string line = request.method + " " + request.url;
    for (const HttpHeader& header : request.headers) line += " " + header.name + ": " + header.value;
    seen.push_back(line);
    const auto it = answers.find(request.method + " " + request.url);
    if (it != answers.end()) co_return HttpReply{it->second.first, {}, it->second.second};
    co_await clock.sleep_for(request.timeout);
    co_return fail(
        {Code::cloud_unreachable, Remedy::retry, "169.254.169.254 cannot be reached", {}, "no reply within 1 s"});
  }
  Clock& clock;
  std::map<std::string, std::pair<int, std::string>> answers;
  std::vector<std::string> seen;
};

struct AwsCredentials : testing::Test {
  VirtualLoop loop;
  SurroundingsDouble around;
  MetadataDouble metadata{loop};
  std::string profile;
  std::vector<std::string> started;    // the programs, by their arguments
  Result<std::string> printed = "{}";  // by each of them
  Duration takes{};
  std::unique_ptr<CredentialSource> source;

  void make_source() {
    auto run = [this](Program program) -> Task<Result<Secret>> {
      std::string line;
      for (const std::string& word : program.arguments) line += "[" + word + "]";
      started.push_back(line);
      co_await loop.sleep_for(takes);
      if (!printed) co_return fail(printed.error());
      co_return Secret{to_bytes(*printed)};
    };
    source = make_credential_chain(around.view(), profile, {loop, metadata, std::move(run)});
  }
  Result<Credentials> get() {
    if (!source) make_source();
    return run_task(loop, source->get());
  }
  /// "ID from PLACE", or the fault, which shows no secret.
  std::string found() {
    const auto keys = get();
    if (keys) return keys->access_key_id + " from " + keys->from;
    const std::string text = describe(keys.error());
    EXPECT_EQ(text.find(secret), std::string::npos) << text;
    EXPECT_EQ(keys.error().code, Code::credentials_missing) << text;
    EXPECT_EQ(keys.error().remedy, Remedy::refuse) << text;
    return text;
  }
  std::string found_anew() {
    source.reset();
    return found();
  }
  [[nodiscard]] std::string process_output(const std::string& id, WallTime expires) const {
    return R"({"Version": 1, "AccessKeyId": ")" + id + R"(", "SecretAccessKey": ")" + secret +
           R"(", "SessionToken": "token", "Expiration": ")" + to_string(expires) + "\"}";
  }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// ---- the places, in their order

TEST_F(AwsCredentials, ComeFromTheEnvironmentFirst) {
  around.variables["AWS_ACCESS_KEY_ID"] = "ENV";
  around.variables["AWS_SECRET_ACCESS_KEY"] = secret + "\n";
  around.variables["AWS_SESSION_TOKEN"] = "token";
  around.credentials() = "[default]\n" + pair_of("FILE");
  const auto keys = get();
  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->access_key_id, "ENV");
  EXPECT_EQ(as_text(keys->secret_access_key.reveal()), secret);
  EXPECT_EQ(as_text(keys->session_token.reveal()), "token");
  EXPECT_EQ(keys->from, "environment");
  EXPECT_FALSE(keys->expires);
}

TEST_F(AwsCredentials, ComeFromTheProfileWhereOneWasNamedByFlagOrRecipe) {
  around.variables["AWS_ACCESS_KEY_ID"] = "ENV";
  around.variables["AWS_SECRET_ACCESS_KEY"] = secret;
  around.credentials() = "[default]\n" + pair_of("FILE") + "[factory]\n" + pair_of("FACTORY");
  around.variables["AWS_PROFILE"] = "factory";
  EXPECT_EQ(found(), "ENV from environment");
  profile = "factory";
  EXPECT_EQ(found_anew(), "FACTORY from profile factory in /home/ann/.aws/credentials");
}

TEST_F(AwsCredentials, ComeFromTheProfileInTheOrderOfAwsTools) {
  around.config() = "[default]\n" + pair_of("CONFIG");
  EXPECT_EQ(found_anew(), "CONFIG from profile default in /home/ann/.aws/config");
  around.config() += "credential_process = \"/opt/my keys\" --for 'espmint # 1'\n";
  printed = process_output("PROCESS", loop.wall() + 1h);
  EXPECT_EQ(found_anew(), "PROCESS from credential_process of profile default");
  EXPECT_EQ(started, std::vector<std::string>{"[/opt/my keys][--for][espmint # 1]"});
  around.credentials() = "\xef\xbb\xbf[default]\r\naws_access_key_id=FILE\r\naws_secret_access_key=" + secret + "\r\n";
  EXPECT_EQ(found_anew(), "FILE from profile default in /home/ann/.aws/credentials");
  EXPECT_TRUE(metadata.seen.empty());
}

TEST_F(AwsCredentials, ComeFromTheContainersAgent) {
  const std::string body = R"({"AccessKeyId": "TASK", "SecretAccessKey": ")" + secret +
                           R"(", "Token": "token", "Expiration": "2026-01-01T00:00:00Z"})";
  around.variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/1";
  metadata.answers["GET http://169.254.170.2/v2/credentials/1"] = {200, body};
  EXPECT_EQ(found(), "TASK from container");
  around.variables.erase("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://127.0.0.1:51679/keys?x=1";
  around.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = "/run/token";
  around.files["/run/token"] = "Bearer abc\n";
  metadata.answers["GET http://127.0.0.1:51679/keys?x=1"] = {200, body};
  EXPECT_EQ(found_anew(), "TASK from container");
  EXPECT_TRUE(has(metadata.seen.back(), "Authorization: Bearer abc")) << metadata.seen.back();
}

TEST_F(AwsCredentials, AreNotAskedForAtAStrangersPlainAddress) {
  for (const std::string bad : {"http://example.com/keys", "http://169.254.170.2.evil.example/",
                                "http://127.0.0.1.evil.example/", "ftp://127.0.0.1/"}) {
    around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = bad;
    EXPECT_TRUE(has(found_anew(), "AWS_CONTAINER_CREDENTIALS_FULL_URI")) << bad;
  }
  EXPECT_TRUE(metadata.seen.empty());
  around.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "https://example.com/keys";
  metadata.answers["GET https://example.com/keys"] = {500, secret};
  EXPECT_TRUE(has(found_anew(), "status 500"));
}

TEST_F(AwsCredentials, ComeFromTheMachineLastWithATokenOfItsSecondVersion) {
  const std::string base = "http://169.254.169.254/latest/";
  metadata.answers["PUT " + base + "api/token"] = {200, "pass=="};
  metadata.answers["GET " + base + "meta-data/iam/security-credentials/"] = {200, "line-role\n"};
  metadata.answers["GET " + base + "meta-data/iam/security-credentials/line-role"] = {
      200, R"({"Code": "Success", "AccessKeyId": "ROLE", "SecretAccessKey": ")" + secret +
               R"(", "Token": "t", "Expiration": "2026-01-01T00:00:00Z"})"};
  EXPECT_EQ(found(), "ROLE from this machine's role line-role");
  EXPECT_EQ(metadata.seen,
            (std::vector<std::string>{
                "PUT " + base + "api/token X-aws-ec2-metadata-token-ttl-seconds: 21600",
                "GET " + base + "meta-data/iam/security-credentials/ X-aws-ec2-metadata-token: pass==",
                "GET " + base + "meta-data/iam/security-credentials/line-role X-aws-ec2-metadata-token: pass==",
            }));
}

TEST_F(AwsCredentials, AreSoonKnownToBeNowhere) {
  const Instant start = loop.now();
  const std::string text = found();
  EXPECT_LT(loop.now() - start, 2s);
  for (const std::string place : {"the environment", "/home/ann/.aws/credentials", "/home/ann/.aws/config",
                                  "metadata: no reply within 1 s", "AWS_ACCESS_KEY_ID"})
    EXPECT_TRUE(has(text, place)) << text;
  around.variables["AWS_EC2_METADATA_DISABLED"] = "true";
  EXPECT_TRUE(has(found_anew(), "switched off"));
  EXPECT_EQ(metadata.seen.size(), 1u);
}

TEST_F(AwsCredentials, AreNotTakenFromAPortalInTheMachinesPlace) {
  const std::string base = "http://169.254.169.254/latest/";
  metadata.answers["PUT " + base + "api/token"] = {200, "<html>log in\r\nX: y</html>"};
  EXPECT_TRUE(has(found_anew(), "no metadata service"));
  metadata.answers["PUT " + base + "api/token"] = {200, "pass"};
  metadata.answers["GET " + base + "meta-data/iam/security-credentials/"] = {200, "../../user-data"};
  EXPECT_TRUE(has(found_anew(), "it has no role"));
  metadata.answers["GET " + base + "meta-data/iam/security-credentials/"] = {404, "no"};
  EXPECT_TRUE(has(found_anew(), "it has no role"));
}

// ---- what is refused, each in one sentence

TEST_F(AwsCredentials, RefuseHalfAPair) {
  around.credentials() = "[default]\n" + pair_of("FILE");
  around.variables["AWS_ACCESS_KEY_ID"] = "ENV";
  EXPECT_TRUE(has(found_anew(), "AWS_ACCESS_KEY_ID without AWS_SECRET_ACCESS_KEY")) << found();
  around.variables = {{"HOME", "/home/ann"}, {"AWS_SECRET_ACCESS_KEY", secret}};
  EXPECT_TRUE(has(found_anew(), "AWS_SECRET_ACCESS_KEY without AWS_ACCESS_KEY_ID")) << found();
  around.variables.erase("AWS_SECRET_ACCESS_KEY");
  around.credentials() = "[default]\naws_secret_access_key = " + secret + "\n";
  EXPECT_TRUE(has(found_anew(), "in profile default in /home/ann/.aws/credentials")) << found();
}

TEST_F(AwsCredentials, RefuseKeysThatCannotBeKeys) {
  around.variables["AWS_ACCESS_KEY_ID"] = "ENV";
  around.variables["AWS_SECRET_ACCESS_KEY"] = secret + " " + secret;
  EXPECT_TRUE(has(found_anew(), "AWS_SECRET_ACCESS_KEY has characters that no key has")) << found();
  around.variables["AWS_SECRET_ACCESS_KEY"] = secret;
  around.variables["AWS_ACCESS_KEY_ID"] = "a/b";
  EXPECT_TRUE(has(found_anew(), "AWS_ACCESS_KEY_ID has characters")) << found();
}

TEST_F(AwsCredentials, LeaveSingleSignOnAndOtherRolesToTheCli) {
  for (const std::string need : {"role_arn = arn:aws:iam::1:role/x\nsource_profile = default\nmfa_serial = m",
                                 "sso_session = corp", "sso_start_url = https://x", "web_identity_token_file = /x"}) {
    profile = "my factory";
    around.config() = "[profile my factory]\n" + need + "\n" + pair_of("CONFIG");
    EXPECT_TRUE(has(found_anew(),
                    "credential_process = aws configure export-credentials --profile \"my factory\" --format process"))
        << found();
  }
  around.config() += "credential_process = keys\n";
  printed = process_output("PROCESS", loop.wall() + 1h);
  EXPECT_EQ(found_anew(), "PROCESS from credential_process of profile my factory");
  profile.clear();
  around.variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/token";
  around.variables["AWS_ROLE_ARN"] = "arn:aws:iam::1:role/x";
  EXPECT_TRUE(has(found_anew(), "web identity"));
}

TEST_F(AwsCredentials, SayWhatIsWrongWithAProcess) {
  around.config() = "[default]\ncredential_process = keys 'unclosed\n";
  EXPECT_TRUE(has(found_anew(), "a quote is not closed")) << found();
  around.config() = "[default]\ncredential_process = keys " + secret + "\n";
  printed =
      fail({Code::input_unreadable, Remedy::refuse, "the program keys gave no answer", {}, "it ended with status 255"});
  EXPECT_TRUE(has(found_anew(), "it ended with status 255")) << found();
  printed = process_output("PROCESS", loop.wall() - 1s);
  EXPECT_TRUE(has(found_anew(), "expired at")) << found();
  EXPECT_TRUE(has(found_anew(), "clock")) << found();
  for (const auto& [output, says] : std::vector<std::pair<std::string, std::string>>{
           {secret, "no JSON"},
           {"[]", "no JSON object"},
           {R"({"AccessKeyId": "A"})", "Version is not 1"},
           {R"({"Version": "1", "AccessKeyId": "A"})", "Version is not 1"},
           {R"({"Version": 1, "SecretAccessKey": ")" + secret + "\"}", "AccessKeyId is missing"},
           {R"({"Version": 1, "AccessKeyId": "A"})", "SecretAccessKey is missing"},
           {R"({"Version": 1, "AccessKeyId": "A", "SecretAccessKey": 5})", "SecretAccessKey is no text"},
           {R"({"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "x\ny"})", "has characters that no key has"},
           {R"({"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "x", "Expiration": "soon"})",
            "Expiration is no moment"},
       }) {
    printed = output;
    EXPECT_TRUE(has(found_anew(), says)) << found();
  }
}

TEST_F(AwsCredentials, SayWhichFileIsUnreadable) {
  around.credentials() = "!";
  EXPECT_TRUE(has(found(), "cannot read /home/ann/.aws/credentials")) << found();
}

// ---- kept, and replaced in time

TEST_F(AwsCredentials, AreKeptAndReplacedBeforeTheirEnd) {
  around.config() = "[default]\ncredential_process = keys\n";
  const WallTime start = loop.wall();
  const auto at = [&](Duration moment) {
    run_task(loop, [](VirtualLoop& l, Duration d) -> Task<int> {
      co_await l.sleep_until(Instant{} + d);
      co_return 0;
    }(loop, moment));
  };
  printed = process_output("FIRST", start + 1h);
  EXPECT_TRUE(has(found(), "FIRST"));
  printed = process_output("SECOND", start + 2h);
  at(44min);
  EXPECT_TRUE(has(found(), "FIRST"));
  EXPECT_EQ(started.size(), 1u);
  at(46min);
  found();  // nobody waits for keys that are only better
  at(46min + 1s);
  EXPECT_TRUE(has(found(), "SECOND"));
  EXPECT_EQ(started.size(), 2u);
}

TEST_F(AwsCredentials, AreUsedUpWhereThereAreNoNewOnesAndNeverBeyondTheirEnd) {
  around.config() = "[default]\ncredential_process = keys\n";
  const WallTime start = loop.wall();
  const auto wait = [&](Duration duration) {
    run_task(loop, [](VirtualLoop& l, Duration d) -> Task<int> {
      co_await l.sleep_for(d);
      co_return 0;
    }(loop, duration));
  };
  printed = process_output("FIRST", start + 1h);
  found();
  printed = fail({Code::input_unreadable, Remedy::refuse, "x", {}, "it ended with status 1"});
  wait(50min);
  for (int minute = 50; minute < 59; ++minute) {
    EXPECT_TRUE(has(found(), "FIRST")) << minute;
    wait(1min);
  }
  EXPECT_LE(started.size(), 12u);  // not at each request
  wait(51s);
  EXPECT_TRUE(has(found(), "status 1")) << found();
  printed = process_output("SECOND", loop.wall() + 1h);
  EXPECT_TRUE(has(found(), "SECOND"));
  loop.shift_wall(7200s);  // as a clock that was set, or a machine that slept
  printed = process_output("THIRD", loop.wall() + 1h);
  EXPECT_TRUE(has(found(), "THIRD"));
}

TEST_F(AwsCredentials, OfAShortLifeAreNotAskedForAtEachRequest) {
  around.config() = "[default]\ncredential_process = keys\n";
  printed = process_output("SHORT", loop.wall() + 10min);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(has(found(), "SHORT"));
  EXPECT_EQ(started.size(), 1u);
  printed = process_output("LONG", WallTime{std::chrono::sys_days{std::chrono::year{9999} / 12 / 31}});
  EXPECT_TRUE(has(found_anew(), "LONG"));
}

Task<> ask_at_once(VirtualLoop& loop, CredentialSource& source, unsigned count, unsigned& good) {
  unsigned left = count;
  Event all;
  const auto one = [&]() -> Task<> {
    if (co_await source.get()) ++good;
    if (--left == 0) all.set();
  };
  for (unsigned i = 0; i < count; ++i) loop.spawn(one());
  co_await all.wait();
}

TEST_F(AwsCredentials, AreLookedForOnceHoweverManyAsk) {
  around.config() = "[default]\ncredential_process = keys\n";
  takes = 2s;
  printed = process_output("MANY", loop.wall() + 1h);
  make_source();
  unsigned good = 0;
  loop.run(ask_at_once(loop, *source, 32, good));
  EXPECT_EQ(good, 32u);
  EXPECT_EQ(started.size(), 1u);
  printed = fail({Code::input_unreadable, Remedy::refuse, "x", {}, "it ended with status 1"});
  source->forget();
  loop.run(ask_at_once(loop, *source, 32, good));
  EXPECT_EQ(good, 32u);
  EXPECT_EQ(started.size(), 2u);
}

TEST_F(AwsCredentials, AreReadAnewWhereTheServiceRefusedThem) {
  around.credentials() = "[default]\n" + pair_of("OLD");
  EXPECT_TRUE(has(found(), "OLD"));
  around.credentials() = "[default]\n" + pair_of("NEW");
  EXPECT_TRUE(has(found(), "OLD"));
  source->forget();
  EXPECT_TRUE(has(found(), "NEW"));
}

Task<> leave_looking(VirtualLoop& loop, CredentialSource& source, bool& got) {
  const auto ask = [&]() -> Task<> {
    static_cast<void>(co_await source.get());
    got = true;
  };
  loop.spawn(ask());
  co_await loop.sleep_for(1ms);
}

TEST(AwsCredentialsEnd, WithTheirLoopWhileSomebodyLooks) {
  SurroundingsDouble around;
  bool got = false;
  {
    VirtualLoop loop;
    MetadataDouble metadata{loop};
    const auto source = make_credential_chain(around.view(), "", {loop, metadata, run_program});
    loop.run(leave_looking(loop, *source, got));
  }
  EXPECT_FALSE(got);
}

TEST(AwsMoment, IsReadAsRfc3339WritesIt) {
  const auto at = [](std::string_view text) {
    const auto moment = parse_moment(text);
    return moment ? to_string(*moment) : "none";
  };
  EXPECT_EQ(at("2026-11-22T10:15:30Z"), "2026-11-22T10:15:30Z");
  EXPECT_EQ(at("2026-11-22T10:15:30.123456Z"), "2026-11-22T10:15:30Z");
  EXPECT_EQ(at("2026-11-22T10:15:30+09:00"), "2026-11-22T01:15:30Z");
  EXPECT_EQ(at("2026-11-22t10:15:30.5-01:30"), "2026-11-22T11:45:30Z");
  for (const std::string bad : {"", "2026-11-22", "2026-02-30T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T10:15:30",
                                "2026-11-22T10:15:30.Z", "2026-11-22T10:15:30+0900", "-026-11-22T10:15:30Z",
                                "2026-11-22T10:15:30Zx", "1763806530"})
    EXPECT_EQ(at(bad), "none") << bad;
}

}  // namespace
}  // namespace espmint::aws
