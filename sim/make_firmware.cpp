#include "sim/make_firmware.hpp"

#include <fmt/format.h>

#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "sim/app_firmware.hpp"
#include "sim/chips.hpp"
#include "sim/dice.hpp"
#include "sim/digest.hpp"

namespace espmint::sim {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::size_t header_bytes = 24, short_header_bytes = 8, segment_header_bytes = 8;

/// Where a chip's segments go. Source: Technical Reference Manuals, memory maps; ESP-IDF's linker scripts. The ESP8266
/// as its RTOS SDK builds for it.
struct Layout {
  std::string_view chip;
  std::uint32_t drom, irom, dram, iram, loader_dram, loader_iram, loader_iram2;
  std::uint8_t frequency_code;
  std::string_view frequency;
};
constexpr std::array layouts{
    Layout{"esp32", 0x3f40'0000, 0x400d'0000, 0x3ffb'0000, 0x4008'0000, 0x3fff'0030, 0x4007'8000, 0x4008'0400, 0x0,
           "40m"},
    Layout{"esp32c3", 0x3c00'0000, 0x4200'0000, 0x3fc8'a000, 0x4038'0000, 0x3fcd'5820, 0x403c'c710, 0x4038'0400, 0xf,
           "80m"},
    Layout{"esp32s3", 0x3c00'0000, 0x4200'0000, 0x3fc9'1000, 0x4037'4000, 0x3fce'3808, 0x403c'9700, 0x4037'4400, 0xf,
           "80m"},
    Layout{"esp32s2", 0x3f00'0000, 0x4008'0000, 0x3ffc'0000, 0x4002'4000, 0x3ffe'5000, 0x4004'a000, 0x4004'e000, 0xf,
           "80m"},
    Layout{"esp32c2", 0x3c00'0000, 0x4200'0000, 0x3fca'8000, 0x4037'c000, 0x3fcd'5b70, 0x403a'eb70, 0x403a'c370, 0xf,
           "60m"},
    Layout{"esp32c6", 0x42a0'0000, 0x4200'0000, 0x4080'0000, 0x4081'0000, 0x4087'5610, 0x4086'e610, 0x4086'b910, 0x0,
           "80m"},
    Layout{"esp32h2", 0x42a0'0000, 0x4200'0000, 0x4080'0000, 0x4081'0000, 0x4084'5fd0, 0x4083'efd0, 0x4083'c2d0, 0xf,
           "48m"},
    Layout{"esp32c5", 0x4300'0000, 0x4200'0000, 0x4080'0000, 0x4081'0000, 0x4085'55a0, 0x4084'e5a0, 0x4084'bba0, 0xf,
           "80m"},
    Layout{"esp32c61", 0x4300'0000, 0x4200'0000, 0x4080'0000, 0x4081'0000, 0x4084'5670, 0x4083'e670, 0x4083'b970, 0xf,
           "80m"},
    Layout{"esp32p4", 0x4200'0000, 0x4000'0000, 0x4ff4'0000, 0x4ff0'0000, 0x4ff3'3bd0, 0x4ff2'bbd0, 0x4ff2'8ed0, 0xf,
           "80m"},
    Layout{"esp8266", 0x4028'0000, 0x4020'0000, 0x3ffe'8000, 0x4010'0000, 0x3ffe'8000, 0x4010'0000, 0x4010'8000, 0x0,
           "40m"},
};

struct Segment {
  std::uint32_t address;
  Bytes data;
};

/// Compresses to about 0.59 of its size, as ESP-IDF apps do: fresh bytes and pieces of what came before, by turns.
Bytes code_like(Dice& dice, std::size_t bytes) {
  Bytes out;
  out.reserve(bytes + 32);
  while (out.size() < bytes) {
    if (out.size() < 64 || dice.below(1000) < 575) {
      for (int i = 0; i < 8; ++i) out.push_back(dice.byte());
    } else {
      std::size_t back = 1 + dice.below(std::min<std::size_t>(out.size(), 16 * 1024));
      std::size_t length = 6 + dice.below(14);
      for (std::size_t i = 0; i < length; ++i) out.push_back(out[out.size() - back]);
    }
  }
  out.resize(bytes);
  return out;
}

Bytes text_field(std::string_view text, std::size_t width) {
  Bytes out = to_bytes(text.substr(0, width - 1));
  out.resize(width, 0);
  return out;
}

/// Source: ESP-IDF, App Image Format, Application Description.
Bytes app_description(const FirmwareOptions& options, Dice& dice) {
  Bytes out;
  put_u32(out, 0xabcd'5432);
  put_u32(out, 0);  // secure version
  out.resize(16, 0);
  append(out, text_field(options.version, 32));
  append(out, text_field(options.project, 32));
  append(out, text_field("12:00:00", 16));
  append(out, text_field("Jan  1 2026", 16));
  append(out, text_field("v5.1.2", 32));
  for (int i = 0; i < 32; ++i) out.push_back(dice.byte());  // of an ELF file that never was
  out.resize(app_description_bytes, 0);
  return out;
}

/// The size in the high half of the header's fourth byte.
unsigned size_code_of(const ChipRow& chip, ByteCount flash_size) {
  auto doublings = static_cast<unsigned>(std::bit_width(flash_size >> 20) - 1);
  if (!chip.bare_rom) return doublings;  // 1 MB is 0, 2 MB is 1, 4 MB is 2
  constexpr std::array<std::uint8_t, 5> codes{2, 3, 4, 8, 9};
  return codes[std::min<std::size_t>(doublings, codes.size() - 1)];
}

Bytes image(const ChipRow& chip, const Layout& layout, ByteCount flash_size, const std::vector<Segment>& segments,
            std::uint32_t entry) {
  Bytes out{image_magic, static_cast<std::uint8_t>(segments.size()), 0x02,
            static_cast<std::uint8_t>(size_code_of(chip, flash_size) << 4 | layout.frequency_code)};
  put_u32(out, entry);
  if (!chip.bare_rom) {
    append(out, std::array<std::uint8_t, 4>{0xee, 0, 0, 0});  // no write-protect pin; default drive
    put_u16(out, chip.image_chip_id);
    out.push_back(0);   // oldest revision, old style
    put_u16(out, 0);    // oldest revision
    put_u16(out, 399);  // newest revision, 3.99
    out.resize(header_bytes - 1, 0);
    out.push_back(1);  // a digest follows
  }
  std::uint8_t checksum = 0xef;
  for (const Segment& segment : segments) {
    put_u32(out, segment.address);
    put_u32(out, static_cast<std::uint32_t>(segment.data.size()));
    append(out, segment.data);
    for (std::uint8_t byte : segment.data) checksum = static_cast<std::uint8_t>(checksum ^ byte);
  }
  out.resize(out.size() | 15, 0);
  out.push_back(checksum);
  if (!chip.bare_rom) append(out, digest(EVP_sha256(), out));
  return out;
}

/// What an image is besides its segments: header, checksum, digest.
std::size_t frame_bytes(const ChipRow& chip) {
  return chip.bare_rom ? short_header_bytes + 16 : header_bytes + 16 + digest_bytes;
}

Bytes make_app(const FirmwareOptions& options, const ChipRow& chip, const Layout& layout) {
  Dice dice{options.seed * 2 + 1};
  std::size_t whole = (options.app_bytes + 15) / 16 * 16;
  std::size_t data = whole - frame_bytes(chip) - 4 * segment_header_bytes;
  std::size_t dram = std::min<std::size_t>(0x3000, data / 16) & ~std::size_t{3};
  std::size_t iram = std::min<std::size_t>(chip.bare_rom ? 0x6000 : 0x12000, data / 8) & ~std::size_t{3};
  std::size_t drom = (data / 6) & ~std::size_t{3};
  std::size_t irom = data - dram - iram - drom;
  std::vector<Segment> segments;
  // Mapped segments lie at the same place within 64 KiB in flash and in memory.
  std::size_t at = (chip.bare_rom ? short_header_bytes : header_bytes) + segment_header_bytes;
  Bytes read_only = app_description(options, dice);
  if (options.app != all_app_kinds().front().name)
    append(read_only, text_field(std::string{app_marker} + options.app, app_marker_bytes));
  append(read_only, code_like(dice, drom - read_only.size()));
  segments.push_back({layout.drom + static_cast<std::uint32_t>(at), std::move(read_only)});
  at += drom + segment_header_bytes;
  segments.push_back({layout.dram, code_like(dice, dram)});
  at += dram + segment_header_bytes;
  segments.push_back({layout.iram, code_like(dice, iram)});
  at += iram + segment_header_bytes;
  segments.push_back({layout.irom + static_cast<std::uint32_t>(at % 0x10000), code_like(dice, irom)});
  return image(chip, layout, options.flash_size, segments, layout.iram + 0x154);
}

Bytes make_bootloader(const FirmwareOptions& options, const ChipRow& chip, const Layout& layout) {
  Dice dice{options.seed * 2 + 2};
  std::size_t room = 0x8000 - chip.bootloader_offset;  // up to the partition table
  std::size_t data =
      std::min<std::size_t>(options.bootloader_bytes, room) - frame_bytes(chip) - 3 * segment_header_bytes;
  data &= ~std::size_t{15};
  std::size_t first = (data / 4) & ~std::size_t{3}, second = (data / 2) & ~std::size_t{3};
  std::vector<Segment> segments{{layout.loader_dram, code_like(dice, first)},
                                {layout.loader_iram, code_like(dice, second)},
                                {layout.loader_iram2, code_like(dice, data - first - second)}};
  return image(chip, layout, options.flash_size, segments, layout.loader_iram2 + 0x2a4);
}

struct TableRow {
  std::string_view label, type_name, subtype_name;
  std::uint8_t type, subtype;
  std::uint32_t at, bytes;
  bool encrypted = false;  // where the flash is
};

/// Source: ESP-IDF, Partition Tables. Rows of 32 bytes, an MD5 row, blank to 0xc00.
Bytes make_table(const std::vector<TableRow>& rows) {
  Bytes out;
  for (const TableRow& row : rows) {
    put_u16(out, 0x50aa);
    out.push_back(row.type);
    out.push_back(row.subtype);
    put_u32(out, row.at);
    put_u32(out, row.bytes);
    append(out, text_field(row.label, 16));
    put_u32(out, row.encrypted ? 1 : 0);
  }
  Bytes sum = digest(EVP_md5(), out);
  put_u16(out, 0xebeb);
  out.resize(out.size() + 14, 0xff);
  append(out, sum);
  out.resize(0xc00, 0xff);
  return out;
}

using Setting = std::pair<std::string_view, Json>;

/// The partition for the identity, and what menuconfig says of its driver. Source: ESP-IDF and esp_littlefs, Kconfig.
struct IdentityKind {
  std::string_view name, label, subtype_name;
  std::uint8_t subtype;
  bool has_keys = false;
};
constexpr std::array identity_kinds{
    IdentityKind{"spiffs", "storage", "spiffs", 0x82},
    IdentityKind{"littlefs", "storage", "littlefs", 0x83},
    IdentityKind{"fat", "storage", "fat", 0x81},
    IdentityKind{"nvs", "identity", "nvs", 0x02},
    IdentityKind{"nvs-encrypted", "identity", "nvs", 0x02, true},
};
constexpr std::uint32_t keys_bytes = 4096;

std::vector<Setting> settings_of(const IdentityKind& kind) {
  if (kind.name == "littlefs")
    return {{"LITTLEFS_PAGE_SIZE", 256},    {"LITTLEFS_OBJ_NAME_LEN", 64}, {"LITTLEFS_READ_SIZE", 128},
            {"LITTLEFS_WRITE_SIZE", 128},   {"LITTLEFS_CACHE_SIZE", 512},  {"LITTLEFS_LOOKAHEAD_SIZE", 128},
            {"LITTLEFS_BLOCK_CYCLES", 512}, {"LITTLEFS_USE_MTIME", true}};
  if (kind.name == "fat")
    return {{"FATFS_LFN_HEAP", true},    {"FATFS_MAX_LFN", 255},        {"FATFS_CODEPAGE", 437},
            {"FATFS_SECTOR_4096", true}, {"WL_SECTOR_SIZE_4096", true}, {"WL_SECTOR_SIZE", 4096}};
  if (kind.has_keys) return {{"NVS_ENCRYPTION", true}, {"NVS_SEC_KEY_PROTECT_USING_FLASH_ENC", true}};
  return {};
}

std::string flash_size_name(ByteCount bytes) { return fmt::format("{}MB", bytes >> 20); }

std::string make_flasher_args(const FirmwareOptions& options, const ChipRow& chip, const Layout& layout) {
  std::string size = flash_size_name(options.flash_size), boot_at = fmt::format("0x{:x}", chip.bootloader_offset);
  std::string app = options.project + ".bin";
  Json args;
  args["write_flash_args"] = {"--flash_mode", "dio", "--flash_size", size, "--flash_freq", layout.frequency};
  args["flash_settings"] = {{"flash_mode", "dio"}, {"flash_size", size}, {"flash_freq", layout.frequency}};
  args["flash_files"] = {
      {boot_at, "bootloader/bootloader.bin"}, {"0x10000", app}, {"0x8000", "partition_table/partition-table.bin"}};
  args["bootloader"] = {{"offset", boot_at}, {"file", "bootloader/bootloader.bin"}, {"encrypted", "false"}};
  args["app"] = {{"offset", "0x10000"}, {"file", app}, {"encrypted", "false"}};
  args["partition-table"] = {
      {"offset", "0x8000"}, {"file", "partition_table/partition-table.bin"}, {"encrypted", "false"}};
  args["extra_esptool_args"] = {
      {"after", "hard_reset"}, {"before", "default_reset"}, {"stub", true}, {"chip", options.chip}};
  return args.dump(4) + "\n";
}

Fault refused(std::string what, std::string advice) {
  return {.code = Code::usage, .remedy = Remedy::refuse, .what = std::move(what), .advice = std::move(advice)};
}

Result<void> write_text(const std::filesystem::path& path, ByteView bytes) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::ofstream out{path, std::ios::binary | std::ios::trunc};
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  out.flush();
  if (out) return ok();
  return fail({.code = Code::output_unwritable,
               .remedy = Remedy::refuse,
               .what = "cannot write the file",
               .where = {.input = path.string()}});
}

}  // namespace

