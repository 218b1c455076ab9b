#include "recipe/board_image.hpp"

#include <gtest/gtest.h>

#include "image/nvs_crypt.hpp"
#include "recipe/memory_folder.hpp"

namespace espmint {
namespace {

const Mac mac{{0x24, 0xd7, 0xeb, 0x12, 0x34, 0x56}};
constexpr std::string_view pem = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n";

BoardValues values() {
  BoardValues out{"CERT\n", Secret{to_bytes(pem)}, "ROOT\n", "th-1", mac};
  out.row = {{"ssid", "lab"}, {"port", "8883"}, {"serial", "SN-1"}};
  out.key_fields.emplace_back(to_bytes("K1"));
  out.key_fields.emplace_back(to_bytes("K2"));
  out.key_names = {"id", "token"};
  return out;
}

ImagePlan plan_of(ImageFormat format, std::uint32_t size = 0x80000) {
  ImagePlan plan;
  plan.partition.name = "storage";
  plan.partition.range = {FlashOffset{0x110000}, size};
  plan.format = format;
  plan.geometry.fat.long_names = true;
  return plan;
}

ImagePlan files_in(ImageFormat format) {
  ImagePlan plan = plan_of(format);
  plan.files = {{"certificate.pem.crt", {"{certificate}"}},
                {"private.pem.key", {"{private_key}"}},
                {"conf/{mac}.txt", {"{id} {key.1} {key.token} {serial} {values.ssid}"}}};
  return plan;
}

ImagePlan entries_in(NvsEncryption encryption) {
  ImagePlan plan = plan_of(ImageFormat::nvs, 0x6000);
  plan.entries = {{"aws", "cert", "string", {"{certificate}"}},
                  {"aws", "key", "binary", {"{private_key}"}},
                  {"net", "port", "u16", {"{values.port}"}}};
  plan.encryption = encryption;
  if (encryption == NvsEncryption::keys) {
    plan.keys_partition.emplace();
    plan.keys_partition->name = "nvs_keys";
    plan.keys_partition->range = {FlashOffset{0x190000}, 0x1000};
  }
  if (encryption == NvsEncryption::hmac) plan.hmac_key = std::make_shared<const Secret>(Bytes(32, 7));
  return plan;
}

Secret fresh_keys() {
  Bytes bytes(64);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i + 1);
  return Secret{std::move(bytes)};
}

std::vector<BoardRegion> build(const ImagePlan& plan, const BoardValues& with, const OnBoard& there = {}) {
  auto built = build_board_image(plan, with, {}, fresh_keys(), there);
  EXPECT_TRUE(built) << (built ? "" : describe(built.error()));
  return built ? std::move(*built) : std::vector<BoardRegion>{};
}

OnBoard on_board(std::vector<BoardRegion> regions) {
  OnBoard there;
  if (!regions.empty()) there.image = std::move(regions.back().bytes);
  if (regions.size() > 1) there.keys = std::move(regions[0].bytes);
  return there;
}

std::map<std::string, std::string> files_of(const ImagePlan& plan, const OnBoard& there) {
  std::map<std::string, std::string> out;
  auto read = read_image(there.image.reveal(), plan.format, plan.geometry);
  EXPECT_TRUE(read) << (read ? "" : describe(read.error()));
  if (read)
    for (const FileOwned& file : read->files)
      if (!file.is_folder()) out[file.path] = as_text(file.content);
  return out;
}

bool is_it(const Secret& key) { return as_text(key.reveal()) == pem; }

class FilesOf : public testing::TestWithParam<ImageFormat> {};

TEST_P(FilesOf, ABoardAreInItsPartitionsWholeImage) {
  ImagePlan plan = files_in(GetParam());
  std::vector<BoardRegion> regions = build(plan, values());
  ASSERT_EQ(regions.size(), 1u);
  EXPECT_EQ(regions[0].range, plan.partition.range);
  EXPECT_EQ(regions[0].bytes.reveal().size(), plan.partition.range.size);
  EXPECT_EQ(files_of(plan, on_board(std::move(regions))),
            (std::map<std::string, std::string>{{"certificate.pem.crt", "CERT\n"},
                                                {"private.pem.key", std::string{pem}},
                                                {"conf/24d7eb123456.txt", "th-1 K1 K2 SN-1 lab"}}));
}

TEST_P(FilesOf, ABoardStayWhereTheyAreKeptAndOursWin) {
  ImagePlan before = plan_of(GetParam());
  before.files = {{"user.cfg", {"volume=7"}}, {"certificate.pem.crt", {"old"}}};
  OnBoard there = on_board(build(before, values()));
  ImagePlan plan = files_in(GetParam());
  plan.keep = true;
  auto files = files_of(plan, on_board(build(plan, values(), there)));
  EXPECT_EQ(files["user.cfg"], "volume=7");
  EXPECT_EQ(files["certificate.pem.crt"], "CERT\n");
  EXPECT_EQ(files.size(), 4u);
}

TEST_P(FilesOf, ABlankBoardAreNoneToKeep) {
  ImagePlan plan = files_in(GetParam());
  plan.keep = true;
  OnBoard blank{Secret{Bytes(plan.partition.range.size, 0xff)}, {}};
  EXPECT_EQ(files_of(plan, on_board(build(plan, values(), blank))).size(), 3u);
}

TEST_P(FilesOf, ABoardThatCannotBeReadAreNotWrittenOver) {
  ImagePlan plan = files_in(GetParam());
  plan.keep = true;
  OnBoard garbage{Secret{Bytes(plan.partition.range.size, 0x5a)}, {}};
  auto kept = build_board_image(plan, values(), {}, fresh_keys(), garbage);
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, Code::image_invalid);
  EXPECT_NE(describe(kept.error()).find("storage"), std::string::npos);
}

