// io/loop.hpp: the one thread that runs every slot, in its two forms.
//   RealLoop loop;     loop.run(task);            waits for the system
//   VirtualLoop loop;  loop.run(task);            nothing waits: when nobody is ready, time jumps to the next sleeper
#pragma once

#include <functional>
#include <memory>
#include <set>

#include "io/clock.hpp"

namespace boost::asio {
class io_context;
}

namespace espmint {

class Loop : public Clock {
 public:
  Loop();
  ~Loop() override;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Runs `main` to its end, with whatever it spawned; tasks still running then are destroyed with the loop.
  /// Throws what main throws, and std::logic_error when main waits for something that can never happen.
  void run(Task<> main);
  /// Starts a task that lives until it ends or the loop does. Exceptions that leave it end the process: they are bugs.
  void spawn(Task<> task);
  boost::asio::io_context& context() { return *context_; }

 protected:
  /// Runs ready work; returns when `done` or when stuck.
  virtual void drive(const bool& done) = 0;
  std::unique_ptr<boost::asio::io_context> context_;
};

class RealLoop final : public Loop {
 public:
  [[nodiscard]] Instant now() const override;
  [[nodiscard]] WallTime wall() const override;
  Task<> sleep_until(Instant) override;

 private:
  void drive(const bool& done) override;
};

/// Starts at `wall`; steady time starts at 0. Deterministic: equal moments wake in the order they were asked for.
class VirtualLoop final : public Loop {
 public:
  explicit VirtualLoop(WallTime start = WallTime{std::chrono::seconds{1'760'000'000}});
  ~VirtualLoop() override;
  [[nodiscard]] Instant now() const override { return now_; }
  [[nodiscard]] WallTime wall() const override;
  Task<> sleep_until(Instant) override;
  /// Moves the wall clock only, as a set clock does.
  void shift_wall(std::chrono::seconds by) { start_ += by; }

 private:
  struct Sleeper;
  template <typename Handler>
  struct SleeperOf;
  struct Earlier {
    bool operator()(const Sleeper* a, const Sleeper* b) const;
  };
  void drive(const bool& done) override;
  Instant now_{};
  WallTime start_;
  std::uint64_t next_ticket_ = 0;
  std::set<Sleeper*, Earlier> sleepers_;
};

}  // namespace espmint