std::span<const std::string_view> all_identity_kinds() {
  static constexpr std::array names = [] {
    std::array<std::string_view, identity_kinds.size()> out{};
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = identity_kinds[i].name;
    return out;
  }();
  return names;
}

Result<Firmware> make_firmware(const FirmwareOptions& options) {
  const ChipRow* chip = chip_row_named(options.chip);
  const Layout* layout = nullptr;
  for (const Layout& row : layouts)
    if (row.chip == options.chip) layout = &row;
  if (!chip || !layout) {
    std::string names;
    for (const Layout& row : layouts) names += (names.empty() ? "" : ", ") + std::string{row.chip};
    return fail(refused("there is no virtual " + options.chip, "one of " + names));
  }
  if (!app_kind_named(options.app)) {
    std::string names;
    for (const AppKind& kind : all_app_kinds()) names += (names.empty() ? "" : ", ") + std::string{kind.name};
    return fail(refused("no virtual board runs \"" + options.app + "\"", "one of " + names));
  }
  const IdentityKind* identity = nullptr;
  for (const IdentityKind& kind : identity_kinds)
    if (kind.name == options.identity) identity = &kind;
  if (!identity) {
    std::string names;
    for (std::string_view name : all_identity_kinds()) names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
    return fail(refused("no virtual board keeps its identity in \"" + options.identity + "\"", "one of " + names));
  }
  if (options.app_bytes < 4_KiB || options.bootloader_bytes < 1_KiB || options.bootloader_bytes > 28_KiB)
    return fail(refused("an image of that size cannot be made", "an app from 4 KB, a bootloader from 1 to 28 KB"));
  bool is_mappable = options.app_bytes - options.app_bytes / 6 <= chip->map_code.end - layout->irom &&
                     options.app_bytes / 6 <= chip->map_data.end - layout->drom;
  if (!is_mappable) return fail(refused("an " + options.chip + " cannot map that much", "a smaller app"));
  std::uint64_t factory = std::max<std::uint64_t>(1_MiB, (options.app_bytes + 0xffff) & ~std::uint64_t{0xffff});
  if (options.storage_bytes % 4096 != 0 ||
      0x10000 + factory + options.storage_bytes + (identity->has_keys ? keys_bytes : 0) > options.flash_size)
    return fail(refused("the partitions do not fit a flash of " + show_bytes(options.flash_size), "a smaller app"));
  bool whole = options.flash_size >= 1_MiB && std::has_single_bit(options.flash_size);
  if (!whole) return fail(refused("no flash chip has " + show_bytes(options.flash_size), "1 MB, 2 MB, 4 MB, …"));

  Firmware made;
  made.bootloader_at = chip->bootloader_offset;
  made.storage_at = static_cast<std::uint32_t>(made.app_at + factory);
  made.storage_bytes = static_cast<std::uint32_t>(options.storage_bytes);
  std::vector<TableRow> rows{
      {"nvs", "data", "nvs", 1, 2, 0x9000, 0x6000},
      {"phy_init", "data", "phy", 1, 1, 0xf000, 0x1000},
      {"factory", "app", "factory", 0, 0, made.app_at, static_cast<std::uint32_t>(factory)},
      {identity->label, "data", identity->subtype_name, 1, identity->subtype, made.storage_at, made.storage_bytes},
  };
  if (identity->has_keys) {
    made.keys_at = made.storage_at + made.storage_bytes;
    rows.push_back({"nvs_keys", "data", "nvs_keys", 1, 4, made.keys_at, keys_bytes, true});
  }
  made.table_csv = "# Name, Type, SubType, Offset, Size, Flags\n";
  for (const TableRow& row : rows)
    made.table_csv += fmt::format("{},{},{},0x{:x},0x{:x},{}\n", row.label, row.type_name, row.subtype_name, row.at,
                                  row.bytes, row.encrypted ? "encrypted" : "");
  made.partition_table = make_table(rows);
  made.bootloader = make_bootloader(options, *chip, *layout);
  made.app = make_app(options, *chip, *layout);
  made.flasher_args = make_flasher_args(options, *chip, *layout);

  std::vector<Setting> settings{
      {"SPIFFS_MAX_PARTITIONS", 3},
      {"SPIFFS_PAGE_CHECK", true},
      {"SPIFFS_GC_MAX_RUNS", 10},
      {"SPIFFS_PAGE_SIZE", 256},
      {"SPIFFS_OBJ_NAME_LEN", 32},
      {"SPIFFS_USE_MAGIC", true},
      {"SPIFFS_USE_MAGIC_LENGTH", true},
      {"SPIFFS_META_LENGTH", 4},
      {"SPIFFS_USE_MTIME", true},
      {"IDF_TARGET", options.chip},
      {"ESPTOOLPY_FLASHSIZE", flash_size_name(options.flash_size)},
  };
  for (Setting& setting : settings_of(*identity)) settings.push_back(std::move(setting));
  Json json;
  made.sdkconfig_header = "/*\n * Automatically generated file. DO NOT EDIT.\n */\n#pragma once\n";
  for (const auto& [name, value] : settings) {
    json[std::string{name}] = value;
    made.sdkconfig_header +=
        fmt::format("#define CONFIG_{} {}\n", name, value.is_boolean() ? std::string{"1"} : value.dump());
  }
  made.sdkconfig_json = json.dump(4) + "\n";
  Json description{
      {"version", "1.1"},        {"project_name", options.project},     {"project_version", options.version},
      {"target", options.chip},  {"app_bin", options.project + ".bin"}, {"app_elf", options.project + ".elf"},
      {"git_revision", "v5.1.2"}};
  made.description = description.dump(4) + "\n";
  return made;
}

Result<void> write_firmware(const FirmwareOptions& options) {
  TRY(Firmware made, make_firmware(options));
  const std::filesystem::path& to = options.folder;
  TRY(write_text(to / "bootloader" / "bootloader.bin", made.bootloader));
  TRY(write_text(to / "partition_table" / "partition-table.bin", made.partition_table));
  TRY(write_text(to / "partition_table" / "partitions.csv", as_bytes(made.table_csv)));
  TRY(write_text(to / (options.project + ".bin"), made.app));
  TRY(write_text(to / "flasher_args.json", as_bytes(made.flasher_args)));
  TRY(write_text(to / "config" / "sdkconfig.json", as_bytes(made.sdkconfig_json)));
  TRY(write_text(to / "config" / "sdkconfig.h", as_bytes(made.sdkconfig_header)));
  TRY(write_text(to / "project_description.json", as_bytes(made.description)));
  return ok();
}

}  // namespace espmint::sim
