// board monitor: what the board says, on the screen, as JSON and into a file.
#include <fmt/format.h>
#include <signal.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "app/desk.hpp"
#include "app/json.hpp"
#include "app/monitor.hpp"
#include "base/text.hpp"
#include "io/returning_port.hpp"
#include "io/system_ports.hpp"

namespace espmint::app {
namespace {

double seconds_of(Duration duration) { return std::chrono::duration<double>(duration).count(); }

/// What is heard, for the eyes, for programs and for a file.
class MonitorScreen final : public MonitorEar {
 public:
  MonitorScreen(const DeskOptions& desk, const MonitorOptions& options, std::ofstream& log, bool& stop)
      : voice_(desk.voice),
        timestamps_(options.timestamps),
        colour_(stdout_is_terminal() && wants_colour(true)),
        log_(log),
        stop_(stop) {}

  void on_bytes(ByteView bytes) override {
    if (!log_.is_open()) return;
    log_.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    log_.flush();
    if (!log_) stop_ = true;
  }
  void on_line(const HeardLine& line, Duration since) override {
    if (voice_.json) {
      print_json({{"v", 1},
                  {"event", "line"},
                  {"seconds", round_ms(since)},
                  {"text", without_colours(line.text)},
                  {"whole", line.whole}});
    } else {
      std::string text = timestamps_ ? fmt::format("[{:9.3f}] ", seconds_of(since)) : std::string{};
      text += show_heard(line.text, colour_) + "\n";
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
    }
    if (std::ferror(stdout) != 0) stop_ = true;  // nobody reads any more
  }
  void on_gone(const Fault& why) override {
    if (voice_.json) {
      print_json({{"v", 1}, {"event", "port-gone"}, {"fault", describe(why)}});
    } else {
      say_aside(voice_, "--- the port is gone; waiting for it (Ctrl-C ends)");
    }
  }
  void on_back(const PortReturn& back, const std::string& name) override {
    const bool other = back.who == PortReturn::Who::other;
    if (voice_.json) {
      print_json({{"v", 1},
                  {"event", "port-back"},
                  {"port", name},
                  {"seconds_away", round_ms(back.away)},
                  {"other_board", other}});
    } else {
      say_aside(voice_, fmt::format("--- back as {} after {:.1f} s{}", name, seconds_of(back.away),
                                    other ? ": another board" : ""));
    }
  }

 private:
  static double round_ms(Duration duration) {
    return static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()) / 1000;
  }
  const Voice& voice_;
  bool timestamps_, colour_;
  std::ofstream& log_;
  bool& stop_;
};

struct MonitorRun {
  const DeskOptions& desk;
  MonitorPlan plan;
  MonitorScreen& screen;
  bool& stop;
  std::unique_ptr<ReturningPort> port{};
  Result<MonitorEnd> end = MonitorEnd{};
};

Task<> stop_at_signal(boost::asio::signal_set& signals, MonitorRun& run) {
  auto [error, number] = co_await signals.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  if (error) co_return;
  run.stop = true;
  if (run.port) run.port->close();
}

Task<> listen_at_port(RealLoop& loop, PortOpener& opener, MonitorRun& run) {
  auto info = choose_port(run.desk.settings);
  if (!info) {
    run.end = fail(info.error());
    co_return;
  }
  auto opened = co_await opener.open(info->name);
  if (!opened) {
    run.end = fail(opened.error());
    co_return;
  }
  run.port = std::make_unique<ReturningPort>(opener, loop, *info, std::move(*opened));
  run.end = co_await monitor(*run.port, loop, run.plan, run.screen, run.stop);
  if (!run.end && run.end.error().where.slot.empty()) run.end.error().where.slot = run.port->name();
  run.port->close();
}

Result<MonitorPlan> plan_of(const MonitorOptions& options) {
  MonitorPlan plan;
  plan.baud = Baud{options.baud};
  plan.reset = options.reset;
  TRY(plan.only, Patterns::parse(options.filter));
  TRY(plan.without, Patterns::parse(options.exclude));
  TRY(plan.until, Patterns::parse(options.until));
  if (options.seconds)
    plan.limit = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(*options.seconds));
  return plan;
}

std::string_view word_for(MonitorEnd::Why why) {
  switch (why) {
    case MonitorEnd::Why::matched:
      return "until";
    case MonitorEnd::Why::time_over:
      return "time";
    case MonitorEnd::Why::stopped:
      break;
  }
  return "stopped";
}

}  // namespace

Exit board_monitor(const DeskOptions& desk, const MonitorOptions& options) {
  auto plan = plan_of(options);
  if (!plan) return report(plan.error(), desk.voice);
  std::ofstream log;
  if (!options.log.empty()) {
    log.open(options.log, std::ios::binary | std::ios::app);
    if (!log)
      return report({Code::output_unwritable,
                     Remedy::refuse,
                     fmt::format("{} cannot be written", options.log),
                     {},
                     std::strerror(errno),
                     "Name another file"},
                    desk.voice);
  }
  bool stop = false;
  MonitorScreen screen{desk, options, log, stop};
  MonitorRun run{desk, std::move(*plan), screen, stop};
  {
    RealLoop loop;
    auto opener = make_system_port_opener(loop);
    boost::asio::signal_set signals{loop.context(), SIGINT, SIGTERM, SIGHUP};
    loop.spawn(stop_at_signal(signals, run));
    loop.run(listen_at_port(loop, *opener, run));
    run.port.reset();
  }
  if (log.is_open() && !log)
    return report({Code::output_unwritable,
                   Remedy::refuse,
                   fmt::format("{} could not be written to its end", options.log),
                   {},
                   {},
                   "Is the disk full?"},
                  desk.voice);
  if (!run.end) return report(run.end.error(), desk.voice);
  if (desk.voice.json) {
    print_json({{"v", 1},
                {"event", "end"},
                {"why", word_for(run.end->why)},
                {"line", run.end->line.empty() ? Json{} : Json(run.end->line)}});
  }
  const bool missed = run.end->why == MonitorEnd::Why::time_over && !options.until.empty();
  if (missed)
    say_aside(desk.voice, fmt::format("--- nothing that was looked for within {:g} s", options.seconds.value_or(0)));
  return missed ? Exit::board_failed : Exit::good;
}

}  // namespace espmint::app
