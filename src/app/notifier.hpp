// app/notifier.hpp: --on-done PROGRAM: told of each verdict as one JSON line on its standard input. Nothing secret, and
// nothing in its arguments. It runs beside the line and holds nobody up.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "app/screen.hpp"

namespace espmint::app {

class NotifyingObserver final : public LineObserver {
 public:
  NotifyingObserver(LineObserver& next, std::string program) : next_(next), program_(std::move(program)) {}
  void on_step(const std::string& slot, Step step) override { next_.on_step(slot, step); }
  void on_board(const std::string& slot, const BoardInfo& board) override { next_.on_board(slot, board); }
  void on_progress(const std::string& slot, std::uint64_t done, std::uint64_t total) override {
    next_.on_progress(slot, done, total);
  }
  void on_note(const std::string& slot, const std::string& text) override { next_.on_note(slot, text); }
  void on_waiting(const std::string& slot) override { next_.on_waiting(slot); }
  void on_ignored(const PortInfo& port) override { next_.on_ignored(port); }
  void on_started(const std::string& slot) override { next_.on_started(slot); }
  void on_done(const std::string& slot, const RunOutcome& outcome) override;
  void on_left(const std::string& slot) override { next_.on_left(slot); }

 private:
  LineObserver& next_;
  std::string program_;
  std::vector<pid_t> running_;  // to be reaped; other programs that we run belong to others
};

}  // namespace espmint::app
