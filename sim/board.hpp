// sim/board.hpp: a virtual board: adapter, wire, chip and flash, as a pure model in time. Nothing happens between
// calls; each call says what time it is, and equal calls bring equal answers.
//   Board board{{.mac = mac}, flash};
//   board.set_lines(now, false, true);           // EN low
//   now = …; board.receive(now, frame);          // bytes from the host; the adapter takes what it has room for
//   std::optional<Time> wake = board.next_event();
//   std::size_t n = board.transmit(*wake, buffer);   // bytes that have reached the host by then
// What it plays and what it leaves out: docs/virtual-board.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/mac.hpp"
#include "sim/app_firmware.hpp"
#include "sim/mask_rom.hpp"
#include "sim/native_usb.hpp"
#include "sim/slip.hpp"
#include "sim/stub.hpp"
#include "sim/symptoms.hpp"
#include "sim/wire.hpp"

namespace espmint::sim {

struct BoardOptions {
  std::string chip = "esp32";
  Mac mac{{0x24, 0x0a, 0xc4, 0x12, 0x34, 0x56}};
  std::string preset = "instant";
  std::uint64_t seed = 0;
  Faults faults{};
  /// Parts per thousand that the RTC oscillator differs from nominal (ESP32): the ROM's baud rates differ with it.
  int rtc_per_mille = 0;
  /// Bytes sent faster than this are sometimes garbled; 0: no limit.
  std::uint32_t max_clean_baud = 0;
  /// Registers that differ from the chip's table: a burnt or blank eFuse.
  std::vector<RegisterValue> registers{};
  NativeUsbOptions native_usb{};
  /// Of the chip; nothing: the usual one. Major * 100 + minor.
  std::optional<unsigned> revision{};
  std::uint32_t crystal_mhz = 0;  // 0: the usual one
  Security security{};
  Bytes hmac_key{};  // burnt, 32 bytes, with the purpose HMAC_UP; empty: none
  Symptom symptom = Symptom::none;
};

class Board {
 public:
  /// Plugged in and powered at `now`. `flash` is the chip's content; it outlives the board. Names of chips and presets
  /// have been checked by the caller; an unknown one means the first row.
  Board(BoardOptions, ByteSpan flash, Time now = Time{0});

  /// The host's modem lines; true = asserted. EN is low while RTS alone is, IO0 while DTR alone is.
  void set_lines(Time now, bool dtr, bool rts);
  void set_host_baud(Time now, std::uint32_t baud);
  /// Bytes from the host; returns how many the adapter took.
  std::size_t receive(Time now, ByteView);
  /// Bytes that have reached the host.
  std::size_t transmit(Time now, ByteSpan);
  void discard_input(Time now);  // what has come for the host
  /// A host opens the port: an adapter has thrown away what came before, the chip's own USB hands over what it kept.
  void host_opens(Time now);
  void discard_output(Time now);  // what the host has sent and the wire has not

  /// When something next happens that the host can see, or that makes room for its bytes.
  [[nodiscard]] std::optional<Time> next_event() const;
  /// When the adapter takes bytes again; already past when it takes them now. Unlike next_event() it does not care what
  /// waits to be read.
  [[nodiscard]] Time next_room() const;
  void advance(Time now);

  void power(Time now, bool on);
  void unplug(Time now);
  void plug(Time now);
  /// Another board in the same place, blank unless `keep_flash`; power-cycled.
  void swap(Time now, const Mac&, bool keep_flash = false);

