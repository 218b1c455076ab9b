// run/board_run.hpp: one board's story, from a port with something on it to a verdict that is in the ledger.
#pragma once

#include <memory>
#include <optional>

#include "base/secret.hpp"
#include "handshake/line_dialect.hpp"
#include "recipe/board_image.hpp"
#include "rom/update_region.hpp"
#include "run/enrolment.hpp"
#include "run/reconcile.hpp"
#include "run/station.hpp"

namespace espmint {

enum class Verdict { verified, written, held, quarantined, failed };
std::string_view name_of(Verdict);  // "VERIFIED", …

struct RunOutcome {
  Verdict verdict = Verdict::failed;
  std::optional<Fault> fault;      // why it is not VERIFIED
  std::optional<BoardInfo> board;  // once identified
  RunRecord record;                // as it stands in the ledger
  bool already = false;            // VERIFIED before, checked in place
  std::string already_since;       // UTC
  std::uint64_t flashed_bytes = 0, wire_bytes = 0;
  double flashing_seconds = 0;      // of writing alone
  std::string evidence;             // how it was proved: "rom-digest+challenge", "read-back"; empty: not in this run
  std::optional<std::int64_t> key;  // of the pool, that it has or may have
};

class BoardRun {
 public:
  /// `port` is open and stays the caller's; `slot` names the place for people and records.
  BoardRun(Station& station, Port& port, std::string slot, bool usb_serial_jtag);
  ~BoardRun();
  BoardRun(const BoardRun&) = delete;
  BoardRun& operator=(const BoardRun&) = delete;

  /// Never faults: whatever happens is the outcome, and what had to be recorded is recorded.
  Task<RunOutcome> prepare();
  /// Whether stopping now would leave a secret on a board without proof.
  [[nodiscard]] bool exposed() const {
    return exposed_ || (key_ && (key_->state == KeyState::exposed || key_->state == KeyState::written));
  }

 private:
  // The story, in its order.
  Task<Result<void>> story();
  Task<Result<void>> bring_up();
  Task<Result<void>> flash_firmware();
  Task<Result<void>> flash_identity();
  Task<Result<void>> evidence();
  Task<Result<void>> boot();
  Task<Result<void>> challenge_application();
  Task<Result<void>> record_verified();
  Task<std::vector<Settlement>> drain_intents();
  Task<void> settle(Result<void> end);

  // Who it is to the ledger (admit.cpp).
  Task<Result<void>> admit();
  Task<Result<void>> check_identity_in_place();
  Task<Result<void>> resume_identity();

  // The other arm, beside flash_firmware, and what it needs before (make_identity.cpp).
  Task<Result<void>> gather_values();
  Task<Result<void>> read_what_is_there();
  Task<Result<void>> make_identity();
  Task<Result<Attempt>> reserve(bool renew);
  Enrolment enrolment();
  Task<Result<OnBoard>> read_image_on_board(const ImagePlan&);
  Task<Result<Secret>> read_proved(FlashRange);
  Task<Result<Md5>> identity_on_board();
  Task<Result<std::optional<std::string>>> difference_in_place();
  void note_old_files();
  Result<void> save_private_key();
  Task<Result<void>> mark_written();

  // The key of the pool (hand_over.cpp).
  Task<Result<void>> admit_key();
  Task<Result<void>> hand_over_key();
  Task<Result<Greeting>> listen_on(const LineDialect&, std::size_t values, Instant until);
  [[nodiscard]] bool started_late(const Greeting&, Instant reset);
  Task<Result<Greeting>> hear_application(std::size_t values, std::chrono::seconds patience);
  Task<Result<void>> deliver_key(const std::vector<Secret>& fields);
  Task<Result<void>> judge_key(const Greeting&, const std::vector<Secret>& fields);
  Task<Result<bool>> nvs_holds_key(const std::vector<Secret>& fields);
  Task<Result<bool>> recognise_key(const Greeting&);
  Task<Result<bool>> bind_or_erase(std::optional<PoolKey> found, std::string seen);
  Task<Result<void>> expose_key();
  Task<Result<void>> mark_key_written();
  Task<Result<void>> quarantine_key(std::string_view why);
  Task<Result<void>> release_key(std::string_view why);
  Task<Result<void>> record_key();

