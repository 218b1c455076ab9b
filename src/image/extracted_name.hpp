// image/extracted_name.hpp: whether a name that an image brings may become a file below a folder. An image comes from
// anywhere: "../../.ssh/authorized_keys" is a valid SPIFFS name.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace espmint {

/// Why `path` must not be written, in words; nothing when it may: relative, no empty part, no "." or "..", no control
/// bytes, parts of at most 255 bytes.
std::optional<std::string> refusal_of_name(std::string_view path);

/// All of them, and no name that is another's folder ("a" beside "a/b", which flat file systems allow). A path that
/// ends in '/' is a folder. Fault (refuse, image_invalid) names the first that must not be.
Result<void> check_extracted_names(std::span<const std::string> paths);

}  // namespace espmint
