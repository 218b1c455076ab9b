// ledger/ledger.hpp: who got what, durable before it happens. One SQLite file per product; rules: docs/ledger.md.
//
//   admit → reserve → record_certificate → expose → mark_written → mark_verified          (one board, in this order)
//
// Every transition is one transaction with one row of the audit chain; it is durable when the call returns. Calls block
// on the disk: the line makes them on a pool of one thread. Faults: ledger_refused (refuse: a rule forbids it),
// ledger_io and disk_full (stop_line: a failed write or fsync is never retried), clock_backwards (stop_line).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "base/mac.hpp"
#include "base/result.hpp"
#include "io/clock.hpp"

namespace espmint {

enum class KeyState { available, reserved, exposed, written, verified, quarantined, retired, revoked };
std::string_view name_of(KeyState);  // "AVAILABLE", …

/// A board is all of these together; a known MAC with another tuple is a clone.
struct BoardIdentity {
  Mac mac;
  std::string chip;            // "esp32"
  std::string unique_id;       // hex, empty where the chip has none
  std::uint32_t flash_id = 0;  // JEDEC
  bool operator==(const BoardIdentity&) const = default;
};

/// One try to give one board its identity. The number is the ledger's, never used twice.
struct Attempt {
  std::int64_t number = 0;
  std::string device_id;
};

struct CertificateRecord {
  Sha256 sha256{};     // of the DER
  std::string serial;  // hex
  Bytes der;
  Bytes public_key_der;
  Md5 image_md5{};  // of the whole identity image, as the board's ROM reports it
  Sha256 image_sha256{};
  std::string cloud_id{};  // what the cloud calls it (AWS: its ARN), as far as it has said; empty: nothing of its own
};

/// What the ledger says of a board that has just been identified.
struct Admission {
  enum class Kind {
    fresh,     // never exposed: reserve and go
    verified,  // VERIFIED with this plan: check in place, nothing new
    replan,    // VERIFIED, but with another plan: same identity cannot be rewritten (its key is gone): renew is needed
               // for the identity; firmware may be written. `run` mints anew only with --renew
    revoked,   // a person took its certificate back: another identity only by renewal; `when` and `why` tell of it
    resume,    // EXPOSED or WRITTEN: compare the image's digest on the board; equal → verify, else burn and mint anew
    held,      // a person decides; `why` says what and how. With `attempt` and state RESERVED: another slot of this
               // process prepares it (or this one does: compare the number with the attempt in hand)
  } kind = Kind::fresh;
  std::string device_id;           // as far as the board has one
  std::optional<Attempt> attempt;  // the open one: for verified, replan, resume and RESERVED
  std::optional<CertificateRecord> certificate;
  KeyState state = KeyState::available;  // AVAILABLE: fresh, or its last certificate is BURNED; or REVOKED
  bool is_local = false;                 // the open attempt's certificate: no cloud elsewhere ever heard of it
  Sha256 plan_digest{};                  // the plan it was prepared with
  std::string when;                      // UTC of the last transition
  std::string why;
};

/// How it was seen that the board holds its identity, after a reset and a fresh identification.
struct Evidence {
  std::string method;  // "rom-digest", "rom-digest+challenge"
  Md5 image_md5{};
  std::string detail;  // for people, no secrets
};

/// Something the cloud was, or may have been, told of a certificate and whose end is not recorded: asked for after a
/// crash, never repeated blindly. Enrolment ("enrol", or "register", "policy", "thing", "attach") opens with the
/// certificate, "activate" and "retire" with VERIFIED, "revoke" when a certificate that the cloud may know is BURNED,
/// which closes its others: it is never activated.
struct OpenIntent {
  Attempt attempt;
  std::string act;
  std::string since;  // UTC
  Sha256 certificate_sha256{};
  std::string cloud_id{};  // as CertificateRecord
  Bytes certificate_der{};
  bool is_local = false;  // a cloud elsewhere never heard of it
};

/// A certificate that the cloud was asked for and whose answer is not recorded: if there is one, this key tells that it
/// is ours. Closed by settling "issue".
struct UnansweredIssue {
  Attempt attempt;
  std::string since;                        // UTC
  std::optional<Sha256> public_key_sha256;  // of SubjectPublicKeyInfo; none: the cloud was to make the key
};

/// Every certificate that was ever recorded, for a comparison with the cloud.
struct KnownCertificate {
  Attempt attempt;
  KeyState state = KeyState::available;  // of the identity; AVAILABLE: released or BURNED, its certificate is nobody's
  Sha256 sha256{}, public_key_sha256{};
  std::string cloud_id;
  bool waits = false;            // something of it is still to be told to the cloud
  bool was_verified = false;     // once; the thing of its board has been in use
  std::string answered{};        // UTC, when it came from elsewhere; empty: it was signed here
  bool may_be_on_board = false;  // VERIFIED once, and none after it: also when it is BURNED
};

/// A certificate that "retire" ended: it was on a board's thing beside the board's own, and may be anybody's.
struct RetiredCertificate {
  std::string device_id, id;  // as the cloud calls it
};

/// The story of one pass, for export: whatever its end.
struct RunRecord {
  BoardIdentity board;
  std::string device_id, slot, firmware_version;
  Sha256 firmware_sha256{};
  Sha256 plan_digest{};
  std::optional<Sha256> certificate_sha256;
  std::string started;  // UTC
  double seconds = 0;   // port ready to verdict
  std::string verdict;  // VERIFIED, WRITTEN, HELD, QUARANTINED, FAILED
  std::string code;     // fault code's name, empty when VERIFIED
  std::string fault;    // the sentence
  /// What the firmware measured: name, value. Kept in the chain only: runs() has none.
  std::vector<std::pair<std::string, std::int32_t>> selftest{};
};

struct DeviceRecord {
  std::string id;  // empty for a clone that was never given one
  BoardIdentity board;
  KeyState state = KeyState::available;
  std::string held;  // why a person must decide; empty when nobody must
  std::optional<CertificateRecord> certificate;
  std::optional<std::int64_t> key;  // its key of the pool; `state` is then the less advanced of the two
  std::string updated;              // UTC
  std::optional<RunRecord> last_run;
};

/// A row of the user's keys.csv as the ledger knows it: by salted digests (pool_digests), never by its words.
struct PoolDigests {
  Sha256 row{};   // of all its fields
  Sha256 name{};  // of the first
  Bytes traces;   // 8 bytes each (PoolDigester::traces): by them a secret is known that comes back under another name
};

/// One key of the pool.
struct PoolKey {
  std::int64_t number = 0;  // in order of import; what people and records call it by
  KeyState state = KeyState::available;
  std::string device;  // whose it is, from RESERVED on; empty: nobody's, or nobody knows
  std::string when;    // UTC of the last transition
  PoolDigests digests;
};

/// A row to import, with what its mark said of it.
struct PoolImport {
  PoolDigests digests;
  KeyState state = KeyState::available;  // or verified, quarantined
  std::string device;                    // where the mark names it
  bool suspected = false;                // QUARANTINED only because the script before us may have sent it
};

/// How it was seen that a board holds its key, after a reset and a fresh identification.
struct KeyEvidence {
  std::string method;  // "read-back", "nvs-read", "framed-digest"; of a key in an image "rom-digest"
  std::string detail;  // for people, no secrets
};

/// One row of the chain, as `audit verify` names it.
struct AuditRow {
  std::int64_t sequence = 0;
  std::string time, event, device_id, detail;
};

struct AuditReport {
  std::int64_t rows = 0;
  std::string head;                       // hex
  std::optional<std::int64_t> broken_at;  // first row that does not fit
  std::string
      why;  // "row 17 was changed", "row 18 is missing", "rows 4 and 5 are swapped", "the last 3 rows were cut off"
};

/// Walks the whole chain, compares it with ledger.head and with what the other tables say, read only; a writer may run
/// meanwhile. What each finding names: docs/ledger.md. Faults: ledger_missing, ledger_foreign, ledger_damaged,
/// ledger_io.
Result<AuditReport> verify_audit(const std::filesystem::path& folder);

struct LedgerOptions {
  enum class Mode { write, read } mode = Mode::write;
  std::string product;
  std::string holder;  // "pid 4711 on line-3: espmint run", what a second writer is told
};

/// Words of cloud/cloud.hpp's `act`.
using Acts = std::vector<std::string_view>;

class Ledger {
 public:
  /// `folder` holds ledger.db, ledger.lock and ledger.head. Creates them when absent (write). On opening for writing:
  /// takes the lock, checks that the file is ours and whole, compares the head outside, frees RESERVED rows.
  /// Faults: ledger_locked (naming the holder), ledger_foreign (another program's file, another product's ledger),
  /// ledger_damaged (also: restored from an old copy), ledger_missing (read), ledger_refused (network file system,
  /// newer version), disk_full, ledger_io.
  /// One thread at a time may call; after ledger_io every further write fails, until it is opened anew.
  static Result<std::unique_ptr<Ledger>> open(const std::filesystem::path& folder, LedgerOptions, const Clock&);
  virtual ~Ledger() = default;

