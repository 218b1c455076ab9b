#include "run/backlog.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>
#include <map>

namespace espmint {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t intents_read = 512;  // a look into the ledger
constexpr Duration look_again = 100ms;
constexpr int failures_for_good = 4;  // in a row, each with another board: the cloud is away, and nobody waits for it

}  // namespace

/// Those who tell the cloud of different boards at the same time.
struct Backlog::Crew {
  std::size_t running = 0;
  std::size_t told = 0;
  std::optional<Fault> away;
  std::optional<Fault> broken;
  Event ended;
};

Backlog::Backlog(Clock& clock, Entropy& entropy, Cloud& cloud, Ledger& ledger, Pool& ledger_pool,
                 BacklogOptions options, std::function<void(const std::string&)> say)
    : clock_(clock),
      entropy_(entropy),
      cloud_(cloud),
      ledger_(ledger),
      ledger_pool_(ledger_pool),
      options_(options),
      say_(std::move(say)),
      bell_(std::make_shared<Event>()) {}

void Backlog::wake() { bell_->set(); }

std::optional<Fault> Backlog::why_not() const {
  if (broken_) return broken_;
  if (away_ && away_->remedy == Remedy::stop_line) return away_;
  if (open_ < options_.limit) return std::nullopt;
  Fault fault{Code::cloud_backlog, Remedy::stop_line, "too much is waiting to be told to the cloud"};
  fault.seen = fmt::format("boards that wait: {}, the limit is {}", open_, options_.limit);
  if (away_) fault.seen += "; " + describe(*away_);
  fault.advice = "When the cloud is back: `espmint cloud sync`, then start the line again";
  return fault;
}

Task<std::optional<Fault>> Backlog::why_not_now() {
  auto counted = co_await count();
  if (!counted) co_return std::move(counted.error());
  co_return why_not();
}

Task<Result<void>> Backlog::count() {
  auto ask = [&ledger = ledger_] { return ledger.boards_to_tell(); };
  CO_TRY(open_, co_await on_pool(ledger_pool_, std::move(ask)));
  co_return ok();
}

/// One board's steps, each settled before the next is told: what came of it is durable, whatever happens then.
Task<> Backlog::tell_story(Story story, std::shared_ptr<Crew> crew) {
  for (OpenIntent& intent : story) {
    if (crew->away || crew->broken || finishing_) break;
    const Attempt attempt = intent.attempt;
    // The look into the ledger may be minutes old. Of a certificate that was burned since, nothing is told any more:
    // its "retire" would take its successor away.
    auto ask = [&ledger = ledger_, attempt, act = intent.act] { return ledger.may_tell(attempt, act); };
    auto open = co_await on_pool(ledger_pool_, std::move(ask));
    if (!open) crew->broken = std::move(open.error());
    if (crew->broken || !*open) break;
    auto told = co_await tell(cloud_, std::move(intent));
    if (!told && told.error().remedy == Remedy::refuse) {
      // It will not get better by itself: what comes after it is not told, and the other boards go on.
      say_(fmt::format("{}; a person decides, nothing more is told of it until the next run or `cloud sync`",
                       describe(told.error())));
      refused_.insert(attempt.device_id);
      refusal_ = std::move(told.error());
      break;
    }
    if (!told) {
      set_aside_.insert(attempt.device_id);
      crew->away = std::move(told.error());
      break;
    }
    const std::string name = told->act == act::register_ ? told->answer : "";
    auto keep = [&ledger = ledger_, one = std::move(*told)] {
      return ledger.settle(one.attempt, one.act, one.outcome, one.answer);
    };
    auto kept = co_await on_pool(ledger_pool_, std::move(keep));
    if (!kept) {
      // Burned or settled meanwhile by the run of the board itself: then the next look into the ledger shows it.
      if (kept.error().remedy != Remedy::refuse) crew->broken = std::move(kept.error());
      break;
    }
    ++crew->told;
    if (&intent == &story.back() && open_ > 0) --open_;
    // What was said now, the steps behind need: those of this certificate, not of another that the board had before.
    for (OpenIntent& later : story)
      if (!name.empty() && later.attempt.number == attempt.number) later.cloud_id = name;
  }
  if (--crew->running == 0) crew->ended.set();
}

