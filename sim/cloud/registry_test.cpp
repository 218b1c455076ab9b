// What each operation of the virtual cloud does, as the AWS IoT API Reference has it.
#include <gtest/gtest.h>

#include "io/loop.hpp"
#include "sim/cloud/caller_for_tests.hpp"

namespace espmint::sim {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr std::string_view small_policy =
    R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]})";

class Registry : public testing::Test {
 protected:
  Said call(std::string method, std::string target, const json& body = {}, std::string principal = {}) {
    return caller.call(std::move(method), std::move(target), body, std::move(principal));
  }
  void let_pass(Duration duration) {
    loop.run([](VirtualLoop& clock, Duration time) -> Task<> { co_await clock.sleep_for(time); }(loop, duration));
  }
  Said issue(const Device& device, const std::string& query = {}) {
    return call("POST", "/certificates" + query, {{"certificateSigningRequest", device.csr("24d7eb123456")}});
  }
  std::string new_certificate(const std::string& query = {}) { return issue(Device{}, query).text("certificateId"); }
  std::string arn(const std::string& id) { return cloud.account().arn("cert", id); }
  std::string status_of(const std::string& id) {
    return call("GET", "/certificates/" + id).body["certificateDescription"].value("status", "");
  }
  static json attributes(const json& values) { return {{"attributePayload", {{"attributes", values}}}}; }

  VirtualLoop loop;
  Iot cloud{loop, {.seed = 1}};
  Caller caller{cloud, loop};
};

TEST_F(Registry, AThingMadeTwiceAlikeIsOne) {
  Said first = call("POST", "/things/a", attributes({{"owner", "x"}}));
  ASSERT_TRUE(first.good());
  EXPECT_EQ(first.text("thingArn"), "arn:aws:iot:eu-central-1:123456789012:thing/a");
  Said again = call("POST", "/things/a", attributes({{"owner", "x"}}));
  EXPECT_TRUE(again.good());
  EXPECT_EQ(again.text("thingId"), first.text("thingId"));
  Said other = call("POST", "/things/a", attributes({{"owner", "y"}}));
  EXPECT_EQ(other.status, 409);
  EXPECT_EQ(other.error, "ResourceAlreadyExistsException");
  EXPECT_EQ(other.text("resourceId"), "a");
  EXPECT_EQ(other.text("resourceArn"), first.text("thingArn"));
  EXPECT_EQ(call("GET", "/things/a").body["attributes"]["owner"], "x");
}

TEST_F(Registry, NamesAndValuesAreHeldToTheirPatterns) {
  EXPECT_TRUE(call("POST", "/things/" + label("24:d7_eb-1"), json::object()).good());
  EXPECT_EQ(call("POST", "/things/My%20Co", json::object()).error, "InvalidRequestException");
  EXPECT_EQ(call("POST", "/things/" + std::string(129, 'a'), json::object()).error, "InvalidRequestException");
  EXPECT_TRUE(call("POST", "/things/mail", attributes({{"owner", "hello@example.org"}})).good());
  EXPECT_EQ(call("POST", "/things/bad", attributes({{"owner", "My Co"}})).error, "InvalidRequestException");
  EXPECT_EQ(call("POST", "/things/bad", attributes({{"owner", std::string(801, 'a')}})).error,
            "InvalidRequestException");
  EXPECT_EQ(call("POST", "/things/bad", attributes({{"a b", "c"}})).error, "InvalidRequestException");
  EXPECT_EQ(call("POST", "/things/bad", attributes({{"number", 5}})).error, "InvalidRequestException");
  json four{{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}};
  EXPECT_EQ(call("POST", "/things/bad", attributes(four)).error, "InvalidRequestException");
  ASSERT_TRUE(call("POST", "/thing-types/board", json::object()).good());
  json with_type = attributes(four);
  with_type["thingTypeName"] = "board";
  EXPECT_TRUE(call("POST", "/things/good", with_type).good());
  with_type["thingTypeName"] = "unknown";
  EXPECT_EQ(call("POST", "/things/bad", with_type).error, "ResourceNotFoundException");
}

