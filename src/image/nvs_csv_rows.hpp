// image/nvs_csv_rows.hpp: rows and cells of a CSV file as Python's csv module reads and writes them, because the tables
// that ESP-IDF's tools take are read by it. For nvs_csv and nvs_batch.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace espmint::nvs {

struct CsvRow {
  std::size_t line = 0;  // its first, from 1
  std::vector<std::string> cells;
};

struct CsvText {
  std::vector<CsvRow> rows;       // without blank ones
  std::vector<std::size_t> lost;  // lines within quotes that were left out because they begin with '#'
};

enum class CsvComments { none, number_sign };
/// UTF-8, with or without a byte order mark; lines end in LF, CRLF or CR, which are LF within quotes. With comments, a
/// line that begins with '#' is left out, even within quotes, as ESP-IDF's generator does. Faults (refuse)
/// input_invalid at "name:line": no UTF-8, quotes without end.
Result<CsvText> read_csv(std::string_view name, std::string_view text, CsvComments);

/// Quoted where needed: a comma, a quote, the end of a line; the first of a row also where it begins with '#', or the
/// row would be taken for a comment.
std::string csv_cell(std::string_view);
std::string csv_first_cell(std::string_view);

bool is_utf8_text(std::string_view);

/// At "name:line".
Fault bad_csv(std::string_view name, std::size_t line, std::string what, std::string seen = {},
              std::string advice = {});

}  // namespace espmint::nvs
