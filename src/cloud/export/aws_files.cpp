// Two ways into AWS IoT that call nothing per board: one task over a list of boards, and boards that register
// themselves at their first connection. Source: AWS IoT Developer Guide, "Provisioning templates", "Bulk registration",
// "Just-in-time provisioning"; both use the same template format.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cloud/export/exports.hpp"

namespace espmint::exports {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view placeholder_role = "arn:aws:iam::ACCOUNT:role/espmint-registration";

/// By it the rest of the program knows a thing as ours; its value is the product, in characters that AWS takes.
std::string mark_of(std::string product) {
  std::replace_if(
      product.begin(), product.end(),
      [](char c) {
        return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 std::string_view{"_.,@/:#-"}.find(c) != std::string_view::npos);
      },
      '-');
  return product.substr(0, 128);
}

/// `name`: the parameter that a thing's name comes from.
Json thing_resource(const ExportInput& input, const std::string& name) {
  Json attributes{{"espmint", mark_of(input.product)}};
  for (const auto& [key, value] : input.attributes) attributes[key] = value;
  Json properties{{"ThingName", {{"Ref", name}}}, {"AttributePayload", attributes}};
  if (!input.thing_type.empty()) properties["ThingTypeName"] = input.thing_type;
  if (!input.groups.empty()) properties["ThingGroups"] = input.groups;
  // A thing that is there keeps its type and what else it has.
  return {{"Type", "AWS::IoT::Thing"},
          {"Properties", properties},
          {"OverrideSettings",
           {{"AttributePayload", "MERGE"}, {"ThingTypeName", "DO_NOTHING"}, {"ThingGroups", "DO_NOTHING"}}}};
}

Json policy_resource(const ExportInput& input) {
  return {{"Type", "AWS::IoT::Policy"}, {"Properties", {{"PolicyName", input.policy_name}}}};
}

/// Who may use the role: AWS IoT itself.
ExportFile role_trust() {
  Json statement{{"Effect", "Allow"}, {"Principal", {{"Service", "iot.amazonaws.com"}}}, {"Action", "sts:AssumeRole"}};
  Json trust{{"Version", "2012-10-17"}, {"Statement", Json::array({statement})}};
  return {"role-trust.json", trust.dump(2) + "\n"};
}

std::string role_of(const ExportInput& input) {
  return input.role_arn.empty() ? std::string{placeholder_role} : input.role_arn;
}

std::string role_words(const ExportInput& input) {
  if (!input.role_arn.empty()) return {};
  return fmt::format(
      "A role that AWS IoT registers with, once an account; then put its ARN where {} stands:\n"
      "  aws iam create-role --role-name espmint-registration --assume-role-policy-document file://role-trust.json\n"
      "  aws iam attach-role-policy --role-name espmint-registration \\\n"
      "      --policy-arn arn:aws:iam::aws:policy/service-role/AWSIoTThingsRegistration\n\n",
      placeholder_role);
}

std::string needed_words(const ExportInput& input) {
  std::string words = fmt::format("There must be: the policy {}", input.policy_name);
  if (!input.thing_type.empty()) words += fmt::format(", the thing type {}", input.thing_type);
  for (const std::string& group : input.groups) words += fmt::format(", the thing group {}", group);
  return words + " (`espmint cloud setup` makes policy and type).\n\n";
}

}  // namespace

