#include <unordered_map>
#include <unordered_set>

#include "image/spiffs.hpp"
#include "image/spiffs_layout.hpp"

namespace espmint {
namespace {

using namespace spiffs;

struct PageHeader {
  std::uint16_t id = 0, span = 0;
  std::uint8_t flags = 0;
};

/// What the lookup pages list: the files' first index pages in the order the firmware would meet them, and later ones.
struct Census {
  struct File {
    std::uint16_t id;
    std::uint32_t page;
  };
  std::vector<File> files;
  std::unordered_map<std::uint32_t, std::uint32_t> later_index;  // id << 16 | span → page
  std::size_t agreeing = 0;                                      // lookup entries whose page bears the same id
  std::size_t disagreeing = 0;
};

class Reader {
 public:
  Reader(ByteView image, const Layout& layout) : image_(image), layout_(layout), blocks_(image.size() / layout.block) {}

  [[nodiscard]] PageHeader header(std::uint32_t page) const {
    std::size_t at = address(page);
    return {layout_.get16(image_, at), layout_.get16(image_, at + 2), image_[at + 4]};
  }
  [[nodiscard]] std::size_t address(std::uint32_t page) const { return std::size_t{page} * layout_.page; }

  /// As the C library mounts: one block may lack its magic (an erase that was cut short), two are another file system.
  [[nodiscard]] bool magic_fits(const SpiffsGeometry& geometry) const {
    // A geometry whose last lookup page has no room for the magic beside its ids bears none that could be checked.
    if (layout_.usable_pages % (layout_.page / 2) * 2 > layout_.page - 4) return true;
    std::size_t missing = 0;
    for (std::size_t block = 0; block < blocks_; ++block)
      missing +=
          layout_.get16(image_, block * layout_.block + layout_.magic_slot) != magic_of(geometry, blocks_, block);
    return missing == 0 || (missing == 1 && blocks_ > 1);
  }

  [[nodiscard]] Census take_census() const {
    Census census;
    std::unordered_set<std::uint16_t> met;
    for_each_entry([&](std::uint16_t id, std::uint32_t page) {
      PageHeader h = header(page);
      ++(h.id == id ? census.agreeing : census.disagreeing);
      // A page listed but not written (power lost in between) does not exist for the firmware either.
      if (h.id != id || (id & index_bit) == 0 || (h.flags & (flag_used | flag_final | flag_delete)) != flag_delete)
        return true;
      if (h.span != 0) {
        census.later_index.emplace(std::uint32_t{id} << 16 | h.span,
                                   page);  // the first wins, as it does in the C library
      } else if ((h.flags & flag_index_delete) != 0 && met.insert(id).second) {
        census.files.push_back({static_cast<std::uint16_t>(id & ~index_bit), page});
      }
      return true;
    });
    return census;
  }

  /// Calls `visit(id, page)` for each lookup entry in use until it returns false.
  template <typename Visit>
  void for_each_entry(Visit visit) const {
    for (std::size_t block = 0; block < blocks_; ++block) {
      for (std::uint32_t slot = 0; slot < layout_.usable_pages; ++slot) {
        std::uint16_t id = layout_.get16(image_, block * layout_.block + std::size_t{slot} * 2);
        if (id == free_id || id == deleted_id) continue;
        auto page = static_cast<std::uint32_t>(block * layout_.pages_per_block + layout_.lookup_pages + slot);
        if (!visit(id, page)) return;
      }
    }
  }

  [[nodiscard]] std::string name_of(const Census::File& file, std::uint32_t name_length) const {
    std::string_view name = as_text(image_.subspan(address(file.page) + name_at, name_length));
    name = name.substr(0, name.find('\0'));
    if (name.starts_with('/')) name.remove_prefix(1);
    return std::string{name};
  }

  [[nodiscard]] std::uint32_t size_of(const Census::File& file) const {
    std::uint32_t size = layout_.get32(image_, address(file.page) + size_at);
    return size == unknown_size ? 0 : size;
  }

