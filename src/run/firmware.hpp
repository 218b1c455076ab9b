// run/firmware.hpp: the plan's regions compressed and framed once, for every board of the line.
#pragma once

#include <map>
#include <memory>

#include "io/event.hpp"
#include "io/pool.hpp"
#include "recipe/plan.hpp"
#include "rom/flash.hpp"

namespace espmint {

struct PreparedFirmware {
  std::vector<std::shared_ptr<const PreparedRegion>> regions;  // in flash order
  std::vector<std::string> labels;                             // of the regions, for people
  std::uint64_t bytes = 0;                                     // of all regions
};

/// Compresses on the pool while the first board is still being connected to; boards that come later find it done.
class FirmwarePreparer {
 public:
  FirmwarePreparer(const Plan& plan, Pool& pool) : plan_(plan), pool_(pool) {}
  /// Starts the work that every board will need; returns when it is done. Others may ask meanwhile.
  Task<> prepare(WriteFormat);
  /// For a board with this flash: the bootloader's header says its size, with a valid digest.
  Task<Result<std::shared_ptr<const PreparedFirmware>>> for_board(WriteFormat, std::uint32_t flash_size);

 private:
  struct Common {
    Event ready;
    std::vector<std::shared_ptr<const PreparedRegion>> regions;  // empty place for the bootloader
  };
  const Plan& plan_;
  Pool& pool_;
  std::map<WriteFormat, std::shared_ptr<Common>> common_;
  std::map<std::pair<WriteFormat, std::uint32_t>, std::shared_ptr<const PreparedFirmware>> done_;
};

}  // namespace espmint
