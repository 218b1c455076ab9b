#include "app/sim_commands.hpp"

#include <fmt/format.h>

#include <iostream>

#include "app/desk_commands.hpp"
#include "app/json.hpp"
#include "base/text.hpp"
#include "sim/make_firmware.hpp"
#include "sim/server.hpp"

namespace espmint::app {
namespace {

/// "3.1" as 301; one digit behind the point, as chips have them.
std::optional<unsigned> parse_revision(std::string_view text) {
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.size() != 3 || !digit(text[0]) || text[1] != '.' || !digit(text[2])) return std::nullopt;
  return static_cast<unsigned>(text[0] - '0') * 100 + static_cast<unsigned>(text[2] - '0');
}

}  // namespace

Exit sim_board(const SimBoardCommand& command) {
  sim::ServerOptions options;
  options.count = static_cast<unsigned>(command.count);
  options.chip = command.chip;
  auto size = parse_number(command.flash_size);
  if (!size) return report({Code::usage, Remedy::refuse, fmt::format("\"{}\" is no flash size", command.flash_size), {}, {}, "Write 4MB"}, command.voice);
  options.flash_size = *size;
  options.preset = command.preset;
  options.seed = command.seed;
  options.dirty = command.dirty;
  options.native_usb.away = std::chrono::milliseconds{command.vanish_ms};
  if (!command.revision.empty()) {
    options.revision = parse_revision(command.revision);
    if (!options.revision)
      return report(
          {Code::usage, Remedy::refuse, fmt::format("\"{}\" is no revision", command.revision), {}, {}, "Write 3.1"},
          command.voice);
  }
  options.crystal_mhz = command.crystal_mhz;
  options.security = {command.secure_boot, command.flash_encryption, command.secure_download};
  options.symptom = command.symptom;
  options.folder = command.folder;
  auto end = sim::run_boards(options, std::cout);
  return end ? Exit::good : report(end.error(), command.voice);
}

Exit sim_firmware(const SimFirmwareCommand& command) {
  sim::FirmwareOptions options;
  options.folder = command.folder;
  options.chip = command.chip;
  auto size = parse_number(command.app_size);
  if (!size) return report({Code::usage, Remedy::refuse, fmt::format("\"{}\" is no size", command.app_size), {}, {}, "Write 1MB"}, command.voice);
  options.app_bytes = *size;
  options.app = command.app;
  options.seed = command.seed;
  auto end = sim::write_firmware(options);
  if (!end) return report(end.error(), command.voice);
  if (command.voice.json) {
    print_json({{"v", 1}, {"event", "written"}, {"folder", command.folder}});
  } else if (!command.voice.quiet) {
    std::cout << fmt::format("wrote {}: `espmint run --firmware {}` takes it\n", command.folder, command.folder);
  }
  return Exit::good;
}

}  // namespace espmint::app
