#include "image/file_kind.hpp"

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "image/spiffs.hpp"

namespace espmint {
namespace {

using namespace std::string_view_literals;

struct Beginning {
  std::string_view bytes;
  FileKind kind;
};
// Sources: ESP-IDF Programming Guide, App Image Format, Partition Tables; ELF specification; RFC 1952; PNG (RFC 2083);
// PKWARE APPNOTE; UF2 specification.
constexpr std::array beginnings{
    Beginning{"\xe9"sv, FileKind::esp_image},
    Beginning{"\xaa\x50"sv, FileKind::partition_table},
    Beginning{"\x7f"
              "ELF"sv,
              FileKind::elf},
    Beginning{"PK\x03\x04"sv, FileKind::zip},
    Beginning{"\x1f\x8b"sv, FileKind::gzip},
    Beginning{"\x89PNG"sv, FileKind::png},
    Beginning{"UF2\n"sv, FileKind::uf2},
    Beginning{"<!DOCTYPE html"sv, FileKind::web_page},
    Beginning{"<!doctype html"sv, FileKind::web_page},
    Beginning{"<html"sv, FileKind::web_page},
};

struct Title {
  FileKind kind;
  std::string_view words;
};
constexpr std::array titles{
    Title{FileKind::blank, "blank"},
    Title{FileKind::esp_image, "an ESP firmware image"},
    Title{FileKind::partition_table, "a partition table"},
    Title{FileKind::partition_csv, "a partition table's CSV"},
    Title{FileKind::spiffs, "a SPIFFS image"},
    Title{FileKind::littlefs, "a LittleFS image"},
    Title{FileKind::elf, "an ELF file"},
    Title{FileKind::intel_hex, "an Intel HEX file"},
    Title{FileKind::uf2, "a UF2 file"},
    Title{FileKind::zip, "a ZIP archive"},
    Title{FileKind::gzip, "a gzip archive"},
    Title{FileKind::png, "a PNG picture"},
    Title{FileKind::web_page, "a web page"},
};

/// A record: colon, length, address, type, data, checksum, in hex. Source: Intel, Hexadecimal Object File Format.
bool begins_with_hex_record(std::string_view text) {
  if (text.size() < 11 || text.front() != ':') return false;
  return std::all_of(text.begin() + 1, text.begin() + 11, [](unsigned char c) { return std::isxdigit(c) != 0; });
}

/// Its first line that is no comment has a type and commas, as "nvs, data, nvs, 0x9000, 0x6000".
bool begins_with_csv_row(std::string_view text) {
  constexpr std::size_t far_enough = 4096;
  for (std::string_view line : split(text.substr(0, far_enough), '\n')) {
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    auto fields = split(line, ',');
    return fields.size() >= 4 && (trim(fields[1]) == "data" || trim(fields[1]) == "app");
  }
  return false;
}

}  // namespace

bool looks_like_littlefs(ByteView bytes) {
  // The superblock's pair lies in blocks 0 and 1; its name stands behind the revision and a tag.
  constexpr std::size_t block_size = 4096, name_at = 8;
  constexpr std::string_view name = "littlefs";
  for (std::size_t block : {std::size_t{0}, block_size}) {
    if (bytes.size() < block + name_at + name.size()) continue;
    if (as_text(bytes.subspan(block + name_at, name.size())) == name) return true;
  }
  return false;
}

FileKind file_kind_of(ByteView bytes) {
  if (std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0xff; })) return FileKind::blank;
  if (looks_like_littlefs(bytes)) return FileKind::littlefs;
  std::string_view text = as_text(bytes);
  for (const Beginning& row : beginnings)
    if (text.starts_with(row.bytes)) return row.kind;
  if (begins_with_hex_record(text)) return FileKind::intel_hex;
  if (begins_with_csv_row(text)) return FileKind::partition_csv;
  if (detect_spiffs_geometry(bytes)) return FileKind::spiffs;
  return FileKind::unknown;
}

std::string_view title_of(FileKind kind) {
  for (const Title& row : titles)
    if (row.kind == kind) return row.words;
  return {};
}

}  // namespace espmint
