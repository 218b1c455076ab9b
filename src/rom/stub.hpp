// rom/stub.hpp: Espressif's stub flasher, a small program that replaces the ROM loader in RAM: faster, and able to
// erase, to read in bulk and to skip what is blank. It is loaded from a data folder; without it the ROM's own path
// remains.
#pragma once

#include <map>
#include <memory>

#include "rom/loader.hpp"

namespace espmint {

struct StubImage {
  std::uint32_t entry = 0;
  std::uint32_t text_start = 0, data_start = 0;
  Bytes text, data;
};

/// The JSON file of esptool-js (keys entry, text, text_start, data, data_start; base64). Any bytes in.
Result<StubImage> parse_stub(ByteView json);

/// Stubs by the name of their file, as far as the data folder has them.
using StubLibrary = std::map<std::string, std::shared_ptr<const StubImage>, std::less<>>;
/// The one for this revision; null where the library has none.
[[nodiscard]] const StubImage* stub_for(const StubLibrary&, const ChipSpec&, Revision);
/// Whether it has one for every revision of the chip.
[[nodiscard]] bool has_stubs_for(const StubLibrary&, const ChipSpec&);

/// Uploads and starts it. The loader then speaks to the stub. Faults: stub_failed (reconnect).
Task<Result<void>> start_stub(Loader&, const StubImage&);

}  // namespace espmint
