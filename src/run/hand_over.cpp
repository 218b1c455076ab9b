// The key of the pool: one board's part of it. What the ledger and the file say comes first and is durable before a
// byte leaves; what the board says afterwards counts only when it was read back after a reset and a fresh
// identification.
#include <fmt/format.h>

#include <algorithm>

#include "handshake/line_dialect.hpp"
#include "image/nvs.hpp"
#include "recipe/checks.hpp"
#include "rom/connect.hpp"
#include "run/board_run.hpp"
#include "run/hand_over.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr auto longest_start =
    250ms;  // from EN high to the ROM's banner, with a slow adapter; no hand swaps boards in less
constexpr auto start_jitter = 200ms;

/// After a reset firmware that speaks `framed` says HELLO by itself; one that does not is asked after this time.
constexpr Duration hail_after = 3s;

LineDialect dialect_of(const KeysPlan& keys) {
  LineDialect out;
  out.prompt = keys.prompt;
  out.done = keys.done;
  out.values = keys.values;
  out.prompt_patience = keys.prompt_patience;
  out.answer_patience = keys.answer_patience;
  return out;
}

std::string last_words(const std::string& boot_log) {
  std::size_t end = boot_log.find_last_not_of("\r\n ");
  if (end == std::string::npos) return {};
  std::size_t begin = boot_log.find_last_of('\n', end);
  return boot_log.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin == std::string::npos ? 0 : begin))
      .substr(0, 120);
}

Fault silent(const Greeting& heard, std::chrono::seconds waited, std::string_view prompt,
             Handshake handshake = Handshake::line) {
  Fault fault{Code::application_silent, Remedy::refuse,
              fmt::format("the firmware did not ask for its key within {} s", waited.count())};
  if (heard.bootloader_talked) {
    fault.what = "the bootloader talks but the application is silent";
    fault.advice =
        "Its console is usually on another UART or on USB, or it speaks another baud rate: recipe, [keys] baud";
  } else if (handshake == Handshake::framed) {
    fault.advice = "It should say HELLO in a frame, at its start or when it is asked (docs/formats/handshake.md)";
  } else {
    fault.advice =
        fmt::format("It should print \"{}\" again and again; the recipe's [keys] prompt can name another word", prompt);
    if (handshake == Handshake::automatic)
      fault.advice += ". Framed firmware that says no HELLO at its start is only asked with handshake = \"framed\"";
  }
  std::string words = last_words(heard.boot_log);
  fault.seen = words.empty() ? "it printed nothing" : fmt::format("its last words: \"{}\"", words);
  return fault;
}

Fault restarted() {
  return {Code::reply_missing,           Remedy::reconnect, "the board restarted before its key was sent", {},
          "nothing of the key was sent", "Check its supply"};
}

/// The recipe says one dialect, and the firmware speaks the other.
Fault other_dialect(std::string_view spoken) {
  Fault fault{Code::recipe_invalid, Remedy::refuse,
              fmt::format("the firmware speaks the hand-shake \"{}\", the recipe wants the other", spoken)};
  fault.advice = fmt::format("Recipe, [keys] handshake = \"{}\" or \"auto\"", spoken);
  return fault;
}

Fault away_too_long() {
  return {Code::reply_missing,
          Remedy::reconnect,
          "the port was away for longer than the board's reset explains",
          {},
          "nothing of the key was sent",
          "Leave the board plugged in; check its cable and supply"};
}

}  // namespace

