#include "app/record_commands.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "app/cloud_target.hpp"
#include "app/desk_commands.hpp"
#include "app/json.hpp"
#include "app/root_ca.hpp"
#include "app/workspace.hpp"
#include "base/base64.hpp"
#include "base/text.hpp"
#include "io/file.hpp"
#include "io/loop.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

void say(const std::string& text) { std::fputs((escape_controls(text) + "\n").c_str(), stdout); }

Result<std::unique_ptr<Ledger>> open_chosen(const RecordOptions& options, const Clock& clock) {
  TRY(std::string product, choose_product(options.settings, options.product));
  return open_ledger_to_read(options.settings, product, clock);
}

/// RFC 4180; a cell that a spreadsheet would take for a formula gets a quote mark in front.
std::string csv_cell(const std::string& text) {
  std::string safe = text;
  if (!safe.empty() && std::string_view{"=+-@\t\r"}.find(safe.front()) != std::string_view::npos) safe.insert(0, "'");
  if (safe.find_first_of(",\"\r\n") == std::string::npos) return safe;
  std::string quoted = "\"";
  for (char c : safe) quoted += c == '"' ? std::string{"\"\""} : std::string(1, c);
  return quoted + "\"";
}

std::string csv_row(const std::vector<std::string>& cells) {
  std::string out;
  for (const std::string& cell : cells) out += (out.empty() ? "" : ",") + csv_cell(cell);
  return out;
}

/// The last run of every board that ended otherwise than VERIFIED; boards that never got as far as an identity too.
Result<std::vector<RunRecord>> failed_runs(Ledger& ledger) {
  TRY(std::vector<RunRecord> runs, ledger.runs());
  std::map<std::string, RunRecord> last;
  for (RunRecord& run : runs) last[to_string(run.board.mac)] = std::move(run);
  std::vector<RunRecord> failed;
  for (auto& [mac, run] : last)
    if (run.verdict != "VERIFIED") failed.push_back(std::move(run));
  return failed;
}

/// Every board that was ever identified here: those with an identity, and after them those that never got one.
Result<std::vector<DeviceRecord>> everyone(Ledger& ledger) {
  TRY(std::vector<DeviceRecord> devices, ledger.devices());
  TRY(std::vector<RunRecord> runs, ledger.runs());
  std::map<std::string, RunRecord> last;
  for (RunRecord& run : runs) last[to_string(run.board.mac)] = std::move(run);
  for (const DeviceRecord& device : devices) last.erase(to_string(device.board.mac));
  for (auto& [mac, run] : last) {
    DeviceRecord device;
    device.board = run.board;
    device.updated = run.started;
    device.last_run = std::move(run);
    devices.push_back(std::move(device));
  }
  return devices;
}

/// What a person calls its state: the identity's, or without one the verdict of its last run.
std::string state_of(const DeviceRecord& device) {
  bool none = device.id.empty() && device.state == KeyState::available && device.last_run;
  return none ? device.last_run->verdict : std::string{name_of(device.state)};
}

Result<void> list_devices(const RecordOptions& options, bool failed_only) {
  RealLoop clock;
  TRY(auto ledger, open_chosen(options, clock));
  if (failed_only) {
    TRY(auto runs, failed_runs(*ledger));
    for (const RunRecord& run : runs) {
      if (options.voice.json) {
        Json json{{"v", 1}};
        json.update(run_json(run));
        print_json(json);
      } else {
        say(fmt::format("{}  {:<11} {:<22} {}  {}", to_string(run.board.mac), run.verdict, run.code, run.started,
                        run.fault));
      }
    }
    return ok();
  }
  TRY(auto devices, everyone(*ledger));
  // What was made: a board that was refused is in the export and under --failed.
  std::erase_if(devices, [](const DeviceRecord& device) {
    return device.id.empty() && device.held.empty() && state_of(device) != "VERIFIED";
  });
  for (const DeviceRecord& device : devices) {
    if (options.voice.json) {
      print_json(device_json(device));
    } else {
      say(fmt::format("{}  {:<24} {:<9} {:<11} {}  {}", to_string(device.board.mac), device.id, device.board.chip,
                      state_of(device), device.updated,
                      device.certificate ? to_hex(device.certificate->sha256).substr(0, 16) : "-"));
    }
  }
  if (devices.empty() && !options.voice.json && !options.voice.quiet) say("no device yet");
  return ok();
}

