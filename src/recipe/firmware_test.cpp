#include "recipe/firmware.hpp"

#include <gtest/gtest.h>

#include "recipe/test_images.hpp"

namespace espmint {
namespace {

std::vector<std::uint32_t> offsets(const FirmwareSet& set) {
  std::vector<std::uint32_t> out;
  for (const FirmwarePart& part : set.parts) out.push_back(part.at.bytes);
  return out;
}
const FirmwarePart& part_at(const FirmwareSet& set, std::uint32_t at) {
  static const FirmwarePart none{};
  for (const FirmwarePart& part : set.parts)
    if (part.at.bytes == at) return part;
  ADD_FAILURE() << "no part at " << at;
  return none;
}
using Offsets = std::vector<std::uint32_t>;

std::string sentence(const Result<FirmwareSet>& result) { return result ? "(found)" : describe(result.error()); }
/// Code and words of a refusal; every refusal leaves the decision to a person.
testing::AssertionResult refused(const Result<FirmwareSet>& result, Code code,
                                 std::initializer_list<std::string_view> words) {
  if (result) return testing::AssertionFailure() << "it was accepted";
  if (result.error().code != code || result.error().remedy != Remedy::refuse)
    return testing::AssertionFailure() << name_of(result.error().code) << ": " << sentence(result);
  for (std::string_view word : words)
    if (sentence(result).find(word) == std::string::npos)
      return testing::AssertionFailure() << "no \"" << word << "\" in: " << sentence(result);
  return testing::AssertionSuccess();
}

// ---------------------------------------------------------------- what users have

TEST(Firmware, OfAnEspIdfBuildFolderIsWhatFlasherArgsLists) {
  MemoryFolder folder = idf_project();
  auto set = find_firmware(folder, "build");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(offsets(*set), (Offsets{0x1000, 0x8000, 0x10000}));
  EXPECT_EQ(set->chip->name, "esp32");
  EXPECT_EQ(set->project, "thermostat");
  EXPECT_EQ(set->version, "1.2.3");
  EXPECT_EQ(set->table.partitions.size(), 3u);
  EXPECT_EQ(part_at(*set, 0x10000).bytes, test_app());
}

TEST(Firmware, OfTheProjectAroundTheBuildFolderIsFound) {
  MemoryFolder folder = idf_project();
  for (const char* path : {"", ".", "./", "build/", "build/flasher_args.json"}) {
    auto set = find_firmware(folder, path);
    ASSERT_TRUE(set) << path << ": " << sentence(set);
    EXPECT_EQ(set->parts.size(), 3u) << path;
  }
}

TEST(Firmware, OfAPlatformIoProjectIsItsOnlyEnvironment) {
  MemoryFolder folder;
  folder.put(".pio/build/lolin/firmware.bin", test_app()).put(".pio/build/lolin/bootloader.bin", test_bootloader());
  folder.put(".pio/build/lolin/partitions.bin", test_table(ota_csv));
  for (const char* path : {"", ".pio/build/lolin", ".pio/build/lolin/firmware.bin"}) {
    auto set = find_firmware(folder, path);
    ASSERT_TRUE(set) << path << ": " << sentence(set);
    EXPECT_EQ(offsets(*set), (Offsets{0x1000, 0x8000, 0x10000})) << path;
  }
  folder.put(".pio/build/other/firmware.bin", test_app());
  auto ambiguous = find_firmware(folder, "");
  ASSERT_FALSE(ambiguous);
  EXPECT_NE(sentence(ambiguous).find(".pio/build/lolin"), std::string::npos) << sentence(ambiguous);
}

TEST(Firmware, OfAnArduinoBuildFolderTakesBootApp0WhereItIs) {
  MemoryFolder folder;
  folder.put("out/Blink.ino.bin", test_app(esp32s3_id, "arduino-lib-builder"))
      .put("out/Blink.ino.bootloader.bin", test_bootloader(esp32s3_id));
  folder.put("out/Blink.ino.partitions.bin", test_table(ota_csv)).put("out/boot_app0.bin", Bytes(0x2000, 0x01));
  auto set = find_firmware(folder, "out");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(offsets(*set), (Offsets{0x0, 0x8000, 0xe000, 0x10000}));  // the S3 looks for its bootloader at 0
}

TEST(Firmware, OfAnArduinoSketchLiesBelowItsBuildFolder) {
  MemoryFolder folder;
  std::string below = "Blink/build/esp32.esp32.esp32/";
  folder.put(below + "Blink.ino.bin", test_app()).put(below + "Blink.ino.bootloader.bin", test_bootloader());
  folder.put(below + "Blink.ino.partitions.bin", test_table(ota_csv));
  auto set = find_firmware(folder, "Blink");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(set->parts.size(), 3u);
}

TEST(Firmware, TakesTheNamesThatPeopleGiveThePartitionTable) {
  for (const char* name : {"partitions.bin", "partition.bin", "partition-table.bin"}) {
    MemoryFolder folder;
    folder.put("firmware.bin", test_app())
        .put("bootloader.bin", test_bootloader())
        .put(name, test_table(one_spiffs_csv));
    auto set = find_firmware(folder, "firmware.bin");
    EXPECT_TRUE(set) << name << ": " << sentence(set);
  }
}

TEST(Firmware, ElsewhereFindsItsNeighboursInTheCurrentFolder) {
  MemoryFolder folder;
  folder.put("downloads/firmware.bin", test_app())
      .put("bootloader.bin", test_bootloader())
      .put("partition.bin", test_table(one_spiffs_csv));
  auto set = find_firmware(folder, "downloads/firmware.bin");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(offsets(*set), (Offsets{0x1000, 0x8000, 0x10000}));
}

TEST(Firmware, GoesToTheFactoryPartitionBeforeAnOtaOne) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_app()).put("bootloader.bin", test_bootloader());
  folder.put("partitions.bin", test_table("ota_0,app,ota_0,0x20000,64K\nfactory,app,factory,0x40000,64K\n"));
  auto set = find_firmware(folder, "");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(offsets(*set), (Offsets{0x1000, 0x8000, 0x40000}));
}

