// base/csv.hpp: comma-separated values as RFC 4180 has them, with the line of each record for faults.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace espmint {

struct CsvRecord {
  std::uint32_t line = 0;  // 1-based, of its first byte
  std::vector<std::string> fields;
};

/// Records of any bytes; a byte order mark and empty lines are passed over. A quote counts at a field's beginning only.
/// Fault input_invalid, with the line in `where.input`: a quote that never ends, text behind a closing quote, a NUL.
Result<std::vector<CsvRecord>> parse_csv(std::string_view text, char delimiter = ',');

/// Which of comma, semicolon and tab the first line has most of.
char csv_delimiter_of(std::string_view text);

}  // namespace espmint
