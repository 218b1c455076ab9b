// recipe/image_entries.hpp: entries of an NVS image from a table as ESP-IDF's generator takes it, with words in its
// values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "recipe/plan.hpp"

namespace espmint {

/// Columns key, type (namespace, data, file), encoding, value. Paths of rows of type `file` are relative to the table,
/// which `name` is the path of. Faults (refuse): input_invalid, recipe_invalid, at "name:line".
Result<std::vector<ImageEntry>> entries_of_csv(std::string_view text, const std::string& name);

}  // namespace espmint
