#include "recipe/make_plan.hpp"

#include <gtest/gtest.h>

#include "recipe/board_image.hpp"
#include "recipe/checks.hpp"
#include "recipe/test_images.hpp"

namespace espmint {
namespace {

constexpr Mac mac{{0x24, 0xd7, 0xeb, 0x12, 0x34, 0x56}};

Result<Plan> plan_of(const MemoryFolder& folder, const Recipe& recipe = default_recipe(),
                     const PlanOptions& options = {}) {
  TRY(FirmwareSet set, find_firmware(folder, ""));
  return make_plan(recipe, std::move(set), options);
}
std::string sentence(const Result<Plan>& plan) { return plan ? "(planned)" : describe(plan.error()); }
std::string notes_of(const Plan& plan) {
  std::string out;
  for (const std::string& note : plan.notes) out += note + "\n";
  return out;
}
bool has(std::string_view text, std::string_view word) { return text.find(word) != std::string_view::npos; }

/// The project with an image for partition "storage" among its files.
MemoryFolder with_image(const Bytes& image) {
  MemoryFolder folder = idf_project();
  std::string json{flasher_args_json};
  json.insert(json.find("\"0x1000\":"), "\"0x110000\": \"storage.bin\", ");
  return folder.put("build/flasher_args.json", json).put("build/storage.bin", image);
}
Bytes spiffs_of(const std::vector<std::pair<std::string, std::string>>& files, const SpiffsGeometry& geometry = {}) {
  std::vector<FileView> views;
  for (const auto& [path, content] : files) views.push_back({path, as_bytes(content)});
  return build_spiffs(64_KiB, geometry, views).value();
}

// ---------------------------------------------------------------- the identity's partition

std::map<std::string, std::string> content_of(const ImagePlan& plan, const BoardValues& values) {
  std::map<std::string, std::string> out;
  auto built = build_board_image(plan, values, {}, {}, {});
  EXPECT_TRUE(built) << (built ? "" : describe(built.error()));
  if (!built) return out;
  auto read = read_image(built->front().bytes.reveal(), plan.format, plan.geometry);
  EXPECT_TRUE(read);
  if (read)
    for (const FileOwned& file : read->files) out[file.path] = as_text(file.content);
  return out;
}

TEST(Plan, PutsTheIdentityIntoTheOnlySpiffsPartition) {
  auto plan = plan_of(idf_project());
  ASSERT_TRUE(plan) << sentence(plan);
  ASSERT_TRUE(plan->has_identity());
  EXPECT_EQ(plan->images.front().partition.name, "storage");
  EXPECT_EQ(plan->images.front().files.size(), 3u);
  EXPECT_EQ(plan->images.front().geometry.spiffs, SpiffsGeometry{});
  EXPECT_EQ(plan->product, "thermostat");
  EXPECT_EQ(plan->firmware_version, "1.2.3");
  std::vector<std::string> labels;
  for (const PlannedRegion& region : plan->regions) labels.push_back(region.label);
  EXPECT_EQ(labels, (std::vector<std::string>{"bootloader", "partition table", "app (factory)"}));
}

TEST(Plan, AsksWhichOfSeveralPartitions) {
  MemoryFolder folder = idf_project(two_spiffs_csv);
  auto plan = plan_of(folder);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::partition_ambiguous);
  for (const char* word : {"storage", "web", "--partition"}) EXPECT_TRUE(has(sentence(plan), word)) << sentence(plan);

