// sim/volumes_for_tests.hpp: small volumes laid out by hand from the formats, and the reference tools' images: what the
// board's readers are tested with.
#pragma once

#include <openssl/evp.h>
#include <zlib.h>

#include <bit>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "sim/digest.hpp"
#include "sim/stored_file.hpp"

namespace espmint::sim {

// --- The reference tools' images ---------------------------------------------------------------------------------

/// Nothing when they are not on this machine. ESPMINT_GOLDEN names another folder.
inline std::optional<std::filesystem::path> golden_folder() {
  const char* named = std::getenv("ESPMINT_GOLDEN");
  std::filesystem::path folder = named ? named : ESPMINT_SOURCE_DIR "/../shared/golden";
  return std::filesystem::exists(folder / "manifest.json") ? std::optional{folder} : std::nullopt;
}

/// A file, unpacked when it is a gzip file.
inline Bytes load_golden(const std::filesystem::path& path) {
  Bytes out(16 * 1024 * 1024);
  gzFile file = gzopen(path.c_str(), "rb");
  int size = file ? gzread(file, out.data(), static_cast<unsigned>(out.size())) : 0;
  if (file) gzclose(file);
  out.resize(static_cast<std::size_t>(std::max(size, 0)));
  return out;
}

inline nlohmann::json golden_cases(const std::filesystem::path& folder) {
  std::ifstream in{folder / "manifest.json"};
  return nlohmann::json::parse(in)["cases"];
}

/// Path to SHA-256, as a manifest's list of files and as a reader gives them.
using Digests = std::map<std::string, std::string>;
inline Digests digests_of(const nlohmann::json& files) {
  Digests out;
  for (const auto& file : files) out[file["path"]] = file["sha256"];
  return out;
}
inline Digests digests_of(const std::vector<StoredFile>& files) {
  Digests out;
  for (const StoredFile& file : files) out[file.name] = to_hex(digest(EVP_sha256(), file.content));
  return out;
}

// --- By hand -----------------------------------------------------------------------------------------------------

inline void put_at(Bytes& into, std::size_t at, ByteView bytes) {
  std::copy(bytes.begin(), bytes.end(), into.begin() + static_cast<std::ptrdiff_t>(at));
}
inline void set_u16(Bytes& into, std::size_t at, std::uint32_t value) {
  into[at] = static_cast<std::uint8_t>(value);
  into[at + 1] = static_cast<std::uint8_t>(value >> 8);
}
inline std::uint32_t plain_crc(ByteView bytes) {
  if (bytes.empty()) return 0xffff'ffff;
  return static_cast<std::uint32_t>(crc32(0xffff'ffff, bytes.data(), static_cast<uInt>(bytes.size())));
}

/// FAT12, a sector a cluster, one table, 16 entries in the root; names up to 26 ASCII characters, all as long ones.
inline Bytes fat_volume(const std::vector<StoredFile>& files, std::uint32_t sectors = 64, std::uint32_t sector = 512) {
  Bytes out(std::size_t{sectors} * sector, 0);
  put_at(out, 0, Bytes{0xeb, 0xfe, 0x90});
  set_u16(out, 11, sector);
  out[13] = 1;
  set_u16(out, 14, 1);
  out[16] = 1;
  std::uint32_t root_entries = std::max(16u * 8, sector / 32);
  set_u16(out, 17, root_entries);
  set_u16(out, 19, sectors);
  out[21] = 0xf8;
  set_u16(out, 22, 1);
  set_u16(out, 510, 0xaa55);
  std::size_t table = sector, root = 2 * std::size_t{sector}, entry = root, data = root + root_entries * 32;
  std::uint32_t next = 2;
  auto link = [&](std::uint32_t from, std::uint32_t to) {
    std::size_t at = table + from + from / 2;
    std::uint32_t pair = get_u16(out, at);
    set_u16(out, at, from & 1 ? (pair & 0x00f) | to << 4 : (pair & 0xf000) | to);
  };
  link(0, 0xff8);
  link(1, 0xfff);
  for (const StoredFile& file : files) {
    std::string short_name = "FILE" + std::to_string(next) + "      ";
    short_name.resize(8);
    short_name += "TXT";
    unsigned sum = 0;
    for (char c : short_name) sum = ((sum >> 1 | sum << 7) + static_cast<std::uint8_t>(c)) & 0xff;
    for (std::size_t piece = (file.name.size() + 12) / 13; piece > 0; --piece, entry += 32) {
      bool is_first = piece * 13 >= file.name.size();
      out[entry] = static_cast<std::uint8_t>(piece | (is_first ? 0x40 : 0));
      out[entry + 11] = 0x0f;
      out[entry + 13] = static_cast<std::uint8_t>(sum);
      std::size_t from = (piece - 1) * 13;
      for (std::size_t place : {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}) {
        std::uint32_t unit = from < file.name.size()    ? static_cast<std::uint8_t>(file.name[from])
                             : from == file.name.size() ? 0u
                                                        : 0xffffu;
        set_u16(out, entry + place, unit);
        ++from;
      }
    }
    put_at(out, entry, as_bytes(short_name));
    out[entry + 11] = 0x20;
    set_u16(out, entry + 26, file.content.empty() ? 0 : next);
    set_u32(out, entry + 28, static_cast<std::uint32_t>(file.content.size()));
    entry += 32;
    for (std::size_t at = 0; at < file.content.size(); at += sector, ++next) {
      ByteView piece = ByteView{file.content}.subspan(at);
      put_at(out, data + (next - 2) * std::size_t{sector}, piece.first(std::min<std::size_t>(piece.size(), sector)));
      link(next, at + sector < file.content.size() ? next + 1 : 0xfff);
    }
  }
  return out;
}

/// Behind wear levelling that has had the dummy sector wander `turns` times through all, and then to place `dummy`.
inline Bytes levelled(ByteView content, std::uint32_t dummy, std::uint32_t turns) {
  std::size_t shown = content.size() / 4096;
  Bytes out((shown + 4) * 4096, 0xff);
  for (std::size_t i = 0; i < shown; ++i) {
    std::size_t at = (shown + i - turns) % shown;
    put_at(out, (at < dummy ? at : at + 1) * 4096, content.subspan(i * 4096, 4096));
  }
  constexpr std::uint32_t device = 0x55aa'1234;
  Bytes state;
  for (std::uint32_t word : {0u, static_cast<std::uint32_t>(shown + 1), turns, 0u, 16u, 4096u, 2u, device})
    put_u32(state, word);
  state.resize(60, 0);
  put_u32(state, plain_crc(state));
  for (std::uint32_t step = 0; step < dummy; ++step) {
    for (std::uint32_t i = 0; i < 4; ++i) {
      Bytes number;
      put_u32(number, device + 4 * step + i);
      put_u32(state, plain_crc(number));
    }
  }
  put_at(out, (shown + 1) * 4096, state);
  put_at(out, (shown + 2) * 4096, state);
  return out;
}

/// A block of a LittleFS metadata pair, commit by commit.
class LittlefsLog {
 public:
  explicit LittlefsLog(std::uint32_t revision) { put_u32(out_, revision); }
  LittlefsLog& tag(unsigned type, unsigned id, ByteView data = {}) {
    put_tag(type, id, data.size());
    append(out_, data);
    return *this;
  }
  LittlefsLog& tag(unsigned type, unsigned id, std::string_view text) { return tag(type, id, as_bytes(text)); }
  /// `flips`: whether the next commit's tags come with their first bit set.
  LittlefsLog& commit(bool flips = false) {
    put_tag(0x500 | (flips ? 1 : 0), 0x3ff, 4);
    put_u32(out_, ~static_cast<std::uint32_t>(crc32(0, out_.data() + begun_, static_cast<uInt>(out_.size() - begun_))));
    begun_ = out_.size();
    if (flips) before_ ^= 0x8000'0000;
    return *this;
  }
  [[nodiscard]] const Bytes& bytes() const { return out_; }

 private:
  void put_tag(unsigned type, unsigned id, std::size_t size) {
    std::uint32_t tag = type << 20 | id << 10 | static_cast<std::uint32_t>(size);
    for (int shift = 24; shift >= 0; shift -= 8) out_.push_back(static_cast<std::uint8_t>((tag ^ before_) >> shift));
    before_ = tag;
  }
  Bytes out_;
  std::uint32_t before_ = 0xffff'ffff;
  std::size_t begun_ = 0;
};

inline Bytes u32s(std::initializer_list<std::uint32_t> values) {
  Bytes out;
  for (std::uint32_t value : values) put_u32(out, value);
  return out;
}

/// LittleFS 2.1, everything in the root: up to 500 B inline, more as a list of blocks.
inline Bytes littlefs_volume(const std::vector<StoredFile>& files, std::uint32_t blocks = 16) {
  constexpr std::uint32_t block = 4096;
  Bytes out(std::size_t{blocks} * block, 0xff);
  LittlefsLog log{1};
  log.tag(0x0ff, 0, "littlefs").tag(0x201, 0, u32s({0x0002'0001, block, blocks, 255, 0x7fff'ffff, 1022}));
  std::uint32_t next = 2;
  unsigned id = 1;
  for (const StoredFile& file : files) {
    log.tag(0x401, id).tag(0x001, id, file.name);
    if (file.content.size() <= 500) {
      log.tag(0x201, id++, file.content);
      continue;
    }
    std::vector<std::uint32_t> made;
    for (std::size_t at = 0; at < file.content.size(); ++next) {
      Bytes bytes;
      auto index = static_cast<std::uint32_t>(made.size());
      for (int i = 0; index > 0 && i <= std::countr_zero(index); ++i) put_u32(bytes, made[index - (1u << i)]);
      ByteView rest = ByteView{file.content}.subspan(at);
      rest = rest.first(std::min<std::size_t>(rest.size(), block - bytes.size()));
      append(bytes, rest);
      at += rest.size();
      put_at(out, std::size_t{next} * block, bytes);
      made.push_back(next);
    }
    log.tag(0x202, id++, u32s({made.back(), static_cast<std::uint32_t>(file.content.size())}));
  }
  log.commit();
  put_at(out, 0, log.bytes());
  return out;
}

/// NVS of version 2 (or 1), one namespace, pages of entries: strings, blobs (cut at 1000 B, so that they have chunks),
/// and u8.
inline Bytes nvs_partition(std::string_view name_space, const std::vector<StoredFile>& entries, std::size_t pages = 4,
                           int version = 2) {
  Bytes out(pages * 4096, 0xff);
  std::size_t page = 0, used = 0;
  auto open = [&] {
    set_u32(out, page * 4096, 0xffff'fffe);
    set_u32(out, page * 4096 + 4, static_cast<std::uint32_t>(page));
    out[page * 4096 + 8] = version == 2 ? 0xfe : 0xff;
    set_u32(out, page * 4096 + 28, plain_crc(ByteView{out}.subspan(page * 4096 + 4, 24)));
  };
  open();
  auto put = [&](std::uint8_t space, std::uint8_t type, std::string_view key, std::uint8_t chunk, Bytes value,
                 ByteView data) {
    std::size_t span = 1 + (data.size() + 31) / 32;
    if (used + span > 126) {
      ++page, used = 0;
      open();
    }
    Bytes entry{space, type, static_cast<std::uint8_t>(span), chunk};
    entry.resize(8, 0xff);
    append(entry, as_bytes(key));
    entry.resize(24, 0);
    append(entry, value);
    entry.resize(32, 0xff);
    Bytes covered{entry.begin(), entry.begin() + 4};
    append(covered, ByteView{entry}.subspan(8));
    set_u32(entry, 4, plain_crc(covered));
    std::size_t at = page * 4096 + 64 + used * 32;
    put_at(out, at, entry);
    put_at(out, at + 32, data);
    for (std::size_t i = used; i < used + span; ++i) {
      std::uint8_t& bits = out[page * 4096 + 32 + i / 4];
      bits = static_cast<std::uint8_t>(bits & ~(1u << 2 * (i % 4)));
    }
    used += span;
  };
  auto sized = [](ByteView data) {
    Bytes value;
    put_u16(value, static_cast<std::uint16_t>(data.size()));
    put_u16(value, 0xffff);
    put_u32(value, plain_crc(data));
    return value;
  };
  put(0, 0x01, name_space, 0xff, {1}, {});
  for (const StoredFile& entry : entries) {
    if (entry.type == "u8") {
      put(1, 0x01, entry.name, 0xff, entry.content, {});
    } else if (entry.type == "string") {
      Bytes text = entry.content;
      text.push_back(0);
      put(1, 0x21, entry.name, 0xff, sized(text), text);
    } else if (version == 1) {
      put(1, 0x41, entry.name, 0xff, sized(entry.content), entry.content);
    } else {
      std::uint8_t chunks = 0;
      for (std::size_t at = 0; at < entry.content.size(); at += 1000, ++chunks) {
        ByteView piece = ByteView{entry.content}.subspan(at);
        piece = piece.first(std::min<std::size_t>(piece.size(), 1000));
        put(1, 0x42, entry.name, chunks, sized(piece), piece);
      }
      Bytes index = u32s({static_cast<std::uint32_t>(entry.content.size())});
      append(index, Bytes{chunks, 0});
      put(1, 0x48, entry.name, 0xff, index, {});
    }
  }
  return out;
}

/// Its written entries under XTS-AES-256, each by its place in the partition.
inline Bytes nvs_encrypted(const Bytes& clear, ByteView keys) {
  Bytes out = clear;
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  for (std::size_t at = 0; at < out.size(); at += 32) {
    std::size_t page = at / 4096 * 4096, number = (at - page) / 32;
    if (number < 2 || (out[page + 32 + (number - 2) / 4] >> 2 * ((number - 2) % 4) & 3) != 2) continue;
    Bytes place = u32s({static_cast<std::uint32_t>(at), 0, 0, 0});
    int length = 0;
    EVP_EncryptInit_ex(context, EVP_aes_256_xts(), nullptr, keys.data(), place.data());
    EVP_EncryptUpdate(context, out.data() + at, &length, clear.data() + at, 32);
  }
  EVP_CIPHER_CTX_free(context);
  return out;
}

/// Bytes that compress to nothing known and say where they are.
inline Bytes pattern(std::size_t size, unsigned seed = 1) {
  Bytes out;
  for (std::size_t i = 0; i < size; ++i) out.push_back(static_cast<std::uint8_t>((i * 7 + i / 251 + seed) & 0xff));
  return out;
}

}  // namespace espmint::sim
