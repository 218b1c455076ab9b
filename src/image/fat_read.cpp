#include <unordered_set>

#include "base/text.hpp"
#include "image/fat.hpp"
#include "image/fat_layout.hpp"

namespace espmint::fat {
namespace {

// Short names are in the firmware's code page; ESP-IDF's default is 437. Its upper half:
constexpr std::u16string_view code_page_437 =
    u"ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐"
    u"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";
static_assert(code_page_437.size() == 128);

constexpr std::size_t most_long_entries = (longest_name + units_per_entry - 1) / units_per_entry;

struct OpenedVolume {
  FatVolume volume;
  Layout layout;
};

Fault no_fat(std::string seen) {
  return invalid("this is no FAT file system", std::move(seen),
                 "a partition with wear levelling, encrypted flash, or an image cut short looks like this too");
}

/// As FatFs mounts: what it reads is checked, what it ignores is not.
Result<OpenedVolume> open_volume(ByteView image) {
  if (image.size() < boot_header) return fail(no_fat(fmt::format("{} bytes", image.size())));
  if (get_u16(image, signature_at) != 0xaa55) return fail(no_fat("the boot sector's signature 55 AA is missing"));
  if (image[jump_at] != 0xeb && image[jump_at] != 0xe9 && image[jump_at] != 0xe8)
    return fail(no_fat(fmt::format("it begins with {:02x}, not with a jump", image[jump_at])));
  OpenedVolume out;
  FatGeometry& g = out.volume.geometry;
  Layout& layout = out.layout;
  g.sector_size = get_u16(image, sector_size_at);
  g.sectors_per_cluster = image[sectors_per_cluster_at];
  g.fat_count = image[fat_count_at];
  g.root_entries = get_u16(image, root_entries_at);
  g.volume_id = get_u32(image, volume_id_at);
  layout.fat_sectors = get_u16(image, fat_sectors_at);
  const std::uint32_t reserved = get_u16(image, reserved_sectors_at);
  layout.sectors = get_u16(image, sectors_16_at);
  if (layout.sectors == 0) layout.sectors = get_u32(image, sectors_32_at);

  if (g.sector_size < 512 || g.sector_size > 4096 || (g.sector_size & (g.sector_size - 1)) != 0)
    return fail(no_fat(fmt::format("its header has sectors of {} bytes", g.sector_size)));
  if (g.sectors_per_cluster == 0 || (g.sectors_per_cluster & (g.sectors_per_cluster - 1)) != 0)
    return fail(no_fat(fmt::format("its header has clusters of {} sectors", g.sectors_per_cluster)));
  if (g.fat_count != 1 && g.fat_count != 2) return fail(no_fat(fmt::format("its header has {} FATs", g.fat_count)));
  if (reserved == 0) return fail(no_fat("its header leaves no sector for itself"));
  if (layout.fat_sectors == 0)
    return fail(no_fat("its header has a FAT of no sectors: FAT32, which is not read here, has that"));
  if (g.root_entries == 0 || g.root_entries * entry_size % g.sector_size != 0)
    return fail(no_fat(fmt::format("its root of {} entries does not fill whole sectors", g.root_entries)));

  const std::uint64_t size = std::uint64_t{layout.sectors} * g.sector_size;
  layout.sector = g.sector_size;
  layout.cluster = g.sector_size * g.sectors_per_cluster;
  layout.fats = g.fat_count;
  layout.fat_at = std::size_t{reserved} * g.sector_size;
  layout.fat_size = std::size_t{layout.fat_sectors} * g.sector_size;
  layout.root_at = layout.fat_at + layout.fats * layout.fat_size;
  layout.root_size = g.root_entries * entry_size;
  layout.data_at = layout.root_at + layout.root_size;
  if (size > image.size())
    return fail(invalid("the FAT file system is larger than its image",
                        fmt::format("its header counts {} bytes, the image has {}", size, image.size()),
                        "it was cut short: read the whole partition"));
  if (size < layout.data_at + layout.cluster) return fail(no_fat("its header leaves no room for files"));
  const std::uint64_t clusters = (size - layout.data_at) / layout.cluster;
  if (clusters > most_clusters_fat16)
    return fail(no_fat(fmt::format("its header counts {} clusters: FAT32, which is not read here", clusters)));
  layout.clusters = static_cast<std::uint32_t>(clusters);
  layout.bits = clusters <= most_clusters_fat12 ? 12 : 16;
  if ((clusters + first_cluster) * layout.bits > std::uint64_t{layout.fat_size} * 8)
    return fail(no_fat(fmt::format("a FAT of {} bytes is too small for {} clusters", layout.fat_size, clusters)));
  g.fat_type = layout.bits;
  out.volume.size = size;
  out.volume.clusters = layout.clusters;
  return out;
}

// ---------------------------------------------------------------- names

void append_utf8(std::string& out, char32_t c) {
  auto tail = [&](int shift) { out += static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

/// Nothing when a half of a pair stands alone.
std::optional<std::string> utf8_of(std::u16string_view units) {
  std::string out;
  for (std::size_t i = 0; i < units.size(); ++i) {
    char32_t c = units[i];
    if (c >= 0xd800 && c < 0xe000) {
      if (c >= 0xdc00 || i + 1 == units.size() || units[i + 1] < 0xdc00 || units[i + 1] >= 0xe000) return std::nullopt;
      c = 0x10000 + ((c - 0xd800) << 10) + (units[++i] - 0xdc00u);
    }
    append_utf8(out, c);
  }
  return out;
}

std::string short_name_of(ByteView entry) {
  auto part = [&](std::size_t at, std::size_t size, bool small) {
    while (size > 0 && entry[at + size - 1] == ' ') --size;
    std::string out;
    for (std::size_t i = 0; i < size; ++i) {
      std::uint8_t byte = entry[at + i];
      if (at + i == 0 && byte == stands_for_e5) byte = deleted_entry;
      if (small && byte >= 'A' && byte <= 'Z') byte = static_cast<std::uint8_t>(byte - 'A' + 'a');
      append_utf8(out, byte < 0x80 ? char32_t{byte} : char32_t{code_page_437[byte - 0x80u]});
    }
    return out;
  };
  std::string name = part(0, base_size, (entry[case_at] & small_base) != 0);
  std::string extension = part(base_size, extension_size, (entry[case_at] & small_extension) != 0);
  return extension.empty() ? name : name + '.' + extension;
}

/// Gathers the entries in front of a short one; what does not fit together counts as not there, as it does in FatFs.
class LongName {
 public:
  void forget() { left_ = 0, whole_ = false; }

  void add(ByteView entry) {
    std::size_t order = entry[0] & ~std::size_t{last_long_entry};
    if ((entry[0] & last_long_entry) != 0 && order > 0 && order <= most_long_entries) {
      units_.assign(order * units_per_entry, u'\0');
      checksum_ = entry[long_checksum_at];
    } else if (left_ == 0 || order != left_ || checksum_ != entry[long_checksum_at]) {
      return forget();
    }
    if (get_u16(entry, first_cluster_at) != 0) return forget();
    for (std::size_t i = 0; i < units_per_entry; ++i)
      units_[(order - 1) * units_per_entry + i] = static_cast<char16_t>(get_u16(entry, long_unit_at[i]));
    left_ = order - 1;
    whole_ = left_ == 0;
  }

  [[nodiscard]] std::optional<std::string> name_of(ByteView short_entry) const {
    if (!whole_ || checksum_ != checksum_of(short_entry.first(short_name_size))) return std::nullopt;
    std::u16string_view units = units_;
    units = units.substr(0, units.find(u'\0'));
    if (units.empty() || units.size() > longest_name) return std::nullopt;
    return utf8_of(units);
  }

 private:
  std::u16string units_;
  std::size_t left_ = 0;  // parts still to come; their orders count down to 1
  std::uint8_t checksum_ = 0;
  bool whole_ = false;
};

/// Why no name can be so; nothing when it can. The firmware makes none of these, so one is damage or worse.
std::optional<std::string> fault_in(std::string_view name) {
  if (name.empty()) return "a name is empty";
  if (name == "." || name == "..") return fmt::format("a name is '{}'", name);
  for (char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || never_in_names.find(c) != std::string_view::npos)
      return fmt::format("the name '{}' has a character that no FAT name has", name);
  return std::nullopt;
}

// ---------------------------------------------------------------- folders

class TreeReader {
 public:
  TreeReader(ByteView image, const Layout& layout) : image_(image), layout_(layout), taken_(layout.clusters, false) {}

  Result<std::vector<FileOwned>> read() {
    pending_.push_back({"", 0});
    while (!pending_.empty()) {
      Folder folder = std::move(pending_.back());
      pending_.pop_back();
      TRY(read_folder(folder));
    }
    return std::move(out_);
  }

 private:
  struct Folder {
    std::string path;      // ends in '/'; the root's is empty
    std::uint32_t number;  // its first cluster; the root's is 0
  };

  Result<void> read_folder(const Folder& folder) {
    std::size_t first_of_ours = pending_.size();
    if (!folder.path.empty()) out_.push_back({folder.path, {}});
    names_.clear();
    long_name_.forget();
    if (folder.number == 0) {
      TRY(read_entries(folder, layout_.root_at, layout_.root_size));
    } else {
      for (std::uint32_t number = folder.number;;) {
        TRY(bool more, read_entries(folder, layout_.cluster_at(number), layout_.cluster));
        number = get_link(image_, layout_, number);
        if (!more || layout_.ends_chain(number)) break;
        TRY(take(number, folder.path, layout_.fat_at));
      }
    }
    // The first one is to be the next one.
    std::reverse(pending_.begin() + static_cast<std::ptrdiff_t>(first_of_ours), pending_.end());
    return ok();
  }

  /// False behind the folder's last entry.
  Result<bool> read_entries(const Folder& folder, std::size_t at, std::size_t size) {
    for (std::size_t end = at + size; at < end; at += entry_size) {
      ByteView entry = image_.subspan(at, entry_size);
      const std::uint8_t attributes = entry[attributes_at] & attribute_mask;
      if (entry[0] == 0) return false;
      if (entry[0] == deleted_entry) {
        long_name_.forget();
      } else if (attributes == attribute_long_name) {
        long_name_.add(entry);
      } else {
        if ((attributes & attribute_volume) == 0) TRY(read_entry(folder, entry, at));
        long_name_.forget();
      }
    }
    return true;
  }

  Result<void> read_entry(const Folder& folder, ByteView entry, std::size_t at) {
    std::string name = short_name_of(entry);
    if (name == "." || name == "..") return ok();
    if (std::optional<std::string> long_name = long_name_.name_of(entry)) name = std::move(*long_name);
    if (std::optional<std::string> fault = fault_in(name)) return fail(damaged(folder.path, std::move(*fault), at));
    if (!names_.insert(lower(name)).second)
      return fail(damaged(folder.path, fmt::format("two of its entries are named '{}'", name), at));
    std::string path = folder.path + name;
    // Empty files cost no cluster, so paths are counted, too.
    path_bytes_ += path.size();
    if (path.size() > longest_path || path_bytes_ > image_.size())
      return fail(damaged(folder.path.substr(0, 64), "its folders lie deeper than any firmware makes them", at));
    std::uint32_t number = get_u16(entry, first_cluster_at);
    if ((entry[attributes_at] & attribute_folder) == 0) {
      TRY(Bytes content, content_of(path, number, get_u32(entry, file_size_at), at));
      out_.push_back({std::move(path), std::move(content)});
      return ok();
    }
    path += '/';
    TRY(take(number, path, at));
    pending_.push_back({std::move(path), number});
    return ok();
  }

  Result<Bytes> content_of(std::string_view path, std::uint32_t number, std::uint32_t size, std::size_t at) {
    // Each cluster serves one file once, so no honest file is larger than all of them.
    if (size > std::uint64_t{layout_.clusters} * layout_.cluster)
      return fail(damaged(path, fmt::format("it claims {} bytes", size), at));
    std::vector<std::uint32_t> chain;
    for (std::uint64_t reached = 0; reached < size; reached += layout_.cluster) {
      if (!chain.empty()) {
        number = get_link(image_, layout_, chain.back());
        if (layout_.ends_chain(number))
          return fail(damaged(path, fmt::format("its clusters end after {} of {} bytes", reached, size), at));
      }
      TRY(take(number, path, at));
      chain.push_back(number);
    }
    Bytes content;
    content.reserve(size);
    for (std::uint32_t cluster : chain)
      append(content, image_.subspan(layout_.cluster_at(cluster),
                                     std::min<std::size_t>(layout_.cluster, size - content.size())));
    return content;
  }

  /// Loops, cross-links and chains that leave the volume end here.
  Result<void> take(std::uint32_t number, std::string_view path, std::size_t at) {
    if (!layout_.has_cluster(number))
      return fail(damaged(path, fmt::format("it leads to cluster {}, which is none", number), at));
    if (taken_[number - first_cluster])
      return fail(damaged(path, fmt::format("cluster {} serves it twice, or another file too", number), at));
    taken_[number - first_cluster] = true;
    return ok();
  }

  [[nodiscard]] static Fault damaged(std::string_view path, std::string seen, std::size_t at) {
    Fault fault = invalid(path.empty() ? "the FAT's root folder is damaged" : fmt::format("FAT '{}' is damaged", path),
                          std::move(seen), "an image cut short, or read while the firmware wrote, looks like this too");
    fault.where.offset = at;
    return fault;
  }

  ByteView image_;
  const Layout& layout_;
  std::vector<bool> taken_;  // by cluster
  std::vector<Folder> pending_;
  std::vector<FileOwned> out_;
  std::unordered_set<std::string> names_;  // of the folder at hand, in small letters
  LongName long_name_;
  std::size_t path_bytes_ = 0;
};

}  // namespace
}  // namespace espmint::fat

namespace espmint {

Result<std::vector<FileOwned>> read_fat(ByteView image) {
  TRY(fat::OpenedVolume opened, fat::open_volume(image));
  return fat::TreeReader{image, opened.layout}.read();
}

Result<FatVolume> parse_fat_header(ByteView image) {
  TRY(fat::OpenedVolume opened, fat::open_volume(image));
  return opened.volume;
}

}  // namespace espmint
