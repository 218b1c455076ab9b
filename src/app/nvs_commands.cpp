#include <fmt/format.h>

#include <set>

#include "app/image_command.hpp"
#include "base/hash.hpp"
#include "image/nvs_batch.hpp"
#include "image/nvs_crypt.hpp"
#include "io/entropy.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

struct NvsOptions : ImageOptions {
  ByteCount size = 0;
  int version = 2;
  std::string key_file, hmac_key;
  std::vector<std::string> tables;  // of build
  bool no_wifi_extras = false;
  bool values = false, csv = false;            // of list
  std::string values_file, prefix, id_column;  // of batch, whose `file` is the table of keys

  [[nodiscard]] NvsCsvOptions csv_options() const {
    return {version == 1 ? NvsVersion::v1 : NvsVersion::v2, !no_wifi_extras};
  }
  [[nodiscard]] bool has_key() const { return !key_file.empty() || !hmac_key.empty(); }
};

Result<Secret> read_secret(const std::string& path) {
  TRY(Bytes bytes, read_file(path, 1_MiB));
  return Secret{std::move(bytes)};
}

/// Of --key-file or --hmac-key, of which CLI11 lets one pass.
Result<std::optional<NvsKeys>> keys_of(const NvsOptions& options) {
  if (!options.has_key()) return std::optional<NvsKeys>{};
  const std::string& path = options.key_file.empty() ? options.hmac_key : options.key_file;
  TRY(Secret file, read_secret(path));
  Result<NvsKeys> keys =
      options.key_file.empty() ? NvsKeys::from_hmac_key(file.reveal()) : parse_nvs_keys(file.reveal());
  TRY(NvsKeys good, in_input(std::move(keys), path));
  return std::optional<NvsKeys>{std::move(good)};
}

/// What is built of: tables and the files they name. Remembers whether one of them is not for everybody.
class NvsInputs {
 public:
  explicit NvsInputs(const NvsOptions& options)
      : mode_(options.has_key() ? FileMode::owner_only : FileMode::everyone) {}

  Result<Bytes> read(const fs::path& path) {
    TRY(Bytes content, read_file(path));
    if (mode_like(path) == FileMode::owner_only) mode_ = FileMode::owner_only;
    return content;
  }
  /// Of files relative to the folder of `beside`, or of the table itself where that is empty.
  NvsFileReader reader(const std::string& beside = {}) {
    return [this, beside](const std::string& table, const std::string& path) {
      return read(fs::path{beside.empty() ? table : beside}.parent_path() / path);
    };
  }
  [[nodiscard]] FileMode mode() const { return mode_; }

 private:
  FileMode mode_;
};

struct BuiltNvs {
  Bytes image;
  std::size_t entries = 0, spaces = 0;
  std::vector<std::string> notes;
};

/// The image, encrypted where there are keys.
Result<BuiltNvs> build_image(const NvsOptions& options, std::span<const NvsCsv> tables, const NvsFileReader& read,
                             const std::optional<NvsKeys>& keys) {
  TRY(NvsTable table, parse_nvs_csv(tables, read, options.csv_options()));
  NvsBuildOptions build{options.csv_options().version, true};
  Result<Bytes> image = build_nvs(options.size, build, table.entries);
  BuiltNvs out;
  for (NvsEntry& entry : table.entries) {
    (entry.key.empty() ? out.spaces : out.entries) += 1;
    wipe(entry.value);
  }
  if (image && keys) image = encrypt_nvs(std::move(*image), *keys);
  TRY(out.image, std::move(image));
  out.notes = std::move(table.notes);
  return out;
}

/// "1 entry in 1 namespace, in an NVS of 24 KB, encrypted"
std::string show_content(std::size_t entries, std::size_t spaces, std::size_t bytes, const NvsOptions& options) {
  return fmt::format("{} {} in {} namespace{}, in an NVS of {}{}", entries, entries == 1 ? "entry" : "entries", spaces,
                     spaces == 1 ? "" : "s", show_bytes(bytes), options.has_key() ? ", encrypted" : "");
}
std::string show_built(const BuiltNvs& built, const NvsOptions& options) {
  return show_content(built.entries, built.spaces, built.image.size(), options);
}

