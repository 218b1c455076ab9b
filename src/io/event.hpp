// io/event.hpp: something that happens once, and those who wait for it on the same loop.
#pragma once

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <vector>

#include "io/task.hpp"

namespace espmint {

class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  [[nodiscard]] bool is_set() const { return set_; }
  void set() {
    set_ = true;
    for (auto* waiter : waiters_) waiter->cancel();
  }
  Task<> wait() {
    namespace asio = boost::asio;
    if (set_) co_return;
    // A timer that never ends is Asio's way to park a coroutine; cancelling it is the signal.
    asio::steady_timer parked{co_await asio::this_coro::executor, asio::steady_timer::time_point::max()};
    waiters_.push_back(&parked);
    co_await parked.async_wait(asio::as_tuple(asio::use_awaitable));
    std::erase(waiters_, &parked);
  }

 private:
  bool set_ = false;
  std::vector<boost::asio::steady_timer*> waiters_;
};

}  // namespace espmint
