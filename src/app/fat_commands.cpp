#include <fmt/format.h>

#include "app/image_command.hpp"
#include "image/fat.hpp"
#include "image/wear_levelling.hpp"

namespace espmint::app {
namespace {

struct FatOptions : ImageOptions {
  FatGeometry geometry;
  ByteCount size = 0;
  bool detect = false;
  bool wear_levelling = false;
  std::string wl_mode = "perf";
  std::optional<std::uint32_t> device_id;

  [[nodiscard]] WearLevelling levelling() const {
    return {.sector_size = geometry.sector_size,
            .mode = wl_mode == "safe" ? WlMode::safe : WlMode::perf,
            .device_id = device_id};
  }
};

Json json_of(const FatVolume& volume) {
  return {
      {"sector_size", volume.geometry.sector_size},       {"sectors_per_cluster", volume.geometry.sectors_per_cluster},
      {"root_entry_count", volume.geometry.root_entries}, {"fat_type", volume.geometry.fat_type},
      {"fat_count", volume.geometry.fat_count},           {"volume_id", volume.geometry.volume_id.value_or(0)}};
}

std::string show(const FatVolume& volume) {
  return fmt::format("FAT{}, sectors {}, {} clusters of {}, {} FAT{}", volume.geometry.fat_type,
                     volume.geometry.sector_size, volume.clusters,
                     volume.geometry.sector_size * volume.geometry.sectors_per_cluster, volume.geometry.fat_count,
                     volume.geometry.fat_count == 1 ? "" : "s");
}

Result<Bytes> build_volume(const FatOptions& options, const FolderContent& content) {
  std::vector<FileView> files = content.views();
  ByteCount size = options.size;
  if (options.detect) {
    TRY(size, smallest_fat(options.geometry, files));
  }
  if (!options.wear_levelling) return build_fat(size, options.geometry, files);
  if (options.detect) {
    TRY(size, partition_for_wear_levelling(size, options.levelling()));
  }
  TRY(ByteCount room, room_in_wear_levelling(size, options.levelling()));
  TRY(Bytes volume, build_fat(room, options.geometry, files));
  return wrap_in_wear_levelling(volume, size, options.levelling());
}

Result<Exit> build_fat_command(const FatOptions& options) {
  TRY(FolderContent content, read_folder(options, Folders::kept));
  TRY(Bytes image, build_volume(options, content));
  TRY(write_file(options.out, image, content.mode));
  const FatGeometry& g = options.geometry;
  return report_built(options, image, content, options.wear_levelling ? "FAT with wear levelling" : "FAT",
                      {{"geometry",
                        {{"sector_size", g.sector_size},
                         {"sectors_per_cluster", g.sectors_per_cluster},
                         {"root_entry_count", g.root_entries},
                         {"fat_count", g.fat_count},
                         {"long_names", g.long_names}}},
                       {"wear_levelling", options.wear_levelling}});
}

struct OpenedFat {
  FatVolume volume;
  std::optional<Unwrapped> levelling;  // without its content
  std::vector<FileOwned> files;
};

Result<OpenedFat> open_fat(Bytes image) {
  OpenedFat out;
  if (is_wear_levelled(image)) {
    TRY(out.levelling, unwrap_wear_levelling(image));
    image = std::exchange(out.levelling->content, {});
  }
  TRY(out.volume, parse_fat_header(image));
  TRY(out.files, read_fat(image));
  return out;
}

Json json_of(const std::optional<Unwrapped>& levelling) {
  if (!levelling) return {};
  return {
      {"device_id", levelling->device_id}, {"position", levelling->position}, {"move_count", levelling->move_count}};
}

Result<Exit> list_fat_command(const FatOptions& options) {
  TRY(Bytes image, read_file(options.file));
  const std::size_t size = image.size();
  TRY(OpenedFat opened, in_input(open_fat(std::move(image)), options.file));
  list_files(options, opened.files,
             {{"format", "fat"},
              {"size", size},
              {"geometry", json_of(opened.volume)},
              {"wear_levelling", json_of(opened.levelling)}});
  if (options.verbose) say(options, show(opened.volume) + (opened.levelling ? ", wear levelling" : ""));
  return Exit::good;
}

Result<Exit> extract_fat_command(const FatOptions& options) {
  TRY(Bytes image, read_file(options.file));
  TRY(OpenedFat opened, in_input(open_fat(std::move(image)), options.file));
  return extract_files(options, opened.files,
                       {{"geometry", json_of(opened.volume)}, {"wear_levelling", json_of(opened.levelling)}});
}

Result<Exit> check_fat_command(const FatOptions& options) {
  TRY(Bytes image, read_file(options.file));
  auto summary = [&]() -> Result<std::string> {
    TRY(OpenedFat opened, in_input(open_fat(std::move(image)), options.file));
    auto files = std::count_if(opened.files.begin(), opened.files.end(),
                               [](const FileOwned& file) { return !file.is_folder(); });
    return fmt::format("{} files in a FAT of {}, {}{}", files, show_bytes(opened.volume.size), show(opened.volume),
                       opened.levelling ? ", inside of wear levelling" : "");
  };
  return report_check(options, summary());
}

/// A number that is chosen where it is not given.
void id_option(CLI::App& command, const std::string& name, std::optional<std::uint32_t>& target,
               const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&target, name](const std::string& text) {
            std::optional<std::uint64_t> number = parse_number(text);
            if (!number || *number > 0xffff'ffff)
              throw CLI::ValidationError(name, "'" + text + "' is no number of 32 bits (439041101, 0x1a2b3c4d)");
            target = static_cast<std::uint32_t>(*number);
          },
          help)
      ->type_name("N");
}

}  // namespace

