#include "app/image_commands.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "app/app_image_report.hpp"
#include "app/json.hpp"
#include "app/terminal.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "image/app_image.hpp"
#include "image/extracted_name.hpp"
#include "image/partition_table.hpp"
#include "image/spiffs.hpp"
#include "io/file.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

// ---------------------------------------------------------------- what every command here has

struct Common : Voice {
  std::string file;  // its input
  std::string out;
};

/// What was done; not data, so on stderr.
void say(const Common& options, std::string_view text) {
  if (!options.quiet && !options.json) fmt::print(stderr, "{}\n", escape_controls(text));
}

void note(const Common& options, std::string_view text) {
  if (!options.quiet) fmt::print(stderr, "espmint: {}\n", escape_controls(text));
}

using Finish = std::function<void(int)>;

template <typename Options>
CLI::App& add_command(CLI::App& format, std::string name, std::string help, std::string examples,
                      const std::shared_ptr<Options>& options, Result<Exit> (*run)(const Options&),
                      const Finish& finish) {
  CLI::App& command = *format.add_subcommand(std::move(name), std::move(help));
  command.footer("\nExamples:\n" + std::move(examples));
  command.add_flag("--json", options->json, "One JSON object instead of text");
  command.add_flag("-q,--quiet", options->quiet, "Only faults");
  command.add_flag("-v,--verbose", options->verbose, "Every file");
  command.callback([options, run, finish] {
    Result<Exit> result = run(*options);
    if (result && (std::fflush(stdout) != 0 || std::ferror(stdout) != 0))
      result = fail(
          Fault{.code = Code::output_unwritable, .remedy = Remedy::refuse, .what = "the output cannot be written"});
    if (!result) fmt::print(stderr, "espmint: {}\n", describe(result.error()));
    finish(static_cast<int>(result ? *result : exit_of(result.error().code)));
  });
  return command;
}

CLI::App& add_format(CLI::App& image, const std::string& name, std::string help) {
  CLI::App& format = *image.add_subcommand(name, std::move(help));
  format.require_subcommand(1);
  // Its own words: CLI11 would show the examples of `image` here.
  format.footer(fmt::format("`espmint image {} VERB --help` shows each verb's options and examples", name));
  return format;
}

template <typename Number>
CLI::Option* number_option(CLI::App& command, const std::string& name, Number& target, const std::string& help) {
  return command
      .add_option_function<std::string>(
          name,
          [&target, name](const std::string& text) {
            std::optional<std::uint64_t> number = parse_number(text);
            if (!number || *number > std::numeric_limits<Number>::max())
              throw CLI::ValidationError(name, "'" + text + "' is no number here (4096, 0xF0000, 960K, 4MB)");
            target = static_cast<Number>(*number);
          },
          help)
      ->type_name("N");
}

/// What is made of secret files is as hard to read as they are.
FileMode mode_like(const fs::path& path) {
  std::error_code error;
  fs::perms perms = fs::status(path, error).permissions();
  bool open = !error && (perms & fs::perms::others_read) != fs::perms::none;
  return open ? FileMode::everyone : FileMode::owner_only;
}

Fault bad_input(Code code, std::string what, std::string seen = {}, std::string advice = {}) {
  return Fault{.code = code,
               .remedy = Remedy::refuse,
               .what = std::move(what),
               .seen = std::move(seen),
               .advice = std::move(advice)};
}

/// A check that failed is an answer, not a wrong input: exit 1.
Result<Exit> report_check(const Common& options, const Result<std::string>& good) {
  if (options.json) {
    Json json{{"v", 1}, {"file", options.file}, {"good", good.has_value()}};
    json["code"] = good ? Json{} : Json(name_of(good.error().code));
    json["fault"] = good ? Json{} : Json(describe(good.error()));
    print_json(json);
  } else if (good && !options.quiet) {
    fmt::print("{}\n", escape_controls(fmt::format("{}: good: {}", options.file, *good)));
  }
  if (!good) fmt::print(stderr, "espmint: {}\n", describe(good.error()));
  return good ? Exit::good : Exit::board_failed;
}

// ---------------------------------------------------------------- spiffs

struct SpiffsOptions : Common {
  SpiffsGeometry geometry;
  ByteCount size = 0;
  std::string file_order;
  bool force = false;  // extracting may overwrite
};

