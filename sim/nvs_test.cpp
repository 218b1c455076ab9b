#include "sim/nvs.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "sim/dice.hpp"
#include "sim/nvs_keys.hpp"
#include "sim/volumes_for_tests.hpp"

namespace espmint::sim {
namespace {

struct Chip {
  explicit Chip(std::uint32_t pages) : bytes(pages * Nvs::page_bytes, 0xff) {}
  Nvs nvs() { return {NorFlash{bytes}, 0, static_cast<std::uint32_t>(bytes.size())}; }
  Bytes bytes;
};

std::string sha256(ByteView bytes) { return to_hex(digest(EVP_sha256(), bytes)); }

// The reference tool's images of the same entries, by digest: esp-idf-nvs-partition-gen 0.1.9, format version 2.
TEST(Nvs, WritesWhatTheReferenceToolWrites) {
  Chip two{3};
  two.nvs().set_u8("a", "x", 1);
  two.nvs().set_string("b", "y", "two");
  EXPECT_EQ(sha256(two.bytes), "e4fc045eabc96602a2c2e6445e0770084b8ee681005b3fffaf1c6d14e4ef9353");

  Chip texts{3};
  texts.nvs().set_string("misc", "quoted", "a, \"b\", c");
  texts.nvs().set_string("misc", "sp", " leading and trailing ");
  texts.nvs().set_string("misc", "utf8", "été €");
  EXPECT_EQ(sha256(texts.bytes), "59d57e2f8fd07287746f37d29f9edea4f742ffd1ef7c716d57360a5867821b96");

  Chip full{4};  // the page's last entry but none is used
  for (int i = 0; i < 119; ++i) full.nvs().set_u8("fs", "k" + std::to_string(i), static_cast<std::uint8_t>(i));
  full.nvs().set_string("fs", "s", std::string(127, 'q'));
  full.nvs().set_u8("fs", "after", 9);
  EXPECT_EQ(sha256(full.bytes), "9347fd328a500385282890be26025c0d7ece8ef7bd1e4d04fe30d16a60155b6a");
}

// Images with integers and blobs between the strings.
TEST(Nvs, ReadsTheReferenceToolsImages) {
  auto folder = golden_folder();
  if (!folder) GTEST_SKIP() << "no golden images";
  auto image = [folder](std::string_view name) { return load_golden(*folder / "nvs" / name / "expected.bin"); };
  for (std::string_view name : {"namespaces", "read-only-1page"}) {
    Bytes bytes = image(name);
    ASSERT_FALSE(bytes.empty());
    Nvs nvs{NorFlash{bytes}, 0, static_cast<std::uint32_t>(bytes.size())};
    EXPECT_EQ(nvs.get_string("ns_0", "name"), "device 0");
    EXPECT_EQ(nvs.get_string("ns_5", "name"), "device 5");
    EXPECT_EQ(nvs.get_string("ns_5", "raw"), std::nullopt);
  }
  Bytes bytes = image("string-exact-fit");
  Nvs nvs{NorFlash{bytes}, 0, static_cast<std::uint32_t>(bytes.size())};
  EXPECT_EQ(nvs.get_string("fs", "s"), std::string(127, 'q'));
  EXPECT_EQ(nvs.get_u8("fs", "after"), 9);
  bytes = image("max-string");
  EXPECT_EQ((Nvs{NorFlash{bytes}, 0, static_cast<std::uint32_t>(bytes.size())}.get_string("ms", "s")->size()), 3967u);
}

TEST(Nvs, KeepsWhatItIsGivenAndLeavesTheOldValueErased) {
  Chip chip{3};
  EXPECT_EQ(chip.nvs().get_string("provision", "key1"), std::nullopt);
  EXPECT_TRUE(chip.nvs().set_string("provision", "key1", "alpha-1"));
  EXPECT_TRUE(chip.nvs().set_string("provision", "key1", "another"));
  EXPECT_TRUE(chip.nvs().set_string("provision", "key2", ""));
  EXPECT_TRUE(chip.nvs().set_u8("provision", "done", 1));
  EXPECT_EQ(chip.nvs().get_string("provision", "key1"), "another");
  EXPECT_EQ(chip.nvs().get_string("provision", "key2"), "");
  EXPECT_EQ(chip.nvs().get_u8("provision", "done"), 1);
  EXPECT_EQ(chip.nvs().get_u8("other", "done"), std::nullopt);
  // Namespace, the old key1 (two erased), the new one, key2, done; two bits each, lowest first.
  EXPECT_EQ(to_hex(ByteView{chip.bytes}.subspan(32, 3)), "82aaff");
  Bytes before = chip.bytes;
  EXPECT_TRUE(chip.nvs().set_string("provision", "key1", "another"));
  EXPECT_EQ(chip.bytes, before);
}

TEST(Nvs, GoesOnOnTheNextPageAndMakesRoomByCollecting) {
  Chip chip{3};
  for (int round = 0; round < 400; ++round) {
    ASSERT_TRUE(chip.nvs().set_u8("count", "n", static_cast<std::uint8_t>(round)));
    if (round % 40 == 0) {
      ASSERT_TRUE(chip.nvs().set_string("keep", "k" + std::to_string(round), "kept"));
    }
    ASSERT_EQ(chip.nvs().get_u8("count", "n"), static_cast<std::uint8_t>(round));
  }
  for (int round = 0; round < 400; round += 40)
    EXPECT_EQ(chip.nvs().get_string("keep", "k" + std::to_string(round)), "kept");
}

TEST(Nvs, RefusesWhatHasNoRoom) {
  Chip chip{3};
  EXPECT_FALSE(chip.nvs().set_u8("sixteen_chars_xx", "a", 1));
  EXPECT_FALSE(chip.nvs().set_u8("a", "sixteen_chars_xx", 1));
  EXPECT_FALSE(chip.nvs().set_string("a", "long", std::string(4000, 'x')));
  EXPECT_TRUE(chip.nvs().set_string("a", "one", std::string(3900, 'x')));
  EXPECT_TRUE(chip.nvs().set_string("a", "two", std::string(3900, 'y')));
  EXPECT_FALSE(chip.nvs().set_string("a", "three", std::string(3900, 'z')));
  EXPECT_EQ(chip.nvs().get_string("a", "one")->size(), 3900u);
  Chip none{0};
  EXPECT_FALSE(none.nvs().set_u8("a", "b", 1));
  EXPECT_EQ(none.nvs().get_u8("a", "b"), std::nullopt);
}

TEST(Nvs, IgnoresEntriesAndPagesWhoseChecksumIsWrong) {
  Chip chip{3};
  chip.nvs().set_string("provision", "key1", "alpha-1");
  chip.nvs().set_u8("provision", "done", 1);
  for (std::size_t damaged : {64u + 24, 96u + 4, 128u, 160u + 8, 4u}) {
    Chip other = chip;
    other.bytes[damaged] = static_cast<std::uint8_t>(other.bytes[damaged] ^ 1);
    bool whole = other.nvs().get_string("provision", "key1") && other.nvs().get_u8("provision", "done");
    EXPECT_FALSE(whole) << damaged;
  }
}

std::vector<StoredFile> all_of(Bytes partition) {
  return Nvs{NorFlash{partition}, 0, static_cast<std::uint32_t>(partition.size())}.all();
}

const std::vector<StoredFile> some_entries{{"text", to_bytes("hello"), "string"},
                                           {"none", {}, "string"},
                                           {"flag", {7}, "u8"},
                                           {"big", pattern(3500), "blob"},
                                           {"empty", {}, "blob"}};

Digests with_space(const std::vector<StoredFile>& entries) {
  Digests out;
  for (const auto& [name, sha] : digests_of(entries)) out["identity/" + name] = sha;
  return out;
}

TEST(NvsAll, ReadsBlobsInOnePieceAndInChunks) {
  EXPECT_EQ(digests_of(all_of(nvs_partition("identity", some_entries))), with_space(some_entries));
  std::vector<StoredFile> small = some_entries;
  small[3].content.resize(1500);
  EXPECT_EQ(digests_of(all_of(nvs_partition("identity", small, 4, 1))), with_space(small));
  EXPECT_TRUE(all_of({}).empty());
  EXPECT_TRUE(all_of(Bytes(8192, 0xff)).empty());
}

TEST(NvsAll, LeavesOutABlobThatLacksAChunk) {
  Bytes bytes = nvs_partition("identity", {{"big", pattern(2500), "blob"}});
  ASSERT_EQ(all_of(bytes).size(), 1u);
  Bytes torn = bytes;
  torn[64 + 2 * 32] ^= 1;  // the first chunk's data: its checksum is wrong
  EXPECT_TRUE(all_of(torn).empty());
  torn = bytes;
  torn[64 + 32 + 3] ^= 1;  // its number: the entry's checksum is wrong
  EXPECT_TRUE(all_of(torn).empty());
}

TEST(NvsKeys, OpenWhatWasEncryptedWithThemAndNothingElse) {
  Bytes raw = pattern(64, 9), clear = nvs_partition("identity", some_entries), sealed = nvs_encrypted(clear, raw);
  Bytes partition = raw;
  put_u32(partition, plain_crc(raw));
  partition.resize(4096, 0xff);
  auto keys = parse_nvs_keys(partition);
  ASSERT_TRUE(keys);
  auto is_unreadable = [](Bytes bytes) {
    return Nvs{NorFlash{bytes}, 0, static_cast<std::uint32_t>(bytes.size())}.is_unreadable();
  };
  EXPECT_TRUE(is_unreadable(sealed));
  EXPECT_FALSE(is_unreadable(clear));
  EXPECT_FALSE(is_unreadable(Bytes(8192, 0xff)));
  EXPECT_EQ(decrypt_nvs(sealed, *keys), clear);
  (*keys)[40] ^= 1;
  EXPECT_TRUE(is_unreadable(decrypt_nvs(sealed, *keys)));
  partition[3] ^= 1;
  EXPECT_FALSE(parse_nvs_keys(partition));
  EXPECT_FALSE(parse_nvs_keys(Bytes(4096, 0xff)));
  EXPECT_FALSE(parse_nvs_keys({}));
}

TEST(NvsKeys, ReadTheReferenceToolsImages) {
  auto folder = golden_folder();
  if (!folder) GTEST_SKIP() << "no golden images";
  auto load = [&](std::string_view path) { return load_golden(*folder / "nvs" / path); };
  for (std::string name : {"all-types-v1", "all-types-v2", "blob-multi-chunk", "seed-24k"}) {
    auto keys = parse_nvs_keys(load("enc-" + name + "/in/key.bin"));
    ASSERT_TRUE(keys) << name;
    EXPECT_EQ(decrypt_nvs(load("enc-" + name + "/expected.bin"), *keys), load(name + "/expected.bin")) << name;
  }
  EXPECT_EQ(derive_nvs_keys(load("keys-hmac/in/hmac_key.bin")), parse_nvs_keys(load("keys-hmac/expected.bin")));
  EXPECT_EQ(derive_nvs_keys(load("keys-hmac/in/hmac_key.bin")), parse_nvs_keys(load("enc-hmac/in/key.bin")));
}

TEST(NvsAll, ReadsTheReferenceToolsImages) {
  auto folder = golden_folder();
  if (!folder) GTEST_SKIP() << "no golden images";
  auto load = [&](std::string_view path) { return load_golden(*folder / "nvs" / path); };
  for (std::string version : {"v1", "v2"}) {
    std::map<std::string, std::string> seen;
    for (const StoredFile& entry : all_of(load("all-types-" + version + "/expected.bin")))
      seen[entry.name] = fmt::format("{} {}", entry.type, to_hex(entry.content));
    EXPECT_EQ(seen.size(), 18u) << version;
    EXPECT_EQ(seen["storage/i8_min"], "i8 80");
    EXPECT_EQ(seen["storage/u16_max"], "u16 ffff");
    EXPECT_EQ(seen["storage/i32_min"], "i32 00000080");
    EXPECT_EQ(seen["storage/u64_max"], "u64 ffffffffffffffff");
    EXPECT_EQ(seen["storage/str_empty"], "string ");
    EXPECT_EQ(seen["storage/hex"], "blob 0123456789abcdefabcdef");
    EXPECT_EQ(seen["storage/key_of_15_chars"], "u8 07");
  }
  Digests seen = digests_of(all_of(load("blob-multi-chunk/expected.bin")));
  std::set<std::string> found;
  for (const auto& [name, sha] : seen) found.insert(sha);
  for (const char* file : {"b4000.bin", "b5000.bin", "b9000.bin"})
    EXPECT_TRUE(found.contains(sha256(load(std::string{"enc-blob-multi-chunk/in/"} + file)))) << file;
}

// Any bytes: whatever comes, it ends.
TEST(NvsAll, SurvivesDamageOfEverySort) {
  Bytes clear = nvs_partition("identity", some_entries);
  Dice dice{4711};
  for (int round = 0; round < 300; ++round) {
    Bytes bytes = clear;
    for (std::uint64_t i = 0; i <= dice.below(6); ++i) bytes[dice.below(1024)] = dice.byte();
    if (dice.below(2) == 0) {  // or as if it had been written so
      std::size_t at = 64 + 32 * dice.below(12);
      bytes[at + dice.below(4)] = dice.byte();
      bytes[at + 24 + dice.below(8)] = dice.byte();
      Bytes covered{bytes.begin() + static_cast<std::ptrdiff_t>(at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(at) + 4};
      append(covered, ByteView{bytes}.subspan(at + 8, 24));
      set_u32(bytes, at + 4, plain_crc(covered));
    }
    if (dice.below(8) == 0) bytes.resize(dice.below(bytes.size()));
    for (const StoredFile& entry : all_of(bytes)) EXPECT_LE(entry.content.size(), bytes.size());
    decrypt_nvs(bytes, NvsKeys{1, 2, 3});
  }
}

}  // namespace
}  // namespace espmint::sim
