#include "sim/server.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "sim/desk_for_tests.hpp"
#include "sim/rfc2217_server.hpp"

namespace espmint::sim {
namespace {
namespace asio = boost::asio;
namespace fs = std::filesystem;

TEST(Rfc2217Server, AnswersWhatAClientAsks) {
  Rfc2217Server server;
  EXPECT_EQ(to_hex(server.greeting()), "fffb00fffd00fffb03fffd03fffd2c");
  std::deque<SerialEvent> events;
  Bytes reply;
  // WILL COM-PORT is agreed already, DO COM-PORT is new; SET-BAUDRATE 460800; "AB", an escaped 255, "C"; DTR on, in two
  // pieces; PURGE of what came in.
  server.feed(*from_hex("fffb2cfffd2cfffa2c0100070800fff04142ffff43fffa2c05"), events, reply);
  server.feed(*from_hex("08fff0fffa2c0c01fff0"), events, reply);
  EXPECT_EQ(to_hex(reply), "fffb2cfffa2c6500070800fff0fffa2c6908fff0fffa2c7001fff0");
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].value, 460'800u);
  EXPECT_EQ(to_hex(events[1].bytes), "4142ff43");
  EXPECT_EQ(events[2].kind, SerialEvent::Kind::dtr);
  EXPECT_EQ(events[3].kind, SerialEvent::Kind::purge_input);
}

TEST(Rfc2217Server, RefusesOptionsItDoesNotKnowOnce) {
  Rfc2217Server server;
  static_cast<void>(server.greeting());
  std::deque<SerialEvent> events;
  Bytes reply;
  server.feed(*from_hex("fffd01fffb18"), events, reply);
  EXPECT_EQ(to_hex(reply), "fffc01fffe18");
}

/// The boards' loop on a thread of its own; tests talk to it with plain blocking sockets.
class Boards : public ::testing::Test {
 protected:
  void start(ServerOptions options) {
    Result<std::unique_ptr<BoardServer>> made = BoardServer::start(context_, std::move(options));
    ASSERT_TRUE(made) << describe(made.error());
    server_ = std::move(*made);
    thread_ = std::thread{[this] { context_.run(); }};
  }
  void TearDown() override {
    context_.stop();
    if (thread_.joinable()) thread_.join();
    server_.reset();
  }
  const BoardAddress& address(std::size_t i = 0) { return server_->boards()[i]; }

  std::string control(const std::string& line) {
    asio::io_context own;
    asio::local::stream_protocol::socket socket{own};
    socket.connect({address().control});
    asio::write(socket, asio::buffer(line + "\n"));
    std::string answer;
    asio::read_until(socket, asio::dynamic_buffer(answer), '\n');
    answer.pop_back();
    return answer;
  }

  asio::ip::tcp::socket connect(asio::io_context& own) {
    auto port = static_cast<std::uint16_t>(std::stoi(address().rfc2217.substr(address().rfc2217.rfind(':') + 1)));
    asio::ip::tcp::socket socket{own};
    socket.connect({asio::ip::address_v4::loopback(), port});
    return socket;
  }
  /// Reads until `wanted` has been seen.
  static bool hears(asio::ip::tcp::socket& socket, std::string_view wanted) {
    std::string all;
    std::array<char, 512> some;
    boost::system::error_code error;
    while (all.find(wanted) == std::string::npos && !error)
      all.append(some.data(), socket.read_some(asio::buffer(some), error));
    return !error;
  }

