// flash verify, read, erase; `flash write` has flash_write.cpp.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "app/desk.hpp"
#include "app/flash_compare.hpp"
#include "app/flash_parts.hpp"
#include "app/json.hpp"
#include "base/text.hpp"
#include "image/app_image.hpp"
#include "io/file.hpp"
#include "rom/flash.hpp"

namespace espmint::app {
namespace {

Fault not_in_flash(const BoardInfo& board) {
  return {Code::usage,
          Remedy::refuse,
          "that range is not in the flash",
          {},
          fmt::format("it has {}", show_bytes(board.flash_size)),
          {}};
}

/// "sectors 0x21000 to 0x23fff"; the last one is said to be perhaps not the last.
std::string show_difference(const FlashRange& range) {
  const bool cut = range.size >= most_sectors * compare_sector;
  return fmt::format("{:#x} to {:#x}{}", range.at.bytes, range.end() - 1, cut ? " and perhaps beyond" : "");
}

/// `wish`: of the bootloader's header, as it was written with.
Task<Result<std::optional<FlashRange>>> compare_part(Desk& desk, const Part& part, const FlashHeader& wish,
                                                     const Voice& voice) {
  ProgressLine bar{fmt::format("{:#08x} {}", part.at.bytes, part.name()), part.bytes.size(), voice, "verify"};
  CO_TRY(Bytes wanted, with_wished_header(part, wish, desk.board));
  CO_TRY(std::optional<FlashRange> differs,
         co_await first_difference(*desk.loader, part.at, wanted, [&bar](std::uint64_t done) { bar.show(done); }));
  // A bootloader that a line has written has its size field set to this flash's.
  if (differs && wish == FlashHeader{} && part.at == desk.board.chip->bootloader && parse_app_image(part.bytes)) {
    auto patched = with_flash_size(part.bytes, desk.board.flash_size);
    if (!patched) co_return differs;
    CO_TRY(std::optional<FlashRange> still, co_await first_difference(*desk.loader, part.at, *patched));
    if (!still) co_return still;
  }
  co_return differs;
}

Task<Result<void>> verify_parts(Desk& desk, const std::vector<Part>& parts, const HeaderWords& words,
                                const Voice& voice) {
  CO_TRY(FlashHeader wish, header_for(words, desk.board, true));
  std::optional<Fault> first;
  for (const Part& part : parts) {
    CO_TRY(fits(part, desk.board));
    CO_TRY(std::optional<FlashRange> differs, co_await compare_part(desk, part, wish, voice));
    if (voice.json) {
      print_json(
          {{"v", 1},
           {"event", "verified"},
           {"offset", part.at.bytes},
           {"file", part.file},
           {"equal", !differs},
           {"first_difference", differs ? Json{{"offset", differs->at.bytes}, {"size", differs->size}} : Json{}}});
    } else if (!voice.quiet) {
      std::string word = differs ? fmt::format("DIFFERS at {}", show_difference(*differs)) : "equal";
      std::fputs(fmt::format("{:#08x}  {}  {}\n", part.at.bytes, escape_controls(part.file), word).c_str(), stdout);
    }
    if (differs && !first) {
      first = Fault{Code::flash_differs, Remedy::refuse, fmt::format("{} is not what the flash holds", part.file)};
      first->where.offset = differs->at.bytes;
      first->seen = fmt::format("the first sectors that differ: {}", show_difference(*differs));
    }
  }
  if (first) co_return fail(std::move(*first));
  co_return ok();
}

Task<Result<void>> read_range(Desk& desk, FlashRange range, std::string file, const Voice& voice) {
  if (range.size == 0 || range.end() > desk.board.flash_size) co_return fail(not_in_flash(desk.board));
  Bytes bytes;
  {
    ProgressLine bar{"reading", range.size, voice, "read"};
    CO_TRY(bytes, co_await read_flash(*desk.loader, range, [&bar](std::uint64_t done) { bar.show(done); }));
  }
  // A board's flash holds its keys.
  CO_TRY(write_file(file, bytes, FileMode::owner_only));
  if (voice.json)
    print_json({{"v", 1},
                {"event", "read"},
                {"offset", range.at.bytes},
                {"size", range.size},
                {"file", file},
                {"md5", to_hex(md5_of(bytes))}});
  co_return ok();
}

/// Work that tells nothing until it is done: shown by the time that it usually takes.
class ExpectedProgress {
 public:
  ExpectedProgress(std::string title, std::uint64_t bytes, Duration expected, const Voice& voice, Clock& clock)
      : bytes_(bytes),
        expected_(expected),
        clock_(clock),
        begun_(clock.now()),
        bar_(std::in_place, std::move(title), bytes, voice, "erase") {}

