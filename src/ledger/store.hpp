// ledger/store.hpp: the one form of Ledger, on SQLite; private to this room. open.cpp opens and checks, ledger.cpp
// holds the transitions of a board, intents.cpp what the cloud is to be told, pool.cpp keys, queries.cpp the reading.
#pragma once

#include <nlohmann/json.hpp>

#include "io/file.hpp"
#include "ledger/chain.hpp"
#include "ledger/ledger.hpp"
#include "ledger/sqlite.hpp"

namespace espmint {

using Detail = nlohmann::json;  // an object with sorted keys: one value, one text

/// A board's row.
struct KnownBoard {
  std::int64_t number = 0;
  BoardIdentity board;
  std::string device_id;  // empty when it has none yet
  bool exposed = false;   // ever
  std::string held;
};

/// An attempt's row, with what its transitions look at.
struct KnownAttempt {
  std::int64_t number = 0;
  std::int64_t board = 0;
  std::string device_id, state, held;
  std::optional<std::int64_t> renews;
  Sha256 plan{};
  std::string when;
};

/// The newest audit row.
struct Tail {
  std::int64_t sequence = 0;
  Sha256 hash{};
  std::string time;
};

// What every opening does, for the ledger, for the audit and for the invariants (open.cpp).

/// Opens ledger.db and checks that it is a ledger of a version we know. Faults: ledger_missing (read only), …
Result<Database> open_database(const std::filesystem::path& folder, Database::Mode);
Result<std::string> meta(Database&, std::string_view key);
Result<Tail> read_tail(Database&);
/// Whether the chain holds what the head remembers and runs on from there without a break; empty when it does, else
/// what is wrong.
Result<std::string> difference_of_head(Database&, const std::string& ledger_id, const std::optional<Head>&);
/// "esp32, unique id ab12…, flash id 0x164020"
std::string show_tuple(const BoardIdentity&);
/// A rule forbids it: ledger_refused, for a person to decide.
Fault refused(std::string what, std::string seen = {}, std::string advice = {});
/// Text from boards, clouds and people as the ledger keeps it: valid UTF-8 without control bytes.
std::string clean(std::string_view text);
void reach_crash_point(std::string_view point);

/// What the cloud calls the certificate of a query's row: whoever was told of it first has said so.
inline constexpr std::string_view cloud_id_column =
    "coalesce((SELECT answer FROM intent AS said WHERE said.attempt = certificate.attempt AND said.act <> 'retire' "
    "AND said.answer <> '' LIMIT 1), '')";

class Store final : public Ledger {
 public:
  Store(std::filesystem::path folder, LedgerOptions options, const Clock& clock, std::optional<FileLock> lock,
        Database db)
      : folder_(std::move(folder)),
        options_(std::move(options)),
        clock_(clock),
        lock_(std::move(lock)),
        db_(std::move(db)) {}

  /// Makes the tables and the first audit row in an empty database.
  Result<void> found();
  /// Compares the head and frees RESERVED rows; the last step of opening for writing.
  Result<void> recover();
  /// Only reads what it is; the last step of opening for reading.
  Result<void> look();

  Result<Admission> admit(const BoardIdentity&, const Sha256& plan_digest) override;
  Result<Attempt> reserve(const BoardIdentity&, const std::string& device_id, const Sha256& plan_digest,
                          std::optional<std::uint64_t> quota, bool renew) override;
  Result<void> begin_issue(const Attempt&, const std::optional<Sha256>& public_key_sha256) override;
  Result<void> record_certificate(const Attempt&, const CertificateRecord&, const Acts& enrolment) override;
  Result<void> settle(const Attempt&, std::string_view act, std::string_view outcome, std::string_view answer) override;
  Result<void> expose(const Attempt&) override;
  Result<void> mark_written(const Attempt&) override;
  Result<void> mark_verified(const Attempt&, const Evidence&, const Acts& completion) override;
  Result<void> release(const Attempt&, std::string_view why) override;
  Result<void> burn(const Attempt&, std::string_view why) override;
  Result<void> revoke(const std::string& device_id, std::string_view why) override;
  Result<void> record_run(const RunRecord&) override;
  Result<void> together(const std::function<Result<void>()>& steps) override;
  Result<std::int64_t> import_keys(const std::vector<PoolImport>&, std::string_view source) override;
  Result<void> reserve_key(std::int64_t number, const BoardIdentity&, const std::string& device_id,
                           std::optional<std::uint64_t> quota) override;
  Result<void> release_key(std::int64_t number, std::string_view why) override;
  Result<void> expose_key(std::int64_t number) override;
  Result<void> mark_key_written(std::int64_t number) override;
  Result<void> mark_key_verified(std::int64_t number, const KeyEvidence&) override;
  Result<void> quarantine_key(std::int64_t number, std::string_view why) override;
  Result<void> trust_key(std::int64_t number, std::string_view why) override;
  Result<void> suspect_key(std::int64_t number, const std::string& device, std::string_view why) override;
  Result<std::vector<std::int64_t>> suspected_keys() override;
  Result<void> acquit_key(std::int64_t number, std::string_view why) override;
  Result<void> bind_key(std::int64_t number, const BoardIdentity&, const std::string& device_id) override;
  Result<void> retire_key(std::int64_t number, std::string_view by, std::string_view why) override;
  Result<std::optional<PoolKey>> key_with_row(const Sha256& row) override;
  Result<std::optional<PoolKey>> key_with_name(const Sha256& name) override;
  Result<bool> was_reserved(std::int64_t number, const std::string& device, std::string_view when) override;
  Result<std::vector<PoolKey>> keys_of(const std::string& device_id) override;
  Result<std::vector<PoolKey>> pool() override;
  Result<void> each_key(std::int64_t first, const std::function<void(const PoolKey&)>& see) override;
  Result<std::vector<PoolKey>> pool_keys(std::int64_t first, std::int64_t count) override;
  [[nodiscard]] const std::string& salt() const override { return id_; }
  Result<std::vector<DeviceRecord>> devices() override;
  Result<std::optional<DeviceRecord>> device(const std::string& id_or_mac) override;
  Result<std::vector<RunRecord>> runs() override;
  Result<std::vector<OpenIntent>> open_intents(std::size_t limit) override;
  Result<bool> may_tell(const Attempt&, std::string_view act) override;
  Result<std::size_t> boards_to_tell() override;
  Result<std::vector<UnansweredIssue>> unanswered_issues() override;
  Result<std::vector<KnownCertificate>> certificates() override;
  Result<std::vector<RetiredCertificate>> retired_certificates() override;
  Result<AuditReport> verify_audit() override;

