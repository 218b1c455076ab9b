#include "rom/diagnosis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "rom/boot_log.hpp"
#include "rom/commands.hpp"
#include "rom/slip.hpp"

namespace espmint {
namespace {

constexpr std::size_t fewest_bytes_of_noise = 16;
constexpr std::size_t quoted = 80;

Fault because(Code code, std::string what, std::string seen, std::string advice) {
  return {code, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
}

bool is_text(std::uint8_t byte) {
  constexpr std::uint8_t escape = 0x1b;  // colours of logs
  return (byte >= 0x20 && byte < 0x7f) || byte == '\r' || byte == '\n' || byte == '\t' || byte == escape;
}

std::string quote(std::string_view text) {
  std::string plain;
  for (const char c : trim(text)) plain += c >= 0x20 && c < 0x7f ? c : '.';
  return plain.substr(0, quoted);
}

/// Line feeds and text stay; the rest becomes a dot, so that a damaged byte ends no line.
std::string readable(ByteView bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (const std::uint8_t byte : bytes) text += is_text(byte) ? static_cast<char>(byte) : '.';
  return text;
}

std::string_view by_hand(const Heard& heard) {
  return heard.could_reset ? "Hold BOOT while the board is reset"
                           : "This port has no reset lines: hold BOOT, press RESET, let go, and try again";
}

std::string start_in_words(const BootLog& log, const ChipStart& start) {
  std::string words = start.line;
  const std::string pins = start.straps ? straps_in_words(log.chip, *start.straps) : std::string{};
  if (!pins.empty()) words += ": " + pins;
  return words;
}

/// The supply gives way: the chip says so, or it loses power more often than we have reset it.
std::optional<Fault> brown_out(const Heard& heard, const BootLog& log) {
  const std::size_t said = log.brown_outs();
  static constexpr unsigned power_on = 1, most_by_chance = 3;
  const auto power_ons = static_cast<std::size_t>(std::count_if(
      log.starts.begin(), log.starts.end(), [](const ChipStart& s) { return s.reset_cause == power_on; }));
  const bool loses_power = power_ons > heard.resets + most_by_chance;
  if (said == 0 && !loses_power) return std::nullopt;
  std::string seen = said > 0
                         ? fmt::format("it reported a brown-out {}", said == 1 ? "once" : fmt::format("{} times", said))
                         : fmt::format("{} power-on resets, {} of them ours", power_ons, heard.resets);
  return because(
      Code::brown_out, "the board's supply voltage breaks down", std::move(seen),
      "Give it more current: a short cable, a powered hub or a supply of its own, and check 3V3 and what hangs on it");
}

/// A start from a flash that cannot be read.
std::optional<Fault> flash_trouble(const BootLog& log) {
  for (const ChipStart& start : log.starts) {
    if (!start.flash_read_error) continue;
    // Newer chips set the flash's supply by eFuse or other pins; MTDI is the ESP32's.
    const bool esp32 = log.chip.empty() || log.chip == "esp32";
    if (esp32 && start.straps && (*start.straps & esp32_mtdi) != 0) return gets_low_voltage(start_in_words(log, start));
  }
  for (const ChipStart& start : log.starts)
    if (start.flash_read_error && !start.into_download)
      return because(
          Code::flash_unknown, "the board's ROM cannot read its flash",
          "flash read err after " + start_in_words(log, start),
          "If the flash is new, hold BOOT while the board is reset; else check the flash's solder joints and supply");
  return std::nullopt;
}

Fault not_in_download(const Heard& heard, const BootLog& log) {
  const ChipStart& start = log.starts.back();
  Fault fault = because(Code::board_not_in_download_mode, "the board started its firmware instead of download mode",
                        start_in_words(log, start), {});
  const StrapSpec* pins = straps_of(log.chip);
  const bool boot_low = pins != nullptr && start.straps && (*start.straps & pins->boot.bit) == 0;
  const bool second_high = pins != nullptr && start.straps && (*start.straps & pins->second.bit) != 0;
  auto crashed =
      std::find_if(log.starts.begin(), log.starts.end(), [](const ChipStart& s) { return !s.crash.empty(); });
  if (boot_low && second_high != pins->second_must_be_high) {
    fault.what = fmt::format("the board's strapping pins send it into no usable mode: {} is {}", pins->second.pin,
                             second_high ? "high" : "low");
    fault.advice = fmt::format("{} must be {} at reset: take away what drives it", pins->second.pin,
                               pins->second_must_be_high ? "high" : "low or open");
    return fault;
  }
  if (crashed != log.starts.end()) {
    fault.what = "the board started its firmware, which crashes, instead of download mode";
    if (crashed->crash != fault.seen) fault.seen = crashed->crash + "; " + fault.seen;
  } else if (start.flash_is_blank) {
    fault.what = "the board started from its flash, which is blank, instead of download mode";
  }
  const std::string_view boot_pin = pins != nullptr ? pins->boot.pin : "IO0";
  fault.advice = heard.could_reset
                     ? fmt::format("Its BOOT pin ({}) is not wired to DTR: hold BOOT while it is reset", boot_pin)
                     : std::string{by_hand(heard)};
  return fault;
}

struct Stranger {
  std::string_view says;
  std::string_view is;
};
// What else talks at 115200 on such adapters, by words that it alone uses.
constexpr std::array strangers{
    Stranger{"$GPGGA,", "a GPS receiver"},
    Stranger{"$GNGGA,", "a GPS receiver"},
    Stranger{"$GPRMC,", "a GPS receiver"},
    Stranger{"$GNRMC,", "a GPS receiver"},
    Stranger{"$GPTXT,", "a GPS receiver"},
    Stranger{"$GNTXT,", "a GPS receiver"},
    Stranger{"+CPIN:", "a modem"},
    Stranger{"+CREG:", "a modem"},
    Stranger{"+CEREG:", "a modem"},
    Stranger{"^SYSSTART", "a modem"},
    Stranger{"SMS Ready", "a modem"},
    Stranger{"Call Ready", "a modem"},
    Stranger{"rst cause:", "an ESP8266"},
    Stranger{"echo:Marlin", "a 3D printer"},
    Stranger{"Grbl ", "a milling machine"},
    Stranger{"U-Boot ", "a Linux computer"},
    Stranger{" login: ", "a Linux computer"},
};

std::optional<Fault> stranger(std::string_view text) {
  for (const Stranger& row : strangers) {
    const std::size_t at = text.find(row.says);
    if (at == std::string_view::npos) continue;
    return because(Code::foreign_device, fmt::format("{} is on this port, not an ESP32", row.is),
                   fmt::format("it said \"{}\"", quote(text.substr(at))),
                   "Name the board's port with --port; `espmint board list` shows what is here");
  }
  return std::nullopt;
}

/// Our own SYNC comes back: whole where the wires are joined, without its zeros from the ROM's interpreter.
std::optional<Fault> echo(const Heard& heard) {
  constexpr std::array<std::uint8_t, 4> head{0x00, static_cast<std::uint8_t>(Op::sync), 0x24, 0x00};
  constexpr std::array<std::uint8_t, 8> body{0x07, 0x07, 0x12, 0x20, 0x55, 0x55, 0x55, 0x55};
  auto contains = [&heard](const auto& what) {
    return std::search(heard.bytes.begin(), heard.bytes.end(), what.begin(), what.end()) != heard.bytes.end();
  };
  if (!contains(body)) return std::nullopt;
  if (contains(head))
    return because(Code::line_echo, "our own bytes come back, and nothing else answers",
                   fmt::format("{} bytes, an echo of SYNC", heard.count),
                   "TX and RX are joined, or no board is behind the adapter: check the wires between them");
  return because(Code::board_not_in_download_mode, "the board runs its ROM's interpreter instead of download mode",
                 "it echoes what it is sent", std::string{by_hand(heard)});
}

std::optional<Fault> noise(const Heard& heard) {
  const auto odd = static_cast<std::size_t>(
      std::count_if(heard.bytes.begin(), heard.bytes.end(), [](std::uint8_t b) { return !is_text(b); }));
  // A text with one damaged byte in ten is text; random bytes are text in two of five.
  if (heard.bytes.size() < fewest_bytes_of_noise || odd * 4 < heard.bytes.size()) return std::nullopt;
  return because(
      Code::noisy_line, fmt::format("only noise comes at {} baud", heard.baud),
      fmt::format("{} bytes, {} % of them neither text nor an answer", heard.count, odd * 100 / heard.bytes.size()),
      "Check that GND is connected and the cable is short; a level shifter must be fast enough, and the board's "
      "crystal the right one");
}

/// A log as firmware of ESP-IDF prints it: "I (1234) wifi: …".
bool is_idf_log(std::string_view text) {
  for (const std::string_view line : split(text, '\n')) {
    const std::size_t at = line.find(" (");
    if (at == std::string_view::npos || at == 0) continue;
    const bool level = std::string_view{"EWIDV"}.find(line[at - 1]) != std::string_view::npos;
    const std::size_t close = line.find(") ", at);
    if (!level || close == std::string_view::npos) continue;
    const std::string_view stamp = line.substr(at + 2, close - at - 2);
    if (!stamp.empty() && std::all_of(stamp.begin(), stamp.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return true;
  }
  return false;
}

}  // namespace

Fault diagnose(const Heard& heard) {
  const std::string text = readable(heard.bytes);
  const BootLog log = parse_boot_log(text);
  if (auto fault = brown_out(heard, log)) return std::move(*fault);
  if (auto fault = flash_trouble(log)) return std::move(*fault);
  if (log.waits_for_download())
    return because(Code::board_deaf, "the board waits for download but does not hear us",
                   start_in_words(log, log.starts.back()), "Check the TX wire from the adapter to the board's RX");
  if (!log.starts.empty()) return not_in_download(heard, log);
  if (auto fault = stranger(text)) return std::move(*fault);
  if (auto fault = echo(heard)) return std::move(*fault);
  if (auto fault = noise(heard)) return std::move(*fault);
  const std::string words = quote(text);
  if (is_idf_log(text)) {
    if (heard.could_reset)
      return because(Code::no_reset_lines, "the board's firmware goes on while DTR and RTS are pulled",
                     fmt::format("it said \"{}\"", words),
                     "RTS is not wired to EN: wire it, or press RESET with BOOT held and use --no-reset");
    return because(Code::board_not_in_download_mode, "the board runs its firmware instead of download mode",
                   fmt::format("it said \"{}\"", words), std::string{by_hand(heard)});
  }
  std::string seen = heard.count == 0 ? std::string{"not a single byte came back"}
                                      : fmt::format("{} bytes came, none of them an answer to SYNC", heard.count);
  if (!words.empty()) seen += fmt::format(": \"{}\"", words);
  return because(Code::board_silent, "no ESP32 answers", std::move(seen),
                 heard.could_reset ? "Check that it is powered, that the cable carries data, and that this is its port"
                                   : std::string{by_hand(heard)});
}

Fault gets_low_voltage(std::string seen) {
  return because(
      Code::voltage_strap, "the flash does not answer: it gets 1.8 V because GPIO12 (MTDI) is high at reset",
      std::move(seen),
      "Take away what pulls GPIO12 high, or fix the flash voltage at 3.3 V by eFuse (espefuse set-flash-voltage 3.3V)");
}

bool may_hang(const Port& port, const Fault& fault) {
  return port.is_chips_own() && (fault.code == Code::board_silent || fault.code == Code::port_failed);
}

Fault own_usb_hangs(const Fault& last) {
  Fault fault = because(Code::usb_hangs, "the chip's own USB hangs, and no reset reaches it",
                        last.seen.empty() ? last.what : fmt::format("{}, {}", last.what, last.seen),
                        "REPLUG: unplug this board and plug it in again; the same again: with BOOT held");
  fault.remedy = Remedy::repower;
  fault.where = last.where;
  return fault;
}

bool met_no_board(Code code) {
  constexpr std::array codes{Code::board_silent, Code::board_not_in_download_mode,
                             Code::board_deaf,   Code::foreign_device,
                             Code::line_echo,    Code::noisy_line,
                             Code::brown_out,    Code::voltage_strap,
                             Code::usb_hangs,    Code::flash_unknown};
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

}  // namespace espmint
