// app/desk.hpp: how a command gets a board on its desk: which port, into download mode, who it is, the stub, full
// speed; and back to its application afterwards.
//   return with_desk(options, true, [&](Desk& desk) { return read_range(desk, …); });
#pragma once

#include <functional>
#include <memory>

#include "app/desk_commands.hpp"
#include "io/loop.hpp"
#include "io/port.hpp"
#include "rom/connect.hpp"
#include "rom/identify.hpp"
#include "rom/stub.hpp"

namespace espmint::app {

/// A board that is connected, identified and, where allowed, runs the stub at full speed.
struct Desk {
  std::unique_ptr<Port> port;
  std::unique_ptr<Loader> loader;
  BoardInfo board;
  PortInfo info;
  Loop* loop = nullptr;
};

/// The one that was named, else the only adapter that boards use. Fault port_missing lists them.
Result<PortInfo> choose_port(const Settings&);
/// The chips' own USB Serial/JTAG.
bool is_usb_serial_jtag(const PortInfo&);

/// How commands of the desk connect: resets or not, with a port that vanishes, with a hand at the buttons.
ConnectOptions desk_connect_options(const DeskOptions&, const PortInfo&);

/// Opens the port and gets the board to listen, slower where it must; where the chip's own USB hangs, its hub switches
/// it off and on once. `stubs`: null where the flash is not wanted. Fault usb_hangs (REPLUG) besides those of
/// connecting.
Task<Result<void>> sit_down(Desk&, Loop&, PortOpener&, const PortInfo&, const DeskOptions&, const StubLibrary* stubs);
/// Starts the application, unless it is to stay.
Task<Result<void>> stand_up(Desk&, Loop&, const DeskOptions&);

using DeskWork = std::function<Task<Result<void>>(Desk&)>;
/// Sits down, works, stands up; reports what failed. `with_flash`: the stub and the speed are wanted.
Exit with_desk(const DeskOptions& options, bool with_flash, DeskWork work);

/// "4096", "0x1000", "64K", "4MB". Fault usage.
Result<std::uint32_t> parse_u32(const std::string& text, std::string_view what);

/// A sentence beside the data: on stderr, unless nobody wants it.
void say_aside(const Voice&, std::string_view sentence);

}  // namespace espmint::app
