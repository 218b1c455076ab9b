#include "run/board_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "boost/asio/experimental/awaitable_operators.hpp"
#include "handshake/challenge.hpp"
#include "io/returning_port.hpp"
#include "recipe/checks.hpp"
#include "rom/connect.hpp"
#include "rom/diagnosis.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

// ROM loaders measure time by a clock of their own and miss above this; the stub does not.
constexpr Baud fastest_for_rom{921'600};
constexpr std::array slower_bauds{Baud{921'600}, Baud{460'800}, Baud{230'400}, Baud{115'200}};

double seconds_between(Instant from, Instant to) { return std::chrono::duration<double>(to - from).count(); }

Fault board_changed(const Mac& expected, const Mac& found) {
  Fault fault{Code::board_changed, Remedy::refuse, "another board is on this slot now"};
  fault.seen = fmt::format("MAC {}, it was {}", to_string_with_colons(found), to_string_with_colons(expected));
  fault.advice =
      "Nothing of the first board's identity was written to it; plug one board in and leave it until it is done";
  return fault;
}

Fault flash_differs(Code code, std::string_view what, const Md5& on_board, const Md5& wanted) {
  Fault fault{code, Remedy::retry, fmt::format("{} is not on the flash as it was sent", what)};
  fault.seen = fmt::format("board MD5 {}, sent MD5 {}", to_hex(on_board), to_hex(wanted));
  fault.advice = "Reseat the board; twice on one slot: check cable and supply; twice on one board: its flash is worn";
  return fault;
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::verified:
      return "VERIFIED";
    case Verdict::written:
      return "WRITTEN";
    case Verdict::held:
      return "HELD";
    case Verdict::quarantined:
      return "QUARANTINED";
    case Verdict::failed:
      break;
  }
  return "FAILED";
}

BoardRun::BoardRun(Station& station, Port& port, std::string slot, bool usb_serial_jtag)
    : station_(station),
      port_(port),
      slot_(std::move(slot)),
      usb_serial_jtag_(usb_serial_jtag),
      loader_(port, station.clock),
      started_(station.clock.now()),
      baud_(station.bauds.start(slot_, station.options.baud)),
      use_stub_(station.options.use_stub),
      vanishes_(usb_serial_jtag) {}

BoardRun::~BoardRun() {
  if (!board_) return;
  if (auto mine = station_.active.find(board_->mac); mine != station_.active.end() && mine->second == slot_)
    station_.active.erase(mine);
}

Task<RunOutcome> BoardRun::prepare() {
  outcome_.record.started = to_string(station_.clock.wall());
  Result<void> end = co_await story();
  co_await settle(std::move(end));
  co_return std::move(outcome_);
}

// ---------------------------------------------------------------------------------------------------- the story

Task<Result<void>> BoardRun::story() {
  using boost::asio::experimental::awaitable_operators::operator&&;
  CO_TRY(co_await step(Step::connect, &BoardRun::bring_up));
  CO_TRY(co_await step(Step::admit, &BoardRun::admit));
  // While the firmware crosses the wire the identity is minted, enrolled and its image built.
  auto [flashed, minted] = co_await (step(Step::flash_firmware, &BoardRun::flash_firmware) && make_identity());
  CO_TRY(std::move(flashed));
  CO_TRY(std::move(minted));
  CO_TRY(co_await step(Step::flash_identity, &BoardRun::flash_identity));
  CO_TRY(co_await step(Step::evidence, &BoardRun::evidence));
  CO_TRY(co_await step(Step::boot, &BoardRun::boot));
  CO_TRY(co_await step(Step::challenge, &BoardRun::challenge_application));
  CO_TRY(co_await step(Step::hand_over, &BoardRun::hand_over_key));
  CO_TRY(co_await step(Step::record, &BoardRun::record_verified));
  co_return ok();
}

