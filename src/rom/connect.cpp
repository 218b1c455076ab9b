#include "rom/connect.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "rom/boot_log.hpp"
#include "rom/diagnosis.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
using What = LineStep::What;

// EN low long enough for the capacitor on it (100 ms), then up with IO0 low; the ROM listens 30 ms later.
constexpr auto reset_pulse = 100ms, rom_ready = 30ms;

// Both lines in one operation: no moment in which a circuit could see EN rise with IO0 still high.
constexpr std::array tight{
    LineStep{What::both, false, true, reset_pulse},
    LineStep{What::both, true, false, rom_ready},
};
// One line at a time, as adapters need whose driver knows no common operation.
constexpr std::array classic{
    LineStep{What::dtr, false, false, 0ms},
    LineStep{What::rts, false, true, reset_pulse},
    LineStep{What::dtr, true, false, 0ms},
    LineStep{What::rts, false, false, rom_ready},
};
// The same with a reset that rises slowly (470 nF or more on EN).
constexpr std::array slow{
    LineStep{What::dtr, false, false, 0ms},
    LineStep{What::rts, false, true, reset_pulse},
    LineStep{What::dtr, true, false, 0ms},
    LineStep{What::rts, false, false, 400ms},
};
// The chip's own USB peripheral watches the order of the two lines; it never sees both asserted as one step.
constexpr std::array usb_jtag{
    LineStep{What::rts, false, false, 0ms},       LineStep{What::dtr, false, false, 100ms},
    LineStep{What::dtr, true, false, 0ms},        LineStep{What::rts, false, false, 100ms},
    LineStep{What::rts, false, true, 0ms},        LineStep{What::dtr, false, false, 0ms},
    LineStep{What::rts, false, true, 100ms},      LineStep{What::dtr, false, false, 0ms},
    LineStep{What::rts, false, false, rom_ready},
};

constexpr std::string_view usb_sequence = "usb-serial-jtag";
// A chip without firmware is reset by its watchdog again and again.
constexpr int most_returns = 3;
// What is kept for the diagnosis of a failed connect.
constexpr std::size_t kept_for_diagnosis = 16 * 1024;

constexpr std::array uart_first{
    ResetSequence{"tight", tight, true},
    ResetSequence{"classic", classic, true},
    ResetSequence{usb_sequence, usb_jtag, false},
    ResetSequence{"slow", slow, true},
};
constexpr std::array usb_first{
    ResetSequence{usb_sequence, usb_jtag, false},
    ResetSequence{"tight", tight, true},
    ResetSequence{"classic", classic, true},
};

Duration time_of(const ResetSequence& sequence) {
  Duration sum{};
  for (const LineStep& step : sequence.steps) sum += step.then;
  return sum;
}

Task<Result<void>> perform(Port& port, Clock& clock, std::span<const LineStep> steps) {
  for (const LineStep& step : steps) {
    switch (step.what) {
      case What::dtr:
        CO_TRY(co_await port.set_dtr(step.dtr));
        break;
      case What::rts:
        CO_TRY(co_await port.set_rts(step.rts));
        break;
      case What::both:
        CO_TRY(co_await port.set_dtr_rts(step.dtr, step.rts));
        break;
    }
    if (step.then > 0ms) co_await clock.sleep_for(step.then);
    // EN has been low: what came until now is of the time before, and a late answer must not pass for one of the ROM's.
    if (step.rts && step.then >= reset_pulse) CO_TRY(co_await port.discard_input());
  }
  co_return ok();
}

bool is_port_fault(const Fault& fault) {
  return fault.code == Code::port_gone || fault.code == Code::port_failed || fault.code == Code::port_busy ||
         fault.code == Code::port_denied;
}

/// SYNC every 20 ms or so until one is answered. The first may fall into the banner.
Task<Result<void>> sync_until(Loader& loader, Instant deadline) {
  for (;;) {
    auto answer = co_await loader.sync(20ms);
    if (answer || is_port_fault(answer.error()) || loader.clock().now() >= deadline) co_return answer;
  }
}

