#include <algorithm>
#include <unordered_set>

#include "image/littlefs.hpp"
#include "image/littlefs_layout.hpp"

namespace espmint::littlefs {
namespace {

struct StoredEntry {
  std::optional<Type> kind;  // nothing: deleted, or of no name yet
  ByteView name;
  std::optional<Type> struct_type;
  ByteView data;  // of the struct
};

/// The move of a file that a power cut may have left half done. Each pair holds a part; their xor is the state.
struct MoveState {
  std::uint32_t tag = 0;
  PairAddress pair{0, 0};
  MoveState& operator^=(const MoveState& other) {
    tag ^= other.tag;
    pair.first ^= other.pair.first;
    pair.second ^= other.pair.second;
    return *this;
  }
  /// The entry that exists in its new place already.
  [[nodiscard]] bool has_moved(const PairAddress& from, std::size_t id) const {
    return (tag & group_mask << 20) != 0 && pair.shares_a_block_with(from) && tag_of(tag).id == id;
  }
};

/// A pair as its newest whole commit leaves it.
struct Metadata {
  std::vector<StoredEntry> entries;  // by id
  PairAddress tail;                  // null: the thread's end
  bool folder_goes_on = false;
  MoveState move;
};

struct Record {  // a tag and its bytes
  Tag tag;
  ByteView data;
};

/// The records of a block's whole commits, oldest first; nothing when it has none.
std::optional<std::vector<Record>> committed_records(ByteView block) {
  std::vector<Record> records;
  std::size_t committed = 0;
  bool any = false;
  std::uint32_t crc = crc_of(block.first(revision_size)), previous = before_first_tag;
  for (std::size_t at = revision_size; at + tag_size <= block.size();) {
    std::uint32_t word = std::uint32_t{block[at]} << 24 | std::uint32_t{block[at + 1]} << 16 |
                         std::uint32_t{block[at + 2]} << 8 | block[at + 3];
    crc = crc_of(block.subspan(at, tag_size), crc);
    word ^= previous;
    if ((word & invalid_bit) != 0) break;  // erased flash, or a commit that was cut short
    Tag tag = tag_of(word);
    at += tag_size;
    std::size_t size = tag.size == deleted_size ? 0 : tag.size;
    if (at + size > block.size()) break;
    ByteView data = block.subspan(at, size);
    at += size;
    previous = word;
    if ((static_cast<std::uint32_t>(tag.type) & crc_mask) == static_cast<std::uint32_t>(Type::crc)) {
      if (size < crc_size || get_u32(data, 0) != crc) break;
      if ((static_cast<std::uint32_t>(tag.type) & 1) != 0) previous ^= invalid_bit;
      crc = before_first_tag;
      committed = records.size();
      any = true;
    } else {
      crc = crc_of(data, crc);
      records.push_back({tag, data});
    }
  }
  if (!any) return std::nullopt;
  records.resize(committed);
  return records;
}

/// Records of one pair, replayed: what was said last counts.
class Replay {
 public:
  /// Words why it cannot be; nothing when it can.
  std::optional<std::string> take(const Record& record) {
    const auto type = static_cast<std::uint32_t>(record.tag.type);
    const bool of_an_entry = record.tag.id != no_id;
    switch (type & group_mask) {
      case name_group:
        if (!of_an_entry) break;
        entry(record.tag.id).kind = kind_of(record);
        entry(record.tag.id).name = record.data;
        break;
      case struct_group:
        if (!of_an_entry) break;
        entry(record.tag.id).struct_type = kind_of(record);
        entry(record.tag.id).data = record.data;
        break;
      case splice_group:
        return splice(record.tag);
      case tail_group:
        if (record.data.size() < 8) return fmt::format("a tail of {} bytes", record.data.size());
        out_.tail = {get_u32(record.data, 0), get_u32(record.data, 4)};
        out_.folder_goes_on = (type & 1) != 0;
        break;
      default:
        if (record.tag.type == Type::move_state) take_move_state(record.data);
        break;  // attributes, checksums
    }
    return std::nullopt;
  }

  Metadata finish() { return std::move(out_); }