Task<Result<BoardInfo>> BoardRun::connect_and_identify() {
  // A board not yet met may have USB of its own; of one that has an adapter, a vanished port says that it was
  // unplugged.
  Duration for_its_return = !board_ || vanishes_ ? return_patience : 0ms;
  const Port::Absences before = port_.absences();
  ConnectOptions how{
      .usb_serial_jtag = usb_serial_jtag_, .reset = station_.options.reset, .return_patience = for_its_return};
  if (!board_ && station_.options.reset) {
    how.button_patience = station_.options.button_patience;
    how.ask_for_button = [this](const Fault& why) {
      station_.observer.on_note(
          slot_, fmt::format("{}; waiting for a hand: hold BOOT, press RESET, let go of both", why.what));
    };
  }
  CO_TRY(co_await connect(loader_, how));
  CO_TRY(BoardInfo board, co_await identify(loader_));
  // After every reset: what was planned for one board never lands on another.
  if (board_ && board.mac != board_->mac) co_return fail(board_changed(board_->mac, board.mac));
  note_absences(before);
  co_return board;
}

Task<Result<void>> BoardRun::bring_up() {
  CO_TRY(BoardInfo board, co_await connect_and_identify());
  // From here on it has a name: what is wrong with it is recorded under it.
  bool first_time = !board_;
  if (first_time) {
    board_ = outcome_.board = board;
    who_ = {board.mac, std::string{board.chip->name}, board.unique_id, 0};
  }
  CO_TRY(check_chip(station_.plan, *board.chip));
  CO_TRY(check_revision(station_.plan, board.revision.full()));
  CO_TRY(check_unlocked(board));
  CO_TRY(co_await speed_up(std::min(baud_, fastest_for_rom)));
  const StubImage* stub = stub_for(station_.stubs, *board.chip, board.revision);
  if (use_stub_ && stub) {
    // On a port without reset lines it may run already.
    if (loader_.speaker() == Speaker::rom) CO_TRY(co_await start_stub(loader_, *stub));
    CO_TRY(co_await speed_up(baud_));
  }
  CO_TRY(co_await read_flash_id(loader_, board));
  board_ = outcome_.board = board;
  who_.flash_id = board.flash_id;
  CO_TRY(check_flash(station_.plan, board.flash_size));
  if (first_time) {
    station_.observer.on_board(slot_, board);
    auto [there, mine] = station_.active.emplace(board.mac, slot_);
    if (!mine && there->second != slot_) {
      Fault fault{Code::board_held, Remedy::refuse,
                  fmt::format("a board with this MAC is already in slot {}", there->second)};
      fault.seen = to_string_with_colons(board.mac);
      fault.advice = "Two boards with one MAC are both put aside; if it is one board on two ports, unplug one";
      co_return fail(std::move(fault));
    }
  }
  CO_TRY(firmware_,
         co_await station_.firmware.for_board(WriteFormat::of(loader_.speaker(), *board.chip), board.flash_size));
  co_return ok();
}

/// Where the board does not answer at this speed, the next try starts at a lower one.
Task<Result<void>> BoardRun::speed_up(Baud baud) {
  auto at_speed = co_await loader_.change_baud(baud);
  if (!at_speed && at_speed.error().code == Code::baud_failed && baud > slower_bauds.back()) {
    baud_ = *std::find_if(slower_bauds.begin(), slower_bauds.end(), [baud](Baud slower) { return slower < baud; });
    station_.bauds.fell_back(slot_, baud_);
    station_.observer.on_note(slot_,
                              fmt::format("no answer at {} baud, going on at {}", baud.per_second, baud_.per_second));
  }
  co_return at_speed;
}

/// A wire that garbles at this speed may not do so at a lower one. Once is chance, but while connecting there is no
/// third try. Two rungs at once, for the same reason.
void BoardRun::suspect_wire(Step which, const Fault& fault) {
  const bool refused_as_damaged =
      fault.code == Code::command_refused && fault.seen.find("checksum wrong") != std::string::npos;
  const bool lost = fault.code == Code::reply_missing || fault.code == Code::reply_damaged || refused_as_damaged;
  const Baud now = loader_.baud();
  if (!lost || now <= slower_bauds.back()) return;
  if (++lost_replies_ < 2 && which != Step::connect) return;
  const auto rung = std::find_if(slower_bauds.begin(), slower_bauds.end(), [now](Baud slower) { return slower < now; });
  baud_ = *std::min(rung + 1, slower_bauds.end() - 1);
  station_.bauds.fell_back(slot_, baud_);
  station_.observer.on_note(slot_,
                            fmt::format("bytes get lost at {} baud, going on at {}", now.per_second, baud_.per_second));
}