void add_geometry(CLI::App& command, SpiffsGeometry& geometry) {
  number_option(command, "--page-size", geometry.page_size, "CONFIG_SPIFFS_PAGE_SIZE (256)");
  number_option(command, "--block-size", geometry.block_size, "The flash's erase sector (4096)");
  number_option(command, "--obj-name-len", geometry.name_length, "CONFIG_SPIFFS_OBJ_NAME_LEN (32)");
  number_option(command, "--meta-len", geometry.meta_length, "CONFIG_SPIFFS_META_LENGTH (4)");
  command.add_flag("--magic,!--no-magic", geometry.magic, "CONFIG_SPIFFS_USE_MAGIC (on)");
  command.add_flag("--magic-len,!--no-magic-len", geometry.magic_length, "CONFIG_SPIFFS_USE_MAGIC_LENGTH (on)");
  command.add_flag("--big-endian", geometry.big_endian, "For a big-endian target");
  command.add_flag("--aligned-obj-ix-tables", geometry.aligned_index_tables, "SPIFFS_ALIGNED_OBJECT_INDEX_TABLES");
}

Json json_of(const SpiffsGeometry& g) {
  return {{"page_size", g.page_size},      {"block_size", g.block_size},
          {"obj_name_len", g.name_length}, {"meta_len", g.meta_length},
          {"use_magic", g.magic},          {"use_magic_len", g.magic_length},
          {"big_endian", g.big_endian},    {"aligned_obj_ix_tables", g.aligned_index_tables}};
}

std::string show(const SpiffsGeometry& g) {
  return fmt::format("pages {}, blocks {}, names {}, metadata {}, magic {}{}{}", g.page_size, g.block_size,
                     g.name_length, g.meta_length,
                     !g.magic         ? "off"
                     : g.magic_length ? "with length"
                                      : "on",
                     g.big_endian ? ", big endian" : "", g.aligned_index_tables ? ", aligned tables" : "");
}

/// Paths of the regular files below `folder`: a folder's files by byte value, then its folders by byte value.
Result<void> walk(const fs::path& folder, const std::string& prefix, const Common& options,
                  std::vector<std::string>& out) {
  std::vector<std::string> files, folders;
  std::error_code error;
  for (fs::directory_iterator it{folder, error}, end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    std::error_code ignored;
    if (!it->is_directory(ignored)) {
      files.push_back(name);
    } else if (!it->is_symlink(ignored)) {
      folders.push_back(name);
    } else {
      note(options, fmt::format("'{}{}' links to a folder and is left out", prefix, name));
    }
  }
  if (error)
    return fail(bad_input(Code::input_unreadable, fmt::format("the folder '{}' cannot be read", folder.string()),
                          error.message()));
  std::sort(files.begin(), files.end());
  std::sort(folders.begin(), folders.end());
  for (const std::string& name : files) out.push_back(prefix + name);
  for (const std::string& name : folders) TRY(walk(folder / name, prefix + name + "/", options, out));
  return ok();
}

/// The named ones first, in that order; the rest behind them as they were.
Result<std::vector<std::string>> ordered(std::vector<std::string> paths, const std::string& order_file) {
  TRY(Bytes text, read_file(order_file));
  std::vector<std::string> out;
  for (std::string_view line : split(as_text(text), '\n')) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("./")) line.remove_prefix(2);
    if (line.starts_with('/')) line.remove_prefix(1);
    if (line.empty()) continue;
    auto found = std::find(paths.begin(), paths.end(), line);
    if (found == paths.end())
      return fail(bad_input(Code::input_invalid,
                            fmt::format("'{}' names a file that is not in the folder, or twice", order_file),
                            std::string{line}));
    out.push_back(std::move(*found));
    paths.erase(found);
  }
  out.insert(out.end(), std::make_move_iterator(paths.begin()), std::make_move_iterator(paths.end()));
  return out;
}

