#include "io/loop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <stdexcept>

namespace espmint {

namespace asio = boost::asio;

// The hint says that one thread runs the loop; pools may still post to it.
Loop::Loop() : context_(std::make_unique<asio::io_context>(1)) {}
Loop::~Loop() = default;

void Loop::run(Task<> main) {
  struct Ending {
    bool done = false;
    std::exception_ptr thrown;
  };
  // Shared, because a stuck main outlives this call: it is destroyed with the loop.
  auto ending = std::make_shared<Ending>();
  asio::co_spawn(*context_, std::move(main), [ending](std::exception_ptr thrown) {
    ending->thrown = std::move(thrown);
    ending->done = true;
  });
  drive(ending->done);
  if (ending->thrown) std::rethrow_exception(ending->thrown);
  if (!ending->done) throw std::logic_error("the loop is stuck: main waits for something that nobody will ever do");
}

void Loop::spawn(Task<> task) {
  // noexcept: rethrowing ends the process and names the exception.
  asio::co_spawn(*context_, std::move(task), [](std::exception_ptr thrown) noexcept {
    if (thrown) std::rethrow_exception(std::move(thrown));
  });
}

// ---- real

Instant RealLoop::now() const { return steady_now(); }

WallTime RealLoop::wall() const { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

Task<> RealLoop::sleep_until(Instant at) {
  asio::steady_timer timer(*context_, at);
  co_await timer.async_wait(asio::use_awaitable);
}

void RealLoop::drive(const bool& done) {
  context_->restart();
  while (!done && context_->run_one() > 0) {
  }
}

// ---- virtual

// One waiting coroutine. It is no Asio timer, so virtual time costs no system call: neither a timerfd nor an
// epoll_wait.
struct VirtualLoop::Sleeper {
  Sleeper(VirtualLoop& loop, Instant moment) : owner(loop), at(moment), ticket(loop.next_ticket_++) {}
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  virtual ~Sleeper() = default;
  /// Hands this sleeper to the loop's queue, which then owns it; its coroutine goes on from there.
  virtual void wake(boost::system::error_code) = 0;

  VirtualLoop& owner;
  Instant at;
  std::uint64_t ticket;
  bool woken = false;
};

template <typename Handler>
struct VirtualLoop::SleeperOf final : VirtualLoop::Sleeper {
  SleeperOf(VirtualLoop& loop, Instant moment, Handler h) : Sleeper(loop, moment), handler(std::move(h)) {}

  void wake(boost::system::error_code why) override {
    woken = true;
    asio::post(*owner.context_, [self = std::unique_ptr<SleeperOf>(this), why]() mutable {
      // The slot's entry points at this sleeper: gone before the coroutine goes on, and not earlier, since waking may
      // have been asked for by the very entry.
      asio::get_associated_cancellation_slot(self->handler).clear();
      Handler resume = std::move(self->handler);
      self.reset();
      std::move(resume)(why);
    });
  }

  Handler handler;
};

bool VirtualLoop::Earlier::operator()(const Sleeper* a, const Sleeper* b) const {
  return a->at != b->at ? a->at < b->at : a->ticket < b->ticket;
}

VirtualLoop::VirtualLoop(WallTime start) : start_(start) {}

VirtualLoop::~VirtualLoop() {
  // Each sleeper owns a suspended coroutine, whose locals may still use the loop: they go first.
  while (!sleepers_.empty()) {
    std::unique_ptr<Sleeper> last(*sleepers_.begin());
    sleepers_.erase(sleepers_.begin());
  }
  context_.reset();
}

WallTime VirtualLoop::wall() const {
  return start_ + std::chrono::floor<std::chrono::seconds>(now_.time_since_epoch());
}

Task<> VirtualLoop::sleep_until(Instant at) {
  return asio::async_initiate<const asio::use_awaitable_t<>&, void(boost::system::error_code)>(
      [this](auto handler, Instant moment) {
        using Handler = std::decay_t<decltype(handler)>;
        auto slot = asio::get_associated_cancellation_slot(handler);
        Sleeper* sleeper = new SleeperOf<Handler>(*this, moment, std::move(handler));
        sleepers_.insert(sleeper);
        if (slot.is_connected()) {
          slot.assign([sleeper](asio::cancellation_type) {
            if (sleeper->woken) return;
            sleeper->owner.sleepers_.erase(sleeper);
            sleeper->wake(asio::error::operation_aborted);
          });
        }
      },
      asio::use_awaitable, at);
}

void VirtualLoop::drive(const bool& done) {
  context_->restart();
  // Sleepers are no work that Asio knows of; without this it would call itself finished.
  auto guard = asio::make_work_guard(*context_);
  while (!done) {
    if (context_->poll_one() > 0) continue;
    if (sleepers_.empty()) return;
    Sleeper* next = *sleepers_.begin();
    sleepers_.erase(sleepers_.begin());
    now_ = std::max(now_, next->at);
    next->wake({});
  }
}

// ---- moments as text

std::string to_string(WallTime moment) {
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{moment - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), time.hours().count(),
                     time.minutes().count(), time.seconds().count());
}

}  // namespace espmint
