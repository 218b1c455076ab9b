#include "image/extracted_name.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/text.hpp"

namespace espmint {

std::optional<std::string> refusal_of_name(std::string_view path) {
  if (path.empty()) return "it is empty";
  if (path.front() == '/') return "it is absolute";
  if (std::any_of(path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    return "it has control bytes";
  for (std::string_view part : split(path, '/')) {
    if (part.empty()) return "a part of it is empty";
    if (part == "." || part == "..") return fmt::format("'{}' leads elsewhere", part);
    if (part.size() > 255) return "a part of it is longer than 255 bytes";
  }
  return std::nullopt;
}

Result<void> check_extracted_names(std::span<const std::string> paths) {
  auto refused = [](std::string_view path, std::string why) {
    return fail(Fault{.code = Code::image_invalid,
                      .remedy = Remedy::refuse,
                      .what = fmt::format("the image has a file named '{}', which is not extracted", path),
                      .seen = std::move(why),
                      .advice = "nothing was written; list the image to see its names"});
  };
  std::unordered_set<std::string_view> names;
  for (std::string_view path : paths)
    if (!path.ends_with('/')) names.insert(path);
  for (std::string_view path : paths) {
    const bool folder = path.ends_with('/');
    if (folder) path.remove_suffix(1);
    if (auto why = refusal_of_name(path)) return refused(path, *why);
    if (folder && names.contains(path)) return refused(path, "it is a folder, too");
    for (std::size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1))
      if (names.contains(path.substr(0, slash)))
        return refused(path, fmt::format("'{}' is a file, too", path.substr(0, slash)));
  }
  return ok();
}

}  // namespace espmint
