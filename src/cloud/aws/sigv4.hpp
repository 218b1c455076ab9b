// cloud/aws/sigv4.hpp: Signature Version 4: what a request must carry so that AWS believes who sends it. Pure.
//   Signature signature = sign({"GET", "/endpoint", "endpointType=iot%3AData-ATS", {{"host", host}}, ""}, keys, scope);
//   then send the request with the headers that were signed and `signature.headers`.
// Source: AWS General Reference / IAM User Guide, "Create a signed AWS API request"; verified with the vectors of
// awslabs/aws-c-auth and against botocore. Why not libcurl's CURLOPT_AWS_SIGV4: libcurl 7.88 signs a ':' or '%' in a
// path and an unsorted query wrongly.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "io/clock.hpp"
#include "io/http.hpp"

namespace espmint::aws {

/// Views: whoever owns the credentials keeps them alive while it signs.
struct SigningKeys {
  std::string_view access_key_id;
  ByteView secret_access_key;
  std::string_view session_token;  // empty: keys that do not expire
};

/// A request as it will be sent, byte for byte.
struct RequestToSign {
  std::string_view method;
  std::string_view path;            // "/things/24%3Ad7"; empty means "/"
  std::string_view query;           // without its '?'
  std::vector<HttpHeader> headers;  // every one is signed. `host` is needed, with a port that is not the scheme's own
  std::string_view body;
};

struct SigningScope {
  std::string_view region, service;
  WallTime at;                     // the service accepts 5 minutes either way
  bool normalize_path = true;      // "." and ".." and doubled '/' are resolved before it is signed
  bool sign_session_token = true;  // else it is added unsigned
  bool send_body_digest = false;   // x-amz-content-sha256; IoT asks for none
};

struct Signature {
  std::string canonical_request, string_to_sign;  // for tests: they hold the session token, so no log may have them
  std::string hex;
  std::vector<HttpHeader> headers;  // to send besides: x-amz-date, x-amz-security-token, Authorization
};

/// The path is encoded once more than it is sent (every service but S3 wants that); the query is decoded, encoded anew
/// and sorted; header values are folded to single spaces, equal names joined in the order they came.
Signature sign(const RequestToSign&, const SigningKeys&, const SigningScope&);

}  // namespace espmint::aws
