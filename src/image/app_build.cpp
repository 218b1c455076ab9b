#include "image/app_build.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "image/app_image.hpp"
#include "image/elf.hpp"

namespace espmint {
namespace {

// Source: ESP-IDF Programming Guide, App Image Format. The rules of layout are those of the outputs of esptool 4.8.1,
// tried on ELF files made for the purpose (tests/app_image_reference.py).
constexpr std::uint32_t built_header_bytes = 24, load_header_bytes = 8, built_digest_bytes = 32,
                        checksum_line_bytes = 16;
constexpr std::size_t most_built_segments = 16;
constexpr std::uint32_t usual_cache_page_bytes = 0x1'0000, secure_page_bytes = 0x1'0000;
// What is left of the page for a signature: v1 follows the digest with 12 bytes of filling, a version and 64 bytes.
constexpr std::uint32_t signature_v1_bytes = 80;
// The ESP32's first bootloaders did not map a segment's last page where it held less than this (with its header).
constexpr std::uint32_t least_of_last_page_bytes = 0x24;
constexpr std::string_view description_section = ".flash.appdesc";

// Addresses at which one memory ends and another begins: sections on both sides of one are no single segment.
constexpr std::array<std::uint32_t, 17> esp32_borders{
    0x3f40'0000, 0x3f80'0000, 0x3ff8'0000, 0x3ff8'2000, 0x3ff9'0000, 0x3ffa'e000, 0x3ffe'0000, 0x4000'0000, 0x4007'0000,
    0x4007'8000, 0x4008'0000, 0x400a'0000, 0x400c'0000, 0x400c'2000, 0x400d'0000, 0x4040'0000, 0x5000'0000};
constexpr std::array<std::uint32_t, 13> esp32s2_borders{0x3f00'0000, 0x3f3f'0000, 0x3ff8'0000, 0x3ff9'e000, 0x3ffa'0000,
                                                        0x3ffb'0000, 0x4000'0000, 0x4002'0000, 0x4007'0000, 0x4007'2000,
                                                        0x4008'0000, 0x40b8'0000, 0x5000'0000};
constexpr std::array<std::uint32_t, 12> esp32s3_borders{0x3c00'0000, 0x3e00'0000, 0x3fc8'8000, 0x3fd0'0000,
                                                        0x4000'0000, 0x4037'0000, 0x403e'0000, 0x403e'2000,
                                                        0x4200'0000, 0x4400'0000, 0x5000'0000, 0x600f'e000};
constexpr std::array<std::uint32_t, 14> esp32c2_borders{0x3c00'0000, 0x3c40'0000, 0x3fc8'8000, 0x3fca'0000, 0x3fce'0000,
                                                        0x3fd0'0000, 0x3ff0'0000, 0x3ff5'0000, 0x4000'0000, 0x4009'0000,
                                                        0x4037'c000, 0x403c'0000, 0x4200'0000, 0x4240'0000};
constexpr std::array<std::uint32_t, 16> esp32c3_borders{
    0x3c00'0000, 0x3c80'0000, 0x3fc8'0000, 0x3fc8'8000, 0x3fce'0000, 0x3fd0'0000, 0x3ff0'0000, 0x3ff2'0000,
    0x4000'0000, 0x4006'0000, 0x4037'c000, 0x403e'0000, 0x4200'0000, 0x4280'0000, 0x5000'0000, 0x600f'e000};
constexpr std::array<std::uint32_t, 8> newer_borders{0x4000'0000, 0x4005'0000, 0x4080'0000, 0x4088'0000,
                                                     0x4200'0000, 0x4300'0000, 0x5000'0000, 0x600f'e000};
constexpr std::array<std::uint32_t, 8> smaller_borders{0x4000'0000, 0x4005'0000, 0x4080'0000, 0x4086'0000,
                                                       0x4200'0000, 0x4300'0000, 0x5000'0000, 0x600f'e000};
constexpr std::array<std::uint32_t, 6> esp32p4_borders{0x4000'0000, 0x4c00'0000, 0x4ff0'0000,
                                                       0x4ffa'0000, 0x5010'8000, 0x600f'e000};

struct MappedRange {
  std::uint32_t start, end;
  [[nodiscard]] bool has(std::uint32_t address) const { return address >= start && address < end; }
};

/// Where this chip's cache shows the flash to a linker, and in pages of which sizes.
struct BuildChipRow {
  std::uint16_t id;  // esp_chip_id_t
  MappedRange data, code;
  std::uint32_t smallest_page_bytes;
  std::span<const std::uint32_t> borders;
};
constexpr std::array build_chips{
    BuildChipRow{0, {0x3f40'0000, 0x3f80'0000}, {0x400d'0000, 0x4040'0000}, 0x1'0000, esp32_borders},
    BuildChipRow{2, {0x3f00'0000, 0x3f3f'0000}, {0x4008'0000, 0x40b8'0000}, 0x1'0000, esp32s2_borders},
    BuildChipRow{5, {0x3c00'0000, 0x3c80'0000}, {0x4200'0000, 0x4280'0000}, 0x1'0000, esp32c3_borders},
    BuildChipRow{9, {0x3c00'0000, 0x3e00'0000}, {0x4200'0000, 0x4400'0000}, 0x1'0000, esp32s3_borders},
    BuildChipRow{12, {0x3c00'0000, 0x3c40'0000}, {0x4200'0000, 0x4240'0000}, 0x4000, esp32c2_borders},
    BuildChipRow{13, {0x4200'0000, 0x4300'0000}, {0x4200'0000, 0x4300'0000}, 0x2000, newer_borders},
    BuildChipRow{16, {0x4200'0000, 0x4300'0000}, {0x4200'0000, 0x4300'0000}, 0x2000, newer_borders},
    BuildChipRow{18, {0x4000'0000, 0x4c00'0000}, {0x4000'0000, 0x4c00'0000}, 0x1'0000, esp32p4_borders},
    BuildChipRow{20, {0x4200'0000, 0x4300'0000}, {0x4200'0000, 0x4300'0000}, 0x2000, smaller_borders},
    BuildChipRow{23, {0x4200'0000, 0x4300'0000}, {0x4200'0000, 0x4300'0000}, 0x2000, smaller_borders}};
constexpr std::uint16_t esp32_chip_id = 0;

Fault cannot_build(Code code, std::string what, std::string seen = {}, std::string advice = {}) {
  return Fault{.code = code,
               .remedy = Remedy::refuse,
               .what = std::move(what),
               .seen = std::move(seen),
               .advice = std::move(advice)};
}

// ---------------------------------------------------------------- what there is to load

/// Bytes and the address at which the chip sees them; a whole number of words.
struct LoadPiece {
  std::uint32_t address = 0;
  Bytes data;
  std::uint64_t end_without_padding = 0;  // an address
  bool executable = false;
  std::string name;  // of its first section
  [[nodiscard]] std::uint64_t end() const { return std::uint64_t{address} + data.size(); }
};

LoadPiece piece_of(std::uint32_t address, ByteView content, bool executable, std::string name) {
  LoadPiece piece{.address = address,
                  .data = {},
                  .end_without_padding = std::uint64_t{address} + content.size(),
                  .executable = executable,
                  .name = std::move(name)};
  piece.data.reserve(content.size() + 4);
  append(piece.data, content);
  piece.data.resize((content.size() + 3) / 4 * 4, 0);
  return piece;
}

std::ptrdiff_t memory_of(std::uint32_t address, std::span<const std::uint32_t> borders) {
  return std::upper_bound(borders.begin(), borders.end(), address) - borders.begin();
}

/// Neighbours in the file that are neighbours in memory, and both code or both data, are one.
void add_piece(std::vector<LoadPiece>& pieces, LoadPiece piece, const BuildChipRow& chip) {
  if (!pieces.empty()) {
    LoadPiece& before = pieces.back();
    if (before.end() == piece.address && before.executable == piece.executable &&
        memory_of(before.address, chip.borders) == memory_of(piece.address, chip.borders)) {
      append(before.data, piece.data);
      before.end_without_padding = piece.end_without_padding;
      return;
    }
  }
  pieces.push_back(std::move(piece));
}

Result<std::vector<LoadPiece>> pieces_of(const ElfFile& elf, const AppBuildOptions& options, const BuildChipRow& chip) {
  std::vector<LoadPiece> pieces;
  if (options.from_segments) {
    for (const ElfSegment& segment : elf.segments)
      if (segment.type == elf::segment_load && segment.physical_address != 0 && !segment.content.empty())
        add_piece(pieces, piece_of(segment.physical_address, segment.content, false, {}), chip);
  } else {
    for (const ElfSection& section : elf.sections) {
      bool loaded = section.type == elf::section_bits || section.type == elf::section_init_array ||
                    section.type == elf::section_fini_array;
      if (loaded && section.address != 0 && !section.content.empty())
        add_piece(pieces,
                  piece_of(section.address, section.content, (section.flags & elf::flag_executable) != 0, section.name),
                  chip);
    }
  }
  if (pieces.empty())
    return fail(cannot_build(
        Code::input_invalid, "this ELF file has nothing to load",
        options.from_segments ? "no segment with an address and content" : "no section with an address and content"));
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const LoadPiece& a, const LoadPiece& b) { return a.address < b.address; });
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].end() > std::uint64_t{1} << 32)
      return fail(
          cannot_build(Code::input_invalid, "this ELF file reaches past the last address",
                       fmt::format("{} at {:#x}, {} bytes", pieces[i].name, pieces[i].address, pieces[i].data.size())));
    if (i > 0 && pieces[i - 1].end_without_padding > pieces[i].address)
      return fail(cannot_build(Code::input_invalid, "parts of this ELF file overlap",
                               fmt::format("{} ends at {:#x}, {} begins at {:#x}", pieces[i - 1].name,
                                           pieces[i - 1].end_without_padding, pieces[i].name, pieces[i].address)));
  }
  return pieces;
}

// ---------------------------------------------------------------- where it goes in the image

/// Segment after segment; the checksum and what follows come at the end.
class ImageLayout {
 public:
  /// `expected_bytes`: about as many as will be added, so that the image is not moved while it grows.
  explicit ImageLayout(std::size_t expected_bytes) {
    out_.reserve(expected_bytes);
    out_.resize(built_header_bytes, 0);
  }

  Result<void> add(std::uint32_t address, ByteView data) {
    if (segments_.size() == most_built_segments)
      return fail(cannot_build(Code::image_invalid, "an image holds 16 segments, and these are more",
                               fmt::format("the one at {:#x} has no place", address),
                               "a linker script that leaves fewer gaps helps"));
    put_u32(out_, address);
    put_u32(out_, static_cast<std::uint32_t>(data.size()));
    segments_.push_back({out_.size(), data.size()});
    append(out_, data);
    return ok();
  }
  Result<void> add_zeros(std::size_t size) {
    TRY(add(0, {}));
    set_u32(out_, out_.size() - 4, static_cast<std::uint32_t>(size));
    segments_.back().size = size;
    out_.resize(out_.size() + size, 0);
    return ok();
  }
  /// More zeros for the last one.
  void lengthen_last(std::size_t by) {
    segments_.back().size += by;
    set_u32(out_, segments_.back().at - 4, static_cast<std::uint32_t>(segments_.back().size));
    out_.resize(out_.size() + by, 0);
  }
  /// Into zeros within one segment. Fault for anything else.
  Result<void> put(std::uint64_t at, ByteView bytes) {
    for (const Place& place : segments_) {
      if (at < place.at || at + bytes.size() > place.at + place.size) continue;
      auto target = out_.begin() + static_cast<std::ptrdiff_t>(at);
      if (std::any_of(target, target + static_cast<std::ptrdiff_t>(bytes.size()),
                      [](std::uint8_t byte) { return byte != 0; }))
        return fail(cannot_build(Code::image_invalid,
                                 fmt::format("there is no room for the ELF's SHA-256 at {:#x}", at),
                                 "32 zeros belong there", "0xb0 is its place in an app's description"));
      std::copy(bytes.begin(), bytes.end(), target);
      return ok();
    }
    return fail(cannot_build(Code::image_invalid, fmt::format("the ELF's SHA-256 at {:#x} would lie in no segment", at),
                             {}, "0xb0 is its place in an app's description"));
  }
  [[nodiscard]] std::size_t size() const { return out_.size(); }

  Bytes finish(std::uint32_t entry, std::uint8_t flash_size_code, const AppBuildOptions& options) {
    out_[0] = 0xe9;
    out_[1] = static_cast<std::uint8_t>(segments_.size());
    out_[2] = options.flash_mode;
    out_[3] = static_cast<std::uint8_t>(flash_size_code << 4 | (options.frequency_code.value_or(0) & 0x0f));
    set_u32(out_, 4, entry);
    out_[8] = 0xee;  // no write protection pin
    auto put_half = [this](std::size_t at, std::uint16_t value) {
      out_[at] = static_cast<std::uint8_t>(value);
      out_[at + 1] = static_cast<std::uint8_t>(value >> 8);
    };
    put_half(12, options.chip_id);
    put_half(15, options.min_revision);
    put_half(17, options.max_revision);
    out_[23] = options.digest ? 1 : 0;
    std::uint8_t checksum = 0xef;
    for (const Place& place : segments_) checksum ^= app_checksum_of(ByteView{out_}.subspan(place.at, place.size));
    out_.resize(out_.size() | (checksum_line_bytes - 1), 0);
    out_.push_back(checksum);
    if (options.digest) {
      Sha256 digest = sha256_of(out_);
      append(out_, digest);
    }
    return std::move(out_);
  }

 private:
  struct Place {
    std::size_t at, size;  // of its data, in bytes
  };
  Bytes out_;
  std::vector<Place> segments_;
};

/// Pieces of RAM, in order, to be put where padding would be.
class RamQueue {
 public:
  explicit RamQueue(std::vector<LoadPiece> pieces) : pieces_(std::move(pieces)) {}
  [[nodiscard]] bool empty() const { return next_ == pieces_.size(); }
  /// At most `room` bytes of the first one.
  Result<void> put_some(ImageLayout& image, std::size_t room) {
    const LoadPiece& piece = pieces_[next_];
    std::size_t size = std::min(room, piece.data.size() - taken_);
    TRY(image.add(piece.address + static_cast<std::uint32_t>(taken_), ByteView{piece.data}.subspan(taken_, size)));
    taken_ += size;
    if (taken_ == piece.data.size()) {
      ++next_;
      taken_ = 0;
    }
    return ok();
  }

 private:
  std::vector<LoadPiece> pieces_;
  std::size_t next_ = 0, taken_ = 0;
};

/// A mapped segment lies in the image as far into its page as in memory; RAM segments fill what lies between.
Result<void> put_mapped(ImageLayout& image, const LoadPiece& piece, RamQueue& ram, std::uint32_t page,
                        bool fill_last_page) {
  for (;;) {
    // The gap reaches into the next page, even where the segment's place in this one is still to come.
    auto place = (piece.address - load_header_bytes) % page;
    auto gap = static_cast<std::uint32_t>(page - image.size() % page + place);
    if (gap == page) break;
    std::uint32_t room = gap >= load_header_bytes ? gap - load_header_bytes : gap + page - load_header_bytes;
    TRY(ram.empty() ? image.add_zeros(room) : ram.put_some(image, room));
  }
  TRY(image.add(piece.address, piece.data));
  std::size_t in_last_page = image.size() % page;
  if (fill_last_page && in_last_page < least_of_last_page_bytes)
    image.lengthen_last(least_of_last_page_bytes - in_last_page);
  return ok();
}

/// So that the image, with the signature behind it, ends with a page.
Result<void> put_secure_padding(ImageLayout& image, SecurePad pad) {
  std::uint32_t behind = checksum_line_bytes + built_digest_bytes + (pad == SecurePad::v1 ? signature_v1_bytes : 0);
  return image.add_zeros((secure_page_bytes - (image.size() + load_header_bytes + behind) % secure_page_bytes) %
                         secure_page_bytes);
}

Result<const BuildChipRow*> check_build_options(const AppBuildOptions& options) {
  auto row = std::find_if(build_chips.begin(), build_chips.end(),
                          [&options](const BuildChipRow& each) { return each.id == options.chip_id; });
  auto wrong = [](std::string what, std::string advice = {}) {
    return fail(cannot_build(Code::image_invalid, std::move(what), {}, std::move(advice)));
  };
  if (row == build_chips.end()) return wrong(fmt::format("images for chip {} are not made here", options.chip_id));
  if (!flash_size_code_of(options.flash_size))
    return wrong(fmt::format("a firmware image cannot say a flash size of {}", show_bytes(options.flash_size)),
                 "possible are 1, 2, 4, 8, 16, 32, 64 and 128 MB");
  if (options.secure_pad == SecurePad::v1 && options.chip_id != esp32_chip_id)
    return wrong("only the ESP32 has secure boot of version 1", "--secure-pad v2 is for the other chips");
  if (options.secure_pad != SecurePad::none && !options.digest)
    return wrong("room for a signature needs the SHA-256 in front of it", "leave out one of the two options");
  std::uint32_t page = options.page_bytes;
  bool power_of_two = (page & (page - 1)) == 0;
  if (page != 0 && (!power_of_two || page > usual_cache_page_bytes || page < row->smallest_page_bytes))
    return wrong(
        fmt::format("the flash cache of this chip has no pages of {}", show_bytes(page)),
        row->smallest_page_bytes == usual_cache_page_bytes
            ? "its pages have 64 KB"
            : fmt::format("possible are {} to 64 KB, each twice the one before", show_bytes(row->smallest_page_bytes)));
  constexpr ByteCount most_padding = 128_MiB;
  if (options.pad_to > most_padding)
    return wrong(fmt::format("an image is not padded to {}", show_bytes(options.pad_to)));
  return &*row;
}

}  // namespace

Result<Bytes> build_app_image(ByteView elf_bytes, const AppBuildOptions& options) {
  TRY(const BuildChipRow* chip, check_build_options(options));
  TRY(ElfFile elf, parse_elf(elf_bytes));
  TRY(std::vector<LoadPiece> pieces, pieces_of(elf, options, *chip));
  std::uint32_t page = options.page_bytes != 0 ? options.page_bytes : usual_cache_page_bytes;

  std::size_t expected_bytes = 2 * page;  // for headers, a gap, checksum and digest
  for (const LoadPiece& piece : pieces) expected_bytes += piece.data.size();

  auto is_mapped = [chip](const LoadPiece& piece) {
    return chip->data.has(piece.address) || chip->code.has(piece.address);
  };
  auto first_in_ram = std::stable_partition(pieces.begin(), pieces.end(), is_mapped);
  std::vector<LoadPiece> mapped(std::make_move_iterator(pieces.begin()), std::make_move_iterator(first_in_ram));
  RamQueue ram{{std::make_move_iterator(first_in_ram), std::make_move_iterator(pieces.end())}};
  for (std::size_t i = 1; i < mapped.size(); ++i)
    if (mapped[i - 1].address / page == mapped[i].address / page)
      return fail(cannot_build(
          Code::input_invalid, "two segments lie in one page of mapped flash",
          fmt::format("{:#x} and {:#x}, pages of {}", mapped[i - 1].address, mapped[i].address, show_bytes(page)),
          "the linker script must put them side by side, or a page apart"));
  // The bootloader looks for the description at the start of the first segment.
  auto description = std::find_if(mapped.begin(), mapped.end(),
                                  [](const LoadPiece& piece) { return piece.name == description_section; });
  if (description != mapped.end()) std::rotate(mapped.begin(), description, description + 1);

  ImageLayout image{expected_bytes};
  for (const LoadPiece& piece : mapped) TRY(put_mapped(image, piece, ram, page, options.chip_id == esp32_chip_id));
  while (!ram.empty()) TRY(ram.put_some(image, SIZE_MAX));
  if (options.elf_sha256_at) TRY(image.put(*options.elf_sha256_at, sha256_of(elf_bytes)));
  if (options.secure_pad != SecurePad::none) TRY(put_secure_padding(image, options.secure_pad));
  Bytes out = image.finish(elf.entry, *flash_size_code_of(options.flash_size), options);
  if (options.pad_to != 0) out.resize((out.size() + options.pad_to - 1) / options.pad_to * options.pad_to, 0xff);
  return out;
}

}  // namespace espmint
