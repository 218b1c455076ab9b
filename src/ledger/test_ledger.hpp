// ledger/test_ledger.hpp: the eyes of this room's tests: faults, states and violations, and a hand that tampers.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "ledger/chain.hpp"
#include "ledger/invariants.hpp"
#include "ledger/sqlite.hpp"
#include "ledger/test_boards.hpp"

namespace espmint {

/// The fault, or an empty one when the call went well.
template <typename T>
Fault fault_of(Result<T> result) {
  EXPECT_FALSE(result.has_value());
  return result ? Fault{Code::internal, Remedy::retry, "no fault"} : std::move(result.error());
}
#define EXPECT_OK(call)                                        \
  do {                                                         \
    auto expected_ok = (call);                                 \
    EXPECT_TRUE(expected_ok) << describe(expected_ok.error()); \
  } while (false)

inline KeyState state_of(Ledger& ledger, int n) {
  auto device = ledger.device(id_of(n)).value();
  return device ? device->state : KeyState::available;
}
inline std::string violations_of(const TestFolder& folder) {
  auto found = find_violations(folder.path());
  if (!found) return describe(found.error());
  std::string out;
  for (const std::string& sentence : *found) out += sentence + "\n";
  return out;
}

/// Whoever has the file and a shell: writes past the ledger, its triggers and its foreign keys out of the way.
inline void tamper(const TestFolder& folder, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(database_in(folder.path()).c_str(), &db), SQLITE_OK);
  std::string drop;
  auto collect = [](void* out, int, char** values, char**) {
    *static_cast<std::string*>(out) += fmt::format("DROP TRIGGER {};", values[0]);
    return 0;
  };
  sqlite3_exec(db, "SELECT name FROM sqlite_master WHERE type = 'trigger'", collect, &drop, nullptr);
  char* why = nullptr;
  EXPECT_EQ(sqlite3_exec(db, (drop + "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;" + sql).c_str(),
                         nullptr, nullptr, &why),
            SQLITE_OK)
      << (why ? why : "");
  sqlite3_free(why);
  sqlite3_close(db);
}

}  // namespace espmint