TEST(Firmware, OfABootloaderInTheAppsPlaceIsRefused) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_bootloader())
      .put("bootloader.bin", test_bootloader())
      .put("partitions.bin", test_table(one_spiffs_csv));
  EXPECT_TRUE(refused(find_firmware(folder, "bootloader.bin"), Code::firmware_incomplete,
                      {"bootloader.bin is a bootloader, not an app"}));
  folder.put("firmware.bin", test_image({.payload = 200, .load_address = 0x4007'8000}));
  EXPECT_TRUE(refused(find_firmware(folder, "firmware.bin"), Code::firmware_incomplete,
                      {"firmware.bin is a bootloader, not an app", ".ino.bin"}));
  folder.put("firmware.bin", test_app()).put("bootloader.bin", test_app());
  EXPECT_TRUE(refused(find_firmware(folder, "firmware.bin"), Code::firmware_incomplete,
                      {"bootloader.bin is an app, not a bootloader", "thermostat"}));
}

TEST(Firmware, WithoutADescriptionIsAnAppWhereItIsMappedFromFlash) {
  MemoryFolder folder;
  folder.put("nesemu.bin", test_image({}))
      .put("bootloader.bin", test_bootloader())
      .put("partitions.bin", test_table(one_spiffs_csv));
  auto set = find_firmware(folder, "nesemu.bin");
  EXPECT_TRUE(set) << sentence(set);
}

TEST(Firmware, OfAWrongKindSaysWhatItLooksLikeAndWhatToGive) {
  MemoryFolder folder;
  folder.put("partitions.bin", test_table(one_spiffs_csv))
      .put("app.elf", std::string_view{"\x7f"
                                       "ELF\x01"})
      .put("partitions.csv", one_spiffs_csv);
  folder.put("logo.png", std::string_view{"\x89PNG\r\n"})
      .put("all.zip", std::string_view{"PK\x03\x04"})
      .put("app.hex", std::string_view{":020000040800F2\n"});
  for (auto [file, looks, give] :
       {std::array{"partitions.bin", "a partition table", "the app itself"},
        std::array{"app.elf", "an ELF file", ".bin"},
        std::array{"partitions.csv", "a partition table's CSV", "the app itself"},
        std::array{"logo.png", "a PNG picture", "--firmware"}, std::array{"all.zip", "a ZIP archive", "Unpack"},
        std::array{"app.hex", "an Intel HEX file", ".bin"}})
    EXPECT_TRUE(refused(find_firmware(folder, file), Code::input_invalid, {file, looks, give}));
}

TEST(Firmware, BesideALittleFsImageIsRefused) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_app())
      .put("bootloader.bin", test_bootloader())
      .put("partitions.bin", test_table(one_spiffs_csv))
      .put("littlefs.bin", "x");
  EXPECT_TRUE(refused(find_firmware(folder, ""), Code::image_invalid, {"littlefs.bin", "SPIFFS only"}));
  folder.put("partitions.bin", test_table(no_spiffs_csv));
  auto set = find_firmware(folder, "");
  ASSERT_TRUE(set) << sentence(set);
  ASSERT_EQ(set->notes.size(), 1u);
  EXPECT_NE(set->notes[0].find("LittleFS is left out"), std::string::npos);
}

