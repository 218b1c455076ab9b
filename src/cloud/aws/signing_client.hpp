// cloud/aws/signing_client.hpp: the client that talks to AWS IoT over HTTP.
//   SigningClient client{http, credentials, loop, entropy, {"eu-central-1", *parse_endpoint(url)}};
//   CO_TRY(Answer answer, co_await client.call({"DescribeThing", "GET", "/things/" + encode_label(name)}));
#pragma once

#include <map>
#include <string>

#include "cloud/aws/client.hpp"
#include "cloud/aws/credentials.hpp"
#include "cloud/aws/pacing.hpp"
#include "cloud/aws/reply.hpp"
#include "io/entropy.hpp"

namespace espmint::aws {

/// Where the service listens.
struct EndpointUrl {
  std::string origin;  // "https://iot.eu-central-1.amazonaws.com", with a port that is not the scheme's own
  std::string host;    // as the signature has it: with that port
  std::string prefix;  // "/aws/iot", before every path; no '/' at its end
};
/// http or https, a host, a port, a path. Fault input_invalid (stop_line): anything else, such as a password or a
/// query.
Result<EndpointUrl> parse_endpoint(std::string_view url);

struct ClientSettings {
  std::string region;
  EndpointUrl endpoint;
  double rate_factor = 1;                       // times the default rates, for accounts that were given more
  unsigned tries = 8;                           // of one call, at most
  Duration timeout = std::chrono::seconds{30};  // of one try
};

/// What came of the calls of one operation.
struct CallCounts {
  std::uint64_t calls = 0;
  std::uint64_t sent = 0;       // requests
  std::uint64_t retries = 0;    // requests that were not a call's first
  std::uint64_t throttled = 0;  // replies
  std::uint64_t failed = 0;     // no reply, or the service's failure
};

class SigningClient final : public Client {
 public:
  SigningClient(HttpClient&, CredentialSource&, Clock&, Entropy&, ClientSettings);

  Task<Result<Answer>> call(Call call) override;
  [[nodiscard]] const std::string& region() const override { return settings_.region; }

  /// Of each call from now on: few where somebody waits for a first answer.
  void set_tries(unsigned tries) { settings_.tries = tries; }

  /// By operation.
  [[nodiscard]] const std::map<std::string, CallCounts, std::less<>>& counts() const { return counts_; }
  /// How far the cloud's clock is ahead of ours, as far as it had to be noticed.
  [[nodiscard]] std::chrono::seconds clock_offset() const { return clock_offset_; }

 private:
  struct Tried;
  enum class Next { end, at_once, after_pause };

  Task<> wait_for_turn(Pace& pace);
  HttpRequest build_request(const Call& call, const Credentials& keys) const;
  /// What to do after one try; `tried` then holds the answer, or the fault that it would end with.
  Next judge(const Call& call, const Result<HttpReply>& reply, Tried& tried);
  Next judge_fault(const Call& call, const Fault& fault, Tried& tried);
  bool correct_clock(const HttpReply& reply);
  double roll();

  HttpClient& http_;
  CredentialSource& credentials_;
  Clock& clock_;
  Entropy& entropy_;
  ClientSettings settings_;
  std::map<std::string, CallCounts, std::less<>> counts_;
  std::map<std::string, Pace, std::less<>> paces_;
  RetryBudget budget_;
  Breaker breaker_;
  std::chrono::seconds clock_offset_{0};
  std::uint64_t refreshes_ = 0;  // of the credentials
};

}  // namespace espmint::aws
