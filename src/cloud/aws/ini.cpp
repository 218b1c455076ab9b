#include "cloud/aws/ini.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"

namespace espmint::aws {
namespace {

constexpr std::string_view blanks = " \t\r\n";

/// "profile  \"two words\"" as "profile two words".
std::string plain_title(std::string_view title) {
  std::string out;
  for (const char c : title) {
    const bool blank = c == ' ' || c == '\t';
    if (c == '"' || c == '\'' || (blank && (out.empty() || out.back() == ' '))) continue;
    out += blank ? ' ' : c;
  }
  return std::string{trim(out)};
}

}  // namespace

Result<Ini> Ini::parse(Secret text, const std::string& path) {
  Ini ini;
  ini.text_ = std::move(text);
  std::string_view rest = as_text(ini.text_.reveal());
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);  // as editors of Windows begin a file
  std::size_t line_number = 0;
  const auto bad = [&](std::string why) {
    return fail(Fault{Code::credentials_missing,
                      Remedy::refuse,
                      "not a file of AWS's settings",
                      {.input = fmt::format("{}:{}", path, line_number)},
                      std::move(why)});
  };
  if (rest.find('\0') != std::string_view::npos) return bad("it is no UTF-8 text");

  Section* section = nullptr;
  std::size_t entry_indent = 0;
  std::string parent;  // of an entry without a value, which may have others below
  while (!rest.empty()) {
    ++line_number;
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::string_view content = trim(line);
    if (content.empty() || content.front() == '#' || content.front() == ';') continue;
    const std::size_t indent = line.find_first_not_of(blanks);

    const bool below = section != nullptr && !section->entries.empty() && indent > entry_indent;
    if (below && parent.empty()) {  // a value goes on
      std::string_view& value = section->entries.back().value;
      value = {value.data(), static_cast<std::size_t>(content.data() + content.size() - value.data())};
      continue;
    }
    if (!below && content.front() == '[') {
      const std::size_t close = content.rfind(']');
      if (close == std::string_view::npos) return bad("a [title] without its end");
      std::string title = plain_title(content.substr(1, close - 1));
      if (title.empty()) return bad("an empty [title]");
      if (ini.section(title) != nullptr) return bad("a section that stands there twice");
      section = &ini.sections_.emplace_back(Section{std::move(title), {}});
      continue;
    }
    if (section == nullptr) return bad("an entry before the first [title]");
    const std::size_t sign = content.find_first_of("=:");
    if (sign == std::string_view::npos) return bad("neither [title] nor key = value");
    std::string key = lower(trim(content.substr(0, sign)));
    if (key.empty()) return bad("a value without a key");
    if (below) key = parent + "." + key;
    if (line_of(section, key)) return bad("a key that stands there twice");
    const std::string_view value = trim(content.substr(sign + 1));
    if (!below) {
      entry_indent = indent;
      parent = value.empty() ? key : std::string{};
    }
    section->entries.push_back({std::move(key), value});
  }
  return ini;
}

const Ini::Section* Ini::section(std::string_view title) const {
  const auto it = std::ranges::find(sections_, title, &Section::title);
  return it == sections_.end() ? nullptr : &*it;
}

std::optional<std::string_view> line_of(const Ini::Section* section, std::string_view key) {
  if (section == nullptr) return std::nullopt;
  const auto it = std::ranges::find(section->entries, key, &Ini::Entry::key);
  if (it == section->entries.end()) return std::nullopt;
  return it->value;
}

std::optional<std::string_view> value_of(const Ini::Section* section, std::string_view key) {
  auto value = line_of(section, key);
  if (!value) return std::nullopt;
  for (std::size_t i = 0; i < value->size(); ++i) {
    const bool sign = (*value)[i] == '#' || (*value)[i] == ';';
    const bool after_blank = i == 0 || (*value)[i - 1] == ' ' || (*value)[i - 1] == '\t';
    if (!sign || !after_blank) continue;
    value = value->substr(0, i);
    break;
  }
  value = trim(*value);
  if (value->empty()) return std::nullopt;
  return value;
}

}  // namespace espmint::aws
