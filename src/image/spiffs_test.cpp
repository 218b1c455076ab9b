#include "image/spiffs.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "base/hash.hpp"
#include "image/extracted_name.hpp"
#include "image/spiffs_layout.hpp"

namespace espmint {
namespace {

Bytes content(std::size_t size, std::size_t seed) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + (i >> 8) * 13 + seed * 31);
  return out;
}

struct NamedSize {
  std::string path;
  std::size_t size;
};

/// Files with deterministic content, kept alive beside the views of them.
struct Files {
  std::vector<FileOwned> owned;
  std::vector<FileView> views;
  explicit Files(const std::vector<NamedSize>& list) {
    for (const NamedSize& entry : list) owned.push_back({entry.path, content(entry.size, owned.size())});
    for (const FileOwned& file : owned) views.push_back({file.path, file.content});
  }
};

void expect_same(const std::vector<FileOwned>& expected, const std::vector<FileOwned>& seen) {
  ASSERT_EQ(expected.size(), seen.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(expected[i].path, seen[i].path);
    EXPECT_TRUE(expected[i].content == seen[i].content) << expected[i].path;
  }
}

struct GoldenCase {
  std::string what;
  ByteCount size;
  SpiffsGeometry geometry;
  std::vector<NamedSize> files;
  std::string sha256;
};

// SHA-256 of what spiffsgen.py of ESP-IDF v5.4-dev (d7ca8b94) makes of the same files, options and order.
const std::vector<GoldenCase>& golden_cases() {
  static const std::vector<GoldenCase> cases{
      {"nothing", 65536, {}, {}, "5b9023fc696cca8f2ae60dc8dda8621ec3f12518fc7a3f36a306d26714841746"},
      {"three certificate-sized files",
       0xf0000,
       {},
       {{"aws-root-ca.pem", 1188}, {"certificate.pem.crt", 1224}, {"private.pem.key", 1679}},
       "add4442f6b12b2fbd15372e68536c853d350dba6c1c92cc80e0a5e04868ddb94"},
      {"nothing without magic",
       65536,
       {.magic = false},
       {},
       "71189f7fb6aed638640078fba3a35fda6c39c8962e74dcc75935aac948da9063"},
      {"an empty file",
       65536,
       {},
       {{"empty.txt", 0}},
       "fcb1abe178276f506019406e6b9506553fc5dceb68a64a3eed612eb2b155fe55"},
      {"one page less one, one page, one page and one",
       65536,
       {},
       {{"a", 250}, {"b", 251}, {"c", 252}},
       "586ff00db5c94ece77931db32c23ee37ed0c306c1c93500cd572439631b46a85"},
      {"the first index page full, then one more page",
       131072,
       {},
       {{"a", 25853}, {"b", 25854}},
       "c9034c422c0e8af0bc22b56fb7459e0728fd9364dcf534d027e9e76c1a7c0aee"},
      {"three index pages",
       262144,
       {},
       {{"big.bin", 72054}, {"small", 3}},
       "e8d2d0f3e4f7d256eb787f6ebd00207eb25ea18e25b57cb926480d10b4b065cc"},
      {"names of every byte",
       65536,
       {},
       {{std::string(31, 'n'), 5}, {"d/" + std::string(29, 'm'), 6}},
       "58b0a2468f3b7ad1d46c6e1e6324a71a1ef7c19c3fc0f85eaf3f6fac9d96bc70"},
      {"pages of 512 in blocks of 8192",
       65536,
       {.page_size = 512, .block_size = 8192},
       {{"a", 1000}, {"b/c", 5000}},
       "b65087cf8e550243c3824f1e504e248f34fefe771df56d8b0d4e362b681b397b"},
      {"pages of 128",
       65536,
       {.page_size = 128},
       {{"a", 1000}, {"b/c", 5000}},
       "8324ed09ffe8b0c7c31d83fa802246a07be78040549fdc0cd8fbc4ed83e661ed"},
      {"two lookup pages",
       262144,
       {.block_size = 65536},
       {{"a", 40000}, {"b", 40000}},
       "9721113cedd860f90861b672919cc2bd0b5aec6531624d44cb41c74f897047b2"},
      {"no room for magic beside the ids",
       65536,
       {.block_size = 32768},
       {{"a", 26000}, {"b", 100}},
       "3dd91534f95d3c6ffec8bffc0b2aac9dc1a8bf9e2897050e1998e16e9ea12b77"},
      {"magic without length",
       65536,
       {.magic_length = false},
       {{"a", 1000}, {"b", 300}},
       "8d7df7e85f00f40189eadc4d3cec54a9708da36413891613435b2ced2975a52a"},
      {"no magic",
       65536,
       {.magic = false},
       {{"a", 1000}, {"b", 300}},
       "c5e6c69e5460d4b59a984c63a994a64def4a34fe0fce95cee7fbcb1b76f87291"},
      {"big endian",
       65536,
       {.big_endian = true},
       {{"a", 1000}, {"b", 30000}},
       "8a79ef2d254ba25a6854ce09a9f5096d998a1e0f60f9b56e28bc1376c43e28bd"},
      {"aligned tables",
       65536,
       {.aligned_index_tables = true},
       {{"a", 1000}, {"b", 30000}},
       "66fedb06a6cf371604de658c7df4c457aa7d0a817fecfd84b038b6634baf3282"},
      {"odd metadata, aligned",
       65536,
       {.name_length = 33, .meta_length = 7, .aligned_index_tables = true},
       {{"a", 1000}, {"b", 30000}},
       "8092f4436a7a6c18b871442060b24d35369b5712cb107e2f75fc48727ab57056"},
      {"long names, no metadata",
       65536,
       {.name_length = 64, .meta_length = 0},
       {{std::string(50, 'x'), 1000}},
       "f092959698d960d655321a1f322c1f7980b48ee4b5365255195556a90cc00111"},
      {"every page used",
       16384,
       {},
       {{"fill", 14809}},
       "df4df7ce5208ec28bac8319af7bbde30e736a85dede9de902cb838544a1cb923"},
      {"pages in which one number fits the first index",
       8192,
       {.page_size = 64, .block_size = 1024, .meta_length = 16},
       {{"a", 531}, {"b", 60}},
       "4f98943aa312179860134c6db18a4d4318e21e7cd71ed049e44fc4f5b3a356ea"},
  };
  return cases;
}

