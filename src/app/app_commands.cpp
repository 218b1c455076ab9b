#include <fmt/format.h>

#include "app/app_image_report.hpp"
#include "app/flash_header_words.hpp"
#include "app/image_command.hpp"
#include "base/hash.hpp"
#include "image/app_build.hpp"
#include "image/app_image.hpp"

namespace espmint::app {
namespace {

using AppOptions = ImageOptions;

struct AppBuildWords : ImageOptions {
  std::string chip, secure_pad = "none";
  FlashHeaderWords header;
  bool no_digest = false;
  std::uint32_t elf_sha256_at = 0;  // 0: nowhere; the header is there
  AppBuildOptions build;

  [[nodiscard]] Result<AppBuildOptions> chosen() const {
    AppBuildOptions wanted = build;
    TRY(const ChipSpec* spec, chip_of_word(chip));
    wanted.chip_id = spec->image_chip_id;
    TRY(FlashHeader wished, header.chosen(spec));
    wanted.flash_mode = wished.mode.value_or(wanted.flash_mode);
    wanted.frequency_code = wished.frequency_code;
    wanted.flash_size = wished.size.value_or(wanted.flash_size);
    wanted.digest = !no_digest;
    if (elf_sha256_at != 0) wanted.elf_sha256_at = elf_sha256_at;
    wanted.secure_pad = secure_pad == "v1" ? SecurePad::v1 : secure_pad == "v2" ? SecurePad::v2 : SecurePad::none;
    return wanted;
  }
};

Result<Exit> build_app_command(const AppBuildWords& options) {
  TRY(AppBuildOptions chosen, options.chosen());
  TRY(Bytes elf, read_file(options.file));
  TRY(Bytes image, in_input(build_app_image(elf, chosen), options.file));
  TRY(write_file(options.out, image, mode_like(options.file)));
  if (options.json || options.verbose) {
    TRY(AppImage built, parse_app_image(image));
    if (options.json) {
      Json json = app_image_json(built);
      json["out"] = options.out;
      json["size"] = image.size();
      json["sha256"] = to_hex(sha256_of(image));
      print_json(json);
      return Exit::good;
    }
    say(options, app_image_text(built));
  }
  say(options, fmt::format("{}: {} segments in an image of {} bytes for {}", options.out, image[1], image.size(),
                           image_chip_name(chosen.chip_id)));
  return Exit::good;
}

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

}  // namespace

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
  auto build = std::make_shared<AppBuildWords>();
  CLI::App& b = add_command(app, "build", "The image of an ELF file, bit for bit as esptool's elf2image makes it",
                            "  espmint image app build --chip esp32c3 build/thermostat.elf -o thermostat.bin\n"
                            "  espmint image app build --chip esp32 --flash-mode dio --flash-freq 80m --flash-size 4MB "
                            "--elf-sha256-offset 0xb0 thermostat.elf -o thermostat.bin\n",
                            build, &build_app_command, finish);
  b.add_option("--chip", build->chip, "Such as esp32 or esp32c3")->required()->type_name("CHIP");
  add_flash_header(b, build->header, {"qio", "the chip's usual one", "1MB"});
  number_option(b, "--min-rev", build->build.min_revision, "Oldest revision it runs on: major * 100 + minor (0)");
  number_option(b, "--max-rev", build->build.max_revision, "Newest one, the same (65535)");
  number_option(b, "--elf-sha256-offset", build->elf_sha256_at, "Put the ELF's SHA-256 here: 0xb0 in an app (nowhere)");
  b.add_flag("--no-digest", build->no_digest, "No SHA-256 behind the checksum");
  b.add_option("--secure-pad", build->secure_pad, "Room for a signature of secure boot, so that it ends a 64 KB page")
      ->check(CLI::IsMember({"none", "v1", "v2"}))
      ->type_name("none|v1|v2");
  number_option(b, "--flash-mmu-page-size", build->build.page_bytes,
                "Page of the flash cache, where the chip has several (64K)");
  number_option(b, "--pad-to-size", build->build.pad_to, "Erased flash behind it up to a multiple of this");
  b.add_flag("--use-segments", build->build.from_segments, "By the ELF's segments instead of its sections");
  b.add_option("file", build->file, "ELF file")->required()->type_name("ELF");
  b.add_option("-o,--output", build->out, "Image to write")->required()->type_name("OUT");
  add("check", "Whether checksum and SHA-256 match (exit 0, else 1)",
      "  espmint image app check build/thermostat.bin\n", &check_app_command);
}

}  // namespace espmint::app