  // ---- one board, in this order
  virtual Result<Admission> admit(const BoardIdentity&, const Sha256& plan_digest) = 0;
  /// Step 2. Faults: quota_reached; board_held; clock_backwards; ledger_refused when the id is another board's or the
  /// board has an open identity. `renew`: a VERIFIED or REVOKED board may get a new one; the old certificate is BURNED
  /// in the transaction that makes the new one EXPOSED (from then on its key may be overwritten). Released before that,
  /// the old VERIFIED stands.
  virtual Result<Attempt> reserve(const BoardIdentity&, const std::string& device_id, const Sha256& plan_digest,
                                  std::optional<std::uint64_t> quota, bool renew) = 0;
  /// Before a certificate is asked for elsewhere: the INTENT "issue". Closed by record_certificate or settle; released
  /// with the answer missing it stays open, for what may be there must be found.
  virtual Result<void> begin_issue(const Attempt&, const std::optional<Sha256>& public_key_sha256) = 0;
  /// Step 3: certificate, its id, image digest, and the INTENTs to enrol it, in their order, before any of it is done.
  virtual Result<void> record_certificate(const Attempt&, const CertificateRecord&,
                                          const Acts& enrolment = {"enrol"}) = 0;
  /// Settles an open intent. `outcome`: "done" or a reason; `answer`: the certificate's cloud_id where it said one; of
  /// "retire" the ids of the certificates that it ended, with blanks between.
  virtual Result<void> settle(const Attempt&, std::string_view act, std::string_view outcome,
                              std::string_view answer = {}) = 0;
  /// Step 5, the point of no return: durable before the first secret byte reaches a port. Faults: board_held.
  virtual Result<void> expose(const Attempt&) = 0;
  virtual Result<void> mark_written(const Attempt&) = 0;  // step 7
  /// Step 8, only from WRITTEN. The evidence's digest must be the recorded image's, its method one that reads back
  /// after a reset; else ledger_refused. Faults: board_held. Of `completion`, "retire" is left out for a board whose
  /// earlier certificates this ledger has had retired: all that came since it knows.
  virtual Result<void> mark_verified(const Attempt&, const Evidence&, const Acts& completion = {"activate"}) = 0;
  /// RESERVED only: nothing left the process; the certificate is BURNED, the board is fresh again.
  virtual Result<void> release(const Attempt&, std::string_view why) = 0;
  /// EXPOSED or WRITTEN whose key is gone: certificate BURNED; the board keeps its id and may be reserved again.
  virtual Result<void> burn(const Attempt&, std::string_view why) = 0;
  /// A person takes back what a board has, EXPOSED, WRITTEN or VERIFIED: its certificate is BURNED and "revoke" is told
  /// at once, with no successor to wait for. The board is REVOKED until it is renewed. Fault ledger_refused: it has
  /// none.
  virtual Result<void> revoke(const std::string& device_id, std::string_view why) = 0;
  virtual Result<void> record_run(const RunRecord&) = 0;
  /// The transitions that `steps` makes become durable in one commit, all or none: for those that nothing happens
  /// between. A step's fault must be returned.
  virtual Result<void> together(const std::function<Result<void>()>& steps) = 0;

