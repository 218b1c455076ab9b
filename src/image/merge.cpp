#include "image/merge.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/text.hpp"

namespace espmint {
namespace {

constexpr std::uint8_t erased_flash = 0xff;
constexpr std::uint32_t merge_sector_bytes = 0x1000;
constexpr std::uint64_t flash_limit = std::uint64_t{1} << 32;
constexpr std::uint32_t usual_table_at = 0x8000, entries_of_table_bytes = 0xc00;
// Where the ROMs look for a bootloader. Source: ESP-IDF Programming Guide, Bootloader, per chip.
constexpr std::array usual_bootloaders{FlashOffset{0x0}, FlashOffset{0x1000}, FlashOffset{0x2000}};
// Source: ESP-IDF Programming Guide, Secure Boot V2, Signature Block Format: its first two bytes.
constexpr std::uint8_t signature_magic = 0xe7, signature_version = 0x02;
constexpr std::uint8_t bootloader_type = 0x02, partition_table_type = 0x03;

Fault cannot_merge(std::string what, std::string seen = {}, std::string advice = {}) {
  return Fault{.code = Code::input_invalid,
               .remedy = Remedy::refuse,
               .what = std::move(what),
               .seen = std::move(seen),
               .advice = std::move(advice)};
}

Fault cannot_split(std::string what, std::string seen = {}, std::string advice = {}) {
  return Fault{.code = Code::image_invalid,
               .remedy = Remedy::refuse,
               .what = std::move(what),
               .seen = std::move(seen),
               .advice = std::move(advice)};
}

Result<void> check_merge_parts(const std::vector<MergePart>& parts, const MergeOptions& options) {
  if (parts.empty()) return fail(cannot_merge("there is nothing to merge"));
  const MergePart* before = nullptr;
  for (const MergePart& part : parts) {
    if (part.bytes.empty()) return fail(cannot_merge(fmt::format("{} is empty", part.source)));
    if (part.end() > flash_limit)
      return fail(cannot_merge(fmt::format("{} ends past 4 GB", part.source), fmt::format("at {:#x}", part.end())));
    if (before != nullptr && before->end() > part.at.bytes)
      return fail(
          cannot_merge(fmt::format("{} and {} overlap", before->source, part.source),
                       fmt::format("the first ends at {:#x}, the other begins at {:#x}", before->end(), part.at.bytes),
                       "check the offsets"));
    if (part.at < options.target)
      return fail(cannot_merge(fmt::format("{} goes in front of the merged file", part.source),
                               fmt::format("to {:#x}, the file to {:#x}", part.at.bytes, options.target.bytes)));
    before = &part;
  }
  if (options.fill_to && parts.back().end() > *options.fill_to)
    return fail(
        cannot_merge(fmt::format("{} does not fit", parts.back().source),
                     fmt::format("it ends at {:#x}, the flash at {:#x}", parts.back().end(), *options.fill_to)));
  return ok();
}

}  // namespace

Result<Bytes> merge_parts(std::vector<MergePart> parts, const MergeOptions& options) {
  std::stable_sort(parts.begin(), parts.end(), [](const MergePart& a, const MergePart& b) { return a.at < b.at; });
  TRY(check_merge_parts(parts, options));
  Bytes changed;  // the bootloader, where its header is to say something else
  if (options.header != FlashHeader{}) {
    auto found =
        std::find_if(parts.begin(), parts.end(), [&options](const MergePart& p) { return p.at == options.bootloader; });
    if (found == parts.end())
      return fail(cannot_merge(
          "there is no bootloader whose header could say the flash's mode, frequency and size",
          options.bootloader ? fmt::format("nothing goes to {:#x}", options.bootloader->bytes) : "the chip is unknown",
          "check --chip and the offsets"));
    TRY(changed, in_input(with_flash_header(found->bytes, options.header), found->source));
    found->bytes = changed;
  }
  std::uint64_t end = std::max<std::uint64_t>(options.fill_to.value_or(0), parts.back().end());
  Bytes out;
  out.reserve(end - options.target.bytes);
  for (const MergePart& part : parts) {
    out.resize(part.at.bytes - options.target.bytes, erased_flash);
    append(out, part.bytes);
  }
  out.resize(end - options.target.bytes, erased_flash);
  return out;
}

// ---------------------------------------------------------------- split

namespace {

bool is_erased_flash(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == erased_flash; });
}

