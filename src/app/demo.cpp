// app/demo.cpp: the whole product on virtual boards: nothing to configure, nothing left out, and proof at the end.
#include <fmt/format.h>
#include <stdlib.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <functional>
#include <set>
#include <thread>

#include "app/cloud_commands.hpp"
#include "app/desk_commands.hpp"
#include "app/json.hpp"
#include "app/line_commands.hpp"
#include "app/record_commands.hpp"
#include "app/workspace.hpp"
#include "io/file.hpp"
#include "io/loop.hpp"
#include "sim/cloud/link.hpp"
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

/// Where somebody wants the demo's boards to be registered; empty: nowhere.
std::string named_endpoint(const CloudFlags& flags) {
  if (!flags.endpoint_url.empty()) return flags.endpoint_url;
  for (const char* variable : {"AWS_ENDPOINT_URL_IOT", "AWS_ENDPOINT_URL"})
    if (const char* value = std::getenv(variable); value != nullptr && *value != '\0') return value;
  return {};
}

/// An account that ends with the demo, for whoever has none: it checks signatures, names and permissions as AWS does.
class CloudBeside {
 public:
  /// What a command must be told to reach it.
  CloudFlags flags(CloudFlags flags) {
    flags.region = cloud_.region();
    flags.endpoint_url = cloud_.url();
    flags.environment["AWS_ACCESS_KEY_ID"] = cloud_.admin().key.id;
    flags.environment["AWS_SECRET_ACCESS_KEY"] = cloud_.admin().key.secret;
    flags.environment["AWS_SESSION_TOKEN"] = flags.environment["AWS_PROFILE"] = {};
    flags.connect = [this](Clock& clock) { return sim::connect_to(cloud_, clock); };
    return flags;
  }

 private:
  RealLoop clock_;
  sim::Iot cloud_{clock_, {}};
};

struct Proof {
  std::size_t verified = 0;
  std::size_t known = 0;  // chain to the local CA, or are as they should be at AWS
};

/// What the ledger holds, checked against the CA as a stranger would check it.
Result<Proof> prove(const Settings& settings, const std::string& product, bool by_ca) {
  RealLoop clock;
  TRY(auto ledger, open_ledger_to_read(settings, product, clock));
  TRY(auto devices, ledger->devices());
  Proof proof;
  for (const DeviceRecord& device : devices) proof.verified += device.state == KeyState::verified;
  if (!by_ca) return proof;
  TRY(LocalCa ca, LocalCa::open(ca_folder(settings), clock.wall()));
  for (const DeviceRecord& device : devices) {
    if (!device.certificate) continue;
    TRY(Certificate certificate, parse_certificate(device.certificate->der));
    proof.known += is_issued_by(certificate, ca.root()) && certificate.common_name == device.id;
  }
  return proof;
}

/// The ledger beside the account. An account that other demos used has boards that this ledger does not know.
Result<std::size_t> prove_at_cloud(const CloudCommand& command, std::size_t verified,
                                   const std::function<void(const std::string&)>& say) {
  TRY(CloudTarget target, cloud_target(command));
  TRY(CloudComparison compared, compare_with_cloud(command, target));
  std::set<std::string> wrong;
  for (const CloudDifference& one : compared.differences) {
    if (one.difference == "foreign" || one.difference == "orphan") continue;
    wrong.insert(one.device);
    say(fmt::format("{}: {}", one.difference, one.what));
  }
  return verified - std::min(verified, wrong.size());
}

constexpr std::string_view recipe = R"([product]
name = "espmint-demo"

[firmware]
path = "build"

[identity]
challenge = "required"   # the virtual firmware proves the key in its own flash
)";

constexpr std::string_view recipe_at_aws = R"(issuer = "aws"

[cloud.aws]
thing_type = "espmint-demo"
)";

Result<Exit> work(const DemoCommand& command) {
  std::string name = fs::temp_directory_path() / "espmint-demo-XXXXXX";
  if (!mkdtemp(name.data()))
    return fail({Code::output_unwritable,
                 Remedy::refuse,
                 "no temporary folder could be made",
                 {.input = name},
                 {},
                 "Set TMPDIR to a folder that is writable"});
  fs::path folder{name};
  auto say = [&command](const std::string& text) {
    if (!command.voice.quiet && !command.voice.json) std::fputs((text + "\n").c_str(), stdout), std::fflush(stdout);
  };
  sim::FirmwareOptions firmware;
  firmware.folder = (folder / "build").string();
  firmware.seed = command.seed;
  TRY(sim::write_firmware(firmware));
  const bool at_aws = command.issuer == "aws";
  const std::string text = std::string{recipe} + (at_aws ? std::string{recipe_at_aws} : std::string{});
  TRY(write_file(folder / "recipe.toml", as_bytes(text)));

  sim::ServerOptions options;
  options.count = static_cast<unsigned>(command.boards);
  options.preset = command.preset;
  options.seed = command.seed;
  TRY(auto boards, BoardsBeside::start(options));
  say(fmt::format("{} virtual ESP32 boards are plugged in; everything of this demo lies in {}", command.boards,
                  folder.string()));

  LineCommand line;
  line.settings = command.settings;
  line.settings.state = folder / "state";
  line.settings.ports.clear();
  for (const auto& board : boards->boards()) line.settings.ports.push_back(board.rfc2217);
  line.voice = command.voice;
  line.recipe = folder.string();
  line.count = command.boards;
  std::optional<CloudBeside> beside;
  CloudCommand cloud{line.settings, line.voice, folder.string()};
  if (at_aws) {
    // A demo registers boards at an address that somebody has named, and nowhere else.
    const std::string named = named_endpoint(command.cloud);
    cloud.cloud = named.empty() ? beside.emplace().flags(command.cloud) : command.cloud;
    if (!named.empty()) cloud.cloud.endpoint_url = named;
    line.cloud = cloud.cloud;
    say(named.empty() ? "boards are registered at a virtual AWS IoT, 200 ms away, that ends with this demo"
                      : "boards are registered at the AWS IoT of " + named);
    CloudCommand quiet = cloud;
    quiet.voice.quiet = true;
    quiet.voice.json = false;
    if (Exit made = cloud_setup(quiet); made != Exit::good) return made;
  }
  Exit exit = run_line(line);
  if (exit != Exit::good) return exit;

  TRY(Proof proof, prove(line.settings, "espmint-demo", !at_aws));
  if (at_aws) {
    TRY(proof.known, prove_at_cloud(cloud, proof.verified, say));
  }
  RecordOptions record{line.settings, command.voice, "espmint-demo"};
  exit = audit_verify(record);
  bool all = proof.verified == command.boards && proof.known == command.boards && exit == Exit::good;
  if (command.voice.json) {
    print_json({{"v", 1},
                {"event", "demo"},
                {"folder", folder.string()},
                {"state", line.settings.state.string()},
                {"boards", command.boards},
                {"verified", proof.verified},
                {"issuer", command.issuer},
                {at_aws ? "active_at_cloud" : "chain_to_ca", proof.known},
                {"audit", exit == Exit::good}});
    return all ? Exit::good : Exit::board_failed;
  }
  say(fmt::format(
      "{} boards VERIFIED, {} {}, each board signed a challenge with the key in its own flash", proof.verified,
      proof.known,
      at_aws ? "are ACTIVE things at AWS IoT, with their certificate and policy" : "certificates chain to the CA"));
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