  // ---- the key pool: AVAILABLE → RESERVED → EXPOSED → WRITTEN → VERIFIED, one key, one board, for ever (pool.cpp)
  /// Faults (ledger_refused): a key of these is in the pool already, by its row or by its first field.
  virtual Result<std::int64_t> import_keys(const std::vector<PoolImport>&, std::string_view source) = 0;
  /// For a board without an open key: an AVAILABLE one becomes RESERVED, with the board's row and the quota as for
  /// `reserve`. Faults: board_held, quota_reached, clock_backwards, ledger_refused.
  virtual Result<void> reserve_key(std::int64_t number, const BoardIdentity&, const std::string& device_id,
                                   std::optional<std::uint64_t> quota) = 0;
  /// RESERVED → AVAILABLE.
  virtual Result<void> release_key(std::int64_t number, std::string_view why) = 0;
  /// The point of no return: durable before the first byte of the key reaches a port.
  virtual Result<void> expose_key(std::int64_t number) = 0;
  virtual Result<void> mark_key_written(std::int64_t number) = 0;
  virtual Result<void> mark_key_verified(std::int64_t number, const KeyEvidence&) = 0;
  /// EXPOSED or WRITTEN: the board holds something else, or nobody knows what. It stays that board's.
  virtual Result<void> quarantine_key(std::int64_t number, std::string_view why) = 0;
  /// QUARANTINED to a board → EXPOSED: the same board may be given it once more.
  virtual Result<void> trust_key(std::int64_t number, std::string_view why) = 0;
  /// AVAILABLE → QUARANTINED: somebody else has given it out, to `device` where that is known.
  virtual Result<void> suspect_key(std::int64_t number, const std::string& device, std::string_view why) = 0;
  /// Keys that an import quarantined only on suspicion and that still are.
  virtual Result<std::vector<std::int64_t>> suspected_keys() = 0;
  /// QUARANTINED to nobody, by suspicion at its import → AVAILABLE: the user answers for it.
  virtual Result<void> acquit_key(std::int64_t number, std::string_view why) = 0;
  /// A key that an earlier script gave out was found on this board: from now on it is this board's.
  virtual Result<void> bind_key(std::int64_t number, const BoardIdentity&, const std::string& device_id) = 0;
  /// AVAILABLE or QUARANTINED → RETIRED, for ever. Two people answer for one that may be on a board.
  virtual Result<void> retire_key(std::int64_t number, std::string_view by, std::string_view why) = 0;

