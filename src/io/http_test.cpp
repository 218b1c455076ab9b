#include "io/http.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/event.hpp"
#include "io/file.hpp"
#include "io/http_server_double.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

const std::string secret = "AKIA-never-to-be-quoted";

std::string reply_of(std::string_view body) {
  return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}
HttpServer::Manners always(std::string reply) {
  return HttpServer::answering([reply = std::move(reply)](const std::string&) { return reply; });
}
/// Reads one request, says `words`, hangs up.
HttpServer::Manners once(std::string words) {
  return [words = std::move(words)](HttpPeer& peer, HttpServer& server) {
    if (const auto request = peer.read_request()) server.note(*request);
    peer.write(words);
  };
}

HttpRequest get(std::string url) {
  HttpRequest request;
  request.url = std::move(url);
  request.timeout = 5s;
  return request;
}
HttpRequest with_body(std::string method, std::string url, std::string body) {
  HttpRequest request = get(std::move(url));
  request.method = std::move(method);
  request.body = std::move(body);
  return request;
}
/// A request that must not show in any fault.
HttpRequest secretive(std::string url) {
  HttpRequest request = with_body("POST", std::move(url), "{\"key\": \"" + secret + "\"}");
  request.headers.push_back({"Authorization", secret});
  return request;
}

Task<> send_into(HttpClient& client, HttpRequest request, std::optional<Result<HttpReply>>& out) {
  out.emplace(co_await client.send(std::move(request)));
}

struct Http : testing::Test {
  RealLoop loop;
  HttpOptions options;
  std::unique_ptr<HttpClient> client;

  Result<HttpReply> send(HttpRequest request) {
    if (!client) client = make_http_client(loop, options);
    std::optional<Result<HttpReply>> out;
    loop.run(send_into(*client, std::move(request), out));
    return std::move(*out);
  }
  std::string body_of(HttpRequest request) {
    const auto reply = send(std::move(request));
    return reply ? reply->body : "fault: " + describe(reply.error());
  }
  /// The fault, which quotes nothing of the request or of a reply.
  Fault fault_of(HttpRequest request) {
    const auto reply = send(std::move(request));
    if (reply) return {Code::internal, Remedy::refuse, "there was a reply"};
    EXPECT_EQ(describe(reply.error()).find(secret), std::string::npos) << describe(reply.error());
    return reply.error();
  }
};

// ---- what goes out

TEST_F(Http, SendsPathQueryAndHeadersByteForByteAndNothingOfItsOwn) {
  HttpServer server{always(reply_of("{}"))};
  HttpRequest request = get(server.url("/things/a%3ab%2fc/./x/../y?b=2&a=%3a&v"));
  request.headers = {
      {"X-Amz-Date", "20261122T000000Z"}, {"x-amzn-principal", "arn:aws:iot:x:1:cert/0"}, {"X-Empty", ""}};
  EXPECT_EQ(body_of(std::move(request)), "{}");
  ASSERT_EQ(server.requests().size(), 1u);
  EXPECT_EQ(server.requests()[0], "GET /things/a%3ab%2fc/./x/../y?b=2&a=%3a&v HTTP/1.1\r\nHost: " + server.address() +
                                      "\r\nX-Amz-Date: 20261122T000000Z\r\nx-amzn-principal: arn:aws:iot:x:1:cert/0\r\n"
                                      "X-Empty:\r\n\r\n");
}

TEST_F(Http, SendsTheHostHeaderThatWasSigned) {
  HttpServer server{always(reply_of("{}"))};
  HttpRequest request = get(server.url());
  request.headers = {{"Host", "iot.eu-central-1.amazonaws.com"}};
  EXPECT_EQ(body_of(std::move(request)), "{}");
  EXPECT_EQ(server.requests()[0], "GET / HTTP/1.1\r\nHost: iot.eu-central-1.amazonaws.com\r\n\r\n");
}

