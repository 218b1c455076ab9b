#include "app/flash_parts.hpp"

#include <fmt/format.h>

#include <algorithm>

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

Result<Bytes> with_wished_header(const Part& part, const FlashHeader& wish, const BoardInfo& board) {
  const std::uint32_t bootloader = board.chip->bootloader.bytes;
  const bool covered = bootloader >= part.at.bytes && bootloader - part.at.bytes < part.bytes.size();
  if (wish == FlashHeader{} || !covered) return part.bytes;
  const std::size_t inside = bootloader - part.at.bytes;
  const ByteView image = ByteView{part.bytes}.subspan(inside);
  if (!parse_app_image(image)) return part.bytes;
  TRY(Bytes changed, in_input(with_flash_header(image, wish), part.file));
  Bytes whole = part.bytes;
  std::copy(changed.begin(), changed.end(), whole.begin() + static_cast<std::ptrdiff_t>(inside));
  return whole;
}

Result<FlashHeader> header_for(const HeaderWords& words, const BoardInfo& board, bool force) {
  FlashHeader wish;
  auto wrong = [](std::string_view option, const std::string& value, std::string advice) {
    return fail({Code::usage,
                 Remedy::refuse,
                 fmt::format("--{} cannot be \"{}\" here", option, value),
                 {},
                 {},
                 std::move(advice)});
  };
  if (words.flash_mode != "keep") {
    wish.mode = flash_mode_of(words.flash_mode);
    if (!wish.mode) return wrong("flash-mode", words.flash_mode, "qio, qout, dio, dout or keep");
  }
  if (words.flash_frequency != "keep") {
    wish.frequency_code = flash_frequency_of(words.flash_frequency, board.chip->image_chip_id);
    if (!wish.frequency_code)
      return wrong("flash-freq", words.flash_frequency,
                   fmt::format("{} knows others: 80m, 40m, 26m, 20m on most chips", board.chip->title));
  }
  if (words.flash_size == "detect") {
    wish.size = board.flash_size;
  } else if (words.flash_size != "keep") {
    auto bytes = parse_number(words.flash_size);
    if (!bytes || !flash_size_code_of(*bytes))
      return wrong("flash-size", words.flash_size, "detect, keep, 1MB, 2MB, 4MB, … 128MB");
    if (*bytes > board.flash_size && !force)
      return wrong("flash-size", words.flash_size,
                   fmt::format("this flash has {}; --force writes it all the same", show_bytes(board.flash_size)));
    wish.size = *bytes;
  }
  return wish;
}

}  // namespace espmint::app