  virtual Result<std::optional<PoolKey>> key_with_row(const Sha256& row) = 0;
  virtual Result<std::optional<PoolKey>> key_with_name(const Sha256& name) = 0;
  /// The key that a device holds or may hold, with the one RESERVED for it; of several the newest number.
  virtual Result<std::vector<PoolKey>> keys_of(const std::string& device_id) = 0;
  virtual Result<std::vector<PoolKey>> pool() = 0;  // all of them, by number
  /// Each key from `first` on, by number, without copies: `see` may not call the ledger. Of AVAILABLE keys `when` is
  /// left empty.
  virtual Result<void> each_key(std::int64_t first, const std::function<void(const PoolKey&)>& see) = 0;
  /// `count` of them from `first` on. Fault ledger_refused: there is no such key.
  virtual Result<std::vector<PoolKey>> pool_keys(std::int64_t first, std::int64_t count) = 0;
  /// Whether this ledger itself reserved the key for the device at that moment (UTC, as `when`). A mark that says so of
  /// another moment is of a ledger that this one is an old copy of.
  virtual Result<bool> was_reserved(std::int64_t number, const std::string& device, std::string_view when) = 0;
  /// What digests are salted with: no two ledgers' digests of one key are equal.
  [[nodiscard]] virtual const std::string& salt() const = 0;

  // ---- reading
  virtual Result<std::vector<DeviceRecord>> devices() = 0;
  virtual Result<std::optional<DeviceRecord>> device(const std::string& id_or_mac) = 0;
  virtual Result<std::vector<RunRecord>> runs() = 0;
  /// What is to be told, per board in the order in which it may be: nothing of a RESERVED attempt, whose run tells it
  /// itself; "revoke" last, and not before a later certificate of the board was VERIFIED; "retire" not while one is on
  /// its way. "issue" is not among them. At most `limit`.
  virtual Result<std::vector<OpenIntent>> open_intents(std::size_t limit = SIZE_MAX) = 0;
  /// Whether an intent still is among open_intents(): for whoever asked some time ago.
  virtual Result<bool> may_tell(const Attempt&, std::string_view act) = 0;
  /// How many boards it is that something is to be told of.
  virtual Result<std::size_t> boards_to_tell() = 0;
  virtual Result<std::vector<UnansweredIssue>> unanswered_issues() = 0;
  virtual Result<std::vector<KnownCertificate>> certificates() = 0;
  virtual Result<std::vector<RetiredCertificate>> retired_certificates() = 0;
  virtual Result<AuditReport> verify_audit() = 0;
};

/// Digests of rows' values, one after the other. `salt` is the ledger's. Wipes what it was given at its end.
class PoolDigester {
 public:
  explicit PoolDigester(std::string_view salt);
  PoolDigester(PoolDigester&&) = default;
  ~PoolDigester();
  Sha256 row(std::span<const std::string_view> values);
  Sha256 name(std::string_view first_field);
  struct Trace {
    std::uint32_t column = 0;  // from 1; 0: all behind the first field together
    std::uint64_t digest = 0;
  };
  /// Of the fields behind the first, but for `shared` columns (from 1): one of all together, and one of each that has
  /// at least 16 bytes. A shorter one alone could be found by trying them all; together they say no more than `row`
  /// does.
  std::vector<Trace> traces(std::span<const std::string_view> values, const std::vector<std::uint32_t>& shared);

 private:
  Sha256 finish();
  Bytes text_;  // begins with the salt
  std::size_t salt_bytes_;
};
/// All of them, of one row.
PoolDigests pool_digests(std::string_view salt, const std::vector<std::string>& values,
                         const std::vector<std::uint32_t>& shared = {});
Bytes encode_traces(const std::vector<PoolDigester::Trace>&);

/// For tests that stop the process at every durable write: called just before and just after each commit and head write
/// ("before commit", "after commit", "before head", "after head").
void set_ledger_crash_hook(std::function<void(std::string_view point)>);

}  // namespace espmint
