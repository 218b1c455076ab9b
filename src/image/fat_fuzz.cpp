// Any bytes as a FAT volume: a tree or a fault, never more content than the image has, names that stay below a folder,
// and what was read can be built and read again.
#include <cstdlib>
#include <map>

#include "base/text.hpp"
#include "image/extracted_name.hpp"
#include "image/fat.hpp"

using namespace espmint;

namespace {

/// Building makes small letters of ASCII capitals.
std::map<std::string, ByteView> by_small_name(const std::vector<FileOwned>& files) {
  std::map<std::string, ByteView> out;
  for (const FileOwned& file : files) out.emplace(lower(file.path), file.content);
  return out;
}

bool same(const std::map<std::string, ByteView>& a, const std::map<std::string, ByteView>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && std::equal(x.second.begin(), x.second.end(), y.second.begin(), y.second.end());
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView image{data, size};
  Result<std::vector<FileOwned>> files = read_fat(image);
  if (files && !parse_fat_header(image)) std::abort();
  if (!files) return 0;
  std::size_t together = 0;
  std::vector<FileView> views;
  for (const FileOwned& file : *files) {
    together += file.content.size();
    std::string_view path = file.path;
    if (file.is_folder()) path.remove_suffix(1);
    // Only a name of many bytes a letter may be too long for the folder that it is extracted into.
    if (auto why = refusal_of_name(path); why && why->find("255") == std::string::npos) std::abort();
    views.push_back({file.path, file.content});
  }
  if (together > image.size()) std::abort();

  FatGeometry geometry{.sector_size = 512, .long_names = true};
  Result<ByteCount> smallest = smallest_fat(geometry, views);
  if (!smallest) std::abort();
  Result<Bytes> built = build_fat(*smallest, geometry, views);
  if (!built) return 0;  // letters past ASCII, names that end in a dot, …
  Result<std::vector<FileOwned>> again = read_fat(*built);
  if (!again || !same(by_small_name(*files), by_small_name(*again))) std::abort();
  return 0;
}
