#include "image/fat.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "image/extracted_name.hpp"
#include "image/fat_layout.hpp"
#include "image/wear_levelling.hpp"

namespace espmint {
namespace {

constexpr std::uint32_t some_id = 439041101;

Bytes content(std::size_t size, std::size_t seed) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + (i >> 8) * 13 + seed * 31);
  return out;
}

struct NamedSize {
  std::string path;
  std::size_t size = 0;
};

/// Files with deterministic content, kept alive beside the views of them.
struct Files {
  std::vector<FileOwned> owned;
  std::vector<FileView> views;
  explicit Files(const std::vector<NamedSize>& list) {
    for (const NamedSize& entry : list) owned.push_back({entry.path, content(entry.size, owned.size())});
    see();
  }
  explicit Files(std::vector<FileOwned> files) : owned(std::move(files)) { see(); }
  void see() {
    for (const FileOwned& file : owned) views.push_back({file.path, file.content});
  }
};

void expect_same(std::vector<FileOwned> expected, std::vector<FileOwned> seen) {
  auto by_path = [](const FileOwned& a, const FileOwned& b) { return a.path < b.path; };
  std::sort(expected.begin(), expected.end(), by_path);
  std::sort(seen.begin(), seen.end(), by_path);
  ASSERT_EQ(expected.size(), seen.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(expected[i].path, seen[i].path);
    EXPECT_TRUE(expected[i].content == seen[i].content) << expected[i].path;
  }
}

std::vector<FileOwned> read(ByteView image) {
  Result<std::vector<FileOwned>> files = read_fat(image);
  if (!files) ADD_FAILURE() << describe(files.error());
  return files ? std::move(*files) : std::vector<FileOwned>{};
}

std::vector<std::string> paths_in(ByteView image) {
  std::vector<std::string> out;
  for (const FileOwned& file : read(image)) out.push_back(file.path);
  return out;
}

// ---------------------------------------------------------------- as the reference