/// A merged file or a dump, seen by flash offsets.
struct DumpView {
  ByteView bytes;
  std::uint32_t target = 0;
  [[nodiscard]] std::uint64_t end() const { return std::uint64_t{target} + bytes.size(); }
  /// What the file has of [at, at + size).
  [[nodiscard]] ByteView cut(std::uint64_t at, std::uint64_t size) const {
    if (at < target || at >= end()) return {};
    return bytes.subspan(at - target, std::min(size, end() - at));
  }
};

std::optional<PartitionTable> table_in(const DumpView& flash, std::uint64_t at) {
  ByteView entries = flash.cut(at, entries_of_table_bytes);
  if (entries.size() < 2 || entries[0] != 0xaa || entries[1] != 0x50) return std::nullopt;
  PartitionTableOptions options;
  options.offset.bytes = static_cast<std::uint32_t>(at);
  auto table = parse_partition_table(entries, options);
  if (!table || table->partitions.empty()) return std::nullopt;
  return std::move(*table);
}

struct FoundTable {
  std::uint32_t target, at;
  PartitionTable table;
};

/// Most files begin at 0 and have their table at 0x8000; some begin at the ESP32's bootloader; a few tables lie
/// elsewhere, always at a sector's start.
std::optional<FoundTable> find_table(ByteView bytes, const SplitOptions& options) {
  std::vector<std::uint32_t> targets{0, 0x1000, 0x2000};
  if (options.target) targets = {options.target->bytes};
  std::uint32_t wanted = options.table_at.value_or(FlashOffset{usual_table_at}).bytes;
  for (std::uint32_t target : targets)
    if (auto table = table_in({bytes, target}, wanted)) return FoundTable{target, wanted, std::move(*table)};
  if (options.table_at) return std::nullopt;
  DumpView flash{bytes, targets.front()};
  for (std::uint64_t at = flash.target; at < std::min(flash.end(), flash_limit); at += merge_sector_bytes)
    if (auto table = table_in(flash, at))
      return FoundTable{flash.target, static_cast<std::uint32_t>(at), std::move(*table)};
  return std::nullopt;
}

/// The image's exact length; with the signature's sector where one follows. Nothing where no image begins.
std::optional<ByteView> image_in(ByteView range) {
  auto image = parse_app_image(range);
  if (!image) return std::nullopt;
  std::uint64_t signature_at =
      (std::uint64_t{image->size} + merge_sector_bytes - 1) / merge_sector_bytes * merge_sector_bytes;
  bool is_signed = signature_at + merge_sector_bytes <= range.size() && range[signature_at] == signature_magic &&
                   range[signature_at + 1] == signature_version;
  return range.first(is_signed ? signature_at + merge_sector_bytes : image->size);
}

/// File names made of partition names, which may be anything: "../x", "a/b", nothing, one twice.
class SafeNames {
 public:
  std::string take(std::string_view wanted, std::uint32_t at) {
    std::string name;
    for (char c : wanted) name += is_plain(c) ? c : '_';
    if (name.empty() || name.front() == '.') name.insert(0, "_");
    // Whoever looks at the folder with another system may not tell "NVS" from "nvs".
    if (!taken_.insert(lower(name)).second) {
      name += fmt::format("-{:#x}", at);
      while (!taken_.insert(lower(name)).second) name += '_';
    }
    return name + ".bin";
  }

 private:
  static bool is_plain(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
  }
  std::set<std::string> taken_;
};

struct Home {
  FlashRange range;
  const Partition* partition;  // nothing: the table's own sector
};

/// Partitions with room, in flash order, and the table among them; those that stand for the bootloader and the table
/// themselves are left out.
Result<std::vector<Home>> homes_of(const FoundTable& found) {
  std::vector<Home> homes{{{{found.at}, merge_sector_bytes}, nullptr}};
  for (const Partition& partition : found.table.partitions)
    if (partition.range.size > 0 && partition.type != bootloader_type && partition.type != partition_table_type)
      homes.push_back({partition.range, &partition});
  std::stable_sort(homes.begin(), homes.end(), [](const Home& a, const Home& b) { return a.range.at < b.range.at; });
  auto name = [](const Home& home) {
    return home.partition ? fmt::format("'{}'", home.partition->name) : "the partition table";
  };
  for (std::size_t i = 1; i < homes.size(); ++i)
    if (homes[i - 1].range.overlaps(homes[i].range))
      return fail(cannot_split(fmt::format("{} and {} overlap", name(homes[i - 1]), name(homes[i])),
                               fmt::format("the partition table at {:#x} says so", found.at)));
  return homes;
}

