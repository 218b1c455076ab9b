#include "recipe/image_entries.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "image/nvs_csv_rows.hpp"
#include "recipe/words.hpp"

namespace espmint {

Result<std::vector<ImageEntry>> entries_of_csv(std::string_view text, const std::string& name) {
  constexpr std::array<std::string_view, 4> columns{"key", "type", "encoding", "value"};
  TRY(nvs::CsvText csv, nvs::read_csv(name, text, nvs::CsvComments::number_sign));
  if (csv.rows.empty() || !std::ranges::equal(csv.rows.front().cells, columns))
    return fail(
        nvs::bad_csv(name, 1, "the first row is not that of an NVS table", {}, "It is: key,type,encoding,value"));
  const std::size_t slash = name.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : name.substr(0, slash + 1);
  std::string space;
  std::vector<ImageEntry> out;
  for (const nvs::CsvRow& row : std::span{csv.rows}.subspan(1)) {
    if (row.cells.size() < 2 || row.cells.size() > columns.size())
      return fail(nvs::bad_csv(name, row.line, fmt::format("the row has {} cells, not 4", row.cells.size())));
    auto cell = [&row](std::size_t i) { return i < row.cells.size() ? row.cells[i] : std::string{}; };
    const std::string key = cell(0), type = cell(1), encoding = cell(2), value = cell(3);
    if (type == "namespace") {
      space = key;
      continue;
    }
    if (type != "data" && type != "file")
      return fail(
          nvs::bad_csv(name, row.line, fmt::format("'{}' is no type", type), {}, "It is namespace, data or file"));
    if (space.empty())
      return fail(nvs::bad_csv(name, row.line, fmt::format("'{}' is in no namespace", key), {},
                               "A row of type namespace comes first"));
    if (std::string why = check_template(value); !why.empty()) return fail(nvs::bad_csv(name, row.line, why));
    const bool from_disk = type == "file";
    const bool absolute = value.starts_with('/');
    out.push_back({space, key, encoding, {from_disk && !absolute ? folder + value : value, from_disk}});
  }
  return out;
}

}  // namespace espmint
