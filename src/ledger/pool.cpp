// The key pool: the same states as an identity's, for keys that a user brings in a file. The ledger knows a key by
// salted digests of its row; the words themselves stay in that file.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/secret.hpp"
#include "base/text.hpp"
#include "ledger/store.hpp"

namespace espmint {
namespace {

// What reads a board's key back after a reset; a board that only says "Provisioned" has proved nothing.
constexpr std::array<std::string_view, 4> key_evidence_methods{"read-back", "nvs-read", "framed-digest", "rom-digest"};

// A field of 16 hexadecimal digits cannot be found again by trying; a PIN can.
constexpr std::size_t shortest_traced_field = 16;
// An import's indexes grow in random order: with SQLite's 2 MB each row of a million reads and spills pages.
constexpr std::string_view large_cache = "PRAGMA cache_size = -262144", usual_cache = "PRAGMA cache_size = -2000";
constexpr std::size_t large_import = 10'000;

Bytes blob(const Sha256& digest) { return {digest.begin(), digest.end()}; }

void append_sized(Bytes& out, std::string_view text) {
  put_u32(out, static_cast<std::uint32_t>(text.size()));
  append(out, as_bytes(text));
}

void read_digest(ByteView from, Sha256& to) {
  if (from.size() == to.size()) std::copy(from.begin(), from.end(), to.begin());
}

KeyState state_named(std::string_view name) {
  if (name == name_of(KeyState::available)) return KeyState::available;  // nearly all of a large pool
  for (KeyState state : {KeyState::reserved, KeyState::exposed, KeyState::written, KeyState::verified,
                         KeyState::quarantined, KeyState::retired})
    if (name_of(state) == name) return state;
  return KeyState::available;
}

}  // namespace

PoolDigester::PoolDigester(std::string_view salt) {
  text_.reserve(4096);
  append_sized(text_, salt);
  salt_bytes_ = text_.size();
}

PoolDigester::~PoolDigester() {
  text_.resize(text_.capacity());
  wipe(text_);
}

Sha256 PoolDigester::finish() {
  Sha256 out = sha256_of(text_);
  text_.resize(salt_bytes_);
  return out;
}

Sha256 PoolDigester::row(std::span<const std::string_view> values) {
  for (std::string_view value : values) append_sized(text_, value);
  return finish();
}

Sha256 PoolDigester::name(std::string_view first_field) {
  append_sized(text_, "name");
  append_sized(text_, first_field);
  return finish();
}

std::vector<PoolDigester::Trace> PoolDigester::traces(std::span<const std::string_view> values,
                                                      const std::vector<std::uint32_t>& shared) {
  std::vector<Trace> out;
  auto is_shared = [&](std::uint32_t column) {
    return std::find(shared.begin(), shared.end(), column) != shared.end();
  };
  auto add = [&](std::uint32_t column) {
    Sha256 digest = finish();
    Trace trace{column, 0};
    std::memcpy(&trace.digest, digest.data(), sizeof trace.digest);
    out.push_back(trace);
  };
  append_sized(text_, "fields");
  bool any = false;
  for (std::uint32_t column = 2; column <= values.size(); ++column) {
    if (is_shared(column)) continue;
    put_u32(text_, column);
    append_sized(text_, values[column - 1]);
    any = true;
  }
  if (!any) {
    text_.resize(salt_bytes_);
    return out;
  }
  add(0);
  for (std::uint32_t column = 2; column <= values.size(); ++column) {
    if (is_shared(column) || values[column - 1].size() < shortest_traced_field) continue;
    append_sized(text_, "field");
    put_u32(text_, column);
    append_sized(text_, values[column - 1]);
    add(column);
  }
  return out;
}

Bytes encode_traces(const std::vector<PoolDigester::Trace>& traces) {
  Bytes out;
  out.reserve(traces.size() * sizeof(std::uint64_t));
  for (const PoolDigester::Trace& trace : traces) {
    put_u32(out, static_cast<std::uint32_t>(trace.digest));
    put_u32(out, static_cast<std::uint32_t>(trace.digest >> 32));
  }
  return out;
}

PoolDigests pool_digests(std::string_view salt, const std::vector<std::string>& values,
                         const std::vector<std::uint32_t>& shared) {
  PoolDigester digester{salt};
  std::vector<std::string_view> views{values.begin(), values.end()};
  return {digester.row(views), digester.name(views.empty() ? std::string_view{} : views.front()),
          encode_traces(digester.traces(views, shared))};
}

// ---- import

Result<std::int64_t> Store::import_keys(const std::vector<PoolImport>& rows, std::string_view source) {
  struct Cache {
    Database* db;
    ~Cache() {
      if (db) static_cast<void>(db->run(usual_cache));
    }
  } cache{rows.size() < large_import ? nullptr : &db_};
  if (cache.db) TRY(db_.run(large_cache));
  TRY(Change change, Change::begin(*this));
  TRY(auto first, db_.number("SELECT 1 + coalesce(max(number), 0) FROM pool_key"));
  // One row of the chain vouches for all of them: their digests in order, and which did not begin AVAILABLE.
  Bytes digests;
  Detail others = Detail::array(), suspected = Detail::array();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    append(digests, rows[i].digests.row);
    append(digests, rows[i].digests.name);
    append(digests, rows[i].digests.traces);
    if (rows[i].suspected) suspected.push_back(first + static_cast<std::int64_t>(i));
    if (rows[i].state == KeyState::available) continue;
    others.push_back({first + static_cast<std::int64_t>(i), name_of(rows[i].state), rows[i].device});
  }
  TRY(auto audit, change.log("keys_imported", "",
                             {{"first", first},
                              {"count", rows.size()},
                              {"sha256", to_hex(sha256_of(digests))},
                              {"not_available", std::move(others)},
                              {"suspected", std::move(suspected)},
                              {"source", escape_controls(source)}}));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto kept = db_.run(
        "INSERT INTO pool_key(number, row_sha256, name_sha256, traces, state, device, audit) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        {first + static_cast<std::int64_t>(i), ByteView{rows[i].digests.row}, ByteView{rows[i].digests.name},
         rows[i].digests.traces, name_of(rows[i].state), rows[i].device, audit});
    if (!kept && kept.error().code == Code::ledger_refused)
      return fail(refused("a key of this import is in the pool already", fmt::format("the import's key {}", i + 1),
                          "Nothing was imported"));
    TRY(std::move(kept));
  }
  TRY(change.commit());
  return first;
}

