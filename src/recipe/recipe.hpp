// recipe/recipe.hpp: what a product is, as its recipe.toml says it. Every key: docs/formats/recipe.md.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "recipe/firmware.hpp"
#include "recipe/plan.hpp"

namespace espmint {

/// What an [[image]] says; what it leaves out the firmware decides (recipe/plan_images.cpp).
struct RecipeImage {
  std::string partition;  // empty: the only one that suits the format
  std::optional<ImageFormat> format;
  std::vector<ImageFile> files;
  std::vector<ImageEntry> entries;
  std::string csv;  // entries as ESP-IDF's CSV has them, with words; relative to the recipe
  bool keep = false;
  NvsEncryption encryption = NvsEncryption::none;
  std::string keys_partition;  // of NvsEncryption::keys; empty: the only one
  std::string hmac_key;        // a file of 32 bytes, relative to the recipe
  // Geometry, where the recipe knows better than the firmware's build.
  std::optional<std::uint32_t> nvs_version, fat_type, sector_size, block_size, name_max;
  std::optional<bool> wear_levelling, long_names;
};

/// A key of the table that says something this format does not have; empty: none.
std::string_view key_of_another_format(const RecipeImage&, ImageFormat);

/// Values that boards get from a file, a row a board, and values that all of them get.
struct RecipeValues {
  std::string csv;  // relative to the recipe; empty: none
  ValuesTable::By by = ValuesTable::By::mac;
  std::map<std::string, std::string> same;
};

struct Recipe {
  std::string product;  // empty: the firmware's project name
  std::string chip = "auto";
  std::optional<std::uint64_t> quota;
  std::string firmware_path;  // relative to the recipe; empty: what lies beside it
  std::string id = "{mac}";
  std::string key = "ec-p256";
  std::string issuer = "local";
  std::optional<AwsPlan> aws;  // paths are relative to the recipe; none: all of it is the default
  bool save_private_key = false;
  ChallengePolicy challenge = ChallengePolicy::automatic;
  std::optional<KeysPlan> keys;  // csv is relative to the recipe
  std::optional<RecipeValues> values;
  std::vector<RecipeImage> images;  // none: the only SPIFFS or LittleFS partition, with the files that firmware in the
                                    // field reads
};

/// Why this cannot be a product's name, which its ledger's folder bears; empty when it can.
std::string check_product_name(std::string_view name);
/// The nearest name that can be: what the firmware calls itself may be anything.
std::string product_name_of(std::string_view project);

/// What holds where there is no recipe.
Recipe default_recipe();
/// certificate.pem.crt, private.pem.key, aws-root-ca.pem; of issuer "aws" also endpoint.txt and thing.txt.
std::vector<ImageFile> default_identity_files(std::string_view issuer = "local");
/// identity.certificate, identity.private_key, identity.root_ca: strings of an NVS image; of issuer "aws" also
/// identity.endpoint and identity.thing.
std::vector<ImageEntry> default_identity_entries(std::string_view issuer = "local");

/// Faults with file:line:column: recipe_invalid, unknown keys name the one that was probably meant; cloud_refused for
/// names that AWS would refuse.
Result<Recipe> parse_recipe(std::string_view toml, std::string_view filename);

/// A recipe with every key explained, set to what `firmware` would get without one.
std::string commented_recipe(const FirmwareSet* firmware, const std::string& firmware_path);

}  // namespace espmint