  auto chosen = plan_of(folder, default_recipe(), {.partition = "web"});
  ASSERT_TRUE(chosen) << sentence(chosen);
  EXPECT_EQ(chosen->images.front().partition.name, "web");
  Recipe recipe;
  recipe.images = {{.partition = "storage", .files = default_identity_files()}};
  EXPECT_EQ(plan_of(folder, recipe)->images.front().partition.name, "storage");
  EXPECT_EQ(plan_of(folder, recipe, {.partition = "web"})->images.front().partition.name, "web")
      << "the command line wins";
}

TEST(Plan, WithoutASpiffsPartitionGivesNoIdentityAndSaysWhichLineWould) {
  auto plan = plan_of(idf_project(no_spiffs_csv));
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_FALSE(plan->has_identity());
  std::string notes = notes_of(*plan);
  auto at = notes.find("storage, data, spiffs, , 64K,");
  ASSERT_NE(at, std::string::npos) << notes;
  // The line is exact: a table with it has room for an identity.
  std::string csv = std::string{no_spiffs_csv} + notes.substr(at, notes.find('\n', at) - at) + "\n";
  EXPECT_TRUE(plan_of(idf_project(csv))->has_identity());
}

TEST(Plan, ThatNamesAPartitionWhichIsNotThereListsThoseThatAre) {
  Recipe recipe;
  recipe.images = {{.partition = "certs", .files = default_identity_files()}};
  auto plan = plan_of(idf_project(two_spiffs_csv), recipe);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::partition_missing);
  for (const char* word : {"certs", "storage", "web"}) EXPECT_TRUE(has(sentence(plan), word)) << sentence(plan);
  EXPECT_EQ(plan_of(idf_project(no_spiffs_csv), recipe).error().code, Code::partition_missing);
}

TEST(Plan, WithARecipesImageButNoPartitionForItIsRefused) {
  Recipe recipe;
  recipe.images = {{.files = default_identity_files()}};
  auto plan = plan_of(idf_project(no_spiffs_csv), recipe);
  ASSERT_FALSE(plan) << "a recipe that asks for an image must not pass without one";
  EXPECT_EQ(plan.error().code, Code::partition_missing);
}

// ---------------------------------------------------------------- an image that the firmware brings

TEST(Plan, MergesTheImageThatTheFirmwareBrings) {
  auto plan = plan_of(with_image(spiffs_of({{"aws-root-ca.pem", "old root"}, {"www/logo.svg", "<svg/>"}})));
  ASSERT_TRUE(plan) << sentence(plan);
  for (const PlannedRegion& region : plan->regions)
    EXPECT_NE(region.at.bytes, 0x110000u) << "only the merged image is written";
  std::map<std::string, std::string> content =
      content_of(plan->images.front(), {"CERT", Secret{to_bytes("KEY")}, "ROOT", "id", mac});
  EXPECT_EQ(content, (std::map<std::string, std::string>{{"aws-root-ca.pem", "ROOT"},
                                                         {"certificate.pem.crt", "CERT"},
                                                         {"private.pem.key", "KEY"},
                                                         {"www/logo.svg", "<svg/>"}}));
}

TEST(Plan, TakesTheGeometryFromTheBuildElseFromTheImageElseTheDefault) {
  SpiffsGeometry other{.name_length = 64, .meta_length = 0};
  MemoryFolder folder = with_image(spiffs_of({{"a.txt", std::string(600, 'a')}}, other));
  auto plan = plan_of(folder);
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_EQ(plan->images.front().geometry.spiffs, other);
  EXPECT_TRUE(has(plan->images.front().geometry_from, "image")) << plan->images.front().geometry_from;

  folder.put("sdkconfig", "CONFIG_SPIFFS_PAGE_SIZE=512\nCONFIG_SPIFFS_USE_MAGIC=y\nCONFIG_SPIFFS_USE_MAGIC_LENGTH=y\n");
  plan = plan_of(folder);
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_EQ(plan->images.front().geometry.spiffs.page_size, 512u);
  EXPECT_TRUE(has(plan->images.front().geometry_from, "sdkconfig")) << plan->images.front().geometry_from;
  ASSERT_EQ(plan->images.front().shared_files.size(), 1u) << "read as it was made, written as the firmware reads";
  EXPECT_EQ(plan->images.front().shared_files[0].path, "a.txt");
}