Result<DeviceRecord> find_device(Ledger& ledger, const std::string& id) {
  TRY(auto device, ledger.device(id));
  if (device) return *device;
  return fail({Code::usage,
               Remedy::refuse,
               fmt::format("no device \"{}\" is in the ledger", id),
               {},
               {},
               "`espmint device list` shows all"});
}

Result<void> show_device(const RecordOptions& options, const std::string& id) {
  RealLoop clock;
  TRY(auto ledger, open_chosen(options, clock));
  TRY(DeviceRecord device, find_device(*ledger, id));
  Json json = device_json(device);
  if (options.voice.json) {
    print_json(json);
    return ok();
  }
  for (const auto& [key, value] : json.items())
    if (key != "v" && !value.is_null())
      say(fmt::format("{:<20}{}", key, value.is_string() ? value.get<std::string>() : value.dump()));
  return ok();
}

Result<void> export_devices(const RecordOptions& options, bool csv) {
  RealLoop clock;
  TRY(auto ledger, open_chosen(options, clock));
  TRY(auto devices, everyone(*ledger));
  if (csv)
    say("mac,id,chip,slot,firmware_version,firmware_sha256,certificate_sha256,started,seconds,state,verdict,cause");
  for (const DeviceRecord& device : devices) {
    if (!csv) {
      print_json(device_json(device));
      continue;
    }
    RunRecord run = device.last_run.value_or(RunRecord{});
    say(csv_row({to_string(device.board.mac), device.id, device.board.chip, run.slot, run.firmware_version,
                 device.last_run ? to_hex(run.firmware_sha256) : "",
                 device.certificate ? to_hex(device.certificate->sha256) : "", run.started,
                 fmt::format("{:.3f}", run.seconds), state_of(device), run.verdict, run.code}));
  }
  return ok();
}

std::string pem_of_public_key(const Bytes& der) {
  std::string base64 = to_base64(der), out = "-----BEGIN PUBLIC KEY-----\n";
  for (std::size_t i = 0; i < base64.size(); i += 64) out += base64.substr(i, 64) + "\n";
  return out + "-----END PUBLIC KEY-----\n";
}

/// By what the product's boards trust their broker, PEM; empty where it is not known here.
Result<std::string> root_of(const RecordOptions& options, WallTime now) {
  TRY(std::string product, choose_product(options.settings, options.product));
  TRY(auto target, cloud_of(options.settings, product));
  if (target) {
    Plan plan;
    plan.aws = target->aws;
    return root_ca_for(plan, now);
  }
  auto root = read_file(ca_folder(options.settings) / "ca.cert.pem");
  return root ? std::string{as_text(*root)} : std::string{};
}

Result<void> export_files(const RecordOptions& options, const std::string& id, const fs::path& folder) {
  RealLoop clock;
  TRY(auto ledger, open_chosen(options, clock));
  TRY(DeviceRecord device, find_device(*ledger, id));
  if (!device.certificate)
    return fail({Code::usage, Remedy::refuse, fmt::format("{} has no certificate", id), {}, {}, {}});
  TRY(Certificate certificate, parse_certificate(device.certificate->der));
  TRY(make_folder(folder));
  TRY(write_file(folder / "certificate.pem.crt", as_bytes(certificate.pem)));
  TRY(write_file(folder / "public.pem.key", as_bytes(pem_of_public_key(device.certificate->public_key_der))));
  std::vector<std::string> written{"certificate.pem.crt", "public.pem.key"};
  TRY(std::string root, root_of(options, clock.wall()));
  if (!root.empty()) {
    TRY(write_file(folder / "aws-root-ca.pem", as_bytes(root)));
    written.emplace_back("aws-root-ca.pem");
  }
  fs::path kept = options.settings.state / "keys" / (device.id + ".private.pem.key");
  std::error_code ignored;
  if (fs::exists(kept, ignored)) {
    TRY(Bytes key, read_file(kept, 64 * 1024));
    Secret secret{std::move(key)};
    TRY(write_file(folder / "private.pem.key", secret.reveal(), FileMode::owner_only));
    written.emplace_back("private.pem.key");
    std::fputs("espmint: a private key was written (mode 0600): whoever has this file is the device\n", stderr);
  }
  if (options.voice.json) {
    print_json({{"v", 1}, {"id", device.id}, {"folder", folder.string()}, {"files", written}});
  } else if (!options.voice.quiet) {
    for (const auto& name : written) say((folder / name).string());
  }
  return ok();
}

