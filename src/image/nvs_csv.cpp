#include "image/nvs_csv.hpp"

#include <openssl/evp.h>

#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <tuple>

#include "base/base64.hpp"
#include "base/text.hpp"
#include "image/nvs_csv_rows.hpp"
#include "image/nvs_layout.hpp"

namespace espmint::nvs {
namespace {

constexpr std::size_t longest_fill = 508'000;  // as the longest blob
constexpr std::string_view fill_encoding = "blob_fill(", sized_fill_encoding = "blob_sz_fill(";

struct IntegerEncoding {
  std::string_view name;
  NvsType type;
};
constexpr std::array integer_encodings{IntegerEncoding{"u8", NvsType::u8},   IntegerEncoding{"i8", NvsType::i8},
                                       IntegerEncoding{"u16", NvsType::u16}, IntegerEncoding{"i16", NvsType::i16},
                                       IntegerEncoding{"u32", NvsType::u32}, IntegerEncoding{"i32", NvsType::i32},
                                       IntegerEncoding{"u64", NvsType::u64}, IntegerEncoding{"i64", NvsType::i64}};
constexpr std::array<std::string_view, 14> encodings{"u8",     "i8",     "u16",       "i16",         "u32",
                                                     "i32",    "u64",    "i64",       "string",      "hex2bin",
                                                     "base64", "binary", "blob_fill", "blob_sz_fill"};

/// What is wrong with a row, in words; the parser knows file, line and key.
struct Wrong {
  std::string what, advice{};
};
template <typename T>
using Read = tl::expected<T, Wrong>;
tl::unexpected<Wrong> wrong(std::string what, std::string advice = {}) {
  return tl::unexpected<Wrong>(Wrong{std::move(what), std::move(advice)});
}

/// Decimal, as Python's int(): blanks around it, a sign and zeros before it.
Read<std::uint64_t> decode_integer(std::string_view text, const IntegerEncoding& encoding) {
  text = trim(text);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::uint64_t magnitude = 0;
  const char* end = text.data() + text.size();
  auto [stopped, error] = std::from_chars(text.data(), end, magnitude);
  const bool is_number = !text.empty() && stopped == end && error != std::errc::invalid_argument;
  if (!is_number)
    return wrong("has a value that is no decimal number", "hexadecimal is not read here; encoding string keeps text");
  const std::size_t bits = 8 * width_of(static_cast<std::uint8_t>(encoding.type));
  const bool has_sign = is_signed(static_cast<std::uint8_t>(encoding.type));
  const std::uint64_t greatest = ~std::uint64_t{0} >> (64 - bits + (has_sign ? 1 : 0));
  const std::uint64_t most = negative ? (has_sign ? greatest + 1 : 0) : greatest;
  if (error != std::errc{} || magnitude > most)
    return wrong(fmt::format("has a value that does not fit {}", encoding.name),
                 has_sign ? fmt::format("-{} to {}", greatest + 1, greatest) : fmt::format("0 to {}", greatest));
  return negative ? ~magnitude + 1 : magnitude;
}

/// "blob_fill(40;0xAA)": so many bytes, the value at their start. "blob_sz_fill": with its length in four bytes before
/// it.
Read<Bytes> decode_fill(std::string_view encoding, ByteView value) {
  const bool sized = encoding.starts_with(sized_fill_encoding);
  Wrong malformed{"has an encoding that is not written as it should be",
                  "write blob_fill(LENGTH;0xNN): a decimal length, and two hex digits for the byte to fill up with"};
  std::string_view words = encoding.substr((sized ? sized_fill_encoding : fill_encoding).size());
  const std::size_t semicolon = words.find(';');
  if (semicolon == std::string_view::npos || words.substr(semicolon).size() != 6 ||
      words.substr(semicolon + 1, 2) != "0x" || !words.ends_with(')'))
    return tl::unexpected<Wrong>(std::move(malformed));
  std::optional<Bytes> fill = from_hex(words.substr(semicolon + 3, 2));
  std::size_t length = 0;
  auto [stopped, error] = std::from_chars(words.data(), words.data() + semicolon, length);
  if (!fill || semicolon == 0 || stopped != words.data() + semicolon || error == std::errc::invalid_argument)
    return tl::unexpected<Wrong>(std::move(malformed));
  if (error != std::errc{} || length > longest_fill)
    return wrong("fills up more than a blob can hold", fmt::format("at most {} bytes", longest_fill));
  if (value.size() > length)
    return wrong(fmt::format("has a value of {} bytes, longer than the {} of its encoding", value.size(), length));
  Bytes out;
  if (sized) put_u32(out, static_cast<std::uint32_t>(value.size()));
  append(out, value);
  out.resize(out.size() + length - value.size(), fill->front());
  return out;
}

Read<Bytes> decode_bytes(std::string_view encoding, ByteView value) {
  if (encoding == "binary") return Bytes{value.begin(), value.end()};
  if (encoding.starts_with(fill_encoding) || encoding.starts_with(sized_fill_encoding))
    return decode_fill(encoding, value);
  std::string text{as_text(value)};
  if (encoding == "hex2bin") {
    std::string_view digits = trim(text);
    if (digits.size() % 2 != 0) return wrong("has an odd number of hex digits", "two for each byte");
    std::optional<Bytes> bytes = from_hex(digits);
    if (!bytes) return wrong("has a value that is not hex", "digits only: no 0x, no blanks between them");
    return std::move(*bytes);
  }
  std::erase_if(text, [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; });
  std::optional<Bytes> bytes = from_base64(text);
  if (!bytes) return wrong("has a value that is not base64", "RFC 4648, with its padding");
  return std::move(*bytes);
}

/// Type and value of an entry with namespace and key.
Read<void> decode_value(NvsEntry& entry, std::string_view encoding, ByteView value) {
  const std::string in_lower_case = lower(encoding);
  for (const IntegerEncoding& integer : integer_encodings) {
    if (integer.name != in_lower_case) continue;
    Read<std::uint64_t> number = decode_integer(as_text(value), integer);
    if (!number) return tl::unexpected<Wrong>(std::move(number.error()));
    entry.type = integer.type;
    entry.number = *number;
    return {};
  }
  if (encoding == "string") {
    if (!is_utf8_text(as_text(value)))
      return wrong("has a string that is not UTF-8", "encoding binary keeps any bytes");
    entry.type = NvsType::string;
    entry.value.assign(value.begin(), value.end());
    return {};
  }
  if (encoding == "hex2bin" || encoding == "base64" || encoding == "binary" || encoding.starts_with(fill_encoding) ||
      encoding.starts_with(sized_fill_encoding)) {
    Read<Bytes> bytes = decode_bytes(encoding, value);
    if (!bytes) return tl::unexpected<Wrong>(std::move(bytes.error()));
    entry.type = NvsType::blob;
    entry.value = std::move(*bytes);
    return {};
  }
  const std::string near = nearest(in_lower_case, encodings);
  return wrong(encoding.empty() ? "has no encoding" : "has an unknown encoding",
               near.empty() ? "known are u8 to i64, string, hex2bin, base64, binary, blob_fill, blob_sz_fill"
                            : fmt::format("is '{}' meant?", near));
}

/// Where the columns are, by the names in the first row.
struct Columns {
  std::size_t key = 0, type = 0, encoding = 0, value = 0, all = 0;
};

class NvsCsvReader {
 public:
  NvsCsvReader(const NvsFileReader& read, const NvsCsvOptions& options) : read_(read), options_(options) {}

