// Any bytes as a firmware image: a value inside the bytes or a fault; a patched image stays intact.
#include <cstdlib>

#include "image/app_image.hpp"

using namespace espmint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView bytes{data, size};
  Result<AppImage> image = parse_app_image(bytes);
  if (!image) return 0;
  if (image->size > size || image->segments.empty()) std::abort();
  for (const AppSegment& segment : image->segments)
    if (std::uint64_t{segment.file_offset} + segment.size > image->size) std::abort();
  Result<Bytes> patched = with_flash_size(bytes, 8_MiB);
  if (!patched) return 0;
  Result<AppImage> again = parse_app_image(*patched);
  if (!again || again->flash_size_code != 3 || patched->size() != size) std::abort();
  if (image->intact() && !again->intact()) std::abort();
  return 0;
}
