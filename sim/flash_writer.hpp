// sim/flash_writer.hpp: one region being written, plain or deflated, by the ROM or by a stub.
#pragma once

#include <memory>

#include "sim/dice.hpp"
#include "sim/nor_flash.hpp"
#include "sim/work.hpp"

namespace espmint::sim {

/// zlib's inflate behind a 32 KiB window, as ROM and stub have it: data comes out when the window is full or the
/// stream ends.
class Inflater {
 public:
  Inflater();
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  /// False when the stream is damaged.
  bool feed(ByteView in, Bytes& out);
  [[nodiscard]] bool finished() const { return finished_; }

 private:
  struct State;
  std::unique_ptr<State> state_;
  bool finished_ = false;
};

enum class WriteError { none, bad_stream, too_much, not_enough, out_of_flash };

class FlashWriter {
 public:
  /// `erases`: as it goes, as stubs do; the ROM has erased before. `skips_blank`: no erase until the first used sector.
  struct Habits {
    bool erases = false;
    bool skips_blank = false;
    bool bounded = true;  // data behind the region is dropped; the ROM writes on
  };
  FlashWriter(NorFlash& flash, const Preset& preset, Dice& dice) : flash_(flash), preset_(preset), dice_(dice) {}

  void begin(std::uint32_t at, std::uint32_t bytes, bool deflated, Habits);
  [[nodiscard]] bool active() const { return active_; }
  [[nodiscard]] bool deflated() const { return inflater_ != nullptr; }
  [[nodiscard]] bool complete() const { return remaining_ == 0; }
  /// Plans the erasing and programming that `data` brings.
  WriteError write(ByteView data, Work&);
  void end() {
    active_ = false;
    inflater_.reset();
  }
  /// Erasing in sectors, or in blocks where they fit.
  void plan_erase(std::uint32_t at, std::uint32_t bytes, bool sectors_only, Time sector, Work&);

 private:
  void plan_program(ByteView data, Work&);
  void erase_up_to(std::uint32_t end, Work&);
  Time erase_time(Time typical);
  NorFlash& flash_;
  const Preset& preset_;
  Dice& dice_;
  bool active_ = false;
  Habits habits_;
  std::uint32_t next_ = 0, end_ = 0, erased_to_ = 0;
  std::uint64_t remaining_ = 0;
  bool all_blank_so_far_ = true;
  std::unique_ptr<Inflater> inflater_;
};

}  // namespace espmint::sim
