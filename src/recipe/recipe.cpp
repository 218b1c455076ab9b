#include "recipe/recipe.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <vector>

#include "chip/chip.hpp"
#include "recipe/checks.hpp"
#include "recipe/section.hpp"
#include "recipe/words.hpp"

namespace espmint {
namespace {

/// The id's template, once the issuer is known: a name that no thing can have is refused as AWS would.
Result<void> check_id(Section& section, const Recipe& recipe) {
  const Mac any{{0x24, 0xd7, 0xeb, 0x12, 0x34, 0x56}};
  auto id = device_id_for(recipe.id, any);
  if (id) return ok();
  Fault fault = section.wrong(section.node("id")->source(), "identity.id: " + id.error().what);
  BoardValues values;
  values.mac = any;
  auto expanded = expand(recipe.id, values);
  if (recipe.issuer == "aws" && expanded && !check_device_id(as_text(expanded->reveal())).empty())
    fault.code = Code::cloud_refused;
  return fail(std::move(fault));
}

constexpr std::size_t longest_selftest_name = 31;  // docs/formats/handshake.md

/// `name = [lowest, highest]` for each value of the firmware's self-test that has limits.
Result<void> take_selftest(Section& section, KeysPlan& keys) {
  const toml::node* node = section.node("selftest");
  if (!node) return ok();
  const toml::table* table = node->as_table();
  if (!table)
    return fail(section.wrong(node->source(), "keys.selftest is a table of limits: { vbat_mv = [3000, 3600] }"));
  std::vector<SelftestLimit>& limits = keys.selftest.emplace();
  for (const auto& [name, value] : *table) {
    auto wrong = [&section, source = value.source(), key = name.str()](std::string_view what) {
      return fail(section.wrong(source, fmt::format("keys.selftest.{} {}", key, what)));
    };
    if (name.str().empty() || name.str().size() > longest_selftest_name)
      return fail(section.wrong(
          name.source(), fmt::format("a self-test's value has a name of 1 to {} characters", longest_selftest_name)));
    const toml::array* pair = value.as_array();
    auto low = pair && pair->size() == 2 ? pair->get(0)->value_exact<std::int64_t>() : std::nullopt;
    auto high = low ? pair->get(1)->value_exact<std::int64_t>() : std::nullopt;
    if (!high) return wrong("is a pair of whole numbers: [lowest, highest]");
    if (*low > *high) return wrong("has its lower limit above the upper one");
    if (*low < std::numeric_limits<std::int32_t>::min() || *high > std::numeric_limits<std::int32_t>::max())
      return wrong("does not fit: values have 32 bits");
    limits.push_back({std::string{name.str()}, static_cast<std::int32_t>(*low), static_cast<std::int32_t>(*high)});
  }
  return ok();
}

Result<void> take_keys(Section& section, Recipe& recipe) {
  static constexpr std::array<std::string_view, 3> handshakes{"line", "framed", "auto"};
  static constexpr std::array<std::string_view, 2> policies{"hold", "erase"};
  KeysPlan keys;
  keys.csv = "keys.csv";
  std::string handshake = "line", provisioned = "hold", delimiter;
  std::uint64_t fields = 0, prompt = 60, answer = 30, baud = keys.baud;
  TRY(section.take<std::string>("csv", keys.csv, "a path in quotes"));
  TRY(section.take<std::string>("handshake", handshake, "a word in quotes", one_of(handshakes)));
  keys.handshake = handshake == "framed" ? Handshake::framed
                   : handshake == "auto" ? Handshake::automatic
                                         : Handshake::line;
  TRY(section.take<bool>("lock", keys.lock, "true or false"));
  TRY(take_selftest(section, keys));
  TRY(section.take<std::uint64_t>("fields", fields, "a whole number"));
  TRY((take_list<std::string>(section, "columns", "a list of names in quotes", keys.columns)));
  TRY((take_list<std::int64_t>(section, "shared", "a list of column numbers", keys.shared)));
  TRY(section.take<std::string>(
      "delimiter", delimiter, "one character in quotes",
      [](const std::string& text) -> std::string { return text.size() == 1 ? "" : "one character"; }));
  TRY(section.take<std::string>("prompt", keys.prompt, "text in quotes"));
  TRY(section.take<std::string>("done", keys.done, "text in quotes"));
  TRY(section.take<std::string>("values", keys.values, "text in quotes"));
  TRY(section.take<std::uint64_t>("prompt_seconds", prompt, "a whole number"));
  TRY(section.take<std::uint64_t>("answer_seconds", answer, "a whole number"));
  TRY(section.take<std::uint64_t>("baud", baud, "a whole number"));
  TRY(section.take<std::string>("nvs", keys.nvs_space, "a namespace in quotes",
                                [](const std::string& name) -> std::string {
                                  return name.empty() || name.size() > 15 ? "1 to 15 characters" : "";
                                }));
  TRY((take_list<std::string>(section, "nvs_names", "a list of names in quotes", keys.nvs_names)));
  TRY(section.take<std::string>("provisioned", provisioned, "a word in quotes", one_of(policies)));
  TRY(section.nothing_else());
  // A board that speaks `line` can neither be locked nor tested: none may become green by passing both over.
  if (keys.handshake != Handshake::framed && (keys.lock || keys.selftest))
    return fail(section.wrong(section.node(keys.lock ? "lock" : "selftest")->source(),
                              fmt::format("keys.{} needs handshake = \"framed\"", keys.lock ? "lock" : "selftest")));
  keys.fields = static_cast<std::uint32_t>(std::min<std::uint64_t>(fields, 64));
  keys.delimiter = delimiter.empty() ? '\0' : delimiter.front();
  keys.prompt_patience = std::chrono::seconds{std::min<std::uint64_t>(prompt, 3600)};
  keys.answer_patience = std::chrono::seconds{std::min<std::uint64_t>(answer, 3600)};
  keys.baud = static_cast<std::uint32_t>(std::min<std::uint64_t>(baud, 5'000'000));
  keys.erase_provisioned = provisioned == "erase";
  recipe.keys = std::move(keys);
  return ok();
}

/// `csv` and `by`; every other key is a value that all boards get.
Result<void> take_values(Section& section, Recipe& recipe) {
  static constexpr std::array<std::string_view, 2> joins{"mac", "serial"};
  RecipeValues values;
  std::string by = "mac";
  TRY(section.take<std::string>("csv", values.csv, "a path in quotes"));
  TRY(section.take<std::string>("by", by, "a word in quotes", one_of(joins)));
  if (const toml::node* same = section.node("same")) {
    const toml::table* table = same->as_table();
    if (!table) return fail(section.wrong(same->source(), "values.same is a table of names and texts"));
    for (const auto& [name, node] : *table) {
      auto value = node.value_exact<std::string>();
      if (!value)
        return fail(section.wrong(node.source(), fmt::format("values.same.{} is text in quotes", name.str())));
      values.same.emplace(name.str(), *value);
    }
  }
  values.by = by == "mac" ? ValuesTable::By::mac : ValuesTable::By::serial;
  recipe.values = std::move(values);
  return ok();
}

/// AWS makes RSA keys only: a recipe that wants another is refused rather than given what it did not ask for.
Result<void> check_key_kind(const toml::table& root, const Section& whole, Recipe& recipe) {
  if (!recipe.aws || recipe.aws->issuance != AwsIssuance::aws_keys) return ok();
  const toml::node* said = root.at_path("identity.key").node();
  if (said && recipe.key != "rsa-2048")
    return fail(whole.wrong(said->source(), fmt::format("identity.key: AWS makes no {} keys", recipe.key),
                            "With issuance = \"aws-keys\" it is \"rsa-2048\"; or use issuance = \"csr\""));
  recipe.key = "rsa-2048";
  return ok();
}

Result<void> take_table(const toml::table& root, std::string_view name, std::string_view filename,
                        const std::function<Result<void>(Section&)>& take) {
  const toml::node* node = root.get(name);
  if (!node) return ok();
  const toml::table* table = node->as_table();
  if (!table)
    return fail(Section{root, "", filename}.wrong(node->source(), fmt::format("{} is a section: [{}]", name, name)));
  Section section{*table, std::string{name}, filename};
  TRY(take(section));
  return section.nothing_else();
}

}  // namespace

std::vector<ImageFile> default_identity_files(std::string_view issuer) {
  std::vector<ImageFile> files{{"certificate.pem.crt", {"{certificate}"}},
                               {"private.pem.key", {"{private_key}"}},
                               {"aws-root-ca.pem", {"{root_ca}"}}};
  if (issuer != "aws") return files;
  files.push_back({"endpoint.txt", {"{endpoint}"}});
  files.push_back({"thing.txt", {"{thing}"}});
  return files;
}

std::vector<ImageEntry> default_identity_entries(std::string_view issuer) {
  std::vector<ImageEntry> entries{{"identity", "certificate", "string", {"{certificate}"}},
                                  {"identity", "private_key", "string", {"{private_key}"}},
                                  {"identity", "root_ca", "string", {"{root_ca}"}}};
  if (issuer != "aws") return entries;
  entries.push_back({"identity", "endpoint", "string", {"{endpoint}"}});
  entries.push_back({"identity", "thing", "string", {"{thing}"}});
  return entries;
}

Recipe default_recipe() { return {}; }

std::string check_product_name(std::string_view name) {
  if (name.empty() || name.size() > 64) return "a name has 1 to 64 characters";
  if (name.front() == '.') return "a name does not begin with a dot";
  for (char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '/' || c == '\\')
      return "a name has no control characters and no slash";
  return {};
}

std::string product_name_of(std::string_view project) {
  std::string name;
  for (char c : project.substr(0, 64)) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                 (c == '.' && !name.empty());
    if (plain) name += c;
    if (!plain && !name.empty()) name += '-';
  }
  return name.empty() ? "firmware" : name;
}

