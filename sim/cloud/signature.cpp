#include "sim/cloud/signature.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/hash.hpp"
#include "base/text.hpp"

namespace espmint::sim {
namespace {

constexpr auto clock_tolerance = std::chrono::minutes{5};
constexpr std::string_view algorithm = "AWS4-HMAC-SHA256";

bool is_unreserved(unsigned char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

std::string percent_encoded(std::string_view text, bool but_slashes) {
  std::string out;
  for (unsigned char c : text) {
    if (is_unreserved(c) || (but_slashes && c == '/'))
      out.push_back(static_cast<char>(c));
    else
      out += fmt::format("%{:02X}", c);
  }
  return out;
}

/// Without dot segments and doubled slashes. Source: RFC 3986, 5.2.4.
std::string normalized(std::string_view path) {
  std::vector<std::string_view> kept;
  for (std::string_view segment : split(path, '/')) {
    if (segment.empty() || segment == ".") continue;
    if (segment != "..")
      kept.push_back(segment);
    else if (!kept.empty())
      kept.pop_back();
  }
  std::string out;
  for (std::string_view segment : kept) out.append("/").append(segment);
  if (out.empty() || (path.ends_with('/') && !out.ends_with('/'))) out += '/';
  return out;
}

std::string canonical_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (std::string_view pair : split(query, '&')) {
    if (pair.empty()) continue;
    auto equals = pair.find('=');
    std::string_view value = equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1);
    pairs.emplace_back(percent_encoded(percent_decoded(pair.substr(0, equals)), false),
                       percent_encoded(percent_decoded(value), false));
  }
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const auto& [name, value] : pairs) out += fmt::format("{}{}={}", out.empty() ? "" : "&", name, value);
  return out;
}

/// Trimmed, runs of blanks as one.
std::string folded(std::string_view value) {
  std::string out;
  for (char c : trim(value)) {
    bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!blank)
      out.push_back(c);
    else if (!out.ends_with(' '))
      out.push_back(' ');
  }
  return out;
}

Bytes hmac(ByteView key, std::string_view text) {
  Bytes out(32);
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), as_bytes(text).data(), text.size(), out.data(), &size);
  return out;
}

/// "20261122T081530Z"
std::optional<WallTime> parse_basic_time(std::string_view text) {
  if (text.size() != 16 || text[8] != 'T' || text[15] != 'Z') return std::nullopt;
  auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (std::size_t i = at; i < at + digits; ++i) {
      if (text[i] < '0' || text[i] > '9') return -1;
      value = value * 10 + (text[i] - '0');
    }
    return value;
  };
  namespace chr = std::chrono;
  int year = number(0, 4), month = number(4, 2), day = number(6, 2);
  int hours = number(9, 2), minutes = number(11, 2), seconds = number(13, 2);
  if (std::min({year, month, day, hours, minutes, seconds}) < 0 || hours > 23 || minutes > 59 || seconds > 60)
    return std::nullopt;
  chr::year_month_day date{chr::year{year}, chr::month{static_cast<unsigned>(month)},
                           chr::day{static_cast<unsigned>(day)}};
  if (!date.ok()) return std::nullopt;
  return chr::sys_days{date} + chr::hours{hours} + chr::minutes{minutes} + chr::seconds{seconds};
}

std::string basic_time(WallTime at) {
  std::string text = to_string(at);  // "2026-11-22T08:15:30Z"
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text;
}

struct Authorization {
  std::string key_id, date, region, service;
  std::vector<std::string> signed_headers;
  std::string signature;
};

