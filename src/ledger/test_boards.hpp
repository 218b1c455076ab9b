// ledger/test_boards.hpp: what tests and benches of this room share: a folder, a clock, boards by number.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "ledger/ledger.hpp"

namespace espmint {

class TestFolder {
 public:
  /// In memory where there is such a folder: a stopped process loses nothing there either, and the tests run a fifth
  /// as long. TMPDIR decides otherwise.
  TestFolder() : TestFolder(std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp") {}
  explicit TestFolder(std::string base) {
    if (const char* wanted = std::getenv("TMPDIR")) base = wanted;
    std::string name = base + "/ledger-XXXXXX";
    if (!::mkdtemp(name.data())) std::abort();
    top_ = name;
    owner_ = ::getpid();
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  ~TestFolder() {
    if (owner_ == ::getpid()) std::filesystem::remove_all(top_);  // not in a forked child
  }
  [[nodiscard]] std::filesystem::path path() const { return top_ / "thermostat"; }
  [[nodiscard]] std::filesystem::path top() const { return top_; }

 private:
  std::filesystem::path top_;
  ::pid_t owner_;
};

class TestClock final : public Clock {
 public:
  WallTime time{std::chrono::sys_days{std::chrono::year{2026} / 11 / 21}};
  [[nodiscard]] Instant now() const override { return {}; }
  [[nodiscard]] WallTime wall() const override { return time; }
  Task<> sleep_until(Instant) override { co_return; }
};

inline LedgerOptions options_of(std::string product = "thermostat") {
  return {LedgerOptions::Mode::write, std::move(product), fmt::format("pid {} on bench: ledger_test", ::getpid())};
}
/// The value of a call that a test needs to go on at all.
template <typename T>
T must(Result<T> result) {
  if (!result) {
    std::fputs((describe(result.error()) + "\n").c_str(), stderr);
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

inline std::unique_ptr<Ledger> open_ledger(const TestFolder& folder, const Clock& clock) {
  return must(Ledger::open(folder.path(), options_of(), clock));
}

inline Mac mac_of(int n) {
  return {{0x24, 0xd7, 0xeb, static_cast<std::uint8_t>(n >> 16), static_cast<std::uint8_t>(n >> 8),
           static_cast<std::uint8_t>(n)}};
}
inline BoardIdentity board_of(int n) { return {mac_of(n), "esp32", "", 0x164020}; }
inline std::string id_of(int n) { return to_string(mac_of(n)); }
inline Sha256 plan_of(std::string_view name) { return sha256_of(as_bytes(name)); }
inline const Sha256 plan_a = plan_of("a");

/// A certificate that no other attempt has; its bytes only look like one.
inline CertificateRecord certificate_of(std::int64_t attempt, int salt = 0) {
  CertificateRecord out;
  out.der = to_bytes(fmt::format("certificate {} {} {}", attempt, salt, std::string(700, 'c')));
  out.sha256 = sha256_of(out.der);
  out.serial = to_hex(ByteView{out.sha256}.first(20));
  out.public_key_der = to_bytes(fmt::format("public key {} {}", attempt, salt));
  out.image_md5 = md5_of(out.der);
  out.image_sha256 = sha256_of(out.public_key_der);
  return out;
}
inline Evidence evidence_of(const CertificateRecord& record) { return {"rom-digest", record.image_md5, "after reset"}; }

inline RunRecord run_of(int n, const std::optional<Sha256>& certificate, std::string verdict = "VERIFIED") {
  RunRecord out;
  out.board = board_of(n);
  out.device_id = id_of(n);
  out.slot = "/dev/ttyUSB0";
  out.firmware_version = "1.2.0";
  out.firmware_sha256 = plan_of("firmware");
  out.plan_digest = plan_a;
  out.certificate_sha256 = certificate;
  out.started = "2026-11-21T00:00:00Z";
  out.seconds = 9.25;
  out.verdict = std::move(verdict);
  return out;
}

/// One board all the way; its attempt.
inline Attempt verify_board(Ledger& ledger, int n, bool renew = false) {
  Attempt attempt = must(ledger.reserve(board_of(n), id_of(n), plan_a, std::nullopt, renew));
  CertificateRecord record = certificate_of(attempt.number);
  must(ledger.record_certificate(attempt, record));
  must(ledger.settle(attempt, "enrol", "done"));
  must(ledger.expose(attempt));
  must(ledger.mark_written(attempt));
  must(ledger.mark_verified(attempt, evidence_of(record)));
  must(ledger.record_run(run_of(n, record.sha256)));
  return attempt;
}
inline Attempt reserve_board(Ledger& ledger, int n, bool renew = false) {
  return must(ledger.reserve(board_of(n), id_of(n), plan_a, std::nullopt, renew));
}
inline Attempt record_board(Ledger& ledger, int n, bool renew = false) {
  Attempt attempt = reserve_board(ledger, n, renew);
  must(ledger.record_certificate(attempt, certificate_of(attempt.number)));
  return attempt;
}
inline Attempt expose_board(Ledger& ledger, int n, bool renew = false) {
  Attempt attempt = record_board(ledger, n, renew);
  must(ledger.expose(attempt));
  return attempt;
}
inline Attempt write_board(Ledger& ledger, int n, bool renew = false) {
  Attempt attempt = expose_board(ledger, n, renew);
  must(ledger.mark_written(attempt));
  return attempt;
}

}  // namespace espmint
