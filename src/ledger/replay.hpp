// ledger/replay.hpp: what the tables must hold if the audit chain is true. It shares no code with the transitions: it
// reads the words of the rows only, so a mistake there and a row edited by hand both show.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "ledger/ledger.hpp"
#include "ledger/sqlite.hpp"

namespace espmint {

class Replay {
 public:
  struct Finding {
    std::int64_t row = 0;  // the audit row that does not fit, or that said otherwise
    std::string why;
  };

  /// Rows in order, from the first. A finding when the row tells of a step that cannot follow what came before.
  std::optional<Finding> apply(const AuditRow&);
  /// Every table against what the rows told. The earliest row that a table contradicts.
  Result<std::optional<Finding>> compare(Database&) const;

 private:
  struct Cells {
    std::vector<std::string> values;
    std::int64_t row = 0;  // who said so last
  };
  using Table = std::unordered_map<std::string, Cells>;

  std::string step(const AuditRow&, const nlohmann::json&);
  std::string key_step(const AuditRow&, const nlohmann::json&);  // replay_pool.cpp
  std::string import(const AuditRow&, const nlohmann::json&);
  Result<std::optional<Finding>> compare_pool(Database&) const;
  std::string reserve(const AuditRow&, const nlohmann::json&);
  std::string move_identity(const std::string& attempt, std::string_view from, std::string_view to, std::int64_t row);
  void burn_certificate(const std::string& attempt, std::int64_t row);
  void open_intent(const std::string& attempt, std::string_view act, std::int64_t row);
  std::string open_intents(const nlohmann::json& detail, const std::string& attempt, std::int64_t row);
  std::string expose_board(const std::string& number, std::int64_t row);
  std::string put_board(const std::string& number, const nlohmann::json&, const std::string& device_id,
                        const std::string& held, std::int64_t row);

  /// A key that some row told of by its number; the others are AVAILABLE since their import.
  struct Key {
    std::string state, device, board;
    std::int64_t row = 0;
  };
  struct Import {
    std::int64_t first = 0, count = 0;
    std::string sha256;  // of the digests, in order
    std::int64_t row = 0;
  };
  std::unordered_map<std::int64_t, Key> keys_;
  std::vector<Import> imports_;
  Table meta_, boards_, identities_, certificates_, intents_, evidence_, runs_;
};

}  // namespace espmint
