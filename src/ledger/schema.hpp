// ledger/schema.hpp: the tables of a ledger and the rules that SQLite itself enforces. Drawing: docs/ledger.md.
#pragma once

#include <string>

#include "base/result.hpp"
#include "ledger/sqlite.hpp"

namespace espmint {

/// "ESML"; `file ledger.db` shows it, and no other program's database is mistaken for a ledger.
inline constexpr std::int64_t ledger_application_id = 0x45534d4c;
inline constexpr std::int64_t ledger_schema_version = 5;

/// Tables, indexes, triggers and both numbers above, into an empty database; inside the caller's transaction.
Result<void> create_schema(Database&);
/// The first table, index or trigger that is not as create_schema makes it ("trigger audit_is_append_only is missing");
/// empty when all are. A rule that was taken out protects nothing any more.
Result<std::string> difference_of_schema(Database&);

}  // namespace espmint
