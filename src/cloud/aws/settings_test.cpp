#include "cloud/aws/settings.hpp"

#include <gtest/gtest.h>

#include "cloud/aws/surroundings_double.hpp"

namespace espmint::aws {
namespace {

struct AwsSettings : testing::Test {
  SurroundingsDouble around;
  Wanted wanted;

  Result<Settings> find() { return find_settings(around.view(), wanted); }
  std::string region() {
    const auto found = find();
    return found ? found->region : "fault: " + describe(found.error());
  }
  std::string endpoint() {
    const auto found = find();
    return found ? found->endpoint : "fault: " + describe(found.error());
  }
};

// ---- region

TEST_F(AwsSettings, TakeTheRegionFromTheFirstThatHasOne) {
  around.config() = "[default]\nregion = eu-west-1 # Dublin\n[profile factory]\nregion = ap-northeast-1\n";
  EXPECT_EQ(region(), "eu-west-1");
  EXPECT_EQ(find()->region_from, "profile default");
  around.variables["AWS_PROFILE"] = "factory";
  EXPECT_EQ(region(), "ap-northeast-1");
  wanted.profile = "default";
  EXPECT_EQ(region(), "eu-west-1");
  around.variables["AWS_DEFAULT_REGION"] = "eu-west-2";
  EXPECT_EQ(region(), "eu-west-2");
  around.variables["AWS_REGION"] = "eu-west-3 ";
  EXPECT_EQ(region(), "eu-west-3");
  wanted.region = "eu-central-1";
  EXPECT_EQ(region(), "eu-central-1");
  EXPECT_EQ(find()->region_from, "flag or recipe");
}

TEST_F(AwsSettings, NeverGuessTheRegion) {
  around.variables["AWS_REGION"] = "";
  const auto found = find();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::credentials_missing);
  EXPECT_EQ(found.error().remedy, Remedy::refuse);
  for (const std::string place : {"AWS_REGION", "AWS_DEFAULT_REGION", "profile default", "/home/ann/.aws/config"})
    EXPECT_NE(found.error().seen.find(place), std::string::npos) << place;
}

TEST_F(AwsSettings, RefuseARegionThatWouldBeAnotherHost) {
  for (const std::string bad : {"eu-central-1.evil.example/", "eu_central_1", "EU-CENTRAL-1", "-x", "x-", "eu central",
                                "a@b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x\r\ny"}) {
    wanted.region = bad;
    EXPECT_NE(region().find("is no AWS region"), std::string::npos) << bad;
  }
}

// ---- endpoint

TEST_F(AwsSettings, UseTheServiceOfTheRegion) {
  wanted.region = "eu-central-1";
  EXPECT_EQ(endpoint(), "https://iot.eu-central-1.amazonaws.com");
  wanted.region = "cn-north-1";
  EXPECT_EQ(endpoint(), "https://iot.cn-north-1.amazonaws.com.cn");
  wanted.region = "us-gov-west-1";
  around.variables["AWS_USE_FIPS_ENDPOINT"] = "true";
  EXPECT_EQ(endpoint(), "https://iot-fips.us-gov-west-1.amazonaws.com");
  around.variables["AWS_USE_DUALSTACK_ENDPOINT"] = "True";
  EXPECT_EQ(endpoint(), "https://iot-fips.us-gov-west-1.api.aws");
  around.variables["AWS_USE_FIPS_ENDPOINT"] = "false";
  around.config() = "[default]\nuse_fips_endpoint = true\n";
  EXPECT_EQ(endpoint(), "https://iot.us-gov-west-1.api.aws");
}

TEST_F(AwsSettings, TakeTheEndpointFromTheFirstThatHasOne) {
  wanted.region = "eu-central-1";
  around.config() = "[default]\nendpoint_url = http://profile:1\n";
  EXPECT_EQ(endpoint(), "http://profile:1");
  around.config() =
      "[default]\nendpoint_url = http://profile:1\nservices = local\n[services local]\niot =\n  endpoint_url = "
      "http://services:2/\n";
  EXPECT_EQ(endpoint(), "http://services:2");
  around.variables["AWS_ENDPOINT_URL"] = "http://all:3";
  EXPECT_EQ(endpoint(), "http://all:3");
  around.variables["AWS_ENDPOINT_URL_IOT"] = "https://iot:4/emulator/";
  EXPECT_EQ(endpoint(), "https://iot:4/emulator");
  EXPECT_EQ(find()->endpoint_from, "AWS_ENDPOINT_URL_IOT");
  around.variables["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true";
  EXPECT_EQ(endpoint(), "https://iot.eu-central-1.amazonaws.com");
  wanted.endpoint_url = "http://flag:5";
  EXPECT_EQ(endpoint(), "http://flag:5");
}

TEST_F(AwsSettings, RefuseAnEndpointThatIsNoAddressAndDoNotShowIt) {
  wanted.region = "eu-central-1";
  for (const std::string bad :
       {"localhost:4566", "ftp://x", "http://", "http://ann:password@host", "http://host?password", "http://host:99999",
        "http://ho st", "http://[::1", "https://host/pass word"}) {
    around.variables["AWS_ENDPOINT_URL"] = bad;
    EXPECT_NE(endpoint().find("is not an address"), std::string::npos) << bad;
    EXPECT_EQ(endpoint().find("password"), std::string::npos) << bad;
  }
}

TEST_F(AwsSettings, KnowABundleOfCas) {
  wanted.region = "eu-central-1";
  around.config() = "[default]\nca_bundle = /etc/factory.pem\n";
  EXPECT_EQ(find()->ca_bundle, "/etc/factory.pem");
  around.variables["AWS_CA_BUNDLE"] = "/etc/other.pem";
  EXPECT_EQ(find()->ca_bundle, "/etc/other.pem");
}

// ---- files

TEST_F(AwsSettings, ReadTheFilesThatAreNamed) {
  around.variables["AWS_CONFIG_FILE"] = "~/elsewhere";
  around.files["/home/ann/elsewhere"] = "[default]\nregion = eu-north-1\n";
  EXPECT_EQ(region(), "eu-north-1");
  around.variables["AWS_SHARED_CREDENTIALS_FILE"] = "/etc/keys";
  around.files["/etc/keys"] = "[default]\nregion = eu-south-1\n";
  EXPECT_EQ(region(), "eu-south-1");
}

TEST_F(AwsSettings, NeedNoHomeAndNoFiles) {
  around.variables = {{"AWS_REGION", "eu-central-1"}};
  EXPECT_EQ(region(), "eu-central-1");
}

TEST_F(AwsSettings, SayWhichProfileIsNowhere) {
  wanted = {"factroy", "eu-central-1", ""};
  around.config() = "[profile factory]\n[factroy]\n";  // without the word "profile" it is none in this file
  const auto found = find();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::credentials_missing);
  EXPECT_NE(found.error().what.find("\"factroy\""), std::string::npos);
  EXPECT_NE(found.error().seen.find("/home/ann/.aws/credentials and /home/ann/.aws/config"), std::string::npos)
      << found.error().seen;
}

TEST_F(AwsSettings, SayWhichFileIsUnreadableOrDamaged) {
  wanted.region = "eu-central-1";
  around.config() = "!";
  EXPECT_NE(region().find("/home/ann/.aws/config"), std::string::npos) << region();
  EXPECT_NE(region().find("Permission denied"), std::string::npos) << region();
  around.config() = "[default]\nnonsense\n";
  EXPECT_NE(region().find("/home/ann/.aws/config:2"), std::string::npos) << region();
}

TEST(WebAddress, IsPartedAsClientsDo) {
  const auto plain = parse_web_address("HTTPS://Host.Example:8443/a%3ab/");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->scheme + "|" + plain->host + "|" + plain->port + "|" + plain->path,
            "https|host.example|8443|/a%3ab/");
  const auto six = parse_web_address("http://[fd00:ec2::23]:80");
  ASSERT_TRUE(six);
  EXPECT_EQ(six->scheme + "|" + six->host + "|" + six->port + "|" + six->path, "http|fd00:ec2::23|80|");
}

}  // namespace
}  // namespace espmint::aws