  asio::io_context context_{1};
  std::unique_ptr<BoardServer> server_;
  std::thread thread_;
};

TEST_F(Boards, SayWhereTheyAreInOneLineOfJson) {
  start({.count = 2, .preset = "instant", .seed = 5});
  ASSERT_EQ(server_->boards().size(), 2u);
  std::string mac = to_string(address().mac);
  EXPECT_TRUE(mac.starts_with("24d7eb"));
  EXPECT_EQ(address().mac, mac_of(5, 0));
  EXPECT_NE(address(1).mac, address(0).mac);
  EXPECT_EQ(to_json_line(address()), "{\"v\":1,\"mac\":\"" + mac + "\",\"chip\":\"esp32\",\"rfc2217\":\"" +
                                         address().rfc2217 + "\",\"pty\":\"" + address().pty + "\",\"control\":\"" +
                                         address().control + "\",\"flash_file\":\"" + address().flash_file + "\"}");
  EXPECT_EQ(fs::file_size(address().flash_file), 4u * 1024 * 1024);
}

TEST_F(Boards, AreResetIntoDownloadModeOverTcpEvenWhenTheNetworkTearsTheTwoLinesApart) {
  start({.preset = "instant"});
  asio::io_context own;
  asio::ip::tcp::socket socket = connect(own);
  auto line = [&socket](std::uint8_t what) {
    std::array<std::uint8_t, 7> command{255, 250, 44, 5, what, 255, 240};
    asio::write(socket, asio::buffer(command));
    std::this_thread::sleep_for(milliseconds{60});
  };
  line(11);  // RTS: EN low
  line(8);   // DTR: both asserted for 60 ms
  line(12);  // RTS off: EN rises with IO0 low
  line(9);
  Bytes sync = sync_frame();
  asio::write(socket, asio::buffer(sync));
  EXPECT_TRUE(hears(socket, std::string_view{"\xc0\x01\x08\x04", 4}));
}

TEST_F(Boards, ObeyTheControlSocket) {
  start({.preset = "instant"});
  EXPECT_EQ(control("dtr 0"), "ok");
  EXPECT_EQ(control("rts 1"), "ok");
  EXPECT_EQ(control("power 0"), "ok");
  EXPECT_EQ(control("power 1"), "ok");
  EXPECT_TRUE(control("jump").starts_with("error "));
  EXPECT_TRUE(control("swap me").starts_with("error "));
  EXPECT_TRUE(control("dtr 2").starts_with("error "));
  EXPECT_EQ(control("swap 24:d7:eb:00:00:01"), "ok");
}

TEST_F(Boards, CloseTheirPortsWhenUnpluggedAndComeBackWhenPlugged) {
  start({.preset = "instant"});
  asio::io_context own;
  asio::ip::tcp::socket before = connect(own);
  EXPECT_TRUE(fs::exists(address().pty));
  EXPECT_EQ(control("unplug"), "ok");
  EXPECT_FALSE(hears(before, "never"));
  EXPECT_FALSE(fs::exists(fs::symlink_status(address().pty)));
  asio::ip::tcp::socket refused = connect(own);
  EXPECT_FALSE(hears(refused, "never"));
  EXPECT_EQ(control("plug"), "ok");
  EXPECT_TRUE(fs::exists(address().pty));
  asio::ip::tcp::socket after = connect(own);
  EXPECT_TRUE(hears(after, "invalid header"));
}

TEST_F(Boards, KeepTheirFlashInAFileThatIsCurrent) {
  fs::path folder = fs::path{::testing::TempDir()} / "espmint-boards";
  fs::remove_all(folder);
  fs::create_directories(folder);
  {
    std::ofstream out{folder / "board0.flash", std::ios::binary};
    std::string content(4 * 1024 * 1024, '\x5a');
    out << content;
  }
  start({.preset = "instant", .folder = folder});
  auto first_byte = [&] { return std::ifstream{address().flash_file, std::ios::binary}.get(); };
  EXPECT_EQ(first_byte(), 0x5a);
  EXPECT_EQ(control("swap 24d7eb000001 keep"), "ok");
  EXPECT_EQ(first_byte(), 0x5a);
  EXPECT_EQ(control("swap 24d7eb000002"), "ok");
  EXPECT_EQ(first_byte(), 0xff);
  TearDown();
  EXPECT_TRUE(fs::exists(folder / "board0.flash"));
  fs::remove_all(folder);
}

TEST(BoardServer, RefusesWhatItDoesNotKnow) {
  asio::io_context context;
  auto refused = [&context](ServerOptions options) {
    auto made = BoardServer::start(context, std::move(options));
    return !made && made.error().code == Code::usage && !made.error().advice.empty();
  };
  EXPECT_TRUE(refused({.chip = "esp9000"}));
  EXPECT_TRUE(refused({.preset = "warp"}));
  EXPECT_TRUE(refused({.flash_size = 3'000'000}));
  EXPECT_TRUE(refused({.count = 0}));
}

}  // namespace
}  // namespace espmint::sim
