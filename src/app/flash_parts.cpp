#include "app/flash_parts.hpp"

#include <fmt/format.h>

#include "app/desk.hpp"
#include "base/text.hpp"
#include "io/file.hpp"

namespace espmint::app {

Result<std::vector<Part>> read_parts(const FlashParts& parts) {
  std::vector<Part> out;
  for (const auto& [offset, file] : parts) {
    Part part;
    TRY(part.at.bytes, parse_u32(offset, "flash offset"));
    if (part.at.bytes % 0x1000 != 0)
      return fail({Code::usage,
                   Remedy::refuse,
                   fmt::format("{} is no start of a sector", offset),
                   {},
                   {},
                   "Flash is erased in sectors of 0x1000 bytes: what lies before in this one would be lost"});
    TRY(part.bytes, read_file(file));
    part.file = file;
    if (part.bytes.empty())
      return fail({Code::input_invalid, Remedy::refuse, fmt::format("{} is empty", file), {}, {}, {}});
    out.push_back(std::move(part));
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      FlashRange a{out[i].at, static_cast<std::uint32_t>(out[i].bytes.size())},
          b{out[j].at, static_cast<std::uint32_t>(out[j].bytes.size())};
      if (a.overlaps(b))
        return fail({Code::usage,
                     Remedy::refuse,
                     fmt::format("{} and {} overlap in flash", out[j].file, out[i].file),
                     {},
                     {},
                     "Check the offsets"});
    }
  return out;
}

Result<void> fits(const Part& part, const BoardInfo& board) {
  if (std::uint64_t{part.at.bytes} + part.bytes.size() <= board.flash_size) return ok();
  Fault fault{Code::flash_too_small, Remedy::refuse, fmt::format("{} does not fit", part.file)};
  fault.seen = fmt::format("it ends at {:#x}, the flash has {}", part.at.bytes + part.bytes.size(),
                           show_bytes(board.flash_size));
  return fail(std::move(fault));
}

}  // namespace espmint::app