TEST_F(Registry, AThingIsMergedOrReplacedVersionByVersion) {
  call("POST", "/things/a", attributes({{"owner", "x"}, {"line", "1"}}));
  json merge = attributes({{"owner", "y"}, {"line", ""}, {"shift", "2"}});
  merge["attributePayload"]["merge"] = true;
  merge["expectedVersion"] = 1;
  EXPECT_TRUE(call("PATCH", "/things/a", merge).good());
  Said now = call("GET", "/things/a");
  EXPECT_EQ(now.body["attributes"], (json{{"owner", "y"}, {"shift", "2"}}));
  EXPECT_EQ(now.body["version"], 2);
  EXPECT_EQ(call("PATCH", "/things/a", merge).error, "VersionConflictException");
  EXPECT_TRUE(call("PATCH", "/things/a", attributes({{"only", "this"}})).good());
  EXPECT_EQ(call("GET", "/things/a").body["attributes"], (json{{"only", "this"}}));
  EXPECT_EQ(call("PATCH", "/things/none", merge).error, "ResourceNotFoundException");
}

TEST_F(Registry, ADetachedPrincipalGoesSomeSecondsLater) {
  std::string id = new_certificate();
  call("POST", "/things/a", json::object());
  EXPECT_EQ(call("PUT", "/things/a/principals").error, "InvalidRequestException");
  EXPECT_EQ(call("PUT", "/things/none/principals", {}, arn(id)).error, "ResourceNotFoundException");
  EXPECT_EQ(call("PUT", "/things/a/principals", {}, arn(std::string(64, '0'))).error, "ResourceNotFoundException");
  ASSERT_TRUE(call("PUT", "/things/a/principals", {}, arn(id)).good());
  ASSERT_TRUE(call("PUT", "/things/a/principals", {}, arn(id)).good());
  EXPECT_EQ(call("GET", "/things/a/principals").body["principals"], json::array({arn(id)}));
  EXPECT_EQ(call("GET", "/principals/things", {}, arn(id)).body["things"], json::array({"a"}));
  EXPECT_EQ(call("DELETE", "/things/a").error, "InvalidRequestException");
  EXPECT_EQ(call("DELETE", "/certificates/" + id).error, "DeleteConflictException");

  EXPECT_TRUE(call("DELETE", "/things/a/principals", {}, arn(id)).good());
  EXPECT_EQ(call("GET", "/things/a/principals").body["principals"].size(), 1u) << "still shown";
  EXPECT_EQ(call("DELETE", "/things/a").error, "InvalidRequestException");
  let_pass(5s);
  EXPECT_EQ(call("GET", "/things/a/principals").body["principals"].size(), 0u);
  EXPECT_TRUE(call("DELETE", "/things/a").good());
  EXPECT_TRUE(call("DELETE", "/things/a").good()) << "what is not there may be deleted";
  EXPECT_TRUE(call("DELETE", "/certificates/" + id).good());
}

TEST_F(Registry, AttachedAgainWhileItGoesItStays) {
  std::string id = new_certificate();
  call("POST", "/things/a", json::object());
  call("PUT", "/things/a/principals", {}, arn(id));
  call("DELETE", "/things/a/principals", {}, arn(id));
  call("PUT", "/things/a/principals", {}, arn(id));
  let_pass(60s);
  EXPECT_EQ(call("GET", "/things/a/principals").body["principals"].size(), 1u);
}

