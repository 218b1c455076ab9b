// Any bytes as a LittleFS image; what can be read can be built again and reads the same.
#include <cstdlib>
#include <map>

#include "image/extracted_name.hpp"
#include "image/littlefs.hpp"

using namespace espmint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView image{data, size};
  Result<std::vector<FileOwned>> files = read_littlefs(image);
  if (read_littlefs_superblock(image).has_value() < files.has_value()) std::abort();
  if (!files) {
    if (describe(files.error()).empty()) std::abort();
    return 0;
  }

  std::size_t together = 0;
  std::map<std::string_view, const Bytes*> tree;
  std::vector<FileView> views;
  for (const FileOwned& file : *files) {
    together += file.content.size();
    std::string_view name = file.path;
    if (file.is_folder()) name.remove_suffix(1);
    if (!tree.emplace(file.path, &file.content).second) std::abort();
    if (refusal_of_name(name)) return 0;
    views.push_back({file.path, file.content});
  }
  if (together > image.size()) std::abort();

  Result<Bytes> built = build_littlefs(1_MiB, {.block_size = 1024}, views);
  if (!built) return 0;  // more folders than there is room for
  Result<std::vector<FileOwned>> again = read_littlefs(*built);
  if (!again || again->size() != tree.size()) std::abort();
  for (const FileOwned& file : *again) {
    auto found = tree.find(file.path);
    if (found == tree.end() || *found->second != file.content) std::abort();
  }
  return 0;
}
