// identity/ca_register.hpp: what a CA did by hand, kept beside it for good: revoked.jsonl and issued.jsonl, one JSON
// object a line, and ca.crl.pem, the newest list of what it takes back. What the line mints is in the ledger instead.
// Fields: docs/formats/ca-folder.md.
#pragma once

#include <filesystem>
#include <vector>

#include "identity/local_ca.hpp"
#include "io/file.hpp"

namespace espmint {

/// A line of revoked.jsonl.
struct Revocation {
  Sha256 certificate{};  // of the DER
  std::string serial;    // hex
  std::string id;        // its common name
  WallTime when;
  RevocationReason reason = RevocationReason::unspecified;
};

/// A line of issued.jsonl.
struct HandIssue {
  Certificate certificate;
  WallTime when;
  bool server = false;  // a broker's, not a board's
};

/// Any bytes. Fault ca_invalid names the line: one that cannot be read may be the one that keeps a stolen board out, so
/// none is passed over.
Result<std::vector<Revocation>> parse_revocations(ByteView);
Result<std::vector<HandIssue>> parse_hand_issues(ByteView);
/// One line each, with its end.
std::string encode_line(const Revocation&);
std::string encode_line(const HandIssue&);

/// "2026-11-21T08:15:30Z", as to_string writes it; nothing for anything else.
std::optional<WallTime> parse_moment(std::string_view);

class CaRegister {
 public:
  /// Waits for another command that writes here, for some seconds. `holder`: what a second one is told. Faults:
  /// ledger_locked, ca_invalid, output_unwritable.
  static Result<CaRegister> open(const std::filesystem::path& ca_folder, const std::string& holder);

  [[nodiscard]] const std::vector<Revocation>& revocations() const { return revocations_; }
  [[nodiscard]] const std::vector<HandIssue>& issues() const { return issues_; }
  /// How it was revoked; null when it was not.
  [[nodiscard]] const Revocation* revocation_of(const Sha256& certificate) const;

  /// Durable when it returns: old file or new, never half. Faults: output_unwritable, disk_full.
  Result<void> add(Revocation);
  Result<void> add(HandIssue);

  struct CrlWish {
    std::vector<RevokedCertificate> also;  // beside revocations(): the ledger's burned ones
    std::chrono::days valid{30};           // until the next one must be there
    std::string url;                       // CrlText::url
  };
  /// Signs what is revoked by now and writes ca.crl.pem. Its number is above that of every list before it, also where
  /// ca.crl.pem was lost. Faults: clock_backwards (earlier than the last list: brokers would keep that), as sign_crl,
  /// add.
  Result<Crl> write_crl(const LocalCa&, const CrlWish&, WallTime now);
  [[nodiscard]] std::filesystem::path crl_file() const { return folder_ / "ca.crl.pem"; }

 private:
  CaRegister(std::filesystem::path folder, FileLock lock) : folder_(std::move(folder)), lock_(std::move(lock)) {}
  std::filesystem::path folder_;
  FileLock lock_;
  std::vector<Revocation> revocations_;
  std::vector<HandIssue> issues_;
};

}  // namespace espmint
