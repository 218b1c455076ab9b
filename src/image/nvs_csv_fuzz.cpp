// Any text as a table for NVS: entries or a fault at a line. What is read can be built and read again, and written as a
// table that reads the same; as a table of keys and values for boards it is expanded or refused.
#include <cstdlib>

#include "image/nvs_batch.hpp"

using namespace espmint;

namespace {

using Entries = std::vector<NvsEntry>;

void drop_spaces(Entries& entries) {
  std::erase_if(entries, [](const NvsEntry& entry) { return entry.key.empty(); });
}
bool same(Entries a, Entries b) {
  auto before = [](const NvsEntry& x, const NvsEntry& y) {
    return std::tie(x.space, x.key, x.type) < std::tie(y.space, y.key, y.type);
  };
  drop_spaces(a);
  drop_spaces(b);
  std::stable_sort(a.begin(), a.end(), before);
  std::stable_sort(b.begin(), b.end(), before);
  return a == b;
}

/// Files are named by their content here.
Result<Bytes> content_of(const std::string&, const std::string& path) { return to_bytes(path); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text({data, size});
  const NvsCsv csv{"in.csv", text};
  // Without the access point's key: 4096 rounds of a hash, again and again, find nothing.
  Result<NvsTable> table = parse_nvs_csv({&csv, 1}, content_of, {.wifi_extras = false});
  if (!table && table.error().where.input.empty()) std::abort();
  if (table) {
    constexpr ByteCount room = 1024 * 1024;
    Result<Bytes> image = build_nvs(room, {}, table->entries);
    if (image) {
      Result<Entries> again = read_nvs(*image);
      if (!again || !same(*again, table->entries)) std::abort();
      if (Result<NvsCsvText> out = encode_nvs_csv(*again, NvsValues::inside)) {
        const NvsCsv second{"again.csv", out->csv};
        Result<NvsTable> once_more = parse_nvs_csv({&second, 1}, content_of, {.wifi_extras = false});
        if (!once_more || !same(once_more->entries, *again)) std::abort();
      }
    }
  }
  const std::size_t half = text.find("\n\n");
  if (half != std::string_view::npos)
    if (Result<NvsBatch> batch =
            expand_nvs_batch({"keys", text.substr(0, half)}, {"values", text.substr(half + 2)}, {}))
      for (const NvsBoard& board : batch->boards) {
        const NvsCsv one{"board", board.csv};
        (void)parse_nvs_csv({&one, 1}, content_of, {.wifi_extras = false});
      }
  return 0;
}
