#include "image/partition_table.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/hash.hpp"

namespace espmint {
namespace {

constexpr std::string_view custom =
    "# custom\nnvs,data,nvs,0x9000,24K,\nnvs_key,data,nvs_keys,,0x1000,encrypted\notadata,data,ota,,0x2000,\n"
    "app0,app,ota_0,0x20000,1280K,\napp1,app,ota_1,,1280K,\nstorage,data,spiffs,,0xF0000,\nlog,data,0x99,,64K,"
    "encrypted\n"
    "lfs,data,littlefs,,128K,readonly\n";

std::string many(int rows) {
  std::string csv;
  for (int i = 0; i < rows; ++i) csv += fmt::format("p{},data,0x40,,0x1000\n", i);
  return csv;
}

Result<Bytes> binary_of(std::string_view csv, const PartitionTableOptions& options = {}) {
  Result<PartitionTable> table = parse_partition_csv(csv, options);
  if (!table) return fail(table.error());
  return build_partition_table(*table, options);
}

struct GoldenCase {
  std::string what, csv;
  PartitionTableOptions options;
  std::string sha256;
};

// SHA-256 of what gen_esp32part.py 1.3 of ESP-IDF v5.4-dev (d7ca8b94) makes of the same table and options.
TEST(PartitionTable, BuildsWhatTheReferenceToolBuilds) {
  const std::string single_app =
      "# Name,   Type, SubType, Offset,  Size, Flags\nnvs,      data, nvs,     ,        0x6000,\n"
      "phy_init, data, phy,     ,        0x1000,\nfactory,  app,  factory, ,        1M,\n";
  const std::string two_ota =
      "nvs,data,nvs,,0x4000,\notadata,data,ota,,0x2000,\nphy_init,data,phy,,0x1000,\nfactory,app,factory,,1M,\n"
      "ota_0,app,ota_0,,1M,\nota_1,app,ota_1,,1M,\n";
  const std::vector<GoldenCase> cases{
      {"single app", single_app, {}, "7f00b6c042a89b15b0cac534f82ed988caf29278ff5700b0c511eb1b5bb7c820"},
      {"two OTA", two_ota, {}, "d1c0e9d02fa9d26cd2e1984e7b5dd20157204f501ddc83ce82229e5f3175ee8b"},
      {"without MD5", two_ota, {.md5 = false}, "1da6115f8cb1194eca355efc369bc41453a044aedc8937666c307d7ee9db3f92"},
      {"custom",
       std::string{custom},
       {.flash_size = 4_MiB},
       "3ee597dfc82ee42236f740fc2c00a19a1cfc06c3b53282e8b8f318257ba4b871"},
      {"table at 0x10000",
       "nvs,data,nvs,,0x6000,\nfactory,app,factory,,1M,\n",
       {.offset = {0x10000}},
       "31678c8101638d41fb6907707daf27aed92601803b7e479c26b3f72bce2dbb69"},
      {"numeric types",
       "a,0x40,0x01,,0x1000\nb,0x41,0xfe,,0x2000\nc,1,2,,0x3000\nd,0,0x20,,64K\n",
       {},
       "3a7fe3659b0b78fd37f3f5c455fc62290aeb4e3fdfe577cd07ba0224a5a3656b"},
      {"empty subtype", "u,data,,,0x1000,\n", {}, "af5fc5d250ac880e5ff9d2bde6e62c1509007cf1c821a74c3ac1753a56a4c9aa"},
      {"a negative size is where it ends",
       "nvs,data,nvs,,0x6000,\nfactory,app,factory,0x10000,-2M\n",
       {},
       "2b9bf67d3063a2ac5e34b01a9310decc8f9a297185c7bd5e216abe3632b2cb4c"},
      {"names of 16 bytes and more",
       "abcdefghijklmnop,data,nvs,,0x6000\nqrstuvwxyzabcdefgh,app,factory,,1M\n",
       {},
       "5c818bd30f728010d36c9ca5e3013c712b0320c047d4598d7bf4d1c3f0ec4255"},
      {"nothing", "# nothing\n\n", {}, "ac379736a5babef77ab7c144553aa8146eb86fbdfb3a85044d0b91d27eb4b5d8"},
      {"94 entries and MD5", many(94), {}, "e34215b40b23148abc6c06534d9a1556098d892fc6a56412cc29f90f1d8172df"},
      {"95 entries", many(95), {.md5 = false}, "5d5c09da62a30647f7fb4857bf0d39418825dbebecdd7dd42bb4ff0e853e3a8e"},
      {"secure boot v2",
       single_app,
       {.secure = SecureBoot::v2},
       "7f00b6c042a89b15b0cac534f82ed988caf29278ff5700b0c511eb1b5bb7c820"},
      {"unchecked",
       "factory,app,factory,0x18000,1M\n",
       {.verify = false},
       "aaf727c02b91224e9ac0e4b3ff16d401f7799a71c770a74c417f6900b703eb4c"},
  };
  for (const GoldenCase& golden : cases) {
    SCOPED_TRACE(golden.what);
    Result<Bytes> binary = binary_of(golden.csv, golden.options);
    ASSERT_TRUE(binary) << describe(binary.error());
    EXPECT_EQ(binary->size(), 0xc00u);
    EXPECT_EQ(to_hex(sha256_of(*binary)), golden.sha256);
  }
}

TEST(PartitionTable, RefusesWhatTheReferenceToolRefuses) {
  struct Refused {
    std::string csv, says;
    PartitionTableOptions options = {};
  };
  const std::vector<Refused> cases{
      {"nvs,data,nvs,0x9000,0x6000\nphy,data,phy,0xe000,0x1000\n", "line 2"},
      {"nvs,data,nvs,0x8000,0x6000\n", "overlaps the partition table"},
      {"factory,app,factory,0x18000,1M\n", "aligned"},
      {"nvs,data,nvs,0x9004,0x6000\n", "aligned"},
      {"factory,app,factory,0x10000,0x10800\n", "multiple of 0x1000"},
      {"factory,app,factory,0x10000,0x11000\n", "multiple of 0x10000", {.secure = SecureBoot::v1}},
      {"nvs,data,nvs,0x9000,\n", "size is empty"},
      {"nvs\n", "type is empty"},
      {"f,app,,,1M\n", "needs a subtype"},
      {"nvs,data,nvs,,0x6000\nnvs,data,phy,,0x1000\n", "two partitions are named 'nvs'"},
      {"otadata,data,ota,,0x1000\n", "0x2000"},
      {"o1,data,ota,,0x2000\no2,data,ota,,0x2000\n", "both OTA data"},
      {"nvs,data,nvs,,0x6000,shiny\n", "unknown flag 'shiny'"},
      {"nvs,data,nvs,,0x6000,encrypted :readonly\n", "unknown flag"},
      {"nvs,data,nfs,,0x6000\n", "Did you mean 'nvs'"},
      {"x,0x40,nvs,,0x6000\n", "A number is needed"},
      {"otadata,data,ota,,0x2000,readonly\n", "cannot be readonly"},
      {"core,data,coredump,,64K,readonly\n", "cannot be readonly"},
      {"x,data,nvs,,010\n", "not understood"},
      {"x,data,nvs,,K\n", "not understood"},
      {"x,data,nvs,0x10000,-4K\n", "32-bit"},
      {"x,data,nvs,,0x100000000\n", "32-bit"},
      {"x,data,nvs,,99999999999999999999999999999M\n", "32-bit"},
      {"x,256,0,,4K\n", "from 0 to 255"},
      {"x,data,-1,,4K\n", "from 0 to 255"},
      {"$NOBODY,data,nvs,,4K\n", "no variable 'NOBODY'"},
      {"\xff\xfe", "neither binary nor text"},
      {many(95), "too many"},
      {std::string{custom}, "the flash is 2 MB", {.flash_size = 2_MiB}},
      {"f,app,factory,0x18000,4M\n", "the flash is 2 MB", {.flash_size = 2_MiB, .verify = false}},
  };
  for (const Refused& refused : cases) {
    SCOPED_TRACE(refused.csv);
    Result<Bytes> binary = binary_of(refused.csv, refused.options);
    ASSERT_FALSE(binary);
    EXPECT_EQ(binary.error().code, Code::input_invalid);
    EXPECT_EQ(binary.error().remedy, Remedy::refuse);
    EXPECT_NE(describe(binary.error()).find(refused.says), std::string::npos) << describe(binary.error());
  }
}

TEST(PartitionTable, ReadsCsvAsPeopleWriteIt) {
  Result<PartitionTable> table = parse_partition_csv(
      "\xef\xbb\xbf# saved by an editor on Windows\r\n"
      "  # indented comment\r\n"
      "\r\n"
      "nvs ,DATA,\tNvs,\xc2\xa0 , 0x4_000 ,encrypted:readonly, a comment of ours\r"
      "factory, 0, 0x0, , 1 K K\n"
      "a b,0x40,,0b1000000000000000000000,0o10000,:");
  // "1 K K" is no number: only what stands before a K may be blank.
  ASSERT_FALSE(table);
  table = parse_partition_csv(
      "\xef\xbb\xbf# saved by an editor on Windows\r\n  # indented comment\r\n\r\n"
      "nvs ,DATA,\tNvs,\xc2\xa0 , 0x4_000 ,encrypted:readonly, a comment of ours\rfactory, 0, 0x0, , 1 KK\n"
      "a b,0x40,,0b1000000000000000000000,0o10000,:");
  ASSERT_TRUE(table) << describe(table.error());
  EXPECT_EQ(partition_csv(*table),
            "# ESP-IDF Partition Table\n# Name, Type, SubType, Offset, Size, Flags\n"
            "nvs,data,nvs,0x9000,16K,encrypted:readonly\nfactory,app,factory,0x10000,1M,\na b,64,6,0x200000,4K,\n");
}

TEST(PartitionTable, SaysTheReferenceCsvOfABinaryTable) {
  Bytes binary = binary_of(custom).value();
  Result<PartitionTable> table = parse_partition_table(binary);
  ASSERT_TRUE(table);
  EXPECT_EQ(partition_csv(*table),
            "# ESP-IDF Partition Table\n# Name, Type, SubType, Offset, Size, Flags\nnvs,data,nvs,0x9000,24K,\n"
            "nvs_key,data,nvs_keys,0xf000,4K,encrypted\notadata,data,ota,0x10000,8K,\napp0,app,ota_0,0x20000,1280K,\n"
            "app1,app,ota_1,0x160000,1280K,\nstorage,data,spiffs,0x2a0000,960K,\nlog,data,153,0x390000,64K,encrypted\n"
            "lfs,data,littlefs,0x3a0000,128K,readonly\n");
  EXPECT_EQ(table->end(), 0x3c0000u);
  ASSERT_NE(table->named("storage"), nullptr);
  EXPECT_TRUE(table->named("storage")->is_data(data_subtype_spiffs));
  EXPECT_EQ(table->named("nothing"), nullptr);
}

TEST(PartitionTable, FindsEveryFlippedBitOfItsEntries) {
  Bytes binary = binary_of(custom).value();
  for (std::size_t bit = 0; bit < 9 * 32 * 8; ++bit) {
    Bytes damaged = binary;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    // The MD5's row has 14 bytes of filling that nobody reads.
    if (bit / 8 >= 8 * 32 + 2 && bit / 8 < 8 * 32 + 16) continue;
    EXPECT_FALSE(parse_partition_table(damaged)) << bit;
  }
}

TEST(PartitionTable, RefusesATableThatIsCutShort) {
  Bytes binary = binary_of(custom).value();
  for (std::size_t size = 0; size < 10 * 32; ++size)
    EXPECT_FALSE(parse_partition_table(ByteView{binary}.first(size))) << size;
  EXPECT_TRUE(parse_partition_table(ByteView{binary}.first(10 * 32)));
}

TEST(PartitionTable, ACsvCutAnywhereOrWithAnyBitFlippedIsATableOrNamesItsLine) {
  auto try_it = [](const std::string& csv) {
    Result<PartitionTable> table = parse_partition_csv(csv);
    if (!table) {
      EXPECT_EQ(table.error().code, Code::input_invalid);
      return;
    }
    Result<Bytes> binary = build_partition_table(*table);
    EXPECT_TRUE(!binary || parse_partition_table(*binary)) << csv;
  };
  const std::string csv{custom};
  for (std::size_t size = 0; size < csv.size(); ++size) try_it(csv.substr(0, size));
  for (std::size_t bit = 0; bit < csv.size() * 8; ++bit) {
    std::string damaged = csv;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    try_it(damaged);
  }
}

TEST(PartitionTable, WithoutMd5AFlippedBitIsReadOrRefusedButNeverMoreThanTheFileHas) {
  Bytes binary = binary_of(custom, {.md5 = false}).value();
  for (std::size_t bit = 0; bit < 9 * 32 * 8; ++bit) {
    Bytes damaged = binary;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    Result<PartitionTable> table = parse_partition_table(damaged);
    if (!table) continue;
    EXPECT_LE(table->partitions.size(), 9u);
    EXPECT_LE(table->end(), 0x1'ffff'ffffu) << "no sum wraps around";
    (void)check_partition_table(*table);
    EXPECT_FALSE(partition_csv(*table).empty());
  }
}

TEST(PartitionTable, IgnoresWhatFollowsItsEnd) {
  Bytes sector = binary_of(custom).value();
  sector[0xbff] = 0x12;
  sector.resize(0x1000, 0x34);  // a signature
  Result<PartitionTable> table = parse_partition_table(sector);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->partitions.size(), 8u);
}

TEST(PartitionTable, ReadsAnErasedSectorAsATableWithoutPartitions) {
  Result<PartitionTable> table = parse_partition_table(Bytes(0xc00, 0xff));
  ASSERT_TRUE(table);
  EXPECT_TRUE(table->partitions.empty());
}

TEST(PartitionTable, WithoutMd5TheRowOfTheMd5IsNoPartition) {
  EXPECT_FALSE(parse_partition_table(binary_of(custom).value(), {.md5 = false}));
  EXPECT_TRUE(parse_partition_table(binary_of(custom, {.md5 = false}).value(), {.md5 = false}));
  EXPECT_TRUE(parse_partition_table(binary_of(custom, {.md5 = false}).value()));
}

TEST(PartitionTable, DropsFlagsOfANewerFormat) {
  Bytes binary = binary_of("nvs,data,nvs,,0x6000,readonly\n", {.md5 = false}).value();
  binary[28] |= 0xf0;
  Result<PartitionTable> table = parse_partition_table(binary);
  ASSERT_TRUE(table);
  EXPECT_TRUE(table->partitions[0].read_only);
  EXPECT_FALSE(table->partitions[0].encrypted);
}

TEST(PartitionTable, ReadsButDoesNotPassATableThatOldRulesAllowed) {
  Bytes binary = binary_of("nvs,data,nvs,0x9004,0x6000\n", {.verify = false}).value();
  Result<PartitionTable> table = parse_partition_table(binary);
  ASSERT_TRUE(table);
  EXPECT_FALSE(check_partition_table(*table));
}

TEST(PartitionTable, LetsTheBootloaderLieInFrontOfTheTable) {
  PartitionTable table;
  table.partitions = {{.name = "bootloader", .type = 2, .subtype = 0, .range = {{0x1000}, 0x7000}},
                      {.name = "table", .type = 3, .subtype = 0, .range = {{0x8000}, 0x1000}},
                      {.name = "nvs", .type = 1, .subtype = 2, .range = {{0x9000}, 0x6000}}};
  EXPECT_TRUE(check_partition_table(table));
  table.partitions[0].subtype = 1;
  EXPECT_FALSE(check_partition_table(table));
}

TEST(PartitionTable, LetsAnEmptyPartitionLieWhereTheNextBegins) {
  EXPECT_TRUE(binary_of("z,data,nvs,,0\na,data,phy,,0x1000\n"));
}

}  // namespace
}  // namespace espmint
