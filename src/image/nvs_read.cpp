#include <algorithm>
#include <map>
#include <tuple>

#include "image/nvs.hpp"
#include "image/nvs_layout.hpp"

namespace espmint::nvs {
namespace {

constexpr std::uint8_t latest_version = 0xfe;  // 2; counted downwards from 0xff

struct NvsPage {
  std::size_t index = 0;  // in the partition
  std::uint32_t sequence = 0;
  ByteView bytes;
};

/// An entry whose checksums fit.
struct FoundEntry {
  std::uint8_t space = 0, type = 0, chunk = 0;
  std::string key;
  ByteView data;   // the 8 bytes in the entry
  ByteView bytes;  // of a string or blob, those behind it
  std::size_t page = 0, entry = 0;
};

bool has_bytes(std::uint8_t type) { return type == string_type || type == blob_type || type == blob_data_type; }
bool is_known(std::uint8_t type) { return is_integer(type) || has_bytes(type) || type == blob_index_type; }

std::optional<std::string> key_of(ByteView entry) {
  std::string_view field = as_text(entry.subspan(key_at, key_bytes));
  std::size_t length = field.find('\0');
  if (length == 0 || length == std::string_view::npos) return std::nullopt;
  return std::string{field.substr(0, length)};
}

/// Whether these could be the bytes of a plain entry, were it not for its checksum: ciphertext never looks so.
bool looks_plain(ByteView entry) {
  std::optional<std::string> key = key_of(entry);
  auto printable = [](char c) { return c >= 0x20 && c < 0x7f; };
  return key && std::all_of(key->begin(), key->end(), printable) && is_known(entry[1]) && entry[span_at] >= 1 &&
         entry[span_at] <= entries_a_page && (entry[chunk_at] == no_chunk || entry[1] == blob_data_type);
}

std::uint64_t number_of(const FoundEntry& item) {
  const std::size_t width = width_of(item.type);
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < width; ++i) number |= std::uint64_t{item.data[i]} << (8 * i);
  const bool negative = is_signed(item.type) && (item.data[width - 1] & 0x80) != 0;
  if (negative && width < sizeof number) number |= ~std::uint64_t{0} << (8 * width);
  return number;
}

class NvsReader {
 public:
  NvsReader(ByteView partition, std::vector<std::string>* damage) : partition_(partition), damage_(damage) {}

  Result<std::vector<NvsEntry>> read() {
    TRY(find_pages());
    for (const NvsPage& page : pages_) read_page(page);
    if (tried_ > 0 && sound_ == 0) return fail(nothing_sound());
    find_spaces();
    return entries();
  }

 private:
  template <typename... Parts>
  void damaged(std::size_t page, fmt::format_string<Parts...> what, Parts&&... parts) {
    if (damage_) damage_->push_back(fmt::format("page {}: {}", page, fmt::format(what, std::forward<Parts>(parts)...)));
  }

  static Fault invalid_nvs(std::string what, std::string seen, std::string advice) {
    return invalid(Code::image_invalid, std::move(what), std::move(seen), std::move(advice));
  }

  [[nodiscard]] Fault nothing_sound() const {
    // In an encrypted partition page headers and entry states stay plain, every entry is ciphertext.
    // Source: ESP-IDF Programming Guide, NVS Encryption.
    if (looked_plain_ * 4 <= tried_)
      return invalid_nvs("this NVS partition is encrypted",
                         fmt::format("its pages are sound, of {} entries none is readable", tried_),
                         "decrypt it with its keys first; a badly damaged partition may look like this too");
    return invalid_nvs("every entry of this NVS partition is damaged",
                       fmt::format("the checksum of none of {} entries fits", tried_), "read or build it again");
  }

