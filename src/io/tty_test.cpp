#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>

#include "io/carriers.hpp"
#include "io/returning_port.hpp"
#include "io/system_ports.hpp"
#include "io/test_folder.hpp"
#include "io/tty_baud.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

/// A terminal pair: the test sits at the master's end, as the board would.
struct Pty {
  Pty() {
    char path[64];
    EXPECT_EQ(::openpty(&master, &slave, path, nullptr, nullptr), 0);
    name = path;
    ::fcntl(master, F_SETFL, O_NONBLOCK);
    ::fcntl(master, F_SETFD, FD_CLOEXEC);
  }
  ~Pty() {
    hang_up();
    let_go_of_slave();
  }
  Pty(const Pty&) = delete;
  Pty& operator=(const Pty&) = delete;
  void hang_up() {
    if (master >= 0) ::close(std::exchange(master, -1));
  }
  void let_go_of_slave() {
    if (slave >= 0) ::close(std::exchange(slave, -1));
  }
  void say(std::string_view text) const {
    EXPECT_EQ(::write(master, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  [[nodiscard]] std::string heard() const {
    char buffer[4096];
    const ssize_t count = ::read(master, buffer, sizeof buffer);
    return count > 0 ? std::string(buffer, static_cast<std::size_t>(count)) : std::string{};
  }

  int master = -1;
  int slave = -1;
  std::string name;
};

struct Tty : testing::Test {
  RealLoop loop;
  Pty pty;
  std::unique_ptr<PortOpener> opener = make_system_port_opener(loop);

  using Body = Task<> (*)(Tty& test, Port& port);
  static Task<> open_and(Tty& test, Body body) {
    auto port = co_await test.opener->open(test.pty.name);
    if (!port) {
      ADD_FAILURE() << describe(port.error());
      co_return;
    }
    test.pty.let_go_of_slave();
    co_await body(test, **port);
  }
  void with_port(Body body) { loop.run(open_and(*this, body)); }

  static Task<> keep_fault(Tty& test, std::string name, std::optional<Fault>& fault) {
    auto port = co_await test.opener->open(name);
    if (!port) fault = port.error();
  }
  std::optional<Fault> fault_of_opening(const std::string& name) {
    std::optional<Fault> fault;
    loop.run(keep_fault(*this, name, fault));
    return fault;
  }
  [[nodiscard]] Instant in(Duration duration) const { return loop.now() + duration; }
};

TEST_F(Tty, CarriesEveryByteBothWays) {
  with_port([](Tty& test, Port& port) -> Task<> {
    Bytes all(256);
    for (std::size_t i = 0; i < 256; ++i) all[i] = static_cast<std::uint8_t>(i);
    EXPECT_TRUE(co_await port.write(all, test.in(1s)));
    EXPECT_EQ(test.pty.heard(), as_text(all));
    test.pty.say(as_text(all));
    Bytes got(1000);
    const auto count = co_await port.read_some(got, test.in(1s));
    EXPECT_EQ(count, 256U);
    got.resize(256);
    EXPECT_EQ(got, all);
  });
}

TEST_F(Tty, ReturnsNothingAtTheDeadlineAndReadsOnAfterwards) {
  with_port([](Tty& test, Port& port) -> Task<> {
    Bytes got(16);
    const Instant start = test.loop.now();
    EXPECT_EQ(co_await port.read_some(got, start + 30ms), 0U);
    const Duration waited = test.loop.now() - start;
    EXPECT_GE(waited, 30ms);
    EXPECT_LT(waited, 2s);
    EXPECT_EQ(co_await port.read_some(got, test.loop.now() - 1s), 0U) << "a deadline in the past only looks";
    test.pty.say("late");
    EXPECT_EQ(co_await port.read_some(got, test.in(1s)), 4U);
  });
}

Task<> say_after(Tty& test, Duration pause, std::string text) {
  co_await test.loop.sleep_for(pause);
  test.pty.say(text);
}

TEST_F(Tty, WakesWhenBytesArriveWhileItWaits) {
  with_port([](Tty& test, Port& port) -> Task<> {
    test.loop.spawn(say_after(test, 20ms, "hello"));
    Bytes got(16);
    EXPECT_EQ(co_await port.read_some(got, test.in(5s)), 5U);
    EXPECT_EQ(as_text(got).substr(0, 5), "hello");
  });
}

TEST_F(Tty, FaultsWhenNobodyTakesWhatIsWritten) {
  with_port([](Tty& test, Port& port) -> Task<> {
    const Bytes much(1'000'000, 'x');
    const auto written = co_await port.write(much, test.in(50ms));
    EXPECT_FALSE(written);
    if (!written) {
      EXPECT_EQ(written.error().code, Code::port_failed);
      EXPECT_NE(written.error().seen.find("of 1000000 bytes left"), std::string::npos);
    }
  });
}

Task<> listen_to_much(Tty& test, std::size_t expected, std::size_t& heard) {
  while (heard < expected) {
    const std::string text = test.pty.heard();
    heard += text.size();
    if (text.empty()) co_await test.loop.sleep_for(1ms);
  }
}

TEST_F(Tty, WaitsForRoomUntilAllIsWritten) {
  with_port([](Tty& test, Port& port) -> Task<> {
    std::size_t heard = 0;
    const Bytes much(200'000, 'x');
    test.loop.spawn(listen_to_much(test, much.size(), heard));
    EXPECT_TRUE(co_await port.write(much, test.in(10s)));
    while (heard < much.size()) co_await test.loop.sleep_for(1ms);
  });
}

TEST_F(Tty, TakesAnySpeedExactly) {
  with_port([](Tty& test, Port& port) -> Task<> {
    for (const std::uint32_t speed : {115'200U, 1'500'000U, 2'000'000U, 3'000'000U, 74'880U, 921'600U, 1'234'567U}) {
      EXPECT_TRUE(co_await port.set_baud(Baud{speed}));
      EXPECT_EQ(tty_baud(test.pty.master), speed);
    }
  });
}

TEST_F(Tty, IsRawAndLeavesTheLinesAloneAtItsEnd) {
  with_port([](Tty& test, Port&) -> Task<> {
    termios line{};
    EXPECT_EQ(::tcgetattr(test.pty.master, &line), 0);
    EXPECT_EQ(line.c_lflag & (ICANON | ECHO | ISIG), 0U);
    EXPECT_EQ(line.c_iflag & (IXON | IXOFF | ICRNL | ISTRIP), 0U);
    EXPECT_EQ(line.c_oflag & OPOST, 0U);
    EXPECT_EQ(line.c_cflag & (HUPCL | CRTSCTS | PARENB | CSTOPB), 0U);
    EXPECT_EQ(line.c_cflag & (CLOCAL | CREAD | CSIZE), static_cast<tcflag_t>(CLOCAL | CREAD | CS8));
    EXPECT_EQ(tty_baud(test.pty.master), 115'200U);
    co_return;
  });
}

TEST_F(Tty, SurvivesThatAPtyHasNoModemLines) {
  with_port([](Tty& test, Port& port) -> Task<> {
    const auto dtr = co_await port.set_dtr(true);
    const auto rts = co_await port.set_rts(false);
    const auto both = co_await port.set_dtr_rts(false, true);
    for (const auto& answer : {dtr, rts, both}) {
      EXPECT_FALSE(answer);
      if (!answer) {
        EXPECT_EQ(answer.error().code, Code::no_reset_lines);
        EXPECT_EQ(answer.error().remedy, Remedy::refuse);
      }
    }
    EXPECT_TRUE(co_await port.write(as_bytes("still here"), test.in(1s)));
    EXPECT_EQ(test.pty.heard(), "still here");
  });
}

TEST_F(Tty, DropsWhatArrivedBeforeDiscard) {
  with_port([](Tty& test, Port& port) -> Task<> {
    test.pty.say("old noise");
    co_await test.loop.sleep_for(5ms);
    EXPECT_TRUE(co_await port.discard_input());
    test.pty.say("new");
    Bytes got(64);
    EXPECT_EQ(co_await port.read_some(got, test.in(1s)), 3U);
  });
}

Task<> hang_up_after(Tty& test, Duration pause) {
  co_await test.loop.sleep_for(pause);
  test.pty.hang_up();
}

TEST_F(Tty, IsGoneAfterAHangUp) {
  with_port([](Tty& test, Port& port) -> Task<> {
    test.loop.spawn(hang_up_after(test, 10ms));
    Bytes got(16);
    const auto count = co_await port.read_some(got, test.in(5s));
    EXPECT_FALSE(count);
    if (!count) {
      EXPECT_EQ(count.error().code, Code::port_gone);
      EXPECT_EQ(count.error().remedy, Remedy::reconnect);
    }
    const auto written = co_await port.write(as_bytes("x"), test.in(1s));
    EXPECT_EQ(written.error().code, Code::port_gone);
    const auto speed = co_await port.set_baud(Baud{115'200});
    EXPECT_EQ(speed.error().code, Code::port_gone);
    const auto line = co_await port.set_dtr(true);
    EXPECT_EQ(line.error().code, Code::port_gone);
  });
}

TEST_F(Tty, IsGoneAfterItsOwnClose) {
  with_port([](Tty& test, Port& port) -> Task<> {
    port.close();
    port.close();
    Bytes got(16);
    EXPECT_EQ((co_await port.read_some(got, test.in(1s))).error().code, Code::port_gone);
    EXPECT_EQ((co_await port.write(got, test.in(1s))).error().code, Code::port_gone);
    EXPECT_EQ((co_await port.discard_input()).error().code, Code::port_gone);
  });
}

Task<> read_until_gone(Port& port, Instant deadline, std::optional<Code>& end) {
  Bytes got(16);
  const auto count = co_await port.read_some(got, deadline);
  if (!count) end = count.error().code;
}

Task<> drop_while_reading(Tty& test, std::optional<Code>& end) {
  auto port = co_await test.opener->open(test.pty.name);
  EXPECT_TRUE(port);
  test.loop.spawn(read_until_gone(**port, test.in(5s), end));
  co_await test.loop.sleep_for(5ms);
  port->reset();
  co_await test.loop.sleep_for(5ms);
}

TEST_F(Tty, MayEndWhileSomebodyStillReads) {
  std::optional<Code> end;
  loop.run(drop_while_reading(*this, end));
  EXPECT_EQ(end, Code::port_gone);
}

TEST_F(Tty, BelongsToOneAtATimeAndNamesTheHolder) {
  // The child takes the port as another program would and tells through the pipe that it has.
  int told[2];
  ASSERT_EQ(::pipe(told), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const int fd = ::open(pty.name.c_str(), O_RDWR | O_NOCTTY);
    char done = ::flock(fd, LOCK_EX | LOCK_NB) == 0 ? 'y' : 'n';
    if (::write(told[1], &done, 1) == 1) ::pause();
    ::_exit(0);
  }
  char done = 0;
  ASSERT_EQ(::read(told[0], &done, 1), 1);
  ASSERT_EQ(done, 'y');
  const auto fault = fault_of_opening(pty.name);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(told[0]);
  ::close(told[1]);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->code, Code::port_busy);
  EXPECT_EQ(fault->seen, "held by pid " + std::to_string(child) + " (io_test)");
  EXPECT_FALSE(fault_of_opening(pty.name)) << "free again when its holder has ended";
}

Task<> open_twice(Tty& test, std::optional<Fault>& fault) {
  auto first = co_await test.opener->open(test.pty.name);
  EXPECT_TRUE(first);
  auto second = co_await test.opener->open(test.pty.name);
  if (!second) fault = second.error();
  first->reset();
  EXPECT_TRUE(co_await test.opener->open(test.pty.name));
}

TEST_F(Tty, BelongsToOneSlotOfThisProcessToo) {
  std::optional<Fault> fault;
  loop.run(open_twice(*this, fault));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->code, Code::port_busy);
}

TEST_F(Tty, SaysWhatIsMissing) {
  const auto none = fault_of_opening("/dev/ttyUSB-none");
  ASSERT_TRUE(none);
  EXPECT_EQ(none->code, Code::port_missing);
  TestFolder folder;
  const auto file = (folder / "file").string();
  ::close(::open(file.c_str(), O_CREAT | O_RDWR, 0600));
  const auto no_tty = fault_of_opening(file);
  ASSERT_TRUE(no_tty);
  EXPECT_EQ(no_tty->code, Code::port_failed);
  EXPECT_NE(no_tty->what.find("no serial port"), std::string::npos);
}

TEST_F(Tty, NamesTheGroupThatMayOpenIt) {
  if (::getuid() != 0) GTEST_SKIP() << "only root can give the terminal to a group and become another user";
  ASSERT_EQ(::chown(pty.name.c_str(), 0, 20), 0);  // 20 is dialout on Debian
  ASSERT_EQ(::chmod(pty.name.c_str(), 0660), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    boost::asio::io_context context;
    const auto port = open_tty(context, pty.name);
    if (port) ::_exit(2);
    if (port.error().code != Code::port_denied) ::_exit(3);
    ::_exit(port.error().advice == "Run `sudo usermod -aG dialout $USER`, then log in again" ? 0 : 4);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

/// A place whose port gets another name each time: what udev says of a USB location.
class OnePlace final : public PortOpener {
 public:
  OnePlace(PortOpener& system, std::string& name) : system_(system), name_(name) {}
  Task<Result<std::unique_ptr<Port>>> open(const std::string& name) override { return system_.open(name); }
  Result<PortInfo> look_again(const PortInfo& before) override {
    PortInfo now = before;
    now.name = name_;
    return now;
  }

 private:
  PortOpener& system_;
  std::string& name_;
};

TEST_F(Tty, IsFollowedToAnotherNameAtTheSamePlace) {
  loop.run([](Tty& test) -> Task<> {
    std::string name = test.pty.name;
    OnePlace place{*test.opener, name};
    auto opened = co_await place.open(name);
    EXPECT_TRUE(opened);
    if (!opened) co_return;
    ReturningPort port{place, test.loop, {.name = name, .location = "usb-1-4.2"}, std::move(*opened)};
    test.pty.let_go_of_slave();
    test.pty.hang_up();
    Bytes got(16);
    auto gone = co_await port.read_some(got, test.in(1s));
    EXPECT_FALSE(gone);
    Pty other;
    name = other.name;
    auto back = co_await port.reopen(test.in(5s));
    EXPECT_TRUE(back);
    EXPECT_EQ(port.name(), other.name);
    other.let_go_of_slave();
    other.say("here");
    EXPECT_EQ(co_await port.read_some(got, test.in(1s)), 4U);
  }(*this));
}

TEST_F(Tty, SetsAnFtdiTimerToOneMillisecondWhileItIsOpen) {
  TestFolder sys;
  const auto file = sys.path() / std::filesystem::path(pty.name).filename() / "device/latency_timer";
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << "16";
  auto read = [&file] {
    std::string text;
    std::ifstream(file) >> text;
    return text;
  };
  auto port = open_tty(loop.context(), pty.name, sys.path());
  ASSERT_TRUE(port) << describe(port.error());
  EXPECT_EQ(read(), "1");
  EXPECT_EQ((*port)->latency(), 1ms);
  (*port)->close();
  EXPECT_EQ(read(), "16");
}

}  // namespace
}  // namespace espmint
