// io/program.hpp: other programs of this machine, run for what they print. No shell is between.
//   TRY(auto arguments, split_command_line("aws configure export-credentials --format process"));
//   CO_TRY(Secret output, co_await run_program({std::move(arguments)}));
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/secret.hpp"
#include "io/clock.hpp"

namespace espmint {

struct Program {
  std::vector<std::string> arguments;  // the first names it, looked for in PATH; everyone on the machine can read them
  Duration timeout = std::chrono::seconds{60};
  std::size_t longest_output = 64 * 1024;
};

/// Its standard output, once it has ended with status 0. It has no terminal to ask questions on, an empty standard
/// input, our standard error and environment, and none of our files. It is killed, with what it started, at the timeout
/// and when whoever waits is gone. Fault input_unreadable (refuse) names the program and quotes nothing that it
/// printed.
Task<Result<Secret>> run_program(Program program);

/// A command line as words, by the rules of a POSIX shell without expansions: white space parts them, '…' is literal,
/// in "…" a backslash keeps " and \, elsewhere it keeps whatever follows. Fault input_invalid: a quote without its end,
/// nothing after a backslash, no word at all.
Result<std::vector<std::string>> split_command_line(std::string_view line);

}  // namespace espmint