  Result<void> find_pages() {
    if (partition_.empty() || partition_.size() % page_bytes != 0)
      return fail(invalid_nvs("this is no NVS partition",
                              fmt::format("{} bytes are not whole pages of {}", partition_.size(), page_bytes),
                              "give the whole partition"));
    bool blank = true;
    for (std::size_t index = 0; index < partition_.size() / page_bytes; ++index) {
      ByteView bytes = partition_.subspan(index * page_bytes, page_bytes);
      if (is_blank(bytes)) continue;
      blank = false;
      const std::uint32_t state = get_u32(bytes, 0);
      if (state == page_blank) {
        damaged(index, "it has no header and is not blank");
      } else if (get_u32(bytes, page_crc_at) != crc_of_page(bytes)) {
        damaged(index, "the checksum of its header does not fit");
      } else if (state != page_active && state != page_full && state != page_freeing) {
        damaged(index, "its state {:#010x} is none of a page in use", state);
      } else if (bytes[version_at] < latest_version) {
        return fail(invalid_nvs("this NVS partition is of a later version",
                                fmt::format("format version {}; 1 and 2 can be read", 0x100 - bytes[version_at]),
                                "a newer espmint may read it"));
      } else {
        pages_.push_back({index, get_u32(bytes, sequence_at), bytes});
      }
    }
    if (pages_.empty() && !blank)
      return fail(invalid_nvs("this is no NVS partition", "no page has a sound header",
                              "flash that is read from a board with flash encryption looks like this too"));
    std::stable_sort(pages_.begin(), pages_.end(), [](auto& a, auto& b) { return a.sequence < b.sequence; });
    return ok();
  }

  void read_page(const NvsPage& page) {
    for (std::size_t entry = 0; entry < entries_a_page;) {
      entry += state_of(page.bytes, entry) == entry_written ? read_entry(page, entry) : 1;
    }
  }

  /// Keeps the entry when it is sound; returns how many entries it takes.
  std::size_t read_entry(const NvsPage& page, std::size_t at) {
    ByteView rest = page.bytes.subspan(first_entry_at + at * entry_bytes);
    ByteView head = rest.first(entry_bytes);
    ++tried_;
    looked_plain_ += looks_plain(head) ? 1 : 0;
    if (get_u32(head, entry_crc_at) != crc_of_entry(head)) {
      damaged(page.index, "the checksum of entry {} does not fit", at);
      return 1;  // its span is not to be trusted
    }
    ++sound_;
    const std::size_t span = head[span_at];
    const std::uint8_t type = head[1];
    std::optional<std::string> key = key_of(head);
    if (!key || !is_known(type) || span == 0 || span > entries_a_page - at || (!has_bytes(type) && span != 1)) {
      damaged(page.index, "entry {} has no key, an unknown type or an impossible span", at);
      return 1;
    }
    for (std::size_t i = 1; i < span; ++i) {
      if (state_of(page.bytes, at + i) == entry_written) continue;
      damaged(page.index, "entry {} was not written whole", at);
      return span;
    }
    FoundEntry item{head[0], type, head[chunk_at], std::move(*key), head.subspan(data_at), {}, page.index, at};
    if (has_bytes(type)) {
      const std::size_t size = get_u16(item.data, 0);
      if (size > (span - 1) * entry_bytes) {
        damaged(page.index, "entry {} claims {} bytes in a span of {}", at, size, span);
        return span;
      }
      item.bytes = rest.subspan(entry_bytes, size);
      if (get_u32(item.data, 4) != crc_of(item.bytes)) {
        damaged(page.index, "the checksum of the bytes of entry {} does not fit", at);
        return span;
      }
      if (type == string_type && (size == 0 || item.bytes.back() != 0)) {
        damaged(page.index, "the string of entry {} has no end", at);
        return span;
      }
    }
    items_.push_back(std::move(item));
    return span;
  }

