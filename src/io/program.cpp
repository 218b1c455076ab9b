#include "io/program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <memory>

#include "io/descriptor.hpp"

namespace espmint {
namespace {

namespace asio = boost::asio;

Fault program_fault(const std::string& program, std::string why, std::string advice = {}) {
  return {Code::input_unreadable, Remedy::refuse,   fmt::format("the program {} gave no answer", program), {},
          std::move(why),         std::move(advice)};
}

/// A started program: at its end killed with all that it started, and reaped.
class Child {
 public:
  Child() = default;
  ~Child() {
    if (pid_ > 0) {
      ::kill(-pid_, SIGKILL);
      reap();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Zero, or the error.
  int start(const std::vector<std::string>& words, int output) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t every, none;
    sigfillset(&every);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &every);
    posix_spawnattr_setsigmask(&attributes, &none);
    // A session of its own: a question would fail at once for lack of a terminal, instead of stopping the program.
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const int error = posix_spawnp(&pid_, arguments[0], &actions, &attributes, arguments.data(), environ);
    if (error != 0) pid_ = 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Waits for its end, which has come or comes at once; its status as waitpid has it.
  int reap() {
    int status = -1;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
};

std::string show_status(int status) {
  if (WIFSIGNALED(status)) return fmt::format("it was ended by signal {}", WTERMSIG(status));
  return fmt::format("it ended with status {}", WEXITSTATUS(status));
}

/// What the timer needs, also when the coroutine has ended before it.
struct Streams {
  explicit Streams(const asio::any_io_executor& executor) : output(executor), end(executor) {}
  asio::posix::stream_descriptor output, end;
  bool late = false;
};

struct WipedBuffer {
  explicit WipedBuffer(std::size_t size) : bytes(size) {}
  ~WipedBuffer() { wipe(bytes); }
  WipedBuffer(const WipedBuffer&) = delete;
  WipedBuffer& operator=(const WipedBuffer&) = delete;
  Bytes bytes;
};

}  // namespace

Task<Result<Secret>> run_program(Program program) {
  if (program.arguments.empty()) co_return fail(program_fault("", "no program was named"));
  const std::string name = program.arguments.front();
  const auto executor = co_await asio::this_coro::executor;

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) co_return fail(program_fault(name, error_text(errno)));
  FileHandle reading{ends[0]};
  FileHandle writing{ends[1]};
  Child child;
  if (const int error = child.start(program.arguments, writing.get()); error != 0)
    co_return fail(program_fault(name, "it could not be started: " + error_text(error)));
  writing = FileHandle{};  // its end is then the end of the output
  // By its number: glibc 2.36 declares pidfd_open for C only.
  FileHandle end{static_cast<int>(::syscall(SYS_pidfd_open, child.pid(), 0))};
  if (!end.is_open()) co_return fail(program_fault(name, error_text(errno)));

  const auto streams = std::make_shared<Streams>(executor);
  streams->output.assign(reading.release());
  streams->end.assign(end.release());
  asio::steady_timer timer{executor, program.timeout};
  timer.async_wait([streams](boost::system::error_code cancelled) {
    if (cancelled) return;
    streams->late = true;
    boost::system::error_code ignored;
    streams->output.cancel(ignored);
    streams->end.cancel(ignored);
  });

  WipedBuffer buffer{program.longest_output + 1};
  std::size_t size = 0;
  while (!streams->late && size < buffer.bytes.size()) {
    auto room = asio::buffer(buffer.bytes.data() + size, buffer.bytes.size() - size);
    const auto [error, count] = co_await streams->output.async_read_some(room, asio::as_tuple(asio::use_awaitable));
    if (error) break;
    size += count;
  }
  if (size > program.longest_output)
    co_return fail(program_fault(name, fmt::format("it printed more than {} bytes", program.longest_output)));
  if (!streams->late) {
    using asio::posix::descriptor_base;
    static_cast<void>(
        co_await streams->end.async_wait(descriptor_base::wait_read, asio::as_tuple(asio::use_awaitable)));
  }
  if (streams->late) {
    const auto patience = std::chrono::duration<double>(program.timeout).count();
    co_return fail(program_fault(name, fmt::format("it took longer than {:.3g} s", patience),
                                 "it cannot ask questions here: try it by hand first"));
  }
  timer.cancel();
  const int status = child.reap();
  if (status != 0) co_return fail(program_fault(name, show_status(status)));
  co_return Secret{Bytes(buffer.bytes.begin(), buffer.bytes.begin() + static_cast<std::ptrdiff_t>(size))};
}

Result<std::vector<std::string>> split_command_line(std::string_view line) {
  const auto bad = [](std::string why) {
    return fail(Fault{Code::input_invalid, Remedy::refuse, "not a command line", {}, std::move(why)});
  };
  std::vector<std::string> words;
  bool in_word = false;
  char quote = 0;  // the one that is open
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    const bool parts = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (quote == 0 && parts) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    if (c == '\0') return bad("it has a NUL byte");
    if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (quote != 0 && c == quote) {
      quote = 0;
    } else if (c == '\\' && quote != '\'') {
      if (i + 1 == line.size()) return bad("nothing follows its last backslash");
      const char next = line[++i];
      if (next == '\0') return bad("it has a NUL byte");
      if (quote == '"' && next != '"' && next != '\\') words.back() += c;
      words.back() += next;
    } else {
      words.back() += c;
    }
  }
  if (quote != 0) return bad("a quote is not closed");
  if (words.empty() || words.front().empty()) return bad("it names no program");
  return words;
}

}  // namespace espmint
