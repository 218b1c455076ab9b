// flash write: what is on the flash already is not sent, headers are made to say what was asked for.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <future>

#include "app/desk.hpp"
#include "app/flash_parts.hpp"
#include "app/json.hpp"
#include "base/text.hpp"
#include "image/app_image.hpp"
#include "io/pool.hpp"
#include "recipe/checks.hpp"
#include "rom/flash.hpp"
#include "rom/update_region.hpp"

namespace espmint::app {
namespace {

/// Encrypted writing is the ROM's: the chip's own key turns what arrives into what is stored.
Result<void> can_encrypt(const BoardInfo& board, bool force) {
  if (!board.chip->rom.deflate_begin_has_encrypted)
    return fail({Code::usage,
                 Remedy::refuse,
                 fmt::format("the ROM of {} does not encrypt what it writes", board.chip->title),
                 {},
                 {},
                 "Encrypt the file with the key it has, and write that without --encrypt"});
  if (!board.security.flash_encryption && !force)
    return fail({Code::usage,
                 Remedy::refuse,
                 "flash encryption of this board is off: what was written encrypted, nothing could read",
                 {},
                 {},
                 "Leave --encrypt away; --force writes it all the same"});
  return ok();
}

/// Parts compressed for the stub while the board is still being reset and asked who it is.
class Compressing {
 public:
  using Region = std::shared_ptr<const PreparedRegion>;
  Compressing(Pool& pool, const std::vector<Part>& parts) {
    for (const Part& part : parts) {
      auto work =
          std::make_shared<std::packaged_task<Region()>>([&part] { return prepare_region(part.at, part.bytes, {}); });
      waiting_.push_back(work->get_future().share());
      pool.post([work] { (*work)(); });
    }
  }
  Region get(std::size_t part) { return waiting_[part].get(); }

