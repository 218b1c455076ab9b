#include "ledger/invariants.hpp"

#include <fmt/format.h>

#include "ledger/store.hpp"

namespace espmint {
namespace {

/// A query whose every row is a violation; the first column says whose. Numbering: docs/ledger.md, Invariants.
struct Invariant {
  std::string_view id;
  std::string_view sentence;
  std::string_view sql;
};

constexpr std::array invariants{
    Invariant{"I2", "one key was given out twice", R"sql(
      SELECT public_key_sha256 FROM certificate GROUP BY public_key_sha256 HAVING count(*) > 1)sql"},
    Invariant{"I2", "a certificate is for another board than its attempt", R"sql(
      SELECT c.attempt FROM certificate c JOIN identity i ON i.attempt = c.attempt WHERE c.board <> i.board)sql"},
    Invariant{"I2", "one id is on two boards", R"sql(
      SELECT device_id FROM board WHERE device_id IS NOT NULL GROUP BY device_id HAVING count(*) > 1)sql"},
    Invariant{"I2", "an exposed attempt was told of under two ids", R"sql(
      SELECT json_extract(detail, '$.attempt') FROM audit
      WHERE event IN ('exposed', 'written', 'verified') GROUP BY 1 HAVING count(DISTINCT device) > 1)sql"},
    Invariant{"I3", "a board has two certificates that are LIVE", R"sql(
      SELECT board FROM certificate WHERE state = 'LIVE' GROUP BY board HAVING count(*) > 1)sql"},
    Invariant{"I3", "a board has two open identities", R"sql(
      SELECT board FROM identity WHERE state IN ('EXPOSED', 'WRITTEN', 'VERIFIED') GROUP BY board HAVING count(*) > 1)sql"},
    Invariant{"I3", "a board is RESERVED beside an identity that it does not renew", R"sql(
      SELECT a.board FROM identity a JOIN identity b ON a.board = b.board AND a.attempt <> b.attempt
      WHERE a.state = 'RESERVED' AND (b.state IN ('RESERVED', 'EXPOSED', 'WRITTEN')
        OR (b.state = 'VERIFIED' AND a.renews IS NOT b.attempt)))sql"},
    Invariant{"I3", "a certificate's state is not its attempt's", R"sql(
      SELECT i.attempt FROM identity i JOIN certificate c ON c.attempt = i.attempt
      WHERE c.state <> CASE i.state WHEN 'RESERVED' THEN 'PENDING' WHEN 'RELEASED' THEN 'BURNED'
                                    WHEN 'BURNED' THEN 'BURNED' WHEN 'REVOKED' THEN 'BURNED' ELSE 'LIVE' END)sql"},
    Invariant{"I4", "an attempt is past EXPOSED without a row that says so before", R"sql(
      SELECT attempt FROM identity WHERE state IN ('EXPOSED', 'WRITTEN', 'VERIFIED', 'BURNED', 'REVOKED') EXCEPT
      SELECT json_extract(detail, '$.attempt') FROM audit WHERE event = 'exposed')sql"},
    Invariant{"I4", "an attempt took its steps in another order", R"sql(
      WITH steps AS (SELECT seq, json_extract(detail, '$.attempt') AS attempt,
                            CASE event WHEN 'reserved' THEN 1 WHEN 'certificate' THEN 2 WHEN 'exposed' THEN 3
                                       WHEN 'written' THEN 4 WHEN 'verified' THEN 5 END AS rank
                     FROM audit WHERE event IN ('reserved', 'certificate', 'exposed', 'written', 'verified')),
           counted AS (SELECT attempt, rank, row_number() OVER (PARTITION BY attempt ORDER BY seq) AS place FROM steps)
      SELECT DISTINCT attempt FROM counted WHERE rank <> place)sql"},
    Invariant{"I5", "an attempt was released after it was exposed", R"sql(
      SELECT json_extract(detail, '$.attempt') FROM audit WHERE event = 'released' INTERSECT
      SELECT json_extract(detail, '$.attempt') FROM audit WHERE event = 'exposed')sql"},
    Invariant{"I5", "a board was exposed and does not say so", R"sql(
      SELECT DISTINCT b.number FROM board b JOIN identity i ON i.board = b.number
      WHERE b.exposed = 0 AND i.state IN ('EXPOSED', 'WRITTEN', 'VERIFIED', 'BURNED', 'REVOKED'))sql"},
    Invariant{"I7", "an attempt is VERIFIED without evidence of the recorded image", R"sql(
      SELECT i.attempt FROM identity i WHERE i.state = 'VERIFIED' AND NOT EXISTS
        (SELECT 1 FROM evidence e JOIN certificate c ON c.attempt = e.attempt
         WHERE e.attempt = i.attempt AND e.image_md5 = c.image_md5 AND e.method LIKE 'rom-digest%'))sql"},
    Invariant{"I7", "a run says VERIFIED of a certificate that never was", R"sql(
      SELECT r.number FROM run r WHERE r.verdict = 'VERIFIED' AND r.certificate_sha256 <> '' AND NOT EXISTS
        (SELECT 1 FROM certificate c JOIN evidence e ON e.attempt = c.attempt
         WHERE c.sha256 = r.certificate_sha256))sql"},
    Invariant{"I9", "an attempt's steps and audit rows differ in number", R"sql(
      WITH told AS (SELECT json_extract(detail, '$.attempt') AS attempt, count(*) AS steps FROM audit
                    WHERE event IN ('reserved', 'released', 'exposed', 'written', 'verified') GROUP BY 1)
      SELECT i.attempt FROM identity i LEFT JOIN told ON told.attempt = i.attempt
      WHERE i.state IN ('RESERVED', 'RELEASED', 'EXPOSED', 'WRITTEN', 'VERIFIED')
        AND ifnull(told.steps, 0) <> CASE i.state WHEN 'RESERVED' THEN 1 WHEN 'RELEASED' THEN 2 WHEN 'EXPOSED' THEN 2
                                                  WHEN 'WRITTEN' THEN 3 ELSE 4 END)sql"},
    Invariant{"I10", "a certificate has no intent to enrol it", R"sql(
      SELECT attempt FROM certificate WHERE attempt NOT IN (SELECT attempt FROM intent WHERE act IN ('enrol', 'attach')))sql"},
    Invariant{"I10", "a certificate is to be activated that was never VERIFIED", R"sql(
      SELECT attempt FROM intent WHERE act IN ('activate', 'retire') AND attempt NOT IN (SELECT attempt FROM evidence))sql"},
    Invariant{"I10", "a BURNED certificate may still be activated", R"sql(
      SELECT t.attempt FROM intent t JOIN certificate c ON c.attempt = t.attempt
      WHERE c.state = 'BURNED' AND t.state = 'OPEN' AND t.act <> 'revoke')sql"},
    Invariant{"I11", "a private key is in the ledger", R"sql(
      SELECT 'certificate ' || attempt FROM certificate WHERE instr(der, CAST('PRIVATE KEY' AS BLOB)) > 0
      UNION ALL SELECT 'audit row ' || seq FROM audit WHERE instr(detail, 'PRIVATE KEY-----') > 0
      UNION ALL SELECT 'run ' || number FROM run WHERE instr(fault, 'PRIVATE KEY-----') > 0)sql"},
    Invariant{"I15", "a serial came up twice", R"sql(
      SELECT serial FROM certificate GROUP BY serial HAVING count(*) > 1)sql"},
    Invariant{"clone", "a MAC is on two boards and one is not held", R"sql(
      SELECT mac FROM board GROUP BY mac HAVING count(*) > 1 AND min(held) = '')sql"},
};

}  // namespace

Result<std::vector<std::string>> find_violations(const std::filesystem::path& folder) {
  std::vector<std::string> out;
  TRY(AuditReport report, verify_audit(folder));
  if (report.broken_at) out.push_back(fmt::format("I9: {}", report.why));
  TRY(Database db, open_database(folder, Database::Mode::read_only));
  TRY(db.run("BEGIN"));
  TRY(db.each("SELECT seq FROM audit WHERE NOT json_valid(detail)", {}, [&](const Row& row) {
    out.push_back(fmt::format("I9: audit row {} holds no details", row.integer(0)));
  }));
  if (!out.empty()) return out;  // the queries below read the details
  for (const Invariant& rule : invariants) {
    TRY(db.each(rule.sql, {}, [&](const Row& row) {
      out.push_back(fmt::format("{}: {}: {}", rule.id, rule.sentence, row.text(0)));
    }));
  }
  return out;
}

}  // namespace espmint
