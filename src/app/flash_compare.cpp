#include "app/flash_compare.hpp"

#include <algorithm>

namespace espmint::app {
namespace {

// One question each: large enough that asking costs nothing, small enough that a progress bar moves.
constexpr std::uint32_t chunk = 256 * 1024;

/// A stretch of the file and of the flash, in bytes from the file's start.
struct Stretch {
  std::uint32_t from, size;
};

Task<Result<bool>> is_equal(Loader& loader, FlashOffset at, ByteView wanted, Stretch part) {
  const FlashRange range{{at.bytes + part.from}, part.size};
  CO_TRY(Md5 on_board, co_await flash_md5(loader, range));
  co_return on_board == md5_of(wanted.subspan(part.from, part.size));
}

/// The sector, of a stretch that differs, in which the first difference lies.
Task<Result<std::uint32_t>> first_sector(Loader& loader, FlashOffset at, ByteView wanted, Stretch part) {
  while (part.size > compare_sector) {
    const std::uint32_t sectors = (part.size + compare_sector - 1) / compare_sector;
    const std::uint32_t half = sectors / 2 * compare_sector;
    const Stretch first{part.from, half};
    CO_TRY(bool equal, co_await is_equal(loader, at, wanted, first));
    part = equal ? Stretch{part.from + half, part.size - half} : first;
  }
  co_return part.from;
}

}  // namespace

Task<Result<std::optional<FlashRange>>> first_difference(Loader& loader, FlashOffset at, ByteView wanted,
                                                         Progress progress) {
  const auto size = static_cast<std::uint32_t>(wanted.size());
  for (std::uint32_t from = 0; from < size; from += chunk) {
    const Stretch part{from, std::min(chunk, size - from)};
    CO_TRY(bool equal, co_await is_equal(loader, at, wanted, part));
    if (progress) progress(from + part.size);
    if (equal) continue;
    CO_TRY(const std::uint32_t first, co_await first_sector(loader, at, wanted, part));
    std::uint32_t end = std::min(first + compare_sector, size);
    while (end < size && end - first < most_sectors * compare_sector) {
      const Stretch next{end, std::min(compare_sector, size - end)};
      CO_TRY(bool same, co_await is_equal(loader, at, wanted, next));
      if (same) break;
      end += next.size;
    }
    co_return FlashRange{{at.bytes + first}, end - first};
  }
  co_return std::nullopt;
}

}  // namespace espmint::app
