// Signatures as botocore makes them are good, and nothing that differs from them is.
#include "sim/cloud/signature.hpp"

#include <gtest/gtest.h>

#include "sim/cloud/caller_for_tests.hpp"

namespace espmint::sim {
namespace {

using namespace std::chrono_literals;

// 2026-11-22T08:15:30Z
constexpr WallTime signed_at{1'795'335'330s};
constexpr std::string_view certificate_arn =
    "arn:aws:iot:eu-central-1:123456789012:cert/abababababababababababababababababababababababababababababababab";

struct Vector {
  std::string name, method, target;
  std::vector<HttpHeader> headers;
  std::string body, token, service, signed_headers, signature;
};

void PrintTo(const Vector& vector, std::ostream* out) { *out << vector.name; }

// Made with botocore 1.43.11: SigV4Auth(Credentials(id, secret, token), service, "eu-central-1").add_auth(request) at
// this moment, for https://iot.eu-central-1.amazonaws.com; key and secret are those of AWS's examples.
const AccessKey example{.id = "AKIDEXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
std::vector<Vector> vectors() {
  HttpHeader type{"Content-Type", "application/json"};
  return {
      {"plain",
       "POST",
       "/things/24d7eb123456",
       {type},
       R"({"thingTypeName":"board"})",
       "",
       "iot",
       "content-type;host;x-amz-date",
       "f1ed1a6c3b8fdb2aa11f7d90ea58137aecf8ea5a96bfcaa842836a0cc7d798fb"},
      {"older_service",
       "GET",
       "/endpoint?endpointType=iot%3AData-ATS",
       {},
       "",
       "",
       "execute-api",
       "host;x-amz-date",
       "5150c7e5576265b1878af339acfc880d9b482362368e41d31a51400a5fd405d2"},
      {"colons",
       "GET",
       "/things/24%3Ad7%3Aeb%3A12%3A34%3A56",
       {},
       "",
       "",
       "iot",
       "host;x-amz-date",
       "da3022e06e6edc454c2202ff075533ca023307ea8c8fb8f284a789630557c6e3"},
      {"arn_in_the_path",
       "POST",
       "/attached-policies/" + label(certificate_arn) + "?recursive=false&pageSize=250",
       {},
       "",
       "",
       "iot",
       "host;x-amz-date",
       "f78e631608bb0133608551b018187d936dabded30a6607175d4d78c192dbe15f"},
      {"principal",
       "PUT",
       "/things/a/principals",
       {{"x-amzn-principal", std::string{certificate_arn}}},
       "",
       "",
       "iot",
       "host;x-amz-date;x-amzn-principal",
       "2952aec6b3e927943b5038485c6d1540efb3db77d3362eb6efb21eeb28ecbf2a"},
      {"token",
       "DELETE",
       "/policies/a%2Bb%3Dc%2Cd.e%40f-g",
       {},
       "",
       "a/token+with=signs",
       "iot",
       "host;x-amz-date;x-amz-security-token",
       "cd050473f59f5d6ec0b058019d881f68dfedc5e1c2fe57205d0d1cd4fb376c1c"},
      {"unsorted_query",
       "GET",
       "/things?maxResults=25&attributeValue=x%20y&attributeName=owner",
       {},
       "",
       "",
       "iot",
       "host;x-amz-date",
       "405712d0c7c21167cbe119ba2f45d7f86d2ca52f352821c2060ca171486e1106"},
      {"not_ascii",
       "PATCH",
       "/things/a",
       {type},
       "{\"a\":\"\xc3\xbc\"}",
       "",
       "iot",
       "content-type;host;x-amz-date",
       "47458a9f3e6af741b212316184dd1e5e0eb9e35771c1ac115619a6a8f370dcc9"},
  };
}

CloudRequest request_of(const Vector& vector) {
  CloudRequest request{
      .method = vector.method, .target = vector.target, .headers = vector.headers, .body = vector.body};
  request.headers.push_back({"Host", "iot.eu-central-1.amazonaws.com"});
  request.headers.push_back({"x-amz-date", "20261122T081530Z"});
  if (!vector.token.empty()) request.headers.push_back({"X-Amz-Security-Token", vector.token});
  request.headers.push_back(
      {"Authorization", fmt::format("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/eu-central-1/{}/aws4_request, "
                                    "SignedHeaders={}, Signature={}",
                                    vector.service, vector.signed_headers, vector.signature)});
  return request;
}

/// "" where it is good, else the type of the refusal.
std::string verdict(const CloudRequest& request, const AccessKey& key, WallTime now = signed_at,
                    std::string_view region = "eu-central-1") {
  std::vector<const AccessKey*> keys{&key};
  auto good = verify_signature(request, keys, region, now);
  return good ? "" : good.error().error;
}

class SignatureOfBotocore : public testing::TestWithParam<Vector> {};

TEST_P(SignatureOfBotocore, IsGood) {
  AccessKey key = example;
  key.token = GetParam().token;
  EXPECT_EQ(verdict(request_of(GetParam()), key), "");
}

TEST_P(SignatureOfBotocore, IsWorthNothingForAnotherRequest) {
  AccessKey key = example;
  key.token = GetParam().token;
  const std::string invalid = "InvalidSignatureException";
  CloudRequest request = request_of(GetParam());
  request.body += " ";
  EXPECT_EQ(verdict(request, key), invalid);
  request = request_of(GetParam());
  request.target += request.query().empty() ? "?a=b" : "&a=b";
  EXPECT_EQ(verdict(request, key), invalid);
  request = request_of(GetParam());
  request.method = "HEAD";
  EXPECT_EQ(verdict(request, key), invalid);
  request = request_of(GetParam());
  key.secret.back() = 'X';
  EXPECT_EQ(verdict(request, key), invalid);
}

INSTANTIATE_TEST_SUITE_P(Signature, SignatureOfBotocore, testing::ValuesIn(vectors()),
                         [](const auto& one) { return one.param.name; });

TEST(Signature, EachReasonHasItsType) {
  CloudRequest good = request_of(vectors()[0]);
  const std::string invalid = "InvalidSignatureException";
  EXPECT_EQ(verdict(good, example, signed_at + 5min), "");
  EXPECT_EQ(verdict(good, example, signed_at + 5min + 1s), invalid);
  EXPECT_EQ(verdict(good, example, signed_at - 5min - 1s), invalid);
  EXPECT_EQ(verdict(good, example, signed_at, "us-east-1"), invalid);
  AccessKey other = example;
  other.id = "AKIDOTHER";
  EXPECT_EQ(verdict(good, other), "UnrecognizedClientException");
  CloudRequest bare = good;
  bare.headers.pop_back();
  EXPECT_EQ(verdict(bare, example), "MissingAuthenticationTokenException");
  CloudRequest odd = good;
  odd.headers.back().value = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE";
  EXPECT_EQ(verdict(odd, example), "IncompleteSignatureException");
}

TEST(Signature, ATemporaryKeyNeedsItsTokenAndTime) {
  CloudRequest with_token = request_of(vectors()[5]);
  AccessKey key = example;
  EXPECT_EQ(verdict(with_token, key), "UnrecognizedClientException");
  key.token = "a/token+with=signs";
  EXPECT_EQ(verdict(with_token, key), "");
  EXPECT_EQ(verdict(request_of(vectors()[0]), key), "UnrecognizedClientException");
  key.expires = signed_at;
  EXPECT_EQ(verdict(with_token, key), "ExpiredTokenException");
}

TEST(Signature, SaysTheClockInTheWordsClientsLookFor) {
  std::vector<const AccessKey*> keys{&example};
  auto late = verify_signature(request_of(vectors()[0]), keys, "eu-central-1", signed_at + 10min);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().message,
            "Signature expired: 20261122T081530Z is now earlier than 20261122T082030Z (20261122T082530Z - 5 min.)");
}

TEST(Signature, WhatSaysWhatIsAskedForMustBeSigned) {
  CloudRequest request = request_of(vectors()[0]);
  request.headers.push_back({"X-Amzn-Principal", std::string{certificate_arn}});
  EXPECT_EQ(verdict(request, example), "InvalidSignatureException");
  request = request_of(vectors()[0]);
  request.headers.push_back({"User-Agent", "anything"});
  EXPECT_EQ(verdict(request, example), "");
}

}  // namespace
}  // namespace espmint::sim
