// Who this board is to the ledger, and what follows: a new identity, the one that it has, the one that an earlier run
// began, or none: a person decides.
#include <fmt/format.h>

#include "run/board_run.hpp"
#include "run/reconcile.hpp"

namespace espmint {

Task<Result<void>> BoardRun::admit() {
  const Plan& plan = station_.plan;
  CO_TRY(co_await admit_key());
  if (!plan.has_identity()) co_return ok();
  CO_TRY(co_await gather_values());
  auto ask = [&ledger = station_.ledger, who = who_, digest = plan.digest] { return ledger.admit(who, digest); };
  CO_TRY(admission_, co_await on_pool(station_.ledger_pool, std::move(ask)));
  using Kind = Admission::Kind;
  if (admission_.kind == Kind::held) {
    Fault fault{Code::board_held, Remedy::refuse, "this board is held"};
    fault.seen = admission_.why;
    fault.advice = "Put it aside for whoever answers for the line";
    co_return fail(std::move(fault));
  }
  const bool was_revoked = admission_.kind == Kind::revoked;
  if (was_revoked) {
    std::string sentence = fmt::format("this board's identity was revoked on {}", admission_.when);
    if (!station_.options.readmit) {
      Fault fault{Code::board_held, Remedy::refuse, std::move(sentence), {}, admission_.why};
      fault.advice = "If the board may have another: `espmint prepare`, by hand";
      co_return fail(std::move(fault));
    }
    station_.observer.on_note(slot_, sentence + " (" + admission_.why + "): it gets another");
  }
  bool known = admission_.kind == Kind::verified || admission_.kind == Kind::replan;
  if (known && !station_.options.renew) {
    if (is_local(station_.cloud) != admission_.is_local) {
      Fault fault{Code::board_held, Remedy::refuse,
                  fmt::format("this board was VERIFIED on {} with an identity of another issuer", admission_.when)};
      fault.seen = fmt::format("issued {}, and the recipe says issuer = \"{}\"",
                               admission_.is_local ? "here" : "elsewhere", plan.issuer);
      fault.advice = "`espmint prepare --renew` mints a new one, where the recipe says";
      co_return fail(std::move(fault));
    }
    keeps_identity_ = true;
    certificate_ = admission_.certificate;
    CO_TRY(co_await check_identity_in_place());
    if (admission_.kind == Kind::replan) note_old_files();
    co_return ok();
  }
  if (admission_.kind == Kind::resume) co_return co_await resume_identity();
  CO_TRY(co_await read_what_is_there());
  CO_TRY(attempt_, co_await reserve(station_.options.renew || was_revoked));
  co_return ok();
}

/// A board that is VERIFIED already: its identity must still be the one that the ledger knows.
Task<Result<void>> BoardRun::check_identity_in_place() {
  outcome_.record.device_id = admission_.device_id;
  outcome_.already_since = admission_.when;
  if (plan_has_new_key()) {
    Fault fault{Code::board_held, Remedy::refuse,
                fmt::format("this board was VERIFIED on {} without a key of the pool", admission_.when)};
    fault.advice = "`espmint prepare --renew` mints a new identity for it, with a key";
    co_return fail(std::move(fault));
  }
  CO_TRY(Md5 on_board, co_await identity_on_board());
  image_md5_ = on_board;
  if (certificate_ && on_board == certificate_->image_md5) co_return ok();
  CO_TRY(std::optional<std::string> difference, co_await difference_in_place());
  // What the firmware writes beside its identity is its own.
  if (!difference) co_return ok();
  Fault fault{
      Code::board_held, Remedy::refuse,
      fmt::format("this board was VERIFIED on {}, but its identity has been changed or erased since", admission_.when)};
  fault.seen = *difference;
  fault.advice = "Its key is stored nowhere else: `espmint prepare --renew` mints a new one for it";
  co_return fail(std::move(fault));
}

/// An earlier run exposed a key to this board and never saw it proved.
Task<Result<void>> BoardRun::resume_identity() {
  outcome_.record.device_id = admission_.device_id;
  auto pending = station_.pending.find(board_->mac);
  CO_TRY(Md5 on_board, co_await identity_on_board());
  // Not before: what fails until here has no attempt of this run to give back.
  attempt_ = admission_.attempt;
  certificate_ = admission_.certificate;
  // One of another issuer than the recipe has now is not finished: the cloud would never hear of it.
  const bool may_go_on = !plan_has_new_key() && is_local(station_.cloud) == admission_.is_local;
  if (certificate_ && on_board == certificate_->image_md5 && may_go_on) {
    image_md5_ = on_board;
    exposed_ = true;
    co_return co_await mark_written();
  }
  if (pending != station_.pending.end() && pending->second.attempt.number == attempt_->number &&
      pending->second.until > station_.clock.now() && may_go_on) {
    exposed_ = true;
    images_ = pending->second.images;
    image_md5_ = certificate_->image_md5;
    co_return ok();
  }
  // The key is gone with the process that made it: this certificate will never be anybody's.
  auto burn = [&ledger = station_.ledger, attempt = *attempt_] {
    return ledger.burn(attempt,
                       "the run that minted it ended before the board held it, or another issuer was asked since");
  };
  CO_TRY(co_await on_pool(station_.ledger_pool, std::move(burn)));
  attempt_.reset();
  certificate_.reset();
  CO_TRY(co_await read_what_is_there());
  values_.id = admission_.device_id;
  CO_TRY(attempt_, co_await reserve(false));
  co_return ok();
}

}  // namespace espmint
