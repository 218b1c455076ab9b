// image/invalid.hpp: the fault of every format whose bytes, sizes or names cannot be what they should be.
#pragma once

#include <string>

#include "base/result.hpp"

namespace espmint {

inline Fault invalid(std::string what, std::string seen = {}, std::string advice = {}) {
  return Fault{.code = Code::image_invalid,
               .remedy = Remedy::refuse,
               .what = std::move(what),
               .seen = std::move(seen),
               .advice = std::move(advice)};
}

}  // namespace espmint
