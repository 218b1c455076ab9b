// io/http.hpp: one request, one reply, over HTTP or HTTPS.
//   auto client = make_http_client(loop, {});      libcurl: proxies, TLS, HTTP/2, connections kept
//   CO_TRY(HttpReply reply, co_await client->send(std::move(request)));
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "io/loop.hpp"

namespace espmint {

struct HttpHeader {
  std::string name, value;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;  // absolute; path and query go out as they stand here, byte for byte
  std::vector<HttpHeader> headers;
  std::string body;                             // with Content-Length, also of an empty one where the method has a body
  Duration timeout = std::chrono::seconds{30};  // from the call to the last byte of the reply
};

struct HttpReply {
  int status = 0;
  std::vector<HttpHeader> headers;  // as they came, in order
  std::string body;
  /// Of the first header of this name, whatever its case; empty where there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

class HttpClient {
 public:
  virtual ~HttpClient() = default;
  /// Redirects are replies like any other. Faults: cloud_unreachable, with remedy retry where the request cannot have
  /// reached the server (no name, no route, refused, TLS not agreed), reconcile where it may have (cut, timed out); and
  /// cloud_reply_invalid where what came is no HTTP or longer than `longest_reply`. No fault quotes a header or a body.
  virtual Task<Result<HttpReply>> send(HttpRequest request) = 0;
};

inline constexpr std::size_t longest_reply = 4 * 1024 * 1024;

struct HttpOptions {
  std::string ca_file;        // PEM; empty: the system's store (also SSL_CERT_FILE)
  std::string user_agent;     // empty: none
  unsigned connections = 16;  // at most, to one host
  bool http2 = true;          // where the server offers it
  bool proxies = true;  // as the environment has them (https_proxy, no_proxy); false: none, for what is on this link
};
/// A client ends before its loop; who still waits then gets a fault. No request is ever sent twice, whatever becomes of
/// the connection.
std::unique_ptr<HttpClient> make_http_client(Loop& loop, HttpOptions options);

}  // namespace espmint
