#include "recipe/plan_images.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "image/file_kind.hpp"
#include "image/nvs_crypt.hpp"
#include "image/nvs_csv.hpp"
#include "recipe/board_image.hpp"
#include "recipe/image_entries.hpp"

namespace espmint {
namespace {

Fault wrong(Code code, std::string what, std::string seen = {}, std::string advice = {}) {
  return Fault{code, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
}

// ---------------------------------------------------------------- which partition

/// Data subtypes in which firmware mounts a format; LittleFS takes whatever has its label.
std::vector<std::uint8_t> subtypes_of(std::optional<ImageFormat> format) {
  if (!format) return {data_subtype_spiffs, data_subtype_littlefs};
  switch (*format) {
    case ImageFormat::spiffs:
      return {data_subtype_spiffs};
    case ImageFormat::littlefs:
      return {data_subtype_littlefs, data_subtype_spiffs};
    case ImageFormat::fat:
      return {data_subtype_fat};
    case ImageFormat::nvs:
      return {data_subtype_nvs};
  }
  return {};
}

std::optional<ImageFormat> usual_format(const Partition& partition) {
  if (partition.is_data(data_subtype_spiffs)) return ImageFormat::spiffs;
  if (partition.is_data(data_subtype_littlefs)) return ImageFormat::littlefs;
  if (partition.is_data(data_subtype_fat)) return ImageFormat::fat;
  if (partition.is_data(data_subtype_nvs)) return ImageFormat::nvs;
  return std::nullopt;
}

std::string list_of(const std::vector<const Partition*>& partitions) {
  std::string out;
  for (const Partition* partition : partitions)
    out += fmt::format("{}{} ({} at {:#x})", out.empty() ? "" : ", ", partition->name,
                       show_bytes(partition->range.size), partition->range.at.bytes);
  return out;
}

/// The named one, else the only one that suits the format; none where there is none.
Result<const Partition*> choose_partition(const PartitionTable& table, const std::string& named,
                                          std::optional<ImageFormat> format) {
  std::vector<const Partition*> candidates;
  // A name says more than a format that nobody said.
  const bool any = !named.empty() && !format;
  for (const Partition& partition : table.partitions)
    for (std::uint8_t subtype : subtypes_of(format))
      if (partition.is_data(subtype)) candidates.push_back(&partition);
  if (!named.empty()) {
    for (const Partition& partition : table.partitions) {
      bool suits = any ? usual_format(partition).has_value()
                       : std::find(candidates.begin(), candidates.end(), &partition) != candidates.end();
      if (partition.name == named && suits) return &partition;
    }
    std::string_view title = title_of(format.value_or(ImageFormat::spiffs));
    Fault fault =
        wrong(Code::partition_missing, fmt::format("the partition table has no {} partition \"{}\"", title, named));
    fault.seen =
        candidates.empty() ? fmt::format("it has no {} partition at all", title) : "it has " + list_of(candidates);
    fault.advice = candidates.empty() ? fmt::format("Add to partitions.csv: {}, data, {}, , 64K,", named,
                                                    name_of(format.value_or(ImageFormat::spiffs)))
                                      : "Name one of these";
    return fail(std::move(fault));
  }
  if (candidates.size() > 1)
    return fail(wrong(Code::partition_ambiguous,
                      format && *format == ImageFormat::nvs ? "several partitions could hold the image"
                                                            : "several partitions could hold the identity",
                      list_of(candidates), "Say which with --partition, or in the recipe's [[image]]"));
  return candidates.empty() ? nullptr : candidates.front();
}

/// The line for partitions.csv where the flash has room behind the table's end; else what must be freed for it.
std::string way_to_an_identity(const FirmwareSet& set) {
  constexpr std::uint64_t wanted = 64_KiB;
  std::optional<ByteCount> flash = set.stated_flash_size;
  for (const FirmwarePart& part : set.parts) {
    if (flash || part.at != set.chip->bootloader) continue;
    if (auto image = parse_app_image(part.bytes)) flash = flash_size_of_code(image->flash_size_code);
  }
  std::uint64_t end = set.table.end();
  if (!flash || end + wanted <= *flash)
    return "this line in partitions.csv would give them one: storage, data, spiffs, , 64K,";
  return fmt::format(
      "partitions.csv has no room for one: {} must be freed in the {} of flash that the firmware is built for, for a "
      "line storage, data, spiffs, , 64K,",
      show_bytes(end + wanted - *flash), show_bytes(*flash));
}

// ---------------------------------------------------------------- what the firmware brings

/// Takes the image that the firmware brings for this partition out of its parts: it is merged with the board's.
Result<void> merge_brought_image(ImagePlan& image, bool format_said, FirmwareSet& set,
                                 std::vector<std::string>& notes) {
  auto brought = std::find_if(set.parts.begin(), set.parts.end(),
                              [&](const FirmwarePart& part) { return part.at == image.partition.range.at; });
  if (set.geometry && image.format == ImageFormat::spiffs) {
    image.geometry.spiffs = *set.geometry;
    image.geometry_from = "the build's sdkconfig";
  }
  if (brought != set.parts.end()) {
    const bool littlefs = looks_like_littlefs(brought->bytes);
    if (littlefs && image.format == ImageFormat::spiffs && !format_said) {
      image.format = ImageFormat::littlefs;
      image.geometry_from = "the image that the firmware brings";
    }
    if (littlefs && image.format != ImageFormat::littlefs)
      return fail(wrong(Code::image_invalid,
                        fmt::format("{} is a LittleFS image, and the recipe makes a {} of it", brought->source,
                                    title_of(image.format)),
                        fmt::format("it goes to partition \"{}\"", image.partition.name),
                        "Say format = \"littlefs\" in that [[image]]"));
    image.shared_from = brought->source;
    const bool blank =
        std::all_of(brought->bytes.begin(), brought->bytes.end(), [](std::uint8_t byte) { return byte == 0xff; });
    auto detected = image.format == ImageFormat::spiffs ? detect_spiffs_geometry(brought->bytes, image.geometry.spiffs)
                                                        : std::nullopt;
    ImageGeometry reading = image.geometry;
    if (detected) {
      reading.spiffs = *detected;
      if (!set.geometry) {
        image.geometry.spiffs = *detected;
        image.geometry_from = "the image that the firmware brings";
      }
    }
    // An empty SPIFFS has no geometry to detect, erased flash no file system; anything else is damaged.
    if (!blank) {
      TRY(BroughtImage content, in_input(read_image(brought->bytes, image.format, reading), brought->source));
      image.shared_files = std::move(content.files);
      image.shared_entries = std::move(content.entries);
    }
    std::string names;
    for (const FileOwned& file : image.shared_files) names += (names.empty() ? "" : ", ") + file.path;
    for (const NvsEntry& entry : image.shared_entries)
      names += (names.empty() ? "" : ", ") + entry.space + "." + entry.key;
    notes.push_back(fmt::format("{} is merged with each board's identity{}", brought->source,
                                names.empty() ? "" : ": " + names + " stay"));
    set.parts.erase(brought);
  }
  auto check_free = [&set](const Partition& partition) -> Result<void> {
    for (const FirmwarePart& part : set.parts)
      if (part.range().overlaps(partition.range))
        return fail(wrong(Code::firmware_does_not_fit,
                          fmt::format("{} at {:#x} would overwrite the identity in partition \"{}\"", part.source,
                                      part.at.bytes, partition.name),
                          {}, "Choose another partition with --partition, or leave that file out"));
    std::erase_if(set.blank, [&](const FlashRange& range) { return range.overlaps(partition.range); });
    return ok();
  };
  TRY(check_free(image.partition));
  if (image.keys_partition) TRY(check_free(*image.keys_partition));
  return ok();
}

// ---------------------------------------------------------------- what the recipe says

Result<Bytes> read_named(const PlanOptions& options, const std::string& path) {
  if (options.folder) return options.folder->read(path);
  return fail(wrong(Code::input_missing, fmt::format("'{}' cannot be read here", path)));
}

void take_geometry(const RecipeImage& recipe, ImageGeometry& geometry) {
  if (recipe.nvs_version) geometry.nvs_version = *recipe.nvs_version;
  if (recipe.block_size) geometry.littlefs.block_size = *recipe.block_size;
  if (recipe.name_max) geometry.littlefs.name_max = *recipe.name_max;
  // Certificates have long names; firmware that cannot read them says so in the recipe.
  geometry.fat.long_names = recipe.long_names.value_or(true);
  if (recipe.fat_type) geometry.fat.fat_type = *recipe.fat_type;
  if (recipe.sector_size) geometry.fat.sector_size = *recipe.sector_size;
  if (recipe.wear_levelling && !*recipe.wear_levelling) geometry.wear_levelling.reset();
}

Result<void> take_encryption(const RecipeImage& recipe, const PlanOptions& options, const FirmwareSet& set,
                             ImagePlan& image) {
  image.encryption = recipe.encryption;
  if (image.encryption == NvsEncryption::hmac) {
    TRY(Bytes key, read_named(options, recipe.hmac_key));
    if (key.size() != 32)
      return fail(wrong(Code::input_invalid, fmt::format("'{}' is no HMAC key", recipe.hmac_key),
                        fmt::format("it has {} bytes", key.size()), "It has the 32 bytes that the chip's eFuses hold"));
    image.hmac_key = std::make_shared<const Secret>(std::move(key));
  }
  if (image.encryption != NvsEncryption::keys) return ok();
  std::vector<const Partition*> candidates;
  for (const Partition& partition : set.table.partitions)
    if (partition.is_data(data_subtype_nvs_keys) &&
        (recipe.keys_partition.empty() || partition.name == recipe.keys_partition))
      candidates.push_back(&partition);
  if (candidates.empty())
    return fail(wrong(Code::partition_missing,
                      recipe.keys_partition.empty()
                          ? "encrypted NVS needs a partition for its keys, and the partition table has none"
                          : fmt::format("the partition table has no nvs_keys partition \"{}\"", recipe.keys_partition),
                      {}, "Add to partitions.csv: nvs_keys, data, nvs_keys, , 4K, encrypted"));
  if (candidates.size() > 1)
    return fail(wrong(Code::partition_ambiguous, "several partitions could hold the keys of the encrypted NVS",
                      list_of(candidates), "Say which: keys_partition in the recipe's [[image]]"));
  image.keys_partition = *candidates.front();
  return ok();
}

Result<std::shared_ptr<const ValuesTable>> read_values(const Recipe& recipe, const PlanOptions& options) {
  if (!recipe.values) return std::shared_ptr<const ValuesTable>{};
  ValuesTable table;
  if (!recipe.values->csv.empty()) {
    TRY(Bytes text, read_named(options, recipe.values->csv));
    TRY(table, parse_values_csv(as_text(text), recipe.values->by, recipe.values->csv));
  }
  table.by = recipe.values->by;
  table.same = recipe.values->same;
  for (const auto& [name, value] : table.same) {
    if (table.has_column(name))
      return fail(wrong(Code::recipe_invalid, fmt::format("values.same.{} is a column of {}, too", name, table.source),
                        {}, "Leave one of them out"));
    table.columns.push_back(name);
  }
  return std::make_shared<const ValuesTable>(std::move(table));
}

/// Words whose values the plan must have; those of a path must be known before the board gets its certificate.
Result<void> check_words(const Plan& plan, const std::string& where, const std::string& text, bool path) {
  for (std::string_view word : words_of(text)) {
    const bool column = word == "serial" || word.starts_with("values.");
    if (path && !column && !word.starts_with("mac") && word != "id" && word != "thing")
      return fail(wrong(Code::recipe_invalid, fmt::format("{}: a path cannot depend on {{{}}}", where, word), {},
                        "It can have {mac}, {id}, {serial} and {values.NAME}"));
    if (word == "endpoint" && !plan.aws)
      return fail(wrong(Code::recipe_invalid,
                        fmt::format("{}: {{endpoint}} is AWS's broker, and the issuer is {}", where, plan.issuer), {},
                        "Set issuer = \"aws\" in [identity], or write the host's name there"));
    if (word.starts_with("key.") && !plan.keys)
      return fail(wrong(Code::recipe_invalid, fmt::format("{}: {{{}}} needs keys", where, word), {},
                        "Add a section [keys] with their file"));
    if (!column) continue;
    std::string_view name = word == "serial" ? word : word.substr(7);
    if (plan.values && plan.values->has_column(name)) continue;
    std::string meant;
    if (plan.values) {
      std::vector<std::string_view> names{plan.values->columns.begin(), plan.values->columns.end()};
      meant = nearest(name, names);
    }
    return fail(wrong(Code::recipe_invalid, fmt::format("{}: no value is named {}", where, name), {},
                      !meant.empty() ? fmt::format("Did you mean {}?", meant) : "Add a section [values] that has it"));
  }
  return ok();
}

/// Files whose paths are the same for every board are read once, so that they cannot change between boards.
Result<void> read_shared_files(const PlanOptions& options, const ImagePlan& image, Plan& plan) {
  auto take = [&](const std::string& where, const Template& content) -> Result<void> {
    TRY(check_words(plan, where, content.text, content.from_disk));
    if (!content.from_disk || has_words(content.text) || plan.disk_files.contains(content.text)) return ok();
    TRY(plan.disk_files[content.text], read_named(options, content.text));
    return ok();
  };
  for (const ImageFile& file : image.files) {
    TRY(check_words(plan, file.path, file.path, true));
    TRY(take(file.path, file.content));
  }
  for (const ImageEntry& entry : image.entries) TRY(take(entry.space + "." + entry.key, entry.content));
  return ok();
}

// ---------------------------------------------------------------- a trial

/// Values no smaller than any that will be minted or handed out: if these fit, every board's will.
BoardValues largest_values(const Plan& plan, const ImagePlan& image) {
  constexpr std::size_t longest_key_field = 128, longest_host_name = 253;  // RFC 1035, 2.3.4, as text
  BoardValues values{std::string(1800, 'c'), Secret{Bytes(plan.key == "rsa-2048" ? 1780 : 260, 'k')},
                     std::string(1400, 'r'), std::string(64, 'i'), Mac{{2, 0, 0, 0, 0, 1}}};
  if (plan.aws) {
    values.endpoint = plan.aws->data_endpoint.empty() ? std::string(longest_host_name, 'h') : plan.aws->data_endpoint;
    values.root_ca_pem.resize(std::max(values.root_ca_pem.size(), plan.aws->root_ca_text.size()), 'r');
  }
  auto add_key = [&values](std::string_view word) {
    if (!word.starts_with("key.")) return;
    std::string name{word.substr(4)};
    const std::size_t number = parse_number(name).value_or(0);
    while (values.key_fields.size() < std::min<std::size_t>(std::max<std::size_t>(number, 1), 64)) {
      values.key_fields.emplace_back(Bytes(longest_key_field, 'f'));
      values.key_names.emplace_back();
    }
    if (number != 0) return;
    values.key_fields.emplace_back(Bytes(longest_key_field, 'f'));
    values.key_names.push_back(std::move(name));
  };
  for (const ImageFile& file : image.files)
    for (std::string_view word : words_of(file.content.text)) add_key(word);
  for (const ImageEntry& entry : image.entries)
    for (std::string_view word : words_of(entry.content.text)) add_key(word);
  if (plan.values)
    for (const std::string& column : plan.values->columns)
      values.row[column] = std::string(plan.values->longest(column), 'v');
  return values;
}

bool is_text(const std::string& encoding) { return encoding == "string" || encoding == "binary"; }

Result<void> try_to_build(const ImagePlan& image, const BoardValues& values, const DiskFiles& disk,
                          const OnBoard& there) {
  Bytes keys(NvsKeys::bytes, 0x11);
  keys.front() = 0x22;  // XTS wants two different halves
  auto built = build_board_image(image, values, disk, Secret{std::move(keys)}, there);
  if (built) return ok();
  Fault fault = std::move(built.error());
  fault.where.input = fmt::format("partition \"{}\"", image.partition.name);
  if (fault.advice.empty() && fault.code == Code::image_no_space)
    fault.advice = "Make the partition larger in partitions.csv, or bring fewer files";
  return fail(std::move(fault));
}

/// With what cannot be known before the board left out: files of its own, numbers from its row.
Result<void> try_without_a_board(const Plan& plan, ImagePlan image) {
  for (ImageFile& file : image.files)
    if (file.content.from_disk && has_words(file.content.text)) file.content = {};
  for (ImageEntry& entry : image.entries)
    if (has_words(entry.content.text) && (entry.content.from_disk || !is_text(entry.encoding)))
      entry.content = {is_text(entry.encoding) ? "" : "00", false};
  image.keep = false;
  return try_to_build(image, largest_values(plan, image), plan.disk_files, {});
}

/// Numbers and hex that come from rows: all of them before the first board.
Result<void> check_rows(const Plan& plan, const ImagePlan& image) {
  if (!plan.values) return ok();
  for (const ImageEntry& entry : image.entries) {
    auto words = words_of(entry.content.text);
    bool from_row = !words.empty() && !entry.content.from_disk && !is_text(entry.encoding);
    for (std::string_view word : words) from_row = from_row && word.starts_with("values.");
    if (!from_row) continue;
    auto check = [&](const std::map<std::string, std::string>& row, const std::string& whose) -> Result<void> {
      BoardValues values;
      values.row = row;
      for (const auto& [name, value] : plan.values->same) values.row.emplace(name, value);
      TRY(Secret text, expand(entry.content.text, values));
      auto made = nvs_entry(entry.space, entry.key, entry.encoding, text.reveal());
      if (made) return ok();
      Fault fault = std::move(made.error());
      fault.what = fmt::format("{}.{}{}: {}", entry.space, entry.key, whose, fault.what);
      return fail(std::move(fault));
    };
    if (plan.values->rows.empty()) TRY(check({}, ""));
    for (const auto& [key, row] : plan.values->rows)
      TRY(check(row, fmt::format(" of {} in {}", key, plan.values->source)));
  }
  return ok();
}

bool is_the_same_for_all(const ImagePlan& image) {
  if (image.keep || image.encryption != NvsEncryption::none) return false;
  auto fixed = [](const auto& one) { return !has_words(one.content.text); };
  return std::all_of(image.files.begin(), image.files.end(),
                     [&](const ImageFile& file) { return fixed(file) && !has_words(file.path); }) &&
         std::all_of(image.entries.begin(), image.entries.end(), fixed);
}

/// One that is the same for every board is a part of the firmware.
Result<void> make_it_a_part(const ImagePlan& image, const Plan& plan, FirmwareSet& set) {
  TRY(auto built, build_board_image(image, {}, plan.disk_files, {}, {}));
  ByteView bytes = built.front().bytes.reveal();
  FirmwarePart part{image.partition.range.at,
                    {bytes.begin(), bytes.end()},
                    fmt::format("the recipe's image of {}", image.partition.name)};
  auto place =
      std::find_if(set.parts.begin(), set.parts.end(), [&](const FirmwarePart& other) { return other.at > part.at; });
  set.parts.insert(place, std::move(part));
  return ok();
}

Result<void> plan_image(const RecipeImage& recipe, const Partition& partition, const PlanOptions& options,
                        FirmwareSet& set, Plan& plan) {
  ImagePlan image;
  image.partition = partition;
  image.format = recipe.format.value_or(usual_format(partition).value_or(ImageFormat::spiffs));
  image.geometry_from = "ESP-IDF's defaults";
  image.keep = recipe.keep;
  if (std::string_view key = key_of_another_format(recipe, image.format); !key.empty())
    return fail(wrong(Code::recipe_invalid,
                      fmt::format("image.{} is nothing that a {} image has", key, title_of(image.format)),
                      fmt::format("partition \"{}\"", partition.name), "Leave it out, or name the format"));
  take_geometry(recipe, image.geometry);
  TRY(take_encryption(recipe, options, set, image));
  image.files = recipe.files;
  image.entries = recipe.entries;
  if (!recipe.csv.empty()) {
    TRY(Bytes text, read_named(options, recipe.csv));
    TRY(std::vector<ImageEntry> more, entries_of_csv(as_text(text), recipe.csv));
    image.entries.insert(image.entries.end(), std::make_move_iterator(more.begin()),
                         std::make_move_iterator(more.end()));
  }
  TRY(merge_brought_image(image, recipe.format.has_value(), set, plan.notes));
  const bool nvs = image.format == ImageFormat::nvs;
  if (recipe.files.empty() && image.entries.empty()) {
    if (nvs)
      image.entries = default_identity_entries(plan.issuer);
    else
      image.files = default_identity_files(plan.issuer);
  }
  TRY(read_shared_files(options, image, plan));
  TRY(check_rows(plan, image));
  TRY(try_without_a_board(plan, image));
  const std::size_t things =
      nvs ? image.entries.size() + image.shared_entries.size() : image.files.size() + image.shared_files.size();
  if (is_the_same_for_all(image)) {
    plan.notes.push_back(fmt::format("{}: {} {} in a {} that is the same for every board", partition.name, things,
                                     nvs ? "entries" : "files", title_of(image.format)));
    return make_it_a_part(image, plan, set);
  }
  plan.notes.push_back(fmt::format("identity: {} {} in {} partition \"{}\" ({}), geometry from {}", things,
                                   nvs ? "entries" : "files", title_of(image.format), partition.name,
                                   show_bytes(partition.range.size), image.geometry_from));
  plan.images.push_back(std::move(image));
  return ok();
}

}  // namespace

Result<void> build_on_trial(const Plan& plan, const ImagePlan& image, const BoardValues& values, const DiskFiles& disk,
                            const OnBoard& there) {
  BoardValues trial = largest_values(plan, image);
  trial.id = values.id;
  trial.mac = values.mac;
  trial.row = values.row;
  if (plan.aws) trial.endpoint = values.endpoint;
  if (!values.key_fields.empty()) trial.key_fields.clear();
  for (const Secret& field : values.key_fields) trial.key_fields.push_back(field.duplicate());
  if (!values.key_fields.empty()) trial.key_names = values.key_names;
  return try_to_build(image, trial, disk, there);
}

std::string digest_text(const ImageGeometry& geometry) {
  const FatGeometry& fat = geometry.fat;
  return fmt::format("{} {} {} {} {} {} {} {}", geometry.littlefs.block_size, geometry.littlefs.name_max,
                     fat.sector_size, fat.fat_type, fat.fat_count, fat.long_names,
                     geometry.wear_levelling ? static_cast<int>(geometry.wear_levelling->mode) : -1,
                     geometry.nvs_version);
}

Result<void> plan_images(const Recipe& recipe, const PlanOptions& options, FirmwareSet& set, Plan& plan) {
  TRY(plan.values, read_values(recipe, options));
  std::vector<RecipeImage> images = recipe.images;
  // With keys alone no identity partition is ever touched.
  if (images.empty() && (!recipe.keys || !options.partition.empty())) images.emplace_back();
  if (!options.partition.empty()) {
    if (images.size() > 1)
      return fail(wrong(Code::usage, "--partition is for one image, and the recipe has several", {},
                        "Name each one's partition in the recipe"));
    images.front().partition = options.partition;
  }
  for (const RecipeImage& image : images) {
    TRY(const Partition* partition, choose_partition(set.table, image.partition, image.format));
    if (!partition && !recipe.images.empty()) {
      ImageFormat format = image.format.value_or(ImageFormat::spiffs);
      return fail(wrong(
          Code::partition_missing,
          fmt::format("the recipe has an [[image]], but the partition table no {} partition for it", title_of(format)),
          {}, fmt::format("Add to partitions.csv: storage, data, {}, , 64K,", name_of(format))));
    }
    if (!partition) {
      plan.notes.push_back("no SPIFFS partition: boards are flashed, verified and recorded, but get no identity; " +
                           way_to_an_identity(set));
      continue;
    }
    for (const ImagePlan& other : plan.images)
      if (other.keys_partition && image.encryption == NvsEncryption::keys &&
          (image.keys_partition.empty() || image.keys_partition == other.keys_partition->name))
        return fail(wrong(Code::recipe_invalid,
                          fmt::format("two images have their keys in the partition \"{}\"", other.keys_partition->name),
                          {}, "Each encrypted NVS has an nvs_keys partition of its own: keys_partition"));
    for (const ImagePlan& other : plan.images)
      if (other.partition.range.overlaps(partition->range))
        return fail(wrong(Code::recipe_invalid, fmt::format("two images are for the partition \"{}\"", partition->name),
                          {}, "One [[image]] a partition"));
    TRY(plan_image(image, *partition, options, set, plan));
  }
  return ok();
}

}  // namespace espmint
