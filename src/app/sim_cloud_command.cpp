#include "app/sim_cloud_command.hpp"

#include <iostream>

#include "app/desk_commands.hpp"
#include "io/file.hpp"
#include "sim/cloud/server.hpp"

namespace espmint::app {

Exit sim_cloud(const SimCloudCommand& command) {
  sim::CloudServerOptions options;
  options.iot.region = command.region;
  options.iot.seed = command.seed;
  options.iot.endpoint = command.data_endpoint;
  options.iot.delays.detach = std::chrono::milliseconds{command.detach_ms};
  options.iot.delays.policy_release = options.iot.delays.detach;
  options.port = static_cast<std::uint16_t>(command.port);
  options.latency = std::chrono::milliseconds{command.latency_ms};
  options.faults = command.faults;
  options.folder = command.folder;
  options.state_file = command.state_file;
  if (!command.station_policy.empty()) {
    auto text = read_file(command.station_policy);
    if (!text) return report(text.error(), command.voice);
    options.station_policy = as_text(*text);
  }
  auto end = sim::run_cloud(options, std::cout);
  return end ? Exit::good : report(end.error(), command.voice);
}

}  // namespace espmint::app