Fault held_with(std::string what, std::string seen, std::string advice) {
  return {Code::board_held, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
}

/// What the pool has for this board: its own key when it ever had one, else the next.
Task<Result<void>> BoardRun::admit_key() {
  if (!station_.plan.keys || key_) co_return ok();
  CO_TRY(std::string id, device_id_for(station_.plan.id_template, board_->mac));
  outcome_.record.device_id = id;
  auto ask = [&ledger = station_.ledger, id] { return ledger.keys_of(id); };
  CO_TRY(std::vector<PoolKey> has, co_await on_pool(station_.ledger_pool, std::move(ask)));
  if (!has.empty()) {
    const PoolKey& key = has.back();
    if (has.size() > 1)
      co_return fail(held_with("this board is held",
                               fmt::format("keys {} and {} are both this board's", has.front().number, key.number),
                               "Nobody knows which it holds: retire one of them (`espmint keys retire`)"));
    if (key.state == KeyState::quarantined)
      co_return fail(held_with("this board is held",
                               fmt::format("its key {} is QUARANTINED since {}", key.number, key.when),
                               fmt::format("`espmint keys release {}` gives it the same key once more", key.number)));
    if (key.state == KeyState::reserved)
      co_return fail(held_with("this board is being prepared already",
                               fmt::format("key {} is RESERVED for it", key.number), "Wait for the other slot"));
    key_ = key;
    co_return ok();
  }
  auto reserve = [&station = station_, who = who_, id]() -> Result<PoolKey> {
    TRY(auto next, station.keys->next());
    if (!next) {
      Fault fault{Code::pool_exhausted, Remedy::refuse, "the pool has no key left"};
      fault.advice = "Add rows to the keys' file; the line goes on from there";
      return fail(std::move(fault));
    }
    TRY(station.ledger.reserve_key(*next, who, id, station.plan.quota));
    // The file says so before anything else can: from here on no other program takes this row for free.
    if (auto marked = station.keys->mark(*next); !marked) {
      TRY(station.ledger.release_key(*next, "its row could not be marked"));
      return fail(std::move(marked.error()));
    }
    return PoolKey{*next, KeyState::reserved, id, {}, {}};
  };
  CO_TRY(PoolKey reserved, co_await on_pool(station_.ledger_pool, std::move(reserve)));
  key_ = std::move(reserved);
  co_return ok();
}

/// As listen(), across absences of the port that the board's resets explain.
Task<Result<Greeting>> BoardRun::listen_on(const LineDialect& dialect, std::size_t values, Instant until) {
  for (;;) {
    auto heard = co_await listen(port_, station_.clock, dialect, values, until);
    if (heard || !is_explained(heard.error())) co_return heard;
    CO_TRY(co_await come_back(Baud{station_.plan.keys->baud}));
  }
}

/// A ROM prints its banner within a tenth of a second of its reset. One that comes later may be another board's, put
/// into the fixture right behind our reset; a board that is as late each time has a slow reset line.
bool BoardRun::started_late(const Greeting& heard, Instant reset) {
  if (vanishes_ || !heard.first_banner) return false;
  const Duration took = *heard.first_banner - reset - port_.latency();
  const Duration explained = std::max<Duration>(longest_start, usual_start_ + start_jitter);
  usual_start_ = took;
  return took > explained;
}

/// Identified anew, reset into the application, and what that says first.
Task<Result<Greeting>> BoardRun::hear_application(std::size_t values, std::chrono::seconds patience) {
  const KeysPlan& keys = *station_.plan.keys;
  CO_TRY(co_await connect_and_identify());
  CO_TRY(co_await port_.set_baud(Baud{keys.baud}));
  CO_TRY(co_await start_application(Baud{keys.baud}));
  const Instant reset = station_.clock.now();
  LineDialect dialect = dialect_of(keys);
  const Instant deadline = reset + patience;
  // Old firmware keeps a question of the framed dialect as its key: none is asked unless the recipe says so, or another
  // board with this very firmware has spoken it.
  const bool hails =
      keys.handshake == Handshake::framed || (keys.handshake == Handshake::automatic && station_.framed_heard);
  const Instant until = hails ? std::min(deadline, station_.clock.now() + hail_after) : deadline;
  const bool framed_only = keys.handshake == Handshake::framed;
  if (framed_only) values = 0;
  CO_TRY(Greeting heard, co_await listen_on(dialect, values, until));
  if (started_late(heard, reset)) co_return fail(restarted());
  // Framed firmware may log such a word too; then a HELLO is not far.
  const bool lines = heard.kind == Greeting::Kind::prompt || heard.kind == Greeting::Kind::provisioned;
  while (framed_only && heard.kind != Greeting::Kind::framed && lines && station_.clock.now() < until) {
    CO_TRY(heard, co_await listen_on(dialect, values, until));
  }
  if (framed_only && lines && heard.kind != Greeting::Kind::framed) co_return fail(other_dialect("line"));
  if (heard.kind == Greeting::Kind::silent && hails) {
    CO_TRY(heard.hello, co_await hail(port_, station_.clock, deadline));
    if (heard.hello) heard.kind = Greeting::Kind::framed;
  }
  const bool framed = heard.kind == Greeting::Kind::framed;
  if (framed && keys.handshake == Handshake::line) co_return fail(other_dialect("framed"));
  if (framed) station_.framed_heard = true;
  co_return heard;
}

Task<Result<void>> BoardRun::hand_over_key() {
  if (!station_.plan.keys || key_in_image()) co_return ok();
  const KeysPlan& keys = *station_.plan.keys;
  auto read = [&station = station_, number = key_->number] { return station.keys->fields(number); };
  CO_TRY(std::vector<Secret> fields, co_await on_pool(station_.ledger_pool, std::move(read)));
  CO_TRY(Greeting heard, co_await hear_application(fields.size(), keys.prompt_patience));
  if (heard.boots > 1) co_return fail(restarted());
  if (heard.kind == Greeting::Kind::silent)
    co_return fail(silent(heard, keys.prompt_patience, keys.prompt, keys.handshake));
  if (heard.kind == Greeting::Kind::framed) co_return co_await hand_over_framed(*heard.hello, fields);
  if (heard.kind == Greeting::Kind::provisioned) {
    if (key_->state != KeyState::reserved) co_return co_await judge_key(heard, fields);
    bool goes_on = false;
    CO_TRY(goes_on, co_await recognise_key(heard));
    if (!goes_on) co_return ok();
    CO_TRY(heard, co_await hear_application(fields.size(), keys.prompt_patience));
    if (heard.kind != Greeting::Kind::prompt) co_return fail(silent(heard, keys.prompt_patience, keys.prompt));
  } else if (key_->state == KeyState::verified && !keys.erase_provisioned) {
    co_return fail(held_with(
        fmt::format("this board was VERIFIED with key {} on {}, but asks for a key again", key_->number, key_->when),
        "its keys were erased, or another firmware was put on it",
        "`--provisioned erase` gives it its own key once more"));
  }
  CO_TRY(co_await deliver_key(fields));
  // What it said proves nothing: the board is identified anew and asked again.
  CO_TRY(Greeting after, co_await hear_application(fields.size(), keys.answer_patience));
  co_return co_await judge_key(after, fields);
}

/// Once per board, and only after it is durable that the key is this board's.
Task<Result<void>> BoardRun::deliver_key(const std::vector<Secret>& fields) {
  const KeysPlan& keys = *station_.plan.keys;
  CO_TRY(Secret line, key_line(fields));
  CO_TRY(co_await expose_key());
  LineDialect dialect = dialect_of(keys);
  CO_TRY(Delivery sent,
         co_await deliver(port_, station_.clock, dialect, line, station_.clock.now() + keys.prompt_patience));
  switch (sent.kind) {
    case Delivery::Kind::board_restarted:
      co_return fail(restarted());
    case Delivery::Kind::prompted_again: {
      CO_TRY(co_await quarantine_key("it asked again after the key was sent"));
      Fault fault{Code::key_not_stored, Remedy::refuse, "the firmware did not take its key: it asks again"};
      fault.advice = "The key stays with this board; mend the firmware, then `espmint keys release` gives it once more";
      co_return fail(std::move(fault));
    }
    case Delivery::Kind::silent: {
      Fault fault{Code::application_silent, Remedy::refuse,
                  sent.sent
                      ? fmt::format("the firmware did not answer within {} s of its key", keys.answer_patience.count())
                      : "the firmware stopped asking for its key"};
      fault.seen = fmt::format("its last words: \"{}\"", last_words(sent.boot_log));
      fault.advice = "Plug it in again: the same key waits for this board";
      co_return fail(std::move(fault));
    }
    case Delivery::Kind::accepted:
      break;
  }
  co_return co_await mark_key_written();
}

/// The point of no return: durable when it returns. A board that is being given its key once more is past it already.
Task<Result<void>> BoardRun::expose_key() {
  if (may_be_another()) co_return fail(away_too_long());
  if (key_->state != KeyState::reserved) co_return ok();
  if (station_.stopping)
    co_return fail({Code::interrupted, Remedy::refuse, "stopped before the key was sent", {}, {}, {}});
  auto expose = [&ledger = station_.ledger, number = key_->number] { return ledger.expose_key(number); };
  CO_TRY(co_await on_pool(station_.ledger_pool, std::move(expose)));
  key_->state = KeyState::exposed;
  co_return ok();
}

/// The board has answered that it holds it, in this run or for one that did not hear it.
Task<Result<void>> BoardRun::mark_key_written() {
  if (key_->state != KeyState::exposed) co_return ok();
  auto mark = [&ledger = station_.ledger, number = key_->number] { return ledger.mark_key_written(number); };
  CO_TRY(co_await on_pool(station_.ledger_pool, std::move(mark)));
  key_->state = KeyState::written;
  co_return ok();
}

/// After a reset and a fresh identification: does the board hold what it was given?
Task<Result<void>> BoardRun::judge_key(const Greeting& heard, const std::vector<Secret>& fields) {
  const KeysPlan& keys = *station_.plan.keys;
  if (heard.kind == Greeting::Kind::framed) co_return fail(other_dialect("framed"));
  // What it printed while its port was away is lost; its NVS is not.
  bool ask_nvs = vanishes_ && !keys.nvs_space.empty() && key_->state != KeyState::exposed;
  if (heard.kind == Greeting::Kind::silent && !ask_nvs) co_return fail(silent(heard, keys.answer_patience, keys.done));
  if (heard.kind == Greeting::Kind::prompt) {
    CO_TRY(co_await quarantine_key("it said it was provisioned, and asked again after its restart"));
    Fault fault{Code::key_not_stored, Remedy::refuse,
                "the firmware said it was provisioned, but asks again after its restart: it did not store its key"};
    fault.advice = "The key stays with this board; check the firmware's NVS partition and its return codes";
    co_return fail(std::move(fault));
  }
  CO_TRY(co_await mark_key_written());
  if (heard.values.empty()) {
    if (!keys.nvs_space.empty()) {
      bool held = false;
      CO_TRY(held, co_await nvs_holds_key(fields));
      if (!held && key_->state == KeyState::verified)
        co_return fail(held_with(fmt::format("this board was VERIFIED with key {} on {}, but its NVS holds another",
                                             key_->number, key_->when),
                                 {}, "Put it aside for whoever answers for the line"));
      if (!held) {
        CO_TRY(co_await quarantine_key("its NVS does not hold what was sent"));
        Fault differs{Code::key_not_stored, Remedy::refuse, "the board's NVS does not hold the key as it was sent"};
        differs.seen = fmt::format("namespace \"{}\" of partition \"{}\"", keys.nvs_space, keys.nvs->name);
        differs.advice = "The key stays with this board: put it aside; wrong names: recipe, [keys] nvs, nvs_names";
        co_return fail(std::move(differs));
      }
      key_evidence_ = "nvs-read";
      key_proven_ = true;
      co_return ok();
    }
    Fault fault{Code::key_unproven, Remedy::refuse,
                "the firmware says it is provisioned, and prints nothing of its key: nothing proves what it holds"};
    fault.advice =
        "The board stays WRITTEN; firmware that prints its values, or their digests, can be VERIFIED "
        "(docs/formats/handshake.md)";
    co_return fail(std::move(fault));
  }
  if (auto field = first_difference(heard, fields)) {
    if (key_->state == KeyState::verified)
      co_return fail(held_with(
          fmt::format("this board was VERIFIED with key {} on {}, but holds another now", key_->number, key_->when),
          fmt::format("field {} differs", *field), "Put it aside for whoever answers for the line"));
    std::string why = fmt::format("field {} was not read back as it was sent", *field);
    CO_TRY(co_await quarantine_key(why));
    Fault fault{Code::key_not_stored, Remedy::refuse,
                fmt::format("field {} of the key was not read back as it was sent", *field)};
    fault.seen = fmt::format("{} values of {}", heard.values.size(), fields.size());
    fault.advice = "The key stays with this board, which may hold a cut-off one for ever: put it aside";
    co_return fail(std::move(fault));
  }
  key_proven_ = true;
  co_return ok();
}

/// Through the ROM, after another reset and identification: the entries that the recipe names, exactly.
Task<Result<bool>> BoardRun::nvs_holds_key(const std::vector<Secret>& fields) {
  const KeysPlan& keys = *station_.plan.keys;
  CO_TRY(co_await bring_up());
  CO_TRY(Bytes partition, co_await read_flash(loader_, keys.nvs->range));
  auto entries = read_nvs(partition);
  wipe(partition);
  CO_TRY(co_await start_application(Baud{keys.baud}));
  if (!entries) co_return fail(std::move(entries.error()));
  bool all = true;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    std::string name = i < keys.nvs_names.size() ? keys.nvs_names[i] : fmt::format("key{}", i + 1);
    auto holds = [&](const NvsEntry& entry) {
      return entry.space == keys.nvs_space && entry.key == name && entry.type == NvsType::string &&
             std::ranges::equal(entry.value, fields[i].reveal());
    };
    all = all && std::ranges::any_of(*entries, holds);
  }
  for (NvsEntry& entry : *entries) wipe(entry.value);
  co_return all;
}

