// rom/boot_log.hpp: what a chip's ROM prints when it starts: why it was reset, which level each strapping pin had,
// where it went. Pure: text in, values out; for a person who has to find the wire that is wrong.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace espmint {

/// "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)", and what followed it until the next start.
struct ChipStart {
  std::string line;  // as printed, trimmed, control bytes escaped
  std::optional<unsigned> reset_cause;
  std::optional<unsigned> straps;
  bool into_download = false;
  bool flash_read_error = false;  // "flash read err, 1000"
  bool flash_is_blank = false;    // "invalid header: 0xffffffff"
  bool browned_out = false;       // by its cause, or "Brownout detector was triggered"
  std::string crash;              // the line of a panic; empty when none
};

struct BootLog {
  std::string chip;  // "esp32", "esp32c3" as its ROM names itself; empty when the banner is missing
  std::vector<ChipStart> starts;
  [[nodiscard]] bool waits_for_download() const;
  [[nodiscard]] std::size_t brown_outs() const;
};

BootLog parse_boot_log(std::string_view text);

/// "power-on", "watchdog", …; empty for a cause that is not in the table. Source: ESP-IDF, RESET_REASON of each chip.
std::string_view reset_cause_in_words(unsigned cause);

/// The pins of one family that decide about booting. Source: esptool documentation, Boot Mode Selection; the TRMs,
/// GPIO_STRAP register.
struct StrapPin {
  unsigned bit;
  std::string_view pin;
};
struct StrapSpec {
  std::string_view chip;  // as ROMs name themselves
  StrapPin boot;          // low: download mode
  StrapPin second;        // decides too, once the first is low
  bool second_must_be_high;
  std::vector<StrapPin> others;  // shown, not judged
};
/// The row of this chip; nothing for one that is not in the table.
const StrapSpec* straps_of(std::string_view chip);

/// "GPIO0 high, GPIO2 low, GPIO12 (MTDI) low"; empty for an unknown chip.
std::string straps_in_words(std::string_view chip, unsigned value);

/// Bit of the ESP32's MTDI (GPIO12) in the strapping value: high sets the flash supply to 1.8 V.
inline constexpr unsigned esp32_mtdi = 0x20;

}  // namespace espmint
