// ledger/chain.hpp: the audit chain as bytes: what a row hashes to, and the head that is kept outside the ledger.
// Byte for byte: docs/ledger.md, The audit chain.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/hash.hpp"
#include "base/result.hpp"
#include "ledger/ledger.hpp"

namespace espmint {

/// SHA-256("espmint-audit-v1" NUL ‖ previous ‖ sequence ‖ time ‖ event ‖ device ‖ detail): the sequence as 8 bytes,
/// each text as 4 bytes of length and its UTF-8, both little-endian. Row 1 has 32 zero bytes before it.
Sha256 hash_of_row(const AuditRow&, const Sha256& previous);

/// The newest row as it is remembered in `ledger.head`, beside the ledger: one line of text,
/// "espmint-head-v1 <ledger id> <sequence> <hash>\n".
struct Head {
  std::string ledger_id;
  std::int64_t sequence = 0;
  Sha256 hash{};
};
std::string encode_head(const Head&);
/// Nothing for anything that encode_head would not have written.
std::optional<Head> parse_head(std::string_view text);

/// Where the three files of a ledger lie.
inline std::filesystem::path database_in(const std::filesystem::path& folder) { return folder / "ledger.db"; }
inline std::filesystem::path lock_in(const std::filesystem::path& folder) { return folder / "ledger.lock"; }
inline std::filesystem::path head_in(const std::filesystem::path& folder) { return folder / "ledger.head"; }

/// A file of the ledger's that could not be written: disk_full or ledger_io, both stop_line.
Result<void> as_ledger_fault(Result<void> written);
/// Nothing when there is no head file. Faults: ledger_damaged (it is no head), ledger_io.
Result<std::optional<Head>> read_head(const std::filesystem::path& folder);
/// Durable when it returns. Faults: disk_full, ledger_io (both stop_line).
Result<void> write_head(const std::filesystem::path& folder, const Head&);
/// The same line over the old one, without waiting for the disk: after a power cut it may be an older head, which is
/// accepted as one that a crash left behind. The sequence only grows, so the line never gets
/// shorter; where it grew by a digit, its end or its length may be the older one's, which read_head understands.
Result<void> move_head(const std::filesystem::path& folder, const Head&);

}  // namespace espmint
