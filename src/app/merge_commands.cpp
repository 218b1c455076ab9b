#include <fmt/format.h>

#include <algorithm>

#include "app/app_image_report.hpp"
#include "app/flash_header_words.hpp"
#include "app/image_command.hpp"
#include "app/workspace.hpp"
#include "base/hash.hpp"
#include "chip/chip.hpp"
#include "image/merge.hpp"
#include "recipe/firmware.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

void offset_option(CLI::App& command, const std::string& name, std::optional<FlashOffset>& target,
                   const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&target, name](const std::string& text) {
            std::optional<std::uint64_t> number = parse_number(text);
            if (!number || *number > std::numeric_limits<std::uint32_t>::max())
              throw CLI::ValidationError(name, "'" + text + "' is no flash offset (0x1000, 64K)");
            target = FlashOffset{static_cast<std::uint32_t>(*number)};
          },
          help)
      ->type_name("N");
}

// ---------------------------------------------------------------- merge

struct MergeCommandOptions : ImageOptions {
  std::vector<std::string> inputs;  // OFFSET FILE …, or one folder or flasher_args.json
  FlashHeaderWords header;
  std::string chip = "auto";
  std::optional<FlashOffset> target;
  ByteCount fill_to = 0;
};

struct MergeFile {
  FlashOffset at;
  std::string source;
  Bytes bytes;
  FileMode mode = FileMode::everyone;
};

/// What is to be merged, and what the input says of the whole.
struct MergeInput {
  std::vector<MergeFile> files;
  const ChipSpec* chip = nullptr;
  FlashOffset target{};
  std::optional<ByteCount> fill_to;
};

Result<FlashOffset> offset_of_word(std::string_view word, std::string_view whose) {
  auto number = parse_number(word);
  if (!number || *number > 0xffff'ffff)
    return fail(bad_input(Code::usage, fmt::format("'{}' is no offset for {}", word, whose), {},
                          "write OFFSET FILE OFFSET FILE …, such as 0x10000 app.bin"));
  return FlashOffset{static_cast<std::uint32_t>(*number)};
}

Result<MergeInput> input_of_pairs(const std::vector<std::string>& words) {
  MergeInput out;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    if (i + 1 == words.size())
      return fail(bad_input(Code::usage, fmt::format("there is no file for '{}'", words[i]), {},
                            "write OFFSET FILE OFFSET FILE …, or name one build folder"));
    MergeFile file{.at = {}, .source = words[i + 1], .bytes = {}, .mode = mode_like(words[i + 1])};
    TRY(file.at, offset_of_word(words[i], file.source));
    TRY(file.bytes, read_file(file.source));
    out.files.push_back(std::move(file));
  }
  return out;
}

