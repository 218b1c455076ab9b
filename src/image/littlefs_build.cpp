#include <deque>
#include <map>

#include "base/text.hpp"
#include "image/littlefs.hpp"
#include "image/littlefs_layout.hpp"

namespace espmint::littlefs {
namespace {

// The C library's own limits, as a fresh file system states them.
constexpr std::uint32_t disk_version = 0x0002'0001;
constexpr std::uint32_t greatest_file = 0x7fff'ffff, greatest_attribute = 1022, greatest_name = 1022;  // bytes
constexpr std::uint32_t entries_in_a_pair = 254;
// Kept free in each block, so that the firmware can write it again: revision and CRC, tail, move state.
constexpr std::uint32_t reserve = revision_size + tag_size + crc_size + (tag_size + 8) + (tag_size + 12);
// Files up to this lie beside their names: the C library's bound, and the cache of ESP-IDF's component (512 bytes).
constexpr std::uint32_t greatest_inline = 512;

std::uint32_t inline_max(std::uint32_t block_size) { return std::min(block_size / 8, greatest_inline); }

/// Commits end on this boundary. A firmware that writes in larger units starts a new block at its first change.
std::uint32_t write_unit(std::uint32_t block_size) { return std::min(block_size / 8, 128u); }

/// The order in which the C library looks: by byte value, but "ab" before "a". In another order it does not find a file
/// whose folder has several pairs.
struct LibraryOrder {
  bool operator()(std::string_view a, std::string_view b) const {
    std::size_t common = std::min(a.size(), b.size());
    if (int order = std::memcmp(a.data(), b.data(), common); order != 0) return order < 0;
    return a.size() > b.size();
  }
};

struct Entry {
  std::string_view name;
  const FileView* file = nullptr;  // nullptr: a folder
  std::size_t folder = 0;          // its number
  std::uint32_t block = 0;         // where it begins: a file's first block, a folder's first pair
};

struct Folder {
  std::string_view path;
  std::map<std::string_view, Entry, LibraryOrder> entries;
};

/// A part of a folder: what one metadata block holds.
struct Pair {
  std::size_t folder = 0;
  std::vector<Entry*> entries;
  std::uint32_t block = 0;  // and the one behind it
};

Result<void> check_name(std::string_view name, std::string_view path, const LittlefsGeometry& geometry) {
  if (name.empty() || name == "." || name == ".." || name.find('\0') != std::string_view::npos)
    return fail(invalid(fmt::format("LittleFS cannot hold a file named '{}'", path)));
  if (name.size() > geometry.name_max)
    return fail(invalid(fmt::format("the name '{}' is longer than {} bytes", name, geometry.name_max),
                        fmt::format("{} bytes", name.size()), "shorten it, or raise the firmware's LFS_NAME_MAX"));
  if (std::size_t needed = 2 * tag_size + 8 + name.size(); needed > geometry.block_size - reserve)
    return fail(invalid(fmt::format("the name '{}' does not fit a block of {} bytes", name, geometry.block_size)));
  return ok();
}

/// Folder 0 is the root. The views point into `files`; a deque, because pairs will point at its entries.
Result<std::deque<Folder>> folders_of(std::span<const FileView> files, const LittlefsGeometry& geometry) {
  std::deque<Folder> folders(1);
  for (const FileView& file : files) {
    std::string_view path = file.path;
    if (file.is_folder()) path.remove_suffix(1);
    std::size_t folder = 0;
    for (std::size_t at = 0; at <= path.size();) {
      std::size_t slash = std::min(path.find('/', at), path.size());
      std::string_view name = path.substr(at, slash - at);
      TRY(check_name(name, file.path, geometry));
      const bool wants_folder = slash < path.size() || file.is_folder();
      auto [entry, is_new] = folders[folder].entries.try_emplace(name, Entry{.name = name});
      // A folder that its files have made already may still be named.
      if (!is_new && (!wants_folder || entry->second.file != nullptr))
        return fail(invalid(fmt::format("'{}' is given twice", path.substr(0, slash))));
      if (is_new && !wants_folder) entry->second.file = &file;
      if (is_new && wants_folder) {
        entry->second.folder = folders.size();
        folders.push_back({.path = path.substr(0, slash), .entries = {}});
      }
      folder = entry->second.folder;
      at = slash + 1;
    }
    if (file.content.size() > greatest_file)
      return fail(invalid(fmt::format("'{}' is too large for LittleFS", file.path)));
    if (file.is_folder() && !file.content.empty())
      return fail(invalid(fmt::format("the folder '{}' has a content", file.path)));
  }
  return folders;
}

bool is_inline(const Entry& entry, std::uint32_t block_size) {
  if (entry.file == nullptr) return false;
  std::size_t size = entry.file->content.size();
  return size <= inline_max(block_size) && 2 * tag_size + entry.name.size() + size <= block_size - reserve;
}

std::size_t size_in_metadata(const Entry& entry, std::uint32_t block_size) {
  return 2 * tag_size + entry.name.size() + (is_inline(entry, block_size) ? entry.file->content.size() : 8);
}

/// Each folder's entries in as few pairs as `limit` bytes a pair allow, folder after folder.
std::vector<Pair> pairs_of(std::deque<Folder>& folders, std::uint32_t block_size, std::uint32_t limit) {
  std::vector<Pair> pairs;
  for (std::size_t folder = 0; folder < folders.size(); ++folder) {
    pairs.push_back({.folder = folder, .entries = {}});
    std::size_t used = folder == 0 ? 2 * tag_size + magic.size() + superblock_size : 0;
    for (auto& [name, entry] : folders[folder].entries) {
      std::size_t size = size_in_metadata(entry, block_size);
      if (used != 0 && (used + size > limit || pairs.back().entries.size() == entries_in_a_pair)) {
        pairs.push_back({.folder = folder, .entries = {}});
        used = 0;
      }
      pairs.back().entries.push_back(&entry);
      used += size;
    }
  }
  return pairs;
}

Fault no_room(std::string_view path, std::uint64_t size, std::uint64_t needed, std::uint64_t blocks) {
  return Fault{.code = Code::image_no_space,
               .remedy = Remedy::refuse,
               .what = fmt::format("'{}' does not fit into a LittleFS of {}", path, show_bytes(size)),
               .seen = fmt::format("it would end in block {} of {}", needed, blocks),
               .advice = "enlarge the partition or leave files out"};
}

/// Gives each pair two blocks and each file that is not inline its own, from block 0 on.
Result<void> place(std::deque<Folder>& folders, std::vector<Pair>& pairs, std::uint64_t size,
                   std::uint32_t block_size) {
  std::uint64_t blocks = size / block_size, next = 0;
  std::vector<std::uint32_t> first_pair(folders.size(), null_block);
  for (Pair& pair : pairs) {
    if (next + 2 > blocks) return fail(no_room(fmt::format("{}/", folders[pair.folder].path), size, next + 2, blocks));
    pair.block = static_cast<std::uint32_t>(next);
    if (first_pair[pair.folder] == null_block) first_pair[pair.folder] = pair.block;
    next += 2;
  }
  for (Pair& pair : pairs) {
    for (Entry* entry : pair.entries) {
      entry->block = static_cast<std::uint32_t>(next);
      if (entry->file == nullptr) {
        entry->block = first_pair[entry->folder];
      } else if (!is_inline(*entry, block_size)) {
        next += skip_list_of(static_cast<std::uint32_t>(entry->file->content.size()), block_size).blocks;
        if (next > blocks) return fail(no_room(entry->file->path, size, next, blocks));
      }
    }
  }
  return ok();
}

/// One metadata block with one commit.
class Commit {
 public:
  explicit Commit(ByteSpan block) : block_(block) {
    // The pair's other block is erased: its revision reads as -1, so any from 0 on is the newer.
    put_word(1);
  }

