// board selftest: the checks as a table, as JSON and as a file to send.
#include <fmt/format.h>
#include <signal.h>
#include <sys/utsname.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <cstdlib>

#include "app/desk.hpp"
#include "app/json.hpp"
#include "app/selftest.hpp"
#include "app/workspace.hpp"
#include "base/text.hpp"
#include "io/file.hpp"
#include "io/returning_port.hpp"
#include "io/system_ports.hpp"

namespace espmint::app {
namespace {

using State = SelftestCheck::State;

std::string_view word_for(State state) { return state == State::good ? "ok" : state == State::bad ? "no" : "skipped"; }

/// Signs where the terminal surely has them, else words.
bool speaks_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (const char* value = std::getenv(name); value && *value) {
      std::string locale = lower(value);
      return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
    }
  return false;
}

std::string table_row(const SelftestCheck& row, bool signs, bool colour) {
  std::string mark{word_for(row.state)};
  if (signs) mark = row.state == State::good ? "✓" : row.state == State::bad ? "✗" : "–";
  const Colour paint = row.state == State::good  ? Colour::green
                       : row.state == State::bad ? (row.required ? Colour::red : Colour::yellow)
                                                 : Colour::dim;
  return fmt::format("{} {:<28} {}\n", painted(paint, fmt::format("{:<{}}", mark, signs ? 1 : 7), colour), row.name,
                     escape_controls(row.seen));
}

Json check_json(const SelftestCheck& row) {
  return Json{{"name", row.name},
              {"state", word_for(row.state)},
              {"required", row.required},
              {"seconds", std::round(row.seconds * 1000) / 1000},
              {"seen", row.seen}};
}

struct Surroundings {
  PortInfo port;
  std::string started, stubs;
};

std::string heard_text(const std::string& text) {
  std::string out;
  for (std::string_view line : split(text, '\n')) out += fmt::format("  | {}\n", escape_controls(line));
  return out;
}

/// Everything that helps somebody who is not there; no key, and nothing of the flash's content.
std::string report_text(const SelftestReport& report, const Surroundings& around, const Result<void>& end) {
  utsname system{};
  uname(&system);
  std::string out = fmt::format("espmint {} board selftest, {}\n", ESPMINT_VERSION, around.started);
  out +=
      "This file has the board's MAC and what it printed when it started; it has no keys and nothing else of its "
      "flash.\n\n";
  out += fmt::format("system    {} {} {}\n", system.sysname, system.release, system.machine);
  out +=
      fmt::format("port      {} at {}\n", around.port.name, around.port.location.empty() ? "?" : around.port.location);
  if (around.port.is_usb())
    out +=
        fmt::format("adapter   {:04x}:{:04x} {}\n", around.port.vendor_id, around.port.product_id, around.port.product);
  out += fmt::format("stubs     {}\n", around.stubs.empty() ? "none" : around.stubs);
  if (report.board) {
    const BoardInfo& board = *report.board;
    out += fmt::format("chip      {} revision {}\nMAC       {}\nflash     {} (JEDEC id {:06x})\n", board.chip->title,
                       to_string(board.revision), to_string_with_colons(board.mac), show_bytes(board.flash_size),
                       board.flash_id);
  }
  if (report.scratch)
    out += fmt::format("scratch   {:#x}, {:#x} bytes\n", report.scratch->at.bytes, report.scratch->size);
  out += fmt::format("result    {}\n",
                     end && report.good() ? "all that is required works" : "something that is required does not work");
  if (!end) out += fmt::format("ended by  {} [{}]\n", describe(end.error()), name_of(end.error().code));
  out += "\nstate    required  seconds  check\n";
  for (const SelftestCheck& row : report.checks)
    out += fmt::format("{:<8} {:<9} {:7.3f}  {:<28} {}\n", word_for(row.state), row.required ? "yes" : "no",
                       row.seconds, row.name, escape_controls(row.seen));
  for (const auto& heard : report.heard)
    out += fmt::format("\nheard after {}:\n{}", heard.after, heard_text(heard.text));
  return out;
}

Result<std::optional<FlashRange>> parse_region(const std::string& text) {
  if (text.empty()) return std::nullopt;
  auto fields = split(text, ',');
  if (fields.size() != 2)
    return fail({Code::usage,
                 Remedy::refuse,
                 fmt::format("\"{}\" is no region", text),
                 {},
                 {},
                 "Write OFFSET,SIZE: --region 0x3f0000,64K"});
  FlashRange range;
  TRY(range.at.bytes, parse_u32(std::string{fields[0]}, "flash offset"));
  TRY(range.size, parse_u32(std::string{fields[1]}, "size"));
  return range;
}

struct SelftestRun {
  const DeskOptions& desk;
  SelftestPlan plan;
  SelftestReport report{};
  Surroundings around{};
  bool stop = false;
  int signals = 0;
  std::unique_ptr<ReturningPort> port{};
  Result<void> end{};
};

/// The first: after the check under way the old content is put back. The second: at once.
Task<> count_signals(boost::asio::signal_set& signals, SelftestRun& run) {
  for (;;) {
    auto [error, number] = co_await signals.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    if (error) co_return;
    run.stop = true;
    if (++run.signals > 1 && run.port) run.port->close();
    std::fputs(run.signals > 1 ? "stopping\n" : "putting the scratch region back; once more to stop at once\n", stderr);
  }
}

Task<> test_at_port(RealLoop& loop, PortOpener& opener, SelftestRun& run) {
  auto info = choose_port(run.desk.settings);
  if (!info) {
    run.end = fail(info.error());
    co_return;
  }
  run.around.port = *info;
  run.around.started = to_string(loop.wall());
  auto opened = co_await opener.open(info->name);
  if (!opened) {
    run.end = fail(opened.error());
    co_return;
  }
  run.port = std::make_unique<ReturningPort>(opener, loop, *info, std::move(*opened));
  StubLibrary stubs = run.desk.no_stub ? StubLibrary{} : load_stubs(run.desk.settings);
  if (!stubs.empty()) run.around.stubs = stub_folder(run.desk.settings).string();
  run.plan.connect = desk_connect_options(run.desk, *info);
  Loader loader{*run.port, loop};
  run.end = co_await selftest(loader, stubs, run.plan, run.report, run.stop);
  if (run.port->absences().for_good) co_return;
  auto away = co_await reset_into_application(*run.port, loop);
  // Where it cannot be reset it stays as it is: nothing more was asked for.
  if (!away && run.end && away.error().code != Code::no_reset_lines && away.error().code != Code::port_gone)
    run.end = std::move(away);
}

/// Where the region could not be put back, its content is not to be lost.
Exit save_what_was_there(const SelftestRun& run) {
  const std::string file =
      fmt::format("espmint-scratch-{}-{:x}.bin", to_string(run.report.board->mac), run.report.scratch->at.bytes);
  auto saved = create_file(file, run.report.not_put_back, FileMode::owner_only);
  std::fputs(saved ? fmt::format("espmint: what the scratch region held could not be put back; it is in {}: `espmint "
                                 "flash write {:#x} {}`\n",
                                 file, run.report.scratch->at.bytes, file)
                         .c_str()
                   : fmt::format("espmint: what the scratch region held could neither be put back nor saved: {}\n",
                                 describe(saved.error()))
                         .c_str(),
             stderr);
  return Exit::board_failed;
}

}  // namespace

