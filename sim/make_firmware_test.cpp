#include "sim/make_firmware.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <map>

#include "sim/boot.hpp"

namespace espmint::sim {
namespace {

double deflate_ratio(const Bytes& bytes) {
  uLongf size = compressBound(bytes.size());
  Bytes out(size);
  compress2(out.data(), &size, bytes.data(), bytes.size(), 9);
  return static_cast<double>(size) / static_cast<double>(bytes.size());
}

Bytes flash_with(const Firmware& firmware, std::size_t bytes = 4 * 1024 * 1024) {
  Bytes flash(bytes, 0xff);
  std::copy(firmware.bootloader.begin(), firmware.bootloader.end(), flash.begin() + firmware.bootloader_at);
  std::copy(firmware.partition_table.begin(), firmware.partition_table.end(), flash.begin() + firmware.table_at);
  std::copy(firmware.app.begin(), firmware.app.end(), flash.begin() + firmware.app_at);
  return flash;
}

TEST(MakeFirmware, IsTheSameForTheSameOptionsAndDiffersBySeed) {
  Firmware one = *make_firmware({.app_bytes = 64_KiB});
  Firmware two = *make_firmware({.app_bytes = 64_KiB});
  Firmware other = *make_firmware({.app_bytes = 64_KiB, .seed = 2});
  EXPECT_EQ(one.app, two.app);
  EXPECT_EQ(one.bootloader, two.bootloader);
  EXPECT_NE(one.app, other.app);
}

TEST(MakeFirmware, CompressesAsRealApplicationsDo) {
  Firmware firmware = *make_firmware({});
  EXPECT_EQ(firmware.app.size(), 1024u * 1024);
  EXPECT_EQ(firmware.partition_table.size(), 3072u);
  EXPECT_NEAR(deflate_ratio(firmware.app), 0.59, 0.01);
}

TEST(MakeFirmware, BootsOnEveryChipAndSize) {
  for (const ChipRow& chip : all_chip_rows()) {
    for (ByteCount size : {ByteCount{4_KiB}, ByteCount{64_KiB}, ByteCount{1_MiB}, ByteCount{1_MiB + 100}}) {
      Result<Firmware> firmware = make_firmware({.chip = std::string{chip.name}, .app_bytes = size});
      ASSERT_TRUE(firmware) << describe(firmware.error());
      Boot result = boot(chip, flash_with(*firmware));
      EXPECT_TRUE(result.running) << chip.name << " " << size << "\n" << result.rom_text << result.log;
      EXPECT_EQ(result.partitions.size(), 4u);
    }
  }
}

TEST(MakeFirmware, HasAPartitionForEachKindOfIdentity) {
  const std::map<std::string_view, std::string_view> rows{
      {"spiffs", "storage,data,spiffs,0x110000,0x10000,\n"},
      {"littlefs", "storage,data,littlefs,0x110000,0x10000,\n"},
      {"fat", "storage,data,fat,0x110000,0x10000,\n"},
      {"nvs", "identity,data,nvs,0x110000,0x10000,\n"},
      {"nvs-encrypted", "nvs_keys,data,nvs_keys,0x120000,0x1000,encrypted\n"}};
  for (std::string_view kind : all_identity_kinds()) {
    Result<Firmware> firmware = make_firmware({.app_bytes = 64_KiB, .identity = std::string{kind}});
    ASSERT_TRUE(firmware) << kind;
    EXPECT_TRUE(firmware->table_csv.ends_with(rows.at(kind))) << firmware->table_csv;
    EXPECT_EQ(firmware->keys_at, kind == "nvs-encrypted" ? 0x120000u : 0u);
    EXPECT_EQ(firmware->app, make_firmware({.app_bytes = 64_KiB})->app) << kind;
    Boot result = boot(*chip_row_named("esp32"), flash_with(*firmware));
    EXPECT_TRUE(result.running) << kind << "\n" << result.log;
    EXPECT_EQ(result.partitions[3].at, firmware->storage_at);
  }
  EXPECT_FALSE(make_firmware({.identity = "paper"}));
}

TEST(MakeFirmware, RefusesWhatCannotBe) {
  EXPECT_FALSE(make_firmware({.chip = "esp9000"}));
  EXPECT_FALSE(make_firmware({.app_bytes = 100}));
  EXPECT_FALSE(make_firmware({.app_bytes = 8_MiB}));
  EXPECT_FALSE(make_firmware({.flash_size = 3'000'000}));
}

TEST(MakeFirmware, WritesTheFolderThatABuildLeaves) {
  namespace fs = std::filesystem;
  fs::path folder = fs::path{::testing::TempDir()} / "espmint-made-firmware";
  fs::remove_all(folder);
  ASSERT_TRUE(write_firmware({.folder = folder, .app_bytes = 64_KiB}));
  for (const char* file : {"bootloader/bootloader.bin", "partition_table/partition-table.bin", "thermostat.bin",
                           "flasher_args.json", "config/sdkconfig.json", "config/sdkconfig.h"})
    EXPECT_GT(fs::file_size(folder / file), 0u) << file;
  fs::remove_all(folder);
}

}  // namespace
}  // namespace espmint::sim