TEST_F(Http, SendsTheLengthOfBodiesAndOfEmptyOnesWhereTheMethodHasOne) {
  HttpServer server{always(reply_of("{}"))};
  const std::string host = "Host: " + server.address() + "\r\n";
  const std::string bytes{"a\0b\r\n\xff", 6};
  for (const std::string method : {"PUT", "POST", "PATCH"})
    EXPECT_EQ(body_of(with_body(method, server.url(), "")), "{}");
  EXPECT_EQ(body_of(with_body("DELETE", server.url(), "")), "{}");
  HttpRequest post = with_body("POST", server.url(), bytes);
  post.headers = {{"Content-Type", "application/json"}};
  EXPECT_EQ(body_of(std::move(post)), "{}");
  EXPECT_EQ(server.requests(),
            (std::vector<std::string>{
                "PUT / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n",
                "POST / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n",
                "PATCH / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n",
                "DELETE / HTTP/1.1\r\n" + host + "\r\n",
                "POST / HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nContent-Length: 6\r\n\r\n" + bytes,
            }));
}

TEST_F(Http, SendsALongBodyAtOnceWithoutExpect) {
  HttpServer server{always(reply_of("{}"))};
  const std::string body(3'000'000, 'x');
  EXPECT_EQ(body_of(with_body("PUT", server.url(), body)), "{}");
  EXPECT_EQ(server.requests()[0],
            "PUT / HTTP/1.1\r\nHost: " + server.address() + "\r\nContent-Length: 3000000\r\n\r\n" + body);
}

TEST_F(Http, RefusesWhatWouldBeAnotherRequestOnTheWire) {
  HttpServer server{always(reply_of("{}"))};
  HttpRequest injecting = get(server.url());
  injecting.headers = {{"X-Name", "a\r\nX-Other: b"}};
  EXPECT_EQ(fault_of(injecting).remedy, Remedy::refuse);
  injecting.headers = {{"X-Name: a\r\nX-Other", "b"}};
  EXPECT_EQ(fault_of(injecting).remedy, Remedy::refuse);
  injecting.headers.clear();
  injecting.method = "GET / HTTP/1.1\r\nX:";
  EXPECT_EQ(fault_of(injecting).remedy, Remedy::refuse);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(Http, RefusesAddressesThatAreNone) {
  for (const std::string url : {"", "iot.example", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "http://a b/",
                                "http://ann:AKIA-never-to-be-quoted@127.0.0.1/", "http://127.0.0.1/\r\nX: y"}) {
    const Fault fault = fault_of(get(url));
    EXPECT_EQ(fault.code, Code::cloud_unreachable) << url;
    EXPECT_EQ(fault.remedy, Remedy::refuse) << url;
  }
}

// ---- what comes back

TEST_F(Http, GivesStatusHeadersInOrderAndBody) {
  HttpServer server{
      always("HTTP/1.1 409 Conflict\r\nx-amzn-ErrorType:  ResourceAlreadyExistsException:http://x \r\n"
             "Date: Sun, 22 Nov 2026 00:00:00 GMT\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 2\r\n\r\n{}")};
  const auto reply = send(get(server.url()));
  ASSERT_TRUE(reply) << describe(reply.error());
  EXPECT_EQ(reply->status, 409);
  EXPECT_EQ(reply->body, "{}");
  EXPECT_EQ(reply->header("X-AMZN-ERRORTYPE"), "ResourceAlreadyExistsException:http://x");
  EXPECT_EQ(reply->header("Set-Cookie"), "a");
  EXPECT_EQ(reply->header("Absent"), "");
  EXPECT_EQ(reply->headers.size(), 5u);
}

TEST_F(Http, FollowsNoRedirect) {
  HttpServer other{always(reply_of("elsewhere"))};
  HttpServer server{always("HTTP/1.1 302 Found\r\nLocation: " + other.url() + "\r\nContent-Length: 0\r\n\r\n")};
  const auto reply = send(get(server.url()));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 302);
  EXPECT_EQ(other.connections(), 0u);
}

