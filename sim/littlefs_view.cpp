#include "sim/littlefs_view.hpp"

#include <zlib.h>

#include <array>
#include <bit>
#include <deque>
#include <set>

namespace espmint::sim {
namespace {

constexpr std::string_view littlefs_magic = "littlefs";
constexpr std::uint32_t least_block = 128, null_block = 0xffff'ffff;
constexpr std::uint32_t no_id = 0x3ff, no_data = 0x3ff;
constexpr std::uint32_t longest_name = 255, largest_file = 0x7fff'ffff, largest_attribute = 1022;
constexpr std::size_t move_bytes = 12, longest_littlefs_path = 4096;

// Types of tags: 3 bits of kind, 8 of their own.
constexpr unsigned kind_mask = 0x700, kind_name = 0x000, kind_struct = 0x200, kind_splice = 0x400, kind_tail = 0x600,
                   kind_state = 0x700;
constexpr unsigned checksum_mask = 0x780, type_checksum = 0x500;
constexpr unsigned type_file = 0x001, type_folder = 0x002, type_superblock = 0x0ff, type_create = 0x401,
                   type_delete = 0x4ff, type_move = 0x7ff;
constexpr unsigned struct_folder = 0x200, struct_inline = 0x201, struct_list = 0x202;

/// CRC-32 without the inversions at both ends that zlib makes.
std::uint32_t littlefs_crc(std::uint32_t crc, ByteView bytes) {
  return ~static_cast<std::uint32_t>(crc32(~crc, bytes.data(), static_cast<uInt>(bytes.size())));
}

std::uint32_t get_be32(ByteView bytes, std::size_t at) {
  return std::uint32_t{bytes[at]} << 24 | std::uint32_t{bytes[at + 1]} << 16 | std::uint32_t{bytes[at + 2]} << 8 |
         bytes[at + 3];
}

struct Pair {
  std::array<std::uint32_t, 2> blocks{null_block, null_block};
  [[nodiscard]] bool is_null() const { return blocks[0] == null_block && blocks[1] == null_block; }
  [[nodiscard]] bool is(const Pair& other) const {
    return blocks == other.blocks || (blocks[0] == other.blocks[1] && blocks[1] == other.blocks[0]);
  }
};

Pair pair_at(ByteView bytes) { return {{get_u32(bytes, 0), get_u32(bytes, 4)}}; }

struct Listed {
  unsigned type = 0, structure = 0;
  std::string name;
  ByteView data;
  bool has_structure = false;
};

/// A metadata pair as its last whole commit left it.
struct Metadata {
  std::vector<Listed> entries;
  Pair tail;
  bool goes_on = false;                           // the tail is more of this folder, not the next one
  std::array<std::uint8_t, move_bytes> moving{};  // this pair's share of the volume's state
};

struct Tag {
  unsigned type;
  std::uint32_t id, size;
  [[nodiscard]] bool deletes() const { return size == no_data; }
};

void apply(Metadata& to, const Tag& tag, ByteView data) {
  std::vector<Listed>& entries = to.entries;
  switch (tag.type & kind_mask) {
    case kind_name:
      if (tag.id == no_id) return;
      if (tag.id >= entries.size()) entries.resize(tag.id + 1);
      entries[tag.id].type = tag.type;
      entries[tag.id].name = as_text(data);
      return;
    case kind_struct:
      if (tag.id >= entries.size()) return;
      entries[tag.id].structure = tag.type;
      entries[tag.id].data = data;
      entries[tag.id].has_structure = !tag.deletes();
      return;
    case kind_splice:
      if (tag.type == type_create && tag.id <= entries.size())
        entries.insert(entries.begin() + tag.id, Listed{});
      else if (tag.type == type_delete && tag.id < entries.size())
        entries.erase(entries.begin() + tag.id);
      return;
    case kind_tail:
      if (data.size() < 8) return;
      to.goes_on = tag.type & 1;
      to.tail = pair_at(data);
      return;
    case kind_state:
      if (tag.type == type_move && data.size() == move_bytes) std::copy(data.begin(), data.end(), to.moving.begin());
      return;
    default:
      return;  // attributes, and what prepares the next commit's place
  }
}

/// Nothing without one whole commit. Each tag is XORed with the one before; the first bit of what comes out says
/// whether there is one at all.
std::optional<Metadata> replay(ByteView block) {
  std::optional<Metadata> committed;
  Metadata now;
  std::uint32_t crc = littlefs_crc(0xffff'ffff, block.first(4)), before = 0xffff'ffff;
  for (std::size_t at = 4; at + 4 <= block.size();) {
    std::uint32_t bits = get_be32(block, at) ^ before;
    if (bits >> 31) break;
    Tag tag{bits >> 20 & 0x7ff, bits >> 10 & 0x3ff, bits & 0x3ff};
    std::size_t size = tag.deletes() ? 0 : tag.size;
    if (at + 4 + size > block.size()) break;
    ByteView data = block.subspan(at + 4, size);
    crc = littlefs_crc(crc, block.subspan(at, 4));
    before = bits;
    if ((tag.type & checksum_mask) == type_checksum) {
      if (size < 4 || get_u32(data, 0) != crc) break;
      before ^= (tag.type & 1) << 31;  // how the next commit will look
      crc = 0xffff'ffff;
      committed = now;
    } else {
      crc = littlefs_crc(crc, data);
      apply(now, tag, data);
    }
    at += 4 + size;
  }
  return committed;
}

class LittlefsReader {
 public:
  LittlefsReader(ByteView bytes, std::uint32_t block)
      : bytes_(bytes), block_(block), blocks_(static_cast<std::uint32_t>(bytes.size() / block)) {}

  /// Along the thread through every pair, as the driver does: the last superblock is the root.
  bool mounts() {
    Pair at{{0, 1}};
    std::array<std::uint8_t, move_bytes> state{};
    for (std::uint32_t steps = 0; !at.is_null(); ++steps) {
      std::optional<Metadata> metadata = steps <= blocks_ ? fetch(at) : std::nullopt;
      if (!metadata) return false;
      if (!metadata->entries.empty() && metadata->entries[0].type == type_superblock &&
          metadata->entries[0].name == littlefs_magic) {
        if (!take_superblock(metadata->entries[0])) return false;
        root_ = at;
      }
      for (std::size_t i = 0; i < move_bytes; ++i) state[i] ^= metadata->moving[i];
      at = metadata->tail;
    }
    std::uint32_t tag = get_u32(state, 0);
    if ((tag >> 20 & 0x7ff) == type_delete) {
      moved_id_ = tag >> 10 & 0x3ff;
      moved_from_ = pair_at(ByteView{state}.subspan(4));
    }
    return !root_.is_null();
  }

  std::optional<std::vector<StoredFile>> files() {
    folders_.emplace_back(root_, "");
    while (!folders_.empty()) {
      auto [pair, path] = std::move(folders_.front());
      folders_.pop_front();
      if (!scan(pair, path)) return std::nullopt;
    }
    return std::move(files_);
  }
  [[nodiscard]] unsigned version() const { return version_; }
  [[nodiscard]] std::uint32_t blocks() const { return blocks_; }

 private:
  [[nodiscard]] ByteView block(std::uint32_t number) const {
    return bytes_.subspan(std::size_t{number} * block_, block_);
  }

  /// The block with the newer revision, or the other when nothing in it is whole.
  [[nodiscard]] std::optional<Metadata> fetch(const Pair& pair) const {
    auto [a, b] = pair.blocks;
    if (a >= blocks_ || b >= blocks_) return std::nullopt;
    auto newer = static_cast<std::int32_t>(get_u32(block(a), 0) - get_u32(block(b), 0));
    std::optional<Metadata> found = replay(block(newer >= 0 ? a : b));
    return found ? found : replay(block(newer >= 0 ? b : a));
  }

  bool take_superblock(const Listed& entry) {
    if (entry.structure != struct_inline || entry.data.size() < 24) return false;
    auto word = [&entry](std::size_t index) { return get_u32(entry.data, 4 * index); };
    version_ = word(0);
    if (version_ >> 16 != 2 || (version_ & 0xffff) > 1) return false;
    if (word(1) != block_ || word(2) > blocks_) return false;
    blocks_ = word(2);
    return word(3) <= longest_name && word(4) <= largest_file && word(5) <= largest_attribute;
  }

  bool scan(Pair pair, const std::string& path) {
    for (bool more = true; more;) {
      if (!seen_.insert(std::min(pair.blocks[0], pair.blocks[1])).second) return false;
      std::optional<Metadata> metadata = fetch(pair);
      if (!metadata) return false;
      if (moved_id_ < metadata->entries.size() && pair.is(moved_from_))
        metadata->entries.erase(metadata->entries.begin() + moved_id_);
      for (const Listed& entry : metadata->entries)
        if (!list(entry, path + entry.name)) return false;
      more = metadata->goes_on && !metadata->tail.is_null();
      pair = metadata->tail;
    }
    return true;
  }

  bool list(const Listed& entry, std::string name) {
    if (entry.type == type_superblock) return true;
    if (!entry.has_structure || name.size() > longest_littlefs_path) return false;
    if (entry.type == type_folder) {
      if (entry.structure != struct_folder || entry.data.size() < 8) return false;
      folders_.emplace_back(pair_at(entry.data), name + "/");
      return true;
    }
    if (entry.type != type_file) return false;
    std::optional<Bytes> content;
    if (entry.structure == struct_inline)
      content.emplace(entry.data.begin(), entry.data.end());
    else if (entry.structure == struct_list && entry.data.size() >= 8)
      content = read_list(get_u32(entry.data, 0), get_u32(entry.data, 4));
    if (content) files_.push_back({std::move(name), std::move(*content)});
    return content.has_value();
  }

  /// A file's blocks from the last to the first. Block i > 0 begins with pointers, one more than i has zero bits at its
  /// end; the first points to block i - 1.
  [[nodiscard]] std::optional<Bytes> read_list(std::uint32_t head, std::uint32_t size) {
    if (size > bytes_.size() - read_) return std::nullopt;  // blocks that are shared hold only so much
    read_ += size;
    auto pointers = [](std::uint32_t i) {
      return i == 0 ? 0 : 4 * (static_cast<std::size_t>(std::countr_zero(i)) + 1);
    };
    std::uint32_t index = 0;
    std::size_t start = 0;  // of the block's data in the file
    while (size - start > block_ - pointers(index)) start += block_ - pointers(index++);
    Bytes out(size);
    for (std::size_t end = size; end > 0; --index) {
      if (head >= blocks_) return std::nullopt;
      ByteView data = block(head);
      ByteView used = data.subspan(pointers(index), end - start);
      std::copy(used.begin(), used.end(), out.begin() + static_cast<std::ptrdiff_t>(start));
      if (index == 0) break;
      end = start;
      start -= block_ - pointers(index - 1);
      head = get_u32(data, 0);
    }
    return out;
  }

  ByteView bytes_;
  std::uint32_t block_, blocks_;
  unsigned version_ = 0;
  Pair root_, moved_from_;
  std::uint32_t moved_id_ = no_id;
  std::size_t read_ = 0;
  std::deque<std::pair<Pair, std::string>> folders_;  // still to be read
  std::set<std::uint32_t> seen_;
  std::vector<StoredFile> files_;
};

bool is_shape(ByteView partition, std::uint32_t block) {
  return block >= least_block && partition.size() >= 2 * std::size_t{block};
}

}  // namespace

// The magic lies behind the revision and the first tag, as its entry is the first of all.
bool looks_like_littlefs(ByteView partition, std::uint32_t block) {
  if (!is_shape(partition, block)) return false;
  for (std::size_t at : {std::size_t{0}, std::size_t{block}})
    if (as_text(partition.subspan(at + 8, littlefs_magic.size())) == littlefs_magic) return true;
  return false;
}

std::optional<LittlefsVolume> read_littlefs(ByteView partition, std::uint32_t block) {
  if (!is_shape(partition, block)) return std::nullopt;
  LittlefsReader reader{partition, block};
  if (!reader.mounts()) return std::nullopt;
  std::optional<std::vector<StoredFile>> files = reader.files();
  if (!files) return std::nullopt;
  return LittlefsVolume{reader.version() >> 16, reader.version() & 0xffff, reader.blocks(), std::move(*files)};
}

}  // namespace espmint::sim