Result<Exit> build_spiffs_command(const SpiffsOptions& options) {
  std::error_code error;
  if (!fs::is_directory(options.file, error))
    return fail(bad_input(Code::input_missing, fmt::format("there is no folder '{}'", options.file)));
  std::vector<std::string> paths;
  TRY(walk(options.file, "", options, paths));
  if (!options.file_order.empty()) {
    TRY(paths, ordered(std::move(paths), options.file_order));
  }
  std::vector<FileOwned> contents;
  FileMode mode = FileMode::everyone;
  ByteCount together = 0;
  for (const std::string& path : paths) {
    fs::path source = fs::path{options.file} / path;
    if (fs::exists(source, error) && !fs::is_regular_file(source, error))
      return fail(
          bad_input(Code::input_unreadable, fmt::format("'{}' is neither a file nor a folder", source.string())));
    TRY(Bytes content, read_file(source));
    together += content.size();
    if (mode_like(source) == FileMode::owner_only) mode = FileMode::owner_only;
    // The reference tool makes slashes of backslashes, as its users on Windows need.
    std::string name = path;
    std::replace(name.begin(), name.end(), '\\', '/');
    contents.push_back({std::move(name), std::move(content)});
  }
  std::vector<FileView> files;
  for (const FileOwned& file : contents) files.push_back({file.path, file.content});
  TRY(Bytes image, build_spiffs(options.size, options.geometry, files));
  TRY(write_file(options.out, image, mode));
  if (options.json) {
    Json list = Json::array();
    for (const FileOwned& file : contents) list.push_back({{"path", file.path}, {"size", file.content.size()}});
    print_json({{"v", 1},
                {"out", options.out},
                {"size", image.size()},
                {"sha256", to_hex(sha256_of(image))},
                {"geometry", json_of(options.geometry)},
                {"files", std::move(list)}});
    return Exit::good;
  }
  if (options.verbose)
    for (const FileOwned& file : contents) say(options, fmt::format("{:>9}  {}", file.content.size(), file.path));
  say(options, fmt::format("{}: {} files, {} bytes, in a SPIFFS of {}", options.out, files.size(), together,
                           show_bytes(image.size())));
  return Exit::good;
}

struct OpenedSpiffs {
  SpiffsGeometry geometry;
  std::vector<FileOwned> files;
};

/// By the given geometry; where that does not fit, by the one the image shows.
Result<OpenedSpiffs> open_spiffs(ByteView image, const SpiffsOptions& options) {
  Result<std::vector<FileOwned>> files = read_spiffs(image, options.geometry);
  if (files && !files->empty()) return OpenedSpiffs{options.geometry, std::move(*files)};
  std::optional<SpiffsGeometry> found = detect_spiffs_geometry(image, options.geometry);
  if (found) {
    Result<std::vector<FileOwned>> again = read_spiffs(image, *found);
    if (again) {
      if (*found != options.geometry) note(options, fmt::format("read as the image shows: {}", show(*found)));
      return OpenedSpiffs{*found, std::move(*again)};
    }
  }
  if (!files) return fail(std::move(files.error()));
  return OpenedSpiffs{options.geometry, {}};
}

Result<Exit> list_spiffs_command(const SpiffsOptions& options) {
  TRY(Bytes image, read_file(options.file));
  TRY(OpenedSpiffs opened, in_input(open_spiffs(image, options), options.file));
  if (options.json) {
    Json files = Json::array();
    for (const FileOwned& file : opened.files)
      files.push_back(
          {{"path", file.path}, {"size", file.content.size()}, {"sha256", to_hex(sha256_of(file.content))}});
    print_json({{"v", 1},
                {"file", options.file},
                {"format", "spiffs"},
                {"size", image.size()},
                {"geometry", json_of(opened.geometry)},
                {"files", std::move(files)}});
    return Exit::good;
  }
  for (const FileOwned& file : opened.files) fmt::print("{:>9}  {}\n", file.content.size(), escape_controls(file.path));
  if (options.verbose) say(options, show(opened.geometry));
  return Exit::good;
}

/// "storage" for "build/storage.bin", in the current folder; nothing lies in a folder that the image itself is.
fs::path folder_named_after(const fs::path& image) {
  return image.has_extension() ? image.stem() : fs::path{image.filename().string() + ".files"};
}

bool holds_something_else(const fs::path& target, const Bytes& content) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(target, error))) return false;
  auto there = read_file(target);
  return !there || *there != content;
}

bool is_private_key(const FileOwned& file) {
  return as_text(file.content).find("PRIVATE KEY-----") != std::string_view::npos ||
         file.path.find("private") != std::string::npos;
}

