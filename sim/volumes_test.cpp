// The board's readers of FAT, wear levelling and LittleFS.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sim/dice.hpp"
#include "sim/fat_view.hpp"
#include "sim/littlefs_view.hpp"
#include "sim/volumes_for_tests.hpp"
#include "sim/wear_levelling.hpp"

namespace espmint::sim {
namespace {

const std::vector<StoredFile> three_files{
    {"certificate.pem.crt", pattern(1220)}, {"private.pem.key", pattern(241, 2)}, {"empty.txt", {}}};

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return text;
}

TEST(FatView, ReadsFilesByTheirLongNames) {
  for (std::uint32_t sector : {512u, 4096u}) {
    auto volume = read_fat(fat_volume(three_files, 64, sector));
    ASSERT_TRUE(volume) << sector;
    EXPECT_EQ(volume->bits, 12u);
    EXPECT_FALSE(volume->levelled);
    EXPECT_EQ(digests_of(volume->files), digests_of(three_files)) << sector;
  }
}

TEST(FatView, FallsBackToTheShortNameWhenTheLongOneIsOfAnotherEntry) {
  Bytes image = fat_volume({three_files[1]});
  ASSERT_EQ(read_fat(image)->files.front().name, "private.pem.key");
  image[2 * 512 + 13] ^= 1;  // the checksum in the first piece
  EXPECT_EQ(read_fat(image)->files.front().name, "FILE2.TXT");
  image[2 * 512 + 64 + 12] = 0x18;  // base and extension in small letters
  EXPECT_EQ(read_fat(image)->files.front().name, "file2.txt");
  image[2 * 512 + 64] = 0xe5;  // deleted
  EXPECT_TRUE(read_fat(image)->files.empty());
}

TEST(FatView, RefusesAChainThatLeadsAstrayAndWhatIsNoVolume) {
  Bytes image = fat_volume(three_files);
  for (std::uint32_t next : {0u, 1u, 0xfffu, 0x800u}) {
    Bytes astray = image;
    set_u16(astray, 512 + 3, next);  // behind the first cluster of the first file
    EXPECT_FALSE(read_fat(astray)) << next;
  }
  Bytes huge = image;
  set_u32(huge, 2 * 512 + 64 + 28, 0xffff'ffff);
  EXPECT_FALSE(read_fat(huge));
  EXPECT_FALSE(read_fat({}));
  EXPECT_FALSE(read_fat(Bytes(64 * 1024, 0xff)));
  EXPECT_FALSE(read_fat(Bytes(64 * 1024, 0)));
  EXPECT_FALSE(read_fat(ByteView{image}.first(image.size() / 2)));
}

TEST(FatView, RefusesAFolderThatHoldsItself) {
  Bytes image = fat_volume({{"sub", pattern(512)}});
  image[2 * 512 + 32 + 11] = 0x10;
  std::size_t cluster = 2 * 512 + 128 * 32;
  std::fill_n(image.begin() + static_cast<std::ptrdiff_t>(cluster), 512, std::uint8_t{0});
  ASSERT_TRUE(read_fat(image));
  put_at(image, cluster, ByteView{Bytes{image}}.subspan(2 * 512 + 32, 32));
  EXPECT_FALSE(read_fat(image));
}

TEST(WearLevelling, IsUndoneWhereverTheDummyStands) {
  Bytes content = fat_volume(three_files, 12, 4096);
  for (std::uint32_t dummy : {0u, 1u, 5u, 11u, 12u}) {
    for (std::uint32_t turns : {0u, 1u, 7u, 11u}) {
      Bytes image = levelled(content, dummy, turns);
      auto seen = unwrap_wear_levelling(image);
      ASSERT_TRUE(seen) << dummy << " " << turns;
      EXPECT_TRUE(seen->has_state);
      EXPECT_EQ(seen->dummy, dummy);
      EXPECT_EQ(seen->turns, turns);
      EXPECT_EQ(seen->content, content) << dummy << " " << turns;
      auto volume = read_fat(image);
      ASSERT_TRUE(volume) << dummy << " " << turns;
      EXPECT_TRUE(volume->levelled);
      EXPECT_EQ(digests_of(volume->files), digests_of(three_files));
    }
  }
}

TEST(WearLevelling, TakesTheOtherStateWhenOneIsTorn) {
  Bytes content = fat_volume(three_files, 12, 4096), image = levelled(content, 0, 3);
  const std::size_t first = 13 * 4096, second = 14 * 4096;
  Bytes torn = image;
  torn[second + 8] ^= 1;  // the new turn's first state is there, its second not
  EXPECT_EQ(unwrap_wear_levelling(torn)->content, content);
  // The last turn's states, of which the first is gone already: the dummy is at its end.
  torn = levelled(content, 12, 3);
  torn[first + 8] ^= 1;
  EXPECT_EQ(unwrap_wear_levelling(torn)->content, content);
  // None at all: as if nothing had ever moved.
  torn = levelled(content, 0, 0);
  torn[first] ^= 1;
  torn[second] ^= 1;
  EXPECT_FALSE(unwrap_wear_levelling(torn)->has_state);
  EXPECT_EQ(unwrap_wear_levelling(torn)->content, content);
  EXPECT_TRUE(read_fat(torn)->levelled);
  EXPECT_FALSE(unwrap_wear_levelling(Bytes(4 * 4096, 0xff)));
}

TEST(FatView, ReadsWhatTheReferenceToolsMade) {
  auto folder = golden_folder();
  if (!folder) GTEST_SKIP() << "no golden images";
  int seen = 0;
  for (const auto& row : golden_cases(*folder)) {
    if ((row["format"] != "fat" && row["format"] != "fat_wl") || row["expect"]["kind"] != "file") continue;
    Bytes image = load_golden(*folder / row["expect"]["path"].get<std::string>());
    auto volume = read_fat(image);
    ASSERT_TRUE(volume) << row["id"];
    EXPECT_EQ(volume->levelled, row["format"] == "fat_wl") << row["id"];
    Digests meant = digests_of(row["input"]["files"]), read = digests_of(volume->files);
    if (!row["options"]["long_names"]) {
      Digests in_capitals;
      for (const auto& [name, sha] : meant) in_capitals[upper(name)] = sha;
      meant = std::move(in_capitals);
    }
    EXPECT_EQ(read, meant) << row["id"];
    ++seen;
  }
  EXPECT_GE(seen, 10);
}

TEST(LittlefsView, ReadsInlineFilesAndListsOfBlocks) {
  std::vector<StoredFile> files = three_files;
  files.push_back({"big.bin", pattern(30'000, 5)});
  files.push_back({"one-block.bin", pattern(4096, 6)});
  files.push_back({"two-blocks.bin", pattern(4097, 7)});
  Bytes image = littlefs_volume(files, 20);
  EXPECT_TRUE(looks_like_littlefs(image));
  auto volume = read_littlefs(image);
  ASSERT_TRUE(volume);
  EXPECT_EQ(volume->major, 2u);
  EXPECT_EQ(volume->minor, 1u);
  EXPECT_EQ(volume->blocks, 20u);
  EXPECT_EQ(digests_of(volume->files), digests_of(files));
  // A larger partition is no harm, a smaller one is.
  Bytes larger = image;
  larger.resize(image.size() + 8192, 0xff);
  EXPECT_TRUE(read_littlefs(larger));
  EXPECT_FALSE(read_littlefs(ByteView{image}.first(image.size() - 4096)));
}

/// The root with folder "d" in blocks 2 and 3, and what a test adds.
struct TwoFolders {
  static constexpr std::uint32_t block = 4096, blocks = 8;
  TwoFolders() {
    root.tag(0x401, 0).tag(0x0ff, 0, "littlefs");
    root.tag(0x201, 0, u32s({0x0002'0000, block, blocks, 255, 0x7fff'ffff, 1022}));
    root.tag(0x401, 1).tag(0x002, 1, "d").tag(0x200, 1, u32s({2, 3})).tag(0x600, 0x3ff, u32s({2, 3}));
  }
  [[nodiscard]] std::optional<LittlefsVolume> read() const {
    Bytes image(std::size_t{blocks} * block, 0xff);
    put_at(image, 0, root.bytes());
    put_at(image, 3 * std::size_t{block}, folder.bytes());
    return read_littlefs(image);
  }
  LittlefsLog root{1}, folder{7};
};

TEST(LittlefsView, ReplaysCommitAfterCommit) {
  TwoFolders two;
  two.root.commit(true);
  two.folder.tag(0x401, 0).tag(0x001, 0, "a").tag(0x201, 0, "old").commit();
  two.folder.tag(0x401, 1).tag(0x001, 1, "b").tag(0x201, 1, "second").commit(true);
  two.folder.tag(0x201, 0, "new").commit();
  two.folder.tag(0x401, 0).tag(0x001, 0, "0").tag(0x201, 0, "before all").commit();
  two.folder.tag(0x4ff, 2).commit();
  auto volume = two.read();
  ASSERT_TRUE(volume);
  EXPECT_EQ(volume->minor, 0u);
  EXPECT_EQ(digests_of(volume->files),
            digests_of(std::vector<StoredFile>{{"d/0", to_bytes("before all")}, {"d/a", to_bytes("new")}}));
  // A commit without its checksum never was.
  two.folder.tag(0x201, 0, "torn");
  EXPECT_EQ(two.read()->files.front().content, to_bytes("before all"));
}

TEST(LittlefsView, LeavesOutWhatIsBeingMovedAway) {
  TwoFolders two;
  // The file is in the root already; the root's share of the state says that "d" is to lose its first entry.
  two.root.tag(0x401, 2).tag(0x001, 2, "moved").tag(0x201, 2, "x");
  two.root.tag(0x7ff, 0x3ff, u32s({0x4ffu << 20, 2, 3})).commit();
  two.folder.tag(0x401, 0).tag(0x001, 0, "moved").tag(0x201, 0, "x");
  two.folder.tag(0x401, 1).tag(0x001, 1, "stays").tag(0x201, 1, "y").commit();
  EXPECT_EQ(digests_of(two.read()->files),
            digests_of(std::vector<StoredFile>{{"moved", to_bytes("x")}, {"d/stays", to_bytes("y")}}));
}

TEST(LittlefsView, TakesTheOlderBlockWhenTheNewerIsTorn) {
  Bytes image = littlefs_volume({{"a", to_bytes("old")}});
  Bytes newer = littlefs_volume({{"a", to_bytes("new")}});
  put_at(image, 4096, ByteView{newer}.first(4096));
  image[4096] = 2;  // its revision; so its checksum is wrong
  EXPECT_EQ(read_littlefs(image)->files.front().content, to_bytes("old"));
  image[0] = 0;
  EXPECT_FALSE(read_littlefs(image));
}

TEST(LittlefsView, RefusesWhatLeadsAstray) {
  EXPECT_FALSE(read_littlefs({}));
  EXPECT_FALSE(read_littlefs(Bytes(64 * 1024, 0xff)));
  EXPECT_FALSE(looks_like_littlefs(Bytes(64 * 1024, 0)));
  Bytes list = littlefs_volume({{"big", pattern(9000)}});
  set_u32(list, 3 * 4096, 99);  // block 1 of the list points out of the volume
  EXPECT_TRUE(looks_like_littlefs(list));
  EXPECT_FALSE(read_littlefs(list));
  TwoFolders two;
  two.root.commit();
  two.folder.tag(0x401, 0).tag(0x002, 0, "self").tag(0x200, 0, u32s({3, 2})).commit();
  EXPECT_FALSE(two.read());
  TwoFolders ring;
  ring.root.commit();
  ring.folder.tag(0x600, 0x3ff, u32s({0, 1})).commit();
  EXPECT_FALSE(ring.read());
}

TEST(LittlefsView, ReadsWhatTheDriverMade) {
  auto folder = golden_folder();
  if (!folder) GTEST_SKIP() << "no golden images";
  int seen = 0;
  for (const auto& row : golden_cases(*folder)) {
    if (row["format"] != "littlefs_read") continue;
    Bytes image = load_golden(*folder / row["input"]["image"]["path"].get<std::string>());
    ASSERT_FALSE(image.empty()) << row["id"];
    auto volume = read_littlefs(image, row["options"]["block_size"]);
    bool is_volume = row["expect"]["kind"] == "tree";
    ASSERT_EQ(volume.has_value(), is_volume) << row["id"];
    if (!is_volume) continue;
    EXPECT_EQ(fmt::format("{}.{}", volume->major, volume->minor), row["options"]["disk_version"].get<std::string>());
    EXPECT_EQ(digests_of(volume->files), digests_of(row["expect"]["files"])) << row["id"];
    ++seen;
  }
  EXPECT_GE(seen, 6);
}

/// Tags as no driver would write them, in commits whose checksums are right.
LittlefsLog any_log(Dice& dice) {
  constexpr std::array types{0x001u, 0x002u, 0x0ffu, 0x200u, 0x201u, 0x202u, 0x401u, 0x401u,
                             0x4ffu, 0x5ffu, 0x600u, 0x601u, 0x7ffu, 0x300u, 0x701u};
  LittlefsLog log{static_cast<std::uint32_t>(dice.below(3))};
  for (std::uint64_t commits = dice.below(4); commits < 4; ++commits) {
    for (std::uint64_t tags = dice.below(8); tags < 8; ++tags) {
      Bytes content = u32s({static_cast<std::uint32_t>(dice.below(10)), static_cast<std::uint32_t>(dice.below(10)),
                            static_cast<std::uint32_t>(dice.below(20'000))});
      content.resize(dice.below(4) == 0 ? dice.below(13) : dice.below(2) == 0 ? 8 : 12);
      unsigned id = dice.below(8) == 0 ? 0x3ff : static_cast<unsigned>(dice.below(4));
      log.tag(types[dice.below(types.size())], id, content);
    }
    log.commit(dice.below(2) == 0);
  }
  return log;
}

TEST(LittlefsView, SurvivesAnyTags) {
  Dice dice{4711};
  int mounted = 0;
  for (int round = 0; round < 1000; ++round) {
    Bytes image(8 * 4096, 0xff);
    LittlefsLog root{5};
    root.tag(0x0ff, 0, "littlefs").tag(0x201, 0, u32s({0x0002'0001, 4096, 8, 255, 0x7fff'ffff, 1022}));
    root.tag(0x001, 1, "a").tag(0x202, 1, u32s({static_cast<std::uint32_t>(dice.below(9)), 9000}));
    root.tag(0x002, 2, "b").tag(0x200, 2, u32s({2, 3})).tag(0x600 | (dice.below(8) == 0), 0x3ff, u32s({4, 5}));
    put_at(image, 0, root.commit().bytes());
    for (std::size_t block = 2; block < 8; ++block) put_at(image, block * 4096, any_log(dice).bytes());
    auto volume = read_littlefs(image);
    mounted += volume.has_value();
    if (!volume) continue;
    for (const StoredFile& file : volume->files) EXPECT_LE(file.content.size(), image.size()) << round;
  }
  EXPECT_GT(mounted, 10);
}

// Any bytes: whatever comes, it ends and nothing outside is touched (under the sanitizers' eyes in CI).
TEST(Views, SurviveDamageOfEverySort) {
  const std::vector<Bytes> images{fat_volume(three_files), levelled(fat_volume(three_files, 12, 4096), 3, 2),
                                  littlefs_volume(three_files)};
  Dice dice{4711};
  for (int round = 0; round < 600; ++round) {
    Bytes image = images[static_cast<std::size_t>(round) % images.size()];
    for (std::uint64_t i = 0; i <= dice.below(8); ++i) {
      // Mostly where the structure is.
      std::size_t reach = dice.below(4) == 0 ? image.size() : std::min<std::size_t>(image.size(), 3072);
      image[dice.below(reach)] = dice.byte();
    }
    if (dice.below(8) == 0) image.resize(dice.below(image.size()));
    auto total = [](const std::vector<StoredFile>& files) {
      std::size_t bytes = 0;
      for (const StoredFile& file : files) bytes += file.content.size();
      return bytes;
    };
    auto fat = read_fat(image);
    EXPECT_LE(fat ? total(fat->files) : 0, image.size()) << round;
    auto littlefs = read_littlefs(image);
    EXPECT_LE(littlefs ? total(littlefs->files) : 0, image.size() * 2) << round;
  }
}

}  // namespace
}  // namespace espmint::sim
