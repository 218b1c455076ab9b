// The key of the pool, where the firmware speaks the framed dialect. The order of what is made durable is that of
// hand_over.cpp. What differs: the board says who it is before anything secret leaves, a question may be asked again,
// and what it holds is proven by a digest over a nonce that is new for each conversation.
#include <fmt/format.h>
#include <openssl/crypto.h>

#include "handshake/framed.hpp"
#include "run/board_run.hpp"
#include "run/hand_over.hpp"

namespace espmint {
namespace {

using Ended = FramedAnswer::Kind;

Fault no_answer(std::string_view asked, std::chrono::seconds waited) {
  Fault fault{Code::application_silent, Remedy::reconnect,
              fmt::format("the firmware did not answer to {} within {} s", asked, waited.count())};
  fault.advice = "Plug it in again: if its key was sent, the same one waits for this board";
  return fault;
}

Fault another_board(std::string seen) {
  return held_with("the firmware's MAC is not the one that the chip has", std::move(seen),
                   "No key was sent. Two boards on one wire, or firmware with a MAC built in: put it aside");
}

Fault not_stored(std::string what, std::string seen) {
  Fault fault{Code::key_not_stored, Remedy::refuse, std::move(what), {}, std::move(seen)};
  fault.advice = "The key stays with this board; mend the firmware, then `espmint keys release` gives it once more";
  return fault;
}

std::string text_of(const std::vector<std::pair<std::string, std::int32_t>>& values) {
  std::string out;
  for (const auto& [name, value] : values) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, value);
  return out;
}

/// What the measured values have against the limits, in words; empty: nothing.
std::string beyond_limits(const std::vector<std::pair<std::string, std::int32_t>>& values,
                          const std::vector<SelftestLimit>& limits) {
  std::string out;
  for (const SelftestLimit& limit : limits) {
    bool met = false;
    for (const auto& [name, value] : values) {
      if (name != limit.name) continue;
      met = true;
      if (value < limit.low || value > limit.high)
        out += fmt::format("{}{} is {}, allowed are {} to {}", out.empty() ? "" : "; ", name, value, limit.low,
                           limit.high);
    }
    if (!met) out += fmt::format("{}{} was not measured", out.empty() ? "" : "; ", limit.name);
  }
  return out;
}

}  // namespace

Nonce BoardRun::new_nonce() {
  Nonce nonce;
  station_.entropy.fill(nonce);
  return nonce;
}

Result<void> BoardRun::expect_this_board(const BoardHello& hello) const {
  if (hello.mac == board_->mac) return ok();
  return fail(another_board(fmt::format("it says {}, the chip says {}", to_string_with_colons(hello.mac),
                                        to_string_with_colons(board_->mac))));
}

/// Identified anew and reset: who says HELLO.
Task<Result<BoardHello>> BoardRun::hear_framed() {
  const KeysPlan& keys = *station_.plan.keys;
  CO_TRY(Greeting heard, co_await hear_application(0, keys.answer_patience));
  if (heard.kind != Greeting::Kind::framed) co_return fail(no_answer("its reset", keys.answer_patience));
  CO_TRY(expect_this_board(*heard.hello));
  co_return *heard.hello;
}

Task<Result<void>> BoardRun::hand_over_framed(const BoardHello& first, const std::vector<Secret>& fields) {
  const KeysPlan& keys = *station_.plan.keys;
  BoardHello hello = first;
  CO_TRY(check_framed_key(fields));
  CO_TRY(expect_this_board(hello));
  if (hello.fields_wanted != fields.size()) {
    Fault fault{Code::recipe_invalid, Remedy::refuse,
                fmt::format("the firmware wants a key of {} fields, those of the file have {}", hello.fields_wanted,
                            fields.size())};
    fault.seen = fmt::format("firmware \"{}\"", hello.firmware);
    fault.advice = "Recipe, [keys] columns, names the columns to give";
    co_return fail(std::move(fault));
  }
  CO_TRY(co_await test_board());
  if (hello.state != BoardState::unprovisioned) {
    if (key_->state != KeyState::reserved) co_return co_await judge_framed(hello, fields);
    bool goes_on = false;
    CO_TRY(goes_on, co_await recognise_framed());
    if (!goes_on) co_return co_await lock_key(hello.state);
    CO_TRY(hello, co_await hear_framed());
    if (hello.state != BoardState::unprovisioned)
      co_return fail(held_with("its NVS was erased, and the firmware says that it has a key still",
                               fmt::format("firmware \"{}\"", hello.firmware),
                               "The firmware keeps its key in another place than the partition table says"));
  } else if (key_->state == KeyState::verified && !keys.erase_provisioned) {
    co_return fail(
        held_with(fmt::format("this board was VERIFIED with key {} on {}, but has none now", key_->number, key_->when),
                  "its keys were erased, or another firmware was put on it",
                  "`--provisioned erase` gives it its own key once more"));
  }
  CO_TRY(co_await deliver_framed(fields));
  // What it said proves nothing: the board is identified anew and asked again, with another nonce.
  CO_TRY(BoardHello after, co_await hear_framed());
  co_return co_await judge_framed(after, fields);
}

