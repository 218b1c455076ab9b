// The transitions. Each is one Change: begin, look, log, change rows, commit. The rules stand here with a sentence for
// a person, and again in schema.cpp for whoever writes past them.
#include "ledger/ledger.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "base/text.hpp"
#include "ledger/store.hpp"

namespace espmint {
namespace {

struct StateName {
  KeyState state;
  std::string_view name;
};
constexpr std::array state_names{
    StateName{KeyState::available, "AVAILABLE"}, StateName{KeyState::reserved, "RESERVED"},
    StateName{KeyState::exposed, "EXPOSED"},     StateName{KeyState::written, "WRITTEN"},
    StateName{KeyState::verified, "VERIFIED"},   StateName{KeyState::quarantined, "QUARANTINED"},
    StateName{KeyState::retired, "RETIRED"},     StateName{KeyState::revoked, "REVOKED"},
};

// A banner is no evidence: these read the board back after a reset and a fresh identification.
constexpr std::array<std::string_view, 2> evidence_methods{"rom-digest", "rom-digest+challenge"};

Fault held(const BoardIdentity& board, const std::string& why) {
  Fault fault{Code::board_held, Remedy::refuse, "the board is held", {}, why, "Set it aside; a person decides"};
  fault.where.board = to_string(board.mac);
  return fault;
}

bool is_usable_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && clean(id) == id && id.find_first_of("\n\t") == std::string_view::npos;
}

Detail tuple_of(const BoardIdentity& board) {
  return {{"mac", to_string(board.mac)},
          {"chip", board.chip},
          {"unique_id", board.unique_id},
          {"flash_id", board.flash_id}};
}

}  // namespace

std::string clean(std::string_view text) {
  std::string safe = escape_controls(text);
  return Detail::parse(Detail(safe).dump(-1, ' ', false, Detail::error_handler_t::replace)).get<std::string>();
}

