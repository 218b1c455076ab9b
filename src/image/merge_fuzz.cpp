// Any bytes as a flash dump: parts that lie in it, with names that are safe, and that merge to the same bytes.
#include <cstdlib>

#include "image/extracted_name.hpp"
#include "image/merge.hpp"

using namespace espmint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  SplitOptions options;
  // Most tables lie too far behind for a fuzzer's short inputs.
  if ((data[0] & 1) != 0) options.table_at = FlashOffset{(data[0] & 0xfeu) << 8};
  if ((data[1] & 1) != 0) options.target = FlashOffset{(data[1] & 0xfeu) << 8};
  ByteView bytes{data + 2, size - 2};
  Result<SplitFlash> split = split_flash(bytes, options);
  if (!split) return 0;
  std::vector<MergePart> parts;
  std::vector<std::string> names;
  for (const SplitPart& part : split->parts) {
    parts.push_back({part.at, part.bytes, part.name});
    names.push_back(part.name);
  }
  if (!check_extracted_names(names)) std::abort();
  if (parts.empty()) std::abort();  // the table is one
  MergeOptions merge{
      .target = split->target, .fill_to = split->target.bytes + bytes.size(), .bootloader = {}, .header = {}};
  Result<Bytes> again = merge_parts(parts, merge);
  if (!again || !std::equal(again->begin(), again->end(), bytes.begin(), bytes.end())) std::abort();
  return 0;
}
