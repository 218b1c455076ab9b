// app/doctor.cpp: what is wrong with this machine or line, each with the mend. Reads only.
#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "app/cloud_commands.hpp"
#include "app/desk_commands.hpp"
#include "app/json.hpp"
#include "app/record_commands.hpp"
#include "app/workspace.hpp"
#include "base/text.hpp"
#include "io/file.hpp"
#include "io/latency_timer.hpp"
#include "io/loop.hpp"
#include "io/system_ports.hpp"
#include "io/usb_bus.hpp"

namespace espmint::app {
namespace {

struct Finding {
  enum class Level { good, note, wrong } level;
  std::string subject, what, mend;
};
using Findings = std::vector<Finding>;
using Level = Finding::Level;

std::string group_of(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  const group* owner = getgrgid(info.st_gid);
  return owner ? owner->gr_name : std::to_string(info.st_gid);
}

void look_at_ports(Findings& out) {
  std::size_t usable = 0;
  for (const PortInfo& port : list_ports()) {
    if (!is_known_adapter(port)) continue;
    if (access(port.name.c_str(), R_OK | W_OK) != 0) {
      std::string group = group_of(port.name);
      out.push_back({Level::wrong, port.name, "you may not open it",
                     fmt::format("sudo usermod -aG {} $USER, then log in again", group.empty() ? "dialout" : group)});
      continue;
    }
    std::string holder = holder_of(port.name);
    if (!holder.empty()) {
      out.push_back({Level::wrong, port.name, fmt::format("it is held by {}", holder), "Close that program"});
      continue;
    }
    ++usable;
    out.push_back({Level::good, port.name, port.product.empty() ? "usable" : port.product, {}});
    if (auto mend = modem_manager_note(port.name))
      out.push_back({Level::note, port.name, "ModemManager runs and may write into it when it appears", *mend});
    if (holds_back_answers(port.name))
      out.push_back({Level::note, port.name,
                     "its adapter holds each answer back for 16 ms, and you may not change that: about 2 s a board",
                     "scripts/install as root puts a udev rule in place that sets 1 ms; then plug it in again"});
  }
  std::vector<Fault> on_the_bus = usb_faults();
  for (const Fault& fault : on_the_bus)
    out.push_back({Level::wrong, fault.where.slot,
                   fmt::format("{}: {} [{}]", fault.what, fault.seen, name_of(fault.code)), fault.advice});
  if (usable == 0 && on_the_bus.empty())
    out.push_back({Level::note, "ports", "no board's adapter is plugged in",
                   "Plug a board in with a data cable; ports of other adapters are used only when named with --port"});
}

void look_at_state(Findings& out, const Settings& settings, WallTime now) {
  std::string state = settings.state.string();
  auto free = free_bytes(settings.state);
  if (free && *free < 64_MiB) {
    out.push_back({Level::wrong, "disk", fmt::format("only {} KB are free under {}", *free / 1024, state),
                   "Free some space: the ledger must be able to grow"});
  } else if (free) {
    out.push_back({Level::good, "disk", fmt::format("{} MB free under {}", *free >> 20, state), {}});
  }
  if (is_on_network(settings.state))
    out.push_back({Level::wrong, "state", fmt::format("{} is on a network file system, where locks do not hold", state),
                   "Name a local folder with --state"});
  auto ca = LocalCa::open(ca_folder(settings), now);
  if (ca) {
    out.push_back({Level::good,
                   "CA",
                   fmt::format("{}, valid to {}", ca->root().common_name, to_string(ca->root().not_after)),
                   {}});
  } else if (ca.error().code == Code::ca_missing) {
    out.push_back({Level::note, "CA", "none yet",
                   "A line whose boards it is to sign for makes one at its start, or `espmint ca init`"});
  } else {
    out.push_back({Level::wrong, "CA", describe(ca.error()), {}});
  }
}

void look_at_ledgers(Findings& out, const Settings& settings, const Clock& clock) {
  for (const std::string& product : products(settings)) {
    std::string subject = "ledger " + product;
    auto ledger = open_ledger_to_read(settings, product, clock);
    if (!ledger) {
      out.push_back({Level::wrong, subject, describe(ledger.error()), {}});
      continue;
    }
    auto audit = (*ledger)->verify_audit();
    if (!audit) {
      out.push_back({Level::wrong, subject, describe(audit.error()), {}});
    } else if (audit->broken_at || !audit->why.empty()) {
      out.push_back({Level::wrong, subject, "the audit chain is broken: " + audit->why,
                     "Somebody or something changed the ledger: restore it from a backup"});
    } else {
      out.push_back({Level::good, subject, fmt::format("{} audit rows, whole", audit->rows), {}});
    }
    auto devices = (*ledger)->devices();
    std::size_t open = 0;
    if (devices)
      for (const DeviceRecord& device : *devices)
        if (device.state == KeyState::exposed || device.state == KeyState::written) ++open;
    if (open > 0)
      out.push_back({Level::note, subject, fmt::format("{} boards hold an identity that was never proved", open),
                     "Plug them in again: `espmint device list` shows them as EXPOSED or WRITTEN"});
  }
}

void look_at_stubs(Findings& out, const Settings& settings) {
  StubLibrary stubs = load_stubs(settings);
  std::string missing;
  for (const ChipSpec& chip : all_chips())
    if (!has_stubs_for(stubs, chip)) missing += (missing.empty() ? "" : ", ") + std::string{chip.title};
  if (missing.empty()) {
    out.push_back({Level::good,
                   "stub flasher",
                   fmt::format("{} chips, from {}", all_chips().size(), stub_folder(settings).string()),
                   {}});
  } else {
    out.push_back({Level::wrong, "stub flasher",
                   fmt::format("missing for {}: flashing goes through the ROM, several times slower", missing),
                   "Run scripts/setup, or name its folder with ESPMINT_STUBS"});
  }
}

/// How a ledger and its account differ. Where the cloud need not be asked, that it cannot be is a note.
Result<void> look_at_cloud(Findings& out, CloudCommand command, const std::string& product, bool demanded) {
  auto target = cloud_of(command.settings, product);
  const std::string subject = "cloud " + product;
  if (!target) {
    out.push_back({Level::wrong, subject, describe(target.error()), {}});
    return ok();
  }
  if (!*target) return ok();
  command.product = product;
  auto compared = compare_with_cloud(command, **target);
  if (!compared && demanded) return fail(std::move(compared.error()));
  if (!compared) {
    out.push_back({Level::note, subject, "ledger and cloud were not compared: " + describe(compared.error()),
                   "`espmint doctor --cloud` with keys that may list (docs/aws.md)"});
    return ok();
  }
  const bool mended = command.fix && !command.dry_run;
  for (const CloudDifference& one : compared->differences) {
    std::string mend;
    for (const std::string& call : one.repairs) mend += (mend.empty() ? "" : "; ") + call;
    const bool fixed = mended && one.may_fix;
    if (!mend.empty()) mend = (fixed ? "mended: " : one.may_fix ? "--fix: " : "by hand: ") + mend;
    out.push_back({fixed || one.is_harmless ? Level::note : Level::wrong, subject,
                   fmt::format("{}{}: {}", one.device.empty() ? "" : one.device + ": ", one.difference, one.what),
                   mend});
  }
  for (const Fault& fault : compared->failed)
    out.push_back({Level::wrong, subject, "not mended: " + describe(fault), "Once more: `espmint doctor --fix`"});
  if (compared->differences.empty()) out.push_back({Level::good, subject, "ledger and cloud say the same", {}});
  return ok();
}

}  // namespace

Exit doctor(const CloudCommand& options, std::optional<bool> cloud) {
  RealLoop clock;
  Findings findings;
  const bool only_cloud = cloud.value_or(false);
  if (!only_cloud) {
    look_at_ports(findings);
    look_at_state(findings, options.settings, clock.wall());
    look_at_ledgers(findings, options.settings, clock);
    look_at_stubs(findings, options.settings);
  }
  if (cloud.value_or(true))
    for (const std::string& product :
         options.product.empty() ? products(options.settings) : std::vector{options.product}) {
      auto looked = look_at_cloud(findings, options, product, only_cloud || options.fix);
      if (!looked) return report(looked.error(), options.voice);
    }
  if (only_cloud && findings.empty())
    return report({Code::usage,
                   Remedy::refuse,
                   options.product.empty()
                       ? "no product here is registered at a cloud elsewhere"
                       : fmt::format("no product {} here is registered at a cloud elsewhere", options.product),
                   {},
                   {},
                   "`espmint run` with a recipe that has issuer = \"aws\", or `espmint cloud setup`"},
                  options.voice);
  bool wrong = false;
  bool colour = wants_colour(stdout_is_terminal());
  for (const Finding& finding : findings) {
    wrong = wrong || finding.level == Level::wrong;
    std::string_view word = finding.level == Level::good ? "ok" : finding.level == Level::note ? "note" : "WRONG";
    if (options.voice.json) {
      print_json({{"v", 1},
                  {"level", lower(word)},
                  {"subject", finding.subject},
                  {"what", finding.what},
                  {"mend", finding.mend.empty() ? Json{} : Json(finding.mend)}});
      continue;
    }
    if (options.voice.quiet && finding.level != Level::wrong) continue;
    Colour paint = finding.level == Level::good   ? Colour::green
                   : finding.level == Level::note ? Colour::yellow
                                                  : Colour::red;
    std::fputs(fmt::format("{} {}: {}{}\n", painted(paint, fmt::format("{:<5}", word), colour),
                           escape_controls(finding.subject), escape_controls(finding.what),
                           finding.mend.empty() ? "" : ". " + finding.mend)
                   .c_str(),
               stdout);
  }
  return wrong ? Exit::board_failed : Exit::good;
}

}  // namespace espmint::app