TEST_F(Http, ReadsChunksTrailersAndInterimReplies) {
  HttpServer server{
      always("HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
             "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Late: 1\r\n\r\n")};
  const auto reply = send(get(server.url()));
  ASSERT_TRUE(reply) << describe(reply.error());
  EXPECT_EQ(reply->body, "abcde");
  EXPECT_EQ(reply->headers.size(), 1u);
}

TEST_F(Http, ReadsAReplyThatEndsWithItsConnection) {
  HttpServer server{once("HTTP/1.0 200 OK\r\n\r\nall of it")};
  EXPECT_EQ(body_of(get(server.url())), "all of it");
}

// ---- connections

TEST_F(Http, KeepsItsConnection) {
  HttpServer server{always(reply_of("{}"))};
  for (int i = 0; i < 20; ++i) EXPECT_EQ(body_of(with_body(i % 2 == 0 ? "POST" : "GET", server.url(), "")), "{}");
  EXPECT_EQ(server.connections(), 1u);
}

TEST_F(Http, OpensAnotherWhereTheServerClosedAnIdleOne) {
  HttpServer server{once(reply_of("{}"))};
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(body_of(with_body("POST", server.url(), "")), "{}");
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_EQ(server.requests().size(), 5u);
}

Task<> send_many(RealLoop& loop, HttpClient& client, std::string url, unsigned count, unsigned& good) {
  unsigned left = count;
  Event all;
  const auto one = [&](unsigned i) -> Task<> {
    HttpRequest request = with_body("POST", url, std::to_string(i));
    const auto reply = co_await client.send(std::move(request));
    if (reply && reply->body == std::to_string(i)) ++good;
    if (--left == 0) all.set();
  };
  for (unsigned i = 0; i < count; ++i) loop.spawn(one(i));
  co_await all.wait();
}

TEST_F(Http, SendsManyAtOnceOverAFewConnections) {
  HttpServer server{HttpServer::answering([](const std::string& request) {
    std::this_thread::sleep_for(1ms);
    return reply_of(request.substr(request.find("\r\n\r\n") + 4));
  })};
  options.connections = 4;
  client = make_http_client(loop, options);
  unsigned good = 0;
  loop.run(send_many(loop, *client, server.url(), 200, good));
  EXPECT_EQ(good, 200u);
  EXPECT_LE(server.connections(), 4u);
  EXPECT_GT(server.connections(), 1u);
}

// ---- what fails, and whether it may have happened

TEST_F(Http, SaysRetryWhereNobodyListens) {
  std::string url;
  std::string address;
  {
    HttpServer gone{always("")};
    url = gone.url();
    address = gone.address();
  }
  const Fault fault = fault_of(secretive(url));
  EXPECT_EQ(fault.code, Code::cloud_unreachable);
  EXPECT_EQ(fault.remedy, Remedy::retry);
  EXPECT_NE(describe(fault).find(address), std::string::npos) << describe(fault);
  EXPECT_NE(fault.seen.find("refused"), std::string::npos) << fault.seen;
}

TEST_F(Http, SaysRetryWhereTheNameIsUnknown) {
  const Fault fault = fault_of(secretive("https://iot.nowhere.invalid/things"));
  EXPECT_EQ(fault.code, Code::cloud_unreachable);
  EXPECT_EQ(fault.remedy, Remedy::retry);
  EXPECT_NE(fault.what.find("iot.nowhere.invalid"), std::string::npos);
}

TEST_F(Http, SaysReconcileWhereTheReplyIsCut) {
  for (const std::string words :
       {"", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nAKIA",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nAKIA\r\n"}) {
    HttpServer server{once(words)};
    const Fault fault = fault_of(secretive(server.url()));
    EXPECT_EQ(fault.code, Code::cloud_unreachable) << words << ": " << describe(fault);
    EXPECT_EQ(fault.remedy, Remedy::reconcile) << words;
    EXPECT_EQ(server.requests().size(), 1u) << words;
  }
}

