#include "image/nvs_build.hpp"

#include <map>
#include <set>
#include <tuple>

#include "base/secret.hpp"
#include "base/text.hpp"
#include "image/nvs_layout.hpp"

namespace espmint::nvs {
namespace {

constexpr std::size_t longest_value_v1 = 1984;  // of strings and blobs; a string's NUL counts
// A string is never let fill its page to the last entry, the generator's own limit of 4000 notwithstanding: with its
// head it takes 125 entries at most.
constexpr std::size_t longest_string = (entries_a_page - 2) * entry_bytes;
constexpr std::size_t longest_chunk = (entries_a_page - 1) * entry_bytes;
// Chunk numbers from 0x80 on are those of a blob that is being replaced. Source: nvs_types.hpp, VerOffset.
constexpr std::size_t chunks_a_blob = 127;
constexpr ByteCount largest_partition = 128_MiB;
constexpr std::size_t pages_to_write = 3;  // below, the firmware can only read

std::string shown(const NvsEntry& entry) {
  return entry.key.empty() ? fmt::format("'{}'", entry.space) : fmt::format("'{}.{}'", entry.space, entry.key);
}

Fault bad_entry(const NvsEntry& entry, std::string_view what, std::string seen, std::string advice = {}) {
  return invalid(Code::input_invalid, fmt::format("{} {}", shown(entry), what), std::move(seen), std::move(advice));
}

Result<void> check_name(const NvsEntry& entry, std::string_view what, std::string_view name) {
  if (name.empty()) return fail(bad_entry(entry, fmt::format("lacks the name of its {}", what), {}));
  if (name.size() > longest_name)
    return fail(bad_entry(entry, fmt::format("has a {} longer than {} bytes", what, longest_name),
                          fmt::format("{} bytes", name.size()), "shorten it, in the firmware too"));
  if (name.find('\0') != std::string_view::npos)
    return fail(bad_entry(entry, fmt::format("has a NUL in the name of its {}", what), {}));
  return ok();
}

bool fits(std::uint64_t number, std::uint8_t type) {
  const std::size_t bits = 8 * width_of(type);
  if (bits == 64) return true;
  if (!is_signed(type)) return number >> bits == 0;
  const std::uint64_t sign_and_above = number >> (bits - 1);
  return sign_and_above == 0 || sign_and_above == ~std::uint64_t{0} >> (bits - 1);
}

/// Lays entries one behind the other into pages, as many as they need.
class NvsWriter {
 public:
  NvsWriter(NvsVersion version, ByteCount expected) : version_(version) {
    image_.reserve(expected);  // what is secret in it is not left behind by growing
    open_page();
  }

  void write(const NvsEntry& entry, std::uint8_t space) {
    const auto type = static_cast<std::uint8_t>(entry.type);
    if (entry.type == NvsType::blob && version_ == NvsVersion::v2) return write_chunks(entry, space);
    if (is_integer(type)) {
      Bytes number(width_of(type));
      for (std::size_t i = 0; i < number.size(); ++i) number[i] = static_cast<std::uint8_t>(entry.number >> (8 * i));
      return write_small(space, type, entry.key, number);
    }
    Bytes with_nul;
    ByteView value = entry.value;
    if (entry.type == NvsType::string) {
      with_nul.reserve(entry.value.size() + 1);
      append(with_nul, entry.value);
      with_nul.push_back(0);
      value = with_nul;
    }
    // Not even to the last entry of a page: the generator compares with >=.
    if (used_ + 1 + entries_for(value.size()) >= entries_a_page) open_page();
    put(head(space, type, entry.key, no_chunk, value), value);
    wipe(with_nul);
  }

  void write_space(const std::string& name, std::uint8_t number) {
    write_small(0, static_cast<std::uint8_t>(NvsType::u8), name, {&number, 1});
  }

  [[nodiscard]] std::size_t pages() const { return image_.size() / page_bytes; }
  Bytes take() { return std::move(image_); }

 private:
  ByteSpan page() { return ByteSpan{image_}.last(page_bytes); }

