// recipe/make_plan.hpp: recipe and firmware to one plan, with everything checked that can be before a board is there.
#pragma once

#include "recipe/folder.hpp"
#include "recipe/plan.hpp"
#include "recipe/recipe.hpp"

namespace espmint {

struct PlanOptions {
  std::string partition;           // of the only image; wins over the recipe
  const Folder* folder = nullptr;  // the recipe's: files that it names
};

/// Faults: partition_ambiguous (listing them), partition_missing, image_invalid, image_no_space, recipe_invalid.
Result<Plan> make_plan(const Recipe&, FirmwareSet, const PlanOptions& = {});

/// What `run --dry-run` prints.
std::string describe_plan(const Plan&);

}  // namespace espmint
