// io/pool.hpp: where heavy pure work goes: values in, a value out, the loop free meanwhile.
//   auto key = co_await on_pool(pool, [kind] { return mint_key(kind); });
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "io/task.hpp"

namespace espmint {

class Pool {
 public:
  virtual ~Pool() = default;
  /// Runs `work` some time, on some thread, before the pool ends. A pool ends before the loop that waits for its work.
  virtual void post(std::function<void()> work) = 0;
};

/// What computes for long takes what the wires leave of the processor: its threads yield to the loop's (Linux: nice
/// 10).
enum class PoolManners { equal, yielding };
std::unique_ptr<Pool> make_thread_pool(unsigned threads, PoolManners = PoolManners::equal);
/// Runs everything at once on the caller's thread: virtual time needs no threads.
std::unique_ptr<Pool> make_inline_pool();

namespace detail {

template <typename T, typename Work>
Task<T> run_on_pool(Pool& pool, Work work) {
  namespace asio = boost::asio;
  // Shared with the worker: std::function wants copies, and a destroyed coroutine must not pull this from under it.
  struct Job {
    explicit Job(Work w) : work(std::move(w)) {}
    std::optional<Work> work;
    std::optional<T> result;
    std::exception_ptr thrown;
  };
  auto job = std::make_shared<Job>(std::move(work));
  auto executor = co_await asio::this_coro::executor;
  // Named for the same reason as below.
  auto start = [&pool, executor, job](auto handler) {
    auto waiter = std::make_shared<decltype(handler)>(std::move(handler));
    pool.post([executor, job, waiter, guard = asio::make_work_guard(executor)]() mutable {
      try {
        job->result.emplace(std::invoke(*job->work));
      } catch (...) {
        job->thrown = std::current_exception();
      }
      job->work.reset();  // what it owns ends on the thread that used it
      asio::post(executor, [waiter = std::move(waiter)]() mutable { std::move (*waiter)(); });
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(std::move(start), asio::use_awaitable);
  if (job->thrown) std::rethrow_exception(job->thrown);
  co_return std::move(*job->result);
}

}  // namespace detail

/// `work` must own all it touches; it may be move-only. Its result must be movable. What it throws, the awaiter gets.
/// A lambda that owns something (a string, a Secret) is named first, for g++ 12 destroys the captures of a lambda that
/// is written inside the co_await twice:
///   auto mint = [key = std::move(key)] { … };   co_await on_pool(pool, std::move(mint));
template <typename Work, typename T = std::invoke_result_t<std::decay_t<Work>&>>
Task<T> on_pool(Pool& pool, Work&& work) {
  static_assert(!std::is_void_v<T> && !std::is_reference_v<T>, "values in, a value out");
  return detail::run_on_pool<T>(pool, std::decay_t<Work>(std::forward<Work>(work)));
}

}  // namespace espmint