  Result<void> add(const NvsCsv& csv) {
    csv_ = &csv;
    TRY(CsvText text, read_csv(csv.name, csv.text, CsvComments::number_sign));
    for (std::size_t line : text.lost)
      note(line, "this line of a quoted value begins with '#' and is left out, as ESP-IDF's generator does");
    if (text.rows.empty()) {
      table_.notes.push_back(fmt::format("{}: no rows", csv.name));
      return ok();
    }
    TRY(Columns columns, columns_of(text.rows.front()));
    for (const CsvRow& row : std::span{text.rows}.subspan(1)) TRY(add_row(row, columns));
    return ok();
  }

  NvsTable take() { return std::move(table_); }

 private:
  Fault bad(std::size_t line, std::string what, std::string seen = {}, std::string advice = {}) const {
    return bad_csv(csv_->name, line, std::move(what), std::move(seen), std::move(advice));
  }
  void note(std::size_t line, std::string_view text) {
    table_.notes.push_back(fmt::format("{}:{}: {}", csv_->name, line, text));
  }

  Result<Columns> columns_of(const CsvRow& row) const {
    Columns out;
    out.all = row.cells.size();
    for (auto [name, place] : {std::pair{"key", &out.key}, std::pair{"type", &out.type},
                               std::pair{"encoding", &out.encoding}, std::pair{"value", &out.value}}) {
      auto found = std::find(row.cells.begin(), row.cells.end(), name);
      if (found == row.cells.end())
        return fail(bad(row.line, fmt::format("the first row does not name a column '{}'", name), {},
                        "begin the table with: key,type,encoding,value"));
      *place = static_cast<std::size_t>(found - row.cells.begin());
    }
    return out;
  }