Result<Exit> extract_spiffs_command(const SpiffsOptions& options) {
  TRY(Bytes image, read_file(options.file));
  TRY(OpenedSpiffs opened, in_input(open_spiffs(image, options), options.file));
  std::vector<std::string> names;
  for (const FileOwned& file : opened.files) names.push_back(file.path);
  TRY(in_input(check_extracted_names(names), options.file));

  fs::path folder = options.out.empty() ? folder_named_after(options.file) : fs::path{options.out};
  TRY(make_folder(folder));
  std::error_code error;
  fs::path root = fs::canonical(folder, error);
  FileMode mode = mode_like(options.file);
  // A link that lies in the folder already could lead out of it: look before anything is written.
  for (const std::string& name : names) {
    fs::path parent = fs::weakly_canonical(root / fs::path{name}.parent_path(), error);
    auto [end, _] = std::mismatch(root.begin(), root.end(), parent.begin(), parent.end());
    if (error || end != root.end())
      return fail(bad_input(Code::output_unwritable,
                            fmt::format("'{}' would be written outside of '{}'", name, folder.string()),
                            "a link in the folder leads out of it", "extract into an empty folder"));
  }
  for (const FileOwned& file : opened.files)
    if (!options.force && holds_something_else(root / file.path, file.content))
      return fail(bad_input(Code::output_unwritable,
                            fmt::format("'{}' is there already", (folder / file.path).string()),
                            "its content is another; nothing was extracted", "--force overwrites it, -o names another folder"));
  for (const FileOwned& file : opened.files) {
    fs::path target = root / file.path;
    TRY(make_folder(target.parent_path()));
    TRY(write_file(target, file.content, is_private_key(file) ? FileMode::owner_only : mode));
    if (options.verbose) say(options, fmt::format("{:>9}  {}", file.content.size(), file.path));
  }
  if (options.json) {
    print_json({{"v", 1},
                {"file", options.file},
                {"out", folder.string()},
                {"geometry", json_of(opened.geometry)},
                {"files", names}});
  } else {
    say(options, fmt::format("{}: {} files extracted", folder.string(), names.size()));
  }
  return Exit::good;
}

Result<Exit> check_spiffs_command(const SpiffsOptions& options) {
  TRY(Bytes image, read_file(options.file));
  auto summary = [&]() -> Result<std::string> {
    TRY(OpenedSpiffs opened, in_input(open_spiffs(image, options), options.file));
    return fmt::format("{} files in a SPIFFS of {}, {}", opened.files.size(), show_bytes(image.size()),
                       show(opened.geometry));
  };
  return report_check(options, summary());
}

void add_spiffs(CLI::App& image, const Finish& finish) {
  CLI::App& spiffs = add_format(image, "spiffs", "SPIFFS partitions");
  auto build = std::make_shared<SpiffsOptions>();
  CLI::App& b = add_command(
      spiffs, "build", "A folder's files as a SPIFFS partition, bit for bit as ESP-IDF's spiffsgen makes it",
      "  espmint image spiffs build --size 0xF0000 spiffs_image -o storage.bin\n"
      "  espmint image spiffs build --size 64K --obj-name-len 64 --no-magic files -o storage.bin\n",
      build, &build_spiffs_command, finish);
  number_option(b, "--size", build->size, "The partition's size")->required();
  add_geometry(b, build->geometry);
  b.add_option("--file-order", build->file_order, "File with one path a line: these first, in this order")
      ->type_name("FILE");
  b.add_option("dir", build->file, "Folder with the files")->required()->type_name("DIR");
  b.add_option("-o,--output", build->out, "Image to write")->required()->type_name("OUT");

  auto reading = [&](const char* name, const char* help, const char* examples,
                     Result<Exit> (*run)(const SpiffsOptions&)) {
    auto options = std::make_shared<SpiffsOptions>();
    CLI::App& command = add_command(spiffs, name, help, examples, options, run, finish);
    add_geometry(command, options->geometry);
    command.add_option("file", options->file, "Image")->required()->type_name("FILE");
    if (run != &extract_spiffs_command) return;
    command.add_option("-o,--output", options->out, "Folder to extract into (one named after the image)")
        ->type_name("DIR");
    command.add_flag("--force", options->force, "Overwrite files that are there and differ");
  };
  reading("list", "Names and sizes of its files",
          "  espmint image spiffs list storage.bin\n  espmint image spiffs list --json storage.bin\n",
          &list_spiffs_command);
  reading("extract", "Its files, into a folder", "  espmint image spiffs extract storage.bin -o files\n",
          &extract_spiffs_command);
  reading("check", "Whether every file in it can be read (exit 0, else 1)",
          "  espmint image spiffs check --page-size 512 storage.bin\n", &check_spiffs_command);
}

// ---------------------------------------------------------------- partitions