Result<Recipe> parse_recipe(std::string_view text, std::string_view filename) {
  static const std::vector<std::string_view> chips = [] {
    std::vector<std::string_view> names{"auto"};
    for (const ChipSpec& chip : all_chips())
      if (has_recipes(chip)) names.push_back(chip.name);
    return names;
  }();
  static constexpr std::array<std::string_view, 2> keys{"ec-p256", "rsa-2048"};
  static constexpr std::array<std::string_view, 2> issuers{"local", "aws"};
  static constexpr std::array<std::string_view, 3> challenges{"auto", "required", "off"};
  toml::table root;
  try {
    root = toml::parse(text, filename);
  } catch (const toml::parse_error& error) {
    Fault fault{Code::recipe_invalid, Remedy::refuse, std::string{error.description()}};
    fault.where.input = fmt::format("{}:{}:{}", filename, error.source().begin.line, error.source().begin.column);
    return fail(std::move(fault));
  }
  Recipe recipe;
  Section whole{root, "", filename};
  TRY(take_table(root, "product", filename, [&](Section& section) -> Result<void> {
    TRY(section.take<std::string>("name", recipe.product, "a name in quotes", check_product_name));
    TRY(section.take<std::string>("chip", recipe.chip, "a word in quotes", one_of(chips)));
    std::uint64_t quota = 0;
    TRY(section.take<std::uint64_t>("quota", quota, "a whole number"));
    if (quota) recipe.quota = quota;
    return ok();
  }));
  TRY(take_table(root, "firmware", filename, [&](Section& section) {
    return section.take<std::string>("path", recipe.firmware_path, "a path in quotes");
  }));
  TRY(take_table(root, "identity", filename, [&](Section& section) -> Result<void> {
    TRY(section.take<std::string>("id", recipe.id, "text in quotes"));
    TRY(section.take<std::string>("key", recipe.key, "a word in quotes", one_of(keys)));
    TRY(section.take<std::string>("issuer", recipe.issuer, "a word in quotes", one_of(issuers)));
    TRY(check_id(section, recipe));
    TRY(section.take<bool>("save_private_key", recipe.save_private_key, "true or false"));
    std::string challenge = "auto";
    TRY(section.take<std::string>("challenge", challenge, "a word in quotes", one_of(challenges)));
    recipe.challenge = challenge == "required" ? ChallengePolicy::required
                       : challenge == "off"    ? ChallengePolicy::off
                                               : ChallengePolicy::automatic;
    return ok();
  }));
  TRY(take_table(root, "keys", filename, [&](Section& section) { return take_keys(section, recipe); }));
  TRY(take_table(root, "values", filename, [&](Section& section) { return take_values(section, recipe); }));
  TRY(take_images(root, filename, recipe));
  TRY(take_table(root, "cloud", filename, [&](Section& section) { return take_cloud(section, recipe); }));
  TRY(check_key_kind(root, whole, recipe));
  for (std::string_view known : {"product", "firmware", "identity", "image", "keys", "values", "cloud"})
    (void)whole.node(known);
  TRY(whole.nothing_else());
  return recipe;
}

