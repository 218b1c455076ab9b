// Opening a ledger: whose file it is, whether it is whole, whether it is the newest, and what a crash left RESERVED.
#include <fmt/format.h>
#include <openssl/rand.h>

#include <cstdlib>

#include "base/text.hpp"
#include "ledger/schema.hpp"
#include "ledger/store.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

// Above this the pages are not all read at every start: 8 MiB take about 20 ms and hold some 1500 boards. The audit
// chain and SQLite itself still find damage where they read.
constexpr std::uintmax_t quick_check_limit = 8_MiB;

constexpr const char* restore = "Restore ledger.db and ledger.head together from the newest backup; keep this copy";

std::function<void(std::string_view)>& crash_hook() {
  static std::function<void(std::string_view)> hook;
  return hook;
}

Fault about(const fs::path& path, Code code, std::string what, std::string seen = {}, std::string advice = {}) {
  Fault fault{code, Remedy::stop_line, std::move(what), {}, std::move(seen), std::move(advice)};
  fault.where.input = path.string();
  return fault;
}

bool has_content(const fs::path& path) {
  std::error_code none;
  auto size = fs::file_size(path, none);
  return !none && size > 0;
}

std::string mint_ledger_id() {
  std::array<std::uint8_t, 16> id{};
  if (RAND_bytes(id.data(), static_cast<int>(id.size())) != 1) std::abort();  // no generator: nothing here may go on
  return to_hex(id);
}

/// A database that holds nothing at all: what a crash in the first opening leaves, or a new file.
Result<bool> is_blank(Database& db) {
  TRY(auto application, db.number("PRAGMA application_id"));
  TRY(auto objects, db.number("SELECT count(*) FROM sqlite_master"));
  return application == 0 && objects == 0;
}

fs::path wal_in(const fs::path& folder) { return database_in(folder).string() + "-wal"; }

/// The process before may have been stopped before it synced what it wrote, or because it could not: its commits are
/// read from memory, and ours would lie behind a gap that a power cut opens. Where it ended well there is no WAL.
/// Before SQLite opens the file: what the WAL says then is on the disk.
Result<void> make_past_durable(const fs::path& folder) {
  std::error_code none;
  return fs::exists(wal_in(folder), none) ? as_ledger_fault(rewrite_durably(wal_in(folder))) : ok();
}

/// SQLite syncs the folder of a new WAL too, but takes no notice when that fails. Source: its os_unix.c, unixSync().
Result<void> make_name_durable(const fs::path& folder) {
  std::error_code none;
  return fs::exists(wal_in(folder), none) ? as_ledger_fault(make_durable(wal_in(folder))) : ok();
}

Result<void> check_pages(Database& db, const fs::path& path) {
  std::error_code none;
  if (fs::file_size(path, none) > quick_check_limit) return ok();
  TRY(auto verdict, db.first("PRAGMA quick_check(1)", {}, [](const Row& row) { return row.text(0); }));
  if (verdict == "ok") return ok();
  return fail(about(path, Code::ledger_damaged, "the ledger's file is damaged", verdict.value_or(""), restore));
}

}  // namespace

void set_ledger_crash_hook(std::function<void(std::string_view)> hook) { crash_hook() = std::move(hook); }
void reach_crash_point(std::string_view point) {
  if (crash_hook()) crash_hook()(point);
}

std::string show_tuple(const BoardIdentity& board) {
  return fmt::format("{}{}{}, flash id {:#08x}", board.chip, board.unique_id.empty() ? "" : ", unique id ",
                     board.unique_id, board.flash_id);
}

