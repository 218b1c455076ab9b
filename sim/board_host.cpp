#include "sim/board_host.hpp"

#include <asm/termbits.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <stdlib.h>  // NOLINT: grantpt and its kin are POSIX, not ISO C++
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>

namespace espmint::sim {
namespace asio = boost::asio;
using Error = boost::system::error_code;

namespace {
constexpr std::size_t unsent_limit = 256 * 1024;
// Espressif's own RFC 2217 server drives the reset itself, because a network tears the client's two line changes apart:
// between them both lines are asserted, EN rises, and the strap is not set yet. Holding that moment back does the same.
constexpr auto both_lines_grace = std::chrono::milliseconds{300};
constexpr auto pty_poll = std::chrono::milliseconds{10};
constexpr auto longest_sleep = std::chrono::milliseconds{50};  // so that the flash file is current

Fault cannot(Code code, std::string what, const std::string& where, int error) {
  return {.code = code,
          .remedy = Remedy::refuse,
          .what = std::move(what),
          .where = {.input = where},
          .seen = std::system_category().message(error)};
}
}  // namespace

Result<FlashFile> FlashFile::open(const std::filesystem::path& path, std::size_t bytes) {
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return fail(cannot(Code::output_unwritable, "cannot make the flash file", path.string(), errno));
  struct stat about {};
  bool fresh = ::fstat(fd, &about) != 0 || static_cast<std::size_t>(about.st_size) != bytes;
  void* at = MAP_FAILED;
  if (::ftruncate(fd, static_cast<off_t>(bytes)) == 0)
    at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  int error = errno;
  ::close(fd);
  if (at == MAP_FAILED) return fail(cannot(Code::output_unwritable, "cannot map the flash file", path.string(), error));
  FlashFile file;
  file.bytes_ = {static_cast<std::uint8_t*>(at), bytes};
  file.new_ = fresh;
  if (fresh) std::memset(at, 0xff, bytes);
  return file;
}

FlashFile::FlashFile(FlashFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})), new_(other.new_) {}

FlashFile::~FlashFile() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

BoardHost::BoardHost(asio::io_context& context, BoardOptions options, FlashFile flash, std::filesystem::path stem)
    : stem_(std::move(stem)),
      flash_(std::move(flash)),
      board_(std::move(options), flash_.bytes(), now()),
      acceptor_(context),
      pty_(context),
      pty_timer_(context),
      control_(context),
      timer_(context),
      line_timer_(context) {}

Time BoardHost::now() { return std::chrono::steady_clock::now().time_since_epoch(); }