void add_fat(CLI::App& image, const Finish& finish) {
  CLI::App& fat = add_format(image, "fat", "FAT partitions, with or without wear levelling");
  auto build = std::make_shared<FatOptions>();
  CLI::App& b = add_command(
      fat, "build", "A folder as a FAT partition, bit for bit as ESP-IDF's fatfsgen and wl_fatfsgen make it",
      "  espmint image fat build --size 1M --wear-levelling --long-names fat_image -o storage.bin\n"
      "  espmint image fat build --size detect --sector-size 512 files -o storage.bin\n",
      build, &build_fat_command, finish);
  b.add_option_function<std::string>(
       "--size",
       [build](const std::string& text) {
         std::optional<std::uint64_t> number = parse_number(text);
         build->detect = text == "detect";
         if (!number && !build->detect)
           throw CLI::ValidationError("--size", "'" + text + "' is no number (0xF0000, 960K, 4MB) and not 'detect'");
         build->size = number.value_or(0);
       },
       "The partition's size, or 'detect': the smallest that holds the files")
      ->type_name("N|detect")
      ->required();
  FatGeometry& geometry = build->geometry;
  number_option(b, "--sector-size", geometry.sector_size, "512, 1024, 2048 or 4096 (4096), CONFIG_WL_SECTOR_SIZE");
  number_option(b, "--fat-type", geometry.fat_type, "12, 16, or 0: whichever the size makes (0)");
  number_option(b, "--fat-count", geometry.fat_count, "Copies of the allocation table, 1 or 2 (2)");
  number_option(b, "--sectors-per-cluster", geometry.sectors_per_cluster, "A power of two (1)");
  number_option(b, "--root-entry-count", geometry.root_entries, "Entries of the root folder (512)");
  b.add_flag("--long-names", geometry.long_names, "Names past 8.3; the firmware needs CONFIG_FATFS_LONG_FILENAMES");
  id_option(b, "--volume-id", geometry.volume_id, "The volume's serial number (a checksum of the content)");
  CLI::Option* levelling =
      b.add_flag("--wear-levelling", build->wear_levelling, "As firmware mounts it read-write from flash");
  b.add_option("--wl-mode", build->wl_mode, "CONFIG_WL_SECTOR_MODE, for sectors of 512 (perf)")
      ->check(CLI::IsMember({"safe", "perf"}))
      ->needs(levelling);
  id_option(b, "--device-id", build->device_id, "Of the wear levelling (a checksum of the content)");
  b.get_option("--device-id")->needs(levelling);
  b.add_option("dir", build->file, "Folder with the files")->required()->type_name("DIR");
  b.add_option("-o,--output", build->out, "Image to write")->required()->type_name("OUT");

  auto reading = [&](const char* name, const char* help, const char* examples, Result<Exit> (*run)(const FatOptions&)) {
    auto options = std::make_shared<FatOptions>();
    CLI::App& command = add_command(fat, name, help, examples, options, run, finish);
    command.add_option("file", options->file, "Image")->required()->type_name("FILE");
    if (run == &extract_fat_command) add_extraction(command, *options);
  };
  reading("list", "Names and sizes of its files and folders",
          "  espmint image fat list storage.bin\n  espmint image fat list --json storage.bin\n", &list_fat_command);
  reading("extract", "Its files and folders, into a folder", "  espmint image fat extract storage.bin -o files\n",
          &extract_fat_command);
  reading("check", "Whether everything in it can be read (exit 0, else 1)", "  espmint image fat check storage.bin\n",
          &check_fat_command);
}

}  // namespace espmint::app
