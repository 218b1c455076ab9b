#include "image/partition_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_set>

#include "base/hash.hpp"
#include "base/text.hpp"

namespace espmint {
namespace {

// Source: ESP-IDF Programming Guide, Partition Tables; behaviour of its generator, version 1.3.
constexpr std::uint32_t table_sector = 0x1000;  // what the table occupies in flash
constexpr std::size_t table_bytes = 0xc00;      // what of it may hold entries; a signature follows
constexpr std::size_t entry_bytes = 32;
constexpr std::size_t name_bytes = 16;
constexpr std::uint8_t type_app = 0x00, type_data = 0x01, type_bootloader = 0x02, type_partition_table = 0x03;
constexpr std::uint8_t subtype_coredump = 0x03, subtype_undefined = 0x06, subtype_primary = 0x00;
constexpr std::uint32_t otadata_size = 0x2000;

struct Keyword {
  std::string_view name;
  std::uint8_t value;
};
constexpr std::array type_names{Keyword{"app", type_app}, Keyword{"data", type_data}};
constexpr std::array app_subtypes{Keyword{"factory", 0x00}, Keyword{"test", 0x20},   Keyword{"ota_0", 0x10},
                                  Keyword{"ota_1", 0x11},   Keyword{"ota_2", 0x12},  Keyword{"ota_3", 0x13},
                                  Keyword{"ota_4", 0x14},   Keyword{"ota_5", 0x15},  Keyword{"ota_6", 0x16},
                                  Keyword{"ota_7", 0x17},   Keyword{"ota_8", 0x18},  Keyword{"ota_9", 0x19},
                                  Keyword{"ota_10", 0x1a},  Keyword{"ota_11", 0x1b}, Keyword{"ota_12", 0x1c},
                                  Keyword{"ota_13", 0x1d},  Keyword{"ota_14", 0x1e}, Keyword{"ota_15", 0x1f}};
constexpr std::array data_subtypes{Keyword{"ota", data_subtype_ota},
                                   Keyword{"phy", 0x01},
                                   Keyword{"nvs", data_subtype_nvs},
                                   Keyword{"coredump", subtype_coredump},
                                   Keyword{"nvs_keys", 0x04},
                                   Keyword{"efuse", 0x05},
                                   Keyword{"undefined", subtype_undefined},
                                   Keyword{"esphttpd", 0x80},
                                   Keyword{"fat", data_subtype_fat},
                                   Keyword{"spiffs", data_subtype_spiffs},
                                   Keyword{"littlefs", data_subtype_littlefs}};

std::span<const Keyword> subtypes_of(std::int64_t type) {
  if (type == type_app) return app_subtypes;
  if (type == type_data) return data_subtypes;
  return {};
}

Fault bad_table(std::string what, std::string seen = {}, std::string advice = {}) {
  return Fault{.code = Code::input_invalid,
               .remedy = Remedy::refuse,
               .what = std::move(what),
               .seen = std::move(seen),
               .advice = std::move(advice)};
}

Fault at_line(std::size_t line, std::string_view what, std::string seen = {}, std::string advice = {}) {
  return bad_table(fmt::format("partition table, line {}: {}", line, what), std::move(seen), std::move(advice));
}

// ---------------------------------------------------------------- text, as the reference tool (Python) cuts it

/// Length of the UTF-8 sequence at the start of `text`, 0 when it is none. Source: RFC 3629.
std::size_t utf8_length(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned first = byte(0);
  if (first < 0x80) return 1;
  std::size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                       : (first & 0xf0) == 0xe0         ? 3
                       : first >= 0xf0 && first <= 0xf4 ? 4
                                                        : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  unsigned second = byte(1);
  bool shortest = !(first == 0xe0 && second < 0xa0) && !(first == 0xf0 && second < 0x90);
  bool scalar = !(first == 0xed && second > 0x9f) && !(first == 0xf4 && second > 0x8f);
  return shortest && scalar ? length : 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// Blank to Python's strip(), beyond space and 09..0D: editors and web pages bring the no-break space.
constexpr std::array<std::string_view, 24> blanks{
    "\x1c",         "\x1d",         "\x1e",         "\x1f",         "\xc2\x85",     "\xc2\xa0",
    "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84",
    "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a",
    "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80", " "};
// And what ends a line for splitlines(), beyond CR LF.
constexpr std::array<std::string_view, 10> line_ends{"\n",   "\r",   "\v",       "\f",           "\x1c",
                                                     "\x1d", "\x1e", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};

std::string_view strip(std::string_view text) {
  auto blank_at = [&](bool front) -> std::size_t {
    if (text.empty()) return 0;
    char c = front ? text.front() : text.back();
    if (c >= '\t' && c <= '\r') return 1;
    for (std::string_view blank : blanks)
      if (front ? text.starts_with(blank) : text.ends_with(blank)) return blank.size();
    return 0;
  };
  while (std::size_t n = blank_at(true)) text.remove_prefix(n);
  while (std::size_t n = blank_at(false)) text.remove_suffix(n);
  return text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  std::size_t start = 0, at = 0;
  while (at < text.size()) {
    std::size_t ending = 0;
    for (std::string_view end : line_ends)
      if (text.substr(at).starts_with(end)) ending = end.size();
    if (ending == 0) {
      ++at;
      continue;
    }
    out.push_back(text.substr(start, at - start));
    if (text.substr(at).starts_with("\r\n")) ending = 2;
    at += ending;
    start = at;
  }
  if (start < text.size()) out.push_back(text.substr(start));
  return out;
}

// ---------------------------------------------------------------- numbers

constexpr std::int64_t too_large = std::int64_t{1} << 60;  // stands for every number beyond; none of them fits a field

std::int64_t scaled(std::int64_t value, std::int64_t factor) {
  return value >= too_large / factor ? too_large : value <= -too_large / factor ? -too_large : value * factor;
}

/// A Python integer literal: sign, 0x 0o 0b, underscores between digits; decimal without leading zeros.
std::optional<std::int64_t> parse_integer(std::string_view text) {
  text = strip(text);
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    char letter = static_cast<char>(text[1] | 0x20);
    base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    if (base != 10) {
      text.remove_prefix(2);
      if (text.starts_with('_')) text.remove_prefix(1);
    }
  }
  std::int64_t value = 0;
  bool digit_before = false, leading_zero = text.starts_with('0');
  for (char c : text) {
    if (c == '_' && digit_before) {
      digit_before = false;
      continue;
    }
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 16;
    if (digit >= base) return std::nullopt;
    value = std::min(scaled(value, base) + digit, too_large);
    digit_before = true;
  }
  if (!digit_before || (base == 10 && leading_zero && value != 0)) return std::nullopt;
  return negative ? -value : value;
}

/// A number with K or M behind it (they may be repeated, as in the reference tool), or one of the field's keywords.
Result<std::int64_t> parse_field(std::string_view text, std::span<const Keyword> keywords, std::size_t line) {
  std::int64_t factor = 1;
  std::string_view rest = text;
  while (!rest.empty() && ((rest.back() | 0x20) == 'k' || (rest.back() | 0x20) == 'm')) {
    factor = scaled(factor, (rest.back() | 0x20) == 'k' ? 1024 : 1024 * 1024);
    rest.remove_suffix(1);
  }
  if (auto number = parse_integer(rest)) return scaled(*number, factor);
  for (const Keyword& keyword : keywords)
    if (lower(rest) == keyword.name) return scaled(keyword.value, factor);
  std::vector<std::string_view> names;
  for (const Keyword& keyword : keywords) names.push_back(keyword.name);
  std::string near = nearest(lower(text), names);
  std::string advice = !near.empty()   ? fmt::format("did you mean '{}'?", near)
                       : names.empty() ? "a number is needed: decimal, 0x…, with K or M"
                                       : fmt::format("known are {}, or a number", fmt::join(names, ", "));
  return fail(at_line(line, fmt::format("'{}' is not understood", text), {}, std::move(advice)));
}

// ---------------------------------------------------------------- CSV

struct Row {
  Partition partition;
  std::size_t line = 0;
  std::int64_t type = 0, subtype = 0;
  std::optional<std::int64_t> offset;
  std::int64_t size = 0;  // negative: the address where the partition ends
};

Result<Row> parse_row(std::string_view text, std::size_t line) {
  std::vector<std::string_view> fields = split(text, ',');
  fields.resize(std::max<std::size_t>(fields.size(), 6));
  for (std::string_view& field : fields) field = strip(field);
  Row row;
  row.line = line;
  row.partition.name = fields[0];
  if (fields[1].empty()) return fail(at_line(line, "the type is empty", {}, "app, data, or a number"));
  TRY(row.type, parse_field(fields[1], type_names, line));
  if (fields[2].empty()) {
    if (row.type == type_app)
      return fail(at_line(line, "an app needs a subtype", {}, "factory, ota_0 to ota_15, or test"));
    row.subtype = subtype_undefined;
  } else {
    TRY(row.subtype, parse_field(fields[2], subtypes_of(row.type), line));
  }
  if (!fields[3].empty()) {
    TRY(row.offset, parse_field(fields[3], {}, line));
  }
  if (fields[4].empty()) return fail(at_line(line, "the size is empty"));
  TRY(row.size, parse_field(fields[4], {}, line));
  for (std::string_view flag : split(fields[5], ':')) {
    if (flag == "encrypted") {
      row.partition.encrypted = true;
    } else if (flag == "readonly") {
      row.partition.read_only = true;
    } else if (!flag.empty()) {
      return fail(
          at_line(line, fmt::format("unknown flag '{}'", flag), {}, "known are encrypted and readonly, joined by ':'"));
    }
  }
  return row;
}

std::uint32_t offset_alignment(std::int64_t type) { return type == type_app ? 0x1'0000 : 0x1000; }

/// Gives every row its place: where none is written, behind the one before, aligned for its type.
Result<void> place_rows(std::vector<Row>& rows, const PartitionTableOptions& options) {
  constexpr std::int64_t u32_max = std::numeric_limits<std::uint32_t>::max();
  std::int64_t end = std::int64_t{options.offset.bytes} + table_sector;
  for (Row& row : rows) {
    if (row.offset && *row.offset < end) {
      std::string seen = fmt::format("it begins at {:#x}", *row.offset);
      if (&row == &rows.front())
        return fail(at_line(row.line, fmt::format("'{}' overlaps the partition table", row.partition.name),
                            std::move(seen), fmt::format("{:#x} is the first free offset", end)));
      return fail(at_line(row.line, fmt::format("'{}' overlaps the partition before it", row.partition.name),
                          std::move(seen), fmt::format("that one ends at {:#x}", end)));
    }
    std::int64_t alignment = offset_alignment(row.type);
    if (!row.offset) row.offset = (end + alignment - 1) / alignment * alignment;
    if (row.size < 0) row.size = -row.size - *row.offset;
    if (row.size < 0 || row.size > u32_max || *row.offset > u32_max)
      return fail(at_line(row.line, fmt::format("'{}' does not fit 32-bit addresses", row.partition.name),
                          fmt::format("offset {:#x}, size {}", *row.offset, row.size)));
    if (row.type < 0 || row.type > 0xff || row.subtype < 0 || row.subtype > 0xff)
      return fail(
          at_line(row.line, fmt::format("type {} and subtype {} must be from 0 to 255", row.type, row.subtype)));
    end = *row.offset + row.size;
  }
  return ok();
}

/// "$NAME" at a line's start that nobody replaced; the reference tool takes environment variables in a table.
std::string_view unknown_variable(std::string_view line) {
  if (!line.starts_with('$')) return {};
  auto part_of_name = [](char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
  };
  std::size_t length = 1;
  while (length < line.size() && part_of_name(line[length], length == 1)) ++length;
  return line.substr(1, length - 1);
}

// ---------------------------------------------------------------- binary

constexpr std::uint16_t entry_magic = 0x50aa, md5_magic = 0xebeb;
constexpr std::uint32_t flag_encrypted = 1, flag_read_only = 2;

Result<Partition> parse_entry(ByteView entry, std::size_t at) {
  auto damaged = [at](std::string what, std::string seen) {
    Fault fault = bad_table(std::move(what), std::move(seen));
    fault.where.offset = at;
    return fault;
  };
  if (get_u16(entry, 0) != entry_magic)
    return fail(
        damaged("an entry of the partition table has a wrong magic", fmt::format("bytes {}", to_hex(entry.first(2)))));
  Partition partition;
  partition.type = entry[2];
  partition.subtype = entry[3];
  partition.range = {{get_u32(entry, 4)}, get_u32(entry, 8)};
  std::string_view name = as_text(entry.subspan(12, name_bytes));
  partition.name = name.substr(0, name.find('\0'));
  if (!is_utf8(partition.name))
    return fail(
        damaged("a name in the partition table is no text", fmt::format("bytes {}", to_hex(as_bytes(partition.name)))));
  std::uint32_t flags = get_u32(entry, 28);  // unknown ones are a newer format's, and none of our business
  partition.encrypted = (flags & flag_encrypted) != 0;
  partition.read_only = (flags & flag_read_only) != 0;
  return partition;
}

void put_entry(Bytes& out, const Partition& partition) {
  put_u16(out, entry_magic);
  out.push_back(partition.type);
  out.push_back(partition.subtype);
  put_u32(out, partition.range.at.bytes);
  put_u32(out, partition.range.size);
  Bytes name = to_bytes(partition.name);
  name.resize(name_bytes, 0);  // a longer name is cut, one of 16 bytes has no terminating zero
  append(out, name);
  put_u32(out, (partition.encrypted ? flag_encrypted : 0) | (partition.read_only ? flag_read_only : 0));
}

// ---------------------------------------------------------------- checks

std::string quoted(const Partition& partition) { return fmt::format("partition '{}'", partition.name); }

Result<void> check_partition(const Partition& p, const PartitionTableOptions& options) {
  std::uint32_t alignment = offset_alignment(p.type);
  if (p.range.at.bytes % alignment != 0)
    return fail(bad_table(fmt::format("{} is not aligned", quoted(p)), fmt::format("offset {:#x}", p.range.at.bytes),
                          fmt::format("it must begin at a multiple of {:#x}", alignment)));
  // Secure boot v1 keeps its signature at the end of a 64 KiB page; else an erase sector is the unit.
  std::uint32_t unit = options.secure == SecureBoot::v1 ? 0x1'0000 : 0x1000;
  if (p.is_app() && p.range.size % unit != 0)
    return fail(bad_table(fmt::format("{} has a size an app cannot have", quoted(p)),
                          fmt::format("size {:#x}", p.range.size),
                          fmt::format("it must be a multiple of {:#x}", unit)));
  if (p.read_only && (p.is_data(data_subtype_ota) || p.is_data(subtype_coredump)))
    return fail(
        bad_table(fmt::format("{} cannot be readonly", quoted(p)), "the firmware writes OTA data and core dumps"));
  return ok();
}

Result<void> check_flash_size(const PartitionTable& table, const PartitionTableOptions& options) {
  if (options.flash_size && table.end() > *options.flash_size)
    return fail(bad_table(fmt::format("the partition table ends at {}, the flash is {}", show_bytes(table.end()),
                                      show_bytes(*options.flash_size)),
                          {}, "choose a smaller table, or set the flash size that the board has"));
  return ok();
}

std::string_view name_of_value(std::span<const Keyword> keywords, std::uint8_t value) {
  for (const Keyword& keyword : keywords)
    if (keyword.value == value) return keyword.name;
  return {};
}

std::string shown(std::span<const Keyword> keywords, std::uint8_t value) {
  std::string_view name = name_of_value(keywords, value);
  return name.empty() ? std::to_string(value) : std::string{name};
}

std::string shown_size(std::uint32_t size) {
  if (size % 0x10'0000 == 0) return fmt::format("{}M", size / 0x10'0000);
  if (size % 0x400 == 0) return fmt::format("{}K", size / 0x400);
  return fmt::format("{:#x}", size);
}

}  // namespace

std::uint64_t PartitionTable::end() const {
  std::uint64_t end = 0;
  for (const Partition& partition : partitions) end = std::max(end, partition.range.end());
  return end;
}

const Partition* PartitionTable::named(std::string_view name) const {
  for (const Partition& partition : partitions)
    if (partition.name == name) return &partition;
  return nullptr;
}

Result<PartitionTable> parse_partition_csv(std::string_view csv, const PartitionTableOptions& options) {
  if (csv.starts_with("\xef\xbb\xbf")) csv.remove_prefix(3);  // a byte order mark, as Windows editors leave it
  if (!is_utf8(csv)) return fail(bad_table("this partition table is neither binary nor text"));
  std::vector<Row> rows;
  std::size_t number = 0;
  for (std::string_view raw : lines_of(csv)) {
    ++number;
    if (std::string_view variable = unknown_variable(raw); !variable.empty())
      return fail(at_line(number, fmt::format("the environment has no variable '{}'", variable)));
    std::string_view line = strip(raw);
    if (line.empty() || line.starts_with('#')) continue;
    TRY(Row row, parse_row(line, number));
    rows.push_back(std::move(row));
  }
  TRY(place_rows(rows, options));
  PartitionTable table;
  for (Row& row : rows) {
    row.partition.type = static_cast<std::uint8_t>(row.type);
    row.partition.subtype = static_cast<std::uint8_t>(row.subtype);
    row.partition.range = {{static_cast<std::uint32_t>(*row.offset)}, static_cast<std::uint32_t>(row.size)};
    table.partitions.push_back(std::move(row.partition));
  }
  return table;
}

Result<PartitionTable> parse_partition_table(ByteView binary, const PartitionTableOptions& options) {
  binary = binary.first(std::min(binary.size(), table_bytes));
  PartitionTable table;
  Bytes digested;  // every entry, but no MD5 row
  for (std::size_t at = 0; at < binary.size(); at += entry_bytes) {
    if (binary.size() - at < entry_bytes)
      return fail(
          bad_table("the partition table is cut short", fmt::format("{} bytes, no multiple of 32", binary.size())));
    ByteView entry = binary.subspan(at, entry_bytes);
    if (std::all_of(entry.begin(), entry.end(), [](std::uint8_t byte) { return byte == 0xff; })) return table;
    if (options.md5 && get_u16(entry, 0) == md5_magic) {
      Md5 expected = md5_of(digested);
      if (std::equal(expected.begin(), expected.end(), entry.begin() + 16)) continue;
      return fail(
          bad_table("the partition table is damaged",
                    fmt::format("its MD5 is {}, its entries have {}", to_hex(entry.subspan(16)), to_hex(expected)),
                    "build or read it again"));
    }
    append(digested, entry);
    TRY(Partition partition, parse_entry(entry, at));
    table.partitions.push_back(std::move(partition));
  }
  return fail(
      bad_table("the partition table has no end", fmt::format("{} bytes without an erased entry", binary.size())));
}

Result<Bytes> build_partition_table(const PartitionTable& table, const PartitionTableOptions& options) {
  if (options.verify) TRY(check_partition_table(table, options));
  TRY(check_flash_size(table, options));
  Bytes out;
  for (const Partition& partition : table.partitions) put_entry(out, partition);
  if (options.md5) {
    Md5 md5 = md5_of(out);
    put_u16(out, md5_magic);
    out.resize(out.size() + 14, 0xff);
    append(out, md5);
  }
  // At least one erased entry must remain: it is the end.
  if (out.size() >= table_bytes)
    return fail(bad_table(fmt::format("{} partitions are too many", table.partitions.size()), {},
                          options.md5 ? "94 fit beside the MD5" : "95 fit"));
  out.resize(table_bytes, 0xff);
  return out;
}

Result<void> check_partition_table(const PartitionTable& table, const PartitionTableOptions& options) {
  for (const Partition& partition : table.partitions) TRY(check_partition(partition, options));

  std::unordered_set<std::string_view> names;
  std::vector<const Partition*> sorted;
  for (const Partition& partition : table.partitions) {
    if (!names.insert(partition.name).second)
      return fail(bad_table(fmt::format("two partitions are named '{}'", partition.name)));
    sorted.push_back(&partition);
  }
  // Stable: an empty partition may lie where the next one begins.
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Partition* a, const Partition* b) { return a->range.at < b->range.at; });
  std::uint64_t first_free = std::uint64_t{options.offset.bytes} + table_sector;
  const Partition* before = nullptr;
  for (const Partition* partition : sorted) {
    // Later ESP-IDF lists the bootloader and the table itself (types 2 and 3, primary), which lie in front.
    bool in_front = (partition->type == type_bootloader || partition->type == type_partition_table) &&
                    partition->subtype == subtype_primary;
    if (partition->range.at.bytes < first_free && !in_front)
      return fail(bad_table(fmt::format("{} overlaps the partition table", quoted(*partition)),
                            fmt::format("it begins at {:#x}", partition->range.at.bytes),
                            fmt::format("{:#x} is the first free offset", first_free)));
    if (before != nullptr && partition->range.at.bytes < before->range.end())
      return fail(bad_table(
          fmt::format("{} overlaps '{}'", quoted(*partition), before->name),
          fmt::format("it begins at {:#x}, that one ends at {:#x}", partition->range.at.bytes, before->range.end())));
    before = partition;
  }

