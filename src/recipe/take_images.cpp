// What [[image]] tables of a recipe say. Every key: docs/formats/recipe.md.
#include <array>

#include "recipe/section.hpp"
#include "recipe/words.hpp"

namespace espmint {
namespace {

constexpr std::array<std::string_view, 4> formats{"spiffs", "littlefs", "fat", "nvs"};
constexpr std::array<std::string_view, 12> encodings{"string", "u8",  "i8",  "u16",     "i16",    "u32",
                                                     "i32",    "u64", "i64", "hex2bin", "base64", "binary"};

Result<void> check_words_of(const Section& section, const toml::node& node, std::string_view what,
                            const std::string& text) {
  std::string why = check_template(text);
  return why.empty() ? ok() : fail(section.wrong(node.source(), fmt::format("{}: {}", what, why)));
}

/// "text" or { file = "path" }; of NVS entries also numbers, true and false, and { value = …, encoding = … }.
struct Content {
  Template content;
  std::string encoding;  // empty: not said
};
Result<Content> take_content(const Section& section, const toml::node& node, const std::string& what, bool entry) {
  Content out;
  if (auto text = node.value_exact<std::string>()) {
    out.content.text = *text;
  } else if (auto number = node.value_exact<std::int64_t>(); number && entry) {
    out.content.text = std::to_string(*number);
    out.encoding = "i32";
    if (*number < std::numeric_limits<std::int32_t>::min() || *number > std::numeric_limits<std::int32_t>::max())
      return fail(section.wrong(node.source(), fmt::format("{} is an i32, and too large for one", what),
                                "Say its type: { value = …, encoding = \"i64\" }"));
  } else if (auto flag = node.value_exact<bool>(); flag && entry) {
    out.content.text = *flag ? "1" : "0";
    out.encoding = "u8";
  } else if (const toml::table* table = node.as_table()) {
    Section own{*table, what, section.filename()};
    std::string file;
    TRY(own.take<std::string>("file", file, "a path in quotes"));
    if (entry) {
      TRY(own.take<std::string>("encoding", out.encoding, "a word in quotes", one_of(encodings)));
      if (const toml::node* value = own.node("value")) {
        if (auto whole = value->value_exact<std::int64_t>()) {
          out.content.text = std::to_string(*whole);
        } else if (auto words = value->value_exact<std::string>()) {
          out.content.text = *words;
        } else {
          return fail(
              section.wrong(value->source(), fmt::format("{}.value is text in quotes or a whole number", what)));
        }
        if (!file.empty()) return fail(section.wrong(value->source(), fmt::format("{} has a value and a file", what)));
      } else if (file.empty()) {
        return fail(section.wrong(table->source(), fmt::format("{} has neither a value nor a file", what)));
      }
    }
    TRY(own.nothing_else());
    if (!entry && file.empty()) return fail(section.wrong(table->source(), fmt::format("{} names no file", what)));
    if (!file.empty()) out.content = {file, true};
  } else {
    return fail(section.wrong(node.source(), fmt::format("{} is text in quotes, or {{ file = \"path\" }}", what)));
  }
  TRY(check_words_of(section, node, what, out.content.text));
  return out;
}

Result<void> take_files(Section& section, RecipeImage& image) {
  const toml::node* files = section.node("files");
  if (!files) return ok();
  const toml::table* table = files->as_table();
  if (!table) return fail(section.wrong(files->source(), "image.files is a table of names and contents"));
  for (const auto& [name, node] : *table) {
    TRY(Content content, take_content(section, node, fmt::format("image.files.\"{}\"", name.str()), false));
    TRY(check_words_of(section, node, "a file's name", std::string{name.str()}));
    image.files.push_back({std::string{name.str()}, std::move(content.content)});
  }
  return ok();
}

/// image.entries.NAMESPACE.KEY = value
Result<void> take_entries(Section& section, RecipeImage& image) {
  const toml::node* entries = section.node("entries");
  if (!entries) return ok();
  constexpr std::string_view form = "image.entries is a table of namespaces: entries.wifi = { ssid = \"…\" }";
  const toml::table* spaces = entries->as_table();
  if (!spaces) return fail(section.wrong(entries->source(), std::string{form}));
  auto check_name = [&section](const toml::key& name, std::string_view kind) -> Result<void> {
    if (!name.str().empty() && name.str().size() <= 15) return ok();
    return fail(section.wrong(name.source(), fmt::format("\"{}\" is no {}: 1 to 15 bytes", name.str(), kind)));
  };
  for (const auto& [space, keys] : *spaces) {
    TRY(check_name(space, "namespace"));
    const toml::table* table = keys.as_table();
    if (!table) return fail(section.wrong(keys.source(), std::string{form}));
    for (const auto& [key, node] : *table) {
      TRY(check_name(key, "key of NVS"));
      std::string what = fmt::format("image.entries.{}.{}", space.str(), key.str());
      TRY(Content content, take_content(section, node, what, true));
      if (content.encoding.empty()) content.encoding = content.content.from_disk ? "binary" : "string";
      image.entries.push_back(
          {std::string{space.str()}, std::string{key.str()}, content.encoding, std::move(content.content)});
    }
  }
  return ok();
}

Result<void> take_number(Section& section, std::string_view key, std::optional<std::uint32_t>& out,
                         std::vector<std::uint64_t> among = {}) {
  std::uint64_t number = 0;
  TRY(section.take<std::uint64_t>(key, number, "a whole number"));
  if (number == 0) return ok();
  if (number > std::numeric_limits<std::uint32_t>::max() ||
      (!among.empty() && std::find(among.begin(), among.end(), number) == among.end()))
    return fail(section.wrong(section.node(key)->source(),
                              among.empty() ? fmt::format("image.{} is too large", key)
                                            : fmt::format("image.{} is one of {}", key, fmt::join(among, ", "))));
  out = static_cast<std::uint32_t>(number);
  return ok();
}

Result<void> take_flag(Section& section, std::string_view key, std::optional<bool>& out) {
  if (!section.node(key)) return ok();
  bool flag = false;
  TRY(section.take<bool>(key, flag, "true or false"));
  out = flag;
  return ok();
}

/// Keys that only one format has, so that nobody believes they do something elsewhere.
Result<void> check_keys_of_format(Section& section, const RecipeImage& image) {
  if (!image.format) return ok();
  std::string_view key = key_of_another_format(image, *image.format);
  if (key.empty()) return ok();
  return fail(section.wrong(section.node(key)->source(),
                            fmt::format("image.{} is nothing that a {} image has", key, title_of(*image.format))));
}

Result<RecipeImage> take_image(Section& section) {
  RecipeImage image;
  std::string format, encryption = "none";
  TRY(section.take<std::string>("partition", image.partition, "a name in quotes"));
  TRY(section.take<std::string>("format", format, "a word in quotes", one_of(formats)));
  if (!format.empty())
    image.format = static_cast<ImageFormat>(std::find(formats.begin(), formats.end(), format) - formats.begin());
  TRY(section.take<bool>("keep", image.keep, "true or false"));
  TRY(take_files(section, image));
  TRY(take_entries(section, image));
  TRY(section.take<std::string>("csv", image.csv, "a path in quotes"));
  static constexpr std::array<std::string_view, 3> encryptions{"none", "keys", "hmac"};
  TRY(section.take<std::string>("encryption", encryption, "a word in quotes", one_of(encryptions)));
  image.encryption = encryption == "keys"   ? NvsEncryption::keys
                     : encryption == "hmac" ? NvsEncryption::hmac
                                            : NvsEncryption::none;
  TRY(section.take<std::string>("keys_partition", image.keys_partition, "a name in quotes"));
  TRY(section.take<std::string>("hmac_key", image.hmac_key, "a path in quotes"));
  TRY(take_number(section, "version", image.nvs_version, {1, 2}));
  TRY(take_number(section, "fat_type", image.fat_type, {12, 16}));
  TRY(take_number(section, "sector_size", image.sector_size, {512, 1024, 2048, 4096}));
  TRY(take_number(section, "block_size", image.block_size));
  TRY(take_number(section, "name_max", image.name_max));
  TRY(take_flag(section, "wear_levelling", image.wear_levelling));
  TRY(take_flag(section, "long_names", image.long_names));
  TRY(check_keys_of_format(section, image));
  TRY(section.nothing_else());
  if (image.encryption == NvsEncryption::hmac && image.hmac_key.empty())
    return fail(section.wrong(section.node("encryption")->source(),
                              "image.hmac_key names the file with the key of 32 bytes that the chip's eFuses hold"));
  return image;
}

}  // namespace

std::string_view key_of_another_format(const RecipeImage& image, ImageFormat format) {
  const bool nvs = format == ImageFormat::nvs, fat = format == ImageFormat::fat,
             littlefs = format == ImageFormat::littlefs;
  struct Rule {
    std::string_view key;
    bool said, suits;
  };
  for (const Rule& rule :
       {Rule{"files", !image.files.empty(), !nvs}, Rule{"entries", !image.entries.empty(), nvs},
        Rule{"csv", !image.csv.empty(), nvs}, Rule{"version", image.nvs_version.has_value(), nvs},
        Rule{"encryption", image.encryption != NvsEncryption::none, nvs},
        Rule{"keys_partition", !image.keys_partition.empty(), nvs}, Rule{"hmac_key", !image.hmac_key.empty(), nvs},
        Rule{"wear_levelling", image.wear_levelling.has_value(), fat},
        Rule{"long_names", image.long_names.has_value(), fat}, Rule{"fat_type", image.fat_type.has_value(), fat},
        Rule{"sector_size", image.sector_size.has_value(), fat},
        Rule{"block_size", image.block_size.has_value(), littlefs},
        Rule{"name_max", image.name_max.has_value(), littlefs}})
    if (rule.said && !rule.suits) return rule.key;
  return {};
}

Result<void> take_images(const toml::table& root, std::string_view filename, Recipe& recipe) {
  const toml::node* images = root.get("image");
  if (!images) return ok();
  Section whole{root, "", filename};
  const toml::array* list = images->as_array();
  if (!list || list->empty()) return fail(whole.wrong(images->source(), "an image is written as [[image]]"));
  for (const toml::node& one : *list) {
    const toml::table* table = one.as_table();
    if (!table) return fail(whole.wrong(one.source(), "an image is written as [[image]]"));
    Section section{*table, "image", filename};
    TRY(RecipeImage image, take_image(section));
    for (const RecipeImage& other : recipe.images)
      if (!image.partition.empty() && other.partition == image.partition)
        return fail(whole.wrong(one.source(), fmt::format("two images are for the partition \"{}\"", image.partition),
                                "One [[image]] a partition"));
    recipe.images.push_back(std::move(image));
  }
  return ok();
}

}  // namespace espmint
