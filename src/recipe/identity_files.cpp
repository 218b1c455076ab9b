#include "recipe/identity_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"

namespace espmint {
namespace {

constexpr std::array<std::string_view, 7> placeholders{"certificate", "private_key", "root_ca", "id", "mac", "mac:upper", "mac:colon"};

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'f') c = static_cast<char>(c - 32);
  return text;
}

/// The end of a {word} that starts at `open`, or npos: a lone brace is text (JSON files are full of them).
std::size_t word_end(std::string_view text, std::size_t open) {
  std::size_t at = open + 1;
  while (at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) || text[at] == '_' || text[at] == ':' || text[at] == '.')) ++at;
  return at < text.size() && text[at] == '}' && at > open + 1 ? at : std::string_view::npos;
}

Bytes expand(std::string_view text, const IdentityValues& values) {
  const std::string plain = to_string(values.mac), capital = upper(plain), colons = to_string_with_colons(values.mac);
  auto value_of = [&](std::string_view word) -> ByteView {
    if (word == "certificate") return as_bytes(values.certificate_pem);
    if (word == "private_key") return values.private_key_pem.reveal();
    if (word == "root_ca") return as_bytes(values.root_ca_pem);
    if (word == "id") return as_bytes(values.id);
    if (word == "mac") return as_bytes(plain);
    if (word == "mac:upper") return as_bytes(capital);
    return as_bytes(colons);
  };
  auto each_piece = [&](auto take) {
    for (std::size_t at = 0; at < text.size();) {
      std::size_t end = text[at] == '{' ? word_end(text, at) : std::string_view::npos;
      if (end == std::string_view::npos) {
        take(as_bytes(text.substr(at++, 1)));
        continue;
      }
      take(value_of(text.substr(at + 1, end - at - 1)));
      at = end + 1;
    }
  };
  // Counted first: a buffer that grows leaves copies of a private key behind.
  std::size_t size = 0;
  each_piece([&size](ByteView piece) { size += piece.size(); });
  Bytes out;
  out.reserve(size);
  each_piece([&out](ByteView piece) { append(out, piece); });
  return out;
}

/// Files of a folder before its sub-folders, both by byte value: the order in which the reference generator walks.
bool walks_before(const std::string& a, const std::string& b) {
  auto pa = split(a, '/'), pb = split(b, '/');
  for (std::size_t i = 0;; ++i) {
    bool file_a = i + 1 == pa.size(), file_b = i + 1 == pb.size();
    if (file_a != file_b) return file_a;
    if (pa[i] != pb[i]) return pa[i] < pb[i];
    if (file_a) return false;
  }
}

}  // namespace

std::string check_template(std::string_view text) {
  for (std::size_t at = text.find('{'); at != std::string_view::npos; at = text.find('{', at + 1)) {
    std::size_t end = word_end(text, at);
    if (end == std::string_view::npos) continue;
    std::string_view word = text.substr(at + 1, end - at - 1);
    if (std::find(placeholders.begin(), placeholders.end(), word) != placeholders.end()) continue;
    std::string meant = nearest(word, placeholders);
    return fmt::format("{{{}}} stands for nothing{}", word, meant.empty() ? fmt::format("; known are {{{}}}", fmt::join(placeholders, "}, {")) : "; did you mean {" + meant + "}?");
  }
  return {};
}

Result<std::vector<IdentityFileContent>> identity_files(const IdentityPlan& plan, const IdentityValues& values) {
  std::vector<IdentityFileContent> out;
  for (const IdentityFile& file : plan.files) {
    if (std::string why = check_template(file.content); !why.empty())
      return fail({Code::recipe_invalid, Remedy::refuse, fmt::format("{}: {}", file.path, why), {}, {}, {}});
    out.push_back({file.path, Secret{expand(file.content, values)}});
  }
  for (const FileOwned& shared : plan.shared_files) {
    bool replaced = std::any_of(plan.files.begin(), plan.files.end(), [&](const IdentityFile& file) { return file.path == shared.path; });
    if (!replaced) out.push_back({shared.path, Secret{shared.content}});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return walks_before(a.path, b.path); });
  return out;
}

}  // namespace espmint
