#include "image/merge.hpp"

#include <gtest/gtest.h>

#include <random>

#include "image/extracted_name.hpp"

namespace espmint {
namespace {

/// A small image, valid to its last byte. Source: ESP-IDF Programming Guide, App Image Format.
Bytes app_image(std::size_t payload, std::uint32_t load_address = 0x3f40'0020) {
  Bytes out{0xe9, 1, 2, 0x20};
  put_u32(out, 0x4008'0000);
  append(out, Bytes{0xee, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 1});
  put_u32(out, load_address);
  put_u32(out, static_cast<std::uint32_t>(payload));
  out.resize(out.size() + payload, 0x33);
  std::uint8_t checksum = 0xef ^ (payload % 2 == 1 ? 0x33 : 0);
  out.resize(out.size() | 15, 0);
  out.push_back(checksum);
  append(out, sha256_of(out));
  return out;
}
Bytes bootloader() { return app_image(4000, 0x4007'8000); }

Bytes table(std::string_view csv) { return build_partition_table(parse_partition_csv(csv).value()).value(); }
constexpr std::string_view usual_csv =
    "nvs,data,nvs,0x9000,0x5000\notadata,data,ota,0xe000,0x2000\napp0,app,ota_0,0x10000,0x10000\n"
    "app1,app,ota_1,,0x10000\nstorage,data,spiffs,,0x4000\n";

/// A flash of FF with things in it.
struct Dump {
  Bytes bytes;
  explicit Dump(std::size_t size) : bytes(size, 0xff) {}
  Dump& put(std::size_t at, const Bytes& content) {
    std::copy(content.begin(), content.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    return *this;
  }
};
Dump usual_dump() {
  Dump dump(0x40000);
  dump.put(0x1000, bootloader()).put(0x8000, table(usual_csv)).put(0x9000, Bytes(100, 0x4e));
  dump.put(0x10000, app_image(5000)).put(0x30000, Bytes(0x300, 0x53));
  return dump;
}

Bytes merged_again(const SplitFlash& split, std::size_t size) {
  std::vector<MergePart> parts;
  for (const SplitPart& part : split.parts) parts.push_back({part.at, part.bytes, part.name});
  MergeOptions options{.target = split.target, .fill_to = split.target.bytes + size, .bootloader = {}, .header = {}};
  Result<Bytes> whole = merge_parts(parts, options);
  EXPECT_TRUE(whole) << describe(whole.error());
  return whole ? *whole : Bytes{};
}

const SplitPart* part_named(const SplitFlash& split, std::string_view name) {
  for (const SplitPart& part : split.parts)
    if (part.name == name) return &part;
  return nullptr;
}

// ---------------------------------------------------------------- merge

TEST(Merge, PutsEachPartInItsPlaceAndErasedFlashBetween) {
  Bytes a(3, 0x11), b(5, 0x22);
  Result<Bytes> whole = merge_parts({{{0x20}, b, "b"}, {{0x10}, a, "a"}}, {});
  ASSERT_TRUE(whole);
  ASSERT_EQ(whole->size(), 0x25u);
  EXPECT_EQ((*whole)[0x0f], 0xff);
  EXPECT_EQ((*whole)[0x10], 0x11);
  EXPECT_EQ((*whole)[0x13], 0xff);
  EXPECT_EQ((*whole)[0x24], 0x22);
}

TEST(Merge, BeginsAtItsTargetAndIsFilledUpToAFlashOffset) {
  Bytes a(16, 0x11);
  Result<Bytes> whole =
      merge_parts({{{0x1000}, a, "a"}}, {.target = {0x1000}, .fill_to = 0x2000, .bootloader = {}, .header = {}});
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->size(), 0x1000u);
  EXPECT_EQ(whole->front(), 0x11);
  EXPECT_EQ(whole->back(), 0xff);
}

TEST(Merge, RefusesAnOverlapAndNamesBothFiles) {
  Bytes a(0x101, 1), b(16, 2);
  Result<Bytes> whole = merge_parts({{{0x100}, b, "second.bin"}, {{0x0}, a, "first.bin"}}, {});
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().code, Code::input_invalid);
  EXPECT_EQ(whole.error().what, "first.bin and second.bin overlap");
  EXPECT_TRUE(merge_parts({{{0x101}, b, "b"}, {{0x0}, a, "a"}}, {})) << "touching is not overlapping";
}

TEST(Merge, RefusesWhatHasNoPlace) {
  Bytes a(16, 1);
  EXPECT_FALSE(merge_parts({}, {}));
  EXPECT_FALSE(merge_parts({{{0}, {}, "empty"}}, {}));
  EXPECT_FALSE(merge_parts({{{0xffff'fff8}, a, "past 4 GB"}}, {}));
  EXPECT_FALSE(
      merge_parts({{{0x800}, a, "before"}}, {.target = {0x1000}, .fill_to = {}, .bootloader = {}, .header = {}}));
  EXPECT_FALSE(
      merge_parts({{{0x1ff8}, a, "behind"}}, {.target = {}, .fill_to = 0x2000, .bootloader = {}, .header = {}}));
}

TEST(Merge, ChangesTheBootloadersHeaderAlone) {
  Bytes boot = bootloader(), app = app_image(100);
  MergeOptions options{.target = {},
                       .fill_to = {},
                       .bootloader = FlashOffset{0x1000},
                       .header = {.mode = 0, .frequency_code = {}, .size = 8_MiB}};
  Result<Bytes> whole = merge_parts({{{0x1000}, boot, "boot"}, {{0x10000}, app, "app"}}, options);
  ASSERT_TRUE(whole);
  AppImage changed = parse_app_image(ByteView{*whole}.subspan(0x1000)).value();
  EXPECT_TRUE(changed.intact());
  EXPECT_EQ(changed.flash_mode, 0);
  EXPECT_EQ(flash_size_of_code(changed.flash_size_code), 8_MiB);
  EXPECT_TRUE(std::equal(app.begin(), app.end(), whole->begin() + 0x10000));
  options.bootloader = FlashOffset{0x2000};
  EXPECT_FALSE(merge_parts({{{0x1000}, boot, "boot"}}, options)) << "there is none in that place";
}

// ---------------------------------------------------------------- split

TEST(Split, FindsEveryPartAndMergesToTheSameBytes) {
  Dump dump = usual_dump();
  Result<SplitFlash> split = split_flash(dump.bytes, {});
  ASSERT_TRUE(split) << describe(split.error());
  ASSERT_EQ(split->parts.size(), 5u);
  EXPECT_EQ(split->parts[0].name, "bootloader.bin");
  EXPECT_EQ(split->parts[0].bytes.size(), bootloader().size());
  EXPECT_EQ(split->parts[1].name, "partition-table.bin");
  EXPECT_EQ(split->parts[1].bytes.size(), 0xc00u);
  EXPECT_EQ(split->parts[2].name, "nvs.bin");
  EXPECT_EQ(split->parts[2].bytes.size(), 0x5000u) << "data keeps its partition's size";
  EXPECT_EQ(split->parts[3].name, "app0.bin");
  EXPECT_EQ(split->parts[3].bytes.size(), app_image(5000).size()) << "an app its own";
  EXPECT_EQ(split->parts[4].name, "storage.bin");
  EXPECT_EQ(split->blank, (std::vector<std::string>{"otadata", "app1"}));
  EXPECT_TRUE(split->beyond.empty());
  ASSERT_TRUE(split->bootloader);
  EXPECT_EQ(merged_again(*split, dump.bytes.size()), dump.bytes);
}

TEST(Split, AMergedFileThatBeginsAtTheBootloaderIsFoundByItsTable) {
  Dump dump = usual_dump();
  Bytes cut(dump.bytes.begin() + 0x1000, dump.bytes.end());
  Result<SplitFlash> split = split_flash(cut, {});
  ASSERT_TRUE(split);
  EXPECT_EQ(split->target.bytes, 0x1000u);
  EXPECT_EQ(split->parts[0].name, "bootloader.bin");
  EXPECT_EQ(merged_again(*split, cut.size()), cut);
}

TEST(Split, ATableElsewhereIsFoundAtASectorsStart) {
  Dump dump(0x40000);
  PartitionTableOptions options;
  options.offset.bytes = 0x10000;
  dump.put(
      0x10000,
      build_partition_table(parse_partition_csv("nvs,data,nvs,0x11000,0x3000\n", options).value(), options).value());
  dump.put(0x11000, Bytes(10, 0x11));
  Result<SplitFlash> split = split_flash(dump.bytes, {});
  ASSERT_TRUE(split);
  EXPECT_EQ(split->table_at.bytes, 0x10000u);
  EXPECT_EQ(merged_again(*split, dump.bytes.size()), dump.bytes);
  SplitOptions wrong;
  wrong.table_at = FlashOffset{0x8000};
  EXPECT_FALSE(split_flash(dump.bytes, wrong)) << "looked for there only, where one says so";
}

TEST(Split, WhatNoPartitionListsIsKept) {
  Dump dump = usual_dump();
  dump.put(0x0, Bytes(0x50, 0xd1));             // the ESP32's secure boot digest
  dump.put(0x8c00, Bytes(68, 0x51));            // a signature behind the table
  dump.put(0x10000 + 0x2345, Bytes(10, 0x77));  // an older app behind the app
  dump.put(0x3fff0, Bytes(16, 0x66));           // behind every partition
  Result<SplitFlash> split = split_flash(dump.bytes, {});
  ASSERT_TRUE(split);
  EXPECT_TRUE(part_named(*split, "unlisted-0x0.bin"));
  EXPECT_TRUE(part_named(*split, "unlisted-0x8c00.bin"));
  EXPECT_TRUE(part_named(*split, "unlisted-0x12000.bin")) << "it begins with its sector, so that it can be written";
  EXPECT_EQ(part_named(*split, "app0.bin")->bytes.size(), app_image(5000).size());
  EXPECT_EQ(merged_again(*split, dump.bytes.size()), dump.bytes);
}

TEST(Split, AnAppKeepsItsSignature) {
  Dump dump = usual_dump();
  std::size_t signature = 0x10000 + 0x2000;
  dump.put(signature, Bytes(0x4c0, 0x5a)).put(signature, Bytes{0xe7, 0x02});
  Result<SplitFlash> split = split_flash(dump.bytes, {});
  ASSERT_TRUE(split);
  EXPECT_EQ(part_named(*split, "app0.bin")->bytes.size(), 0x3000u);
  EXPECT_EQ(merged_again(*split, dump.bytes.size()), dump.bytes);
}

TEST(Split, ADamagedAppComesOutWhole) {
  Dump dump = usual_dump();
  dump.bytes[0x10000] = 0xe8;
  Result<SplitFlash> split = split_flash(dump.bytes, {});
  ASSERT_TRUE(split);
  EXPECT_EQ(part_named(*split, "app0.bin")->bytes.size(), 0x10000u);
  EXPECT_EQ(merged_again(*split, dump.bytes.size()), dump.bytes);
}

TEST(Split, AFileCutAnywhereStillMergesToItself) {
  Dump dump = usual_dump();
  for (std::size_t size : {0x8c00u, 0x9001u, 0xb000u, 0x10010u, 0x11000u, 0x30001u, 0x33fffu}) {
    Bytes cut(dump.bytes.begin(), dump.bytes.begin() + static_cast<std::ptrdiff_t>(size));
    Result<SplitFlash> split = split_flash(cut, {});
    ASSERT_TRUE(split) << size;
    EXPECT_FALSE(split->beyond.empty()) << size;
    EXPECT_EQ(merged_again(*split, cut.size()), cut) << size;
  }
}

TEST(Split, NamesNeverLeadOutOfTheFolder) {
  // As they lie in flash: the builder would take any of them.
  PartitionTable hostile;
  std::uint32_t at = 0x9000;
  for (const char* name :
       {"../../etc/x", "/etc/passwd", "a/b", "", ".", "nvs", "NVS", "bootloader", "c:\\x", "\x01\x1b[31m"}) {
    hostile.partitions.push_back({.name = name, .type = 1, .subtype = 6, .range = {{at}, 0x1000}});
    at += 0x1000;
  }
  PartitionTableOptions unchecked;
  unchecked.verify = false;
  Dump dump(0x20000);
  dump.put(0x1000, bootloader()).put(0x8000, build_partition_table(hostile, unchecked).value());
  for (std::uint32_t sector = 0x9000; sector < at; sector += 0x1000) dump.put(sector, Bytes(4, 0x11));
  Result<SplitFlash> split = split_flash(dump.bytes, {});
  ASSERT_TRUE(split) << describe(split.error());
  std::vector<std::string> names;
  for (const SplitPart& part : split->parts) {
    names.push_back(part.name);
    EXPECT_EQ(part.name.find('/'), std::string::npos) << part.name;
    EXPECT_NE(part.name.front(), '.') << part.name;
  }
  EXPECT_EQ(names.size(), 12u);
  EXPECT_TRUE(check_extracted_names(names));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end()) << "one file each";
  EXPECT_EQ(merged_again(*split, dump.bytes.size()), dump.bytes);
}

TEST(Split, RefusesPartitionsThatOverlapAndNamesThem) {
  PartitionTable overlapping;
  overlapping.partitions.push_back({.name = "one", .type = 1, .subtype = 6, .range = {{0x9000}, 0x2000}});
  overlapping.partitions.push_back({.name = "two", .type = 1, .subtype = 6, .range = {{0xa000}, 0x2000}});
  PartitionTableOptions unchecked;
  unchecked.verify = false;
  Dump dump(0x10000);
  dump.put(0x8000, build_partition_table(overlapping, unchecked).value());
  Result<SplitFlash> split = split_flash(dump.bytes, {});
  ASSERT_FALSE(split);
  EXPECT_EQ(split.error().code, Code::image_invalid);
  EXPECT_EQ(split.error().what, "'one' and 'two' overlap");
}

TEST(Split, RefusesAFileWithoutATable) {
  EXPECT_FALSE(split_flash({}, {}));
  EXPECT_FALSE(split_flash(Bytes(0x10000, 0xff), {}));
  Bytes app = app_image(60000);
  EXPECT_FALSE(split_flash(app, {})) << "an app alone";
}

TEST(Split, AnyBitFlippedInTheTableMergesToItselfOrIsRefused) {
  Dump dump = usual_dump();
  for (std::size_t bit = 0; bit < 7 * 32 * 8; bit += 3) {
    Bytes damaged = dump.bytes;
    damaged[0x8000 + bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    if (Result<SplitFlash> split = split_flash(damaged, {})) {
      EXPECT_EQ(merged_again(*split, damaged.size()), damaged) << bit;
    }
  }
}

TEST(Split, WithoutAnMd5HostileTablesMergeToThemselvesOrAreRefused) {
  PartitionTableOptions no_md5;
  no_md5.md5 = false;
  Bytes plain = build_partition_table(parse_partition_csv(usual_csv).value(), no_md5).value();
  std::mt19937 dice{4711};
  int taken = 0;
  for (int round = 0; round < 2000; ++round) {
    Dump dump(0x14000);
    dump.put(0x8000, plain).put(0x10000, app_image(5000)).put(0x9000, Bytes(77, 0x4e));
    for (int i = 0; i < 3; ++i) {
      std::size_t entry = dice() % 5, field = dice() % 12;
      dump.bytes[0x8000 + entry * 32 + 2 + field] = static_cast<std::uint8_t>(dice());
    }
    Result<SplitFlash> split = split_flash(dump.bytes, {});
    if (!split) continue;
    ++taken;
    ASSERT_EQ(merged_again(*split, dump.bytes.size()), dump.bytes) << round;
  }
  EXPECT_GT(taken, 10) << "else this test tries nothing";
}

}  // namespace
}  // namespace espmint