TEST(Firmware, OfAPlatformIoEnvironmentWithLittleFsIsRefused) {
  const std::string below = "lamp/.pio/build/lolin/";
  MemoryFolder folder;
  folder.put(below + "firmware.bin", test_app())
      .put(below + "bootloader.bin", test_bootloader())
      .put(below + "partitions.bin", test_table(one_spiffs_csv));
  folder.put("lamp/platformio.ini", "[env:other]\nboard_build.filesystem = littlefs\n[env:lolin]\nboard = lolin32\n");
  EXPECT_TRUE(find_firmware(folder, "lamp"));
  folder.put("lamp/platformio.ini", "[env]\nboard_build.filesystem=littlefs\n[env:lolin]\nboard = lolin32\n");
  EXPECT_TRUE(refused(find_firmware(folder, "lamp"), Code::image_invalid, {"platformio.ini", "SPIFFS only"}));
  folder.put("lamp/platformio.ini",
             "[env]\nboard_build.filesystem=littlefs\n[env:lolin]\nboard_build.filesystem = spiffs\n");
  EXPECT_TRUE(find_firmware(folder, "lamp"));
}

TEST(Firmware, BesideASpiffsImageTakesItWhereThereIsOnePlaceForIt) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_app())
      .put("bootloader.bin", test_bootloader())
      .put("partitions.bin", test_table(one_spiffs_csv))
      .put("spiffs.bin", "x");
  auto set = find_firmware(folder, "");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(part_at(*set, 0x110000).source, "spiffs.bin");
  folder.put("partitions.bin", test_table(two_spiffs_csv));
  set = find_firmware(folder, "");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(set->parts.size(), 3u);
  ASSERT_EQ(set->notes.size(), 1u);
  EXPECT_NE(set->notes[0].find("spiffs.bin is left out"), std::string::npos);
}

TEST(Firmware, WithATableOfNothingNamesTheTable) {
  MemoryFolder folder = idf_project();
  folder.put("build/partition_table/partition-table.bin", Bytes(0xc00, 0xff));
  EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_damaged, {"partition-table.bin"}));
}

TEST(Firmware, AloneSaysWhatIsMissingWhereItLiesAndWhereItGoes) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_app());
  EXPECT_TRUE(
      refused(find_firmware(folder, "firmware.bin"), Code::firmware_incomplete,
              {"bootloader.bin", "0x1000", "partitions.bin", "0x8000", ".pio/build", "build/bootloader", "Arduino"}));
  folder.put("firmware.bin", test_app(esp32c3_id)).put("partitions.bin", test_table(one_spiffs_csv));
  auto partly = find_firmware(folder, "firmware.bin");
  EXPECT_TRUE(refused(partly, Code::firmware_incomplete, {"bootloader.bin", "0x0"}));
  EXPECT_EQ(partly.error().what.find("partitions.bin"), std::string::npos) << sentence(partly);
}

