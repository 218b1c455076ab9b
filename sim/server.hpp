// sim/server.hpp: virtual boards that other programs can plug into: each with an RFC 2217 port, a pty, a control socket
// and a flash file. In one's own process:
//   TRY(auto boards, BoardServer::start(loop.context(), {.count = 4}));
//   boards->boards()[0].rfc2217            // "rfc2217://127.0.0.1:40123"
#pragma once

#include <filesystem>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mac.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "sim/chips.hpp"
#include "sim/native_usb.hpp"
#include "sim/wire.hpp"

namespace boost::asio {
class io_context;
}

namespace espmint::sim {

struct ServerOptions {
  unsigned count = 1;
  std::string chip = "esp32";
  ByteCount flash_size = 4 * 1024 * 1024;
  std::string preset = "fast";
  std::uint64_t seed = 1;
  bool dirty = false;
  /// Where sockets and flash files lie; they stay, and a flash file that is there already is used on. Empty: a
  /// temporary folder, removed at the end.
  std::filesystem::path folder{};
  Faults faults{};
  /// RTC oscillators differ from board to board, up to this many parts per thousand.
  unsigned rtc_spread_per_mille = 40;
  NativeUsbOptions native_usb{};
  /// Of the chips, as BoardOptions has them.
  std::optional<unsigned> revision{};
  std::uint32_t crystal_mhz = 0;
  Security security{};
  Bytes hmac_key{};
  std::string symptom{};  // a name of sim/symptoms.hpp; empty: healthy boards
};

struct BoardAddress {
  Mac mac;
  std::string chip, rfc2217, pty, control, flash_file;
};
/// {"v":1,"mac":…,"chip":…,"rfc2217":…,"pty":…,"control":…,"flash_file":…}
std::string to_json_line(const BoardAddress&);

/// The MAC of board `index`: an Espressif prefix, the rest from the seed.
Mac mac_of(std::uint64_t seed, unsigned index);

class BoardHost;

class BoardServer {
 public:
  /// Faults: usage (chip, preset, size), output_unwritable, port_failed.
  static Result<std::unique_ptr<BoardServer>> start(boost::asio::io_context&, ServerOptions);
  ~BoardServer();
  BoardServer(const BoardServer&) = delete;
  BoardServer& operator=(const BoardServer&) = delete;
  [[nodiscard]] const std::vector<BoardAddress>& boards() const { return addresses_; }
  /// A line of the control socket, from within: "unplug", "swap 24d7eb123456"; returns "ok" or "error TEXT".
  std::string control(std::size_t board, std::string_view line);
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  BoardServer() = default;
  std::vector<std::shared_ptr<BoardHost>> hosts_;
  std::vector<BoardAddress> addresses_;
  std::filesystem::path folder_;
  bool remove_folder_ = false;
};

/// `espmint sim board`: prints a JSON line for each board, runs until SIGINT or SIGTERM.
Result<void> run_boards(const ServerOptions&, std::ostream& out);

}  // namespace espmint::sim
