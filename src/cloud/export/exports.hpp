// cloud/export/exports.hpp: what others need to let our boards in, as files: for those who enrol elsewhere. Nothing is
// called. Pure: values to texts. Names and fields: docs/formats/cloud-export.md.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "identity/identity.hpp"

namespace espmint::exports {

struct ExportFile {
  std::string name, text;
  bool operator==(const ExportFile&) const = default;
};

/// A VERIFIED board with a certificate of our CA.
struct ExportDevice {
  std::string id;
  Certificate certificate;
};

struct ExportInput {
  std::string product;
  std::vector<ExportDevice> devices;
  std::string ca_pem;
  std::string ca_name;  // its common name
  std::string crl_pem;  // brokers only
  std::string crl_url;  // where the CRL is fetched; empty: nowhere. EMQX only
  std::string topic_prefix;
  std::string listen = "8883";  // [ADDRESS:]PORT
  // AWS only.
  std::string thing_type, policy_name;
  std::map<std::string, std::string> attributes;
  std::vector<std::string> groups;
  std::string role_arn;  // empty: a place to fill in
};

/// Whatever would be refused there, or would break a file's form, before a file is written. Fault usage names the
/// option.
Result<void> check_input(const ExportInput&);

/// Builders of what `check_input` accepts. No private key is ever in one.
std::vector<ExportFile> build_bulk(const ExportInput&);
std::vector<ExportFile> build_jitp(const ExportInput&);
std::vector<ExportFile> build_azure_dps(const ExportInput&);
std::vector<ExportFile> build_thingsboard(const ExportInput&);
std::vector<ExportFile> build_mosquitto(const ExportInput&);
std::vector<ExportFile> build_emqx(const ExportInput&);

struct ExportKind {
  std::string_view name;
  bool has_crl;  // takes the CRL
  std::vector<ExportFile> (*build)(const ExportInput&);
};
/// "bulk", "jitp", …, in the order of help.
const std::vector<ExportKind>& all_exports();

}  // namespace espmint::exports
