#include "cloud/aws/reply.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace espmint::aws {
namespace {

using Json = nlohmann::json;

constexpr std::size_t deepest_json = 32;       // the service nests 5 deep
constexpr std::size_t longest_type = 128;      // of an error's name
constexpr std::size_t longest_message = 2048;  // the service's are a sentence
constexpr std::size_t longest_shown = 300;

/// How an error's name begins or what it is, and what that means. Source: AWS IoT API Reference and General Reference,
/// Common Errors; the names that AWS's SDKs retry ("Retry behavior"). First match wins.
struct ErrorRow {
  std::string_view begins;
  Meaning meaning;
};
constexpr std::array error_rows{
    ErrorRow{"Throttl", Meaning::throttled},  // ThrottlingException, Throttling, ThrottledException
    ErrorRow{"TooManyRequests", Meaning::throttled},
    ErrorRow{"RequestThrottled", Meaning::throttled},
    ErrorRow{"RequestLimitExceeded", Meaning::throttled},
    ErrorRow{"BandwidthLimitExceeded", Meaning::throttled},
    ErrorRow{"SlowDown", Meaning::throttled},
    ErrorRow{"RequestTimeTooSkewed", Meaning::clock},
    ErrorRow{"RequestExpired", Meaning::clock},
    ErrorRow{"RequestInTheFuture", Meaning::clock},
    ErrorRow{"RequestTimeout", Meaning::failed},
    ErrorRow{"InternalFailure", Meaning::failed},
    ErrorRow{"InternalServerError", Meaning::failed},
    ErrorRow{"InternalError", Meaning::failed},
    ErrorRow{"ServiceUnavailable", Meaning::failed},
    ErrorRow{"ExpiredToken", Meaning::expired},
    ErrorRow{"AccessDenied", Meaning::denied},
    ErrorRow{"Unauthorized", Meaning::denied},
    ErrorRow{"NotAuthorized", Meaning::denied},
    ErrorRow{"Forbidden", Meaning::denied},
    ErrorRow{"UnrecognizedClient", Meaning::expired},
    ErrorRow{"InvalidClientTokenId", Meaning::expired},
    ErrorRow{"InvalidAccessKeyId", Meaning::expired},
    ErrorRow{"InvalidSignature", Meaning::denied},
    ErrorRow{"SignatureDoesNotMatch", Meaning::denied},
    ErrorRow{"IncompleteSignature", Meaning::denied},
    ErrorRow{"MissingAuthenticationToken", Meaning::denied},
    ErrorRow{"OptInRequired", Meaning::denied},
};

bool has_words(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

/// The name without what may stand round it: "aws.iot#Name:http://…" is Name. Empty when what is left is no name.
std::string error_name(std::string_view text) {
  text = trim(text.substr(0, text.find(':')));
  if (const std::size_t hash = text.rfind('#'); hash != text.npos) text.remove_prefix(hash + 1);
  if (text.size() > longest_type) return {};
  auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return std::all_of(text.begin(), text.end(), fits) ? std::string{text} : std::string{};
}

/// Cut where no character is cut in two.
std::string cut_to(std::string_view text, std::size_t longest) {
  if (text.size() <= longest) return std::string{text};
  while (longest > 0 && (static_cast<unsigned char>(text[longest]) & 0xC0) == 0x80) --longest;
  return std::string{text.substr(0, longest)} + "...";
}

/// So deep that a reader which calls itself would run out of stack; ours does not, those behind us might.
bool is_too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\')
        ++at;
      else if (c == '"')
        in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if ((c == '{' || c == '[') && ++depth > deepest_json) return true;
    if ((c == '}' || c == ']') && depth > 0) --depth;
  }
  return false;
}

