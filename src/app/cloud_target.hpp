// app/cloud_target.hpp: where a product's boards are registered, remembered beside its ledger: later commands need no
// recipe.
#pragma once

#include <optional>

#include "app/settings.hpp"
#include "recipe/plan.hpp"

namespace espmint::app {

struct CloudTarget {
  std::string product;
  AwsPlan aws;
  std::string endpoint{};  // the broker's host, as a line was last told; empty: none was
};

/// Keeps cloud.json in the product's folder; nothing in it is secret. Faults: output_unwritable, disk_full.
Result<void> remember_cloud(const Settings&, const CloudTarget&);
/// Nothing where the product has no cloud elsewhere. Fault input_invalid: the file is not what was written.
Result<std::optional<CloudTarget>> cloud_of(const Settings&, const std::string& product);

}  // namespace espmint::app
