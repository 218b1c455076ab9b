// rom/identify.hpp: who is on the line: chip, revision, MAC, flash, and what its eFuses forbid. Burns nothing.
#pragma once

#include "rom/loader.hpp"

namespace espmint {

struct BoardInfo {
  const ChipSpec* chip = nullptr;
  Revision revision;
  Mac mac;
  std::string unique_id;  // hex of the optional unique id; empty where the chip has none or it is blank
  Security security;
  Console console = Console::unknown;  // by which of its ports the ROM speaks
  std::uint32_t flash_id = 0;          // JEDEC; 0 until read_flash_id
  std::uint32_t flash_size = 0;        // bytes; 0 until read_flash_id
};

/// Chip, revision, MAC, unique id, security. Faults: chip_unknown (refuse); board_locked (refuse) in secure download
/// mode, where no register is told and so no MAC; reply faults.
Task<Result<BoardInfo>> identify(Loader&);

/// What a board in secure download mode says of itself: chip and security. Its MAC stays 0, for nobody may learn it.
/// Faults: chip_unknown, reply faults.
Task<Result<BoardInfo>> identify_locked(Loader&);

/// Whether plain images may be written. Fault board_locked (refuse).
Result<void> check_unlocked(const BoardInfo&);

/// Whether this range may be erased: a locked board does not start what is written there afterwards in plain. `force`
/// is heeded where something that starts can be written: not with encryption for good, not for a signed bootloader's
/// place. Fault board_locked (refuse), with the way out.
Result<void> check_erasable(const BoardInfo&, FlashRange, bool force);

/// Only the MAC and only for the chip that is known: the second look right before something that cannot be undone.
Task<Result<Mac>> read_mac(Loader&);

/// What some ROMs leave undone: gives the flash its power (FlashPower), and quiets the watchdogs that a reset by
/// USB-Serial-JTAG leaves running. Before the flash is attached or a stub is sent; where a stub speaks, it has been
/// done.
Task<Result<void>> make_ready(Loader&);

/// Attaches the flash and reads its JEDEC id. Faults: flash_unknown when it answers all ones or zeros, or an unknown
/// size.
Task<Result<void>> read_flash_id(Loader&, BoardInfo&);

}  // namespace espmint
