// recipe/values_table.hpp: values that each board gets from a file, a row a board, joined by its MAC or its serial
// number. The values may be secret (Wi-Fi passwords): no fault quotes them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mac.hpp"
#include "base/result.hpp"

namespace espmint {

struct ValuesTable {
  enum class By { mac, serial } by = By::mac;
  std::string source;                // the file, for people
  std::vector<std::string> columns;  // of the header, and the names that are the same for every board
  std::map<std::string, std::map<std::string, std::string>> rows;  // by MAC ("24d7eb123456") or serial
  std::map<std::string, std::string> same;                         // for every board of the batch: name = value

  [[nodiscard]] bool has_column(std::string_view name) const;
  /// What this board gets. `serial` as an operator scanned it; empty: none. Fault values_missing (refuse): no row.
  Result<std::map<std::string, std::string>> row_for(const Mac&, const std::string& serial) const;
  /// The longest value of a column, for trials.
  [[nodiscard]] std::size_t longest(std::string_view column) const;
};

/// CSV (RFC 4180; comma, semicolon or tab, UTF-8) with a header that has a column `mac` or `serial`. Any bytes. Faults
/// input_invalid with the line: no such column, another number of fields, a key twice or no MAC.
Result<ValuesTable> parse_values_csv(std::string_view text, ValuesTable::By, std::string source);

}  // namespace espmint
