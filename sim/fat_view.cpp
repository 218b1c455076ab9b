#include "sim/fat_view.hpp"

#include <array>
#include <bit>
#include <deque>
#include <set>

#include "sim/wear_levelling.hpp"

namespace espmint::sim {
namespace {

constexpr std::size_t fat_entry_bytes = 32, short_name_bytes = 11;
constexpr std::uint8_t no_more = 0x00, deleted = 0xe5, stands_for_e5 = 0x05;
constexpr std::uint8_t attribute_volume = 0x08, attribute_folder = 0x10, attribute_long_name = 0x0f,
                       attribute_mask = 0x3f;
constexpr std::uint8_t lower_base = 0x08, lower_extension = 0x10;  // in byte 12, as Windows NT has it
constexpr std::uint8_t last_piece = 0x40;
constexpr std::size_t units_per_piece = 13, most_pieces = 20;
constexpr std::size_t longest_path = 4096;  // far beyond what firmware opens
constexpr std::uint32_t most_fat12 = 0xff5, most_fat16 = 0xfff5;

void append_utf8(std::string& out, char32_t c) {
  auto put = [&out](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xc0 | c >> 6);
  } else {
    if (c < 0x10000) {
      put(0xe0 | c >> 12);
    } else {
      put(0xf0 | c >> 18);
      put(0x80 | (c >> 12 & 0x3f));
    }
    put(0x80 | (c >> 6 & 0x3f));
  }
  put(0x80 | (c & 0x3f));
}

std::string utf8_of(const std::u16string& units) {
  std::string out;
  for (std::size_t i = 0; i < units.size() && units[i] != 0; ++i) {
    char32_t c = units[i];
    bool high = c >= 0xd800 && c < 0xdc00;
    if (high && i + 1 < units.size() && units[i + 1] >= 0xdc00 && units[i + 1] < 0xe000)
      c = 0x10000 + ((c - 0xd800) << 10) + (units[++i] - 0xdc00u);
    else if (c >= 0xd800 && c < 0xe000)
      c = '?';
    append_utf8(out, c);
  }
  return out;
}

/// What lies outside ASCII depends on the firmware's code page and is shown as "?".
std::string short_name_of(ByteView entry) {
  auto part = [entry](std::size_t at, std::size_t width, bool lower) {
    std::string text;
    for (std::size_t i = at; i < at + width; ++i) {
      std::uint8_t c = i == 0 && entry[0] == stands_for_e5 ? deleted : entry[i];
      if (lower && c >= 'A' && c <= 'Z') c = static_cast<std::uint8_t>(c + 32);
      text += c < 0x80 ? static_cast<char>(c) : '?';
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return text;
  };
  std::string name = part(0, 8, entry[12] & lower_base), extension = part(8, 3, entry[12] & lower_extension);
  return extension.empty() ? name : name + "." + extension;
}

std::uint8_t checksum_of(ByteView short_name) {
  unsigned sum = 0;
  for (std::uint8_t c : short_name) sum = ((sum >> 1 | sum << 7) + c) & 0xff;
  return static_cast<std::uint8_t>(sum);
}

/// The pieces of a long name, which come last piece first before the entry that they belong to.
class LongName {
 public:
  void forget() { pieces_ = left_ = 0; }
  void take(ByteView piece) {
    std::size_t number = piece[0] & ~last_piece;
    if (piece[0] & last_piece) {
      forget();
      if (number == 0 || number > most_pieces) return;
      pieces_ = left_ = number;
      checksum_ = piece[13];
      units_.assign(pieces_ * units_per_piece, 0);
    }
    if (number == 0 || number != left_ || piece[13] != checksum_) return forget();
    --left_;
    std::size_t to = left_ * units_per_piece;
    constexpr std::array<std::size_t, units_per_piece> places{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    for (std::size_t place : places) units_[to++] = static_cast<char16_t>(get_u16(piece, place));
  }
  [[nodiscard]] std::optional<std::string> of(ByteView entry) const {
    if (pieces_ == 0 || left_ != 0 || checksum_of(entry.first(short_name_bytes)) != checksum_) return std::nullopt;
    return utf8_of(units_);
  }

 private:
  std::u16string units_;
  std::size_t pieces_ = 0, left_ = 0;
  std::uint8_t checksum_ = 0;
};

class FatReader {
 public:
  explicit FatReader(ByteView space) : space_(space) {}

  bool mounts() {
    if (space_.size() < 512 || space_[510] != 0x55 || space_[511] != 0xaa) return false;
    if (space_[0] != 0xeb && space_[0] != 0xe9 && space_[0] != 0xe8) return false;
    sector_ = get_u16(space_, 11);
    std::uint32_t per_cluster = space_[13], reserved = get_u16(space_, 14), tables = space_[16],
                  root_entries = get_u16(space_, 17), total = get_u16(space_, 19), table_sectors = get_u16(space_, 22);
    if (total == 0) total = get_u32(space_, 32);
    if (sector_ < 512 || sector_ > 4096 || !std::has_single_bit(sector_) || !std::has_single_bit(per_cluster))
      return false;
    if (reserved == 0 || tables == 0 || tables > 2 || table_sectors == 0 || root_entries == 0) return false;
    if (root_entries * fat_entry_bytes % sector_ != 0) return false;
    std::uint32_t root = reserved + tables * table_sectors,
                  data = root + static_cast<std::uint32_t>(root_entries * fat_entry_bytes / sector_);
    if (total <= data || std::uint64_t{total} * sector_ > space_.size()) return false;
    cluster_ = std::size_t{per_cluster} * sector_;
    clusters_ = (total - data) / per_cluster;
    if (clusters_ == 0 || clusters_ > most_fat16) return false;
    bits_ = clusters_ <= most_fat12 ? 12 : 16;
    if (((std::size_t{clusters_} + 2) * bits_ + 7) / 8 > std::size_t{table_sectors} * sector_) return false;
    table_ = space_.subspan(std::size_t{reserved} * sector_, std::size_t{table_sectors} * sector_);
    root_ = space_.subspan(std::size_t{root} * sector_, root_entries * fat_entry_bytes);
    data_ = space_.subspan(std::size_t{data} * sector_, clusters_ * cluster_);
    return true;
  }

  /// In the order of the folders, a folder's own files before those of its folders.
  std::optional<std::vector<StoredFile>> files() {
    if (!scan(root_, "")) return std::nullopt;
    while (!folders_.empty()) {
      auto [start, path] = std::move(folders_.front());
      folders_.pop_front();
      if (!seen_.insert(start).second) return std::nullopt;
      std::optional<Bytes> content = folder(start);
      if (!content || !scan(*content, path)) return std::nullopt;
    }
    return std::move(files_);
  }
  [[nodiscard]] unsigned bits() const { return bits_; }
  [[nodiscard]] std::uint32_t sector() const { return sector_; }

 private:
  [[nodiscard]] bool is_cluster(std::uint32_t number) const { return number >= 2 && number < clusters_ + 2; }
  [[nodiscard]] std::uint32_t after(std::uint32_t number) const {
    if (bits_ == 16) return get_u16(table_, 2 * std::size_t{number});
    std::uint32_t pair = get_u16(table_, number + number / 2);
    return number & 1 ? pair >> 4 : pair & 0xfff;
  }
  [[nodiscard]] ByteView cluster(std::uint32_t number) const {
    return data_.subspan((number - 2) * cluster_, cluster_);
  }

  /// Up to the end of its chain.
  [[nodiscard]] std::optional<Bytes> folder(std::uint32_t start) const {
    Bytes out;
    std::uint32_t number = start;
    do {
      if (!is_cluster(number) || out.size() >= data_.size()) return std::nullopt;
      append(out, cluster(number));
      number = after(number);
    } while (number < (bits_ == 12 ? 0xff8u : 0xfff8u));
    return out;
  }

  /// No further than its size asks for.
  [[nodiscard]] std::optional<Bytes> content(std::uint32_t number, std::uint32_t size) {
    if (size > left_to_read()) return std::nullopt;
    Bytes out;
    while (out.size() < size) {
      if (!is_cluster(number)) return std::nullopt;
      append(out, cluster(number).first(std::min<std::size_t>(cluster_, size - out.size())));
      number = after(number);
    }
    read_ += size;
    return out;
  }
  /// Files that share clusters could be told to hold more than the volume.
  [[nodiscard]] std::size_t left_to_read() const { return data_.size() - read_; }

  bool scan(ByteView entries, const std::string& path) {
    LongName long_name;
    for (; entries.size() >= fat_entry_bytes; entries = entries.subspan(fat_entry_bytes)) {
      ByteView entry = entries.first(fat_entry_bytes);
      std::uint8_t attributes = entry[11] & attribute_mask;
      if (entry[0] == no_more) break;
      if (entry[0] != deleted && attributes == attribute_long_name) {
        long_name.take(entry);
        continue;
      }
      bool is_listed = entry[0] != deleted && entry[0] != '.' && !(attributes & attribute_volume);
      if (is_listed && !list(entry, path + long_name.of(entry).value_or(short_name_of(entry)))) return false;
      long_name.forget();
    }
    return true;
  }

  bool list(ByteView entry, std::string name) {
    if (name.size() > longest_path) return false;
    std::uint32_t start = get_u16(entry, 26);
    if (entry[11] & attribute_folder) {
      folders_.emplace_back(start, name + "/");
      return true;
    }
    std::optional<Bytes> bytes = content(start, get_u32(entry, 28));
    if (bytes) files_.push_back({std::move(name), std::move(*bytes)});
    return bytes.has_value();
  }

  ByteView space_, table_, root_, data_;
  std::uint32_t sector_ = 0, clusters_ = 0;
  unsigned bits_ = 0;
  std::size_t cluster_ = 0, read_ = 0;
  std::deque<std::pair<std::uint32_t, std::string>> folders_;  // first cluster and path, still to be read
  std::set<std::uint32_t> seen_;
  std::vector<StoredFile> files_;
};

std::optional<FatVolume> read_volume(ByteView space, bool levelled) {
  FatReader reader{space};
  if (!reader.mounts()) return std::nullopt;
  std::optional<std::vector<StoredFile>> files = reader.files();
  if (!files) return std::nullopt;
  return FatVolume{reader.bits(), levelled, reader.sector(), std::move(*files)};
}

}  // namespace

// Firmware knows whether its partition is levelled; the bytes tell by the state. Without one it is a plain volume, or
// one whose states a tool left blank and the driver would make.
std::optional<FatVolume> read_fat(ByteView partition) {
  std::optional<Levelled> levelled = unwrap_wear_levelling(partition);
  if (levelled && levelled->has_state) return read_volume(levelled->content, true);
  if (std::optional<FatVolume> plain = read_volume(partition, false)) return plain;
  return levelled ? read_volume(levelled->content, true) : std::nullopt;
}

}  // namespace espmint::sim
