#include "rom/boot_log.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.hpp"

namespace espmint {
namespace {

// A board that has restarted for an hour says nothing new.
constexpr std::size_t most_starts = 256, longest_line = 160;
constexpr unsigned brown_out_cause = 0x0f;

struct CauseRow {
  unsigned cause;
  std::string_view words;
};
// Source: ESP-IDF, esp_rom, RESET_REASON. The numbers mean the same on every chip that has them.
constexpr std::array causes{
    CauseRow{0x01, "power-on or EN"},
    CauseRow{0x03, "software"},
    CauseRow{0x04, "watchdog"},
    CauseRow{0x05, "deep sleep"},
    CauseRow{0x06, "SDIO"},
    CauseRow{0x07, "watchdog of timer group 0"},
    CauseRow{0x08, "watchdog of timer group 1"},
    CauseRow{0x09, "RTC watchdog"},
    CauseRow{0x0b, "watchdog of the CPU"},
    CauseRow{0x0c, "software"},
    CauseRow{0x0d, "RTC watchdog of the CPU"},
    CauseRow{0x0e, "the other CPU"},
    CauseRow{brown_out_cause, "brown-out"},
    CauseRow{0x10, "RTC watchdog"},
    CauseRow{0x12, "super watchdog"},
    CauseRow{0x13, "clock glitch"},
    CauseRow{0x14, "eFuse error"},
    CauseRow{0x15, "USB"},
    CauseRow{0x16, "USB-JTAG"},
    CauseRow{0x17, "power glitch"},
};

/// The number behind `key` in this line: "boot:0x13" → 0x13.
std::optional<unsigned> hex_behind(std::string_view line, std::string_view key) {
  const std::size_t at = line.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view digits = line.substr(at + key.size());
  unsigned value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc{} || end == digits.data()) return std::nullopt;
  return value;
}

bool has(std::string_view line, std::string_view words) { return line.find(words) != std::string_view::npos; }

/// "ESP-ROM:esp32c3-api1-20210207" names its chip; the ESP32's ROM begins with "ets " and a date.
std::string chip_of(std::string_view line) {
  constexpr std::string_view key = "ESP-ROM:";
  if (const std::size_t at = line.find(key); at != std::string_view::npos) {
    std::string_view name = line.substr(at + key.size());
    name = name.substr(0, name.find('-'));
    const bool plausible = !name.empty() && name.size() < 16 && std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    });
    // The ESP32-C2 calls itself by the name of its package.
    return plausible ? std::string{name == "esp8684" ? "esp32c2" : name} : std::string{};
  }
  return has(line, "ets Jun  8 2016") || has(line, "ets Jul 29 2019") ? "esp32" : std::string{};
}

std::string shown(std::string_view line) { return escape_controls(trim(line).substr(0, longest_line)); }

/// One line behind a start's first. Where that one was not heard whole, the first that tells something stands for it.
void note(ChipStart& start, std::string_view line) {
  const bool waits = has(line, "waiting for download"), read_error = has(line, "flash read err"),
             blank = has(line, "invalid header: 0xffffffff"), brown_out = has(line, "Brownout detector was triggered");
  const bool panics = has(line, "Guru Meditation Error") || has(line, "abort() was called") ||
                      has(line, "assert failed:") || has(line, "***ERROR*** A stack overflow");
  if (waits) start.into_download = true;
  if (read_error) start.flash_read_error = true;
  if (blank) start.flash_is_blank = true;
  if (brown_out) start.browned_out = true;
  if (panics && start.crash.empty()) start.crash = shown(line);
  const bool tells = waits || read_error || blank || brown_out || panics;
  if (tells && start.line.empty()) start.line = shown(line);
}

}  // namespace

bool BootLog::waits_for_download() const {
  return std::any_of(starts.begin(), starts.end(), [](const ChipStart& start) { return start.into_download; });
}

std::size_t BootLog::brown_outs() const {
  return static_cast<std::size_t>(
      std::count_if(starts.begin(), starts.end(), [](const ChipStart& start) { return start.browned_out; }));
}

BootLog parse_boot_log(std::string_view text) {
  BootLog log;
  ChipStart before;  // what was said before the first start that was heard whole
  for (const std::string_view line : split(text, '\n')) {
    if (log.chip.empty()) log.chip = chip_of(line);
    const std::optional<unsigned> straps = hex_behind(line, "boot:0x");
    if (!straps) {
      note(log.starts.empty() ? before : log.starts.back(), line);
      continue;
    }
    if (log.starts.size() == most_starts) break;
    ChipStart start;
    start.line = shown(line);
    start.straps = straps;
    start.reset_cause = hex_behind(line, "rst:0x");
    start.browned_out = start.reset_cause == brown_out_cause;
    const std::string_view where_to = line.substr(line.find("boot:0x"));
    start.into_download = has(where_to, "DOWNLOAD") || has(where_to, "UART_BOOT");
    log.starts.push_back(std::move(start));
  }
  if (!before.line.empty()) log.starts.insert(log.starts.begin(), std::move(before));
  return log;
}

std::string_view reset_cause_in_words(unsigned cause) {
  for (const CauseRow& row : causes)
    if (row.cause == cause) return row.words;
  return {};
}

const StrapSpec* straps_of(std::string_view chip) {
  static const std::vector<StrapSpec> rows{
      {"esp32",
       {0x10, "GPIO0"},
       {0x08, "GPIO2"},
       false,
       {{esp32_mtdi, "GPIO12 (MTDI)"}, {0x02, "GPIO15 (MTDO)"}, {0x04, "GPIO4"}, {0x01, "GPIO5"}}},
      {"esp32s2", {0x08, "GPIO0"}, {0x04, "GPIO46"}, false, {{0x10, "GPIO45"}}},
      {"esp32s3", {0x08, "GPIO0"}, {0x04, "GPIO46"}, false, {}},
      {"esp32c2", {0x08, "GPIO9"}, {0x04, "GPIO8"}, true, {}},
      {"esp32c3", {0x08, "GPIO9"}, {0x04, "GPIO8"}, true, {{0x01, "GPIO2"}}},
      {"esp32c5", {0x10, "GPIO28"}, {0x08, "GPIO27"}, true, {}},
      {"esp32c6", {0x08, "GPIO9"}, {0x04, "GPIO8"}, true, {}},
      {"esp32c61", {0x08, "GPIO9"}, {0x04, "GPIO8"}, true, {}},
      {"esp32h2", {0x08, "GPIO9"}, {0x04, "GPIO8"}, true, {}},
      {"esp32p4", {0x08, "GPIO35"}, {0x04, "GPIO36"}, true, {}},
  };
  for (const StrapSpec& row : rows)
    if (row.chip == chip) return &row;
  return nullptr;
}

std::string straps_in_words(std::string_view chip, unsigned value) {
  const StrapSpec* row = straps_of(chip);
  if (row == nullptr) return {};
  std::string words;
  auto say = [&words, value](const StrapPin& pin) {
    words += words.empty() ? "" : ", ";
    words += pin.pin;
    words += (value & pin.bit) != 0 ? " high" : " low";
  };
  say(row->boot);
  say(row->second);
  for (const StrapPin& pin : row->others) say(pin);
  return words;
}

}  // namespace espmint