  const Partition* otadata = nullptr;
  for (const Partition& partition : table.partitions) {
    if (!partition.is_data(data_subtype_ota)) continue;
    if (otadata != nullptr)
      return fail(bad_table(fmt::format("'{}' and '{}' are both OTA data", otadata->name, partition.name)));
    otadata = &partition;
  }
  if (otadata != nullptr && otadata->range.size != otadata_size)
    return fail(bad_table(fmt::format("{} holds OTA data and must be 0x2000 bytes", quoted(*otadata)),
                          fmt::format("size {:#x}", otadata->range.size)));
  return check_flash_size(table, options);
}

std::string partition_csv(const PartitionTable& table) {
  std::string out = "# ESP-IDF Partition Table\n# Name, Type, SubType, Offset, Size, Flags\n";
  for (const Partition& p : table.partitions) {
    std::string_view flags = p.encrypted && p.read_only ? "encrypted:readonly"
                             : p.encrypted              ? "encrypted"
                             : p.read_only              ? "readonly"
                                                        : "";
    out += fmt::format("{},{},{},{:#x},{},{}\n", p.name, shown(type_names, p.type),
                       shown(subtypes_of(p.type), p.subtype), p.range.at.bytes, shown_size(p.range.size), flags);
  }
  return out;
}

}  // namespace espmint
