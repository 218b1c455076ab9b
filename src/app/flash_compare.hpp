// app/flash_compare.hpp: where flash and a file begin to differ, found by the board's own MD5.
#pragma once

#include <optional>

#include "rom/flash.hpp"

namespace espmint::app {

/// The first sectors of 4 KiB that differ, at most `most_sectors` of them in a row; nothing where all is equal.
/// Asks by 256 KiB, then halves the first one that differs. `at`: a multiple of 4 KiB.
inline constexpr std::uint32_t compare_sector = 0x1000, most_sectors = 16;
Task<Result<std::optional<FlashRange>>> first_difference(Loader&, FlashOffset at, ByteView wanted, Progress = {});

}  // namespace espmint::app