TEST(Firmware, ThatIsNotThereSaysWhatWouldDo) {
  EXPECT_TRUE(refused(find_firmware(MemoryFolder{}.put("notes.txt", "x"), ""), Code::firmware_incomplete,
                      {"flasher_args.json", "--firmware"}));
  EXPECT_TRUE(refused(find_firmware(MemoryFolder{}, "nowhere"), Code::input_missing, {"nowhere"}));
}

// ---------------------------------------------------------------- merged images

TEST(Firmware, MergedIsSplitByItsPartitionTable) {
  Bytes storage(0x10000, 0xff);
  storage[5] = 0;
  for (auto [chip_id, bootloader] : {std::pair{esp32_id, 0x1000u}, {esp32s3_id, 0u}, {esp32c3_id, 0u}}) {
    Bytes file = merged({{bootloader, test_bootloader(chip_id)},
                         {0x8000, test_table(one_spiffs_csv)},
                         {0x10000, test_app(chip_id)},
                         {0x110000, storage}});
    auto set = find_firmware(MemoryFolder{}.put("all.bin", file), "all.bin");
    ASSERT_TRUE(set) << sentence(set);
    EXPECT_EQ(offsets(*set), (Offsets{bootloader, 0x8000, 0x10000, 0x110000}));
    EXPECT_EQ(part_at(*set, bootloader).bytes, test_bootloader(chip_id));
    EXPECT_EQ(part_at(*set, 0x10000).bytes, test_app(chip_id));
    EXPECT_EQ(part_at(*set, 0x110000).bytes, storage)
        << "a file system is written whole: what lay there before would show behind it";
    ASSERT_EQ(set->blank.size(), 1u) << "nvs";
    EXPECT_EQ(set->blank[0].at.bytes, 0x9000u);
  }
}

TEST(Firmware, MergedMayBeginAtTheBootloader) {
  Bytes file =
      merged({{0x1000, test_bootloader()}, {0x8000, test_table(one_spiffs_csv)}, {0x10000, test_app()}}, 0x1000);
  auto set = find_firmware(MemoryFolder{}.put("all.bin", file), "all.bin");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(offsets(*set), (Offsets{0x1000, 0x8000, 0x10000}));
}

TEST(Firmware, MergedKeepsWhatFollowsAnAppsImageInItsPartition) {
  Bytes app = test_app(), signed_app = app;
  append(signed_app, Bytes(70, 0x77));
  Bytes file = merged(
      {{0x1000, test_bootloader()}, {0x8000, test_table(one_spiffs_csv)}, {0x10000, signed_app}, {0x120000, Bytes{1}}});
  auto set = find_firmware(MemoryFolder{}.put("all.bin", file), "all.bin");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(part_at(*set, 0x10000).bytes, signed_app) << "a signature";
}

TEST(Firmware, MergedAndCutShortInAFileSystemIsCompletedWithErasedFlash) {
  Bytes file = merged({{0x1000, test_bootloader()},
                       {0x8000, test_table(one_spiffs_csv)},
                       {0x10000, test_app()},
                       {0x110000, Bytes(300, 0x55)}});
  auto set = find_firmware(MemoryFolder{}.put("all.bin", file), "all.bin");
  ASSERT_TRUE(set) << sentence(set);
  EXPECT_EQ(part_at(*set, 0x110000).bytes.size(), 0x10000u);
}

TEST(Firmware, MergedWithoutItsBootloaderIsIncomplete) {
  Bytes file = merged({{0x8000, test_table(one_spiffs_csv)}, {0x10000, test_app()}});
  EXPECT_TRUE(refused(find_firmware(MemoryFolder{}.put("all.bin", file), "all.bin"), Code::firmware_incomplete,
                      {"bootloader"}));
}

// ---------------------------------------------------------------- what is refused before the first board

