// Any bytes as a file of values: a table whose rows are found by their key, or a fault with a place.
#include <cstdlib>

#include "base/bytes.hpp"
#include "recipe/values_table.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espmint;
  if (size == 0) return 0;
  const auto by = (data[0] & 1) != 0 ? ValuesTable::By::mac : ValuesTable::By::serial;
  auto table = parse_values_csv(as_text({data + 1, size - 1}), by, "values.csv");
  if (!table) {
    if (table.error().code != Code::input_invalid || table.error().where.input.empty()) std::abort();
    return 0;
  }
  for (const auto& [key, row] : table->rows) {
    if (row.size() != table->columns.size()) std::abort();
    if (by == ValuesTable::By::serial && !table->row_for({}, key)) std::abort();
  }
  return 0;
}
