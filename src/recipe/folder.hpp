// recipe/folder.hpp: how files come in: this room opens none itself. The real folder is the app's.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace espmint {

/// Paths are relative to the folder, with '/' between parts ("build/app.bin", "." itself, ".." above), or absolute.
class Folder {
 public:
  virtual ~Folder() = default;
  /// Fault input_missing or input_unreadable, naming the file.
  virtual Result<Bytes> read(const std::string& path) const = 0;
  virtual bool exists(const std::string& path) const = 0;
  virtual bool is_folder(const std::string& path) const = 0;
  /// Names in a folder, sorted, without "." and ".."; none for what is no folder.
  virtual std::vector<std::string> list(const std::string& path) const = 0;
};

}  // namespace espmint
