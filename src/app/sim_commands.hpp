// app/sim_commands.hpp: virtual boards and firmware for rehearsal: sim board, sim firmware, sim read.
#pragma once

#include <cstdint>
#include <string>

#include "app/terminal.hpp"
#include "base/result.hpp"

namespace espmint::app {

struct SimBoardCommand {
  std::size_t count = 1;
  std::string chip = "esp32";
  std::string flash_size = "4MB";
  std::string preset = "fast";
  std::uint64_t seed = 1;
  bool dirty = false;
  unsigned vanish_ms = 0;  // native USB; 0: an adapter
  std::string revision;    // "3.1"; empty: the chip's usual one
  unsigned crystal_mhz = 0;
  bool secure_boot = false, flash_encryption = false, secure_download = false;
  std::string hmac_key;  // a file of 32 bytes; empty: none is burnt
  std::string symptom;   // empty: healthy
  std::string folder;    // where flash files and links lie; empty: a temporary one
  Voice voice;
};
/// Runs until interrupted; a line of JSON per board at the start.
Exit sim_board(const SimBoardCommand&);

struct SimFirmwareCommand {
  std::string folder;
  std::string chip = "esp32";
  std::string app_size = "1MB";
  std::string storage_size;  // of the partition for the identity; empty: the default
  std::string app = "challenge";
  std::string identity = "spiffs";
  std::uint64_t seed = 1;
  Voice voice;
};
/// Writes a deterministic ESP-IDF-shaped build folder.
Exit sim_firmware(const SimFirmwareCommand&);

struct SimReadCommand {
  std::string file;      // a board's whole flash, or its beginning
  std::string hmac_key;  // as in SimBoardCommand
  Voice voice;
};
/// What the virtual board's own readers find, partition by partition: names, sizes and SHA-256, never contents. Ends
/// with board_failed when something did not mount.
Exit sim_read(const SimReadCommand&);

}  // namespace espmint::app
