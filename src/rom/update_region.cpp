#include "rom/update_region.hpp"

#include <fmt/format.h>

namespace espmint {
namespace {

/// Where the region's blocks of flash end, counted from its start; the last is its size.
std::vector<std::uint32_t> block_ends(FlashRange region) {
  std::vector<std::uint32_t> ends;
  for (std::uint64_t at = region.at.bytes; at < region.end();) {
    at = std::min<std::uint64_t>((at / flash_block + 1) * flash_block, region.end());
    ends.push_back(static_cast<std::uint32_t>(at - region.at.bytes));
  }
  return ends;
}

Task<Result<bool>> is_equal(Loader& loader, const PreparedRegion& region, std::uint32_t from, std::uint32_t to) {
  const Md5 wanted =
      from == 0 && to == region.range.size ? region.md5 : md5_of(ByteView{region.plain}.subspan(from, to - from));
  CO_TRY(Md5 on_board, co_await flash_md5(loader, {{region.range.at.bytes + from}, to - from}));
  co_return on_board == wanted;
}

Fault flash_differs(FlashRange range, const Md5& on_board, const Md5& sent) {
  Fault fault{Code::flash_differs, Remedy::retry, "what is on the flash is not what was sent"};
  fault.where.offset = range.at.bytes;
  fault.seen = fmt::format("board MD5 {}, sent MD5 {}", to_hex(on_board), to_hex(sent));
  fault.advice = "Reseat the board; twice on one slot: check cable and supply; twice on one board: its flash is worn";
  return fault;
}

/// Writes all of it and compares.
Task<Result<void>> write_and_prove(Loader& loader, const PreparedRegion& region, RegionUpdate& done,
                                   Progress progress) {
  const Instant start = loader.clock().now();
  CO_TRY(std::uint32_t proved, co_await write_region(loader, region, std::move(progress)));
  done.writing += loader.clock().now() - start;
  done.written_bytes += region.range.size;
  done.wire_bytes += region.wire_bytes();
  if (proved == region.range.size) co_return ok();
  const Md5 wanted = proved == 0 ? region.md5 : md5_of(ByteView{region.plain}.subspan(proved));
  const FlashRange rest{{region.range.at.bytes + proved}, region.range.size - proved};
  CO_TRY(Md5 on_board, co_await flash_md5(loader, rest));
  if (on_board == wanted) co_return ok();
  // Perhaps something lies in what should be blank: only its ends were looked at.
  CO_TRY(bool erased, co_await erase_blanks(loader, region));
  if (erased) {
    CO_TRY(on_board, co_await flash_md5(loader, rest));
    if (on_board == wanted) co_return ok();
  }
  co_return fail(flash_differs(rest, on_board, wanted));
}

}  // namespace

Task<Result<std::uint32_t>> matching_prefix(Loader& loader, const PreparedRegion& region) {
  if (region.plain.empty()) co_return 0u;
  // Another firmware differs in its first sector: an application's header holds the digest of its ELF file.
  CO_TRY(bool begins_so, co_await is_equal(loader, region, 0, std::min(flash_sector, region.range.size)));
  if (!begins_so) co_return 0u;
  const std::uint32_t size = region.range.size;
  CO_TRY(bool ends_so, co_await is_equal(loader, region, size - std::min(flash_sector, size), size));
  const std::vector<std::uint32_t> ends = block_ends(region.range);
  std::size_t equal = 0, unknown = ends.size() - (ends_so ? 0 : 1);  // blocks from the start: at least, at most equal
  while (equal < unknown) {
    // A board that comes a second time, all of it there, is the usual case.
    const bool whole = unknown == ends.size();
    const std::size_t middle = whole ? unknown : (equal + unknown + 1) / 2;
    CO_TRY(bool same, co_await is_equal(loader, region, equal == 0 ? 0 : ends[equal - 1], ends[middle - 1]));
    if (same)
      equal = middle;
    else
      unknown = middle - 1;
  }
  co_return equal == 0 ? 0u : ends[equal - 1];
}

Task<Result<RegionUpdate>> update_region(Loader& loader, Pool& pool, std::shared_ptr<const PreparedRegion> region,
                                         LookFirst look, Progress progress) {
  RegionUpdate done;
  std::uint32_t kept = 0;
  if (look == LookFirst::yes) {
    CO_TRY(kept, co_await matching_prefix(loader, *region));
  }
  done.kept_bytes = kept;
  if (progress && kept > 0) progress(kept);
  if (kept == region->range.size) co_return done;
  if (kept == 0) {
    CO_TRY(co_await write_and_prove(loader, *region, done, std::move(progress)));
    co_return done;
  }
  const FlashOffset from{region->range.at.bytes + kept};
  auto work = [region, from] { return prepare_rest(*region, from); };
  auto rest = co_await on_pool(pool, std::move(work));
  // An erase that was cut short leaves cells that read as blank and may not keep what is written; the stub would skip
  // them. Erased again, the block is sound, and the stub finds the rest of a fresh flash blank, as it is.
  if (loader.speaker() == Speaker::stub) {
    const std::uint32_t left = (rest->range.size + flash_sector - 1) / flash_sector * flash_sector;
    FlashRange torn{from, std::min(flash_block, left)};
    CO_TRY(co_await erase_region(loader, torn));
  }
  Progress tell;
  if (progress) tell = [progress, kept](std::uint64_t bytes) { progress(kept + bytes); };
  CO_TRY(co_await write_and_prove(loader, *rest, done, std::move(tell)));
  co_return done;
}

}  // namespace espmint
