// app/completion.hpp: what shells complete and what `man` shows, made from the command line itself: a word that is
// added there is known here.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace espmint::app {

/// A completion script for "bash", "zsh" or "fish"; nothing for another shell.
std::optional<std::string> completion_script(const CLI::App& program, std::string_view shell);

/// Name to text: "espmint.1", "espmint-board-monitor.1", … one page for each command that does something.
std::map<std::string, std::string> man_pages(const CLI::App& program, std::string_view version);

}  // namespace espmint::app
