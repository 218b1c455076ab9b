// recipe/firmware.hpp: finds the firmware in whatever a user has, and proves that its parts belong together.
//   TRY(FirmwareSet set, find_firmware(folder, "build", {}));
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chip/chip.hpp"
#include "image/app_image.hpp"
#include "image/partition_table.hpp"
#include "image/spiffs.hpp"
#include "recipe/folder.hpp"

namespace espmint {

/// A file, or a piece of a merged one, and where it goes.
struct FirmwarePart {
  FlashOffset at;
  Bytes bytes;
  std::string source;  // for people: "build/bootloader/bootloader.bin", "all.bin (app0)"
  [[nodiscard]] FlashRange range() const { return {at, static_cast<std::uint32_t>(bytes.size())}; }
};

struct FirmwareSet {
  std::string found_as;             // "ESP-IDF build folder build", for people
  const ChipSpec* chip = nullptr;   // what all image headers say
  std::vector<FirmwarePart> parts;  // in flash order
  PartitionTable table;
  FlashOffset table_at{0x8000};
  std::vector<FlashRange> blank;               // partitions that a merged image holds erased
  std::optional<SpiffsGeometry> geometry;      // CONFIG_SPIFFS_* of the build, where that is known
  std::optional<ByteCount> stated_flash_size;  // what the build was made for
  std::string project, version;                // of the app
  bool named_after_file = false;               // the app does not say its project's name
  std::vector<std::string> notes;              // sentences for the person: what lies here and is (not) used
};

struct FirmwareOptions {
  std::string chip = "auto";  // or a name: images for another chip are refused
};

/// `path`: an ESP-IDF build folder or its project, a PlatformIO or Arduino build folder, a folder with firmware.bin, a
/// merged image, or an app with bootloader and partition table beside it or in ".". Empty: what lies in ".".
/// Faults (refuse): input_missing, input_invalid, firmware_incomplete (says what is missing and where it goes),
/// firmware_wrong_chip, firmware_does_not_fit, firmware_damaged, usage.
Result<FirmwareSet> find_firmware(const Folder&, const std::string& path, const FirmwareOptions& = {});

/// Damage, room, overlaps; that there is a bootloader where the chip wants it, and an app.
Result<void> check_firmware(const FirmwareSet&);

/// CONFIG_SPIFFS_* of an sdkconfig or config/sdkconfig.json; any bytes in. Nothing where SPIFFS is not configured.
std::optional<SpiffsGeometry> spiffs_geometry_of_sdkconfig(std::string_view text);

}  // namespace espmint