TEST_F(Registry, ARequestUsedTwiceGivesTwoCertificatesOfItsKey) {
  Device device;
  Said one = issue(device), two = issue(device);
  ASSERT_TRUE(one.good());
  EXPECT_NE(one.text("certificateId"), two.text("certificateId"));
  auto read = iot::read_certificate_pem(one.text("certificatePem"));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->public_key, device.public_key());
  EXPECT_EQ(read->common_name, "24d7eb123456");
  EXPECT_EQ(one.text("certificateId"), to_hex(sha256_of(read->der)));
  EXPECT_EQ(one.text("certificateArn"), arn(one.text("certificateId")));
  auto root = iot::read_certificate_pem(cloud.root_ca_pem());
  ASSERT_TRUE(root);
  EXPECT_TRUE(iot::is_signed_by(*read, *root));
  EXPECT_EQ(to_string(read->not_after), "2049-12-31T23:59:59Z");
  EXPECT_EQ(status_of(one.text("certificateId")), "INACTIVE");
  EXPECT_EQ(status_of(new_certificate("?setAsActive=true")), "ACTIVE");
  EXPECT_EQ(status_of(new_certificate("?setAsActive=false")), "INACTIVE");
}

TEST_F(Registry, RequestsThatAreNoneAreRefused) {
  EXPECT_EQ(call("POST", "/certificates", json::object()).error, "InvalidRequestException");
  EXPECT_EQ(call("POST", "/certificates", {{"certificateSigningRequest", "hello"}}).error, "InvalidRequestException");
  EXPECT_EQ(issue(Device{"secp256k1"}).error, "InvalidRequestException");
  EXPECT_TRUE(issue(Device{"P-384"}).good());
  std::string torn = Device{}.csr("a");
  torn[torn.size() - 60] = torn[torn.size() - 60] == 'A' ? 'B' : 'A';
  EXPECT_EQ(call("POST", "/certificates", {{"certificateSigningRequest", torn}}).error, "InvalidRequestException");
  EXPECT_EQ(
      call("POST", "/certificates", {{"certificateSigningRequest", Device{}.csr("a") + std::string(4096, ' ')}}).error,
      "InvalidRequestException");
}

TEST_F(Registry, KeysCanBeMadeInTheCloud) {
  Said made = call("POST", "/keys-and-certificate?setAsActive=true");
  ASSERT_TRUE(made.good());
  EXPECT_TRUE(made.body["keyPair"]["PrivateKey"].get<std::string>().starts_with("-----BEGIN RSA PRIVATE KEY-----"));
  EXPECT_EQ(iot::read_certificate_pem(made.text("certificatePem"))->common_name, "AWS IoT Certificate");
  EXPECT_EQ(status_of(made.text("certificateId")), "ACTIVE");
}

TEST_F(Registry, ACertificatesStatusMayChangeUntilItIsRevoked) {
  std::string id = new_certificate();
  auto update = [&](const std::string& status) { return call("PUT", "/certificates/" + id + "?newStatus=" + status); };
  EXPECT_TRUE(update("ACTIVE").good());
  EXPECT_TRUE(update("ACTIVE").good());
  EXPECT_EQ(call("DELETE", "/certificates/" + id).error, "CertificateStateException");
  EXPECT_EQ(update("PENDING_TRANSFER").error, "InvalidRequestException");
  EXPECT_TRUE(update("REVOKED").good());
  EXPECT_TRUE(update("REVOKED").good());
  EXPECT_EQ(update("ACTIVE").error, "CertificateStateException");
  EXPECT_EQ(update("ACTIVE").status, 406);
  EXPECT_TRUE(call("DELETE", "/certificates/" + id).good());
  EXPECT_EQ(update("ACTIVE").error, "ResourceNotFoundException");
  EXPECT_EQ(call("GET", "/certificates/short").error, "InvalidRequestException");
}

TEST_F(Registry, ACertificateWithPoliciesIsDeletedByForceOnly) {
  std::string id = new_certificate();
  call("POST", "/policies/p", {{"policyDocument", small_policy}});
  call("PUT", "/target-policies/p", {{"target", arn(id)}});
  EXPECT_EQ(call("DELETE", "/certificates/" + id).error, "DeleteConflictException");
  EXPECT_TRUE(call("DELETE", "/certificates/" + id + "?forceDelete=true").good());
  EXPECT_EQ(call("POST", "/policy-targets/p").body["targets"].size(), 0u);
}

