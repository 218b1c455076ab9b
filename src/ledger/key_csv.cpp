#include "ledger/key_csv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "base/secret.hpp"
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

/// Where the first byte stands that is no UTF-8; npos: there is none. Source: Unicode standard, table 3-7.
std::size_t first_wrong_byte(std::string_view text) {
  auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned lead = at(i);
    unsigned low = 0x80, high = 0xbf;  // of the second byte
    std::size_t more = 0;
    if (lead < 0x80) {
    } else if (lead >= 0xc2 && lead <= 0xdf) {
      more = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return i;
    }
    for (std::size_t k = 1; k <= more; ++k, low = 0x80, high = 0xbf)
      if (at(i + k) < low || at(i + k) > high) return i;
    i += more + 1;
  }
  return std::string_view::npos;
}

/// Whether all bytes are ASCII that can be seen, eight at a time; a tab says no as well: it is looked at one by one.
bool is_plain(std::string_view text) {
  constexpr std::uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
  // Source: S. E. Anderson, Bit Twiddling Hacks, "Determine if a word has a byte less than n" and "… a zero byte".
  auto odd = [](std::uint64_t word) {
    const std::uint64_t del = word ^ (ones * 0x7f);
    return (((word - ones * 0x20) & ~word) | word | ((del - ones) & ~del)) & high;
  };
  std::uint64_t word = 0;
  std::size_t i = 0;
  for (; i + sizeof word <= text.size(); i += sizeof word) {
    std::memcpy(&word, text.data() + i, sizeof word);
    if (odd(word)) return false;
  }
  word = ones * 'a';
  std::memcpy(&word, text.data() + i, text.size() - i);
  return !odd(word);
}

/// What a spreadsheet would run when somebody opens the file in it. A sign alone is none: a key may begin with one.
bool is_formula(std::string_view field) {
  if (field.empty() || field.front() > '@') return false;
  field = trim(field);
  if (field.starts_with('"')) field = trim(field.substr(1));
  if (field.empty()) return false;
  if (field.front() == '=' || field.front() == '@') return true;
  return (field.front() == '+' || field.front() == '-') && field.find_first_of("(!|'\" ") != std::string_view::npos;
}

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
  if (row.find('"') == std::string_view::npos) {  // nearly every row of nearly every file
    for (;;) {
      std::size_t end = std::min(row.find(delimiter, begin), row.size());
      out.push_back({begin, static_cast<std::uint32_t>(end - begin)});
      if (out.size() > most_key_fields + our_columns)
        return fail(bad_row(line, std::nullopt, fmt::format("a row has more than {} fields", most_key_fields)));
      if (end == row.size()) return ok();
      begin = static_cast<std::uint32_t>(end + 1);
    }
  }
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
  Lines(std::string_view text, std::size_t from, char delimiter) : text_(text), at_(from), delimiter_(delimiter) {}
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
      return fail(
          bad_row(line_, column_at(longest_key_row), fmt::format("a row is longer than {} bytes", longest_key_row)));
    if (is_plain(row_)) return true;
    for (std::size_t i = 0; i < row_.size(); ++i) {
      auto byte = static_cast<unsigned char>(row_[i]);
      if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
        return fail(bad_row(line_, column_at(i), "this is no CSV: a row holds control bytes",
                            fmt::format("byte {:#04x}", byte)));
    }
    if (std::size_t wrong = first_wrong_byte(row_); wrong != std::string_view::npos)
      return fail(bad_row(line_, column_at(wrong), "a row is not UTF-8",
                          fmt::format("byte {:#04x}", static_cast<unsigned char>(row_[wrong])),
                          "Save the file as UTF-8; nothing was imported"));
    // U+0080 to U+009F steer a terminal as an escape does.
    for (std::size_t i = row_.find('\xc2'); i != std::string_view::npos; i = row_.find('\xc2', i + 1))
      if (static_cast<unsigned char>(row_[i + 1]) < 0xa0)
        return fail(bad_row(line_, column_at(i), "this is no CSV: a row holds control characters",
                            fmt::format("U+{:04X}", static_cast<unsigned char>(row_[i + 1]))));
    return true;
  }
  [[nodiscard]] std::string_view row() const { return row_; }
  [[nodiscard]] std::size_t begin() const { return begin_; }
  [[nodiscard]] std::size_t at() const { return at_; }
  [[nodiscard]] std::uint32_t line() const { return line_; }
  [[nodiscard]] std::string_view line_end() const { return line_end_; }

 private:
  /// Roughly: a delimiter inside quotes counts too.
  [[nodiscard]] std::size_t column_at(std::size_t byte) const {
    return 1 + static_cast<std::size_t>(
                   std::count(row_.begin(), row_.begin() + static_cast<std::ptrdiff_t>(byte), delimiter_));
  }
  std::string_view text_, row_, line_end_ = "\n";
  std::size_t at_, begin_ = 0;
  char delimiter_;
  std::uint32_t line_ = 0;
};

