#include <fmt/format.h>

#include "base/text.hpp"
#include "recipe/firmware.hpp"

namespace espmint {
namespace {

Fault does_not_fit(std::string what, std::string advice) {
  return {Code::firmware_does_not_fit, Remedy::refuse, std::move(what), {}, {}, std::move(advice)};
}

const Partition* home_of(const PartitionTable& table, FlashOffset at) {
  for (const Partition& partition : table.partitions)
    if (partition.range.at <= at && at.bytes < partition.range.end()) return &partition;
  return nullptr;
}

std::string source_at(const FirmwareSet& set, FlashOffset at) {
  for (const FirmwarePart& part : set.parts)
    if (part.at == at) return part.source;
  return "the partition table";
}

Result<AppImage> check_image(const FirmwarePart& part) {
  TRY(AppImage image, in_input(parse_app_image(part.bytes), part.source));
  if (image.intact()) return image;
  Fault fault{Code::firmware_damaged, Remedy::refuse, fmt::format("{} is damaged", part.source)};
  fault.seen =
      image.checksum != image.checksum_expected
          ? fmt::format("its checksum is {:#04x}, its bytes have {:#04x}", image.checksum, image.checksum_expected)
          : "its SHA-256 does not match its bytes";
  fault.advice = "Build it again, or copy it again";
  return fail(std::move(fault));
}

/// A bootloader is loaded into RAM as a whole and describes no project; an app without a description (older than
/// ESP-IDF 4, or another framework's) is still mapped from flash.
bool is_app(const AppImage& image) { return image.description || runs_from_flash(image); }

Result<void> check_role(const AppImage& image, const FirmwarePart& part, bool bootloader) {
  if (bootloader && image.description)
    return fail({Code::firmware_incomplete,
                 Remedy::refuse,
                 fmt::format("{} is an app, not a bootloader", part.source),
                 {},
                 fmt::format("it describes the project \"{}\"", image.description->project_name),
                 "Put the bootloader of the same build in its place"});
  if (!bootloader && !is_app(image))
    return fail({Code::firmware_incomplete,
                 Remedy::refuse,
                 fmt::format("{} is a bootloader, not an app", part.source),
                 {},
                 "it has no description and is loaded into RAM as a whole",
                 "Name the app itself: firmware.bin, SKETCH.ino.bin, or build/PROJECT.bin"});
  return ok();
}

/// The same file in both places would start nothing, whatever it is.
const FirmwarePart* twin_of(const FirmwareSet& set, const FirmwarePart& bootloader) {
  for (const FirmwarePart& part : set.parts)
    if (part.at != bootloader.at && part.bytes == bootloader.bytes) return &part;
  return nullptr;
}

}  // namespace

Result<void> check_firmware(const FirmwareSet& set) {
  bool has_bootloader = false, has_app = false;
  for (std::size_t i = 0; i < set.parts.size(); ++i) {
    const FirmwarePart& part = set.parts[i];
    if (i > 0 && set.parts[i - 1].range().overlaps(part.range()))
      return fail(does_not_fit(fmt::format("{} ({}) and {} overlap in flash", set.parts[i - 1].source,
                                           show_bytes(set.parts[i - 1].bytes.size()), part.source),
                               part.at == set.table_at ? "The bootloader grew into the partition table: move the table "
                                                         "(CONFIG_PARTITION_TABLE_OFFSET) or log less"
                                                       : "Check the offsets"));
    bool bootloader = part.at == set.chip->bootloader;
    const Partition* home = home_of(set.table, part.at);
    has_bootloader = has_bootloader || bootloader;
    has_app = has_app || (home && home->is_app());
    if (bootloader || (home && home->is_app())) {
      TRY(AppImage image, check_image(part));
      TRY(check_role(image, part, bootloader));
    }
    if (part.at.bytes % 0x1000 != 0)
      return fail(does_not_fit(fmt::format("{} begins at {:#x}, within a sector of flash", part.source, part.at.bytes),
                               "Offsets are multiples of 0x1000: a sector can only be erased whole"));
    if (home && part.range().end() > home->range.end())
      return fail(does_not_fit(fmt::format("{} has {} bytes, partition \"{}\" has room for {}", part.source,
                                           part.bytes.size(), home->name, home->range.end() - part.at.bytes),
                               "Make the partition larger in partitions.csv, or the firmware smaller"));
    for (const Partition& other : set.table.partitions)
      if (!home && part.at != set.table_at && !bootloader && part.range().overlaps(other.range))
        return fail(does_not_fit(
            fmt::format("{} at {:#x} reaches into partition \"{}\"", part.source, part.at.bytes, other.name),
            "Check the offsets"));
  }
  for (const FirmwarePart& part : set.parts)
    if (const FirmwarePart* twin = part.at == set.chip->bootloader ? twin_of(set, part) : nullptr)
      return fail({Code::firmware_incomplete,
                   Remedy::refuse,
                   fmt::format("{} goes to the bootloader's place and as {} to another", part.source, twin->source),
                   {},
                   {},
                   "One is the bootloader, the other the app: name the build's own files"});
  if (!has_bootloader)
    return fail(
        {Code::firmware_incomplete,
         Remedy::refuse,
         fmt::format("no bootloader goes to {:#x}, where {} looks for it", set.chip->bootloader.bytes, set.chip->title),
         {},
         {},
         "Is the set built for this chip?"});
  if (set.table.partitions.empty())
    return fail({Code::firmware_damaged,
                 Remedy::refuse,
                 fmt::format("{} has no partition at all", source_at(set, set.table_at)),
                 {},
                 {},
                 "Build the firmware again, or copy the table again"});
  if (!has_app)
    return fail({Code::firmware_incomplete,
                 Remedy::refuse,
                 "no app goes to any app partition",
                 {},
                 {},
                 "Build the whole project"});
  if (set.stated_flash_size && set.table.end() > *set.stated_flash_size)
    return fail(does_not_fit(fmt::format("the partition table ends at {}, the build is for {} of flash",
                                         show_bytes(set.table.end()), show_bytes(*set.stated_flash_size)),
                             "Set the flash size in menuconfig, or choose a smaller table, and rebuild"));
  return ok();
}

}  // namespace espmint
