#include "recipe/words.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.hpp"

namespace espmint {
namespace {

constexpr std::array<std::string_view, 10> plain_words{
    "certificate", "private_key", "root_ca", "endpoint", "id", "thing", "mac", "mac:upper", "mac:colon", "serial"};
constexpr std::string_view key_prefix = "key.", values_prefix = "values.";

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'f') c = static_cast<char>(c - 32);
  return text;
}

bool in_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == ':' || c == '.' || c == '-';
}

/// The end of a {word} that starts at `open`, or npos: a lone brace is text.
std::size_t word_end(std::string_view text, std::size_t open) {
  std::size_t at = open + 1;
  while (at < text.size() && in_word(text[at])) ++at;
  return at < text.size() && text[at] == '}' && at > open + 1 ? at : std::string_view::npos;
}

/// Calls `text_piece` and `word_piece` in the template's order.
template <typename OnText, typename OnWord>
void each_piece(std::string_view text, OnText text_piece, OnWord word_piece) {
  std::size_t from = 0;
  for (std::size_t open = text.find('{'); open != std::string_view::npos; open = text.find('{', open + 1)) {
    std::size_t end = word_end(text, open);
    if (end == std::string_view::npos) continue;
    if (open > from) text_piece(text.substr(from, open - from));
    word_piece(text.substr(open + 1, end - open - 1));
    from = end + 1;
    open = end;
  }
  if (from < text.size()) text_piece(text.substr(from));
}

/// Which field of a key "1" or "token" is; none: no such.
std::optional<std::size_t> field_of(std::string_view word, std::size_t fields, const std::vector<std::string>& names) {
  std::size_t number = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error == std::errc{} && end == word.data() + word.size())
    return number >= 1 && number <= fields ? std::optional{number - 1} : std::nullopt;
  auto named = std::find(names.begin(), names.end(), word);
  if (named == names.end() || static_cast<std::size_t>(named - names.begin()) >= fields) return std::nullopt;
  return static_cast<std::size_t>(named - names.begin());
}

/// What a word stands for; nothing where it stands for nothing.
std::optional<ByteView> value_of(std::string_view word, const BoardValues& values, std::string& scratch) {
  auto made = [&scratch](std::string text) {
    scratch = std::move(text);
    return as_bytes(scratch);
  };
  if (word == "certificate") return as_bytes(values.certificate_pem);
  if (word == "private_key") return values.private_key_pem.reveal();
  if (word == "root_ca") return as_bytes(values.root_ca_pem);
  // A board that lacks it would reach nobody: rather none is built.
  if (word == "endpoint") return values.endpoint.empty() ? std::nullopt : std::optional{as_bytes(values.endpoint)};
  if (word == "id" || word == "thing") return as_bytes(values.id);
  if (word == "mac") return made(to_string(values.mac));
  if (word == "mac:upper") return made(upper(to_string(values.mac)));
  if (word == "mac:colon") return made(to_string_with_colons(values.mac));
  if (word.starts_with(key_prefix)) {
    auto field = field_of(word.substr(key_prefix.size()), values.key_fields.size(), values.key_names);
    return field ? std::optional{values.key_fields[*field].reveal()} : std::nullopt;
  }
  std::string_view column = word == "serial" ? word : word.substr(std::min(word.size(), values_prefix.size()));
  if (word != "serial" && !word.starts_with(values_prefix)) return std::nullopt;
  auto value = values.row.find(std::string{column});
  return value == values.row.end() ? std::nullopt : std::optional{as_bytes(value->second)};
}

Fault stands_for_nothing(std::string_view word) {
  if (word == "endpoint")
    return {Code::cloud_unreachable,
            Remedy::refuse,
            "the host name of the broker is not known yet",
            {},
            {},
            "Say it in the recipe: data_endpoint in [cloud.aws]"};
  return {Code::recipe_invalid, Remedy::refuse, fmt::format("{{{}}} stands for nothing here", word), {}, {}, {}};
}

}  // namespace

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> out;
  each_piece(
      text, [](std::string_view) {}, [&out](std::string_view word) { out.push_back(word); });
  return out;
}