TEST_F(Registry, CertificatesAreListedByAgePageByPage) {
  std::vector<std::string> made;
  for (int i = 0; i < 5; ++i) made.push_back(new_certificate());
  std::vector<std::string> listed;
  std::string marker;
  int pages = 0;
  do {
    Said page = call(
        "GET", "/certificates?isAscendingOrder=true&pageSize=2" + (marker.empty() ? "" : "&marker=" + label(marker)));
    ASSERT_TRUE(page.good());
    for (const json& row : page.body["certificates"]) listed.push_back(row["certificateId"]);
    marker = page.text("nextMarker");
    ++pages;
  } while (!marker.empty());
  EXPECT_EQ(listed, made);
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(call("GET", "/certificates").body["certificates"][0]["certificateId"], made.back());
  EXPECT_EQ(call("GET", "/certificates?pageSize=251").error, "InvalidRequestException");
  EXPECT_EQ(call("GET", "/certificates?pageSize=0").error, "InvalidRequestException");
  EXPECT_EQ(call("GET", "/certificates?marker=%20").error, "InvalidRequestException");
}

TEST_F(Registry, ThingsAreListedByAttributeAndType) {
  call("POST", "/thing-types/board", json::object());
  for (int i = 0; i < 60; ++i) {
    json body = attributes({{"batch", i % 2 == 0 ? "even" : "odd"}});
    if (i % 3 == 0) body["thingTypeName"] = "board";
    call("POST", fmt::format("/things/t{:02}", i), body);
  }
  std::size_t count = 0;
  std::string token;
  do {
    Said page = call("GET", "/things?attributeName=batch&attributeValue=even&maxResults=20" +
                                (token.empty() ? "" : "&nextToken=" + label(token)));
    count += page.body["things"].size();
    token = page.text("nextToken");
  } while (!token.empty());
  EXPECT_EQ(count, 30u);
  EXPECT_EQ(call("GET", "/things").body["things"].size(), 25u);
  EXPECT_EQ(call("GET", "/things?thingTypeName=board&maxResults=250").body["things"].size(), 20u);
  EXPECT_EQ(call("GET", "/things?attributeName=batch&attributeValue=ev&usePrefixAttributeValue=true&maxResults=250")
                .body["things"]
                .size(),
            30u);
}

TEST_F(Registry, APolicyHasFiveVersionsAtMost) {
  ASSERT_TRUE(call("POST", "/policies/p", {{"policyDocument", small_policy}}).good());
  Said again = call("POST", "/policies/p", {{"policyDocument", small_policy}});
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.error, "ResourceAlreadyExistsException");
  for (int i = 2; i <= 5; ++i)
    EXPECT_EQ(call("POST", "/policies/p/version?setAsDefault=true", {{"policyDocument", small_policy}})
                  .text("policyVersionId"),
              std::to_string(i));
  EXPECT_EQ(call("POST", "/policies/p/version", {{"policyDocument", small_policy}}).error,
            "VersionsLimitExceededException");
  EXPECT_EQ(call("GET", "/policies/p").text("defaultVersionId"), "5");
  EXPECT_EQ(call("DELETE", "/policies/p/version/5").error, "DeleteConflictException");
  EXPECT_TRUE(call("DELETE", "/policies/p/version/1").good());
  EXPECT_EQ(call("DELETE", "/policies/p/version/1").error, "ResourceNotFoundException");
  EXPECT_EQ(call("POST", "/policies/p/version", {{"policyDocument", small_policy}}).text("policyVersionId"), "6");
  EXPECT_TRUE(call("PATCH", "/policies/p/version/2").good());
  EXPECT_EQ(call("GET", "/policies/p/version").body["policyVersions"].size(), 5u);
  EXPECT_EQ(call("DELETE", "/policies/p").error, "DeleteConflictException");
}

