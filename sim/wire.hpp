// sim/wire.hpp: one direction of a serial line: bytes pushed in at one end come out later at the other, at the speed of
// the baud rate, perhaps damaged. No event per byte: when a byte arrives is arithmetic.
#pragma once

#include <deque>
#include <optional>

#include "base/bytes.hpp"
#include "sim/dice.hpp"
#include "sim/presets.hpp"

namespace espmint::sim {

/// What goes wrong, by seed. A period n means: on average one of n bytes; 0 never. Places count bytes from the host.
struct Faults {
  std::uint64_t seed = 0;
  std::uint64_t lose_one_of = 0;
  std::uint64_t duplicate_one_of = 0;
  std::uint64_t garble_one_of = 0;
  std::uint64_t delay_one_of = 0;
  Time delay_by = milliseconds{50};
  bool short_reads = false;  // the host gets a few bytes at a time
  std::optional<std::uint64_t> unplug_at_byte;
  std::optional<std::uint64_t> reset_at_byte;
  std::optional<std::uint64_t> swap_at_byte;  // unplugged there; what is plugged next is another board
};

class Wire {
 public:
  explicit Wire(bool paced) : paced_(paced) {}

  /// Bytes that leave from `at` on, behind what is still on the way.
  void push(Time at, ByteView bytes, std::uint32_t baud);
  /// Bytes that arrive up to and including `until`, in one piece: consecutive bytes of one push.
  [[nodiscard]] ByteView arrived(Time until) const;
  /// The baud they were sent at.
  [[nodiscard]] std::uint32_t baud() const { return segments_.empty() ? 0 : segments_.front().baud; }
  void pop(std::size_t count);
  /// When byte `index` of what is on the way arrives.
  [[nodiscard]] Time arrival(std::size_t index) const;
  /// The first byte of this value among the first push still on the way, counted from the front.
  [[nodiscard]] std::optional<std::size_t> find(std::uint8_t value) const;
  /// Bytes of the front push.
  [[nodiscard]] std::size_t front_size() const;
  /// When the front push has wholly arrived.
  [[nodiscard]] Time front_end() const;
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  void clear();

 private:
  struct Segment {
    Bytes bytes;
    std::size_t taken = 0;
    Time start{};
    std::uint32_t baud = 0;
  };
  [[nodiscard]] Time arrival(const Segment&, std::size_t index) const;
  bool paced_;
  std::deque<Segment> segments_;
  std::size_t size_ = 0;
  Time free_at_{};
};

/// Damages bytes on their way.
class Gremlin {
 public:
  explicit Gremlin(const Faults& faults, std::uint64_t salt);
  [[nodiscard]] bool idle() const { return idle_; }
  /// The bytes as they come through; `delay` is added to their start.
  Bytes pass(ByteView bytes, Time& delay);
  std::size_t shorten(std::size_t count);

 private:
  std::uint64_t next_gap(std::uint64_t mean);
  const Faults faults_;
  Dice dice_;
  bool idle_;
  std::uint64_t lose_in_ = 0, duplicate_in_ = 0, garble_in_ = 0, delay_in_ = 0;
};

/// More than 2.5 % apart and neither side understands the other.
constexpr bool bauds_agree(std::uint32_t a, std::uint32_t b) {
  std::uint64_t difference = a > b ? a - b : b - a;
  return difference * 1000 <= std::uint64_t{b} * 25;
}

}  // namespace espmint::sim
