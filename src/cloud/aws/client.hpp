// cloud/aws/client.hpp: calls to AWS IoT's control plane, signed, held to its limits, tried again where that is safe.
// Source: AWS IoT API Reference; Signature Version 4; "Exponential Backoff And Jitter", AWS Architecture Blog.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/http.hpp"

namespace espmint::aws {

/// One call as the API reference writes it.
struct Call {
  std::string operation;  // "CreateThing": names the permission iot:CreateThing and the bucket of its rate
  std::string method;     // "POST"
  std::string path;       // "/things/24d7eb123456", each label encoded by encode_label
  std::vector<std::pair<std::string, std::string>> query;  // as they mean, not encoded
  std::vector<HttpHeader> headers;                         // x-amzn-principal
  std::string body;                                        // JSON; empty: none
  /// Whether a second one does no harm. One that is not is sent again only where the first cannot have had an effect.
  bool repeatable = true;
};

/// What the service said. Errors that mean something to whoever asked are answers, not faults.
struct Answer {
  int status = 0;
  std::string error;                      // "ResourceAlreadyExistsException"; empty: good
  std::string message;                    // the service's, of an error; not trusted: escape before showing
  std::string resource_id, resource_arn;  // of ResourceAlreadyExistsException
  std::string body;                       // JSON, of a good one; empty: the operation answers nothing
  [[nodiscard]] bool good() const { return error.empty(); }
};

class Client {
 public:
  virtual ~Client() = default;
  /// Faults: cloud_unreachable (remedy retry: had no effect; reconcile: may have had one), cloud_throttled,
  /// cloud_denied (keys, token, clock or permission, naming the action), cloud_reply_invalid (a proxy's or a captive
  /// portal's page, no JSON), credentials_missing. Everything else the service refuses is an Answer.
  virtual Task<Result<Answer>> call(Call call) = 0;
  [[nodiscard]] virtual const std::string& region() const = 0;
};

/// Everything but A-Z a-z 0-9 - . _ ~ as %XX: for labels of a path and for queries.
std::string encode_label(std::string_view text);

}  // namespace espmint::aws
