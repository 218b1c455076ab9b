// sim/stored_file.hpp: a file, or an entry of NVS, as a virtual board's own readers find it.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace espmint::sim {

struct StoredFile {
  std::string name;  // with its folders, "/" between; in NVS namespace and key
  Bytes content;
  std::string_view type = "file";  // in NVS "u8" to "i64", "string", "blob"
};

}  // namespace espmint::sim
