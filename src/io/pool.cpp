#include "io/pool.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/thread_pool.hpp>

namespace espmint {
namespace {

class ThreadPool final : public Pool {
 public:
  ThreadPool(unsigned threads, PoolManners manners) : pool_(threads == 0 ? 1 : threads), manners_(manners) {}
  // Asio's own destructor would drop what is queued; here all of it still runs.
  ~ThreadPool() override { pool_.join(); }
  void post(std::function<void()> work) override {
    boost::asio::post(pool_, [manners = manners_, work = std::move(work)] {
      if (manners == PoolManners::yielding) yield_from_now_on();
      work();
    });
  }

 private:
  /// Of the calling thread; Linux counts niceness by thread.
  static void yield_from_now_on() {
    thread_local const bool done = setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10) == 0;
    (void)done;  // refused: it goes on as it is
  }

  boost::asio::thread_pool pool_;
  PoolManners manners_;
};

class InlinePool final : public Pool {
 public:
  void post(std::function<void()> work) override { work(); }
};

}  // namespace

std::unique_ptr<Pool> make_thread_pool(unsigned threads, PoolManners manners) {
  return std::make_unique<ThreadPool>(threads, manners);
}
std::unique_ptr<Pool> make_inline_pool() { return std::make_unique<InlinePool>(); }

}  // namespace espmint
