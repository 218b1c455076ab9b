// run/baud_memory.hpp: which speed the wire of a slot carried. Where one failed, the slot's next boards start lower
// instead of failing once each; it is the cable or the adapter far more often than the board.
#pragma once

#include <map>
#include <string>

#include "base/units.hpp"

namespace espmint {

class BaudMemory {
 public:
  /// After so many good boards in a row the cable may have been changed: the full speed is tried again.
  static constexpr int good_boards_until_forgotten = 20;

  /// Where a board in this slot starts.
  [[nodiscard]] Baud start(const std::string& slot, Baud wanted) const;
  /// A board in this slot did not answer above `to`.
  void fell_back(const std::string& slot, Baud to);
  /// A board in this slot was finished.
  void went_well(const std::string& slot);

 private:
  struct Remembered {
    Baud baud;
    int good_boards = 0;
  };
  std::map<std::string, Remembered> slots_;
};

}  // namespace espmint