  [[nodiscard]] bool plugged() const { return plugged_; }
  /// Whether the host sees a port, as of the last call that said the time; with USB of the chip's own not after a
  /// reset.
  [[nodiscard]] bool present() const { return plugged_ && !(usb_.used() && (usb_.is_away() || !powered_)); }
  /// When the port that a reset took away comes back.
  [[nodiscard]] std::optional<Time> returns_at() const {
    return plugged_ && powered_ ? usb_.returns_at() : std::nullopt;
  }
  /// How often a reset took the port away.
  [[nodiscard]] unsigned departures() const { return usb_.departures(); }
  [[nodiscard]] bool has_native_usb() const { return usb_.used(); }
  [[nodiscard]] const Mac& mac() const { return options_.mac; }
  [[nodiscard]] std::string_view chip() const { return chip_.row().name; }
  [[nodiscard]] const Preset& preset() const { return *preset_; }
  [[nodiscard]] std::uint64_t bytes_from_host() const { return from_host_; }
  [[nodiscard]] std::uint64_t bytes_to_host() const { return to_host_count_; }
  /// "off", "reset", "rom", "stub", "booting", "app", "interpreter", "looping".
  [[nodiscard]] std::string_view state() const;
  /// What a person should hear: an unknown stub, a dropped frame.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  static constexpr Time loop_pause = milliseconds{300};  // until the watchdog resets a chip without an application
  enum class Mode { off, held, settling, starting, rom, stub, interpreter, hung, booting, app, looping };
  void move_to(Time);
  void deliver(Time until);
  void hear(Time at, ByteView);
  void frame_complete(Time at);
  void dequeue(Time at);
  void plan(Time at, Work&&);
  void finish_step(const Step&, Time at);
  void run_stage(Time at);
  void boot_from_flash(Time at, std::string_view cause);
  void start_program(Time at);
  void react(Time at, Reaction&&);
  void say(Time at, ByteView);
  void say(Time at, std::string_view text) { say(at, as_bytes(text)); }
  void stop_cpu(Time at);
  void set_baud(std::uint32_t baud);
  void count_from_host(Time now, std::size_t bytes);
  [[nodiscard]] std::optional<Time> app_tick() const;
  [[nodiscard]] Time to_host_visible() const;
  void leave_bus(Time at);
  [[nodiscard]] std::uint32_t wire_baud(std::uint32_t uart) const {
    return usb_.used() ? NativeUsb::bytes_go_at : uart;
  }
  [[nodiscard]] bool in_tune(std::uint32_t a, std::uint32_t b) const { return usb_.used() || bauds_agree(a, b); }
  // The chip's own USB holds no pin: its lines are orders.
  [[nodiscard]] bool en_high() const { return usb_.used() || !(rts_ && !dtr_) || !ailment_.can_be_reset(); }
  [[nodiscard]] bool io0_low() const {
    return ailment_.enters_download() && (usb_.used() ? usb_.wants_download() : dtr_ && !rts_);
  }
  void warn(std::string text);

  BoardOptions options_;
  Chip chip_;
  const Preset* preset_;
  NorFlash flash_;
  Dice dice_;
  std::optional<Registers> registers_;
  std::optional<MaskRom> rom_;
  std::optional<Stub> stub_;
  std::unique_ptr<AppFirmware> app_;

  Time now_{};
  bool plugged_ = true, powered_ = true, dtr_ = false, rts_ = false;
  Mode mode_ = Mode::off;
  std::optional<Time> stage_at_;  // the next step of a start
  Time en_high_at_{};
  bool download_ = false;  // strap as sampled
  std::string cause_;      // "rst:" text

  std::uint32_t host_baud_ = 115'200, board_baud_ = 115'200;
  Wire from_wire_, to_wire_;  // host to board, board to host
  Gremlin from_gremlin_, to_gremlin_, fast_gremlin_;
  bool refused_ = false;  // the adapter had no room
  std::uint64_t from_host_ = 0, to_host_count_ = 0;
  bool swap_on_plug_ = false;

  NativeUsb usb_;
  Ailment ailment_;
  SlipReader slip_;
  std::deque<Bytes> frames_;  // whole, waiting for the CPU
  std::deque<Step> steps_;    // planned; `takes` holds the absolute end
  Time step_began_{};
  std::vector<std::string> warnings_;
};

}  // namespace espmint::sim
