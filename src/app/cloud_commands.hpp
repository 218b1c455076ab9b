// app/cloud_commands.hpp: the cloud by hand: cloud setup|check|sync, device revoke, and doctor's look at it.
#pragma once

#include <string>
#include <vector>

#include "app/aws_access.hpp"
#include "app/cloud_target.hpp"
#include "app/terminal.hpp"

namespace espmint::app {

struct CloudCommand {
  Settings settings;
  Voice voice;
  std::string recipe;   // file or folder; empty: recipe.toml here, else what the product's last run remembered
  std::string product;  // whose ledger; empty: the recipe's, else the only one
  std::string device;   // of `device revoke`
  CloudFlags cloud;
  bool dry_run = false;
  bool fix = false;    // doctor
  bool force = false;  // device revoke: also what other things use
};

/// Policy and thing type; prints the calls that changed something, or with dry_run would.
Exit cloud_setup(const CloudCommand&);
/// What is found, asked and allowed; 0 when a line would run.
Exit cloud_check(const CloudCommand&);
/// Tells the cloud what the ledger has promised it; 0 when nothing is left.
Exit cloud_sync(const CloudCommand&);
/// All certificates of a board INACTIVE and off; the thing stays.
Exit device_revoke(const CloudCommand&);

/// One difference between ledger and cloud, in words.
struct CloudDifference {
  std::string difference, device, what;  // "orphan", …
  std::vector<std::string> repairs;      // calls in words
  bool may_fix = false, is_harmless = false;
};
struct CloudComparison {
  std::vector<CloudDifference> differences;  // before anything was mended
  int fixed = 0;
  std::vector<Fault> failed;
};
/// Compares, and with `fix` (and no dry_run) mends what is provably ours. Faults: the cloud's, the ledger's.
Result<CloudComparison> compare_with_cloud(const CloudCommand&, const CloudTarget&);

/// Where the command's product is registered. Fault usage: nowhere but here.
Result<CloudTarget> cloud_target(const CloudCommand&);

/// What is wrong with this machine, line or account, with the mend. `cloud`: only that, or not that; nothing said: all,
/// as far as the cloud can be asked. 0 clean, 1 findings. In app/doctor.cpp.
Exit doctor(const CloudCommand&, std::optional<bool> cloud);

}  // namespace espmint::app