TEST_F(Http, SaysReconcileWhereTheConnectionIsCutBeforeTheRequestWasRead) {
  HttpServer server{[](HttpPeer&, HttpServer&) {}};
  EXPECT_EQ(fault_of(secretive(server.url())).remedy, Remedy::reconcile);
}

TEST_F(Http, SendsNothingTwiceWhenAKeptConnectionEnds) {
  HttpServer server{[](HttpPeer& peer, HttpServer& own) {
    if (const auto request = peer.read_request()) own.note(*request);
    peer.write(reply_of("{}"));
    if (const auto request = peer.read_request()) own.note(*request);  // and hangs up
  }};
  for (const std::string method : {"POST", "PUT", "GET"}) {
    client.reset();
    const std::size_t before = server.requests().size();
    EXPECT_EQ(body_of(get(server.url())), "{}");
    const Fault fault = fault_of(with_body(method, server.url(), ""));
    EXPECT_EQ(fault.code, Code::cloud_unreachable);
    EXPECT_EQ(fault.remedy, Remedy::reconcile);
    EXPECT_EQ(server.requests().size() - before, 2u) << method;
  }
}

TEST_F(Http, SaysReconcileWhereNoReplyComesInTime) {
  HttpServer server{[](HttpPeer& peer, HttpServer&) {
    while (peer.read_request()) peer.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nAK");
  }};
  HttpRequest request = secretive(server.url());
  request.timeout = 150ms;
  const auto start = steady_now();
  const Fault fault = fault_of(std::move(request));
  EXPECT_EQ(fault.remedy, Remedy::reconcile);
  EXPECT_NE(fault.seen.find("0.15 s"), std::string::npos) << fault.seen;
  EXPECT_GE(steady_now() - start, 150ms);
  EXPECT_LT(steady_now() - start, 2s);
}

TEST_F(Http, SaysRetryWhereTlsIsNotAgreedInTime) {
  HttpServer deaf{[](HttpPeer& peer, HttpServer&) { peer.read(1'000'000); }};
  HttpRequest request = secretive("https://" + deaf.address() + "/");
  request.timeout = 150ms;
  EXPECT_EQ(fault_of(std::move(request)).remedy, Remedy::retry);
}

TEST_F(Http, TellsWhatIsNoHttp) {
  for (const std::string words : {"SSH-2.0-OpenSSH_9.2\r\n", "<html>log in: AKIA-never-to-be-quoted</html>",
                                  "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"}) {
    HttpServer server{once(words)};
    const Fault fault = fault_of(secretive(server.url()));
    EXPECT_EQ(fault.code, Code::cloud_reply_invalid) << words << ": " << describe(fault);
    EXPECT_EQ(fault.remedy, Remedy::reconcile) << words;
  }
}

TEST_F(Http, SurvivesBytesOfAnyKind) {
  std::uint32_t state = 4711;
  for (int i = 0; i < 40; ++i) {
    std::string words = i % 2 == 0 ? "HTTP/1.1 200 OK\r\n" : "";
    for (int n = 0; n < 300; ++n) words += static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
    HttpServer server{once(words)};
    HttpRequest request = secretive(server.url());
    request.timeout = 2s;
    const auto reply = send(std::move(request));
    if (reply) continue;
    EXPECT_EQ(reply.error().remedy, Remedy::reconcile) << describe(reply.error());
  }
}

TEST_F(Http, TakesNoReplyWithoutEnd) {
  const std::string piece(65536, 'x');
  HttpServer announced{once(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", longest_reply + 1))};
  HttpServer endless{[&](HttpPeer& peer, HttpServer&) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\n\r\n");
    while (peer.write(piece)) {
    }
  }};
  HttpServer all_head{[&](HttpPeer& peer, HttpServer&) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\n");
    while (peer.write("X: " + piece + "\r\n")) {
    }
  }};
  for (HttpServer* server : {&announced, &endless, &all_head}) {
    const Fault fault = fault_of(secretive(server->url()));
    EXPECT_EQ(fault.code, Code::cloud_reply_invalid) << describe(fault);
    EXPECT_NE(fault.seen.find("4 MB"), std::string::npos) << fault.seen;
  }
  HttpServer longest{always(reply_of(std::string(longest_reply, 'x')))};
  EXPECT_EQ(body_of(get(longest.url())).size(), longest_reply);
}