TEST_F(Registry, APolicyDocumentIsRead) {
  auto error = [&](std::string_view document) {
    return call("POST", "/policies/x", {{"policyDocument", document}}).error;
  };
  for (
      const char* malformed :
      {"", "{", "[]", R"({"Version":"2012-10-17"})", R"({"Version":"2012-10-17","Statement":[]})",
       R"({"Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]})",
       R"({"Version":"2013-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}]})",
       R"({"Version":"2012-10-17","Statement":[{"Effect":"Maybe","Action":"iot:Connect","Resource":"*"}]})",
       R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*"}]})",
       R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"topic/a"}]})",
       R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Connect","Resource":"*","Principal":"*"}]})"})
    EXPECT_EQ(error(malformed), "MalformedPolicyException") << malformed;
  EXPECT_EQ(
      error(R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:FutureAction","Resource":"*"}]})"),
      "");
  EXPECT_EQ(call("POST", "/policies/a%20b", {{"policyDocument", small_policy}}).error, "InvalidRequestException");
  EXPECT_TRUE(call("POST", "/policies/" + label("a_b+=,.@-"), {{"policyDocument", small_policy}}).good());
}

TEST_F(Registry, WhiteSpaceDoesNotCountTowardThe2048Characters) {
  auto document = [](std::size_t topic, std::size_t blanks) {
    return fmt::format(
        R"({{"Version":"2012-10-17",{}"Statement":[{{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:eu-central-1:123456789012:topic/{}"}}]}})",
        std::string(blanks, ' '), std::string(topic, 'a'));
  };
  std::size_t frame = document(0, 0).size();
  EXPECT_TRUE(call("POST", "/policies/fits", {{"policyDocument", document(2048 - frame, 500)}}).good());
  EXPECT_EQ(call("POST", "/policies/long", {{"policyDocument", document(2049 - frame, 0)}}).error,
            "MalformedPolicyException");
}

TEST_F(Registry, PoliciesAreAttachedToWhatIsThere) {
  std::string id = new_certificate();
  call("POST", "/policies/p", {{"policyDocument", small_policy}});
  EXPECT_EQ(call("PUT", "/target-policies/p", {{"target", "nonsense"}}).error, "InvalidRequestException");
  EXPECT_EQ(call("PUT", "/target-policies/p", {{"target", arn(std::string(64, 'a'))}}).error,
            "ResourceNotFoundException");
  EXPECT_EQ(call("PUT", "/target-policies/none", {{"target", arn(id)}}).error, "ResourceNotFoundException");
  EXPECT_TRUE(call("PUT", "/target-policies/p", {{"target", arn(id)}}).good());
  EXPECT_TRUE(call("PUT", "/target-policies/p", {{"target", arn(id)}}).good());
  EXPECT_EQ(call("POST", "/attached-policies/" + label(arn(id))).body["policies"][0]["policyName"], "p");
  EXPECT_EQ(call("POST", "/policy-targets/p").body["targets"], json::array({arn(id)}));
  EXPECT_EQ(call("DELETE", "/policies/p").error, "DeleteConflictException");
  EXPECT_TRUE(call("POST", "/target-policies/p", {{"target", arn(id)}}).good());
  EXPECT_EQ(call("POST", "/attached-policies/" + label(arn(id))).body["policies"].size(), 0u);
  EXPECT_EQ(call("DELETE", "/policies/p").error, "DeleteConflictException") << "detached, and not free yet";
  let_pass(5min);
  EXPECT_TRUE(call("DELETE", "/policies/p").good());
  EXPECT_EQ(call("GET", "/policies/p").error, "ResourceNotFoundException");
}

TEST_F(Registry, TenPoliciesToACertificate) {
  std::string id = new_certificate();
  for (int i = 0; i < 11; ++i) {
    call("POST", fmt::format("/policies/p{}", i), {{"policyDocument", small_policy}});
    Said said = call("PUT", fmt::format("/target-policies/p{}", i), {{"target", arn(id)}});
    EXPECT_EQ(said.status, i < 10 ? 200 : 410);
    EXPECT_EQ(said.error, i < 10 ? "" : "LimitExceededException");
  }
}