Fault refused(std::string what, std::string seen, std::string advice) {
  return {Code::ledger_refused, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
}

std::string_view name_of(KeyState state) {
  for (const StateName& row : state_names)
    if (row.state == state) return row.name;
  return "";
}

// ---- one transaction

Result<Store::Change> Store::Change::begin(Store& store) {
  if (store.options_.mode == LedgerOptions::Mode::read) return fail(refused("the ledger was opened for reading only"));
  if (store.broken_) return fail(*store.broken_);
  if (!store.together_) TRY(store.db_.run("BEGIN IMMEDIATE"));
  return Change{store};
}

Store::Change::~Change() {
  if (!store_) return;
  if (outer_)
    outer_->spoiled_ = true;
  else
    store_->db_.roll_back();
}

Result<std::int64_t> Store::Change::log(std::string_view event, const std::string& device_id, Detail detail) {
  std::string now = to_string(store_->clock_.wall());
  // The chain's times never go back, so that the newest row is also the latest moment: reserve() relies on it.
  if (now < tail_.time) {
    detail["clock"] = now;
    now = tail_.time;
  }
  AuditRow row{tail_.sequence + 1, now, std::string{event}, device_id,
               detail.dump(-1, ' ', false, Detail::error_handler_t::replace)};
  if (row.detail.find("PRIVATE KEY-----") != std::string::npos)
    return fail(refused("a private key never enters the ledger", row.event));
  Sha256 hash = hash_of_row(row, tail_.hash);
  TRY(store_->db_.run(
      "INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
      {row.sequence, row.time, row.event, row.device_id, row.detail, to_hex(tail_.hash), to_hex(hash)}));
  tail_ = {row.sequence, hash, row.time};
  return row.sequence;
}

Result<void> Store::Change::commit() {
  Store& store = *store_;
  if (outer_) {
    store_ = nullptr;
    outer_->tail_ = tail_;
    return ok();
  }
  if (spoiled_) return fail(refused("a transition that was to go with others failed"));
  reach_crash_point("before commit");
  TRY(store.db_.run("COMMIT"));
  store_ = nullptr;
  store.tail_ = tail_;
  reach_crash_point("after commit");
  reach_crash_point("before head");
  auto moved = move_head(store.folder_, {store.id_, tail_.sequence, tail_.hash});
  if (!moved && moved.error().code == Code::ledger_io) store.broken_ = moved.error();
  TRY(std::move(moved));
  reach_crash_point("after head");
  return ok();
}

Result<void> Store::together(const std::function<Result<void>()>& steps) {
  TRY(Change change, Change::begin(*this));
  Change* before = std::exchange(together_, &change);
  Result<void> end = steps();
  together_ = before;
  TRY(std::move(end));
  return change.commit();
}

// ---- shared steps

Result<std::vector<KnownBoard>> Store::boards_with_mac(const Mac& mac) {
  std::vector<KnownBoard> out;
  TRY(
      db_.each("SELECT number, chip, unique_id, flash_id, device_id, exposed, held FROM board WHERE mac = ?1 "
               "ORDER BY number",
               {to_string(mac)}, [&](const Row& row) {
                 out.push_back({row.integer(0),
                                {mac, row.text(1), row.text(2), static_cast<std::uint32_t>(row.integer(3))},
                                row.text(4),
                                row.integer(5) != 0,
                                row.text(6)});
               }));
  return out;
}

Result<std::optional<KnownAttempt>> Store::attempt_of(std::int64_t board, Phase phase) {
  std::string_view sql =
      phase == Phase::reserved
          ? "SELECT attempt, state, renews, plan, time FROM identity JOIN audit "
            "ON seq = identity.audit WHERE board = ?1 AND state = 'RESERVED'"
          : "SELECT attempt, state, renews, plan, time FROM identity JOIN audit "
            "ON seq = identity.audit WHERE board = ?1 AND state IN ('EXPOSED', 'WRITTEN', 'VERIFIED')";
  return db_.first(sql, {board}, [&](const Row& row) {
    KnownAttempt out;
    out.number = row.integer(0);
    out.board = board;
    out.state = row.text(1);
    if (!row.is_null(2)) out.renews = row.integer(2);
    out.plan = row.digest<32>(3);
    out.when = row.text(4);
    return out;
  });
}

Result<std::optional<Store::Revocation>> Store::revocation_of(std::int64_t board) {
  return db_.first(
      "SELECT time, json_extract(detail, '$.why') FROM identity JOIN audit ON seq = identity.audit "
      "WHERE state = 'REVOKED' AND attempt = (SELECT max(attempt) FROM identity "
      "WHERE board = ?1 AND state NOT IN ('RESERVED', 'RELEASED'))",
      {board}, [](const Row& row) {
        return Revocation{row.text(0), row.text(1)};
      });
}

Result<KnownAttempt> Store::find(const Attempt& attempt, std::initializer_list<std::string_view> states,
                                 std::string_view verb) {
  TRY(auto found, db_.first("SELECT identity.board, device_id, state, held, renews, plan FROM identity JOIN board "
                            "ON number = identity.board WHERE attempt = ?1",
                            {attempt.number}, [&](const Row& row) {
                              KnownAttempt out;
                              out.number = attempt.number;
                              out.board = row.integer(0);
                              out.device_id = row.text(1);
                              out.state = row.text(2);
                              out.held = row.text(3);
                              if (!row.is_null(4)) out.renews = row.integer(4);
                              out.plan = row.digest<32>(5);
                              return out;
                            }));
  if (!found || found->device_id != attempt.device_id)
    return fail(refused(fmt::format("the ledger knows no attempt {} of {}", attempt.number, attempt.device_id)));
  if (std::find(states.begin(), states.end(), found->state) == states.end())
    return fail(refused(fmt::format("attempt {} of {} cannot be {}", attempt.number, attempt.device_id, verb),
                        fmt::format("it is {}, not {}", found->state, fmt::join(states, " or "))));
  return *found;
}

Result<void> Store::set_state(std::int64_t attempt, std::string_view state, std::int64_t audit) {
  return db_.run("UPDATE identity SET state = ?2, audit = ?3 WHERE attempt = ?1", {attempt, state, audit});
}

Result<std::string> Store::hold_clones(const std::vector<KnownBoard>& known, const BoardIdentity& newcomer) {
  std::string why = fmt::format("two boards claim MAC {}: {}; and {}", to_string_with_colons(newcomer.mac),
                                show_tuple(known.front().board), show_tuple(newcomer));
  if (options_.mode == LedgerOptions::Mode::read) return why;
  TRY(Change change, Change::begin(*this));
  TRY(auto number, db_.number("SELECT 1 + coalesce(max(number), 0) FROM board"));
  Detail detail{{"newcomer", tuple_of(newcomer)}, {"why", why}, {"boards", Detail::array()}};
  detail["newcomer"]["board"] = number;
  for (const KnownBoard& board : known) detail["boards"].push_back(board.number);
  TRY(auto audit, change.log("held", known.front().device_id, std::move(detail)));
  TRY(db_.run(
      "INSERT INTO board(number, mac, chip, unique_id, flash_id, held, audit) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
      {number, to_string(newcomer.mac), newcomer.chip, newcomer.unique_id, newcomer.flash_id, why, audit}));
  for (const KnownBoard& board : known)
    TRY(db_.run("UPDATE board SET held = ?2, audit = ?3 WHERE number = ?1", {board.number, why, audit}));
  TRY(change.commit());
  return why;
}

// ---- the order of one board

Result<Admission> Store::admit(const BoardIdentity& board, const Sha256& plan_digest) {
  Admission out;
  TRY(auto known, boards_with_mac(board.mac));
  if (known.empty()) return out;
  auto self = std::find_if(known.begin(), known.end(), [&](const KnownBoard& row) { return row.board == board; });
  if (self == known.end()) {
    out.kind = Admission::Kind::held;
    TRY(out.why, hold_clones(known, board));
    return out;
  }
  out.device_id = self->device_id;
  TRY(auto reserved, attempt_of(self->number, Phase::reserved));
  TRY(auto open, attempt_of(self->number, Phase::exposed));
  // Between two states a renewal shows where it is; the old identity stands until it is overwritten.
  const auto& current = reserved ? reserved : open;
  if (current) {
    out.attempt = Attempt{current->number, self->device_id};
    out.plan_digest = current->plan;
    out.when = current->when;
    for (const StateName& row : state_names)
      if (row.name == current->state) out.state = row.state;
    TRY(out.certificate, certificate_of(current->number));
    TRY(auto local, db_.number("SELECT count(*) FROM intent WHERE attempt = ?1 AND act = 'enrol'", {current->number}));
    out.is_local = local > 0;
  }
  if (!self->held.empty()) {
    out.kind = Admission::Kind::held;
    out.why = self->held;
  } else if (reserved) {
    out.kind = Admission::Kind::held;
    out.why = fmt::format("attempt {} of this board is still under way on another slot, since {}", reserved->number,
                          reserved->when);
  } else if (open && open->state == "VERIFIED") {
    out.kind = open->plan == plan_digest ? Admission::Kind::verified : Admission::Kind::replan;
  } else if (open) {
    out.kind = Admission::Kind::resume;
  } else {
    TRY(auto revocation, revocation_of(self->number));
    if (!revocation) return out;
    out.kind = Admission::Kind::revoked;
    out.state = KeyState::revoked;
    out.when = std::move(revocation->when);
    out.why = std::move(revocation->why);
  }
  return out;
}

Result<Store::Claim> Store::claim(const BoardIdentity& board, const std::string& device_id,
                                  std::optional<std::uint64_t> quota) {
  if (std::string now = to_string(clock_.wall()); now < tail_.time) {
    return fail({Code::clock_backwards,
                 Remedy::stop_line,
                 "this machine's clock is earlier than the ledger's last entry",
                 {},
                 fmt::format("clock {}, ledger {}", now, tail_.time),
                 "Set the clock, then start again"});
  }
  if (!is_usable_id(device_id)) return fail(refused("the id is empty, too long or not printable", clean(device_id)));
  TRY(auto known, boards_with_mac(board.mac));
  auto self = std::find_if(known.begin(), known.end(), [&](const KnownBoard& row) { return row.board == board; });
  if (!known.empty() && self == known.end()) {
    TRY(std::string why, hold_clones(known, board));
    return fail(held(board, why));
  }
  Claim out;
  out.is_new = self == known.end();
  if (!out.is_new) {
    out.number = self->number;
    out.exposed = self->exposed;
    if (!self->held.empty()) return fail(held(board, self->held));
    if (self->exposed && self->device_id != device_id)
      return fail(refused(fmt::format("board {} keeps its id", to_string(board.mac)),
                          fmt::format("it is {}, asked for was {}", self->device_id, device_id),
                          "An id is given once; restore the recipe's id line"));
  } else {
    TRY(out.number, db_.number("SELECT 1 + coalesce(max(number), 0) FROM board"));
  }
  TRY(auto owner, db_.first("SELECT number, mac FROM board WHERE device_id = ?1", {device_id}, [](const Row& row) {
    return std::pair{row.integer(0), row.text(1)};
  }));
  if (owner && owner->first != out.number)
    return fail(refused(fmt::format("the id {} is another board's", device_id), "board " + owner->second,
                        "Make the recipe's id unique, for example with {mac}"));
  if (quota && !out.exposed) {
    // Failures count: a board that was exposed once has had its identity. RESERVED ones may yet be.
    TRY(auto used, db_.number("SELECT count(*) FROM board WHERE number <> ?1 AND (exposed = 1 "
                              "OR number IN (SELECT board FROM identity WHERE state = 'RESERVED') "
                              "OR number IN (SELECT board FROM pool_key WHERE state = 'RESERVED'))",
                              {out.number}));
    if (static_cast<std::uint64_t>(used) >= *quota)
      return fail({Code::quota_reached,
                   Remedy::refuse,
                   "the recipe's quota is reached",
                   {},
                   fmt::format("{} of {} boards have an identity or are getting one", used, *quota),
                   "Raise `quota` in recipe.toml if more boards are meant"});
  }
  return out;
}

Result<void> Store::keep_claim(const Claim& claim, const BoardIdentity& board, const std::string& device_id,
                               std::int64_t audit) {
  if (!claim.is_new)
    return db_.run("UPDATE board SET device_id = ?2, audit = ?3 WHERE number = ?1", {claim.number, device_id, audit});
  return db_.run(
      "INSERT INTO board(number, mac, chip, unique_id, flash_id, device_id, audit) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
      {claim.number, to_string(board.mac), board.chip, board.unique_id, board.flash_id, device_id, audit});
}

Result<Attempt> Store::reserve(const BoardIdentity& board, const std::string& device_id, const Sha256& plan_digest,
                               std::optional<std::uint64_t> quota, bool renew) {
  TRY(Claim claimed, claim(board, device_id, quota));
  std::optional<std::int64_t> renews;
  if (!claimed.is_new) {
    TRY(auto reserved, attempt_of(claimed.number, Phase::reserved));
    if (reserved)
      return fail(refused(fmt::format("board {} is being prepared already", to_string(board.mac)),
                          fmt::format("attempt {} is RESERVED", reserved->number)));
    TRY(auto open, attempt_of(claimed.number, Phase::exposed));
    if (open && (open->state != "VERIFIED" || !renew))
      return fail(refused(fmt::format("board {} has an identity", to_string(board.mac)),
                          fmt::format("attempt {} is {}", open->number, open->state),
                          open->state == "VERIFIED" ? "Give --renew to mint a new one" : ""));
    if (open) renews = open->number;
    TRY(auto revocation, revocation_of(claimed.number));
    if (revocation && !renew)
      return fail(refused(fmt::format("board {} is REVOKED", to_string(board.mac)), "since " + revocation->when,
                          "Give --renew to mint a new identity"));
  }
  TRY(Change change, Change::begin(*this));
  TRY(auto attempt, db_.number("SELECT 1 + coalesce(max(attempt), 0) FROM identity"));
  Detail detail = tuple_of(board);
  detail.update({{"board", claimed.number}, {"attempt", attempt}, {"plan", to_hex(plan_digest)}});
  if (renews) detail["renews"] = *renews;
  TRY(auto audit, change.log("reserved", device_id, std::move(detail)));
  TRY(keep_claim(claimed, board, device_id, audit));
  TRY(db_.run(
      "INSERT INTO identity(attempt, board, plan, renews, state, audit) VALUES (?1, ?2, ?3, ?4, 'RESERVED', ?5)",
      {attempt, claimed.number, to_hex(plan_digest), renews, audit}));
  TRY(change.commit());
  return Attempt{attempt, device_id};
}

Result<void> Store::record_certificate(const Attempt& attempt, const CertificateRecord& record, const Acts& enrolment) {
  TRY(Change change, Change::begin(*this));
  TRY(KnownAttempt found, find(attempt, {"RESERVED"}, "given a certificate"));
  if (sha256_of(record.der) != record.sha256 || record.public_key_der.empty() || !is_usable_id(record.serial))
    return fail(refused("the certificate to record is not whole", "its id must be the SHA-256 of its DER"));
  std::string id = to_hex(record.sha256);
  std::string key = to_hex(sha256_of(record.public_key_der));
  TRY(auto twin, db_.first("SELECT attempt FROM certificate WHERE attempt = ?1 OR sha256 = ?2 OR serial = ?3 "
                           "OR public_key_sha256 = ?4",
                           {attempt.number, id, record.serial, key}, [](const Row& row) { return row.integer(0); }));
  if (twin && *twin == attempt.number) return fail(refused("this attempt has its certificate already"));
  if (twin)
    return fail({Code::ledger_refused,
                 Remedy::stop_line,
                 "a key, serial or certificate comes up a second time",
                 {},
                 fmt::format("attempt {} has it already", *twin),
                 "Stop: the generator or the CA repeats itself"});
  Detail detail{{"attempt", attempt.number},
                {"sha256", id},
                {"serial", record.serial},
                {"public_key_sha256", key},
                {"image_md5", to_hex(record.image_md5)},
                {"image_sha256", to_hex(record.image_sha256)},
                {"acts", enrolment}};
  if (!record.cloud_id.empty()) detail["cloud_id"] = clean(record.cloud_id);
  TRY(auto audit, change.log("certificate", attempt.device_id, std::move(detail)));
  TRY(db_.run("INSERT INTO certificate VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'PENDING', ?8, ?9, ?10)",
              {attempt.number, found.board, id, record.serial, key, to_hex(record.image_md5),
               to_hex(record.image_sha256), audit, record.public_key_der, record.der}));
  // That it was asked for elsewhere is known, and now answered.
  TRY(
      db_.run("UPDATE intent SET state = 'DONE', outcome = 'done', answer = ?2, audit = ?3 WHERE attempt = ?1 AND act "
              "= 'issue'",
              {attempt.number, clean(record.cloud_id), audit}));
  TRY(open_intents_to(enrolment, attempt.number, audit));
  return change.commit();
}

Result<void> Store::expose(const Attempt& attempt) {
  TRY(Change change, Change::begin(*this));
  TRY(KnownAttempt found, find(attempt, {"RESERVED"}, "EXPOSED"));
  if (!found.held.empty()) {
    return fail(
        {Code::board_held, Remedy::refuse, "the board is held", {}, found.held, "Set it aside; a person decides"});
  }
  TRY(auto recorded, db_.number("SELECT count(*) FROM certificate WHERE attempt = ?1", {attempt.number}));
  if (recorded == 0) return fail(refused(fmt::format("attempt {} has no certificate yet", attempt.number)));
  Detail detail{{"attempt", attempt.number}};
  if (found.renews) detail["burns"] = *found.renews;
  TRY(auto audit, change.log("exposed", attempt.device_id, std::move(detail)));
  if (found.renews) {
    TRY(set_state(*found.renews, "BURNED", audit));
    TRY(burn_certificate(*found.renews, audit));
  }
  TRY(db_.run("UPDATE certificate SET state = 'LIVE', audit = ?2 WHERE attempt = ?1", {attempt.number, audit}));
  TRY(db_.run("UPDATE board SET exposed = 1, audit = ?2 WHERE number = ?1", {found.board, audit}));
  TRY(set_state(attempt.number, "EXPOSED", audit));
  return change.commit();
}

Result<void> Store::mark_written(const Attempt& attempt) {
  TRY(Change change, Change::begin(*this));
  TRY(find(attempt, {"EXPOSED"}, "WRITTEN"));
  TRY(auto audit, change.log("written", attempt.device_id, {{"attempt", attempt.number}}));
  TRY(set_state(attempt.number, "WRITTEN", audit));
  return change.commit();
}

Result<void> Store::mark_verified(const Attempt& attempt, const Evidence& evidence, const Acts& completion) {
  TRY(Change change, Change::begin(*this));
  TRY(KnownAttempt found, find(attempt, {"WRITTEN"}, "VERIFIED"));
  if (!found.held.empty()) {
    return fail(
        {Code::board_held, Remedy::refuse, "the board is held", {}, found.held, "Set it aside; a person decides"});
  }
  if (std::find(evidence_methods.begin(), evidence_methods.end(), evidence.method) == evidence_methods.end())
    return fail(refused("this is no evidence that the board holds its identity", clean(evidence.method),
                        fmt::format("Evidence is one of: {}", fmt::join(evidence_methods, ", "))));
  TRY(auto recorded, certificate_of(attempt.number));
  std::string seen = to_hex(evidence.image_md5);
  if (!recorded || recorded->image_md5 != evidence.image_md5)
    return fail(
        refused("the board's identity image is not the recorded one",
                fmt::format("board MD5 {}, recorded {}", seen, recorded ? to_hex(recorded->image_md5) : "none")));
  std::string told = clean(evidence.detail);
  TRY(Acts acts, still_to_do(completion, found.board));
  TRY(auto audit, change.log("verified", attempt.device_id,
                             {{"attempt", attempt.number},
                              {"method", evidence.method},
                              {"image_md5", seen},
                              {"detail", told},
                              {"acts", acts}}));
  TRY(db_.run("INSERT INTO evidence VALUES (?1, ?2, ?3, ?4, ?5)",
              {attempt.number, evidence.method, seen, told, audit}));
  TRY(set_state(attempt.number, "VERIFIED", audit));
  TRY(open_intents_to(acts, attempt.number, audit));
  return change.commit();
}

Result<void> Store::release(const Attempt& attempt, std::string_view why) {
  TRY(Change change, Change::begin(*this));
  TRY(find(attempt, {"RESERVED"}, "released"));
  TRY(auto audit, change.log("released", attempt.device_id, {{"attempt", attempt.number}, {"why", clean(why)}}));
  TRY(set_state(attempt.number, "RELEASED", audit));
  TRY(burn_certificate(attempt.number, audit));
  return change.commit();
}

Result<void> Store::burn(const Attempt& attempt, std::string_view why) {
  TRY(Change change, Change::begin(*this));
  TRY(find(attempt, {"EXPOSED", "WRITTEN"}, "burned"));
  TRY(auto audit, change.log("burned", attempt.device_id, {{"attempt", attempt.number}, {"why", clean(why)}}));
  TRY(set_state(attempt.number, "BURNED", audit));
  TRY(burn_certificate(attempt.number, audit));
  return change.commit();
}

Result<void> Store::revoke(const std::string& device_id, std::string_view why) {
  TRY(Change change, Change::begin(*this));
  TRY(auto attempt, db_.first("SELECT attempt FROM identity JOIN board ON number = identity.board "
                              "WHERE device_id = ?1 AND state IN ('EXPOSED', 'WRITTEN', 'VERIFIED')",
                              {device_id}, [](const Row& row) { return row.integer(0); }));
  if (!attempt) return fail(refused(fmt::format("{} has no identity to take back", clean(device_id))));
  TRY(auto audit, change.log("revoked", device_id, {{"attempt", *attempt}, {"why", clean(why)}}));
  TRY(set_state(*attempt, "REVOKED", audit));
  TRY(burn_certificate(*attempt, audit));
  return change.commit();
}

Result<void> Store::record_run(const RunRecord& run) {
  TRY(Change change, Change::begin(*this));
  std::string certificate = run.certificate_sha256 ? to_hex(*run.certificate_sha256) : "";
  if (run.verdict == "VERIFIED" && run.certificate_sha256) {
    TRY(auto proven,
        db_.number("SELECT count(*) FROM certificate JOIN identity USING (attempt) WHERE sha256 = ?1 "
                   "AND identity.state = 'VERIFIED' AND identity.board = (SELECT number FROM board "
                   "WHERE mac = ?2 AND chip = ?3 AND unique_id = ?4 AND flash_id = ?5)",
                   {certificate, to_string(run.board.mac), run.board.chip, run.board.unique_id, run.board.flash_id}));
    if (proven == 0)
      return fail(refused("a run may not say VERIFIED of a board whose identity is not", "certificate " + certificate));
  }
  TRY(auto number, db_.number("SELECT 1 + coalesce(max(number), 0) FROM run"));
  Detail detail = tuple_of(run.board);
  detail.update({{"run", number},
                 {"device_id", clean(run.device_id)},
                 {"slot", clean(run.slot)},
                 {"firmware_version", clean(run.firmware_version)},
                 {"firmware_sha256", to_hex(run.firmware_sha256)},
                 {"plan", to_hex(run.plan_digest)},
                 {"certificate_sha256", certificate},
                 {"started", clean(run.started)},
                 {"milliseconds", std::llround(run.seconds * 1000)},
                 {"verdict", run.verdict},
                 {"code", clean(run.code)},
                 {"fault", clean(run.fault)}});
  for (const auto& [name, value] : run.selftest) detail["selftest"][clean(name)] = value;
  auto text = [&](const char* name) { return detail[name].get<std::string>(); };
  TRY(auto audit, change.log("run", text(run.device_id.empty() ? "mac" : "device_id"), detail));
  TRY(db_.run(
      "INSERT INTO run VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
      {number, text("mac"), text("chip"), text("unique_id"), run.board.flash_id, text("device_id"), text("slot"),
       text("firmware_version"), text("firmware_sha256"), text("plan"), certificate, text("started"),
       detail["milliseconds"].get<std::int64_t>(), text("verdict"), text("code"), text("fault"), audit}));
  return change.commit();
}

}  // namespace espmint
