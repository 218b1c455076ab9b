// sim/board_host.hpp: one virtual board and its connections to the outside: TCP, pty, control socket, flash file.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "sim/board.hpp"
#include "sim/rfc2217_server.hpp"

namespace espmint::sim {

/// A file mapped shared: what the board writes is in the file at once.
class FlashFile {
 public:
  static Result<FlashFile> open(const std::filesystem::path&, std::size_t bytes);
  FlashFile(FlashFile&&) noexcept;
  FlashFile& operator=(FlashFile&&) = delete;
  ~FlashFile();
  [[nodiscard]] ByteSpan bytes() const { return bytes_; }
  [[nodiscard]] bool is_new() const { return new_; }

 private:
  FlashFile() = default;
  ByteSpan bytes_;
  bool new_ = false;
};

class BoardHost : public std::enable_shared_from_this<BoardHost> {
 public:
  BoardHost(boost::asio::io_context&, BoardOptions, FlashFile, std::filesystem::path stem);
  Result<void> open();
  void close();
  std::string control(std::string_view line);
  [[nodiscard]] std::uint16_t tcp_port() const;
  [[nodiscard]] std::string pty_path() const { return stem_.string() + ".pty"; }
  [[nodiscard]] std::string control_path() const { return stem_.string() + ".control"; }
  [[nodiscard]] const Board& board() const { return board_; }

 private:
  using Tcp = boost::asio::ip::tcp;
  using Local = boost::asio::local::stream_protocol;
  struct ControlClient;

  static Time now();
  void accept_tcp();
  void read_tcp();
  void write_tcp();
  void drop_tcp();
  Result<void> make_pty();
  void drop_pty();
  void watch_pty();
  void read_pty();
  void note_pty_baud();
  /// Sends what waits; whether all of it is gone.
  bool write_pty();
  void accept_control();
  void read_control(std::shared_ptr<ControlClient>);
  void unplug();
  Result<void> plug();
  /// The chip's own USB has left or is back: so do and are the connections.
  Result<void> follow_usb();
  void hang_up();

  /// Moves what can be moved, then sleeps until the board's next event.
  void pump();
  void feed_board();
  void take_from_board();
  void want_lines(bool dtr, bool rts);
  void apply_lines();

  std::filesystem::path stem_;
  FlashFile flash_;
  Board board_;
  bool closed_ = false, plugged_ = true;
  bool here_ = true;         // somebody could connect
  unsigned departures_ = 0;  // of the board's own USB, as acted upon

  Tcp::acceptor acceptor_;
  std::optional<Tcp::socket> tcp_;
  unsigned tcp_number_ = 0;  // handlers of an old connection know they are late
  std::array<std::uint8_t, 16384> tcp_in_{};
  Rfc2217Server telnet_;
  std::deque<SerialEvent> events_;
  bool tcp_reading_ = false, tcp_writing_ = false;
  Bytes out_, writing_;

  boost::asio::posix::stream_descriptor pty_;
  boost::asio::steady_timer pty_timer_;
  std::array<std::uint8_t, 4096> pty_in_{};
  bool pty_open_ = false, pty_reading_ = false, pty_waiting_ = false;
  Bytes pty_out_;
  std::uint32_t pty_baud_ = 115'200;

  Local::acceptor control_;
  boost::asio::steady_timer timer_, line_timer_;
  bool dtr_ = false, rts_ = false;                // as wanted
  bool driven_dtr_ = false, driven_rts_ = false;  // as the board sees them
};

}  // namespace espmint::sim
