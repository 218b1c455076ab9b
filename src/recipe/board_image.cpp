#include "recipe/board_image.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "image/nvs_build.hpp"
#include "image/nvs_crypt.hpp"
#include "image/nvs_csv.hpp"

namespace espmint {
namespace {

struct SecretFile {
  std::string path;
  Secret content;
};

/// Entries whose values are wiped at their end.
struct SecretEntries {
  std::vector<NvsEntry> list;
  SecretEntries() = default;
  SecretEntries(SecretEntries&&) = default;
  SecretEntries& operator=(SecretEntries&&) = delete;
  ~SecretEntries() {
    for (NvsEntry& entry : list) wipe(entry.value);
  }
};

bool is_erased(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0xff; });
}

Result<std::string> expand_plain(std::string_view text, const BoardValues& values) {
  TRY(Secret expanded, expand(text, values));
  return std::string{as_text(expanded.reveal())};
}

/// A path with its words replaced. A row's value names a part of it and never leads elsewhere.
Result<std::string> expand_path(std::string_view text, const BoardValues& values) {
  for (std::string_view word : words_of(text)) {
    TRY(std::string value, expand_plain(fmt::format("{{{}}}", word), values));
    if (value.find_first_of("/\\") == std::string::npos && value != "." && value != "..") continue;
    return fail({Code::input_invalid,
                 Remedy::refuse,
                 fmt::format("the value of {{{}}} cannot be a part of the path {}", word, text),
                 {},
                 "it has a slash, or leads to another folder",
                 "Such a value is a name"});
  }
  return expand_plain(text, values);
}

Result<Secret> content_of(const Template& content, const BoardValues& values, const DiskFiles& disk) {
  if (!content.from_disk) return expand(content.text, values);
  TRY(std::string path, expand_path(content.text, values));
  auto file = disk.find(path);
  if (file != disk.end()) return Secret{file->second};
  return fail({Code::input_missing, Remedy::refuse, fmt::format("'{}' was not read", path), {}, {}, {}});
}

/// Files of a folder before its sub-folders, both by byte value: the order in which the reference generator walks.
bool walks_before(const std::string& a, const std::string& b) {
  auto pa = split(a, '/'), pb = split(b, '/');
  for (std::size_t i = 0;; ++i) {
    bool file_a = i + 1 == pa.size(), file_b = i + 1 == pb.size();
    if (file_a != file_b) return file_a;
    if (pa[i] != pb[i]) return pa[i] < pb[i];
    if (file_a) return false;
  }
}

/// FAT keeps no case.
bool same_path(ImageFormat format, std::string_view a, std::string_view b) {
  return format == ImageFormat::fat ? lower(a) == lower(b) : a == b;
}

/// The board's own files, what is kept, and what the firmware's image brings; of one name the first wins.
Result<std::vector<SecretFile>> files_of(const ImagePlan& plan, const BoardValues& values, const DiskFiles& disk,
                                         std::vector<FileOwned> kept) {
  std::vector<SecretFile> out;
  for (const ImageFile& file : plan.files) {
    TRY(std::string path, expand_path(file.path, values));
    auto content = content_of(file.content, values, disk);
    if (!content) {
      content.error().what = fmt::format("{}: {}", file.path, content.error().what);
      return fail(std::move(content.error()));
    }
    out.push_back({std::move(path), std::move(*content)});
  }
  auto add = [&](std::string path, ByteView content) {
    if (std::none_of(out.begin(), out.end(),
                     [&](const SecretFile& file) { return same_path(plan.format, file.path, path); }))
      out.push_back({std::move(path), Secret{Bytes{content.begin(), content.end()}}});
  };
  for (FileOwned& file : kept) {
    add(file.path, file.content);
    wipe(file.content);
  }
  for (const FileOwned& shared : plan.shared_files) add(shared.path, shared.content);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return walks_before(a.path, b.path); });
  return out;
}