Result<Exit> build_nvs_command(const NvsOptions& options) {
  TRY(std::optional<NvsKeys> keys, keys_of(options));
  NvsInputs inputs{options};
  std::vector<Bytes> texts;
  for (const std::string& path : options.tables) {
    TRY(Bytes text, inputs.read(path));
    texts.push_back(std::move(text));
  }
  std::vector<NvsCsv> tables;
  for (std::size_t i = 0; i < texts.size(); ++i) tables.push_back({options.tables[i], as_text(texts[i])});
  TRY(BuiltNvs built, build_image(options, tables, inputs.reader(), keys));
  for (const std::string& text : built.notes) note(options, text);
  TRY(write_file(options.out, built.image, inputs.mode()));
  if (options.json) {
    print_json({{"v", 1},
                {"out", options.out},
                {"size", built.image.size()},
                {"sha256", to_hex(sha256_of(built.image))},
                {"version", options.version},
                {"encrypted", options.has_key()},
                {"namespaces", built.spaces},
                {"entries", built.entries}});
    return Exit::good;
  }
  say(options, fmt::format("{}: {}", options.out, show_built(built, options)));
  return Exit::good;
}

// ---------------------------------------------------------------- what is in one

struct OpenedNvs {
  Bytes plain;
  std::vector<NvsEntry> entries;
  std::vector<std::string> damage;
};

Result<OpenedNvs> open_nvs(const NvsOptions& options) {
  TRY(std::optional<NvsKeys> keys, keys_of(options));
  OpenedNvs out;
  TRY(out.plain, read_file(options.file));
  if (keys) {
    TRY(out.plain, in_input(decrypt_nvs(std::move(out.plain), *keys), options.file));
  }
  TRY(out.entries, in_input(read_nvs(out.plain, &out.damage), options.file));
  return out;
}

bool counts_down(NvsType type) { return (static_cast<unsigned>(type) & 0x10u) != 0; }

Json value_json(const NvsEntry& entry) {
  if (entry.type == NvsType::string) return as_text(entry.value);
  if (entry.type == NvsType::blob) return to_hex(entry.value);
  return counts_down(entry.type) ? Json(static_cast<std::int64_t>(entry.number)) : Json(entry.number);
}

std::string show_value(const NvsEntry& entry) {
  if (entry.type == NvsType::string) return fmt::format("\"{}\"", escape_controls(as_text(entry.value)));
  if (entry.type == NvsType::blob) return to_hex(entry.value);
  return counts_down(entry.type) ? std::to_string(static_cast<std::int64_t>(entry.number))
                                 : std::to_string(entry.number);
}

void note_damage(const NvsOptions& options, const OpenedNvs& opened) {
  for (const std::string& text : opened.damage) note(options, fmt::format("{}: {}", options.file, text));
}
void note_wifi_extras(const NvsOptions& options, const NvsCsvText& text) {
  if (text.has_wifi_extras)
    note(options, "it has Wi-Fi settings: build the table with --no-wifi-extras for the same again");
}

Result<Exit> list_nvs_command(const NvsOptions& options) {
  TRY(OpenedNvs opened, open_nvs(options));
  note_damage(options, opened);
  if (options.csv) {
    TRY(NvsCsvText text, in_input(encode_nvs_csv(opened.entries, NvsValues::inside), options.file));
    fmt::print("{}", text.csv);
    note_wifi_extras(options, text);
    return Exit::good;
  }
  if (!options.json) {
    for (const NvsEntry& entry : opened.entries)
      fmt::print("{:<6} {:>7}  {}{}{}\n", name_of(entry.type), entry.size(),
                 escape_controls(entry.space + "." + entry.key), options.values ? " = " : "",
                 options.values ? show_value(entry) : "");
    return Exit::good;
  }
  Json list = Json::array();
  for (const NvsEntry& entry : opened.entries) {
    Json row{{"namespace", entry.space}, {"key", entry.key}, {"type", name_of(entry.type)}, {"size", entry.size()}};
    if (options.values) row["value"] = value_json(entry);
    list.push_back(std::move(row));
  }
  print_json({{"v", 1},
              {"file", options.file},
              {"format", "nvs"},
              {"size", opened.plain.size()},
              {"encrypted", options.has_key()},
              {"entries", std::move(list)},
              {"damage", opened.damage}});
  return Exit::good;
}