TEST(Plan, GivesAnImageWithoutFilesThoseThatFirmwareInTheFieldReads) {
  Recipe recipe = default_recipe();
  recipe.images = {{.partition = "storage"}};
  std::map<std::string, std::string> files;
  auto plan = plan_of(idf_project(), recipe);
  ASSERT_TRUE(plan) << sentence(plan);
  for (const ImageFile& file : plan->images.front().files) files[file.path] = file.content.text;
  EXPECT_EQ(files, (std::map<std::string, std::string>{{"certificate.pem.crt", "{certificate}"},
                                                       {"private.pem.key", "{private_key}"},
                                                       {"aws-root-ca.pem", "{root_ca}"}}));
}

TEST(Plan, RefusesAnImageThatHasWhatItsFormatDoesNot) {
  Recipe recipe = default_recipe();
  recipe.images = {{.partition = "storage", .encryption = NvsEncryption::keys}};
  auto plan = plan_of(idf_project(), recipe);
  ASSERT_FALSE(plan) << "or keys would lie in clear";
  EXPECT_EQ(plan.error().code, Code::recipe_invalid);
  EXPECT_TRUE(has(sentence(plan), "encryption")) << sentence(plan);
  recipe.images = {{.partition = "storage", .long_names = true}};
  EXPECT_FALSE(plan_of(idf_project(), recipe));
}

TEST(Plan, NeverFormatsALittleFsAsSpiffs) {
  std::vector<FileView> files{{"www/logo.svg", as_bytes("<svg/>")}};
  Bytes littlefs = build_littlefs(64_KiB, {}, files).value();
  auto plan = plan_of(with_image(littlefs));
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_EQ(plan->images.front().format, ImageFormat::littlefs);
  EXPECT_EQ(plan->images.front().shared_files.back().path, "www/logo.svg");
  Recipe recipe = default_recipe();
  recipe.images = {{.format = ImageFormat::spiffs}};
  auto refused = plan_of(with_image(littlefs), recipe);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::image_invalid);
  for (const char* word : {"storage.bin", "LittleFS", "SPIFFS"})
    EXPECT_TRUE(has(sentence(refused), word)) << sentence(refused);
}

TEST(Plan, TakesABlankImageForNone) {
  auto plan = plan_of(with_image(Bytes(64_KiB, 0xff)));
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_TRUE(plan->images.front().shared_files.empty());
}

TEST(Plan, RefusesFirmwareThatWritesIntoTheIdentitysPartition) {
  MemoryFolder folder = idf_project();
  std::string json{flasher_args_json};
  json.insert(json.find("\"0x1000\":"), "\"0x111000\": \"storage.bin\", ");
  folder.put("build/flasher_args.json", json).put("build/storage.bin", Bytes(16, 1));
  auto plan = plan_of(folder);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::firmware_does_not_fit);
}

