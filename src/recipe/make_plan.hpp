// recipe/make_plan.hpp: recipe and firmware to one plan, with everything checked that can be before a board is there.
#pragma once

#include "recipe/plan.hpp"
#include "recipe/recipe.hpp"

namespace espmint {

struct PlanOptions {
  std::string partition;  // of the identity image; wins over the recipe
};

/// Faults: partition_ambiguous (listing them), partition_missing, image_invalid, image_no_space, recipe_invalid.
Result<Plan> make_plan(const Recipe&, FirmwareSet, const PlanOptions& = {});

/// What `run --dry-run` prints.
std::string describe_plan(const Plan&);

}  // namespace espmint