// ---- one key

Result<std::vector<PoolKey>> Store::keys_where(std::string_view condition, std::initializer_list<Arg> args) {
  std::vector<PoolKey> out;
  TRY(db_.each(fmt::format("SELECT number, state, pool_key.device, time, row_sha256, name_sha256, traces FROM pool_key "
                           "JOIN audit ON seq = pool_key.audit {} ORDER BY number",
                           condition),
               args, [&](const Row& row) {
                 PoolKey key{row.integer(0), state_named(row.text(1)), row.text(2), row.text(3), {}};
                 read_digest(row.bytes(4), key.digests.row);
                 read_digest(row.bytes(5), key.digests.name);
                 key.digests.traces = row.blob(6);
                 out.push_back(std::move(key));
               }));
  return out;
}

Result<PoolKey> Store::find_key(std::int64_t number, std::initializer_list<KeyState> states, std::string_view verb) {
  TRY(std::vector<PoolKey> found, keys_where("WHERE number = ?1", {number}));
  if (found.empty()) return fail(refused(fmt::format("the pool has no key {}", number)));
  PoolKey& key = found.front();
  if (std::find(states.begin(), states.end(), key.state) == states.end())
    return fail(refused(fmt::format("key {} cannot be {}", number, verb), fmt::format("it is {}", name_of(key.state))));
  return std::move(key);
}

Result<void> Store::move_key(std::int64_t number, std::initializer_list<KeyState> from, KeyState to,
                             std::string_view event, Detail detail) {
  TRY(Change change, Change::begin(*this));
  TRY(PoolKey key, find_key(number, from, name_of(to)));
  detail["key"] = number;
  TRY(auto audit, change.log(event, key.device, std::move(detail)));
  if (to == KeyState::exposed) {
    TRY(auto held,
        db_.first("SELECT held FROM board JOIN pool_key ON pool_key.board = board.number WHERE pool_key.number = ?1",
                  {number}, [](const Row& row) { return row.text(0); }));
    if (held && !held->empty())
      return fail({Code::board_held, Remedy::refuse, "the board is held", {}, *held, "Set it aside; a person decides"});
    TRY(db_.run(
        "UPDATE board SET exposed = 1, audit = ?2 WHERE number = (SELECT board FROM pool_key WHERE number = ?1)",
        {number, audit}));
  }
  const bool free = to == KeyState::available;
  TRY(db_.run(free ? "UPDATE pool_key SET state = ?2, audit = ?3, device = '', board = NULL WHERE number = ?1"
                   : "UPDATE pool_key SET state = ?2, audit = ?3 WHERE number = ?1",
              {number, name_of(to), audit}));
  return change.commit();
}

