#include <unordered_set>

#include "base/text.hpp"
#include "image/spiffs.hpp"
#include "image/spiffs_layout.hpp"

namespace espmint {
namespace {

using namespace spiffs;

/// Lays pages one behind the other into an image that starts as erased flash, block after block.
class Writer {
 public:
  Writer(std::uint64_t size, const SpiffsGeometry& geometry, const Layout& layout, std::uint32_t blocks)
      : geometry_(geometry), layout_(layout), blocks_(blocks), image_(size, 0xff) {}

  [[nodiscard]] bool block_is_full() const { return !open_ || used_ == layout_.usable_pages; }

  /// False when the image has no further block.
  bool next_block() {
    if (open_) close_block();
    std::uint32_t next = open_ ? block_ + 1 : 0;
    if (next == blocks_) return false;
    block_ = next;
    used_ = 0;
    open_ = true;
    return true;
  }

  /// A page in the open block, which is not full: listed in the lookup, its header written. Its number.
  std::uint32_t place(std::uint16_t id, std::uint16_t span, std::uint8_t flags) {
    std::uint32_t page = block_ * layout_.pages_per_block + layout_.lookup_pages + used_;
    layout_.set16(image_, std::size_t{block_} * layout_.block + std::size_t{used_} * 2, id);
    ++used_;
    std::size_t at = address(page);
    layout_.set16(image_, at, id);
    layout_.set16(image_, at + 2, span);
    image_[at + 4] = flags;
    return page;
  }

  [[nodiscard]] std::size_t address(std::uint32_t page) const { return std::size_t{page} * layout_.page; }
  ByteSpan bytes() { return image_; }

  Bytes finish() {
    // Without magic an untouched block is erased flash; with it every block to the end is marked.
    while (next_block() && geometry_.magic) {
    }
    return std::move(image_);
  }

 private:
  void close_block() {
    if (!geometry_.magic) return;
    std::uint32_t slots = layout_.page / 2;  // of one lookup page
    std::uint32_t before_last = (layout_.lookup_pages - 1) * slots;
    std::uint32_t in_last = used_ > before_last ? used_ - before_last : 0;
    // The generator leaves the magic out where the lookup has grown into its place.
    if (slots - in_last < 2) return;
    layout_.set16(image_, std::size_t{block_} * layout_.block + layout_.magic_slot,
                  magic_of(geometry_, blocks_, block_));
  }

  const SpiffsGeometry& geometry_;
  const Layout& layout_;
  std::uint32_t blocks_;
  std::uint32_t block_ = 0;
  std::uint32_t used_ = 0;  // pages of the open block
  bool open_ = false;
  Bytes image_;
};

Result<void> check_path(const FileView& file, const SpiffsGeometry& geometry) {
  if (file.path.empty() || file.path.front() == '/' || file.path.find('\0') != std::string::npos)
    return fail(invalid(fmt::format("SPIFFS cannot hold a file named '{}'", file.path)));
  if (file.path.size() + 1 > geometry.name_length)
    return fail(invalid(fmt::format("SPIFFS name '/{}' is longer than {} bytes", file.path, geometry.name_length),
                        fmt::format("{} bytes with its slash", file.path.size() + 1),
                        "shorten it, or raise CONFIG_SPIFFS_OBJ_NAME_LEN in the firmware"));
  if (file.content.size() >= unknown_size) return fail(invalid(fmt::format("'{}' is too large for SPIFFS", file.path)));
  return ok();
}

Fault no_room(const FileView& file, std::uint64_t size, std::size_t placed) {
  return Fault{.code = Code::image_no_space,
               .remedy = Remedy::refuse,
               .what = fmt::format("'{}' does not fit into a SPIFFS of {}", file.path, show_bytes(size)),
               .seen = fmt::format("{} bytes, of which {} found room", file.content.size(), placed),
               .advice = "enlarge the partition or leave files out"};
}

Result<void> put(Writer& writer, const Layout& layout, std::uint64_t size, std::uint16_t id, const FileView& file) {
  std::size_t done = 0;
  std::uint16_t index_span = 0, data_span = 0;
  std::size_t table = 0;   // where the next page number goes
  std::uint32_t room = 0;  // how many still fit there
  auto place_index = [&] {
    std::uint32_t page = writer.place(id | index_bit, index_span, flags_of_index);
    std::size_t at = writer.address(page);
    ByteSpan bytes = writer.bytes();
    if (index_span == 0) {
      layout.set32(bytes, at + size_at, static_cast<std::uint32_t>(file.content.size()));
      bytes[at + type_at] = type_file;
      ByteSpan rest = bytes.subspan(at + name_at, layout.first_table - name_at);  // name, metadata, alignment: zeros
      std::fill(rest.begin(), rest.end(), std::uint8_t{0});
      rest[0] = '/';
      std::copy(file.path.begin(), file.path.end(), rest.begin() + 1);
    }
    table = at + (index_span == 0 ? layout.first_table : index_header);
    room = index_span == 0 ? layout.first_entries : layout.later_entries;
    ++index_span;
  };

  if (writer.block_is_full() && !writer.next_block()) return fail(no_room(file, size, done));
  if (writer.block_is_full()) return fail(no_room(file, size, done));  // a block of lookup pages only
  place_index();
  while (done < file.content.size()) {
    // A full block is noticed before a full index page, so the next index page opens the next block.
    if (writer.block_is_full() && !writer.next_block()) return fail(no_room(file, size, done));
    if (room == 0) {
      place_index();
      continue;
    }
    std::uint32_t page = writer.place(id, data_span++, flags_of_data);
    if (page > greatest_page)
      return fail(invalid(fmt::format("'{}' reaches page {}; SPIFFS counts pages with 16 bits", file.path, page), {},
                          "use larger pages"));
    layout.set16(writer.bytes(), table, static_cast<std::uint16_t>(page));
    table += 2;
    --room;
    std::size_t length = std::min<std::size_t>(layout.data_room, file.content.size() - done);
    std::memcpy(writer.bytes().data() + writer.address(page) + page_header, file.content.data() + done, length);
    done += length;
  }
  return ok();
}

}  // namespace

Result<Bytes> build_spiffs(ByteCount size, const SpiffsGeometry& geometry, std::span<const FileView> files) {
  TRY(Layout layout, layout_of(geometry));
  TRY(std::uint32_t blocks, blocks_of(size, layout));
  if (geometry.magic && geometry.magic_length && blocks > 0xffff)
    return fail(
        invalid(fmt::format("SPIFFS magic counts at most 65535 blocks, not {}", blocks), {}, "use larger blocks"));
  if (files.size() > greatest_id) return fail(invalid(fmt::format("SPIFFS holds at most {} files", greatest_id)));
  std::unordered_set<std::string_view> seen;
  for (const FileView& file : files) {
    TRY(check_path(file, geometry));
    if (!seen.insert(file.path).second) return fail(invalid(fmt::format("'{}' is given twice", file.path)));
  }
  Writer writer{size, geometry, layout, blocks};
  std::uint16_t id = 1;
  for (const FileView& file : files) TRY(put(writer, layout, size, id++, file));
  return writer.finish();
}

}  // namespace espmint
