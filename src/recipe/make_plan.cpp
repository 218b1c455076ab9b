#include "recipe/make_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "recipe/checks.hpp"
#include "recipe/plan_cloud.hpp"
#include "recipe/plan_images.hpp"
#include "recipe/words.hpp"

namespace espmint {
namespace {

/// Collects what shapes a board, each piece with its length, so that no two plans read alike.
class Digest {
 public:
  Digest& add(ByteView bytes) {
    put_u32(all_, static_cast<std::uint32_t>(bytes.size()));
    append(all_, bytes);
    return *this;
  }
  Digest& add(std::string_view text) { return add(as_bytes(text)); }
  Digest& add(std::uint64_t number) { return add(std::string_view{std::to_string(number)}); }
  [[nodiscard]] Sha256 finish() const { return sha256_of(all_); }

 private:
  Bytes all_;
};

PlannedRegion::Kind kind_of(const FirmwareSet& set, const FirmwarePart& part) {
  using Kind = PlannedRegion::Kind;
  if (part.at == set.table_at) return Kind::partition_table;
  if (part.at == set.chip->bootloader) return Kind::bootloader;
  for (const Partition& partition : set.table.partitions)
    if (partition.range.at == part.at && partition.is_app()) return Kind::app;
  return Kind::data;
}

std::string label_of(const FirmwareSet& set, const FirmwarePart& part, PlannedRegion::Kind kind) {
  if (kind == PlannedRegion::Kind::partition_table) return "partition table";
  if (kind == PlannedRegion::Kind::bootloader) return "bootloader";
  for (const Partition& partition : set.table.partitions)
    if (partition.range.at <= part.at && part.at.bytes < partition.range.end())
      return kind == PlannedRegion::Kind::app ? fmt::format("app ({})", partition.name) : partition.name;
  return fmt::format("data at {:#x}", part.at.bytes);
}

/// Without its image an otadata partition may still point to an app of the board's past.
void plan_erases(const FirmwareSet& set, Plan& plan) {
  for (const FlashRange& range : set.blank) plan.erases.push_back({"blank", range, "the merged image is empty there"});
  for (const Partition& partition : set.table.partitions) {
    if (!partition.is_data(data_subtype_ota)) continue;
    bool brought = std::any_of(set.parts.begin(), set.parts.end(),
                               [&](const FirmwarePart& part) { return part.range().overlaps(partition.range); });
    bool erased = std::any_of(plan.erases.begin(), plan.erases.end(),
                              [&](const PlannedErase& erase) { return erase.range.overlaps(partition.range); });
    if (brought || erased) continue;
    plan.erases.push_back({partition.name, partition.range, "no otadata image is in the set"});
    plan.notes.push_back(fmt::format(
        "no otadata image is in the set: partition \"{}\" is erased, so that the board starts its first app",
        partition.name));
  }
}

void add_template(Digest& all, const Template& content) {
  if (content.from_disk) all.add("file");
  all.add(content.text);
}

/// An image as every plan before had it, a SPIFFS from templates, adds what it always did: boards keep their plan.
void add_image(Digest& all, const ImagePlan& image) {
  const SpiffsGeometry& g = image.geometry.spiffs;
  all.add(image.partition.range.at.bytes).add(image.partition.range.size);
  if (image.format == ImageFormat::spiffs)
    for (std::uint64_t number : {std::uint64_t{g.page_size}, std::uint64_t{g.block_size}, std::uint64_t{g.name_length},
                                 std::uint64_t{g.meta_length}, std::uint64_t{g.magic}, std::uint64_t{g.magic_length},
                                 std::uint64_t{g.big_endian}, std::uint64_t{g.aligned_index_tables}})
      all.add(number);
  else
    all.add(name_of(image.format)).add(digest_text(image.geometry));
  if (image.keep) all.add("keep");
  if (image.encryption != NvsEncryption::none) all.add("encryption").add(static_cast<std::uint64_t>(image.encryption));
  for (const ImageFile& file : image.files) {
    all.add(file.path);
    add_template(all, file.content);
  }
  for (const ImageEntry& entry : image.entries) {
    all.add(entry.space).add(entry.key).add(entry.encoding);
    add_template(all, entry.content);
  }
  for (const FileOwned& file : image.shared_files) all.add(file.path).add(file.content);
  for (const NvsEntry& entry : image.shared_entries)
    all.add(entry.space).add(entry.key).add(entry.value).add(entry.number);
}

std::string shown(const Template& content) { return content.from_disk ? "file " + content.text : content.text; }

/// Where the firmware keeps its keys; nothing of ours may write or erase there, for a board's key is in it.
Result<void> plan_keys(const FirmwareSet& set, Plan& plan) {
  if (plan.keys_in_images()) {
    plan.notes.push_back(fmt::format(
        "keys: from {}, written into each board's image; nothing is said on the serial line", plan.keys->csv));
    return ok();
  }
  for (const Partition& partition : set.table.partitions)
    if (partition.is_data(data_subtype_nvs) && !plan.keys->nvs) plan.keys->nvs = partition;
  if (!plan.keys->nvs) {
    if (!plan.keys->nvs_space.empty())
      return fail({Code::partition_missing,
                   Remedy::refuse,
                   "the recipe reads keys back from NVS, but the partition table has no NVS partition",
                   {},
                   {},
                   "Remove `nvs` under [keys]"});
    plan.notes.emplace_back(
        "keys: the partition table has no NVS partition; the firmware must keep its keys elsewhere");
    return ok();
  }
  const FlashRange& range = plan.keys->nvs->range;
  for (const FirmwarePart& part : set.parts)
    if (part.range().overlaps(range))
      return fail({Code::firmware_does_not_fit,
                   Remedy::refuse,
                   fmt::format("{} at {:#x} would overwrite the keys in NVS partition \"{}\"", part.source,
                               part.at.bytes, plan.keys->nvs->name),
                   {},
                   {},
                   "Leave that file out of the firmware"});
  for (const ImagePlan& image : plan.images)
    if (image.partition.range.overlaps(range) && !image.keep)
      return fail({Code::recipe_invalid,
                   Remedy::refuse,
                   fmt::format("the image of partition \"{}\" would overwrite the key that the firmware keeps there",
                               image.partition.name),
                   {},
                   {},
                   "Add `keep = true` to that [[image]]"});
  std::erase_if(plan.erases, [&](const PlannedErase& erase) { return erase.range.overlaps(range); });
  plan.notes.push_back(
      fmt::format("keys: from {}, handed over on the serial line; the firmware keeps them in NVS partition \"{}\"",
                  plan.keys->csv, plan.keys->nvs->name));
  return ok();
}

}  // namespace

Result<void> check_chip(const Plan& plan, const ChipSpec& board) {
  if (plan.chip == &board) return ok();
  std::string file = plan.regions.empty() ? "the firmware" : plan.regions.front().source;
  Fault fault{Code::chip_mismatch, Remedy::refuse,
              fmt::format("{} is for {}, this board is {}", file, plan.chip->title, board.title)};
  fault.advice = "Nothing was written; plug in the right board, or build for this chip";
  return fail(std::move(fault));
}

Result<void> check_flash(const Plan& plan, std::uint32_t flash_size) {
  std::uint64_t end = plan.table.end();
  for (const PlannedRegion& region : plan.regions) end = std::max(end, region.range().end());
  if (end <= flash_size) return ok();
  Fault fault{Code::flash_too_small, Remedy::refuse,
              fmt::format("the partition table ends at {}, the flash has {}", show_bytes(end), show_bytes(flash_size))};
  fault.advice = fmt::format("Choose a {} table and rebuild, or use boards with more flash", show_bytes(flash_size));
  return fail(std::move(fault));
}

std::string check_device_id(std::string_view id) {
  if (id.empty() || id.size() > 64) return "has no place in a certificate: 1 to 64 characters";
  for (char c : id)
    if (!std::isalnum(static_cast<unsigned char>(c)) && std::string_view{":_-"}.find(c) == std::string_view::npos)
      return fmt::format("is no thing name: '{}' is none of a-z A-Z 0-9 : _ -", c);
  return {};
}

Result<std::string> device_id_for(std::string_view id_template, const Mac& mac) {
  auto refuse = [&](std::string why) {
    return fail({Code::recipe_invalid, Remedy::refuse, fmt::format("the id \"{}\" {}", id_template, why), {}, {}, {}});
  };
  for (std::string_view word : words_of(id_template))
    if (!word.starts_with("mac") || !check_template(id_template).empty())
      return refuse("can only be made of {mac}, {mac:upper}, {mac:colon} and text");
  auto id_of = [&](const Mac& value) -> Result<std::string> {
    BoardValues values;
    values.mac = value;
    TRY(Secret text, expand(id_template, values));
    return std::string{as_text(text.reveal())};
  };
  TRY(std::string id, id_of(mac));
  Mac other = mac;
  other.octets[5] ^= 1;
  TRY(std::string another, id_of(other));
  if (another == id) return refuse("would be the same for every board; it needs {mac}");
  if (std::string why = check_device_id(id); !why.empty()) return refuse(std::move(why));
  return id;
}

Result<Plan> make_plan(const Recipe& recipe, FirmwareSet set, const PlanOptions& options) {
  Plan plan;
  plan.product = recipe.product.empty() ? product_name_of(set.project) : recipe.product;
  plan.chip = set.chip;
  plan.table = set.table;
  plan.table_at = set.table_at;
  plan.id_template = recipe.id;
  plan.key = recipe.key;
  plan.issuer = recipe.issuer;
  plan.quota = recipe.quota;
  plan.save_private_key = recipe.save_private_key;
  plan.challenge = recipe.challenge;
  plan.firmware_version = set.version;
  plan.notes.push_back(fmt::format("firmware: {}{}{} for {} ({})", set.project, set.version.empty() ? "" : " ",
                                   set.version, set.chip->title, set.found_as));
  plan.notes.insert(plan.notes.end(), set.notes.begin(), set.notes.end());
  if (recipe.product.empty() && set.named_after_file)
    plan.notes.push_back(
        fmt::format("product \"{}\" is named after the file; name it in a recipe (`espmint init`), for each product "
                    "has its own ledger",
                    plan.product));

  plan.keys = recipe.keys;
  TRY(plan_cloud(recipe, options, plan));
  TRY(plan_images(recipe, options, set, plan));
  if (plan.save_private_key)
    plan.notes.emplace_back(
        "private keys are kept in the state folder, as the recipe wants: whoever has one is that device");
  plan_erases(set, plan);
  if (plan.keys) TRY(plan_keys(set, plan));

  Digest firmware;
  for (FirmwarePart& part : set.parts) {
    firmware.add(part.at.bytes).add(part.bytes);
    PlannedRegion region;
    region.kind = kind_of(set, part);
    region.label = label_of(set, part, region.kind);
    region.source = part.source;
    region.at = part.at;
    if (auto image = parse_app_image(part.bytes);
        image && (region.kind == PlannedRegion::Kind::bootloader || region.kind == PlannedRegion::Kind::app)) {
      region.revisions = revisions_of(*image);
      // The bootloader asks an app for a newest revision, itself it does not.
      if (region.kind == PlannedRegion::Kind::bootloader) region.revisions.newest.reset();
    }
    region.bytes = std::make_shared<const Bytes>(std::move(part.bytes));
    plan.regions.push_back(std::move(region));
  }
  plan.firmware_sha256 = firmware.finish();

  Digest all;
  all.add("espmint-plan-1").add(plan.firmware_sha256).add(plan.id_template).add(plan.key).add(plan.issuer);
  // A plan without a cloud adds nothing here: boards keep the plan that they were VERIFIED with.
  if (plan.aws) all.add(digest_text(*plan.aws));
  for (const PlannedErase& erase : plan.erases) all.add(erase.range.at.bytes).add(erase.range.size);
  for (const ImagePlan& image : plan.images) add_image(all, image);
  for (const auto& [path, bytes] : plan.disk_files) all.add(path).add(bytes);
  if (plan.values)
    for (const auto& [name, value] : plan.values->same) all.add(name).add(value);
  if (plan.keys) all.add("keys").add(plan.keys->prompt).add(plan.keys->done).add(plan.keys->values);
  if (plan.keys && plan.keys_in_images()) {
    all.add(std::uint64_t{plan.keys->fields});
    for (const std::string& column : plan.keys->columns) all.add(column);
  }
  if (plan.keys && plan.keys->lock) all.add("lock");
  plan.digest = all.finish();
  return plan;
}

std::string describe_plan(const Plan& plan) {
  std::string out = fmt::format("product {} for {}, firmware {}\n", plan.product, plan.chip->title,
                                plan.firmware_version.empty() ? "without a version" : plan.firmware_version);
  out += fmt::format("{:>10} {:>10}  {:<18} {}\n", "offset", "bytes", "what", "from");
  for (const PlannedRegion& region : plan.regions)
    out +=
        fmt::format("{:>#10x} {:>10}  {:<18} {}\n", region.at.bytes, region.bytes->size(), region.label, region.source);
  for (const ImagePlan& image : plan.images) {
    out += fmt::format("{:>#10x} {:>10}  {:<18} {} made for each board{}\n", image.partition.range.at.bytes,
                       image.partition.range.size, image.partition.name, title_of(image.format),
                       image.keep ? ", what it holds is kept" : "");
    for (const ImageFile& file : image.files) out += fmt::format("{:>24}{} = {}\n", "", file.path, shown(file.content));
    for (const ImageEntry& entry : image.entries)
      out += fmt::format("{:>24}{}.{} = {} ({})\n", "", entry.space, entry.key, shown(entry.content), entry.encoding);
    for (const FileOwned& file : image.shared_files)
      out += fmt::format("{:>24}{} ({} bytes, the firmware's)\n", "", file.path, file.content.size());
    for (const NvsEntry& entry : image.shared_entries)
      out += fmt::format("{:>24}{}.{} (the firmware's)\n", "", entry.space, entry.key);
    if (image.keys_partition)
      out += fmt::format("{:>#10x} {:>10}  {:<18} keys made for each board\n", image.keys_partition->range.at.bytes,
                         image.keys_partition->range.size, image.keys_partition->name);
  }
  for (const PlannedErase& erase : plan.erases)
    out += fmt::format("{:>#10x} {:>10}  {:<18} erased: {}\n", erase.range.at.bytes, erase.range.size, erase.label,
                       erase.why);
  if (plan.has_identity()) out += fmt::format("id {}, key {}, issuer {}\n", plan.id_template, plan.key, plan.issuer);
  for (const std::string& note : plan.notes) out += note + "\n";
  return escape_controls(out);
}

}  // namespace espmint
