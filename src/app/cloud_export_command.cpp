#include "app/cloud_export_command.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "app/ca_commands.hpp"
#include "app/desk_commands.hpp"
#include "app/json.hpp"
#include "app/workspace.hpp"
#include "base/text.hpp"
#include "cloud/export/exports.hpp"
#include "io/file.hpp"
#include "io/loop.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;
using namespace exports;

/// Why a board of the ledger is in no export; counted for people.
struct LeftOut {
  std::size_t not_verified = 0, other_issuer = 0, revoked = 0;
};

Result<const ExportKind*> kind_named(const std::string& name) {
  std::string all;
  std::vector<std::string_view> names;
  for (const ExportKind& kind : all_exports()) {
    if (kind.name == name) return &kind;
    names.push_back(kind.name);
    all += (all.empty() ? "" : ", ") + std::string{kind.name};
  }
  std::string meant = nearest(name, names);
  return fail({Code::usage,
               Remedy::refuse,
               fmt::format("\"{}\" is no export", name),
               {},
               {},
               meant.empty() ? "There are " + all : fmt::format("Did you mean \"{}\"?", meant)});
}

Result<std::map<std::string, std::string>> attributes_of(const std::vector<std::string>& words) {
  std::map<std::string, std::string> out;
  for (const std::string& word : words) {
    std::size_t equals = word.find('=');
    if (equals == std::string::npos || !out.emplace(word.substr(0, equals), word.substr(equals + 1)).second)
      return fail({Code::usage, Remedy::refuse, "--attribute is NAME=VALUE, each name once", {}, word, {}});
  }
  return out;
}

/// Boards that are VERIFIED, with a certificate of this CA that nobody took back.
Result<std::vector<ExportDevice>> boards_of(Ledger& ledger, const LocalCa& ca, const CaRegister& reg,
                                            LeftOut& left_out) {
  TRY(auto devices, ledger.devices());
  std::vector<ExportDevice> out;
  for (const DeviceRecord& device : devices) {
    if (device.state == KeyState::revoked) {
      ++left_out.revoked;
      continue;
    }
    if (!device.certificate || device.state != KeyState::verified || !device.held.empty()) {
      ++left_out.not_verified;
      continue;
    }
    auto certificate = parse_certificate(device.certificate->der);
    if (!certificate || !is_issued_by(*certificate, ca.root())) {
      ++left_out.other_issuer;
      continue;
    }
    if (reg.revocation_of(certificate->sha256) != nullptr) {
      ++left_out.revoked;
      continue;
    }
    out.push_back({device.id, std::move(*certificate)});
  }
  return out;
}

Result<void> run_export(const CloudExportCommand& command) {
  TRY(const ExportKind* kind, kind_named(command.kind));
  TRY(std::string product, choose_product(command.settings, command.product));
  RealLoop clock;
  TRY(auto ledger, open_ledger_to_read(command.settings, product, clock));
  TRY(LocalCa ca, LocalCa::open(ca_folder(command.settings), clock.wall()));
  TRY(CaRegister reg, CaRegister::open(ca_folder(command.settings), holder_note("cloud export")));
  LeftOut left_out;
  ExportInput input;
  input.product = product;
  TRY(input.devices, boards_of(*ledger, ca, reg, left_out));
  input.ca_pem = ca.root().pem;
  input.ca_name = ca.root().common_name;
  input.topic_prefix = command.prefix.empty() ? product_key(product) : command.prefix;
  input.listen = command.listen;
  input.thing_type = command.thing_type;
  input.policy_name = command.policy.empty() ? product_key(product) + "-device" : command.policy;
  TRY(input.attributes, attributes_of(command.attributes));
  input.groups = command.groups;
  input.role_arn = command.role_arn;
  TRY(check_input(input));
  if (kind->has_crl) {
    // EMQX looks for the list where the certificates say; to Mosquitto a list with a place would be for those alone.
    input.crl_url = kind->name == "emqx" ? ca.crl_url() : "";
    TRY(Crl crl, renew_crl(command.settings, ca, reg, std::chrono::days{30}, input.crl_url, clock.wall()));
    input.crl_pem = std::move(crl.pem);
  }
  TRY(make_folder(command.folder));
  std::vector<std::string> names;
  for (const ExportFile& file : kind->build(input)) {
    TRY(write_file(fs::path{command.folder} / file.name, as_bytes(file.text)));
    names.push_back(file.name);
  }
  if (command.voice.json) {
    print_json({{"v", 1},
                {"event", "exported"},
                {"kind", kind->name},
                {"product", product},
                {"folder", command.folder},
                {"files", names},
                {"devices", input.devices.size()},
                {"left_out",
                 {{"not_verified", left_out.not_verified},
                  {"other_issuer", left_out.other_issuer},
                  {"revoked", left_out.revoked}}}});
    return ok();
  }
  if (command.voice.quiet) return ok();
  for (const std::string& name : names) std::fputs(((fs::path{command.folder} / name).string() + "\n").c_str(), stdout);
  std::string text = fmt::format("{} boards of {}", input.devices.size(), product);
  if (left_out.not_verified) text += fmt::format(", {} not VERIFIED", left_out.not_verified);
  if (left_out.other_issuer) text += fmt::format(", {} with a certificate of another issuer", left_out.other_issuer);
  if (left_out.revoked) text += fmt::format(", {} revoked", left_out.revoked);
  std::fputs((escape_controls(text) + "; what to do with them: README.txt\n").c_str(), stdout);
  return ok();
}

}  // namespace

Exit cloud_export(const CloudExportCommand& command) {
  auto end = run_export(command);
  return end ? Exit::good : report(end.error(), command.voice);
}

}  // namespace espmint::app
