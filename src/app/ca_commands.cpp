#include "app/ca_commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "app/cloud_target.hpp"
#include "app/desk_commands.hpp"
#include "app/json.hpp"
#include "app/workspace.hpp"
#include "base/mac.hpp"
#include "base/text.hpp"
#include "io/file.hpp"
#include "io/loop.hpp"
#include "ledger/certificates.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

/// A certificate that somebody here knows of: a ledger, or the CA's own register.
struct Known {
  std::string id, mac;
  Sha256 sha256{};
  std::string serial;
  Bytes der, public_key_der;
  bool burned = false;
  bool server = false;
  std::string where;  // "the ledger of thermostat"
  std::string product{};
};

void print_line(const std::string& text) { std::fputs((escape_controls(text) + "\n").c_str(), stdout); }

Fault usage(std::string what, std::string seen = {}, std::string advice = {}) {
  return {Code::usage, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
}

Result<std::vector<Known>> known_certificates(const Settings& settings, const std::string& product,
                                              const CaRegister& reg) {
  std::vector<Known> out;
  for (const std::string& one : product.empty() ? products(settings) : std::vector<std::string>{product})
    TRY(each_certificate(product_folder(settings, one), [&](RecordedCertificate recorded) {
      bool burned = recorded.state == RecordedCertificate::State::burned;
      out.push_back({recorded.device_id, recorded.mac, recorded.sha256, recorded.serial, std::move(recorded.der),
                     std::move(recorded.public_key_der), burned, false, "the ledger of " + one, one});
    }));
  for (const HandIssue& issue : reg.issues())
    out.push_back({issue.certificate.common_name,
                   {},
                   issue.certificate.sha256,
                   issue.certificate.serial,
                   issue.certificate.der,
                   issue.certificate.public_key_der,
                   false,
                   issue.server,
                   "issued.jsonl"});
  return out;
}

bool is_ours(const Known& known, const LocalCa& ca) {
  auto certificate = parse_certificate(known.der);
  return certificate && is_issued_by(*certificate, ca.root());
}

/// Those that the word means: by the certificate's digest, the device's id or its MAC.
std::vector<Known> meant_by(const std::string& word, std::vector<Known> all) {
  auto digest = from_hex(lower(word));
  auto mac = parse_mac(word);
  std::string mac_text = mac ? to_string(*mac) : "";
  std::erase_if(all, [&](const Known& known) {
    if (digest && digest->size() == known.sha256.size()) return to_hex(known.sha256) != lower(word);
    return known.id != word && (mac_text.empty() || known.mac != mac_text);
  });
  return all;
}

Json crl_json(const Crl& crl, const fs::path& file) {
  return Json{{"v", 1},
              {"event", "crl"},
              {"number", crl.number},
              {"this_update", to_string(crl.this_update)},
              {"next_update", to_string(crl.next_update)},
              {"revoked", crl.revoked.size()},
              {"url", crl.url.empty() ? Json{} : Json(crl.url)},
              {"file", file.string()}};
}

/// In its ledger, too: else a line takes the board for VERIFIED. What is in the way, where it is in use.
Result<void> revoke_in_ledger(const CaCommand& command, const Known& known, const Clock& clock) {
  LedgerOptions options{LedgerOptions::Mode::write, product_key(known.product), holder_note("ca revoke")};
  TRY(auto ledger, Ledger::open(product_folder(command.settings, known.product), options, clock));
  TRY(auto current, ledger->certificates());
  for (const KnownCertificate& one : current)
    if (one.sha256 == known.sha256 && one.state != KeyState::available && one.state != KeyState::reserved)
      return ledger->revoke(known.id, command.reason);
  return ok();
}

Result<void> revoke(const CaCommand& command) {
  auto reason = revocation_reason_named(command.reason);
  if (!reason)
    return fail(usage(fmt::format("\"{}\" is no reason", command.reason), {}, "It is one of: " + revocation_reasons()));
  RealLoop clock;
  TRY(LocalCa ca, LocalCa::open(ca_folder(command.settings), clock.wall()));
  TRY(CaRegister reg, CaRegister::open(ca_folder(command.settings), holder_note("ca revoke")));
  TRY(auto all, known_certificates(command.settings, command.product, reg));
  std::vector<Known> meant = meant_by(command.subject, std::move(all));
  if (meant.empty())
    return fail(usage(fmt::format("no certificate of \"{}\" is known here", command.subject), {},
                      "`espmint device list` shows all devices"));
  std::vector<Known> ours;
  std::copy_if(meant.begin(), meant.end(), std::back_inserter(ours),
               [&](const Known& known) { return is_ours(known, ca); });
  if (ours.empty())
    return fail(usage(fmt::format("the certificate of \"{}\" was not issued by this CA", command.subject),
                      meant.front().where, "`espmint device revoke` takes it back where it was issued"));
  for (const Known& known : ours) {
    const Revocation* before = reg.revocation_of(known.sha256);
    bool already = before != nullptr || known.burned;
    Revocation now{known.sha256, known.serial, known.id, clock.wall(), *reason};
    if (before) now = *before;
    if (!already) TRY(reg.add(now));
    Result<void> held = known.product.empty() || known.burned ? ok() : revoke_in_ledger(command, known, clock);
    if (command.voice.json) {
      print_json({{"v", 1},
                  {"event", "revoked"},
                  {"id", known.id},
                  {"certificate_sha256", to_hex(known.sha256)},
                  {"serial", known.serial},
                  {"reason", known.burned && !before ? Json("superseded") : Json(name_of(now.reason))},
                  {"revoked", known.burned && !before ? Json{} : Json(to_string(now.when))},
                  {"already", already},
                  {"ledger_fault", held ? Json{} : Json(describe(held.error()))}});
    } else if (!command.voice.quiet) {
      std::string end = before    ? fmt::format("was revoked before, {}", to_string(before->when))
                        : already ? std::string{"is burned: it was on the list before"}
                                  : fmt::format("revoked ({})", command.reason);
      print_line(fmt::format("{}  certificate {}  {}", known.id, to_hex(known.sha256).substr(0, 16), end));
    }
    if (!held && !command.voice.json)
      print_line(
          fmt::format("its ledger does not know of it, and a line still takes the board for VERIFIED; once more "
                      "when the line has stopped: {}",
                      describe(held.error())));
  }
  TRY(Crl crl, renew_crl(command.settings, ca, reg, std::chrono::days{command.days}, {}, clock.wall()));
  if (command.voice.json) {
    print_json(crl_json(crl, reg.crl_file()));
  } else if (!command.voice.quiet) {
    print_line(
        fmt::format("{}: {} revoked, good until {}. Brokers need it before they refuse: `espmint cloud export "
                    "mosquitto`, or copy this file",
                    reg.crl_file().string(), crl.revoked.size(), to_string(crl.next_update)));
    for (const Known& known : ours) {
      if (known.product.empty() || known.burned) continue;
      TRY(auto elsewhere, cloud_of(command.settings, known.product));
      if (elsewhere)
        print_line(
            fmt::format("AWS IoT has no list and accepts {} still: `espmint device revoke {}`", known.id, known.id));
    }
  }
  return ok();
}

Result<void> write_crl_out(const CaCommand& command) {
  if (!command.url.empty() && !is_crl_url(command.url))
    return fail(usage("this is no place for a revocation list", command.url, "--url http://pki.example.com/ca.crl"));
  if (command.der && command.out.empty()) return fail(usage("--der needs a file", {}, "-o ca.crl"));
  RealLoop clock;
  TRY(LocalCa ca, LocalCa::open(ca_folder(command.settings), clock.wall()));
  TRY(CaRegister reg, CaRegister::open(ca_folder(command.settings), holder_note("ca crl")));
  TRY(Crl crl, renew_crl(command.settings, ca, reg, std::chrono::days{command.days}, command.url, clock.wall()));
  if (!command.out.empty()) TRY(write_file(command.out, command.der ? ByteView{crl.der} : as_bytes(crl.pem)));
  if (command.voice.json) {
    print_json(crl_json(crl, command.out.empty() ? reg.crl_file() : fs::path{command.out}));
  } else if (command.out.empty()) {
    std::fputs(crl.pem.c_str(), stdout);
  } else if (!command.voice.quiet) {
    print_line(fmt::format("{}: list {}, {} revoked, good until {}", command.out, crl.number, crl.revoked.size(),
                           to_string(crl.next_update)));
  }
  return ok();
}

/// A device's id, or with `server` the name or address of a host.
Result<void> check_subject(const std::string& name, bool server) {
  std::string_view marks = server ? ".-:" : ":_-";
  bool good = !name.empty() && std::all_of(name.begin(), name.end(), [marks](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           marks.find(c) != std::string_view::npos;
  });
  if (good) return ok();
  Fault fault{Code::certificate_invalid, Remedy::refuse,
              server ? "the request's name is no host's" : "the request's name is no device id"};
  fault.seen = "CN " + escape_controls(name.substr(0, 80));
  fault.advice = server ? "make the request with the CN by which boards reach the broker"
                        : "a device id is made of a-z A-Z 0-9 : _ -";
  return fail(std::move(fault));
}

/// What stands in the way of a certificate by hand: one device, one key; one key, one device.
Result<void> check_alone(const CertificateRequest& request, const std::vector<Known>& all, const CaRegister& reg) {
  for (const Known& known : all) {
    bool same_key = known.public_key_der == request.public_key_der;
    bool in_use = !known.burned && !known.server && reg.revocation_of(known.sha256) == nullptr;
    if (!same_key && !(in_use && known.id == request.common_name)) continue;
    Fault fault{Code::ledger_refused, Remedy::refuse,
                same_key ? "this key has a certificate, or had one" : "this device has a certificate"};
    fault.seen = fmt::format("{} in {}, certificate {}", known.id, known.where, to_hex(known.sha256).substr(0, 16));
    fault.advice = same_key ? "make a new key and a request with it"
                            : fmt::format("`espmint ca revoke {}` takes that one back first", known.id);
    return fail(std::move(fault));
  }
  return ok();
}

Result<HandIssue> issue_once(const CaCommand& command, const CertificateRequest& request, LocalCa& ca, CaRegister& reg,
                             WallTime now, bool& already) {
  for (const HandIssue& issue : reg.issues()) {
    const Certificate& made = issue.certificate;
    already = made.public_key_der == request.public_key_der && made.common_name == request.common_name &&
              issue.server == command.server && reg.revocation_of(made.sha256) == nullptr;
    if (already) return issue;
  }
  TRY(auto all, known_certificates(command.settings, {}, reg));
  TRY(check_alone(request, all, reg));
  TRY(Bytes serial, mint_serial());
  auto certificate = command.server ? ca.sign_server(request, serial) : ca.sign(request, serial);
  if (!certificate) return fail(std::move(certificate.error()));
  HandIssue issue{std::move(*certificate), now, command.server};
  TRY(reg.add(issue));  // before anybody gets it: what is not known cannot be revoked
  return issue;
}

Result<void> issue(const CaCommand& command) {
  TRY(Bytes bytes, read_file(command.csr, 64 * 1024));
  TRY(CertificateRequest request, in_input(parse_csr(bytes), command.csr));
  TRY(in_input(check_subject(request.common_name, command.server), command.csr));
  RealLoop clock;
  TRY(LocalCa ca, LocalCa::open(ca_folder(command.settings), clock.wall()));
  TRY(CaRegister reg, CaRegister::open(ca_folder(command.settings), holder_note("ca issue")));
  bool already = false;
  TRY(HandIssue issued, issue_once(command, request, ca, reg, clock.wall(), already));
  const Certificate& certificate = issued.certificate;
  if (!command.out.empty()) TRY(write_file(command.out, as_bytes(certificate.pem)));
  if (command.voice.json) {
    print_json({{"v", 1},
                {"event", "issued"},
                {"id", certificate.common_name},
                {"for", issued.server ? "server" : "board"},
                {"certificate_sha256", to_hex(certificate.sha256)},
                {"serial", certificate.serial},
                {"not_after", to_string(certificate.not_after)},
                {"already", already},
                {"file", command.out.empty() ? Json{} : Json(command.out)},
                {"pem", certificate.pem}});
  } else if (command.out.empty()) {
    std::fputs(certificate.pem.c_str(), stdout);
  } else if (!command.voice.quiet) {
    print_line(fmt::format("{}: certificate {} for {}{}", command.out, to_hex(certificate.sha256).substr(0, 16),
                           certificate.common_name, already ? ", issued before" : ""));
  }
  return ok();
}

Exit end_of(const Result<void>& end, const Voice& voice) { return end ? Exit::good : report(end.error(), voice); }

}  // namespace

Result<Crl> renew_crl(const Settings& settings, const LocalCa& ca, CaRegister& reg, std::chrono::days valid,
                      const std::string& url, WallTime now) {
  CaRegister::CrlWish wish{{}, valid, url};
  for (const std::string& product : products(settings))
    TRY(each_certificate(product_folder(settings, product), [&](const RecordedCertificate& recorded) {
      if (recorded.state != RecordedCertificate::State::burned) return;
      auto certificate = parse_certificate(recorded.der);
      if (certificate && is_issued_by(*certificate, ca.root()))
        wish.also.push_back(
            {certificate->serial, parse_moment(recorded.since).value_or(now), RevocationReason::superseded});
    }));
  return reg.write_crl(ca, wish, now);
}

Exit ca_revoke(const CaCommand& command) { return end_of(revoke(command), command.voice); }
Exit ca_crl(const CaCommand& command) { return end_of(write_crl_out(command), command.voice); }
Exit ca_issue(const CaCommand& command) { return end_of(issue(command), command.voice); }

}  // namespace espmint::app
