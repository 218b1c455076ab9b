#include "image/littlefs.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "image/extracted_name.hpp"

namespace espmint {
namespace {

Bytes content(std::size_t size, std::size_t seed) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i * 11 + (i >> 8) * 17 + seed * 29);
  return out;
}

struct NamedSize {
  std::string path;
  std::size_t size = 0;
};

/// Files with deterministic content, kept alive beside the views of them.
struct Tree {
  std::vector<FileOwned> owned;
  std::vector<FileView> views;
  explicit Tree(const std::vector<NamedSize>& list) {
    for (const NamedSize& entry : list) owned.push_back({entry.path, content(entry.size, owned.size())});
    for (const FileOwned& file : owned) views.push_back({file.path, file.content});
  }
};

using Files = std::map<std::string, Bytes>;  // by path; a folder's ends in '/'

/// What a file system of these holds: also the folders that only files name.
Files whole_tree(const std::vector<FileOwned>& list) {
  Files out;
  for (const FileOwned& file : list) {
    for (std::size_t slash = file.path.find('/'); slash != std::string::npos; slash = file.path.find('/', slash + 1))
      out[file.path.substr(0, slash + 1)];
    out[file.path] = file.content;
  }
  return out;
}

Files read(ByteView image, const LittlefsGeometry& hint = {}) {
  Result<std::vector<FileOwned>> seen = read_littlefs(image, hint);
  if (!seen) {
    ADD_FAILURE() << describe(seen.error());
    return {{"not readable", {}}};
  }
  Files out;
  for (FileOwned& file : *seen) EXPECT_TRUE(out.emplace(file.path, file.content).second) << file.path;
  return out;
}

std::vector<NamedSize> many_files(std::size_t count, std::size_t step) {
  std::vector<NamedSize> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back({fmt::format("f{:03}", i), i * step});
  return out;
}

struct BuildCase {
  std::string what;
  ByteCount size;
  LittlefsGeometry geometry;
  std::vector<NamedSize> files;
};

const std::vector<BuildCase>& build_cases() {
  static const std::vector<BuildCase> cases{
      {"nothing", 8192, {}, {}},
      {"an empty file", 8192, {}, {{"empty.txt", 0}}},
      {"an empty folder", 65536, {}, {{"void/", 0}}},
      {"three certificate-sized files",
       65536,
       {},
       {{"aws-root-ca.pem", 1196}, {"certificate.pem.crt", 1220}, {"private.pem.key", 1733}}},
      {"folders in folders",
       262144,
       {},
       {{"a.txt", 2}, {"d1/b.bin", 3000}, {"d1/d2/c.bin", 20000}, {"d1/d2/d3/void/", 0}}},
      {"inline to the last byte, and one more", 65536, {}, {{"a", 511}, {"b", 512}, {"c", 513}}},
      {"one block, one more byte, two blocks, one more byte",
       131072,
       {},
       {{"a", 4096}, {"b", 4097}, {"c", 4096 + 4092}, {"d", 4096 + 4092 + 1}}},
      {"one file of many blocks", 131072, {.block_size = 128}, {{"big", 90000}}},
      {"a folder of many pairs", 262144, {}, many_files(120, 3)},
      {"small blocks", 131072, {.block_size = 512}, many_files(60, 40)},
      {"the smallest blocks", 65536, {.block_size = 128}, many_files(40, 5)},
      {"large blocks", 1_MiB, {.block_size = 65536}, {{"a", 1000}, {"b", 1001}, {"c/d", 200000}}},
      {"the largest blocks", 4_MiB, {.block_size = 1024 * 1024}, {{"a", 1000}, {"b", 900000}}},
      {"more than 254 files in one block", 1_MiB, {.block_size = 65536}, many_files(600, 0)},
      {"names one of which begins another", 65536, {.block_size = 512}, {{"ab", 5}, {"a", 6}, {"abc", 7}, {"b", 8}}},
      {"a folder among files that look like it", 65536, {}, {{"a.b", 1}, {"a/b", 2}, {"a-b", 3}, {"a.b.c/d", 4}}},
      {"names to the last byte", 65536, {}, {{std::string(255, 'n'), 5}, {"d/" + std::string(255, 'm'), 6}}},
      {"names of any bytes", 65536, {}, {{"schl\xc3\xbcssel", 700}, {"\xe9\xff \x01", 5}, {"a b", 6}}},
      {"every block used", 16384, {}, {{"a", 4096}, {"b", 4096}}},
  };
  return cases;
}