/// "AWS4-HMAC-SHA256 Credential=ID/date/region/service/aws4_request, SignedHeaders=a;b, Signature=hex"
tl::expected<Authorization, SignatureRefusal> parse_authorization(std::string_view text) {
  auto incomplete = [](std::string message) {
    return tl::unexpected(SignatureRefusal{"IncompleteSignatureException", std::move(message)});
  };
  if (!text.starts_with(algorithm))
    return incomplete(fmt::format("Unsupported AWS 'algorithm': '{}'", text.substr(0, text.find(' '))));
  text.remove_prefix(algorithm.size());
  std::map<std::string_view, std::string_view> parts;
  for (std::string_view part : split(text, ',')) {
    part = trim(part);
    auto equals = part.find('=');
    if (equals == std::string_view::npos) return incomplete("Authorization header has a part without '='.");
    parts[part.substr(0, equals)] = part.substr(equals + 1);
  }
  for (std::string_view wanted : {"Credential", "SignedHeaders", "Signature"})
    if (!parts.contains(wanted))
      return incomplete(fmt::format("Authorization header requires '{}' parameter.", wanted));
  Authorization out;
  std::vector<std::string_view> scope = split(parts["Credential"], '/');
  if (scope.size() != 5 || scope[4] != "aws4_request")
    return incomplete("Credential must have exactly 5 slash-delimited elements and end with 'aws4_request'.");
  out.key_id = scope[0];
  out.date = scope[1];
  out.region = scope[2];
  out.service = scope[3];
  for (std::string_view name : split(parts["SignedHeaders"], ';')) out.signed_headers.emplace_back(name);
  out.signature = parts["Signature"];
  return out;
}

/// What must be among the signed ones: host, the date, and whatever says what is asked for.
std::optional<std::string> unsigned_header(const CloudRequest& request, const std::vector<std::string>& signed_ones) {
  auto is_signed = [&](std::string_view name) {
    return std::find(signed_ones.begin(), signed_ones.end(), name) != signed_ones.end();
  };
  if (!is_signed("host")) return "host";
  if (!is_signed("x-amz-date") && !is_signed("date")) return "x-amz-date";
  for (const HttpHeader& sent : request.headers) {
    std::string name = lower(sent.name);
    bool matters = name.starts_with("x-amz-") || name == "x-amzn-principal" || name == "x-amzn-iot-principal" ||
                   name == "x-amzn-iot-policy";
    if (matters && !is_signed(name)) return name;
  }
  for (const std::string& name : signed_ones)
    if (!request.header(name)) return name;
  return std::nullopt;
}

bool are_equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto byte = text[i] == '%' && i + 2 < text.size() ? from_hex(text.substr(i + 1, 2)) : std::nullopt;
    if (byte) {
      out.push_back(static_cast<char>(byte->front()));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string_view CloudRequest::path() const { return std::string_view{target}.substr(0, target.find('?')); }

std::string_view CloudRequest::query() const {
  auto mark = target.find('?');
  return mark == std::string::npos ? std::string_view{} : std::string_view{target}.substr(mark + 1);
}

std::optional<std::string> CloudRequest::header(std::string_view name) const {
  std::optional<std::string> out;
  for (const HttpHeader& sent : headers) {
    if (lower(sent.name) != lower(name)) continue;
    if (out)
      *out += "," + folded(sent.value);
    else
      out = folded(sent.value);
  }
  return out;
}

std::string canonical_request(const CloudRequest& request, const std::vector<std::string>& signed_headers) {
  std::vector<std::string> names = signed_headers;
  std::sort(names.begin(), names.end());
  std::string headers, list;
  for (const std::string& name : names) {
    headers += fmt::format("{}:{}\n", name, request.header(name).value_or(""));
    list += (list.empty() ? "" : ";") + name;
  }
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, percent_encoded(normalized(request.path()), true),
                     canonical_query(request.query()), headers, list, to_hex(sha256_of(as_bytes(request.body))));
}

std::string signature_of(std::string_view canonical, std::string_view time, std::string_view scope,
                         std::string_view secret) {
  Bytes key = to_bytes(fmt::format("AWS4{}", secret));
  for (std::string_view part : split(scope, '/')) key = hmac(key, part);
  return to_hex(
      hmac(key, fmt::format("{}\n{}\n{}\n{}", algorithm, time, scope, to_hex(sha256_of(as_bytes(canonical))))));
}

