#include "app/settings.hpp"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <array>
#include <cstdlib>

#include "base/text.hpp"
#include "io/file.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

std::string environment(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* value = std::getenv(name); value && *value) return value;
  return {};
}

fs::path home() {
  std::string folder = environment({"HOME"});
  return folder.empty() ? fs::path{"/"} : fs::path{folder};
}

fs::path xdg(const char* name, const char* below_home) {
  std::string folder = environment({name});
  return (folder.empty() ? home() / below_home : fs::path{folder}) / "espmint";
}

Fault wrong(std::string_view filename, const toml::source_region& at, std::string what, std::string advice = {}) {
  Fault fault{Code::recipe_invalid, Remedy::refuse, std::move(what)};
  fault.where.input = fmt::format("{}:{}:{}", filename, at.begin.line, at.begin.column);
  fault.advice = std::move(advice);
  return fault;
}

Result<Baud> parse_baud(std::string_view text, std::string_view from) {
  auto number = parse_number(text);
  if (!number || *number < 300 || *number > 12'000'000) {
    Fault fault{Code::usage, Remedy::refuse, fmt::format("\"{}\" is no speed", text)};
    fault.where.input = from;
    fault.advice = "Usual are 115200, 460800, 921600, 1500000, 2000000";
    return fail(std::move(fault));
  }
  return Baud{static_cast<std::uint32_t>(*number)};
}

Result<void> merge_file(Settings& settings, const fs::path& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return ok();
  TRY(Bytes bytes, read_file(file, 1024 * 1024));
  return merge_settings(settings, as_text(bytes), file.string());
}

/// espmint.toml here or in the nearest folder above.
fs::path project_file() {
  std::error_code error;
  for (fs::path folder = fs::current_path(error); !error; folder = folder.parent_path()) {
    if (fs::is_regular_file(folder / "espmint.toml", error)) return folder / "espmint.toml";
    if (folder == folder.parent_path()) break;
  }
  return {};
}

}  // namespace

Result<void> merge_settings(Settings& settings, std::string_view text, std::string_view filename) {
  static constexpr std::array<std::string_view, 4> keys{"port", "baud", "state", "stubs"};
  toml::table table;
  try {
    table = toml::parse(text, filename);
  } catch (const toml::parse_error& error) {
    return fail(wrong(filename, error.source(), std::string{error.description()}));
  }
  for (const auto& [key, value] : table) {
    const auto& at = key.source();
    if (key == "port") {
      settings.ports.clear();
      if (auto one = value.value<std::string>()) {
        settings.ports.push_back(*one);
      } else if (const auto* many = value.as_array()) {
        for (const auto& entry : *many) {
          auto name = entry.value<std::string>();
          if (!name) return fail(wrong(filename, entry.source(), "a port is a name in quotes"));
          settings.ports.push_back(*name);
        }
      } else {
        return fail(wrong(filename, at, "\"port\" is a name or a list of names"));
      }
    } else if (key == "baud") {
      auto number = value.value<std::int64_t>();
      if (!number) return fail(wrong(filename, at, "\"baud\" is a number"));
      TRY(settings.baud, parse_baud(std::to_string(*number), filename));
    } else if (key == "state" || key == "stubs") {
      auto folder = value.value<std::string>();
      if (!folder) return fail(wrong(filename, at, fmt::format("\"{}\" is a folder in quotes", key.str())));
      (key == "state" ? settings.state : settings.stubs) = *folder;
    } else {
      std::string meant = nearest(key.str(), keys);
      return fail(
          wrong(filename, at, fmt::format("\"{}\" is no setting", key.str()),
                meant.empty() ? "Settings are port, baud, state, stubs" : fmt::format("Did you mean \"{}\"?", meant)));
    }
  }
  return ok();
}

Result<Settings> load_settings(const SettingFlags& flags) {
  Settings settings;
  settings.state = xdg("XDG_STATE_HOME", ".local/state");
  TRY(merge_file(settings, "/etc/espmint/espmint.toml"));
  TRY(merge_file(settings, xdg("XDG_CONFIG_HOME", ".config") / "espmint.toml"));
  if (fs::path file = project_file(); !file.empty()) TRY(merge_file(settings, file));
  if (auto port = environment({"ESPMINT_PORT", "ESPTOOL_PORT", "ESPPORT"}); !port.empty()) settings.ports = {port};
  if (auto baud = environment({"ESPMINT_BAUD", "ESPTOOL_BAUD", "ESPBAUD"}); !baud.empty()) {
    TRY(settings.baud, parse_baud(baud, "environment"));
  }
  if (auto state = environment({"ESPMINT_STATE"}); !state.empty()) settings.state = state;
  if (auto stubs = environment({"ESPMINT_STUBS"}); !stubs.empty()) settings.stubs = stubs;
  if (!flags.ports.empty()) settings.ports = flags.ports;
  for (const std::string& port : settings.ports)
    if (trim(port).empty())
      return fail(
          {Code::usage, Remedy::refuse, "a port's name is empty", {}, {}, "`espmint board list` shows all ports"});
  if (flags.baud) {
    TRY(settings.baud, parse_baud(std::to_string(*flags.baud), "--baud"));
  }
  if (!flags.state.empty()) settings.state = flags.state;
  std::error_code ignored;
  settings.state = fs::absolute(settings.state, ignored);
  return settings;
}

}  // namespace espmint::app
