#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/serial.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "io/carriers.hpp"
#include "io/latency_timer.hpp"
#include "io/system_ports.hpp"
#include "io/tty_baud.hpp"
#include "io/usb_bus.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr Duration drain_limit = 5s;

Fault no_reset_lines(const std::string& name, int error) {
  return {Code::no_reset_lines,
          Remedy::refuse,
          fmt::format("{} has no DTR and RTS", name),
          {},
          error_text(error),
          "hold BOOT and press RESET on the board, or use an adapter (or rfc2217://) that has these lines"};
}

/// Asks the driver for low latency, which FTDI's understands as 1 ms for whoever may not write its timer; as it was
/// afterwards. Others ignore or refuse it, which costs nothing.
class LowLatency {
 public:
  explicit LowLatency(int fd) {
    serial_struct settings{};
    if (::ioctl(fd, TIOCGSERIAL, &settings) != 0 || (settings.flags & ASYNC_LOW_LATENCY) != 0) return;
    changed_ = set(fd, true);
  }
  void end(int fd) {
    if (std::exchange(changed_, false)) static_cast<void>(set(fd, false));
  }

 private:
  static bool set(int fd, bool low) {
    serial_struct settings{};
    if (::ioctl(fd, TIOCGSERIAL, &settings) != 0) return false;
    settings.flags = low ? settings.flags | ASYNC_LOW_LATENCY : settings.flags & ~ASYNC_LOW_LATENCY;
    return ::ioctl(fd, TIOCSSERIAL, &settings) == 0;
  }
  bool changed_ = false;
};

class TtyPort final : public Port {
 public:
  TtyPort(std::shared_ptr<FdStream> stream, const std::filesystem::path& tty_class)
      : stream_(std::move(stream)),
        name_(stream_->name()),
        timer_(std::in_place, name_, tty_class),
        low_latency_(stream_->fd()),
        latency_(timer_->now()) {}
  ~TtyPort() override { shut(); }
  TtyPort(const TtyPort&) = delete;
  TtyPort& operator=(const TtyPort&) = delete;

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    return FdStream::read_some(stream_, into, deadline);
  }
  Task<Result<void>> write(ByteView bytes, Instant deadline) override {
    return FdStream::write(stream_, bytes, deadline);
  }
  Task<Result<void>> set_baud(Baud baud) override { return set_baud_on(stream_, baud); }
  Task<Result<void>> set_dtr(bool asserted) override { co_return change_line(TIOCM_DTR, asserted); }
  Task<Result<void>> set_rts(bool asserted) override { co_return change_line(TIOCM_RTS, asserted); }
  Task<Result<void>> set_dtr_rts(bool dtr, bool rts) override {
    auto both = change_both_lines(dtr, rts);
    if (both || both.error().code != Code::no_reset_lines) co_return both;
    // Whatever knows no common operation may still know the lines one by one; a port without any faults here again.
    CO_TRY(change_line(TIOCM_DTR, dtr));
    co_return change_line(TIOCM_RTS, rts);
  }
  Task<Result<void>> discard_input() override {
    if (!stream_->is_open()) co_return fail(port_gone(name_, "it was closed"));
    if (::tcflush(stream_->fd(), TCIFLUSH) != 0) co_return fail(port_fault(name_, errno));
    co_return ok();
  }
  void close() override { shut(); }
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Duration latency() const override { return latency_; }

 private:
  /// The adapter is left as it was found.
  void shut() {
    if (stream_->is_open()) low_latency_.end(stream_->fd());
    stream_->close();
    timer_.reset();
  }

  Result<void> change_both_lines(bool dtr, bool rts) {
    int lines = 0;
    TRY(modem(TIOCMGET, lines));
    lines &= ~(TIOCM_DTR | TIOCM_RTS);
    if (dtr) lines |= TIOCM_DTR;
    if (rts) lines |= TIOCM_RTS;
    return modem(TIOCMSET, lines);
  }

  Result<void> change_line(int line, bool asserted) { return modem(asserted ? TIOCMBIS : TIOCMBIC, line); }

  Result<void> modem(unsigned long request, int& lines) {
    if (!stream_->is_open()) return fail(port_gone(name_, "it was closed"));
    if (::ioctl(stream_->fd(), request, &lines) == 0) return ok();
    const int error = errno;
    // A plain pty, and drivers without these wires, answer so.
    if (error == ENOTTY || error == EINVAL) return fail(no_reset_lines(name_, error));
    return fail(port_fault(name_, error));
  }

  static Task<Result<void>> set_baud_on(std::shared_ptr<FdStream> stream, Baud baud) {
    // tcdrain would hold up every slot. The queue's length is asked for instead; what is left in the adapter's own FIFO
    // is a few milliseconds at most, and the change below waits for that.
    const Instant limit = steady_now() + drain_limit;
    for (;;) {
      if (!stream->is_open()) co_return fail(port_gone(stream->name(), "it was closed"));
      int queued_bytes = 0;
      if (::ioctl(stream->fd(), TIOCOUTQ, &queued_bytes) != 0) co_return fail(port_fault(stream->name(), errno));
      if (queued_bytes == 0) break;
      if (steady_now() >= limit) {
        co_return fail(port_failed(stream->name(), "what was written does not leave",
                                   fmt::format("{} bytes queued after 5 s", queued_bytes)));
      }
      const std::uint32_t speed = std::max(tty_baud(stream->fd()), 1200U);
      const Duration needed = 1s * queued_bytes * 10 / speed;  // 8N1: ten symbols a byte
      co_await FdStream::pause(stream, std::clamp<Duration>(needed, 1ms, 20ms));
    }
    if (const int error = set_tty_baud(stream->fd(), baud.per_second); error != 0) {
      if (error != EINVAL) co_return fail(port_fault(stream->name(), error));
      co_return fail(not_at(stream->name(), baud, error_text(error)));
    }
    // Drivers write back what their divider makes of it; beyond 3 % a UART cannot follow.
    const std::uint64_t real = tty_baud(stream->fd());
    if (real * 100 < std::uint64_t{baud.per_second} * 97 || real * 100 > std::uint64_t{baud.per_second} * 103) {
      co_return fail(not_at(stream->name(), baud, fmt::format("the driver runs at {}", real)));
    }
    co_return ok();
  }

  static Fault not_at(const std::string& name, Baud baud, std::string seen) {
    return {
        Code::baud_failed, Remedy::reconnect,      fmt::format("{} cannot run at {} baud", name, baud.per_second), {},
        std::move(seen),   "choose a lower --baud"};
  }

  std::shared_ptr<FdStream> stream_;
  std::string name_;
  std::optional<LatencyTimer> timer_;
  LowLatency low_latency_;
  Duration latency_;
};

