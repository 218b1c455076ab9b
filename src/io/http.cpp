#include "io/http.hpp"

#include <curl/curl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <cctype>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/text.hpp"
#include "io/descriptor.hpp"
#include "io/event.hpp"

namespace espmint {

std::string_view HttpReply::header(std::string_view name) const {
  const std::string wanted = lower(name);
  for (const HttpHeader& header : headers)
    if (lower(header.name) == wanted) return header.value;
  return {};
}

namespace {

using namespace std::chrono_literals;

constexpr std::size_t longest_head = 256 * 1024;  // bytes of all of a reply's header lines
// Of one address of a host: where the first is a black hole, the next still gets its turn.
constexpr Duration connect_patience = 15s;
// While replies are awaited. With libcurl 7.88, where the frames of several HTTP/2 streams came at once, all but the
// first reply were seen to wait for the socket to say more, until their timeouts; a further look finds them.
constexpr Duration longest_look_away = 50ms;
// Idle connections are left before the many front doors that close theirs after a minute.
constexpr long idle_seconds = 50;

template <auto free>
struct FreedBy {
  template <typename T>
  void operator()(T* owned) const {
    free(owned);
  }
};
using Easy = std::unique_ptr<CURL, FreedBy<curl_easy_cleanup>>;
using Multi = std::unique_ptr<CURLM, FreedBy<curl_multi_cleanup>>;
using Url = std::unique_ptr<CURLU, FreedBy<curl_url_cleanup>>;
using Lines = std::unique_ptr<curl_slist, FreedBy<curl_slist_free_all>>;
using Text = std::unique_ptr<char, FreedBy<curl_free>>;

// ---- one request and what became of it

/// Shared by the waiting coroutine and the thread. The thread writes until it posts `done`; the coroutine reads after.
struct Exchange {
  HttpRequest request;
  std::string host;  // "iot.eu-central-1.amazonaws.com", with the port where the URL names one
  Instant deadline;
  boost::asio::any_io_executor executor;  // of the waiting coroutine
  Event done;                             // only touched by the coroutine's loop
  std::optional<Result<HttpReply>> outcome;
  std::atomic<bool> abandoned = false;

  // The thread's own.
  Easy easy;
  Lines header_lines;
  char reason[CURL_ERROR_SIZE] = {};
  HttpReply reply;
  std::size_t head_bytes = 0;
  bool under_way = false;  // a connection is there and the request is going out, or has
  bool again = false;      // libcurl wanted to send it once more
  bool too_long = false;
  bool head_whole = false;  // its empty line came
};

Fault not_reached(const Exchange& exchange, std::string why, std::string advice = {}) {
  return {Code::cloud_unreachable, Remedy::retry,    fmt::format("{} cannot be reached", exchange.host), {},
          std::move(why),          std::move(advice)};
}
Fault cut_off(const Exchange& exchange, std::string why) {
  return {Code::cloud_unreachable,
          Remedy::reconcile,
          fmt::format("{} took a request and gave no whole reply", exchange.host),
          {},
          std::move(why)};
}
Fault no_http(const Exchange& exchange, std::string why) {
  return {Code::cloud_reply_invalid,
          Remedy::reconcile,
          fmt::format("{} answered something that is no HTTP reply", exchange.host),
          {},
          std::move(why),
          "a proxy or a captive portal may be in the way"};
}
/// What will not get better by itself: the request or our own settings.
Fault not_sendable(Code code, std::string what, std::string why) {
  return {code, Remedy::refuse, std::move(what), {}, std::move(why)};
}

/// The variable of the environment that names a proxy for this URL; empty: none. As libcurl looks: HTTP_PROXY in
/// capitals is not heeded, a web server sets it from a request's header.
std::string_view proxy_variable(std::string_view url) {
  const bool tls = url.starts_with("https:");
  for (std::string_view name : {tls ? "https_proxy" : "http_proxy", tls ? "HTTPS_PROXY" : "", "all_proxy", "ALL_PROXY"})
    if (const char* set = name.empty() ? nullptr : std::getenv(name.data()); set != nullptr && *set != '\0')
      return name;
  return {};
}

std::string advice_for(CURLcode code, const Exchange& exchange, std::string_view why) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_OPERATION_TIMEDOUT:
      return "check the network, and https_proxy where there is a proxy";
    case CURLE_COULDNT_CONNECT: {
      // libcurl says whom it called: where that is not the host, it was the proxy.
      const std::string_view host = std::string_view{exchange.host}.substr(0, exchange.host.rfind(':'));
      const std::string_view variable = proxy_variable(exchange.request.url);
      if (variable.empty() || why.find(host) != std::string_view::npos) return {};
      return fmt::format("that is the proxy named in {}: check it, or unset it", variable);
    }
    case CURLE_COULDNT_RESOLVE_PROXY:
      return "check https_proxy and http_proxy";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:  // also: a CA of the right name with another key
      return "check this machine's clock; a proxy with a certificate of its own: name its CA in AWS_CA_BUNDLE or "
             "SSL_CERT_FILE";
    default:
      return {};
  }
}