/// Its "flash_files"; "merged" is what `image split` adds. Other than a line's firmware set, this may be a dump with
/// damaged or missing parts.
Result<MergeInput> input_of_flasher_args(const fs::path& path) {
  TRY(Bytes text, read_file(path));
  Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  auto wrong = [&path](std::string what) {
    Fault fault = bad_input(Code::input_invalid, std::move(what));
    fault.where.input = path.string();
    return fail(std::move(fault));
  };
  auto member = [](const Json& object, const char* key) {
    auto found = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && found != object.end() ? *found : Json{};
  };
  Json list = member(json, "flash_files");
  if (!list.is_object() || list.empty()) return wrong("\"flash_files\" is missing: it says which file goes where");
  MergeInput out;
  for (const auto& [offset, name] : list.items()) {
    if (!name.is_string()) return wrong(fmt::format("\"{}\" names no file", offset));
    MergeFile file{.at = {}, .source = (path.parent_path() / name.get<std::string>()).string(), .bytes = {}};
    auto at = parse_number(offset);
    if (!at || *at > 0xffff'ffff) return wrong(fmt::format("\"{}\" is no offset", offset));
    file.at.bytes = static_cast<std::uint32_t>(*at);
    file.mode = mode_like(file.source);
    TRY(file.bytes, read_file(file.source));
    out.files.push_back(std::move(file));
  }
  if (Json chip = member(member(json, "extra_esptool_args"), "chip"); chip.is_string())
    out.chip = chip_named(chip.get<std::string>());
  if (Json whole = member(json, "merged"); whole.is_object()) {
    Json offset = member(whole, "offset"), size = member(whole, "size");
    auto at = offset.is_string() ? parse_number(offset.get<std::string>()) : std::nullopt;
    if (!at || *at > 0xffff'ffff || !size.is_number_unsigned() || size.get<std::uint64_t>() > 0x1'0000'0000 - *at)
      return wrong("\"merged\" must have an \"offset\" and a \"size\" within 4 GB");
    out.target.bytes = static_cast<std::uint32_t>(*at);
    out.fill_to = *at + size.get<std::uint64_t>();
  }
  return out;
}

/// Arduino's and PlatformIO's folders, as `run --firmware` finds what is in them.
Result<MergeInput> input_of_folder(const std::string& folder, const std::string& chip) {
  TRY(FirmwareSet set, find_firmware(RealFolder{}, folder, {.chip = chip}));
  MergeInput out;
  out.chip = set.chip;
  for (FirmwarePart& part : set.parts) out.files.push_back({part.at, part.source, std::move(part.bytes)});
  return out;
}

Result<MergeInput> read_merge_input(const MergeCommandOptions& options) {
  if (options.inputs.size() != 1) return input_of_pairs(options.inputs);
  fs::path path = options.inputs.front();
  std::error_code error;
  if (path.extension() == ".json") return input_of_flasher_args(path);
  if (!fs::exists(path, error))
    return fail(bad_input(Code::input_missing, fmt::format("there is no '{}'", path.string()), {},
                          "write OFFSET FILE OFFSET FILE …, or name one build folder"));
  for (const char* name : {"flasher_args.json", "build/flasher_args.json"})
    if (fs::exists(path / name, error)) return input_of_flasher_args(path / name);
  return input_of_folder(path.string(), options.chip);
}

Result<void> check_chips(const MergeInput& input, const ChipSpec& chip) {
  for (const MergeFile& file : input.files) {
    auto image = parse_app_image(file.bytes);
    if (!image || !has_recipes(chip) || image->chip_id == chip.image_chip_id) continue;
    return fail(bad_input(Code::firmware_wrong_chip,
                          fmt::format("{} is for {}, not for {}", file.source, chip_text(*image), chip.name), {},
                          "check --chip, or build for that chip"));
  }
  return ok();
}

/// The chip in whose bootloader's place a bootloader for it lies.
const ChipSpec* chip_of_bootloader(const MergeInput& input) {
  for (const MergeFile& file : input.files) {
    auto image = parse_app_image(file.bytes);
    const ChipSpec* chip = image ? chip_with_image_id(image->chip_id) : nullptr;
    if (chip != nullptr && chip->bootloader == file.at) return chip;
  }
  return nullptr;
}

Result<Exit> merge_command(const MergeCommandOptions& options) {
  TRY(MergeInput input, read_merge_input(options));
  const ChipSpec* chip = input.chip;
  if (options.chip != "auto") {
    TRY(chip, chip_of_word(options.chip));
  }
  if (chip != nullptr) TRY(check_chips(input, *chip));
  // Whose image it is, is a question of digests: asked where the answer is needed.
  if (chip == nullptr && (options.json || options.header.any())) chip = chip_of_bootloader(input);

  MergeOptions merge{.target = input.target, .fill_to = input.fill_to, .bootloader = {}, .header = {}};
  if (options.target) merge.target = *options.target;
  if (options.fill_to != 0) merge.fill_to = options.fill_to;
  if (chip != nullptr) merge.bootloader = chip->bootloader;
  TRY(merge.header, options.header.chosen(chip));
  std::vector<MergePart> parts;
  FileMode mode = FileMode::everyone;
  for (const MergeFile& file : input.files) {
    parts.push_back({file.at, file.bytes, file.source});
    if (file.mode == FileMode::owner_only) mode = FileMode::owner_only;
  }
  TRY(Bytes whole, merge_parts(parts, merge));
  TRY(write_file(options.out, whole, mode));

  if (options.json) {
    Json list = Json::array();
    for (const MergePart& part : parts)
      list.push_back({{"offset", part.at.bytes}, {"file", part.source}, {"size", part.bytes.size()}});
    print_json({{"v", 1},
                {"out", options.out},
                {"size", whole.size()},
                {"sha256", to_hex(sha256_of(whole))},
                {"offset", merge.target.bytes},
                {"chip", chip ? Json(chip->name) : Json{}},
                {"parts", std::move(list)}});
    return Exit::good;
  }
  for (const MergePart& part : parts)
    if (options.verbose) say(options, fmt::format("{:>#10x} {:>9}  {}", part.at.bytes, part.bytes.size(), part.source));
  say(options, fmt::format("{}: {} parts in {} bytes, for offset {:#x}", options.out, parts.size(), whole.size(),
                           merge.target.bytes));
  return Exit::good;
}

// ---------------------------------------------------------------- split

struct SplitCommandOptions : ImageOptions {
  std::optional<FlashOffset> target, table_at;
};

std::string_view word_of(SplitKind kind) {
  switch (kind) {
    case SplitKind::bootloader:
      return "bootloader";
    case SplitKind::partition_table:
      return "partition-table";
    case SplitKind::app:
      return "app";
    case SplitKind::data:
      return "data";
    case SplitKind::unlisted:
      return "unlisted";
  }
  return {};
}

std::string hex_of(FlashOffset at) { return fmt::format("{:#x}", at.bytes); }

/// The shape of ESP-IDF's flasher_args.json, so that whatever flashes a build folder flashes this one, and `merge`
/// makes the same file of it again.
Json index_of(const SplitFlash& split, ByteCount size) {
  Json json{{"write_flash_args", Json::array()}, {"flash_settings", Json::object()}, {"flash_files", Json::object()}};
  auto setting = [&json](const char* name, std::string_view value) {
    if (value.empty()) return;
    json["write_flash_args"].push_back(fmt::format("--{}", name));
    json["write_flash_args"].push_back(value);
    json["flash_settings"][name] = value;
  };
  if (const auto& image = split.bootloader) {
    auto flash_size = flash_size_of_code(image->flash_size_code);
    setting("flash_mode", flash_mode_name(image->flash_mode));
    setting("flash_size", flash_size ? fmt::format("{}MB", *flash_size / 1_MiB) : std::string{});
    setting("flash_freq", flash_frequency_name(image->flash_frequency_code, image->chip_id));
  }
  for (const SplitPart& part : split.parts) {
    json["flash_files"][hex_of(part.at)] = part.name;
    std::string_view key = word_of(part.kind);
    if (part.kind == SplitKind::data || part.kind == SplitKind::unlisted || json.contains(key)) continue;
    json[key] = {{"offset", hex_of(part.at)}, {"file", part.name}, {"encrypted", "false"}};
  }
  if (split.bootloader)
    if (auto chip = image_chip_name(split.bootloader->chip_id); !chip.empty())
      json["extra_esptool_args"] = {
          {"after", "hard_reset"}, {"before", "default_reset"}, {"stub", true}, {"chip", chip}};
  json["merged"] = {{"offset", hex_of(split.target)}, {"size", size}};
  return json;
}

std::vector<FlashOffset> places_of_bootloaders() {
  std::vector<FlashOffset> out;
  for (const ChipSpec& chip : all_chips())
    if (has_recipes(chip) && std::find(out.begin(), out.end(), chip.bootloader) == out.end())
      out.push_back(chip.bootloader);
  std::sort(out.begin(), out.end());
  return out;
}

/// Whether a board has written into the partitions for settings and keys.
bool holds_secrets(const SplitFlash& split) {
  for (const Partition& partition : split.table.partitions) {
    if (!partition.is_data(data_subtype_nvs) && !partition.is_data(data_subtype_nvs_keys)) continue;
    for (const SplitPart& part : split.parts)
      if (part.at == partition.range.at) return true;
  }
  return false;
}

Result<Exit> split_command(const SplitCommandOptions& options) {
  TRY(Bytes bytes, read_file(options.file));
  std::vector<FlashOffset> bootloaders = places_of_bootloaders();
  SplitOptions chosen{.target = options.target, .table_at = options.table_at, .bootloaders = bootloaders};
  TRY(SplitFlash split, in_input(split_flash(bytes, chosen), options.file));

  std::vector<FileOwned> files;
  Json parts = Json::array();
  for (const SplitPart& part : split.parts) {
    files.push_back({part.name, Bytes(part.bytes.begin(), part.bytes.end())});
    parts.push_back(
        {{"offset", part.at.bytes}, {"file", part.name}, {"kind", word_of(part.kind)}, {"size", part.bytes.size()}});
    if (options.verbose) say(options, fmt::format("{:>#10x} {:>9}  {}", part.at.bytes, part.bytes.size(), part.name));
  }
  files.push_back({"flasher_args.json",
                   to_bytes(index_of(split, bytes.size()).dump(2, ' ', false, Json::error_handler_t::replace) + "\n")});
  auto tell = [&options](const std::vector<std::string>& names, std::string_view what) {
    if (!names.empty()) note(options, fmt::format("{} {}", fmt::join(names, ", "), what));
  };
  if (!options.json) {
    tell(split.blank, "erased: no file");
    tell(split.beyond, "past the end of the file");
  }
  // Of a board's flash some parts are keys: all are as hard to read as one.
  return extract_files(options, files, {{"parts", std::move(parts)}, {"blank", split.blank}, {"beyond", split.beyond}},
                       holds_secrets(split));
}

}  // namespace

void add_merge(CLI::App& image, const Finish& finish) {
  auto merge = std::make_shared<MergeCommandOptions>();
  CLI::App& m =
      add_command(image, "merge", "Files and their offsets, or a build folder, as one file for one write",
                  "  espmint image merge 0x1000 bootloader.bin 0x8000 partition-table.bin 0x10000 app.bin -o all.bin\n"
                  "  espmint image merge build -o all.bin --fill-to 4MB\n",
                  merge, &merge_command, finish);
  m.add_option("input", merge->inputs, "OFFSET FILE …; or one folder or flasher_args.json")
      ->required()
      ->type_name("OFFSET FILE");
  m.add_option("--chip", merge->chip, "The images must be for it (auto: what the bootloader says)")->type_name("CHIP");
  add_flash_header(m, merge->header, {"keep", "keep", "keep"});
  offset_option(m, "--target-offset", merge->target, "Where the merged file will be written (0)");
  number_option(m, "--fill-to", merge->fill_to, "Erased flash behind it up to this size, such as 4MB");
  m.add_option("-o,--output", merge->out, "File to write")->required()->type_name("OUT");

  auto split = std::make_shared<SplitCommandOptions>();
  CLI::App& s = add_command(image, "split", "A merged file or a dump of the flash as bootloader, table and partitions",
                            "  espmint image split all.bin -o parts\n  espmint image merge parts -o again.bin\n", split,
                            &split_command, finish);
  s.add_option("file", split->file, "Merged file or dump")->required()->type_name("FILE");
  s.add_option("-o,--output", split->out, "Folder to write into (one named after the file)")->type_name("DIR");
  s.add_flag("--force", split->force, "Overwrite files that are there and differ");
  offset_option(s, "--target-offset", split->target, "Flash offset of the file's first byte (found by the table)");
  offset_option(s, "--table-offset", split->table_at, "Where the partition table lies (0x8000, else found)");
}

}  // namespace espmint::app