/// A board that was provisioned before we met it. True: its NVS is erased and it may be given a key; false: it is
/// recognised by a key that an earlier script gave out, and bound to it.
Task<Result<bool>> BoardRun::recognise_key(const Greeting& heard) {
  const KeysPlan& keys = *station_.plan.keys;
  std::vector<std::string> values;
  for (const auto& [name, value] : heard.values) values.push_back(value);
  auto find = [&station = station_, values = std::move(values)] { return station.keys->key_with(values); };
  CO_TRY(std::optional<PoolKey> found, co_await on_pool(station_.ledger_pool, std::move(find)));
  co_return co_await bind_or_erase(std::move(found),
                                   fmt::format("it says \"{}\" and prints {} values", keys.done, heard.values.size()));
}

/// `found`: the key of the pool that the board holds, if it is one of these; `seen`: what it said.
Task<Result<bool>> BoardRun::bind_or_erase(std::optional<PoolKey> found, std::string seen) {
  const KeysPlan& keys = *station_.plan.keys;
  if (found && found->device.empty() && (found->state == KeyState::verified || found->state == KeyState::quarantined)) {
    CO_TRY(co_await release_key("the board holds a key already"));
    auto bind = [&station = station_, number = found->number, who = who_,
                 id = outcome_.record.device_id]() -> Result<void> {
      TRY(station.ledger.bind_key(number, who, id));
      return station.keys->mark(number);
    };
    CO_TRY(co_await on_pool(station_.ledger_pool, std::move(bind)));
    station_.observer.on_note(slot_,
                              fmt::format("recognised by key {}, which an earlier script gave out", found->number));
    found->state = KeyState::verified;
    key_ = std::move(found);
    key_proven_ = true;
    co_return false;
  }
  if (found && found->state != KeyState::available)
    co_return fail(held_with("this board holds another board's key",
                             fmt::format("key {} is {}'s", found->number, found->device),
                             "Two boards with one key: put both aside for whoever answers for the line"));
  if (found)
    co_return fail(held_with("this board holds a key that was never given out", fmt::format("key {}", found->number),
                             "Another program hands out the same file's keys: stop it first"));
  if (!keys.erase_provisioned || !keys.nvs) {
    Fault fault{Code::board_provisioned, Remedy::refuse,
                "this board was provisioned before, with a key that is not in the pool"};
    fault.seen = std::move(seen);
    fault.advice = keys.nvs ? "Put it aside, or erase such boards' NVS with `--provisioned erase`" : "Put it aside";
    co_return fail(std::move(fault));
  }
  CO_TRY(co_await bring_up());
  CO_TRY(co_await erase_region(loader_, keys.nvs->range));
  station_.observer.on_note(slot_,
                            fmt::format("it was provisioned before: partition \"{}\" is erased", keys.nvs->name));
  co_return true;
}

