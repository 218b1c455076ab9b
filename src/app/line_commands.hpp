// app/line_commands.hpp: the main jobs: run, prepare, init, demo.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "app/aws_access.hpp"
#include "app/settings.hpp"
#include "app/terminal.hpp"

namespace espmint::app {

struct LineCommand {
  Settings settings;
  Voice voice;
  std::string recipe;     // file or folder; empty: recipe.toml here, else a build folder here
  std::string firmware;   // overrides the recipe's
  std::string partition;  // of the identity image, where several could be it
  std::string chip = "auto";
  std::string csv_file;     // keys.csv; overrides the recipe's
  std::string provisioned;  // hold, erase; empty: the recipe's
  bool trial = false;       // a ledger and keys of its own: nothing of it counts
  std::string issuer;       // empty: the recipe's
  CloudFlags cloud;
  std::optional<std::uint64_t> count;
  std::size_t slots = 256;
  bool one_pass = false;  // prepare: one board, once
  bool renew = false;
  bool dry_run = false;
  bool no_stub = false;
  bool no_reset = false;
  std::string serial;   // prepare: the board's serial number, as it was scanned
  std::string on_done;  // a program that is told of each verdict, as JSON on its standard input
};

Exit run_line(const LineCommand&);
/// Writes recipe.toml here; refuses to replace one.
Exit init_recipe(const LineCommand&, const std::string& build, const std::string& out);

struct DemoCommand {
  Settings settings;
  Voice voice;
  std::size_t boards = 4;
  std::string preset = "fast";
  std::uint64_t seed = 1;
  std::string issuer = "local";
  CloudFlags cloud;
};
/// The whole product on virtual boards, in a state folder of its own.
Exit run_demo(const DemoCommand&);

}  // namespace espmint::app
