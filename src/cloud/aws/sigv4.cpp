#include "cloud/aws/sigv4.hpp"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "base/hash.hpp"
#include "base/secret.hpp"
#include "base/text.hpp"
#include "cloud/aws/client.hpp"

namespace espmint::aws {
namespace {

constexpr std::string_view algorithm_name = "AWS4-HMAC-SHA256";
constexpr std::string_view scope_end = "aws4_request";
constexpr std::string_view blanks = " \t\r\n\v\f";

using MacContext = std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)>;

// Fetched and set up once; each call starts from a copy: looking an algorithm up costs more than a short HMAC.
EVP_MAC_CTX* hmac_prototype() {
  static EVP_MAC_CTX* const prototype = [] {
    EVP_MAC_CTX* context = EVP_MAC_CTX_new(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                     OSSL_PARAM_END};
    if (context == nullptr || EVP_MAC_CTX_set_params(context, parameters) != 1) std::abort();
    return context;
  }();
  return prototype;
}

Sha256 hmac(ByteView key, std::string_view text) {
  MacContext context{EVP_MAC_CTX_dup(hmac_prototype()), &EVP_MAC_CTX_free};
  // OpenSSL takes a null key for "the one from before"; an empty one still needs an address.
  static constexpr std::uint8_t no_key = 0;
  const std::uint8_t* start = key.empty() ? &no_key : key.data();
  Sha256 out{};
  std::size_t size = 0;
  bool good = context && EVP_MAC_init(context.get(), start, key.size(), nullptr) == 1;
  good = good && EVP_MAC_update(context.get(), as_bytes(text).data(), text.size()) == 1;
  good = good && EVP_MAC_final(context.get(), out.data(), &size, out.size()) == 1;
  if (!good || size != out.size()) std::abort();  // no memory, or an OpenSSL without HMAC: nothing may go on without it
  return out;
}

/// %XX as its byte; a '%' that begins no such thing stays what it is, and so does '+'.
std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::optional<Bytes> byte;
    if (text[at] == '%' && at + 2 < text.size()) byte = from_hex(text.substr(at + 1, 2));
    if (byte) at += 2;
    out += byte ? static_cast<char>(byte->front()) : text[at];
  }
  return out;
}

std::string normal_path(std::string_view path) {
  std::vector<std::string_view> kept;
  for (std::string_view segment : split(path, '/')) {
    if (segment.empty() || segment == ".") continue;
    if (segment != "..")
      kept.push_back(segment);
    else if (!kept.empty())
      kept.pop_back();
  }
  std::string out;
  for (std::string_view segment : kept) {
    out += '/';
    out += segment;
  }
  if (kept.empty() || path.ends_with('/')) out += '/';
  return out;
}

std::string canonical_path(std::string_view path, bool normalize) {
  if (path.empty()) return "/";
  const std::string normal = normalize ? normal_path(path) : std::string{path};
  std::string out;
  for (std::string_view segment : split(normal, '/')) out += '/' + encode_label(segment);
  return out.substr(1);
}

std::string canonical_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (std::string_view part : split(query, '&')) {
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    const std::string_view value = equals == part.npos ? std::string_view{} : part.substr(equals + 1);
    pairs.emplace_back(encode_label(percent_decode(part.substr(0, equals))), encode_label(percent_decode(value)));
  }
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const auto& [name, value] : pairs) {
    if (!out.empty()) out += '&';
    out += name + '=' + value;
  }
  return out;
}

std::string fold_blanks(std::string_view value) {
  std::string out;
  bool between = false;
  for (char c : value) {
    if (blanks.find(c) != blanks.npos) {
      between = !out.empty();
      continue;
    }
    if (between) out += ' ';
    between = false;
    out += c;
  }
  return out;
}

struct CanonicalHeaders {
  std::string lines, names;
};

CanonicalHeaders canonical_headers(const std::vector<HttpHeader>& headers) {
  std::map<std::string, std::string> sorted;
  for (const HttpHeader& header : headers) {
    auto [at, is_new] = sorted.try_emplace(lower(trim(header.name)));
    if (!is_new) at->second += ',';
    at->second += fold_blanks(header.value);
  }
  CanonicalHeaders out;
  for (const auto& [name, value] : sorted) {
    out.lines += name + ':' + value + '\n';
    if (!out.names.empty()) out.names += ';';
    out.names += name;
  }
  return out;
}

Sha256 signing_key(ByteView secret, std::string_view day, std::string_view region, std::string_view service) {
  Bytes first = to_bytes("AWS4");
  first.reserve(first.size() + secret.size());  // so that growing leaves no copy behind
  append(first, secret);
  Sha256 key = hmac(first, day);
  wipe(first);
  for (std::string_view step : {region, service, scope_end}) {
    Sha256 next = hmac(key, step);
    wipe(key);
    key = next;
    wipe(next);
  }
  return key;
}

}  // namespace

Signature sign(const RequestToSign& request, const SigningKeys& keys, const SigningScope& scope) {
  const auto days = std::chrono::floor<std::chrono::days>(scope.at);
  const std::chrono::year_month_day date{days};
  const std::chrono::hh_mm_ss time{scope.at - days};
  const std::string day = fmt::format("{:04}{:02}{:02}", static_cast<int>(date.year()),
                                      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
  const std::string moment =
      fmt::format("{}T{:02}{:02}{:02}Z", day, time.hours().count(), time.minutes().count(), time.seconds().count());
  const std::string body_digest = to_hex(sha256_of(as_bytes(request.body)));

  Signature out;
  std::vector<HttpHeader> to_sign = request.headers;
  auto add = [&](std::string name, std::string value, bool is_signed) {
    HttpHeader header{std::move(name), std::move(value)};
    if (is_signed) to_sign.push_back(header);
    out.headers.push_back(std::move(header));
  };
  add("x-amz-date", moment, true);
  if (scope.send_body_digest) add("x-amz-content-sha256", body_digest, true);
  if (!keys.session_token.empty())
    add("x-amz-security-token", std::string{keys.session_token}, scope.sign_session_token);

  const CanonicalHeaders headers = canonical_headers(to_sign);
  out.canonical_request =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, canonical_path(request.path, scope.normalize_path),
                  canonical_query(request.query), headers.lines, headers.names, body_digest);
  const std::string where = fmt::format("{}/{}/{}/{}", day, scope.region, scope.service, scope_end);
  out.string_to_sign =
      fmt::format("{}\n{}\n{}\n{}", algorithm_name, moment, where, to_hex(sha256_of(as_bytes(out.canonical_request))));
  Sha256 key = signing_key(keys.secret_access_key, day, scope.region, scope.service);
  out.hex = to_hex(hmac(key, out.string_to_sign));
  wipe(key);
  std::string authorization = fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", algorithm_name,
                                          keys.access_key_id, where, headers.names, out.hex);
  add("Authorization", std::move(authorization), false);
  return out;
}

}  // namespace espmint::aws