 private:
  /// One transaction: everything in it or nothing, with at least one audit row. Rolled back unless committed.
  class Change {
   public:
    static Result<Change> begin(Store&);
    Change(Change&& other) noexcept
        : store_(std::exchange(other.store_, nullptr)), outer_(other.outer_), tail_(std::move(other.tail_)) {}
    Change& operator=(Change&&) = delete;
    ~Change();
    /// Adds the audit row that the changed rows name; its sequence.
    Result<std::int64_t> log(std::string_view event, const std::string& device_id, Detail detail);
    /// Durable when it returns, and the head outside is moved. An I/O fault here ends this ledger's writing.
    Result<void> commit();

   private:
    friend class Store;
    explicit Change(Store& store)
        : store_(&store), outer_(store.together_), tail_(outer_ ? outer_->tail_ : store.tail_) {}
    Store* store_;   // null once committed
    Change* outer_;  // whose commit this one is part of
    Tail tail_;
    bool spoiled_ = false;  // an inner one did not commit
  };

  /// The row of a board that gets something now, and what stands in the way of it: held, another's id, the quota, the
  /// clock. `is_new`: it has no row yet, and `number` is the one it will have.
  struct Claim {
    std::int64_t number = 0;
    bool is_new = false, exposed = false;
  };
  Result<Claim> claim(const BoardIdentity&, const std::string& device_id, std::optional<std::uint64_t> quota);
  /// Writes the claimed board's row. Inside a change.
  Result<void> keep_claim(const Claim&, const BoardIdentity&, const std::string& device_id, std::int64_t audit);
  Result<PoolKey> find_key(std::int64_t number, std::initializer_list<KeyState> states, std::string_view verb);
  Result<std::vector<PoolKey>> keys_where(std::string_view condition, std::initializer_list<Arg>);
  Result<void> move_key(std::int64_t number, std::initializer_list<KeyState> from, KeyState to, std::string_view event,
                        Detail detail);
  Result<std::vector<KnownBoard>> boards_with_mac(const Mac&);
  /// A board has at most one of each: RESERVED, and one of EXPOSED, WRITTEN, VERIFIED.
  enum class Phase { reserved, exposed };
  Result<std::optional<KnownAttempt>> attempt_of(std::int64_t board, Phase);
  /// When and why a person took back the last identity that the board had; nothing: nobody did.
  struct Revocation {
    std::string when, why;
  };
  Result<std::optional<Revocation>> revocation_of(std::int64_t board);
  Result<KnownAttempt> find(const Attempt&, std::initializer_list<std::string_view> states, std::string_view verb);
  /// Inside a change.
  Result<void> open_intents_to(const Acts&, std::int64_t attempt, std::int64_t audit);
  /// Of a completion, what this board does not have behind it.
  Result<Acts> still_to_do(const Acts& completion, std::int64_t board);
  /// Everything that ends with a certificate that nobody may use: its row and its intents. Inside a change.
  Result<void> burn_certificate(std::int64_t attempt, std::int64_t audit);
  Result<void> set_state(std::int64_t attempt, std::string_view state, std::int64_t audit);
  /// Same MAC, other tuple: the newcomer gets a row, all of them are held; the sentence why.
  Result<std::string> hold_clones(const std::vector<KnownBoard>& known, const BoardIdentity& newcomer);
  Result<std::optional<CertificateRecord>> certificate_of(std::int64_t attempt);
  Result<std::vector<DeviceRecord>> devices_where(std::string_view condition, std::initializer_list<Arg>);

  std::filesystem::path folder_;
  LedgerOptions options_;
  const Clock& clock_;
  std::optional<FileLock> lock_;  // before the database: held until that is closed
  Database db_;
  std::string id_;
  Tail tail_;
  Change* together_ = nullptr;   // the one under way that others join
  std::optional<Fault> broken_;  // the head could not be written: nothing more is
};

}  // namespace espmint
