#include "app/sim_commands.hpp"

#include <fmt/format.h>

#include <iostream>

#include "app/desk_commands.hpp"
#include "app/json.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "io/file.hpp"
#include "sim/identity_source.hpp"
#include "sim/make_firmware.hpp"
#include "sim/server.hpp"

namespace espmint::app {
namespace {

/// "3.1" as 301; one digit behind the point, as chips have them.
std::optional<unsigned> parse_revision(std::string_view text) {
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.size() != 3 || !digit(text[0]) || text[1] != '.' || !digit(text[2])) return std::nullopt;
  return static_cast<unsigned>(text[0] - '0') * 100 + static_cast<unsigned>(text[2] - '0');
}

Result<Bytes> read_hmac_key(const std::string& file) {
  if (file.empty()) return Bytes{};
  TRY(Bytes key, read_file(file));
  if (key.size() == sim::hmac_key_bytes) return key;
  return fail({.code = Code::input_invalid,
               .remedy = Remedy::refuse,
               .what = "an HMAC key has 32 bytes",
               .where = {.input = file},
               .seen = fmt::format("{} bytes", key.size())});
}

constexpr std::uint32_t table_at = 0x8000;
constexpr ByteCount largest_flash = 128_MiB, read_as_if = 16_MiB;  // what a shorter file leaves out is blank

Json json_of(const sim::Mounted& mounted) {
  Json files = Json::array();
  for (const sim::StoredFile& file : mounted.files)
    files.push_back({{"name", file.name},
                     {"type", file.type},
                     {"size", file.content.size()},
                     {"sha256", to_hex(sha256_of(file.content))}});
  auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  return {{"v", 1},
          {"event", "partition"},
          {"label", mounted.partition.label},
          {"subtype", mounted.partition.subtype},
          {"offset", mounted.partition.at},
          {"size", mounted.partition.size},
          {"kind", mounted.kind},
          {"detail", or_null(mounted.detail)},
          {"fault", or_null(mounted.fault)},
          {"files", files}};
}

Json json_of(const std::optional<sim::FoundIdentity>& found) {
  Json out{{"v", 1}, {"event", "identity"}};
  auto name = [](const std::optional<sim::StoredFile>& file) { return file ? Json(file->name) : Json{}; };
  out["partition"] = found ? Json(found->from) : Json{};
  out["private_key"] = found ? Json(found->private_key.name) : Json{};
  out["certificate"] = found ? name(found->certificate) : Json{};
  out["root_ca"] = found ? name(found->root_ca) : Json{};
  out["belongs_together"] = found ? Json(found->belongs_together) : Json{};
  return out;
}

void print(const sim::Mounted& mounted) {
  const sim::Partition& row = mounted.partition;
  std::string how = mounted.fault.empty() ? mounted.detail : "did not mount: " + mounted.fault;
  std::cout << fmt::format("{} at 0x{:x}, {}: {}{}{}\n", escape_controls(row.label), row.at, show_bytes(row.size),
                           mounted.kind, how.empty() ? "" : ", ", how);
  for (const sim::StoredFile& file : mounted.files)
    std::cout << fmt::format("  {}  {:>8}  {:<6}  {}\n", to_hex(sha256_of(file.content)), file.content.size(),
                             file.type, escape_controls(file.name));
}

void print(const std::optional<sim::FoundIdentity>& found) {
  if (!found) {
    std::cout << "no identity\n";
    return;
  }
  auto name = [](const std::optional<sim::StoredFile>& file) { return file ? escape_controls(file->name) : "none"; };
  std::cout << fmt::format("identity in {}: key {}, certificate {}{}, root CA {}\n", escape_controls(found->from),
                           escape_controls(found->private_key.name), name(found->certificate),
                           found->certificate && !found->belongs_together ? " (of another key)" : "",
                           name(found->root_ca));
}

}  // namespace

Exit sim_board(const SimBoardCommand& command) {
  sim::ServerOptions options;
  options.count = static_cast<unsigned>(command.count);
  options.chip = command.chip;
  auto size = parse_number(command.flash_size);
  if (!size)
    return report(
        {Code::usage, Remedy::refuse, fmt::format("\"{}\" is no flash size", command.flash_size), {}, {}, "Write 4MB"},
        command.voice);
  options.flash_size = *size;
  options.preset = command.preset;
  options.seed = command.seed;
  options.dirty = command.dirty;
  options.native_usb.away = std::chrono::milliseconds{command.vanish_ms};
  if (!command.revision.empty()) {
    options.revision = parse_revision(command.revision);
    if (!options.revision)
      return report(
          {Code::usage, Remedy::refuse, fmt::format("\"{}\" is no revision", command.revision), {}, {}, "Write 3.1"},
          command.voice);
  }
  options.crystal_mhz = command.crystal_mhz;
  options.security = {command.secure_boot, command.flash_encryption, command.secure_download};
  auto hmac_key = read_hmac_key(command.hmac_key);
  if (!hmac_key) return report(hmac_key.error(), command.voice);
  options.hmac_key = std::move(*hmac_key);
  options.symptom = command.symptom;
  options.folder = command.folder;
  auto end = sim::run_boards(options, std::cout);
  return end ? Exit::good : report(end.error(), command.voice);
}

Exit sim_firmware(const SimFirmwareCommand& command) {
  sim::FirmwareOptions options;
  options.folder = command.folder;
  options.chip = command.chip;
  for (auto [text, target] :
       {std::pair{&command.app_size, &options.app_bytes}, std::pair{&command.storage_size, &options.storage_bytes}}) {
    if (text->empty()) continue;
    auto size = parse_number(*text);
    if (!size)
      return report({Code::usage, Remedy::refuse, fmt::format("\"{}\" is no size", *text), {}, {}, "Write 1MB"},
                    command.voice);
    *target = *size;
  }
  options.app = command.app;
  options.identity = command.identity;
  options.seed = command.seed;
  auto end = sim::write_firmware(options);
  if (!end) return report(end.error(), command.voice);
  if (command.voice.json) {
    print_json({{"v", 1}, {"event", "written"}, {"folder", command.folder}});
  } else if (!command.voice.quiet) {
    std::cout << fmt::format("wrote {}: `espmint run --firmware {}` takes it\n", command.folder, command.folder);
  }
  return Exit::good;
}

Exit sim_read(const SimReadCommand& command) {
  auto flash = read_file(command.file, largest_flash);
  if (!flash) return report(flash.error(), command.voice);
  auto hmac_key = read_hmac_key(command.hmac_key);
  if (!hmac_key) return report(hmac_key.error(), command.voice);
  if (flash->size() < read_as_if) flash->resize(read_as_if, 0xff);
  std::string seen;
  auto table = sim::read_partition_table(*flash, table_at, seen);
  if (!table)
    return report({Code::input_invalid,
                   Remedy::refuse,
                   "no board boots by this flash's partition table",
                   {.input = command.file},
                   seen,
                   "Give the whole flash, as `espmint flash read` or `sim board` leave it; the table lies at 0x8000"},
                  command.voice);
  const std::vector<sim::Mounted> storages = sim::mount_all(*flash, *table, *hmac_key);
  const std::optional<sim::FoundIdentity> found = sim::find_identity(storages);
  bool all_mounted = true;
  for (const sim::Mounted& mounted : storages) {
    all_mounted = all_mounted && mounted.fault.empty();
    command.voice.json ? print_json(json_of(mounted)) : print(mounted);
  }
  command.voice.json ? print_json(json_of(found)) : print(found);
  return all_mounted ? Exit::good : Exit::board_failed;
}

}  // namespace espmint::app
