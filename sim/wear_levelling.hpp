// sim/wear_levelling.hpp: what ESP-IDF's wear levelling shows to the FAT above it. Written from the layout, sharing
// nothing with what builds images.
//
//   data and one dummy sector │ state │ state again │ settings         each area whole sectors of 4096 B
//
// The dummy sector wanders from front to back; behind each of its steps a record is put after both states. When it
// has passed every sector, the whole content has moved on by one.
#pragma once

#include <optional>

#include "base/bytes.hpp"

namespace espmint::sim {

struct Levelled {
  Bytes content;           // in the order that the file system sees
  bool has_state = false;  // else the driver starts a new state, before which nothing has ever moved
  std::uint32_t dummy = 0, turns = 0;
};

/// Nothing when the partition is too small for the layer, or its state points outside. The settings are not looked at:
/// the driver has its own, and never reads them. A state of format 1 is not brought up to 2 but counts as none.
/// Source: ESP-IDF, wear_levelling component (README and WL_Flash), format 2.
std::optional<Levelled> unwrap_wear_levelling(ByteView partition);

}  // namespace espmint::sim
