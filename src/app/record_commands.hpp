// app/record_commands.hpp: what was made and whether it can be trusted: device, audit, ca, doctor.
#pragma once

#include <string>

#include "app/settings.hpp"
#include "app/terminal.hpp"

namespace espmint::app {

struct RecordOptions {
  Settings settings;
  Voice voice;
  std::string product;  // empty: the only one
};

Exit device_list(const RecordOptions&, bool failed_only);
Exit device_show(const RecordOptions&, const std::string& id);
/// All devices as CSV or JSON lines on stdout.
Exit device_export(const RecordOptions&, bool csv);
/// One device's public files under the names that firmware reads, into a folder.
Exit device_export_files(const RecordOptions&, const std::string& id, const std::string& folder);
/// Every product's chain, or the named one's.
Exit audit_verify(const RecordOptions&);
/// `crl_url`: where its revocation list will be served; empty: nowhere.
Exit ca_init(const RecordOptions&, const std::string& name, const std::string& crl_url);
Exit ca_show(const RecordOptions&);

}  // namespace espmint::app
