// cloud/aws/settings.hpp: which region, which endpoint and which profile, found where AWS's own tools find them.
//   TRY(Settings aws, find_settings(surroundings_of_this_process(), {.profile = "factory"}));
// Source: AWS SDKs and Tools Reference Guide, Configuration; Service-specific endpoints.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "cloud/aws/ini.hpp"

namespace espmint::aws {

/// What is looked at, as functions, so that a test has surroundings of its own.
struct Surroundings {
  std::function<std::optional<std::string>(const std::string& name)> variable;  // of the environment
  std::function<Result<Bytes>(const std::filesystem::path&)> read;              // input_missing where there is none
};
Surroundings surroundings_of_this_process();
/// A variable that is set and not empty, without blanks around it.
std::optional<std::string> variable_of(const Surroundings&, const std::string& name);

/// What flags and recipe say; empty: they do not.
struct Wanted {
  std::string profile, region, endpoint_url;
};

/// One profile of both files.
class Profile {
 public:
  /// The wanted one, else that of AWS_PROFILE, else "default", which alone may be absent. Files that are absent are
  /// empty. Faults credentials_missing (refuse): in neither file; a file that cannot be read.
  static Result<Profile> find(const Surroundings&, const std::string& wanted);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const Ini::Section* in_credentials() const { return credentials_.section(name_); }
  [[nodiscard]] const Ini::Section* in_config() const;
  /// Of the credentials file, else of the config file.
  [[nodiscard]] std::optional<std::string> value(std::string_view key) const;
  /// The same as it stands there, with what looks like a comment.
  [[nodiscard]] std::optional<std::string> line(std::string_view key) const;
  /// endpoint_url of iot in the [services …] section that the profile names.
  [[nodiscard]] std::optional<std::string> service_endpoint() const;
  /// For people: "profile factory in /home/ann/.aws/config".
  [[nodiscard]] std::string described_in(const std::string& path) const { return "profile " + name_ + " in " + path; }
  [[nodiscard]] const std::string& credentials_path() const { return credentials_path_; }
  [[nodiscard]] const std::string& config_path() const { return config_path_; }

 private:
  std::string name_;
  std::string credentials_path_, config_path_;  // as shown; of no file: "~/.aws/config"
  Ini credentials_, config_;
};

struct Settings {
  std::string region;     // "eu-central-1"; a label of a host name, checked
  std::string endpoint;   // "https://iot.eu-central-1.amazonaws.com", perhaps with a path, without / at its end
  std::string ca_bundle;  // PEM file to trust instead of the system's; empty: none was named
  std::string region_from, endpoint_from;  // for people
};
/// Faults credentials_missing (refuse): no region, which is never guessed; one that is no region; a file as
/// Profile::find. cloud_unreachable (refuse): an endpoint that is no address.
Result<Settings> find_settings(const Surroundings&, const Wanted&);

/// An address as settings write it: no user, query or fragment.
struct WebAddress {
  std::string scheme;  // "http", "https"
  std::string host;    // lower case; IPv6 without its brackets
  std::string port;    // empty: the scheme's
  std::string path;    // "/emulator"; empty, or begins with /
};
/// Nothing for anything else.
std::optional<WebAddress> parse_web_address(std::string_view url);

}  // namespace espmint::aws
