// recipe/recipe.hpp: what a product is, as its recipe.toml says it. Every key: docs/formats/recipe.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "recipe/firmware.hpp"
#include "recipe/plan.hpp"

namespace espmint {

struct RecipeImage {
  std::string partition;
  std::vector<IdentityFile> files;
};

struct Recipe {
  std::string product;               // empty: the firmware's project name
  std::string chip = "auto";
  std::optional<std::uint64_t> quota;
  std::string firmware_path;         // relative to the recipe; empty: what lies beside it
  std::string id = "{mac}";
  std::string key = "ec-p256";
  std::string issuer = "local";
  bool save_private_key = false;
  ChallengePolicy challenge = ChallengePolicy::automatic;
  std::optional<KeysPlan> keys;      // csv is relative to the recipe
  std::optional<RecipeImage> image;  // none: the only SPIFFS partition, with the files that firmware in the field reads
};

/// Why this cannot be a product's name, which its ledger's folder bears; empty when it can.
std::string check_product_name(std::string_view name);
/// The nearest name that can be: what the firmware calls itself may be anything.
std::string product_name_of(std::string_view project);

/// What holds where there is no recipe.
Recipe default_recipe();
/// certificate.pem.crt, private.pem.key, aws-root-ca.pem.
std::vector<IdentityFile> default_identity_files();

/// Faults (recipe_invalid) with file:line:column; unknown keys name the one that was probably meant; sections of later
/// versions are refused rather than ignored.
Result<Recipe> parse_recipe(std::string_view toml, std::string_view filename);

/// A recipe with every key explained, set to what `firmware` would get without one.
std::string commented_recipe(const FirmwareSet* firmware, const std::string& firmware_path);

}  // namespace espmint
