#include "sim/symptoms.hpp"

#include <fmt/format.h>

#include <array>

namespace espmint::sim {
namespace {

constexpr std::array rows{
    SymptomRow{Symptom::silent, "silent", "nothing comes back"},
    SymptomRow{Symptom::tx_broken, "tx-broken", "it hears nothing"},
    SymptomRow{Symptom::echo, "echo", "TX and RX are joined"},
    SymptomRow{Symptom::noise, "noise", "all that comes is noise"},
    SymptomRow{Symptom::wrong_boot_mode, "wrong-boot-mode", "it always starts its flash"},
    SymptomRow{Symptom::second_strap, "second-strap", "GPIO2, GPIO46 or GPIO8 has the wrong level"},
    SymptomRow{Symptom::no_reset_wire, "no-reset-wire", "its firmware runs on, whatever the lines say"},
    SymptomRow{Symptom::crash_loop, "crash-loop", "its firmware panics again and again"},
    SymptomRow{Symptom::brown_out, "brown-out", "its supply breaks down at each start"},
    SymptomRow{Symptom::flash_dead, "flash-dead", "its flash chip does not answer"},
    SymptomRow{Symptom::flash_unread, "flash-unread", "the same, and it never enters download mode"},
    SymptomRow{Symptom::voltage_strap, "voltage-strap", "a high GPIO12 gives its flash 1.8 V"},
    SymptomRow{Symptom::gps, "gps", "a GPS receiver instead of a board"},
};

constexpr Time restart_pause = milliseconds{300};

std::string with_straps(std::string_view boot, std::uint32_t set, std::uint32_t cleared) {
  // "0x12 (SPI_FAST_FLASH_BOOT)": the number is the strapping pins' levels.
  const std::size_t space = boot.find(' ');
  const auto value = static_cast<std::uint32_t>(std::stoul(std::string{boot.substr(2, space - 2)}, nullptr, 16));
  return fmt::format("{:#x}{}", (value | set) & ~cleared, boot.substr(space));
}

}  // namespace

std::span<const SymptomRow> all_symptoms() { return rows; }

std::optional<Symptom> symptom_named(std::string_view name) {
  for (const SymptomRow& row : rows)
    if (row.name == name) return row.symptom;
  return std::nullopt;
}

std::string symptom_names() {
  std::string names;
  for (const SymptomRow& row : rows) names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
  return names;
}

bool Ailment::hears() const {
  return symptom_ != Symptom::silent && symptom_ != Symptom::tx_broken && symptom_ != Symptom::echo &&
         symptom_ != Symptom::gps;
}

bool Ailment::enters_download() const {
  switch (symptom_) {
    case Symptom::wrong_boot_mode:
    case Symptom::second_strap:
    case Symptom::no_reset_wire:
    case Symptom::crash_loop:
    case Symptom::brown_out:
    case Symptom::flash_unread:
    case Symptom::gps:
      return false;
    default:
      return true;
  }
}

bool Ailment::flash_answers() const {
  return symptom_ != Symptom::flash_dead && symptom_ != Symptom::flash_unread && symptom_ != Symptom::voltage_strap;
}

std::string Ailment::boot_words(std::string_view usual) const {
  return more_straps() == 0 ? std::string{usual} : with_straps(usual, more_straps(), 0);
}

std::optional<Ailment::Start> Ailment::instead_of_boot(const Chip& whole, std::string_view cause) {
  const ChipRow& chip = whole.row();
  auto banner = [&whole](std::string_view reset, std::string_view boot) {
    return fmt::format("{}rst:{},boot:{}\r\n", whole.rom().banner, reset, boot);
  };
  const bool esp32 = chip.name == "esp32";
  switch (symptom_) {
    case Symptom::brown_out: {
      // The detector's handler prints, where it still can; the next start names the cause.
      const std::string_view reset = esp32 ? "0xf (RTCWDT_BROWN_OUT_RESET)" : "0xf (RTCWDT_BROWN_OUT_RST)";
      const bool first = starts_++ == 0;
      return Start{banner(first ? cause : reset, chip.from_flash) + "\r\nBrownout detector was triggered\r\n\r\n",
                   milliseconds{150}};
    }
    case Symptom::flash_dead:
    case Symptom::flash_unread:
    case Symptom::voltage_strap: {
      const std::string read_error =
          esp32 ? "flash read err, 1000\r\nets_main.c 371 \r\n" : "invalid header: 0x0\r\nflash read err, 1000\r\n";
      return Start{banner(cause, boot_words(chip.from_flash)) + read_error, restart_pause};
    }
    case Symptom::second_strap: {
      // The ESP32 and S2, S3 want the second pin low, the others high.
      const std::uint32_t boot_pin = esp32 ? 0x10 : 0x08, second = esp32 ? 0x08 : 0x04;
      const bool wrong_is_high = esp32 || chip.name == "esp32s2" || chip.name == "esp32s3";
      const std::string straps =
          with_straps(chip.from_flash, wrong_is_high ? second : 0, boot_pin | (wrong_is_high ? 0 : second));
      return Start{banner(cause, straps), restart_pause};
    }
    case Symptom::crash_loop: {
      const std::string panic =
          esp32 ? "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r\n"
                : "Guru Meditation Error: Core  0 panic'ed (Load access fault). Exception was unhandled.\r\n";
      return Start{banner(starts_++ == 0 ? cause : chip.software, chip.from_flash) +
                       "I (29) boot: ESP-IDF v5.1 2nd stage bootloader\r\n" + panic + "\r\nRebooting...\r\n",
                   restart_pause};
    }
    case Symptom::no_reset_wire:
      // It started long before anybody looked.
      return Start{fmt::format("I ({}) main: temperature 21.5\r\n", 100'000 + 300 * starts_++), restart_pause};
    case Symptom::gps:
      return Start{"$GNRMC,120000.00,V,,,,,,,211126,,,N*6D\r\n$GNGGA,120000.00,,,,,0,00,99.99,,,,,,*7A\r\n",
                   milliseconds{1000}};
    default:
      return std::nullopt;
  }
}

void Ailment::garble(ByteSpan bytes) {
  if (symptom_ != Symptom::noise) return;
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(byte ^ dice_.byte());
}

}  // namespace espmint::sim