/// What the recipe wants measured, before a key is touched: a board that fails here keeps nobody's key.
Task<Result<void>> BoardRun::test_board() {
  const KeysPlan& keys = *station_.plan.keys;
  if (!keys.selftest) co_return ok();
  CO_TRY(FramedAnswer answer, co_await self_test(port_, station_.clock, station_.clock.now() + keys.answer_patience));
  if (answer.kind == Ended::silent) co_return fail(no_answer("the self-test", keys.answer_patience));
  outcome_.record.selftest = std::move(answer.values);
  std::string wrong =
      answer.kind == Ended::good ? beyond_limits(outcome_.record.selftest, *keys.selftest) : answer.seen;
  if (wrong.empty()) co_return ok();
  Fault fault{Code::selftest_failed, Remedy::refuse, "the board's self-test failed: " + wrong};
  fault.seen = text_of(outcome_.record.selftest);
  fault.advice = "Put it aside for repair. Limits: recipe, [keys] selftest";
  co_return fail(std::move(fault));
}

/// Only after the chip and the firmware have said the same MAC, and after it is durable that the key is this board's.
Task<Result<void>> BoardRun::deliver_framed(const std::vector<Secret>& fields) {
  const KeysPlan& keys = *station_.plan.keys;
  const Mac mac = board_->mac;
  const Nonce nonce = new_nonce();
  CO_TRY(FramedAnswer there,
         co_await challenge_board(port_, station_.clock, mac, nonce, station_.clock.now() + keys.answer_patience));
  if (there.kind == Ended::wrong_board) co_return fail(another_board(there.seen));
  if (there.kind == Ended::silent) co_return fail(no_answer("the challenge", keys.answer_patience));
  if (there.kind != Ended::good)
    co_return fail(not_stored("the firmware took no challenge, and no key was sent", there.seen));
  CO_TRY(co_await expose_key());
  // It challenges once more: meanwhile a disk was waited for, and the board may be another.
  CO_TRY(FramedAnswer stored,
         co_await give_key(port_, station_.clock, mac, nonce, fields, station_.clock.now() + keys.answer_patience));
  const bool refused = stored.kind == Ended::refused;
  if (stored.kind == Ended::wrong_board || (refused && stored.reason == refusal::other_mac))
    co_return fail(another_board(stored.seen));
  if (stored.kind == Ended::silent) co_return fail(no_answer("its key", keys.answer_patience));
  if (refused && stored.reason == refusal::other_nonce)
    co_return fail({Code::reply_missing,
                    Remedy::reconnect,
                    "the board was reset while its key was sent",
                    {},
                    stored.seen,
                    "Check its supply"});
  if (stored.kind != Ended::good) {
    CO_TRY(co_await quarantine_key(stored.seen));
    std::string what = refused && stored.reason == refusal::another_key
                           ? "the firmware did not take its key: it has another one already"
                           : "the firmware did not take its key as it was sent";
    co_return fail(not_stored(std::move(what), stored.seen));
  }
  co_return co_await mark_key_written();
}

