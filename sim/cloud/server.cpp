#include "sim/cloud/server.hpp"

#include <fmt/format.h>
#include <stdlib.h>  // NOLINT: mkdtemp is POSIX

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <csignal>
#include <ostream>

#include "base/text.hpp"
#include "io/file.hpp"
#include "io/loop.hpp"

namespace espmint::sim {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using nlohmann::json;

constexpr std::size_t longest_body = 1024 * 1024;
constexpr auto quietly = asio::as_tuple(asio::use_awaitable);

HttpReply json_reply(int status, const json& body) {
  return {status, {{"Content-Type", "application/json"}}, body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

std::string parameter_in(std::string_view query, std::string_view name) {
  for (std::string_view pair : split(query, '&'))
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
      return percent_decoded(pair.substr(name.size() + 1));
  return {};
}

/// Instead of the faults that were. Fault usage.
Result<void> set_faults(Iot& cloud, const json& wanted, Instant now) {
  TRY(cloud.faults().add("none"));
  for (const json& one : wanted) {
    if (!one.is_string()) return fail({.code = Code::usage, .remedy = Remedy::refuse, .what = "a fault is a text"});
    TRY(cloud.faults().add(one.get<std::string>(), now));
  }
  return ok();
}

/// What is asked of the stand-in itself.
HttpReply own_reply(Iot& cloud, const CloudRequest& request, Instant now) {
  if (request.method == "GET" && request.path() == "/_sim/state") return json_reply(200, cloud.state());
  if (request.method == "GET" && request.path() == "/_sim/allowed") {
    auto asked = [&](std::string_view name) { return parameter_in(request.query(), name); };
    bool allowed = cloud.allowed(asked("certificate"), asked("client"), asked("action"), asked("topic"));
    return json_reply(200, {{"allowed", allowed}});
  }
  if (request.method == "POST" && request.path() == "/_sim/faults") {
    json body = json::parse(request.body, nullptr, false);
    if (!body.is_object() || !body.contains("faults") || !body["faults"].is_array())
      return json_reply(400, {{"message", "write {\"faults\": [\"cut-after@2\"]}"}});
    if (auto set = set_faults(cloud, body["faults"], now); !set)
      return json_reply(400, {{"message", describe(set.error())}});
    return json_reply(200, json::object());
  }
  return json_reply(404, {{"message", "GET /_sim/state, GET /_sim/allowed, POST /_sim/faults"}});
}

struct Shop {
  Iot& cloud;
  Loop& loop;
  Duration latency;
};

/// One connection to its end.
Task<> serve(std::shared_ptr<Shop> shop, tcp::socket socket) {
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay{true}, ignored);
  boost::beast::flat_buffer buffer;
  while (true) {
    http::request_parser<http::string_body> parser;
    parser.body_limit(longest_body);
    auto [broken, read_bytes] = co_await http::async_read(socket, buffer, parser, quietly);
    if (broken) break;
    http::request<http::string_body> got = parser.release();
    CloudRequest request{.method = std::string{got.method_string()}, .target = std::string{got.target()}};
    for (const auto& field : got)
      request.headers.push_back({std::string{field.name_string()}, std::string{field.value()}});
    request.body = std::move(got.body());

    IotDelivery delivery;
    if (request.path().starts_with("/_sim/")) {
      delivery.reply = own_reply(shop->cloud, request, shop->loop.now());
    } else {
      delivery = shop->cloud.deliver(request);
      Duration wait = shop->latency + (delivery.mishap == Mishap::late ? shop->cloud.faults().late_by : Duration{});
      if (wait > Duration{}) co_await shop->loop.sleep_for(wait);
    }
    if (!delivery.reply) {
      socket.set_option(asio::socket_base::linger{true, 0}, ignored);  // reset, so that nobody waits for more
      break;
    }
    http::response<http::string_body> reply{static_cast<http::status>(delivery.reply->status), 11};
    for (const HttpHeader& header : delivery.reply->headers) reply.insert(header.name, header.value);
    reply.body() = std::move(delivery.reply->body);
    reply.keep_alive(got.keep_alive());
    reply.prepare_payload();
    auto [unsent, sent_bytes] = co_await http::async_write(socket, reply, quietly);
    if (unsent || !reply.keep_alive()) break;
  }
  socket.close(ignored);
}

Task<> accept_all(std::shared_ptr<Shop> shop, tcp::acceptor acceptor) {
  while (true) {
    auto [error, socket] = co_await acceptor.async_accept(quietly);
    if (error == asio::error::operation_aborted) co_return;
    if (!error) shop->loop.spawn(serve(shop, std::move(socket)));
  }
}

Task<> wait_for_signal(Loop& loop) {
  asio::signal_set signals{loop.context(), SIGINT, SIGTERM};
  co_await signals.async_wait(quietly);
}

/// A folder that goes with its owner, where nobody named one.
struct Folder {
  std::filesystem::path path;
  bool is_temporary = false;
  Folder() = default;
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    if (is_temporary) std::filesystem::remove_all(path, ignored);
  }
};

Result<void> make_folder(const std::filesystem::path& wanted, Folder& out) {
  std::error_code error;
  if (wanted.empty()) {
    std::string pattern = (std::filesystem::temp_directory_path(error) / "espmint-cloud-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) error = {errno, std::system_category()};
    out.path = pattern;
    out.is_temporary = !error;
  } else {
    std::filesystem::create_directories(wanted, error);
    out.path = std::filesystem::absolute(wanted);
  }
  if (!error) return ok();
  return fail({.code = Code::output_unwritable,
               .remedy = Remedy::refuse,
               .what = "cannot make the folder for the cloud's CA",
               .where = {.input = out.path.string()},
               .seen = error.message()});
}

Result<void> restore_from(const std::filesystem::path& file, Iot& cloud) {
  std::error_code error;
  if (file.empty() || !std::filesystem::exists(file, error)) return ok();
  TRY(Bytes text, read_file(file));
  if (iot::restore_account(cloud.account(), json::parse(as_text(text), nullptr, false))) return ok();
  return fail({.code = Code::input_invalid,
               .remedy = Remedy::refuse,
               .what = "no account of a virtual cloud",
               .where = {.input = file.string()}});
}

json key_of(const IotUser& user) {
  json out{{"access_key_id", user.key.id}, {"secret_access_key", user.key.secret}};
  if (!user.key.token.empty()) out["session_token"] = user.key.token;
  return out;
}

/// With a token, and a station's rights until then.
Result<const IotUser*> add_temporary(Iot& cloud, std::string name, WallTime until) {
  constexpr std::string_view none_yet = R"({"Statement":[{"Effect":"Deny","Action":"iot:*","Resource":"*"}]})";
  constexpr std::size_t token_bytes = 48;
  TRY(IotUser * user, cloud.add_user(std::move(name), none_yet));
  user->permissions = cloud.station().permissions;
  user->key.token = cloud.account().new_hex(token_bytes);
  user->key.expires = until;
  return user;
}

}  // namespace

Result<void> run_cloud(const CloudServerOptions& options, std::ostream& out) {
  RealLoop loop;
  Iot cloud{loop, options.iot};
  for (const std::string& fault : options.faults) TRY(cloud.faults().add(fault, loop.now()));
  const IotUser* station = &cloud.station();
  if (!options.station_policy.empty()) {
    TRY(station, cloud.add_user("station", options.station_policy));
  }
  TRY(const IotUser* temporary, add_temporary(cloud, "temporary", loop.wall() + std::chrono::hours{12}));
  TRY(const IotUser* expired, add_temporary(cloud, "expired", loop.wall()));
  TRY(restore_from(options.state_file, cloud));
  Folder folder;
  TRY(make_folder(options.folder, folder));
  std::string ca_file = (folder.path / "cloud-ca.pem").string();
  TRY(write_file(ca_file, as_bytes(cloud.root_ca_pem())));

  tcp::acceptor acceptor{loop.context()};
  boost::system::error_code error;
  tcp::endpoint at{asio::ip::address_v4::loopback(), options.port};
  acceptor.open(at.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address{true}, error);
  if (!error) acceptor.bind(at, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error)
    return fail({.code = Code::port_failed,
                 .remedy = Remedy::refuse,
                 .what = fmt::format("cannot listen on 127.0.0.1:{}", options.port),
                 .seen = error.message(),
                 .advice = "another --port, or none: any that is free"});

  nlohmann::ordered_json line;
  line["v"] = 1;
  line["endpoint"] = fmt::format("http://127.0.0.1:{}", acceptor.local_endpoint().port());
  line["region"] = cloud.region();
  line["account"] = options.iot.account;
  line["access_key_id"] = cloud.admin().key.id;
  line["secret_access_key"] = cloud.admin().key.secret;
  line["station"] = key_of(*station);
  line["temporary"] = key_of(*temporary);
  line["expired"] = key_of(*expired);
  line["data_endpoint"] = cloud.account().data_endpoint;
  line["ca"] = ca_file;
  out << line.dump() << '\n';
  out.flush();

  auto shop = std::make_shared<Shop>(Shop{cloud, loop, options.latency});
  loop.spawn(accept_all(shop, std::move(acceptor)));
  loop.run(wait_for_signal(loop));
  if (options.state_file.empty()) return ok();
  return write_file(options.state_file, as_bytes(iot::saved_account(cloud.account()).dump()), FileMode::owner_only);
}

}  // namespace espmint::sim
