#include "sim/nvs.hpp"

#include <zlib.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace espmint::sim {
namespace {

// A page's state only loses bits. Source: NVS Library, Internals, Structure of a page.
constexpr std::uint32_t blank_page = 0xffff'ffff, active_page = 0xffff'fffe, full_page = 0xffff'fffc,
                        freeing_page = 0xffff'fff8;
constexpr std::uint8_t version_2 = 0xfe;
constexpr std::uint32_t bitmap_at = 32, entries_at = 64;
constexpr unsigned state_empty = 3, state_written = 2, state_erased = 0;
constexpr std::uint8_t type_u8 = 0x01, type_string = 0x21, type_whole_blob = 0x41, type_chunk = 0x42, type_blob = 0x48,
                       no_chunk = 0xff;
constexpr std::size_t key_at = 8, key_bytes = 16, value_at = 24;
constexpr std::uint8_t last_space = 254;

struct Integer {
  std::uint8_t type;
  std::size_t bytes;
  std::string_view name;
};
constexpr std::array integers{Integer{0x01, 1, "u8"},  Integer{0x11, 1, "i8"},  Integer{0x02, 2, "u16"},
                              Integer{0x12, 2, "i16"}, Integer{0x04, 4, "u32"}, Integer{0x14, 4, "i32"},
                              Integer{0x08, 8, "u64"}, Integer{0x18, 8, "i64"}};

std::uint32_t crc_of(ByteView bytes) {
  return static_cast<std::uint32_t>(crc32(0xffff'ffff, bytes.data(), static_cast<uInt>(bytes.size())));
}

/// Over the entry without the checksum's own place.
std::uint32_t crc_of_entry(ByteView entry) {
  Bytes covered(entry.begin(), entry.begin() + 4);
  append(covered, entry.subspan(8));
  return crc_of(covered);
}

std::string_view key_of(ByteView entry) {
  std::string_view field = as_text(entry.subspan(key_at, key_bytes));
  return field.substr(0, field.find('\0'));
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= Nvs::longest_key && name.find('\0') == name.npos;
}

}  // namespace

Nvs::Nvs(NorFlash flash, std::uint32_t at, std::uint32_t size) : flash_(flash), at_(at), pages_(size / page_bytes) {
  std::uint32_t there = at < flash_.size() ? (flash_.size() - at) / page_bytes : 0;
  pages_ = std::min(pages_, there);
}

std::uint32_t Nvs::address(const Place& place) const {
  return address(place.page) + entries_at + place.entry * entry_bytes;
}

std::uint32_t Nvs::state_of(std::uint32_t page) const { return get_u32(flash_.view(), address(page)); }
std::uint32_t Nvs::sequence_of(std::uint32_t page) const { return get_u32(flash_.view(), address(page) + 4); }

/// Two bits each, the first entry in the lowest.
unsigned Nvs::entry_state(std::uint32_t page, std::uint32_t entry) const {
  return flash_.view()[address(page) + bitmap_at + entry / 4] >> (2 * (entry % 4)) & 3u;
}

void Nvs::set_entry_state(std::uint32_t page, std::uint32_t entry, unsigned state) {
  unsigned keep = ~(3u << (2 * (entry % 4)));
  auto byte = static_cast<std::uint8_t>(keep | state << (2 * (entry % 4)));
  flash_.program(address(page) + bitmap_at + entry / 4, ByteView{&byte, 1});
}

/// The entry behind the last one that was ever written.
std::uint32_t Nvs::first_empty(std::uint32_t page) const {
  std::uint32_t entry = entries;
  while (entry > 0 && entry_state(page, entry - 1) == state_empty) --entry;
  return entry;
}

std::vector<std::uint32_t> Nvs::used_pages() const {
  std::vector<std::uint32_t> pages;
  for (std::uint32_t page = 0; page < pages_; ++page) {
    std::uint32_t state = state_of(page);
    if (state != active_page && state != full_page && state != freeing_page) continue;
    ByteView header = flash_.view().subspan(address(page), bitmap_at);
    if (crc_of(header.subspan(4, 24)) == get_u32(header, 28)) pages.push_back(page);
  }
  std::sort(pages.begin(), pages.end(),
            [this](std::uint32_t a, std::uint32_t b) { return sequence_of(a) < sequence_of(b); });
  return pages;
}

std::vector<Nvs::Place> Nvs::items(std::uint32_t page) const {
  std::vector<Place> places;
  for (std::uint32_t entry = 0; entry < entries;) {
    Place place{page, entry, 1};
    ByteView bytes = flash_.view().subspan(address(place), entry_bytes);
    bool good = entry_state(page, entry) == state_written && crc_of_entry(bytes) == get_u32(bytes, 4);
    if (good && bytes[2] >= 1 && entry + bytes[2] <= entries) {
      place.span = bytes[2];
      places.push_back(place);
    }
    entry += place.span;
  }
  return places;
}

/// The newest, should a power cut have left two.
std::optional<Nvs::Place> Nvs::find(std::uint8_t space, std::uint8_t type, std::string_view key) const {
  std::optional<Place> found;
  for (std::uint32_t page : used_pages()) {
    for (const Place& place : items(page)) {
      ByteView entry = flash_.view().subspan(address(place), entry_bytes);
      if (entry[0] == space && entry[1] == type && key_of(entry) == key) found = place;
    }
  }
  return found;
}

std::optional<std::uint8_t> Nvs::find_space(std::string_view name) const {
  std::optional<Place> place = find(0, type_u8, name);
  if (!place) return std::nullopt;
  return flash_.view()[address(*place) + value_at];
}

std::optional<std::uint8_t> Nvs::make_space(std::string_view name) {
  if (std::optional<std::uint8_t> there = find_space(name)) return there;
  std::uint8_t last = 0;
  for (std::uint32_t page : used_pages()) {
    for (const Place& place : items(page)) {
      ByteView entry = flash_.view().subspan(address(place), entry_bytes);
      if (entry[0] == 0) last = std::max(last, entry[value_at]);
    }
  }
  if (last >= last_space) return std::nullopt;
  auto index = static_cast<std::uint8_t>(last + 1);
  if (!put(0, type_u8, name, ByteView{&index, 1}, {})) return std::nullopt;
  return index;
}

std::optional<std::uint8_t> Nvs::get_u8(std::string_view name_space, std::string_view key) const {
  std::optional<std::uint8_t> space = find_space(name_space);
  if (!space) return std::nullopt;
  std::optional<Place> place = find(*space, type_u8, key);
  if (!place) return std::nullopt;
  return flash_.view()[address(*place) + value_at];
}

std::optional<std::string> Nvs::get_string(std::string_view name_space, std::string_view key) const {
  std::optional<std::uint8_t> space = find_space(name_space);
  if (!space) return std::nullopt;
  std::optional<Place> place = find(*space, type_string, key);
  if (!place) return std::nullopt;
  std::optional<Bytes> data = data_of(*place);
  if (!data || data->empty() || data->back() != 0) return std::nullopt;
  return std::string{as_text(ByteView{*data}.first(data->size() - 1))};
}

ByteView Nvs::entry_at(const Place& place) const {
  return flash_.view().subspan(address(place), place.span * entry_bytes);
}

std::optional<Bytes> Nvs::data_of(const Place& place) const {
  ByteView entry = entry_at(place);
  std::size_t size = get_u16(entry, value_at);
  if (size > entry.size() - entry_bytes) return std::nullopt;
  ByteView data = entry.subspan(entry_bytes, size);
  if (crc_of(data) != get_u32(entry, value_at + 4)) return std::nullopt;
  return Bytes{data.begin(), data.end()};
}

bool Nvs::is_unreadable() const {
  bool has_written = false;
  for (std::uint32_t page : used_pages()) {
    if (!items(page).empty()) return false;
    for (std::uint32_t entry = 0; entry < entries; ++entry)
      has_written = has_written || entry_state(page, entry) == state_written;
  }
  return has_written;
}

std::vector<StoredFile> Nvs::all() const {
  using Name = std::tuple<std::uint8_t, std::uint8_t, std::string, std::uint8_t>;  // namespace, type, key, chunk
  std::map<Name, Place> newest;
  std::vector<Name> order;
  std::map<std::uint8_t, std::string> spaces;
  for (std::uint32_t page : used_pages()) {
    for (const Place& place : items(page)) {
      ByteView entry = entry_at(place);
      if (entry[0] == 0) {
        if (entry[1] == type_u8) spaces[entry[value_at]] = key_of(entry);
        continue;
      }
      Name name{entry[0], entry[1], key_of(entry), entry[1] == type_chunk ? entry[3] : no_chunk};
      if (newest.insert_or_assign(name, place).second) order.push_back(name);
    }
  }
  // The index says how long the blob is and which chunks make it.
  auto blob_of = [&](const Name& name, ByteView index) -> std::optional<Bytes> {
    Bytes whole;
    for (unsigned i = 0; i < index[value_at + 4]; ++i) {
      auto chunk = static_cast<std::uint8_t>(index[value_at + 5] + i);
      auto found = newest.find(Name{std::get<0>(name), type_chunk, std::get<2>(name), chunk});
      std::optional<Bytes> part = found == newest.end() ? std::nullopt : data_of(found->second);
      if (!part) return std::nullopt;
      append(whole, *part);
    }
    return whole.size() == get_u32(index, value_at) ? std::optional{whole} : std::nullopt;
  };

  std::vector<StoredFile> out;
  for (const Name& name : order) {
    auto space = spaces.find(std::get<0>(name));
    if (space == spaces.end()) continue;
    const Place& place = newest.at(name);
    ByteView entry = entry_at(place);
    std::optional<Bytes> value;
    std::string_view type = "blob";
    if (entry[1] == type_string) {
      type = "string";
      value = data_of(place);
      if (value && (value->empty() || value->back() != 0)) continue;
      if (value) value->pop_back();
    } else if (entry[1] == type_whole_blob) {
      value = data_of(place);
    } else if (entry[1] == type_blob) {
      value = blob_of(name, entry);
    }
    for (const Integer& row : integers) {
      if (row.type != entry[1]) continue;
      type = row.name;
      ByteView field = entry.subspan(value_at, row.bytes);
      value.emplace(field.begin(), field.end());
    }
    if (value) out.push_back({space->second + "/" + std::get<2>(name), std::move(*value), type});
  }
  return out;
}

bool Nvs::set_u8(std::string_view name_space, std::string_view key, std::uint8_t value) {
  if (!is_name(name_space) || !is_name(key)) return false;
  if (get_u8(name_space, key) == value) return true;
  std::optional<std::uint8_t> space = make_space(name_space);
  return space && put(*space, type_u8, key, ByteView{&value, 1}, {});
}

bool Nvs::set_string(std::string_view name_space, std::string_view key, std::string_view value) {
  if (!is_name(name_space) || !is_name(key) || value.size() + 1 > longest_string) return false;
  if (get_string(name_space, key) == value) return true;
  std::optional<std::uint8_t> space = make_space(name_space);
  if (!space) return false;
  Bytes data = to_bytes(value.substr(0, value.find('\0')));
  data.push_back(0);
  Bytes head;
  put_u16(head, static_cast<std::uint16_t>(data.size()));
  put_u16(head, 0xffff);
  put_u32(head, crc_of(data));
  return put(*space, type_string, key, head, data);
}

/// The new entry first, then the old one is erased: a power cut between leaves two, never none.
bool Nvs::put(std::uint8_t space, std::uint8_t type, std::string_view key, ByteView value, ByteView data) {
  auto span = static_cast<std::uint32_t>(1 + (data.size() + entry_bytes - 1) / entry_bytes);
  std::optional<std::uint32_t> page = page_for(span);
  if (!page) return false;
  std::optional<Place> old = find(space, type, key);
  Entry entry;
  entry.fill(0xff);
  entry[0] = space;
  entry[1] = type;
  entry[2] = static_cast<std::uint8_t>(span);
  entry[3] = no_chunk;
  std::fill_n(entry.begin() + key_at, key_bytes, std::uint8_t{0});
  std::copy(key.begin(), key.end(), entry.begin() + key_at);
  std::copy(value.begin(), value.end(), entry.begin() + value_at);
  set_u32(entry, 4, crc_of_entry(entry));
  Place place{*page, first_empty(*page), span};
  flash_.program(address(place), entry);
  flash_.program(address(place) + entry_bytes, data);
  for (std::uint32_t i = 0; i < span; ++i) set_entry_state(place.page, place.entry + i, state_written);
  if (old) erase(*old);
  return true;
}

void Nvs::erase(const Place& place) {
  for (std::uint32_t i = 0; i < place.span; ++i) set_entry_state(place.page, place.entry + i, state_erased);
}

/// The active page, or a new one when it has no room. One page stays blank, for collecting.
std::optional<std::uint32_t> Nvs::page_for(std::uint32_t span) {
  if (span > entries) return std::nullopt;
  for (std::uint32_t page : used_pages()) {
    if (state_of(page) != active_page) continue;
    if (first_empty(page) + span <= entries) return page;
    Bytes full;
    put_u32(full, full_page);
    flash_.program(address(page), full);
  }
  std::vector<std::uint32_t> used = used_pages(), blank;
  for (std::uint32_t page = 0; page < pages_; ++page)
    if (std::find(used.begin(), used.end(), page) == used.end()) blank.push_back(page);
  if (blank.size() >= 2) return open_page(blank.front());
  if (blank.empty()) return std::nullopt;
  std::optional<std::uint32_t> page = collect_garbage(blank.front());
  if (!page || first_empty(*page) + span > entries) return std::nullopt;
  return page;
}

std::optional<std::uint32_t> Nvs::open_page(std::uint32_t page) {
  if (!flash_.is_blank(address(page), page_bytes)) flash_.erase(address(page), page_bytes);
  std::vector<std::uint32_t> used = used_pages();
  Bytes header;
  put_u32(header, active_page);
  put_u32(header, used.empty() ? 0 : sequence_of(used.back()) + 1);
  header.push_back(version_2);
  header.resize(28, 0xff);
  put_u32(header, crc_of(ByteView{header}.subspan(4)));
  flash_.program(address(page), header);
  return page;
}

/// Moves what lives on the page with the most dead entries to the blank one; nothing when none has any.
std::optional<std::uint32_t> Nvs::collect_garbage(std::uint32_t into) {
  std::optional<std::uint32_t> from;
  std::uint32_t fewest = entries;
  for (std::uint32_t page : used_pages()) {
    std::uint32_t live = 0;
    for (const Place& place : items(page)) live += place.span;
    if (live < fewest) {
      fewest = live;
      from = page;
    }
  }
  if (!from) return std::nullopt;
  Bytes freeing;
  put_u32(freeing, freeing_page);
  flash_.program(address(*from), freeing);
  open_page(into);
  std::uint32_t next = 0;
  for (const Place& place : items(*from)) {
    Bytes item = flash_.read(address(place), place.span * entry_bytes);
    flash_.program(address(Place{into, next, place.span}), item);
    for (std::uint32_t i = 0; i < place.span; ++i) set_entry_state(into, next++, state_written);
  }
  flash_.erase(address(*from), page_bytes);
  return into;
}

}  // namespace espmint::sim
