#include "io/fd_stream.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

namespace espmint {

namespace asio = boost::asio;

Fault port_gone(const std::string& name, std::string seen) {
  Fault fault{Code::port_gone, Remedy::reconnect, fmt::format("{} is gone", name)};
  fault.seen = std::move(seen);
  fault.advice = "plug it in again; if it was never touched, check cable and power";
  return fault;
}

Fault port_failed(const std::string& name, std::string what, std::string seen) {
  Fault fault{Code::port_failed, Remedy::reconnect, fmt::format("{}: {}", name, what)};
  fault.seen = std::move(seen);
  return fault;
}

Fault port_fault(const std::string& name, int error) {
  switch (error) {
    case EIO:
    case ENXIO:
    case ENODEV:
    case EBADF:
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return port_gone(name, error_text(error));
    default:
      return port_failed(name, "the system refused", error_text(error));
  }
}

FdStream::FdStream(asio::io_context& context, Kind kind, std::string name)
    : descriptor_(context),
      read_timer_(context),
      write_timer_(context),
      control_timer_(context),
      kind_(kind),
      name_(std::move(name)) {}

Result<std::shared_ptr<FdStream>> FdStream::adopt(asio::io_context& context, FileHandle handle, Kind kind,
                                                  std::string name) {
  const int flags = ::fcntl(handle.get(), F_GETFL);
  if (flags < 0 || ::fcntl(handle.get(), F_SETFL, flags | O_NONBLOCK) != 0) return fail(port_fault(name, errno));
  std::shared_ptr<FdStream> stream(new FdStream(context, kind, std::move(name)));
  boost::system::error_code error;
  stream->descriptor_.assign(handle.get(), error);
  if (error) return fail(port_failed(stream->name_, "it cannot be waited for", error.message()));
  handle.release();
  return stream;
}

asio::steady_timer& FdStream::timer_of(Waiter waiter) {
  switch (waiter) {
    case Waiter::reader:
      return read_timer_;
    case Waiter::writer:
      return write_timer_;
    case Waiter::control:
      break;
  }
  return control_timer_;
}

void FdStream::close() {
  if (!descriptor_.is_open()) return;
  // TIOCEXCL outlives us where somebody else (a pty's master) keeps the terminal open.
  if (kind_ == Kind::tty) static_cast<void>(::ioctl(descriptor_.native_handle(), TIOCNXCL));
  boost::system::error_code ignored;
  descriptor_.close(ignored);
  read_timer_.cancel();
  write_timer_.cancel();
  control_timer_.cancel();
}

void FdStream::wake_all() {
  boost::system::error_code ignored;
  descriptor_.cancel(ignored);
}

Result<std::size_t> FdStream::read_now(ByteSpan into) {
  if (!descriptor_.is_open()) return fail(port_gone(name_, "it was closed"));
  if (into.empty()) return std::size_t{0};
  for (;;) {
    const ssize_t count = ::read(descriptor_.native_handle(), into.data(), into.size());
    if (count > 0) return static_cast<std::size_t>(count);
    if (count == 0)
      return fail(port_gone(name_, kind_ == Kind::tty ? "hang-up" : "the other side closed the connection"));
    if (errno == EAGAIN) return std::size_t{0};
    if (errno != EINTR) return fail(port_fault(name_, errno));
  }
}

Result<std::size_t> FdStream::write_now(ByteView bytes) {
  if (!descriptor_.is_open()) return fail(port_gone(name_, "it was closed"));
  if (bytes.empty()) return std::size_t{0};
  for (;;) {
    const int fd = descriptor_.native_handle();
    // A socket whose other end has left must answer with an error, not kill the process.
    const ssize_t count = kind_ == Kind::tty ? ::write(fd, bytes.data(), bytes.size())
                                             : ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN) return std::size_t{0};
    if (errno != EINTR) return fail(port_fault(name_, errno));
  }
}

Task<> FdStream::wait(std::shared_ptr<FdStream> self, Waiter waiter, Instant deadline) {
  if (!self->descriptor_.is_open()) co_return;
  asio::steady_timer& timer = self->timer_of(waiter);
  if (deadline != Instant::max()) {
    timer.expires_at(deadline);
    timer.async_wait([weak = self->weak_from_this()](boost::system::error_code cancelled) {
      if (cancelled) return;
      if (const auto stream = weak.lock()) stream->wake_all();
    });
  }
  const auto ready =
      waiter == Waiter::writer ? asio::posix::descriptor_base::wait_write : asio::posix::descriptor_base::wait_read;
  // Cancelled by the timer, by wake_all or by the coroutine's owner: for the last, Asio throws at the next co_await.
  static_cast<void>(co_await self->descriptor_.async_wait(ready, asio::as_tuple(asio::use_awaitable)));
  timer.cancel();
}

Task<> FdStream::pause(std::shared_ptr<FdStream> self, Duration duration) {
  self->control_timer_.expires_after(duration);
  static_cast<void>(co_await self->control_timer_.async_wait(asio::as_tuple(asio::use_awaitable)));
}

Task<Result<std::size_t>> FdStream::read_some(std::shared_ptr<FdStream> self, ByteSpan into, Instant deadline) {
  for (;;) {
    CO_TRY(const std::size_t count, self->read_now(into));
    if (count > 0 || into.empty() || steady_now() >= deadline) co_return count;
    co_await wait(self, Waiter::reader, deadline);
  }
}

Task<Result<void>> FdStream::write(std::shared_ptr<FdStream> self, ByteView bytes, Instant deadline) {
  const std::size_t all = bytes.size();
  while (!bytes.empty()) {
    CO_TRY(const std::size_t count, self->write_now(bytes));
    bytes = bytes.subspan(count);
    if (count > 0) continue;
    if (steady_now() >= deadline) {
      co_return fail(port_failed(self->name_, "it takes no more bytes",
                                 fmt::format("{} of {} bytes left at the deadline", bytes.size(), all)));
    }
    co_await wait(self, Waiter::writer, deadline);
  }
  co_return ok();
}

}  // namespace espmint
