#include "base/csv.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace espmint {
namespace {

class Reader {
 public:
  Reader(std::string_view text, char delimiter) : rest_(text), delimiter_(delimiter) {}

  Result<std::vector<CsvRecord>> read() {
    std::vector<CsvRecord> out;
    while (!rest_.empty()) {
      if (skip_line_end()) continue;
      CsvRecord record{line_, {}};
      bool more = true;
      while (more) {
        TRY(std::string field, next_field());
        record.fields.push_back(std::move(field));
        more = !rest_.empty() && rest_.front() == delimiter_;
        if (more) rest_.remove_prefix(1);
      }
      if (!rest_.empty() && !skip_line_end()) return wrong("there is text behind a closing quote");
      out.push_back(std::move(record));
    }
    return out;
  }

 private:
  tl::unexpected<Fault> wrong(std::string what) const {
    Fault fault{Code::input_invalid, Remedy::refuse, std::move(what)};
    fault.where.input = fmt::format("line {}", line_);
    return fail(std::move(fault));
  }

  bool skip_line_end() {
    std::size_t bytes = rest_.starts_with("\r\n") ? 2 : rest_.starts_with('\n') || rest_.starts_with('\r') ? 1 : 0;
    rest_.remove_prefix(bytes);
    if (bytes != 0) ++line_;
    return bytes != 0;
  }

  Result<std::string> next_field() {
    if (!rest_.starts_with('"')) {
      std::size_t end = std::min(rest_.find_first_of(std::string{delimiter_, '\r', '\n'}), rest_.size());
      std::string field{rest_.substr(0, end)};
      rest_.remove_prefix(end);
      if (field.find('\0') != std::string::npos) return wrong("there is a NUL byte");
      return field;
    }
    rest_.remove_prefix(1);
    std::string field;
    const std::uint32_t opened = line_;
    for (;;) {
      std::size_t quote = rest_.find('"');
      if (quote == std::string_view::npos) {
        line_ = opened;
        return wrong("a quote is opened and never closed");
      }
      field += rest_.substr(0, quote);
      line_ += static_cast<std::uint32_t>(
          std::count(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(quote), '\n'));
      rest_.remove_prefix(quote + 1);
      if (!rest_.starts_with('"')) break;
      field += '"';
      rest_.remove_prefix(1);
    }
    if (field.find('\0') != std::string::npos) return wrong("there is a NUL byte");
    return field;
  }

  std::string_view rest_;
  char delimiter_;
  std::uint32_t line_ = 1;
};

}  // namespace

Result<std::vector<CsvRecord>> parse_csv(std::string_view text, char delimiter) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return Reader{text, delimiter}.read();
}

char csv_delimiter_of(std::string_view text) {
  std::string_view line = text.substr(0, text.find('\n'));
  char best = ',';
  for (char candidate : {',', ';', '\t'})
    if (std::count(line.begin(), line.end(), candidate) > std::count(line.begin(), line.end(), best)) best = candidate;
  return best;
}

}  // namespace espmint
