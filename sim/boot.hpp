// sim/boot.hpp: what happens after a reset into flash: the ROM checks the bootloader, the bootloader checks the
// partition table and the application, and each says on the serial line what it found.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "sim/chips.hpp"

namespace espmint::sim {

struct Partition {
  std::string label;
  std::uint8_t type = 0, subtype = 0;
  std::uint32_t at = 0, size = 0;
};

/// By which an image says which application it is (sim/app_firmware.hpp): behind the application description, filled up
/// with zeros, this and the kind's name.
inline constexpr std::string_view app_marker = "espmint-sim-app:";
inline constexpr std::size_t app_description_bytes = 256, app_marker_bytes = 48;

struct Boot {
  std::string rom_text;  // behind the banner; also when nothing runs
  std::string log;       // the second-stage bootloader's and the application's start
  bool running = false;  // an application runs; else the watchdog resets the chip
  std::vector<Partition> partitions;
  std::string app_kind;  // behind app_marker; or empty
};

/// With flash encryption nothing that lies there in clear boots; with secure boot a bootloader without a signature
/// block does not. No signature is verified. Source: ESP-IDF, Bootloader, Application Image Format, Partition Tables.
Boot boot(const Chip&, ByteView flash);

/// An image as the bootloader sees it: header, segments, checksum, digest.
struct ImageCheck {
  std::string fault;  // empty when good
  struct Segment {
    std::uint32_t flash_at, address, size;
  };
  std::vector<Segment> segments;
  std::uint32_t entry = 0;
  std::uint32_t size = 0;  // with checksum and digest
};
ImageCheck check_image(const ChipRow&, ByteView flash, std::uint32_t at, std::uint32_t limit);

/// The second-stage bootloader's view of the table; nothing when it would not boot by it.
std::optional<std::vector<Partition>> read_partition_table(ByteView flash, std::uint32_t at, std::string& fault);

}  // namespace espmint::sim