/// An object in UTF-8, or nothing.
std::optional<Json> parse_error_object(std::string_view text) {
  if (is_too_deep(text)) return std::nullopt;
  Json object = Json::parse(text, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  return object;
}

std::string error_text_of(const Json& object, std::string_view name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? cut_to(found->get_ref<const std::string&>(), longest_message)
                                                     : "";
}

std::string first_error_text_of(const Json& object, std::initializer_list<std::string_view> names) {
  for (std::string_view name : names)
    if (std::string text = error_text_of(object, name); !text.empty()) return text;
  return {};
}

/// What stands in the first <name>…</name>; emulators and S3-like front doors answer in XML. ASCII only is kept.
std::string element_of(std::string_view xml, std::string_view name) {
  const std::string open = fmt::format("<{}>", name), close = fmt::format("</{}>", name);
  const std::size_t start = xml.find(open);
  if (start == xml.npos) return {};
  xml.remove_prefix(start + open.size());
  const std::size_t end = xml.find(close);
  if (end == xml.npos) return {};
  std::string text = cut_to(xml.substr(0, end), longest_message);
  for (char& c : text)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return text;
}

void read_error_body(std::string_view body, Answer& answer, bool& is_page, bool& is_worded) {
  const std::string_view start = trim(body);
  if (start.starts_with('<')) {
    std::string type = error_name(element_of(start, "Code"));
    if (answer.error.empty()) answer.error = type;
    answer.message = element_of(start, "Message");
    is_page = type.empty() && answer.error.empty();
    return;
  }
  const auto object = parse_error_object(start);
  if (!object) return;
  if (answer.error.empty()) answer.error = error_name(first_error_text_of(*object, {"__type", "code", "Code"}));
  answer.message = first_error_text_of(*object, {"message", "Message", "errorMessage"});
  answer.resource_id = error_text_of(*object, "resourceId");
  answer.resource_arn = error_text_of(*object, "resourceArn");
  is_worded = !answer.message.empty();
}

Meaning meaning_of(const Answer& answer) {
  // The signature's time is refused under several names; the words are the same in all of them.
  if (has_words(answer.message, "Signature expired") || has_words(answer.message, "Signature not yet current"))
    return Meaning::clock;
  if (answer.status == 429) return Meaning::throttled;
  for (const ErrorRow& row : error_rows) {
    if (!answer.error.starts_with(row.begins)) continue;
    const bool is_token = has_words(answer.message, "security token") && has_words(answer.message, "expired");
    return row.meaning == Meaning::denied && is_token ? Meaning::expired : row.meaning;
  }
  switch (answer.status) {
    case 401:
    case 403:
      return has_words(answer.message, "expired") ? Meaning::expired : Meaning::denied;
    case 408:
    case 500:
    case 502:
    case 503:
    case 504:
      return Meaning::failed;
    default:
      return Meaning::answered;
  }
}

Fault not_the_service(std::string what, std::string seen, std::string advice) {
  return {Code::cloud_reply_invalid, Remedy::reconcile, std::move(what), {}, std::move(seen), std::move(advice)};
}

Fault page_instead(int status) {
  return not_the_service(
      "a web page answered instead of AWS IoT: a captive portal or a proxy is in the way",
      fmt::format("HTTP {}", status),
      "open the endpoint in a browser on this machine and log in to the network, or set https_proxy");
}

/// Scheme and host of where a redirect points, as far as they are plain characters.
std::string target_of(std::string_view location) {
  const std::size_t scheme_end = location.find("://");
  if (scheme_end == location.npos) return "the same host";
  std::string target{location.substr(0, location.find_first_of("/?#", scheme_end + 3))};
  auto odd = [](char c) { return c <= ' ' || c > '~'; };
  if (target.size() > 100 || has_words(target, "@") || std::any_of(target.begin(), target.end(), odd))
    return "elsewhere";
  return target;
}

Result<ReadReply> parse_good(const HttpReply& reply) {
  ReadReply out;
  out.answer.status = reply.status;
  const std::string_view body = trim(reply.body);
  if (body.empty()) return out;
  if (body.starts_with('<')) return fail(page_instead(reply.status));
  if (!body.starts_with('{') || is_too_deep(body) || !Json::accept(body))
    return fail(not_the_service("the cloud's answer is no JSON object",
                                fmt::format("HTTP {}, {} bytes", reply.status, body.size()),
                                "check --endpoint-url and AWS_ENDPOINT_URL_IOT: does AWS IoT listen there?"));
  out.answer.body = reply.body;
  return out;
}

Result<ReadReply> parse_error(const HttpReply& reply) {
  ReadReply out;
  Answer& answer = out.answer;
  answer.status = reply.status;
  answer.error = error_name(reply.header("x-amzn-ErrorType"));
  bool is_worded = false;
  read_error_body(reply.body, answer, out.is_page, is_worded);
  const bool is_named = !answer.error.empty();
  if (!is_named) answer.error = fmt::format("HTTP {}", reply.status);
  out.meaning = meaning_of(answer);
  if (out.meaning == Meaning::throttled || out.meaning == Meaning::failed) return out;
  if (out.is_page) return fail(page_instead(reply.status));
  // A front door may refuse with a message alone, or with nothing; any other error of the service has a name.
  if (is_named || is_worded || reply.status == 401 || reply.status == 403) return out;
  return fail(not_the_service("what answered is not AWS IoT",
                              fmt::format("HTTP {} without the name of an error", reply.status),
                              "check --endpoint-url and AWS_ENDPOINT_URL_IOT: does AWS IoT listen there?"));
}

/// "arn:aws:iam::123456789012:user/factory" of "User: arn:… is not authorized to perform: …".
std::string user_of(std::string_view message) {
  const std::size_t at = message.find("arn:");
  if (at == message.npos || !has_words(message.substr(0, at), "User")) return {};
  message.remove_prefix(at);
  return escape_controls(cut_to(message.substr(0, message.find_first_of(" \"'<>\n\t")), longest_shown));
}

/// "iot:CreateThing" of "… is not authorized to perform: iot:CreateThing on resource …"; empty where it is not said.
std::string action_of(std::string_view message) {
  static constexpr std::string_view before = "to perform: ";
  const std::size_t at = message.find(before);
  if (at == message.npos) return {};
  message.remove_prefix(at + before.size());
  const std::string_view action = message.substr(0, message.find(' '));
  const std::size_t colon = action.find(':');
  if (colon == action.npos || action.size() > longest_type) return {};
  const bool is_plain = error_name(action.substr(0, colon)) == action.substr(0, colon) &&
                        error_name(action.substr(colon + 1)) == action.substr(colon + 1);
  return is_plain ? std::string{action} : std::string{};
}

}  // namespace