Result<Exit> check_nvs_command(const NvsOptions& options) {
  auto summary = [&]() -> Result<std::string> {
    TRY(OpenedNvs opened, open_nvs(options));
    if (!opened.damage.empty()) {
      note_damage(options, opened);
      return fail(bad_input(
          Code::image_invalid, fmt::format("'{}' is damaged", options.file),
          fmt::format("{} of its pages and entries, {} entries are sound", opened.damage.size(), opened.entries.size()),
          "the firmware passes over them; read it again, or build it anew"));
    }
    std::set<std::string_view> spaces;
    for (const NvsEntry& entry : opened.entries) spaces.insert(entry.space);
    return show_content(opened.entries.size(), spaces.size(), opened.plain.size(), options);
  };
  return report_check(options, summary());
}

Result<Exit> extract_nvs_command(const NvsOptions& options) {
  TRY(OpenedNvs opened, open_nvs(options));
  note_damage(options, opened);
  TRY(NvsCsvText text, in_input(encode_nvs_csv(opened.entries, NvsValues::in_files), options.file));
  note_wifi_extras(options, text);
  text.files.insert(text.files.begin(), FileOwned{"nvs.csv", to_bytes(text.csv)});
  return extract_files(options, text.files, {{"format", "nvs"}, {"entries", opened.entries.size()}}, options.has_key());
}

Result<Exit> decrypt_nvs_command(const NvsOptions& options) {
  if (!options.has_key())
    return fail(bad_input(Code::usage, "decrypting needs --key-file or --hmac-key", {}, "give the keys of the board"));
  TRY(OpenedNvs opened, open_nvs(options));
  note_damage(options, opened);
  TRY(write_file(options.out, opened.plain, FileMode::owner_only));
  if (options.json)
    print_json({{"v", 1},
                {"file", options.file},
                {"out", options.out},
                {"size", opened.plain.size()},
                {"sha256", to_hex(sha256_of(opened.plain))},
                {"entries", opened.entries.size()}});
  say(options, fmt::format("{}: {} entries, not encrypted", options.out, opened.entries.size()));
  return Exit::good;
}

Result<Exit> make_nvs_keys_command(const NvsOptions& options) {
  TRY(std::optional<NvsKeys> keys, keys_of(options));
  if (!keys) {
    Bytes random(NvsKeys::bytes);
    make_system_entropy()->fill(random);
    TRY(keys, NvsKeys::of(Secret{std::move(random)}));
  }
  // Never over another: what that one had encrypted could not be read any more.
  TRY(create_file(options.out, encode_nvs_keys(*keys).reveal(), FileMode::owner_only));
  const std::string_view source = options.has_key() ? "derived from the HMAC key" : "random";
  if (options.json) print_json({{"v", 1}, {"out", options.out}, {"size", 4096}, {"source", source}});
  say(options, fmt::format("{}: NVS keys, {}", options.out, source));
  return Exit::good;
}

// ---------------------------------------------------------------- mass manufacturing

/// Files written together or not at all.
class FilesTogether {
 public:
  FilesTogether() = default;
  FilesTogether(const FilesTogether&) = delete;
  FilesTogether& operator=(const FilesTogether&) = delete;
  ~FilesTogether() {
    std::error_code ignored;
    for (const fs::path& path : added_) fs::remove(path, ignored);
  }
  Result<void> write(const fs::path& path, ByteView content, FileMode mode) {
    std::error_code error;
    const bool is_new = !fs::exists(fs::symlink_status(path, error));
    TRY(write_file(path, content, mode));
    if (is_new) added_.push_back(path);
    return ok();
  }
  void keep() { added_.clear(); }

 private:
  std::vector<fs::path> added_;
};

struct BoardFiles {
  fs::path csv, image;
};

BoardFiles files_of(const NvsOptions& options, const NvsBoard& board) {
  const std::string stem = options.prefix.empty() ? board.id : options.prefix + "-" + board.id;
  const fs::path folder = options.out;
  return {folder / "csv" / (stem + ".csv"), folder / "bin" / (stem + ".bin")};
}

/// Paths in the table are relative to the table of values; a fault names the board's line there.
Result<BuiltNvs> build_board(const NvsOptions& options, const NvsBoard& board, NvsInputs& inputs,
                             const std::optional<NvsKeys>& keys) {
  const NvsCsv table{board.id, board.csv};
  Result<BuiltNvs> built = build_image(options, {&table, 1}, inputs.reader(options.values_file), keys);
  if (!built) built.error().where.input = fmt::format("{}:{}", options.values_file, board.line);
  return built;
}

