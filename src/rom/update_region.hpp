// rom/update_region.hpp: brings the flash to hold a region: what is there already, by the board's own digests, is not
// sent again; what is sent is proved. A write that broke off goes on where it was, in the next connection too.
//   CO_TRY(RegionUpdate done, co_await update_region(loader, pool, region, LookFirst::yes, progress));
#pragma once

#include "io/pool.hpp"
#include "rom/flash.hpp"

namespace espmint {

/// Whether to look for what is there already. `no` where none of it can be: a key that was made a moment ago.
enum class LookFirst { yes, no };

struct RegionUpdate {
  std::uint64_t kept_bytes = 0;     // of the region, from its start, that were there
  std::uint64_t written_bytes = 0;  // 0: all of it was there
  std::uint64_t wire_bytes = 0;
  Duration writing{};  // without digests
};

/// Keeps the whole blocks of 64 KiB, from the region's start, that the board's digests find equal; writes the rest.
/// Afterwards all of the region is proved by digests of this connection. Progress counts what was kept.
/// The pool compresses the rest of a region that goes on in the middle.
/// Faults: flash_differs (retry), those of write_region.
Task<Result<RegionUpdate>> update_region(Loader&, Pool&, std::shared_ptr<const PreparedRegion>, LookFirst,
                                         Progress = {});

/// How many bytes of the region, from its start, the flash holds: whole blocks of 64 KiB of flash, or all.
/// A board that holds another firmware costs one digest of 4 KiB; otherwise each byte is read once.
Task<Result<std::uint32_t>> matching_prefix(Loader&, const PreparedRegion&);

}  // namespace espmint
