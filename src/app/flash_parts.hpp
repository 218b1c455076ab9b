// app/flash_parts.hpp: the files of `flash write` and `flash verify`, each with its place.
#pragma once

#include <string>
#include <vector>

#include "app/desk_commands.hpp"
#include "base/bytes.hpp"
#include "base/units.hpp"
#include "image/app_image.hpp"
#include "rom/identify.hpp"

namespace espmint::app {

struct Part {
  FlashOffset at;
  std::string file;
  Bytes bytes;
  /// Without its folders.
  [[nodiscard]] std::string name() const { return file.substr(file.find_last_of('/') + 1); }
};

/// Faults: usage (no number, no start of a sector, files that overlap), input faults, input_invalid for an empty file.
Result<std::vector<Part>> read_parts(const FlashParts&);
/// Fault flash_too_small.
Result<void> fits(const Part&, const BoardInfo&);

/// What the words say for this chip and its flash. Fault usage for what it cannot be; `force`: a size above the
/// flash's.
Result<FlashHeader> header_for(const HeaderWords&, const BoardInfo&, bool force);
/// The part with its bootloader's header as wished, where it has one; a merged file may have it inside.
Result<Bytes> with_wished_header(const Part&, const FlashHeader& wish, const BoardInfo&);

}  // namespace espmint::app