Task<Result<void>> BoardRun::bring_to_flash(std::shared_ptr<const PreparedRegion> region, LookFirst look,
                                            std::string_view label, std::uint64_t done_before) {
  std::uint64_t total = firmware_->bytes + identity_bytes();
  auto tell = [this, done_before, total](std::uint64_t done) {
    station_.observer.on_progress(slot_, done_before + done, total);
  };
  auto updated = co_await update_region(loader_, station_.pool, std::move(region), look, std::move(tell));
  if (!updated && updated.error().code == Code::flash_differs)
    updated.error().what = fmt::format("{} is not on the flash as it was sent", label);
  CO_TRY(RegionUpdate done, std::move(updated));
  outcome_.flashing_seconds += std::chrono::duration<double>(done.writing).count();
  outcome_.flashed_bytes += done.written_bytes;
  outcome_.wire_bytes += done.wire_bytes;
  co_return ok();
}

Task<Result<void>> BoardRun::erase_if_needed(const PlannedErase& erase) {
  CO_TRY(Md5 on_board, co_await flash_md5(loader_, erase.range));
  if (on_board == md5_of(Bytes(erase.range.size, 0xff))) co_return ok();
  co_return co_await erase_region(loader_, erase.range);
}

Task<Result<void>> BoardRun::flash_firmware() {
  std::uint64_t done = 0;
  for (std::size_t i = 0; i < firmware_->regions.size(); ++i) {
    const auto& region = firmware_->regions[i];
    // What a VERIFIED board's own application has written since is its data, not our firmware gone wrong.
    bool its_own = in_place() && station_.plan.regions[i].kind == PlannedRegion::Kind::data;
    if (!its_own) CO_TRY(co_await bring_to_flash(region, LookFirst::yes, firmware_->labels[i], done));
    done += region->range.size;
    station_.observer.on_progress(slot_, done, firmware_->bytes + identity_bytes());
  }
  if (in_place()) co_return ok();
  for (const PlannedErase& erase : station_.plan.erases) CO_TRY(co_await erase_if_needed(erase));
  co_return ok();
}

Task<Result<void>> BoardRun::flash_identity() {
  if (images_.empty() || written_) co_return ok();
  if (station_.stopping && !exposed_)
    co_return fail({Code::interrupted, Remedy::refuse, "stopped before the identity was written", {}, {}, {}});
  // The last look before what cannot be undone.
  CO_TRY(Mac mac, co_await read_mac(loader_));
  if (mac != board_->mac) co_return fail(board_changed(board_->mac, mac));
  if (!exposed_) {
    auto expose = [&ledger = station_.ledger, attempt = *attempt_] { return ledger.expose(attempt); };
    CO_TRY(co_await on_pool(station_.ledger_pool, std::move(expose)));
    exposed_ = true;
    CO_TRY(save_private_key());
  }
  if (key_in_image()) CO_TRY(co_await expose_key());
  std::uint64_t done = firmware_->bytes;
  for (const auto& image : images_) {
    CO_TRY(co_await bring_to_flash(image, LookFirst::no, "the identity image", done));
    done += image->range.size;
  }
  co_return co_await mark_written();
}

Task<Result<void>> BoardRun::mark_written() {
  written_ = true;
  if (key_in_image()) CO_TRY(co_await mark_key_written());
  // A resumed board may be WRITTEN in the ledger already.
  if (admission_.kind == Admission::Kind::resume && admission_.state == KeyState::written &&
      admission_.attempt->number == attempt_->number)
    co_return ok();
  auto mark = [&ledger = station_.ledger, attempt = *attempt_] { return ledger.mark_written(attempt); };
  co_return co_await on_pool(station_.ledger_pool, std::move(mark));
}

