// recipe/test_images.hpp: for tests: small firmware that is valid to its last byte, written by the formats' own words.
#pragma once

#include <string_view>

#include "base/bytes.hpp"
#include "base/hash.hpp"
#include "image/partition_table.hpp"
#include "recipe/memory_folder.hpp"

namespace espmint {

inline constexpr std::uint16_t esp32_id = 0, esp32h21_id = 25, esp32c3_id = 5, esp32s3_id = 9;

struct TestImage {
  std::uint16_t chip_id = esp32_id;
  std::string_view project{};  // empty: no description, as in a bootloader
  std::string_view version = "1.2.3";
  std::size_t payload = 64;                                     // bytes of the second segment
  std::uint32_t load_address = 0x3f40'0020;                     // the ESP32's mapped flash
  std::uint16_t oldest_revision = 0, newest_revision = 0xffff;  // major * 100 + minor
};

/// Header, one or two segments, checksum, digest. Source: ESP-IDF Programming Guide, App Image Format.
inline Bytes test_image(const TestImage& wanted) {
  Bytes first;
  if (!wanted.project.empty()) {
    put_u32(first, 0xabcd'5432);
    first.resize(256, 0);
    std::copy(wanted.version.begin(), wanted.version.end(), first.begin() + 16);
    std::copy(wanted.project.begin(), wanted.project.end(), first.begin() + 48);
  } else {
    first.resize(32, 0x11);
  }
  Bytes out{0xe9, 2, 2, 0x10};
  put_u32(out, 0x4008'0000);
  append(out, Bytes{0xee, 0, 0, 0, static_cast<std::uint8_t>(wanted.chip_id), 0, 0});
  put_u16(out, wanted.oldest_revision);
  put_u16(out, wanted.newest_revision);
  append(out, Bytes{0, 0, 0, 0, 1});
  std::uint8_t checksum = 0xef;
  for (const Bytes& segment : {first, Bytes(wanted.payload, 0x33)}) {
    put_u32(out, wanted.load_address);
    put_u32(out, static_cast<std::uint32_t>(segment.size()));
    append(out, segment);
    for (std::uint8_t byte : segment) checksum ^= byte;
  }
  out.resize(out.size() | 15, 0);
  out.push_back(checksum);
  append(out, sha256_of(out));
  return out;
}

inline constexpr std::uint32_t bootloader_ram = 0x403c'e000;  // of the ESP32-S3 and C3
inline Bytes test_bootloader(std::uint16_t chip_id = esp32_id) {
  return test_image(
      {.chip_id = chip_id, .payload = 4000, .load_address = chip_id == esp32_id ? 0x4007'8000 : bootloader_ram});
}
inline Bytes test_app(std::uint16_t chip_id = esp32_id, std::string_view project = "thermostat",
                      std::size_t payload = 5000) {
  return test_image({.chip_id = chip_id, .project = project, .payload = payload});
}

inline Bytes test_table(std::string_view csv) {
  return build_partition_table(parse_partition_csv(csv).value()).value();
}
inline constexpr std::string_view one_spiffs_csv =
    "nvs,data,nvs,0x9000,0x6000\nfactory,app,factory,0x10000,1M\nstorage,data,spiffs,,64K\n";
inline constexpr std::string_view ota_csv =
    "nvs,data,nvs,0x9000,0x5000\notadata,data,ota,0xe000,0x2000\napp0,app,ota_0,0x10000,256K\napp1,app,ota_1,,"
    "256K\nspiffs,data,spiffs,,64K\n";
inline constexpr std::string_view no_spiffs_csv = "nvs,data,nvs,0x9000,0x6000\nfactory,app,factory,0x10000,1M\n";
inline constexpr std::string_view two_spiffs_csv =
    "nvs,data,nvs,0x9000,0x6000\nfactory,app,factory,0x10000,1M\nstorage,data,spiffs,,64K\nweb,data,spiffs,,128K\n";

inline constexpr std::string_view flasher_args_json = R"({
  "write_flash_args": ["--flash_mode", "dio"],
  "flash_settings": {"flash_mode": "dio", "flash_size": "4MB", "flash_freq": "40m"},
  "flash_files": {"0x1000": "bootloader/bootloader.bin", "0x10000": "thermostat.bin", "0x8000": "partition_table/partition-table.bin"},
  "bootloader": {"offset": "0x1000", "file": "bootloader/bootloader.bin", "encrypted": "false"},
  "app": {"offset": "0x10000", "file": "thermostat.bin", "encrypted": "false"},
  "partition-table": {"offset": "0x8000", "file": "partition_table/partition-table.bin", "encrypted": "false"},
  "extra_esptool_args": {"after": "hard_reset", "chip": "esp32"}
})";

/// An ESP-IDF build folder for the ESP32 in `build`.
inline MemoryFolder idf_project(std::string_view csv = one_spiffs_csv, const std::string& build = "build/") {
  MemoryFolder folder;
  folder.put(build + "flasher_args.json", flasher_args_json);
  folder.put(build + "bootloader/bootloader.bin", test_bootloader());
  folder.put(build + "partition_table/partition-table.bin", test_table(csv));
  folder.put(build + "thermostat.bin", test_app());
  return folder;
}

/// The files of `folder` as they would lie in flash from `base` on.
inline Bytes merged(std::initializer_list<std::pair<std::uint32_t, Bytes>> parts, std::uint32_t base = 0) {
  Bytes out;
  for (const auto& [at, bytes] : parts) {
    out.resize(std::max<std::size_t>(out.size(), at - base + bytes.size()), 0xff);
    std::copy(bytes.begin(), bytes.end(), out.begin() + (at - base));
  }
  return out;
}

}  // namespace espmint