 private:
  static std::optional<Type> kind_of(const Record& record) {
    if (record.tag.size == deleted_size) return std::nullopt;
    return record.tag.type;
  }
  StoredEntry& entry(std::size_t id) {
    if (id >= out_.entries.size()) out_.entries.resize(id + 1);
    return out_.entries[id];
  }
  std::optional<std::string> splice(const Tag& tag) {
    if (tag.id == no_id) return std::nullopt;
    if (tag.type == Type::create) {
      if (tag.id > out_.entries.size()) out_.entries.resize(tag.id);
      out_.entries.insert(out_.entries.begin() + tag.id, StoredEntry{});
    } else if (tag.type == Type::remove) {
      if (tag.id < out_.entries.size()) out_.entries.erase(out_.entries.begin() + tag.id);
    } else {
      return fmt::format("an unknown splice, type {:#x}", static_cast<std::uint32_t>(tag.type));
    }
    return std::nullopt;
  }
  void take_move_state(ByteView data) {
    std::uint8_t bytes[12] = {};
    std::copy_n(data.begin(), std::min(data.size(), sizeof bytes), bytes);
    out_.move = {get_u32(bytes, 0), {get_u32(bytes, 4), get_u32(bytes, 8)}};
  }

  Metadata out_;
};

/// What mounting finds out.
struct Mounted {
  LittlefsSuperblock superblock;
  PairAddress root;
  MoveState move;
};

std::optional<LittlefsSuperblock> superblock_in(const Metadata& metadata) {
  if (metadata.entries.empty()) return std::nullopt;
  const StoredEntry& first = metadata.entries.front();
  if (first.kind != Type::superblock || as_text(first.name) != magic || first.struct_type != Type::inline_struct ||
      first.data.size() < superblock_size)
    return std::nullopt;
  LittlefsSuperblock out;
  out.minor = get_u16(first.data, 0);
  out.major = get_u16(first.data, 2);
  out.block_size = get_u32(first.data, 4);
  out.block_count = get_u32(first.data, 8);
  out.name_max = get_u32(first.data, 12);
  out.file_max = get_u32(first.data, 16);
  out.attribute_max = get_u32(first.data, 20);
  return out;
}

class Reader {
 public:
  Reader(ByteView image, std::uint32_t block_size)
      : image_(image), block_size_(block_size), blocks_(static_cast<std::uint32_t>(image.size() / block_size)) {}

  [[nodiscard]] Result<Metadata> fetch(const PairAddress& pair) const {
    if (pair.first >= blocks_ || pair.second >= blocks_)
      return fail(damaged(fmt::format("a metadata pair in blocks {} and {} of {}", pair.first, pair.second, blocks_)));
    // Revisions are compared as sequence numbers. Where the newer block has no whole commit, the older one counts.
    auto newer = static_cast<std::int32_t>(get_u32(block(pair.second), 0) - get_u32(block(pair.first), 0));
    for (std::uint32_t number : {newer > 0 ? pair.second : pair.first, newer > 0 ? pair.first : pair.second}) {
      std::optional<std::vector<Record>> records = committed_records(block(number));
      if (!records) continue;
      Replay replay;
      for (const Record& record : *records)
        if (auto why = replay.take(record)) return fail(damaged(*why, number));
      return replay.finish();
    }
    return fail(
        damaged(fmt::format("neither block {} nor {} holds whole metadata", pair.first, pair.second), pair.first));
  }

  /// Follows the thread through all pairs, as the C library does: the last superblock counts.
  [[nodiscard]] Result<Mounted> mount(Metadata metadata) const {
    Mounted out;
    PairAddress at = superblock_pair;
    for (std::uint32_t steps = 0;; ++steps) {
      if (steps > blocks_) return fail(damaged("the thread through its metadata is a loop", at.first));
      if (auto superblock = superblock_in(metadata)) {
        out.superblock = *superblock;
        out.root = at;
      }
      out.move ^= metadata.move;
      at = metadata.tail;
      if (at.is_null()) break;
      TRY(metadata, fetch(at));
    }
    TRY(check(out.superblock));
    return out;
  }

  [[nodiscard]] Result<std::vector<FileOwned>> read_tree(const Mounted& mounted);

 private:
  struct OpenFolder {
    PairAddress pair;
    std::string path;  // "" for the root, else with a slash at its end
  };
  struct Found {  // in one folder
    std::vector<FileOwned> files;
    std::vector<OpenFolder> folders;
  };

  [[nodiscard]] ByteView block(std::uint32_t number) const {
    return image_.subspan(std::size_t{number} * block_size_, block_size_);
  }

  [[nodiscard]] Fault damaged(std::string seen, std::optional<std::uint32_t> block = {}) const {
    Fault fault = invalid("this LittleFS is damaged", std::move(seen));
    if (block) fault.where.offset = std::uint64_t{*block} * block_size_;
    return fault;
  }

