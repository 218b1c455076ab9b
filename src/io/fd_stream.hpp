// io/fd_stream.hpp: inside this room: a non-blocking descriptor of a tty or a socket, read and written under deadlines.
// Every call tries the system first and waits only when there is nothing to do: a write that fits costs one system
// call.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>

#include "base/bytes.hpp"
#include "io/clock.hpp"
#include "io/descriptor.hpp"

namespace espmint {

/// The carrier has ended under us: unplugged, hung up, closed by the other side or by us.
Fault port_gone(const std::string& name, std::string seen);
Fault port_failed(const std::string& name, std::string what, std::string seen);
/// EIO, ENXIO, a reset connection: gone; anything else: failed.
Fault port_fault(const std::string& name, int error);

/// The coroutines hold the stream they run on, so a port may be destroyed while one of them still waits.
/// One reader, one writer and one control operation may wait at the same time.
class FdStream : public std::enable_shared_from_this<FdStream> {
 public:
  enum class Kind { tty, socket };
  enum class Waiter { reader, writer, control };

  static Result<std::shared_ptr<FdStream>> adopt(boost::asio::io_context&, FileHandle, Kind, std::string name);
  ~FdStream() { close(); }
  FdStream(const FdStream&) = delete;
  FdStream& operator=(const FdStream&) = delete;

  /// What is there now; 0 for nothing. Faults as Port's.
  Result<std::size_t> read_now(ByteSpan into);
  /// What fits now; 0 for no room.
  Result<std::size_t> write_now(ByteView bytes);

  static Task<Result<std::size_t>> read_some(std::shared_ptr<FdStream> self, ByteSpan into, Instant deadline);
  static Task<Result<void>> write(std::shared_ptr<FdStream> self, ByteView bytes, Instant deadline);
  /// Returns when there is something to read (`writer`: room to write), when `deadline` has passed, after wake_all() or
  /// close(), and sometimes for nothing: the caller looks again.
  static Task<> wait(std::shared_ptr<FdStream> self, Waiter, Instant deadline);
  static Task<> pause(std::shared_ptr<FdStream> self, Duration);
  void wake_all();

  void close();
  [[nodiscard]] bool is_open() const { return descriptor_.is_open(); }
  [[nodiscard]] int fd() { return descriptor_.native_handle(); }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  FdStream(boost::asio::io_context&, Kind, std::string name);
  boost::asio::steady_timer& timer_of(Waiter);

  boost::asio::posix::stream_descriptor descriptor_;
  boost::asio::steady_timer read_timer_;
  boost::asio::steady_timer write_timer_;
  boost::asio::steady_timer control_timer_;
  Kind kind_;
  std::string name_;
};

}  // namespace espmint