  [[nodiscard]] Result<Bytes> content_of(const Census& census, const Census::File& file, std::string_view name) const {
    std::uint32_t size = size_of(file);
    // Each page serves one file once, so no honest file is larger than the image.
    if (size > image_.size()) return fail(damaged(file.page, name, fmt::format("it claims {} bytes", size)));
    Bytes content;
    content.reserve(size);
    std::size_t table = address(file.page) + layout_.first_table;
    std::uint32_t entries = layout_.first_entries, entry = 0;
    std::uint16_t index_span = 0;
    for (std::uint32_t span = 0; content.size() < size; ++span) {
      while (entry == entries) {
        auto later =
            census.later_index.find(std::uint32_t{file.id} << 16 | std::uint32_t{index_bit} << 16 | ++index_span);
        if (later == census.later_index.end())
          return fail(damaged(file.page, name, fmt::format("its index page {} is missing", index_span)));
        table = address(later->second) + index_header;
        entries = layout_.later_entries;
        entry = 0;
      }
      std::uint32_t page = layout_.get16(image_, table + std::size_t{entry++} * 2);
      if (!is_data_page(page, file.id, span))
        return fail(damaged(page, name, fmt::format("page {} does not hold its part {}", page, span)));
      std::size_t length = std::min<std::size_t>(layout_.data_room, size - content.size());
      append(content, image_.subspan(address(page) + page_header, length));
    }
    return content;
  }

  [[nodiscard]] bool is_data_page(std::uint32_t page, std::uint16_t id, std::uint32_t span) const {
    if (page >= blocks_ * layout_.pages_per_block) return false;
    PageHeader h = header(page);
    return h.id == id && h.span == span &&
           (h.flags & (flag_used | flag_final | flag_index | flag_delete)) == (flag_index | flag_delete);
  }

 private:
  [[nodiscard]] Fault damaged(std::uint32_t page, std::string_view name, std::string seen) const {
    Fault fault = invalid(fmt::format("SPIFFS file '{}' is damaged", name), std::move(seen),
                          "another geometry, or an image cut short, looks like this too");
    fault.where.offset = address(page);
    return fault;
  }