/// What no part covers and is not erased, each stretch as a part of its own that begins at its sector's start.
void add_unlisted(const DumpView& flash, std::vector<SplitPart>& parts, SafeNames& names) {
  std::vector<SplitPart> found;
  std::uint64_t at = flash.target;
  auto look_until = [&](std::uint64_t end) {
    ByteView gap = flash.cut(at, end - at);
    auto written = [](std::uint8_t byte) { return byte != erased_flash; };
    auto first = std::find_if(gap.begin(), gap.end(), written);
    if (first == gap.end()) return;
    auto last = std::find_if(gap.rbegin(), gap.rend(), written);
    std::uint64_t start = at + static_cast<std::uint64_t>(first - gap.begin());
    start = std::max(at, start / merge_sector_bytes * merge_sector_bytes);
    std::uint64_t stop = end - static_cast<std::uint64_t>(last - gap.rbegin());
    auto offset = static_cast<std::uint32_t>(start);
    found.push_back({{offset},
                     SplitKind::unlisted,
                     names.take(fmt::format("unlisted-{:#x}", offset), offset),
                     flash.cut(start, stop - start)});
  };
  for (const SplitPart& part : parts) {
    look_until(part.at.bytes);
    at = std::uint64_t{part.at.bytes} + part.bytes.size();
  }
  look_until(std::min(flash.end(), flash_limit));
  parts.insert(parts.end(), found.begin(), found.end());
  std::sort(parts.begin(), parts.end(), [](const SplitPart& a, const SplitPart& b) { return a.at < b.at; });
}

}  // namespace

Result<SplitFlash> split_flash(ByteView bytes, const SplitOptions& options) {
  std::optional<FoundTable> found = find_table(bytes, options);
  if (!found)
    return fail(cannot_split("there is no partition table in this file",
                             options.table_at ? fmt::format("none at {:#x}", options.table_at->bytes)
                                              : fmt::format("none at {:#x}, nor at any sector's start", usual_table_at),
                             "it should be a merged image or a dump of the whole flash; where it begins elsewhere, "
                             "--target-offset says so"));
  DumpView flash{bytes, found->target};
  TRY(std::vector<Home> homes, homes_of(*found));
  SplitFlash out{.target = {found->target},
                 .table_at = {found->at},
                 .table = {},
                 .parts = {},
                 .blank = {},
                 .beyond = {},
                 .bootloader = {}};
  SafeNames names;

  std::uint32_t first_home = homes.front().range.at.bytes;
  std::span<const FlashOffset> bootloaders =
      options.bootloaders.empty() ? std::span<const FlashOffset>{usual_bootloaders} : options.bootloaders;
  for (FlashOffset at : bootloaders) {
    if (at.bytes >= first_home || out.bootloader) continue;
    ByteView range = flash.cut(at.bytes, first_home - at.bytes);
    if (auto image = image_in(range)) {
      out.bootloader = *parse_app_image(range);
      out.parts.push_back({at, SplitKind::bootloader, names.take("bootloader", at.bytes), *image});
    }
  }
  for (const Home& home : homes) {
    std::uint32_t at = home.range.at.bytes;
    if (home.partition == nullptr) {
      out.parts.push_back(
          {{at}, SplitKind::partition_table, names.take("partition-table", at), flash.cut(at, entries_of_table_bytes)});
      continue;
    }
    const Partition& partition = *home.partition;
    ByteView content = flash.cut(at, home.range.size);
    if (content.size() < home.range.size) out.beyond.push_back(partition.name);
    if (content.empty()) continue;
    if (is_erased_flash(content)) {
      out.blank.push_back(partition.name);
      continue;
    }
    std::optional<ByteView> image = partition.is_app() ? image_in(content) : std::nullopt;
    out.parts.push_back({{at},
                         partition.is_app() ? SplitKind::app : SplitKind::data,
                         names.take(partition.name, at),
                         image.value_or(content)});
  }
  add_unlisted(flash, out.parts, names);
  out.table = std::move(found->table);
  return out;
}

}  // namespace espmint
