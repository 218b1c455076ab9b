// recipe/plan_images.hpp: the part of a plan that is each board's own: which partition gets which image, of what.
#pragma once

#include "recipe/board_image.hpp"
#include "recipe/make_plan.hpp"

namespace espmint {

/// Adds the recipe's images to the plan, or the one that holds where there is no recipe. Takes what the firmware brings
/// for them out of its parts; an image that is the same for every board becomes a part. Built once on trial with
/// contents as large as they get. Faults: those of make_plan, and of the recipe's files.
Result<void> plan_images(const Recipe&, const PlanOptions&, FirmwareSet&, Plan&);

/// Builds an image of this board with a certificate and keys as large as they get: what fails here would fail when its
/// firmware is on it already. Faults: those of build_board_image.
Result<void> build_on_trial(const Plan&, const ImagePlan&, const BoardValues&, const DiskFiles&, const OnBoard& there);

/// A geometry as text, for digests.
std::string digest_text(const ImageGeometry&);

}  // namespace espmint
