#include "recipe/make_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "image/file_kind.hpp"
#include "recipe/checks.hpp"
#include "recipe/identity_files.hpp"

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

std::string list_of(const std::vector<const Partition*>& partitions) {
  std::string out;
  for (const Partition* partition : partitions)
    out += fmt::format("{}{} ({} at {:#x})", out.empty() ? "" : ", ", partition->name, show_bytes(partition->range.size), partition->range.at.bytes);
  return out;
}

/// The partition of the identity image: the named one, else the only SPIFFS partition; none where there is none.
Result<const Partition*> choose_partition(const PartitionTable& table, const std::string& named) {
  std::vector<const Partition*> candidates;
  for (const Partition& partition : table.partitions)
    if (partition.is_data(data_subtype_spiffs)) candidates.push_back(&partition);
  if (!named.empty()) {
    for (const Partition* partition : candidates)
      if (partition->name == named) return partition;
    Fault fault{Code::partition_missing, Remedy::refuse, fmt::format("the partition table has no SPIFFS partition \"{}\"", named)};
    fault.seen = candidates.empty() ? "it has no SPIFFS partition at all" : "it has " + list_of(candidates);
    fault.advice = candidates.empty() ? fmt::format("Add to partitions.csv: {}, data, spiffs, , 64K,", named) : "Name one of these";
    return fail(std::move(fault));
  }
  if (candidates.size() > 1) {
    Fault fault{Code::partition_ambiguous, Remedy::refuse, "several partitions could hold the identity"};
    fault.seen = list_of(candidates);
    fault.advice = "Say which with --partition, or in the recipe's [[image]]";
    return fail(std::move(fault));
  }
  return candidates.empty() ? nullptr : candidates.front();
}

/// Certificates and keys no smaller than any that will be minted: if these fit, every board's will.
IdentityValues largest_values(const std::string& key) {
  return {std::string(1800, 'c'), Secret{Bytes(key == "rsa-2048" ? 1780 : 260, 'k')}, std::string(1400, 'r'), std::string(128, 'i'), Mac{{2, 0, 0, 0, 0, 1}}};
}

Result<void> check_that_it_fits(const IdentityPlan& identity, const std::string& key) {
  TRY(auto files, identity_files(identity, largest_values(key)));
  std::vector<FileView> views;
  for (const auto& file : files) views.push_back({file.path, file.content.reveal()});
  auto built = build_spiffs(identity.partition.range.size, identity.geometry, views);
  if (built) return ok();
  Fault fault = std::move(built.error());
  fault.where.input = fmt::format("partition \"{}\"", identity.partition.name);
  if (fault.advice.empty()) fault.advice = "Make the partition larger in partitions.csv, or bring fewer files";
  return fail(std::move(fault));
}

