// sim/spiffs_view.hpp: reads a SPIFFS partition the way the firmware's driver does: through the index pages. Written
// from the format, sharing nothing with what builds images.
#pragma once

#include <optional>
#include <vector>

#include "sim/stored_file.hpp"

namespace espmint::sim {

/// ESP-IDF's defaults; what the firmware was compiled with.
struct SpiffsShape {
  std::uint32_t page = 256, block = 4096, name = 32, meta = 4;
  bool magic = true, magic_has_length = true;
};

using SpiffsFile = StoredFile;

/// The files of a partition; nothing when it would not mount or a file's index leads astray.
std::optional<std::vector<SpiffsFile>> read_spiffs(ByteView partition, const SpiffsShape& = {});

}  // namespace espmint::sim
