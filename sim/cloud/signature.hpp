// sim/cloud/signature.hpp: whether a request was signed by somebody who knows the secret key, byte for byte as it came.
//   auto key = verify_signature(request, keys, "eu-central-1", now);
// Source: AWS General Reference, Signature Version 4; the words of refusals: IAM User Guide, Troubleshoot signed
// requests.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "io/http.hpp"

namespace espmint::sim {

/// A request as it came over the wire.
struct CloudRequest {
  std::string method;
  std::string target;  // "/things/a%3Ab?maxResults=1"
  std::vector<HttpHeader> headers{};
  std::string body{};

  [[nodiscard]] std::string_view path() const;
  /// Behind the question mark; empty where there is none.
  [[nodiscard]] std::string_view query() const;
  /// All values of this name, whatever its case, joined by commas; nothing where there is none.
  [[nodiscard]] std::optional<std::string> header(std::string_view name) const;
};

struct AccessKey {
  std::string id, secret;
  std::string token{};                // of a temporary key, which is none without
  std::optional<WallTime> expires{};  // of the token
};

/// 403 with this type and these words.
struct SignatureRefusal {
  std::string error, message;
};

/// The key that signed, of those that exist. Its clock may be five minutes off either way. `region` and the service
/// `iot` (or `execute-api`, which older clients sign for) must be the scope's.
tl::expected<const AccessKey*, SignatureRefusal> verify_signature(const CloudRequest&,
                                                                  std::span<const AccessKey* const>,
                                                                  std::string_view region, WallTime now);

/// What is signed: method, path encoded once more, sorted query, the named headers, their names, the body's digest.
std::string canonical_request(const CloudRequest&, const std::vector<std::string>& signed_headers);
/// Hex. `scope`: "20261122/eu-central-1/iot/aws4_request".
std::string signature_of(std::string_view canonical, std::string_view time, std::string_view scope,
                         std::string_view secret);

/// "%3A" as ":"; a lone percent sign stays.
std::string percent_decoded(std::string_view text);

}  // namespace espmint::sim
