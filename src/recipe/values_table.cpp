#include "recipe/values_table.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/csv.hpp"

namespace espmint {
namespace {

std::string_view name_of(ValuesTable::By by) { return by == ValuesTable::By::mac ? "mac" : "serial"; }

}  // namespace

bool ValuesTable::has_column(std::string_view name) const {
  return std::find(columns.begin(), columns.end(), name) != columns.end();
}

std::size_t ValuesTable::longest(std::string_view column) const {
  std::size_t longest = 0;
  const std::string name{column};
  if (auto mine = same.find(name); mine != same.end()) longest = mine->second.size();
  for (const auto& [key, row] : rows)
    if (auto value = row.find(name); value != row.end()) longest = std::max(longest, value->second.size());
  return longest;
}

Result<std::map<std::string, std::string>> ValuesTable::row_for(const Mac& mac, const std::string& serial) const {
  std::map<std::string, std::string> out = same;
  if (source.empty()) return out;
  const std::string key = by == By::mac ? to_string(mac) : serial;
  auto row = rows.find(key);
  if (row == rows.end()) {
    Fault fault{Code::values_missing, Remedy::refuse,
                key.empty() ? fmt::format("no serial number was given, and {} is joined by it", source)
                            : fmt::format("{} has no row for this board", source)};
    if (!key.empty()) fault.seen = fmt::format("{} {}", name_of(by), key);
    fault.advice = key.empty() ? "Say it with --serial; nothing was written" : "Add its row; nothing was written";
    return fail(std::move(fault));
  }
  for (const auto& [name, value] : row->second) out.insert_or_assign(name, value);
  return out;
}

Result<ValuesTable> parse_values_csv(std::string_view text, ValuesTable::By by, std::string source) {
  ValuesTable table;
  table.by = by;
  table.source = std::move(source);
  auto wrong = [&table](std::uint32_t line, std::string what, std::string advice = {}) {
    Fault fault{Code::input_invalid, Remedy::refuse, std::move(what)};
    fault.where.input = fmt::format("{}:{}", table.source, line);
    fault.advice = std::move(advice);
    return fail(std::move(fault));
  };
  auto parsed = parse_csv(text, csv_delimiter_of(text));
  if (!parsed) {
    parsed.error().where.input = fmt::format("{}, {}", table.source, parsed.error().where.input);
    return fail(std::move(parsed.error()));
  }
  if (parsed->empty())
    return wrong(1, "the file is empty", "Its first row names the columns, one of them " + std::string{name_of(by)});
  table.columns = parsed->front().fields;
  auto key_column = std::find(table.columns.begin(), table.columns.end(), name_of(by));
  if (key_column == table.columns.end())
    return wrong(1, fmt::format("no column is named {}", name_of(by)), "The first row names the columns");
  for (auto one = table.columns.begin(); one != table.columns.end(); ++one) {
    if (one->empty()) return wrong(1, "a column has no name");
    if (std::find(table.columns.begin(), one, *one) != one)
      return wrong(1, fmt::format("the column {} is there twice", *one));
  }
  const auto key_index = static_cast<std::size_t>(key_column - table.columns.begin());
  for (std::size_t i = 1; i < parsed->size(); ++i) {
    const CsvRecord& record = (*parsed)[i];
    if (record.fields.size() != table.columns.size())
      return wrong(record.line,
                   fmt::format("{} fields, the header has {}", record.fields.size(), table.columns.size()));
    std::string key = record.fields[key_index];
    if (by == ValuesTable::By::mac) {
      std::optional<Mac> mac = parse_mac(key);
      if (!mac) return wrong(record.line, "this is no MAC address", "Such as 24:d7:eb:12:34:56 or 24d7eb123456");
      key = to_string(*mac);
    }
    if (key.empty()) return wrong(record.line, "the row has no serial number");
    std::map<std::string, std::string> row;
    for (std::size_t column = 0; column < table.columns.size(); ++column)
      row[table.columns[column]] = record.fields[column];
    if (!table.rows.emplace(key, std::move(row)).second)
      return wrong(record.line, fmt::format("there is a row for {} already", key), "One row a board");
  }
  return table;
}

}  // namespace espmint
