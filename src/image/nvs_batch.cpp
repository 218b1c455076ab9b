#include "image/nvs_batch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "image/extracted_name.hpp"
#include "image/nvs_csv_rows.hpp"

namespace espmint::nvs {
namespace {

/// A row of the table of keys: what of a board's table is the same for all.
struct BatchRow {
  std::string key;
  std::string begin;       // "key,type,encoding," or the whole of a namespace's row
  std::size_t column = 0;  // of the table of values
  bool is_space = false, repeats = false;
};

/// The columns are looked for one behind the other: the same key may be in two namespaces.
Result<std::vector<BatchRow>> read_batch_keys(const NvsCsv& keys, const CsvText& text, const CsvRow& header) {
  std::vector<BatchRow> out;
  std::size_t next = 0;
  for (const CsvRow& row : text.rows) {
    std::vector<std::string> cells = row.cells;
    const bool repeats = cells.size() == 4 && cells[3] == "REPEAT";
    if (repeats) cells.pop_back();
    const std::string key = cells.front();
    if (cells.size() >= 2 && cells.size() <= 3 && cells[1] == "namespace") {
      cells.resize(3);
      out.push_back({key, fmt::format("{},namespace,{},", csv_first_cell(key), csv_cell(cells[2])), 0, true, false});
      continue;
    }
    if (cells.size() != 3)
      return fail(bad_csv(keys.name, row.line, fmt::format("'{}' has not three cells", key),
                          fmt::format("{} cells", row.cells.size()),
                          "a row is key,type,encoding and, where the value is the same for all boards, REPEAT"));
    auto found = std::find(header.cells.begin() + static_cast<std::ptrdiff_t>(next), header.cells.end(), key);
    if (found == header.cells.end())
      return fail(bad_csv(keys.name, row.line, fmt::format("the values have no column '{}' here", key), {},
                          "the columns are in the order of the keys; other columns may stand between them"));
    const auto column = static_cast<std::size_t>(found - header.cells.begin());
    next = column + 1;
    out.push_back({key, fmt::format("{},{},{},", csv_first_cell(key), csv_cell(cells[1]), csv_cell(cells[2])), column,
                   false, repeats});
  }
  return out;
}

Result<void> check_id(const NvsCsv& values, const CsvRow& row, const std::string& id) {
  if (id.empty()) return fail(bad_csv(values.name, row.line, "this board has no id", {}, "each row needs one"));
  if (id.find_first_of("/\\") != std::string::npos || refusal_of_name(id))
    return fail(bad_csv(values.name, row.line, "this board's id cannot be in a file's name", {},
                        "no slashes and no control characters"));
  return ok();
}

}  // namespace
}  // namespace espmint::nvs

namespace espmint {

Result<NvsBatch> expand_nvs_batch(const NvsCsv& keys, const NvsCsv& values, std::string_view id_column) {
  TRY(nvs::CsvText key_text, nvs::read_csv(keys.name, keys.text, nvs::CsvComments::none));
  TRY(nvs::CsvText value_text, nvs::read_csv(values.name, values.text, nvs::CsvComments::none));
  if (key_text.rows.empty()) return fail(nvs::bad_csv(keys.name, 1, "this table of keys is empty"));
  if (value_text.rows.size() < 2)
    return fail(nvs::bad_csv(values.name, 1, "this table has no boards", {},
                             "a row with the names of the keys, then a row for each board"));
  const nvs::CsvRow& header = value_text.rows.front();
  TRY(std::vector<nvs::BatchRow> rows, nvs::read_batch_keys(keys, key_text, header));
  auto id_at = std::find(header.cells.begin(), header.cells.end(), id_column);
  if (!id_column.empty() && id_at == header.cells.end())
    return fail(nvs::bad_csv(values.name, header.line, fmt::format("there is no column '{}' for the ids", id_column)));

  NvsBatch out;
  std::map<std::string, std::size_t> ids;  // and the line
  const nvs::CsvRow& first = value_text.rows[1];
  for (std::size_t number = 1; number < value_text.rows.size(); ++number) {
    const nvs::CsvRow& row = value_text.rows[number];
    if (row.cells.size() != header.cells.size())
      return fail(nvs::bad_csv(values.name, row.line, "this row has not as many cells as there are columns",
                               fmt::format("{} instead of {}", row.cells.size(), header.cells.size()),
                               "put a value with a comma in it into quotes"));
    NvsBoard board{std::to_string(number), row.line, "key,type,encoding,value\r\n"};
    if (!id_column.empty()) {
      board.id = row.cells[static_cast<std::size_t>(id_at - header.cells.begin())];
      TRY(nvs::check_id(values, row, board.id));
    }
    if (auto [other, is_new] = ids.emplace(board.id, row.line); !is_new)
      return fail(
          nvs::bad_csv(values.name, row.line, fmt::format("this board has the id of that on line {}", other->second)));
    for (const nvs::BatchRow& entry : rows) {
      board.csv += entry.begin;
      if (!entry.is_space) {
        const std::string& own = row.cells[entry.column];
        if (entry.repeats && !own.empty() && own != first.cells[entry.column])
          out.notes.push_back(
              fmt::format("{}:{}: the value of '{}' is replaced by the first board's: its key says REPEAT", values.name,
                          row.line, entry.key));
        board.csv += nvs::csv_cell(entry.repeats ? first.cells[entry.column] : own);
      }
      board.csv += "\r\n";
    }
    out.boards.push_back(std::move(board));
  }
  return out;
}

}  // namespace espmint