tl::expected<const AccessKey*, SignatureRefusal> verify_signature(const CloudRequest& request,
                                                                  std::span<const AccessKey* const> keys,
                                                                  std::string_view region, WallTime now) {
  auto refuse = [](std::string error, std::string message) {
    return tl::unexpected(SignatureRefusal{std::move(error), std::move(message)});
  };
  auto authorization = request.header("authorization");
  if (!authorization) return refuse("MissingAuthenticationTokenException", "Missing Authentication Token");
  auto claimed = parse_authorization(*authorization);
  if (!claimed) return tl::unexpected(claimed.error());
  auto time = request.header("x-amz-date");
  if (!time)
    return refuse("IncompleteSignatureException",
                  "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
  auto signed_at = parse_basic_time(*time);
  if (!signed_at)
    return refuse("IncompleteSignatureException",
                  fmt::format("Date must be in ISO-8601 'basic format'. Got '{}'.", *time));

  auto found = std::find_if(keys.begin(), keys.end(), [&](const AccessKey* key) { return key->id == claimed->key_id; });
  constexpr std::string_view bad_token = "The security token included in the request is invalid.";
  if (found == keys.end()) return refuse("UnrecognizedClientException", std::string{bad_token});
  const AccessKey& key = **found;
  if (!are_equal(request.header("x-amz-security-token").value_or(""), key.token))
    return refuse("UnrecognizedClientException", std::string{bad_token});
  if (key.expires && *key.expires <= now)
    return refuse("ExpiredTokenException", "The security token included in the request is expired");

  constexpr std::string_view invalid = "InvalidSignatureException";
  if (claimed->region != region)
    return refuse(std::string{invalid},
                  fmt::format("Credential should be scoped to a valid region, not '{}'. ", claimed->region));
  if (claimed->service != "iot" && claimed->service != "execute-api")
    return refuse(std::string{invalid}, "Credential should be scoped to correct service: 'iot'. ");
  if (claimed->date != time->substr(0, 8))
    return refuse(
        std::string{invalid},
        fmt::format("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                    "'{}' != '{}', from '{}'.",
                    claimed->date, time->substr(0, 8), *time));
  if (*signed_at < now - clock_tolerance)
    return refuse(std::string{invalid}, fmt::format("Signature expired: {} is now earlier than {} ({} - 5 min.)", *time,
                                                    basic_time(now - clock_tolerance), basic_time(now)));
  if (*signed_at > now + clock_tolerance)
    return refuse(std::string{invalid},
                  fmt::format("Signature not yet current: {} is still later than {} ({} + 5 min.)", *time,
                              basic_time(now + clock_tolerance), basic_time(now)));
  if (auto name = unsigned_header(request, claimed->signed_headers))
    return refuse(std::string{invalid}, fmt::format("'{}' must be a 'SignedHeader' in the AWS Authorization.", *name));
  auto said_digest = request.header("x-amz-content-sha256");
  if (said_digest && *said_digest != to_hex(sha256_of(as_bytes(request.body))))
    return refuse(std::string{invalid}, "The provided 'x-amz-content-sha256' header does not match what was computed.");
  std::string scope = fmt::format("{}/{}/{}/aws4_request", claimed->date, claimed->region, claimed->service);
  std::string canonical = canonical_request(request, claimed->signed_headers);
  if (!are_equal(signature_of(canonical, *time, scope, key.secret), claimed->signature))
    return refuse(
        std::string{invalid},
        fmt::format("The request signature we calculated does not match the signature you provided. Check your "
                    "AWS Secret Access Key and signing method. Consult the service documentation for details."
                    "\n\nThe Canonical String for this request should have been\n'{}'\n",
                    canonical));
  return &key;
}

}  // namespace espmint::sim
