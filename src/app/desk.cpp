#include "app/desk.hpp"

#include <fmt/format.h>

#include "app/workspace.hpp"
#include "base/text.hpp"
#include "io/system_ports.hpp"
#include "io/usb_bus.hpp"

namespace espmint::app {
namespace {

/// A port that is not there: the bus may say why.
Fault reason_for_no_port(Fault fault, const std::string& name) {
  if (fault.code != Code::port_missing || !name.starts_with("/dev/tty")) return fault;
  std::vector<Fault> faults = usb_faults();
  return faults.empty() ? fault : std::move(faults.front());
}

Task<Result<void>> sit_down_at_port(Desk& desk, RealLoop& loop, PortOpener& opener, const DeskOptions& options,
                                    bool with_flash) {
  CO_TRY(PortInfo info, choose_port(options.settings));
  StubLibrary stubs = with_flash && !options.no_stub ? load_stubs(options.settings) : StubLibrary{};
  auto end = co_await sit_down(desk, loop, opener, info, options, with_flash ? &stubs : nullptr);
  if (!end && !desk.port) co_return fail(reason_for_no_port(std::move(end.error()), info.name));
  co_return end;
}

// Parameters by value: the coroutine outlives nobody's stack but its own.
Task<> at_the_desk(RealLoop& loop, PortOpener& opener, const DeskOptions& options, bool with_flash, DeskWork work,
                   Result<void>& end) {
  Desk desk;
  end = co_await sit_down_at_port(desk, loop, opener, options, with_flash);
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

}  // namespace espmint::app
