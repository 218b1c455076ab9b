#include <fmt/format.h>

#include "io/carriers.hpp"
#include "io/hub_power.hpp"
#include "io/system_ports.hpp"

namespace espmint {
namespace {

class SystemPortOpener final : public PortOpener {
 public:
  explicit SystemPortOpener(Loop& loop) : context_(loop.context()) {}

  Task<Result<std::unique_ptr<Port>>> open(const std::string& name) override { return open_in(context_, name); }

  Result<PortInfo> look_again(const PortInfo& before) override {
    if (!before.is_usb()) return before;
    for (PortInfo& port : list_ports())
      if (port.location == before.location) return std::move(port);
    return fail({Code::port_missing,
                 Remedy::retry,
                 fmt::format("there is no port at {}", before.location),
                 {},
                 {},
                 "plug the board in"});
  }

  Result<std::unique_ptr<PowerSwitch>> power_of(const PortInfo& port) override { return power_switch_of(port.name); }

 private:
  static Task<Result<std::unique_ptr<Port>>> open_in(boost::asio::io_context& context, std::string name) {
    if (name.find("://") == std::string::npos) co_return open_tty(context, name);
    CO_TRY(NetworkName place, parse_network_name(name));
    if (place.scheme == "rfc2217") co_return co_await open_rfc2217(context, std::move(place));
    if (place.scheme == "socket") co_return co_await open_socket(context, std::move(place));
    co_return fail({Code::port_missing,
                    Remedy::refuse,
                    fmt::format("{} names no port", name),
                    {},
                    fmt::format("unknown scheme {}://", place.scheme),
                    "write rfc2217://HOST:PORT or socket://HOST:PORT"});
  }

  boost::asio::io_context& context_;
};

}  // namespace

std::unique_ptr<PortOpener> make_system_port_opener(Loop& loop) { return std::make_unique<SystemPortOpener>(loop); }

}  // namespace espmint
