// Exports as the other side reads them: JSON where JSON is due, one line a board, and never a private key.
#include "cloud/export/exports.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "identity/local_ca.hpp"
#include "io/test_folder.hpp"

namespace espmint::exports {
namespace {

using Json = nlohmann::ordered_json;
constexpr WallTime now{std::chrono::seconds{1'790'000'000}};

ExportInput two_boards() {
  TestFolder folder;
  LocalCa ca = *LocalCa::init(folder / "ca", "Acme devices", now);
  ExportInput input;
  input.product = "Cold room 2";
  input.ca_pem = ca.root().pem;
  input.ca_name = "Acme devices";
  input.crl_pem = ca.sign_crl({{}, 1, now, now + std::chrono::days{30}, {}})->pem;
  input.topic_prefix = "cold";
  input.policy_name = "cold-device";
  for (const char* id : {"24d7eb000001", "24D7EB000002"})
    input.devices.push_back({id, *ca.sign(*parse_csr(*build_csr(*mint_key(KeyKind::ec_p256), id)), *mint_serial())});
  return input;
}

std::string file_of(const std::vector<ExportFile>& files, std::string_view name) {
  for (const ExportFile& file : files)
    if (file.name == name) return file.text;
  ADD_FAILURE() << "no file " << name;
  return {};
}

std::vector<Json> lines_of(const std::string& text) {
  std::vector<Json> out;
  for (std::string_view line : split(trim(text), '\n')) out.push_back(Json::parse(line));
  return out;
}

/// Everything that a template refers to is one of its parameters.
void expect_closed(const Json& body) {
  const Json& parameters = body["Parameters"];
  std::function<void(const Json&)> walk = [&](const Json& node) {
    if (!node.is_structured()) return;
    if (node.is_object() && node.contains("Ref")) {
      EXPECT_TRUE(parameters.contains(node["Ref"].get<std::string>())) << node.dump();
    }
    for (const Json& below : node) walk(below);
  };
  walk(body["Resources"]);
}

TEST(Exports, NeverHoldAPrivateKeyAndAreTheSameEveryTime) {
  ExportInput input = two_boards();
  ASSERT_TRUE(check_input(input)) << describe(check_input(input).error());
  for (const ExportKind& kind : all_exports()) {
    auto files = kind.build(input);
    EXPECT_EQ(files, kind.build(input)) << kind.name;
    EXPECT_FALSE(file_of(files, "README.txt").empty());
    EXPECT_EQ(file_of(files, "ca.pem"), input.ca_pem);
    for (const ExportFile& file : files) {
      EXPECT_EQ(file.text.find("PRIVATE KEY"), std::string::npos) << kind.name << " " << file.name;
      EXPECT_EQ(file.name.find('/'), std::string::npos);
      if (file.name.ends_with(".json")) {
        EXPECT_TRUE(Json::accept(file.text)) << kind.name << " " << file.name;
      }
    }
  }
}

TEST(Bulk, IsALineABoardAndATemplateThatUsesAllOfIt) {
  ExportInput input = two_boards();
  input.thing_type = "thermostat";
  input.attributes = {{"owner", "line-3"}};
  input.groups = {"berlin"};
  auto files = build_bulk(input);
  auto lines = lines_of(file_of(files, "boards.jsonl"));
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["ThingName"], "24d7eb000001");
  EXPECT_EQ(lines[1]["CertificatePem"], input.devices[1].certificate.pem);
  EXPECT_EQ(lines[1]["CaCertificatePem"], input.ca_pem);
  Json body = Json::parse(file_of(files, "template.json"));
  expect_closed(body);
  for (const auto& [name, value] : body["Parameters"].items()) EXPECT_TRUE(lines[0].contains(name)) << name;
  const Json& thing = body["Resources"]["thing"]["Properties"];
  EXPECT_EQ(thing["AttributePayload"]["owner"], "line-3");
  EXPECT_EQ(thing["AttributePayload"]["espmint"], "Cold-room-2") << "our mark";
  EXPECT_EQ(thing["ThingTypeName"], "thermostat");
  EXPECT_EQ(body["Resources"]["policy"]["Properties"]["PolicyName"], "cold-device");
}

TEST(Jitp, HasTheTemplateAsTheTextThatTheApiTakes) {
  auto files = build_jitp(two_boards());
  Json registration = Json::parse(file_of(files, "registration-config.json"));
  Json body = Json::parse(registration["templateBody"].get<std::string>());
  EXPECT_EQ(body, Json::parse(file_of(files, "template.json")));
  expect_closed(body);
  EXPECT_EQ(body["Resources"]["thing"]["Properties"]["ThingName"]["Ref"], "AWS::IoT::Certificate::CommonName");
  EXPECT_LE(registration["templateBody"].get<std::string>().size(), 10240U) << "the API's limit";
}

TEST(AzureDps, KnowsABoardByItsIdInLowerCase) {
  auto files = build_azure_dps(two_boards());
  auto lines = lines_of(file_of(files, "enrollments.jsonl"));
  EXPECT_EQ(lines[1]["registrationId"], "24d7eb000002");
  EXPECT_EQ(lines[1]["deviceId"], "24D7EB000002");
  Json group = Json::parse(file_of(files, "enrollment-group.json"));
  EXPECT_EQ(group["enrollmentGroupId"], "cold-room-2");
  EXPECT_EQ(group["attestation"]["x509"]["caReferences"]["primary"], "cold-room-2-ca");
}

TEST(ThingsBoard, NamesTheProfileAndTheWholeCn) {
  ExportInput input = two_boards();
  auto files = build_thingsboard(input);
  auto lines = lines_of(file_of(files, "devices.jsonl"));
  EXPECT_EQ(lines[0]["credentials"]["credentialsValue"], input.devices[0].certificate.pem);
  Json profile = Json::parse(file_of(files, "device-profile.json"));
  EXPECT_EQ(lines[0]["device"]["type"], profile["name"]);
  EXPECT_EQ(profile["profileData"]["provisionConfiguration"]["provisionDeviceSecret"], input.ca_pem);
}

TEST(Brokers, GiveABoardItsOwnTopicsAlone) {
  ExportInput input = two_boards();
  input.listen = "10.0.0.5:18883";
  auto mosquitto = build_mosquitto(input);
  EXPECT_NE(file_of(mosquitto, "mosquitto.conf").find("\nlistener 18883 10.0.0.5\n"), std::string::npos);
  EXPECT_NE(file_of(mosquitto, "mosquitto.conf").find("\nrequire_certificate true\n"), std::string::npos);
  EXPECT_NE(file_of(mosquitto, "espmint.acl").find("\npattern readwrite cold/%u/#\n"), std::string::npos);
  EXPECT_NE(file_of(mosquitto, "espmint.acl").find("\npattern readwrite $aws/things/%u/shadow/#\n"), std::string::npos);
  EXPECT_EQ(file_of(mosquitto, "ca.crl.pem"), input.crl_pem);
  auto emqx = build_emqx(input);
  EXPECT_NE(file_of(emqx, "base.hocon").find("enable_crl_check = false"), std::string::npos);
  EXPECT_NE(file_of(emqx, "acl.conf").find("\"cold/${username}/#\", \"$aws/things/${username}/shadow/#\""),
            std::string::npos);
  input.crl_url = "http://pki.example.com/ca.crl";
  EXPECT_NE(file_of(build_emqx(input), "base.hocon").find("enable_crl_check = true"), std::string::npos);
}

TEST(ExportInput, IsCheckedBeforeAFileIsWritten) {
  ExportInput good = two_boards();
  auto refused = [&good](auto change) {
    ExportInput input = good;
    change(input);
    auto end = check_input(input);
    return !end && end.error().code == Code::usage;
  };
  for (const char* prefix : {"", "#", "dev/+", "dev//x", "/dev", "dev/", "a b", "dev\npattern readwrite #"})
    EXPECT_TRUE(refused([&](ExportInput& input) { input.topic_prefix = prefix; })) << prefix;
  for (const char* listen : {"", "0", "70000", "8883x", "host name:8883", "8883\nallow_anonymous true"})
    EXPECT_TRUE(refused([&](ExportInput& input) { input.listen = listen; })) << listen;
  EXPECT_TRUE(refused([](ExportInput& input) { input.policy_name = "My policy"; }));
  EXPECT_TRUE(refused([](ExportInput& input) { input.attributes = {{"owner", "My Co"}}; }));
  EXPECT_TRUE(refused([](ExportInput& input) {
    input.attributes = {{"a", "1"}, {"b", "2"}, {"c", "3"}};
  })) << "our mark is one more";
  EXPECT_TRUE(refused([](ExportInput& input) { input.groups = {"a/b"}; }));
  EXPECT_TRUE(refused([](ExportInput& input) { input.devices[0].id = "+"; }));
  EXPECT_TRUE(refused([](ExportInput& input) { input.role_arn = "role"; }));
}

}  // namespace
}  // namespace espmint::exports
