#include "sim/wire.hpp"

namespace espmint::sim {
namespace {
constexpr std::int64_t ten_bits_ns = 10'000'000'000;  // start, eight, stop: ten bit times a byte
}

Time Wire::arrival(const Segment& segment, std::size_t index) const {
  if (!paced_ || segment.baud == 0) return segment.start;
  return segment.start + Time{static_cast<std::int64_t>(index + 1) * ten_bits_ns / segment.baud};
}

void Wire::push(Time at, ByteView bytes, std::uint32_t baud) {
  if (bytes.empty()) return;
  segments_.push_back({Bytes(bytes.begin(), bytes.end()), 0, std::max(at, free_at_), baud});
  free_at_ = arrival(segments_.back(), bytes.size() - 1);
  size_ += bytes.size();
}

ByteView Wire::arrived(Time until) const {
  if (segments_.empty()) return {};
  const Segment& front = segments_.front();
  ByteView rest = ByteView{front.bytes}.subspan(front.taken);
  if (until < front.start) return {};
  if (!paced_ || front.baud == 0) return rest;
  std::uint64_t whole = static_cast<std::uint64_t>((until - front.start).count()) / 1000 * front.baud / 10'000'000;
  // The division above may be one byte off either way; the exact rule is arrival().
  whole = std::min<std::uint64_t>(whole, front.bytes.size());
  while (whole < front.bytes.size() && arrival(front, whole) <= until) ++whole;
  while (whole > front.taken && arrival(front, whole - 1) > until) --whole;
  return whole <= front.taken ? ByteView{} : rest.first(whole - front.taken);
}

void Wire::pop(std::size_t count) {
  if (count == 0) return;
  Segment& front = segments_.front();
  front.taken += count;
  size_ -= count;
  if (front.taken == front.bytes.size()) segments_.pop_front();
}

Time Wire::arrival(std::size_t index) const { return arrival(segments_.front(), segments_.front().taken + index); }

std::optional<std::size_t> Wire::find(std::uint8_t value) const {
  if (segments_.empty()) return std::nullopt;
  const Segment& front = segments_.front();
  const void* at = std::memchr(front.bytes.data() + front.taken, value, front.bytes.size() - front.taken);
  if (!at) return std::nullopt;
  return static_cast<std::size_t>(static_cast<const std::uint8_t*>(at) - front.bytes.data()) - front.taken;
}

std::size_t Wire::front_size() const {
  return segments_.empty() ? 0 : segments_.front().bytes.size() - segments_.front().taken;
}

Time Wire::front_end() const { return arrival(segments_.front(), segments_.front().bytes.size() - 1); }

void Wire::clear() {
  segments_.clear();
  size_ = 0;
  free_at_ = Time{};
}

Gremlin::Gremlin(const Faults& faults, std::uint64_t salt)
    : faults_(faults),
      dice_(faults.seed * 0x9e37'79b9 + salt),
      idle_(faults.lose_one_of == 0 && faults.duplicate_one_of == 0 && faults.garble_one_of == 0 &&
            faults.delay_one_of == 0) {
  lose_in_ = next_gap(faults_.lose_one_of);
  duplicate_in_ = next_gap(faults_.duplicate_one_of);
  garble_in_ = next_gap(faults_.garble_one_of);
  delay_in_ = next_gap(faults_.delay_one_of);
}

std::uint64_t Gremlin::next_gap(std::uint64_t mean) {
  return mean == 0 ? ~std::uint64_t{0} : 1 + dice_.below(2 * mean);
}

Bytes Gremlin::pass(ByteView bytes, Time& delay) {
  if (idle_) return {bytes.begin(), bytes.end()};
  Bytes out;
  out.reserve(bytes.size() + 4);
  for (std::uint8_t byte : bytes) {
    if (--delay_in_ == 0) {
      delay += faults_.delay_by;
      delay_in_ = next_gap(faults_.delay_one_of);
    }
    if (--lose_in_ == 0) {
      lose_in_ = next_gap(faults_.lose_one_of);
      continue;
    }
    if (--garble_in_ == 0) {
      byte = static_cast<std::uint8_t>(byte ^ (1u << dice_.below(8)));
      garble_in_ = next_gap(faults_.garble_one_of);
    }
    out.push_back(byte);
    if (--duplicate_in_ == 0) {
      out.push_back(byte);
      duplicate_in_ = next_gap(faults_.duplicate_one_of);
    }
  }
  return out;
}

std::size_t Gremlin::shorten(std::size_t count) {
  return faults_.short_reads && count > 1 ? 1 + dice_.below(std::min<std::uint64_t>(count, 7)) : count;
}

}  // namespace espmint::sim
