// identity/crl.hpp: which certificates a CA takes back: the signed list that brokers ask before they let a board in.
// Source: RFC 5280, 5. Who is on it: ca_register.hpp.
#pragma once

#include <string>
#include <vector>

#include "identity/identity.hpp"

namespace espmint {

/// Numbers: RFC 5280, 5.3.1; only those that a station can know of.
enum class RevocationReason {
  unspecified = 0,
  key_compromise = 1,
  superseded = 4,
  cessation_of_operation = 5,
  privilege_withdrawn = 9
};
std::string_view name_of(RevocationReason);  // "key-compromise", …
std::optional<RevocationReason> revocation_reason_named(std::string_view);
/// All names, for help: "unspecified, key-compromise, …".
std::string revocation_reasons();

struct RevokedCertificate {
  std::string serial;  // hex, as Certificate has it
  WallTime when;
  RevocationReason reason = RevocationReason::unspecified;
};

/// What a CRL is to say.
struct CrlText {
  std::vector<RevokedCertificate> revoked;
  std::uint64_t number = 1;  // of this list: greater than that of any before it
  WallTime this_update, next_update;
  /// Where it can be fetched: its Issuing Distribution Point. Then it is for certificates that name the same place
  /// alone.
  std::string url;
};

struct Crl {
  Bytes der;
  std::string pem;
  std::uint64_t number = 0;  // 0: it has none
  WallTime this_update, next_update;
  std::string url;
  std::vector<RevokedCertificate> revoked;
};

/// PEM (exactly one) or DER, at most 64 MiB, any bytes. Fault certificate_invalid.
Result<Crl> parse_crl(ByteView pem_or_der);
/// Whether the CA's key signed it and it bears the CA's name.
bool is_signed_by(const Crl&, const Certificate& ca);
/// http:// or https://, at most 200 printable characters without a space.
bool is_crl_url(std::string_view);

}  // namespace espmint