TEST(Spiffs, BuildsWhatTheReferenceGeneratorBuilds) {
  for (const GoldenCase& golden : golden_cases()) {
    SCOPED_TRACE(golden.what);
    Files files{golden.files};
    Result<Bytes> image = build_spiffs(golden.size, golden.geometry, files.views);
    ASSERT_TRUE(image) << describe(image.error());
    EXPECT_EQ(image->size(), golden.size);
    EXPECT_EQ(to_hex(sha256_of(*image)), golden.sha256);
  }
}

TEST(Spiffs, ReadsBackWhatItBuilt) {
  for (const GoldenCase& golden : golden_cases()) {
    SCOPED_TRACE(golden.what);
    Files files{golden.files};
    Bytes image = build_spiffs(golden.size, golden.geometry, files.views).value();
    Result<std::vector<FileOwned>> seen = read_spiffs(image, golden.geometry);
    ASSERT_TRUE(seen) << describe(seen.error());
    expect_same(files.owned, *seen);
  }
}

TEST(Spiffs, FindsAGeometryByWhichTheImageReadsWhole) {
  for (const GoldenCase& golden : golden_cases()) {
    SCOPED_TRACE(golden.what);
    Files files{golden.files};
    Bytes image = build_spiffs(golden.size, golden.geometry, files.views).value();
    SpiffsGeometry hint;
    hint.block_size = golden.geometry.block_size;
    std::optional<SpiffsGeometry> found = detect_spiffs_geometry(image, hint);
    ASSERT_EQ(found.has_value(), !golden.files.empty());
    if (found) expect_same(files.owned, read_spiffs(image, *found).value());
    EXPECT_EQ(detect_spiffs_geometry(image, golden.geometry).has_value(), !golden.files.empty());
  }
}

