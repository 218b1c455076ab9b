// rom/flash.hpp: writing, reading, erasing and proving flash through the ROM loader or the stub.
//   auto prepared = prepare_region(0x10000, app, WriteFormat::of(Speaker::stub, chip));   // once, for all boards
//   CO_TRY(co_await write_region(loader, *prepared, progress));
//   CO_TRY(Md5 on_board, co_await flash_md5(loader, prepared->range));
// Whoever wants only what is missing to be sent, and the proof with it: update_region.hpp.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/hash.hpp"
#include "rom/loader.hpp"

namespace espmint {

/// Called with bytes of the region that are on the board by now.
using Progress = std::function<void(std::uint64_t region_bytes)>;

/// What decides the frames: who will read them.
struct WriteFormat {
  std::uint32_t block_size = 0x4000;  // bytes a frame: 16 KiB to the stub, 1 KiB to the ROM
  bool five_words = true;             // FLASH_(DEFL_)BEGIN has the "encrypted" word
  bool stub = true;                   // the stub takes the exact size, the ROM whole blocks
  bool encrypt = false;               // the ROM encrypts what it writes (fifth word 1); never deflated
  static WriteFormat of(Speaker, const ChipSpec&);
  auto operator<=>(const WriteFormat&) const = default;
};

/// A region compressed, cut and framed, ready to go out to any number of ports. Long runs of 0xFF are not sent: then
/// the region is several `parts` with `blanks` between them, and has no frames of its own.
struct PreparedRegion {
  PreparedRegion() = default;
  PreparedRegion(const PreparedRegion&) = delete;
  PreparedRegion& operator=(const PreparedRegion&) = delete;
  ~PreparedRegion();  // wipes the frames of a secret region

  FlashRange range;
  Md5 md5{};              // of the plain bytes
  bool deflated = false;  // sent plain where deflate would not make it smaller
  Bytes begin_body;       // of FLASH_(DEFL_)BEGIN
  Bytes frames;           // SLIP frames of all data blocks, one behind the other
  struct Block {
    std::size_t from, size;     // in `frames`
    std::uint32_t plain_bytes;  // of flash that this block makes known; a guess where the region is secret
  };
  std::vector<Block> blocks;
  /// Whole sectors that must read 0xFF.
  struct Blank {
    FlashRange range;
    FlashRange erase;  // where they do not: from the start of their block of 64 KiB; a part may begin there
    Md5 md5{};
  };
  std::vector<Blank> blanks;
  std::vector<std::shared_ptr<const PreparedRegion>> parts;
  WriteFormat format;
  Bytes plain;          // to go on in the middle; empty where the region is secret
  bool secret = false;  // holds a private key
  [[nodiscard]] std::uint64_t wire_bytes() const;
};

/// The larger of the two pieces that flash is erased in, and the quicker one for its size.
inline constexpr std::uint32_t flash_sector = 0x1000, flash_block = 0x1'0000;
/// How often a block is sent that the stub refuses for its checksum: it has not taken it.
inline constexpr int block_attempts = 3;

/// Compressed as well as deflate can (libdeflate 12: 0.1 s for 1 MiB): once for all boards. Pure; call it on a pool.
std::shared_ptr<const PreparedRegion> prepare_region(FlashOffset at, ByteView bytes, const WriteFormat&);
/// The same for an image with a board's private key in it: quicker, and nothing of it stays in memory afterwards.
std::shared_ptr<const PreparedRegion> prepare_secret_region(FlashOffset at, ByteView bytes, const WriteFormat&);

/// Whether who speaks can work on flash and prove it. The ESP8266's ROM cannot: it has no digest, reads nothing back,
/// and erases more than it is asked to. Fault command_refused (refuse): its stub is needed. Every call below asks this
/// first.
Result<void> can_work_on_flash(const Loader&);
/// The rest of a region whose beginning is on the flash already, as a stream of its own; compressed quickly. Pure.
/// `from` lies in the region, which must not be secret.
std::shared_ptr<const PreparedRegion> prepare_rest(const PreparedRegion&, FlashOffset from);

/// Writes and waits for the end of the work, so that a fault belongs to this region; its block is named in
/// where.offset. Of its blanks only the ends are looked at: their digest is the caller's, with the rest (erase_blanks).
/// Returns how many bytes, from the region's start, are proved by the board's digests already: while a block is on the
/// wire the stub reads back what is on the flash, so that little is left to wait for at the end.
/// Faults: command_refused, reply_missing (retry by reconnecting), port faults.
Task<Result<std::uint32_t>> write_region(Loader&, const PreparedRegion&, Progress = {});
/// Erases those of the region's blanks whose digest says that something is there. Whether there was one.
Task<Result<bool>> erase_blanks(Loader&, const PreparedRegion&);

/// The board's own digest of its flash.
Task<Result<Md5>> flash_md5(Loader&, FlashRange);

/// Whole sectors of 4 KiB. The ROM has no erase command; there a FLASH_BEGIN that covers the range does it.
Task<Result<void>> erase_region(Loader&, FlashRange);
Task<Result<void>> erase_chip(Loader&, std::uint32_t flash_size);

/// Stub: streamed, its MD5 checked. ROM: 64 bytes at a time.
Task<Result<Bytes>> read_flash(Loader&, FlashRange, Progress = {});

}  // namespace espmint
