#include "recipe/recipe.hpp"

#include <gtest/gtest.h>

#include "recipe/test_images.hpp"

namespace espmint {
namespace {

Result<Recipe> parse(std::string_view text) { return parse_recipe(text, "recipe.toml"); }
testing::AssertionResult refused(std::string_view text, std::string_view place,
                                 std::initializer_list<std::string_view> words) {
  auto recipe = parse(text);
  if (recipe) return testing::AssertionFailure() << "it was accepted";
  const Fault& fault = recipe.error();
  if (fault.code != Code::recipe_invalid || fault.remedy != Remedy::refuse)
    return testing::AssertionFailure() << describe(fault);
  if (fault.where.input != "recipe.toml:" + std::string{place})
    return testing::AssertionFailure() << "at " << fault.where.input << ": " << describe(fault);
  for (std::string_view word : words)
    if (describe(fault).find(word) == std::string::npos)
      return testing::AssertionFailure() << "no \"" << word << "\" in: " << describe(fault);
  return testing::AssertionSuccess();
}

TEST(Recipe, OfNothingIsTheDefaultRecipe) {
  auto recipe = parse("");
  ASSERT_TRUE(recipe);
  Recipe none = default_recipe();
  EXPECT_EQ(recipe->chip, "auto");
  EXPECT_EQ(recipe->id, "{mac}");
  EXPECT_EQ(recipe->key, "ec-p256");
  EXPECT_EQ(recipe->issuer, "local");
  EXPECT_EQ(recipe->challenge, ChallengePolicy::automatic);
  EXPECT_FALSE(recipe->save_private_key);
  EXPECT_FALSE(recipe->quota);
  EXPECT_TRUE(recipe->images.empty());
  EXPECT_EQ(none.id, recipe->id);
  EXPECT_EQ(none.key, recipe->key);
}

TEST(Recipe, SaysEverythingAProductIs) {
  auto recipe = parse(R"([product]
name = "thermostat"
chip = "esp32c3"
quota = 1000
[firmware]
path = "build"
[identity]
id = "th-{mac:upper}"
key = "rsa-2048"
issuer = "local"
save_private_key = true
challenge = "required"
[[image]]
partition = "storage"
format = "spiffs"
files = { "cert.pem" = "{certificate}", "conf/id.json" = '{"id": "{id}", "mac": "{mac:colon}"}' }
)");
  ASSERT_TRUE(recipe) << describe(recipe.error());
  EXPECT_EQ(recipe->product, "thermostat");
  EXPECT_EQ(recipe->chip, "esp32c3");
  EXPECT_EQ(recipe->quota, 1000u);
  EXPECT_EQ(recipe->firmware_path, "build");
  EXPECT_EQ(recipe->id, "th-{mac:upper}");
  EXPECT_EQ(recipe->key, "rsa-2048");
  EXPECT_TRUE(recipe->save_private_key);
  EXPECT_EQ(recipe->challenge, ChallengePolicy::required);
  ASSERT_EQ(recipe->images.size(), 1u);
  EXPECT_EQ(recipe->images.front().partition, "storage");
  ASSERT_EQ(recipe->images.front().files.size(), 2u);
  EXPECT_EQ(recipe->images.front().files[1].path, "conf/id.json");
}

TEST(Recipe, WithAnUnknownKeyNamesTheOneThatWasMeant) {
  EXPECT_TRUE(refused("[product]\nnmae = \"x\"\n", "2:1", {"nmae", "name"}));
  EXPECT_TRUE(refused("[prodct]\nname = \"x\"\n", "1:2", {"prodct", "product"}));
  EXPECT_TRUE(refused("[identity]\n  save_privat_key = true\n", "2:3", {"save_private_key"}));
  EXPECT_TRUE(refused("[[image]]\npartion = \"x\"\n", "2:1", {"partition"}));
  EXPECT_TRUE(refused("[[image]]\nfiles = { a = \"{certificat}\" }\n", "2:15", {"{certificat}", "{certificate}"}));
}

TEST(Recipe, WithAWrongTypeOrValueIsRefusedAtItsPlace) {
  EXPECT_TRUE(refused("[product]\nname = 7\n", "2:8", {"name"}));
  EXPECT_TRUE(refused("[product]\nchip = \"esp31\"\n", "2:8", {"esp31", "esp32"}));
  EXPECT_TRUE(refused("[product]\nquota = 0\n", "2:9", {"quota"}));
  EXPECT_TRUE(refused("[product]\nquota = 1.5\n", "2:9", {"quota"}));
  EXPECT_TRUE(refused("[identity]\nkey = \"rsa-1024\"\n", "2:7", {"rsa-2048"}));
  EXPECT_TRUE(refused("[identity]\nchallenge = \"maybe\"\n", "2:13", {"required"}));
  EXPECT_TRUE(refused("[identity]\nsave_private_key = \"yes\"\n", "2:20", {"true or false"}));
  EXPECT_TRUE(refused("image = 1\n", "1:9", {"[[image]]"}));
  EXPECT_TRUE(refused("product = 1\n", "1:11", {"[product]"}));
  EXPECT_TRUE(refused("[product\n", "1:9", {}));
}

TEST(Recipe, WhoseProductIsNoNameOfAFolderIsRefused) {
  for (const char* name : {"", "..", ".", ".hidden", "a/b", "a\\nb"})
    EXPECT_TRUE(refused("[product]\nname = \"" + std::string{name} + "\"\n", "2:8", {"product.name"})) << name;
}

TEST(Recipe, WhoseIdIsNoThingNameIsRefused) {
  EXPECT_TRUE(refused("[identity]\nid = \"device\"\n", "2:6", {"every board", "{mac}"}));
  EXPECT_TRUE(refused("[identity]\nid = \"d {mac}\"\n", "2:6", {"thing name"}));
  EXPECT_TRUE(refused("[identity]\nid = \"{mac}{certificate}\"\n", "2:6", {"{mac"}));
  EXPECT_TRUE(refused("[identity]\nid = \"" + std::string(53, 'x') + "{mac}\"\n", "2:6", {"64"}));
  EXPECT_TRUE(parse("[identity]\nid = \"" + std::string(52, 'x') + "{mac}\"\n"));
}

TEST(Recipe, SaysWhichKeysAreHandedOverAndHow) {
  auto recipe = parse(
      "[keys]\ncsv = \"pool/keys.csv\"\ncolumns = [\"appKey\", \"devAddr\"]\nshared = [3]\nprompt = "
      "\"Key?\"\nprovisioned = \"erase\"\n");
  ASSERT_TRUE(recipe);
  ASSERT_TRUE(recipe->keys);
  EXPECT_EQ(recipe->keys->csv, "pool/keys.csv");
  EXPECT_EQ(recipe->keys->columns, (std::vector<std::string>{"appKey", "devAddr"}));
  EXPECT_EQ(recipe->keys->shared, std::vector<std::uint32_t>{3});
  EXPECT_EQ(recipe->keys->prompt, "Key?");
  EXPECT_TRUE(recipe->keys->erase_provisioned);
  EXPECT_EQ(recipe->keys->prompt_patience, std::chrono::seconds{60});
  EXPECT_FALSE(parse("")->keys);
  EXPECT_TRUE(refused("[keys]\nprovisioned = \"ask\"\n", "2:15", {"hold", "erase"}));
  EXPECT_TRUE(refused("[keys]\ncolums = [1]\n", "2:1", {"columns"}));
}

TEST(Recipe, SaysWhichDialectTheFirmwareSpeaks) {
  EXPECT_EQ(parse("[keys]\n")->keys->handshake, Handshake::line);
  EXPECT_EQ(parse("[keys]\nhandshake = \"auto\"\n")->keys->handshake, Handshake::automatic);
  auto recipe = parse(
      "[keys]\nhandshake = \"framed\"\nlock = true\n[keys.selftest]\nvbat_mv = [3000, 3600]\n\"temp dc\" = [-100, "
      "600]\n");
  ASSERT_TRUE(recipe) << describe(recipe.error());
  EXPECT_EQ(recipe->keys->handshake, Handshake::framed);
  EXPECT_TRUE(recipe->keys->lock);
  ASSERT_TRUE(recipe->keys->selftest && recipe->keys->selftest->size() == 2);
  const SelftestLimit& temperature = recipe->keys->selftest->front();
  EXPECT_EQ(std::tuple(temperature.name, temperature.low, temperature.high),
            std::tuple(std::string{"temp dc"}, -100, 600));
  EXPECT_TRUE(parse("[keys]\nhandshake = \"framed\"\nselftest = {}\n")->keys->selftest)
      << "measured, and nothing demanded";
  EXPECT_TRUE(refused("[keys]\nhandshake = \"frame\"\n", "2:13", {"framed"}));
}

TEST(Recipe, RefusesLimitsAndALockThatCouldNotBeKept) {
  const std::string framed = "[keys]\nhandshake = \"framed\"\n";
  EXPECT_TRUE(refused(framed + "selftest = { v = [2, 1] }\n", "3:18", {"v", "above"}));
  EXPECT_TRUE(refused(framed + "selftest = { v = 2 }\n", "3:18", {"[lowest, highest]"}));
  EXPECT_TRUE(refused(framed + "selftest = { v = [1, 2.5] }\n", "3:18", {"whole numbers"}));
  EXPECT_TRUE(refused(framed + "selftest = { v = [1, 3000000000] }\n", "3:18", {"32 bits"}));
  EXPECT_TRUE(refused(framed + "selftest = true\n", "3:12", {"table"}));
  EXPECT_TRUE(refused("[keys]\nlock = true\n", "2:8", {"framed"}));
  EXPECT_TRUE(refused("[keys]\nhandshake = \"auto\"\nselftest = {}\n", "3:12", {"framed"}));
}

// ---------------------------------------------------------------- images

TEST(Recipe, HasAnImageForEachPartition) {
  auto recipe = parse(R"([[image]]
partition = "storage"
format = "littlefs"
name_max = 64
keep = true
files = { "id.txt" = "{mac}", "certs/{mac}.pem" = { file = "certs/{mac}.pem" } }

[[image]]
partition = "nvs"
format = "nvs"
version = 1
encryption = "keys"
[image.entries.wifi]
ssid = "{values.ssid}"
channel = { value = 6, encoding = "u8" }
boost = true
offset = -3
psk = { value = "{values.psk}", encoding = "hex2bin" }
cert = { file = "wifi.der" }

[values]
csv = "values.csv"
same = { ssid = "factory" }
)");
  ASSERT_TRUE(recipe) << describe(recipe.error());
  ASSERT_EQ(recipe->images.size(), 2u);
  const RecipeImage& files = recipe->images[0];
  EXPECT_EQ(files.format, ImageFormat::littlefs);
  EXPECT_TRUE(files.keep);
  EXPECT_EQ(files.name_max, 64u);
  ASSERT_EQ(files.files.size(), 2u);
  EXPECT_EQ(files.files[0].content, (Template{"certs/{mac}.pem", true}));
  const RecipeImage& nvs = recipe->images[1];
  EXPECT_EQ(nvs.nvs_version, 1u);
  EXPECT_EQ(nvs.encryption, NvsEncryption::keys);
  std::map<std::string, std::string> entries;
  for (const ImageEntry& entry : nvs.entries)
    entries[entry.space + "." + entry.key] = entry.encoding + " " + entry.content.text;
  EXPECT_EQ(entries, (std::map<std::string, std::string>{{"wifi.ssid", "string {values.ssid}"},
                                                         {"wifi.channel", "u8 6"},
                                                         {"wifi.boost", "u8 1"},
                                                         {"wifi.offset", "i32 -3"},
                                                         {"wifi.psk", "hex2bin {values.psk}"},
                                                         {"wifi.cert", "binary wifi.der"}}));
  ASSERT_TRUE(recipe->values);
  EXPECT_EQ(recipe->values->csv, "values.csv");
  EXPECT_EQ(recipe->values->same.at("ssid"), "factory");
}

TEST(Recipe, WhoseImageMakesNoSenseIsRefused) {
  EXPECT_TRUE(refused("[[image]]\nformat = \"nvs3\"\n", "2:10", {"nvs"}));
  EXPECT_TRUE(refused("[[image]]\npartition=\"a\"\n[[image]]\npartition=\"a\"\n", "3:1", {"two images", "a"}));
  EXPECT_TRUE(refused("[[image]]\nformat = \"nvs\"\nfiles = { a = \"b\" }\n", "3:9", {"files", "NVS"}));
  EXPECT_TRUE(refused("[[image]]\nformat = \"fat\"\nversion = 2\n", "3:11", {"version", "FAT"}));
  EXPECT_TRUE(refused("[[image]]\nformat = \"nvs\"\n[image.entries]\nssid = \"x\"\n", "4:8", {"namespaces"}));
  EXPECT_TRUE(
      refused("[[image]]\nformat = \"nvs\"\n[image.entries.w]\nsixteen_bytes_xx = 1\n", "4:1", {"1 to 15 bytes"}));
  EXPECT_TRUE(refused("[[image]]\nformat = \"nvs\"\n[image.entries.w]\nn = 5000000000\n", "4:5", {"i32"}));
  EXPECT_TRUE(
      refused("[[image]]\nformat = \"nvs\"\n[image.entries.w]\nn = { encoding = \"u8\" }\n", "4:5", {"value", "file"}));
  EXPECT_TRUE(refused("[[image]]\nformat = \"nvs\"\n[image.entries.w]\nn = { value = 1, encoding = \"u9\" }\n", "4:29",
                      {"u8"}));
  EXPECT_TRUE(refused("[[image]]\nformat = \"nvs\"\nencryption = \"hmac\"\n", "3:14", {"hmac_key"}));
  EXPECT_TRUE(refused("[[image]]\nformat = \"fat\"\nfat_type = 32\n", "3:12", {"12, 16"}));
  EXPECT_TRUE(refused("[values]\nby = \"label\"\n", "2:6", {"serial"}));
  EXPECT_TRUE(refused("[values]\nsame = { a = 1 }\n", "2:14", {"text"}));
}

TEST(Recipe, CommentedParsesBackToWhatItSays) {
  auto set = find_firmware(idf_project(), "build");
  ASSERT_TRUE(set);
  auto recipe = parse(commented_recipe(&*set, "build"));
  ASSERT_TRUE(recipe) << describe(recipe.error());
  EXPECT_EQ(recipe->product, "thermostat");
  EXPECT_EQ(recipe->chip, "esp32");
  EXPECT_EQ(recipe->firmware_path, "build");
  EXPECT_EQ(recipe->id, "{mac}");
  ASSERT_EQ(recipe->images.size(), 1u);
  EXPECT_EQ(recipe->images.front().partition, "storage");
  EXPECT_EQ(recipe->images.front().files.size(), 3u);
}

TEST(Recipe, CommentedWithoutAPartitionForItAsksForNoImage) {
  auto set = find_firmware(idf_project(no_spiffs_csv), "build");
  ASSERT_TRUE(set);
  std::string text = commented_recipe(&*set, "build");
  auto recipe = parse(text);
  ASSERT_TRUE(recipe) << describe(recipe.error());
  EXPECT_TRUE(recipe->images.empty()) << text;
  EXPECT_NE(text.find("spiffs"), std::string::npos);
}

TEST(Recipe, CommentedHoldsAnyPathAndProject) {
  FirmwareSet set = *find_firmware(idf_project(), "build");
  set.project = "a \"b\"\\\n../c";
  std::string path = "my \"builds\"\\x\n\ty";
  auto recipe = parse(commented_recipe(&set, path));
  ASSERT_TRUE(recipe) << describe(recipe.error()) << commented_recipe(&set, path);
  EXPECT_EQ(recipe->firmware_path, path);
  EXPECT_TRUE(parse(commented_recipe(nullptr, "")));
}

}  // namespace
}  // namespace espmint