Fault denied(const std::string& path) {
  struct stat node {};
  if (::stat(path.c_str(), &node) != 0) return tty_open_fault(path, errno);
  const passwd* owner = ::getpwuid(node.st_uid);
  const std::string owner_name = owner != nullptr ? owner->pw_name : std::to_string(node.st_uid);
  const group* members = ::getgrgid(node.st_gid);
  const std::string group_name = members != nullptr ? members->gr_name : std::to_string(node.st_gid);
  const bool group_may = (node.st_mode & 0060) == 0060;
  Fault fault{Code::port_denied, Remedy::refuse, fmt::format("no permission to open {}", path)};
  fault.seen = fmt::format("it belongs to {}:{}, mode {:04o}", owner_name, group_name, node.st_mode & 07777);
  fault.advice = group_may ? fmt::format("Run `sudo usermod -aG {} $USER`, then log in again", group_name)
                           : fmt::format("group {} may not use it either: sudo chmod 660 {}", group_name, path);
  return fault;
}

Result<void> make_raw(int fd, const std::string& path) {
  termios line{};
  if (::tcgetattr(fd, &line) != 0) {
    const int error = errno;
    if (error != ENOTTY && error != EINVAL) return fail(tty_open_fault(path, error));
    return fail({Code::port_failed, Remedy::refuse, fmt::format("{} is no serial port", path), {}, error_text(error)});
  }
  ::cfmakeraw(&line);
  line.c_iflag &= ~static_cast<tcflag_t>(IXOFF | IXANY | INPCK);
  // Without HUPCL the last close leaves DTR and RTS alone: closing must not reset a board that has just been finished.
  line.c_cflag &= ~static_cast<tcflag_t>(HUPCL | CRTSCTS | CSTOPB | PARENB);
  line.c_cflag |= CLOCAL | CREAD | CS8;
  line.c_cc[VMIN] = 1;  // with 0, "nothing there" and "hung up" would read the same
  line.c_cc[VTIME] = 0;
  ::cfsetspeed(&line, B115200);
  if (::tcsetattr(fd, TCSANOW, &line) != 0) return fail(tty_open_fault(path, errno));
  return ok();
}

}  // namespace

Fault tty_open_fault(const std::string& path, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
    case ENODEV:
      return {Code::port_missing,
              Remedy::retry,
              fmt::format("there is no port {}", path),
              {},
              error_text(error),
              "plug the board in; `espmint board list` shows what is there"};
    case EACCES:
    case EPERM:
      return denied(path);
    case EBUSY:
    case EWOULDBLOCK:
      return busy_fault(path, holder_of(path));
    default:
      return port_failed(path, "it cannot be opened", error_text(error));
  }
}

Result<std::unique_ptr<Port>> open_tty(boost::asio::io_context& context, const std::string& path,
                                       const std::filesystem::path& tty_class) {
  FileHandle handle{::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)};
  if (!handle.is_open()) return fail(tty_open_fault(path, errno));
  // The flock first: whoever fails here must not have touched the line of the one who holds it. TIOCEXCL alone does not
  // stop root; flock alone stops only those who ask.
  if (::flock(handle.get(), LOCK_EX | LOCK_NB) != 0) return fail(tty_open_fault(path, errno));
  TRY(make_raw(handle.get(), path));
  if (::ioctl(handle.get(), TIOCEXCL) != 0) return fail(tty_open_fault(path, errno));
  TRY(auto stream, FdStream::adopt(context, std::move(handle), FdStream::Kind::tty, path));
  return std::make_unique<TtyPort>(std::move(stream), tty_class);
}

}  // namespace espmint
