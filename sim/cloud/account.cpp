#include "sim/cloud/account.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/base64.hpp"
#include "base/bytes.hpp"
#include "base/hash.hpp"

namespace espmint::sim::iot {
namespace {

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

bool has_only(std::string_view text, std::string_view besides_letters_and_digits) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter_or_digit(c) || besides_letters_and_digits.find(c) != std::string_view::npos;
  });
}

}  // namespace

std::string Account::arn(std::string_view kind, std::string_view name) const {
  return fmt::format("arn:aws:iot:{}:{}:{}/{}", region, number, kind, name);
}

std::optional<std::string> Account::certificate_in(std::string_view text) const {
  std::string start = arn("cert", "");
  if (!text.starts_with(start) || !is_certificate_id(text.substr(start.size()))) return std::nullopt;
  return std::string{text.substr(start.size())};
}

std::string Account::new_hex(std::size_t bytes) {
  Bytes out(bytes);
  for (std::uint8_t& byte : out) byte = dice.byte();
  return to_hex(out);
}

std::string Account::new_uuid() {
  std::string hex = new_hex(16);
  hex[12] = '4';
  return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4), hex.substr(16, 4),
                     hex.substr(20));
}

void Account::settle(Instant now) {
  while (!detaching.empty() && detaching.front().at <= now) {
    Detaching due = std::move(detaching.front());
    detaching.pop_front();
    auto thing = things.find(due.thing);
    if (thing == things.end()) continue;
    auto attachment = thing->second.certificates.find(due.certificate);
    // Attached again meanwhile, or detached again later: another entry's matter.
    if (attachment == thing->second.certificates.end() || attachment->second.gone_at != due.at) continue;
    thing->second.certificates.erase(attachment);
    if (auto certificate = certificates.find(due.certificate); certificate != certificates.end())
      certificate->second.things.erase(due.thing);
  }
}

std::string Account::add_certificate(Bytes der, std::string_view status, std::string_view mode,
                                     std::string authority_id, WallTime now) {
  std::string id = to_hex(sha256_of(der));
  DeviceCertificate row{.der = std::move(der), .status = std::string{status}, .mode = std::string{mode}};
  row.authority = std::move(authority_id);
  row.created = row.modified = now;
  row.order = order_key(next_order++);
  certificate_order[row.order] = id;
  certificates[id] = std::move(row);
  return id;
}

std::string Ask::text(std::string_view member) const {
  auto at = body.find(member);
  return at != body.end() && at->is_string() ? at->get<std::string>() : std::string{};
}

std::string Ask::asked(const std::string& parameter) const {
  auto at = query.find(parameter);
  return at == query.end() ? std::string{} : at->second;
}

std::string Ask::header(const std::string& name) const {
  auto at = headers.find(name);
  return at == headers.end() ? std::string{} : at->second;
}

bool is_thing_name(std::string_view name) { return !name.empty() && name.size() <= 128 && has_only(name, ":_-"); }

bool is_policy_name(std::string_view name) { return !name.empty() && name.size() <= 128 && has_only(name, "_+=,.@-"); }

bool is_certificate_id(std::string_view id) {
  return id.size() == 64 && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
         });
}

std::string what_is_wrong_with(const Attributes& attributes) {
  for (const auto& [name, value] : attributes) {
    if (name.empty() || name.size() > 128 || !has_only(name, "_.,@/:#-"))
      return fmt::format("Invalid attribute name: {}", name);
    if (value.size() > 800 || !has_only(value, "_.,@/:#=[]-"))
      return fmt::format("Invalid value of attribute {}", name);
  }
  return {};
}

std::optional<Attributes> attributes_in(const json& payload) {
  Attributes out;
  if (payload.is_null()) return out;
  if (!payload.is_object()) return std::nullopt;
  auto attributes = payload.find("attributes");
  if (attributes == payload.end() || attributes->is_null()) return out;
  if (!attributes->is_object()) return std::nullopt;
  for (const auto& [name, value] : attributes->items()) {
    if (!value.is_string()) return std::nullopt;
    out[name] = value;
  }
  return out;
}

std::string order_key(std::uint64_t order) { return fmt::format("{:012}", order); }

std::optional<Page> page_of(const std::vector<std::string_view>& keys, const Ask& ask, const Paging& paging,
                            bool descending) {
  std::size_t size = usual_page;
  if (std::string asked = ask.asked(paging.size); !asked.empty()) {
    auto [end, error] = std::from_chars(asked.data(), asked.data() + asked.size(), size);
    if (error != std::errc{} || end != asked.data() + asked.size() || size < 1 || size > largest_page)
      return std::nullopt;
  }
  // What was shown last may be gone by now: its place in the order is still known.
  auto begin = keys.begin(), end = keys.end();
  if (std::string token = ask.asked(paging.token); !token.empty()) {
    auto last = from_base64(token);
    if (!last || last->empty()) return std::nullopt;
    if (descending)
      end = std::lower_bound(begin, end, as_text(*last));
    else
      begin = std::upper_bound(begin, end, as_text(*last));
  }
  Page page;
  std::size_t left = static_cast<std::size_t>(end - begin);
  for (std::size_t i = 0; i < std::min(size, left); ++i)
    page.keys.emplace_back(descending ? *(end - 1 - static_cast<std::ptrdiff_t>(i))
                                      : *(begin + static_cast<std::ptrdiff_t>(i)));
  if (left > page.keys.size()) page.next = to_base64(as_bytes(page.keys.back()));
  return page;
}

}  // namespace espmint::sim::iot