Result<void> Store::reserve_key(std::int64_t number, const BoardIdentity& board, const std::string& device_id,
                                std::optional<std::uint64_t> quota) {
  TRY(Claim claimed, claim(board, device_id, quota));
  TRY(Change change, Change::begin(*this));
  TRY(find_key(number, {KeyState::available}, "RESERVED"));
  TRY(std::vector<PoolKey> has, keys_of(device_id));
  if (!has.empty())
    return fail(refused(fmt::format("device {} has a key already", device_id),
                        fmt::format("key {} is {}", has.back().number, name_of(has.back().state))));
  Detail detail = {{"mac", to_string(board.mac)}, {"chip", board.chip},      {"unique_id", board.unique_id},
                   {"flash_id", board.flash_id},  {"board", claimed.number}, {"key", number}};
  TRY(auto audit, change.log("key_reserved", device_id, std::move(detail)));
  TRY(keep_claim(claimed, board, device_id, audit));
  TRY(db_.run("UPDATE pool_key SET state = 'RESERVED', device = ?2, board = ?3, audit = ?4 WHERE number = ?1",
              {number, device_id, claimed.number, audit}));
  return change.commit();
}

Result<void> Store::bind_key(std::int64_t number, const BoardIdentity& board, const std::string& device_id) {
  TRY(Claim claimed, claim(board, device_id, std::nullopt));
  TRY(Change change, Change::begin(*this));
  TRY(PoolKey key, find_key(number, {KeyState::verified, KeyState::quarantined}, "bound"));
  if (!key.device.empty() && key.device != device_id)
    return fail(refused(fmt::format("key {} is another board's", number), key.device));
  TRY(std::vector<PoolKey> has, keys_of(device_id));
  if (!has.empty() && has.back().number != number)
    return fail(refused(fmt::format("device {} has a key already", device_id),
                        fmt::format("key {} is {}", has.back().number, name_of(has.back().state))));
  Detail detail = {{"mac", to_string(board.mac)}, {"chip", board.chip},      {"unique_id", board.unique_id},
                   {"flash_id", board.flash_id},  {"board", claimed.number}, {"key", number}};
  TRY(auto audit, change.log("key_bound", device_id, std::move(detail)));
  TRY(keep_claim(claimed, board, device_id, audit));
  TRY(db_.run("UPDATE board SET exposed = 1 WHERE number = ?1", {claimed.number}));
  TRY(db_.run("UPDATE pool_key SET state = 'VERIFIED', device = ?2, board = ?3, audit = ?4 WHERE number = ?1",
              {number, device_id, claimed.number, audit}));
  return change.commit();
}

Result<void> Store::release_key(std::int64_t number, std::string_view why) {
  return move_key(number, {KeyState::reserved}, KeyState::available, "key_released", {{"why", escape_controls(why)}});
}

Result<void> Store::expose_key(std::int64_t number) {
  return move_key(number, {KeyState::reserved}, KeyState::exposed, "key_exposed", Detail::object());
}

Result<void> Store::mark_key_written(std::int64_t number) {
  return move_key(number, {KeyState::exposed}, KeyState::written, "key_written", Detail::object());
}

Result<void> Store::mark_key_verified(std::int64_t number, const KeyEvidence& evidence) {
  if (std::find(key_evidence_methods.begin(), key_evidence_methods.end(), evidence.method) ==
      key_evidence_methods.end())
    return fail(refused("this is no evidence that the board holds its key", escape_controls(evidence.method),
                        fmt::format("Evidence is one of: {}", fmt::join(key_evidence_methods, ", "))));
  return move_key(number, {KeyState::written}, KeyState::verified, "key_verified",
                  {{"method", evidence.method}, {"detail", escape_controls(evidence.detail)}});
}

Result<void> Store::quarantine_key(std::int64_t number, std::string_view why) {
  return move_key(number, {KeyState::exposed, KeyState::written}, KeyState::quarantined, "key_quarantined",
                  {{"why", escape_controls(why)}});
}

Result<void> Store::trust_key(std::int64_t number, std::string_view why) {
  TRY(PoolKey key, find_key(number, {KeyState::quarantined}, "given to its board again"));
  if (key.device.empty())
    return fail(refused(fmt::format("key {} may be on a board that nobody knows", number), "QUARANTINED, of no device",
                        "It can only be retired: `espmint keys retire`"));
  return move_key(number, {KeyState::quarantined}, KeyState::exposed, "key_trusted", {{"why", escape_controls(why)}});
}

