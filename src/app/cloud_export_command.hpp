// app/cloud_export_command.hpp: `espmint cloud export`: the ledger's VERIFIED boards as files for another cloud or a
// broker.
#pragma once

#include <string>
#include <vector>

#include "app/settings.hpp"
#include "app/terminal.hpp"

namespace espmint::app {

struct CloudExportCommand {
  Settings settings;
  Voice voice;
  std::string kind, folder, product;
  std::string prefix, policy;  // empty: from the product's name
  std::string listen = "8883";
  std::string thing_type, role_arn;
  std::vector<std::string> attributes;  // NAME=VALUE
  std::vector<std::string> groups;
};

Exit cloud_export(const CloudExportCommand&);

}  // namespace espmint::app