Result<SecretEntries> entries_of(const ImagePlan& plan, const BoardValues& values, const DiskFiles& disk,
                                 std::vector<NvsEntry> kept) {
  SecretEntries ours;
  for (const ImageEntry& entry : plan.entries) {
    auto content = content_of(entry.content, values, disk);
    auto made = content ? nvs_entry(entry.space, entry.key, entry.encoding, content->reveal())
                        : Result<NvsEntry>{fail(std::move(content.error()))};
    if (!made) {
      made.error().what = fmt::format("{}.{}: {}", entry.space, entry.key, made.error().what);
      return fail(std::move(made.error()));
    }
    ours.list.push_back(std::move(*made));
  }
  SecretEntries out;
  out.list = merge_nvs(merge_nvs(plan.shared_entries, kept), ours.list);
  for (NvsEntry& entry : kept) wipe(entry.value);
  return out;
}

/// The keys by which the board's NVS is encrypted; none where it is not.
Result<std::optional<NvsKeys>> keys_of(const ImagePlan& plan, ByteView keys_partition) {
  std::optional<NvsKeys> out;
  if (plan.encryption == NvsEncryption::hmac) {
    TRY(out, NvsKeys::from_hmac_key(plan.hmac_key->reveal()));
  } else if (plan.encryption == NvsEncryption::keys && !is_erased(keys_partition)) {
    TRY(out, parse_nvs_keys(keys_partition.first(std::min<std::size_t>(keys_partition.size(), 4096))));
  }
  return out;
}

void wipe_content(BroughtImage& content) {
  for (FileOwned& file : content.files) wipe(file.content);
  for (NvsEntry& entry : content.entries) wipe(entry.value);
}

struct Readable {
  BroughtImage content;
  std::optional<NvsKeys> keys;
};

Fault cannot_read(std::string what) { return {Code::image_invalid, Remedy::refuse, std::move(what), {}, {}, {}}; }

/// What a board holds there; nothing where it is blank. With `damage`, what could not be read of an NVS.
Result<Readable> read_on_board(const ImagePlan& plan, const OnBoard& there,
                               std::vector<std::string>* damage = nullptr) {
  Readable out;
  TRY(out.keys, keys_of(plan, there.keys.reveal()));
  if (is_erased(there.image.reveal())) return out;
  if (plan.encryption == NvsEncryption::none && plan.format == ImageFormat::nvs) {
    TRY(out.content.entries, read_nvs(there.image.reveal(), damage));
    return out;
  }
  if (plan.encryption == NvsEncryption::none) {
    TRY(out.content, read_image(there.image.reveal(), plan.format, plan.geometry));
    return out;
  }
  if (!out.keys) return fail(cannot_read("it has an NVS, but no keys: plain, or encrypted with keys that are gone"));
  ByteView encrypted = there.image.reveal();
  TRY(Bytes plain, decrypt_nvs({encrypted.begin(), encrypted.end()}, *out.keys));
  const Secret wiped{std::move(plain)};
  TRY(out.content.entries, read_nvs(wiped.reveal(), damage));
  return out;
}

/// The whole partition: what is behind a shorter image is erased flash.
BoardRegion fill(const Partition& partition, Bytes image) {
  Bytes whole;
  whole.reserve(partition.range.size);
  append(whole, image);
  whole.resize(partition.range.size, 0xff);
  wipe(image);
  return {partition.range, Secret{std::move(whole)}};
}

Result<Readable> read_kept(const ImagePlan& plan, const OnBoard& there) {
  std::vector<std::string> damage;
  auto read = read_on_board(plan, there, &damage);
  if (read && damage.empty()) return read;
  if (read) {
    wipe_content(read->content);
    read = fail(cannot_read(damage.front()));
  }
  Fault fault = std::move(read.error());
  fault.seen = fault.what;
  fault.what =
      fmt::format("what the board holds in partition \"{}\" cannot be read, so it cannot be kept", plan.partition.name);
  fault.advice = "Nothing was written; erase the partition (`espmint flash erase`), or leave `keep` out of the recipe";
  return fail(std::move(fault));
}

