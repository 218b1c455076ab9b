// app/desk_commands.hpp: one board on a developer's desk: board info|list|reset|monitor|selftest, flash
// write|read|erase|verify.
#pragma once

#include <optional>
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
  bool no_reset = false;                 // the board is in download mode already
  bool stay = false;                     // leave it in download mode afterwards
  std::optional<double> wait_seconds{};  // for a hand at BOOT and RESET; not said: 60 at a terminal, else 0
};

Exit board_list(const DeskOptions&);
Exit board_info(const DeskOptions&);
Exit board_reset(const DeskOptions&, bool into_download);

struct MonitorOptions {
  std::uint32_t baud = 115'200;
  bool reset = false, timestamps = false;
  std::vector<std::string> filter, exclude, until;  // regular expressions
  std::string log;                                  // file that gets the raw bytes
  std::optional<double> seconds;
};
/// 0 when stopped, when `until` was found, or when the time is over and nothing was looked for; 1 when it was.
Exit board_monitor(const DeskOptions&, const MonitorOptions&);

struct SelftestWords {
  std::string region;  // "OFFSET,SIZE"; empty: the last 64 KiB
  std::string report;  // file to write; empty: none
  bool force = false;  // also where a partition with content lies
};
Exit board_selftest(const DeskOptions&, const SelftestWords&);

/// offset, file
using FlashParts = std::vector<std::pair<std::string, std::string>>;
/// What the bootloader's header is made to say; "keep": what the file says.
struct HeaderWords {
  std::string flash_mode = "keep", flash_frequency = "keep", flash_size = "keep";
};
struct WriteOptions {
  HeaderWords header;
  bool encrypt = false;    // by the chip's ROM, with its own key
  bool force = false;      // also images for another chip or revision
  bool skip_equal = true;  // what is there already by the board's digests is not sent
};
Exit flash_write(const DeskOptions&, const FlashParts&, const WriteOptions&);
/// `header`: as it was written with.
Exit flash_verify(const DeskOptions&, const FlashParts&, const HeaderWords& header);
Exit flash_read(const DeskOptions&, const std::string& offset, const std::string& size, const std::string& file);
/// `force`: also on a locked board, where something that starts can be written again.
Exit flash_erase(const DeskOptions&, const std::string& offset, const std::string& size, bool force);

/// One sentence on stderr (or a JSON line on stdout), and the exit code of its row in the table of faults.
Exit report(const Fault&, const Voice&);

}  // namespace espmint::app
