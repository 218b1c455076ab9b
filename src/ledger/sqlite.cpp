#include "ledger/sqlite.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>

namespace espmint {
namespace {

/// What each primary result code means to the line. Source: SQLite, Result and Error Codes.
struct CodeMeaning {
  int primary;
  Code code;
  Remedy remedy;
  const char* what;
  const char* advice;
};
constexpr std::array meanings{
    CodeMeaning{SQLITE_FULL, Code::disk_full, Remedy::stop_line, "the disk is full: the ledger could not be written",
                "Free some space, then start again; what was recorded before stands"},
    CodeMeaning{SQLITE_IOERR, Code::ledger_io, Remedy::stop_line, "the ledger could not be read or written",
                "Check the disk (dmesg), then start again: the ledger is checked on opening"},
    CodeMeaning{SQLITE_READONLY, Code::ledger_io, Remedy::stop_line, "the ledger may not be written",
                "Check the file's permissions and that its disk is not mounted read-only"},
    CodeMeaning{SQLITE_CANTOPEN, Code::ledger_io, Remedy::stop_line, "the ledger cannot be opened",
                "Check the folder's permissions"},
    CodeMeaning{SQLITE_PERM, Code::ledger_io, Remedy::stop_line, "the ledger may not be opened",
                "Check the file's permissions"},
    CodeMeaning{SQLITE_CORRUPT, Code::ledger_damaged, Remedy::stop_line, "the ledger's file is damaged",
                "Restore ledger.db and ledger.head together from the newest backup"},
    CodeMeaning{SQLITE_NOTADB, Code::ledger_foreign, Remedy::stop_line, "the file is not a ledger",
                "Choose another state folder, or move the file away"},
    CodeMeaning{SQLITE_BUSY, Code::ledger_locked, Remedy::stop_line, "another program is writing to the ledger",
                "Close the program that has ledger.db open"},
    CodeMeaning{SQLITE_LOCKED, Code::ledger_locked, Remedy::stop_line, "another program is writing to the ledger",
                "Close the program that has ledger.db open"},
    CodeMeaning{SQLITE_CONSTRAINT, Code::ledger_refused, Remedy::refuse, "a rule of the ledger forbids it", ""},
};

std::string escape_uri(std::string_view path) {
  std::string out;
  for (char c : path) out += c == '%' || c == '?' || c == '#' ? fmt::format("%{:02x}", c) : std::string(1, c);
  return out;
}

}  // namespace

void Arg::bind(sqlite3_stmt* statement, int at) const {
  // A null pointer would bind NULL, where an empty text is meant.
  const void* data = bytes_.empty() ? static_cast<const void*>("") : bytes_.data();
  switch (kind_) {
    case Kind::null:
      sqlite3_bind_null(statement, at);
      break;
    case Kind::integer:
      sqlite3_bind_int64(statement, at, integer_);
      break;
    case Kind::real:
      sqlite3_bind_double(statement, at, real_);
      break;
    case Kind::text:
      sqlite3_bind_text64(statement, at, static_cast<const char*>(data), bytes_.size(), SQLITE_STATIC, SQLITE_UTF8);
      break;
    case Kind::blob:
      sqlite3_bind_blob64(statement, at, data, bytes_.size(), SQLITE_STATIC);
      break;
  }
}

bool Row::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
std::int64_t Row::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Row::real(int column) const { return sqlite3_column_double(statement_, column); }
std::string Row::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return data ? std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))) : std::string{};
}
Bytes Row::blob(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  return data ? Bytes(data, data + sqlite3_column_bytes(statement_, column)) : Bytes{};
}
std::string_view Row::view(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return data ? std::string_view{data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))}
              : std::string_view{};
}
ByteView Row::bytes(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  return data ? ByteView{data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))} : ByteView{};
}

void Database::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
void Database::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Result<Database> Database::open(const std::filesystem::path& path, Mode mode) {
  sqlite3* handle = nullptr;
  // No locks of SQLite's own: a value of this type belongs to one thread at a time.
  int flags = SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOMUTEX |
              (mode == Mode::read_write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
  std::string name = path.empty() ? ":memory:" : std::filesystem::absolute(path).string();
  if (mode == Mode::frozen) {
    name = "file:" + escape_uri(name) + "?immutable=1";
    flags |= SQLITE_OPEN_URI;
  }
  int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  Database out{handle, path};
  if (code != SQLITE_OK) return fail(out.fault(code));
  // Readers and the writer never wait for each other in WAL mode; this covers a checkpoint or recovery under way.
  sqlite3_busy_timeout(handle, 2000);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return out;
}

Fault Database::fault(int code) {
  Fault out{Code::internal, Remedy::stop_line, "the ledger's database refused a statement"};
  int primary = code & 0xff;
  // SQLite tells only ENOSPC from other failed writes; a quota and a limit on files are the same wall to whoever
  // writes. sqlite3_system_errno() stays 0 for a failed step, so this asks errno, which the step began with as 0.
  if (code == SQLITE_IOERR_WRITE && (errno == EDQUOT || errno == EFBIG)) primary = SQLITE_FULL;
  if (code == SQLITE_IOERR_SHMSIZE) primary = SQLITE_FULL;  // the shared index could not grow
  for (const CodeMeaning& row : meanings)
    if (row.primary == primary) out = {row.code, row.remedy, row.what, {}, {}, row.advice};
  out.where.input = path_.string();
  out.seen = handle_ ? sqlite3_errmsg(handle_.get()) : sqlite3_errstr(code);
  if (out.code != Code::ledger_refused) out.seen += fmt::format(" (SQLite {})", code);
  if (primary == SQLITE_IOERR && handle_) {
    broken_ = out;
    // Closing would copy the WAL into the file and sync it: that is for the next opening, which checks first.
    sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  return out;
}

Result<sqlite3_stmt*> Database::prepare(std::string_view sql) {
  if (auto found = statements_.find(sql); found != statements_.end()) return found->second.get();
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                &statement, nullptr);
  if (code != SQLITE_OK) return fail(fault(code));
  statements_.emplace(std::string{sql}, statement);
  return statement;
}

Result<void> Database::each(std::string_view sql, std::initializer_list<Arg> args,
                            const std::function<void(const Row&)>& see) {
  if (broken_) return fail(*broken_);
  TRY(sqlite3_stmt * statement, prepare(sql));
  // Reset on every way out: a statement left standing keeps its snapshot, and with it the WAL, open.
  struct Reset {
    sqlite3_stmt* statement;
    ~Reset() {
      sqlite3_reset(statement);
      sqlite3_clear_bindings(statement);
    }
  } reset{statement};
  int at = 0;
  for (const Arg& arg : args) arg.bind(statement, ++at);
  for (;;) {
    errno = 0;
    int code = sqlite3_step(statement);
    if (code == SQLITE_DONE) return ok();
    if (code != SQLITE_ROW) return fail(fault(code));
    see(Row{statement});
  }
}

Result<void> Database::run(std::string_view sql, std::initializer_list<Arg> args) {
  return each(sql, args, [](const Row&) {});
}

Result<void> Database::script(const std::string& sql) {
  if (broken_) return fail(*broken_);
  int code = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(fault(sqlite3_extended_errcode(handle_.get())));
  return ok();
}

Result<std::int64_t> Database::number(std::string_view sql, std::initializer_list<Arg> args) {
  TRY(auto value, first(sql, args, [](const Row& row) { return row.integer(0); }));
  return value.value_or(0);
}

void Database::roll_back() noexcept {
  if (handle_ && sqlite3_get_autocommit(handle_.get()) == 0)
    sqlite3_exec(handle_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

}  // namespace espmint