/// Takes the image that the firmware brings for this partition out of its parts: its files are merged with the device's.
Result<void> merge_brought_image(IdentityPlan& identity, FirmwareSet& set, std::vector<std::string>& notes) {
  auto brought = std::find_if(set.parts.begin(), set.parts.end(), [&](const FirmwarePart& part) { return part.at == identity.partition.range.at; });
  if (set.geometry) {
    identity.geometry = *set.geometry;
    identity.geometry_from = "the build's sdkconfig";
  }
  if (brought != set.parts.end()) {
    if (looks_like_littlefs(brought->bytes))
      return fail({Code::image_invalid, Remedy::refuse, fmt::format("{} is a LittleFS image, and this version makes SPIFFS only", brought->source), {},
                   fmt::format("it goes to partition \"{}\", where each board's identity would be", identity.partition.name),
                   "Build the firmware with SPIFFS, or give the identity a SPIFFS partition of its own and name it with --partition"});
    identity.shared_from = brought->source;
    if (auto found = detect_spiffs_geometry(brought->bytes, identity.geometry)) {
      if (!set.geometry) {
        identity.geometry = *found;
        identity.geometry_from = "the image that the firmware brings";
      }
      TRY(identity.shared_files, in_input(read_spiffs(brought->bytes, *found), brought->source));
    } else if (std::any_of(brought->bytes.begin(), brought->bytes.end(), [](std::uint8_t byte) { return byte != 0xff; })) {
      // An empty file system has no geometry to detect, erased flash no file system; anything else is damaged.
      auto files = read_spiffs(brought->bytes, identity.geometry);
      if (!files) return fail(in_input(std::move(files), brought->source).error());
      identity.shared_files = std::move(*files);
    }
    std::string names;
    for (const FileOwned& file : identity.shared_files) names += (names.empty() ? "" : ", ") + file.path;
    notes.push_back(fmt::format("{} is merged with each board's identity{}", brought->source, names.empty() ? "" : ": " + names + " stay"));
    set.parts.erase(brought);
  }
  for (const FirmwarePart& part : set.parts)
    if (part.range().overlaps(identity.partition.range))
      return fail({Code::firmware_does_not_fit, Remedy::refuse,
                   fmt::format("{} at {:#x} would overwrite the identity in partition \"{}\"", part.source, part.at.bytes, identity.partition.name),
                   {}, {}, "Choose another partition with --partition, or leave that file out"});
  std::erase_if(set.blank, [&](const FlashRange& range) { return range.overlaps(identity.partition.range); });
  return ok();
}

/// The line for partitions.csv where the flash has room behind the table's end; else what must be freed for it.
std::string way_to_an_identity(const FirmwareSet& set) {
  constexpr std::uint64_t wanted = 64_KiB;
  std::optional<ByteCount> flash = set.stated_flash_size;
  for (const FirmwarePart& part : set.parts) {
    if (flash || part.at != set.chip->bootloader) continue;
    if (auto image = parse_app_image(part.bytes)) flash = flash_size_of_code(image->flash_size_code);
  }
  std::uint64_t end = set.table.end();
  if (!flash || end + wanted <= *flash) return "this line in partitions.csv would give them one: storage, data, spiffs, , 64K,";
  return fmt::format("partitions.csv has no room for one: {} must be freed in the {} of flash that the firmware is built for, for a line storage, data, spiffs, , 64K,",
                     show_bytes(end + wanted - *flash), show_bytes(*flash));
}

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
    bool brought = std::any_of(set.parts.begin(), set.parts.end(), [&](const FirmwarePart& part) { return part.range().overlaps(partition.range); });
    bool erased = std::any_of(plan.erases.begin(), plan.erases.end(), [&](const PlannedErase& erase) { return erase.range.overlaps(partition.range); });
    if (brought || erased) continue;
    plan.erases.push_back({partition.name, partition.range, "no otadata image is in the set"});
    plan.notes.push_back(fmt::format("no otadata image is in the set: partition \"{}\" is erased, so that the board starts its first app", partition.name));
  }
}

/// Where the firmware keeps its keys; nothing of ours may write or erase there, for a board's key is in it.
Result<void> plan_keys(const FirmwareSet& set, Plan& plan) {
  for (const Partition& partition : set.table.partitions)
    if (partition.is_data(data_subtype_nvs) && !plan.keys->nvs) plan.keys->nvs = partition;
  if (!plan.keys->nvs) {
    if (!plan.keys->nvs_space.empty())
      return fail({Code::partition_missing, Remedy::refuse, "the recipe reads keys back from NVS, but the partition table has no NVS partition", {}, {}, "Remove `nvs` under [keys]"});
    plan.notes.emplace_back("keys: the partition table has no NVS partition; the firmware must keep its keys elsewhere");
    return ok();
  }
  const FlashRange& range = plan.keys->nvs->range;
  for (const FirmwarePart& part : set.parts)
    if (part.range().overlaps(range))
      return fail({Code::firmware_does_not_fit, Remedy::refuse,
                   fmt::format("{} at {:#x} would overwrite the keys in NVS partition \"{}\"", part.source, part.at.bytes, plan.keys->nvs->name),
                   {}, {}, "Leave that file out of the firmware"});
  std::erase_if(plan.erases, [&](const PlannedErase& erase) { return erase.range.overlaps(range); });
  plan.notes.push_back(fmt::format("keys: from {}, handed over on the serial line; the firmware keeps them in NVS partition \"{}\"", plan.keys->csv, plan.keys->nvs->name));
  return ok();
}

}  // namespace

