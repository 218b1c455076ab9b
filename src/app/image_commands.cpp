#include "app/image_commands.hpp"

#include "app/image_command.hpp"

namespace espmint::app {

void add_image_commands(CLI::App& espmint, std::function<void(int exit_code)> finish) {
  CLI::App& image = *espmint.add_subcommand("image", "Build, list, extract and check images without a board");
  image.require_subcommand(1);
  image.footer(
      "\nExamples:\n  espmint image spiffs build --size 0xF0000 spiffs_image -o storage.bin\n"
      "  espmint image partitions list partition-table.bin\n  espmint image app check build/thermostat.bin\n");
  add_spiffs(image, finish);
  add_littlefs(image, finish);
  add_partitions(image, finish);
  add_app(image, finish);
  add_fat(image, finish);
  add_nvs(image, finish);
  add_merge(image, finish);
}

}  // namespace espmint::app
