// app/root_ca.hpp: by what a plan's boards know AWS, from this machine's certificates or the recipe's file.
#pragma once

#include <string>

#include "io/clock.hpp"
#include "recipe/plan.hpp"

namespace espmint::app {

/// PEM, for a plan whose issuer is AWS. Adds to the plan's notes which it is and until when, and that it is too long
/// for firmware in the field where it is. Faults: ca_missing (not among the system's, or expired), ca_invalid (the
/// recipe's file), input_missing, input_unreadable.
Result<std::string> root_ca_for(Plan&, WallTime now);

}  // namespace espmint::app
