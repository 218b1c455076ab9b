// line/line.hpp: any number of slots on one thread: a port appears, its board is prepared, the slot waits until it has
// left, and goes on. What a board's run does is run/'s; what ports there are is io/'s.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "io/event.hpp"
#include "io/loop.hpp"
#include "run/board_run.hpp"

namespace espmint {

struct LineOptions {
  std::vector<std::string> ports;      // exactly these; empty: every known adapter that the watcher reports
  std::optional<std::uint64_t> count;  // end after so many boards with a final verdict
  std::size_t slots = 256;             // at most so many at once
  bool one_pass = false;               // `prepare`: every slot ends with its first board, or the lack of one
};

struct LineSummary {
  std::uint64_t passed = 0, failed = 0;
  std::map<std::string, std::uint64_t> causes;  // fault code's name → boards
  std::optional<Fault> stopped_by;              // what halted every slot
  bool interrupted = false;
  double seconds = 0;
  [[nodiscard]] Exit exit() const;
};

class LineObserver : public RunObserver {
 public:
  virtual void on_waiting(const std::string& slot) { (void)slot; }
  virtual void on_ignored(const PortInfo& port) { (void)port; }
  virtual void on_started(const std::string& slot) { (void)slot; }
  virtual void on_done(const std::string& slot, const RunOutcome& outcome) { (void)slot, (void)outcome; }
  virtual void on_left(const std::string& slot) { (void)slot; }
};

class Line {
 public:
  /// `watcher` may be null when all ports are named.
  Line(Loop& loop, Station& station, PortOpener& opener, PortWatcher* watcher, LineObserver& observer,
       LineOptions options);
  ~Line();

  /// Ends when the count is reached, every named slot of a single pass is done, or it is interrupted.
  Task<LineSummary> run();
  /// First call: no new boards, boards with an exposed secret are finished. Second: everything stops where it is.
  void interrupt();

 private:
  struct Slot;
  Task<> watch();
  Task<> live(std::shared_ptr<Slot> slot);
  Task<bool> serve_one_board(Slot& slot);
  Task<> wait_until_left(Slot& slot, const RunOutcome& outcome);
  Task<bool> only_restarted(Slot& slot);
  void open_slot(const PortInfo& port, bool named);
  void account(const RunOutcome& outcome);
  void halt(std::optional<Fault> why);
  void drain(std::optional<Fault> why);
  [[nodiscard]] bool full() const;
  [[nodiscard]] bool may_start() const;

  Loop& loop_;
  Station& station_;
  PortOpener& opener_;
  PortWatcher* watcher_;
  LineObserver& observer_;
  LineOptions options_;
  std::map<std::string, std::shared_ptr<Slot>> slots_;  // by location
  std::set<std::string> counted_;
  LineSummary summary_;
  std::size_t living_ = 0, running_ = 0;
  int interrupts_ = 0;
  bool draining_ = false;  // no new board; those in a run are finished
  bool halted_ = false;    // besides, only boards with an exposed secret are finished
  std::unique_ptr<Event> ended_;
};

}  // namespace espmint