Result<void> check_board_file(const NvsOptions& options, const fs::path& path, ByteView content) {
  std::error_code error;
  if (options.force || !fs::exists(fs::symlink_status(path, error))) return ok();
  Result<Bytes> there = read_file(path);
  if (there && std::equal(there->begin(), there->end(), content.begin(), content.end())) return ok();
  return fail(bad_input(Code::output_unwritable, fmt::format("'{}' is there already", path.string()),
                        "its content is another; nothing was written",
                        "--force overwrites it, -o names another folder"));
}

Result<Exit> batch_nvs_command(const NvsOptions& options) {
  if (options.prefix.find_first_of("/\\") != std::string::npos)
    return fail(bad_input(Code::usage, "--prefix begins the names of files: no slashes", {}, "-o names the folder"));
  TRY(std::optional<NvsKeys> keys, keys_of(options));
  NvsInputs inputs{options};
  TRY(Bytes key_text, inputs.read(options.file));
  TRY(Bytes value_text, inputs.read(options.values_file));
  TRY(NvsBatch batch, expand_nvs_batch({options.file, as_text(key_text)}, {options.values_file, as_text(value_text)},
                                       options.id_column));
  // Each is built twice, so that nothing is written before all are good and no more than one is in memory.
  for (const NvsBoard& board : batch.boards) {
    TRY(BuiltNvs built, build_board(options, board, inputs, keys));
    const BoardFiles files = files_of(options, board);
    TRY(check_board_file(options, files.csv, as_bytes(board.csv)));
    TRY(check_board_file(options, files.image, built.image));
    if (&board == &batch.boards.front())
      batch.notes.insert(batch.notes.end(), built.notes.begin(), built.notes.end());  // the same for each board
  }
  for (const std::string& text : batch.notes) note(options, text);
  TRY(make_folder(fs::path{options.out} / "csv"));
  TRY(make_folder(fs::path{options.out} / "bin"));
  FilesTogether files;
  Json list = Json::array();
  for (const NvsBoard& board : batch.boards) {
    TRY(BuiltNvs built, build_board(options, board, inputs, keys));
    const BoardFiles names = files_of(options, board);
    TRY(files.write(names.csv, as_bytes(board.csv), inputs.mode()));
    TRY(files.write(names.image, built.image, inputs.mode()));
    list.push_back({{"id", board.id}, {"out", names.image.string()}, {"sha256", to_hex(sha256_of(built.image))}});
    if (options.verbose) say(options, fmt::format("{}: {}", names.image.string(), show_built(built, options)));
  }
  files.keep();
  if (options.json) print_json({{"v", 1}, {"out", options.out}, {"encrypted", options.has_key()}, {"boards", list}});
  say(options, fmt::format("{}: csv and bin of {} boards{}", options.out, batch.boards.size(),
                           options.has_key() ? ", encrypted" : ""));
  return Exit::good;
}

// ---------------------------------------------------------------- the command line

void add_keys(CLI::App& command, NvsOptions& options) {
  CLI::Option* file =
      command.add_option("--key-file", options.key_file, "NVS keys: a key partition, or its first 64 bytes");
  file->type_name("FILE");
  command
      .add_option("--hmac-key", options.hmac_key, "The HMAC key in the chip's eFuse, 32 bytes: the keys are derived")
      ->type_name("FILE")
      ->excludes(file);
}

void add_building(CLI::App& command, NvsOptions& options) {
  number_option(command, "--size", options.size, "The partition's size; below 12K for reading only")->required();
  command.add_option("--version", options.version, "Of the format: 2, or 1 without blobs longer than a page (2)")
      ->check(CLI::IsMember({1, 2}))
      ->type_name("N");
  command.add_flag("--no-wifi-extras", options.no_wifi_extras,
                   "Do not add sta.apinfo, sta.pmk, sta.apsw and ap.pmk_info to Wi-Fi settings");
  add_keys(command, options);
}

}  // namespace

