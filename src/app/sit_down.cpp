// From a port to a board that listens, is identified, and runs the stub at full speed; and back to its application.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "app/desk.hpp"
#include "app/json.hpp"
#include "base/text.hpp"
#include "io/returning_port.hpp"
#include "rom/diagnosis.hpp"
#include "rom/flash.hpp"

namespace espmint::app {
namespace {

// The ROM measures time by a clock of its own and misses above this; the stub does not.
constexpr Baud fastest_for_rom{921'600};
constexpr std::array rungs{Baud{921'600}, Baud{460'800}, Baud{230'400}, Baud{115'200}};

void ask_for_button(const Voice& voice, Duration patience, const Fault& why) {
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(patience).count();
  if (voice.json)
    print_json({{"v", 1}, {"event", "waiting"}, {"for", "button"}, {"seconds", seconds}, {"fault", describe(why)}});
  std::fputs(fmt::format("espmint: {}\nhold BOOT, press RESET, let go of both (waiting {} s; Ctrl-C ends)\n",
                         describe(why), seconds)
                 .c_str(),
             stderr);
}

/// Somebody who could press a button sits before a terminal; a script wants its answer at once.
Duration patience_for_button(const DeskOptions& options) {
  constexpr double usual_seconds = 60;
  double seconds = options.wait_seconds.value_or(stderr_is_terminal() ? usual_seconds : 0);
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

Result<void> check_chip(const Desk& desk, const DeskOptions& options) {
  if (options.chip == "auto") return ok();
  const ChipSpec* wanted = chip_named(options.chip);
  if (!wanted)
    return fail({Code::usage,
                 Remedy::refuse,
                 fmt::format("\"{}\" is no chip that this version knows", options.chip),
                 {},
                 {},
                 fmt::format("It knows {}", names_of_all_chips())});
  if (wanted != desk.board.chip)
    return fail({Code::chip_mismatch,
                 Remedy::refuse,
                 fmt::format("this board is {}, not {}", desk.board.chip->title, wanted->title),
                 {},
                 {},
                 {}});
  return ok();
}

/// From the reset to the flash's size; `stubs`: none where nobody wants the flash. Fault baud_failed: once more,
/// slower.
Task<Result<void>> bring_up(Desk& desk, const DeskOptions& options, const StubLibrary* stubs, Baud baud,
                            ConnectOptions how) {
  Loader& loader = *desk.loader;
  const bool with_flash = stubs != nullptr;
  CO_TRY(co_await connect(loader, how));
  auto board = co_await identify(loader);
  // Nothing can be read of such a board's flash, but what it says of itself can be shown.
  const bool only_told = !board && board.error().code == Code::board_locked && !with_flash;
  if (only_told) board = co_await identify_locked(loader);
  CO_TRY(desk.board, std::move(board));
  CO_TRY(check_chip(desk, options));
  if (only_told) co_return ok();
  if (with_flash) {
    const StubImage* stub = options.no_stub ? nullptr : stub_for(*stubs, *desk.board.chip, desk.board.revision);
    CO_TRY(co_await loader.change_baud(std::min(baud, fastest_for_rom)));
    if (stub) {
      // On a port without reset lines it may run already.
      if (loader.speaker() == Speaker::rom) CO_TRY(co_await start_stub(loader, *stub));
      CO_TRY(co_await loader.change_baud(baud));
    } else if (!options.no_stub) {
      say_aside(options.voice, "no stub flasher found: going on with the ROM's own loader, which is slower");
    }
    CO_TRY(can_work_on_flash(loader));
  }
  co_return co_await read_flash_id(loader, desk.board);
}

/// The last rung for a chip whose own USB hangs. Whether it is worth another try; `why` gets what to do where not.
Task<bool> power_cycled(Desk& desk, const DeskOptions& options, Fault& why) {
  why = own_usb_hangs(why);
  auto powered = co_await desk.port->repower();
  if (powered) {
    say_aside(options.voice, fmt::format("{}; its hub has switched it off and on", why.what));
    co_return true;
  }
  why.seen += "; " + describe(powered.error());
  co_return false;
}

}  // namespace

Task<Result<void>> sit_down(Desk& desk, Loop& loop, PortOpener& opener, const PortInfo& info,
                            const DeskOptions& options, const StubLibrary* stubs) {
  desk.loop = &loop;
  desk.info = info;
  CO_TRY(std::unique_ptr<Port> opened, co_await opener.open(info.name));
  desk.port = std::make_unique<ReturningPort>(opener, loop, info, std::move(opened));
  desk.loader = std::make_unique<Loader>(*desk.port, loop);
  ConnectOptions how = desk_connect_options(options, desk.info);
  // A hub's switch is tried before a person is asked.
  const Duration button_patience = how.button_patience;
  bool power_was_tried = options.no_reset;
  for (Baud baud = options.settings.baud;;) {
    const bool before_power = desk.port->is_chips_own() && !power_was_tried;
    how.button_patience = before_power ? Duration{} : button_patience;
    auto end = co_await bring_up(desk, options, stubs, baud, how);
    const bool hangs = !end && may_hang(*desk.port, end.error());
    if (before_power && !end && (hangs || met_no_board(end.error().code))) {
      power_was_tried = true;
      bool again = false;
      if (hangs) again = co_await power_cycled(desk, options, end.error());
      if (again || button_patience > Duration{}) continue;
      co_return end;
    }
    if (hangs && !options.no_reset) end.error() = own_usb_hangs(end.error());
    const bool lost = !end && (end.error().code == Code::baud_failed || end.error().code == Code::reply_missing ||
                               end.error().code == Code::reply_damaged || end.error().code == Code::command_refused);
    // At the slowest speed it has answered already: what fails faster may be the wire's doing.
    const bool too_fast = lost && (end.error().code == Code::baud_failed || desk.loader->baud() > rungs.back());
    // Without a reset nobody could be asked at another speed again.
    const bool slower = too_fast && !options.no_reset && baud > rungs.back();
    if (!slower) co_return end;
    const Baud failed =
        std::exchange(baud, *std::find_if(rungs.begin(), rungs.end(), [baud](Baud rung) { return rung < baud; }));
    say_aside(options.voice,
              fmt::format("{} baud does not work here, going on at {}", failed.per_second, baud.per_second));
  }
}

Task<Result<void>> stand_up(Desk& desk, Loop& loop, const DeskOptions& options) {
  if (!options.stay && !options.no_reset) {
    auto reset = co_await reset_into_application(*desk.port, loop);
    bool went_along = !reset && reset.error().code == Code::port_gone && desk.port->absences().count > 0;
    if (went_along) co_return ok();
    if (reset || reset.error().code != Code::no_reset_lines) co_return reset;
  }
  // It stays in download mode: the next command finds it at the speed that every command starts with.
  auto back = co_await desk.loader->change_baud(Baud{});
  if (!back && !options.voice.quiet)
    std::fputs(fmt::format("espmint: {}; reset the board before the next command\n", describe(back.error())).c_str(),
               stderr);
  co_return ok();  // what was asked for is done
}

ConnectOptions desk_connect_options(const DeskOptions& options, const PortInfo& info) {
  const Duration button = patience_for_button(options);
  return {.usb_serial_jtag = is_usb_serial_jtag(info),
          .reset = !options.no_reset,
          .return_patience = return_patience,
          .button_patience = button,
          .ask_for_button = [&options, button](const Fault& why) { ask_for_button(options.voice, button, why); },
          .button_even_if_silent = true};
}

bool is_usb_serial_jtag(const PortInfo& info) { return info.vendor_id == 0x303a && info.product_id == 0x1001; }

void say_aside(const Voice& voice, std::string_view sentence) {
  if (voice.quiet || voice.json) return;
  std::fputs(fmt::format("{}\n", escape_controls(sentence)).c_str(), stderr);
}

}  // namespace espmint::app
