#include "image/nvs.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "base/base64.hpp"
#include "base/text.hpp"

namespace espmint {
namespace {

constexpr std::uint32_t active = 0xffff'fffe, full = 0xffff'fffc, freeing = 0xffff'fff8;
constexpr std::uint8_t version_1 = 0xff, version_2 = 0xfe;

std::uint32_t crc(ByteView bytes, std::uint32_t from = 0xffff'ffff) {
  return bytes.empty() ? from : static_cast<std::uint32_t>(crc32(from, bytes.data(), static_cast<uInt>(bytes.size())));
}

/// A page as the firmware writes it, entry after entry.
class Page {
 public:
  explicit Page(std::uint32_t sequence, std::uint32_t state = active, std::uint8_t version = version_2)
      : bytes_(4096, 0xff) {
    set_u32(bytes_, 0, state);
    set_u32(bytes_, 4, sequence);
    bytes_[8] = version;
    set_u32(bytes_, 28, crc(ByteView{bytes_}.subspan(4, 24)));
  }
  /// `data`: the 8 bytes of the entry, filled up with 0xff.
  Page& add(std::uint8_t space, std::uint8_t type, std::string_view key, Bytes data, ByteView value = {},
            std::uint8_t chunk = 0xff) {
    Bytes entry{space, type, static_cast<std::uint8_t>(1 + (value.size() + 31) / 32), chunk, 0, 0, 0, 0};
    append(entry, as_bytes(key));
    entry.resize(24, 0);
    append(entry, data);
    entry.resize(32, 0xff);
    set_u32(entry, 4, crc(ByteView{entry}.subspan(8), crc(ByteView{entry}.first(4))));
    append(entry, value);
    entry.resize((entry.size() + 31) / 32 * 32, 0xff);
    entry.resize(std::min(entry.size(), bytes_.size() - 64 - 32 * next_));  // a span may be impossible
    last_ = next_;
    std::copy(entry.begin(), entry.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(64 + 32 * next_));
    for (std::size_t i = 0; i < entry.size() / 32; ++i) set_state(next_ + i, 2);
    next_ += entry.size() / 32;
    return *this;
  }
  Page& space(std::string_view name, std::uint8_t number) { return add(0, 0x01, name, {number}); }
  Page& u8(std::uint8_t space, std::string_view key, std::uint8_t value) { return add(space, 0x01, key, {value}); }
  Page& bytes(std::uint8_t space, std::uint8_t type, std::string_view key, ByteView value, std::uint8_t chunk = 0xff) {
    Bytes data;
    put_u16(data, static_cast<std::uint16_t>(value.size()));
    put_u16(data, 0xffff);
    put_u32(data, crc(value));
    return add(space, type, key, data, value, chunk);
  }
  Page& string(std::uint8_t space, std::string_view key, std::string_view text) {
    Bytes value = to_bytes(text);
    value.push_back(0);
    return bytes(space, 0x21, key, value);
  }
  Page& blob_index(std::uint8_t space, std::string_view key, std::uint32_t size, std::uint8_t count,
                   std::uint8_t start) {
    Bytes data;
    put_u32(data, size);
    data.push_back(count);
    data.push_back(start);
    return add(space, 0x48, key, data);
  }
  /// Of the entry that was added last (+ `after`).
  Page& erased(std::size_t after = 0) { return set_state(last_ + after, 0); }
  Page& unwritten(std::size_t after = 0) { return set_state(last_ + after, 3); }
  std::uint8_t& byte_of_last(std::size_t at) { return bytes_[64 + 32 * last_ + at]; }
  Bytes bytes_;