void add_nvs(CLI::App& image, const Finish& finish) {
  CLI::App& nvs = add_format(image, "nvs", "NVS partitions: settings and keys");
  auto build = std::make_shared<NvsOptions>();
  CLI::App& b =
      add_command(nvs, "build", "Tables as an NVS partition, bit for bit as ESP-IDF's nvs_partition_gen makes it",
                  "  espmint image nvs build --size 0x6000 settings.csv -o nvs.bin\n"
                  "  espmint image nvs build --size 24K --key-file keys.bin a.csv b.csv -o nvs.bin\n",
                  build, &build_nvs_command, finish);
  add_building(b, *build);
  b.add_option("csv", build->tables, "Tables: key,type,encoding,value")->required()->type_name("CSV");
  b.add_option("-o,--output", build->out, "Image to write")->required()->type_name("OUT");

  auto reading = [&](const char* name, const char* help, const char* examples, Result<Exit> (*run)(const NvsOptions&)) {
    auto options = std::make_shared<NvsOptions>();
    CLI::App& command = add_command(nvs, name, help, examples, options, run, finish);
    add_keys(command, *options);
    command.add_option("file", options->file, "Image")->required()->type_name("FILE");
    return std::pair{&command, options};
  };
  {
    auto [list, options] = reading("list", "Names, types and sizes of its entries",
                                   "  espmint image nvs list nvs.bin\n"
                                   "  espmint image nvs list --values --key-file keys.bin nvs.bin\n"
                                   "  espmint image nvs list --csv nvs.bin > settings.csv\n",
                                   &list_nvs_command);
    list->add_flag("--values", options->values, "Their values, too, which may be secret");
    list->add_flag("--csv", options->csv, "As a table that builds the same entries; with values")
        ->excludes(list->get_option("--json"));
  }
  reading("check", "Whether all that is written in it can be read (exit 0, else 1)",
          "  espmint image nvs check nvs.bin\n", &check_nvs_command);
  {
    auto [extract, options] = reading("extract", "Its entries, as nvs.csv with files for long values",
                                      "  espmint image nvs extract nvs.bin -o settings\n", &extract_nvs_command);
    extract->add_option("-o,--output", options->out, "Folder to extract into (one named after the image)")
        ->type_name("DIR");
    extract->add_flag("--force", options->force, "Overwrite files that are there and differ");
  }
  {
    auto [decrypt, options] =
        reading("decrypt", "The same partition, not encrypted",
                "  espmint image nvs decrypt nvs.bin --key-file keys.bin -o plain.bin\n", &decrypt_nvs_command);
    decrypt->add_option("-o,--output", options->out, "Image to write")->required()->type_name("OUT");
  }

  auto keys = std::make_shared<NvsOptions>();
  CLI::App& k = add_command(nvs, "keys", "Keys for encryption, as the partition nvs_keys",
                            "  espmint image nvs keys -o keys.bin\n"
                            "  espmint image nvs keys --hmac-key hmac.bin -o keys.bin\n",
                            keys, &make_nvs_keys_command, finish);
  k.add_option("--hmac-key", keys->hmac_key, "Derived from this HMAC key of 32 bytes, not random")->type_name("FILE");
  k.add_option("-o,--output", keys->out, "Key partition to write; none that is there")->required()->type_name("OUT");

  auto batch = std::make_shared<NvsOptions>();
  CLI::App& m =
      add_command(nvs, "batch", "A table and an image for each board, as ESP-IDF's Manufacturing Utility makes them",
                  "  espmint image nvs batch config.csv values.csv --size 12K --prefix fan -o boards\n"
                  "  espmint image nvs batch config.csv values.csv --size 12K --fileid serial_no -o boards\n",
                  batch, &batch_nvs_command, finish);
  add_building(m, *batch);
  m.add_option("--prefix", batch->prefix, "Begins the names of the files: csv/PREFIX-1.csv, bin/PREFIX-1.bin")
      ->type_name("P");
  m.add_option("--fileid", batch->id_column, "Column whose value ends the names (counted: 1, 2, 3)")->type_name("KEY");
  m.add_flag("--force", batch->force, "Overwrite files that are there and differ");
  m.add_option("config", batch->file, "Table of keys: key,type,encoding[,REPEAT]")->required()->type_name("CONFIG");
  m.add_option("values", batch->values_file, "Table of values: a row with the keys, then one for each board")
      ->required()
      ->type_name("VALUES");
  m.add_option("-o,--output", batch->out, "Folder to write into")->required()->type_name("DIR");
}

}  // namespace espmint::app