// ---- proxies

struct Environment {
  explicit Environment(std::vector<std::pair<std::string, std::string>> set) {
    for (const char* name :
         {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"})
      ::unsetenv(name);
    for (const auto& [name, value] : set) {
      ::setenv(name.c_str(), value.c_str(), 1);
      names.push_back(name);
    }
  }
  ~Environment() {
    for (const std::string& name : names) ::unsetenv(name.c_str());
  }
  std::vector<std::string> names;
};

TEST_F(Http, AsksTheProxyOfTheEnvironment) {
  HttpServer proxy{always(reply_of("by proxy"))};
  const Environment environment{{{"http_proxy", "http://" + proxy.address()}}};
  EXPECT_EQ(body_of(get("http://iot.nowhere.invalid/a%3ab?c")), "by proxy");
  const std::string head = proxy.requests()[0];
  EXPECT_TRUE(head.starts_with("GET http://iot.nowhere.invalid/a%3ab?c HTTP/1.1\r\nHost: iot.nowhere.invalid\r\n"))
      << head;
}

TEST_F(Http, LeavesTheProxyOutWhereItIsToldTo) {
  HttpServer proxy{always(reply_of("by proxy"))};
  HttpServer server{always(reply_of("direct"))};
  const Environment environment{{{"http_proxy", "http://" + proxy.address()}, {"no_proxy", "localhost,127.0.0.1"}}};
  EXPECT_EQ(body_of(get(server.url())), "direct");
  ::unsetenv("no_proxy");
  client.reset();
  EXPECT_EQ(body_of(get(server.url())), "by proxy");
  options.proxies = false;
  client.reset();
  EXPECT_EQ(body_of(get(server.url())), "direct");
}

TEST_F(Http, SaysRetryWhereTheProxyOpensNoWay) {
  HttpServer proxy{always("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")};
  const Environment environment{{{"https_proxy", "http://ann:" + secret + "@" + proxy.address()}}};
  const Fault fault = fault_of(secretive("https://iot.nowhere.invalid/things"));
  EXPECT_EQ(fault.code, Code::cloud_unreachable);
  EXPECT_EQ(fault.remedy, Remedy::retry);
  EXPECT_NE(fault.seen.find("407"), std::string::npos) << fault.seen;
  ASSERT_EQ(proxy.requests().size(), 1u);
  EXPECT_TRUE(proxy.requests()[0].starts_with("CONNECT iot.nowhere.invalid:443 HTTP/1.1\r\n"));
  EXPECT_EQ(proxy.requests()[0].find("\r\nAuthorization:"), std::string::npos);
}

TEST_F(Http, NamesTheProxyThatDoesNotAnswer) {
  for (const std::string scheme : {"http", "https"}) {
    const Environment environment{{{scheme + "_proxy", "http://ann:" + secret + "@127.0.0.1:1"}}};
    const Fault fault = fault_of(secretive(scheme + "://iot.nowhere.invalid/things"));
    EXPECT_EQ(fault.remedy, Remedy::retry);
    EXPECT_NE(fault.seen.find("127.0.0.1 port 1"), std::string::npos) << fault.seen;
    EXPECT_NE(fault.advice.find("the proxy named in " + scheme + "_proxy"), std::string::npos) << fault.advice;
    ::setenv("no_proxy", "127.0.0.1", 1);
    client.reset();
    EXPECT_EQ(fault_of(get(scheme + "://127.0.0.1:1/")).advice, "");
    ::unsetenv("no_proxy");
    client.reset();
  }
}

TEST_F(Http, DoesNotShowTheAddressOfAProxyThatItDoesNotUnderstand) {
  const Environment environment{{{"http_proxy", "carrier-pigeon://ann:" + secret + "@nest"}}};
  EXPECT_EQ(fault_of(get("http://127.0.0.1:9/")).remedy, Remedy::retry);
}

// ---- TLS

struct HttpTls : Http {
  TestFolder folder;
  std::string file_of(const std::string& pem) {
    const auto path = folder / "ca.pem";
    EXPECT_TRUE(write_file(path, as_bytes(pem)));
    return path.string();
  }
};

TEST_F(HttpTls, TrustsTheCaThatWasNamed) {
  const ServerTls tls{"127.0.0.1"};
  HttpServer server{always(reply_of("private")), &tls};
  options.ca_file = file_of(tls.ca_pem());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(body_of(get(server.url())), "private");
  EXPECT_EQ(server.connections(), 1u);
}

TEST_F(HttpTls, TrustsTheFileOfSslCertFile) {
  const ServerTls tls{"127.0.0.1"};
  HttpServer server{always(reply_of("private")), &tls};
  const Environment environment{{{"SSL_CERT_FILE", file_of(tls.ca_pem())}}};
  EXPECT_EQ(body_of(get(server.url())), "private");
}

TEST_F(HttpTls, SaysNothingToAServerOfAnotherCaOrName) {
  const ServerTls tls{"127.0.0.1"}, other{"127.0.0.1"}, elsewhere{"iot.example"};
  HttpServer server{always(reply_of("private")), &tls}, misnamed{always(reply_of("private")), &elsewhere};
  const auto expect_untrusted = [&](HttpServer& at) {
    client.reset();
    const Fault fault = fault_of(secretive(at.url()));
    EXPECT_EQ(fault.code, Code::cloud_unreachable);
    EXPECT_EQ(fault.remedy, Remedy::retry);
    EXPECT_NE(fault.seen.find("SSL"), std::string::npos) << fault.seen;
    EXPECT_NE(fault.advice.find("clock"), std::string::npos);
    EXPECT_TRUE(at.requests().empty());
  };
  expect_untrusted(server);  // the system's store does not know it
  options.ca_file = file_of(other.ca_pem());
  expect_untrusted(server);
  options.ca_file = file_of(elsewhere.ca_pem());
  expect_untrusted(misnamed);
}

TEST_F(HttpTls, NamesACaFileThatIsNotThere) {
  const ServerTls tls{"127.0.0.1"};
  HttpServer server{always(reply_of("private")), &tls};
  options.ca_file = (folder / "absent.pem").string();
  const Fault fault = fault_of(get(server.url()));
  EXPECT_EQ(fault.code, Code::input_unreadable);
  EXPECT_NE(fault.seen.find("absent.pem"), std::string::npos) << fault.seen;
}

/// As much of HTTP/2 as one client needs that asks for nothing special: every stream is answered with its own number.
/// Replies are held back until `together` requests are there at once. Source: RFC 9113; `:status: 200` is entry 8 of
/// the static table of RFC 7541.
void speak_http2(HttpPeer& peer, HttpServer& server, unsigned together) {
  const auto frame = [](char type, char flags, unsigned stream, std::string_view payload) {
    std::string out;
    for (int shift = 16; shift >= 0; shift -= 8) out += static_cast<char>(payload.size() >> shift);
    out += type;
    out += flags;
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(stream >> shift);
    return out.append(payload);
  };
  constexpr char data = 0, headers = 1, settings = 4, end_stream = 1, ack = 1, end_headers = 4;
  if (!peer.read(24).starts_with("PRI * HTTP/2.0")) return;
  peer.write(frame(settings, 0, 0, ""));
  std::vector<unsigned> waiting;
  for (std::string head = peer.read(9); head.size() == 9; head = peer.read(9)) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(head[i])); };
    peer.read(byte(0) << 16 | byte(1) << 8 | byte(2));
    const unsigned stream = byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8);
    if (head[3] == settings && head[4] != ack) peer.write(frame(settings, ack, 0, ""));
    if ((head[3] != headers && head[3] != data) || (head[4] & end_stream) == 0) continue;
    server.note(std::to_string(stream));
    waiting.push_back(stream);
    if (waiting.size() < together) continue;
    for (const unsigned each : waiting) {
      peer.write(frame(headers, end_headers, each, "\x88"));
      peer.write(frame(data, end_stream, each, "stream"));
    }
    waiting.clear();
  }
}