 private:
  Page& set_state(std::size_t entry, unsigned state) {
    std::uint8_t& byte = bytes_[32 + entry / 4];
    const std::size_t shift = entry % 4 * 2;
    byte = static_cast<std::uint8_t>((byte & ~(3u << shift)) | state << shift);
    return *this;
  }
  std::size_t next_ = 0, last_ = 0;
};

Bytes partition(std::initializer_list<Page> pages) {
  Bytes out;
  for (const Page& page : pages) append(out, page.bytes_);
  out.resize(out.size() + 4096, 0xff);  // the page that the firmware keeps free
  return out;
}

std::string show(const NvsEntry& entry) {
  std::string out = entry.space + "." + entry.key + "=";
  if (entry.type == NvsType::string) return out + "'" + std::string{as_text(entry.value)} + "'";
  if (entry.type == NvsType::blob) return out + to_hex(entry.value);
  bool is_signed = (static_cast<unsigned>(entry.type) & 0x10) != 0;
  return out + (is_signed ? std::to_string(static_cast<std::int64_t>(entry.number)) : std::to_string(entry.number));
}
using Lines = std::vector<std::string>;

Lines read(ByteView image, Lines* damage = nullptr) {
  Lines out;
  auto entries = read_nvs(image, damage);
  if (!entries) return {describe(entries.error())};
  for (const NvsEntry& entry : *entries) out.push_back(show(entry));
  return out;
}
Lines sound(ByteView image) {
  Lines damage, out = read(image, &damage);
  EXPECT_EQ(damage, Lines{});
  return out;
}

void expect_refused(ByteView image, std::string_view word) {
  auto entries = read_nvs(image);
  ASSERT_FALSE(entries) << word;
  EXPECT_EQ(entries.error().code, Code::image_invalid);
  EXPECT_EQ(entries.error().remedy, Remedy::refuse);
  EXPECT_NE(describe(entries.error()).find(word), std::string::npos) << describe(entries.error());
}

/// The page's first bytes in hex, blanks ignored; the rest is blank flash.
Bytes golden_page(std::string hex) {
  std::erase(hex, ' ');
  Bytes page = from_hex(hex).value();
  page.resize(4096, 0xff);
  return page;
}

TEST(Nvs, ReadsWhatTheReferenceToolWroteInVersion2) {
  // esp_idf_nvs_partition_gen 0.2.0 (67113ed0): namespace ns_0; id u32 0; name string "device 0"; raw hex2bin 0001. Its
  // page cut behind these entries.
  EXPECT_EQ(sound(golden_page("feffffff00000000feffffffffffffffffffffffffffffffffffffff842dbab9"
                              "aaeaffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                              "000101ffc96e016d6e735f3000000000000000000000000001ffffffffffffff"
                              "010401ff59aa99366964000000000000000000000000000000000000ffffffff"
                              "012102ffc9d4dfc16e616d650000000000000000000000000900ffffb44059f3"
                              "646576696365203000ffffffffffffffffffffffffffffffffffffffffffffff"
                              "01420200f03b1c77726177000000000000000000000000000200ffff69cff888"
                              "0001ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                              "014801ff6e8a554d72617700000000000000000000000000020000000100ffff")),
            (Lines{"ns_0.id=0", "ns_0.name='device 0'", "ns_0.raw=0001"}));
}

TEST(Nvs, ReadsWhatTheReferenceToolWroteInVersion1) {
  // The same tool, --version 1: entries of one page, put together.
  EXPECT_EQ(sound(golden_page("feffffff00000000ffffffffffffffffffffffffffffffffffffffffc216dddc"
                              "aaaaeaffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                              "000101ff09a9500773746f7261676500000000000000000001ffffffffffffff"
                              "011101ff94a942d069385f6d696e0000000000000000000080ffffffffffffff"
                              "011201fffb77609f6931365f6d696e0000000000000000000080ffffffffffff"
                              "010801ff68eb12577536345f6d6178000000000000000000ffffffffffffffff"
                              "011801fface3a64d6936345f6d696e0000000000000000000000000000000080"
                              "012102ffd50c49527374725f656d707479000000000000000100ffffffffffff"
                              "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                              "012102ff5d0c3260737472000000000000000000000000001b00ffffdb3a6d0d"
                              "4c6f72656d20697073756d20646f6c6f722073697420616d657400ffffffffff"
                              "014102ffda6cfdaa686578000000000000000000000000000b00ffff65a030be"
                              "0123456789abcdefabcdefffffffffffffffffffffffffffffffffffffffffff")),
            (Lines{"storage.i8_min=-128", "storage.i16_min=-32768", "storage.u64_max=18446744073709551615",
                   "storage.i64_min=-9223372036854775808", "storage.str_empty=''",
                   "storage.str='Lorem ipsum dolor sit amet'", "storage.hex=0123456789abcdefabcdef"}));
}

TEST(Nvs, ABlankPartitionHasNoEntries) {
  EXPECT_EQ(sound(Bytes(12288, 0xff)), Lines{});
  EXPECT_EQ(sound(partition({Page{0}})), Lines{});
}

TEST(Nvs, ReadsPagesInTheOrderOfTheirSequence) {
  EXPECT_EQ(
      sound(partition({Page{7}.u8(1, "c", 3), Page{5, full}.space("n", 1).u8(1, "a", 1), Page{6, full}.u8(1, "b", 2)})),
      (Lines{"n.a=1", "n.b=2", "n.c=3"}));
}

TEST(Nvs, ErasedEntriesAreGone) {
  EXPECT_EQ(sound(partition(
                {Page{0}.space("n", 1).u8(1, "a", 1).erased().u8(1, "a", 2).string(1, "s", "old").erased().erased(1)})),
            (Lines{"n.a=2"}));
}

TEST(Nvs, OfTwoOfANameTheLaterCounts) {
  EXPECT_EQ(
      sound(partition({Page{0}.space("n", 1).u8(1, "a", 1).string(1, "s", "old").u8(1, "a", 2).string(1, "s", "new")})),
      (Lines{"n.a=2", "n.s='new'"}));
  // Power failed while a page was being freed: its entries are already in the next.
  EXPECT_EQ(sound(partition(
                {Page{9}.space("n", 1).u8(1, "a", 1), Page{8, freeing}.space("n", 1).u8(1, "a", 1).u8(1, "b", 2)})),
            (Lines{"n.b=2", "n.a=1"}));
}

TEST(Nvs, TheSameKeyInTwoNamespacesIsTwoEntries) {
  EXPECT_EQ(sound(partition({Page{0}.space("n", 1).space("m", 254).u8(254, "a", 2).u8(1, "a", 1)})),
            (Lines{"m.a=2", "n.a=1"}));
}

TEST(Nvs, PutsABlobTogetherFromItsChunks) {
  const Bytes first(100, 0xaa), second(50, 0xbb);
  Page a = Page{0, full}.space("n", 1).bytes(1, 0x42, "b", first, 0x80);
  Page b = Page{1}.bytes(1, 0x42, "b", second, 0x81).blob_index(1, "b", 150, 2, 0x80);
  EXPECT_EQ(sound(partition({b, a})), Lines{"n.b=" + to_hex(first) + to_hex(second)});
  // The old value's chunks have numbers of the other half.
  b.bytes(1, 0x42, "b", second, 0x00).blob_index(1, "b", 50, 1, 0x00);
  EXPECT_EQ(sound(partition({a, b})), Lines{"n.b=" + to_hex(second)});
  EXPECT_EQ(sound(partition({Page{0}.space("n", 1).blob_index(1, "b", 0, 0, 0)})), Lines{"n.b="});
}

TEST(Nvs, ABlobThatIsNotWholeIsNone) {
  const Bytes part(40, 0xaa);
  for (auto [size, count, start] :
       {std::array{80, 2, 0}, {41, 1, 0}, {39, 1, 0}, {40, 1, 1}, {40, 1, 0x80}, {40, 255, 0}, {40, 0, 0}}) {
    Lines damage;
    Page page = Page{0}.space("n", 1).u8(1, "a", 1).bytes(1, 0x42, "b", part, 0);
    page.blob_index(1, "b", static_cast<std::uint32_t>(size), static_cast<std::uint8_t>(count),
                    static_cast<std::uint8_t>(start));
    EXPECT_EQ(read(partition({page}), &damage), Lines{"n.a=1"});
    EXPECT_EQ(damage, Lines{"page 0: the blob of entry 5 is not whole"});
  }
}

TEST(Nvs, PassesOverDamagedEntriesAndSaysSo) {
  const Page plain = Page{3}.space("n", 1).u8(1, "a", 1).string(1, "s", "words");
  for (std::size_t at = 0; at < 32 + 6; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      Page page = plain;
      page.byte_of_last(at) ^= static_cast<std::uint8_t>(1u << bit);
      page.u8(1, "z", 26);
      Lines damage;
      EXPECT_EQ(read(partition({page}), &damage), (Lines{"n.a=1", "n.z=26"})) << at;
      ASSERT_FALSE(damage.empty());
      EXPECT_EQ(damage[0], at < 32 ? "page 0: the checksum of entry 2 does not fit"
                                   : "page 0: the checksum of the bytes of entry 2 does not fit");
    }
  }
}

TEST(Nvs, PassesOverWhatCannotBe) {
  auto refused = [](const Page& page, std::string_view what) {
    Lines damage;
    EXPECT_EQ(read(partition({page}), &damage), Lines{"n.a=1"}) << what;
    ASSERT_EQ(damage.size(), 1u) << what;
    EXPECT_NE(damage[0].find(what), std::string::npos) << damage[0];
  };
  const Page plain = Page{3}.space("n", 1).u8(1, "a", 1);
  refused(Page{plain}.string(1, "s", "words").unwritten(1), "not written whole");
  refused(Page{plain}.string(1, "s", "words").erased(1), "not written whole");
  refused(Page{plain}.bytes(1, 0x21, "s", as_bytes("no end")), "has no end");
  refused(Page{plain}.bytes(1, 0x21, "s", {}), "has no end");
  refused(Page{plain}.add(1, 0x21, "s", {33, 0, 0xff, 0xff, 0, 0, 0, 0}, Bytes(32, 0)), "claims 33 bytes");
  refused(Page{plain}.u8(1, "", 1), "no key");
  refused(Page{plain}.u8(1, "sixteen_chars_xx", 1), "no key");
  refused(Page{plain}.add(1, 0x03, "t", {1}), "unknown type");
  Page beyond = Page{plain}.add(1, 0x41, "t", {0, 0}, Bytes(4000, 0));
  for (std::size_t i = 1; i < 124; ++i) beyond.erased(i);
  refused(beyond, "impossible span");
  refused(Page{plain}.add(1, 0x01, "t", {1}, Bytes(32, 0xff)).erased(1), "impossible span");
  refused(Page{plain}.u8(2, "t", 1), "namespace without name");
  refused(Page{plain}.space("n", 2), "second number");
  refused(Page{plain}.space("m", 0), "names no namespace");
  refused(Page{plain}.string(0, "m", "x"), "names no namespace");
}

TEST(Nvs, PassesOverDamagedPages) {
  const Page good = Page{3}.space("n", 1).u8(1, "a", 1);
  const Page other = Page{4}.u8(1, "b", 2);
  for (std::size_t at = 4; at < 32; ++at) {
    Page bad = other;
    bad.bytes_[at] ^= 0x10;
    Lines damage;
    EXPECT_EQ(read(partition({good, bad}), &damage), Lines{"n.a=1"});
    EXPECT_EQ(damage, Lines{"page 1: the checksum of its header does not fit"}) << at;
  }
  Lines damage;
  EXPECT_EQ(read(partition({good, Page{4, 0xffff'fff0}.u8(1, "b", 2), Page{5, 0}, Page{6, 0xffff'ffff}}), &damage),
            Lines{"n.a=1"});
  EXPECT_EQ(damage, (Lines{"page 1: its state 0xfffffff0 is none of a page in use",
                           "page 2: its state 0x00000000 is none of a page in use",
                           "page 3: it has no header and is not blank"}));
}

TEST(Nvs, RefusesWhatIsNoPartitionOfItsVersions) {
  expect_refused({}, "not whole pages");
  expect_refused(Bytes(4095, 0xff), "not whole pages");
  expect_refused(Bytes(8192, 0x00), "no page has a sound header");
  expect_refused(partition({Page{0, active, 0xfd}}), "format version 3");
  EXPECT_EQ(sound(partition({Page{0, active, version_1}.space("n", 1).u8(1, "a", 1)})), Lines{"n.a=1"});
}

TEST(Nvs, TellsEncryptedFromDamaged) {
  Page page = Page{0}.space("n", 1).u8(1, "a", 1).string(1, "s", "words");
  Page encrypted = page;
  for (std::size_t at = 64; at < 64 + 4 * 32; ++at) encrypted.bytes_[at] ^= static_cast<std::uint8_t>(at * 167 + 13);
  expect_refused(partition({encrypted}), "is encrypted");
  Page damaged = Page{0}.space("n", 1);
  damaged.byte_of_last(4) ^= 1;
  expect_refused(partition({damaged}), "is damaged");
}

TEST(Nvs, ReadsAnyCutAndAnyFlippedByteWithoutHarm) {
  const Bytes image = partition(
      {Page{0}.space("n", 1).u8(1, "a", 1).bytes(1, 0x42, "b", Bytes(70, 7), 0).blob_index(1, "b", 70, 1, 0)});
  for (std::size_t at = 0; at < 64 + 32 * 8; ++at) {
    for (std::uint8_t value : {0x00, 0x7f, 0x80, 0xff}) {
      Bytes bent = image;
      bent[at] = value;
      (void)read(bent);
    }
  }
  for (std::size_t size = 0; size < image.size(); size += 13) (void)read(ByteView{image}.first(size));
}

// ---- every image of a folder of references: ESPMINT_GOLDEN=… with nvs/<case>/in/*.csv and nvs/<case>/expected.bin

namespace fs = std::filesystem;

Bytes file_bytes(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// The rows of a CSV as the reference tool reads them: quotes, CRLF, comment lines.
std::vector<Lines> rows_of(std::string_view text) {
  std::vector<Lines> rows;
  Lines row{""};
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      row.back() += text[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == ',') {
      row.emplace_back();
    } else if (!quoted && c == '\n') {
      rows.push_back(std::exchange(row, {""}));
    } else if (quoted || c != '\r') {
      row.back() += c;
    }
  }
  if (row != Lines{""}) rows.push_back(row);
  std::erase_if(rows, [](const Lines& r) { return r[0].starts_with('#') || r[0] == "key" || r.size() < 4; });
  return rows;
}

/// An integer's digits; a string in quotes; a blob in hex.
std::string expected_value(const Lines& row, const fs::path& folder) {
  std::string encoding = row[2], value = row[3];
  if (row[1] == "file") value = as_text(file_bytes(folder / value));
  if (encoding == "string") return "'" + value + "'";
  if (encoding == "hex2bin") return to_hex(from_hex(lower(trim(value))).value());
  if (encoding == "base64") return to_hex(from_base64(trim(value)).value());
  if (encoding == "binary") return to_hex(as_bytes(value));
  if (encoding.starts_with(
          "blob_")) {  // "blob_fill(40;0xAA)": so many bytes; "blob_sz_fill": behind a length of 4 bytes
    const std::size_t open = encoding.find('('), mid = encoding.find(';');
    const auto size = static_cast<std::size_t>(*parse_number(encoding.substr(open + 1, mid - open - 1)));
    const auto fill = static_cast<std::uint8_t>(*parse_number(encoding.substr(mid + 1, encoding.size() - mid - 2)));
    Bytes bytes = to_bytes(value), out;
    bytes.resize(size, fill);
    if (encoding.starts_with("blob_sz")) put_u32(out, static_cast<std::uint32_t>(value.size()));
    append(out, bytes);
    return to_hex(out);
  }
  return value;
}

TEST(NvsGolden, EveryReferenceImageReadsAsItsCsv) {
  const char* named = std::getenv("ESPMINT_GOLDEN");
  const std::string beside = ESPMINT_SOURCE_DIR "/../shared/golden";
  const char* golden = named ? named : std::filesystem::exists(beside) ? beside.c_str() : nullptr;
  if (!golden || !fs::is_directory(fs::path{golden} / "nvs"))
    GTEST_SKIP() << "set ESPMINT_GOLDEN to the folder of references";
  int plain = 0, encrypted = 0, decrypted = 0;
  for (const fs::directory_entry& folder : fs::directory_iterator{fs::path{golden} / "nvs"}) {
    const std::string name = folder.path().filename();
    SCOPED_TRACE(name);
    if (!fs::exists(folder.path() / "expected.bin") || name.starts_with("keys-")) continue;
    const Bytes image = file_bytes(folder.path() / "expected.bin");
    if (name.starts_with("enc-")) {
      expect_refused(image, "is encrypted");
      ++encrypted;
      continue;
    }
    std::vector<fs::path> tables;
    for (const auto& file : fs::directory_iterator{folder.path() / "in"})
      if (file.path().extension() == ".csv") tables.push_back(file.path());
    std::sort(tables.begin(), tables.end());
    const Lines seen = sound(image);
    if (tables.empty()) {  // a decrypted image
      expect_refused(file_bytes(folder.path() / "in" / "encrypted.bin"), "is encrypted");
      EXPECT_FALSE(seen.empty());
      ++decrypted;
      continue;
    }
    Lines expected, spaces;
    for (const fs::path& table : tables) {
      const Bytes text = file_bytes(table);
      for (const Lines& row : rows_of(as_text(text))) {
        if (row[1] == "namespace") {
          // A namespace named again gets no second entry, and what follows stays in the one created last.
          if (std::find(spaces.begin(), spaces.end(), row[0]) == spaces.end()) spaces.push_back(row[0]);
        } else {
          expected.push_back(spaces.back() + "." + row[0] + "=" + expected_value(row, table.parent_path()));
        }
      }
    }
    if (name == "wifi-keys") {  // the tool adds three of its own
      EXPECT_EQ(seen.size(), expected.size() + 3);
      for (const std::string& line : expected) EXPECT_EQ(std::count(seen.begin(), seen.end(), line), 1) << line;
    } else {
      EXPECT_EQ(seen, expected);
    }
    ++plain;
  }
  EXPECT_GT(plain, 0);
  RecordProperty("plain", plain);
  RecordProperty("encrypted", encrypted);
  RecordProperty("decrypted", decrypted);
  std::printf("%d images read, %d decrypted, %d encrypted refused\n", plain, decrypted, encrypted);
}

}  // namespace
}  // namespace espmint
