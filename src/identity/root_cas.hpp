// identity/root_cas.hpp: by which roots a board knows its servers: picked from what a system trusts, or read from a
// file.
#pragma once

#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "io/clock.hpp"

namespace espmint {

struct RootCa {
  std::string title;  // "Amazon Root CA 1"; of several the first, for people: escape before showing
  std::string pem;    // certificates and nothing else
  WallTime expires;   // of several the earliest
};

/// Amazon Root CA `number`, 1 to 4, from certificates in PEM one after another; any bytes. Known by its whole subject
/// and its own signature; which bundle is trusted is the caller's choice. Fault ca_missing: not there, or expired.
/// Source: Amazon Trust Services, Repository.
Result<RootCa> amazon_root_ca(ByteView bundle, unsigned number, WallTime now);

/// One or several certificates, PEM, with text between them, which is left out; any bytes. Faults: ca_invalid where
/// there is none, one is damaged or expired, or something else is among them, such as a private key.
Result<RootCa> read_root_ca(ByteView pem, WallTime now);

}  // namespace espmint
