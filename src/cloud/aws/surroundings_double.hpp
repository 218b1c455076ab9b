// cloud/aws/surroundings_double.hpp: for tests: an environment and files of the test's own, which may change meanwhile.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "cloud/aws/settings.hpp"

namespace espmint::aws {

struct SurroundingsDouble {
  std::map<std::string, std::string> variables{{"HOME", "/home/ann"}};
  std::map<std::string, std::string> files;  // "!": there, but not readable

  Surroundings view() {
    return {[this](const std::string& name) -> std::optional<std::string> {
              const auto it = variables.find(name);
              return it == variables.end() ? std::nullopt : std::optional<std::string>{it->second};
            },
            [this](const std::filesystem::path& path) -> Result<Bytes> {
              const auto it = files.find(path.string());
              if (it == files.end()) return fail({Code::input_missing, Remedy::refuse, "no such file"});
              if (it->second == "!")
                return fail({Code::input_unreadable, Remedy::refuse, "cannot read", {}, "Permission denied"});
              return to_bytes(it->second);
            }};
  }
  std::string& config() { return files["/home/ann/.aws/config"]; }
  std::string& credentials() { return files["/home/ann/.aws/credentials"]; }
};

}  // namespace espmint::aws
