#include "run/baud_memory.hpp"

#include <algorithm>

namespace espmint {

Baud BaudMemory::start(const std::string& slot, Baud wanted) const {
  auto known = slots_.find(slot);
  return known == slots_.end() ? wanted : std::min(wanted, known->second.baud);
}

void BaudMemory::fell_back(const std::string& slot, Baud to) { slots_[slot] = {to, 0}; }

void BaudMemory::went_well(const std::string& slot) {
  auto known = slots_.find(slot);
  if (known != slots_.end() && ++known->second.good_boards >= good_boards_until_forgotten) slots_.erase(known);
}

}  // namespace espmint