Result<bool> verify_one(const RecordOptions& options, const std::string& product, const Clock& clock) {
  TRY(auto ledger, open_ledger_to_read(options.settings, product, clock));
  TRY(AuditReport report, ledger->verify_audit());
  bool whole = !report.broken_at && report.why.empty();
  if (options.voice.json) {
    print_json({{"v", 1},
                {"product", product},
                {"rows", report.rows},
                {"head", report.head},
                {"intact", whole},
                {"broken_at", report.broken_at ? Json(*report.broken_at) : Json{}},
                {"why", report.why.empty() ? Json{} : Json(report.why)}});
  } else if (whole) {
    say(fmt::format("{}: {} rows, the chain is whole, head {}", product, report.rows, report.head.substr(0, 16)));
  } else {
    std::fputs(escape_controls(fmt::format("espmint: {}: the audit chain is broken: {}", product, report.why))
                   .append("\n")
                   .c_str(),
               stderr);
  }
  return whole;
}

Result<bool> verify_all(const RecordOptions& options) {
  RealLoop clock;
  std::vector<std::string> all = options.product.empty() ? products(options.settings) : std::vector{options.product};
  if (all.empty()) TRY(choose_product(options.settings, options.product));
  bool whole = true;
  for (const std::string& product : all) {
    auto one = verify_one(options, product, clock);
    if (!one && all.size() == 1) return fail(std::move(one.error()));
    if (!one) report(one.error(), options.voice);  // the others are still looked at
    whole = whole && one && *one;
  }
  return whole;
}

void show_ca(const RecordOptions& options, const LocalCa& ca) {
  const Certificate& root = ca.root();
  if (options.voice.json) {
    print_json({{"v", 1},
                {"folder", ca_folder(options.settings).string()},
                {"name", root.common_name},
                {"sha256", to_hex(root.sha256)},
                {"not_before", to_string(root.not_before)},
                {"not_after", to_string(root.not_after)},
                {"pem", root.pem}});
    return;
  }
  say(fmt::format("name        {}\nfolder      {}\nSHA-256     {}\nvalid       {} to {}", root.common_name,
                  ca_folder(options.settings).string(), to_hex(root.sha256), to_string(root.not_before),
                  to_string(root.not_after)));
  say("Back up this folder (ca.key.pem is the key to every device's identity) to a place only you can read.");
}

Exit finish(const Result<void>& end, const Voice& voice) { return end ? Exit::good : report(end.error(), voice); }

}  // namespace

Exit device_list(const RecordOptions& options, bool failed_only) {
  return finish(list_devices(options, failed_only), options.voice);
}
Exit device_show(const RecordOptions& options, const std::string& id) {
  return finish(show_device(options, id), options.voice);
}
Exit device_export(const RecordOptions& options, bool csv) {
  return finish(export_devices(options, csv), options.voice);
}
Exit device_export_files(const RecordOptions& options, const std::string& id, const std::string& folder) {
  return finish(export_files(options, id, folder), options.voice);
}

Exit audit_verify(const RecordOptions& options) {
  auto whole = verify_all(options);
  if (!whole) return report(whole.error(), options.voice);
  return *whole ? Exit::good : Exit::board_failed;
}

Exit ca_init(const RecordOptions& options, const std::string& name, const std::string& crl_url) {
  RealLoop clock;
  if (!crl_url.empty() && !is_crl_url(crl_url))
    return report({Code::usage,
                   Remedy::refuse,
                   "this is no place for a revocation list",
                   {},
                   crl_url,
                   "--crl-url http://pki.example.com/ca.crl"},
                  options.voice);
  auto folder = make_folder(options.settings.state, true);
  if (!folder) return report(folder.error(), options.voice);
  auto ca = LocalCa::init(ca_folder(options.settings), name.empty() ? "espmint local CA" : name, clock.wall());
  if (!ca) return report(ca.error(), options.voice);
  if (!crl_url.empty())
    if (auto end = write_file(ca_folder(options.settings) / "crl-url.txt", as_bytes(crl_url + "\n")); !end)
      return report(end.error(), options.voice);
  show_ca(options, *ca);
  return Exit::good;
}

Exit ca_show(const RecordOptions& options) {
  RealLoop clock;
  auto ca = LocalCa::open(ca_folder(options.settings), clock.wall());
  if (!ca) return report(ca.error(), options.voice);
  show_ca(options, *ca);
  return Exit::good;
}

}  // namespace espmint::app
