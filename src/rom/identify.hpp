// rom/identify.hpp: who is on the line: chip, revision, MAC, flash, and what its eFuses forbid. Reads only.
#pragma once

#include "rom/loader.hpp"

namespace espmint {

struct Security {
  bool secure_boot = false;
  bool flash_encryption = false;
  bool jtag_disabled = false;
  bool download_disabled = false;        // UART download mode switched off for good
  bool secure_download = false;          // only a few commands are answered
  [[nodiscard]] bool locked() const { return flash_encryption || secure_boot || secure_download; }
};

struct BoardInfo {
  const ChipSpec* chip = nullptr;
  Revision revision;
  Mac mac;
  std::string unique_id;      // hex of the optional unique id; empty where the chip has none or it is blank
  Security security;
  std::uint32_t flash_id = 0;    // JEDEC; 0 until read_flash_id
  std::uint32_t flash_size = 0;  // bytes; 0 until read_flash_id
};

/// Chip, revision, MAC, unique id, security. Faults: chip_unknown (refuse), reply faults.
Task<Result<BoardInfo>> identify(Loader&);

/// Only the MAC and only for the chip that is known: the second look right before something that cannot be undone.
Task<Result<Mac>> read_mac(Loader&);

/// Attaches the flash and reads its JEDEC id. Faults: flash_unknown when it answers all ones or zeros, or an unknown size.
Task<Result<void>> read_flash_id(Loader&, BoardInfo&);

}  // namespace espmint
