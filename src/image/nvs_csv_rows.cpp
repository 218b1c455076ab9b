#include "image/nvs_csv_rows.hpp"

#include <openssl/asn1.h>

#include <algorithm>

#include "base/text.hpp"
#include "image/nvs_layout.hpp"

namespace espmint::nvs {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

/// The line at the start of `text` without its end; takes both from `text`.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end);
  if (text.starts_with("\r\n")) text.remove_prefix(1);
  if (!text.empty()) text.remove_prefix(1);
  return line;
}

/// Gathers cells, character by character; quotes count only where a cell begins with them.
class CsvCells {
 public:
  [[nodiscard]] bool in_quotes() const { return state_ == State::quoted; }
  [[nodiscard]] bool between_rows() const { return row_.cells.empty() && cell_.empty() && state_ == State::start; }
  [[nodiscard]] std::size_t line() const { return row_.line; }

  void begin(std::size_t line) { row_.line = line; }

  void add(char c) {
    switch (state_) {
      case State::start:
        if (c == '"') {
          state_ = State::quoted;
          return;
        }
        state_ = State::plain;
        [[fallthrough]];
      case State::plain:
        if (c == ',') return end_cell();
        break;
      case State::quoted:
        if (c == '"') {
          state_ = State::after_quote;
          return;
        }
        break;
      case State::after_quote:
        if (c == ',') return end_cell();
        // A second quote stands for one; anything else goes on behind the closed quotes.
        state_ = c == '"' ? State::quoted : State::plain;
        break;
    }
    cell_ += c;
  }

  CsvRow end_row() {
    end_cell();
    return std::exchange(row_, {});
  }

 private:
  enum class State { start, plain, quoted, after_quote };
  void end_cell() {
    row_.cells.push_back(std::exchange(cell_, {}));
    state_ = State::start;
  }
  State state_ = State::start;
  std::string cell_;
  CsvRow row_;
};

}  // namespace

Fault bad_csv(std::string_view name, std::size_t line, std::string what, std::string seen, std::string advice) {
  Fault fault = invalid(Code::input_invalid, std::move(what), std::move(seen), std::move(advice));
  fault.where.input = fmt::format("{}:{}", name, line);
  return fault;
}

bool is_utf8_text(std::string_view text) {
  // UTF8_getc walks one character at a time and refuses overlong forms, surrogates and cut ones.
  while (!text.empty()) {
    unsigned long character = 0;
    const auto* at = reinterpret_cast<const unsigned char*>(text.data());
    const int length = UTF8_getc(at, static_cast<int>(std::min<std::size_t>(text.size(), 6)), &character);
    if (length <= 0 || character > 0x10ffff) return false;
    text.remove_prefix(static_cast<std::size_t>(length));
  }
  return true;
}

Result<CsvText> read_csv(std::string_view name, std::string_view text, CsvComments comments) {
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  CsvText out;
  CsvCells cells;
  for (std::size_t number = 1; !text.empty(); ++number) {
    std::string_view line = take_line(text);
    if (!is_utf8_text(line)) return fail(bad_csv(name, number, "this line is not UTF-8", {}, "save the file as UTF-8"));
    if (comments == CsvComments::number_sign && line.starts_with('#')) {
      if (cells.in_quotes()) out.lost.push_back(number);
      continue;
    }
    if (cells.between_rows()) {
      if (trim(line).empty()) continue;
      cells.begin(number);
    }
    for (char c : line) cells.add(c);
    if (cells.in_quotes()) {
      cells.add('\n');
    } else {
      out.rows.push_back(cells.end_row());
    }
  }
  if (cells.in_quotes())
    return fail(bad_csv(name, cells.line(), "a quoted value in this row has no end", {},
                        "close it with \"; a \" within quotes is written twice"));
  return out;
}

namespace {
std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}
}  // namespace

std::string csv_cell(std::string_view text) {
  return text.find_first_of(",\"\r\n") == std::string_view::npos ? std::string{text} : in_quotes(text);
}
std::string csv_first_cell(std::string_view text) { return text.starts_with('#') ? in_quotes(text) : csv_cell(text); }

}  // namespace espmint::nvs