TEST(Firmware, ForAnotherChipThanAskedForIsRefused) {
  auto result = find_firmware(idf_project(), "build", {.chip = "esp32s3"});
  EXPECT_TRUE(refused(result, Code::firmware_wrong_chip, {"bootloader.bin is for ESP32", "ESP32-S3"}));
  EXPECT_TRUE(find_firmware(idf_project(), "build", {.chip = "ESP32"}));
  EXPECT_TRUE(refused(find_firmware(idf_project(), "build", {.chip = "esp31"}), Code::usage, {"esp31"}));
}

TEST(Firmware, OfTwoChipsIsRefused) {
  MemoryFolder folder = idf_project();
  folder.put("build/thermostat.bin", test_app(esp32c3_id));
  EXPECT_TRUE(
      refused(find_firmware(folder, "build"), Code::firmware_wrong_chip, {"thermostat.bin is for ESP32-C3", "ESP32"}));
}

TEST(Firmware, ForAChipThatThisVersionDoesNotKnowIsRefused) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_app(esp32h21_id))
      .put("bootloader.bin", test_bootloader(esp32h21_id))
      .put("partitions.bin", test_table(one_spiffs_csv));
  EXPECT_TRUE(refused(find_firmware(folder, ""), Code::firmware_wrong_chip, {"firmware.bin"}));
}

TEST(Firmware, DamagedByOneByteIsRefused) {
  for (std::size_t at : {40u, 2000u, 4900u}) {
    MemoryFolder folder = idf_project();
    Bytes app = test_app();
    app[at] ^= 0x40;
    folder.put("build/thermostat.bin", app);
    EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_damaged, {"thermostat.bin"})) << at;
  }
}

TEST(Firmware, CutShortIsRefused) {
  MemoryFolder folder = idf_project();
  Bytes bootloader = test_bootloader();
  bootloader.resize(bootloader.size() - 100);
  folder.put("build/bootloader/bootloader.bin", bootloader);
  EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_damaged, {"bootloader.bin"}));
}

TEST(Firmware, WithADamagedPartitionTableIsRefused) {
  MemoryFolder folder = idf_project();
  Bytes table = test_table(one_spiffs_csv);
  table[5] ^= 1;
  folder.put("build/partition_table/partition-table.bin", table);
  EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_damaged, {"partition-table.bin"}));
}

TEST(Firmware, LargerThanItsPartitionIsRefused) {
  MemoryFolder folder = idf_project();
  folder.put("build/thermostat.bin", test_app(esp32_id, "thermostat", 0x100001));
  EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_does_not_fit, {"thermostat.bin", "factory"}));
}

TEST(Firmware, WhoseBootloaderReachesIntoTheTableIsRefused) {
  MemoryFolder folder = idf_project();
  folder.put("build/bootloader/bootloader.bin", test_image({.payload = 0x7000}));
  EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_does_not_fit, {"bootloader.bin"}));
}

TEST(Firmware, MadeForLessFlashThanItsTableNeedsIsRefused) {
  MemoryFolder folder = idf_project("factory,app,factory,0x10000,1M\nbig,data,fat,0x400000,4M\n");
  EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_does_not_fit, {"8 MB", "4 MB"}));
}

TEST(Firmware, ThatBeginsWithinASectorIsRefused) {
  MemoryFolder folder = idf_project();
  folder.put("build/x.bin", Bytes(16, 1));
  std::string json{flasher_args_json};
  json.insert(json.find("\"0x1000\":"), "\"0x9010\": \"x.bin\", ");
  folder.put("build/flasher_args.json", json);
  EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_does_not_fit, {"x.bin", "0x9010"}));
}

TEST(Firmware, OutsideOfEveryPartitionMustNotReachIntoOne) {
  MemoryFolder folder = idf_project("factory,app,factory,0x10000,1M\nstorage,data,spiffs,0x120000,64K\n");
  folder.put("build/x.bin", Bytes(0x2000, 1));
  std::string json{flasher_args_json};
  json.insert(json.find("\"0x1000\":"), "\"0x11f000\": \"x.bin\", ");
  folder.put("build/flasher_args.json", json);
  EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_does_not_fit, {"x.bin", "storage"}));
}

