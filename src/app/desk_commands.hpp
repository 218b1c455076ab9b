// app/desk_commands.hpp: one board on a developer's desk: board info|list|reset, flash write|read|erase|verify.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "app/settings.hpp"
#include "app/terminal.hpp"

namespace espmint::app {

struct DeskOptions {
  Settings settings;
  Voice voice;
  std::string chip = "auto";  // refused when the board is another
  bool no_stub = false;
  bool no_reset = false;      // the board is in download mode already
  bool stay = false;          // leave it in download mode afterwards
};

Exit board_list(const DeskOptions&);
Exit board_info(const DeskOptions&);
Exit board_reset(const DeskOptions&, bool into_download);

/// offset, file
using FlashParts = std::vector<std::pair<std::string, std::string>>;
/// `detect_flash_size`: a bootloader's header is made to say this flash's size; otherwise files are written as they are.
/// `force`: also images for another chip or revision. `skip_equal`: what is there already by the board's digests is not sent.
Exit flash_write(const DeskOptions&, const FlashParts&, bool detect_flash_size, bool force, bool skip_equal);
Exit flash_verify(const DeskOptions&, const FlashParts&);
Exit flash_read(const DeskOptions&, const std::string& offset, const std::string& size, const std::string& file);
Exit flash_erase(const DeskOptions&, const std::string& offset, const std::string& size);

/// One sentence on stderr (or a JSON line on stdout), and the exit code of its row in the table of faults.
Exit report(const Fault&, const Voice&);

}  // namespace espmint::app