TEST(Littlefs, ReadsBackWhatItBuilt) {
  for (const BuildCase& one : build_cases()) {
    SCOPED_TRACE(one.what);
    Tree tree{one.files};
    Result<Bytes> image = build_littlefs(one.size, one.geometry, tree.views);
    ASSERT_TRUE(image) << describe(image.error());
    EXPECT_EQ(image->size(), one.size);
    EXPECT_TRUE(read(*image) == whole_tree(tree.owned));
    EXPECT_TRUE(read(*image, one.geometry) == whole_tree(tree.owned));
  }
}

TEST(Littlefs, ReadsBackRandomTrees) {
  for (std::uint32_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random{seed};
    std::vector<NamedSize> list;
    std::vector<std::string> folders{""};
    for (std::size_t i = 0, count = random() % 60; i < count; ++i) {
      std::string name = fmt::format("{}{}", std::string(random() % 30, static_cast<char>('a' + random() % 3)), i);
      std::string path = folders[random() % folders.size()] + name;
      if (random() % 4 == 0) {
        folders.push_back(path + "/");
        list.push_back({path + "/"});
      } else {
        list.push_back({path, random() % (random() % 8 == 0 ? 20000 : 700)});
      }
    }
    LittlefsGeometry geometry{.block_size = 256u << random() % 6};
    Tree tree{list};
    Result<Bytes> image = build_littlefs(2_MiB, geometry, tree.views);
    ASSERT_TRUE(image) << describe(image.error());
    EXPECT_TRUE(read(*image) == whole_tree(tree.owned));
  }
}

TEST(Littlefs, SaysWhatItIs) {
  Bytes image = build_littlefs(131072, {.block_size = 512, .name_max = 64}, {}).value();
  LittlefsSuperblock seen = read_littlefs_superblock(image).value();
  EXPECT_EQ(seen, (LittlefsSuperblock{.major = 2,
                                      .minor = 1,
                                      .block_size = 512,
                                      .block_count = 256,
                                      .name_max = 64,
                                      .file_max = 0x7fff'ffff,
                                      .attribute_max = 1022}));
}

// Source of these bytes: SPEC.md, and the dump of a file system that the C library v2.11.2 formatted.
TEST(Littlefs, BeginsAsTheSpecificationSays) {
  Bytes image = build_littlefs(131072, {}, {}).value();
  EXPECT_EQ(to_hex(ByteView{image}.first(44)),
            "01000000"                  // revision
            "f00ffff76c6974746c656673"  // superblock, "littlefs"
            "2fe00010"                  // inline struct of 24 bytes
            "01000200"                  // version 2.1
            "0010000020000000"          // 32 blocks of 4096
            "ff000000ffffff7ffe030000");
  EXPECT_TRUE(std::all_of(image.begin() + 4096, image.end(), [](std::uint8_t byte) { return byte == 0xff; }));
}

TEST(Littlefs, GivesFoldersThenTheirFilesThenTheirFoldersByByteValue) {
  Tree tree{{{"b/z", 1}, {"a.txt", 1}, {"b/c/", 0}, {"b.c/x", 1}, {"B", 1}}};
  Bytes image = build_littlefs(131072, {}, tree.views).value();
  std::vector<std::string> paths;
  std::vector<FileOwned> seen = read_littlefs(image).value();
  for (const FileOwned& file : seen) paths.push_back(file.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"B", "a.txt", "b/", "b/z", "b/c/", "b.c/", "b.c/x"}));
}

TEST(Littlefs, DoesNotDependOnTheOrderOfTheFiles) {
  Tree tree{{{"c", 600}, {"a", 5}, {"b/d", 7}}}, other{{{"c", 600}, {"a", 5}, {"b/d", 7}}};
  std::reverse(other.views.begin(), other.views.end());
  EXPECT_EQ(build_littlefs(65536, {}, tree.views).value(), build_littlefs(65536, {}, other.views).value());
}

Code code_of(ByteCount size, const LittlefsGeometry& geometry, const std::vector<NamedSize>& list) {
  Tree tree{list};
  Result<Bytes> image = build_littlefs(size, geometry, tree.views);
  if (image) return Code::internal;
  EXPECT_EQ(image.error().remedy, Remedy::refuse);
  return image.error().code;
}

