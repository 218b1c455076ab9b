// sim/cloud/server.hpp: the virtual cloud for other programs: HTTP/1.1 on 127.0.0.1, AWS's requests and a few of its
// own:
//   GET  /_sim/state     everything as JSON: things, certificates, policies, calls by operation
//   POST /_sim/faults    {"faults": ["cut-after@2", "rate=aws"]}: instead of the ones before
//   GET  /_sim/allowed   ?certificate=ID&client=ID&action=iot:Publish&topic=a/b: {"allowed": true}
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "sim/cloud/iot.hpp"

namespace espmint::sim {

struct CloudServerOptions {
  IotOptions iot;
  std::uint16_t port = 0;              // 0: any
  Duration latency{};                  // before each reply
  std::vector<std::string> faults;     // as CloudFaults::add has them
  std::string station_policy;          // IAM's, of the second key; empty: what a station needs
  std::filesystem::path folder;        // for the CA's file; empty: a temporary one
  std::filesystem::path state_file{};  // read at the start where it is there, written at the end; empty: none
};

/// `espmint sim cloud`: one JSON line with where it listens and who may call, then runs until SIGINT or SIGTERM.
/// Faults: usage, port_failed, output_unwritable, input_invalid.
Result<void> run_cloud(const CloudServerOptions&, std::ostream& out);

}  // namespace espmint::sim
