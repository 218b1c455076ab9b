#include <zlib.h>

#include <array>
#include <map>
#include <set>
#include <utility>

#include "base/text.hpp"
#include "image/fat.hpp"
#include "image/fat_layout.hpp"

namespace espmint::fat {
namespace {

// What the reference generator writes into every header.
constexpr std::uint8_t jump[] = {0xeb, 0xfe, 0x90};
constexpr std::string_view oem_name = "MSDOS5.0", label = "Espressif  ", type_name = "FAT     ";
constexpr std::uint8_t media = 0xf8, drive = 0x80, extended_boot_signature = 0x29;
constexpr std::uint32_t reserved_sectors = 1, sectors_per_track = 0x3f, heads = 0xff;

constexpr std::uint16_t date_1980_01_01 = 0x0021;
constexpr std::uint32_t root_number = 1;       // the generator's name for the root, also where ".." leads to it
constexpr std::size_t prefix_size = 6;         // of a short name in front of its number
constexpr unsigned most_of_a_prefix = 127;     // the number is a raw byte
constexpr std::uint32_t fewest_sectors = 128;  // FatFs makes no smaller volume

using ShortName = std::array<std::uint8_t, short_name_size>;

bool is_power_of_two(std::uint32_t n) { return n != 0 && (n & (n - 1)) == 0; }

// ---------------------------------------------------------------- geometry

Result<void> check_geometry(const FatGeometry& g) {
  if (!is_power_of_two(g.sector_size) || g.sector_size < 512 || g.sector_size > 4096)
    return fail(invalid(fmt::format("FAT sector size {} is not 512, 1024, 2048 or 4096", g.sector_size)));
  if (!is_power_of_two(g.sectors_per_cluster) || g.sectors_per_cluster > 128)
    return fail(
        invalid(fmt::format("{} sectors in a FAT cluster are not a power of two up to 128", g.sectors_per_cluster)));
  if (g.fat_count != 1 && g.fat_count != 2)
    return fail(invalid(fmt::format("a volume has 1 or 2 FATs, not {}", g.fat_count)));
  if (g.fat_type != 0 && g.fat_type != 12 && g.fat_type != 16)
    return fail(invalid(fmt::format("FAT type {} is not 12, 16 or 0 (whichever the size makes)", g.fat_type)));
  std::uint64_t root = std::uint64_t{g.root_entries} * entry_size;
  bool odd = g.root_entries > 128 && root / g.sector_size % 2 != 0;  // the generator's rule
  if (root == 0 || root % g.sector_size != 0 || odd || g.root_entries > 0xffff)
    return fail(invalid(fmt::format("FAT root entries {} do not fill whole sectors of {} bytes, an even number of them",
                                    g.root_entries, g.sector_size)));
  return ok();
}

/// The generator sizes the FAT for the volume's sectors, not for its clusters. Bytes.
std::uint64_t fat_bytes_for(std::uint64_t sectors) {
  return sectors < most_clusters_fat12 ? (sectors * 3 + 1) / 2 + 3 : sectors * 2 + 4;
}

std::uint64_t sectors_for(std::uint64_t bytes, std::uint32_t sector) { return (bytes + sector - 1) / sector; }

/// Arithmetic only: no clusters where nothing is left for them.
Layout lay_out(std::uint32_t sectors, const FatGeometry& g) {
  Layout layout;
  layout.sector = g.sector_size;
  layout.sectors = sectors;
  layout.cluster = g.sector_size * g.sectors_per_cluster;
  layout.fats = g.fat_count;
  layout.fat_sectors = static_cast<std::uint32_t>(sectors_for(fat_bytes_for(sectors), g.sector_size));
  layout.fat_at = std::size_t{reserved_sectors} * g.sector_size;
  layout.fat_size = std::size_t{layout.fat_sectors} * g.sector_size;
  layout.root_at = layout.fat_at + layout.fats * layout.fat_size;
  layout.root_size = std::size_t{g.root_entries} * entry_size;
  layout.data_at = layout.root_at + layout.root_size;
  std::uint64_t size = std::uint64_t{sectors} * g.sector_size;
  if (size > layout.data_at) layout.clusters = static_cast<std::uint32_t>((size - layout.data_at) / layout.cluster);
  // The generator counts the two numbers in front of the first cluster, too.
  layout.bits = layout.clusters + first_cluster < most_clusters_fat12 ? 12 : 16;
  return layout;
}

/// With so many clusters the generator makes FAT16, and FatFs takes it for FAT12.
bool is_ambiguous(const Layout& layout) { return layout.bits == 16 && layout.clusters <= most_clusters_fat12; }

Result<Layout> layout_of(ByteCount size, const FatGeometry& g) {
  TRY(check_geometry(g));
  if (size == 0 || size % g.sector_size != 0)
    return fail(invalid(fmt::format("FAT size {} is not a multiple of the sector size {}", size, g.sector_size)));
  if (size / g.sector_size > most_clusters_fat16)
    return fail(invalid(fmt::format("a FAT of {} has {} sectors; FAT16 counts at most {}", show_bytes(size),
                                    size / g.sector_size, most_clusters_fat16),
                        {}, "use larger sectors or a smaller partition"));
  Layout layout = lay_out(static_cast<std::uint32_t>(size / g.sector_size), g);
  if (layout.clusters == 0)
    return fail(Fault{.code = Code::image_no_space,
                      .remedy = Remedy::refuse,
                      .what = fmt::format("a FAT of {} has no room for files", show_bytes(size)),
                      .seen = fmt::format("header, FATs and root folder need {} bytes", layout.data_at),
                      .advice = "enlarge the partition, or use smaller sectors"});
  if (g.fat_type != 0 && g.fat_type != layout.bits)
    return fail(
        invalid(fmt::format("a volume of {} clusters is FAT{}, not FAT{}", layout.clusters, layout.bits, g.fat_type),
                {}, "its size and sectors decide the type; leave it out or change them"));
  if (is_ambiguous(layout))
    return fail(invalid(
        fmt::format("a FAT of {} clusters is FAT16 to the generator and FAT12 to the firmware", layout.clusters), {},
        "make the partition a few sectors smaller or larger, or use one FAT"));
  return layout;
}

// ---------------------------------------------------------------- names

char capital(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string in_capitals(std::string_view text) {
  std::string out{text};
  std::transform(out.begin(), out.end(), out.begin(), capital);
  return out;
}

Result<void> check_name(std::string_view name, std::string_view path) {
  auto refused = [path](std::string why) {
    return fail(invalid(fmt::format("FAT cannot hold '{}'", path), std::move(why), "rename it"));
  };
  if (name.empty()) return refused("a part of its path is empty");
  for (char c : name) {
    if (static_cast<unsigned char>(c) >= 0x80)
      return refused("its name has other than ASCII letters");  // the generator fails, or garbles them
    if (c < 0x20 || c == 0x7f) return refused("its name has control bytes");
    if (never_in_names.find(c) != std::string_view::npos) return refused(fmt::format("its name has {}", c));
  }
  if (name.back() == '.' || name.back() == ' ')  // FatFs takes them away before it looks a name up
    return refused("its name ends in a dot or a space");
  if (name.size() > longest_name) return refused(fmt::format("its name is longer than {} characters", longest_name));
  return ok();
}

struct SplitName {
  std::string_view base, extension;
  [[nodiscard]] bool fits_short() const {
    return base.size() <= base_size && extension.size() <= extension_size &&
           base.find_first_of(only_in_long_names) == std::string_view::npos &&
           extension.find_first_of(only_in_long_names) == std::string_view::npos;
  }
};

/// At the last dot; dots in front of a name do not count.
SplitName split_name(std::string_view name) {
  std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || name.find_first_not_of('.') > dot) return {name, {}};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

ShortName short_name(std::string_view base, std::string_view extension) {
  ShortName out;
  out.fill(' ');
  std::copy_n(base.begin(), std::min(base.size(), base_size), out.begin());
  std::copy_n(extension.begin(), std::min(extension.size(), extension_size), out.begin() + base_size);
  return out;
}

/// As it comes to lie in a folder.
struct EntryName {
  ShortName short_form{};
  std::string long_form;  // none: empty
  std::uint8_t letter_case = 0;
  std::string prefix;  // by which the folder numbers its short names
};

// ---------------------------------------------------------------- the image

/// A folder that takes entries.
struct OpenFolder {
  std::string_view name;
  std::size_t path_size = 0;           // with its slash
  std::uint32_t number = root_number;  // its first cluster
  std::uint32_t last_cluster = 0;
  std::size_t at = 0;    // where the next entry goes
  std::size_t room = 0;  // for how many until the cluster ends
  std::map<std::string, unsigned> prefixes{};
  std::set<std::string> names{};  // in capitals
  std::set<ShortName> short_names{};
};

class ImageWriter {
 public:
  ImageWriter(ByteCount size, const FatGeometry& geometry, const Layout& layout)
      : geometry_(geometry), layout_(layout), image_(size, 0xff) {
    std::fill_n(image_.begin(), layout.data_at, std::uint8_t{0});
    set_link(image_, layout_, 0, layout.end_of_chain() - (0xff - media));
    set_link(image_, layout_, root_number, layout.end_of_chain());
    folders_.push_back({.name = {}, .at = layout.root_at, .room = geometry.root_entries});
  }

  /// Files and folders come in the order of their parts, so a folder that was left is never met again.
  Result<void> put(std::span<const std::string_view> parts, const FileView& file) {
    std::span<const std::string_view> parents = file.is_folder() ? parts : parts.first(parts.size() - 1);
    std::size_t shared = 0;
    while (shared < parents.size() && shared + 1 < folders_.size() && folders_[shared + 1].name == parents[shared])
      ++shared;
    folders_.resize(shared + 1);
    for (std::string_view name : parents.subspan(shared)) TRY(put_folder(name, file.path));
    if (file.is_folder()) return ok();
    return put_file(parts.back(), file);
  }

  Bytes finish() {
    write_header();
    ByteSpan first = ByteSpan{image_}.subspan(layout_.fat_at, layout_.fat_size);
    if (layout_.fats == 2) std::copy(first.begin(), first.end(), first.begin() + first.size());
    ByteView behind_header = ByteView{image_}.subspan(layout_.fat_at);
    std::uint32_t id = geometry_.volume_id.value_or(
        static_cast<std::uint32_t>(crc32(0, behind_header.data(), static_cast<uInt>(behind_header.size()))));
    set_u32(image_, volume_id_at, id);
    return std::move(image_);
  }

 private:
  Result<void> put_file(std::string_view name, const FileView& file) {
    std::uint32_t number = 0;  // a file without content has no cluster
    if (!file.content.empty()) {
      TRY(number, take_cluster(file.path));
    }
    TRY(std::size_t entry, put_entry(name, file.path, attribute_archive, number));
    set_u32(image_, entry + file_size_at, static_cast<std::uint32_t>(file.content.size()));
    // The folder may have grown by a cluster in between, which then lies behind the file's first.
    for (ByteView rest = file.content; !rest.empty();) {
      ByteView part = rest.first(std::min<std::size_t>(rest.size(), layout_.cluster));
      auto place = image_.begin() + static_cast<std::ptrdiff_t>(layout_.cluster_at(number));
      std::fill(std::copy(part.begin(), part.end(), place), place + layout_.cluster, std::uint8_t{0});
      rest = rest.subspan(part.size());
      if (rest.empty()) break;
      TRY(std::uint32_t next, take_cluster(file.path));
      set_link(image_, layout_, number, next);
      number = next;
    }
    return ok();
  }

  Result<void> put_folder(std::string_view name, std::string_view path) {
    TRY(std::uint32_t number, take_cluster(path));
    TRY(put_entry(name, path, attribute_folder, number));
    std::uint32_t parent = folders_.back().number;
    clear_cluster(number);
    OpenFolder folder{.name = name,
                      .path_size = folders_.back().path_size + name.size() + 1,
                      .number = number,
                      .last_cluster = number,
                      .at = layout_.cluster_at(number),
                      .room = layout_.cluster / entry_size};
    write_entry(folder.at, short_name(".", {}), attribute_folder, 0, number);
    write_entry(folder.at + entry_size, short_name("..", {}), attribute_folder, 0, parent);
    folder.at += 2 * entry_size;
    folder.room -= 2;
    folders_.push_back(std::move(folder));
    return ok();
  }

  /// The place of its short entry.
  Result<std::size_t> put_entry(std::string_view name, std::string_view path, std::uint8_t attributes,
                                std::uint32_t number) {
    OpenFolder& folder = folders_.back();
    TRY(check_name(name, path));
    path_bytes_ += folder.path_size + name.size();
    if (path_bytes_ > image_.size())  // what the reader takes for hostile
      return fail(invalid(fmt::format("the paths up to '{}' have more bytes than the image", path), {},
                          "use shorter names or fewer folders in each other"));
    if (!folder.names.insert(in_capitals(name)).second)
      return fail(invalid(fmt::format("'{}' is there twice", path), "FAT does not tell small letters from capitals",
                          "rename one of them"));
    TRY(EntryName entry, name_in(folder, name, path, attributes == attribute_folder));
    ++folder.prefixes[entry.prefix];
    if (!folder.short_names.insert(entry.short_form).second)
      return fail(invalid(fmt::format("'{}' would share its short name with another file", path), {}, "rename it"));
    TRY(put_long_name(folder, entry, path));
    TRY(std::size_t at, take_slot(folder, path));
    write_entry(at, entry.short_form, attributes, entry.letter_case, number);
    return at;
  }

  [[nodiscard]] Result<EntryName> name_in(const OpenFolder& folder, std::string_view name, std::string_view path,
                                          bool is_folder) const {
    std::string capitals = in_capitals(name);
    // With long names the generator does not look for a folder's extension.
    SplitName parts =
        is_folder && geometry_.long_names ? SplitName{std::string_view{capitals}, {}} : split_name(capitals);
    EntryName out;
    out.prefix = parts.base.substr(0, prefix_size);
    if (parts.fits_short()) {
      out.short_form = short_name(parts.base, parts.extension);
      if (geometry_.long_names) out.letter_case = small_base | small_extension;
      return out;
    }
    if (!geometry_.long_names)
      return fail(invalid(fmt::format("'{}' is no short FAT name", path),
                          "8 characters, a dot and 3 more, without spaces or any of +,;=[]",
                          "build with long names (--long-names, CONFIG_FATFS_LONG_FILENAMES in the firmware)"));
    auto met = folder.prefixes.find(out.prefix);
    unsigned order = 1 + (met == folder.prefixes.end() ? 0 : met->second);
    if (order > most_of_a_prefix)
      return fail(invalid(fmt::format("'{}' is one of more than {} names in its folder that begin with {}", path,
                                      most_of_a_prefix, out.prefix),
                          {}, "rename some of them, or use folders"));
    out.short_form = short_name(out.prefix + '~' + static_cast<char>(order), parts.extension);
    out.long_form = lower(name);
    return out;
  }

  /// Its last part lies first.
  Result<void> put_long_name(OpenFolder& folder, const EntryName& name, std::string_view path) {
    std::size_t count = (name.long_form.size() + units_per_entry - 1) / units_per_entry;
    for (std::size_t order = count; order > 0; --order) {
      TRY(std::size_t at, take_slot(folder, path));
      std::fill_n(image_.begin() + static_cast<std::ptrdiff_t>(at), entry_size, std::uint8_t{0});
      image_[at] = static_cast<std::uint8_t>(order | (order == count ? last_long_entry : 0));
      image_[at + attributes_at] = attribute_long_name;
      image_[at + long_checksum_at] = checksum_of(name.short_form);
      for (std::size_t i = 0; i < units_per_entry; ++i) {
        std::size_t unit = (order - 1) * units_per_entry + i;
        std::size_t length = name.long_form.size();  // behind it one zero, where there is room for it
        set_u16(image_, at + long_unit_at[i],
                unit < length    ? static_cast<std::uint8_t>(name.long_form[unit])
                : unit == length ? 0
                                 : 0xffff);
      }
    }
    return ok();
  }

  void write_entry(std::size_t at, const ShortName& name, std::uint8_t attributes, std::uint8_t letter_case,
                   std::uint32_t number) {
    auto place = image_.begin() + static_cast<std::ptrdiff_t>(at);
    std::fill_n(std::copy(name.begin(), name.end(), place), entry_size - name.size(), std::uint8_t{0});
    image_[at + attributes_at] = attributes;
    image_[at + case_at] = letter_case;
    for (std::size_t date : {created_at, accessed_at, written_at}) set_u16(image_, at + date, date_1980_01_01);
    set_u16(image_, at + first_cluster_at, number);
  }

  /// Where the folder's next entry goes; the folder grows by a cluster where it must, the root cannot.
  Result<std::size_t> take_slot(OpenFolder& folder, std::string_view path) {
    if (folder.room == 0) {
      if (folder.number == root_number)
        return fail(Fault{.code = Code::image_no_space,
                          .remedy = Remedy::refuse,
                          .what = fmt::format("'{}' does not fit into the root folder", path),
                          .seen = fmt::format("it has {} entries; a long name takes several", geometry_.root_entries),
                          .advice = "put files into a folder, or raise the number of root entries"});
      TRY(std::uint32_t number, take_cluster(path));
      clear_cluster(number);
      set_link(image_, layout_, folder.last_cluster, number);
      folder.last_cluster = number;
      folder.at = layout_.cluster_at(number);
      folder.room = layout_.cluster / entry_size;
    }
    --folder.room;
    return std::exchange(folder.at, folder.at + entry_size);
  }

  Result<std::uint32_t> take_cluster(std::string_view path) {
    if (!layout_.has_cluster(next_))
      return fail(Fault{.code = Code::image_no_space,
                        .remedy = Remedy::refuse,
                        .what = fmt::format("'{}' does not fit into a FAT of {}", path, show_bytes(image_.size())),
                        .seen = fmt::format("all {} clusters of {} bytes are taken", layout_.clusters, layout_.cluster),
                        .advice = "enlarge the partition or leave files out"});
    set_link(image_, layout_, next_, layout_.end_of_chain());
    return next_++;
  }

  void clear_cluster(std::uint32_t number) {
    std::fill_n(image_.begin() + static_cast<std::ptrdiff_t>(layout_.cluster_at(number)), layout_.cluster,
                std::uint8_t{0});
  }

  void write_header() {
    auto put_text = [this](std::size_t at, std::string_view text) {
      std::copy(text.begin(), text.end(), image_.begin() + static_cast<std::ptrdiff_t>(at));
    };
    std::copy(std::begin(jump), std::end(jump), image_.begin() + jump_at);
    put_text(oem_at, oem_name);
    set_u16(image_, sector_size_at, layout_.sector);
    image_[sectors_per_cluster_at] = static_cast<std::uint8_t>(geometry_.sectors_per_cluster);
    set_u16(image_, reserved_sectors_at, reserved_sectors);
    image_[fat_count_at] = static_cast<std::uint8_t>(layout_.fats);
    set_u16(image_, root_entries_at, geometry_.root_entries);
    set_u16(image_, sectors_16_at, layout_.sectors);
    image_[media_at] = media;
    set_u16(image_, fat_sectors_at, layout_.fat_sectors);
    set_u16(image_, sectors_per_track_at, sectors_per_track);
    set_u16(image_, heads_at, heads);
    image_[drive_at] = drive;
    image_[boot_signature_at] = extended_boot_signature;
    put_text(label_at, label);
    put_text(type_name_at, type_name);
    image_[signature_at] = 0x55;
    image_[signature_at + 1] = 0xaa;
  }

  const FatGeometry& geometry_;
  const Layout& layout_;
  std::vector<OpenFolder> folders_;  // the root, and on to the innermost open one
  std::uint32_t next_ = first_cluster;
  std::size_t path_bytes_ = 0;  // of all files and folders
  Bytes image_;
};

// ---------------------------------------------------------------- files

struct Item {
  std::vector<std::string_view> parts;
  const FileView* file;
};

/// Every folder's content by byte value of the names, files and folders mixed.
Result<std::vector<Item>> sorted(std::span<const FileView> files) {
  std::vector<Item> items;
  items.reserve(files.size());
  for (const FileView& file : files) {
    if (file.path.size() > longest_path)
      return fail(
          invalid(fmt::format("the path '{}…' is longer than {} bytes", file.path.substr(0, 64), longest_path)));
    std::string_view path = file.path;
    if (file.is_folder()) path.remove_suffix(1);
    items.push_back({split(path, '/'), &file});
  }
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.parts < b.parts; });
  return items;
}

}  // namespace
}  // namespace espmint::fat