Task<> send_together(RealLoop& loop, HttpClient& client, std::string url, unsigned count, unsigned& good) {
  unsigned left = count;
  Event all;
  const auto one = [&](std::string method) -> Task<> {
    HttpRequest request = with_body(std::move(method), url, "");
    const auto reply = co_await client.send(std::move(request));
    if (reply && reply->status == 200 && reply->body == "stream") ++good;
    if (--left == 0) all.set();
  };
  for (unsigned i = 0; i < count; ++i) loop.spawn(one(i % 2 == 0 ? "GET" : "POST"));
  co_await all.wait();
}

TEST_F(HttpTls, SendsManyAtOnceOverOneConnectionWhereTheServerSpeaksHttp2) {
  const ServerTls tls{"127.0.0.1", true};
  HttpServer server{[](HttpPeer& peer, HttpServer& own) { speak_http2(peer, own, 10); }, &tls};
  options.ca_file = file_of(tls.ca_pem());
  client = make_http_client(loop, options);
  unsigned good = 0;
  loop.run(send_together(loop, *client, server.url(), 10, good));
  loop.run(send_together(loop, *client, server.url(), 10, good));
  EXPECT_EQ(good, 20u);
  EXPECT_EQ(server.connections(), 1u);
}

// ---- ends

Task<> leave_a_request_behind(RealLoop& loop, HttpClient& client, std::string url,
                              std::optional<Result<HttpReply>>& out) {
  loop.spawn(send_into(client, get(std::move(url)), out));
  co_await loop.sleep_for(20ms);
}

