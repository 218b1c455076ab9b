// app/board_report.hpp: all that `board info` says of a board, in words and as JSON.
#pragma once

#include "app/terminal.hpp"
#include "rom/identify.hpp"

namespace espmint::app {

/// Reads what identify() left out (the crystal) and prints. A board in secure download mode has a MAC of 0 and shows
/// what it tells.
Task<Result<void>> show_board(Loader&, const BoardInfo&, const std::string& port, const Voice&);

}  // namespace espmint::app