Result<Database> open_database(const fs::path& folder, Database::Mode mode) {
  fs::path path = database_in(folder);
  std::error_code none;
  if (mode != Database::Mode::read_write && !fs::exists(path, none))
    return fail(about(path, Code::ledger_missing, "there is no ledger here yet", "",
                      "The first run makes one; or give the state folder with --state"));
  TRY(Database db, Database::open(path, mode));
  auto application = db.number("PRAGMA application_id");
  if (!application && application.error().code == Code::ledger_io && mode == Database::Mode::read_only &&
      !has_content(path.string() + "-wal"))
    return open_database(folder, Database::Mode::frozen);  // a copy on read-only media
  if (!application) {
    Fault fault = std::move(application.error());
    // A head beside it says that this was a ledger once.
    if (fault.code == Code::ledger_foreign && fs::exists(head_in(folder), none))
      fault = about(path, Code::ledger_damaged, "the ledger's file is damaged", fault.seen, restore);
    return fail(std::move(fault));
  }
  TRY(bool blank, is_blank(db));
  if (blank && mode == Database::Mode::read_write) return db;
  if (blank)
    return fail(about(path, Code::ledger_missing, "there is no ledger here yet", "the file is empty",
                      "The first run makes one; or give the state folder with --state"));
  if (*application != ledger_application_id)
    return fail(about(path, Code::ledger_foreign, "the file belongs to another program",
                      fmt::format("application id {:#x}", *application),
                      "Choose another state folder, or move the file away"));
  TRY(auto version, db.number("PRAGMA user_version"));
  if (version != ledger_schema_version)
    return fail(about(path, Code::ledger_refused, "the ledger was written by another version of espmint",
                      fmt::format("format {}, this program knows {}", version, ledger_schema_version),
                      "Use the version that wrote it, or a newer one"));
  return db;
}

Result<std::string> meta(Database& db, std::string_view key) {
  TRY(auto value, db.first("SELECT value FROM meta WHERE key = ?1", {key}, [](const Row& row) { return row.text(0); }));
  return value.value_or("");
}

Result<Tail> read_tail(Database& db) {
  TRY(auto tail, db.first("SELECT seq, hash, time FROM audit ORDER BY seq DESC LIMIT 1", {}, [](const Row& row) {
    return Tail{row.integer(0), row.digest<32>(1), row.text(2)};
  }));
  return tail.value_or(Tail{});
}

Result<std::string> difference_of_head(Database& db, const std::string& ledger_id, const std::optional<Head>& head) {
  TRY(Tail tail, read_tail(db));
  if (tail.sequence == 0) return std::string{"the audit chain is empty"};
  if (!head) {
    // Only the crash between making a ledger and its first head leaves it so.
    if (tail.sequence == 1) return std::string{};
    return fmt::format("ledger.head is missing: nothing outside the ledger vouches for its {} rows", tail.sequence);
  }
  if (head->ledger_id != ledger_id)
    return fmt::format("ledger.head is of ledger {}, this one is {}", head->ledger_id, ledger_id);
  if (head->sequence > tail.sequence)
    return fmt::format(
        "it ends with audit row {}, ledger.head remembers row {}: it was cut off, or restored from an old "
        "copy",
        tail.sequence, head->sequence);
  TRY(auto at_head, db.first("SELECT hash FROM audit WHERE seq = ?1", {head->sequence},
                             [](const Row& row) { return row.digest<32>(0); }));
  if (!at_head || *at_head != head->hash)
    return fmt::format(
        "its audit row {} has another hash than ledger.head remembers: the chain was re-written, or the "
        "ledger restored from an old copy",
        head->sequence);
  // Rows whose head a crash cut off: each must follow the one before.
  std::string why;
  Sha256 previous = head->hash;
  TRY(db.each("SELECT seq, time, event, device, detail, hash FROM audit WHERE seq > ?1 ORDER BY seq", {head->sequence},
              [&](const Row& row) {
                AuditRow audit{row.integer(0), row.text(1), row.text(2), row.text(3), row.text(4)};
                if (why.empty() && hash_of_row(audit, previous) != row.digest<32>(5))
                  why = fmt::format("audit row {} does not follow the one before", audit.sequence);
                previous = row.digest<32>(5);
              }));
  return why;
}

