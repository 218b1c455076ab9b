#include <fmt/format.h>

#include "app/app_image_report.hpp"
#include "app/image_command.hpp"
#include "image/app_image.hpp"

namespace espmint::app {
namespace {

using AppOptions = ImageOptions;

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
  add("check", "Whether checksum and SHA-256 match (exit 0, else 1)",
      "  espmint image app check build/thermostat.bin\n", &check_app_command);
}

}  // namespace espmint::app