  void open_page() {
    const auto sequence = static_cast<std::uint32_t>(pages());
    if (sequence > 0) set_u32(page(), 0, page_full);
    image_.resize(image_.size() + page_bytes, 0xff);
    set_u32(page(), 0, page_active);
    set_u32(page(), sequence_at, sequence);
    page()[version_at] = version_ == NvsVersion::v1 ? 0xff : 0xfe;
    set_u32(page(), page_crc_at, crc_of_page(page()));
    used_ = 0;
  }

  /// An entry without its data and checksum.
  static Bytes blank_head(std::uint8_t space, std::uint8_t type, std::string_view key, std::size_t bytes,
                          std::uint8_t chunk) {
    Bytes out(entry_bytes, 0xff);
    out[0] = space;
    out[1] = type;
    out[span_at] = static_cast<std::uint8_t>(1 + entries_for(bytes));
    out[chunk_at] = chunk;
    std::fill_n(out.begin() + key_at, key_bytes, std::uint8_t{0});
    std::copy(key.begin(), key.end(), out.begin() + key_at);
    return out;
  }

  static Bytes head(std::uint8_t space, std::uint8_t type, std::string_view key, std::uint8_t chunk, ByteView value) {
    Bytes out = blank_head(space, type, key, value.size(), chunk);
    out[data_at] = static_cast<std::uint8_t>(value.size());
    out[data_at + 1] = static_cast<std::uint8_t>(value.size() >> 8);
    set_u32(out, data_at + 4, crc_of(value));
    return out;
  }

  void write_small(std::uint8_t space, std::uint8_t type, std::string_view key, ByteView data) {
    if (used_ == entries_a_page) open_page();
    Bytes entry = blank_head(space, type, key, 0, no_chunk);
    std::copy(data.begin(), data.end(), entry.begin() + data_at);
    put(std::move(entry), {});
  }

  void write_chunks(const NvsEntry& entry, std::uint8_t space) {
    if (used_ == entries_a_page) open_page();
    ByteView rest = entry.value;
    std::uint8_t chunks = 0;
    do {
      // With one entry left the chunk is empty, and written all the same.
      const std::size_t room = (entries_a_page - used_ - 1) * entry_bytes;
      ByteView part = rest.first(std::min(room, rest.size()));
      rest = rest.subspan(part.size());
      put(head(space, blob_data_type, entry.key, chunks++, part), part);
      if (!rest.empty() || room - part.size() < entry_bytes) open_page();
    } while (!rest.empty());
    Bytes index;
    put_u32(index, static_cast<std::uint32_t>(entry.value.size()));
    index.push_back(chunks);
    index.push_back(0);  // the number of the first
    write_small(space, blob_index_type, entry.key, index);
  }

  void put(Bytes entry, ByteView value) {
    set_u32(entry, entry_crc_at, crc_of_entry(entry));
    ByteSpan out = page();
    const std::size_t at = first_entry_at + used_ * entry_bytes;
    std::copy(entry.begin(), entry.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
    std::copy(value.begin(), value.end(), out.begin() + static_cast<std::ptrdiff_t>(at + entry_bytes));
    // Two bits each, 11 blank, 10 written.
    for (std::size_t i = used_ + 1 + entries_for(value.size()); used_ < i; ++used_)
      out[states_at + used_ / 4] &= static_cast<std::uint8_t>(~(1u << (used_ % 4 * 2)));
  }

  NvsVersion version_;
  Bytes image_;
  std::size_t used_ = 0;  // entries of the last page
};

Result<void> check_size(ByteCount size) {
  if (size == 0 || size % page_bytes != 0)
    return fail(invalid(Code::image_invalid, fmt::format("NVS size {} is not a multiple of {}", size, page_bytes), {},
                        "give the partition's size as the partition table has it"));
  if (size > largest_partition)
    return fail(invalid(Code::image_invalid, fmt::format("NVS size {} is larger than 128 MB", size)));
  return ok();
}

/// Gives each namespace its number when it is first met.
class NvsSpaces {
 public:
  Result<std::uint8_t> number_of(const NvsEntry& entry, NvsWriter& writer) {
    auto [found, is_new] = numbers_.emplace(entry.space, static_cast<std::uint8_t>(numbers_.size() + 1));
    if (!is_new) return found->second;
    if (numbers_.size() > greatest_space)
      return fail(bad_entry(entry, fmt::format("is in one namespace more than the {} of NVS", greatest_space), {}));
    writer.write_space(entry.space, found->second);
    return found->second;
  }

