#include "sim/spiffs_view.hpp"

#include <map>

namespace espmint::sim {
namespace {

// Source: SPIFFS technical specification (pellepl/spiffs, docs/TECH_SPEC), as configured by ESP-IDF: 16-bit ids.
constexpr std::uint16_t index_bit = 0x8000, erased_id = 0xffff, deleted_id = 0x0000;
constexpr std::uint32_t magic_base = 0x2014'0529;
constexpr std::size_t page_header = 5;   // object id, span index, flags
constexpr std::size_t index_header = 8;  // the page header, padded
constexpr std::uint8_t flag_used = 0x01, flag_final = 0x02, flag_index = 0x04, flag_index_deleted = 0x40,
                       flag_deleted = 0x80;  // all active when 0

class Reader {
 public:
  Reader(ByteView bytes, const SpiffsShape& shape) : bytes_(bytes), shape_(shape) {
    pages_per_block_ = shape.block / shape.page;
    lookup_pages_ = std::max<std::uint32_t>(1, pages_per_block_ * 2 / shape.page);
    blocks_ = static_cast<std::uint32_t>(bytes.size() / shape.block);
  }

  [[nodiscard]] bool mounts() const {
    if (blocks_ < 3 || bytes_.size() % shape_.block != 0) return false;
    if (!shape_.magic) return true;
    unsigned without = 0;
    for (std::uint32_t block = 0; block < blocks_; ++block) {
      std::size_t at = std::size_t{block} * shape_.block + lookup_pages_ * shape_.page - 4;
      std::uint32_t expected = magic_base ^ shape_.page;
      if (shape_.magic_has_length) expected ^= blocks_ - block;
      if (get_u16(bytes_, at) != (expected & 0xffff)) ++without;
    }
    return without <= 1;  // the driver forgives one block that lost power in its erase
  }

  std::optional<std::vector<SpiffsFile>> files() {
    collect_index_pages();
    std::vector<SpiffsFile> out;
    for (const auto& [id, pages] : index_pages_) {
      auto head = pages.find(0);
      if (head == pages.end()) continue;  // an object that lost its head is no file
      std::optional<SpiffsFile> file = read(id, pages, head->second);
      if (!file) return std::nullopt;
      out.push_back(std::move(*file));
    }
    return out;
  }

 private:
  using Pages = std::map<std::uint16_t, std::uint32_t>;  // span index to page number

  [[nodiscard]] ByteView page(std::uint32_t number) const {
    return bytes_.subspan(std::size_t{number} * shape_.page, shape_.page);
  }

  void collect_index_pages() {
    for (std::uint32_t block = 0; block < blocks_; ++block) {
      for (std::uint32_t i = 0; i + lookup_pages_ < pages_per_block_; ++i) {
        std::uint16_t id = get_u16(bytes_, std::size_t{block} * shape_.block + 2 * i);
        if (id == deleted_id || id == erased_id || !(id & index_bit)) continue;
        std::uint32_t number = block * pages_per_block_ + lookup_pages_ + i;
        ByteView header = page(number);
        std::uint8_t flags = header[4];
        if (get_u16(header, 0) != id || flags & (flag_used | flag_final | flag_index)) continue;
        if (!(flags & flag_deleted) || !(flags & flag_index_deleted)) continue;
        index_pages_[static_cast<std::uint16_t>(id & ~index_bit)][get_u16(header, 2)] = number;
      }
    }
  }

  std::optional<SpiffsFile> read(std::uint16_t id, const Pages& pages, std::uint32_t head_page) const {
    ByteView head = page(head_page);
    std::size_t head_bytes = index_header + 4 + 1 + shape_.name + shape_.meta;
    std::uint32_t size = get_u32(head, index_header);
    if (size == 0xffff'ffff) size = 0;  // never closed
    std::string_view name = as_text(head.subspan(index_header + 5, shape_.name));
    SpiffsFile file{std::string{name.substr(0, name.find('\0'))}, {}};
    std::size_t in_head = (shape_.page - head_bytes) / 2, in_other = (shape_.page - index_header) / 2;
    std::size_t data_bytes = shape_.page - page_header;
    for (std::uint32_t span = 0; file.content.size() < size; ++span) {
      bool first = span < in_head;
      std::size_t rest = first ? span : (span - in_head) % in_other;
      auto index_span = static_cast<std::uint16_t>(first ? 0 : 1 + (span - in_head) / in_other);
      auto index = pages.find(index_span);
      if (index == pages.end()) return std::nullopt;
      std::uint32_t number = get_u16(page(index->second), (first ? head_bytes : index_header) + 2 * rest);
      if (number >= blocks_ * pages_per_block_) return std::nullopt;
      ByteView data = page(number);
      std::uint8_t flags = data[4];
      if (get_u16(data, 0) != id || get_u16(data, 2) != span) return std::nullopt;
      if (flags & (flag_used | flag_final) || !(flags & flag_index) || !(flags & flag_deleted)) return std::nullopt;
      append(file.content, data.subspan(page_header, std::min<std::size_t>(data_bytes, size - file.content.size())));
    }
    return file;
  }

  ByteView bytes_;
  SpiffsShape shape_;
  std::uint32_t pages_per_block_, lookup_pages_, blocks_;
  std::map<std::uint16_t, Pages> index_pages_;
};

}  // namespace

std::optional<std::vector<SpiffsFile>> read_spiffs(ByteView partition, const SpiffsShape& shape) {
  if (shape.page < 64 || shape.block < shape.page || partition.size() < shape.block) return std::nullopt;
  Reader reader{partition, shape};
  if (!reader.mounts()) return std::nullopt;
  return reader.files();
}

}  // namespace espmint::sim