std::string_view at(std::string_view row, Span span) { return row.substr(span.begin, span.bytes); }
/// `word` is in small letters. Made without a copy: every row is asked.
bool is_word(std::string_view field, std::string_view word) {
  if (field.size() < word.size()) return false;
  if (field.size() > 1 && field.front() == '"' && field.back() == '"') field = field.substr(1, field.size() - 2);
  field = trim(field);
  return std::equal(field.begin(), field.end(), word.begin(), word.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b; });
}

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
  if (fields.size() > our_columns && is_word(at(row, fields[fields.size() - our_columns]), mark_word))
    return our_columns;
  return 1;
}

/// Whether a row of words can only be a header: every field is a word that names a column.
bool names_columns(std::string_view row, const std::vector<Span>& fields) {
  static constexpr std::array<std::string_view, 24> known{
      "id",     "uuid",   "key",     "name",   "serial", "secret", "token",    "devaddr",
      "deveui", "appeui", "joineui", "appkey", "nwkkey", "ntwkey", "nwkskey",  "appskey",
      "status", "state",  "device",  "time",   "mac",    "sn",     "password", "available"};
  for (const Span& span : fields) {
    std::string word = lower(trim(unquoted(at(row, span))));
    while (!word.empty() && word.back() >= '0' && word.back() <= '9') word.pop_back();
    std::erase_if(word, [](char c) { return c == '_' || c == ' ' || c == '-'; });
    if (std::find(known.begin(), known.end(), word) == known.end()) return false;
  }
  return true;
}

constexpr std::size_t longest_column_name = 32;

