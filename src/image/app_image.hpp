// image/app_image.hpp: the image format that the ROM and the second-stage bootloader load (bootloader and apps alike).
// Layout: docs/formats/app-image.md.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/hash.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace espmint {

struct AppSegment {
  std::uint32_t load_address = 0;
  std::uint32_t size = 0;         // bytes
  std::uint32_t file_offset = 0;  // of its data, from the image's start
};

/// The `esp_app_desc_t` that ESP-IDF puts at the start of an app's first segment.
struct AppDescription {
  std::uint32_t secure_version = 0;
  std::string version, project_name, time, date, idf_version;
  Sha256 elf_sha256{};
};

struct AppImage {
  std::uint8_t flash_mode = 0;            // header byte 2: 0 QIO, 1 QOUT, 2 DIO, 3 DOUT
  std::uint8_t flash_frequency_code = 0;  // header byte 3, low nibble
  std::uint8_t flash_size_code = 0;       // header byte 3, high nibble: 0 = 1 MB, 1 = 2 MB, 2 = 4 MB, …
  std::uint32_t entry = 0;
  std::uint8_t wp_pin = 0;  // 0xee: none
  std::uint16_t chip_id = 0;
  std::uint8_t min_revision = 0;                               // old style, major only
  std::uint16_t min_revision_full = 0, max_revision_full = 0;  // major * 100 + minor
  bool has_digest = false;                                     // SHA-256 appended
  std::vector<AppSegment> segments;
  std::uint8_t checksum = 0, checksum_expected = 0;  // what the image says, what its bytes have
  std::optional<Sha256> digest, digest_expected;     // the same; nothing without `has_digest`
  std::optional<AppDescription> description;
  std::uint32_t size = 0;  // bytes of the image with checksum and digest; what follows in the file is not it
  [[nodiscard]] bool intact() const { return checksum == checksum_expected && digest == digest_expected; }
};

/// Revisions of its chip that an image says it runs on: major * 100 + minor.
struct RevisionRange {
  unsigned oldest = 0;
  std::optional<unsigned> newest;
};

/// Any bytes in. Fault (refuse, firmware_damaged) for what is no image; a wrong checksum or digest is reported in the
/// value (`intact()`), not as a fault, so that `app list` can show it.
Result<AppImage> parse_app_image(ByteView bytes);
/// What the header says about revisions. Images from before ESP-IDF 5 fill only the old field, which is a major
/// revision (a minor one on the ESP32-C3).
RevisionRange revisions_of(const AppImage&);
/// Whether a segment is mapped from flash, as in every app that a bootloader starts; a bootloader itself is loaded into
/// RAM to its last byte. True for a chip whose memory map the table does not know.
bool runs_from_flash(const AppImage&);
/// Nothing for sizes the header cannot say.
std::optional<std::uint8_t> flash_size_code_of(ByteCount flash_size);
std::optional<ByteCount> flash_size_of_code(std::uint8_t code);
/// "dio", "80m", "esp32c3"; empty for what the tables do not know. A frequency's code means another one on another
/// chip.
std::string_view flash_mode_name(std::uint8_t mode);
std::string_view flash_frequency_name(std::uint8_t code, std::uint16_t chip_id);
std::string_view image_chip_name(std::uint16_t chip_id);
/// The other way round; nothing for a name that means none on this chip.
std::optional<std::uint8_t> flash_mode_of(std::string_view name);
std::optional<std::uint8_t> flash_frequency_of(std::string_view name, std::uint16_t chip_id);

/// The bytes of a segment, joined by exclusive or: what it adds to the checksum.
std::uint8_t app_checksum_of(ByteView data);

/// What an image's header says of the flash it lies in; nothing: as it is.
struct FlashHeader {
  std::optional<std::uint8_t> mode, frequency_code;
  std::optional<ByteCount> size;
  auto operator<=>(const FlashHeader&) const = default;
};
/// The image with its header saying this, its digest made valid again. Same bytes when it says so already.
/// Bytes behind the image (a signature, which this breaks) stay. Faults: firmware_damaged for an image that is not
/// intact, image_invalid for a size the header cannot say.
Result<Bytes> with_flash_header(ByteView image, const FlashHeader& wanted);
inline Result<Bytes> with_flash_size(ByteView image, ByteCount flash_size) {
  return with_flash_header(image, {.mode = {}, .frequency_code = {}, .size = flash_size});
}

}  // namespace espmint