Result<Bytes> build_files(const ImagePlan& plan, const std::vector<SecretFile>& files) {
  std::vector<FileView> views;
  for (const SecretFile& file : files) views.push_back({file.path, file.content.reveal()});
  const std::uint32_t size = plan.partition.range.size;
  const ImageGeometry& geometry = plan.geometry;
  if (plan.format == ImageFormat::spiffs) return build_spiffs(size, geometry.spiffs, views);
  if (plan.format == ImageFormat::littlefs) return build_littlefs(size, geometry.littlefs, views);
  if (!geometry.wear_levelling) return build_fat(size, geometry.fat, views);
  WearLevelling layer = *geometry.wear_levelling;
  layer.sector_size = geometry.fat.sector_size;
  TRY(ByteCount room, room_in_wear_levelling(size, layer));
  TRY(Bytes volume, build_fat(room, geometry.fat, views));
  const Secret wiped{std::move(volume)};
  return wrap_in_wear_levelling(wiped.reveal(), size, layer);
}

/// Where the private key stands in a file: the PEM alone, for text may be around it.
Secret pem_in(ByteView content) {
  constexpr std::string_view begin = "-----BEGIN ", end = "PRIVATE KEY-----";
  std::string_view text = as_text(content);
  std::size_t from = text.find(begin), first = text.find(end, std::min(from, text.size()));
  std::size_t last = first == std::string_view::npos ? first : text.find(end, first + 1);
  if (last == std::string_view::npos) return {};
  std::string_view pem = text.substr(from, last + end.size() - from);
  Bytes bytes{pem.begin(), pem.end()};
  bytes.push_back('\n');
  return Secret{std::move(bytes)};
}

}  // namespace

Result<DiskFiles> read_disk_files(const Plan& plan, const BoardValues& values, const Folder& folder) {
  DiskFiles out = plan.disk_files;  // as they were when the plan was made, and its digest
  auto take = [&](const Template& content) -> Result<void> {
    if (!content.from_disk) return ok();
    TRY(std::string path, expand_path(content.text, values));
    if (out.contains(path)) return ok();
    TRY(Bytes bytes, folder.read(path));
    out.emplace(std::move(path), std::move(bytes));
    return ok();
  };
  for (const ImagePlan& image : plan.images) {
    for (const ImageFile& file : image.files) TRY(take(file.content));
    for (const ImageEntry& entry : image.entries) TRY(take(entry.content));
  }
  return out;
}

Result<BroughtImage> read_image(ByteView image, ImageFormat format, const ImageGeometry& geometry) {
  BroughtImage out;
  switch (format) {
    case ImageFormat::spiffs: {
      TRY(out.files, read_spiffs(image, geometry.spiffs));
      break;
    }
    case ImageFormat::littlefs: {
      TRY(out.files, read_littlefs(image));
      break;
    }
    case ImageFormat::fat: {
      if (is_wear_levelled(image)) {
        TRY(Unwrapped volume, unwrap_wear_levelling(image));
        const Secret wiped{std::move(volume.content)};
        TRY(out.files, read_fat(wiped.reveal()));
      } else {
        TRY(out.files, read_fat(image));
      }
      break;
    }
    case ImageFormat::nvs: {
      TRY(out.entries, read_nvs(image));
      break;
    }
  }
  return out;
}

