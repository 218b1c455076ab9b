#include "app/desk_commands.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "app/board_report.hpp"
#include "app/desk.hpp"
#include "app/json.hpp"
#include "base/text.hpp"
#include "io/loop.hpp"
#include "io/returning_port.hpp"
#include "io/system_ports.hpp"
#include "rom/connect.hpp"
#include "rom/identify.hpp"

namespace espmint::app {

Exit report(const Fault& fault, const Voice& voice) {
  if (voice.json) print_json(fault_json(fault));
  std::fputs(fmt::format("espmint: {} [{}]\n", describe(fault), name_of(fault.code)).c_str(), stderr);
  return exit_of(fault.code);
}

Exit board_list(const DeskOptions& options) {
  for (const PortInfo& port : list_ports()) {
    bool used = is_known_adapter(port);
    if (options.voice.json) {
      print_json(
          {{"v", 1},
           {"port", port.name},
           {"location", port.location},
           {"product", port.product},
           {"serial", port.serial},
           {"usb_id", port.is_usb() ? Json(fmt::format("{:04x}:{:04x}", port.vendor_id, port.product_id)) : Json{}},
           {"used", used}});
    } else {
      std::fputs(escape_controls(fmt::format("{:<16} {:<24} {} {}", port.name, port.location,
                                             port.is_usb() ? fmt::format("{:04x}:{:04x} {}", port.vendor_id,
                                                                         port.product_id, port.product)
                                                           : "not USB",
                                             used ? "" : "(ignored unless named with --port)"))
                     .append("\n")
                     .c_str(),
                 stdout);
    }
  }
  return Exit::good;
}

Exit board_info(const DeskOptions& options) {
  return with_desk(options, false, [&options](Desk& desk) {
    return show_board(*desk.loader, desk.board, desk.port->name(), options.voice);
  });
}

namespace {

Task<> reset_only(RealLoop& loop, PortOpener& opener, const DeskOptions& options, bool into_download,
                  Result<void>& end) {
  auto info = choose_port(options.settings);
  if (!info) {
    end = fail(info.error());
    co_return;
  }
  auto opened = co_await opener.open(info->name);
  if (!opened) {
    end = fail(opened.error());
    co_return;
  }
  ReturningPort port{opener, loop, *info, std::move(*opened)};
  if (into_download) {
    Loader loader{port, loop};
    ConnectOptions how{.usb_serial_jtag = is_usb_serial_jtag(*info), .return_patience = return_patience};
    end = co_await connect(loader, how);
    co_return;
  }
  end = co_await reset_into_application(port, loop);
  if (end || end.error().code != Code::port_gone) co_return;
  auto back = co_await port.reopen(loop.now() + return_patience);  // the chip's own USB went with it
  end = back ? Result<void>{} : Result<void>{fail(back.error())};
}

}  // namespace

Exit board_reset(const DeskOptions& options, bool into_download) {
  RealLoop loop;
  auto opener = make_system_port_opener(loop);
  Result<void> end;
  loop.run(reset_only(loop, *opener, options, into_download, end));
  if (!end) return report(end.error(), options.voice);
  if (options.voice.json) {
    print_json({{"v", 1}, {"event", "reset"}, {"into", into_download ? "download" : "application"}});
  } else if (!options.voice.quiet) {
    std::fputs(into_download ? "in download mode\n" : "the application was started\n", stdout);
  }
  return Exit::good;
}

}  // namespace espmint::app