Result<void> check_chip(const Plan& plan, const ChipSpec& board) {
  if (plan.chip == &board) return ok();
  std::string file = plan.regions.empty() ? "the firmware" : plan.regions.front().source;
  Fault fault{Code::chip_mismatch, Remedy::refuse, fmt::format("{} is for {}, this board is {}", file, plan.chip->title, board.title)};
  fault.advice = "Nothing was written; plug in the right board, or build for this chip";
  return fail(std::move(fault));
}

Result<void> check_flash(const Plan& plan, std::uint32_t flash_size) {
  std::uint64_t end = plan.table.end();
  for (const PlannedRegion& region : plan.regions) end = std::max(end, region.range().end());
  if (end <= flash_size) return ok();
  Fault fault{Code::flash_too_small, Remedy::refuse, fmt::format("the partition table ends at {}, the flash has {}", show_bytes(end), show_bytes(flash_size))};
  fault.advice = fmt::format("Choose a {} table and rebuild, or use boards with more flash", show_bytes(flash_size));
  return fail(std::move(fault));
}

Result<std::string> device_id_for(std::string_view id_template, const Mac& mac) {
  auto expand = [&](const Mac& value) {
    IdentityPlan plan;
    plan.files.push_back({"id", std::string{id_template}});
    return identity_files(plan, IdentityValues{{}, {}, {}, {}, value});
  };
  auto refuse = [&](std::string why) { return fail({Code::recipe_invalid, Remedy::refuse, fmt::format("the id \"{}\" {}", id_template, why), {}, {}, {}}); };
  for (std::string_view word : {"{certificate}", "{private_key}", "{root_ca}", "{id}"})
    if (id_template.find(word) != std::string_view::npos) return refuse("can only be made of {mac}, {mac:upper}, {mac:colon} and text");
  if (!check_template(id_template).empty()) return refuse("can only be made of {mac}, {mac:upper}, {mac:colon} and text");
  TRY(auto files, expand(mac));
  std::string id{as_text(files.front().content.reveal())};
  Mac other = mac;
  other.octets[5] ^= 1;
  TRY(auto others, expand(other));
  if (as_text(others.front().content.reveal()) == id) return refuse("would be the same for every board; it needs {mac}");
  // A certificate's common name takes 64 characters (RFC 5280, ub-common-name); a thing name would take 128.
  if (id.empty() || id.size() > 64) return refuse("has no place in a certificate: 1 to 64 characters");
  for (char c : id)
    if (!std::isalnum(static_cast<unsigned char>(c)) && std::string_view{":_-"}.find(c) == std::string_view::npos)
      return refuse(fmt::format("is no thing name: '{}' is none of a-z A-Z 0-9 : _ -", c));
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
  plan.notes.push_back(fmt::format("firmware: {}{}{} for {} ({})", set.project, set.version.empty() ? "" : " ", set.version, set.chip->title, set.found_as));
  plan.notes.insert(plan.notes.end(), set.notes.begin(), set.notes.end());
  if (recipe.product.empty() && set.named_after_file)
    plan.notes.push_back(fmt::format("product \"{}\" is named after the file; name it in a recipe (`espmint init`), for each product has its own ledger", plan.product));

  std::string named = !options.partition.empty() ? options.partition : recipe.image ? recipe.image->partition : std::string{};
  plan.keys = recipe.keys;
  // With keys alone no identity partition is ever touched.
  const bool wants_identity = !recipe.keys || recipe.image || !options.partition.empty();
  const Partition* partition = nullptr;
  if (wants_identity) {
    TRY(partition, choose_partition(set.table, named));
  }
  if (!partition && recipe.image)
    return fail({Code::partition_missing, Remedy::refuse, "the recipe has an [[image]], but the partition table no SPIFFS partition for it",
                 {}, {}, "Add to partitions.csv: storage, data, spiffs, , 64K,"});
  if (partition) {
    IdentityPlan identity;
    identity.partition = *partition;
    identity.geometry_from = "ESP-IDF's defaults";
    identity.files = recipe.image ? recipe.image->files : default_identity_files();
    TRY(merge_brought_image(identity, set, plan.notes));
    TRY(check_that_it_fits(identity, plan.key));
    plan.notes.push_back(fmt::format("identity: {} files in SPIFFS partition \"{}\" ({}), geometry from {}", identity.files.size() + identity.shared_files.size(),
                                     partition->name, show_bytes(partition->range.size), identity.geometry_from));
    plan.identity = std::move(identity);
  } else if (wants_identity) {
    plan.notes.push_back("no SPIFFS partition: boards are flashed, verified and recorded, but get no identity; " + way_to_an_identity(set));
  }
  if (plan.save_private_key) plan.notes.emplace_back("private keys are kept in the state folder, as the recipe wants: whoever has one is that device");
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
  for (const PlannedErase& erase : plan.erases) all.add(erase.range.at.bytes).add(erase.range.size);
  if (plan.identity) {
    const IdentityPlan& identity = *plan.identity;
    const SpiffsGeometry& g = identity.geometry;
    all.add(identity.partition.range.at.bytes).add(identity.partition.range.size);
    for (std::uint64_t number : {std::uint64_t{g.page_size}, std::uint64_t{g.block_size}, std::uint64_t{g.name_length}, std::uint64_t{g.meta_length},
                                 std::uint64_t{g.magic}, std::uint64_t{g.magic_length}, std::uint64_t{g.big_endian}, std::uint64_t{g.aligned_index_tables}})
      all.add(number);
    for (const IdentityFile& file : identity.files) all.add(file.path).add(file.content);
    for (const FileOwned& file : identity.shared_files) all.add(file.path).add(file.content);
  }
  if (plan.keys) all.add("keys").add(plan.keys->prompt).add(plan.keys->done).add(plan.keys->values);
  if (plan.keys && plan.keys->lock) all.add("lock");
  plan.digest = all.finish();
  return plan;
}