Result<std::unique_ptr<Ledger>> Ledger::open(const fs::path& folder, LedgerOptions options, const Clock& clock) {
  const bool writes = options.mode == LedgerOptions::Mode::write;
  fs::path path = database_in(folder);
  if (!writes) {
    TRY(Database db, open_database(folder, Database::Mode::read_only));
    auto store = std::make_unique<Store>(folder, std::move(options), clock, std::nullopt, std::move(db));
    TRY(store->look());
    return store;
  }

  TRY(make_folder(folder, true));
  if (is_on_network(folder))
    return fail(about(folder, Code::ledger_refused, "a ledger does not work on a network file system",
                      "locks and renames are not kept there", "Choose a local folder with --state"));
  TRY(FileLock lock, FileLock::acquire(lock_in(folder), options.holder));
  TRY(auto head, read_head(folder));
  if (head && !has_content(path))
    return fail(about(path, Code::ledger_damaged, "the ledger is gone",
                      fmt::format("ledger.head remembers {} audit rows, ledger.db is {}", head->sequence,
                                  fs::exists(path) ? "empty" : "not there"),
                      restore));
  TRY(make_past_durable(folder));
  TRY(Database db, open_database(folder, Database::Mode::read_write));
  TRY(bool blank, is_blank(db));
  if (blank && head)
    return fail(about(path, Code::ledger_damaged, "the ledger is gone", "ledger.db holds no tables", restore));
  if (!blank) TRY(check_pages(db, path));
  TRY(db.run("PRAGMA foreign_keys = ON"));
  TRY(auto journal, db.first("PRAGMA journal_mode = WAL", {}, [](const Row& row) { return row.text(0); }));
  if (journal != "wal")
    return fail(about(path, Code::ledger_refused, "this file system cannot hold a ledger",
                      "it has no shared memory for SQLite's WAL", "Choose another folder with --state"));
  TRY(db.run("PRAGMA synchronous = FULL"));  // NORMAL may lose an acknowledged commit when the power goes
  TRY(make_name_durable(folder));
  auto store = std::make_unique<Store>(folder, std::move(options), clock, std::move(lock), std::move(db));
  if (blank) TRY(store->found());
  TRY(store->recover());
  return store;
}

Result<void> Store::found() {
  TRY(db_.run("BEGIN IMMEDIATE"));
  auto made = [&]() -> Result<void> {
    TRY(create_schema(db_));
    std::string id = mint_ledger_id();
    TRY(db_.run("INSERT INTO meta VALUES ('ledger_id', ?1), ('product', ?2)", {id, options_.product}));
    AuditRow row{1, to_string(clock_.wall()), "created", "",
                 Detail{{"ledger", id}, {"product", options_.product}}.dump()};
    Sha256 hash = hash_of_row(row, {});
    TRY(db_.run("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                {row.sequence, row.time, row.event, row.device_id, row.detail, to_hex(Sha256{}), to_hex(hash)}));
    reach_crash_point("before commit");
    TRY(db_.run("COMMIT"));
    reach_crash_point("after commit");
    return ok();
  }();
  if (!made) db_.roll_back();
  return made;
}

Result<void> Store::look() {
  fs::path path = database_in(folder_);
  TRY(id_, meta(db_, "ledger_id"));
  TRY(auto product, meta(db_, "product"));
  if (product != options_.product && !options_.product.empty())
    return fail(about(path, Code::ledger_foreign, "the ledger is of another product",
                      fmt::format("it is of \"{}\", asked for was \"{}\"", escape_controls(product), options_.product),
                      "Each product has a folder of its own"));
  TRY(tail_, read_tail(db_));
  return ok();
}

Result<void> Store::recover() {
  fs::path path = database_in(folder_);
  TRY(look());
  TRY(auto changed_rule, difference_of_schema(db_));
  if (!changed_rule.empty())
    return fail(about(path, Code::ledger_damaged, "the ledger's rules were changed", changed_rule, restore));
  TRY(auto head, read_head(folder_));
  TRY(auto why, difference_of_head(db_, id_, head));
  if (!why.empty())
    return fail(about(path, Code::ledger_damaged, "the ledger is not the one that was written last", why, restore));

  // Nothing of a RESERVED attempt left the process that made it, and that process has ended: the lock is ours.
  std::vector<Attempt> reserved;
  TRY(
      db_.each("SELECT attempt, device_id FROM identity JOIN board ON number = board WHERE state = 'RESERVED' "
               "ORDER BY attempt",
               {}, [&](const Row& row) {
                 reserved.push_back({row.integer(0), row.text(1)});
               }));
  for (const Attempt& attempt : reserved) TRY(release(attempt, "the process that reserved it has ended"));

  std::vector<std::int64_t> reserved_keys;
  TRY(db_.each("SELECT number FROM pool_key WHERE state = 'RESERVED' ORDER BY number", {},
               [&](const Row& row) { reserved_keys.push_back(row.integer(0)); }));
  for (std::int64_t key : reserved_keys) TRY(release_key(key, "the process that reserved it has ended"));

  if (!head || head->sequence != tail_.sequence) {
    reach_crash_point("before head");
    TRY(write_head(folder_, {id_, tail_.sequence, tail_.hash}));
    reach_crash_point("after head");
  }
  return ok();
}

}  // namespace espmint