 private:
  std::vector<std::shared_future<Region>> waiting_;
};

/// What every part of one command needs.
struct Writing {
  Desk& desk;
  Pool& pool;
  Compressing* compressing;  // none: not for the stub
  const WriteOptions& words;
  const Voice& voice;
};

/// The part as this board is to hold it, framed for whoever reads it.
Result<std::shared_ptr<const PreparedRegion>> region_of(const Writing& writing, const std::vector<Part>& parts,
                                                        std::size_t index, const FlashHeader& wish) {
  const Part& part = parts[index];
  TRY(Bytes bytes, with_wished_header(part, wish, writing.desk.board));
  WriteFormat format = WriteFormat::of(writing.desk.loader->speaker(), *writing.desk.board.chip);
  format.encrypt = writing.words.encrypt;
  if (writing.compressing && format == WriteFormat{} && bytes == part.bytes) return writing.compressing->get(index);
  return prepare_region(part.at, bytes, format);
}

/// Encrypted by the chip: of what was stored only the chip knows what it means, so nothing is compared.
Task<Result<RegionUpdate>> write_encrypted(Desk& desk, std::shared_ptr<const PreparedRegion> region,
                                           Progress progress) {
  Instant start = desk.loader->clock().now();
  CO_TRY([[maybe_unused]] std::uint32_t proved, co_await write_region(*desk.loader, *region, std::move(progress)));
  RegionUpdate done;
  done.written_bytes = region->range.size;
  done.wire_bytes = region->wire_bytes();
  done.writing = desk.loader->clock().now() - start;
  co_return done;
}

void tell_written(const Writing& writing, const Part& part, const PreparedRegion& region, const RegionUpdate& done) {
  const bool encrypted = writing.words.encrypt;
  double seconds = std::chrono::duration<double>(done.writing).count();
  if (writing.voice.json) {
    print_json({{"v", 1},
                {"event", "written"},
                {"offset", part.at.bytes},
                {"size", part.bytes.size()},
                {"file", part.file},
                {"kept_bytes", done.kept_bytes},
                {"wire_bytes", done.wire_bytes},
                {"seconds", seconds},
                {"md5", to_hex(region.md5)},
                {"encrypted", encrypted}});
    return;
  }
  if (writing.voice.quiet) return;
  std::string how =
      done.written_bytes == 0 ? "was there already" : fmt::format("({} sent) in {:.1f} s", done.wire_bytes, seconds);
  if (done.written_bytes != 0 && done.kept_bytes != 0) how += fmt::format(", {} were there already", done.kept_bytes);
  std::fputs(fmt::format("{:#08x}  {}  {} bytes {}, {}\n", part.at.bytes, part.file, part.bytes.size(), how,
                         encrypted ? "encrypted, which leaves nothing to verify" : "verified")
                 .c_str(),
             stdout);
}

Task<Result<void>> write_part(Writing writing, const Part& part, std::shared_ptr<const PreparedRegion> region) {
  std::optional<ProgressLine> bar{std::in_place, fmt::format("{:#08x} {}", part.at.bytes, part.name()),
                                  part.bytes.size(), writing.voice};
  Progress show = [&bar](std::uint64_t bytes) { bar->show(bytes); };
  Result<RegionUpdate> updated = RegionUpdate{};
  if (writing.words.encrypt) {
    updated = co_await write_encrypted(writing.desk, region, std::move(show));
  } else {
    const LookFirst look = writing.words.skip_equal ? LookFirst::yes : LookFirst::no;
    updated = co_await update_region(*writing.desk.loader, writing.pool, region, look, std::move(show));
  }
  if (!updated && updated.error().code == Code::flash_differs)
    updated.error().what = fmt::format("{} is not on the flash as it was sent", part.file);
  CO_TRY(RegionUpdate done, std::move(updated));
  bar.reset();
  tell_written(writing, part, *region, done);
  co_return ok();
}

/// Images in a file, its own or those of a merged one, must be for this chip and revision.
Result<void> suits(const Part& part, const BoardInfo& board) {
  if (!has_recipes(*board.chip)) return ok();            // its images do not say which chip they are for
  for (std::uint32_t inside : {0u, 0x1000u, 0x2000u}) {  // where the bootloaders of the chips lie in a merged file
    if (inside >= part.bytes.size() || (inside != 0 && part.at.bytes != 0)) continue;
    auto image = parse_app_image(ByteView{part.bytes}.subspan(inside));
    if (!image) continue;
    bool is_bootloader = part.at.bytes + inside == board.chip->bootloader.bytes || !runs_from_flash(*image);
    auto good = check_image_for_board(*image, part.file, is_bootloader, *board.chip, board.revision.full());
    if (good) continue;
    good.error().advice += "; --force writes it all the same";
    return good;
  }
  return ok();
}

/// Plain bytes on such a board do not start, and what they overwrite may be the only thing that did.
Result<void> is_open(const BoardInfo& board) {
  auto open = check_unlocked(board);
  if (!open) open.error().advice += "; --force writes it all the same";
  return open;
}

Task<Result<void>> write_parts(Writing writing, const std::vector<Part>& parts) {
  const BoardInfo& board = writing.desk.board;
  const WriteOptions& words = writing.words;
  if (!words.force && !words.encrypt) CO_TRY(is_open(board));
  for (const Part& part : parts) {
    CO_TRY(fits(part, board));
    if (!words.force) CO_TRY(suits(part, board));
  }
  if (words.encrypt) CO_TRY(can_encrypt(board, words.force));
  CO_TRY(FlashHeader wish, header_for(words.header, board, words.force));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    CO_TRY(auto region, region_of(writing, parts, i, wish));
    CO_TRY(co_await write_part(writing, parts[i], std::move(region)));
  }
  co_return ok();
}

}  // namespace

Exit flash_write(const DeskOptions& options, const FlashParts& named, const WriteOptions& words) {
  auto parts = read_parts(named);
  if (!parts) return report(parts.error(), options.voice);
  DeskOptions how = options;
  how.no_stub = how.no_stub || words.encrypt;
  auto pool = make_thread_pool(1);
  std::optional<Compressing> compressing;
  if (!how.no_stub) compressing.emplace(*pool, *parts);
  return with_desk(how, true, [&](Desk& desk) {
    return write_parts({desk, *pool, compressing ? &*compressing : nullptr, words, options.voice}, *parts);
  });
}

}  // namespace espmint::app
