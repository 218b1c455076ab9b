// app/demo.cpp: the whole product on virtual boards: nothing to configure, nothing left out, and proof at the end.
#include <fmt/format.h>
#include <stdlib.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <thread>

#include "app/desk_commands.hpp"
#include "app/json.hpp"
#include "app/line_commands.hpp"
#include "app/record_commands.hpp"
#include "app/workspace.hpp"
#include "io/file.hpp"
#include "io/loop.hpp"
#include "sim/make_firmware.hpp"
#include "sim/server.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

/// Virtual boards on a thread of their own, as real ones would be on wires of their own.
class BoardsBeside {
 public:
  static Result<std::unique_ptr<BoardsBeside>> start(const sim::ServerOptions& options) {
    auto beside = std::make_unique<BoardsBeside>();
    TRY(beside->server_, sim::BoardServer::start(beside->context_, options));
    beside->thread_ = std::thread{[context = &beside->context_] { context->run(); }};
    return beside;
  }
  ~BoardsBeside() {
    context_.stop();
    if (thread_.joinable()) thread_.join();
    server_.reset();
  }
  [[nodiscard]] const std::vector<sim::BoardAddress>& boards() const { return server_->boards(); }

 private:
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{context_.get_executor()};
  std::unique_ptr<sim::BoardServer> server_;
  std::thread thread_;
};

struct Proof {
  std::size_t verified = 0, chained = 0;
};

/// What the ledger holds, checked against the CA as a stranger would check it.
Result<Proof> prove(const Settings& settings, const std::string& product) {
  RealLoop clock;
  TRY(LocalCa ca, LocalCa::open(ca_folder(settings), clock.wall()));
  TRY(auto ledger, open_ledger_to_read(settings, product, clock));
  TRY(auto devices, ledger->devices());
  Proof proof;
  for (const DeviceRecord& device : devices) {
    proof.verified += device.state == KeyState::verified;
    if (!device.certificate) continue;
    TRY(Certificate certificate, parse_certificate(device.certificate->der));
    proof.chained += is_issued_by(certificate, ca.root()) && certificate.common_name == device.id;
  }
  return proof;
}

constexpr std::string_view recipe = R"([product]
name = "espmint-demo"

[firmware]
path = "build"

[identity]
challenge = "required"   # the virtual firmware proves the key in its own flash
)";

Result<Exit> work(const DemoCommand& command) {
  std::string name = fs::temp_directory_path() / "espmint-demo-XXXXXX";
  if (!mkdtemp(name.data()))
    return fail({Code::output_unwritable, Remedy::refuse, "no temporary folder could be made", {.input = name}, {}, "Set TMPDIR to a folder that is writable"});
  fs::path folder{name};
  auto say = [&command](const std::string& text) {
    if (!command.voice.quiet && !command.voice.json) std::fputs((text + "\n").c_str(), stdout), std::fflush(stdout);
  };
  sim::FirmwareOptions firmware;
  firmware.folder = (folder / "build").string();
  firmware.seed = command.seed;
  TRY(sim::write_firmware(firmware));
  TRY(write_file(folder / "recipe.toml", as_bytes(recipe)));

  sim::ServerOptions options;
  options.count = static_cast<unsigned>(command.boards);
  options.preset = command.preset;
  options.seed = command.seed;
  TRY(auto boards, BoardsBeside::start(options));
  say(fmt::format("{} virtual ESP32 boards are plugged in; everything of this demo lies in {}", command.boards, folder.string()));

  LineCommand line;
  line.settings = command.settings;
  line.settings.state = folder / "state";
  line.settings.ports.clear();
  for (const auto& board : boards->boards()) line.settings.ports.push_back(board.rfc2217);
  line.voice = command.voice;
  line.recipe = folder.string();
  line.count = command.boards;
  Exit exit = run_line(line);
  if (exit != Exit::good) return exit;

  TRY(Proof proof, prove(line.settings, "espmint-demo"));
  RecordOptions record{line.settings, command.voice, "espmint-demo"};
  exit = audit_verify(record);
  bool all = proof.verified == command.boards && proof.chained == command.boards && exit == Exit::good;
  if (command.voice.json) {
    print_json({{"v", 1}, {"event", "demo"}, {"folder", folder.string()}, {"state", line.settings.state.string()}, {"boards", command.boards},
                {"verified", proof.verified}, {"chain_to_ca", proof.chained}, {"audit", exit == Exit::good}});
    return all ? Exit::good : Exit::board_failed;
  }
  say(fmt::format("{} boards VERIFIED, {} certificates chain to the CA, each board signed a challenge with the key in its own flash", proof.verified, proof.chained));
  if (!all) return Exit::board_failed;
  say(fmt::format("\nLook around:   espmint --state {} device list", line.settings.state.string()));
  say("A real board:  espmint run --firmware YOUR_BUILD_FOLDER      (then plug it in)");
  return Exit::good;
}

}  // namespace

Exit run_demo(const DemoCommand& command) {
  auto end = work(command);
  return end ? *end : report(end.error(), command.voice);
}

}  // namespace espmint::app