std::string show_seconds(Duration duration) {
  return fmt::format("{:.3g} s", std::chrono::duration<double>(duration).count());
}

Fault timed_out(const Exchange& exchange) {
  std::string why = fmt::format("no reply within {}", show_seconds(exchange.request.timeout));
  return exchange.under_way ? cut_off(exchange, std::move(why)) : not_reached(exchange, std::move(why));
}

/// libcurl's words for it. They name hosts and numbers and quote neither headers nor bodies; but a proxy's address that
/// it does not understand, it shows whole, password and all.
std::string reason_of(CURLcode code, const Exchange& exchange) {
  const bool quotes_proxy = std::string_view{exchange.reason}.starts_with("Unsupported proxy");
  std::string reason = *exchange.reason == '\0' || quotes_proxy ? curl_easy_strerror(code) : exchange.reason;
  long error = 0;
  curl_easy_getinfo(exchange.easy.get(), CURLINFO_OS_ERRNO, &error);
  if (code == CURLE_COULDNT_CONNECT && error != 0) reason += " (" + error_text(static_cast<int>(error)) + ")";
  return reason;
}

Fault fault_of(CURLcode code, const Exchange& exchange) {
  std::string why = reason_of(code, exchange);
  if (code == CURLE_SSL_CACERT_BADFILE)
    return not_sendable(Code::input_unreadable, "the file of trusted CAs cannot be used", std::move(why));
  if (exchange.again) return cut_off(exchange, "the connection ended before the first byte of a reply");
  if (exchange.too_long || code == CURLE_FILESIZE_EXCEEDED)
    return no_http(exchange, fmt::format("the reply is longer than {}", show_bytes(longest_reply)));
  if (!exchange.under_way) {
    std::string advice = advice_for(code, exchange, why);
    return not_reached(exchange, std::move(why), std::move(advice));
  }
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:  // no status line: HTTP/0.9, said as "HTTP/0.9 when not allowed"
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
      return no_http(exchange, std::move(why));
    default:
      return cut_off(exchange, std::move(why));
  }
}

// ---- what libcurl calls, on the thread

/// Called whenever a request is about to go out. libcurl repeats by itself what met a kept connection that ended; but
/// whether the first was heard nobody knows, and a second one might mint a second certificate.
int on_sending(void* exchange_of, char*, char*, int, int) {
  auto& exchange = *static_cast<Exchange*>(exchange_of);
  exchange.again = std::exchange(exchange.under_way, true);
  return exchange.again ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* exchange_of) {
  auto& exchange = *static_cast<Exchange*>(exchange_of);
  const std::string_view line{data, size};
  exchange.head_bytes += size;
  if (exchange.head_bytes > longest_head) {
    exchange.too_long = true;
    return 0;
  }
  auto& headers = exchange.reply.headers;
  if (line.starts_with("HTTP/")) {  // of a 1xx first, then of the reply
    headers.clear();
    exchange.head_whole = false;
  } else if (trim(line).empty()) {
    exchange.head_whole = true;
  } else if (exchange.reply.body.empty()) {  // what comes after the body is a trailer, which nobody needs
    const std::size_t colon = line.find(':');
    const bool folded = line.front() == ' ' || line.front() == '\t';
    if (folded && !headers.empty())
      headers.back().value.append(" ").append(trim(line));
    else if (!folded && colon != std::string_view::npos)
      headers.push_back({std::string{line.substr(0, colon)}, std::string{trim(line.substr(colon + 1))}});
  }
  return size;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* exchange_of) {
  auto& exchange = *static_cast<Exchange*>(exchange_of);
  if (size > longest_reply - exchange.reply.body.size()) {
    exchange.too_long = true;
    return 0;
  }
  exchange.reply.body.append(data, size);
  return size;
}