TEST_P(FilesOf, ABoardAreItsIdentityWhateverLiesBesideThem) {
  ImagePlan plan = files_in(GetParam());
  OnBoard there = on_board(build(plan, values()));
  BoardValues known = values();
  known.private_key_pem = {};
  EXPECT_EQ(difference_on_board(plan, known, {}, there, is_it), std::nullopt);
  ImagePlan more = plan;
  more.keep = true;
  more.files.push_back({"log.txt", {"written by the firmware"}});
  there = on_board(build(more, values(), there));
  EXPECT_EQ(difference_on_board(plan, known, {}, there, is_it), std::nullopt);
  auto another_key = difference_on_board(plan, known, {}, there, [](const Secret&) { return false; });
  ASSERT_TRUE(another_key);
  EXPECT_NE(another_key->find("private.pem.key"), std::string::npos);
  known.certificate_pem = "ANOTHER\n";
  EXPECT_TRUE(difference_on_board(plan, known, {}, there, is_it));
  EXPECT_TRUE(difference_on_board(plan, known, {}, {Secret{Bytes(plan.partition.range.size, 0xff)}, {}}, is_it));
}

TEST_P(FilesOf, ABoardAreAllThereAndEveryWordOfThemIsItsOwn) {
  ImagePlan plan = plan_of(GetParam());
  plan.files = {{"conf.json", {"{ \"key\": {private_key}, \"token\": {key.token} }"}}, {"wifi.txt", {"{values.ssid}"}}};
  OnBoard there = on_board(build(plan, values()));
  BoardValues known = values();
  EXPECT_EQ(difference_on_board(plan, known, {}, there, is_it), std::nullopt);
  known.row["ssid"] = "changed since";
  EXPECT_EQ(difference_on_board(plan, known, {}, there, is_it), std::nullopt) << "Wi-Fi may be another by now";
  known.key_fields[1] = Secret{to_bytes("another board's")};
  EXPECT_TRUE(difference_on_board(plan, known, {}, there, is_it)) << "beside the private key";
  ImagePlan wifi = plan_of(GetParam());
  wifi.files = {{"wifi.txt", {"{values.ssid}"}}};
  EXPECT_TRUE(difference_on_board(wifi, known, {}, {Secret{Bytes(plan.partition.range.size, 0xff)}, {}}, is_it))
      << "erased";
}

INSTANTIATE_TEST_SUITE_P(EveryFormat, FilesOf,
                         testing::Values(ImageFormat::spiffs, ImageFormat::littlefs, ImageFormat::fat),
                         [](const auto& of) { return std::string{name_of(of.param)}; });

TEST(NvsOf, ABoardHoldsItsEntries) {
  auto entries = read_nvs(build(entries_in(NvsEncryption::none), values())[0].bytes.reveal());
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].type, NvsType::string);
  EXPECT_EQ(as_text((*entries)[0].value), "CERT\n");
  EXPECT_EQ(as_text((*entries)[1].value), pem);
  EXPECT_EQ((*entries)[2].number, 8883u);
}

TEST(NvsOf, ABoardIsEncryptedWithKeysOfItsOwn) {
  ImagePlan plan = entries_in(NvsEncryption::keys);
  std::vector<BoardRegion> regions = build(plan, values());
  ASSERT_EQ(regions.size(), 2u);
  EXPECT_EQ(regions[0].range, plan.keys_partition->range);
  EXPECT_EQ(regions[1].bytes.reveal().size(), 0x6000u);
  EXPECT_EQ(as_text(regions[1].bytes.reveal()).find("CERT"), std::string_view::npos);
  auto keys = parse_nvs_keys(regions[0].bytes.reveal());
  ASSERT_TRUE(keys);
  ByteView image = regions[1].bytes.reveal();
  auto plain = decrypt_nvs({image.begin(), image.end()}, *keys);
  ASSERT_TRUE(plain);
  EXPECT_EQ(read_nvs(*plain)->size(), 3u);
}

