// ledger/key_csv.hpp: a user's keys.csv as text: rows, what is marked in it, and how a row is marked. Pure; the file's
// own rules (locks, renames, whose row is whose) are key_file.hpp's. The format: docs/formats/keys-csv.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace espmint {

/// What stands behind the user's fields of a row.
enum class KeyMark : std::uint8_t {
  none,       // nothing: nobody has touched the row
  available,  // ours: ",available"
  ours,       // ours: ",Provisioned,STATE,DEVICE,TIME,Provisioned"
  legacy,     // an earlier script's: one more column, the word Provisioned
  torn,       // one more column with a part of that word or something else: taken for given out
};

/// One row. Offsets are into the text that was parsed; secrets stay there.
struct KeyRow {
  std::uint64_t begin = 0;       // of the row's first byte
  std::uint32_t user_bytes = 0;  // the user's own part: fields as they were typed, without what is behind them
  std::uint32_t bytes = 0;       // of the whole row, without its line end
  std::uint32_t line = 0;        // 1-based, of the file
  KeyMark mark = KeyMark::none;
};

struct KeyCsvOptions {
  char delimiter = 0;                 // 0: whichever of , ; tab the first rows agree on
  std::uint32_t fields = 0;           // 0: what most of the first 100 rows have
  std::vector<std::string> columns;   // the header names these, in any order and among others; empty: whatever it says
  std::vector<std::uint32_t> shared;  // columns (1-based) that may repeat from row to row
};

struct KeyCsv {
  char delimiter = ',';
  std::uint32_t fields = 0;  // of the user, in every row
  bool has_bom = false;
  std::string line_end = "\n";       // of the first row
  std::uint64_t header_bytes = 0;    // BOM and header row with its line end, kept as they are
  std::vector<std::string> columns;  // the header's words; empty where there is none
  bool guessed_header = false;       // it has none of the words we know, only the look of one
  std::vector<KeyRow> rows;
};

inline constexpr std::uint32_t most_key_fields = 64;
inline constexpr std::uint32_t longest_key_row = 4096;

/// Any bytes. Reads in one pass, with memory for the rows only. Faults input_invalid, with row and column in `where`: a
/// line longer than longest_key_row, control bytes or invalid UTF-8, an open quote, another number of fields, an empty
/// key, a formula. What is unique is checked by whoever knows the ledger.
Result<KeyCsv> parse_key_csv(std::string_view text, const KeyCsvOptions& = {});

/// The values of one row's user part, unquoted.
std::vector<std::string> key_values(std::string_view user_part, char delimiter);

/// The same for many rows, one after the other, without a copy where none is needed. Views end with the text they are
/// of, and with the next row. Wipes its copies at its end.
class KeyValues {
 public:
  KeyValues() = default;
  KeyValues(KeyValues&&) = delete;
  ~KeyValues();
  std::span<const std::string_view> cut(std::string_view user_part, char delimiter);

 private:
  std::vector<std::string_view> values_;
  std::string unquoted_;
};

/// What our mark says of a row: STATE and DEVICE, as they stand there.
struct KeyMarkText {
  std::string_view state, device, time;
};
/// Of a row that is marked `ours`.
KeyMarkText mark_text(std::string_view row, const KeyRow&, char delimiter);

/// What is written behind the user's part.
std::string available_mark(char delimiter);
std::string given_mark(char delimiter, std::string_view state, std::string_view device, std::string_view time);

}  // namespace espmint
