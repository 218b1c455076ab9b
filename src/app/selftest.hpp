// app/selftest.hpp: what a board, its port and this program can do together, tried one by one: resets, speeds, the
// ROM's path and the stub's, on a scratch region whose content is put back. What came of it is a SelftestReport, for a
// table on the screen and for a file that a person with real hardware can send.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rom/connect.hpp"
#include "rom/identify.hpp"
#include "rom/stub.hpp"

namespace espmint::app {

struct SelftestCheck {
  enum class State { good, bad, skipped } state = State::bad;
  std::string name;  // "baud 460800"
  std::string seen;  // "8 of 8 blocks, 38 KB/s", or the fault
  double seconds = 0;
  bool required = false;  // a way among several, or a speed above the slowest, may fail
};

struct SelftestReport {
  std::vector<SelftestCheck> checks;
  struct Heard {
    std::string after, text;
  };
  std::vector<Heard> heard;        // what the board printed after each reset
  std::optional<BoardInfo> board;  // once identified
  std::optional<FlashRange> scratch;
  Bytes not_put_back;  // what the scratch region held, where that could not be written again
  [[nodiscard]] bool good() const;
};

struct SelftestPlan {
  std::optional<FlashRange> region{};  // nothing: the last 64 KiB
  bool force = false;                  // also where a partition with content lies
  ConnectOptions connect{};
  std::function<void(const SelftestCheck&)> on_check{};
};
inline constexpr std::uint32_t usual_scratch_bytes = 64 * 1024;

/// Fills `report` as it goes, so that a fault leaves what was seen before. What the region held is put back before a
/// fault or a stop leaves. Faults: board_silent and port faults; usage for a region that is not whole sectors, not in
/// the flash or in use; board_locked; interrupted.
Task<Result<void>> selftest(Loader&, const StubLibrary&, const SelftestPlan&, SelftestReport& report, const bool& stop);

}  // namespace espmint::app