TEST(Spiffs, FindsNoGeometryInWhatIsNoFileSystem) {
  EXPECT_FALSE(detect_spiffs_geometry({}));
  EXPECT_FALSE(detect_spiffs_geometry(Bytes(65536, 0xff)));
  EXPECT_FALSE(detect_spiffs_geometry(Bytes(65536, 0x00)));
  EXPECT_FALSE(detect_spiffs_geometry(content(65536, 3)));
}

Code code_of(ByteCount size, const SpiffsGeometry& geometry, const std::vector<NamedSize>& list) {
  Files files{list};
  Result<Bytes> image = build_spiffs(size, geometry, files.views);
  if (image) return Code::internal;
  EXPECT_EQ(image.error().remedy, Remedy::refuse);
  return image.error().code;
}

TEST(Spiffs, RefusesGeometriesThatSpiffsCannotHave) {
  EXPECT_EQ(code_of(65536, {.page_size = 0}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.page_size = 300}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.page_size = 65536, .block_size = 65536}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.block_size = 4000}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.block_size = 0}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.name_length = 300}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.name_length = 0xffff'ffff, .meta_length = 0xffff'ffff}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(65536 + 256, {}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(0, {}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(~ByteCount{0} - 4095, {}, {}), Code::image_invalid);
}

TEST(Spiffs, RefusesNamesThatSpiffsCannotHold) {
  EXPECT_EQ(code_of(65536, {}, {{std::string(32, 'n'), 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {}, {{"", 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {}, {{"/a", 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {}, {{std::string("a\0b", 3), 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {}, {{"a", 1}, {"a", 2}}), Code::image_invalid);
}

TEST(Spiffs, CountsTheBytesOfANameNotItsCharacters) {
  // The reference counts characters and shifts the table of pages by the rest: no firmware reads such a file.
  Files files{{{"schl\xc3\xbcssel", 700}}};
  Bytes image = build_spiffs(65536, {}, files.views).value();
  expect_same(files.owned, read_spiffs(image, {}).value());
}

TEST(Spiffs, LeavesNamesThatLeadElsewhereToTheExtraction) {
  // To SPIFFS they are names like others; a folder on this machine must not believe them.
  Files files{{{"../../.ssh/authorized_keys", 5}, {"a\xff\xfe", 6}}};
  Bytes image = build_spiffs(65536, {}, files.views).value();
  std::vector<FileOwned> seen = read_spiffs(image, {}).value();
  expect_same(files.owned, seen);
  EXPECT_FALSE(check_extracted_names(std::vector<std::string>{seen[0].path}));
  EXPECT_TRUE(check_extracted_names(std::vector<std::string>{seen[1].path}));
}

TEST(Spiffs, NamesTheFileThatFoundNoRoom) {
  Files files{{{"fits", 1000}, {"does-not", 60000}}};
  Result<Bytes> image = build_spiffs(32768, {}, files.views);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, Code::image_no_space);
  EXPECT_NE(image.error().what.find("does-not"), std::string::npos);
  EXPECT_EQ(code_of(16384, {}, {{"fill", 251 * 59 + 1}}), Code::image_no_space);
  EXPECT_EQ(code_of(4096, {.page_size = 4096}, {{"a", 1}}), Code::image_no_space);  // blocks of lookup pages only
}

TEST(Spiffs, RefusesMorePagesThanItsNumbersReach) {
  EXPECT_EQ(code_of(8_MiB, {.page_size = 64}, {{"a", 5'000'000}}), Code::image_invalid);
}

TEST(Spiffs, FillsSixteenMegabytes) {
  Files files{{{"a", 15'000'000}}};
  Bytes image = build_spiffs(16_MiB, {}, files.views).value();
  expect_same(files.owned, read_spiffs(image, {}).value());
}

// What the C library leaves behind, done by hand to an image of ours.
class SpiffsOfTheCLibrary : public testing::Test {
 protected:
  Files files{{{"a", 30000}, {"b", 400}, {"c", 10}}};
  Bytes image = build_spiffs(65536, {}, files.views).value();
  spiffs::Layout layout = spiffs::layout_of({}).value();

  /// The place of the n-th page that the lookup lists under `id`.
  std::size_t page_of(std::uint16_t id, int n = 0) const {
    for (std::size_t block = 0; block < image.size(); block += layout.block)
      for (std::size_t slot = 0; slot < layout.usable_pages; ++slot)
        if (get_u16(image, block + slot * 2) == id && n-- == 0)
          return block + (slot + layout.lookup_pages) * layout.page;
    ADD_FAILURE() << "no such page";
    return 0;
  }
  void set_lookup(std::size_t page, std::uint16_t id) {
    std::size_t block = page / layout.block * layout.block;
    layout.set16(image, block + ((page - block) / layout.page - layout.lookup_pages) * 2, id);
  }
  std::size_t free_page() const { return page_of(spiffs::free_id); }
  void copy_page(std::size_t from, std::size_t to) {
    std::copy_n(image.begin() + static_cast<std::ptrdiff_t>(from), layout.page,
                image.begin() + static_cast<std::ptrdiff_t>(to));
    set_lookup(to, get_u16(image, to));
  }
  std::vector<FileOwned> read() const {
    Result<std::vector<FileOwned>> seen = read_spiffs(image, {});
    if (!seen) ADD_FAILURE() << describe(seen.error());
    return seen ? *seen : std::vector<FileOwned>{};
  }
};

TEST_F(SpiffsOfTheCLibrary, SkipsFilesThatAreDeleted) {
  std::size_t index = page_of(0x8002);
  set_lookup(index, spiffs::deleted_id);
  image[index + 4] &= 0x7f;
  files.owned.erase(files.owned.begin() + 1);
  expect_same(files.owned, read());
}

TEST_F(SpiffsOfTheCLibrary, SkipsFilesWhoseDeletionWasCutShort) {
  image[page_of(0x8002) + 4] &= static_cast<std::uint8_t>(~spiffs::flag_index_delete);
  files.owned.erase(files.owned.begin() + 1);
  expect_same(files.owned, read());
}

TEST_F(SpiffsOfTheCLibrary, FollowsAnIndexPageThatMoved) {
  std::size_t old = page_of(0x8001, 1), moved = free_page();
  copy_page(old, moved);
  set_lookup(old, spiffs::deleted_id);
  image[old + 4] &= 0x7f;
  expect_same(files.owned, read());
}

TEST_F(SpiffsOfTheCLibrary, TakesErasedMetadataAndUnknownSizes) {
  std::size_t index = page_of(0x8003);
  for (std::size_t i = 0; i < 4; ++i) image[index + spiffs::name_at + 32 + i] = 0xff;
  layout.set32(image, index + spiffs::size_at, spiffs::unknown_size);
  files.owned[2].content.clear();
  expect_same(files.owned, read());
}

TEST_F(SpiffsOfTheCLibrary, TakesOneBlockWithoutMagicAndRefusesTwo) {
  layout.set16(image, 15 * 4096 + layout.magic_slot, 0xffff);
  expect_same(files.owned, read());
  layout.set16(image, 14 * 4096 + layout.magic_slot, 0xffff);
  EXPECT_FALSE(read_spiffs(image, {}));
}

TEST_F(SpiffsOfTheCLibrary, IgnoresAPageThatIsListedButWasNeverWritten) {
  set_lookup(free_page(), 0x8009);
  expect_same(files.owned, read());
}

TEST_F(SpiffsOfTheCLibrary, NamesTheFileWhosePageIsLost) {
  image[page_of(0x0001, 50) + 4] &= 0x7f;
  Result<std::vector<FileOwned>> seen = read_spiffs(image, {});
  ASSERT_FALSE(seen);
  EXPECT_EQ(seen.error().code, Code::image_invalid);
  EXPECT_NE(seen.error().what.find("'a'"), std::string::npos);
}

TEST_F(SpiffsOfTheCLibrary, RefusesAFileThatClaimsMoreThanTheImageHolds) {
  layout.set32(image, page_of(0x8001) + spiffs::size_at, 0xffff'fff0);
  EXPECT_FALSE(read_spiffs(image, {}));
}

TEST(Spiffs, SurvivesEveryTruncation) {
  Files files{{{"a", 3000}, {"b", 0}}};
  Bytes image = build_spiffs(16384, {}, files.views).value();
  for (std::size_t size = 0; size < image.size(); ++size) {
    Result<std::vector<FileOwned>> seen = read_spiffs(ByteView{image}.first(size), {});
    ASSERT_FALSE(seen) << size;  // the magic counts the blocks
  }
}

TEST(Spiffs, SurvivesEveryFlippedBitOfItsTablesAndHeaders) {
  Files files{{{"a", 3000}, {"b", 0}, {"c/d", 250}}};
  Bytes image = build_spiffs(16384, {}, files.views).value();
  std::vector<std::size_t> bytes;
  for (std::size_t at = 0; at < 256; ++at) bytes.push_back(at);  // the lookup, and its magic
  for (std::size_t page = 256; page < 4096; page += 256)         // an index page is a header as a whole
    for (std::size_t at = 0; at < ((get_u16(image, page) & spiffs::index_bit) != 0 ? 256u : spiffs::page_header); ++at)
      bytes.push_back(page + at);
  for (std::size_t byte : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      image[byte] ^= static_cast<std::uint8_t>(1u << bit);
      Result<std::vector<FileOwned>> seen = read_spiffs(image, {});
      std::size_t together = 0;
      if (seen)
        for (const FileOwned& file : *seen) together += file.content.size();
      else
        ASSERT_FALSE(describe(seen.error()).empty());
      ASSERT_LE(together, image.size()) << byte << " bit " << bit;
      image[byte] ^= static_cast<std::uint8_t>(1u << bit);
    }
  }
}

TEST(Spiffs, SurvivesFlippedBits) {
  std::uint32_t seed = 4711;
  SCOPED_TRACE(seed);
  std::mt19937 random{seed};
  Files files{{{"a", 3000}, {"b", 0}, {"c/d", 250}}};
  Bytes image = build_spiffs(16384, {}, files.views).value();
  for (int round = 0; round < 20000; ++round) {
    Bytes damaged = image;
    for (int flips = 0; flips < 1 + round % 8; ++flips)
      damaged[random() % 8192] ^= static_cast<std::uint8_t>(1u << random() % 8);
    Result<std::vector<FileOwned>> seen = read_spiffs(damaged, {});
    std::size_t together = 0;
    if (seen)
      for (const FileOwned& file : *seen) together += file.content.size();
    ASSERT_LE(together, image.size());
  }
}

Bytes file_bytes(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Spiffs, ReadsAnImageOfTheCLibrary) {
  std::filesystem::path golden = ESPMINT_SOURCE_DIR "/../shared/golden/spiffs";
  if (!std::filesystem::exists(golden)) GTEST_SKIP() << "the golden corpus is not here";
  // mkspiffs 0.2.3-7 with the C library 0b2e129, configuration esp-idf.
  Result<std::vector<FileOwned>> files = read_spiffs(file_bytes(golden / "read-clib-seed3.bin"), {});
  ASSERT_TRUE(files) << describe(files.error());
  ASSERT_EQ(files->size(), 3u);
  for (const FileOwned& file : *files)
    EXPECT_TRUE(file.content == file_bytes(golden / "_in/seed3" / file.path)) << file.path;
  std::optional<SpiffsGeometry> found = detect_spiffs_geometry(file_bytes(golden / "read-clib-page512.bin"));
  EXPECT_EQ(found, (SpiffsGeometry{.page_size = 512, .block_size = 8192}));
}

}  // namespace
}  // namespace espmint