/// One look into the ledger, and what it shows told. Whether anything was.
Task<Result<bool>> Backlog::drain() {
  auto ask = [&ledger = ledger_] { return ledger.open_intents(intents_read); };
  CO_TRY(std::vector<OpenIntent> open, co_await on_pool(ledger_pool_, std::move(ask)));
  std::vector<Story> stories;
  std::map<std::string, std::size_t> of_device;
  std::erase_if(open, [this](const OpenIntent& intent) {
    return refused_.contains(intent.attempt.device_id) || !is_for(cloud_, intent);
  });
  nothing_to_tell_ = open.empty();
  auto is_aside = [this](const OpenIntent& intent) { return set_aside_.contains(intent.attempt.device_id); };
  if (std::ranges::all_of(open, is_aside)) set_aside_.clear();
  for (OpenIntent& intent : open) {
    if (is_aside(intent)) continue;
    auto [at, is_new] = of_device.emplace(intent.attempt.device_id, stories.size());
    if (is_new) stories.emplace_back();
    stories[at->second].push_back(std::move(intent));
  }
  // While the cloud is away one board asks for all.
  const std::size_t at_once = failures_ > 0 ? 1 : options_.at_once;
  bool told_any = false;
  for (std::size_t first = 0; first < stories.size() && !finishing_; first += at_once) {
    auto crew = std::make_shared<Crew>();
    const std::size_t last = std::min(first + at_once, stories.size());
    crew->running = last - first;
    auto executor = co_await boost::asio::this_coro::executor;
    for (std::size_t i = first; i < last; ++i)
      boost::asio::co_spawn(executor, tell_story(std::move(stories[i]), crew), boost::asio::detached);
    co_await crew->ended.wait();
    told_any = told_any || crew->told > 0;
    if (crew->broken) co_return fail(std::move(*crew->broken));
    if (crew->away) co_return fail(std::move(*crew->away));
    if (failures_ > 0) break;  // it is back: now with all hands
  }
  co_return told_any;
}

Duration Backlog::next_pause() {
  // Full jitter: stations that lost the cloud together do not come back together.
  const int doublings = std::min(failures_ - 1, 16);
  const Duration most = std::min<Duration>(options_.longest_pause, options_.first_pause * (1 << doublings));
  std::array<std::uint8_t, 4> random{};
  entropy_.fill(random);
  const std::uint32_t number =
      random[0] | random[1] << 8 | random[2] << 16 | static_cast<std::uint32_t>(random[3]) << 24;
  return options_.first_pause / 2 + most * static_cast<std::int64_t>(number >> 8) / (1 << 24);
}

void Backlog::pause_after(const Fault& fault) {
  if (!away_) say_(fmt::format("{}; the line goes on, boards that wait to be told of: {}", describe(fault), open_));
  away_ = fault;
  ++failures_;
}

Task<> Backlog::wait_for_bell() {
  auto bell = bell_;  // another one hangs there by the time it rings
  co_await bell->wait();
}

Task<> Backlog::work() {
  working_ = true;
  while (!broken_ && !finishing_) {
    bell_ = std::make_shared<Event>();
    auto counted = co_await count();
    if (!counted) {
      broken_ = std::move(counted.error());
      break;
    }
    if (open_ == 0) {
      idle_ = true;
      co_await wait_for_bell();
      idle_ = false;
      continue;
    }
    auto drained = co_await drain();
    if (drained) {
      if (away_) say_("the cloud answers again");
      away_.reset();
      failures_ = 0;
      if (nothing_to_tell_) {
        idle_ = true;
        co_await wait_for_bell();
        idle_ = false;
      } else if (!*drained) {
        co_await clock_.sleep_for(look_again);
      }
      continue;
    }
    Fault fault = std::move(drained.error());
    if (exit_of(fault.code) == Exit::ledger) {
      broken_ = std::move(fault);
      break;
    }
    pause_after(fault);
    co_await clock_.sleep_for(next_pause());
  }
  idle_ = true;
  ended_.set();
}

Task<> Backlog::finish() {
  finishing_ = true;
  wake();
  if (working_) co_await ended_.wait();
}

Task<std::size_t> Backlog::settle_until(Instant until) {
  wake();
  while (clock_.now() < until) {
    co_await clock_.sleep_for(look_again);
    if (broken_ || idle_ || failures_ >= failures_for_good) break;
  }
  co_return open_;
}

}  // namespace espmint
