// What the cloud is to be told, or was asked and has not answered: opened in the transaction that decides it, settled
// by whoever has told it.
#include <fmt/format.h>

#include "base/text.hpp"
#include "ledger/store.hpp"

namespace espmint {

Result<void> Store::open_intents_to(const Acts& acts, std::int64_t attempt, std::int64_t audit) {
  for (std::string_view act : acts)
    TRY(db_.run("INSERT INTO intent(attempt, act, state, audit) VALUES (?1, ?2, 'OPEN', ?3)", {attempt, act, audit}));
  return ok();
}

Result<Acts> Store::still_to_do(const Acts& completion, std::int64_t board) {
  TRY(auto retired, db_.number("SELECT count(*) FROM intent JOIN identity USING (attempt) WHERE board = ?1 "
                               "AND act = 'retire' AND intent.state = 'DONE' AND outcome = 'done'",
                               {board}));
  Acts out = completion;
  if (retired > 0) std::erase(out, "retire");
  return out;
}

Result<void> Store::begin_issue(const Attempt& attempt, const std::optional<Sha256>& public_key_sha256) {
  TRY(Change change, Change::begin(*this));
  TRY(find(attempt, {"RESERVED"}, "given a certificate"));
  TRY(auto begun, db_.number("SELECT count(*) FROM intent WHERE attempt = ?1", {attempt.number}));
  if (begun > 0)
    return fail(
        refused(fmt::format("attempt {} of {} has asked for its certificate", attempt.number, attempt.device_id),
                "a certificate is never asked for twice"));
  std::string key = public_key_sha256 ? to_hex(*public_key_sha256) : "";
  TRY(auto audit,
      change.log("issue_begun", attempt.device_id, {{"attempt", attempt.number}, {"public_key_sha256", key}}));
  TRY(db_.run("INSERT INTO intent(attempt, act, state, subject, audit) VALUES (?1, 'issue', 'OPEN', ?2, ?3)",
              {attempt.number, key, audit}));
  return change.commit();
}

Result<void> Store::settle(const Attempt& attempt, std::string_view act, std::string_view outcome,
                           std::string_view answer) {
  TRY(Change change, Change::begin(*this));
  TRY(find(attempt, {"RESERVED", "RELEASED", "EXPOSED", "WRITTEN", "VERIFIED", "BURNED", "REVOKED"}, "settled"));
  TRY(auto state, db_.first("SELECT state, outcome FROM intent WHERE attempt = ?1 AND act = ?2", {attempt.number, act},
                            [](const Row& row) {
                              return std::pair{row.text(0), row.text(1)};
                            }));
  if (!state || state->first != "OPEN")
    return fail(
        refused(fmt::format("attempt {} of {} has no open intent to {}", attempt.number, attempt.device_id, act),
                state ? "it ended with: " + state->second : ""));
  std::string how = clean(outcome);
  std::string said = clean(answer);
  Detail detail{{"attempt", attempt.number}, {"act", act}, {"outcome", how}};
  if (!said.empty()) detail["answer"] = said;
  TRY(auto audit, change.log("settled", attempt.device_id, std::move(detail)));
  TRY(db_.run("UPDATE intent SET state = 'DONE', outcome = ?3, answer = ?4, audit = ?5 WHERE attempt = ?1 AND act = ?2",
              {attempt.number, act, how, said, audit}));
  return change.commit();
}

Result<void> Store::burn_certificate(std::int64_t attempt, std::int64_t audit) {
  TRY(db_.run("UPDATE certificate SET state = 'BURNED', audit = ?2 WHERE attempt = ?1", {attempt, audit}));
  TRY(
      db_.run("UPDATE intent SET state = 'DONE', outcome = 'certificate burned', audit = ?2 "
              "WHERE attempt = ?1 AND state = 'OPEN' AND act <> 'issue'",
              {attempt, audit}));
  // Never activated, or revoked: whoever was asked to issue, register or activate it may have done so, whatever was
  // answered.
  return db_.run(
      "INSERT INTO intent(attempt, act, state, audit) SELECT ?1, 'revoke', 'OPEN', ?2 "
      "WHERE EXISTS (SELECT 1 FROM certificate WHERE attempt = ?1) "
      "AND EXISTS (SELECT 1 FROM intent WHERE attempt = ?1 AND act IN ('activate', 'issue', 'register'))",
      {attempt, audit});
}

// ---- reading

namespace {

/// A certificate that was VERIFIED and is BURNED is still what the board may have, until a later one was VERIFIED or a
/// person took it back.
constexpr std::string_view kept_for_the_board =
    "(EXISTS (SELECT 1 FROM evidence WHERE evidence.attempt = certificate.attempt) "
    "AND NOT EXISTS (SELECT 1 FROM identity AS next LEFT JOIN evidence ON evidence.attempt = next.attempt WHERE "
    "next.board = certificate.board "
    "AND ((next.attempt > certificate.attempt AND evidence.attempt IS NOT NULL) "
    "OR (next.attempt >= certificate.attempt AND next.state = 'REVOKED'))))";

/// What may be told now. Of a RESERVED attempt its own run tells, or it comes to nothing. "retire" waits while the
/// board is on its way to another certificate, "revoke" until that is proved: make before break.
const std::string& tellable() {
  static const std::string sql = fmt::format(
      "FROM intent JOIN identity ON identity.attempt = intent.attempt JOIN board ON number = identity.board "
      "JOIN certificate ON certificate.attempt = intent.attempt JOIN audit ON seq = intent.audit "
      "WHERE intent.state = 'OPEN' AND identity.state <> 'RESERVED' AND NOT (act = 'revoke' AND {}) "
      "AND NOT (act IN ('retire', 'revoke') AND EXISTS (SELECT 1 FROM identity AS next WHERE next.board = "
      "identity.board "
      "AND next.attempt <> identity.attempt AND next.state IN ('RESERVED', 'EXPOSED', 'WRITTEN'))) ",
      kept_for_the_board);
  return sql;
}

}  // namespace

Result<std::vector<OpenIntent>> Store::open_intents(std::size_t limit) {
  static const std::string sql = fmt::format(
      "SELECT intent.attempt, device_id, act, time, sha256, {}, der, "
      "EXISTS (SELECT 1 FROM intent AS own WHERE own.attempt = intent.attempt AND own.act = 'enrol') {}"
      "ORDER BY act = 'revoke', intent.audit, intent.rowid LIMIT ?1",
      cloud_id_column, tellable());
  std::vector<OpenIntent> out;
  const auto most = static_cast<std::int64_t>(std::min<std::size_t>(limit, INT64_MAX));
  TRY(db_.each(sql, {most}, [&](const Row& row) {
    out.push_back({{row.integer(0), row.text(1)},
                   row.text(2),
                   row.text(3),
                   row.digest<32>(4),
                   row.text(5),
                   row.blob(6),
                   row.integer(7) != 0});
  }));
  return out;
}

Result<bool> Store::may_tell(const Attempt& attempt, std::string_view act) {
  static const std::string sql = fmt::format("SELECT count(*) {} AND intent.attempt = ?1 AND act = ?2", tellable());
  TRY(auto open, db_.number(sql, {attempt.number, act}));
  return open > 0;
}

Result<std::size_t> Store::boards_to_tell() {
  static const std::string sql = fmt::format("SELECT count(DISTINCT identity.board) {}", tellable());
  TRY(auto count, db_.number(sql, {}));
  return static_cast<std::size_t>(count);
}

Result<std::vector<UnansweredIssue>> Store::unanswered_issues() {
  std::vector<UnansweredIssue> out;
  TRY(
      db_.each("SELECT intent.attempt, device_id, time, subject FROM intent "
               "JOIN identity ON identity.attempt = intent.attempt JOIN board ON number = identity.board "
               "JOIN audit ON seq = intent.audit WHERE act = 'issue' AND intent.state = 'OPEN' "
               "AND identity.state <> 'RESERVED' ORDER BY intent.attempt",
               {}, [&](const Row& row) {
                 UnansweredIssue one{{row.integer(0), row.text(1)}, row.text(2), std::nullopt};
                 if (!row.text(3).empty()) one.public_key_sha256 = row.digest<32>(3);
                 out.push_back(std::move(one));
               }));
  return out;
}

Result<std::vector<KnownCertificate>> Store::certificates() {
  static const std::string sql = fmt::format(
      "SELECT certificate.attempt, device_id, identity.state, sha256, public_key_sha256, {}, "
      "EXISTS (SELECT 1 FROM intent WHERE intent.attempt = certificate.attempt AND intent.state = 'OPEN'), "
      "EXISTS (SELECT 1 FROM evidence WHERE evidence.attempt = certificate.attempt), "
      "coalesce((SELECT time FROM intent JOIN audit ON seq = intent.audit WHERE intent.attempt = certificate.attempt "
      "AND act = 'issue'), ''), {} "
      "FROM certificate JOIN identity USING (attempt) JOIN board ON number = certificate.board ORDER BY "
      "certificate.attempt",
      cloud_id_column, kept_for_the_board);
  std::vector<KnownCertificate> out;
  TRY(db_.each(sql, {}, [&](const Row& row) {
    KnownCertificate one{
        {row.integer(0), row.text(1)}, KeyState::available, row.digest<32>(3), row.digest<32>(4),  row.text(5),
        row.integer(6) != 0,           row.integer(7) != 0, row.text(8),       row.integer(9) != 0};
    for (KeyState state : {KeyState::reserved, KeyState::exposed, KeyState::written, KeyState::verified})
      if (row.text(2) == name_of(state)) one.state = state;
    out.push_back(std::move(one));
  }));
  return out;
}

Result<std::vector<RetiredCertificate>> Store::retired_certificates() {
  std::vector<RetiredCertificate> out;
  TRY(
      db_.each("SELECT device_id, answer FROM intent JOIN identity ON identity.attempt = intent.attempt "
               "JOIN board ON number = identity.board WHERE act = 'retire' AND answer <> '' ORDER BY intent.attempt",
               {}, [&](const Row& row) {
                 const std::string ids = row.text(1);
                 for (std::string_view id : split(ids, ' ')) out.push_back({row.text(0), std::string{id}});
               }));
  return out;
}

}  // namespace espmint