  Result<void> add_row(const CsvRow& row, const Columns& columns) {
    auto cell = [&](std::size_t at) {
      return at < row.cells.size() ? std::string_view{row.cells[at]} : std::string_view{};
    };
    const std::string key{cell(columns.key)};
    std::string_view type = cell(columns.type);
    if (key.empty()) return fail(bad(row.line, "this row has no name", {}, "its first cell is a key or a namespace"));
    for (std::size_t at = columns.all; at < row.cells.size(); ++at)
      if (!row.cells[at].empty())
        return fail(bad(row.line, fmt::format("'{}' has more cells than the first row has columns", key),
                        fmt::format("{} instead of {}", row.cells.size(), columns.all),
                        "put a value with a comma in it into quotes"));
    if (type == "namespace") return add_space(row.line, key);
    if (type != "data" && type != "file")
      return fail(bad(row.line, fmt::format("'{}' is of an unknown type", key), {}, "it is namespace, data or file"));
    if (!space_)
      return fail(bad(row.line, fmt::format("'{}' is in no namespace", key), {},
                      "name one in a row before it: storage,namespace,,"));
    if (columns.value >= row.cells.size() && !cell(columns.encoding).starts_with("blob_"))
      return fail(bad(row.line, fmt::format("'{}' has no value", key), fmt::format("{} cells", row.cells.size()),
                      "a row is key,type,encoding,value"));
    NvsEntry entry{*space_, key};
    Bytes value = to_bytes(cell(columns.value));
    if (type == "file") {
      const std::string path{cell(columns.value)};
      if (path.empty()) return fail(bad(row.line, fmt::format("'{}' names no file", key)));
      TRY(value, in_input(read_(csv_->name, path), fmt::format("{}:{}", csv_->name, row.line)));
    }
    Read<void> read = decode_value(entry, cell(columns.encoding), value);
    if (!read)
      return fail(bad(row.line, fmt::format("'{}' {}", key, read.error().what),
                      fmt::format("encoding '{}'", cell(columns.encoding)), read.error().advice));
    if (options_.wifi_extras) TRY(add_access_point_key(row.line, key, value));
    TRY(add_entry(row.line, std::move(entry)));
    if (options_.wifi_extras) TRY(add_station_extras(row.line, key));
    return ok();
  }

  Result<void> add_space(std::size_t line, const std::string& name) {
    NvsEntry entry = namespace_entry(name);
    TRY(checked(line, entry));
    if (spaces_.emplace(name, line).second) {
      space_ = name;
      table_.entries.push_back(std::move(entry));
    } else if (name != space_) {
      note(line,
           fmt::format("namespace '{}' was named before: what follows stays in '{}', as ESP-IDF's generator does; "
                       "put all of a namespace in one place",
                       name, *space_));
    }
    return ok();
  }

