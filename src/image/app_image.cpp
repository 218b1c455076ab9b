#include "image/app_image.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"

namespace espmint {
namespace {

// Source: ESP-IDF Programming Guide, App Image Format (esp_image_header_t, esp_image_segment_header_t, esp_app_desc_t);
// esptool documentation, Firmware Image Format.
constexpr std::uint8_t image_magic = 0xe9;
constexpr std::uint8_t checksum_seed = 0xef;
constexpr std::uint32_t header_bytes = 24, segment_header_bytes = 8, digest_bytes = 32, checksum_unit = 16;
constexpr std::uint8_t most_segments = 16;
constexpr std::uint32_t description_magic = 0xabcd'5432, description_bytes = 256;

struct FlashSizeRow {
  std::uint8_t code;
  ByteCount size;
};
constexpr std::array flash_sizes{FlashSizeRow{0, 1_MiB},  FlashSizeRow{1, 2_MiB},  FlashSizeRow{2, 4_MiB},
                                 FlashSizeRow{3, 8_MiB},  FlashSizeRow{4, 16_MiB}, FlashSizeRow{5, 32_MiB},
                                 FlashSizeRow{6, 64_MiB}, FlashSizeRow{7, 128_MiB}};

struct ChipNameRow {
  std::uint16_t id;  // esp_chip_id_t
  std::string_view name;
};
constexpr std::array chip_names{ChipNameRow{0, "esp32"},    ChipNameRow{2, "esp32s2"},   ChipNameRow{5, "esp32c3"},
                                ChipNameRow{9, "esp32s3"},  ChipNameRow{12, "esp32c2"},  ChipNameRow{13, "esp32c6"},
                                ChipNameRow{16, "esp32h2"}, ChipNameRow{18, "esp32p4"},  ChipNameRow{20, "esp32c61"},
                                ChipNameRow{23, "esp32c5"}, ChipNameRow{25, "esp32h21"}, ChipNameRow{28, "esp32h4"}};

constexpr std::array<std::string_view, 6> mode_names{"qio", "qout", "dio", "dout", "fast-read", "slow-read"};

// The code is a divider of the chip's flash clock, so one code is another frequency on another chip.
// Source: esptool documentation, Flash Modes, flash frequency, per chip.
struct FrequencyRow {
  std::uint8_t code;
  std::string_view usual, c2, c6, h2;  // usual: ESP32, S2, S3, C3, C5, C61, P4
};
constexpr std::array frequencies{
    FrequencyRow{0x0, "40m", "30m", "80m", "24m"}, FrequencyRow{0x1, "26m", "20m", "", "16m"},
    FrequencyRow{0x2, "20m", "15m", "20m", "12m"}, FrequencyRow{0xf, "80m", "60m", "", "48m"}};

// Addresses at which a chip's cache shows the flash. Source: each chip's Technical Reference Manual, System and Memory,
// Address Mapping.
struct MappedFlashRow {
  std::uint16_t chip_id;
  std::uint32_t data_start, data_end, code_start, code_end;
};
constexpr std::array mapped_flash{MappedFlashRow{0, 0x3f40'0000, 0x3f80'0000, 0x400d'0000, 0x4040'0000},
                                  MappedFlashRow{2, 0x3f00'0000, 0x3ff8'0000, 0x4008'0000, 0x4080'0000},
                                  MappedFlashRow{5, 0x3c00'0000, 0x3c80'0000, 0x4200'0000, 0x4280'0000},
                                  MappedFlashRow{9, 0x3c00'0000, 0x3e00'0000, 0x4200'0000, 0x4400'0000},
                                  MappedFlashRow{12, 0x3c00'0000, 0x3c40'0000, 0x4200'0000, 0x4240'0000},
                                  // Data and code at the same addresses. Source for these: ESP-IDF, soc.h of each chip.
                                  MappedFlashRow{13, 0x4200'0000, 0x4300'0000, 0x4200'0000, 0x4300'0000},
                                  MappedFlashRow{16, 0x4200'0000, 0x4300'0000, 0x4200'0000, 0x4300'0000},
                                  MappedFlashRow{18, 0x4000'0000, 0x4400'0000, 0x4000'0000, 0x4400'0000},
                                  MappedFlashRow{20, 0x4200'0000, 0x4400'0000, 0x4200'0000, 0x4400'0000},
                                  MappedFlashRow{23, 0x4200'0000, 0x4400'0000, 0x4200'0000, 0x4400'0000}};

constexpr std::uint16_t esp32c3_chip_id = 5, esp32c6_chip_id = 13;

Fault damaged(std::string what, std::string seen, std::optional<std::uint64_t> at = {}) {
  Fault fault{.code = Code::firmware_damaged,
              .remedy = Remedy::refuse,
              .what = std::move(what),
              .seen = std::move(seen),
              .advice = "build or copy the firmware again"};
  fault.where.offset = at;
  return fault;
}

std::string text_of(ByteView field) {
  std::string_view text = as_text(field);
  return std::string{text.substr(0, text.find('\0'))};
}

std::optional<AppDescription> parse_description(ByteView data) {
  if (data.size() < description_bytes || get_u32(data, 0) != description_magic) return std::nullopt;
  AppDescription d;
  d.secure_version = get_u32(data, 4);
  d.version = text_of(data.subspan(16, 32));
  d.project_name = text_of(data.subspan(48, 32));
  d.time = text_of(data.subspan(80, 16));
  d.date = text_of(data.subspan(96, 16));
  d.idf_version = text_of(data.subspan(112, 32));
  std::copy_n(data.begin() + 144, d.elf_sha256.size(), d.elf_sha256.begin());
  return d;
}

}  // namespace

std::uint8_t app_checksum_of(ByteView data) {
  // Eight at a time: this runs over whole firmwares at every start.
  std::uint64_t words = 0;
  std::size_t at = 0;
  for (std::uint64_t word; at + sizeof word <= data.size(); at += sizeof word) {
    std::memcpy(&word, data.data() + at, sizeof word);
    words ^= word;
  }
  std::uint8_t sum = 0;
  for (; words != 0; words >>= 8) sum ^= static_cast<std::uint8_t>(words);
  for (; at < data.size(); ++at) sum ^= data[at];
  return sum;
}

Result<AppImage> parse_app_image(ByteView bytes) {
  if (bytes.empty() || bytes[0] != image_magic)
    return fail(damaged("this is no ESP firmware image",
                        bytes.empty() ? "it is empty" : fmt::format("its first byte is {:#04x}, not 0xe9", bytes[0])));
  if (bytes.size() < header_bytes)
    return fail(
        damaged("the firmware image is cut short", fmt::format("{} bytes, its header alone has 24", bytes.size())));
  AppImage image;
  std::uint8_t segments = bytes[1];
  image.flash_mode = bytes[2];
  image.flash_frequency_code = bytes[3] & 0x0f;
  image.flash_size_code = bytes[3] >> 4;
  image.entry = get_u32(bytes, 4);
  image.wp_pin = bytes[8];
  image.chip_id = get_u16(bytes, 12);
  image.min_revision = bytes[14];
  image.min_revision_full = get_u16(bytes, 15);
  image.max_revision_full = get_u16(bytes, 17);
  if (segments == 0 || segments > most_segments)
    return fail(damaged("this is no ESP firmware image",
                        fmt::format("it claims {} segments; 1 to 16 are possible", segments), 1));
  if (bytes[23] > 1)
    return fail(
        damaged("this is no ESP firmware image", fmt::format("its digest flag is {}, not 0 or 1", bytes[23]), 23));
  image.has_digest = bytes[23] == 1;

  std::uint64_t at = header_bytes;
  image.checksum_expected = checksum_seed;
  for (std::uint8_t i = 0; i < segments; ++i) {
    if (bytes.size() - at < segment_header_bytes)
      return fail(damaged("the firmware image is cut short", fmt::format("segment {} is missing", i), at));
    AppSegment segment;
    segment.load_address = get_u32(bytes, at);
    segment.size = get_u32(bytes, at + 4);
    at += segment_header_bytes;
    segment.file_offset = static_cast<std::uint32_t>(at);
    if (segment.size > bytes.size() - at)
      return fail(damaged(
          "the firmware image is cut short",
          fmt::format("segment {} has {} bytes, the file only {} more", i, segment.size, bytes.size() - at), at));
    ByteView data = bytes.subspan(at, segment.size);
    if (i == 0) image.description = parse_description(data);
    image.checksum_expected ^= app_checksum_of(data);
    at += segment.size;
    image.segments.push_back(segment);
  }
  // The checksum is the last byte of a 16-byte unit; zeros lie before it.
  std::uint64_t checksum_at = at | (checksum_unit - 1);
  std::uint64_t end = checksum_at + 1;
  std::uint64_t whole = end + (image.has_digest ? digest_bytes : 0);
  if (whole > bytes.size())
    return fail(damaged(
        "the firmware image is cut short",
        fmt::format("{} bytes of {}: {}", bytes.size(), whole, end > bytes.size() ? "no checksum" : "no digest"), at));
  if (whole > 0xffff'ffff) return fail(damaged("this is no ESP firmware image", fmt::format("it has {} bytes", whole)));
  image.checksum = bytes[checksum_at];
  if (image.has_digest) {
    image.digest.emplace();
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(end), digest_bytes, image.digest->begin());
    image.digest_expected = sha256_of(bytes.first(end));
  }
  image.size = static_cast<std::uint32_t>(whole);
  return image;
}

// Source: ESP-IDF Programming Guide, App Image Format; Chip Revision. 0 and 0xffff say nothing about a newest one.
RevisionRange revisions_of(const AppImage& image) {
  RevisionRange range;
  if (image.min_revision_full == 0 && image.max_revision_full == 0) {
    range.oldest = image.chip_id == esp32c3_chip_id ? image.min_revision : image.min_revision * 100u;
    return range;
  }
  range.oldest = image.min_revision_full;
  if (image.max_revision_full != 0 && image.max_revision_full != 0xffff) range.newest = image.max_revision_full;
  return range;
}

bool runs_from_flash(const AppImage& image) {
  auto row = std::find_if(mapped_flash.begin(), mapped_flash.end(),
                          [&image](const MappedFlashRow& each) { return each.chip_id == image.chip_id; });
  if (row == mapped_flash.end()) return true;
  return std::any_of(image.segments.begin(), image.segments.end(), [row](const AppSegment& segment) {
    std::uint32_t at = segment.load_address;
    return (at >= row->data_start && at < row->data_end) || (at >= row->code_start && at < row->code_end);
  });
}

std::optional<std::uint8_t> flash_size_code_of(ByteCount flash_size) {
  for (const FlashSizeRow& row : flash_sizes)
    if (row.size == flash_size) return row.code;
  return std::nullopt;
}

std::optional<ByteCount> flash_size_of_code(std::uint8_t code) {
  for (const FlashSizeRow& row : flash_sizes)
    if (row.code == code) return row.size;
  return std::nullopt;
}

std::string_view flash_mode_name(std::uint8_t mode) {
  return mode < mode_names.size() ? mode_names[mode] : std::string_view{};
}

std::string_view flash_frequency_name(std::uint8_t code, std::uint16_t chip_id) {
  for (const FrequencyRow& row : frequencies) {
    if (row.code != code) continue;
    switch (chip_id) {
      case 12:
        return row.c2;
      case 13:
        return row.c6;
      case 16:
        return row.h2;
      default:
        return row.usual;
    }
  }
  return {};
}

std::string_view image_chip_name(std::uint16_t chip_id) {
  for (const ChipNameRow& row : chip_names)
    if (row.id == chip_id) return row.name;
  return {};
}

std::optional<std::uint8_t> flash_mode_of(std::string_view name) {
  auto row = std::find(mode_names.begin(), mode_names.end(), name);
  if (row == mode_names.end()) return std::nullopt;
  return static_cast<std::uint8_t>(row - mode_names.begin());
}

std::optional<std::uint8_t> flash_frequency_of(std::string_view name, std::uint16_t chip_id) {
  for (const FrequencyRow& row : frequencies)
    if (!name.empty() && flash_frequency_name(row.code, chip_id) == name) return row.code;
  // The C6's ROM runs its flash at 80 MHz or half of that by a setting elsewhere: both are code 0.
  if (chip_id == esp32c6_chip_id && name == "40m") return std::uint8_t{0};
  return std::nullopt;
}

Result<Bytes> with_flash_header(ByteView image, const FlashHeader& wanted) {
  TRY(AppImage parsed, parse_app_image(image));
  std::uint8_t size_code = parsed.flash_size_code;
  if (wanted.size) {
    std::optional<std::uint8_t> code = flash_size_code_of(*wanted.size);
    if (!code)
      return fail(Fault{.code = Code::image_invalid,
                        .remedy = Remedy::refuse,
                        .what = fmt::format("a firmware image cannot say a flash size of {}", show_bytes(*wanted.size)),
                        .advice = "possible are 1, 2, 4, 8, 16, 32, 64 and 128 MB"});
    size_code = *code;
  }
  Bytes out{image.begin(), image.end()};
  out[2] = wanted.mode.value_or(parsed.flash_mode);
  out[3] =
      static_cast<std::uint8_t>(size_code << 4 | (wanted.frequency_code.value_or(parsed.flash_frequency_code) & 0x0f));
  if (out[2] == image[2] && out[3] == image[3]) return out;
  // A new digest would hide that the image was damaged before.
  if (!parsed.intact()) return fail(damaged("the firmware image is damaged", "its checksum or digest does not match"));
  if (parsed.has_digest) {
    std::size_t end = parsed.size - digest_bytes;
    Sha256 digest = sha256_of(ByteView{out}.first(end));
    std::copy(digest.begin(), digest.end(), out.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return out;
}

}  // namespace espmint
