#include "ledger/replay.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/hash.hpp"

namespace espmint {
namespace {

using nlohmann::json;

// A table as it is compared: the first column is its key, the rest are named here, and stand so in Cells.
struct TableSpec {
  std::string_view name;
  std::string_view sql;
  std::vector<std::string_view> columns;
};

const TableSpec meta_table{"meta", "SELECT key, value, 1 FROM meta", {"value"}};
const TableSpec board_table{
    "board",
    "SELECT number, mac, chip, unique_id, flash_id, coalesce(device_id, ''), exposed, held, audit FROM board",
    {"mac", "chip", "unique_id", "flash_id", "device_id", "exposed", "held"}};
const TableSpec identity_table{"identity",
                               "SELECT attempt, board, plan, coalesce(renews, ''), state, audit FROM identity",
                               {"board", "plan", "renews", "state"}};
const TableSpec certificate_table{
    "certificate",
    "SELECT attempt, board, sha256, serial, public_key_sha256, image_md5, image_sha256, state, audit, der, "
    "public_key_der FROM certificate",
    {"board", "sha256", "serial", "public_key_sha256", "image_md5", "image_sha256", "state"}};
const TableSpec intent_table{"intent",
                             "SELECT attempt || ' ' || act, state, outcome, answer, subject, audit FROM intent",
                             {"state", "outcome", "answer", "subject"}};
const TableSpec evidence_table{
    "evidence", "SELECT attempt, method, image_md5, detail, audit FROM evidence", {"method", "image_md5", "detail"}};
const TableSpec run_table{
    "run",
    "SELECT number, mac, chip, unique_id, flash_id, device_id, slot, firmware_version, firmware_sha256, plan, "
    "certificate_sha256, started, milliseconds, verdict, code, fault, audit FROM run",
    {"mac", "chip", "unique_id", "flash_id", "device_id", "slot", "firmware_version", "firmware_sha256", "plan",
     "certificate_sha256", "started", "milliseconds", "verdict", "code", "fault"}};

// Places in Cells, as the specs above order them.
enum BoardColumn : std::size_t { board_id = 4, board_exposed = 5, board_held = 6 };
constexpr std::size_t identity_board = 0;
constexpr std::size_t identity_renews = 2;
constexpr std::size_t identity_state = 3;
constexpr std::size_t certificate_state = 6;
constexpr std::size_t intent_state = 0;
constexpr std::size_t intent_outcome = 1;
constexpr std::size_t intent_subject = 3;

/// A field as the tables show it; a missing one is empty.
std::string field(const json& detail, const char* name) {
  auto at = detail.find(name);
  if (at == detail.end() || at->is_null()) return {};
  return at->is_string() ? at->get<std::string>() : at->dump();
}

}  // namespace

std::optional<Replay::Finding> Replay::apply(const AuditRow& row) {
  json detail = json::parse(row.detail, nullptr, false);
  if (!detail.is_object()) return Finding{row.sequence, fmt::format("row {} holds no details", row.sequence)};
  std::string why = step(row, detail);
  if (why.empty()) return std::nullopt;
  return Finding{row.sequence, fmt::format("row {} ({}) cannot be: {}", row.sequence, row.event, why)};
}

std::string Replay::put_board(const std::string& number, const json& tuple, const std::string& device_id,
                              const std::string& held, std::int64_t row) {
  Cells cells{{field(tuple, "mac"), field(tuple, "chip"), field(tuple, "unique_id"), field(tuple, "flash_id"),
               device_id, "0", held},
              row};
  auto [at, is_new] = boards_.try_emplace(number, cells);
  if (is_new) return {};
  for (std::size_t i = 0; i < board_id; ++i)
    if (at->second.values[i] != cells.values[i]) return fmt::format("board {} was another one before", number);
  if (at->second.values[board_exposed] == "1" && at->second.values[board_id] != device_id)
    return fmt::format("board {} was exposed as {}", number, at->second.values[board_id]);
  at->second.values[board_id] = device_id;
  at->second.row = row;
  return {};
}

std::string Replay::reserve(const AuditRow& row, const json& detail) {
  std::string board = field(detail, "board");
  std::string attempt = field(detail, "attempt");
  if (std::string why = put_board(board, detail, row.device_id, "", row.sequence); !why.empty()) return why;
  std::string renews = field(detail, "renews");
  if (!renews.empty()) {
    auto old = identities_.find(renews);
    if (old == identities_.end() || old->second.values[identity_board] != board ||
        old->second.values[identity_state] != "VERIFIED")
      return fmt::format("attempt {} is nothing to renew", renews);
  }
  Cells cells{{board, field(detail, "plan"), renews, "RESERVED"}, row.sequence};
  if (!identities_.try_emplace(attempt, std::move(cells)).second) return fmt::format("attempt {} is used", attempt);
  return {};
}

std::string Replay::move_identity(const std::string& attempt, std::string_view from, std::string_view to,
                                  std::int64_t row) {
  auto at = identities_.find(attempt);
  if (at == identities_.end()) return fmt::format("there is no attempt {}", attempt);
  std::string& state = at->second.values[identity_state];
  if (from.find(state) == std::string_view::npos) return fmt::format("attempt {} was {}", attempt, state);
  state = to;
  at->second.row = row;
  return {};
}

void Replay::burn_certificate(const std::string& attempt, std::int64_t row) {
  auto certificate = certificates_.find(attempt);
  if (certificate == certificates_.end()) return;
  certificate->second.values[certificate_state] = "BURNED";
  certificate->second.row = row;
  bool may_be_known = false;
  for (std::string_view act : {"enrol", "policy", "thing", "attach", "retire", "issue", "register", "activate"}) {
    auto intent = intents_.find(fmt::format("{} {}", attempt, act));
    if (intent == intents_.end()) continue;
    may_be_known = may_be_known || act == "issue" || act == "register" || act == "activate";
    if (intent->second.values[intent_state] != "OPEN") continue;
    intent->second.values[intent_state] = "DONE";
    intent->second.values[intent_outcome] = "certificate burned";
    intent->second.row = row;
  }
  if (may_be_known) open_intent(attempt, "revoke", row);
}

void Replay::open_intent(const std::string& attempt, std::string_view act, std::int64_t row) {
  intents_[fmt::format("{} {}", attempt, act)] = {{"OPEN", "", "", ""}, row};
}

std::string Replay::open_intents(const json& detail, const std::string& attempt, std::int64_t row) {
  for (const json& act : detail.value("acts", json::array())) {
    if (!act.is_string()) return "an act has no name";
    open_intent(attempt, act.get<std::string>(), row);
  }
  return {};
}

std::string Replay::expose_board(const std::string& number, std::int64_t row) {
  auto at = boards_.find(number);
  if (at == boards_.end()) return fmt::format("there is no board {}", number);
  if (!at->second.values[board_held].empty()) return "the board was held";
  at->second.values[board_exposed] = "1";
  at->second.row = row;
  return {};
}

std::string Replay::step(const AuditRow& row, const json& detail) {
  const std::string attempt = field(detail, "attempt");
  const std::int64_t seq = row.sequence;
  if (row.event == "created") {
    if (seq != 1) return "only the first row tells of the beginning";
    meta_["ledger_id"] = {{field(detail, "ledger")}, seq};
    meta_["product"] = {{field(detail, "product")}, seq};
    return {};
  }
  if (seq == 1) return "the first row tells of the beginning";
  if (row.event == "reserved") return reserve(row, detail);
  if (row.event == "certificate") {
    auto at = identities_.find(attempt);
    if (at == identities_.end() || at->second.values[identity_state] != "RESERVED")
      return "the attempt is not RESERVED";
    Cells cells{
        {at->second.values[identity_board], field(detail, "sha256"), field(detail, "serial"),
         field(detail, "public_key_sha256"), field(detail, "image_md5"), field(detail, "image_sha256"), "PENDING"},
        seq};
    if (!certificates_.try_emplace(attempt, std::move(cells)).second) return "the attempt has a certificate already";
    if (auto issue = intents_.find(attempt + " issue"); issue != intents_.end())
      issue->second = {{"DONE", "done", field(detail, "cloud_id"), issue->second.values[intent_subject]}, seq};
    return open_intents(detail, attempt, seq);
  }
  if (row.event == "issue_begun") {
    auto at = identities_.find(attempt);
    if (at == identities_.end() || at->second.values[identity_state] != "RESERVED" || certificates_.contains(attempt))
      return "the attempt is not RESERVED";
    open_intent(attempt, "issue", seq);
    intents_[attempt + " issue"].values[intent_subject] = field(detail, "public_key_sha256");
    return {};
  }
  if (row.event == "settled") {
    auto at = intents_.find(attempt + " " + field(detail, "act"));
    if (at == intents_.end() || at->second.values[0] != "OPEN") return "that intent is not open";
    at->second = {{"DONE", field(detail, "outcome"), field(detail, "answer"), at->second.values[intent_subject]}, seq};
    return {};
  }
  if (row.event == "exposed") {
    auto at = identities_.find(attempt);
    auto certificate = certificates_.find(attempt);
    if (at == identities_.end() || certificate == certificates_.end()) return "no certificate was recorded";
    std::string burns = field(detail, "burns");
    if (burns != at->second.values[identity_renews]) return "it burns another certificate than it renews";
    if (!burns.empty()) {
      if (std::string why = move_identity(burns, "VERIFIED", "BURNED", seq); !why.empty()) return why;
      burn_certificate(burns, seq);
    }
    certificate->second.values[certificate_state] = "LIVE";
    certificate->second.row = seq;
    if (std::string why = expose_board(at->second.values[identity_board], seq); !why.empty()) return why;
    return move_identity(attempt, "RESERVED", "EXPOSED", seq);
  }
  if (row.event == "written") return move_identity(attempt, "EXPOSED", "WRITTEN", seq);
  if (row.event == "verified") {
    auto certificate = certificates_.find(attempt);
    if (certificate == certificates_.end() || certificate->second.values[4] != field(detail, "image_md5"))
      return "its evidence is of another image";
    evidence_[attempt] = {{field(detail, "method"), field(detail, "image_md5"), field(detail, "detail")}, seq};
    if (std::string why = open_intents(detail, attempt, seq); !why.empty()) return why;
    return move_identity(attempt, "WRITTEN", "VERIFIED", seq);
  }
  if (row.event == "released") {
    burn_certificate(attempt, seq);
    return move_identity(attempt, "RESERVED", "RELEASED", seq);
  }
  if (row.event == "burned") {
    burn_certificate(attempt, seq);
    return move_identity(attempt, "EXPOSED WRITTEN", "BURNED", seq);
  }
  if (row.event == "revoked") {
    burn_certificate(attempt, seq);
    return move_identity(attempt, "EXPOSED WRITTEN VERIFIED", "REVOKED", seq);
  }
  if (row.event == "held") {
    const std::string why = field(detail, "why");
    const json newcomer = detail.value("newcomer", json::object());
    if (std::string fault = put_board(field(newcomer, "board"), newcomer, "", why, seq); !fault.empty()) return fault;
    for (const json& number : detail.value("boards", json::array())) {
      auto at = boards_.find(number.dump());
      if (at == boards_.end()) return fmt::format("there is no board {}", number.dump());
      at->second.values[board_held] = why;
      at->second.row = seq;
    }
    return {};
  }
  if (row.event == "run") {
    Cells cells{{}, seq};
    for (std::string_view column : run_table.columns)
      cells.values.push_back(field(detail, std::string{column}.c_str()));
    if (!runs_.try_emplace(field(detail, "run"), std::move(cells)).second) return "that run was told before";
    return {};
  }
  return key_step(row, detail);
}

Result<std::optional<Replay::Finding>> Replay::compare(Database& db) const {
  std::optional<Finding> first;
  auto find = [&](std::int64_t row, std::string why) {
    if (!first || row < first->row) first = Finding{row, std::move(why)};
  };
  auto compare_table = [&](const TableSpec& spec, const Table& expected) -> Result<void> {
    std::size_t seen = 0;
    std::unordered_map<std::string, bool> met;
    const int audit_column = static_cast<int>(spec.columns.size()) + 1;
    TRY(db.each(spec.sql, {}, [&](const Row& row) {
      ++seen;
      std::string key = row.text(0);
      met[key] = true;
      auto at = expected.find(key);
      if (at == expected.end()) {
        find(row.integer(audit_column), fmt::format("{} {} is in no audit row", spec.name, key));
        return;
      }
      const Cells& told = at->second;
      for (std::size_t i = 0; i < spec.columns.size(); ++i) {
        std::string value = row.text(static_cast<int>(i) + 1);
        if (value != told.values[i])
          find(told.row, fmt::format("{} {} was changed: its {} is \"{}\", audit row {} left it \"{}\"", spec.name, key,
                                     spec.columns[i], value, told.row, told.values[i]));
      }
      if (row.integer(audit_column) != told.row)
        find(told.row, fmt::format("{} {} was changed: it names audit row {}, the last that tells of it is {}",
                                   spec.name, key, row.integer(audit_column), told.row));
      if (&spec == &certificate_table && (to_hex(sha256_of(row.blob(audit_column + 1))) != told.values[1] ||
                                          to_hex(sha256_of(row.blob(audit_column + 2))) != told.values[3]))
        find(told.row, fmt::format("certificate {} was changed: its bytes have another SHA-256", key));
    }));
    if (seen != expected.size() || met.size() != expected.size()) {
      for (const auto& [key, told] : expected)
        if (!met.contains(key))
          find(told.row, fmt::format("{} {} is missing, audit row {} tells of it", spec.name, key, told.row));
    }
    return ok();
  };
  TRY(compare_table(meta_table, meta_));
  TRY(compare_table(board_table, boards_));
  TRY(compare_table(identity_table, identities_));
  TRY(compare_table(certificate_table, certificates_));
  TRY(compare_table(intent_table, intents_));
  TRY(compare_table(evidence_table, evidence_));
  TRY(compare_table(run_table, runs_));
  TRY(auto pool, compare_pool(db));
  if (pool) find(pool->row, std::move(pool->why));
  return first;
}

}  // namespace espmint
