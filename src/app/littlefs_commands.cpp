#include <fmt/format.h>

#include "app/image_command.hpp"
#include "image/littlefs.hpp"

namespace espmint::app {
namespace {

struct LittlefsOptions : ImageOptions {
  LittlefsGeometry geometry;
  ByteCount size = 0;
};

Json json_of(const LittlefsSuperblock& s) {
  return {{"disk_version", fmt::format("{}.{}", s.major, s.minor)},
          {"block_size", s.block_size},
          {"block_count", s.block_count},
          {"name_max", s.name_max}};
}

std::string show(const LittlefsSuperblock& s) {
  return fmt::format("disk version {}.{}, {} blocks of {}, names up to {}", s.major, s.minor, s.block_count,
                     s.block_size, s.name_max);
}

struct OpenedLittlefs {
  LittlefsSuperblock superblock;
  std::vector<FileOwned> tree;
};

Result<OpenedLittlefs> open_littlefs(const Bytes& image, const LittlefsOptions& options) {
  TRY(LittlefsSuperblock superblock, in_input(read_littlefs_superblock(image, options.geometry), options.file));
  TRY(std::vector<FileOwned> tree, in_input(read_littlefs(image, options.geometry), options.file));
  return OpenedLittlefs{superblock, std::move(tree)};
}

Result<Exit> build_littlefs_command(const LittlefsOptions& options) {
  TRY(FolderContent content, read_folder(options, Folders::kept));
  TRY(Bytes image, build_littlefs(options.size, options.geometry, content.views()));
  TRY(LittlefsSuperblock superblock, read_littlefs_superblock(image, options.geometry));
  TRY(write_file(options.out, image, content.mode));
  return report_built(options, image, content, "LittleFS", {{"geometry", json_of(superblock)}});
}

Result<Exit> list_littlefs_command(const LittlefsOptions& options) {
  TRY(Bytes image, read_file(options.file));
  TRY(OpenedLittlefs opened, open_littlefs(image, options));
  list_files(options, opened.tree,
             {{"format", "littlefs"}, {"size", image.size()}, {"geometry", json_of(opened.superblock)}});
  if (options.verbose) say(options, show(opened.superblock));
  return Exit::good;
}

Result<Exit> extract_littlefs_command(const LittlefsOptions& options) {
  TRY(Bytes image, read_file(options.file));
  TRY(OpenedLittlefs opened, open_littlefs(image, options));
  return extract_files(options, opened.tree, {{"geometry", json_of(opened.superblock)}});
}

Result<Exit> check_littlefs_command(const LittlefsOptions& options) {
  TRY(Bytes image, read_file(options.file));
  auto summary = [&]() -> Result<std::string> {
    TRY(OpenedLittlefs opened, open_littlefs(image, options));
    auto files = std::count_if(opened.tree.begin(), opened.tree.end(), [](const auto& f) { return !f.is_folder(); });
    return fmt::format("{} files in a LittleFS of {}, {}", files, show_bytes(image.size()), show(opened.superblock));
  };
  return report_check(options, summary());
}

}  // namespace

void add_littlefs(CLI::App& image, const Finish& finish) {
  CLI::App& littlefs = add_format(image, "littlefs", "LittleFS partitions");
  auto build = std::make_shared<LittlefsOptions>();
  CLI::App& b = add_command(littlefs, "build", "A folder's files and folders as a LittleFS partition, disk version 2.1",
                            "  espmint image littlefs build --size 1M littlefs -o storage.bin\n"
                            "  espmint image littlefs build --size 0xF0000 --name-max 64 files -o storage.bin\n",
                            build, &build_littlefs_command, finish);
  number_option(b, "--size", build->size, "The partition's size")->required();
  number_option(b, "--block-size", build->geometry.block_size, "The flash's erase sector (4096)");
  number_option(b, "--name-max", build->geometry.name_max, "Longest name, at most the firmware's LFS_NAME_MAX (255)");
  b.add_option("dir", build->file, "Folder with the files")->required()->type_name("DIR");
  b.add_option("-o,--output", build->out, "Image to write")->required()->type_name("OUT");

  auto reading = [&](const char* name, const char* help, const char* examples,
                     Result<Exit> (*run)(const LittlefsOptions&)) {
    auto options = std::make_shared<LittlefsOptions>();
    CLI::App& command = add_command(littlefs, name, help, examples, options, run, finish);
    number_option(command, "--block-size", options->geometry.block_size,
                  "Tried first; the image itself states it (4096)");
    command.add_option("file", options->file, "Image")->required()->type_name("FILE");
    if (run == &extract_littlefs_command) add_extraction(command, *options);
  };
  reading("list", "Names and sizes of its files, and its folders",
          "  espmint image littlefs list storage.bin\n  espmint image littlefs list --json storage.bin\n",
          &list_littlefs_command);
  reading("extract", "Its files and folders, into a folder", "  espmint image littlefs extract storage.bin -o files\n",
          &extract_littlefs_command);
  reading("check", "Whether everything in it can be read (exit 0, else 1)",
          "  espmint image littlefs check storage.bin\n", &check_littlefs_command);
}

}  // namespace espmint::app