Task<Result<void>> BoardRun::quarantine_key(std::string_view why) {
  if (key_->state != KeyState::exposed && key_->state != KeyState::written) co_return ok();
  auto keep = [&station = station_, number = key_->number, why = std::string{why}]() -> Result<void> {
    TRY(station.ledger.quarantine_key(number, why));
    return station.keys->mark(number);
  };
  CO_TRY(co_await on_pool(station_.ledger_pool, std::move(keep)));
  key_->state = KeyState::quarantined;
  co_return ok();
}

/// RESERVED only: nothing of it left the process.
Task<Result<void>> BoardRun::release_key(std::string_view why) {
  if (!key_ || key_->state != KeyState::reserved) co_return ok();
  auto keep = [&station = station_, number = key_->number, why = std::string{why}]() -> Result<void> {
    TRY(station.ledger.release_key(number, why));
    return station.keys->mark(number);
  };
  CO_TRY(co_await on_pool(station_.ledger_pool, std::move(keep)));
  key_.reset();
  co_return ok();
}

Task<Result<void>> BoardRun::record_key() {
  if (!key_ || !key_proven_) co_return ok();
  auto keep = [&station = station_, key = *key_, method = key_evidence_,
               detail = key_evidence_detail_]() -> Result<void> {
    if (key.state == KeyState::written) TRY(station.ledger.mark_key_verified(key.number, {method, detail}));
    return station.keys->mark(key.number);
  };
  CO_TRY(co_await on_pool(station_.ledger_pool, std::move(keep)));
  if (key_->state == KeyState::verified) outcome_.already_since = key_->when;
  key_->state = KeyState::verified;
  co_return ok();
}

}  // namespace espmint