namespace espmint {

Result<Bytes> build_fat(ByteCount size, const FatGeometry& geometry, std::span<const FileView> files) {
  TRY(fat::Layout layout, fat::layout_of(size, geometry));
  TRY(std::vector<fat::Item> items, fat::sorted(files));
  fat::ImageWriter writer{size, geometry, layout};
  for (const fat::Item& item : items) TRY(writer.put(item.parts, *item.file));
  return writer.finish();
}

Result<ByteCount> smallest_fat(const FatGeometry& geometry, std::span<const FileView> files) {
  TRY(fat::check_geometry(geometry));
  // The generator's estimate: it counts a long name's entries everywhere, the root among the folders, two sectors
  // before the FATs and one FAT more. It takes the length of the folder's name for that of every name in it; we take
  // each one's.
  std::map<std::string_view, std::uint64_t> entries{{"", 2}};  // of each folder; "." and ".."
  auto meet = [&entries](std::string_view path) {
    std::size_t slash = path.rfind('/');
    std::string_view folder = slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
    std::size_t length = slash == std::string_view::npos ? path.size() : path.size() - slash - 1;
    entries[folder] += (length + fat::units_per_entry - 1) / fat::units_per_entry + 1;
  };
  const std::uint32_t cluster = geometry.sector_size * geometry.sectors_per_cluster;
  std::uint64_t clusters = 0;
  for (const FileView& file : files) {
    std::string_view path = file.path;
    for (std::size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1))
      if (entries.try_emplace(path.substr(0, slash), 2).second) meet(path.substr(0, slash));
    if (!file.is_folder()) meet(path);
    clusters += fat::sectors_for(file.content.size(), cluster);
  }
  for (const auto& [folder, count] : entries) clusters += fat::sectors_for(count * fat::entry_size, cluster);

  const std::uint64_t in_clusters = clusters * geometry.sectors_per_cluster;
  const std::uint64_t one_fat = fat::sectors_for(fat::fat_bytes_for(clusters), geometry.sector_size);
  const std::uint64_t root = std::uint64_t{geometry.root_entries} * fat::entry_size / geometry.sector_size;
  std::uint64_t sectors =
      std::max<std::uint64_t>(fat::fewest_sectors, in_clusters + 2 + one_fat * (geometry.fat_count + 1) + root);
  for (; sectors <= fat::most_clusters_fat16; ++sectors) {
    fat::Layout layout = fat::lay_out(static_cast<std::uint32_t>(sectors), geometry);
    if (layout.clusters >= clusters && !fat::is_ambiguous(layout)) break;
  }
  return sectors * geometry.sector_size;
}

}  // namespace espmint
