// recipe/checks.hpp: whether a board that was identified is one for this plan, and what its device id is.
#pragma once

#include "base/mac.hpp"
#include "image/app_image.hpp"
#include "recipe/plan.hpp"

namespace espmint {

/// Fault chip_mismatch: "bootloader.bin is for ESP32, this board is ESP32-S3".
Result<void> check_chip(const Plan&, const ChipSpec& board);
/// Fault chip_mismatch: "bootloader.bin needs ESP32-C3 revision 0.3 or newer, this board is 0.0". `revision_full`:
/// major
/// * 100 + minor. What the chip's own bootloader would say after the reset, said before anything is written.
Result<void> check_revision(const Plan&, unsigned revision_full);
/// Both of these for one image that a person wants on this board. Fault chip_mismatch; good for a chip id that nobody
/// has.
Result<void> check_image_for_board(const AppImage&, const std::string& file, bool is_bootloader, const ChipSpec& board,
                                   unsigned revision_full);
/// Fault flash_too_small: "the table ends at 8 MB, the flash has 4 MB".
Result<void> check_flash(const Plan&, std::uint32_t flash_size);

/// Why no device can be called so, for its certificate or as a thing; empty when it can: 1 to 64 of a-z A-Z 0-9 : _ -
/// Source: AWS IoT, CreateThing, thingName (which takes 128); RFC 5280, ub-common-name.
std::string check_device_id(std::string_view id);

/// {mac}, {mac:upper}, {mac:colon} and text. Fault recipe_invalid when the result is no thing name ([a-zA-Z0-9:_-]),
/// longer than a certificate's common name (64) or does not depend on the MAC. Source: AWS IoT, CreateThing, thingName.
Result<std::string> device_id_for(std::string_view id_template, const Mac&);

}  // namespace espmint
