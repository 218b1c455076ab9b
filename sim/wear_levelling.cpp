#include "sim/wear_levelling.hpp"

#include <zlib.h>

namespace espmint::sim {
namespace {

constexpr std::size_t wl_sector = 4096, wl_state_bytes = 64, wl_record_bytes = 16;
constexpr std::uint32_t wl_version = 2;

/// Of a state, in 32-bit words.
constexpr std::size_t word_dummy = 0, word_last_dummy = 1, word_turns = 2, word_version = 6, word_device = 7,
                      word_crc = 15;

std::uint32_t wl_word(ByteView bytes, std::size_t index) { return get_u32(bytes, 4 * index); }

std::uint32_t wl_crc(ByteView bytes) {
  return static_cast<std::uint32_t>(crc32(0xffff'ffff, bytes.data(), static_cast<uInt>(bytes.size())));
}

bool is_state(ByteView area) {
  return wl_crc(area.first(4 * word_crc)) == wl_word(area, word_crc) && wl_word(area, word_version) == wl_version;
}

/// A step's record: four words, each the checksum of a number that only this device and this step have.
bool has_record(ByteView area, std::uint32_t step) {
  ByteView record = area.subspan(wl_state_bytes + step * wl_record_bytes, wl_record_bytes);
  for (std::uint32_t i = 0; i < 4; ++i) {
    Bytes number;
    put_u32(number, wl_word(area, word_device) + 4 * step + i);
    if (wl_crc(number) != wl_word(record, i)) return false;
  }
  return true;
}

/// Where the dummy stands: the first step without a record, at most the last place.
std::uint32_t dummy_by_records(ByteView area) {
  std::size_t room = (area.size() - wl_state_bytes) / wl_record_bytes;
  std::uint32_t places = wl_word(area, word_last_dummy), step = 0;
  while (step + 1 < places && step < room && has_record(area, step)) ++step;
  return step;
}

}  // namespace

std::optional<Levelled> unwrap_wear_levelling(ByteView partition) {
  std::size_t sectors = partition.size() / wl_sector;
  std::size_t state_sectors = (wl_state_bytes + sectors * wl_record_bytes + wl_sector - 1) / wl_sector;
  if (sectors < 2 * state_sectors + 1 + 2) return std::nullopt;
  std::size_t held = sectors - 2 * state_sectors - 1, shown = held - 1;
  ByteView first = partition.subspan(held * wl_sector, state_sectors * wl_sector),
           second = partition.subspan((held + state_sectors) * wl_sector, state_sectors * wl_sector);
  Levelled out;
  bool first_good = is_state(first), second_good = is_state(second);
  out.has_state = first_good || second_good;
  if (first_good) {
    // Without the second, a new turn was being written when power went: its first step is still to come.
    out.dummy = second_good ? dummy_by_records(first) : wl_word(first, word_dummy);
    out.turns = wl_word(first, word_turns);
  } else if (second_good) {
    out.dummy = wl_word(second, word_last_dummy) - 1;  // the end of a turn
    out.turns = wl_word(second, word_turns);
  }
  if (out.dummy > shown || out.turns > shown) return std::nullopt;
  out.content.reserve(shown * wl_sector);
  for (std::size_t i = 0; i < shown; ++i) {
    std::size_t at = (shown - out.turns + i) % shown;
    if (at >= out.dummy) ++at;
    append(out.content, partition.subspan(at * wl_sector, wl_sector));
  }
  return out;
}

}  // namespace espmint::sim
