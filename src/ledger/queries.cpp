// Reading: devices, runs, intents; nothing here writes.
#include <fmt/format.h>

#include "base/text.hpp"
#include "ledger/store.hpp"

namespace espmint {
namespace {

BoardIdentity read_board(const Row& row, int at) {
  return {parse_mac(row.text(at)).value_or(Mac{}), row.text(at + 1), row.text(at + 2),
          static_cast<std::uint32_t>(row.integer(at + 3))};
}

constexpr std::string_view run_columns =
    "run.mac, run.chip, run.unique_id, run.flash_id, run.device_id, run.slot, run.firmware_version, "
    "run.firmware_sha256, "
    "run.plan, run.certificate_sha256, run.started, run.milliseconds, run.verdict, run.code, run.fault";

RunRecord read_run(const Row& row, int at) {
  RunRecord out;
  out.board = read_board(row, at);
  out.device_id = row.text(at + 4);
  out.slot = row.text(at + 5);
  out.firmware_version = row.text(at + 6);
  out.firmware_sha256 = row.digest<32>(at + 7);
  out.plan_digest = row.digest<32>(at + 8);
  if (!row.text(at + 9).empty()) out.certificate_sha256 = row.digest<32>(at + 9);
  out.started = row.text(at + 10);
  out.seconds = static_cast<double>(row.integer(at + 11)) / 1000;
  out.verdict = row.text(at + 12);
  out.code = row.text(at + 13);
  out.fault = row.text(at + 14);
  return out;
}

const std::string& certificate_columns() {
  static const std::string columns = fmt::format(
      "certificate.sha256, certificate.serial, certificate.der, certificate.public_key_der, certificate.image_md5, "
      "certificate.image_sha256, {}",
      cloud_id_column);
  return columns;
}

CertificateRecord read_certificate(const Row& row, int at) {
  return {row.digest<32>(at),     row.text(at + 1),       row.blob(at + 2), row.blob(at + 3),
          row.digest<16>(at + 4), row.digest<32>(at + 5), row.text(at + 6)};
}

KeyState state_named(const std::string& name) {
  for (KeyState state : {KeyState::reserved, KeyState::exposed, KeyState::written, KeyState::verified})
    if (name == name_of(state)) return state;
  return KeyState::available;  // no open attempt, or only released and burned ones
}

/// A board is as far as the row that is least far; QUARANTINED above all.
KeyState lesser(bool has_identity, KeyState identity, KeyState key) {
  if (!has_identity || key == KeyState::quarantined) return key;
  return static_cast<int>(key) < static_cast<int>(identity) ? key : identity;
}

}  // namespace

Result<std::optional<CertificateRecord>> Store::certificate_of(std::int64_t attempt) {
  static const std::string sql = fmt::format("SELECT {} FROM certificate WHERE attempt = ?1", certificate_columns());
  return db_.first(sql, {attempt}, [](const Row& row) { return read_certificate(row, 0); });
}

Result<std::vector<DeviceRecord>> Store::devices_where(std::string_view condition, std::initializer_list<Arg> args) {
  // A board that is being renewed shows the identity it has, not the one it may get.
  std::string sql = fmt::format(
      "SELECT board.mac, board.chip, board.unique_id, board.flash_id, board.device_id, board.held, identity.state, "
      "audit.time, certificate.attempt, run.number, {}, {}, pool_key.number, pool_key.state, identity.attempt, "
      "(SELECT past.state FROM identity AS past WHERE past.board = board.number "
      "  AND past.state NOT IN ('RESERVED', 'RELEASED') ORDER BY past.attempt DESC LIMIT 1) = 'REVOKED' FROM board "
      "LEFT JOIN identity ON identity.attempt = (SELECT open.attempt FROM identity AS open WHERE open.board = "
      "board.number "
      "  AND open.state IN ('RESERVED', 'EXPOSED', 'WRITTEN', 'VERIFIED') ORDER BY open.state = 'RESERVED' LIMIT 1) "
      "LEFT JOIN certificate ON certificate.attempt = identity.attempt "
      "LEFT JOIN audit ON seq = coalesce(identity.audit, "
      "  (SELECT max(past.audit) FROM identity AS past WHERE past.board = board.number), board.audit) "
      "LEFT JOIN pool_key ON pool_key.number = (SELECT max(own.number) FROM pool_key AS own "
      "  WHERE own.device = board.device_id AND own.device <> '' AND own.state <> 'RETIRED') "
      "LEFT JOIN run ON run.number = (SELECT max(last.number) FROM run AS last WHERE last.mac = board.mac "
      "  AND last.chip = board.chip AND last.unique_id = board.unique_id AND last.flash_id = board.flash_id) "
      "WHERE {} ORDER BY board.number",
      certificate_columns(), run_columns, condition);
  std::vector<DeviceRecord> out;
  TRY(db_.each(sql, args, [&](const Row& row) {
    DeviceRecord device;
    device.board = read_board(row, 0);
    device.id = row.text(4);
    device.held = row.text(5);
    device.state = state_named(row.text(6));
    device.updated = row.text(7);
    if (!row.is_null(8)) device.certificate = read_certificate(row, 10);
    if (!row.is_null(9)) device.last_run = read_run(row, 17);
    if (!row.is_null(32)) {
      device.key = row.integer(32);
      KeyState key = row.text(33) == name_of(KeyState::quarantined) ? KeyState::quarantined : state_named(row.text(33));
      device.state = lesser(!row.is_null(34), device.state, key);
    }
    if (row.integer(35) != 0) device.state = KeyState::revoked;
    out.push_back(std::move(device));
  }));
  return out;
}

Result<std::vector<DeviceRecord>> Store::devices() { return devices_where("TRUE", {}); }

Result<std::optional<DeviceRecord>> Store::device(const std::string& id_or_mac) {
  auto mac = parse_mac(id_or_mac);
  std::string mac_text = mac ? to_string(*mac) : "";
  TRY(auto found, devices_where("board.device_id = ?1 OR board.mac = ?2", {id_or_mac, mac_text}));
  if (found.empty()) return std::optional<DeviceRecord>{};
  // Of clones the one that has an id; of an id and a MAC that read alike, the id.
  std::size_t best = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[best].id.empty() && !found[i].id.empty()) best = i;
    if (found[i].id == id_or_mac) {
      best = i;
      break;
    }
  }
  return std::move(found[best]);
}

Result<std::vector<RunRecord>> Store::runs() {
  static const std::string sql = fmt::format("SELECT {} FROM run ORDER BY number", run_columns);
  std::vector<RunRecord> out;
  TRY(db_.each(sql, {}, [&](const Row& row) { out.push_back(read_run(row, 0)); }));
  return out;
}

Result<AuditReport> Store::verify_audit() { return espmint::verify_audit(folder_); }

}  // namespace espmint