TEST_F(Registry, AThingTypeIsDeletedFiveMinutesAfterItWasDeprecated) {
  ASSERT_TRUE(call("POST", "/thing-types/t", {{"thingTypeProperties", {{"thingTypeDescription", "boards"}}}}).good());
  EXPECT_TRUE(call("POST", "/thing-types/t", {{"thingTypeProperties", {{"thingTypeDescription", "boards"}}}}).good());
  EXPECT_EQ(call("POST", "/thing-types/t", json::object()).error, "ResourceAlreadyExistsException");
  EXPECT_EQ(call("DELETE", "/thing-types/t").error, "InvalidRequestException");
  ASSERT_TRUE(call("POST", "/thing-types/t/deprecate", json::object()).good());
  EXPECT_EQ(call("POST", "/things/a", {{"thingTypeName", "t"}}).error, "InvalidRequestException");
  EXPECT_EQ(call("DELETE", "/thing-types/t").error, "InvalidRequestException");
  let_pass(5min);
  EXPECT_TRUE(call("DELETE", "/thing-types/t").good());
  EXPECT_EQ(call("GET", "/thing-types/t").error, "ResourceNotFoundException");
}

TEST_F(Registry, AThingKeepsItsGroups) {
  call("POST", "/things/a", json::object());
  EXPECT_EQ(call("PUT", "/thing-groups/addThingToThingGroup", {{"thingName", "a"}, {"thingGroupName", "g"}}).error,
            "ResourceNotFoundException");
  ASSERT_TRUE(call("POST", "/thing-groups/g", json::object()).good());
  EXPECT_TRUE(call("PUT", "/thing-groups/addThingToThingGroup", {{"thingName", "a"}, {"thingGroupName", "g"}}).good());
  EXPECT_TRUE(call("PUT", "/thing-groups/addThingToThingGroup", {{"thingName", "a"}, {"thingGroupName", "g"}}).good());
  EXPECT_EQ(call("GET", "/things/a/thing-groups").body["thingGroups"][0]["groupName"], "g");
  EXPECT_EQ(call("GET", "/thing-groups/g/things").body["things"], json::array({"a"}));
  EXPECT_TRUE(call("DELETE", "/things/a").good());
  EXPECT_EQ(call("GET", "/thing-groups/g/things").body["things"].size(), 0u);
}

TEST_F(Registry, ACertificateMadeElsewhereIsRegisteredOnce) {
  Device own;
  std::string pem = own.certificate("24d7eb123456");
  Said said = call("POST", "/certificate/register-no-ca", {{"certificatePem", pem}, {"status", "INACTIVE"}});
  ASSERT_TRUE(said.good());
  EXPECT_EQ(said.text("certificateId"), iot::read_certificate_pem(pem)->id);
  Said described = call("GET", "/certificates/" + said.text("certificateId"));
  EXPECT_EQ(described.body["certificateDescription"]["certificateMode"], "SNI_ONLY");
  Said again = call("POST", "/certificate/register-no-ca", {{"certificatePem", pem}, {"status", "INACTIVE"}});
  EXPECT_EQ(again.error, "ResourceAlreadyExistsException");
  EXPECT_EQ(again.text("resourceId"), said.text("certificateId"));
  EXPECT_EQ(call("POST", "/certificate/register-no-ca", {{"certificatePem", "none"}}).error,
            "CertificateValidationException");
}