TEST(Firmware, DataThatBeginsLikeAnImageIsStillData) {
  MemoryFolder folder = idf_project();
  folder.put("build/x.bin", Bytes{0xe9, 0xff, 0, 0});
  std::string json{flasher_args_json};
  json.insert(json.find("\"0x1000\":"), "\"0x9000\": \"x.bin\", ");
  folder.put("build/flasher_args.json", json);
  auto set = find_firmware(folder, "build");
  EXPECT_TRUE(set) << sentence(set);
}

TEST(Firmware, WhoseListNamesAMissingFileIsIncomplete) {
  MemoryFolder folder = idf_project();
  folder.remove("build/bootloader/bootloader.bin");
  EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::firmware_incomplete,
                      {"bootloader/bootloader.bin", "idf.py build"}));
}

TEST(Firmware, WithAWrongFlasherArgsFileIsRefusedWithoutHarm) {
  for (const char* json : {"", "[]", "{", R"({"flash_files":{}})", R"({"flash_files":{"0x1000":7}})",
                           R"({"flash_files":{"here":"a.bin"}})", R"({"flash_files":{"0x100000000":"a.bin"}})",
                           R"({"flash_files":[1]})"}) {
    MemoryFolder folder;
    folder.put("build/flasher_args.json", json).put("build/a.bin", "x");
    EXPECT_TRUE(refused(find_firmware(folder, "build"), Code::input_invalid, {"flasher_args.json"})) << json;
  }
}

TEST(Firmware, IsReadThoughTheListsOtherEntriesAreOfStrangeTypes) {
  for (const char* entry :
       {R"("partition-table": {"offset": 32768})", R"("partition-table": {"offset": "0x123456789"})",
        R"("partition-table": 1)", R"("flash_settings": [])", R"("flash_settings": {"flash_size": "detect"})"}) {
    MemoryFolder folder = idf_project();
    folder.put(
        "build/flasher_args.json",
        std::string{
            R"({"flash_files": {"0x1000": "bootloader/bootloader.bin", "0x10000": "thermostat.bin", "0x8000": "partition_table/partition-table.bin"}, )"} +
            entry + "}");
    auto set = find_firmware(folder, "build");
    EXPECT_TRUE(set) << entry << ": " << sentence(set);
  }
}

// ---------------------------------------------------------------- the firmware's SPIFFS geometry

TEST(Firmware, SaysTheSpiffsGeometryOfItsBuild) {
  SpiffsGeometry wanted{.page_size = 512, .name_length = 64, .meta_length = 8, .magic = true, .magic_length = false};
  const std::string lines =
      "CONFIG_SPIFFS_PAGE_SIZE=512\nCONFIG_SPIFFS_OBJ_NAME_LEN=64\nCONFIG_SPIFFS_META_LENGTH=8\nCONFIG_SPIFFS_USE_"
      "MAGIC=y\n# CONFIG_SPIFFS_USE_MAGIC_LENGTH is not set\n";
  const std::string json =
      R"({"SPIFFS_PAGE_SIZE": 512, "SPIFFS_OBJ_NAME_LEN": 64, "SPIFFS_META_LENGTH": 8, "SPIFFS_USE_MAGIC": true, "SPIFFS_USE_MAGIC_LENGTH": false})";
  for (const auto& [path, text] : {std::pair<std::string, std::string>{"build/config/sdkconfig.json", json},
                                   {"sdkconfig", lines},
                                   {"build/sdkconfig", lines}}) {
    MemoryFolder folder = idf_project();
    folder.put(path, text);
    auto set = find_firmware(folder, "build");
    ASSERT_TRUE(set) << sentence(set);
    ASSERT_TRUE(set->geometry) << path;
    EXPECT_EQ(*set->geometry, wanted) << path;
  }
  EXPECT_FALSE(find_firmware(idf_project(), "build")->geometry);
  EXPECT_FALSE(spiffs_geometry_of_sdkconfig("CONFIG_IDF_TARGET=\"esp32\"\n"));
  EXPECT_FALSE(spiffs_geometry_of_sdkconfig("{\"SPIFFS_PAGE_SIZE\": \"many\"}"));
}

}  // namespace
}  // namespace espmint
