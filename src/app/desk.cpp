#include "app/desk.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "app/json.hpp"
#include "app/workspace.hpp"
#include "base/text.hpp"
#include "io/hub_power.hpp"
#include "io/returning_port.hpp"
#include "io/system_ports.hpp"
#include "io/usb_bus.hpp"
#include "rom/connect.hpp"
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

/// From the reset to the flash's size. Fault baud_failed: once more, slower.
Task<Result<void>> bring_up(Desk& desk, const DeskOptions& options, bool with_flash, Baud baud) {
  Loader& loader = *desk.loader;
  const ConnectOptions how = desk_connect_options(options, desk.info);
  CO_TRY(co_await connect(loader, how));
  auto board = co_await identify(loader);
  // Nothing can be read of such a board's flash, but what it says of itself can be shown.
  const bool only_told = !board && board.error().code == Code::board_locked && !with_flash;
  if (only_told) board = co_await identify_locked(loader);
  CO_TRY(desk.board, std::move(board));
  CO_TRY(check_chip(desk, options));
  if (only_told) co_return ok();
  if (with_flash) {
    StubLibrary stubs = options.no_stub ? StubLibrary{} : load_stubs(options.settings);
    const StubImage* stub = stub_for(stubs, *desk.board.chip, desk.board.revision);
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

/// The last rung for a chip whose own USB hangs: no reset reaches it. Whether its port is open again, after its hub's
/// port was switched off and on.
Task<bool> power_cycled(Desk& desk, const DeskOptions& options) {
  if (!desk.power_switch) co_return false;
  say_aside(options.voice, "its USB does not answer: switching the hub's port off and on");
  auto switched = co_await switch_off_and_on(*desk.power_switch, *desk.loop);
  if (!switched) {
    say_aside(options.voice, describe(switched.error()));
    co_return false;
  }
  auto back = co_await desk.port->reopen(desk.loop->now() + return_patience);
  co_return back.has_value();
}

/// A port that is not there: the bus may say why.
Fault reason_for_no_port(Fault fault, const std::string& name) {
  if (fault.code != Code::port_missing || !name.starts_with("/dev/tty")) return fault;
  std::vector<Fault> faults = usb_faults();
  return faults.empty() ? fault : std::move(faults.front());
}

Task<Result<void>> sit_down(Desk& desk, RealLoop& loop, PortOpener& opener, const DeskOptions& options,
                            bool with_flash) {
  CO_TRY(PortInfo info, choose_port(options.settings));
  desk.loop = &loop;
  desk.info = info;
  // Looked up now: a device that has left has no place in /sys.
  if (is_usb_serial_jtag(info)) desk.power_switch = power_switch_of(info.name);
  auto opened = co_await opener.open(info.name);
  if (!opened) co_return fail(reason_for_no_port(std::move(opened.error()), info.name));
  desk.port = std::make_unique<ReturningPort>(opener, loop, info, std::move(*opened));
  desk.loader = std::make_unique<Loader>(*desk.port, loop);
  bool power_was_cut = false;
  for (Baud baud = options.settings.baud;;) {
    auto end = co_await bring_up(desk, options, with_flash, baud);
    const bool dead_usb =
        !end && end.error().code == Code::board_silent && is_usb_serial_jtag(desk.info) && !options.no_reset;
    if (dead_usb && !std::exchange(power_was_cut, true)) {
      if (co_await power_cycled(desk, options)) continue;
      end.error().advice = "REPLUG: unplug this board and plug it in again; its own USB hangs, and no reset reaches it";
    }
    const bool lost = !end && (end.error().code == Code::baud_failed || end.error().code == Code::reply_missing ||
                               end.error().code == Code::reply_damaged || end.error().code == Code::command_refused);
    // At the slowest speed it has answered already: what fails faster may be the wire's doing.
    const bool too_fast = lost && (end.error().code == Code::baud_failed || desk.loader->baud() > rungs.back());
    // Without a reset nobody could be asked at another speed again.
    const bool slower = too_fast && !options.no_reset && baud > rungs.back();
    if (!slower) co_return end;
    const Baud failed =
        std::exchange(baud, *std::find_if(rungs.begin(), rungs.end(), [baud](Baud rung) { return rung < baud; }));
    say_aside(options.voice, fmt::format("{} baud does not work here, going on at {}", failed.per_second, baud.per_second));
  }
}

Task<Result<void>> stand_up(Desk& desk, RealLoop& loop, const DeskOptions& options) {
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

// Parameters by value: the coroutine outlives nobody's stack but its own.
Task<> at_the_desk(RealLoop& loop, PortOpener& opener, const DeskOptions& options, bool with_flash, DeskWork work,
                   Result<void>& end) {
  Desk desk;
  end = co_await sit_down(desk, loop, opener, options, with_flash);
  if (end) end = co_await work(desk);
  if (end) end = co_await stand_up(desk, loop, options);
  if (!end && end.error().where.slot.empty() && desk.port) end.error().where.slot = desk.port->name();
}

}  // namespace

Result<PortInfo> choose_port(const Settings& settings) {
  std::vector<PortInfo> there = list_ports();
  if (!settings.ports.empty()) {
    PortInfo info;
    info.name = settings.ports.front();
    for (const PortInfo& port : there)
      if (port.name == info.name || port.location == info.name) info = port;
    return info;
  }
  std::vector<PortInfo> likely;
  for (const PortInfo& port : there)
    if (is_known_adapter(port)) likely.push_back(port);
  if (likely.size() == 1) return likely.front();
  if (likely.empty())
    if (auto faults = usb_faults(); !faults.empty()) return fail(std::move(faults.front()));
  Fault fault{Code::port_missing, Remedy::refuse,
              likely.empty() ? "no board's serial port is here" : "several boards are here"};
  for (const PortInfo& port : likely) fault.seen += (fault.seen.empty() ? "" : ", ") + port.name;
  fault.advice = likely.empty() ? "Plug one in, or name it: --port /dev/ttyUSB0 (`espmint board list` shows all ports)"
                                : "Say which with --port";
  return fail(std::move(fault));
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

Exit with_desk(const DeskOptions& options, bool with_flash, DeskWork work) {
  RealLoop loop;
  auto opener = make_system_port_opener(loop);
  Result<void> end;
  loop.run(at_the_desk(loop, *opener, options, with_flash, std::move(work), end));
  return end ? Exit::good : report(end.error(), options.voice);
}

Result<std::uint32_t> parse_u32(const std::string& text, std::string_view what) {
  auto number = parse_number(text);
  if (!number || *number > 0xffff'ffff)
    return fail({Code::usage,
                 Remedy::refuse,
                 fmt::format("\"{}\" is no {}", text, what),
                 {},
                 {},
                 "Write 4096, 0x1000, 64K or 4MB"});
  return static_cast<std::uint32_t>(*number);
}

void say_aside(const Voice& voice, std::string_view sentence) {
  if (voice.quiet || voice.json) return;
  std::fputs(fmt::format("{}\n", escape_controls(sentence)).c_str(), stderr);
}

}  // namespace espmint::app