/// After a reset and a fresh identification: does the board's storage give back what it was given?
Task<Result<void>> BoardRun::judge_framed(const BoardHello& hello, const std::vector<Secret>& fields) {
  const KeysPlan& keys = *station_.plan.keys;
  const Nonce nonce = new_nonce();
  bool has_key = hello.state != BoardState::unprovisioned;
  FramedAnswer answer;
  if (has_key) {
    CO_TRY(answer, co_await read_back(port_, station_.clock, board_->mac, nonce, fields,
                                      station_.clock.now() + keys.answer_patience));
    if (answer.kind == Ended::silent) co_return fail(no_answer("what it holds", keys.answer_patience));
    has_key = answer.kind != Ended::refused || answer.reason != refusal::no_key;
  }
  if (answer.kind == Ended::refused && answer.reason == refusal::unknown_type) {
    CO_TRY(co_await mark_key_written());
    Fault fault{Code::key_unproven, Remedy::refuse,
                "the firmware says it is provisioned, and does not read its key back: nothing proves what it holds"};
    fault.advice =
        "The board stays WRITTEN; firmware that answers READBACK can be VERIFIED (docs/formats/handshake.md)";
    co_return fail(std::move(fault));
  }
  if (!has_key || answer.kind != Ended::good) {
    if (key_->state == KeyState::verified)
      co_return fail(held_with(fmt::format("this board was VERIFIED with key {} on {}, but {} now", key_->number,
                                           key_->when, has_key ? "does not hold it" : "has none"),
                               answer.seen, "Put it aside for whoever answers for the line"));
    std::string what = has_key ? "the board does not hold the key as it was sent"
                               : "the firmware said it had stored its key, but has none after its restart";
    CO_TRY(co_await quarantine_key(what));
    co_return fail(not_stored(std::move(what), answer.seen));
  }
  CO_TRY(co_await mark_key_written());  // also for an earlier run that sent it and saw no answer
  key_evidence_ = "framed-digest";
  key_evidence_detail_ = fmt::format("digest over MAC, nonce and {} fields, after a reset", fields.size());
  if (!outcome_.record.selftest.empty()) key_evidence_detail_ += "; self-test " + text_of(outcome_.record.selftest);
  key_proven_ = true;
  co_return co_await lock_key(hello.state);
}

/// A board that had a key before we met it: as recognise_key(), by the digest. What it holds is never asked for in
/// plain.
Task<Result<bool>> BoardRun::recognise_framed() {
  const KeysPlan& keys = *station_.plan.keys;
  const Nonce nonce = new_nonce();
  CO_TRY(FramedAnswer answer,
         co_await read_digest(port_, station_.clock, nonce, station_.clock.now() + keys.answer_patience));
  if (answer.kind == Ended::silent) co_return fail(no_answer("what it holds", keys.answer_patience));
  auto find = [&station = station_, nonce, mac = board_->mac,
               digest = answer.digest]() -> Result<std::optional<PoolKey>> {
    TRY(std::vector<PoolKey> pool, station.ledger.pool());
    for (PoolKey& key : pool) {
      auto fields = station.keys->fields(key.number);  // of a key whose row is gone nobody knows the fields
      if (!fields) continue;
      const Sha256 expected = key_digest(nonce, mac, *fields);
      if (CRYPTO_memcmp(expected.data(), digest.data(), digest.size()) == 0) return std::optional{std::move(key)};
    }
    return std::optional<PoolKey>{};
  };
  std::optional<PoolKey> found;
  if (answer.kind == Ended::good) {
    CO_TRY(found, co_await on_pool(station_.ledger_pool, std::move(find)));
  }
  key_evidence_ = "framed-digest";
  std::string seen = answer.kind == Ended::good ? "its digest is of no key in the pool" : answer.seen;
  co_return co_await bind_or_erase(std::move(found), std::move(seen));
}

/// Where the recipe wants it, and last: a locked board is the one that was proven.
Task<Result<void>> BoardRun::lock_key(BoardState state) {
  const KeysPlan& keys = *station_.plan.keys;
  if (!keys.lock || state == BoardState::locked) co_return ok();
  const Nonce nonce = new_nonce();
  CO_TRY(FramedAnswer answer,
         co_await lock_board(port_, station_.clock, board_->mac, nonce, station_.clock.now() + keys.answer_patience));
  switch (answer.kind) {
    case Ended::good:
      key_evidence_detail_ += "; locked";
      co_return ok();
    case Ended::wrong_board:
      co_return fail(another_board(answer.seen));
    case Ended::silent:
      co_return fail(no_answer("its lock", keys.answer_patience));
    default:
      break;
  }
  Fault fault{Code::command_refused,
              Remedy::refuse,
              "the board holds its key, and does not lock it as the recipe wants",
              {},
              answer.seen};
  fault.advice = "The key stays with this board; mend the firmware and plug it in again";
  co_return fail(std::move(fault));
}

}  // namespace espmint
