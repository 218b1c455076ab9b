// sim/virtual_port.hpp: virtual boards behind the line's own port interface, in the time of any Clock: a whole shift of
// boards in a test, at once.
//   VirtualPorts ports{loop};
//   Board& board = ports.add("board0", {.mac = mac}, 4_MiB);
//   auto port = co_await ports.open("board0");
#pragma once

#include <map>

#include "io/port.hpp"
#include "sim/board.hpp"

namespace espmint::sim {

class VirtualPorts final : public PortOpener, public PortWatcher {
 public:
  explicit VirtualPorts(Clock&);
  ~VirtualPorts() override;
  VirtualPorts(const VirtualPorts&) = delete;
  VirtualPorts& operator=(const VirtualPorts&) = delete;

  /// A board in a socket of this name, plugged in now; its flash is blank unless `dirty`.
  Board& add(const std::string& name, BoardOptions, ByteCount flash_bytes, bool dirty = false);
  /// The same with a flash chip that outlives the ports, as it is.
  Board& add(const std::string& name, BoardOptions, ByteSpan flash);
  Board& board(const std::string& name);
  ByteSpan flash(const std::string& name);

  /// These three wake whoever waits on the port and tell the watcher.
  void unplug(const std::string& name);
  void plug(const std::string& name);
  void swap(const std::string& name, const Mac&, bool keep_flash = false);
  /// In a fixture, whose adapter stays: the board's supply; another board while it is off.
  void power(const std::string& name, bool on);
  void replace(const std::string& name, const Mac&, bool keep_flash = false);

  Task<Result<std::unique_ptr<Port>>> open(const std::string& name) override;
  Task<PortEvent> next() override;
  Result<PortInfo> look_again(const PortInfo& before) override;

  /// Boards with USB of their own name their MAC as its serial number, as the chips' USB Serial/JTAG does. Where the
  /// host sees no USB (a network, a pty), nothing does.
  bool tells_serial = false;

 private:
  struct Socket;
  struct Bell;
  class VirtualPort;
  Socket& socket(const std::string& name);
  void notice(Socket&);
  void tell(Socket&, PortEvent::Kind);
  [[nodiscard]] PortInfo info_of(const Socket&) const;
  Clock& clock_;
  std::map<std::string, std::unique_ptr<Socket>> sockets_;
  std::deque<PortEvent> events_;
  std::unique_ptr<Bell> event_bell_;
};

}  // namespace espmint::sim