  static Task<> tick(std::shared_ptr<ExpectedProgress> self) {
    constexpr auto every = std::chrono::milliseconds{100};
    while (self->bar_) {
      // The last hundredth is for the board to say.
      const double part = std::chrono::duration<double>(self->clock_.now() - self->begun_) /
                          std::chrono::duration<double>(self->expected_);
      self->bar_->show(static_cast<std::uint64_t>(std::min(part, 0.99) * static_cast<double>(self->bytes_)));
      co_await self->clock_.sleep_for(every);
    }
  }
  void finish(bool good) {
    if (good) bar_->show(bytes_);
    bar_.reset();
  }

 private:
  std::uint64_t bytes_;
  Duration expected_;
  Clock& clock_;
  Instant begun_;
  std::optional<ProgressLine> bar_;
};

/// Typical of data sheets: 64 KiB in 0.15 s by blocks, 4 KiB in 45 ms where no block fits.
Duration usual_erase_time(FlashRange range) {
  constexpr std::uint32_t block = 64 * 1024, sector = 4096;
  const std::uint32_t blocks = range.size / block, sectors = range.size % block / sector;
  return blocks * std::chrono::milliseconds{150} + (sectors + 1) * std::chrono::milliseconds{45};
}

Task<Result<void>> erase_range(Desk& desk, std::optional<FlashRange> named, bool force, const Voice& voice) {
  if (named && named->end() > desk.board.flash_size) co_return fail(not_in_flash(desk.board));
  const FlashRange range = named.value_or(FlashRange{{0}, desk.board.flash_size});
  CO_TRY(check_erasable(desk.board, range, force));
  if (!named) {
    say_aside(voice, fmt::format("erasing all {} of the flash of {} {}", show_bytes(range.size), desk.board.chip->title,
                                 to_string_with_colons(desk.board.mac)));
  }
  auto progress = std::make_shared<ExpectedProgress>(fmt::format("erasing {}", show_bytes(range.size)), range.size,
                                                     usual_erase_time(range), voice, *desk.loop);
  desk.loop->spawn(ExpectedProgress::tick(progress));
  Result<void> end;
  if (named) {
    end = co_await erase_region(*desk.loader, range);
  } else {
    end = co_await erase_chip(*desk.loader, desk.board.flash_size);
  }
  progress->finish(end.has_value());
  CO_TRY(std::move(end));
  if (voice.json) {
    print_json({{"v", 1}, {"event", "erased"}, {"offset", range.at.bytes}, {"size", range.size}});
  } else if (!voice.quiet) {
    std::fputs("erased\n", stdout);
  }
  co_return ok();
}

}  // namespace

Exit flash_verify(const DeskOptions& options, const FlashParts& named, const HeaderWords& header) {
  auto parts = read_parts(named);
  if (!parts) return report(parts.error(), options.voice);
  return with_desk(options, true, [&](Desk& desk) { return verify_parts(desk, *parts, header, options.voice); });
}

Exit flash_read(const DeskOptions& options, const std::string& offset, const std::string& size,
                const std::string& file) {
  auto at = parse_u32(offset, "flash offset"), bytes = parse_u32(size, "size");
  if (!at) return report(at.error(), options.voice);
  if (!bytes) return report(bytes.error(), options.voice);
  if (*bytes == 0)
    return report({Code::usage,
                   Remedy::refuse,
                   "there is nothing to read in 0 bytes",
                   {},
                   {},
                   "Say a size: 4096, 0x1000, 64K, 4MB"},
                  options.voice);
  // Seconds of reading are not to end at a folder that is not there.
  auto folder = std::filesystem::absolute(file).parent_path();
  if (!std::filesystem::is_directory(folder))
    return report({Code::output_unwritable,
                   Remedy::refuse,
                   fmt::format("{} cannot be written", file),
                   {},
                   fmt::format("there is no folder {}", folder.string()),
                   "Make it, or name another file"},
                  options.voice);
  return with_desk(options, true, [&](Desk& desk) { return read_range(desk, {{*at}, *bytes}, file, options.voice); });
}

Exit flash_erase(const DeskOptions& options, const std::string& offset, const std::string& size, bool force) {
  std::optional<FlashRange> range;
  if (!offset.empty()) {
    auto at = parse_u32(offset, "flash offset"), bytes = parse_u32(size, "size");
    if (!at) return report(at.error(), options.voice);
    if (!bytes) return report(bytes.error(), options.voice);
    range = FlashRange{{*at}, *bytes};
  }
  return with_desk(options, true, [&](Desk& desk) { return erase_range(desk, range, force, options.voice); });
}

}  // namespace espmint::app