TEST(HttpEnds, WithItsLoopWhileARequestIsUnderWay) {
  HttpServer server{[](HttpPeer& peer, HttpServer&) {
    peer.read_request();
    peer.read(1);
  }};
  std::optional<Result<HttpReply>> out;
  {
    RealLoop loop;
    const auto client = make_http_client(loop, {});
    loop.run(leave_a_request_behind(loop, *client, server.url(), out));
  }
  EXPECT_FALSE(out);
}

TEST(HttpEnds, AfterItsLoopWithoutHarm) {
  HttpServer server{[](HttpPeer& peer, HttpServer&) {
    peer.read_request();
    std::this_thread::sleep_for(40ms);
    peer.write(reply_of("late"));
  }};
  std::optional<Result<HttpReply>> out;
  auto loop = std::make_unique<RealLoop>();
  const auto client = make_http_client(*loop, {});
  loop->run(leave_a_request_behind(*loop, *client, server.url(), out));
  loop.reset();
  std::this_thread::sleep_for(60ms);
  EXPECT_FALSE(out);
}

Task<> end_the_client(RealLoop& loop, std::unique_ptr<HttpClient>& client, std::string url,
                      std::optional<Result<HttpReply>>& out) {
  loop.spawn(send_into(*client, get(std::move(url)), out));
  co_await loop.sleep_for(20ms);
  client.reset();
  while (!out) co_await loop.sleep_for(1ms);
}

TEST(HttpEnds, WithAFaultForWhoeverStillWaits) {
  HttpServer server{[](HttpPeer& peer, HttpServer&) {
    peer.read_request();
    peer.read(1);
  }};
  std::optional<Result<HttpReply>> out;
  RealLoop loop;
  auto client = make_http_client(loop, {});
  loop.run(end_the_client(loop, client, server.url(), out));
  ASSERT_TRUE(out && !*out);
  EXPECT_EQ(out->error().remedy, Remedy::reconcile);
}

}  // namespace
}  // namespace espmint
