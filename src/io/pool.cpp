#include "io/pool.hpp"

#include <boost/asio/thread_pool.hpp>

namespace espmint {
namespace {

class ThreadPool final : public Pool {
 public:
  explicit ThreadPool(unsigned threads) : pool_(threads == 0 ? 1 : threads) {}
  // Asio's own destructor would drop what is queued; here all of it still runs.
  ~ThreadPool() override { pool_.join(); }
  void post(std::function<void()> work) override { boost::asio::post(pool_, std::move(work)); }

 private:
  boost::asio::thread_pool pool_;
};

class InlinePool final : public Pool {
 public:
  void post(std::function<void()> work) override { work(); }
};

}  // namespace

std::unique_ptr<Pool> make_thread_pool(unsigned threads) { return std::make_unique<ThreadPool>(threads); }
std::unique_ptr<Pool> make_inline_pool() { return std::make_unique<InlinePool>(); }

}  // namespace espmint
