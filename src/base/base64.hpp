// base/base64.hpp: RFC 4648 base64, strict: padded, no line breaks.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.hpp"

namespace espmint {

std::string to_base64(ByteView bytes);
/// Nothing for anything that to_base64 would not have written.
std::optional<Bytes> from_base64(std::string_view text);

}  // namespace espmint