std::string commented_recipe(const FirmwareSet* firmware, const std::string& firmware_path) {
  auto quoted = [](const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
      auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte == 0x7f)
        out += fmt::format("\\u{:04x}", byte);
      else
        out += c == '"' || c == '\\' ? std::string{'\\', c} : std::string(1, c);
    }
    return out + "\"";
  };
  std::string product = firmware ? product_name_of(firmware->project) : "my-product";
  std::string chip{firmware ? firmware->chip->name : "auto"};
  std::vector<std::string> partitions;
  std::string_view format = "spiffs";
  if (firmware)
    for (const Partition& candidate : firmware->table.partitions) {
      const bool littlefs = candidate.is_data(data_subtype_littlefs);
      if (!littlefs && !candidate.is_data(data_subtype_spiffs)) continue;
      if (partitions.empty() && littlefs) format = "littlefs";
      partitions.push_back(quoted(candidate.name));
    }
  std::string text = fmt::format(
      R"(# What this product is. Keys that are left out have the value shown here. All keys: docs/formats/recipe.md

[product]
name = {}
chip = {}              # checked against the firmware and every board; "auto": whatever the firmware is for
# quota = 1000              # distinct boards that may ever get an identity

[firmware]
path = {}              # a build folder, a merged image or an app; relative to this file

[identity]
id = "{{mac}}"                # also {{mac:upper}}, {{mac:colon}}, with text around it
key = "ec-p256"             # or "rsa-2048" for old firmware
issuer = "local"            # a CA of your own: `espmint ca show`; "aws": AWS IoT Core, see [cloud.aws] below
challenge = "auto"          # the firmware proves its key where it knows how; "required", "off"
# save_private_key = true   # keeps every device's private key in the state folder: whoever has it is the device

# With issuer = "aws", and credentials from the environment or ~/.aws. `espmint cloud setup` makes policy and thing type.
# [cloud.aws]
# region = "eu-central-1"   # else AWS_REGION, else the profile's
# profile = "factory"       # else AWS_PROFILE
# policy_name = {}   # each device's; by default it allows a device its own topics only
# thing_type = {}
# attributes = {{ owner = "line-3" }}   # of every thing; no spaces, two of them, or 49 with a thing type
# groups = ["pilot"]
# issuance = "csr"          # keys are made here and stay here; "own-ca", "aws-keys", "bulk", "jitp"
# root_ca = "amazon-root-ca-1"   # by which devices know AWS; another number, or a PEM file

)",
      quoted(product), quoted(chip), quoted(firmware_path.empty() ? "build" : firmware_path),
      quoted(product_name_of(product) + "-device"), quoted(product_name_of(product)));
  // Without a partition to put it in the image stays a comment: a recipe that asks for one would be refused.
  std::string off = firmware && partitions.empty() ? "# " : "";
  if (!off.empty())
    text +=
        "# This firmware has no partition for an identity. With the line\n#   storage, data, spiffs, , 64K,\n"
        "# in partitions.csv it has one, and this says what goes there:\n";
  if (partitions.size() > 1)
    text += fmt::format("# Partitions that could hold it are {}.\n", fmt::join(partitions, ", "));
  std::string partition = !partitions.empty()   ? "partition = " + partitions.front()
                          : firmware != nullptr ? "partition = \"storage\""
                                                : "# partition = \"storage\"";
  text += fmt::format(
      "{}[[image]]\n{}{}   # the partition from which the firmware reads its identity\n{}format = \"{}\"           # "
      "or spiffs, littlefs, fat, nvs\n",
      off, off, partition, off, format);
  std::string files;
  for (const ImageFile& file : default_identity_files())
    files += fmt::format("{}{} = {}", files.empty() ? "" : ", ", quoted(file.path), quoted(file.content.text));
  std::string more;
  const std::vector<ImageFile> with_aws = default_identity_files("aws");
  for (std::size_t i = default_identity_files().size(); i < with_aws.size(); ++i)
    more += fmt::format(", {} = {}", quoted(with_aws[i].path), quoted(with_aws[i].content.text));
  return text + fmt::format("{}files = {{ {} }}\n# With issuer = \"aws\" firmware may want these, too: {}\n", off,
                            files, more.substr(2));
}

}  // namespace espmint
