// app/ca_commands.hpp: what the CA does by hand: revoke, crl, issue. `ca init` and `ca show`: record_commands.hpp.
#pragma once

#include <string>

#include "app/settings.hpp"
#include "app/terminal.hpp"
#include "identity/ca_register.hpp"

namespace espmint::app {

struct CaCommand {
  Settings settings;
  Voice voice;
  std::string product;  // revoke: empty: all of them
  std::string subject;  // revoke: a device id, a MAC or the SHA-256 of a certificate
  std::string reason = "unspecified";
  std::string csr, out, url;
  int days = 30;
  bool server = false, der = false;
};

Exit ca_revoke(const CaCommand&);
Exit ca_crl(const CaCommand&);
Exit ca_issue(const CaCommand&);

/// Signs and keeps a list of everything that this CA takes back: what was revoked by hand, and what any product's
/// ledger has as BURNED. A ledger that cannot be read is a fault: a list without its certificates would let them in.
Result<Crl> renew_crl(const Settings&, const LocalCa&, CaRegister&, std::chrono::days valid, const std::string& url,
                      WallTime now);

}  // namespace espmint::app