std::string describe_plan(const Plan& plan) {
  std::string out = fmt::format("product {} for {}, firmware {}\n", plan.product, plan.chip->title, plan.firmware_version.empty() ? "without a version" : plan.firmware_version);
  out += fmt::format("{:>10} {:>10}  {:<18} {}\n", "offset", "bytes", "what", "from");
  for (const PlannedRegion& region : plan.regions)
    out += fmt::format("{:>#10x} {:>10}  {:<18} {}\n", region.at.bytes, region.bytes->size(), region.label, region.source);
  if (plan.identity) {
    out += fmt::format("{:>#10x} {:>10}  {:<18} made for each board\n", plan.identity->partition.range.at.bytes, plan.identity->partition.range.size,
                       "identity (" + plan.identity->partition.name + ")");
    for (const IdentityFile& file : plan.identity->files) out += fmt::format("{:>24}{} = {}\n", "", file.path, escape_controls(file.content));
    for (const FileOwned& file : plan.identity->shared_files) out += fmt::format("{:>24}{} ({} bytes, the firmware's)\n", "", file.path, file.content.size());
  }
  for (const PlannedErase& erase : plan.erases)
    out += fmt::format("{:>#10x} {:>10}  {:<18} erased: {}\n", erase.range.at.bytes, erase.range.size, erase.label, erase.why);
  if (plan.identity) out += fmt::format("id {}, key {}, issuer {}\n", plan.id_template, plan.key, plan.issuer);
  for (const std::string& note : plan.notes) out += note + "\n";
  return escape_controls(out);
}

}  // namespace espmint