  // The same in the framed dialect (hand_over_framed.cpp).
  Task<Result<void>> hand_over_framed(const BoardHello&, const std::vector<Secret>& fields);
  Task<Result<BoardHello>> hear_framed();
  Result<void> expect_this_board(const BoardHello&) const;
  Task<Result<void>> test_board();
  Task<Result<void>> deliver_framed(const std::vector<Secret>& fields);
  Task<Result<void>> judge_framed(const BoardHello&, const std::vector<Secret>& fields);
  Task<Result<bool>> recognise_framed();
  Task<Result<void>> lock_key(BoardState);
  Nonce new_nonce();

  // Tools of the steps.
  using StepBody = Task<Result<void>> (BoardRun::*)();
  Task<Result<void>> step(Step, StepBody);
  Task<Result<void>> speed_up(Baud);
  void suspect_wire(Step, const Fault&);
  Task<Result<void>> repower(Fault why);
  Task<Result<BoardInfo>> connect_and_identify();
  // Boards that take their port along when they are reset (vanishing_port.cpp).
  Task<Result<void>> start_application(Baud);
  Task<Result<void>> come_back(Baud);
  [[nodiscard]] bool is_explained(const Fault&) const;
  [[nodiscard]] bool may_be_another() const;
  void note_absences(const Port::Absences& before);
  Task<Result<void>> bring_to_flash(std::shared_ptr<const PreparedRegion>, LookFirst, std::string_view label,
                                    std::uint64_t done_before);
  Task<Result<void>> erase_if_needed(const PlannedErase&);
  void enter(Step);
  [[nodiscard]] std::uint64_t identity_bytes() const;
  [[nodiscard]] bool key_in_image() const { return key_ && station_.plan.keys_in_images(); }
  /// A key of the pool that the image with this board's identity need not hold: not given out yet, or under another
  /// plan, which may have handed it over on the wire.
  [[nodiscard]] bool plan_has_new_key() const {
    return key_in_image() && (key_->state == KeyState::reserved ||
                              (key_->state != KeyState::verified && admission_.plan_digest != station_.plan.digest));
  }
  /// VERIFIED before with this very plan.
  [[nodiscard]] bool in_place() const { return keeps_identity_ && admission_.kind == Admission::Kind::verified; }

  Station& station_;
  Port& port_;
  std::string slot_;
  bool usb_serial_jtag_;
  Loader loader_;
  Instant started_;
  Step step_ = Step::connect;
  Baud baud_;
  int lost_replies_ = 0;  // at speeds above the slowest
  bool use_stub_;
  bool vanishes_;              // the port goes with the board's resets: seen at the last one
  Duration usual_start_{};     // from the last reset to the ROM's banner
  int absences_ = 0;           // since the board was identified
  bool long_absence_ = false;  // one of them longer than the reset explains
  Duration usual_absence_{};   // the last after which the same board was identified

  std::optional<BoardInfo> board_;
  BoardIdentity who_;
  Admission admission_;
  std::shared_ptr<const PreparedFirmware> firmware_;
  std::optional<Attempt> attempt_;
  std::optional<CertificateRecord> certificate_;
  BoardValues values_;  // what its templates stand for; certificate and keys when they are made
  DiskFiles disk_;
  std::vector<OnBoard> there_;  // of each image of the plan, where what is there is kept
  std::vector<std::shared_ptr<const PreparedRegion>> images_;
  Md5 image_md5_{};             // of what was written, or of what lies there and is its identity
  std::optional<PoolKey> key_;  // of the pool; its state as this run knows it
  bool key_proven_ = false;
  std::string key_evidence_ = "read-back", key_evidence_detail_ = "every field, after a reset";
  Secret kept_key_;              // only where the recipe saves private keys
  bool keeps_identity_ = false;  // VERIFIED before: nothing minted, nothing exposed
  bool exposed_ = false, written_ = false, verified_ = false;
  bool noted_old_files_ = false;
  bool stub_wrote_ = false;  // a ROM that answers afterwards was reset
  std::string evidence_method_, evidence_detail_;
  RunOutcome outcome_;
};

}  // namespace espmint
