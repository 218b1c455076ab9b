// sim/symptoms.hpp: what a sick board does: one symptom each, so that the diagnosis can be tried without breaking one.
//   Board board{{.symptom = Symptom::brown_out}, flash};
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "sim/chips.hpp"
#include "sim/dice.hpp"
#include "sim/presets.hpp"

namespace espmint::sim {

enum class Symptom {
  none,
  silent,           // nothing comes back, whatever is done to it
  tx_broken,        // the wire to the board is open: it starts as the lines say, and hears nothing
  echo,             // TX and RX are joined, no chip behind them
  noise,            // every byte of the board's is garbled
  wrong_boot_mode,  // the boot pin is not wired: it always starts its flash
  second_strap,     // the boot pin is pulled low, and the pin that decides beside it has the wrong level
  no_reset_wire,    // EN is not wired: firmware runs on, and prints
  crash_loop,       // the boot pin is not wired, and the firmware panics as soon as it runs
  brown_out,        // the supply gives way at each start
  flash_dead,       // the flash chip answers nothing
  flash_unread,     // the same, and the boot pin is not wired
  voltage_strap,    // flash_dead, because a high MTDI gives the flash 1.8 V (ESP32)
  gps,              // a GPS receiver on that port
};

struct SymptomRow {
  Symptom symptom;
  std::string_view name;  // "brown-out"
  std::string_view shows;
};
std::span<const SymptomRow> all_symptoms();
std::optional<Symptom> symptom_named(std::string_view name);
/// "silent, tx-broken, …"
std::string symptom_names();

/// What a symptom changes in a board; without one it changes nothing.
class Ailment {
 public:
  Ailment(Symptom symptom, std::uint64_t seed) : symptom_(symptom), dice_(seed ^ 0x7369'636b) {}

  [[nodiscard]] bool speaks() const { return symptom_ != Symptom::silent && symptom_ != Symptom::echo; }
  [[nodiscard]] bool hears() const;
  [[nodiscard]] bool echoes() const { return symptom_ == Symptom::echo; }
  [[nodiscard]] bool can_be_reset() const { return symptom_ != Symptom::no_reset_wire && symptom_ != Symptom::gps; }
  [[nodiscard]] bool enters_download() const;
  [[nodiscard]] bool flash_answers() const;
  /// Bits that the strapping value has besides the usual ones.
  [[nodiscard]] std::uint32_t more_straps() const { return symptom_ == Symptom::voltage_strap ? 0x20 : 0; }
  /// "0xf (UART_BOOT(UART0))" with them.
  [[nodiscard]] std::string boot_words(std::string_view usual) const;
  /// What it prints instead of starting from flash, and when it does so again; nothing for a healthy start.
  struct Start {
    std::string says;
    Time again_after;
  };
  [[nodiscard]] std::optional<Start> instead_of_boot(const Chip&, std::string_view cause);
  /// Bytes as they come out of the board.
  void garble(ByteSpan);

 private:
  Symptom symptom_;
  Dice dice_;
  unsigned starts_ = 0;
};

}  // namespace espmint::sim
