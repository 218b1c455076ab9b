#include <fmt/format.h>

#include "app/image_command.hpp"
#include "image/spiffs.hpp"

namespace espmint::app {
namespace {

struct SpiffsOptions : ImageOptions {
  SpiffsGeometry geometry;
  ByteCount size = 0;
  std::string file_order;
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

Result<Exit> build_spiffs_command(const SpiffsOptions& options) {
  TRY(FolderContent content, read_folder(options, Folders::left_out, options.file_order));
  TRY(Bytes image, build_spiffs(options.size, options.geometry, content.views()));
  TRY(write_file(options.out, image, content.mode));
  return report_built(options, image, content, "SPIFFS", {{"geometry", json_of(options.geometry)}});
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
  list_files(options, opened.files,
             {{"format", "spiffs"}, {"size", image.size()}, {"geometry", json_of(opened.geometry)}});
  if (options.verbose) say(options, show(opened.geometry));
  return Exit::good;
}

Result<Exit> extract_spiffs_command(const SpiffsOptions& options) {
  TRY(Bytes image, read_file(options.file));
  TRY(OpenedSpiffs opened, in_input(open_spiffs(image, options), options.file));
  return extract_files(options, opened.files, {{"geometry", json_of(opened.geometry)}});
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

}  // namespace

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
    if (run == &extract_spiffs_command) add_extraction(command, *options);
  };
  reading("list", "Names and sizes of its files",
          "  espmint image spiffs list storage.bin\n  espmint image spiffs list --json storage.bin\n",
          &list_spiffs_command);
  reading("extract", "Its files, into a folder", "  espmint image spiffs extract storage.bin -o files\n",
          &extract_spiffs_command);
  reading("check", "Whether every file in it can be read (exit 0, else 1)",
          "  espmint image spiffs check --page-size 512 storage.bin\n", &check_spiffs_command);
}

}  // namespace espmint::app