/// Resets by these steps and waits for an answer. Learns that there are no lines.
Task<Result<void>> try_one_way(Loader& loader, const ResetSequence& sequence, Heard& heard, Instant deadline,
                               Duration window) {
  Clock& clock = loader.clock();
  CO_TRY(co_await loader.start_over());
  if (heard.could_reset) {
    auto lines = co_await perform(loader.port(), clock, sequence.steps);
    if (!lines && lines.error().code != Code::no_reset_lines) co_return lines;
    heard.could_reset = lines.has_value();
    ++heard.resets;
  }
  co_return co_await sync_until(loader, std::min(deadline, clock.now() + window));
}

/// Only asks: what the reset started is running by now.
Task<Result<void>> ask_after_return(Loader& loader, Instant until) {
  CO_TRY(co_await loader.start_over());
  co_return co_await sync_until(loader, until);
}

void keep(Heard& heard, const Loader& loader) {
  append(heard.bytes, loader.heard_bytes());
  if (heard.bytes.size() > kept_for_diagnosis)
    heard.bytes.erase(heard.bytes.begin(), heard.bytes.end() - kept_for_diagnosis);
}

bool is_gone(const Result<void>& end) { return !end && end.error().code == Code::port_gone; }

/// The one that worked last comes first.
std::vector<const ResetSequence*> ways_to_try(const Loader& loader, bool usb_serial_jtag) {
  std::vector<const ResetSequence*> ways;
  if (loader.way()) ways.push_back(loader.way());
  for (const ResetSequence& sequence : download_sequences(usb_serial_jtag))
    if (&sequence != loader.way() && (!loader.way() || sequence.name != loader.way()->name)) ways.push_back(&sequence);
  return ways;
}

Fault not_wired() {
  Fault fault{Code::no_reset_lines, Remedy::refuse, "DTR and RTS of this port do not reset the board"};
  fault.seen = "a stub flasher that was started before goes on answering";
  fault.advice = "Wire them to EN and IO0; or press RESET with BOOT held and use --no-reset";
  return fault;
}

}  // namespace

std::span<const ResetSequence> download_sequences(bool usb_serial_jtag) {
  if (usb_serial_jtag) return usb_first;
  return uart_first;
}

namespace {

// Between two questions: an application that runs meanwhile is not flooded, and no one presses faster.
constexpr auto button_pause = 150ms;

/// Asks without resetting until somebody has pressed the buttons. `why`: the fault when nobody does.
Task<Result<void>> wait_for_button(Loader& loader, const ConnectOptions& options, Fault why) {
  Clock& clock = loader.clock();
  if (options.ask_for_button) options.ask_for_button(why);
  const Instant until = clock.now() + options.button_patience;
  while (clock.now() < until) {
    Result<void> answer = co_await ask_after_return(loader, clock.now() + button_pause);
    if (is_gone(answer) && options.return_patience > 0ms) {
      auto back = co_await loader.port().reopen(clock.now() + options.return_patience);
      if (!back) co_return fail(std::move(back.error()));
      continue;
    }
    if (answer || is_port_fault(answer.error())) co_return answer;
    co_await clock.sleep_for(button_pause);
  }
  co_return fail(std::move(why));
}

}  // namespace

