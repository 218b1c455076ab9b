#include "ledger/key_csv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/text.hpp"

namespace espmint {
namespace {

constexpr std::string_view mark_word = "provisioned", available_word = "available";
constexpr std::size_t our_columns = 5;  // Provisioned,STATE,DEVICE,TIME,Provisioned
constexpr std::size_t rows_that_decide = 100;

Fault bad_row(std::uint32_t line, std::optional<std::size_t> column, std::string what, std::string seen = {},
              std::string advice = "Correct the row; nothing was imported") {
  Fault fault{Code::input_invalid, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
  fault.where.input = column ? fmt::format("row {}, column {}", line, *column) : fmt::format("row {}", line);
  return fault;
}

/// A field's place in the row, with its quotes.
struct Span {
  std::uint32_t begin, bytes;
};

bool is_blank(std::string_view row) { return row.find_first_not_of(" \t") == std::string_view::npos; }

std::string unquoted(std::string_view field) {
  if (field.size() < 2 || field.front() != '"' || field.back() != '"') return std::string{field};
  std::string out;
  for (std::size_t i = 1; i + 1 < field.size(); ++i) {
    out += field[i];
    if (field[i] == '"') ++i;
  }
  return out;
}

/// The fields of one row; the fault says why it is none.
Result<void> cut_row(std::string_view row, char delimiter, std::uint32_t line, std::vector<Span>& out) {
  out.clear();
  std::uint32_t begin = 0;
  bool quoted = false;
  for (std::uint32_t i = 0; i <= row.size(); ++i) {
    if (i == row.size() || (row[i] == delimiter && !quoted)) {
      if (quoted) return fail(bad_row(line, out.size() + 1, "a quote is opened and not closed"));
      out.push_back({begin, i - begin});
      if (out.size() > most_key_fields + our_columns)
        return fail(bad_row(line, std::nullopt, fmt::format("a row has more than {} fields", most_key_fields)));
      begin = i + 1;
    } else if (row[i] == '"') {
      if (!quoted && i != begin)
        return fail(bad_row(line, out.size() + 1, "a quote stands inside a field", {},
                            "Quote the whole field and double the quotes in it; nothing was imported"));
      bool doubled = quoted && i + 1 < row.size() && row[i + 1] == '"';
      if (doubled) {
        ++i;
      } else if (quoted && i + 1 < row.size() && row[i + 1] != delimiter) {
        return fail(bad_row(line, out.size() + 1, "something stands behind a closed quote"));
      } else {
        quoted = !quoted;
      }
    }
  }
  return ok();
}

/// Rows of the text with their line numbers; line ends LF or CR LF.
class Lines {
 public:
  Lines(std::string_view text, std::size_t from) : text_(text), at_(from) {}
  /// Faults on a line that is too long, before it is searched further, and on bytes that are no text.
  Result<bool> next() {
    if (at_ >= text_.size()) return false;
    ++line_;
    begin_ = at_;
    std::size_t end = text_.find('\n', at_);
    bool ended = end != std::string_view::npos;
    if (!ended) end = text_.size();
    at_ = ended ? end + 1 : end;
    bool carriage = ended && end > begin_ && text_[end - 1] == '\r';
    row_ = text_.substr(begin_, end - begin_ - (carriage ? 1 : 0));
    if (!ended && !row_.empty() && row_.back() == '\r') row_.remove_suffix(1);
    line_end_ = carriage ? "\r\n" : "\n";
    if (row_.size() > longest_key_row)
      return fail(bad_row(line_, std::nullopt, fmt::format("a row is longer than {} bytes", longest_key_row),
                          show_bytes(row_.size())));
    for (char c : row_) {
      auto byte = static_cast<unsigned char>(c);
      if ((byte < 0x20 && c != '\t') || byte == 0x7f)
        return fail(bad_row(line_, std::nullopt, "this is no CSV: a row holds control bytes",
                            fmt::format("byte {:#04x}", byte)));
    }
    return true;
  }
  [[nodiscard]] std::string_view row() const { return row_; }
  [[nodiscard]] std::size_t begin() const { return begin_; }
  [[nodiscard]] std::size_t at() const { return at_; }
  [[nodiscard]] std::uint32_t line() const { return line_; }
  [[nodiscard]] std::string_view line_end() const { return line_end_; }

 private:
  std::string_view text_, row_, line_end_ = "\n";
  std::size_t at_, begin_ = 0;
  std::uint32_t line_ = 0;
};

std::string_view at(std::string_view row, Span span) { return row.substr(span.begin, span.bytes); }
bool is_word(std::string_view field, std::string_view word) { return lower(trim(unquoted(field))) == word; }

/// What a script leaves that was stopped while it wrote its mark.
bool is_part_of_the_word(std::string_view field) {
  std::string word = lower(trim(unquoted(field)));
  return word.empty() || mark_word.starts_with(word) || std::string_view{available_word}.starts_with(word);
}

/// How many of a row's fields are a mark of ours or of the script before us, whatever the user's number is.
std::size_t marked_fields(std::string_view row, const std::vector<Span>& fields) {
  if (fields.size() < 2) return 0;
  std::string_view last = at(row, fields.back());
  if (last == available_word) return 1;
  if (!is_word(last, mark_word)) return 0;
  if (fields.size() > our_columns && is_word(at(row, fields[fields.size() - our_columns]), mark_word)) return our_columns;
  return 1;
}

/// Whether a row of words can only be a header: every field is a word that names a column.
bool names_columns(std::string_view row, const std::vector<Span>& fields) {
  static constexpr std::array<std::string_view, 24> known{
      "id",     "uuid",   "key",     "name",    "serial", "secret",  "token",  "devaddr", "deveui", "appeui", "joineui",  "appkey",
      "nwkkey", "ntwkey", "nwkskey", "appskey", "status", "state",   "device", "time",    "mac",    "sn",     "password", "available"};
  for (const Span& span : fields) {
    std::string word = lower(trim(unquoted(at(row, span))));
    while (!word.empty() && word.back() >= '0' && word.back() <= '9') word.pop_back();
    std::erase_if(word, [](char c) { return c == '_' || c == ' ' || c == '-'; });
    if (std::find(known.begin(), known.end(), word) == known.end()) return false;
  }
  return true;
}

char guess_delimiter(std::string_view text, std::size_t from) {
  std::array<std::size_t, 3> count{};
  constexpr std::string_view candidates = ",;\t";
  std::string_view first = text.substr(from, std::min<std::size_t>(text.find('\n', from) - from, longest_key_row));
  for (std::size_t i = 0; i < candidates.size(); ++i)
    count[i] = static_cast<std::size_t>(std::count(first.begin(), first.end(), candidates[i]));
  std::size_t best = static_cast<std::size_t>(std::max_element(count.begin(), count.end()) - count.begin());
  return candidates[best];
}

}  // namespace

std::vector<std::string> key_values(std::string_view user_part, char delimiter) {
  std::vector<Span> fields;
  std::vector<std::string> out;
  if (!cut_row(user_part, delimiter, 0, fields)) return out;
  for (const Span& span : fields) out.push_back(unquoted(at(user_part, span)));
  return out;
}

Result<KeyCsv> parse_key_csv(std::string_view text, const KeyCsvOptions& options) {
  KeyCsv csv;
  csv.has_bom = text.starts_with("\xef\xbb\xbf");
  const std::size_t start = csv.has_bom ? 3 : 0;
  csv.delimiter = options.delimiter ? options.delimiter : guess_delimiter(text, start);
  csv.header_bytes = start;

  // The first rows say how many fields are the user's.
  std::vector<Span> fields;
  csv.fields = options.fields;
  if (csv.fields == 0) {
    std::map<std::size_t, std::size_t> rows_with;  // so many fields: so many rows
    Lines lines{text, start};
    for (std::size_t seen = 0; seen < rows_that_decide;) {
      TRY(bool more, lines.next());
      if (!more) break;
      if (is_blank(lines.row())) continue;
      TRY(cut_row(lines.row(), csv.delimiter, lines.line(), fields));
      std::size_t marked = marked_fields(lines.row(), fields);
      std::string_view last = at(lines.row(), fields.back());
      if (marked == 0 && fields.size() > 1 && !trim(last).empty() && is_part_of_the_word(last)) marked = 1;
      if (fields.size() > marked) ++rows_with[fields.size() - marked];
      ++seen;
    }
    // What most rows have; of two numbers that are as frequent, the smaller.
    std::size_t most = 0;
    for (const auto& [number, count] : rows_with) {
      if (count <= most) continue;
      most = count;
      csv.fields = static_cast<std::uint32_t>(number);
    }
  }
  if (csv.fields > most_key_fields)
    return fail(bad_row(1, std::nullopt, fmt::format("a row has more than {} fields", most_key_fields)));

  Lines lines{text, start};
  bool first = true;
  for (;;) {
    TRY(bool more, lines.next());
    if (!more) break;
    std::string_view row = lines.row();
    if (is_blank(row)) continue;
    TRY(cut_row(row, csv.delimiter, lines.line(), fields));
    if (first) {
      csv.line_end = lines.line_end();
      bool wanted = !options.columns.empty() &&
                    std::all_of(options.columns.begin(), options.columns.end(), [&](const std::string& name) {
                      return std::any_of(fields.begin(), fields.end(), [&](Span span) { return is_word(at(row, span), lower(name)); });
                    });
      first = false;
      if (wanted || names_columns(row, fields)) {
        for (const Span& span : fields) csv.columns.push_back(unquoted(at(row, span)));
        csv.header_bytes = lines.at();
        continue;
      }
    }
    KeyRow out;
    out.begin = lines.begin();
    out.bytes = static_cast<std::uint32_t>(row.size());
    out.line = lines.line();
    if (fields.size() < csv.fields)
      return fail(bad_row(out.line, std::nullopt, fmt::format("a row has {} fields, the others have {}", fields.size(), csv.fields)));
    const Span& last_of_user = fields[csv.fields - 1];
    out.user_bytes = last_of_user.begin + last_of_user.bytes;
    const std::size_t extra = fields.size() - csv.fields;
    const std::size_t marked = marked_fields(row, fields);
    if (extra == 0) {
      out.mark = KeyMark::none;
    } else if (extra == 1 && at(row, fields.back()) == available_word) {
      out.mark = KeyMark::available;
    } else if (extra == our_columns && marked == our_columns) {
      out.mark = KeyMark::ours;
    } else if (is_word(at(row, fields.back()), mark_word)) {
      out.mark = KeyMark::legacy;
    } else if (extra == 1 && is_part_of_the_word(at(row, fields.back()))) {
      out.mark = KeyMark::torn;  // also an empty column more: whoever added it had begun
    } else if (extra == our_columns && is_word(at(row, fields[csv.fields]), mark_word)) {
      out.mark = KeyMark::torn;  // ours, with its end missing
    } else {
      return fail(bad_row(out.line, csv.fields + 1, fmt::format("a row has {} fields, the others have {}", fields.size(), csv.fields)));
    }
    if (trim(unquoted(at(row, fields.front()))).empty())
      return fail(bad_row(out.line, 1, "a row's first field is empty"));
    csv.rows.push_back(out);
  }
  for (const std::string& name : options.columns) {
    if (std::any_of(csv.columns.begin(), csv.columns.end(), [&](const std::string& column) { return lower(trim(column)) == lower(name); })) continue;
    return fail(bad_row(1, std::nullopt, fmt::format("no column is named \"{}\"", escape_controls(name)),
                        csv.columns.empty() ? "the file has no header" : "", "Correct the header, or `columns` under [keys] in the recipe"));
  }
  return csv;
}

KeyMarkText mark_text(std::string_view row, const KeyRow& of, char delimiter) {
  std::vector<std::string_view> words = split(row.substr(of.user_bytes + 1), delimiter);
  if (words.size() < our_columns) return {};
  return {words[1], words[2], words[3]};
}

std::string available_mark(char delimiter) { return std::string{delimiter} + std::string{available_word}; }

std::string given_mark(char delimiter, std::string_view state, std::string_view device, std::string_view time) {
  return fmt::format("{0}Provisioned{0}{1}{0}{2}{0}{3}{0}Provisioned", delimiter, state, device, time);
}

}  // namespace espmint
