// app/sim_cloud_command.hpp: a virtual AWS IoT control plane for rehearsal: sim cloud.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/terminal.hpp"
#include "base/result.hpp"

namespace espmint::app {

struct SimCloudCommand {
  unsigned port = 0;  // 0: any
  std::string region = "eu-central-1";
  std::uint64_t seed = 1;
  std::vector<std::string> faults;
  unsigned latency_ms = 0, detach_ms = 3000;
  std::string data_endpoint;   // what DescribeEndpoint answers; empty: a name of the usual shape
  std::string station_policy;  // a file: an IAM policy; empty: what a station needs
  std::string folder;          // for the CA's file; empty: a temporary one
  std::string state_file;      // read at the start where it is there, written at the end
  Voice voice;
};
/// Runs until interrupted; a line of JSON at the start.
Exit sim_cloud(const SimCloudCommand&);

}  // namespace espmint::app