Task<Result<void>> connect(Loader& loader, ConnectOptions options) {
  Clock& clock = loader.clock();
  Port& port = loader.port();
  Instant deadline = clock.now() + options.patience;
  Heard heard{.could_reset = options.reset};
  const std::uint64_t seen_before = loader.bytes_seen();
  bool stub_survives = false;
  // Enough for any chip; who is slower (an emulator on a busy machine) gets more time once every sequence has been
  // tried.
  Duration window = 250ms;
  for (;; window = 1000ms) {
    std::vector<const ResetSequence*> ways = ways_to_try(loader, options.usb_serial_jtag);
    bool repeated = false;
    for (std::size_t next = 0; next < ways.size(); ++next) {
      const ResetSequence& sequence = *ways[next];
      Instant begun = clock.now();
      const unsigned absences = port.absences().count;
      auto answer = co_await try_one_way(loader, sequence, heard, deadline, window);
      // The reset took the port along.
      for (int times = 0; is_gone(answer) && options.return_patience > 0ms && times < most_returns; ++times) {
        CO_TRY(co_await port.reopen(clock.now() + options.return_patience));
        deadline += clock.now() - std::exchange(begun, clock.now());
        answer = co_await ask_after_return(loader, clock.now() + window);
      }
      // No stub outlives a reset: one that answers was not reset.
      stub_survives = answer && heard.could_reset && loader.speaker() == Speaker::stub;
      if (answer && !stub_survives) {
        loader.came_by(sequence);
        bool still_held = heard.could_reset && sequence.holds_boot_pin && port.absences().count == absences;
        if (still_held) CO_TRY(co_await port.set_dtr(false));
        co_return ok();
      }
      if (!answer && is_port_fault(answer.error())) co_return answer;
      keep(heard, loader);
      // A reset that would end after the deadline is left out: whoever waits is told within five seconds.
      const ResetSequence& following = *ways[(next + 1) % ways.size()];
      if (clock.now() + (heard.could_reset ? time_of(following) : Duration{}) >= deadline) {
        if (heard.could_reset) CO_TRY(co_await port.set_dtr_rts(false, false));
        if (stub_survives) co_return fail(not_wired());
        heard.count = loader.bytes_seen() - seen_before;
        Fault why = diagnose(heard);
        const bool button_may_help = !heard.could_reset || heard.count > 0 || options.button_even_if_silent;
        if (options.button_patience > 0ms && button_may_help)
          co_return co_await wait_for_button(loader, options, std::move(why));
        co_return fail(std::move(why));
      }
      // A port that goes with the chip is the chip's own, whatever its name says. Or it went before this way was at its
      // end, because the application restarted: then the same once more.
      bool went = port.absences().count != absences;
      if (went && !std::exchange(repeated, true))
        ways.insert(ways.begin() + static_cast<std::ptrdiff_t>(next) + 1,
                    loader.way() ? loader.way() : usb_first.data());
    }
  }
}

Task<Result<void>> connect_by(Loader& loader, const ResetSequence& sequence, Duration window,
                              Duration return_patience) {
  Clock& clock = loader.clock();
  Heard heard{.could_reset = true};
  const unsigned absences = loader.port().absences().count;
  auto answer = co_await try_one_way(loader, sequence, heard, Instant::max(), window);
  for (int times = 0; is_gone(answer) && return_patience > 0ms && times < most_returns; ++times) {
    CO_TRY(co_await loader.port().reopen(clock.now() + return_patience));
    answer = co_await ask_after_return(loader, clock.now() + window);
  }
  if (!heard.could_reset)
    co_return fail(
        {Code::no_reset_lines, Remedy::refuse, fmt::format("{} has no DTR and RTS", loader.port().name()), {}, {}, {}});
  if (answer) loader.came_by(sequence);
  const bool still_held = sequence.holds_boot_pin && loader.port().absences().count == absences;
  if (still_held && (answer || !is_port_fault(answer.error()))) CO_TRY(co_await loader.port().set_dtr(false));
  co_return answer;
}

bool banner_heard(const Loader& loader) { return loader.heard().find("boot:0x") != std::string::npos; }

Task<Result<void>> reset_into_application(Port& port, Clock& clock) {
  static constexpr std::array steps{
      LineStep{What::dtr, false, false, 0ms},
      LineStep{What::rts, false, true, reset_pulse},
      LineStep{What::rts, false, false, 0ms},
  };
  co_return co_await perform(port, clock, steps);
}

}  // namespace espmint
