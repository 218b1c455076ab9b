// Azure's Device Provisioning Service and ThingsBoard. Source: Azure REST API, iot-dps/service, 2021-10-01 (enrollment
// groups, individual enrollments); ThingsBoard REST API (device with credentials, device profile) and its guide to
// X.509 certificate chains.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "cloud/export/exports.hpp"

namespace espmint::exports {
namespace {

using Json = nlohmann::ordered_json;

/// What DPS and ThingsBoard call a thing: letters, digits and dashes of the product.
std::string plain_name(const std::string& product) {
  std::string out;
  for (char c : lower(product)) out += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
  return out;
}

}  // namespace

std::vector<ExportFile> build_azure_dps(const ExportInput& input) {
  std::string group = plain_name(input.product), ca = group + "-ca";
  // By reference: our CA is a root, and DPS takes a root's group only where the root itself is verified.
  Json enrollment_group{{"enrollmentGroupId", group},
                        {"attestation", {{"type", "x509"}, {"x509", {{"caReferences", {{"primary", ca}}}}}}},
                        {"provisioningStatus", "enabled"}};
  std::string lines;
  for (const ExportDevice& device : input.devices)
    lines += Json{{"registrationId", lower(device.id)},
                  {"attestation",
                   {{"type", "x509"},
                    {"x509", {{"clientCertificates", {{"primary", {{"certificate", device.certificate.pem}}}}}}}}},
                  {"deviceId", device.id},
                  {"provisioningStatus", "enabled"}}
                 .dump() +
             "\n";
  std::string readme = fmt::format(
      "{0} boards of {1} for Azure's Device Provisioning Service. Nothing was called yet.\n\n"
      "One group for all boards of the CA (nothing per board):\n"
      "  az iot dps certificate create --dps-name DPS --resource-group GROUP --name {2} --path ca.pem --verified true\n"
      "  PUT https://DPS.azure-devices-provisioning.net/enrollmentGroups/{3}?api-version=2021-10-01   with "
      "enrollment-group.json\n"
      "or, the same by the tool: az iot dps enrollment-group create --dps-name DPS --enrollment-id {3} --root-ca-name "
      "{2}\n"
      "Boards show the whole chain: their certificate and ca.pem behind it.\n\n"
      "Or each board alone, one line of enrollments.jsonl each:\n"
      "  PUT https://DPS.azure-devices-provisioning.net/enrollments/REGISTRATION_ID?api-version=2021-10-01\n\n"
      "A board's registrationId is its id in lower case, which is the CN of its certificate: DPS compares the two.\n"
      "A group lets every board of the CA in: disable one by an individual enrollment of its own with "
      "provisioningStatus \"disabled\".\n",
      input.devices.size(), input.product, ca, group);
  return {{"enrollment-group.json", enrollment_group.dump(2) + "\n"},
          {"enrollments.jsonl", lines},
          {"ca.pem", input.ca_pem},
          {"README.txt", readme}};
}

std::vector<ExportFile> build_thingsboard(const ExportInput& input) {
  // `type` is the profile's name: the server finds the profile by it.
  std::string lines;
  for (const ExportDevice& device : input.devices)
    lines +=
        Json{{"device", {{"name", device.id}, {"type", input.product}}},
             {"credentials", {{"credentialsType", "X509_CERTIFICATE"}, {"credentialsValue", device.certificate.pem}}}}
            .dump() +
        "\n";
  Json profile{{"name", input.product},
               {"type", "DEFAULT"},
               {"transportType", "DEFAULT"},
               {"provisionType", "X509_CERTIFICATE_CHAIN"},
               {"profileData",
                {{"configuration", {{"type", "DEFAULT"}}},
                 {"transportConfiguration", {{"type", "DEFAULT"}}},
                 {"provisionConfiguration",
                  {{"type", "X509_CERTIFICATE_CHAIN"},
                   {"provisionDeviceSecret", input.ca_pem},           // the server's word for the CA's certificate
                   {"certificateRegExPattern", "([a-zA-Z0-9:_-]+)"},  // the whole CN is the device's name
                   {"allowCreateNewDevicesByX509Certificate", false}}}}}};
  std::string readme = fmt::format(
      "{0} boards of {1} for ThingsBoard 3.5 or later. Nothing was called yet. SERVER is its address, TOKEN a "
      "tenant's.\n\n"
      "1. The profile, once: boards are known by the CN of a certificate of our CA, also after a renewal:\n"
      "  curl -H \"X-Authorization: Bearer TOKEN\" -H \"Content-Type: application/json\" -d @device-profile.json "
      "SERVER/api/deviceProfile\n"
      "2. Each board, one line of devices.jsonl each; a name or certificate that is there already is refused, and that "
      "is well:\n"
      "  while read -r line; do curl -H \"X-Authorization: Bearer TOKEN\" -H \"Content-Type: application/json\" \\\n"
      "      -d \"$line\" SERVER/api/device-with-credentials; done < devices.jsonl\n\n"
      "allowCreateNewDevicesByX509Certificate is false: the server makes no board by itself. Set it to true and leave "
      "out step 2 where\n"
      "every certificate of the CA may come in; boards then show the whole chain (their certificate and ca.pem behind "
      "it).\n",
      input.devices.size(), input.product);
  return {{"devices.jsonl", lines},
          {"device-profile.json", profile.dump(2) + "\n"},
          {"ca.pem", input.ca_pem},
          {"README.txt", readme}};
}

}  // namespace espmint::exports