TEST(NvsOf, ABoardKeepsItsKeysWithItsEntries) {
  ImagePlan before = entries_in(NvsEncryption::keys);
  before.entries = {{"user", "name", "string", {"kitchen"}}};
  OnBoard there = on_board(build(before, values()));
  ImagePlan plan = entries_in(NvsEncryption::keys);
  plan.keep = true;
  auto built = build_board_image(plan, values(), {}, Secret{Bytes(64, 9)}, there);
  ASSERT_TRUE(built) << describe(built.error());
  EXPECT_TRUE(std::ranges::equal((*built)[0].bytes.reveal(), there.keys.reveal()));
  OnBoard after = on_board(std::move(*built));
  BoardValues known = values();
  EXPECT_EQ(difference_on_board(plan, known, {}, after, is_it), std::nullopt);
  EXPECT_EQ(difference_on_board(before, known, {}, after, is_it), std::nullopt);
}

TEST(NvsOf, ABoardIsEncryptedByTheKeyInItsEfuses) {
  ImagePlan plan = entries_in(NvsEncryption::hmac);
  std::vector<BoardRegion> regions = build(plan, values());
  ASSERT_EQ(regions.size(), 1u);
  auto keys = NvsKeys::from_hmac_key(plan.hmac_key->reveal());
  ASSERT_TRUE(keys);
  ByteView image = regions[0].bytes.reveal();
  auto plain = decrypt_nvs({image.begin(), image.end()}, *keys);
  ASSERT_TRUE(plain);
  EXPECT_EQ(read_nvs(*plain)->size(), 3u);
}

TEST(NvsOf, ABoardWhoseValueDoesNotFitNamesTheEntryAndNotTheValue) {
  BoardValues with = values();
  with.row["port"] = "70000";
  auto built = build_board_image(entries_in(NvsEncryption::none), with, {}, {}, {});
  ASSERT_FALSE(built);
  EXPECT_NE(describe(built.error()).find("net.port"), std::string::npos) << describe(built.error());
  EXPECT_EQ(describe(built.error()).find("70000"), std::string::npos);
}

TEST(NvsOf, ABoardThatIsDamagedIsNotKept) {
  ImagePlan plan = entries_in(NvsEncryption::none);
  OnBoard there = on_board(build(plan, values()));
  Bytes torn{there.image.reveal().begin(), there.image.reveal().end()};
  const std::string_view text = as_text(torn);
  torn[text.find("CERT")] ^= 1;
  plan.keep = true;
  auto built = build_board_image(plan, values(), {}, fresh_keys(), {Secret{torn}, {}});
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, Code::image_invalid);
}

TEST(FatOf, ABoardKeepsNoCaseOfItsNames) {
  ImagePlan plan = plan_of(ImageFormat::fat);
  plan.files = {{"Cert.pem", {"{certificate}"}}};
  OnBoard there = on_board(build(plan, values()));
  BoardValues known = values();
  EXPECT_EQ(difference_on_board(plan, known, {}, there, is_it), std::nullopt);
  plan.keep = true;
  EXPECT_EQ(files_of(plan, on_board(build(plan, values(), there))).size(), 1u);
}

TEST(DiskFilesOf, ABoardLieWhereItsValuesDoNotLeadElsewhere) {
  Plan plan;
  plan.images.push_back(plan_of(ImageFormat::spiffs));
  plan.images[0].files = {{"c", {"certs/{values.ssid}", true}}};
  MemoryFolder folder;
  folder.put("secret.bin", to_bytes("NO"));
  for (const char* value : {"../secret.bin", "..", "/secret.bin", "a\\b"}) {
    BoardValues with = values();
    with.row["ssid"] = value;
    auto disk = read_disk_files(plan, with, folder);
    ASSERT_FALSE(disk) << value;
    EXPECT_EQ(disk.error().code, Code::input_invalid);
  }
}

TEST(DiskFilesOf, EveryBoardAreWhatThePlanRead) {
  Plan plan;
  plan.images.push_back(plan_of(ImageFormat::spiffs));
  plan.images[0].files = {{"d", {"same.bin", true}}};
  plan.disk_files["same.bin"] = to_bytes("as planned");
  MemoryFolder folder;
  folder.put("same.bin", to_bytes("changed since"));
  auto disk = read_disk_files(plan, values(), folder);
  ASSERT_TRUE(disk);
  EXPECT_EQ(as_text(disk->at("same.bin")), "as planned");
}

TEST(DiskFilesOf, ABoardAreReadByItsOwnPath) {
  Plan plan;
  plan.images.push_back(plan_of(ImageFormat::spiffs));
  plan.images[0].files = {{"c", {"certs/{mac}.pem", true}}, {"d", {"same.bin", true}}};
  MemoryFolder folder;
  folder.put("certs/24d7eb123456.pem", to_bytes("MINE"));
  folder.put("same.bin", to_bytes("ALL"));
  auto disk = read_disk_files(plan, values(), folder);
  ASSERT_TRUE(disk) << describe(disk.error());
  EXPECT_EQ(disk->size(), 2u);
  EXPECT_EQ(as_text(disk->at("certs/24d7eb123456.pem")), "MINE");
  BoardValues other = values();
  other.mac.octets[5] ^= 1;
  auto missing = read_disk_files(plan, other, folder);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::input_missing);
}

}  // namespace
}  // namespace espmint
