#include "recipe/firmware.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "image/file_kind.hpp"

namespace espmint {
namespace {

constexpr std::uint32_t default_table_offset = 0x8000, table_bytes = 0xc00;
constexpr std::string_view where_they_lie =
    "They usually lie in build/bootloader/ and build/partition_table/ (ESP-IDF), in .pio/build/ENV/ (PlatformIO), or "
    "beside "
    "the sketch after \"Export Compiled Binary\" (Arduino): name that folder with --firmware, or put them beside the "
    "app";

std::string join(const std::string& folder, const std::string& name) {
  if (folder.empty() || folder == "." || name.starts_with('/')) return name;
  return folder.back() == '/' ? folder + name : folder + "/" + name;
}
std::string parent_of(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : slash == 0 ? "/" : path.substr(0, slash);
}
std::string name_in(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Fault incomplete(std::string what, std::string seen = {}, std::string advice = std::string{where_they_lie}) {
  return {Code::firmware_incomplete, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
}

Result<const ChipSpec*> chip_of_image(const AppImage& image, const std::string& file) {
  if (const ChipSpec* chip = chip_with_image_id(image.chip_id)) return chip;
  Fault fault{Code::firmware_wrong_chip, Remedy::refuse,
              fmt::format("{} is for a chip that this version does not know", file)};
  std::string_view name = image_chip_name(image.chip_id);
  fault.seen = name.empty() ? fmt::format("chip id {} in its header", image.chip_id) : std::string{name};
  fault.advice =
      fmt::format("It knows {}: build for one of these, or flash this one with `esptool`", names_of_all_chips());
  return fail(std::move(fault));
}

/// The first of these files that is there.
std::optional<std::string> first_there(const Folder& folder, const std::vector<std::string>& paths) {
  for (const std::string& path : paths)
    if (folder.exists(path) && !folder.is_folder(path)) return path;
  return std::nullopt;
}

Result<FirmwarePart> read_part(const Folder& folder, const std::string& path, FlashOffset at) {
  FirmwarePart part{at, {}, path};
  TRY(part.bytes, folder.read(path));
  if (part.bytes.empty())
    return fail(
        {Code::input_invalid, Remedy::refuse, fmt::format("{} is empty", path), {}, {}, "Build the firmware again"});
  return part;
}

Result<PartitionTable> table_of(const FirmwarePart& part) {
  PartitionTableOptions options;
  options.offset = part.at;
  auto table = in_input(parse_partition_table(part.bytes, options), part.source);
  if (!table)
    table.error().code = Code::firmware_damaged;  // here it is a part of the firmware, not an input of its own
  return table;
}

void look_for_geometry(const Folder& folder, FirmwareSet& set, const std::vector<std::string>& places) {
  for (const std::string& path : places) {
    if (!folder.exists(path) || folder.is_folder(path)) continue;
    auto text = folder.read(path);
    if (!text) continue;
    set.geometry = spiffs_geometry_of_sdkconfig(as_text(*text));
    if (set.geometry) return;
  }
}

// ---------------------------------------------------------------------------------- ESP-IDF

/// The text at `key`; nothing for what is no object, has no such key, or no text there.
std::optional<std::string> text_at(const nlohmann::json& object, const char* key) {
  auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

std::optional<FlashOffset> offset_of(std::string_view text) {
  auto number = parse_number(text);
  if (!number || *number > 0xffff'ffff) return std::nullopt;
  return FlashOffset{static_cast<std::uint32_t>(*number)};
}

Result<FirmwareSet> from_flasher_args(const Folder& folder, const std::string& file) {
  TRY(Bytes text, folder.read(file));
  auto json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  auto wrong = [&file](std::string what) {
    return fail({Code::input_invalid,
                 Remedy::refuse,
                 std::move(what),
                 {.input = file},
                 {},
                 "Build the firmware again with ESP-IDF"});
  };
  if (json.is_discarded() || !json.is_object()) return wrong("this is no JSON object");
  if (!json.contains("flash_files") || !json["flash_files"].is_object() || json["flash_files"].empty())
    return wrong("\"flash_files\" is missing: it says which file goes where");
  FirmwareSet set;
  std::string base = parent_of(file);
  for (const auto& [offset, name] : json["flash_files"].items()) {
    auto at = offset_of(offset);
    if (!at || !name.is_string()) return wrong(fmt::format("\"{}\" is no offset of a file", offset));
    auto part = read_part(folder, join(base, name.get<std::string>()), *at);
    if (!part && part.error().code == Code::input_missing)
      return fail(incomplete(fmt::format("{} names {}, which is not there", file, name.get<std::string>()), {},
                             "Build the firmware again: `idf.py build`"));
    TRY(FirmwarePart found, std::move(part));
    set.parts.push_back(std::move(found));
  }
  // The table's own entry says where it is; else the part that reads as one.
  bool known = false;
  if (auto entry = json.find("partition-table"); entry != json.end()) {
    auto at = offset_of(text_at(*entry, "offset").value_or(""));
    if (at) set.table_at = *at;
    known = at.has_value();
  }
  if (!known) {
    for (const FirmwarePart& part : set.parts)
      if (part.bytes.size() >= 32 && part.bytes[0] == 0xaa && part.bytes[1] == 0x50) set.table_at = part.at;
  }
  // "detect" and "keep" are no sizes.
  if (auto settings = json.find("flash_settings"); settings != json.end())
    set.stated_flash_size = parse_number(text_at(*settings, "flash_size").value_or(""));
  look_for_geometry(folder, set,
                    {join(base, "config/sdkconfig.json"), join(base, "sdkconfig"), join(base, "../sdkconfig")});
  set.found_as = fmt::format("ESP-IDF build folder {}", base.empty() ? "." : base);
  return set;
}

// ---------------------------------------------------------------------------------- a merged image

/// Where in a merged file the flash's offset 0 would be: most start at 0, some at the ESP32's bootloader.
std::optional<std::uint32_t> merged_base(const Bytes& bytes) {
  for (std::uint32_t base : {0u, 0x1000u}) {
    std::uint32_t at = default_table_offset - base;
    if (bytes.size() < at + table_bytes || bytes[at] != 0xaa || bytes[at + 1] != 0x50) continue;
    if (parse_partition_table(ByteView{bytes}.subspan(at, table_bytes))) return base;
  }
  return std::nullopt;
}

bool is_blank(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0xff; });
}

Result<FirmwareSet> from_merged(const Bytes& bytes, std::uint32_t base, const std::string& file) {
  FirmwareSet set;
  auto cut = [&](std::uint32_t at, std::uint64_t size) {
    std::uint64_t from = at - base;
    return ByteView{bytes}.subspan(from, std::min<std::uint64_t>(size, bytes.size() - from));
  };
  auto take = [&](std::uint32_t at, ByteView content, std::string_view what) {
    set.parts.push_back({{at}, Bytes(content.begin(), content.end()), fmt::format("{} ({})", file, what)});
  };
  std::optional<std::uint32_t> bootloader_at;
  for (const ChipSpec& chip : all_chips()) {
    if (!has_recipes(chip)) continue;
    if (chip.bootloader.bytes < base || bytes.size() <= chip.bootloader.bytes - base) continue;
    auto image = parse_app_image(cut(chip.bootloader.bytes, default_table_offset - chip.bootloader.bytes));
    if (image && image->chip_id == chip.image_chip_id) {
      bootloader_at = chip.bootloader.bytes;
      take(chip.bootloader.bytes, cut(chip.bootloader.bytes, image->size), "bootloader");
    }
  }
  if (!bootloader_at)
    return fail(incomplete(
        fmt::format("{} is a merged image without a bootloader", file),
        "no image header where a chip's ROM looks for one",
        "Merge again with the bootloader at its chip's offset (ESP32 and S2: 0x1000, C5 and P4: 0x2000, others: 0x0)"));
  take(default_table_offset, cut(default_table_offset, table_bytes), "partition table");
  TRY(set.table, table_of(set.parts.back()));
  for (const Partition& partition : set.table.partitions) {
    if (partition.range.at.bytes < default_table_offset + table_bytes ||
        partition.range.at.bytes - base >= bytes.size())
      continue;
    ByteView content = cut(partition.range.at.bytes, partition.range.size);
    if (is_blank(content)) {
      std::uint32_t sectors = static_cast<std::uint32_t>(content.size() / 0x1000 * 0x1000);
      if (sectors > 0) set.blank.push_back({partition.range.at, sectors});
      continue;
    }
    // Behind an app there is padding, but first perhaps a signature.
    if (partition.is_app())
      while (content.back() == 0xff) content = content.first(content.size() - 1);
    if (auto image = parse_app_image(cut(partition.range.at.bytes, partition.range.size)); partition.is_app() && image)
      content = cut(partition.range.at.bytes, std::max<std::size_t>(image->size, content.size()));
    take(partition.range.at.bytes, content, partition.name);
    // A data partition is what it is to its last byte: where the file was cut short, what lay on the board before would
    // show behind it (an old otadata sector, old SPIFFS blocks).
    if (!partition.is_app()) set.parts.back().bytes.resize(partition.range.size, 0xff);
  }
  set.found_as = fmt::format("merged image {}", file);
  return set;
}

// ---------------------------------------------------------------------------------- an app and what lies beside it

struct WrongFile {
  FileKind kind;
  std::string_view advice;
};
constexpr std::string_view name_the_app = "Name the app, a merged image or the build folder with --firmware";
constexpr std::array wrong_files{
    WrongFile{FileKind::partition_table, "Name the app itself; its table is found beside it"},
    WrongFile{FileKind::partition_csv,
              "Name the app itself; the built table (partitions.bin, partition-table.bin) is found beside it"},
    WrongFile{FileKind::elf, "The linker's file is not what is flashed: name the .bin beside it, or the build folder"},
    WrongFile{FileKind::intel_hex, "ESP32 boards take binary images: name the build's .bin"},
    WrongFile{FileKind::uf2, "Name the build's .bin, from which the UF2 was packed"},
    WrongFile{FileKind::zip, "Unpack it and name the folder"},
    WrongFile{FileKind::gzip, "Unpack it and name what is in it"},
    WrongFile{FileKind::web_page, "Download the firmware again: this is the page around it"},
};

/// Says what a file is that is no app, and what to give instead.
Fault no_app(const std::string& file, FileKind kind) {
  Fault fault{
      Code::input_invalid,      Remedy::refuse, fmt::format("{} is {}, not firmware", file, title_of(kind)), {}, {},
      std::string{name_the_app}};
  for (const WrongFile& row : wrong_files)
    if (row.kind == kind) fault.advice = row.advice;
  return fault;
}

/// Whether platformio.ini gives LittleFS to the environment whose build folder is `beside`, for itself or for all.
bool pio_builds_littlefs(const Folder& folder, const std::string& beside) {
  std::string environment = name_in(beside), builds = parent_of(beside);
  if (builds != ".pio/build" && !builds.ends_with("/.pio/build")) return false;
  auto text =
      folder.read(join(builds.substr(0, builds.size() - std::string_view{".pio/build"}.size()), "platformio.ini"));
  if (!text) return false;
  bool ours = false, in_all = false;
  std::optional<bool> own, for_all;
  for (std::string_view line : split(as_text(*text), '\n')) {
    line = trim(line);
    if (line.starts_with('[')) {
      ours = line == "[env:" + environment + "]";
      in_all = line == "[env]";
    }
    auto equals = line.find('=');
    if (equals == std::string_view::npos || trim(line.substr(0, equals)) != "board_build.filesystem") continue;
    bool littlefs = trim(line.substr(equals + 1)).starts_with("littlefs");
    if (ours) own = littlefs;
    if (in_all) for_all = littlefs;
  }
  return own.value_or(for_all.value_or(false));
}

/// The file system image that PlatformIO and Arduino leave beside an app: what a SPIFFS partition brings, whose files
/// are merged with each board's.
Result<void> take_file_system(const Folder& folder, FirmwareSet& set, const std::string& beside,
                              const std::string& stem) {
  std::vector<const Partition*> homes;  // LittleFS bears SPIFFS's subtype in the tables of Arduino and PlatformIO
  for (const Partition& partition : set.table.partitions)
    if (partition.is_data(data_subtype_spiffs)) homes.push_back(&partition);
  auto littlefs = first_there(folder, {join(beside, "littlefs.bin"), join(beside, stem + ".littlefs.bin")});
  bool is_littlefs = littlefs || pio_builds_littlefs(folder, beside);
  std::string seen =
      littlefs ? *littlefs + " lies beside the app" : "platformio.ini says board_build.filesystem = littlefs";
  if (is_littlefs && homes.size() == 1) {
    Fault fault{Code::image_invalid,
                Remedy::refuse,
                "this firmware mounts LittleFS, and this version makes SPIFFS only",
                {},
                std::move(seen)};
    fault.advice =
        "Build the firmware with SPIFFS (board_build.filesystem = spiffs); where it does use SPIFFS, remove what says "
        "otherwise";
    return fail(std::move(fault));
  }
  if (is_littlefs) set.notes.push_back(fmt::format("LittleFS is left out, this version makes SPIFFS only: {}", seen));
  auto image = first_there(folder, {join(beside, "spiffs.bin"), join(beside, stem + ".spiffs.bin")});
  if (!image) return ok();
  if (homes.size() != 1) {
    set.notes.push_back(fmt::format("{} is left out: the table has {} to put it into", *image,
                                    homes.empty() ? "no SPIFFS partition" : "several SPIFFS partitions"));
    return ok();
  }
  TRY(FirmwarePart part, read_part(folder, *image, homes.front()->range.at));
  set.notes.push_back(
      fmt::format("{} lies beside the app and is taken for partition \"{}\"", *image, homes.front()->name));
  set.parts.push_back(std::move(part));
  return ok();
}

Result<FirmwareSet> from_app(const Folder& folder, const std::string& file) {
  FirmwareSet set;
  TRY(FirmwarePart app, read_part(folder, file, {}));
  FileKind kind = file_kind_of(app.bytes);
  if (kind != FileKind::esp_image && kind != FileKind::unknown) return fail(no_app(file, kind));
  auto image = in_input(parse_app_image(app.bytes), file);
  if (!image) return fail(std::move(image.error()));
  TRY(const ChipSpec* chip, chip_of_image(*image, file));

  std::string beside = parent_of(file), stem = name_in(file);
  if (stem.ends_with(".bin")) stem.resize(stem.size() - 4);
  auto candidates = [&](const std::vector<std::string>& names) {
    std::vector<std::string> out;
    for (const std::string& place : {beside, std::string{}})
      for (const std::string& name : names) out.push_back(join(place, name));
    return out;
  };
  auto bootloader =
      first_there(folder, candidates({stem + ".bootloader.bin", "bootloader.bin", "bootloader/bootloader.bin"}));
  auto table = first_there(folder, candidates({stem + ".partitions.bin", "partitions.bin", "partition.bin",
                                               "partition-table.bin", "partition_table/partition-table.bin"}));
  if (!bootloader || !table) {
    std::string missing;
    if (!bootloader) missing = fmt::format("bootloader.bin (for {:#x})", chip->bootloader.bytes);
    if (!table)
      missing += fmt::format("{}partitions.bin (for {:#x})", missing.empty() ? "" : " and ", default_table_offset);
    return fail(
        incomplete(fmt::format("{} is an app alone: {} {} missing", file, missing, bootloader || table ? "is" : "are"),
                   fmt::format("looked in {} and in the current folder", beside.empty() ? "." : beside)));
  }
  TRY(FirmwarePart bootloader_part, read_part(folder, *bootloader, chip->bootloader));
  TRY(FirmwarePart table_part, read_part(folder, *table, {default_table_offset}));
  TRY(set.table, table_of(table_part));
  const Partition* home = nullptr;
  for (const Partition& partition : set.table.partitions)
    if (partition.is_app() && (partition.subtype == 0x00 || (partition.subtype == 0x10 && !home))) home = &partition;
  if (!home)
    return fail({Code::firmware_does_not_fit,
                 Remedy::refuse,
                 fmt::format("{} has no partition for an app", *table),
                 {},
                 {},
                 "It needs \"factory\" or \"ota_0\""});
  app.at = home->range.at;
  set.parts.push_back(std::move(bootloader_part));
  set.parts.push_back(std::move(table_part));
  set.parts.push_back(std::move(app));
  for (const Partition& partition : set.table.partitions) {
    if (!partition.is_data(data_subtype_ota)) continue;
    if (auto otadata = first_there(folder, candidates({"boot_app0.bin", "ota_data_initial.bin"}))) {
      TRY(FirmwarePart part, read_part(folder, *otadata, partition.range.at));
      set.parts.push_back(std::move(part));
    }
  }
  TRY(take_file_system(folder, set, beside, stem));
  look_for_geometry(folder, set, candidates({"sdkconfig", "config/sdkconfig.json"}));
  set.found_as = fmt::format("app {} with {} and {}", file, *bootloader, *table);
  return set;
}

Result<FirmwareSet> from_file(const Folder& folder, const std::string& file) {
  if (file.ends_with(".json")) return from_flasher_args(folder, file);
  TRY(Bytes bytes, folder.read(file));
  if (auto base = merged_base(bytes)) return from_merged(bytes, *base, file);
  return from_app(folder, file);
}

// ---------------------------------------------------------------------------------- folders

std::vector<std::string> files_ending(const Folder& folder, const std::string& path, std::string_view ending) {
  std::vector<std::string> out;
  for (const std::string& name : folder.list(path))
    if (name.ends_with(ending)) out.push_back(join(path, name));
  return out;
}

/// The apps among an Arduino folder's files: "blink.ino.bin", not "blink.ino.bootloader.bin".
std::vector<std::string> arduino_apps(const Folder& folder, const std::string& path) {
  return files_ending(folder, path, ".ino.bin");
}

Result<std::string> only_one(const std::vector<std::string>& files, std::string_view what) {
  if (files.size() == 1) return files.front();
  Fault fault{Code::usage, Remedy::refuse, fmt::format("there are several {} here", what)};
  for (const std::string& file : files) fault.seen += (fault.seen.empty() ? "" : ", ") + file;
  fault.advice = "Say which with --firmware";
  return fail(std::move(fault));
}

Result<FirmwareSet> from_folder(const Folder& folder, const std::string& path) {
  for (const char* name : {"flasher_args.json", "build/flasher_args.json"})
    if (folder.exists(join(path, name))) return from_flasher_args(folder, join(path, name));
  std::vector<std::string> sketches = arduino_apps(folder, path);
  if (sketches.empty())  // Arduino 2: build/<board>/sketch.ino.bin
    for (const std::string& board : folder.list(join(path, "build")))
      for (std::string& app : arduino_apps(folder, join(path, "build/" + board))) sketches.push_back(std::move(app));
  if (!sketches.empty()) {
    TRY(std::string sketch, only_one(sketches, "sketches"));
    return from_app(folder, sketch);
  }
  if (folder.exists(join(path, "firmware.bin"))) return from_file(folder, join(path, "firmware.bin"));
  std::vector<std::string> environments;
  for (const std::string& name : folder.list(join(path, ".pio/build")))
    if (folder.exists(join(path, ".pio/build/" + name + "/firmware.bin")))
      environments.push_back(join(path, ".pio/build/" + name + "/firmware.bin"));
  if (!environments.empty()) {
    TRY(std::string app, only_one(environments, "PlatformIO environments"));
    return from_app(folder, app);
  }
  for (const char* name : {"merged-binary.bin", "merged.bin"})
    if (folder.exists(join(path, name))) return from_file(folder, join(path, name));
  return fail(incomplete(fmt::format("no firmware is in {}", path.empty() ? "this folder" : path),
                         "no flasher_args.json, *.ino.bin, firmware.bin or .pio/build",
                         "Build it, or name a build folder, a merged image or an app with --firmware"));
}

Result<void> name_it(FirmwareSet& set, const std::string& path) {
  for (const FirmwarePart& part : set.parts) {
    auto image = parse_app_image(part.bytes);
    if (!image || !image->description || part.at < set.table_at) continue;
    set.project = image->description->project_name;
    set.version = image->description->version;
    break;
  }
  // Arduino's cores all say the same name.
  bool says_nothing = set.project.empty() || set.project == "arduino-lib-builder";
  if (says_nothing) {
    std::string name = name_in(path);
    for (std::string_view ending : {".bin", ".ino"})
      if (name.ends_with(ending)) name.resize(name.size() - ending.size());
    set.project = name.empty() || name == "." || name == "build" ? "firmware" : name;
    set.named_after_file = true;
  }
  return ok();
}

}  // namespace

std::optional<SpiffsGeometry> spiffs_geometry_of_sdkconfig(std::string_view text) {
  std::map<std::string, std::string, std::less<>> values;
  if (auto json = nlohmann::json::parse(text, nullptr, false); json.is_object()) {
    for (const auto& [key, value] : json.items())
      if (key.starts_with("SPIFFS_")) values[key] = value.is_boolean() ? (value.get<bool>() ? "y" : "n") : value.dump();
  } else {
    for (std::string_view line : split(text, '\n')) {
      line = trim(line);
      constexpr std::string_view prefix = "CONFIG_";
      auto equals = line.find('=');
      if (!line.starts_with("CONFIG_SPIFFS_") || equals == std::string_view::npos) continue;
      values.emplace(line.substr(prefix.size(), equals - prefix.size()), line.substr(equals + 1));
    }
  }
  auto number = [&values](std::string_view key, std::uint32_t& out) {
    auto there = values.find(key);
    auto value = there == values.end() ? std::nullopt : parse_number(there->second);
    if (value && *value > 0 && *value <= 0x1'0000) out = static_cast<std::uint32_t>(*value);
    return value.has_value();
  };
  SpiffsGeometry geometry;
  if (!number("SPIFFS_PAGE_SIZE", geometry.page_size)) return std::nullopt;
  (void)number("SPIFFS_OBJ_NAME_LEN", geometry.name_length);
  if (!number("SPIFFS_META_LENGTH", geometry.meta_length)) geometry.meta_length = 4;
  auto yes = [&values](std::string_view key) {
    auto there = values.find(key);
    return there != values.end() && there->second == "y";
  };
  geometry.magic = yes("SPIFFS_USE_MAGIC");
  geometry.magic_length = yes("SPIFFS_USE_MAGIC_LENGTH");
  return geometry;
}

Result<FirmwareSet> find_firmware(const Folder& folder, const std::string& path, const FirmwareOptions& options) {
  if (!path.empty() && !folder.exists(path))
    return fail({Code::input_missing,
                 Remedy::refuse,
                 fmt::format("{} is not there", path),
                 {},
                 {},
                 "Name a build folder, a merged image or an app"});
  bool is_folder = path.empty() || folder.is_folder(path);
  std::string named = path;
  while (named.size() > 1 && named.back() == '/') named.pop_back();
  if (named == ".") named.clear();
  TRY(FirmwareSet set, is_folder ? from_folder(folder, named) : from_file(folder, named));
  std::sort(set.parts.begin(), set.parts.end(),
            [](const FirmwarePart& a, const FirmwarePart& b) { return a.at < b.at; });
  bool has_table = false;
  for (const FirmwarePart& part : set.parts) {
    if (part.at != set.table_at) continue;
    has_table = true;
    TRY(set.table, table_of(part));
  }
  if (!has_table)
    return fail(incomplete(fmt::format("{} has no partition table", set.found_as),
                           fmt::format("nothing for {:#x}", set.table_at.bytes)));

  const ChipSpec* wanted = nullptr;
  if (options.chip != "auto" && !options.chip.empty()) {
    wanted = chip_named(options.chip);
    if (!wanted)
      return fail({Code::usage,
                   Remedy::refuse,
                   fmt::format("\"{}\" is no chip that this version knows", options.chip),
                   {},
                   {},
                   fmt::format("It knows {}", names_of_all_chips())});
  }
  for (const FirmwarePart& part : set.parts) {
    auto image = parse_app_image(part.bytes);
    if (!image) continue;
    TRY(const ChipSpec* chip, chip_of_image(*image, part.source));
    if (wanted && chip != wanted)
      return fail({Code::firmware_wrong_chip,
                   Remedy::refuse,
                   fmt::format("{} is for {}, not for {}", part.source, chip->title, wanted->title),
                   {},
                   {},
                   "Check --chip and the recipe's chip, or build for that chip"});
    if (set.chip && chip != set.chip)
      return fail({Code::firmware_wrong_chip,
                   Remedy::refuse,
                   fmt::format("{} is for {}, the rest is for {}", part.source, chip->title, set.chip->title),
                   {},
                   {},
                   "Clean and build again"});
    set.chip = chip;
  }
  if (!set.chip) return fail(incomplete(fmt::format("{} has neither bootloader nor app", set.found_as)));
  TRY(name_it(set, named));
  TRY(check_firmware(set));
  return set;
}

}  // namespace espmint