bool has_words(std::string_view text) { return !words_of(text).empty(); }

std::string check_template(std::string_view text) {
  for (std::string_view word : words_of(text)) {
    if (std::find(plain_words.begin(), plain_words.end(), word) != plain_words.end()) continue;
    if (word.starts_with(key_prefix) && word.size() > key_prefix.size()) continue;
    if (word.starts_with(values_prefix) && word.size() > values_prefix.size()) continue;
    std::string meant = nearest(word, plain_words);
    return fmt::format(
        "{{{}}} stands for nothing{}", word,
        meant.empty() ? fmt::format("; known are {{{}}}, {{key.1}}, {{values.NAME}}", fmt::join(plain_words, "}, {"))
                      : "; did you mean {" + meant + "}?");
  }
  return {};
}

Result<Secret> expand(std::string_view text, const BoardValues& values) {
  std::optional<Fault> missing;
  std::string scratch;
  // Counted first: a buffer that grows leaves copies of a private key behind.
  std::size_t size = 0;
  auto count = [&](std::string_view word) {
    auto value = value_of(word, values, scratch);
    if (value) size += value->size();
    if (!value && !missing) missing = stands_for_nothing(word);
  };
  each_piece(
      text, [&size](std::string_view piece) { size += piece.size(); }, count);
  if (missing) return fail(std::move(*missing));
  Bytes out;
  out.reserve(size);
  each_piece(
      text, [&out](std::string_view piece) { append(out, as_bytes(piece)); },
      [&](std::string_view word) { append(out, *value_of(word, values, scratch)); });
  return Secret{std::move(out)};
}

Result<void> check_key_words(const Plan& plan, std::size_t fields, const std::vector<std::string>& names) {
  auto check = [&](std::string_view where, const Template& content) -> Result<void> {
    for (std::string_view word : words_of(content.text)) {
      if (!word.starts_with(key_prefix) || field_of(word.substr(key_prefix.size()), fields, names)) continue;
      Fault fault{Code::recipe_invalid, Remedy::refuse,
                  fmt::format("{}: {{{}}} is in no row of {}", where, word, plan.keys->csv)};
      fault.seen = names.empty() ? fmt::format("its rows have {} fields", fields)
                                 : fmt::format("its columns are {}", fmt::join(names, ", "));
      fault.advice = "Fields are called by their number, {key.1}, or by the name in the file's first row";
      return fail(std::move(fault));
    }
    return ok();
  };
  for (const ImagePlan& image : plan.images) {
    for (const ImageFile& file : image.files) TRY(check(file.path, file.content));
    for (const ImageEntry& entry : image.entries) TRY(check(entry.space + "." + entry.key, entry.content));
  }
  return ok();
}

bool ImagePlan::has_word(std::string_view beginning) const {
  auto has = [beginning](const Template& content) {
    for (std::string_view word : words_of(content.text))
      if (word.starts_with(beginning)) return true;
    return false;
  };
  return std::any_of(files.begin(), files.end(), [&](const ImageFile& file) { return has(file.content); }) ||
         std::any_of(entries.begin(), entries.end(), [&](const ImageEntry& entry) { return has(entry.content); });
}

bool Plan::keys_in_images() const {
  return std::any_of(images.begin(), images.end(), [](const ImagePlan& image) { return image.has_word(key_prefix); });
}

std::string_view name_of(ImageFormat format) {
  constexpr std::array<std::string_view, 4> names{"spiffs", "littlefs", "fat", "nvs"};
  return names[static_cast<std::size_t>(format)];
}

std::string_view title_of(ImageFormat format) {
  constexpr std::array<std::string_view, 4> titles{"SPIFFS", "LittleFS", "FAT", "NVS"};
  return titles[static_cast<std::size_t>(format)];
}

}  // namespace espmint
