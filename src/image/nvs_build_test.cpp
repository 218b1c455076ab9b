#include "image/nvs_build.hpp"

#include <gtest/gtest.h>

#include <random>

#include "image/nvs_layout.hpp"

namespace espmint {
namespace {

using Entries = std::vector<NvsEntry>;

NvsEntry number(std::string space, std::string key, NvsType type, std::uint64_t value) {
  return {std::move(space), std::move(key), type, {}, value};
}
NvsEntry string(std::string space, std::string key, std::string_view text) {
  return {std::move(space), std::move(key), NvsType::string, to_bytes(text)};
}
NvsEntry blob(std::string space, std::string key, Bytes value) {
  return {std::move(space), std::move(key), NvsType::blob, std::move(value)};
}
Bytes counting(std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + (i >> 8) * 13);
  return out;
}
/// So many u8 entries; with their namespace they fill one entry more.
Entries small_ones(std::size_t count) {
  Entries out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(number("n", fmt::format("k{}", i), NvsType::u8, i & 0xff));
  return out;
}
Entries operator+(Entries a, const Entries& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes built(ByteCount size, const Entries& entries, NvsBuildOptions options = {}) {
  Result<Bytes> image = build_nvs(size, options, entries);
  EXPECT_TRUE(image) << describe(image.error());
  return image ? *image : Bytes(4096, 0xff);
}
Entries read_back(ByteView image) {
  std::vector<std::string> damage;
  Result<Entries> entries = read_nvs(image, &damage);
  EXPECT_TRUE(entries) << describe(entries.error());
  EXPECT_EQ(damage, std::vector<std::string>{});
  return entries ? *entries : Entries{};
}

void expect_fault(ByteCount size, const Entries& entries, Code code, std::string_view words,
                  NvsBuildOptions options = {}) {
  Result<Bytes> image = build_nvs(size, options, entries);
  ASSERT_FALSE(image) << words;
  EXPECT_EQ(image.error().code, code);
  EXPECT_EQ(image.error().remedy, Remedy::refuse);
  EXPECT_NE(describe(image.error()).find(words), std::string::npos) << describe(image.error());
}

TEST(NvsBuild, WritesWhatTheReferenceToolWrites) {
  // esp_idf_nvs_partition_gen 0.2.0 (67113ed0), 0x3000 bytes: namespace ns_0; id u32 0; name string "device 0"; raw
  // hex2bin 0001.
  Bytes expected = from_hex(
                       "feffffff00000000feffffffffffffffffffffffffffffffffffffff842dbab9"
                       "aaeaffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                       "000101ffc96e016d6e735f3000000000000000000000000001ffffffffffffff"
                       "010401ff59aa99366964000000000000000000000000000000000000ffffffff"
                       "012102ffc9d4dfc16e616d650000000000000000000000000900ffffb44059f3"
                       "646576696365203000ffffffffffffffffffffffffffffffffffffffffffffff"
                       "01420200f03b1c77726177000000000000000000000000000200ffff69cff888"
                       "0001ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                       "014801ff6e8a554d72617700000000000000000000000000020000000100ffff")
                       .value();
  expected.resize(0x3000, 0xff);
  Bytes seen = built(
      0x3000, {number("ns_0", "id", NvsType::u32, 0), string("ns_0", "name", "device 0"), blob("ns_0", "raw", {0, 1})});
  EXPECT_EQ(to_hex(ByteView{seen}.first(320)), to_hex(ByteView{expected}.first(320)));
  EXPECT_TRUE(seen == expected);
}

TEST(NvsBuild, WhatIsBuiltIsReadBack) {
  const auto negative = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
  const Entries entries{number("storage", "u8", NvsType::u8, 255),
                        number("storage", "i8", NvsType::i8, negative(-128)),
                        number("storage", "u16", NvsType::u16, 65535),
                        number("storage", "i16", NvsType::i16, negative(-32768)),
                        number("storage", "u32", NvsType::u32, 0xffff'ffff),
                        number("storage", "i32", NvsType::i32, negative(-2147483648)),
                        number("storage", "u64", NvsType::u64, ~std::uint64_t{0}),
                        number("storage", "i64", NvsType::i64, std::uint64_t{1} << 63),
                        string("wifi", "empty", ""),
                        string("wifi", "31 and a NUL", std::string(31, 'a')),
                        string("wifi", "32 and a NUL", std::string(32, 'b')),
                        blob("storage", "none", {}),
                        blob("storage", "32", counting(32)),
                        string("n", "key_of_15_bytes", "x")};
  EXPECT_EQ(read_back(built(0x3000, entries)), entries);
  EXPECT_EQ(read_back(built(0x3000, entries, {.version = NvsVersion::v1})), entries);
  EXPECT_EQ(built(0x3000, entries, {.version = NvsVersion::v1})[8], 0xff);
}

TEST(NvsBuild, NamespacesAreNumberedAsTheyAreMet) {
  const Entries entries{namespace_entry("empty"), number("a", "x", NvsType::u8, 1), number("b", "x", NvsType::u8, 2),
                        number("a", "y", NvsType::u8, 3)};
  Bytes image = built(0x3000, entries);
  const auto entry = [&](std::size_t at) { return ByteView{image}.subspan(64 + 32 * at, 32); };
  const std::pair<int, std::string_view> expected[]{{0, "empty"}, {0, "a"}, {2, "x"}, {0, "b"}, {3, "x"}, {2, "y"}};
  for (std::size_t i = 0; i < std::size(expected); ++i) {
    EXPECT_EQ(entry(i)[0], expected[i].first) << i;
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(&entry(i)[8])), expected[i].second) << i;
  }
  EXPECT_EQ(read_back(image).size(), 3u);
}

TEST(NvsBuild, AFullPageIsClosedAndTheLastStaysActive) {
  for (std::size_t count : {124u, 125u, 126u, 250u, 251u, 252u}) {
    const Entries entries = small_ones(count);
    Bytes image = built(0x4000, entries);
    const std::size_t pages = (count + 1 + 125) / 126;
    for (std::size_t page = 0; page < 4; ++page)
      EXPECT_EQ(get_u32(image, page * 4096), page + 1 < pages    ? nvs::page_full
                                             : page + 1 == pages ? nvs::page_active
                                                                 : nvs::page_blank)
          << count << " " << page;
    EXPECT_EQ(read_back(image), entries);
  }
}

TEST(NvsBuild, AStringNeverFillsAPageToItsLastEntry) {
  // 120 u8 and their namespace are 121 entries, so five are left: a head and four times 32 bytes.
  Bytes too_tight = built(0x4000, small_ones(120) + Entries{string("n", "s", std::string(127, 'q'))});
  EXPECT_EQ(get_u32(too_tight, 4096), nvs::page_active);
  Bytes fits = built(0x4000, small_ones(119) + Entries{string("n", "s", std::string(127, 'q'))});
  EXPECT_EQ(get_u32(fits, 4096), nvs::page_blank);
}

TEST(NvsBuild, ABlobIsCutAtTheEndsOfPages) {
  for (std::size_t before : {0u, 1u, 60u, 122u, 123u, 124u, 125u, 126u}) {
    for (std::size_t size : {0u, 1u, 31u, 32u, 33u, 3900u, 3936u, 3968u, 3969u, 4000u, 5000u, 9000u}) {
      const Entries entries =
          small_ones(before) + Entries{blob("n", "b", counting(size))} + Entries{number("m", "behind", NvsType::u8, 1)};
      EXPECT_EQ(read_back(built(0x8000, entries)), entries) << before << " before " << size;
    }
  }
}

TEST(NvsBuild, WithOneEntryLeftAnEmptyChunkIsWrittenFirst) {
  Bytes image = built(0x4000, small_ones(124) + Entries{blob("n", "b", counting(64))});
  ByteView last = ByteView{image}.subspan(64 + 32 * 125, 32);
  EXPECT_EQ(last[1], nvs::blob_data_type);
  EXPECT_EQ(get_u16(last, 24), 0);
  EXPECT_EQ(get_u32(last, 28), 0xffff'ffff);  // the checksum of nothing
}

TEST(NvsBuild, AnyEntriesAreReadBack) {
  std::mt19937 random{4711};
  for (int run = 0; run < 200; ++run) {
    Entries entries;
    for (std::size_t i = 0, count = random() % 60; i < count; ++i) {
      std::string space = fmt::format("s{}", random() % 3), key = fmt::format("k{}", i);
      switch (random() % 3) {
        case 0:
          entries.push_back(number(space, key, NvsType::u16, random() & 0xffff));
          break;
        case 1:
          entries.push_back(string(space, key, std::string(random() % 600, 's')));
          break;
        default:
          entries.push_back(blob(space, key, counting(random() % 1900)));
          break;
      }
    }
    const NvsBuildOptions options{.version = run % 2 ? NvsVersion::v1 : NvsVersion::v2};
    EXPECT_EQ(read_back(built(0x20000, entries, options)), entries) << run;
  }
}

TEST(NvsBuild, APartitionForReadingHasNoSparePageAndOnlyThoseUsed) {
  EXPECT_EQ(built(0x1000, small_ones(10)).size(), 0x1000u);
  EXPECT_EQ(built(0x2000, small_ones(10)).size(), 0x1000u);
  EXPECT_EQ(built(0x2000, small_ones(130)).size(), 0x2000u);
  EXPECT_EQ(built(0x3000, {}).size(), 0x3000u);
  EXPECT_EQ(get_u32(built(0x3000, {}), 0), nvs::page_active);
}

TEST(NvsBuild, RefusesSizesThatAreNone) {
  for (ByteCount size : {ByteCount{0}, ByteCount{4095}, ByteCount{14336}, ByteCount{1} << 40})
    expect_fault(size, {}, Code::image_invalid, "NVS size");
}

TEST(NvsBuild, WithoutRoomItSaysWhatSizeWouldDo) {
  expect_fault(0x1000, small_ones(126), Code::image_no_space, "'n.k125' does not fit into an NVS of 4 KB");
  expect_fault(0x1000, small_ones(126), Code::image_no_space, "8 KB (0x2000)");
  expect_fault(0x2000, small_ones(252), Code::image_no_space, "16 KB (0x4000)");
  expect_fault(0x3000, {blob("n", "b", counting(9000)), number("n", "z", NvsType::u8, 1)}, Code::image_no_space,
               "'n.b' does not fit into an NVS of 12 KB: one page is kept free");
  for (ByteCount size : {0x1000u, 0x2000u, 0x3000u, 0x5000u}) {
    for (std::size_t count : {126u, 252u, 378u, 700u}) {
      const Entries entries = small_ones(count);
      Result<Bytes> image = build_nvs(size, {}, entries);
      if (image) continue;
      const std::string text = describe(image.error());
      const std::size_t at = text.find("(0x");
      ASSERT_NE(at, std::string::npos) << text;
      const ByteCount enough = std::stoull(text.substr(at + 1), nullptr, 16);
      EXPECT_GT(enough, size);
      EXPECT_EQ(read_back(built(enough, entries)), entries);
      EXPECT_FALSE(build_nvs(enough - 0x1000, {}, entries));
    }
  }
}

TEST(NvsBuild, RefusesWhatCannotBeNamed) {
  const auto refused = [](std::string space, std::string key, std::string_view words) {
    expect_fault(0x3000, {number(std::move(space), std::move(key), NvsType::u8, 1)}, Code::input_invalid, words);
  };
  refused("n", "sixteen_chars_xx", "'n.sixteen_chars_xx' has a key longer than 15 bytes: 16 bytes");
  refused("sixteen_chars_xx", "a", "has a namespace longer than 15 bytes");
  refused("n", "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9",
          "longer than 15 bytes");  // 8 letters
  refused("", "a", "lacks the name of its namespace");
  refused("n", std::string("a\0b", 3), "NUL");
  EXPECT_EQ(read_back(built(0x3000, {number("n", "\xc3\xa9t\xc3\xa9", NvsType::u8, 1)}))[0].key, "\xc3\xa9t\xc3\xa9");
}

TEST(NvsBuild, RefusesMoreNamespacesThanThereAreNumbers) {
  Entries entries;
  for (int i = 0; i < 254; ++i) entries.push_back(number(fmt::format("n{}", i), "k", NvsType::u8, 1));
  EXPECT_EQ(read_back(built(0x10000, entries)), entries);
  entries.push_back(number("n254", "k", NvsType::u8, 1));
  expect_fault(0x10000, entries, Code::input_invalid, "one namespace more than the 254");
}

TEST(NvsBuild, RefusesNumbersThatTheirTypeCannotHold) {
  const auto minus_129 = static_cast<std::uint64_t>(-129);
  for (auto [type, value] : {std::pair{NvsType::u8, std::uint64_t{256}},
                             {NvsType::i8, 128},
                             {NvsType::i8, minus_129},
                             {NvsType::u16, 0x10000},
                             {NvsType::i16, 0x8000},
                             {NvsType::u32, 0x1'0000'0000},
                             {NvsType::i32, 0x8000'0000}})
    expect_fault(0x3000, {number("n", "a", type, value)}, Code::input_invalid, "does not fit its type");
  expect_fault(0x3000, {number("n", "a", static_cast<NvsType>(0x42), 1)}, Code::input_invalid, "no type");
}

TEST(NvsBuild, RefusesValuesThatAreTooLong) {
  const std::string at_most(3967, 's');
  EXPECT_EQ(read_back(built(0x4000, {string("n", "s", at_most)}))[0].value.size(), 3967u);
  expect_fault(0x4000, {string("n", "s", at_most + "s")}, Code::input_invalid, "3969 bytes with its NUL, at most 3968");
  const NvsBuildOptions v1{.version = NvsVersion::v1};
  EXPECT_EQ(read_back(built(0x3000, {blob("n", "b", counting(1984))}, v1))[0].value.size(), 1984u);
  expect_fault(0x3000, {blob("n", "b", counting(1985))}, Code::input_invalid, "1985 bytes, at most 1984", v1);
  expect_fault(0x3000, {string("n", "s", std::string(1984, 's'))}, Code::input_invalid, "at most 1984", v1);
  EXPECT_EQ(read_back(built(0x100000, {blob("n", "b", counting(508'000))}))[0].value.size(), 508'000u);
  expect_fault(0x100000, {blob("n", "b", counting(508'001))}, Code::input_invalid, "at most 508000");
}

TEST(NvsBuild, ANameTwiceIsRefusedOrWrittenTwice) {
  const Entries entries{number("n", "a", NvsType::u8, 1), number("m", "a", NvsType::u8, 2),
                        number("n", "a", NvsType::u8, 3)};
  expect_fault(0x3000, entries, Code::input_invalid, "'n.a' is there twice");
  Bytes image = built(0x3000, entries, {.twice = true});
  EXPECT_EQ(image[33], 0xfe);  // the states of entries 4 to 7: the fifth is written
}

TEST(NvsBuild, FaultsNeverShowAValue) {
  for (const Entries& entries :
       {Entries{string("n", "s", std::string(5000, 'S'))}, Entries{blob("n", "b", Bytes(600'000, 'S'))},
        Entries{string("n", "k", "SSSSSS"), string("n", "k", "SSSSSS")}}) {
    Result<Bytes> image = build_nvs(0x3000, {}, entries);
    ASSERT_FALSE(image);
    EXPECT_EQ(describe(image.error()).find("SSS"), std::string::npos);
  }
}

TEST(NvsBuild, AnyCutAndAnyFlippedBitIsAFaultOrPassedOver) {
  const Entries entries{number("n", "a", NvsType::u8, 1), string("n", "s", "words"), blob("n", "b", counting(70))};
  const Bytes image = built(0x3000, entries);
  for (std::size_t size = 0; size < image.size(); size += 61) {
    Result<Entries> cut = read_nvs(ByteView{image}.first(size));
    EXPECT_EQ(cut.has_value(), size != 0 && size % 4096 == 0) << size;
  }
  for (std::size_t bit = 0; bit < 8 * (64 + 32 * 10); ++bit) {
    Bytes bent = image;
    bent[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    std::vector<std::string> damage;
    Result<Entries> seen = read_nvs(bent, &damage);
    if (!seen) continue;
    for (const NvsEntry& entry : *seen)
      EXPECT_NE(std::find(entries.begin(), entries.end(), entry), entries.end())
          << "bit " << bit << " made up an entry";
  }
}

TEST(NvsMerge, NewValuesTakeThePlaceOfOldOnes) {
  const Entries board{number("app", "boots", NvsType::u32, 77), string("wifi", "ssid", "old"),
                      string("app", "id", "SN-1")};
  const Entries recipe{string("wifi", "ssid", "new"), string("app", "cert", "-----")};
  const Entries merged = merge_nvs(board, recipe);
  EXPECT_EQ(merged, (Entries{board[0], recipe[0], board[2], recipe[1]}));
  EXPECT_EQ(read_back(built(0x3000, merged)), merged);
  EXPECT_EQ(merge_nvs(board, {}), board);
  EXPECT_EQ(merge_nvs({}, recipe), recipe);
  EXPECT_EQ(merge_nvs(merged, recipe), merged);
}

TEST(NvsMerge, ANewTypeReplacesEveryOldOneOfTheName) {
  const Entries board{number("n", "a", NvsType::u8, 1), number("m", "a", NvsType::u8, 2), string("n", "a", "x")};
  EXPECT_EQ(merge_nvs(board, Entries{number("n", "a", NvsType::i32, 5)}),
            (Entries{number("n", "a", NvsType::i32, 5), number("m", "a", NvsType::u8, 2)}));
}

}  // namespace
}  // namespace espmint