  void add(const Tag& tag, ByteView data) {
    put_tag(tag);
    put(data);
  }
  void add(const Tag& tag, std::initializer_list<std::uint32_t> words) {
    put_tag(tag);
    for (std::uint32_t word : words) put_word(word);
  }

  /// Checksums: of what lies before, and (forward) of the erased bytes behind, by which a firmware knows that it may go
  /// on writing there.
  void finish(std::uint32_t unit) {
    constexpr std::uint32_t checksums = tag_size + 8 + tag_size + crc_size;
    auto size = static_cast<std::uint32_t>(block_.size());
    std::uint32_t end = (std::min(at_ + checksums, size) + unit - 1) / unit * unit;
    if (end + unit <= size) add({Type::forward_crc, no_id, 8}, {unit, crc_of(block_.subspan(end, unit))});
    put_tag({Type::crc, no_id, static_cast<std::uint16_t>(end - at_ - tag_size)});
    set_u32(block_, at_, crc_);  // what follows to `end` stays erased and is in no checksum
  }

 private:
  void put(ByteView data) {
    std::copy(data.begin(), data.end(), block_.begin() + at_);
    crc_ = crc_of(data, crc_);
    at_ += static_cast<std::uint32_t>(data.size());
  }
  void put_word(std::uint32_t word) {
    std::uint8_t bytes[4];
    set_u32(bytes, 0, word);
    put(bytes);
  }
  void put_tag(const Tag& tag) {
    std::uint32_t word = word_of(tag) ^ previous_;
    previous_ = word_of(tag);
    put_word(word << 24 | (word & 0xff00) << 8 | (word >> 8 & 0xff00) | word >> 24);
  }

  ByteSpan block_;
  std::uint32_t at_ = 0;
  std::uint32_t crc_ = 0xffff'ffff;
  std::uint32_t previous_ = before_first_tag;
};

class Image {
 public:
  Image(std::uint64_t size, const LittlefsGeometry& geometry) : geometry_(geometry), bytes_(size, 0xff) {}

