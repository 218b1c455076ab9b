#include "app/root_ca.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/text.hpp"
#include "identity/root_cas.hpp"
#include "io/file.hpp"
#include "recipe/plan_cloud.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

// Where distributions keep what they trust: Debian, Fedora, openSUSE, Alpine.
constexpr std::array<const char*, 4> bundles{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                             "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
constexpr std::uintmax_t largest_bundle = 16 * 1024 * 1024;

/// SSL_CERT_FILE as OpenSSL and curl know it, then those of distributions: what this machine trusts its proxy by need
/// not have what boards trust AWS by.
std::vector<fs::path> bundles_of_the_system() {
  std::vector<fs::path> out;
  if (const char* named = std::getenv("SSL_CERT_FILE"); named != nullptr && *named != '\0') out.emplace_back(named);
  std::error_code ignored;
  for (const char* bundle : bundles)
    if (fs::exists(bundle, ignored)) out.emplace_back(bundle);
  if (out.empty()) out.emplace_back(bundles.front());
  return out;
}

Result<RootCa> choose(const AwsPlan& aws, WallTime now) {
  if (!aws.root_ca_file.empty()) return in_input(read_root_ca(as_bytes(aws.root_ca_text), now), aws.root_ca_file);
  std::optional<Fault> first;
  for (const fs::path& bundle : bundles_of_the_system()) {
    Result<Bytes> bytes = read_file(bundle, largest_bundle);
    Result<RootCa> root = bytes ? in_input(amazon_root_ca(*bytes, aws.amazon_root, now), bundle.string())
                                : Result<RootCa>{fail(std::move(bytes.error()))};
    if (root) return root;
    if (!first) first = std::move(root.error());
  }
  return fail(std::move(*first));
}

}  // namespace

Result<std::string> root_ca_for(Plan& plan, WallTime now) {
  TRY(RootCa root, choose(*plan.aws, now));
  plan.notes.push_back(fmt::format("root CA: {}, expires {}{}", escape_controls(root.title),
                                   to_string(root.expires).substr(0, 10),
                                   plan.aws->root_ca_file.empty() ? "" : ", from " + plan.aws->root_ca_file));
  BoardValues values;
  values.root_ca_pem = root.pem;
  for (std::string& note : notes_on_long_pem(plan, values, false)) plan.notes.push_back(std::move(note));
  return std::move(root.pem);
}

}  // namespace espmint::app