Result<std::vector<BoardRegion>> build_board_image(const ImagePlan& plan, const BoardValues& values,
                                                   const DiskFiles& disk, const Secret& fresh_keys,
                                                   const OnBoard& there) {
  Readable kept;
  if (plan.keep) {
    TRY(kept, read_kept(plan, there));
  }
  std::vector<BoardRegion> out;
  if (plan.format != ImageFormat::nvs) {
    TRY(auto files, files_of(plan, values, disk, std::move(kept.content.files)));
    TRY(Bytes image, build_files(plan, files));
    out.push_back(fill(plan.partition, std::move(image)));
    return out;
  }
  TRY(SecretEntries entries, entries_of(plan, values, disk, std::move(kept.content.entries)));
  NvsBuildOptions options{plan.geometry.nvs_version == 1 ? NvsVersion::v1 : NvsVersion::v2};
  TRY(Bytes image, build_nvs(plan.partition.range.size, options, entries.list));
  if (plan.encryption != NvsEncryption::none && !kept.keys) {
    TRY(kept.keys, plan.encryption == NvsEncryption::hmac ? NvsKeys::from_hmac_key(plan.hmac_key->reveal())
                                                          : NvsKeys::of(fresh_keys.duplicate()));
  }
  if (kept.keys) {
    TRY(image, encrypt_nvs(std::move(image), *kept.keys));
  }
  // The keys first: a cut in between leaves no image that nobody can read.
  if (plan.encryption == NvsEncryption::keys) {
    const Secret keys = encode_nvs_keys(*kept.keys);
    out.push_back(fill(*plan.keys_partition, {keys.reveal().begin(), keys.reveal().end()}));
  }
  out.push_back(fill(plan.partition, std::move(image)));
  return out;
}

namespace {

/// Whether a template says who the board is: more than what every board of a batch could hold.
bool is_identity(const Template& content) {
  for (std::string_view word : words_of(content.text))
    if (content.from_disk ||
        (!word.starts_with("values.") && word != "root_ca" && word != "endpoint" && word != "serial"))
      return true;
  return false;
}

bool has_private_key(const Template& content) {
  auto words = words_of(content.text);
  return !content.from_disk && std::find(words.begin(), words.end(), "private_key") != words.end();
}

/// What a template came to, on a board: `check` gets it with the private key that lies there put in its place.
template <typename Check>
bool holds(const Template& content, BoardValues& values, const DiskFiles& disk, ByteView there,
           const std::function<bool(const Secret&)>& is_its_key, Check check) {
  if (has_private_key(content)) {
    values.private_key_pem = pem_in(there);
    if (!is_its_key(values.private_key_pem)) return false;
  }
  auto wanted = content_of(content, values, disk);
  values.private_key_pem = {};
  return wanted && check(wanted->reveal());
}

}  // namespace

std::optional<std::string> difference_on_board(const ImagePlan& plan, BoardValues& values, const DiskFiles& disk,
                                               const OnBoard& there,
                                               const std::function<bool(const Secret& pem)>& is_its_key) {
  auto read = read_on_board(plan, there);
  if (!read) return fmt::format("partition \"{}\": {}", plan.partition.name, read.error().what);
  auto wiped = [&read](std::optional<std::string> answer) {
    wipe_content(read->content);
    return answer;
  };
  for (const ImageFile& file : plan.files) {
    auto path = expand_plain(file.path, values);
    auto found = std::find_if(read->content.files.begin(), read->content.files.end(),
                              [&](const FileOwned& one) { return path && same_path(plan.format, one.path, *path); });
    if (found == read->content.files.end()) return wiped(fmt::format("the file {} is gone", file.path));
    auto same = [&](ByteView wanted) { return std::ranges::equal(wanted, found->content); };
    if (is_identity(file.content) && !holds(file.content, values, disk, found->content, is_its_key, same))
      return wiped(fmt::format("the file {} is not as it was written", file.path));
  }
  for (const ImageEntry& entry : plan.entries) {
    const std::string name = entry.space + "." + entry.key;
    auto found = std::find_if(read->content.entries.begin(), read->content.entries.end(),
                              [&](const NvsEntry& one) { return one.space == entry.space && one.key == entry.key; });
    if (found == read->content.entries.end()) return wiped(fmt::format("the entry {} is gone", name));
    auto same = [&](ByteView text) {
      auto wanted = nvs_entry(entry.space, entry.key, entry.encoding, text);
      const bool equal = wanted && *wanted == *found;
      if (wanted) wipe(wanted->value);
      return equal;
    };
    if (is_identity(entry.content) && !holds(entry.content, values, disk, found->value, is_its_key, same))
      return wiped(fmt::format("the entry {} is not as it was written", name));
  }
  return wiped(std::nullopt);
}

}  // namespace espmint