  [[nodiscard]] Result<void> check(const LittlefsSuperblock& superblock) const {
    if (superblock.major != 2 || superblock.minor > 1)
      return fail(
          invalid(fmt::format("LittleFS disk version {}.{} is not known here", superblock.major, superblock.minor), {},
                  "2.0 and 2.1 are"));
    if (superblock.block_size != block_size_)
      return fail(damaged(
          fmt::format("its superblocks state blocks of {} and of {} bytes", block_size_, superblock.block_size)));
    if (superblock.block_count > blocks_)
      return fail(invalid("this LittleFS is cut short",
                          fmt::format("{} of its {} blocks are here", blocks_, superblock.block_count),
                          "read the whole partition"));
    return ok();
  }

  /// Each block serves once; so nothing is read twice, no loop is endless, and no content is larger than the image.
  [[nodiscard]] Result<void> claim(std::uint32_t number) {
    if (number >= used_.size()) return fail(damaged(fmt::format("a pointer to block {} of {}", number, used_.size())));
    if (used_[number]) return fail(damaged(fmt::format("block {} is used twice", number), number));
    used_[number] = true;
    ++claimed_;
    return ok();
  }

  /// Small names in deep folders could make more of an image than a machine's memory; an honest one is far from this.
  [[nodiscard]] Result<void> count_path(const std::string& path) {
    path_bytes_ += path.size();
    if (path_bytes_ <= std::uint64_t{image_.size()} * 8) return ok();
    return fail(damaged("its paths are many times larger than itself"));
  }

  [[nodiscard]] Result<Found> read_folder(const OpenFolder& folder, const MoveState& move);
  [[nodiscard]] Result<void> take(const StoredEntry& entry, const OpenFolder& folder, Found& found);
  [[nodiscard]] Result<Bytes> content_of(const StoredEntry& entry, const std::string& path);
  [[nodiscard]] Result<Bytes> read_skip_list(std::uint32_t head, std::uint32_t size, const std::string& path);

