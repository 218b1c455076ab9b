// image/file_tree.hpp: what file systems hold, as every format here takes and gives it.
#pragma once

#include <string>

#include "base/bytes.hpp"

namespace espmint {

/// A file to put in; `path` is relative, "a/b.txt", without leading slash. A path that ends in '/' is a folder, its
/// content empty; folders that only hold files need no entry. The bytes are borrowed.
struct FileView {
  std::string path;
  ByteView content;
  [[nodiscard]] bool is_folder() const { return path.ends_with('/'); }
};

/// A file or, as above, a folder that was read out.
struct FileOwned {
  std::string path;
  Bytes content;
  [[nodiscard]] bool is_folder() const { return path.ends_with('/'); }
};

}  // namespace espmint