  Result<void> checked(std::size_t line, const NvsEntry& entry) const {
    return in_input(check_nvs_entry(entry, options_.version), fmt::format("{}:{}", csv_->name, line));
  }

  Result<void> add_entry(std::size_t line, NvsEntry entry) {
    TRY(checked(line, entry));
    const std::string place = fmt::format("{}:{}", csv_->name, line);
    auto [first, is_new] = names_.emplace(std::tuple{entry.space, entry.key, entry.type}, place);
    if (!is_new)
      note(line,
           fmt::format("'{}.{}' is at {} already: both are written, and the firmware may find the first or the second",
                       entry.space, entry.key, first->second));
    table_.entries.push_back(std::move(entry));
    return ok();
  }

  /// What the station of the Wi-Fi driver keeps beside its network, as blank as the generator makes it.
  Result<void> add_station_extras(std::size_t line, const std::string& key) {
    if (has_station_extras_ || (key != "sta.ssid" && key != "sta.pswd")) return ok();
    has_station_extras_ = true;
    TRY(add_entry(line, {*space_, "sta.apinfo", NvsType::blob, Bytes(140, 0xff)}));
    TRY(add_entry(line, {*space_, "sta.pmk", NvsType::blob, Bytes(32, 0x00)}));
    return add_entry(line, {*space_, "sta.apsw", NvsType::blob, Bytes(2, 0x00)});
  }

  /// The pre-shared key of the access point, once all is known that it is made of. Source: IEEE 802.11, J.4.
  Result<void> add_access_point_key(std::size_t line, const std::string& key, ByteView value) {
    if (key == "ap.ssid") {
      ap_ssid_.assign(value.begin(), value.end());
    } else if (key == "ap.passwd") {
      ap_password_.assign(value.begin(), value.end());
    } else if (key == "ap.authmode") {
      if (as_text(value) != "0") ap_is_protected_ = !value.empty();
    } else {
      return ok();
    }
    if (ap_ssid_.empty() || ap_password_.empty() || !ap_is_protected_) return ok();
    Bytes info(132, 0x00);
    ByteSpan psk = ByteSpan{info}.last(32);
    if (PKCS5_PBKDF2_HMAC(reinterpret_cast<const char*>(ap_password_.data()), static_cast<int>(ap_password_.size()),
                          ap_ssid_.data(), static_cast<int>(ap_ssid_.size()), 4096, EVP_sha1(),
                          static_cast<int>(psk.size()), psk.data()) != 1)
      std::abort();  // no memory, or an OpenSSL without SHA-1
    return add_entry(line, {*space_, "ap.pmk_info", NvsType::blob, std::move(info)});
  }

  const NvsFileReader& read_;
  const NvsCsvOptions& options_;
  const NvsCsv* csv_ = nullptr;
  NvsTable table_;
  std::optional<std::string> space_;                                            // the one created last
  std::map<std::string, std::size_t> spaces_;                                   // and the line
  std::map<std::tuple<std::string, std::string, NvsType>, std::string> names_;  // and where
  bool has_station_extras_ = false, ap_is_protected_ = false;
  Bytes ap_ssid_, ap_password_;
};

// ---------------------------------------------------------------- and back

constexpr std::size_t longest_blob_inside = 64;

/// What read_csv gives back as it was.
bool survives_csv(std::string_view text) {
  return is_utf8_text(text) && text.find('\r') == std::string_view::npos && text.find('\0') == std::string_view::npos &&
         text.find("\n#") == std::string_view::npos;
}
bool is_plain_name(std::string_view name) {
  auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return is_utf8_text(name) && std::none_of(name.begin(), name.end(), is_control);
}

/// "storage.cert.bin"; letters, digits, '-', '_' and '.' of the names, and a number where two would be alike.
std::string file_name_for(const NvsEntry& entry, std::vector<FileOwned>& files) {
  std::string stem = entry.space + "." + entry.key;
  for (char& c : stem)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') c = '_';
  if (stem.starts_with('.')) stem.front() = '_';
  const std::string_view ending = entry.type == NvsType::string ? ".txt" : ".bin";
  std::string name = stem + std::string{ending};
  auto is_taken = [&] {
    return std::any_of(files.begin(), files.end(),
                       [&](const FileOwned& file) { return lower(file.path) == lower(name); });
  };
  for (int i = 2; is_taken(); ++i) name = fmt::format("{}-{}{}", stem, i, ending);
  return name;
}

bool adds_wifi_extras(const NvsEntry& entry) {
  return entry.key == "sta.ssid" || entry.key == "sta.pswd" || entry.key == "ap.passwd";
}

}  // namespace
}  // namespace espmint::nvs