  /// The names of namespaces are u8 entries of namespace 0, their values the numbers. Of two, the first counts.
  void find_spaces() {
    std::map<std::string, std::uint8_t, std::less<>> numbers;
    for (const FoundEntry& item : items_) {
      if (item.space != 0) continue;
      if (item.type != static_cast<std::uint8_t>(NvsType::u8) || item.data[0] == 0 || item.data[0] == 0xff) {
        damaged(item.page, "entry {} names no namespace", item.entry);
      } else if (numbers.emplace(item.key, item.data[0]).first->second == item.data[0]) {
        spaces_.emplace(item.data[0], item.key);
      } else {
        damaged(item.page, "entry {} gives a namespace a second number", item.entry);
      }
    }
  }

  /// The entries that count. While a page is being freed, or when power failed between a new value and the erasure of
  /// the old, there are two of a name: the firmware keeps the later.
  [[nodiscard]] std::vector<NvsEntry> entries() {
    using Name = std::tuple<std::uint8_t, std::string_view, std::uint8_t>;
    std::map<Name, const FoundEntry*> latest, chunks;
    for (const FoundEntry& item : items_) {
      if (item.space == 0) continue;
      if (item.type == blob_data_type) {
        chunks[{item.space, item.key, item.chunk}] = &item;
      } else {
        latest[{item.space, item.key, item.type == blob_index_type ? blob_type : item.type}] = &item;
      }
    }
    std::vector<NvsEntry> out;
    for (const FoundEntry& item : items_) {
      const std::uint8_t type = item.type == blob_index_type ? blob_type : item.type;
      if (item.space == 0 || item.type == blob_data_type || latest[{item.space, item.key, type}] != &item) continue;
      auto space = spaces_.find(item.space);
      if (space == spaces_.end()) {
        damaged(item.page, "entry {} is of a namespace without name", item.entry);
        continue;
      }
      NvsEntry entry{space->second, item.key, static_cast<NvsType>(type), {}, 0};
      if (is_integer(type)) {
        entry.number = number_of(item);
      } else if (item.type == blob_index_type) {
        std::size_t size = get_u32(item.data, 0), count = item.data[4], start = item.data[5], i = 0;
        for (; i < count && start + i < no_chunk; ++i) {
          auto chunk = chunks.find({item.space, item.key, static_cast<std::uint8_t>(start + i)});
          if (chunk == chunks.end()) break;
          append(entry.value, chunk->second->bytes);
        }
        if (i != count || entry.value.size() != size) {
          damaged(item.page, "the blob of entry {} is not whole", item.entry);
          continue;
        }
      } else {
        append(entry.value, type == string_type ? item.bytes.first(item.bytes.size() - 1) : item.bytes);
      }
      out.push_back(std::move(entry));
    }
    return out;
  }

  ByteView partition_;
  std::vector<std::string>* damage_;
  std::vector<NvsPage> pages_;
  std::vector<FoundEntry> items_;
  std::map<std::uint8_t, std::string> spaces_;
  std::size_t tried_ = 0, sound_ = 0, looked_plain_ = 0;  // entries
};

}  // namespace
}  // namespace espmint::nvs

namespace espmint {

std::string_view name_of(NvsType type) {
  switch (type) {
    case NvsType::u8:
      return "u8";
    case NvsType::i8:
      return "i8";
    case NvsType::u16:
      return "u16";
    case NvsType::i16:
      return "i16";
    case NvsType::u32:
      return "u32";
    case NvsType::i32:
      return "i32";
    case NvsType::u64:
      return "u64";
    case NvsType::i64:
      return "i64";
    case NvsType::string:
      return "string";
    case NvsType::blob:
      return "blob";
  }
  return {};
}

std::size_t NvsEntry::size() const {
  if (type == NvsType::string) return value.size() + 1;
  return type == NvsType::blob ? value.size() : nvs::width_of(static_cast<std::uint8_t>(type));
}

Result<std::vector<NvsEntry>> read_nvs(ByteView partition, std::vector<std::string>* damage) {
  return nvs::NvsReader{partition, damage}.read();
}

}  // namespace espmint