Task<Result<void>> BoardRun::evidence() {
  if (!station_.plan.has_identity()) co_return ok();
  // Into download mode: the application has not run yet, so what is read is what was written.
  if (!station_.options.reset) {
    co_return fail({Code::no_reset_lines,
                    Remedy::refuse,
                    "the board cannot be reset here, so nothing proves what it holds",
                    {},
                    {},
                    "Use a port with DTR and RTS wired to EN and IO0"});
  }
  CO_TRY(co_await port_.set_dtr_rts(false, false));  // faults with no_reset_lines on a port without them
  stub_wrote_ = stub_wrote_ || loader_.speaker() == Speaker::stub;
  CO_TRY(BoardInfo again, co_await connect_and_identify());
  // A ROM that answers where a stub did was reset; a ROM that was there all along may have been left as it was, by
  // lines that lead nowhere. A port that went with it is the chip's own.
  if (!stub_wrote_ && !banner_heard(loader_) && !vanishes_) {
    Fault fault{Code::no_reset_lines, Remedy::refuse,
                "nothing shows that the board was reset, so nothing proves what it holds"};
    fault.seen = "its ROM answers, but printed no boot message";
    fault.advice = "Use a port with DTR and RTS wired to EN and IO0, or flash through the stub";
    co_return fail(std::move(fault));
  }
  CO_TRY(co_await read_flash_id(loader_, again));
  if (again.flash_id != board_->flash_id) co_return fail(board_changed(board_->mac, again.mac));
  CO_TRY(Md5 on_board, co_await identity_on_board());
  if (on_board != image_md5_)
    co_return fail(flash_differs(Code::image_differs, "the identity image", on_board, image_md5_));
  evidence_method_ = "rom-digest";
  evidence_detail_ = fmt::format("MD5 {} by the {} after a reset", to_hex(on_board),
                                 loader_.speaker() == Speaker::rom ? "ROM" : "stub");
  if (key_in_image()) {
    key_evidence_ = evidence_method_;
    key_evidence_detail_ = "in an image: " + evidence_detail_;
    key_proven_ = true;
  }
  co_return ok();
}

Task<Result<void>> BoardRun::boot() {
  if (!station_.plan.has_identity() && station_.plan.keys) co_return ok();  // handing over starts it anew
  CO_TRY(co_await port_.set_baud(Baud{}));
  CO_TRY(co_await port_.discard_input());
  auto started = co_await start_application(Baud{});
  // Without an identity there is nothing to prove: a board on a port without reset lines starts when it is unplugged.
  if (!started && started.error().code == Code::no_reset_lines && !station_.plan.has_identity()) co_return ok();
  co_return started;
}

Task<Result<void>> BoardRun::challenge_application() {
  const Plan& plan = station_.plan;
  if (!plan.has_identity() || !certificate_ || plan.challenge == ChallengePolicy::off) co_return ok();
  bool known_silent = station_.challenges_unanswered >= 2 && station_.challenges_answered == 0;
  if (plan.challenge == ChallengePolicy::automatic && known_silent) co_return ok();
  Nonce nonce;
  station_.entropy.fill(nonce);
  auto ask = [&] {
    return challenge(port_, station_.clock, board_->mac, nonce, certificate_->public_key_der,
                     station_.clock.now() + station_.options.challenge_patience);
  };
  auto asked = co_await ask();
  if (!asked && is_explained(asked.error())) {
    CO_TRY(co_await come_back(Baud{}));
    asked = co_await ask();  // whoever answers must have the key
  }
  CO_TRY(ChallengeOutcome answer, std::move(asked));
  switch (answer.kind) {
    case ChallengeOutcome::Kind::proved:
      ++station_.challenges_answered;
      evidence_method_ += "+challenge";
      evidence_detail_ += ", its application signed a challenge with the key";
      co_return ok();
    case ChallengeOutcome::Kind::wrong: {
      Fault fault{Code::challenge_failed, Remedy::refuse,
                  "the running firmware proved another key than the one it was given"};
      fault.seen = answer.seen;
      fault.advice = "Put the board aside; the firmware reads its key from another place than the recipe writes it to";
      co_return fail(std::move(fault));
    }
    case ChallengeOutcome::Kind::silent:
      break;
  }
  if (plan.challenge == ChallengePolicy::required) {
    Fault fault{Code::challenge_silent, Remedy::refuse, "the running firmware did not prove its key"};
    fault.seen = answer.boot_log.empty() ? "it printed nothing" : answer.seen;
    fault.advice = "The recipe demands the challenge (docs/formats/challenge.md): does this firmware answer it?";
    co_return fail(std::move(fault));
  }
  if (++station_.challenges_unanswered == 2 && station_.challenges_answered == 0)
    station_.observer.on_note(slot_,
                              "this firmware does not answer the challenge; the digest read back is the evidence, and "
                              "boards are no longer waited for");
  co_return ok();
}

