#include "app/notifier.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "app/json.hpp"

extern char** environ;

namespace espmint::app {
namespace {

/// Starts `program` with `line` on its standard input. A pipe holds 64 KiB, a verdict less than 4: writing never waits.
int start_with_input(const std::string& program, const std::string& line, pid_t& child) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
  // Our standard output may be a stream of events: what the program prints is not one of them.
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGXFSZ);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  std::string name = program;
  char* arguments[] = {name.data(), nullptr};
  int error = posix_spawnp(&child, program.c_str(), &actions, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[0]);
  if (error == 0) {
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    [[maybe_unused]] ssize_t written = write(ends[1], line.data(), line.size());
  }
  close(ends[1]);
  return error;
}

}  // namespace

void NotifyingObserver::on_done(const std::string& slot, const RunOutcome& outcome) {
  next_.on_done(slot, outcome);
  if (program_.empty()) return;
  std::erase_if(running_, [](pid_t child) { return waitpid(child, nullptr, WNOHANG) != 0; });
  Json json{{"v", 1}, {"event", "done"}};
  json.update(run_json(outcome.record));
  pid_t child = 0;
  int error = start_with_input(program_, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n", child);
  if (error == 0)
    running_.push_back(child);
  else
    next_.on_note(slot, fmt::format("--on-done: {} could not be started: {}", program_, std::strerror(error)));
}

}  // namespace espmint::app