  ByteView image_;
  std::uint32_t block_size_;
  std::uint32_t blocks_;  // in the image
  std::vector<bool> used_;
  std::uint32_t claimed_ = 0;
  std::uint64_t path_bytes_ = 0;
};

Result<Bytes> Reader::read_skip_list(std::uint32_t head, std::uint32_t size, const std::string& path) {
  SkipList list =
      size <= image_.size() ? skip_list_of(size, block_size_) : SkipList{.blocks = null_block, .in_last = 0};
  if (list.blocks > used_.size() - claimed_)
    return fail(damaged(fmt::format("'{}' claims {} bytes, more than there is room for", path, size)));
  Bytes content(size);
  std::size_t end = size;
  for (std::uint32_t n = list.blocks; n-- > 0;) {
    TRY(claim(head));
    ByteView source = block(head);
    std::size_t length = n + 1 == list.blocks ? list.in_last : room_in(n, block_size_);
    end -= length;
    std::copy_n(source.begin() + std::size_t{pointers_in(n)} * 4, length,
                content.begin() + static_cast<std::ptrdiff_t>(end));
    head = get_u32(source, 0);  // the block before it; of the first one these are bytes of content, and not followed
  }
  return content;
}

Result<Bytes> Reader::content_of(const StoredEntry& entry, const std::string& path) {
  if (entry.struct_type == Type::inline_struct) return Bytes(entry.data.begin(), entry.data.end());
  if (entry.struct_type == Type::skip_list_struct && entry.data.size() >= 8)
    return read_skip_list(get_u32(entry.data, 0), get_u32(entry.data, 4), path);
  return fail(damaged(fmt::format("'{}' has no content that could be a file's", path)));
}

Result<void> Reader::take(const StoredEntry& entry, const OpenFolder& folder, Found& found) {
  // Also the firmware passes over what has no name or no content yet, and over the superblock.
  if (!entry.kind || entry.kind == Type::superblock || !entry.struct_type) return ok();
  std::string path = folder.path + std::string{as_text(entry.name)};
  if (entry.name.empty() || as_text(entry.name).find_first_of(std::string_view{"/\0", 2}) != std::string_view::npos)
    return fail(damaged(fmt::format("'{}' cannot be a name", path)));
  if (entry.kind == Type::folder) {
    if (entry.struct_type != Type::folder_struct || entry.data.size() < 8)
      return fail(damaged(fmt::format("the folder '{}' leads nowhere", path)));
    path += '/';
    TRY(count_path(path));
    found.folders.push_back({{get_u32(entry.data, 0), get_u32(entry.data, 4)}, std::move(path)});
    return ok();
  }
  if (entry.kind != Type::file) return fail(damaged(fmt::format("'{}' is neither a file nor a folder", path)));
  TRY(count_path(path));
  TRY(Bytes content, content_of(entry, path));
  found.files.push_back({std::move(path), std::move(content)});
  return ok();
}

Result<Reader::Found> Reader::read_folder(const OpenFolder& folder, const MoveState& move) {
  Found found;
  std::unordered_set<std::string_view> names;
  PairAddress at = folder.pair;
  for (bool more = true; more;) {
    TRY(claim(at.first));
    TRY(claim(at.second));
    TRY(Metadata metadata, fetch(at));
    for (std::size_t id = 0; id < metadata.entries.size(); ++id) {
      const StoredEntry& entry = metadata.entries[id];
      if (move.has_moved(at, id)) continue;
      if (entry.kind && entry.kind != Type::superblock && !names.insert(as_text(entry.name)).second)
        return fail(damaged(fmt::format("'{}{}' is there twice", folder.path, as_text(entry.name)), at.first));
      TRY(take(entry, folder, found));
    }
    at = metadata.tail;
    more = metadata.folder_goes_on && !at.is_null();
  }
  // By name: "a" comes before "a.b", while "a/" would come behind "a.b/".
  auto by_name = [](const auto& a, const auto& b) {
    auto name = [](std::string_view path) { return path.ends_with('/') ? path.substr(0, path.size() - 1) : path; };
    return name(a.path) < name(b.path);
  };
  std::sort(found.files.begin(), found.files.end(), by_name);
  std::sort(found.folders.begin(), found.folders.end(), by_name);
  return found;
}

Result<std::vector<FileOwned>> Reader::read_tree(const Mounted& mounted) {
  used_.assign(mounted.superblock.block_count, false);
  claimed_ = 0;
  path_bytes_ = 0;
  std::vector<FileOwned> out;
  std::vector<OpenFolder> open{{mounted.root, ""}};  // a stack: folders may lie deeper than calls can
  while (!open.empty()) {
    OpenFolder folder = std::move(open.back());
    open.pop_back();
    TRY(Found found, read_folder(folder, mounted.move));
    if (!folder.path.empty()) out.push_back({std::move(folder.path), {}});
    out.insert(out.end(), std::make_move_iterator(found.files.begin()), std::make_move_iterator(found.files.end()));
    open.insert(open.end(), std::make_move_iterator(found.folders.rbegin()),
                std::make_move_iterator(found.folders.rend()));
  }
  return out;
}

/// The block size is in the superblock, and where its second copy lies depends on the block size: so sizes are tried.
std::vector<std::uint32_t> block_sizes_to_try(ByteView image, const LittlefsGeometry& hint) {
  constexpr std::size_t stated_at = revision_size + tag_size + magic.size() + tag_size + 4;
  std::vector<std::uint32_t> sizes{hint.block_size};
  if (image.size() >= stated_at + 4) sizes.push_back(get_u32(image, stated_at));
  for (std::uint32_t size = smallest_block; size <= greatest_block; size *= 2) sizes.push_back(size);
  return sizes;
}

struct Opened {
  Reader reader;
  Mounted mounted;
};

Result<Opened> open(ByteView image, const LittlefsGeometry& hint) {
  if (image.size() > 1_MiB * 1024) return fail(invalid("a LittleFS larger than 1 GiB is not read here"));
  for (std::uint32_t block_size : block_sizes_to_try(image, hint)) {
    if (block_size < smallest_block || block_size > greatest_block || image.size() / block_size < 2) continue;
    Reader reader{image, block_size};
    Result<Metadata> metadata = reader.fetch(superblock_pair);
    if (!metadata) continue;
    std::optional<LittlefsSuperblock> superblock = superblock_in(*metadata);
    if (!superblock || superblock->block_size != block_size) continue;
    TRY(Mounted mounted, reader.mount(std::move(*metadata)));
    return Opened{std::move(reader), mounted};
  }
  return fail(invalid("this is no LittleFS", "its first two blocks hold no superblock",
                      "check that the image begins where the partition begins"));
}

}  // namespace
}  // namespace espmint::littlefs

namespace espmint {

Result<std::vector<FileOwned>> read_littlefs(ByteView image, const LittlefsGeometry& hint) {
  TRY(littlefs::Opened opened, littlefs::open(image, hint));
  return opened.reader.read_tree(opened.mounted);
}

Result<LittlefsSuperblock> read_littlefs_superblock(ByteView image, const LittlefsGeometry& hint) {
  TRY(littlefs::Opened opened, littlefs::open(image, hint));
  return opened.mounted.superblock;
}

}  // namespace espmint
