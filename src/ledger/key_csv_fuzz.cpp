// keys.csv, any bytes: rows lie within the text, in order, with the user's part inside the row; a mark that is written
// behind a row is read back as that mark.
#include <cstdlib>

#include "ledger/key_csv.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espmint;
  std::string_view text{reinterpret_cast<const char*>(data), size};
  auto csv = parse_key_csv(text);
  if (!csv) return 0;
  std::uint64_t end = csv->header_bytes;
  for (const KeyRow& row : csv->rows) {
    if (row.begin < end || row.begin + row.bytes > text.size() || row.user_bytes > row.bytes) std::abort();
    end = row.begin + row.bytes;
    std::string_view user = text.substr(row.begin, row.user_bytes);
    auto values = key_values(user, csv->delimiter);
    if (values.size() != csv->fields) std::abort();
    std::string marked =
        std::string{user} + given_mark(csv->delimiter, "EXPOSED", "24d7eb000001", "2026-11-21T08:00:00Z");
    auto again = parse_key_csv(marked, {.delimiter = csv->delimiter, .fields = csv->fields});
    bool header = again && again->rows.empty();
    if (!header && again && again->rows.front().mark != KeyMark::ours) std::abort();
  }
  return 0;
}