Result<void> Store::suspect_key(std::int64_t number, const std::string& device, std::string_view why) {
  TRY(Change change, Change::begin(*this));
  TRY(find_key(number, {KeyState::available}, "QUARANTINED"));
  TRY(auto audit, change.log("key_suspected", device, {{"key", number}, {"why", escape_controls(why)}}));
  TRY(db_.run("UPDATE pool_key SET state = 'QUARANTINED', device = ?2, audit = ?3 WHERE number = ?1",
              {number, device, audit}));
  return change.commit();
}

Result<std::vector<std::int64_t>> Store::suspected_keys() {
  std::vector<std::int64_t> out;
  TRY(
      db_.each("SELECT pool_key.number FROM audit, json_each(audit.detail, '$.suspected') AS suspect "
               "JOIN pool_key ON pool_key.number = suspect.value WHERE event = 'keys_imported' AND state = "
               "'QUARANTINED' AND pool_key.device = ''",
               {}, [&](const Row& row) { out.push_back(row.integer(0)); }));
  return out;
}

Result<void> Store::acquit_key(std::int64_t number, std::string_view why) {
  TRY(PoolKey key, find_key(number, {KeyState::quarantined}, "taken for unused"));
  if (!key.device.empty())
    return fail(refused(fmt::format("key {} is {}'s", number, key.device), "it was exposed to that board"));
  return move_key(number, {KeyState::quarantined}, KeyState::available, "key_acquitted",
                  {{"why", escape_controls(why)}});
}

Result<void> Store::retire_key(std::int64_t number, std::string_view by, std::string_view why) {
  return move_key(number, {KeyState::available, KeyState::quarantined}, KeyState::retired, "key_retired",
                  {{"by", escape_controls(by)}, {"why", escape_controls(why)}});
}

// ---- reading

Result<std::optional<PoolKey>> Store::key_with_row(const Sha256& row) {
  TRY(std::vector<PoolKey> found, keys_where("WHERE row_sha256 = ?1", {blob(row)}));
  return found.empty() ? std::optional<PoolKey>{} : std::move(found.front());
}

Result<std::optional<PoolKey>> Store::key_with_name(const Sha256& name) {
  TRY(std::vector<PoolKey> found, keys_where("WHERE name_sha256 = ?1", {blob(name)}));
  return found.empty() ? std::optional<PoolKey>{} : std::move(found.front());
}

Result<bool> Store::was_reserved(std::int64_t number, const std::string& device, std::string_view when) {
  TRY(auto times, db_.number("SELECT count(*) FROM audit WHERE event = 'key_reserved' AND device = ?2 AND time = ?3 "
                             "AND json_extract(detail, '$.key') = ?1",
                             {number, device, when}));
  return times > 0;
}

Result<std::vector<PoolKey>> Store::keys_of(const std::string& device_id) {
  return keys_where("WHERE pool_key.device = ?1 AND pool_key.device <> '' AND state <> 'RETIRED'", {device_id});
}

Result<std::vector<PoolKey>> Store::pool_keys(std::int64_t first, std::int64_t count) {
  TRY(std::vector<PoolKey> found, keys_where("WHERE number >= ?1 AND number < ?1 + ?2", {first, count}));
  if (std::cmp_not_equal(found.size(), count)) return fail(refused(fmt::format("the pool has no key {}", first)));
  return found;
}

Result<void> Store::each_key(std::int64_t first, const std::function<void(const PoolKey&)>& see) {
  PoolKey key;
  Result<void> asked = ok();
  TRY(
      db_.each("SELECT number, state, device, audit, row_sha256, name_sha256, traces FROM pool_key WHERE number >= ?1 "
               "ORDER BY number",
               {first}, [&](const Row& row) {
                 if (!asked) return;
                 key.number = row.integer(0);
                 key.state = state_named(row.view(1));
                 key.device = row.view(2);
                 key.when.clear();
                 if (key.state != KeyState::available) {
                   auto see_time = [&](const Row& said) { key.when = said.view(0); };
                   asked = db_.each("SELECT time FROM audit WHERE seq = ?1", {row.integer(3)}, see_time);
                 }
                 read_digest(row.bytes(4), key.digests.row);
                 read_digest(row.bytes(5), key.digests.name);
                 ByteView traces = row.bytes(6);
                 key.digests.traces.assign(traces.begin(), traces.end());
                 if (asked) see(key);
               }));
  return asked;
}

Result<std::vector<PoolKey>> Store::pool() { return keys_where("", {}); }

}  // namespace espmint
