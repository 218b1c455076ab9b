#include "cloud/aws/signing_client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/text.hpp"
#include "cloud/aws/settings.hpp"
#include "cloud/aws/sigv4.hpp"

namespace espmint::aws {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view signing_name = "iot";  // older SDKs say execute-api for the same service

// Before the first repetition: a throttled service wants more air than a lost packet.
constexpr Duration throttled_base = 1s, failed_base = 500ms;

bool is_visible(char c) { return c > ' ' && c <= '~'; }
bool is_all_visible(std::string_view text) { return std::all_of(text.begin(), text.end(), is_visible); }

/// Names come from recipes and ARNs from replies: neither may end a header or a path early.
Result<void> check_call(const Call& call) {
  bool good =
      call.path.starts_with('/') && is_all_visible(call.path) && call.path.find_first_of("?#") == call.path.npos;
  for (const HttpHeader& header : call.headers)
    good = good && !header.name.empty() && is_all_visible(header.name) && is_all_visible(header.value);
  if (good) return ok();
  return fail({Code::cloud_refused, Remedy::refuse,
               fmt::format("a name in iot:{} has characters that no request can carry", call.operation)});
}

bool is_signed(std::string_view name) {
  const std::string low = lower(name);
  return low == "content-type" || low.starts_with("x-amz-") || low.starts_with("x-amzn-");
}

std::string query_of(const Call& call) {
  std::string out;
  for (const auto& [name, value] : call.query) {
    if (!out.empty()) out += '&';
    out += encode_label(name) + '=' + encode_label(value);
  }
  return out;
}

}  // namespace

Result<EndpointUrl> parse_endpoint(std::string_view url) {
  const std::optional<WebAddress> address = parse_web_address(trim(url));
  const std::optional<std::uint64_t> port =
      address && !address->port.empty() ? parse_number(address->port) : std::optional<std::uint64_t>{};
  // The URL is not quoted: a password may stand in it.
  if (!address || port == 0)
    return fail({Code::cloud_unreachable,
                 Remedy::refuse,
                 "the AWS endpoint is not an address",
                 {},
                 "",
                 "it looks like https://iot.eu-central-1.amazonaws.com, perhaps with a port and a path"});
  EndpointUrl out;
  out.host = address->host.find(':') == std::string::npos ? address->host : '[' + address->host + ']';
  if (port && *port != (address->scheme == "https" ? 443 : 80)) out.host += ':' + std::to_string(*port);
  out.origin = address->scheme + "://" + out.host;
  out.prefix = address->path;
  while (out.prefix.ends_with('/')) out.prefix.pop_back();
  return out;
}

/// One call's tries so far.
struct SigningClient::Tried {
  CallCounts* counts = nullptr;
  Pace* pace = nullptr;
  unsigned tries = 0;
  Instant sent{};
  Breaker::Pass pass = Breaker::Pass::go;
  std::chrono::seconds offset{};  // that the last one was signed with
  std::uint64_t refreshes = 0;    // of the keys that it was signed with
  std::string keys_from;
  bool corrected_clock = false, refreshed_keys = false;
  bool may_have_happened = false;
  Duration base = failed_base;
  std::optional<Answer> answer;
  std::optional<Fault> fault;
};

SigningClient::SigningClient(HttpClient& http, CredentialSource& credentials, Clock& clock, Entropy& entropy,
                             ClientSettings settings)
    : http_(http), credentials_(credentials), clock_(clock), entropy_(entropy), settings_(std::move(settings)) {}

Task<Result<Answer>> SigningClient::call(Call call) {
  CO_TRY(check_call(call));
  Tried tried;
  tried.counts = &counts_[call.operation];
  tried.pace = &paces_.try_emplace(call.operation, default_rate(call.operation) * settings_.rate_factor).first->second;
  ++tried.counts->calls;
  for (;;) {
    if (!breaker_.is_open(clock_.now())) co_await wait_for_turn(*tried.pace);
    Result<Credentials> keys = co_await credentials_.get();
    if (!keys) co_return fail(std::move(keys.error()));
    tried.pass = breaker_.ask(clock_.now(), settings_.timeout);
    if (tried.pass == Breaker::Pass::stop) {
      if (tried.fault) break;
      const auto left = std::chrono::ceil<std::chrono::seconds>(breaker_.until() - clock_.now());
      std::string seen = fmt::format("iot:{} was not sent; the next try is in {} s", call.operation, left.count());
      co_return fail({Code::cloud_unreachable,
                      Remedy::retry,
                      "the cloud has not answered many times in a row",
                      {},
                      std::move(seen),
                      "`espmint cloud check` says what is in the way"});
    }
    tried.sent = clock_.now();
    tried.offset = clock_offset_;
    tried.refreshes = refreshes_;
    tried.keys_from = keys->from;
    ++tried.counts->sent;
    HttpRequest request = build_request(call, *keys);
    Result<HttpReply> reply = co_await http_.send(std::move(request));
    const Next next = judge(call, reply, tried);
    if (next == Next::end) break;
    if (next == Next::after_pause) {
      if (++tried.tries >= settings_.tries || !budget_.spend()) break;
      co_await clock_.sleep_for(pause_before(tried.tries - 1, tried.base, roll()));
    }
    ++tried.counts->retries;
  }
  if (tried.answer) {
    budget_.earn(tried.tries);
    co_return std::move(*tried.answer);
  }
  Fault fault = std::move(*tried.fault);
  const bool ends_unknown = fault.code == Code::cloud_unreachable || fault.code == Code::cloud_throttled;
  if (tried.may_have_happened && ends_unknown) {
    fault.code = Code::cloud_unreachable;
    fault.remedy = Remedy::reconcile;
  }
  co_return fail(std::move(fault));
}