std::string in_short(const Answer& answer) {
  std::string out =
      answer.error.starts_with("HTTP ") ? answer.error : fmt::format("{} {}", answer.status, answer.error);
  std::string words = answer.message;
  std::replace(words.begin(), words.end(), '\n', ' ');
  if (!words.empty()) out += ": " + escape_controls(cut_to(words, longest_shown));
  return out;
}

Result<ReadReply> parse_reply(const HttpReply& reply) {
  if (reply.status >= 200 && reply.status < 300) return parse_good(reply);
  if (reply.status >= 300 && reply.status < 400)
    return fail(not_the_service("the endpoint sends us elsewhere: a captive portal or a proxy is in the way",
                                fmt::format("HTTP {} to {}", reply.status, target_of(reply.header("location"))),
                                "log in to the network, set https_proxy, or mend --endpoint-url"));
  if (reply.status == 407)
    return fail({Code::cloud_unreachable,
                 Remedy::retry,
                 "the proxy wants a name and a password",
                 {},
                 "HTTP 407",
                 "put them into https_proxy: http://name:password@proxy:port"});
  if (reply.status >= 400 && reply.status < 600) return parse_error(reply);
  return fail(not_the_service("what answered is not AWS IoT", fmt::format("HTTP {}", reply.status),
                              "check --endpoint-url and AWS_ENDPOINT_URL_IOT"));
}

std::optional<WallTime> parse_http_date(std::string_view text) {
  static constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  static constexpr std::string_view shape = "aaa, 00 aaa 0000 00:00:00 GMT";
  text = trim(text);
  if (text.size() != shape.size()) return std::nullopt;
  for (std::size_t at = 0; at < shape.size(); ++at) {
    const char c = text[at];
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'), digit = c >= '0' && c <= '9';
    if (shape[at] == 'a' ? !letter : shape[at] == '0' ? !digit : c != shape[at]) return std::nullopt;
  }
  auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (char c : text.substr(at, digits)) value = value * 10 + (c - '0');
    return value;
  };
  const auto month = std::find(months.begin(), months.end(), text.substr(8, 3));
  if (month == months.end()) return std::nullopt;
  namespace chr = std::chrono;
  const chr::year_month_day day{chr::year{number(12, 4)}, chr::month(static_cast<unsigned>(month - months.begin() + 1)),
                                chr::day(static_cast<unsigned>(number(5, 2)))};
  const int hour = number(17, 2), minute = number(20, 2), second = number(23, 2);
  if (!day.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  return chr::sys_days{day} + chr::hours{hour} + chr::minutes{minute} + chr::seconds{second};
}

Fault denial(const ReadReply& reply, std::string_view operation, std::string_view region, std::string_view keys) {
  const Answer& answer = reply.answer;
  Fault fault{Code::cloud_denied, Remedy::stop_line, "", {}, in_short(answer), ""};
  auto is = [&](std::string_view begins) { return answer.error.starts_with(begins); };
  if (reply.meaning == Meaning::clock) {
    fault.what = fmt::format("the cloud does not believe this machine's clock (iot:{})", operation);
    fault.advice = "set the clock; if it is right, something on the way changes or delays requests";
  } else if (reply.meaning == Meaning::expired && !is("ExpiredToken") && !has_words(answer.message, "expired")) {
    fault.what = fmt::format("the cloud does not know the access key (iot:{}; keys from {})", operation, keys);
    fault.advice = "it may be deleted, inactive, of another partition, or want a session token: renew it";
  } else if (reply.meaning == Meaning::expired) {
    fault.what = fmt::format("the session token has expired (iot:{}; keys from {})", operation, keys);
    fault.advice = "renew it, for example with `aws sso login`, then `espmint cloud check`";
  } else if (has_words(answer.message, "Credential should be scoped")) {
    fault.what = fmt::format("the endpoint is of another region or service than {} (iot:{})", region, operation);
    fault.advice = "let --region and --endpoint-url name the same region";
  } else if (is("SignatureDoesNotMatch") || is("InvalidSignature") || is("IncompleteSignature")) {
    fault.what = fmt::format("the cloud finds the signature wrong (iot:{}; keys from {})", operation, keys);
    fault.advice = "the secret key does not belong to the access key, or a proxy changes requests";
  } else {
    const std::string user = user_of(answer.message), action = action_of(answer.message);
    fault.what = fmt::format("the cloud denies {} to {}", action.empty() ? fmt::format("iot:{}", operation) : action,
                             user.empty() ? fmt::format("the keys from {}", keys) : user);
    fault.advice = "add the action to its IAM policy (docs/aws.md has the whole of it), then `espmint cloud check`";
  }
  return fault;
}

}  // namespace espmint::aws
