// io/pool.hpp: where heavy pure work goes: values in, a value out, the loop free meanwhile.
//   auto key = co_await on_pool(pool, [kind] { return mint_key(kind); });
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <type_traits>

#include "io/task.hpp"

namespace espmint {

class Pool {
 public:
  virtual ~Pool() = default;
  /// Runs `work` some time, on some thread, before the pool ends.
  virtual void post(std::function<void()> work) = 0;
};

std::unique_ptr<Pool> make_thread_pool(unsigned threads);
/// Runs everything at once on the caller's thread: virtual time needs no threads.
std::unique_ptr<Pool> make_inline_pool();

/// `work` must own all it touches. Its result must be movable.
template <typename Work, typename T = std::invoke_result_t<Work>>
Task<T> on_pool(Pool& pool, Work work) {
  namespace asio = boost::asio;
  auto executor = co_await asio::this_coro::executor;
  auto box = std::make_shared<std::optional<T>>();
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(
      [&pool, executor, box](auto handler, Work inner) {
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        auto guard = asio::make_work_guard(executor);
        auto owned = std::make_shared<Work>(std::move(inner));
        pool.post([executor, box, shared, owned, guard = std::move(guard)]() mutable {
          box->emplace((*owned)());
          owned.reset();
          asio::post(executor, [shared = std::move(shared)]() mutable { (*shared)(); });
        });
      },
      asio::use_awaitable, std::move(work));
  co_return std::move(**box);
}

}  // namespace espmint
