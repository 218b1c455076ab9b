// app/settings.hpp: what belongs to a machine, not to a product: ports, speed, where state lies.
// Taken from, later ones winning: /etc/espmint/espmint.toml, the user's XDG config, espmint.toml upwards from here,
// ESPMINT_* (then ESPTOOL_*, ESPPORT/ESPBAUD), flags.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"

namespace espmint::app {

struct Settings {
  std::vector<std::string> ports;  // names or globs; empty: known adapters as they appear
  Baud baud{921'600};
  std::filesystem::path state;  // ledgers, CA
  std::filesystem::path stubs;  // folder of stub flasher JSON; empty: beside the program
};

/// What was said on the command line; wins over everything.
struct SettingFlags {
  std::vector<std::string> ports;
  std::optional<std::uint32_t> baud;
  std::string state;
};

Result<Settings> load_settings(const SettingFlags&);

/// Faults (recipe_invalid) with line and column, and the key that was probably meant.
Result<void> merge_settings(Settings&, std::string_view toml, std::string_view filename);

}  // namespace espmint::app
