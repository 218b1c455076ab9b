#include "cloud/aws/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/text.hpp"
#include "base/units.hpp"
#include "io/file.hpp"

namespace espmint::aws {
namespace {

constexpr ByteCount longest_settings_file = 1_MiB;

Fault settings_fault(std::string what, std::string seen, std::string advice = {}) {
  return {Code::credentials_missing, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
}

bool is_true(const std::optional<std::string>& text) { return text && lower(*text) == "true"; }

/// The file that `variable` names, else that of the home folder; as text, with ~ where there is no home.
std::string path_of(const Surroundings& around, const std::string& variable, const std::string& usual) {
  std::string path = variable_of(around, variable).value_or(usual);
  const auto home = variable_of(around, "HOME");
  if (home && (path == "~" || path.starts_with("~/"))) path.replace(0, 1, *home);
  return path;
}

Result<Ini> read_ini(const Surroundings& around, const std::string& path) {
  if (path.starts_with("~")) return Ini{};
  auto bytes = around.read(path);
  if (bytes) return Ini::parse(Secret{std::move(*bytes)}, path);
  if (bytes.error().code == Code::input_missing) return Ini{};
  return fail(settings_fault(fmt::format("cannot read {}", path), bytes.error().seen, bytes.error().advice));
}

std::string config_title(const std::string& profile) { return "profile " + profile; }

/// Where the service lies, by the first letters of a region. Source: botocore's endpoint rules for iot, partitions.
struct Partition {
  std::string_view regions, domain, dual_stack_domain;
};
constexpr std::array partitions{
    Partition{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
    Partition{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
    Partition{"", "amazonaws.com", "api.aws"},
};

bool is_region(std::string_view text) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
         std::ranges::all_of(text, fits);
}

struct Found {
  std::string value, from;
};

Result<Found> find_region(const Surroundings& around, const Wanted& wanted, const Profile& profile) {
  const auto first = [&]() -> std::optional<Found> {
    if (!wanted.region.empty()) return Found{wanted.region, "flag or recipe"};
    for (const std::string name : {"AWS_REGION", "AWS_DEFAULT_REGION"})
      if (auto value = variable_of(around, name)) return Found{*value, name};
    if (auto value = profile.value("region")) return Found{*value, "profile " + profile.name()};
    return std::nullopt;
  };
  auto found = first();
  if (!found)
    return fail(settings_fault("no AWS region",
                               fmt::format("looked for in flags and recipe, AWS_REGION, AWS_DEFAULT_REGION, {}, {}",
                                           profile.described_in(profile.credentials_path()), profile.config_path()),
                               "set AWS_REGION, or region in the recipe; it is never guessed"));
  if (!is_region(found->value))
    return fail(settings_fault(fmt::format("\"{}\" is no AWS region", escape_controls(found->value)),
                               "from " + found->from, "regions look like eu-central-1"));
  return *found;
}

/// What somebody configured; nothing: the service's own.
std::optional<Found> find_configured_endpoint(const Surroundings& around, const Wanted& wanted,
                                              const Profile& profile) {
  if (!wanted.endpoint_url.empty()) return Found{wanted.endpoint_url, "flag or recipe"};
  const auto ignored = variable_of(around, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
  if (is_true(ignored ? ignored : profile.value("ignore_configured_endpoint_urls"))) return std::nullopt;
  for (const std::string name : {"AWS_ENDPOINT_URL_IOT", "AWS_ENDPOINT_URL"})
    if (auto value = variable_of(around, name)) return Found{*value, name};
  if (auto value = profile.service_endpoint()) return Found{*value, "services of profile " + profile.name()};
  if (auto value = profile.value("endpoint_url")) return Found{*value, "profile " + profile.name()};
  return std::nullopt;
}

Found endpoint_of(const Surroundings& around, const Profile& profile, const std::string& region) {
  const auto wants = [&](const std::string& variable, std::string_view key) {
    const auto said = variable_of(around, variable);
    return is_true(said ? said : profile.value(key));
  };
  const bool fips = wants("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint");
  const bool dual_stack = wants("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint");
  const auto part = std::ranges::find_if(partitions, [&](const Partition& p) { return region.starts_with(p.regions); });
  return {fmt::format("https://{}.{}.{}", fips ? "iot-fips" : "iot", region,
                      dual_stack ? part->dual_stack_domain : part->domain),
          "region"};
}

}  // namespace

Surroundings surroundings_of_this_process() {
  return {[](const std::string& name) -> std::optional<std::string> {
            const char* value = std::getenv(name.c_str());
            return value == nullptr ? std::nullopt : std::optional<std::string>{value};
          },
          [](const std::filesystem::path& path) { return read_file(path, longest_settings_file); }};
}

std::optional<std::string> variable_of(const Surroundings& around, const std::string& name) {
  const auto value = around.variable(name);
  if (!value || trim(*value).empty()) return std::nullopt;
  return std::string{trim(*value)};
}

// ---- the profile

Result<Profile> Profile::find(const Surroundings& around, const std::string& wanted) {
  Profile profile;
  profile.name_ = wanted;
  for (const std::string name : {"AWS_PROFILE", "AWS_DEFAULT_PROFILE"})
    if (profile.name_.empty()) profile.name_ = variable_of(around, name).value_or("");
  if (profile.name_.empty()) profile.name_ = "default";
  profile.credentials_path_ = path_of(around, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
  profile.config_path_ = path_of(around, "AWS_CONFIG_FILE", "~/.aws/config");
  TRY(profile.credentials_, read_ini(around, profile.credentials_path_));
  TRY(profile.config_, read_ini(around, profile.config_path_));
  if (profile.name_ != "default" && profile.in_credentials() == nullptr && profile.in_config() == nullptr)
    return fail(settings_fault(fmt::format("there is no AWS profile \"{}\"", escape_controls(profile.name_)),
                               fmt::format("looked for in {} and {}", profile.credentials_path_, profile.config_path_),
                               "`aws configure list-profiles` lists them"));
  return profile;
}

const Ini::Section* Profile::in_config() const {
  const Ini::Section* section = config_.section(config_title(name_));
  return section == nullptr && name_ == "default" ? config_.section(name_) : section;
}

std::optional<std::string> Profile::value(std::string_view key) const {
  for (const Ini::Section* section : {in_credentials(), in_config()})
    if (const auto value = value_of(section, key)) return std::string{*value};
  return std::nullopt;
}

std::optional<std::string> Profile::line(std::string_view key) const {
  for (const Ini::Section* section : {in_credentials(), in_config()})
    if (const auto value = line_of(section, key); value && !value->empty()) return std::string{*value};
  return std::nullopt;
}

std::optional<std::string> Profile::service_endpoint() const {
  const auto services = value("services");
  if (!services) return std::nullopt;
  const auto url = value_of(config_.section("services " + *services), "iot.endpoint_url");
  return url ? std::optional<std::string>{*url} : std::nullopt;
}

// ---- region and endpoint

Result<Settings> find_settings(const Surroundings& around, const Wanted& wanted) {
  TRY(Profile profile, Profile::find(around, wanted.profile));
  TRY(Found region, find_region(around, wanted, profile));
  Settings settings{region.value, {}, {}, region.from, {}};
  const auto configured = find_configured_endpoint(around, wanted, profile);
  const Found endpoint = configured ? *configured : endpoint_of(around, profile, region.value);
  if (!parse_web_address(endpoint.value))
    return fail(Fault{Code::cloud_unreachable,
                      Remedy::refuse,
                      "the AWS endpoint is not an address",
                      {},
                      "from " + endpoint.from,
                      "it looks like https://iot.eu-central-1.amazonaws.com"});
  settings.endpoint = endpoint.value;
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  settings.endpoint_from = endpoint.from;
  const auto bundle = variable_of(around, "AWS_CA_BUNDLE");
  settings.ca_bundle = (bundle ? bundle : profile.value("ca_bundle")).value_or("");
  return settings;
}

std::optional<WebAddress> parse_web_address(std::string_view url) {
  WebAddress address;
  for (const std::string_view scheme : {"https", "http"})
    if (lower(url.substr(0, scheme.size() + 3)) == std::string{scheme} + "://") address.scheme = scheme;
  if (address.scheme.empty()) return std::nullopt;
  url.remove_prefix(address.scheme.size() + 3);
  const std::size_t slash = std::min(url.find('/'), url.size());
  std::string_view authority = url.substr(0, slash);
  address.path = url.substr(slash);
  const auto visible = [](unsigned char c) { return c > 0x20 && c < 0x7f && c != '?' && c != '#' && c != '\\'; };
  if (!std::ranges::all_of(address.path, visible)) return std::nullopt;

  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    address.host = lower(authority.substr(1, close - 1));
    authority.remove_prefix(close + 1);
    if (address.host.find_first_not_of("0123456789abcdef:.") != std::string::npos) return std::nullopt;
  } else {
    const std::size_t colon = std::min(authority.find(':'), authority.size());
    address.host = lower(authority.substr(0, colon));
    authority.remove_prefix(colon);
    if (address.host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-._") != std::string::npos)
      return std::nullopt;
  }
  if (address.host.empty()) return std::nullopt;
  if (!authority.empty()) {
    if (authority.front() != ':') return std::nullopt;
    address.port = authority.substr(1);
    const bool digits = !address.port.empty() && address.port.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || address.port.size() > 5 || std::stoul(address.port) > 65535) return std::nullopt;
  }
  return address;
}

}  // namespace espmint::aws
