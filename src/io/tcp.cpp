#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/text.hpp"
#include "io/carriers.hpp"

namespace espmint {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

using namespace std::chrono_literals;

constexpr Duration connect_limit = 5s;

Fault unreachable(const NetworkName& name, std::string seen) {
  return {
      Code::port_missing,
      Remedy::retry,
      fmt::format("nobody answers at {} port {}", name.host, name.port),
      {},
      std::move(seen),
      fmt::format("check that {} is switched on and reachable from here, and that its serial server runs", name.host)};
}

Task<Result<tcp::resolver::results_type>> resolve(asio::io_context& context, NetworkName name) {
  // A literal address needs no resolver, and so no resolver thread.
  boost::system::error_code not_literal;
  const auto address = asio::ip::make_address(name.host, not_literal);
  const auto port = parse_number(name.port);
  if (!not_literal && port) {
    const tcp::endpoint endpoint(address, static_cast<std::uint16_t>(*port));
    co_return tcp::resolver::results_type::create(endpoint, name.host, name.port);
  }
  tcp::resolver resolver(context);
  auto [error, found] = co_await resolver.async_resolve(name.host, name.port, asio::as_tuple(asio::use_awaitable));
  if (error) co_return fail(unreachable(name, fmt::format("host name {}: {}", name.host, error.message())));
  co_return found;
}

/// A cable that is pulled says nothing: without these a dead host would be waited for by the quarter of an hour.
void notice_lost_hosts(int fd) {
  const auto set = [fd](int level, int option, int value) {
    static_cast<void>(::setsockopt(fd, level, option, &value, sizeof value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 2);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 10'000);  // ms
}

class SocketPort final : public Port {
 public:
  explicit SocketPort(Connection connection)
      : stream_(std::move(connection.stream)),
        name_(stream_->name()),
        latency_(std::clamp<Duration>(2 * connection.took, 2ms, 500ms)) {}
  ~SocketPort() override { stream_->close(); }
  SocketPort(const SocketPort&) = delete;
  SocketPort& operator=(const SocketPort&) = delete;

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    return FdStream::read_some(stream_, into, deadline);
  }
  Task<Result<void>> write(ByteView bytes, Instant deadline) override {
    return FdStream::write(stream_, bytes, deadline);
  }
  // The speed is the server's affair. Saying "done" to another one would lose the board right after it changed.
  [[nodiscard]] bool has_baud() const override { return false; }
  Task<Result<void>> set_baud(Baud baud) override {
    if (baud == Baud{}) co_return ok();
    co_return fail({Code::baud_failed,
                    Remedy::refuse,
                    fmt::format("{} cannot change its speed", name_),
                    {},
                    "",
                    "use rfc2217://, or --baud 115200"});
  }
  Task<Result<void>> set_dtr(bool) override { co_return fail(no_lines()); }
  Task<Result<void>> set_rts(bool) override { co_return fail(no_lines()); }
  Task<Result<void>> set_dtr_rts(bool, bool) override { co_return fail(no_lines()); }
  Task<Result<void>> discard_input() override {
    std::array<std::uint8_t, 4096> dropped{};
    for (;;) {
      CO_TRY(const std::size_t count, stream_->read_now(dropped));
      if (count == 0) co_return ok();
    }
  }
  void close() override { stream_->close(); }
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Duration latency() const override { return latency_; }

 private:
  Fault no_lines() const {
    return {Code::no_reset_lines,
            Remedy::refuse,
            fmt::format("{} has no DTR and RTS", name_),
            {},
            "",
            "a bare socket carries bytes only: use rfc2217://, or hold BOOT and press RESET on the board"};
  }

  std::shared_ptr<FdStream> stream_;
  std::string name_;
  Duration latency_;
};

}  // namespace

Result<NetworkName> parse_network_name(const std::string& name) {
  const auto refuse = [&](std::string why) {
    return fail({Code::port_missing,
                 Remedy::refuse,
                 fmt::format("{} names no port", escape_controls(name)),
                 {},
                 std::move(why),
                 "write rfc2217://HOST:PORT, socket://HOST:PORT or /dev/ttyUSB0"});
  };
  NetworkName out;
  out.name = name;
  const std::size_t scheme_end = name.find("://");
  if (scheme_end == std::string::npos) return refuse("no scheme");
  out.scheme = name.substr(0, scheme_end);
  std::string rest = name.substr(scheme_end + 3);
  if (const std::size_t question = rest.find('?'); question != std::string::npos) {
    out.options = rest.substr(question + 1);
    rest.resize(question);
  }
  if (rest.ends_with('/')) rest.pop_back();
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string::npos) return refuse("no port number");
  out.host = rest.substr(0, colon);
  out.port = rest.substr(colon + 1);
  if (out.host.starts_with('[') && out.host.ends_with(']')) out.host = out.host.substr(1, out.host.size() - 2);
  if (out.host.empty()) return refuse("no host");
  const bool digits = !out.port.empty() && out.port.find_first_not_of("0123456789") == std::string::npos;
  const auto number = parse_number(out.port);
  if (!digits || !number || *number == 0 || *number > 65535) return refuse("the port number is not 1 to 65535");
  return out;
}

Task<Result<Connection>> connect_tcp(asio::io_context& context, NetworkName name) {
  CO_TRY(const auto endpoints, co_await resolve(context, name));
  const Instant limit = steady_now() + connect_limit;
  std::string seen = "no address";
  for (const auto& entry : endpoints) {
    const auto socket = std::make_shared<tcp::socket>(context);
    asio::steady_timer timer(context, limit);
    timer.async_wait([socket](boost::system::error_code cancelled) {
      boost::system::error_code ignored;
      if (!cancelled) socket->close(ignored);
    });
    const Instant start = steady_now();
    const tcp::endpoint endpoint = entry.endpoint();
    auto [error] = co_await socket->async_connect(endpoint, asio::as_tuple(asio::use_awaitable));
    timer.cancel();
    const Duration took = steady_now() - start;
    if (!error) {
      FileHandle handle{socket->release(error)};
      if (error) co_return fail(port_failed(name.name, "the connection cannot be taken over", error.message()));
      notice_lost_hosts(handle.get());
      CO_TRY(auto stream, FdStream::adopt(context, std::move(handle), FdStream::Kind::socket, name.name));
      co_return Connection{std::move(stream), took};
    }
    seen = error == asio::error::operation_aborted ? "no answer within 5 s" : error.message();
    if (steady_now() >= limit) break;
  }
  co_return fail(unreachable(name, std::move(seen)));
}

Task<Result<std::unique_ptr<Port>>> open_socket(asio::io_context& context, NetworkName name) {
  CO_TRY(Connection connection, co_await connect_tcp(context, std::move(name)));
  co_return std::make_unique<SocketPort>(std::move(connection));
}

}  // namespace espmint