TEST(Plan, FindsNoSpaceBeforeTheFirstBoard) {
  auto plan = plan_of(with_image(spiffs_of({{"large.bin", std::string(56'000, 'x')}})));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::image_no_space);
  EXPECT_TRUE(has(sentence(plan), "storage")) << sentence(plan);
}

TEST(Plan, FindsANameThatSpiffsCannotHoldBeforeTheFirstBoard) {
  Recipe recipe;
  recipe.images = {{.partition = "storage", .files = {{std::string(40, 'n'), {"{certificate}"}}}}};
  auto plan = plan_of(idf_project(), recipe);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::image_invalid);
}

// ---------------------------------------------------------------- erases

TEST(Plan, WithoutAnOtadataImageErasesItAndSaysSo) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_app())
      .put("bootloader.bin", test_bootloader())
      .put("partitions.bin", test_table(ota_csv));
  auto plan = plan_of(folder);
  ASSERT_TRUE(plan) << sentence(plan);
  ASSERT_EQ(plan->erases.size(), 1u);
  EXPECT_EQ(plan->erases[0].range, (FlashRange{{0xe000}, 0x2000}));
  EXPECT_TRUE(has(notes_of(*plan), "otadata")) << notes_of(*plan);

  plan = plan_of(folder.put("boot_app0.bin", Bytes(0x2000, 1)));
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_TRUE(plan->erases.empty());
  EXPECT_EQ(plan->regions[2].label, "otadata");
}

// ---------------------------------------------------------------- product and digest

TEST(Plan, WithoutARecipesNameTakesTheProjectsAsFarAsItIsAName) {
  MemoryFolder folder = idf_project();
  folder.put("build/thermostat.bin", test_app(esp32_id, "../../x y"));
  auto plan = plan_of(folder);
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_EQ(plan->product.find('/'), std::string::npos) << plan->product;
  EXPECT_FALSE(plan->product.empty() || plan->product.front() == '.') << plan->product;
}

TEST(Plan, HasADigestOfAllThatShapesABoard) {
  Sha256 digest = plan_of(idf_project())->digest;
  EXPECT_EQ(plan_of(idf_project())->digest, digest);
  auto with = [](auto change) {
    Recipe recipe;
    change(recipe);
    return plan_of(idf_project(), recipe)->digest;
  };
  EXPECT_NE(with([](Recipe& r) { r.id = "x{mac}"; }), digest);
  EXPECT_NE(with([](Recipe& r) { r.key = "rsa-2048"; }), digest);
  EXPECT_NE(with([](Recipe& r) {
              r.images = {{.partition = "storage", .files = {{"c", {"{certificate}"}}}}};
            }),
            digest);
  EXPECT_EQ(with([](Recipe& r) { r.images = {{.partition = "storage", .files = default_identity_files()}}; }), digest)
      << "what holds anyway";
  EXPECT_EQ(with([](Recipe& r) { r.quota = 7; }), digest) << "no board is another for it";
  EXPECT_NE(plan_of(idf_project().put("sdkconfig", "CONFIG_SPIFFS_PAGE_SIZE=512\n"))->digest, digest);
  EXPECT_NE(plan_of(idf_project().put("build/thermostat.bin", test_app(esp32_id, "thermostat", 5001)))->digest, digest);
  EXPECT_NE(plan_of(with_image(spiffs_of({{"a", "b"}})))->digest, digest);
  EXPECT_NE(plan_of(with_image(spiffs_of({{"a", "b"}})))->digest, plan_of(with_image(spiffs_of({{"a", "c"}})))->digest);
}

TEST(Plan, HasTheDigestThatBoardsInTheFieldWereRecordedWith) {
  auto of = [](const Result<Plan>& plan) { return plan ? to_hex(plan->digest).substr(0, 16) : sentence(plan); };
  Recipe recipe;
  EXPECT_EQ(of(plan_of(idf_project())), "2329c8d54de7d588");
  recipe.key = "rsa-2048";
  recipe.id = "th-{mac:upper}";
  EXPECT_EQ(of(plan_of(idf_project(), recipe)), "7494d934239fbaa2");
  recipe = {};
  recipe.images = {{.format = ImageFormat::littlefs}};
  EXPECT_EQ(of(plan_of(idf_project(), recipe)), "90de77ee81f51a86");
  recipe.images = {{.partition = "nvs", .format = ImageFormat::nvs, .keep = true}};
  EXPECT_EQ(of(plan_of(idf_project(), recipe)), "b65ff023c8d05356");
  recipe.images = {{.files = {{"a.txt", {"{id} {key.1}"}}}}};
  recipe.keys.emplace().csv = "keys.csv";
  EXPECT_EQ(of(plan_of(idf_project(), recipe)), "137b87f2fa435daa");
}

TEST(Plan, DescribedShowsEveryRegionFileAndErase) {
  std::string text = describe_plan(*plan_of(with_image(spiffs_of({{"logo.svg", "<svg/>"}}))));
  for (const char* word : {"0x1000", "0x8000", "0x10000", "0x110000", "bootloader/bootloader.bin", "app (factory)",
                           "storage", "logo.svg", "private.pem.key", "{private_key}", "thermostat"})
    EXPECT_TRUE(has(text, word)) << word << "\n" << text;
}

TEST(Plan, DescribedCannotSteerATerminal) {
  auto plan = plan_of(idf_project());
  plan->regions[0].source = "a\x1b[2Jb.bin";
  EXPECT_EQ(describe_plan(*plan).find('\x1b'), std::string::npos);
}

// ---------------------------------------------------------------- the board

TEST(Plan, IsForItsChipOnly) {
  auto plan = plan_of(idf_project());
  EXPECT_TRUE(check_chip(*plan, spec_of(ChipId::esp32)));
  auto wrong = check_chip(*plan, spec_of(ChipId::esp32s3));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Code::chip_mismatch);
  EXPECT_TRUE(has(wrong.error().what, "bootloader.bin is for ESP32, this board is ESP32-S3")) << wrong.error().what;
}

TEST(Plan, NeedsTheRevisionThatItsImagesWereBuiltFor) {
  MemoryFolder folder = idf_project();
  folder.put("build/bootloader/bootloader.bin",
             test_image({.load_address = 0x4007'8000, .oldest_revision = 301, .newest_revision = 310}));
  auto plan = plan_of(folder);
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_TRUE(check_revision(*plan, 301));
  EXPECT_TRUE(check_revision(*plan, 400)) << "no bootloader asks itself for a newest one";
  auto old = check_revision(*plan, 300);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, Code::chip_mismatch);
  EXPECT_TRUE(has(old.error().what, "bootloader.bin needs ESP32 revision 3.1 or newer, this board is 3.0"))
      << old.error().what;

  folder = idf_project();
  folder.put("build/thermostat.bin", test_image({.project = "thermostat", .newest_revision = 99}));
  plan = plan_of(folder);
  auto young = check_revision(*plan, 100);
  ASSERT_FALSE(young);
  EXPECT_TRUE(has(young.error().what, "thermostat.bin needs ESP32 revision 0.99 or older, this board is 1.0"))
      << young.error().what;
}

TEST(Plan, IsCheckedImageByImageForADesk) {
  AppImage image = parse_app_image(test_app(esp32s3_id)).value();
  auto wrong = check_image_for_board(image, "app.bin", false, spec_of(ChipId::esp32), 300);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().what, "app.bin is for ESP32-S3, this board is ESP32");
  EXPECT_TRUE(check_image_for_board(image, "app.bin", false, spec_of(ChipId::esp32s3), 0));
  image.chip_id = 12;  // a chip this version does not know by more than its name
  EXPECT_FALSE(check_image_for_board(image, "app.bin", false, spec_of(ChipId::esp32), 300));
  image.chip_id = 0xffff;
  EXPECT_TRUE(check_image_for_board(image, "app.bin", false, spec_of(ChipId::esp32), 300));
}

TEST(Plan, WithoutRoomForAnIdentitySaysHowMuchMustBeFreed) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_app()).put("bootloader.bin", test_bootloader());
  folder.put("partitions.bin", test_table("nvs,data,nvs,0x9000,0x6000\nfactory,app,factory,0x10000,960K\n"));
  auto plan = plan_of(folder);  // the images' headers say 2 MB
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_TRUE(has(notes_of(*plan), "this line in partitions.csv would give them one")) << notes_of(*plan);
  folder.put("partitions.bin", test_table("nvs,data,nvs,0x9000,0x6000\nfactory,app,factory,0x10000,1952K\n"));
  plan = plan_of(folder);
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_TRUE(has(notes_of(*plan), "no room for one: 32 KB must be freed in the 2 MB")) << notes_of(*plan);
  EXPECT_FALSE(has(notes_of(*plan), "would give them one")) << notes_of(*plan);
}

TEST(Plan, OfAProductNamedAfterAFileSaysSo) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_app(esp32_id, "arduino-lib-builder")).put("bootloader.bin", test_bootloader());
  folder.put("partitions.bin", test_table(one_spiffs_csv));
  auto plan = plan_of(folder);
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_TRUE(has(notes_of(*plan), "product \"firmware\" is named after the file")) << notes_of(*plan);
  EXPECT_FALSE(has(notes_of(*plan_of(idf_project())), "named after the file"));
}