namespace espmint {

Result<NvsTable> parse_nvs_csv(std::span<const NvsCsv> tables, const NvsFileReader& read,
                               const NvsCsvOptions& options) {
  nvs::NvsCsvReader reader{read, options};
  for (const NvsCsv& table : tables) TRY(reader.add(table));
  return reader.take();
}

Result<NvsCsvText> encode_nvs_csv(std::span<const NvsEntry> entries, NvsValues values) {
  NvsCsvText out{"key,type,encoding,value\n", {}, false};
  std::vector<std::string_view> spaces;
  for (const NvsEntry& entry : entries)
    if (std::find(spaces.begin(), spaces.end(), entry.space) == spaces.end()) spaces.push_back(entry.space);
  for (std::string_view space : spaces) {
    out.csv += nvs::csv_first_cell(space) + ",namespace,,\n";
    for (const NvsEntry& entry : entries) {
      if (entry.space != space || entry.key.empty()) continue;
      if (!nvs::is_plain_name(entry.space) || !nvs::is_plain_name(entry.key))
        return fail(nvs::invalid(Code::image_invalid,
                                 fmt::format("'{}.{}' cannot be named in a CSV", entry.space, entry.key),
                                 "control characters, or no UTF-8"));
      const bool is_string = entry.type == NvsType::string;
      const bool fits = is_string ? nvs::survives_csv(as_text(entry.value)) : entry.size() <= nvs::longest_blob_inside;
      out.has_wifi_extras = out.has_wifi_extras || nvs::adds_wifi_extras(entry);
      out.csv += nvs::csv_first_cell(entry.key);
      if (nvs::is_integer(static_cast<std::uint8_t>(entry.type))) {
        const bool has_sign = nvs::is_signed(static_cast<std::uint8_t>(entry.type));
        out.csv += fmt::format(",data,{},", name_of(entry.type));
        out.csv += has_sign ? std::to_string(static_cast<std::int64_t>(entry.number)) : std::to_string(entry.number);
      } else if (!fits && values == NvsValues::in_files && (!is_string || nvs::is_utf8_text(as_text(entry.value)))) {
        out.files.push_back({nvs::file_name_for(entry, out.files), entry.value});
        out.csv += fmt::format(",file,{},{}", is_string ? "string" : "binary", out.files.back().path);
      } else if (!is_string) {
        out.csv += ",data,hex2bin," + to_hex(entry.value);
      } else if (fits) {
        out.csv += ",data,string," + nvs::csv_cell(as_text(entry.value));
      } else {
        return fail(nvs::invalid(
            Code::image_invalid, fmt::format("the string '{}.{}' cannot stand in a CSV", entry.space, entry.key), {},
            values == NvsValues::inside ? "extract writes such values into files" : "it is no UTF-8"));
      }
      out.csv += '\n';
    }
  }
  return out;
}

Result<NvsEntry> nvs_entry(std::string space, std::string key, std::string_view encoding, ByteView value) {
  NvsEntry entry{std::move(space), std::move(key)};
  if (nvs::Read<void> decoded = nvs::decode_value(entry, encoding, value); !decoded)
    return fail(Fault{.code = Code::input_invalid,
                      .remedy = Remedy::refuse,
                      .what = std::move(decoded.error().what),
                      .advice = std::move(decoded.error().advice)});
  return entry;
}

}  // namespace espmint
