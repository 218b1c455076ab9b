// io/carriers.hpp: inside this room: how each kind of port name is opened.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "io/fd_stream.hpp"
#include "io/port.hpp"

namespace espmint {

/// "rfc2217://host:4000?ign_set_control": what stands in a network port's name.
struct NetworkName {
  std::string name;     // as given, for people
  std::string scheme;   // "rfc2217", "socket"
  std::string host;     // without the brackets of an IPv6 address
  std::string port;     // digits
  std::string options;  // what follows "?"
};
Result<NetworkName> parse_network_name(const std::string& name);

/// `tty_class`: where the kernel shows an adapter's latency timer.
Result<std::unique_ptr<Port>> open_tty(boost::asio::io_context&, const std::string& path,
                                       const std::filesystem::path& tty_class = "/sys/class/tty");
Task<Result<std::unique_ptr<Port>>> open_socket(boost::asio::io_context&, NetworkName);
Task<Result<std::unique_ptr<Port>>> open_rfc2217(boost::asio::io_context&, NetworkName);

/// A connected stream that notices a lost host, and how long connecting took. Fault port_missing names the host.
struct Connection {
  std::shared_ptr<FdStream> stream;
  Duration took;
};
Task<Result<Connection>> connect_tcp(boost::asio::io_context&, NetworkName);

/// Why open() refused a tty: port_missing, port_denied, port_busy, port_failed, each with its mend.
Fault tty_open_fault(const std::string& path, int error);

}  // namespace espmint
