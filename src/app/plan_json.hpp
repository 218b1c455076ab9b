// app/plan_json.hpp: the plan of `run --dry-run --json` (docs/formats/events.md).
#pragma once

#include "app/json.hpp"
#include "recipe/plan.hpp"

namespace espmint::app {

Json plan_json(const Plan&);

}  // namespace espmint::app
