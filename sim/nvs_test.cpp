#include "sim/nvs.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "sim/digest.hpp"

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

// Images with integers and blobs between the strings. ESPMINT_GOLDEN names the folder of the reference tool's outputs.
TEST(Nvs, ReadsTheReferenceToolsImages) {
  const char* named = std::getenv("ESPMINT_GOLDEN");
  const std::string beside = ESPMINT_SOURCE_DIR "/../shared/golden";
  const char* folder = named ? named : std::filesystem::exists(beside) ? beside.c_str() : nullptr;
  if (!folder) GTEST_SKIP() << "ESPMINT_GOLDEN is not set";
  auto image = [folder](std::string_view name) {
    std::ifstream in{std::filesystem::path{folder} / "nvs" / name / "expected.bin", std::ios::binary};
    return Bytes{std::istreambuf_iterator<char>{in}, {}};
  };
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

}  // namespace
}  // namespace espmint::sim