Task<> SigningClient::wait_for_turn(Pace& pace) {
  for (;;) {
    const Pace::Turn turn = pace.take(clock_.now());
    if (turn.at > clock_.now()) co_await clock_.sleep_until(turn.at);
    if (pace.holds(turn)) co_return;
  }
}

HttpRequest SigningClient::build_request(const Call& call, const Credentials& keys) const {
  const EndpointUrl& endpoint = settings_.endpoint;
  const std::string path = endpoint.prefix + call.path, query = query_of(call);
  HttpRequest request;
  request.method = call.method;
  request.url = endpoint.origin + path + (query.empty() ? "" : "?" + query);
  request.headers = call.headers;
  if (!call.body.empty()) request.headers.push_back({"content-type", "application/json"});
  request.body = call.body;
  request.timeout = settings_.timeout;

  RequestToSign to_sign{call.method, path, query, {{"host", endpoint.host}}, call.body};
  for (const HttpHeader& header : request.headers)
    if (is_signed(header.name)) to_sign.headers.push_back(header);
  const SigningKeys signing_keys{keys.access_key_id, keys.secret_access_key.reveal(),
                                 as_text(keys.session_token.reveal())};
  Signature signature = sign(to_sign, signing_keys, {settings_.region, signing_name, clock_.wall() + clock_offset_});
  for (HttpHeader& header : signature.headers) request.headers.push_back(std::move(header));
  return request;
}

SigningClient::Next SigningClient::judge_fault(const Call& call, const Fault& fault, Tried& tried) {
  tried.fault = fault;
  std::string& seen = tried.fault->seen;
  seen += fmt::format("{}iot:{}, try {}", seen.empty() ? "" : "; ", call.operation, tried.tries + 1);
  if (fault.code == Code::cloud_reply_invalid) breaker_.reached();  // by whatever it was
  if (fault.code != Code::cloud_unreachable) return Next::end;
  ++tried.counts->failed;
  breaker_.unreachable(tried.pass, clock_.now());
  tried.base = failed_base;
  if (fault.remedy == Remedy::retry) return Next::after_pause;
  tried.may_have_happened = true;
  return call.repeatable ? Next::after_pause : Next::end;
}

SigningClient::Next SigningClient::judge(const Call& call, const Result<HttpReply>& reply, Tried& tried) {
  tried.fault.reset();
  if (!reply) return judge_fault(call, reply.error(), tried);
  Result<ReadReply> read = parse_reply(*reply);
  if (!read) {
    tried.fault = std::move(read.error());
    tried.fault->seen += fmt::format(" (iot:{})", call.operation);
    breaker_.reached();
    return Next::end;
  }
  if (read->is_page)
    breaker_.unreachable(tried.pass, clock_.now());
  else
    breaker_.reached();

  switch (read->meaning) {
    case Meaning::answered:
      tried.pace->answered(clock_.now());
      tried.answer = std::move(read->answer);
      return Next::end;
    case Meaning::throttled:
      ++tried.counts->throttled;
      tried.pace->throttled(tried.sent, clock_.now());
      tried.base = throttled_base;
      tried.fault = Fault{Code::cloud_throttled,
                          Remedy::retry,
                          fmt::format("the cloud wants iot:{} asked more slowly", call.operation),
                          {},
                          fmt::format("{}; try {}", in_short(read->answer), tried.tries + 1),
                          "wait, or have the account's rate raised"};
      return Next::after_pause;
    case Meaning::failed:
      ++tried.counts->failed;
      tried.base = failed_base;
      tried.may_have_happened = true;
      tried.fault = Fault{Code::cloud_unreachable,
                          Remedy::reconcile,
                          read->is_page ? "a proxy or gateway on the way does not reach the cloud" : "the cloud fails",
                          {},
                          fmt::format("{}; iot:{}, try {}", in_short(read->answer), call.operation, tried.tries + 1),
                          "wait; https://health.aws.amazon.com says whether it is theirs"};
      return call.repeatable ? Next::after_pause : Next::end;
    case Meaning::clock:
      // Another call may have corrected it while this one was under way.
      if (!tried.corrected_clock && (tried.offset != clock_offset_ || correct_clock(*reply))) {
        tried.corrected_clock = true;
        return Next::at_once;
      }
      break;
    case Meaning::expired:
      if (!tried.refreshed_keys) {
        tried.refreshed_keys = true;
        if (tried.refreshes == refreshes_) {
          ++refreshes_;
          credentials_.forget();
        }
        return Next::at_once;
      }
      break;
    case Meaning::denied:
      break;
  }
  tried.fault = denial(*read, call.operation, settings_.region, tried.keys_from);
  if (read->meaning == Meaning::clock)
    tried.fault->seen += tried.corrected_clock ? fmt::format("; the clock was corrected by {} s", clock_offset_.count())
                                               : "; the reply's Date does not correct it";
  return Next::end;
}

bool SigningClient::correct_clock(const HttpReply& reply) {
  const std::optional<WallTime> theirs = parse_http_date(reply.header("date"));
  if (!theirs || *theirs - clock_.wall() == clock_offset_) return false;
  clock_offset_ = *theirs - clock_.wall();
  return true;
}

double SigningClient::roll() {
  std::uint32_t drawn = 0;
  entropy_.fill({reinterpret_cast<std::uint8_t*>(&drawn), sizeof drawn});
  return static_cast<double>(drawn) / 4294967296.0;
}

}  // namespace espmint::aws
