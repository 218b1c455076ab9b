// sim/work.hpp: what a loader does on a command, as steps with a duration; each takes effect at its end.
#pragma once

#include <vector>

#include "base/bytes.hpp"
#include "sim/presets.hpp"

namespace espmint::sim {

struct Step {
  enum class Kind {
    wait,
    reply,     // `bytes` go to the host
    erase,     // `size` bytes of flash at `at`
    program,   // `bytes` into flash at `at`
    set_baud,  // the board's UART, to `size`
    restart,   // reset into what is in flash
    run_stub,  // the uploaded program runs
    hang,      // nothing more is heard
    basic,     // the ROM's command interpreter, which echoes
  };
  Kind kind = Kind::wait;
  Time takes{};
  std::uint32_t at = 0;
  std::uint32_t size = 0;
  Bytes bytes{};
  [[nodiscard]] bool is_visible() const { return kind != Kind::wait && kind != Kind::erase && kind != Kind::program; }
};
using Work = std::vector<Step>;

}  // namespace espmint::sim