struct PartitionOptions : Common {
  PartitionTableOptions table;
  std::string secure = "none";
  ByteCount flash_size = 0;
  bool no_md5 = false, no_verify = false;

  [[nodiscard]] PartitionTableOptions chosen() const {
    PartitionTableOptions result = table;
    result.md5 = !no_md5;
    result.verify = !no_verify;
    if (flash_size != 0) result.flash_size = flash_size;
    result.secure = secure == "v1" ? SecureBoot::v1 : secure == "v2" ? SecureBoot::v2 : SecureBoot::none;
    return result;
  }
};

/// $NAME and ${NAME} of the environment, as the reference tool puts them into a table; unknown ones stay.
std::string with_environment(std::string_view text) {
  std::string out;
  auto in_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  while (!text.empty()) {
    std::size_t dollar = std::min(text.find('$'), text.size());
    out += text.substr(0, dollar);
    text.remove_prefix(dollar);
    if (text.empty()) break;
    std::size_t whole = 1;
    std::string name;
    if (text.starts_with("${")) {
      std::size_t close = text.find_first_of("}\n", 2);
      if (close != std::string_view::npos && text[close] == '}') {
        name = text.substr(2, close - 2);
        whole = close + 1;
      }
    } else {
      while (whole < text.size() && in_name(text[whole])) ++whole;
      name = text.substr(1, whole - 1);
    }
    const char* value = name.empty() ? nullptr : std::getenv(name.c_str());
    out += value != nullptr ? std::string_view{value} : text.substr(0, whole);
    text.remove_prefix(whole);
  }
  return out;
}

/// Binary or CSV, told apart by the magic of a first entry.
Result<PartitionTable> parse_any_table(ByteView bytes, const PartitionTableOptions& options) {
  if (bytes.size() >= 2 && bytes[0] == 0xaa && bytes[1] == 0x50) return parse_partition_table(bytes, options);
  return parse_partition_csv(with_environment(as_text(bytes)), options);
}

Result<Exit> build_partitions_command(const PartitionOptions& options) {
  TRY(Bytes input, read_file(options.file));
  PartitionTableOptions chosen = options.chosen();
  TRY(PartitionTable table, in_input(parse_any_table(input, chosen), options.file));
  TRY(Bytes binary, in_input(build_partition_table(table, chosen), options.file));
  TRY(write_file(options.out, binary));
  if (options.json) {
    print_json({{"v", 1},
                {"out", options.out},
                {"size", binary.size()},
                {"sha256", to_hex(sha256_of(binary))},
                {"partitions", table.partitions.size()},
                {"end", table.end()}});
    return Exit::good;
  }
  if (options.verbose) say(options, partition_csv(table));
  say(options,
      fmt::format("{}: {} partitions, the last ends at {:#x}", options.out, table.partitions.size(), table.end()));
  return Exit::good;
}

Result<Exit> list_partitions_command(const PartitionOptions& options) {
  TRY(Bytes input, read_file(options.file));
  PartitionTableOptions chosen = options.chosen();
  TRY(PartitionTable table, in_input(parse_any_table(input, chosen), options.file));
  if (chosen.verify) TRY(in_input(check_partition_table(table, chosen), options.file));
  if (!options.json) {
    fmt::print("{}", escape_controls(partition_csv(table)));
    return Exit::good;
  }
  Json rows = Json::array();
  for (const Partition& p : table.partitions)
    rows.push_back({{"name", p.name},
                    {"type", p.type},
                    {"subtype", p.subtype},
                    {"offset", p.range.at.bytes},
                    {"size", p.range.size},
                    {"encrypted", p.encrypted},
                    {"readonly", p.read_only}});
  print_json({{"v", 1}, {"file", options.file}, {"partitions", std::move(rows)}});
  return Exit::good;
}

Result<Exit> check_partitions_command(const PartitionOptions& options) {
  TRY(Bytes input, read_file(options.file));
  auto summary = [&]() -> Result<std::string> {
    PartitionTableOptions chosen = options.chosen();
    TRY(PartitionTable table, in_input(parse_any_table(input, chosen), options.file));
    TRY(in_input(check_partition_table(table, chosen), options.file));
    return fmt::format("{} partitions, the last ends at {:#x}", table.partitions.size(), table.end());
  };
  return report_check(options, summary());
}