std::vector<ExportFile> build_bulk(const ExportInput& input) {
  std::string lines;
  for (const ExportDevice& device : input.devices)
    lines +=
        Json{{"ThingName", device.id}, {"CertificatePem", device.certificate.pem}, {"CaCertificatePem", input.ca_pem}}
            .dump() +
        "\n";
  Json text{{"Type", "String"}};
  Json certificate{{"Type", "AWS::IoT::Certificate"},
                   {"Properties",
                    {{"CertificatePem", {{"Ref", "CertificatePem"}}},
                     {"CACertificatePem", {{"Ref", "CaCertificatePem"}}},
                     {"Status", "ACTIVE"}}},
                   {"OverrideSettings", {{"Status", "DO_NOTHING"}}}};
  Json body{{"Parameters", {{"ThingName", text}, {"CertificatePem", text}, {"CaCertificatePem", text}}},
            {"Resources",
             {{"thing", thing_resource(input, "ThingName")},
              {"certificate", certificate},
              {"policy", policy_resource(input)}}}};
  std::string readme = fmt::format(
      "Bulk registration of {0} boards of {1} at AWS IoT. Nothing was called yet.\n\n"
      "{2}"
      "The CA that signed the certificates must be known to the account, once:\n"
      "  aws iot register-ca-certificate --ca-certificate file://ca.pem --certificate-mode SNI_ONLY --set-as-active\n\n"
      "{3}"
      "  aws s3 cp boards.jsonl s3://BUCKET/boards.jsonl\n"
      "  aws iot start-thing-registration-task --template-body file://template.json \\\n"
      "      --input-file-bucket BUCKET --input-file-key boards.jsonl --role-arn {4}\n\n"
      "It answers a task id. An account has one task at a time.\n"
      "  aws iot describe-thing-registration-task --task-id ID\n"
      "  aws iot list-thing-registration-task-reports --task-id ID --report-type ERRORS\n\n"
      "The role also needs s3:GetObject on the bucket. A board that is in the list again is adopted, not made anew.\n",
      input.devices.size(), input.product, needed_words(input), role_words(input), role_of(input));
  return {{"boards.jsonl", lines},
          {"template.json", body.dump(2) + "\n"},
          {"ca.pem", input.ca_pem},
          role_trust(),
          {"README.txt", readme}};
}

std::vector<ExportFile> build_jitp(const ExportInput& input) {
  const std::string name = "AWS::IoT::Certificate::CommonName", id = "AWS::IoT::Certificate::Id";
  Json text{{"Type", "String"}};
  Json certificate{{"Type", "AWS::IoT::Certificate"},
                   {"Properties", {{"CertificateId", {{"Ref", id}}}, {"Status", "ACTIVE"}}}};
  Json body{
      {"Parameters", {{name, text}, {id, text}}},
      {"Resources",
       {{"thing", thing_resource(input, name)}, {"certificate", certificate}, {"policy", policy_resource(input)}}}};
  // The API takes the template as a text within JSON.
  Json registration{{"templateBody", body.dump()}, {"roleArn", role_of(input)}};
  std::string readme = fmt::format(
      "Just-in-time provisioning of {0}: a board that connects for the first time with a certificate of \"{1}\" "
      "becomes a\n"
      "thing named after the certificate's CN. Nothing was called yet.\n\n"
      "{2}{3}"
      "Either, for one or several accounts (boards must send SNI, as TLS stacks of ESP-IDF and Arduino do):\n"
      "  aws iot register-ca-certificate --ca-certificate file://ca.pem --certificate-mode SNI_ONLY \\\n"
      "      --set-as-active --allow-auto-registration --registration-config file://registration-config.json\n\n"
      "Or, for one account, with proof that the CA's key is yours:\n"
      "  CODE=$(aws iot get-registration-code --query registrationCode --output text)\n"
      "  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout /dev/null -subj "
      "\"/CN=$CODE\" -out verify.csr\n"
      "  espmint ca issue --csr verify.csr -o verify.pem\n"
      "  aws iot register-ca-certificate --ca-certificate file://ca.pem --verification-certificate file://verify.pem "
      "\\\n"
      "      --set-as-active --allow-auto-registration --registration-config file://registration-config.json\n\n"
      "Every certificate of this CA gets in, also of boards that were not VERIFIED: to stop one, set its certificate "
      "INACTIVE\n"
      "in AWS IoT after its first connection, or deny it before by a rule of your own; AWS IoT reads no CRL.\n",
      input.product, input.ca_name, needed_words(input), role_words(input));
  return {{"registration-config.json", registration.dump(2) + "\n"},
          {"template.json", body.dump(2) + "\n"},
          {"ca.pem", input.ca_pem},
          role_trust(),
          {"README.txt", readme}};
}

}  // namespace espmint::exports