TEST(Plan, MergesTheSpiffsThatLiesBesideAnApp) {
  MemoryFolder folder;
  folder.put("firmware.bin", test_app())
      .put("bootloader.bin", test_bootloader())
      .put("partitions.bin", test_table(one_spiffs_csv));
  folder.put("spiffs.bin", spiffs_of({{"index.html", "<html>"}}));
  auto plan = plan_of(folder);
  ASSERT_TRUE(plan) << sentence(plan);
  ASSERT_EQ(plan->images.front().shared_files.size(), 1u);
  EXPECT_EQ(plan->images.front().shared_from, "spiffs.bin");
  EXPECT_TRUE(has(notes_of(*plan), "spiffs.bin is merged with each board's identity: index.html stay"))
      << notes_of(*plan);
}

TEST(Plan, NeedsFlashForItsWholeTable) {
  std::string_view csv = "factory,app,factory,0x10000,1M\nstorage,data,spiffs,0x7f0000,64K\n";
  MemoryFolder folder;
  folder.put("firmware.bin", test_app())
      .put("bootloader.bin", test_bootloader())
      .put("partitions.bin", test_table(csv));
  auto plan = plan_of(folder);
  ASSERT_TRUE(plan) << sentence(plan);
  EXPECT_TRUE(check_flash(*plan, 8u << 20));
  auto small = check_flash(*plan, 4u << 20);
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().code, Code::flash_too_small);
  for (const char* word : {"table ends at 8 MB", "4 MB", "table and rebuild"})
    EXPECT_TRUE(has(describe(small.error()), word)) << describe(small.error());
}

