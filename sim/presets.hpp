// sim/presets.hpp: how long a virtual board takes for what it does; a row per kind of flash chip and stub clock.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace espmint::sim {

/// A moment or a span on the host's monotonic clock.
using Time = std::chrono::nanoseconds;
using std::chrono::microseconds;
using std::chrono::milliseconds;

struct Preset {
  std::string_view name;
  // Flash, as the loader programs it: its commands and clock included.
  Time erase_sector;  // 4 KiB
  Time erase_block;   // 64 KiB
  Time program_page;  // 256 B
  // The chip's own part.
  Time rom_command = microseconds{300};
  Time rom_erase_sector = milliseconds{52};  // the ROM erases sector by sector: 13 s for 1 MiB
  Time stub_command = microseconds{50};
  Time stub_start = milliseconds{12};
  Time inflate_byte{150};
  Time md5_byte_slow{800};              // ROM, and stubs that leave the clock as it is
  Time md5_byte_fast{350};              // stubs that raise it
  Time banner_after = milliseconds{5};  // after EN is high
  Time ready_after = milliseconds{30};  // after EN is high the ROM hears SYNC
  Time boot = milliseconds{300};        // from the ROM's banner to the application
  Time sign = milliseconds{40};
  // The adapter.
  bool paced = true;  // the wire has a speed
  Time usb_out = microseconds{125};
  Time usb_in = milliseconds{1};
  unsigned slow_erase_percent = 0;  // erases that take ten times as long
};

// Source: docs of flash makers (typical values) and public logs; how they were calibrated: docs/virtual-board.md.
inline constexpr std::array presets{
    //     name            4 KiB erase        64 KiB erase        256 B page
    Preset{"classic", milliseconds{45}, milliseconds{196}, microseconds{1050}},
    Preset{"no-boost", milliseconds{60}, milliseconds{250}, microseconds{1200}},
    Preset{"fast", milliseconds{35}, milliseconds{100}, microseconds{350}},
    Preset{"w25q-typical", milliseconds{45}, milliseconds{150}, microseconds{400}},
    Preset{"gd25q-typical", milliseconds{50}, milliseconds{200}, microseconds{600}},
    Preset{"max", milliseconds{400}, milliseconds{2000}, microseconds{3000}},
    Preset{.name = "slow-tail",
           .erase_sector = milliseconds{45},
           .erase_block = milliseconds{196},
           .program_page = microseconds{1050},
           .slow_erase_percent = 1},
    Preset{.name = "instant",
           .erase_sector = Time{0},
           .erase_block = Time{0},
           .program_page = Time{0},
           .rom_command = Time{0},
           .rom_erase_sector = Time{0},
           .stub_command = Time{0},
           .stub_start = Time{0},
           .inflate_byte = Time{0},
           .md5_byte_slow = Time{0},
           .md5_byte_fast = Time{0},
           .banner_after = microseconds{1500},
           .ready_after = milliseconds{2},
           .boot = milliseconds{3},
           .sign = Time{0},
           .paced = false,
           .usb_out = Time{0},
           .usb_in = Time{0}},
};

constexpr const Preset* preset_named(std::string_view name) {
  for (const Preset& preset : presets)
    if (preset.name == name) return &preset;
  return nullptr;
}

}  // namespace espmint::sim