TEST_F(Registry, AnAuthorityProvesThatItHasItsKey) {
  Device authority, leaf, stranger;
  std::string pem = authority.certificate("Our CA", nullptr, {}, true);
  std::string code = call("GET", "/registrationcode").text("registrationCode");
  ASSERT_EQ(code.size(), 64u);
  auto verify = [&](const std::string& proof) {
    return call("POST", "/cacertificate?setAsActive=true", {{"caCertificate", pem}, {"verificationCertificate", proof}})
        .error;
  };
  EXPECT_EQ(call("POST", "/cacertificate", {{"caCertificate", pem}}).error, "InvalidRequestException");
  EXPECT_EQ(verify(leaf.certificate("another name", &authority, "Our CA")), "RegistrationCodeValidationException");
  EXPECT_EQ(verify(leaf.certificate(code, &stranger, "Our CA")), "CertificateValidationException");
  EXPECT_EQ(verify(leaf.certificate(code, &authority, "Our CA")), "");
  EXPECT_EQ(verify(leaf.certificate(code, &authority, "Our CA")), "ResourceAlreadyExistsException");

  std::string device = leaf.certificate("24d7eb123456", &authority, "Our CA");
  Said registered = call("POST", "/certificate/register", {{"certificatePem", device}, {"caCertificatePem", pem}});
  ASSERT_TRUE(registered.good());
  EXPECT_EQ(
      call("POST", "/certificate/register", {{"certificatePem", leaf.certificate("b", &stranger, "Our CA")}}).error,
      "CertificateValidationException");
  std::string ca_id = iot::read_certificate_pem(pem)->id;
  EXPECT_EQ(call("GET", "/certificates-by-ca/" + ca_id).body["certificates"].size(), 1u);
  EXPECT_EQ(call("DELETE", "/cacertificate/" + ca_id).error, "CertificateStateException");
  EXPECT_TRUE(call("PUT", "/cacertificate/" + ca_id + "?newStatus=INACTIVE").good());
  EXPECT_TRUE(call("DELETE", "/cacertificate/" + ca_id).good());
}

TEST_F(Registry, AnAuthorityForServerNamesNeedsNoProof) {
  Device authority;
  std::string pem = authority.certificate("Our CA", nullptr, {}, true);
  EXPECT_EQ(call("POST", "/cacertificate",
                 {{"caCertificate", pem}, {"certificateMode", "SNI_ONLY"}, {"verificationCertificate", pem}})
                .error,
            "InvalidRequestException");
  EXPECT_TRUE(call("POST", "/cacertificate", {{"caCertificate", pem}, {"certificateMode", "SNI_ONLY"}}).good());
  EXPECT_EQ(
      call("POST", "/cacertificate", {{"caCertificate", Device{}.certificate("leaf")}, {"certificateMode", "SNI_ONLY"}})
          .error,
      "CertificateValidationException");
}

TEST_F(Registry, AnAccountGoesOnFromItsFile) {
  std::string id = new_certificate("?setAsActive=true");
  call("POST", "/thing-types/board", json::object());
  json body = attributes({{"owner", "x"}});
  body["thingTypeName"] = "board";
  std::string thing_id = call("POST", "/things/a", body).text("thingId");
  call("POST", "/thing-groups/g", json::object());
  call("PUT", "/thing-groups/addThingToThingGroup", {{"thingName", "a"}, {"thingGroupName", "g"}});
  call("POST", "/policies/p", {{"policyDocument", small_policy}});
  call("PUT", "/target-policies/p", {{"target", arn(id)}});
  call("PUT", "/things/a/principals", {}, arn(id));
  Iot next{loop, {.seed = 1}};
  ASSERT_TRUE(iot::restore_account(next.account(), iot::saved_account(cloud.account())));
  json before = cloud.state(), after = next.state();
  before.erase("calls");
  after.erase("calls");
  EXPECT_EQ(after, before);
  Caller other{next, loop};
  EXPECT_EQ(other.call("GET", "/things/a").text("thingId"), thing_id);
  EXPECT_NE(other.call("POST", "/things/b", json::object()).text("thingId"), thing_id);
  Iot refused{loop, {.seed = 1}};
  EXPECT_FALSE(iot::restore_account(refused.account(), json::parse("[]")));
}

TEST_F(Registry, WhatIsNoOperationIsNotFound) {
  Said said = call("GET", "/jobs");
  EXPECT_EQ(said.status, 404);
  EXPECT_EQ(said.error, "UnknownOperationException");
}

}  // namespace
}  // namespace espmint::sim