Result<void> BoardHost::open() {
  Error error;
  acceptor_.open(Tcp::v4(), error);
  if (!error) acceptor_.bind({asio::ip::address_v4::loopback(), 0}, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail(cannot(Code::port_failed, "cannot listen for RFC 2217", "127.0.0.1", error.value()));
  ::unlink(control_path().c_str());
  control_.open(Local{}, error);
  if (!error && control_path().size() >= 108) error = asio::error::make_error_code(asio::error::invalid_argument);
  if (!error) control_.bind({control_path()}, error);
  if (!error) control_.listen(asio::socket_base::max_listen_connections, error);
  if (error)
    return fail(cannot(Code::output_unwritable, "cannot make the control socket", control_path(), error.value()));
  TRY(make_pty());
  accept_tcp();
  accept_control();
  pump();
  return ok();
}

void BoardHost::close() {
  if (std::exchange(closed_, true)) return;
  Error ignored;
  acceptor_.close(ignored);
  control_.close(ignored);
  drop_tcp();
  drop_pty();
  timer_.cancel();
  line_timer_.cancel();
  pty_timer_.cancel();
  ::unlink(control_path().c_str());
}

std::uint16_t BoardHost::tcp_port() const { return acceptor_.local_endpoint().port(); }

// --- the board ------------------------------------------------------------------------------------------------------

void BoardHost::pump() {
  if (closed_) return;
  board_.advance(now());
  feed_board();
  take_from_board();
  if (plugged_ && !board_.plugged()) unplug();                  // a fault pulled the plug
  if (auto followed = follow_usb(); !followed) return close();  // no pty to be had: like a host that is shut down
  if (events_.empty()) {
    read_tcp();
    read_pty();
  }
  std::optional<Time> next = board_.next_event();
  if (!next) {
    timer_.cancel();
    return;
  }
  auto wake = std::chrono::steady_clock::time_point{*next};
  wake = std::min(wake, std::chrono::steady_clock::now() + longest_sleep);
  // Who does not read what waits for him must not keep this loop busy.
  bool stuck = out_.size() >= unsent_limit || !pty_out_.empty() || (telnet_.suspended() && tcp_);
  if (stuck) wake = std::chrono::steady_clock::now() + longest_sleep;
  timer_.expires_at(wake);
  timer_.async_wait([self = shared_from_this()](Error error) {
    if (!error) self->pump();
  });
}

void BoardHost::feed_board() {
  while (!events_.empty()) {
    SerialEvent& event = events_.front();
    switch (event.kind) {
      case SerialEvent::Kind::data: {
        std::size_t taken = board_.receive(now(), event.bytes);
        if (taken < event.bytes.size()) {
          event.bytes.erase(event.bytes.begin(), event.bytes.begin() + static_cast<std::ptrdiff_t>(taken));
          return;
        }
        break;
      }
      case SerialEvent::Kind::baud:
        board_.set_host_baud(now(), event.value);
        break;
      case SerialEvent::Kind::dtr:
        want_lines(event.value != 0, rts_);
        break;
      case SerialEvent::Kind::rts:
        want_lines(dtr_, event.value != 0);
        break;
      case SerialEvent::Kind::purge_input:
        board_.discard_input(now());
        break;
      case SerialEvent::Kind::purge_output:
        board_.discard_output(now());
        break;
    }
    if (departures_ != board_.departures()) return events_.clear();  // what came behind the reset went with the port
    events_.pop_front();
  }
}

void BoardHost::take_from_board() {
  if (telnet_.suspended() && tcp_) return;
  std::array<std::uint8_t, 8192> some;
  // What a full pty did not take waits here, as in an adapter's buffer.
  if (tcp_) pty_out_.clear();
  while (tcp_ || write_pty()) {
    if (out_.size() >= unsent_limit) break;
    std::size_t count = board_.transmit(now(), some);
    if (count == 0) break;
    ByteView there = ByteView{some}.first(count);
    if (tcp_)
      Rfc2217Server::append_escaped(out_, there);
    else
      pty_out_.insert(pty_out_.end(), there.begin(), there.end());
  }
  write_tcp();
}

void BoardHost::want_lines(bool dtr, bool rts) {
  dtr_ = dtr;
  rts_ = rts;
  bool in_reset = driven_rts_ && !driven_dtr_;
  if (in_reset && dtr && rts) {
    line_timer_.expires_after(both_lines_grace);
    line_timer_.async_wait([self = shared_from_this()](Error error) {
      if (error || self->closed_) return;
      self->apply_lines();
      self->pump();
    });
    return;
  }
  line_timer_.cancel();
  apply_lines();
}

void BoardHost::apply_lines() {
  driven_dtr_ = dtr_;
  driven_rts_ = rts_;
  board_.set_lines(now(), dtr_, rts_);
}

void BoardHost::hang_up() {
  here_ = false;
  dtr_ = rts_ = driven_dtr_ = driven_rts_ = false;
  line_timer_.cancel();
  drop_tcp();
  drop_pty();
}

void BoardHost::unplug() {
  plugged_ = false;
  board_.unplug(now());
  hang_up();
}

Result<void> BoardHost::plug() {
  if (plugged_) return ok();
  plugged_ = true;
  board_.plug(now());
  return follow_usb();
}

Result<void> BoardHost::follow_usb() {
  bool left = std::exchange(departures_, board_.departures()) != board_.departures();
  if (here_ && (left || !board_.present())) hang_up();
  if (here_ || !board_.present()) return ok();
  here_ = true;
  return make_pty();
}

std::string BoardHost::control(std::string_view line) {
  std::string_view word = line.substr(0, line.find(' '));
  std::string_view rest = word.size() < line.size() ? line.substr(word.size() + 1) : std::string_view{};
  bool on = rest == "1";
  bool is_switch = on || rest == "0";
  std::string answer = "ok";
  if (word == "dtr" && is_switch) {
    want_lines(on, rts_);
  } else if (word == "rts" && is_switch) {
    want_lines(dtr_, on);
  } else if (word == "power" && is_switch) {
    board_.power(now(), on);
  } else if (line == "unplug") {
    if (plugged_) unplug();
  } else if (line == "plug") {
    Result<void> done = plug();
    if (!done) answer = "error " + describe(done.error());
  } else if (word == "swap") {
    std::string_view name = rest.substr(0, rest.find(' '));
    std::string_view keep = name.size() < rest.size() ? rest.substr(name.size() + 1) : std::string_view{};
    std::optional<Mac> mac = parse_mac(name);
    if (!mac || (!keep.empty() && keep != "keep"))
      answer = "error swap takes a MAC address, then perhaps the word keep";
    else
      board_.swap(now(), *mac, keep == "keep");
  } else {
    answer = "error what is understood: dtr 0|1, rts 0|1, power 0|1, unplug, plug, swap MAC [keep]";
  }
  pump();
  return answer;
}

// --- RFC 2217 -------------------------------------------------------------------------------------------------------

void BoardHost::accept_tcp() {
  acceptor_.async_accept([self = shared_from_this()](Error error, Tcp::socket socket) {
    if (self->closed_) return;
    if (!error && self->here_ && !self->tcp_) {  // one client at a time, as a tty opened exclusively
      Error ignored;
      socket.set_option(Tcp::no_delay{true}, ignored);
      self->tcp_.emplace(std::move(socket));
      ++self->tcp_number_;
      self->tcp_reading_ = self->tcp_writing_ = false;
      self->telnet_ = {};
      self->events_.clear();
      self->out_ = self->telnet_.greeting();
      self->board_.host_opens(now());
      self->board_.set_host_baud(now(), 115'200);
      self->pump();
    }
    if (error != asio::error::operation_aborted) self->accept_tcp();
  });
}

void BoardHost::drop_tcp() {
  if (!tcp_) return;
  Error ignored;
  tcp_->shutdown(Tcp::socket::shutdown_both, ignored);
  tcp_->close(ignored);
  tcp_.reset();
  ++tcp_number_;
  tcp_reading_ = tcp_writing_ = false;
  out_.clear();
  events_.clear();
}

void BoardHost::read_tcp() {
  if (!tcp_ || tcp_reading_) return;
  tcp_reading_ = true;
  tcp_->async_read_some(asio::buffer(tcp_in_),
                        [self = shared_from_this(), number = tcp_number_](Error error, std::size_t count) {
                          if (self->closed_ || number != self->tcp_number_) return;
                          self->tcp_reading_ = false;
                          if (error) return self->drop_tcp();
                          self->telnet_.feed(ByteView{self->tcp_in_}.first(count), self->events_, self->out_);
                          self->pump();
                        });
}

void BoardHost::write_tcp() {
  if (!tcp_ || tcp_writing_ || out_.empty()) return;
  tcp_writing_ = true;
  writing_.swap(out_);
  out_.clear();
  // The buffer lives in a handler of its own: a dropped connection may still be sending it.
  auto bytes = std::make_shared<Bytes>(std::move(writing_));
  asio::async_write(*tcp_, asio::buffer(*bytes),
                    [self = shared_from_this(), bytes, number = tcp_number_](Error error, std::size_t) {
                      if (self->closed_ || number != self->tcp_number_) return;
                      self->tcp_writing_ = false;
                      if (error) return self->drop_tcp();
                      self->take_from_board();
                    });
}

// --- pty ------------------------------------------------------------------------------------------------------------

Result<void> BoardHost::make_pty() {
  int fd = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  std::array<char, 128> name{};
  if (fd < 0 || ::grantpt(fd) != 0 || ::unlockpt(fd) != 0 || ::ptsname_r(fd, name.data(), name.size()) != 0) {
    int error = errno;
    if (fd >= 0) ::close(fd);
    return fail(cannot(Code::port_failed, "cannot make a pty", "/dev/ptmx", error));
  }
  // Raw from the start. Opening and closing the other end once also makes its absence visible as a hang-up.
  int other = ::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  struct termios2 settings {};
  if (other >= 0 && ::ioctl(other, TCGETS2, &settings) == 0) {
    settings.c_iflag = 0;
    settings.c_oflag = 0;
    settings.c_lflag = 0;
    settings.c_cflag = CS8 | CREAD | CLOCAL | B115200;
    ::ioctl(other, TCSETS2, &settings);
  }
  if (other >= 0) ::close(other);
  pty_.assign(fd);
  pty_open_ = pty_reading_ = false;
  std::filesystem::path link{pty_path()}, fresh{pty_path() + ".new"};
  std::error_code error;
  std::filesystem::remove(fresh, error);
  std::filesystem::create_symlink(name.data(), fresh, error);
  if (!error) std::filesystem::rename(fresh, link, error);
  if (error) return fail(cannot(Code::output_unwritable, "cannot link the pty", link.string(), error.value()));
  watch_pty();
  return ok();
}

void BoardHost::drop_pty() {
  std::error_code gone;
  std::filesystem::remove(pty_path(), gone);
  pty_timer_.cancel();
  Error ignored;
  if (pty_.is_open()) pty_.close(ignored);
  pty_open_ = pty_reading_ = false;
  pty_out_.clear();
}

void BoardHost::watch_pty() {
  if (closed_ || !pty_.is_open()) return;
  struct pollfd about {};
  about.fd = pty_.native_handle();
  about.events = POLLIN;
  ::poll(&about, 1, 0);
  bool there = !(about.revents & POLLHUP);
  if (there && !pty_open_) {
    pty_open_ = true;
    if (!tcp_) {
      events_.clear();
      board_.host_opens(now());
      note_pty_baud();
    }
    read_pty();
  }
  if (!there) pty_open_ = false;
  if (pty_open_ && !tcp_) note_pty_baud();
  // A pty tells its master neither that it was opened nor that its speed changed.
  pty_timer_.expires_after(pty_poll);
  pty_timer_.async_wait([self = shared_from_this()](Error error) {
    if (!error) self->watch_pty();
  });
}

void BoardHost::note_pty_baud() {
  struct termios2 settings {};
  if (::ioctl(pty_.native_handle(), TCGETS2, &settings) != 0 || settings.c_ospeed == 0) return;
  pty_baud_ = settings.c_ospeed;
  board_.set_host_baud(now(), pty_baud_);
}

void BoardHost::read_pty() {
  if (!pty_open_ || pty_reading_ || tcp_) return;
  pty_reading_ = true;
  pty_.async_read_some(asio::buffer(pty_in_), [self = shared_from_this()](Error error, std::size_t count) {
    if (self->closed_ || !self->pty_.is_open() || error == asio::error::operation_aborted) return;
    self->pty_reading_ = false;
    if (error) {  // EIO: the other end was closed; watch_pty() sees when it comes back
      self->pty_open_ = false;
      return;
    }
    self->note_pty_baud();
    if (self->tcp_) return;  // whoever came by TCP has the board
    SerialEvent event;
    event.bytes.assign(self->pty_in_.begin(), self->pty_in_.begin() + static_cast<std::ptrdiff_t>(count));
    self->events_.push_back(std::move(event));
    self->pump();
  });
}

bool BoardHost::write_pty() {
  if (!pty_open_) pty_out_.clear();  // nobody there: lost, as on a wire
  while (!pty_out_.empty()) {
    ssize_t count = ::write(pty_.native_handle(), pty_out_.data(), pty_out_.size());
    if (count <= 0) break;
    pty_out_.erase(pty_out_.begin(), pty_out_.begin() + count);
  }
  if (pty_out_.empty() || pty_waiting_) return pty_out_.empty();
  pty_waiting_ = true;
  pty_.async_wait(asio::posix::descriptor_base::wait_write, [self = shared_from_this()](Error error) {
    self->pty_waiting_ = false;
    if (!error && !self->closed_) self->pump();
  });
  return false;
}

// --- control --------------------------------------------------------------------------------------------------------

struct BoardHost::ControlClient {
  explicit ControlClient(Local::socket taken) : socket(std::move(taken)) {}
  Local::socket socket;
  std::string in, out;
};

void BoardHost::accept_control() {
  control_.async_accept([self = shared_from_this()](Error error, Local::socket socket) {
    if (self->closed_ || error == asio::error::operation_aborted) return;
    if (!error) self->read_control(std::make_shared<ControlClient>(std::move(socket)));
    self->accept_control();
  });
}

void BoardHost::read_control(std::shared_ptr<ControlClient> client) {
  auto& buffer = client->in;
  asio::async_read_until(client->socket, asio::dynamic_buffer(buffer, 4096), '\n',
                         [self = shared_from_this(), client](Error error, std::size_t count) {
                           if (error || self->closed_) return;
                           std::string line = client->in.substr(0, count - 1);
                           client->in.erase(0, count);
                           if (!line.empty() && line.back() == '\r') line.pop_back();
                           client->out = self->control(line) + "\n";
                           asio::async_write(client->socket, asio::buffer(client->out),
                                             [self, client](Error failed, std::size_t) {
                                               if (!failed) self->read_control(client);
                                             });
                         });
}

}  // namespace espmint::sim