TEST(Littlefs, RefusesGeometriesThatLittlefsCannotHave) {
  for (std::uint32_t block : {0u, 1u, 64u, 100u, 4095u, 5000u, 2u * 1024 * 1024, 0x8000'0000u})
    EXPECT_EQ(code_of(65536, {.block_size = block}, {}), Code::image_invalid) << block;
  EXPECT_EQ(code_of(65536, {.name_max = 0}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.name_max = 1023}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(0, {}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(4096, {}, {}), Code::image_invalid);  // a pair is two blocks
  EXPECT_EQ(code_of(65536 + 512, {}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(65535, {}, {}), Code::image_invalid);
  EXPECT_EQ(code_of(~ByteCount{0} - 4095, {}, {}), Code::image_invalid);
}

TEST(Littlefs, RefusesNamesThatLittlefsCannotHold) {
  for (const char* path : {"", "/", "/a", "a//b", "a//", ".", "..", "a/../b", "../a", "a/.", "./a"})
    EXPECT_EQ(code_of(65536, {}, {{path, 0}}), Code::image_invalid) << path;
  EXPECT_EQ(code_of(65536, {}, {{std::string("a\0b", 3), 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {}, {{std::string(256, 'n'), 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.name_max = 10}, {{"d23456789/a2345678901", 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.block_size = 128}, {{std::string(73, 'n'), 1}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {.block_size = 128}, {{std::string(72, 'n'), 1}}), Code::internal);  // it is built
}

TEST(Littlefs, RefusesAPathThatIsGivenTwice) {
  EXPECT_EQ(code_of(65536, {}, {{"a", 1}, {"a", 2}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {}, {{"a", 1}, {"a/", 0}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {}, {{"a/b", 1}, {"a", 2}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {}, {{"a", 1}, {"a/b", 2}}), Code::image_invalid);
  EXPECT_EQ(code_of(65536, {}, {{"a/b", 1}, {"a/", 0}}), Code::internal);  // a folder may be named, too
}

TEST(Littlefs, NamesTheFileThatFoundNoRoom) {
  Tree tree{{{"fits", 1000}, {"toobig", 60000}}};
  Result<Bytes> image = build_littlefs(32768, {}, tree.views);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, Code::image_no_space);
  EXPECT_NE(image.error().what.find("toobig"), std::string::npos);
  EXPECT_EQ(code_of(8192, {}, {{"a", 513}}), Code::image_no_space);
  EXPECT_EQ(code_of(8192, {}, {{"a/", 0}}), Code::image_no_space);  // a folder takes two blocks
}

TEST(Littlefs, FillsMetadataBlocksOnlyWhereTheImageWouldBeTooSmallOtherwise) {
  // Ten files of 300 bytes need two half-filled pairs; where there is room for one only, they share it.
  std::vector<NamedSize> files;
  for (int i = 0; i < 10; ++i) files.push_back({fmt::format("f{}", i), 300});
  Tree tree{files};
  Bytes tight = build_littlefs(8192, {}, tree.views).value(), roomy = build_littlefs(16384, {}, tree.views).value();
  EXPECT_TRUE(read(tight) == whole_tree(tree.owned));
  EXPECT_TRUE(read(roomy) == whole_tree(tree.owned));
  EXPECT_NE(roomy[8192], 0xff);
}

// ---------------------------------------------------------------- what the C library leaves behind, written by hand

std::uint32_t crc_by_bits(ByteView bytes, std::uint32_t crc) {
  for (std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
  }
  return crc;
}

Bytes words(std::initializer_list<std::uint32_t> list) {
  Bytes out;
  for (std::uint32_t word : list) put_u32(out, word);
  return out;
}

constexpr std::uint32_t file_name = 0x001, folder_name = 0x002, superblock_name = 0x0ff, folder_struct = 0x200,
                        inline_struct = 0x201, skip_list = 0x202, attribute = 0x374, create = 0x401,
                        remove_entry = 0x4ff, forward_crc = 0x5ff, soft_tail = 0x600, hard_tail = 0x601,
                        move_state = 0x7ff;
constexpr std::uint32_t nobody = 0x3ff;

/// One metadata block: a log of commits.
class Log {
 public:
  Log(Bytes& image, std::size_t block, std::uint32_t revision) : image_(image), start_(block * 512), at_(start_) {
    put(words({revision}));
  }
  Log& add(std::uint32_t type, std::uint32_t id, ByteView data) {
    return add_sized(type, id, static_cast<std::uint32_t>(data.size()), data);
  }
  Log& add(std::uint32_t type, std::uint32_t id, std::string_view data = {}) { return add(type, id, as_bytes(data)); }
  Log& add(std::uint32_t type, std::uint32_t id, std::initializer_list<std::uint32_t> data) {
    return add(type, id, ByteView{words(data)});
  }
  Log& add_deleted(std::uint32_t type, std::uint32_t id) { return add_sized(type, id, 0x3ff, {}); }
  Log& file(std::uint32_t id, std::string_view name, std::string_view data) {
    return add(create, id).add(file_name, id, name).add(inline_struct, id, data);
  }
  Log& superblock(std::uint32_t version = 0x20001, std::uint32_t blocks = 32, std::uint32_t block_size = 512) {
    return add(create, 0)
        .add(superblock_name, 0, "littlefs")
        .add(inline_struct, 0, {version, block_size, blocks, 255, 0x7fffffff, 1022});
  }
  /// `padding`: bytes behind the checksum that are no part of it. `phase`: the next commit's valid bit is 1.
  Log& commit(std::uint32_t padding = 0, bool phase = false) {
    std::uint32_t word = (0x500u | (phase ? 1 : 0)) << 20 | nobody << 10 | (4 + padding);
    put_tag(word);
    if (phase) previous_ ^= 0x80000000;
    put(words({crc_}));
    at_ += padding;
    crc_ = 0xffffffff;
    return *this;
  }
  [[nodiscard]] std::size_t end() const { return at_; }

 private:
  Log& add_sized(std::uint32_t type, std::uint32_t id, std::uint32_t size, ByteView data) {
    put_tag(type << 20 | id << 10 | size);
    put(data);
    return *this;
  }
  void put(ByteView data) {
    ASSERT_LE(at_ + data.size(), start_ + 512);
    crc_ = crc_by_bits(data, crc_);
    std::copy(data.begin(), data.end(), image_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ += data.size();
  }
  void put_tag(std::uint32_t word) {
    std::uint32_t mixed = word ^ previous_;
    previous_ = word;
    Bytes bytes = words({mixed});
    std::reverse(bytes.begin(), bytes.end());
    put(bytes);
  }

  Bytes& image_;
  std::size_t start_, at_;
  std::uint32_t previous_ = 0xffffffff, crc_ = 0xffffffff;
};

class LittlefsOfTheCLibrary : public testing::Test {
 protected:
  Bytes image = Bytes(32 * 512, 0xff);
  Log log(std::size_t block, std::uint32_t revision = 1) { return {image, block, revision}; }
  static Files files(std::initializer_list<std::pair<const char*, const char*>> list) {
    Files out;
    for (auto [path, text] : list) out[path] = to_bytes(text);
    return out;
  }
  [[nodiscard]] Files tree() const { return read(image); }
  void expect_fault(std::string_view evidence) const {
    Result<std::vector<FileOwned>> seen = read_littlefs(image);
    ASSERT_FALSE(seen);
    EXPECT_EQ(seen.error().code, Code::image_invalid);
    EXPECT_EQ(seen.error().remedy, Remedy::refuse);
    EXPECT_NE(describe(seen.error()).find(evidence), std::string::npos) << describe(seen.error());
  }
};

TEST_F(LittlefsOfTheCLibrary, ReplaysCommitsInOrder) {
  log(0)
      .superblock()
      .commit(5)
      .file(1, "b", "old")
      .commit()
      .file(1, "a", "first")
      .commit(12)  // "a" pushes "b" to 2
      .add(inline_struct, 2, "new")
      .commit()
      .file(3, "c", "gone")
      .commit()
      .add(remove_entry, 3)
      .commit();
  EXPECT_EQ(tree(), files({{"a", "first"}, {"b", "new"}}));
}

TEST_F(LittlefsOfTheCLibrary, TakesTheVersionBefore) {
  log(0).superblock(0x20000).file(1, "a", "x").commit();
  EXPECT_EQ(tree(), files({{"a", "x"}}));
  EXPECT_EQ(read_littlefs_superblock(image)->minor, 0);
}

TEST_F(LittlefsOfTheCLibrary, TakesCompactMetadataWithoutCreation) {
  log(1, 7)
      .add(superblock_name, 0, "littlefs")
      .add(inline_struct, 0, {0x20001, 512, 32, 255, 0x7fffffff, 1022})
      .add(file_name, 1, "a")
      .add(inline_struct, 1, "x")
      .add(attribute, 1, "mtim")
      .add(forward_crc, nobody, {16, 0})
      .commit();
  EXPECT_EQ(tree(), files({{"a", "x"}}));
}

TEST_F(LittlefsOfTheCLibrary, TakesTheBlockOfTheNewerRevision) {
  log(0, 3).superblock().file(1, "a", "newer").commit();
  log(1, 2).superblock().file(1, "a", "older").commit();
  EXPECT_EQ(tree(), files({{"a", "newer"}}));
  log(1, 4).superblock().file(1, "a", "newest").commit();
  EXPECT_EQ(tree(), files({{"a", "newest"}}));
}

TEST_F(LittlefsOfTheCLibrary, ComparesRevisionsAcrossTheirOverflow) {
  log(0, 0xffffffff).superblock().file(1, "a", "older").commit();
  log(1, 0).superblock().file(1, "a", "newer").commit();
  EXPECT_EQ(tree(), files({{"a", "newer"}}));
}

TEST_F(LittlefsOfTheCLibrary, GoesBackToTheLastWholeCommit) {
  Log torn = log(0).superblock().file(1, "a", "whole").commit();
  std::size_t end = torn.end();
  torn.add(inline_struct, 1, "torn").commit();
  EXPECT_EQ(tree(), files({{"a", "torn"}}));
  image[end + 5] ^= 0x10;
  EXPECT_EQ(tree(), files({{"a", "whole"}}));
}

TEST_F(LittlefsOfTheCLibrary, TakesTheOlderBlockWhereTheNewerHasNoWholeCommit) {
  log(0, 3).superblock().file(1, "a", "never whole");
  log(1, 2).superblock().file(1, "a", "older").commit();
  EXPECT_EQ(tree(), files({{"a", "older"}}));
}

TEST_F(LittlefsOfTheCLibrary, FollowsTheValidBitThatACommitAnnounces) {
  log(0).superblock().commit(3, true).file(1, "a", "x").commit(0, true).file(2, "b", "y").commit();
  EXPECT_EQ(tree(), files({{"a", "x"}, {"b", "y"}}));
}

TEST_F(LittlefsOfTheCLibrary, GoesOnInTheNextPairOfAFolder) {
  log(0).superblock().file(1, "a", "x").add(hard_tail, nobody, {6, 7}).commit();
  log(7, 4).add(file_name, 0, "b").add(inline_struct, 0, "y").add(soft_tail, nobody, {4, 5}).commit();
  log(4).commit();  // a folder that nothing names any more, still in the thread
  EXPECT_EQ(tree(), files({{"a", "x"}, {"b", "y"}}));
}

TEST_F(LittlefsOfTheCLibrary, TakesTheRootFromTheLastSuperblock) {
  log(0).superblock().add(hard_tail, nobody, {6, 7}).commit();
  log(6).superblock().file(1, "a", "x").commit();
  EXPECT_EQ(tree(), files({{"a", "x"}}));
}

TEST_F(LittlefsOfTheCLibrary, LeavesOutWhatHasMovedAlready) {
  // The power went after "b" had come into its new folder and before it left the old one.
  log(0)
      .superblock()
      .file(1, "a", "stays")
      .file(2, "b", "moves")
      .add(create, 3)
      .add(folder_name, 3, "d")
      .add(folder_struct, 3, {4, 5})
      .add(soft_tail, nobody, {4, 5})
      .commit();
  log(4)
      .add(create, 0)
      .add(file_name, 0, "b")
      .add(inline_struct, 0, "moves")
      .add(move_state, nobody, {0x4ffu << 20 | 2u << 10, 0, 1})
      .commit();
  EXPECT_EQ(tree(), files({{"a", "stays"}, {"d/", ""}, {"d/b", "moves"}}));
}

TEST_F(LittlefsOfTheCLibrary, AddsMoveStatesUp) {
  log(0)
      .superblock()
      .file(1, "a", "stays")
      .add(soft_tail, nobody, {4, 5})
      .add(move_state, nobody, {0x4ffu << 20 | 1u << 10, 0, 1})
      .commit();
  log(4).add(move_state, nobody, {0x4ffu << 20 | 1u << 10, 0, 1}).commit();  // the move is done: their xor is nothing
  EXPECT_EQ(tree(), files({{"a", "stays"}}));
}

TEST_F(LittlefsOfTheCLibrary, PassesOverEntriesWithoutContent) {
  log(0).superblock().add(create, 1).add(file_name, 1, "a").commit().file(2, "b", "x").commit();
  EXPECT_EQ(tree(), files({{"b", "x"}}));
}

TEST_F(LittlefsOfTheCLibrary, ReadsSkipListsFromTheirHead) {
  Bytes data = content(508 + 504 + 512, 3);
  auto put = [&](std::size_t block, const Bytes& head, std::size_t from, std::size_t size) {
    Bytes bytes = head;
    append(bytes, ByteView{data}.subspan(from, size));
    std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(block * 512));
  };
  put(20, {}, 0, 512);
  put(9, words({20}), 512, 508);
  put(13, words({9, 20}), 1020, 504);
  log(0).superblock().add(create, 1).add(file_name, 1, "a").add(skip_list, 1, {13, 1524}).commit();
  EXPECT_EQ(tree(), (Files{{"a", data}}));
}

TEST_F(LittlefsOfTheCLibrary, RefusesAVersionItDoesNotKnow) {
  log(0).superblock(0x20002).commit();
  expect_fault("2.2");
  image.assign(image.size(), 0xff);
  log(0).superblock(0x30000).commit();
  expect_fault("3.0");
}

TEST_F(LittlefsOfTheCLibrary, RefusesAnImageCutShort) {
  log(0).superblock(0x20001, 33).commit();
  expect_fault("32 of its 33 blocks");
}

TEST_F(LittlefsOfTheCLibrary, RefusesAThreadThatIsALoop) {
  log(0).superblock().add(soft_tail, nobody, {4, 5}).commit();
  log(4).add(soft_tail, nobody, {6, 7}).commit();
  log(6).add(soft_tail, nobody, {4, 5}).commit();
  expect_fault("loop");
}

TEST_F(LittlefsOfTheCLibrary, RefusesAFolderThatIsItsOwnParent) {
  log(0).superblock().add(create, 1).add(folder_name, 1, "d").add(folder_struct, 1, {0, 1}).commit();
  expect_fault("used twice");
}

TEST_F(LittlefsOfTheCLibrary, RefusesWildPointers) {
  log(0).superblock().add(soft_tail, nobody, {4, 32}).commit();
  expect_fault("blocks 4 and 32 of 32");
  log(0).superblock().add(create, 1).add(folder_name, 1, "d").add(folder_struct, 1, {0x7fffffff, 3}).commit();
  expect_fault("block 2147483647 of 32");
  log(0).superblock().add(create, 1).add(file_name, 1, "a").add(skip_list, 1, {32, 600}).commit();
  expect_fault("block 32 of 32");
  log(0).superblock().add(create, 1).add(file_name, 1, "a").add(skip_list, 1, {0x7fffffff, 600}).commit();
  expect_fault("block 2147483647 of 32");
}

TEST_F(LittlefsOfTheCLibrary, RefusesAPairThatHoldsNothingWhole) {
  log(0).superblock().add(create, 1).add(folder_name, 1, "d").add(folder_struct, 1, {4, 5}).commit();
  expect_fault("neither block 4 nor 5");
}

TEST_F(LittlefsOfTheCLibrary, RefusesContentThatIsClaimedMoreOftenThanItIsThere) {
  log(0)
      .superblock()
      .add(create, 1)
      .add(file_name, 1, "a")
      .add(skip_list, 1, {9, 500})
      .add(create, 2)
      .add(file_name, 2, "b")
      .add(skip_list, 2, {9, 500})
      .commit();
  expect_fault("used twice");
  log(0).superblock().add(create, 1).add(file_name, 1, "a").add(skip_list, 1, {9, 0x7fffffff}).commit();
  expect_fault("more than there is room for");
  log(0).superblock().add(create, 1).add(file_name, 1, "a").add(skip_list, 1, {9, 16000}).commit();
  expect_fault("more than there is room for");
  log(0).superblock().add(create, 1).add(file_name, 1, "a").add(skip_list, 1, {9, 10000}).commit();
  expect_fault("block 4294967295 of 32");
}

TEST_F(LittlefsOfTheCLibrary, RefusesNamesThatTheCLibraryCannotMake) {
  for (std::string_view name :
       {std::string_view{"a/b"}, std::string_view{"a/"}, std::string_view{""}, std::string_view{"a\0b", 3}}) {
    log(0).superblock().file(1, name, "x").commit();
    expect_fault("cannot be a name");
  }
  log(0).superblock().file(1, "a", "x").file(2, "a", "y").commit();
  expect_fault("twice");
}

TEST_F(LittlefsOfTheCLibrary, LeavesNamesThatLeadElsewhereToTheExtraction) {
  log(0).superblock().add(create, 1).add(folder_name, 1, "..").add(folder_struct, 1, {4, 5}).commit();
  log(4).file(0, "authorized_keys", "x").commit();
  std::vector<std::string> paths;
  std::vector<FileOwned> seen = read_littlefs(image).value();
  for (const FileOwned& file : seen) paths.push_back(file.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"../", "../authorized_keys"}));
  EXPECT_FALSE(check_extracted_names(paths));
}

TEST_F(LittlefsOfTheCLibrary, RefusesWhatItCannotName) {
  log(0).superblock().add(create, 1).add(0x003, 1, "a").add(inline_struct, 1, "x").commit();
  expect_fault("neither a file nor a folder");
  log(0).superblock().add(create, 1).add(file_name, 1, "a").add(folder_struct, 1, {4, 5}).commit();
  expect_fault("no content");
  log(0).superblock().add(create, 1).add(folder_name, 1, "a").add(inline_struct, 1, "x").commit();
  expect_fault("leads nowhere");
  log(0).superblock().add(soft_tail, nobody, {4, 5}).commit();
  log(4).add(soft_tail, nobody, "short").commit();
  expect_fault("a tail of 5 bytes");
  log(4).add(0x402, 1).commit();
  expect_fault("splice");
}

TEST_F(LittlefsOfTheCLibrary, TakesADeletedStructAsNone) {
  log(0).superblock().file(1, "a", "x").add_deleted(inline_struct, 1).commit().file(2, "b", "y").commit();
  EXPECT_EQ(tree(), files({{"b", "y"}}));
}

TEST(Littlefs, SaysThatAnotherThingIsNoLittlefs) {
  for (const Bytes& image : {Bytes{}, Bytes(65536, 0xff), Bytes(65536, 0), content(65536, 3), Bytes(7, 0xff)}) {
    Result<std::vector<FileOwned>> seen = read_littlefs(image);
    ASSERT_FALSE(seen);
    EXPECT_NE(seen.error().what.find("no LittleFS"), std::string::npos);
  }
}

TEST(Littlefs, FindsTheBlockSizeWhereTheFirstBlockIsLost) {
  for (std::uint32_t block = 128; block <= 65536; block *= 2) {
    Tree tree{{{"a", 5}}};
    Bytes image = build_littlefs(block * 4, {.block_size = block}, tree.views).value();
    std::copy_n(image.begin(), block, image.begin() + block);
    std::fill_n(image.begin(), block, std::uint8_t{0});
    EXPECT_TRUE(read(image) == whole_tree(tree.owned)) << block;
  }
}

TEST(Littlefs, ReadsAFlashDumpThatGoesOnBehindThePartition) {
  Tree tree{{{"a", 5000}}};
  Bytes image = build_littlefs(65536, {}, tree.views).value();
  image.resize(65536 + 5000, 0x5a);
  EXPECT_TRUE(read(image) == whole_tree(tree.owned));
}

TEST(Littlefs, RefusesEveryTruncation) {
  Tree tree{{{"a", 3000}, {"b", 0}, {"d/c", 60}}};
  Bytes image = build_littlefs(8192, {.block_size = 512}, tree.views).value();
  for (std::size_t size = 0; size < image.size(); ++size)
    ASSERT_FALSE(read_littlefs(ByteView{image}.first(size))) << size;  // the superblock counts the blocks
}

TEST(Littlefs, GivesTheSameTreeOrAFaultForEveryFlippedBitOfItsMetadata) {
  std::vector<NamedSize> list = many_files(30, 2);
  list.push_back({"d/e/f", 3000});
  Tree tree{list};
  Bytes image = build_littlefs(32768, {.block_size = 512}, tree.views).value();
  Files whole = whole_tree(tree.owned);
  std::size_t metadata = 0, faults = 0;
  while (metadata < image.size() && get_u32(image, metadata) == 1) metadata += 1024;  // pairs lie at the start
  ASSERT_GE(metadata, 4096u);
  for (std::size_t bit = 0; bit < metadata * 8; ++bit) {
    image[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    Result<std::vector<FileOwned>> seen = read_littlefs(image);
    if (!seen) {
      ++faults;
    } else {
      Files same;
      for (FileOwned& file : *seen) same[file.path] = std::move(file.content);
      ASSERT_TRUE(same == whole) << bit;
    }
    image[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
  }
  EXPECT_GT(faults, metadata);  // what is written lies under a checksum, what is erased may flip
}

TEST(Littlefs, SurvivesFlippedBitsUnderTrueChecksums) {
  // Random records in whole commits: what a checksum does not catch.
  std::uint32_t seed = 4711;
  SCOPED_TRACE(seed);
  std::mt19937 random{seed};
  constexpr std::uint32_t types[] = {file_name, folder_name,  folder_struct, inline_struct, skip_list, create,
                                     create,    remove_entry, soft_tail,     hard_tail,     move_state};
  for (int round = 0; round < 20000; ++round) {
    Bytes image(32 * 512, 0xff);
    for (std::size_t block : {0u, 2u, 3u, 4u}) {
      Log log{image, block, static_cast<std::uint32_t>(random() % 3)};
      if (block == 0) log.superblock();
      for (std::uint32_t i = 0, count = random() % 16; i < count; ++i) {
        std::uint32_t type = types[random() % std::size(types)], id = random() % 8 == 0 ? nobody : random() % 4;
        if (type <= folder_name)
          log.add(type, id, std::string(1, static_cast<char>('a' + random() % 5)));
        else
          log.add(type, id, {static_cast<std::uint32_t>(random() % 6), static_cast<std::uint32_t>(random() % 6)});
      }
      log.commit();
    }
    Result<std::vector<FileOwned>> seen = read_littlefs(image);
    std::size_t together = 0;
    if (seen)
      for (const FileOwned& file : *seen) together += file.content.size();
    ASSERT_LE(together, image.size());
  }
}

// Images of the C library v2.11.2 after random changes, blocks of 128 bytes; the CRCs are of the contents that it read.
TEST(Littlefs, ReadsImagesOfTheCLibrary) {
  auto listing = [](const char* name) {
    std::ifstream in{std::filesystem::path{ESPMINT_SOURCE_DIR} / "fuzz/corpus/littlefs_fuzz" / name, std::ios::binary};
    std::string out;
    for (const auto& [path, data] : read(Bytes{std::istreambuf_iterator<char>(in), {}}))
      out += path.ends_with('/') ? path + "\n" : fmt::format("{} {:08x}\n", path, crc_by_bits(data, 0xffffffff));
    return out;
  };
  // The power went while a file was on its way; as the library leaves it after its repair.
  EXPECT_EQ(listing("cut-amid-a-move"),
            "aa43 3a6771b0\n"
            "aaaaaaaa24 f457029a\n"
            "aaaaaaaaaaaaaaaaaa8 3f435620\n"
            "bbbbbbbbbbbb32 86d4c06d\n"
            "ccccc31 fd639405\n"
            "ccccccccc24 d6da3873\n"
            "ccccccccc31 df6f4a2f\n");
  EXPECT_EQ(listing("version-2.0"),
            "aaa32 fb490e4f\n"
            "aaaaaaaaaaaaaaaaa21/\n"
            "aaaaaaaaaaaaaaaaa21/ccccccccccc40 1ed4abdd\n"
            "bbbbbbb3/\n"
            "bbbbbbb3/bbbbbbbbbbbbbb7 ecd3374f\n"
            "bbbbbbbbbb35/\n"
            "bbbbbbbbbb35/aaaaaaaaaaaaaaaaaaa6 f82d0e27\n"
            "bbbbbbbbbb35/bbbbbbbbbbbb25 97ed838b\n"
            "bbbbbbbbbb35/ccccccc47/\n"
            "bbbbbbbbbb35/ccccccc47/b15/\n"
            "bbbbbbbbbb35/ccccccc47/b15/aa48/\n"
            "bbbbbbbbbb35/ccccccc47/b15/aa48/33 0a1e29c1\n"
            "bbbbbbbbbb35/ccccccc47/bbbbbbbbbbbbbb37/\n"
            "bbbbbbbbbb35/cccccccccccccccc20 7388270d\n");
}

}  // namespace
}  // namespace espmint