/// Programs that are started meanwhile inherit no connection; libcurl 7.88 does not see to that.
curl_socket_t open_socket(void*, curlsocktype, curl_sockaddr* address) {
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// ---- a request as libcurl's options

bool has_body(const HttpRequest& request) {
  return !request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
}

bool is_token(std::string_view text) {  // RFC 9110, 5.6.2
  constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](unsigned char c) {
    return std::isalnum(c) != 0 || marks.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool is_field_value(std::string_view text) {
  return std::ranges::none_of(text, [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

/// The headers and nothing that libcurl would add of its own.
curl_slist* header_lines(const HttpRequest& request) {
  curl_slist* list = nullptr;
  const auto add = [&](const std::string& line) { list = curl_slist_append(list, line.c_str()); };
  for (std::string_view own : {"Accept", "Content-Type", "Expect"}) {
    const bool given =
        std::ranges::any_of(request.headers, [&](const HttpHeader& h) { return lower(h.name) == lower(own); });
    if (!given) add(fmt::format("{}:", own));  // "Name:" takes it out
  }
  for (const HttpHeader& header : request.headers)  // "Name;" sends it with an empty value
    add(header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
  return list;
}

struct Trust {
  std::string file;  // PEM; empty: as libcurl was built
};

/// libcurl itself heeds no SSL_CERT_FILE, though OpenSSL's own programs and AWS's do.
Trust trust_of(const HttpOptions& options) {
  if (!options.ca_file.empty()) return {options.ca_file};
  if (const char* file = std::getenv("SSL_CERT_FILE"); file != nullptr && *file != '\0') return {file};
  const char* built_in = curl_version_info(CURLVERSION_NOW)->cainfo;
  return {built_in != nullptr ? built_in : ""};
}

void set_options(Exchange& exchange, const HttpOptions& options, const Trust& trust) {
  const HttpRequest& request = exchange.request;
  CURL* easy = exchange.easy.get();
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(easy, option, value); };

  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  if (has_body(request)) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.c_str());
  } else if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  }
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  exchange.header_lines.reset(header_lines(request));
  set(CURLOPT_HTTPHEADER, exchange.header_lines.get());
  if (!options.user_agent.empty()) set(CURLOPT_USERAGENT, options.user_agent.c_str());

  set(CURLOPT_HTTP_VERSION, static_cast<long>(options.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  if (options.http2) set(CURLOPT_PIPEWAIT, 1L);  // many at once: one connection, if it turns out to carry many
  if (!options.proxies) set(CURLOPT_PROXY, "");
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  if (!trust.file.empty()) {
    set(CURLOPT_CAINFO, trust.file.c_str());
    // Beside a folder libcurl would not cache the parsed file, and parse it for each connection.
    set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
  }
  set(CURLOPT_MAXAGE_CONN, idle_seconds);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  const Duration connecting = std::min(connect_patience, request.timeout);
  set(CURLOPT_CONNECTTIMEOUT_MS, std::max<long>(1, static_cast<long>(connecting / 1ms)));
  set(CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(longest_reply));
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);  // a name that is still being looked up is not waited for

  set(CURLOPT_OPENSOCKETFUNCTION, open_socket);
  set(CURLOPT_PREREQFUNCTION, on_sending);
  set(CURLOPT_PREREQDATA, &exchange);
  set(CURLOPT_HEADERFUNCTION, on_header);
  set(CURLOPT_HEADERDATA, &exchange);
  set(CURLOPT_WRITEFUNCTION, on_body);
  set(CURLOPT_WRITEDATA, &exchange);
  set(CURLOPT_ERRORBUFFER, exchange.reason);
  set(CURLOPT_PRIVATE, &exchange);
}

/// The host of a URL that can be asked for. What is in a URL beside it stays out of the fault.
Result<std::string> host_of(const std::string& url) {
  const auto bad = [](std::string why) {
    return fail(not_sendable(Code::cloud_unreachable, "not an address of a web service", std::move(why)));
  };
  const Url parsed{curl_url()};
  const CURLUcode code = curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), CURLU_PATH_AS_IS | CURLU_DISALLOW_USER);
  if (code == CURLUE_USER_NOT_ALLOWED) return bad("a URL with a user name");
  if (code == CURLUE_UNSUPPORTED_SCHEME) return bad("neither http nor https");
  if (code != CURLUE_OK) return bad(curl_url_strerror(code));
  const auto part = [&](CURLUPart which) {
    char* text = nullptr;
    curl_url_get(parsed.get(), which, &text, 0);
    const Text owner{text};
    return std::string{text != nullptr ? text : ""};
  };
  const std::string scheme = part(CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return bad("neither http nor https");
  if (!is_field_value(url)) return bad("control bytes");
  const std::string port = part(CURLUPART_PORT);
  return port.empty() ? part(CURLUPART_HOST) : part(CURLUPART_HOST) + ":" + port;
}

Result<void> check_headers(const HttpRequest& request) {
  if (!is_token(request.method)) return fail(not_sendable(Code::internal, "no method of HTTP", {}));
  for (const HttpHeader& header : request.headers) {
    if (!is_token(header.name)) return fail(not_sendable(Code::internal, "the name of a header cannot be sent", {}));
    if (!is_field_value(header.value))
      return fail(not_sendable(Code::internal, fmt::format("the header {} has control bytes", header.name), {}));
  }
  return ok();
}

// ---- the thread

/// What the coroutines and the thread share. It outlives both: whoever still holds it finds it closed.
class Desk {
 public:
  Desk() : multi_(curl_multi_init()) {}

  void hand(std::shared_ptr<Exchange> exchange) {
    const std::lock_guard lock(mutex_);
    incoming_.push_back(std::move(exchange));
    curl_multi_wakeup(multi_.get());
  }
  /// Whoever waited is gone, perhaps with its loop: nothing is posted there from now on.
  void abandon(Exchange& exchange) {
    const std::lock_guard lock(mutex_);
    if (exchange.outcome) return;
    exchange.abandoned = true;
    if (multi_) curl_multi_wakeup(multi_.get());
  }
  void deliver(const std::shared_ptr<Exchange>& exchange, Result<HttpReply> outcome) {
    const std::lock_guard lock(mutex_);
    if (exchange->abandoned) return;
    exchange->outcome.emplace(std::move(outcome));
    boost::asio::post(exchange->executor, [exchange] { exchange->done.set(); });
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    curl_multi_wakeup(multi_.get());
  }
  bool take(std::vector<std::shared_ptr<Exchange>>& out) {
    const std::lock_guard lock(mutex_);
    for (auto& exchange : incoming_) out.push_back(std::move(exchange));
    incoming_.clear();
    return !closing_;
  }
  CURLM* multi() { return multi_.get(); }
  /// At the end of the thread.
  void free_multi() {
    const std::lock_guard lock(mutex_);
    multi_.reset();
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Exchange>> incoming_;
  bool closing_ = false;
  Multi multi_;
};

class Engine {
 public:
  Engine(Desk& desk, const HttpOptions& options) : desk_(desk), options_(options), trust_(trust_of(options)) {
    curl_multi_setopt(desk.multi(), CURLMOPT_MAX_HOST_CONNECTIONS, static_cast<long>(options.connections));
    curl_multi_setopt(desk.multi(), CURLMOPT_MAXCONNECTS, static_cast<long>(options.connections));
    curl_multi_setopt(desk.multi(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  }

  void run() {
    std::vector<std::shared_ptr<Exchange>> fresh;
    while (desk_.take(fresh)) {
      for (auto& exchange : fresh) start(std::move(exchange));
      fresh.clear();
      int running = 0;
      curl_multi_perform(desk_.multi(), &running);
      finish_ended();
      drop_late_and_abandoned();
      curl_multi_poll(desk_.multi(), nullptr, 0, pause_ms(), nullptr);
    }
    for (auto& exchange : fresh) desk_.deliver(exchange, fail(not_reached(*exchange, "the client ended")));
    while (!active_.empty()) {
      Exchange& last = *active_.back();
      end(last, fail(last.under_way ? cut_off(last, "the client ended") : not_reached(last, "the client ended")));
    }
  }

 private:
  void start(std::shared_ptr<Exchange> exchange) {
    exchange->easy.reset(curl_easy_init());
    set_options(*exchange, options_, trust_);
    curl_multi_add_handle(desk_.multi(), exchange->easy.get());
    active_.push_back(std::move(exchange));
  }

  void finish_ended() {
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(desk_.multi(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      Exchange* exchange = nullptr;
      long status = 0;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
      curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
      exchange->reply.status = static_cast<int>(status);
      if (code == CURLE_OK && exchange->head_whole)
        end(*exchange, std::move(exchange->reply));
      else if (code == CURLE_OK)  // libcurl takes a head without an end for a reply
        end(*exchange, fail(cut_off(*exchange, "the connection ended amid the head of a reply")));
      else
        end(*exchange, fail(fault_of(code, *exchange)));
    }
  }

  void drop_late_and_abandoned() {
    const Instant now = steady_now();
    for (std::size_t i = active_.size(); i-- > 0;) {
      Exchange& exchange = *active_[i];
      if (exchange.abandoned || exchange.deadline <= now) end(exchange, fail(timed_out(exchange)));
    }
  }

  [[nodiscard]] int pause_ms() const {
    Duration pause = active_.empty() ? Duration{1h} : longest_look_away;
    const Instant now = steady_now();
    for (const auto& exchange : active_) pause = std::min(pause, exchange->deadline - now);
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(std::max(pause, Duration{})).count());
  }

  void end(Exchange& exchange, Result<HttpReply> outcome) {
    const auto it = std::ranges::find(active_, &exchange, [](const auto& each) { return each.get(); });
    const std::shared_ptr<Exchange> owned = std::move(*it);
    active_.erase(it);
    curl_multi_remove_handle(desk_.multi(), owned->easy.get());
    owned->easy.reset();
    owned->header_lines.reset();
    desk_.deliver(owned, std::move(outcome));
  }

  Desk& desk_;
  HttpOptions options_;
  Trust trust_;
  std::vector<std::shared_ptr<Exchange>> active_;
};

class CurlClient final : public HttpClient {
 public:
  explicit CurlClient(const HttpOptions& options) : desk_(std::make_shared<Desk>()) {
    // The loop's thread hears the signals; and a peer that hangs up is an error code, not a SIGPIPE.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([desk = desk_, options] {
      Engine{*desk, options}.run();
      desk->free_multi();
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~CurlClient() override {
    desk_->close();
    thread_.join();
  }
  CurlClient(const CurlClient&) = delete;
  CurlClient& operator=(const CurlClient&) = delete;

  Task<Result<HttpReply>> send(HttpRequest request) override {
    CO_TRY(std::string host, host_of(request.url));
    CO_TRY(check_headers(request));
    auto exchange = std::make_shared<Exchange>();
    exchange->deadline = steady_now() + request.timeout;
    exchange->host = std::move(host);
    exchange->request = std::move(request);
    exchange->executor = co_await boost::asio::this_coro::executor;
    // However this coroutine ends, also with its loop and after this client.
    struct Leaving {
      std::shared_ptr<Desk> desk;
      std::shared_ptr<Exchange> exchange;
      ~Leaving() { desk->abandon(*exchange); }
    };
    const Leaving leaving{desk_, exchange};
    desk_->hand(exchange);
    co_await exchange->done.wait();
    if (!exchange->done.is_set()) co_return fail(cut_off(*exchange, "broken off"));
    co_return std::move(*exchange->outcome);
  }

 private:
  std::shared_ptr<Desk> desk_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<HttpClient> make_http_client(Loop&, HttpOptions options) {
  // Of the whole process, never undone: another client may live.
  static const bool once = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  (void)once;
  return std::make_unique<CurlClient>(options);
}

}  // namespace espmint
