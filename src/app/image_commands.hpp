// app/image_commands.hpp: `espmint image FORMAT build|list|extract|check`: images without a board.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace espmint::app {

/// Adds the subcommand `image` to the program. When one of its commands ran, `finish` gets the exit code
/// (docs/exit-codes.md); what went wrong is then already said, in one sentence, on stderr. No command leaves an output
/// file when it fails.
void add_image_commands(CLI::App& espmint, std::function<void(int exit_code)> finish);

}  // namespace espmint::app
