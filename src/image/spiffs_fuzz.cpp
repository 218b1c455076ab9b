// Any bytes as an image of any geometry: files or a fault, never more content than the image has, and what was read can
// be built and read again.
#include <cstdlib>

#include "image/extracted_name.hpp"
#include "image/spiffs.hpp"

using namespace espmint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  SpiffsGeometry geometry;
  geometry.page_size = 16u << (data[0] & 7);
  geometry.block_size = geometry.page_size * (1u + (data[1] & 31));
  geometry.name_length = data[2] & 63;
  geometry.meta_length = data[2] >> 6;
  geometry.magic = (data[3] & 1) != 0;
  geometry.magic_length = (data[3] & 2) != 0;
  geometry.big_endian = (data[3] & 4) != 0;
  geometry.aligned_index_tables = (data[3] & 8) != 0;
  ByteView image{data + 4, size - 4};

  Result<std::vector<FileOwned>> files = read_spiffs(image, geometry);
  if (files) {
    std::size_t together = 0;
    std::vector<FileView> views;
    for (const FileOwned& file : *files) {
      together += file.content.size();
      if (!refusal_of_name(file.path)) views.push_back({file.path, file.content});
    }
    if (together > image.size()) std::abort();
    // Later files may lack room (the reader meets index pages in any order), but what is built must read the same.
    geometry.name_length += 1;  // a name without its slash gets one
    Result<Bytes> built = build_spiffs(image.size() * 2, geometry, views);
    if (built) {
      Result<std::vector<FileOwned>> again = read_spiffs(*built, geometry);
      if (!again || again->size() != views.size()) std::abort();
      for (std::size_t i = 0; i < views.size(); ++i)
        if ((*again)[i].path != views[i].path || !std::equal(views[i].content.begin(), views[i].content.end(),
                                                             (*again)[i].content.begin(), (*again)[i].content.end()))
          std::abort();
    }
  }
  if (std::optional<SpiffsGeometry> found = detect_spiffs_geometry(image, geometry))
    if (!read_spiffs(image, *found)) std::abort();
  return 0;
}
