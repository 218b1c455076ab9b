#include "ledger/schema.hpp"

#include <fmt/format.h>

#include <map>
#include <sstream>

#include "base/text.hpp"

namespace espmint {
namespace {

// The rules are written twice on purpose: the transitions refuse with a sentence for a person, these refuse whoever
// writes past them. A pool's rules are chains of OR: for an IN, SQLite builds a table anew for every row of an import,
// which takes as long as all the rest. Every row that changes names the audit row that says so (`audit`), so no change
// goes without one.
constexpr std::string_view schema = R"sql(
CREATE TABLE meta(
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit(
  seq      INTEGER PRIMARY KEY,
  time     TEXT NOT NULL,
  event    TEXT NOT NULL,
  device   TEXT NOT NULL,
  detail   TEXT NOT NULL,
  previous TEXT NOT NULL CHECK(length(previous) = 64),
  hash     TEXT NOT NULL CHECK(length(hash) = 64)
) STRICT;

CREATE TABLE board(
  number    INTEGER PRIMARY KEY,
  mac       TEXT NOT NULL,
  chip      TEXT NOT NULL,
  unique_id TEXT NOT NULL,
  flash_id  INTEGER NOT NULL,
  device_id TEXT UNIQUE,
  exposed   INTEGER NOT NULL DEFAULT 0 CHECK(exposed IN (0, 1)),
  held      TEXT NOT NULL DEFAULT '',
  audit     INTEGER NOT NULL REFERENCES audit(seq),
  UNIQUE(mac, chip, unique_id, flash_id),
  CHECK(exposed = 0 OR device_id IS NOT NULL)
) STRICT;
CREATE INDEX board_exposed ON board(number) WHERE exposed = 1;

CREATE TABLE identity(
  attempt INTEGER PRIMARY KEY,
  board   INTEGER NOT NULL REFERENCES board(number),
  plan    TEXT NOT NULL CHECK(length(plan) = 64),
  renews  INTEGER REFERENCES identity(attempt),
  state   TEXT NOT NULL CHECK(state IN ('RESERVED', 'RELEASED', 'EXPOSED', 'WRITTEN', 'VERIFIED', 'BURNED', 'REVOKED')),
  audit   INTEGER NOT NULL REFERENCES audit(seq)
) STRICT;
CREATE INDEX identity_board ON identity(board);
CREATE UNIQUE INDEX identity_one_reserved ON identity(board) WHERE state = 'RESERVED';
CREATE UNIQUE INDEX identity_one_exposed ON identity(board) WHERE state IN ('EXPOSED', 'WRITTEN', 'VERIFIED');

CREATE TABLE certificate(
  attempt           INTEGER PRIMARY KEY REFERENCES identity(attempt),
  board             INTEGER NOT NULL REFERENCES board(number),
  sha256            TEXT NOT NULL UNIQUE CHECK(length(sha256) = 64),
  serial            TEXT NOT NULL UNIQUE CHECK(length(serial) > 0),
  public_key_sha256 TEXT NOT NULL UNIQUE CHECK(length(public_key_sha256) = 64),
  image_md5         TEXT NOT NULL CHECK(length(image_md5) = 32),
  image_sha256      TEXT NOT NULL CHECK(length(image_sha256) = 64),
  state             TEXT NOT NULL CHECK(state IN ('PENDING', 'LIVE', 'BURNED')),
  audit             INTEGER NOT NULL REFERENCES audit(seq),
  public_key_der    BLOB NOT NULL,
  der               BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX certificate_one_pending ON certificate(board) WHERE state = 'PENDING';
CREATE UNIQUE INDEX certificate_one_live ON certificate(board) WHERE state = 'LIVE';

CREATE TABLE intent(
  attempt INTEGER NOT NULL REFERENCES identity(attempt),
  act     TEXT NOT NULL CHECK(act IN ('issue', 'enrol', 'register', 'policy', 'thing', 'attach', 'activate', 'retire', 'revoke')),
  state   TEXT NOT NULL CHECK(state IN ('OPEN', 'DONE')),
  subject TEXT NOT NULL DEFAULT '',
  outcome TEXT NOT NULL DEFAULT '',
  answer  TEXT NOT NULL DEFAULT '',
  audit   INTEGER NOT NULL REFERENCES audit(seq),
  PRIMARY KEY(attempt, act)
) STRICT;
CREATE INDEX intent_open ON intent(attempt) WHERE state = 'OPEN';

CREATE TABLE evidence(
  attempt   INTEGER PRIMARY KEY REFERENCES identity(attempt),
  method    TEXT NOT NULL CHECK(length(method) > 0),
  image_md5 TEXT NOT NULL CHECK(length(image_md5) = 32),
  detail    TEXT NOT NULL,
  audit     INTEGER NOT NULL REFERENCES audit(seq)
) STRICT;

CREATE TABLE pool_key(
  number      INTEGER PRIMARY KEY,
  row_sha256  BLOB NOT NULL UNIQUE CHECK(length(row_sha256) = 32),
  name_sha256 BLOB NOT NULL UNIQUE CHECK(length(name_sha256) = 32),
  traces      BLOB NOT NULL CHECK(length(traces) % 8 = 0),
  state       TEXT NOT NULL CHECK(state = 'AVAILABLE' OR state = 'RESERVED' OR state = 'EXPOSED' OR state = 'WRITTEN'
                                  OR state = 'VERIFIED' OR state = 'QUARANTINED' OR state = 'RETIRED'),
  device      TEXT NOT NULL DEFAULT '',
  board       INTEGER REFERENCES board(number),
  audit       INTEGER NOT NULL REFERENCES audit(seq),
  CHECK(state <> 'AVAILABLE' OR (device = '' AND board IS NULL)),
  CHECK(device <> '' OR NOT (state = 'RESERVED' OR state = 'EXPOSED' OR state = 'WRITTEN'))
) STRICT;
CREATE INDEX pool_key_device ON pool_key(device) WHERE device <> '';
CREATE INDEX pool_key_reserved ON pool_key(number) WHERE state = 'RESERVED';
CREATE UNIQUE INDEX pool_key_one_open ON pool_key(device) WHERE device <> ''
  AND (state = 'RESERVED' OR state = 'EXPOSED' OR state = 'WRITTEN' OR state = 'VERIFIED');

CREATE TABLE run(
  number             INTEGER PRIMARY KEY,
  mac                TEXT NOT NULL,
  chip               TEXT NOT NULL,
  unique_id          TEXT NOT NULL,
  flash_id           INTEGER NOT NULL,
  device_id          TEXT NOT NULL,
  slot               TEXT NOT NULL,
  firmware_version   TEXT NOT NULL,
  firmware_sha256    TEXT NOT NULL,
  plan               TEXT NOT NULL,
  certificate_sha256 TEXT NOT NULL,
  started            TEXT NOT NULL,
  milliseconds       INTEGER NOT NULL,
  verdict            TEXT NOT NULL CHECK(verdict IN ('VERIFIED', 'WRITTEN', 'HELD', 'QUARANTINED', 'FAILED')),
  code               TEXT NOT NULL,
  fault              TEXT NOT NULL,
  audit              INTEGER NOT NULL REFERENCES audit(seq)
) STRICT;
CREATE INDEX run_board ON run(mac);

CREATE TRIGGER meta_is_fixed BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'meta is written once'); END;
CREATE TRIGGER meta_stays BEFORE DELETE ON meta BEGIN SELECT RAISE(ABORT, 'meta is written once'); END;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
  BEGIN SELECT RAISE(ABORT, 'an audit row is never changed'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'an audit row is never removed'); END;
CREATE TRIGGER audit_follows BEFORE INSERT ON audit
  WHEN NEW.seq <> 1 + (SELECT coalesce(max(seq), 0) FROM audit)
    OR (NEW.seq > 1 AND NEW.previous <> (SELECT hash FROM audit WHERE seq = NEW.seq - 1))
  BEGIN SELECT RAISE(ABORT, 'an audit row follows the last one'); END;

CREATE TRIGGER board_stays BEFORE DELETE ON board BEGIN SELECT RAISE(ABORT, 'a board is never forgotten'); END;
CREATE TRIGGER board_is_itself BEFORE UPDATE ON board
  WHEN NEW.number <> OLD.number OR NEW.mac <> OLD.mac OR NEW.chip <> OLD.chip OR NEW.unique_id <> OLD.unique_id
    OR NEW.flash_id <> OLD.flash_id
  BEGIN SELECT RAISE(ABORT, 'what a board is, is written once'); END;
CREATE TRIGGER board_keeps_its_id BEFORE UPDATE ON board
  WHEN (OLD.exposed = 1 AND NEW.device_id IS NOT OLD.device_id) OR NEW.exposed < OLD.exposed
  BEGIN SELECT RAISE(ABORT, 'an exposed board keeps its id'); END;

CREATE TRIGGER identity_stays BEFORE DELETE ON identity
  BEGIN SELECT RAISE(ABORT, 'an attempt is never forgotten'); END;
CREATE TRIGGER identity_begins_reserved BEFORE INSERT ON identity
  WHEN NEW.state <> 'RESERVED' OR NEW.attempt <= (SELECT coalesce(max(attempt), 0) FROM identity)
  BEGIN SELECT RAISE(ABORT, 'an attempt begins RESERVED, with a new number'); END;
CREATE TRIGGER identity_one_at_a_time BEFORE INSERT ON identity
  WHEN EXISTS (SELECT 1 FROM identity WHERE board = NEW.board AND (state IN ('EXPOSED', 'WRITTEN')
               OR (state = 'VERIFIED' AND attempt IS NOT NEW.renews)))
  BEGIN SELECT RAISE(ABORT, 'the board has an open identity'); END;
CREATE TRIGGER identity_is_itself BEFORE UPDATE ON identity
  WHEN NEW.attempt <> OLD.attempt OR NEW.board <> OLD.board OR NEW.plan <> OLD.plan OR NEW.renews IS NOT OLD.renews
  BEGIN SELECT RAISE(ABORT, 'whom an attempt is for, is written once'); END;
CREATE TRIGGER identity_never_returns BEFORE UPDATE ON identity
  WHEN NOT ((OLD.state = 'RESERVED' AND NEW.state IN ('RELEASED', 'EXPOSED'))
         OR (OLD.state = 'EXPOSED' AND NEW.state IN ('WRITTEN', 'BURNED'))
         OR (OLD.state = 'WRITTEN' AND NEW.state IN ('VERIFIED', 'BURNED'))
         OR (OLD.state IN ('EXPOSED', 'WRITTEN', 'VERIFIED') AND NEW.state = 'REVOKED')
         OR (OLD.state = 'VERIFIED' AND NEW.state = 'BURNED'
             AND EXISTS (SELECT 1 FROM identity WHERE renews = OLD.attempt AND state = 'RESERVED' AND board = OLD.board)))
  BEGIN SELECT RAISE(ABORT, 'no state returns and none is skipped'); END;
CREATE TRIGGER identity_is_audited BEFORE UPDATE ON identity WHEN NEW.audit <= OLD.audit
  BEGIN SELECT RAISE(ABORT, 'no audit row, no action'); END;
CREATE TRIGGER identity_exposes_what_is_recorded BEFORE UPDATE ON identity
  WHEN NEW.state = 'EXPOSED' AND (NOT EXISTS (SELECT 1 FROM certificate WHERE attempt = NEW.attempt AND state = 'LIVE')
       OR NOT EXISTS (SELECT 1 FROM board WHERE number = NEW.board AND exposed = 1))
  BEGIN SELECT RAISE(ABORT, 'EXPOSED needs a recorded certificate'); END;
CREATE TRIGGER identity_is_proven BEFORE UPDATE ON identity
  WHEN NEW.state = 'VERIFIED' AND NOT EXISTS (SELECT 1 FROM evidence WHERE attempt = NEW.attempt)
  BEGIN SELECT RAISE(ABORT, 'VERIFIED needs evidence'); END;

CREATE TRIGGER certificate_stays BEFORE DELETE ON certificate
  BEGIN SELECT RAISE(ABORT, 'a certificate is never forgotten'); END;
CREATE TRIGGER certificate_begins_pending BEFORE INSERT ON certificate
  WHEN NEW.state <> 'PENDING'
    OR NOT EXISTS (SELECT 1 FROM identity WHERE attempt = NEW.attempt AND board = NEW.board AND state = 'RESERVED')
  BEGIN SELECT RAISE(ABORT, 'a certificate is recorded for a RESERVED attempt'); END;
CREATE TRIGGER certificate_is_itself BEFORE UPDATE ON certificate
  WHEN NEW.attempt <> OLD.attempt OR NEW.board <> OLD.board OR NEW.sha256 <> OLD.sha256 OR NEW.serial <> OLD.serial
    OR NEW.public_key_sha256 <> OLD.public_key_sha256 OR NEW.image_md5 <> OLD.image_md5
    OR NEW.image_sha256 <> OLD.image_sha256 OR NEW.der <> OLD.der OR NEW.public_key_der <> OLD.public_key_der
  BEGIN SELECT RAISE(ABORT, 'a certificate is written once'); END;
CREATE TRIGGER certificate_never_returns BEFORE UPDATE ON certificate
  WHEN NOT ((OLD.state = 'PENDING' AND NEW.state IN ('LIVE', 'BURNED')) OR (OLD.state = 'LIVE' AND NEW.state = 'BURNED'))
  BEGIN SELECT RAISE(ABORT, 'a burned certificate stays burned'); END;

CREATE TRIGGER intent_stays BEFORE DELETE ON intent BEGIN SELECT RAISE(ABORT, 'an intent is settled, not removed'); END;
CREATE TRIGGER intent_is_settled_once BEFORE UPDATE ON intent
  WHEN OLD.state <> 'OPEN' OR NEW.state <> 'DONE' OR NEW.attempt <> OLD.attempt OR NEW.act <> OLD.act
    OR NEW.subject <> OLD.subject
  BEGIN SELECT RAISE(ABORT, 'an intent is settled once'); END;
CREATE TRIGGER pool_key_stays BEFORE DELETE ON pool_key BEGIN SELECT RAISE(ABORT, 'a key is never forgotten'); END;
CREATE TRIGGER pool_key_is_itself BEFORE UPDATE ON pool_key
  WHEN NEW.number <> OLD.number OR NEW.row_sha256 <> OLD.row_sha256 OR NEW.name_sha256 <> OLD.name_sha256
    OR NEW.traces <> OLD.traces
  BEGIN SELECT RAISE(ABORT, 'what a key is, is written once'); END;
CREATE TRIGGER pool_key_never_returns BEFORE UPDATE ON pool_key
  WHEN NOT ((OLD.state = 'AVAILABLE' AND NEW.state IN ('RESERVED', 'RETIRED', 'QUARANTINED'))
         OR (OLD.state = 'RESERVED' AND NEW.state IN ('AVAILABLE', 'EXPOSED'))
         OR (OLD.state = 'EXPOSED' AND NEW.state IN ('WRITTEN', 'QUARANTINED'))
         OR (OLD.state = 'WRITTEN' AND NEW.state IN ('VERIFIED', 'QUARANTINED'))
         OR (OLD.state = 'VERIFIED' AND NEW.state = 'VERIFIED' AND OLD.board IS NULL)
         OR (OLD.state = 'QUARANTINED' AND NEW.state = 'RETIRED')
         OR (OLD.state = 'QUARANTINED' AND NEW.state = 'AVAILABLE' AND OLD.device = '' AND OLD.board IS NULL)
         OR (OLD.state = 'QUARANTINED' AND NEW.state = 'EXPOSED' AND OLD.device <> '')
         OR (OLD.state = 'QUARANTINED' AND NEW.state = 'VERIFIED' AND OLD.board IS NULL))
  BEGIN SELECT RAISE(ABORT, 'no key returns and no state is skipped'); END;
CREATE TRIGGER pool_key_keeps_its_device BEFORE UPDATE ON pool_key
  WHEN OLD.state NOT IN ('AVAILABLE', 'RESERVED') AND OLD.device <> '' AND NEW.device <> OLD.device
  BEGIN SELECT RAISE(ABORT, 'a key stays with its device'); END;
CREATE TRIGGER pool_key_is_written_ahead BEFORE UPDATE ON pool_key
  WHEN NEW.state IN ('WRITTEN', 'VERIFIED') AND NEW.board IS NULL
  BEGIN SELECT RAISE(ABORT, 'a key is on a board that the ledger knows'); END;

CREATE TRIGGER evidence_is_fixed BEFORE UPDATE ON evidence BEGIN SELECT RAISE(ABORT, 'evidence is written once'); END;
CREATE TRIGGER evidence_stays BEFORE DELETE ON evidence BEGIN SELECT RAISE(ABORT, 'evidence is written once'); END;
CREATE TRIGGER run_is_fixed BEFORE UPDATE ON run BEGIN SELECT RAISE(ABORT, 'a run is written once'); END;
CREATE TRIGGER run_stays BEFORE DELETE ON run BEGIN SELECT RAISE(ABORT, 'a run is written once'); END;
)sql";

/// Type and name of everything in the schema ("table audit"), with the text from its CREATE on.
std::map<std::string, std::string_view> wanted_objects() {
  std::map<std::string, std::string_view> out;
  for (std::size_t at = 0; (at = schema.find("\nCREATE ", at)) != std::string_view::npos;) {
    std::string_view text = schema.substr(++at);
    std::istringstream words{std::string{text.substr(0, text.find_first_of("(\n"))}};
    std::string word, kind, name;
    words >> word >> kind;
    if (kind == "UNIQUE") words >> kind;
    words >> name;
    out[lower(kind) + " " + name] = trim(text.substr(0, std::min(text.find("\n\n"), text.find("\nCREATE "))));
  }
  return out;
}

}  // namespace

Result<void> create_schema(Database& db) {
  TRY(db.script(std::string{schema}));
  return db.script(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};", ledger_application_id,
                               ledger_schema_version));
}

Result<std::string> difference_of_schema(Database& db) {
  // SQLite keeps the text of every CREATE as it was written, so it is compared with ours as text.
  std::map<std::string, std::string> found;
  TRY(db.each("SELECT type || ' ' || name, sql FROM sqlite_master WHERE sql IS NOT NULL", {},
              [&](const Row& row) { found[row.text(0)] = row.text(1) + ";"; }));
  auto wanted = wanted_objects();
  for (const auto& [name, text] : wanted) {
    auto at = found.find(name);
    if (at == found.end()) return name + " is missing";
    if (text != at->second) return name + " was changed";
  }
  for (const auto& [name, sql] : found)
    if (!wanted.contains(name) && !name.starts_with("table sqlite_")) return name + " was added";
  return std::string{};
}

}  // namespace espmint