  ByteView image_;
  const Layout& layout_;
  std::size_t blocks_;
};

/// Where the table of page numbers begins in the first index page of some file with content; 0 when no file tells.
std::uint32_t find_first_table(ByteView image, const Layout& layout, const Reader& reader, const Census& census) {
  for (const Census::File& file : census.files) {
    auto is_entry = [&](std::uint32_t at, std::uint32_t span) {
      return reader.is_data_page(layout.get16(image, reader.address(file.page) + at), file.id, span);
    };
    std::uint32_t size = reader.size_of(file);
    if (size == 0) continue;
    for (std::uint32_t at = name_at; at + 2 <= layout.page; ++at) {
      // Of a larger file the second page must follow the first, where there is room.
      bool alone = size <= layout.data_room || at + 4 > layout.page;
      if (is_entry(at, 0) && (alone || is_entry(at + 2, 1))) return at;
    }
  }
  return 0;
}

/// No name field can be shorter than this: a name may fill it to its last byte and go without terminating zero.
std::uint32_t longest_name(ByteView image, const Layout& layout, const Reader& reader, const Census& census) {
  std::uint32_t longest = 0;
  for (const Census::File& file : census.files) {
    ByteView field = image.subspan(reader.address(file.page) + name_at, layout.page - name_at);
    auto end = std::find_if(field.begin(), field.end(), [](std::uint8_t byte) { return byte == 0x00 || byte == 0xff; });
    longest = std::max(longest, static_cast<std::uint32_t>(end - field.begin()));
  }
  return longest;
}

// Lengths that are met in the field: ESP-IDF's, mkspiffs for Arduino (metadata 0), longer names.
constexpr std::pair<std::uint32_t, std::uint32_t> usual_lengths[] = {{32, 4},  {32, 0},  {64, 4}, {64, 0},
                                                                     {128, 4}, {128, 0}, {255, 4}};

/// Name, metadata and alignment that put the table at `first_table`, likeliest first.
std::vector<SpiffsGeometry> lengths_for(SpiffsGeometry geometry, std::uint32_t first_table, std::uint32_t longest) {
  std::uint32_t together = first_table > name_at ? first_table - name_at : 0;
  longest = std::min(longest, together);  // it runs into the table where it has no end
  std::vector<SpiffsGeometry> out;
  auto add = [&](std::uint32_t name, std::uint32_t meta, bool aligned) {
    SpiffsGeometry candidate = geometry;
    candidate.name_length = name;
    candidate.meta_length = meta;
    candidate.aligned_index_tables = aligned;
    Result<Layout> layout = layout_of(candidate);
    bool fits = layout && (first_table == 0 || (layout->first_table == first_table && name >= longest));
    if (fits) out.push_back(candidate);
  };
  for (bool aligned : {geometry.aligned_index_tables, !geometry.aligned_index_tables}) {
    add(geometry.name_length, geometry.meta_length, aligned);
    for (auto [name, meta] : usual_lengths) add(name, meta, aligned);
  }
  if (together == 0) return out;
  std::uint32_t name = std::max(together - std::min(geometry.meta_length, together), longest);
  add(name, together - name, geometry.aligned_index_tables);
  return out;
}

struct Shape {  // what the lookup pages depend on
  std::uint32_t page, block;
  bool big_endian;
};

std::optional<SpiffsGeometry> fit(ByteView image, SpiffsGeometry geometry, const Shape& shape) {
  geometry.page_size = shape.page;
  geometry.block_size = shape.block;
  geometry.big_endian = shape.big_endian;
  SpiffsGeometry bare = geometry;  // the lookup does not depend on lengths: any that fit will do to read it
  bare.name_length = bare.meta_length = 0;
  Result<Layout> layout = layout_of(bare);
  if (!layout || image.empty() || image.size() % shape.block != 0) return std::nullopt;
  Reader reader{image, *layout};
  Census census = reader.take_census();
  if (census.files.empty()) return std::nullopt;
  std::uint32_t first_table = find_first_table(image, *layout, reader, census);
  std::uint32_t longest = longest_name(image, *layout, reader, census);

  const std::pair<bool, bool> magics[] = {
      {geometry.magic, geometry.magic_length}, {true, true}, {true, false}, {false, true}};
  for (auto [magic, with_length] : magics) {
    geometry.magic = magic;
    geometry.magic_length = with_length;
    if (magic ? !reader.magic_fits(geometry) : census.disagreeing != 0) continue;
    for (const SpiffsGeometry& candidate : lengths_for(geometry, first_table, longest)) {
      Result<std::vector<FileOwned>> files = read_spiffs(image, candidate);
      if (files && !files->empty()) return candidate;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<FileOwned>> read_spiffs(ByteView image, const SpiffsGeometry& geometry) {
  TRY(Layout layout, layout_of(geometry));
  TRY(blocks_of(image.size(), layout));
  Reader reader{image, layout};
  if (geometry.magic && !reader.magic_fits(geometry))
    return fail(invalid("this is no SPIFFS of the expected geometry", "its blocks do not bear the magic word",
                        "check page size, block size and the image's full size"));
  Census census = reader.take_census();
  std::vector<FileOwned> files;
  std::unordered_set<std::string> names;
  for (const Census::File& file : census.files) {
    std::string name = reader.name_of(file, geometry.name_length);
    if (!names.insert(name).second) continue;  // the firmware opens the first of a name, too
    TRY(Bytes content, reader.content_of(census, file, name));
    files.push_back({std::move(name), std::move(content)});
  }
  return files;
}

std::optional<SpiffsGeometry> detect_spiffs_geometry(ByteView image, const SpiffsGeometry& hint) {
  std::vector<Shape> tried;
  auto new_shape = [&tried](const Shape& shape) {
    for (const Shape& old : tried)
      if (old.page == shape.page && old.block == shape.block && old.big_endian == shape.big_endian) return false;
    tried.push_back(shape);
    return true;
  };
  for (bool big_endian : {hint.big_endian, !hint.big_endian}) {
    for (std::uint32_t block : {hint.block_size, 4096u, 8192u, 16384u, 32768u, 65536u}) {
      for (std::uint32_t page : {hint.page_size, 256u, 512u, 1024u, 128u, 2048u, 4096u, 64u}) {
        Shape shape{page, block, big_endian};
        if (block == 0 || !new_shape(shape)) continue;
        if (auto found = fit(image, hint, shape)) return found;
      }
    }
  }
  return std::nullopt;
}

}  // namespace espmint
