#include "cloud/aws/credential_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace espmint::aws {
namespace {

using nlohmann::json;

Fault json_fault(std::string what, std::string seen = {}) {
  return {Code::credentials_missing, Remedy::refuse, std::move(what), {}, std::move(seen)};
}

/// At the end of its life a parsed answer leaves no key in memory that is used again.
class WipedJson {
 public:
  explicit WipedJson(std::string_view text) : value(json::parse(text, nullptr, false)) {}
  ~WipedJson() {
    if (!value.is_object()) return;
    for (auto& each : value)
      if (auto* text = each.get_ptr<std::string*>())
        wipe({reinterpret_cast<std::uint8_t*>(text->data()), text->size()});
  }
  WipedJson(const WipedJson&) = delete;
  WipedJson& operator=(const WipedJson&) = delete;

  /// The text of a field; empty: there is none.
  [[nodiscard]] Result<std::string_view> text(const char* name) const {
    const auto it = value.find(name);
    if (it == value.end() || it->is_null()) return std::string_view{};
    if (const auto* found = it->get_ptr<const std::string*>()) return std::string_view{*found};
    return fail(json_fault(fmt::format("{} is no text", name)));
  }

  json value;
};

/// Digits only, no sign.
std::optional<int> number_of(std::string_view digits) {
  int out = 0;
  if (digits.empty() || digits.front() == '-') return std::nullopt;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return out;
}

}  // namespace

Result<void> check_keys(const Credentials& keys, const KeyNames& names) {
  const auto visible = [](unsigned char c) { return c > 0x20 && c < 0x7f; };
  const auto check = [&](std::string_view text, std::string_view name, bool fits) -> Result<void> {
    if (text.size() > 16 * 1024) return fail(json_fault(fmt::format("{} is too long", name)));
    if (!fits || !std::ranges::all_of(text, visible))
      return fail(json_fault(fmt::format("{} has characters that no key has", name)));
    return ok();
  };
  TRY(check(keys.access_key_id, names.id, keys.access_key_id.find_first_of("/,") == std::string::npos));
  TRY(check(as_text(keys.secret_access_key.reveal()), names.secret, true));
  return check(as_text(keys.session_token.reveal()), names.token, true);
}

Result<Credentials> parse_credentials(std::string_view text, CredentialForm form) {
  const WipedJson parsed{text};
  if (parsed.value.is_discarded()) return fail(json_fault("the keys are no JSON"));
  if (!parsed.value.is_object()) return fail(json_fault("the keys are no JSON object"));
  const bool process = form == CredentialForm::process;
  if (process && (!parsed.value.contains("Version") || parsed.value["Version"] != 1))
    return fail(json_fault("Version is not 1"));
  if (!process) {
    TRY(std::string_view code, parsed.text("Code"));
    if (!code.empty() && code != "Success")
      return fail(json_fault("the machine has no keys to give", "its Code is not Success"));
  }
  const KeyNames names{"AccessKeyId", "SecretAccessKey", process ? "SessionToken" : "Token"};
  TRY(std::string_view id, parsed.text(names.id.data()));
  TRY(std::string_view secret, parsed.text(names.secret.data()));
  TRY(std::string_view token, parsed.text(names.token.data()));
  TRY(std::string_view expiration, parsed.text("Expiration"));
  if (id.empty()) return fail(json_fault("AccessKeyId is missing"));
  if (secret.empty()) return fail(json_fault("SecretAccessKey is missing"));
  Credentials keys{std::string{id}, Secret{to_bytes(secret)}, Secret{to_bytes(token)}, {}, {}};
  TRY(check_keys(keys, names));
  if (!expiration.empty()) {
    keys.expires = parse_moment(expiration);
    if (!keys.expires) return fail(json_fault("Expiration is no moment as RFC 3339 writes it"));
  }
  return keys;
}

std::optional<WallTime> parse_moment(std::string_view text) {
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't' && text[10] != ' ') ||
      text[13] != ':' || text[16] != ':')
    return std::nullopt;
  const auto part = [&](std::size_t at, std::size_t size) { return number_of(text.substr(at, size)); };
  const auto year = part(0, 4), month = part(5, 2), day = part(8, 2), hour = part(11, 2), minute = part(14, 2),
             second = part(17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{*year}, std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;

  std::string_view zone = text.substr(19);
  if (zone.starts_with('.')) {  // a fraction of a second is cut
    const std::size_t end = std::min(zone.find_first_not_of("0123456789", 1), zone.size());
    if (end == 1) return std::nullopt;
    zone.remove_prefix(end);
  }
  std::chrono::minutes offset{0};
  if (zone.size() == 6 && (zone[0] == '+' || zone[0] == '-') && zone[3] == ':') {
    const auto hours = number_of(zone.substr(1, 2)), minutes = number_of(zone.substr(4, 2));
    if (!hours || !minutes || *hours > 23 || *minutes > 59) return std::nullopt;
    offset = std::chrono::hours{*hours} + std::chrono::minutes{*minutes};
    if (zone[0] == '-') offset = -offset;
  } else if (zone != "Z" && zone != "z") {
    return std::nullopt;
  }
  return WallTime{std::chrono::sys_days{date} + std::chrono::hours{*hour} + std::chrono::minutes{*minute} +
                  std::chrono::seconds{*second} - offset};
}

}  // namespace espmint::aws
