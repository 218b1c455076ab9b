#include "sim/flash_writer.hpp"

#include <zlib.h>

#include "sim/dice.hpp"

namespace espmint::sim {
namespace {
constexpr std::size_t window = 32 * 1024;
}

struct Inflater::State {
  z_stream stream{};
  Bytes window_bytes = Bytes(window);
};

Inflater::Inflater() : state_(std::make_unique<State>()) {
  inflateInit(&state_->stream);
  state_->stream.next_out = state_->window_bytes.data();
  state_->stream.avail_out = window;
}

Inflater::~Inflater() { inflateEnd(&state_->stream); }

bool Inflater::feed(ByteView in, Bytes& out) {
  z_stream& z = state_->stream;
  z.next_in = const_cast<Bytef*>(in.data());  // zlib only reads it
  z.avail_in = static_cast<uInt>(in.size());
  while (true) {
    int result = finished_ ? Z_STREAM_END : inflate(&z, Z_NO_FLUSH);
    if (result == Z_STREAM_END)
      finished_ = true;
    else if (result != Z_OK && result != Z_BUF_ERROR)
      return false;
    if (z.avail_out == 0 || finished_) {
      append(out, ByteView{state_->window_bytes}.first(window - z.avail_out));
      z.next_out = state_->window_bytes.data();
      z.avail_out = window;
    }
    if (finished_ || z.avail_in == 0) break;
  }
  // A full window may leave output inside zlib; it comes with the next input, or is fetched when none is left.
  while (!finished_) {
    uInt before = z.avail_out;
    int result = inflate(&z, Z_SYNC_FLUSH);
    if (result == Z_STREAM_END) finished_ = true;
    if (z.avail_out == 0 || finished_) {
      append(out, ByteView{state_->window_bytes}.first(window - z.avail_out));
      z.next_out = state_->window_bytes.data();
      z.avail_out = window;
    } else if (z.avail_out == before || result != Z_OK) {
      break;
    }
  }
  return true;
}

void FlashWriter::begin(std::uint32_t at, std::uint32_t bytes, bool deflated, Habits habits) {
  active_ = true;
  habits_ = habits;
  next_ = at;
  end_ = at + bytes;
  erased_to_ = at & ~(NorFlash::sector - 1);
  remaining_ = bytes;
  all_blank_so_far_ = true;
  inflater_ = deflated ? std::make_unique<Inflater>() : nullptr;
}

Time FlashWriter::erase_time(Time typical) {
  if (preset_.slow_erase_percent != 0 && dice_.below(100) < preset_.slow_erase_percent) return typical * 10;
  return typical;
}

void FlashWriter::plan_erase(std::uint32_t at, std::uint32_t bytes, bool sectors_only, Time sector, Work& work) {
  std::uint64_t begin = at & ~(NorFlash::sector - 1);
  std::uint64_t end = (std::uint64_t{at} + bytes + NorFlash::sector - 1) & ~std::uint64_t{NorFlash::sector - 1};
  while (begin < end) {
    bool whole = !sectors_only && begin % NorFlash::block == 0 && end - begin >= NorFlash::block;
    std::uint32_t step = whole ? NorFlash::block : NorFlash::sector;
    work.push_back({Step::Kind::erase,
                    erase_time(whole ? preset_.erase_block : sector),
                    static_cast<std::uint32_t>(begin),
                    step,
                    {}});
    begin += step;
  }
}

void FlashWriter::erase_up_to(std::uint32_t end, Work& work) {
  while (erased_to_ < end) {
    bool whole = erased_to_ % NorFlash::block == 0 && end_ - erased_to_ >= NorFlash::block && erased_to_ < end_;
    std::uint32_t step = whole ? NorFlash::block : NorFlash::sector;
    // The check ends at the first used sector: behind it an image is likely used throughout, and reading costs too.
    if (habits_.skips_blank && all_blank_so_far_ && flash_.is_blank(erased_to_, step)) {
      erased_to_ += step;
      continue;
    }
    all_blank_so_far_ = false;
    work.push_back(
        {Step::Kind::erase, erase_time(whole ? preset_.erase_block : preset_.erase_sector), erased_to_, step, {}});
    erased_to_ += step;
  }
}

void FlashWriter::plan_program(ByteView data, Work& work) {
  std::size_t done = 0;
  while (done < data.size()) {
    std::size_t room = NorFlash::page - next_ % NorFlash::page;
    std::size_t now = std::min(room, data.size() - done);
    std::uint32_t at = next_;
    if (habits_.erases) erase_up_to(at + static_cast<std::uint32_t>(now), work);
    ByteView piece = data.subspan(done, now);
    work.push_back({Step::Kind::program, preset_.program_page, at, 0, Bytes(piece.begin(), piece.end())});
    next_ += static_cast<std::uint32_t>(now);
    done += now;
  }
}

WriteError FlashWriter::write(ByteView data, Work& work) {
  Bytes inflated;
  if (inflater_) {
    if (inflater_->finished()) return data.empty() ? WriteError::none : WriteError::too_much;
    work.push_back({Step::Kind::wait, preset_.inflate_byte * static_cast<std::int64_t>(data.size() * 3 / 2), 0, 0, {}});
    bool whole = inflater_->feed(data, inflated);
    if (!whole) return WriteError::bad_stream;
    data = inflated;
  }
  if (inflater_ && data.size() > remaining_) {
    plan_program(data.first(remaining_), work);
    remaining_ = 0;
    return WriteError::too_much;
  }
  // A plain last block is padded to its size: what lies behind the region is dropped.
  if (habits_.bounded) data = data.first(std::min<std::size_t>(data.size(), remaining_));
  if (!flash_.contains(next_, data.size())) return WriteError::out_of_flash;
  plan_program(data, work);
  remaining_ -= std::min<std::uint64_t>(data.size(), remaining_);
  if (inflater_ && inflater_->finished() && remaining_ != 0) return WriteError::not_enough;
  return WriteError::none;
}

}  // namespace espmint::sim