TEST(DeviceId, IsMadeFromTheMac) {
  EXPECT_EQ(device_id_for("{mac}", mac).value(), "24d7eb123456");
  EXPECT_EQ(device_id_for("{mac:upper}", mac).value(), "24D7EB123456");
  EXPECT_EQ(device_id_for("th-{mac:colon}", mac).value(), "th-24:d7:eb:12:34:56");
  for (const char* wrong : {"", "same", "{mac} x", "{mac}/", "{mac}{id}", "{mca}"})
    EXPECT_FALSE(device_id_for(wrong, mac)) << wrong;
  EXPECT_FALSE(has(describe(device_id_for("{serial}-{mac}", mac).error()), "{private_key}"));
}

// ---------------------------------------------------------------- a board's own files

ImagePlan small_image(std::vector<ImageFile> files) {
  ImagePlan plan;
  plan.partition = {"storage", 0x01, data_subtype_spiffs, {FlashOffset{0x110000}, 0x80000}};
  plan.files = std::move(files);
  return plan;
}

TEST(BoardImage, HoldsTheBoardsOwnValuesAndLeavesOtherBracesAlone) {
  ImagePlan plan = small_image(
      {{"a.json", {R"({"id": "{id}", "n": {"mac": "{mac}"}})"}}, {"both.pem", {"{certificate}{private_key}"}}});
  auto content = content_of(plan, {"CERT\n", Secret{to_bytes("KEY\n")}, "ROOT\n", "th-1", mac});
  ASSERT_EQ(content.size(), 2u);
  EXPECT_EQ(content["a.json"], R"({"id": "th-1", "n": {"mac": "24d7eb123456"}})");
  EXPECT_EQ(content["both.pem"], "CERT\nKEY\n");
}

TEST(BoardImage, WithAnUnknownWordInBracesIsRefused) {
  EXPECT_TRUE(has(check_template("{privat_key}"), "{private_key}"));
  auto built =
      build_board_image(small_image({{"a", {"{key.1}"}}}), {"C", Secret{to_bytes("K")}, "R", "i", mac}, {}, {}, {});
  ASSERT_FALSE(built);
  EXPECT_TRUE(has(built.error().what, "{key.1}")) << built.error().what;
}

TEST(BoardImage, HoldsAKeyThatStandsInItOften) {
  std::string content, expected;
  for (int i = 0; i < 50; ++i)
    content += "{private_key}{certificate}", expected += std::string(1700, 'k') + std::string(1500, 'c');
  auto files =
      content_of(small_image({{"a", {content}}}), {std::string(1500, 'c'), Secret{Bytes(1700, 'k')}, "R", "i", mac});
  EXPECT_EQ(files["a"], expected);
}

}  // namespace
}  // namespace espmint