/// Whether the first row can only be names that we do not know: words without a digit, above a column that has one in
/// every other row. Taken for a header by mistake, a key is not used; taken for a key by mistake, a header is on a
/// board.
Result<bool> looks_like_header(std::string_view text, std::size_t start, char delimiter, std::size_t fields_wanted) {
  Lines lines{text, start, delimiter};
  std::vector<Span> fields;
  std::vector<bool> has_digit(fields_wanted, true);  // in every row but the first
  auto digits_in = [](std::string_view field) {
    return std::any_of(field.begin(), field.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  std::size_t seen = 0;
  for (; seen <= rows_that_decide;) {
    TRY(bool more, lines.next());
    if (!more) break;
    if (is_blank(lines.row())) continue;
    TRY(cut_row(lines.row(), delimiter, lines.line(), fields));
    if (fields.size() < fields_wanted || (seen == 0 && fields.size() != fields_wanted)) return false;
    for (std::size_t i = 0; i < fields_wanted; ++i) {
      std::string_view field = at(lines.row(), fields[i]);
      if (seen > 0) {
        has_digit[i] = has_digit[i] && digits_in(field);
      } else {
        std::string_view word = trim(field);
        if (word.size() > 1 && word.front() == '"') word = trim(word.substr(1, word.size() - 2));
        bool is_name =
            word.size() > 1 && word.size() <= longest_column_name && std::all_of(word.begin(), word.end(), [](char c) {
              return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == ' ' ||
                     static_cast<unsigned char>(c) >= 0x80;
            });
        if (!is_name) return false;
      }
    }
    ++seen;
  }
  return seen > 1 && std::find(has_digit.begin(), has_digit.end(), true) != has_digit.end();
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

KeyValues::~KeyValues() {
  unquoted_.resize(unquoted_.capacity());
  wipe(ByteSpan{reinterpret_cast<std::uint8_t*>(unquoted_.data()), unquoted_.size()});
}

std::span<const std::string_view> KeyValues::cut(std::string_view user_part, char delimiter) {
  values_.clear();
  if (user_part.find('"') == std::string_view::npos) {
    for (std::size_t begin = 0;;) {
      std::size_t end = std::min(user_part.find(delimiter, begin), user_part.size());
      values_.push_back(user_part.substr(begin, end - begin));
      if (end == user_part.size()) return values_;
      begin = end + 1;
    }
  }
  unquoted_.clear();
  unquoted_.reserve(longest_key_row);  // views into it stay
  for (std::string& value : key_values(user_part, delimiter)) {
    if (unquoted_.size() + value.size() > longest_key_row) break;  // no row is longer
    std::size_t at_byte = unquoted_.size();
    unquoted_ += value;
    values_.push_back(std::string_view{unquoted_}.substr(at_byte, value.size()));
    wipe(ByteSpan{reinterpret_cast<std::uint8_t*>(value.data()), value.size()});
  }
  return values_;
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
    Lines lines{text, start, csv.delimiter};
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

  Lines lines{text, start, csv.delimiter};
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
                      return std::any_of(fields.begin(), fields.end(),
                                         [&](Span span) { return is_word(at(row, span), lower(name)); });
                    });
      first = false;
      if (wanted || names_columns(row, fields)) {
        for (const Span& span : fields) csv.columns.push_back(unquoted(at(row, span)));
        csv.header_bytes = lines.at();
        continue;
      }
      if (options.columns.empty()) {
        TRY(csv.guessed_header, looks_like_header(text, start, csv.delimiter, csv.fields));
        if (csv.guessed_header) {
          for (const Span& span : fields) csv.columns.push_back(unquoted(at(row, span)));
          csv.header_bytes = lines.at();
          continue;
        }
      }
    }
    KeyRow out;
    out.begin = lines.begin();
    out.bytes = static_cast<std::uint32_t>(row.size());
    out.line = lines.line();
    if (fields.size() < csv.fields)
      return fail(bad_row(out.line, fields.size() + 1,
                          fmt::format("a row has {} fields, the others have {}", fields.size(), csv.fields)));
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
      return fail(bad_row(out.line, csv.fields + 1,
                          fmt::format("a row has {} fields, the others have {}", fields.size(), csv.fields)));
    }
    if (std::string_view name = trim(at(row, fields.front()));
        name.empty() || (name.front() == '"' && trim(unquoted(name)).empty()))
      return fail(bad_row(out.line, 1, "a row's first field is empty"));
    for (std::size_t i = 0; i < csv.fields; ++i)
      if (is_formula(at(row, fields[i])))
        return fail(bad_row(out.line, i + 1, "a field is a formula to a spreadsheet", {},
                            "A key begins with a letter or a digit; nothing was imported"));
    csv.rows.push_back(out);
  }
  for (const std::string& name : options.columns) {
    if (std::any_of(csv.columns.begin(), csv.columns.end(),
                    [&](const std::string& column) { return lower(trim(column)) == lower(name); }))
      continue;
    return fail(bad_row(1, std::nullopt, fmt::format("no column is named \"{}\"", escape_controls(name)),
                        csv.columns.empty() ? "the file has no header" : "",
                        "Correct the header, or `columns` under [keys] in the recipe"));
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