Exit board_selftest(const DeskOptions& desk, const SelftestWords& words) {
  auto region = parse_region(words.region);
  if (!region) return report(region.error(), desk.voice);
  const bool signs = speaks_utf8() && wants_colour(stdout_is_terminal()), colour = wants_colour(stdout_is_terminal());
  SelftestRun run{.desk = desk, .plan = {.region = *region, .force = words.force}};
  run.plan.on_check = [&desk, signs, colour](const SelftestCheck& row) {
    if (desk.voice.json) {
      Json json{{"v", 1}, {"event", "check"}};
      json.update(check_json(row));
      print_json(json);
    } else if (!desk.voice.quiet) {
      std::fputs(table_row(row, signs, colour).c_str(), stdout);
      std::fflush(stdout);
    }
  };
  {
    RealLoop loop;
    auto opener = make_system_port_opener(loop);
    boost::asio::signal_set signals{loop.context(), SIGINT, SIGTERM, SIGHUP};
    loop.spawn(count_signals(signals, run));
    loop.run(test_at_port(loop, *opener, run));
    run.port.reset();
  }
  const bool good = run.end && run.report.good();
  Exit exit = good ? Exit::good : Exit::board_failed;
  if (!run.report.not_put_back.empty()) exit = save_what_was_there(run);
  if (!words.report.empty()) {
    auto written = write_file(words.report, as_bytes(report_text(run.report, run.around, run.end)));
    if (!written) return report(written.error(), desk.voice);
    say_aside(desk.voice, fmt::format("the report is in {}; it has the board's MAC and no keys", words.report));
  }
  if (desk.voice.json) {
    Json json{{"v", 1}, {"event", "selftest"}, {"good", good}, {"port", run.around.port.name}};
    if (run.report.board) json.update(board_json(*run.report.board));
    json["scratch"] = run.report.scratch
                          ? Json{{"offset", run.report.scratch->at.bytes}, {"size", run.report.scratch->size}}
                          : Json{};
    json["put_back"] = run.report.not_put_back.empty();
    json["report"] = words.report.empty() ? Json{} : Json(words.report);
    print_json(json);
  }
  if (!run.end) return report(run.end.error(), desk.voice);
  if (!good)
    std::fputs("espmint: something that is required does not work; --report FILE writes all of it down\n", stderr);
  return exit;
}

}  // namespace espmint::app