Bytes file_bytes(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<FileOwned> folder_of(const std::filesystem::path& root) {
  std::vector<FileOwned> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
    if (entry.is_regular_file())
      out.push_back({entry.path().lexically_relative(root).string(), file_bytes(entry.path())});
  return out;
}

// SHA-256 of what fatfsgen.py of ESP-IDF v5.4-dev (d7ca8b94) makes with --use_default_datetime and this volume id.
TEST(Fat, BuildsWhatTheReferenceGeneratorBuilds) {
  Bytes empty = build_fat(512_KiB, {.volume_id = some_id}, {}).value();
  EXPECT_EQ(to_hex(sha256_of(empty)), "f11d7054011e7d774f2887b7796c1ac211d5a3a7b764cfe2ed020e3c75134468");

  std::vector<FileOwned> many;  // the folder needs a second cluster
  for (int i = 0; i < 140; ++i) many.push_back({fmt::format("D/F{:03}.TXT", i), to_bytes(fmt::format("{}\n", i))});
  Bytes image = build_fat(1_MiB, {.volume_id = some_id}, Files{many}.views).value();
  EXPECT_EQ(to_hex(sha256_of(image)), "2755930f974b921220df9d42a39d584300e4faf924cb632b06a60c2f7770c375");
}

TEST(Fat, BuildsWhatTheReferenceGeneratorBuildsOfTheGoldenFolders) {
  std::filesystem::path golden = ESPMINT_SOURCE_DIR "/../shared/golden/fat/_in";
  if (!std::filesystem::exists(golden)) GTEST_SKIP() << "the golden corpus is not here";
  struct GoldenCase {
    std::string what, folder;
    ByteCount size;
    FatGeometry geometry;
    std::string sha256;
  };
  const std::vector<GoldenCase> cases{
      {"short names", "short", 1_MiB, {}, "fc8a51245973238cd519f6978fc0aa492377a150c62d960397ef65632f2c7e6a"},
      {"512",
       "short",
       128_KiB,
       {.sector_size = 512},
       "857f82d21aad929aa77d7de10854e740e367879ca8a1f57bbc0cde2cc7c4daca"},
      {"FAT16",
       "short",
       4_MiB,
       {.sector_size = 512, .fat_type = 16},
       "1d8892999cf5f14384e9472a09d0c01738a2748712c5a32c1b16021ceaa38bfc"},
      {"one FAT",
       "short",
       512_KiB,
       {.fat_count = 1},
       "3d884f73751b90fbf776ce4f664528e0402cc5f72ab15680b7f04b531971f4ac"},
      {"long names",
       "long",
       512_KiB,
       {.long_names = true},
       "ad04f25c981c500a53b592d0a6c2419d15de68e08053f341d10458f3548b0544"},
      {"long names, 512",
       "long",
       256_KiB,
       {.sector_size = 512, .long_names = true},
       "bb272c41f0467c859e31210a5a5711bc4a5f13f2c771e3d3a9d44b1b6dfeed65"},
  };
  for (GoldenCase golden_case : cases) {
    SCOPED_TRACE(golden_case.what);
    Files files{folder_of(golden / golden_case.folder)};
    golden_case.geometry.volume_id = some_id;
    Result<Bytes> image = build_fat(golden_case.size, golden_case.geometry, files.views);
    ASSERT_TRUE(image) << describe(image.error());
    EXPECT_EQ(to_hex(sha256_of(*image)), golden_case.sha256);
  }
}

TEST(Fat, LaysFilesTheSameWhateverTheOrderGiven) {
  Files files{{{"b", 10}, {"a/z", 5000}, {"a/", 0}, {"A.TXT", 1}, {"a/b/c", 9000}, {"c/", 0}}};
  Bytes image = build_fat(512_KiB, {}, files.views).value();
  std::reverse(files.views.begin(), files.views.end());
  EXPECT_TRUE(build_fat(512_KiB, {}, files.views).value() == image);
}

TEST(Fat, ChoosesAVolumeIdByTheContent) {
  auto id_of = [](std::size_t seed) {
    Bytes bytes = content(100, seed);
    FileView file{"a", bytes};
    Bytes image = build_fat(512_KiB, {}, {&file, 1}).value();
    return parse_fat_header(image).value().geometry.volume_id.value();
  };
  EXPECT_EQ(id_of(1), id_of(1));
  EXPECT_NE(id_of(1), id_of(2));
  Bytes given = build_fat(512_KiB, {.volume_id = 0}, {}).value();
  EXPECT_EQ(get_u32(given, fat::volume_id_at), 0u);
}

// ---------------------------------------------------------------- there and back

TEST(Fat, ReadsBackWhatItBuilt) {
  const std::vector<NamedSize> list{{"certificate.pem.crt", 1224},
                                    {"private.pem.key", 1679},
                                    {"aws-root-ca.pem", 1188},
                                    {"empty", 0},
                                    {"one", 1},
                                    {"cluster", 4096},
                                    {"cluster and one", 4097},
                                    {"certs/", 0},
                                    {"certs/old/", 0},
                                    {"certs/old/a.b.c", 20000},
                                    {"certs/x", 3},
                                    {"nothing.d/", 0},
                                    {"exactly13char", 5},
                                    {".hidden", 7},
                                    {"a.c++", 8},
                                    {std::string(255, 'n'), 9}};
  Files files{list};
  for (std::uint32_t sector : {512u, 1024u, 2048u, 4096u}) {
    for (std::uint32_t clusters_of : {1u, 2u, 8u}) {
      FatGeometry geometry{.sector_size = sector, .sectors_per_cluster = clusters_of, .long_names = true};
      SCOPED_TRACE(fmt::format("{} × {}", sector, clusters_of));
      Bytes image = build_fat(1_MiB, geometry, files.views).value();
      EXPECT_EQ(image.size(), 1_MiB);
      expect_same(files.owned, read(image));
      FatVolume volume = parse_fat_header(image).value();
      EXPECT_EQ(volume.size, 1_MiB);
      EXPECT_EQ(volume.geometry.sector_size, sector);
      EXPECT_EQ(volume.geometry.sectors_per_cluster, clusters_of);
    }
  }
}

TEST(Fat, ReadsBackFat16) {
  Files files{{{"A", 3'000'000}, {"D/B", 700}}};
  Bytes image = build_fat(4_MiB, {.sector_size = 512, .fat_type = 16}, files.views).value();
  files.owned.push_back({"D/", {}});
  expect_same(files.owned, read(image));
  EXPECT_EQ(parse_fat_header(image).value().geometry.fat_type, 16u);
}

TEST(Fat, PutsAFolderBeforeWhatItHoldsAndItsFilesBeforeItsFolders) {
  Files files{{{"B/C/D", 1}, {"B/A", 1}, {"A", 1}, {"Z", 1}}};
  EXPECT_EQ(paths_in(build_fat(512_KiB, {}, files.views).value()),
            (std::vector<std::string>{"A", "Z", "B/", "B/A", "B/C/", "B/C/D"}));
}

TEST(Fat, MakesCapitalsOfShortNamesAndSmallLettersOfLongOnes) {
  Files files{{{"Readme.Md", 1}, {"Sub/Noext", 1}}};
  EXPECT_EQ(paths_in(build_fat(512_KiB, {}, files.views).value()),
            (std::vector<std::string>{"README.MD", "SUB/", "SUB/NOEXT"}));
  EXPECT_EQ(paths_in(build_fat(512_KiB, {.long_names = true}, files.views).value()),
            (std::vector<std::string>{"readme.md", "sub/", "sub/noext"}));
}

/// The attributes of the root's entries: 0x0f is a part of a long name.
std::vector<int> root_attributes(ByteView image) {
  std::vector<int> out;
  for (std::size_t at = 3 * 4096; image[at] != 0; at += 32) out.push_back(image[at + fat::attributes_at]);
  return out;
}

TEST(Fat, GivesALongNameToWhatTheFirmwareCouldNotOpenByAShortOne) {
  // The generator writes short names with a space in them, or with + in the extension; FatFs finds neither.
  Files files{{{"a b.txt", 1}, {"c.c++", 1}, {"d.txt", 1}}};
  Bytes image = build_fat(512_KiB, {.long_names = true}, files.views).value();
  EXPECT_EQ(root_attributes(image), (std::vector<int>{0x0f, 0x20, 0x0f, 0x20, 0x20}));
}

TEST(Fat, SplitsAShortFolderNameAtItsDot) {
  Files files{{{"conf.d/a", 1}}};
  Bytes image = build_fat(512_KiB, {}, files.views).value();
  EXPECT_EQ(paths_in(image), (std::vector<std::string>{"CONF.D/", "CONF.D/A"}));
  EXPECT_EQ(as_text(ByteView{image}.subspan(std::size_t{3} * 4096, 11)), "CONF    D  ");
}

// ---------------------------------------------------------------- what cannot be

Code code_of(ByteCount size, const FatGeometry& geometry, const std::vector<NamedSize>& list) {
  Files files{list};
  Result<Bytes> image = build_fat(size, geometry, files.views);
  if (image) return Code::internal;
  EXPECT_EQ(image.error().remedy, Remedy::refuse);
  return image.error().code;
}

TEST(Fat, RefusesGeometriesThatFatCannotHave) {
  EXPECT_EQ(code_of(1_MiB, {.sector_size = 0}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.sector_size = 256}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.sector_size = 3000}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.fat_type = 32}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.fat_type = 16}, {}), Code::image_invalid);  // too few clusters
  EXPECT_EQ(code_of(4_MiB, {.sector_size = 512, .fat_type = 12}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.fat_count = 3}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.sectors_per_cluster = 3}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.root_entries = 0}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.root_entries = 100}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.root_entries = 384}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.root_entries = 128}, {}), Code::internal);
}

