// rom/flash.hpp: writing, reading, erasing and proving flash through the ROM loader or the stub.
//   auto prepared = prepare_region(0x10000, app, WriteFormat::of(Speaker::stub, chip));   // once, for all boards
//   CO_TRY(co_await write_region(loader, *prepared, progress));
//   CO_TRY(Md5 on_board, co_await flash_md5(loader, prepared->range));
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
  std::uint32_t block_size = 0x4000;     // bytes a frame: 16 KiB to the stub, 1 KiB to the ROM
  bool five_words = true;                // FLASH_(DEFL_)BEGIN has the "encrypted" word
  bool stub = true;                      // the stub takes the exact size, the ROM whole blocks
  bool encrypt = false;                  // the ROM encrypts what it writes (fifth word 1); never deflated
  static WriteFormat of(Speaker, const ChipSpec&);
  auto operator<=>(const WriteFormat&) const = default;
};

/// A region compressed, cut and framed, ready to go out to any number of ports.
struct PreparedRegion {
  PreparedRegion() = default;
  PreparedRegion(const PreparedRegion&) = delete;
  PreparedRegion& operator=(const PreparedRegion&) = delete;
  ~PreparedRegion();         // wipes the frames of a secret region

  FlashRange range;
  Md5 md5{};                 // of the plain bytes
  bool deflated = false;     // sent plain where deflate would not make it smaller
  Bytes begin_body;          // of FLASH_(DEFL_)BEGIN
  Bytes frames;              // SLIP frames of all data blocks, one behind the other
  struct Block {
    std::size_t from, size;          // in `frames`
    std::uint32_t plain_bytes;       // flash that this block makes known, for progress and time-outs
  };
  std::vector<Block> blocks;
  bool secret = false;       // holds a private key
  [[nodiscard]] std::uint64_t wire_bytes() const { return frames.size(); }
};

/// Compressed as well as deflate can (libdeflate 12: 0.1 s for 1 MiB): once for all boards. Pure; call it on a pool.
std::shared_ptr<const PreparedRegion> prepare_region(FlashOffset at, ByteView bytes, const WriteFormat&);
/// The same for an image with a board's private key in it: quicker, and nothing of it stays in memory afterwards.
std::shared_ptr<const PreparedRegion> prepare_secret_region(FlashOffset at, ByteView bytes, const WriteFormat&);

/// Writes and waits for the end of the work, so that a fault belongs to this region; its block is named in where.offset.
/// Faults: command_refused, reply_missing (retry by reconnecting), port faults.
Task<Result<void>> write_region(Loader&, const PreparedRegion&, Progress = {});

/// The board's own digest of its flash.
Task<Result<Md5>> flash_md5(Loader&, FlashRange);

/// Whole sectors of 4 KiB. The ROM has no erase command; there a FLASH_BEGIN that covers the range does it.
Task<Result<void>> erase_region(Loader&, FlashRange);
Task<Result<void>> erase_chip(Loader&, std::uint32_t flash_size);

/// Stub: streamed, its MD5 checked. ROM: 64 bytes at a time.
Task<Result<Bytes>> read_flash(Loader&, FlashRange, Progress = {});

}  // namespace espmint