void add_partitions(CLI::App& image, const Finish& finish) {
  CLI::App& partitions = add_format(image, "partitions", "Partition tables");
  auto add = [&](const char* name, const char* help, const char* examples,
                 Result<Exit> (*run)(const PartitionOptions&)) {
    auto options = std::make_shared<PartitionOptions>();
    CLI::App& command = add_command(partitions, name, help, examples, options, run, finish);
    number_option(command, "--offset", options->table.offset.bytes, "Where the table lies in flash (0x8000)");
    command.add_flag("--no-md5", options->no_md5, "Without the MD5 entry");
    number_option(command, "--flash-size", options->flash_size, "The table must end within it, such as 4MB");
    command.add_option("--secure", options->secure, "Secure boot the apps must suit")
        ->check(CLI::IsMember({"none", "v1", "v2"}))
        ->type_name("none|v1|v2");
    if (run != &check_partitions_command) command.add_flag("--no-verify", options->no_verify, "Do not check the table");
    command.add_option("table", options->file, "Partition table, CSV or binary")->required()->type_name("TABLE");
    if (run == &build_partitions_command)
      command.add_option("-o,--output", options->out, "Table to write")->required()->type_name("OUT");
  };
  add("build", "The binary table of a CSV, bit for bit as ESP-IDF makes it",
      "  espmint image partitions build partitions.csv -o partition-table.bin\n"
      "  espmint image partitions build --offset 0x10000 --flash-size 4MB --secure v2 partitions.csv -o table.bin\n",
      &build_partitions_command);
  add("list", "The table as CSV, every offset filled in",
      "  espmint image partitions list build/partition_table/partition-table.bin\n  espmint image partitions list "
      "--json partitions.csv\n",
      &list_partitions_command);
  add("check", "Overlaps, alignment, names, flash size (exit 0, else 1)",
      "  espmint image partitions check --flash-size 4MB partitions.csv\n", &check_partitions_command);
}

// ---------------------------------------------------------------- app

using AppOptions = Common;

Result<Exit> list_app_command(const AppOptions& options) {
  TRY(Bytes bytes, read_file(options.file));
  TRY(AppImage image, in_input(parse_app_image(bytes), options.file));
  if (options.json) {
    print_json(app_image_json(image));
  } else {
    fmt::print("{}", escape_controls(app_image_text(image)));
  }
  return Exit::good;
}

Result<Exit> check_app_command(const AppOptions& options) {
  TRY(Bytes bytes, read_file(options.file));
  auto summary = [&]() -> Result<std::string> {
    TRY(AppImage image, in_input(parse_app_image(bytes), options.file));
    if (!image.intact()) {
      bool sum = image.checksum != image.checksum_expected;
      Fault fault =
          bad_input(Code::firmware_damaged, "the firmware image is damaged",
                    sum ? "its checksum does not match" : "its SHA-256 does not match", "build or copy it again");
      fault.where.input = options.file;
      return fail(std::move(fault));
    }
    return fmt::format("{} image of {} bytes, checksum{}", chip_text(image), image.size,
                       image.has_digest ? " and SHA-256 match" : " matches");
  };
  return report_check(options, summary());
}

void add_app(CLI::App& image, const Finish& finish) {
  CLI::App& app = add_format(image, "app", "Firmware images: apps and bootloaders");
  auto add = [&](const char* name, const char* help, const char* examples, Result<Exit> (*run)(const AppOptions&)) {
    auto options = std::make_shared<AppOptions>();
    CLI::App& command = add_command(app, name, help, examples, options, run, finish);
    command.add_option("file", options->file, "Firmware image")->required()->type_name("FILE");
  };
  add("list", "Header, segments, description, checksum and digest",
      "  espmint image app list build/thermostat.bin\n  espmint image app list --json "
      "build/bootloader/bootloader.bin\n",
      &list_app_command);
  add("check", "Whether checksum and SHA-256 match (exit 0, else 1)",
      "  espmint image app check build/thermostat.bin\n", &check_app_command);
}

}  // namespace

void add_image_commands(CLI::App& espmint, std::function<void(int exit_code)> finish) {
  CLI::App& image = *espmint.add_subcommand("image", "Build, list, extract and check images without a board");
  image.require_subcommand(1);
  image.footer(
      "\nExamples:\n  espmint image spiffs build --size 0xF0000 spiffs_image -o storage.bin\n"
      "  espmint image partitions list partition-table.bin\n  espmint image app check build/thermostat.bin\n");
  add_spiffs(image, finish);
  add_partitions(image, finish);
  add_app(image, finish);
}

}  // namespace espmint::app
