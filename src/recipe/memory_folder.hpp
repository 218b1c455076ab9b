// recipe/memory_folder.hpp: for tests: a folder that is a map.
#pragma once

#include <map>
#include <set>

#include "recipe/folder.hpp"

namespace espmint {

class MemoryFolder final : public Folder {
 public:
  MemoryFolder& put(const std::string& path, Bytes content) {
    files_[normal(path)] = std::move(content);
    return *this;
  }
  MemoryFolder& put(const std::string& path, std::string_view text) { return put(path, to_bytes(text)); }
  MemoryFolder& remove(const std::string& path) {
    files_.erase(normal(path));
    return *this;
  }

  Result<Bytes> read(const std::string& path) const override {
    auto found = files_.find(normal(path));
    if (found == files_.end()) return fail({Code::input_missing, Remedy::refuse, "there is no file " + path});
    return found->second;
  }
  bool exists(const std::string& path) const override { return files_.count(normal(path)) > 0 || is_folder(path); }
  bool is_folder(const std::string& path) const override { return !list(path).empty(); }
  std::vector<std::string> list(const std::string& path) const override {
    std::string prefix = normal(path);
    if (!prefix.empty()) prefix += '/';
    std::set<std::string> names;
    for (const auto& [name, content] : files_)
      if (name.size() > prefix.size() && name.starts_with(prefix))
        names.insert(name.substr(prefix.size(), name.find('/', prefix.size()) - prefix.size()));
    return {names.begin(), names.end()};
  }

 private:
  /// Without "." and with ".." resolved where there is a folder to leave.
  static std::string normal(const std::string& path) {
    std::vector<std::string> parts;
    std::string part;
    for (char c : path + "/") {
      if (c != '/') {
        part += c;
        continue;
      }
      if (part == ".." && !parts.empty() && parts.back() != "..") {
        parts.pop_back();
      } else if (!part.empty() && part != ".") {
        parts.push_back(part);
      }
      part.clear();
    }
    std::string out;
    for (const std::string& each : parts) out += (out.empty() ? "" : "/") + each;
    return out;
  }
  std::map<std::string, Bytes> files_;
};

}  // namespace espmint