 private:
  std::map<std::string, std::uint8_t, std::less<>> numbers_;
};

}  // namespace
}  // namespace espmint::nvs

namespace espmint {

Result<void> check_nvs_entry(const NvsEntry& entry, NvsVersion version) {
  using nvs::bad_entry;
  TRY(nvs::check_name(entry, "namespace", entry.space));
  if (entry.key.empty()) return ok();  // the namespace itself
  TRY(nvs::check_name(entry, "key", entry.key));
  const auto type = static_cast<std::uint8_t>(entry.type);
  if (name_of(entry.type).empty())
    return fail(bad_entry(entry, "is of no type that can be written", fmt::format("type {:#04x}", type)));
  if (nvs::is_integer(type)) {
    if (!nvs::fits(entry.number, type))
      return fail(bad_entry(entry, fmt::format("does not fit its type {}", name_of(entry.type)), {}));
    return ok();
  }
  const bool is_string = entry.type == NvsType::string;
  const std::size_t most = version == NvsVersion::v1 ? nvs::longest_value_v1
                           : is_string               ? nvs::longest_string
                                                     : nvs::longest_chunk * nvs::chunks_a_blob;
  if (entry.size() > most)
    return fail(bad_entry(entry, fmt::format("is too long for a {}", is_string ? "string" : "blob"),
                          fmt::format("{} bytes{}, at most {}", entry.size(), is_string ? " with its NUL" : "", most),
                          version == NvsVersion::v1 ? "version 2 takes more"
                          : is_string               ? "a blob (encoding binary) takes more, if the firmware reads one"
                                                    : ""));
  return ok();
}

Result<Bytes> build_nvs(ByteCount size, const NvsBuildOptions& options, std::span<const NvsEntry> entries) {
  TRY(nvs::check_size(size));
  const std::size_t all = size / nvs::page_bytes;
  const bool for_reading = all < nvs::pages_to_write;
  const std::size_t usable = for_reading ? all : all - 1;
  nvs::NvsWriter writer{options.version, size};
  nvs::NvsSpaces spaces;
  std::set<std::tuple<std::string_view, std::string_view, NvsType>> names;
  const NvsEntry* beyond = nullptr;  // the first one without room
  for (const NvsEntry& entry : entries) {
    TRY(check_nvs_entry(entry, options.version));
    TRY(std::uint8_t space, spaces.number_of(entry, writer));
    if (!entry.key.empty()) {
      if (!names.emplace(entry.space, entry.key, entry.type).second && !options.twice)
        return fail(nvs::bad_entry(entry, "is there twice", {}, "leave one of them out"));
      writer.write(entry, space);
    }
    if (beyond == nullptr && writer.pages() > usable) beyond = &entry;
  }
  if (beyond != nullptr) {
    const ByteCount needed =
        (writer.pages() + (writer.pages() < nvs::pages_to_write && for_reading ? 0 : 1)) * nvs::page_bytes;
    return fail(nvs::invalid(
        Code::image_no_space, fmt::format("{} does not fit into an NVS of {}", nvs::shown(*beyond), show_bytes(size)),
        for_reading ? "" : "one page is kept free for the firmware",
        fmt::format("enlarge the partition to {} ({:#x}) at least, or leave entries out", show_bytes(needed), needed)));
  }
  Bytes image = writer.take();
  if (!for_reading) image.resize(size, 0xff);
  return image;
}

std::vector<NvsEntry> merge_nvs(std::vector<NvsEntry> existing, std::span<const NvsEntry> items) {
  for (const NvsEntry& item : items) {
    auto is_it = [&](const NvsEntry& entry) { return entry.space == item.space && entry.key == item.key; };
    auto first = std::find_if(existing.begin(), existing.end(), is_it);
    if (first == existing.end()) {
      existing.push_back(item);
      continue;
    }
    *first = item;
    // Of another type: old firmware takes these for entries of their own, new firmware must not find them.
    existing.erase(std::remove_if(first + 1, existing.end(), is_it), existing.end());
  }
  return existing;
}

}  // namespace espmint
