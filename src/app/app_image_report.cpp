#include "app/app_image_report.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace espmint::app {
namespace {

Json text_or_null(std::string_view text) { return text.empty() ? Json{} : Json(text); }

std::string known_or(std::string_view name, unsigned code) {
  return name.empty() ? fmt::format("unknown ({})", code) : std::string{name};
}

}  // namespace

std::string chip_text(const AppImage& image) { return known_or(image_chip_name(image.chip_id), image.chip_id); }

Json app_image_json(const AppImage& image) {
  auto flash_size = flash_size_of_code(image.flash_size_code);
  Json segments = Json::array();
  for (const AppSegment& segment : image.segments)
    segments.push_back({{"index", segments.size()},
                        {"address", segment.load_address},
                        {"length", segment.size},
                        {"header_offset", segment.file_offset - 8},
                        {"data_offset", segment.file_offset}});
  Json json{{"v", 1},
            {"magic", 0xe9},
            {"chip", text_or_null(image_chip_name(image.chip_id))},
            {"chip_id", image.chip_id},
            {"segment_count", image.segments.size()},
            {"entry_point", image.entry},
            {"flash_mode", text_or_null(flash_mode_name(image.flash_mode))},
            {"flash_size", flash_size ? Json(fmt::format("{}MB", *flash_size / 1_MiB)) : Json{}},
            {"flash_freq", text_or_null(flash_frequency_name(image.flash_frequency_code, image.chip_id))},
            {"wp_pin", image.wp_pin},
            {"min_rev", image.min_revision},
            {"min_rev_full", image.min_revision_full},
            {"max_rev_full", image.max_revision_full},
            {"segments", std::move(segments)},
            {"checksum", image.checksum},
            {"checksum_computed", image.checksum_expected},
            {"checksum_valid", image.checksum == image.checksum_expected},
            {"hash_appended", image.has_digest},
            {"image_length", image.size}};
  if (image.digest && image.digest_expected) {
    json["hash"] = to_hex(*image.digest);
    json["hash_computed"] = to_hex(*image.digest_expected);
    json["hash_valid"] = image.digest == image.digest_expected;
  }
  if (const auto& d = image.description)
    json["app_desc"] = {{"secure_version", d->secure_version},
                        {"version", d->version},
                        {"project_name", d->project_name},
                        {"time", d->time},
                        {"date", d->date},
                        {"idf_ver", d->idf_version},
                        {"app_elf_sha256", to_hex(d->elf_sha256)}};
  return json;
}

std::string app_image_text(const AppImage& image) {
  std::string out;
  auto row = [&out](std::string_view label, std::string_view value) { out += fmt::format("{:<14}{}\n", label, value); };
  if (const auto& d = image.description) {
    row("project", fmt::format("{} {}", d->project_name, d->version));
    row("built", fmt::format("{} {}, ESP-IDF {}", d->date, d->time, d->idf_version));
  }
  auto flash_size = flash_size_of_code(image.flash_size_code);
  row("chip", chip_text(image));
  row("revisions", fmt::format("{}.{} to {}.{}", image.min_revision_full / 100, image.min_revision_full % 100,
                               image.max_revision_full / 100, image.max_revision_full % 100));
  row("flash",
      fmt::format("{}, {}, {}", known_or(flash_mode_name(image.flash_mode), image.flash_mode),
                  known_or(flash_frequency_name(image.flash_frequency_code, image.chip_id), image.flash_frequency_code),
                  flash_size ? show_bytes(*flash_size) : known_or("", image.flash_size_code)));
  row("entry", fmt::format("{:#010x}", image.entry));
  row("size", fmt::format("{} bytes", image.size));
  for (std::size_t i = 0; i < image.segments.size(); ++i) {
    const AppSegment& segment = image.segments[i];
    row(fmt::format("segment {}", i),
        fmt::format("{:#010x}  {:>8} bytes at {:#x}", segment.load_address, segment.size, segment.file_offset));
  }
  row("checksum", image.checksum == image.checksum_expected
                      ? fmt::format("{:#04x}, good", image.checksum)
                      : fmt::format("{:#04x}, WRONG: its bytes have {:#04x}", image.checksum, image.checksum_expected));
  if (image.digest && image.digest_expected)
    row("SHA-256",
        image.digest == image.digest_expected
            ? fmt::format("{}, good", to_hex(*image.digest))
            : fmt::format("{}, WRONG: its bytes have {}", to_hex(*image.digest), to_hex(*image.digest_expected)));
  return out;
}

}  // namespace espmint::app