  void write_pair(const Pair& pair, const Pair* next) {
    Commit commit{block(pair.block)};
    std::uint16_t id = 0;
    if (pair.block == superblock_pair.first) {
      commit.add({Type::superblock, id, magic.size()}, as_bytes(magic));
      commit.add({Type::inline_struct, id++, superblock_size},
                 {disk_version, geometry_.block_size, static_cast<std::uint32_t>(bytes_.size() / geometry_.block_size),
                  geometry_.name_max, greatest_file, greatest_attribute});
    }
    for (const Entry* entry : pair.entries) add_entry(commit, *entry, id++);
    if (next != nullptr)
      commit.add({next->folder == pair.folder ? Type::hard_tail : Type::soft_tail, no_id, 8},
                 {next->block, next->block + 1});
    commit.finish(write_unit(geometry_.block_size));
  }

  void write_skip_list(const Entry& entry) {
    ByteView rest = entry.file->content;
    for (std::uint32_t n = 0; !rest.empty(); ++n) {
      ByteSpan out = block(entry.block + n);
      std::uint32_t pointers = pointers_in(n);
      for (std::uint32_t i = 0; i < pointers; ++i) set_u32(out, std::size_t{i} * 4, entry.block + n - (1u << i));
      std::size_t length = std::min<std::size_t>(rest.size(), room_in(n, geometry_.block_size));
      std::copy_n(rest.begin(), length, out.begin() + std::size_t{pointers} * 4);
      rest = rest.subspan(length);
    }
  }

  Bytes finish() { return std::move(bytes_); }

 private:
  ByteSpan block(std::uint32_t number) {
    return ByteSpan{bytes_}.subspan(std::size_t{number} * geometry_.block_size, geometry_.block_size);
  }

  void add_entry(Commit& commit, const Entry& entry, std::uint16_t id) const {
    commit.add({entry.file == nullptr ? Type::folder : Type::file, id, static_cast<std::uint16_t>(entry.name.size())},
               as_bytes(entry.name));
    if (entry.file == nullptr) {
      commit.add({Type::folder_struct, id, 8}, {entry.block, entry.block + 1});
    } else if (is_inline(entry, geometry_.block_size)) {
      commit.add({Type::inline_struct, id, static_cast<std::uint16_t>(entry.file->content.size())},
                 entry.file->content);
    } else {
      auto size = static_cast<std::uint32_t>(entry.file->content.size());
      std::uint32_t head = entry.block + skip_list_of(size, geometry_.block_size).blocks - 1;
      commit.add({Type::skip_list_struct, id, 8}, {head, size});
    }
  }

  const LittlefsGeometry& geometry_;
  Bytes bytes_;
};

Result<void> check_geometry(std::uint64_t size, const LittlefsGeometry& geometry) {
  if (!std::has_single_bit(geometry.block_size) || geometry.block_size < smallest_block ||
      geometry.block_size > greatest_block)
    return fail(invalid(fmt::format("LittleFS block size {} is not a power of two from {} to {}", geometry.block_size,
                                    smallest_block, greatest_block)));
  if (geometry.name_max == 0 || geometry.name_max > greatest_name)
    return fail(
        invalid(fmt::format("LittleFS names have at most 1 to {} bytes, not {}", greatest_name, geometry.name_max)));
  if (size % geometry.block_size != 0 || size / geometry.block_size < 2)
    return fail(invalid(fmt::format("LittleFS size {} is not a multiple, at least twice, of the block size {}", size,
                                    geometry.block_size),
                        {}, "give the partition's size, or the firmware's block size"));
  if (size > 1_MiB * 1024) return fail(invalid(fmt::format("LittleFS size {} is larger than 1 GiB", size)));
  return ok();
}

Result<Bytes> build(std::uint64_t size, const LittlefsGeometry& geometry, std::span<const FileView> files) {
  TRY(check_geometry(size, geometry));
  TRY(std::deque<Folder> folders, folders_of(files, geometry));
  // As the C library does: half a block for a folder's part, or each change of the firmware would rewrite it; full ones
  // only where the partition would be too small otherwise.
  const std::uint32_t full = geometry.block_size - reserve;
  std::vector<Pair> pairs = pairs_of(folders, geometry.block_size, std::min(full, geometry.block_size / 2));
  if (!place(folders, pairs, size, geometry.block_size)) {
    pairs = pairs_of(folders, geometry.block_size, full);
    TRY(place(folders, pairs, size, geometry.block_size));
  }
  Image image{size, geometry};
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    image.write_pair(pairs[i], i + 1 < pairs.size() ? &pairs[i + 1] : nullptr);
    for (const Entry* entry : pairs[i].entries)
      if (entry->file != nullptr && !is_inline(*entry, geometry.block_size)) image.write_skip_list(*entry);
  }
  return image.finish();
}

}  // namespace
}  // namespace espmint::littlefs

namespace espmint {

Result<Bytes> build_littlefs(ByteCount size, const LittlefsGeometry& geometry, std::span<const FileView> files) {
  return littlefs::build(size, geometry, files);
}

}  // namespace espmint