TEST(Fat, RefusesSizesThatAreNotWholeSectorsOrTooMany) {
  EXPECT_EQ(code_of(0, {}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB + 512, {}, {}), Code::image_invalid);  // the generator cuts the rest off
  EXPECT_EQ(code_of(64_MiB, {.sector_size = 512}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(~ByteCount{0} - 4095, {}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(7 * 4096, {}, {}), Code::image_no_space);  // header, two FATs, root
  EXPECT_EQ(code_of(8 * 4096, {}, {}), Code::internal);
}

TEST(Fat, RefusesSizesAtWhichTheGeneratorAndTheFirmwareDisagreeAboutTheType) {
  auto with_sectors = [](ByteCount n) { return code_of(n * 512, {.sector_size = 512}, {}); };
  EXPECT_EQ(with_sectors(4149), Code::internal);
  for (ByteCount n : {4150u, 4151u, 4152u}) EXPECT_EQ(with_sectors(n), Code::image_invalid) << n;
  EXPECT_EQ(with_sectors(4153), Code::internal);
  EXPECT_EQ(code_of(16_MiB, {}, {}), Code::image_invalid);  // 4085 clusters: round, and no firmware reads it
  EXPECT_EQ(code_of(16_MiB, {.fat_count = 1}, {}), Code::internal);
}

TEST(Fat, RefusesNamesThatFatCannotHold) {
  const std::string too_long(256, 'n');
  for (std::string name : {"",
                           "/a",
                           "a//b",
                           "..",
                           "../a",
                           "a/../b",
                           "./a",
                           "a.",
                           "a ",
                           "a*",
                           "a:b",
                           "a\\b",
                           "a\"",
                           "a<",
                           "a>",
                           "a?",
                           "a|",
                           "tab\there",
                           "a\x7f",
                           "schl\xc3\xbcssel",
                           too_long.c_str()})
    for (bool long_names : {false, true})
      EXPECT_EQ(code_of(1_MiB, {.long_names = long_names}, {{name, 1}}), Code::image_invalid) << name;
  EXPECT_EQ(code_of(1_MiB, {.long_names = true}, {{std::string("a\0b", 3), 1}}), Code::image_invalid);
}

TEST(Fat, RefusesLongNamesWhereTheyAreOff) {
  for (const char* name : {"ninechars", "a.text", ".hidden", "a.b.c", "a b", "a+b", "a,b", "a[1]", "a;b", "a=b"}) {
    EXPECT_EQ(code_of(1_MiB, {}, {{name, 1}}), Code::image_invalid) << name;
    EXPECT_EQ(code_of(1_MiB, {.long_names = true}, {{name, 1}}), Code::internal) << name;
  }
}

TEST(Fat, RefusesNamesThatOnlyDifferInCase) {
  EXPECT_EQ(code_of(1_MiB, {}, {{"README.md", 1}, {"Readme.md", 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {}, {{"a", 1}, {"a", 2}}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {}, {{"a", 1}, {"a/b", 2}}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {}, {{"a", 1}, {"a/", 0}}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {}, {{"Dir/x", 1}, {"dir/y", 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {.long_names = true}, {{"A long name.txt", 1}, {"a long name.TXT", 1}}),
            Code::image_invalid);
  EXPECT_EQ(code_of(1_MiB, {}, {{"a/", 0}, {"a/", 0}, {"a/b", 1}}), Code::internal);
}

TEST(Fat, RefusesMoreNamesOfOneBeginningThanItCanNumber) {
  std::vector<NamedSize> list;
  for (int i = 0; i < 127; ++i) list.push_back({fmt::format("d/prefix-{:03}.txt", i), 0});
  EXPECT_EQ(code_of(1_MiB, {.long_names = true}, list), Code::internal);
  list.push_back({"d/prefix-too.txt", 0});
  EXPECT_EQ(code_of(1_MiB, {.long_names = true}, list), Code::image_invalid);
}

TEST(Fat, NamesTheFileThatFoundNoRoom) {
  Files files{{{"FITS", 1000}, {"TOO/BIG", 80000}}};
  Result<Bytes> image = build_fat(24 * 4096, {}, files.views);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, Code::image_no_space);
  EXPECT_NE(image.error().what.find("TOO/BIG"), std::string::npos);
  EXPECT_EQ(code_of(24 * 4096, {}, {{"FILL", 17 * 4096}}), Code::internal);
  EXPECT_EQ(code_of(24 * 4096, {}, {{"FILL", 17 * 4096 + 1}}), Code::image_no_space);
}

TEST(Fat, RefusesMoreInTheRootThanItsEntries) {
  std::vector<NamedSize> list;
  for (int i = 0; i < 512; ++i) list.push_back({fmt::format("F{:03}", i), 0});
  EXPECT_EQ(code_of(1_MiB, {}, list), Code::internal);
  list.push_back({"LAST", 0});
  EXPECT_EQ(code_of(1_MiB, {}, list), Code::image_no_space);
}

// ---------------------------------------------------------------- how large

TEST(Fat, DetectsTheSizeThatTheGeneratorWouldTake) {
  EXPECT_EQ(smallest_fat({}, {}).value(), 512_KiB);  // FatFs makes nothing below 128 sectors
  EXPECT_EQ(smallest_fat({.sector_size = 512}, {}).value(), 64_KiB);
  // 200 clusters, root, 2 sectors in front, a FAT more than there are, and the root's 4 sectors
  EXPECT_EQ(smallest_fat({}, Files{{{"A", 200 * 4096}}}.views).value(), (200 + 1 + 2 + 3 + 4) * 4_KiB);
  EXPECT_FALSE(smallest_fat({.sector_size = 0}, {}));
}

TEST(Fat, WhatItDetectsHoldsTheFiles) {
  std::uint32_t seed = 4711;
  SCOPED_TRACE(seed);
  std::mt19937 random{seed};
  for (int round = 0; round < 60; ++round) {
    std::vector<NamedSize> list;
    for (unsigned i = 0, n = random() % 40; i < n; ++i)
      list.push_back({fmt::format("folder {}/sub/a rather long name {}.text", random() % 9, i), random() % 40000});
    Files files{list};
    FatGeometry geometry{
        .sector_size = 512u << random() % 4, .sectors_per_cluster = 1u << random() % 3, .long_names = true};
    geometry.fat_count = 1 + random() % 2;
    Result<Bytes> image = build_fat(smallest_fat(geometry, files.views).value(), geometry, files.views);
    ASSERT_TRUE(image) << describe(image.error());
  }
}

TEST(Fat, DetectsAcrossTheBorderOfFat12) {
  for (std::size_t clusters = 3990; clusters < 4100; ++clusters) {
    Files files{{{"A", clusters * 512}}};
    FatGeometry geometry{.sector_size = 512};
    ASSERT_TRUE(build_fat(smallest_fat(geometry, files.views).value(), geometry, files.views)) << clusters;
  }
}

TEST(Fat, SaysThatNoSizeIsEnough) {
  Files files{{{"A", 33_MiB}}};
  FatGeometry geometry{.sector_size = 512};
  EXPECT_FALSE(build_fat(smallest_fat(geometry, files.views).value(), geometry, files.views));
}

// ---------------------------------------------------------------- what firmware leaves behind

/// An image of ours, changed by hand.
class FatOfFirmware : public testing::Test {
 protected:
  Files files{{{"A", 9000}, {"B", 10}, {"D/E", 5000}}};
  Bytes image = build_fat(512_KiB, {}, files.views).value();
  fat::Layout layout{};
  std::size_t root = 3 * 4096;

  FatOfFirmware() {
    files.owned.push_back({"D/", {}});
    layout.bits = 12;
    layout.fat_at = 4096;
    layout.clusters = 121;
    layout.cluster = 4096;
    layout.data_at = 7 * 4096;
  }
  ByteSpan entry(std::size_t index) { return ByteSpan{image}.subspan(root + index * 32, 32); }
  void link(std::uint32_t from, std::uint32_t to) { fat::set_link(image, layout, from, to); }
  std::uint32_t first_cluster_of(std::size_t index) { return get_u16(entry(index), fat::first_cluster_at); }
  void expect_fault(std::string_view about) {
    Result<std::vector<FileOwned>> seen = read_fat(image);
    ASSERT_FALSE(seen);
    EXPECT_EQ(seen.error().code, Code::image_invalid);
    EXPECT_NE(describe(seen.error()).find(about), std::string::npos) << describe(seen.error());
  }
  void name(std::size_t index, std::string_view eleven) {
    std::copy(eleven.begin(), eleven.end(), entry(index).begin());
  }
  /// A long name of one entry in front of entry 1, which moves on.
  void put_long_name(std::u16string_view text, std::uint8_t checksum_error = 0) {
    auto first = image.begin() + static_cast<std::ptrdiff_t>(root + 32);
    std::copy_backward(first, first + 64, first + 96);
    ByteSpan part = entry(1);
    std::fill(part.begin(), part.end(), std::uint8_t{0});
    part[0] = 0x41;
    part[fat::attributes_at] = 0x0f;
    part[fat::long_checksum_at] = static_cast<std::uint8_t>(fat::checksum_of(entry(2).first(11)) + checksum_error);
    for (std::size_t i = 0; i < 13; ++i)
      fat::set_u16(part, fat::long_unit_at[i], i < text.size() ? text[i] : i == text.size() ? 0 : 0xffff);
  }
};

TEST_F(FatOfFirmware, IsWhatTheTestTakesItFor) {
  expect_same(files.owned, read(image));
  EXPECT_EQ(parse_fat_header(image).value().clusters, layout.clusters);
}

TEST_F(FatOfFirmware, SkipsWhatIsDeletedAndTheVolumeLabel) {
  entry(0)[0] = 0xe5;
  entry(1)[fat::attributes_at] = 0x08;
  EXPECT_EQ(paths_in(image), (std::vector<std::string>{"D/", "D/E"}));
}

TEST_F(FatOfFirmware, EndsAFolderAtItsFirstUnusedEntry) {
  entry(1)[0] = 0;
  EXPECT_EQ(paths_in(image), (std::vector<std::string>{"A"}));
}

TEST_F(FatOfFirmware, TakesAnotherEndOfAChain) {
  link(first_cluster_of(1), 0xff8);
  expect_same(files.owned, read(image));
}

TEST_F(FatOfFirmware, TakesClustersThatWereReservedForLater) {
  link(first_cluster_of(1), 100);
  link(100, 0xfff);
  expect_same(files.owned, read(image));
}

TEST_F(FatOfFirmware, ReadsShortNamesInItsCodePage) {
  name(1, "\x05\x81RG\x80 2 \xe1  ");
  EXPECT_EQ(paths_in(image)[1], "σüRGÇ 2.ß");
}

TEST_F(FatOfFirmware, ReadsLongNamesOfAnyLetters) {
  put_long_name(u"Zähler €😀");
  EXPECT_EQ(paths_in(image)[1], "Zähler €😀");
}

TEST_F(FatOfFirmware, TakesTheShortNameWhereTheLongOneIsNotItsOwn) {
  put_long_name(u"another", 1);
  EXPECT_EQ(paths_in(image)[1], "B");
}

TEST_F(FatOfFirmware, TakesTheShortNameWhereTheLongOneIsNoText) {
  put_long_name(u"\xd800x");
  EXPECT_EQ(paths_in(image)[1], "B");
}

TEST_F(FatOfFirmware, CountsSectorsInEitherField) {
  fat::set_u16(image, fat::sectors_16_at, 0);
  set_u32(image, fat::sectors_32_at, 128);
  expect_same(files.owned, read(image));
}

TEST_F(FatOfFirmware, MayBeSmallerThanItsPartition) {
  image.resize(1_MiB, 0xff);
  expect_same(files.owned, read(image));
}

// ---------------------------------------------------------------- damage

TEST_F(FatOfFirmware, RefusesAFileThatLoops) {
  link(first_cluster_of(0) + 1, first_cluster_of(0));
  expect_fault("serves it twice");
}

TEST_F(FatOfFirmware, RefusesTwoFilesOnOneCluster) {
  fat::set_u16(entry(1), fat::first_cluster_at, first_cluster_of(0));
  expect_fault("'B'");
}

TEST_F(FatOfFirmware, RefusesAChainThatLeavesTheVolume) {
  link(first_cluster_of(0), 200);
  expect_fault("cluster 200");
  link(first_cluster_of(0), 0);
  expect_fault("cluster 0");
  link(first_cluster_of(0), 1);
  expect_fault("cluster 1");
  link(first_cluster_of(0), 0xff7);
  expect_fault("cluster 4087");
}

TEST_F(FatOfFirmware, RefusesAChainThatEndsTooEarly) {
  link(first_cluster_of(0), 0xfff);
  expect_fault("4096 of 9000");
}

TEST_F(FatOfFirmware, RefusesAFileThatClaimsMoreThanTheVolumeHolds) {
  set_u32(entry(1), fat::file_size_at, 0xffff'ffff);
  expect_fault("4294967295");
}

TEST_F(FatOfFirmware, RefusesAFolderInItself) {
  std::size_t inside = layout.cluster_at(first_cluster_of(2)) + 64;
  image[inside + fat::attributes_at] = 0x10;
  fat::set_u16(image, inside + fat::first_cluster_at, first_cluster_of(2));
  expect_fault("'D/E/'");
}

TEST_F(FatOfFirmware, RefusesAFolderWithoutClusters) {
  fat::set_u16(entry(2), fat::first_cluster_at, 0);  // the root, were it "..": a loop
  expect_fault("'D/'");
}

TEST_F(FatOfFirmware, RefusesAFolderWhoseChainLoops) {
  std::uint32_t number = first_cluster_of(2);
  for (std::size_t at = 96; at < 4096; at += 32) image[layout.cluster_at(number) + at] = 0xe5;
  link(number, number);
  expect_fault("'D/'");
}

TEST_F(FatOfFirmware, RefusesTwoEntriesOfOneName) {
  name(1, "A          ");
  expect_fault("'A'");
}

TEST_F(FatOfFirmware, RefusesNamesThatLeadElsewhere) {
  for (std::u16string_view text : {u"../evil", u"..", u".", u"/etc/x", u"a/b", u"a\\b", u"a\nb", u"c:x"}) {
    image = build_fat(512_KiB, {}, files.views).value();
    put_long_name(text);
    EXPECT_FALSE(read_fat(image)) << as_text(entry(1));
  }
  image = build_fat(512_KiB, {}, files.views).value();
  name(1, "A/B        ");
  expect_fault("A/B");
  name(1, "           ");
  expect_fault("empty");
}

TEST_F(FatOfFirmware, RefusesWhatIsNoFat) {
  auto refuses = [this](std::size_t at, std::uint8_t value) {
    Bytes changed = image;
    changed[at] = value;
    EXPECT_FALSE(read_fat(changed)) << at;
    EXPECT_FALSE(parse_fat_header(changed)) << at;
  };
  refuses(0, 0);
  refuses(510, 0);
  refuses(fat::sector_size_at + 1, 3);
  refuses(fat::sectors_per_cluster_at, 0);
  refuses(fat::sectors_per_cluster_at, 3);
  refuses(fat::sectors_per_cluster_at, 128);
  refuses(fat::reserved_sectors_at, 0);
  refuses(fat::fat_count_at, 0);
  refuses(fat::fat_count_at, 3);
  refuses(fat::root_entries_at, 1);
  refuses(fat::root_entries_at + 1, 0xff);
  refuses(fat::fat_sectors_at, 0);
  refuses(fat::fat_sectors_at, 0xff);
  refuses(fat::sectors_16_at, 0);
  refuses(fat::sectors_16_at, 1);
  refuses(fat::sectors_16_at, 129);
  EXPECT_FALSE(read_fat({}));
  EXPECT_FALSE(read_fat(Bytes(65536, 0x00)));
  EXPECT_FALSE(read_fat(Bytes(65536, 0xff)));
  EXPECT_FALSE(read_fat(content(65536, 3)));
}

TEST(Fat, RefusesFoldersDeeperThanItsBound) {
  std::string path;
  for (int i = 0; i < 400; ++i) path += "D/";
  FileView deep{path, {}};
  Bytes image = build_fat(1_MiB, {.sector_size = 512}, {&deep, 1}).value();
  EXPECT_EQ(read(image).size(), 400u);
  path += std::string(300, 'D') + "/";
  EXPECT_EQ(code_of(1_MiB, {.sector_size = 512}, {{path, 0}}), Code::image_invalid);
}

std::size_t together(const std::vector<FileOwned>& files) {
  std::size_t out = 0;
  for (const FileOwned& file : files) out += file.content.size();
  return out;
}

TEST(Fat, SurvivesEveryTruncation) {
  Files files{{{"a rather long name", 3000}, {"b/c", 600}}};
  Bytes image = build_fat(64_KiB, {.sector_size = 512, .long_names = true}, files.views).value();
  for (std::size_t size = 0; size < image.size(); ++size) ASSERT_FALSE(read_fat(ByteView{image}.first(size))) << size;
}

TEST(Fat, SurvivesEveryFlippedBitOfItsHeaderAndRoot) {
  Files files{{{"a rather long name", 3000}, {"b/c", 600}}};
  Bytes image = build_fat(64_KiB, {.sector_size = 512, .long_names = true}, files.views).value();
  for (std::size_t bit = 0; bit < (512 + 2 * 512 + 512) * 8; ++bit) {  // header, both FATs, the root's first sector
    image[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    Result<std::vector<FileOwned>> seen = read_fat(image);
    if (seen) {
      ASSERT_LE(together(*seen), image.size());
      std::vector<std::string> names;
      for (const FileOwned& file : *seen) names.push_back(file.path);
      ASSERT_TRUE(check_extracted_names(names)) << bit;
    }
    image[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
  }
}

TEST(Fat, SurvivesFlippedBits) {
  std::uint32_t seed = 4711;
  SCOPED_TRACE(seed);
  std::mt19937 random{seed};
  Files files{{{"A", 3000}, {"B", 0}, {"C/D", 250}, {"C/E/F", 2000}, {"C/E/", 0}}};
  Bytes image = build_fat(64_KiB, {.sector_size = 512}, files.views).value();
  for (int round = 0; round < 20000; ++round) {
    Bytes damaged = image;
    for (int flips = 0; flips < 1 + round % 8; ++flips)
      damaged[512 + random() % 26000] ^= static_cast<std::uint8_t>(1u << random() % 8);
    Result<std::vector<FileOwned>> seen = read_fat(damaged);
    if (seen) {
      ASSERT_LE(together(*seen), image.size());
    }
  }
}

TEST(Fat, FillsFifteenMegabytes) {
  Files files{{{"A", 14'000'000}}};
  Bytes image = build_fat(15_MiB, {}, files.views).value();
  expect_same(files.owned, read(image));
}

}  // namespace
}  // namespace espmint