Task<Result<void>> BoardRun::record_verified() {
  if (station_.plan.has_identity() && !keeps_identity_) {
    Evidence seen{evidence_method_, certificate_->image_md5, evidence_detail_};
    Acts completion = station_.cloud.ways().completion;
    auto mark = [&ledger = station_.ledger, attempt = *attempt_, seen, completion = std::move(completion)] {
      return ledger.mark_verified(attempt, seen, completion);
    };
    CO_TRY(co_await on_pool(station_.ledger_pool, std::move(mark)));
  }
  CO_TRY(co_await record_key());
  verified_ = true;
  outcome_.already = keeps_identity_ || (key_ && !station_.plan.has_identity() && !outcome_.already_since.empty());
  co_return ok();
}

/// What VERIFIED has promised others and they have not heard yet. Green does not wait for it.
Task<std::vector<Settlement>> BoardRun::drain_intents() {
  auto told = co_await tell_cloud(station_.cloud, station_.ledger, station_.ledger_pool, attempt_->device_id);
  if (told) co_return std::move(*told);
  station_.observer.on_note(slot_, describe(told.error()));
  co_return std::vector<Settlement>{};
}

// ---------------------------------------------------------------------------------------------------- the end

Task<void> BoardRun::settle(Result<void> end) {
  std::optional<Fault> fault;
  if (!end) {
    fault = std::move(end.error());
    if (fault->where.slot.empty()) fault->where.slot = slot_;
    if (fault->where.step.empty()) fault->where.step = spec_of(step_).name;
    if (board_ && fault->where.board.empty()) fault->where.board = to_string(board_->mac);
    bool port_closed = fault->code == Code::port_gone || fault->code == Code::port_failed;
    if (station_.stopping && port_closed) {
      fault->code = Code::interrupted;
      fault->what = "stopped before the board was finished";
      fault->advice = exposed_ ? "Plug it in again: it gets the same identity"
                               : "Nothing was written that counts; plug it in again";
    }
  }
  std::vector<Settlement> settlements;
  if (verified_) station_.bauds.went_well(slot_);
  if (verified_ && !keeps_identity_ && attempt_ && !station_.backlog) settlements = co_await drain_intents();
  if (attempt_ && !exposed_) {
    auto release = [&ledger = station_.ledger, attempt = *attempt_, why = fault ? fault->what : std::string{}] {
      return ledger.release(attempt, why);
    };
    auto released = co_await on_pool(station_.ledger_pool, std::move(release));
    if (!released) fault = std::move(released.error());
  }
  std::string why = fault ? fault->what : std::string{};
  auto key_released = co_await release_key(why);
  if (!key_released) fault = std::move(key_released.error());
  // A secret that may be on the board is kept for that board, in memory only.
  if (board_ && exposed_ && !verified_ && !images_.empty() && attempt_ && certificate_) {
    station_.pending.insert_or_assign(
        board_->mac,
        PendingIdentity{*attempt_, *certificate_, images_, station_.clock.now() + station_.options.pending_for});
  } else if (board_ && verified_) {
    station_.pending.erase(board_->mac);
  }
  outcome_.verdict = verified_                                                  ? Verdict::verified
                     : written_ && fault && fault->code == Code::no_reset_lines ? Verdict::written
                     : fault && fault->code == Code::key_unproven               ? Verdict::written
                     : key_ && key_->state == KeyState::quarantined             ? Verdict::quarantined
                     : fault && (fault->code == Code::board_held || fault->code == Code::board_provisioned ||
                                 fault->code == Code::thing_foreign)
                         ? Verdict::held
                         : Verdict::failed;
  if (outcome_.verdict == Verdict::written) {
    // It cannot be reset: whoever comes next finds it at the speed that everybody starts with.
    auto back = co_await loader_.change_baud(Baud{});
    if (!back) station_.observer.on_note(slot_, describe(back.error()));
  }
  outcome_.evidence = evidence_method_;
  if (key_ && key_proven_) outcome_.evidence += (outcome_.evidence.empty() ? "" : "+") + key_evidence_;
  if (key_) outcome_.key = key_->number;
  RunRecord& record = outcome_.record;
  record.board = who_;
  record.slot = slot_;
  record.firmware_version = station_.plan.firmware_version;
  record.firmware_sha256 = station_.plan.firmware_sha256;
  record.plan_digest = station_.plan.digest;
  if (certificate_) record.certificate_sha256 = certificate_->sha256;
  record.seconds = seconds_between(started_, station_.clock.now());
  record.verdict = name_of(outcome_.verdict);
  if (fault) {
    record.code = name_of(fault->code);
    record.fault = describe(*fault);
  }
  if (board_) {
    auto keep = [&ledger = station_.ledger, record, settlements] {
      return ledger.together([&]() -> Result<void> {
        TRY(::espmint::settle(ledger, settlements));
        return ledger.record_run(record);
      });
    };
    auto kept = co_await on_pool(station_.ledger_pool, std::move(keep));
    if (!kept && !fault) fault = std::move(kept.error());
  }
  if (station_.backlog) station_.backlog->wake();
  outcome_.fault = std::move(fault);
}

