// app/app_image_report.hpp: what `espmint image app list` says of a firmware image.
#pragma once

#include <string>

#include "app/json.hpp"
#include "image/app_image.hpp"

namespace espmint::app {

/// "esp32c3"; "unknown (77)" for a chip that the tables do not know.
std::string chip_text(const AppImage&);
/// Header, segments, checksum, digest and description; null where the tables know no name (docs/formats/app-image.md).
Json app_image_json(const AppImage&);
/// The same for people, a line each. Text from the image is as it came: escape it before a terminal sees it.
std::string app_image_text(const AppImage&);

}  // namespace espmint::app
