// sim/make_firmware.hpp: a build folder as ESP-IDF leaves it, for boards that only exist here: the headers, digests and
// descriptions are right, the code is not code but compresses like it. Equal options, equal bytes.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace espmint::sim {

struct FirmwareOptions {
  std::filesystem::path folder;  // becomes the build folder
  std::string chip = "esp32";
  std::string project = "thermostat";
  std::string version = "1.0.0";
  ByteCount app_bytes = 1024 * 1024;  // the whole app image; from 4 KiB, rounded up to 16
  ByteCount bootloader_bytes = 26 * 1024;
  ByteCount storage_bytes = 64 * 1024;  // the partition for the identity
  ByteCount flash_size = 4 * 1024 * 1024;
  std::uint64_t seed = 1;
  std::string app = "challenge";    // what the board does that runs it: a kind of sim/app_firmware.hpp
  std::string identity = "spiffs";  // where the identity is to lie: a name of all_identity_kinds()
};

/// What the partition for the identity can be; "nvs-encrypted" brings a partition for its keys.
std::span<const std::string_view> all_identity_kinds();

/// Faults: usage (chip, kind of app or identity, sizes that do not fit the flash), output_unwritable.
Result<void> write_firmware(const FirmwareOptions&);

/// The same as values, for tests without files.
struct Firmware {
  Bytes bootloader, partition_table, app;
  std::uint32_t bootloader_at = 0, table_at = 0x8000, app_at = 0x10000;
  std::uint32_t storage_at = 0, storage_bytes = 0;
  std::uint32_t keys_at = 0;  // of the partition nvs_keys; 0: there is none
  std::string table_csv, flasher_args, sdkconfig_json, sdkconfig_header, description;
};
Result<Firmware> make_firmware(const FirmwareOptions&);

}  // namespace espmint::sim