// ---------------------------------------------------------------------------------------------------- repeating steps

void BoardRun::enter(Step next) {
  step_ = next;
  station_.observer.on_step(slot_, next);
}

/// The supply of a chip whose own USB hangs, off and on. Faults: `why`, with what hindered it.
Task<Result<void>> BoardRun::repower(Fault why) {
  auto powered = co_await port_.repower();
  if (!powered) {
    why.seen += "; " + describe(powered.error());
    co_return fail(std::move(why));
  }
  station_.observer.on_note(slot_, fmt::format("{}; its hub has switched it off and on, trying again", why.what));
  co_return ok();
}

Task<Result<void>> BoardRun::step(Step which, StepBody body) {
  enter(which);
  bool connects_itself = which == Step::connect || which == Step::evidence || which == Step::hand_over;
  bool connected = true;
  int power_cuts = 0;
  for (int attempt = 1;; ++attempt) {
    Result<void> end;
    // A lost connection is built up from the reset on; the stub is gone with it.
    bool reconnects = !std::exchange(connected, true);
    if (reconnects) end = co_await bring_up();
    bool failed_to_reconnect = !end;
    if (end) end = co_await (this->*body)();
    if (end) co_return end;
    Fault fault = std::move(end.error());
    if (fault.where.step.empty()) fault.where.step = spec_of(which).name;
    const RetryRule* rule = retry_rule(which, fault.remedy);
    bool restarted = which == Step::hand_over && is_explained(fault);
    bool gone = (fault.code == Code::port_gone && !restarted) || station_.stopping;
    bool used_up = !rule || attempt >= rule->attempts || failed_to_reconnect;
    if (used_up && !gone && station_.options.reset && may_hang(port_, fault)) {
      fault = own_usb_hangs(fault);
      rule = retry_rule(which, fault.remedy);
      used_up = !rule || ++power_cuts >= rule->attempts;
    }
    if (used_up || gone) co_return fail(std::move(fault));
    connected = connects_itself || fault.remedy == Remedy::retry;
    if (fault.remedy == Remedy::repower) {
      CO_TRY(co_await repower(std::move(fault)));
      continue;
    }
    station_.observer.on_note(slot_, fmt::format("{}; trying again", describe(fault)));
    if (fault.remedy == Remedy::reconnect || which == Step::connect) suspect_wire(which, fault);
    co_await station_.clock.sleep_for(rule->pause);
  }
}

}  // namespace espmint
