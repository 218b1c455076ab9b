#include "cloud/aws/reply.hpp"

#include <gtest/gtest.h>

namespace espmint::aws {
namespace {

HttpReply reply_of(int status, std::string body, std::vector<HttpHeader> headers = {}) {
  return {status, std::move(headers), std::move(body)};
}
HttpReply error_of(int status, std::string type, std::string message = "no") {
  return reply_of(status, "{\"message\":\"" + message + "\"}", {{"x-amzn-ErrorType", std::move(type)}});
}
std::string name_of_error(const HttpReply& reply) {
  auto read = parse_reply(reply);
  return read ? read->answer.error : describe(read.error());
}

TEST(AwsReply, AGoodOneKeepsItsBody) {
  auto read = parse_reply(reply_of(200, R"({"thingName":"24d7eb123456"})"));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->meaning, Meaning::answered);
  EXPECT_TRUE(read->answer.good());
  EXPECT_EQ(read->answer.body, R"({"thingName":"24d7eb123456"})");
  for (const char* nothing : {"", "\r\n"}) {
    auto empty = parse_reply(reply_of(200, nothing));
    ASSERT_TRUE(empty);
    EXPECT_TRUE(empty->answer.good());
    EXPECT_EQ(empty->answer.body, "");
  }
}

TEST(AwsReply, AnErrorHasItsNameFromTheHeaderElseFromTheBody) {
  EXPECT_EQ(name_of_error(error_of(404, "ResourceNotFoundException")), "ResourceNotFoundException");
  EXPECT_EQ(name_of_error(error_of(404, "ResourceNotFoundException:http://internal.amazon.com/coral/x#y")),
            "ResourceNotFoundException");
  EXPECT_EQ(name_of_error(error_of(409, "com.amazonaws.iot#DeleteConflictException:http://x")),
            "DeleteConflictException");
  EXPECT_EQ(name_of_error(reply_of(400, R"({"__type":"aws.iot#InvalidRequestException","message":"m"})")),
            "InvalidRequestException");
  EXPECT_EQ(name_of_error(reply_of(410, R"({"code":"LimitExceededException","Message":"m"})")),
            "LimitExceededException");
  EXPECT_EQ(
      name_of_error(reply_of(404, "<?xml version='1.0'?><Error><Code>NoSuchThing</Code><Message>m</Message></Error>")),
      "NoSuchThing");
  EXPECT_EQ(name_of_error(reply_of(400, R"({"message":"no name"})")), "HTTP 400");
}

TEST(AwsReply, AnErrorHasItsMessageAndWhatIsInTheWay) {
  auto read =
      parse_reply(reply_of(409, R"({"message":"Thing exists","resourceId":"24d7","resourceArn":"arn:aws:iot:x"})",
                           {{"X-Amzn-Errortype", "ResourceAlreadyExistsException"}}));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->meaning, Meaning::answered);
  EXPECT_EQ(read->answer.status, 409);
  EXPECT_EQ(read->answer.message, "Thing exists");
  EXPECT_EQ(read->answer.resource_id, "24d7");
  EXPECT_EQ(read->answer.resource_arn, "arn:aws:iot:x");
  EXPECT_EQ(in_short(read->answer), "409 ResourceAlreadyExistsException: Thing exists");
  EXPECT_EQ(parse_reply(reply_of(404, R"({"Message":"capital"})", {{"x-amzn-errortype", "ResourceNotFoundException"}}))
                ->answer.message,
            "capital");
}

TEST(AwsReply, MeansWhatItsNameAndStatusSay) {
  struct Row {
    int status;
    const char *type, *message;
    Meaning meaning;
  };
  const Row rows[] = {
      {400, "ThrottlingException", "Rate exceeded", Meaning::throttled},
      {400, "Throttling", "", Meaning::throttled},
      {429, "LimitExceededException", "", Meaning::throttled},
      {400, "TooManyRequestsException", "", Meaning::throttled},
      {429, "", "slow down", Meaning::throttled},
      {410, "LimitExceededException", "", Meaning::answered},
      {500, "InternalFailureException", "", Meaning::failed},
      {503, "ServiceUnavailableException", "", Meaning::failed},
      {500, "", "", Meaning::failed},
      {504, "", "", Meaning::failed},
      {400, "RequestTimeoutException", "", Meaning::failed},
      {408, "", "", Meaning::failed},
      {400, "InvalidRequestException", "", Meaning::answered},
      {404, "ResourceNotFoundException", "", Meaning::answered},
      {406, "CertificateStateException", "", Meaning::answered},
      {409, "ResourceAlreadyExistsException", "", Meaning::answered},
      {409, "DeleteConflictException", "", Meaning::answered},
      {409, "VersionConflictException", "", Meaning::answered},
      {401, "UnauthorizedException", "", Meaning::denied},
      {403, "AccessDeniedException", "", Meaning::denied},
      {403, "", "", Meaning::denied},
      {403, "SignatureDoesNotMatch", "check your key", Meaning::denied},
      {403, "MissingAuthenticationTokenException", "", Meaning::denied},
      {403, "UnrecognizedClientException", "The security token included in the request is invalid", Meaning::expired},
      {403, "ExpiredTokenException", "", Meaning::expired},
      {403, "", "The security token included in the request is expired", Meaning::expired},
      {403, "InvalidSignatureException", "Signature expired: 20150830T123600Z is now earlier than 20150830T124100Z",
       Meaning::clock},
      {403, "", "Signature not yet current: 20150830T123600Z is still later than 20150830T123100Z", Meaning::clock},
      {403, "RequestTimeTooSkewed", "", Meaning::clock},
  };
  for (const Row& row : rows) {
    auto read = parse_reply(error_of(row.status, row.type, row.message));
    ASSERT_TRUE(read) << row.status << row.type << describe(read.error());
    EXPECT_EQ(read->meaning, row.meaning) << row.status << row.type;
    EXPECT_FALSE(read->answer.good());
  }
}

TEST(AwsReply, WhatIsNotTheServiceIsToldApart) {
  struct Row {
    HttpReply reply;
    Code code;
    const char* says;
  };
  std::string deep(100'000, '['), binary = "{\"a\":\"\xff\xfe\"}";
  const Row rows[] = {
      {reply_of(200, "<!DOCTYPE html><title>Hotel WiFi</title>"), Code::cloud_reply_invalid, "captive portal"},
      {reply_of(403, "\n<html>blocked by policy</html>"), Code::cloud_reply_invalid, "web page"},
      {reply_of(302, "", {{"Location", "http://login.hotel.example/start?token=abc"}}), Code::cloud_reply_invalid,
       "HTTP 302 to http://login.hotel.example. "},
      {reply_of(302, "", {{"Location", "http://a:pw@h/"}}), Code::cloud_reply_invalid, "elsewhere"},
      {reply_of(407, "<html>"), Code::cloud_unreachable, "proxy wants a name"},
      {reply_of(200, "hello"), Code::cloud_reply_invalid, "no JSON"},
      {reply_of(200, "[1]"), Code::cloud_reply_invalid, "no JSON object"},
      {reply_of(200, "{\"a\":1"), Code::cloud_reply_invalid, "no JSON"},
      {reply_of(200, "{\"a\":" + deep), Code::cloud_reply_invalid, "no JSON"},
      {reply_of(200, binary), Code::cloud_reply_invalid, "no JSON"},
      {reply_of(404, "not found"), Code::cloud_reply_invalid, "not AWS IoT"},
      {reply_of(404, "{}"), Code::cloud_reply_invalid, "not AWS IoT"},
      {reply_of(400, R"({"__type":5,"message":["x"]})"), Code::cloud_reply_invalid, "not AWS IoT"},
      {reply_of(400, "", {{"x-amzn-ErrorType", "Two words\x1b[2J"}}), Code::cloud_reply_invalid, "not AWS IoT"},
      {reply_of(101, ""), Code::cloud_reply_invalid, "HTTP 101"},
      {reply_of(999, "{}"), Code::cloud_reply_invalid, "HTTP 999"},
      {reply_of(0, ""), Code::cloud_reply_invalid, "HTTP 0"},
  };
  for (const Row& row : rows) {
    auto read = parse_reply(row.reply);
    ASSERT_FALSE(read) << row.reply.status << row.reply.body.substr(0, 50);
    EXPECT_EQ(read.error().code, row.code);
    EXPECT_NE(describe(read.error()).find(row.says), std::string::npos) << describe(read.error());
    EXPECT_EQ(describe(read.error()).find("abc"), std::string::npos) << "no query of a redirect is shown";
  }
}

TEST(AwsReply, AGatewaysPageIsAFailureNotAnAnswer) {
  auto read = parse_reply(reply_of(502, "<html>Bad gateway</html>"));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->meaning, Meaning::failed);
  EXPECT_TRUE(read->is_page);
}

TEST(AwsReply, AStrangersWordsAreShortAndSteerNoTerminal) {
  auto read = parse_reply(error_of(400, "InvalidRequestException", std::string(100'000, 'x') + "y"));
  ASSERT_TRUE(read);
  EXPECT_LT(read->answer.message.size(), 2100u);
  read = parse_reply(error_of(400, "InvalidRequestException", "a\\u001b[2Jb\\nc"));
  EXPECT_EQ(in_short(read->answer), "400 InvalidRequestException: a\\x1b[2Jb c");
  std::string umlauts;
  for (int i = 0; i < 400; ++i) umlauts += "\xC3\xBC";
  read = parse_reply(error_of(400, "InvalidRequestException", " " + umlauts));
  EXPECT_TRUE(in_short(read->answer).ends_with("\xC3\xBC...")) << "no half of a character";
}

TEST(AwsReply, ADenialSaysWhichActionToWhom) {
  auto sentence = [](const HttpReply& reply) {
    Fault fault = denial(*parse_reply(reply), "CreateThing", "eu-central-1", "profile factory");
    EXPECT_EQ(fault.code, Code::cloud_denied);
    EXPECT_EQ(fault.remedy, Remedy::stop_line);
    return describe(fault);
  };
  auto has = [](const std::string& text, std::string_view part) { return text.find(part) != text.npos; };
  std::string said = sentence(error_of(403, "AccessDeniedException",
                                       "User: arn:aws:iam::123456789012:user/factory is not authorized to perform: "
                                       "iot:TagResource on resource: arn:aws:iot:x because no identity-based policy"));
  EXPECT_TRUE(has(said, "denies iot:TagResource to arn:aws:iam::123456789012:user/factory")) << said;
  said = sentence(error_of(401, "UnauthorizedException", "You are not authorized to perform this operation."));
  EXPECT_TRUE(has(said, "denies iot:CreateThing to the keys from profile factory")) << said;
  said = sentence(error_of(403, "AccessDenied", "User: arn:\\u001b[2J is not authorized to perform: \\u001b[2Jiot:X"));
  EXPECT_FALSE(has(said, "\x1b")) << said;
  EXPECT_TRUE(has(sentence(error_of(403, "UnrecognizedClientException")), "does not know the access key"));
  EXPECT_TRUE(has(sentence(error_of(403, "UnrecognizedClientException", "The security token is expired")),
                  "token has expired"));
  EXPECT_TRUE(has(sentence(error_of(403, "ExpiredTokenException")), "token has expired"));
  EXPECT_TRUE(has(sentence(error_of(403, "SignatureDoesNotMatch")), "does not belong to the access key"));
  EXPECT_TRUE(has(sentence(error_of(403, "RequestTimeTooSkewed")), "clock"));
  EXPECT_TRUE(has(
      sentence(error_of(403, "InvalidSignatureException", "Credential should be scoped to a valid region, not 'x'.")),
      "another region or service than eu-central-1"));
}

TEST(HttpDate, IsReadStrictly) {
  auto unix_time = [](std::string_view text) -> std::int64_t {
    auto at = parse_http_date(text);
    return at ? at->time_since_epoch().count() : -1;
  };
  EXPECT_EQ(unix_time("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  EXPECT_EQ(unix_time(" Thu, 29 Feb 2024 23:59:59 GMT "), 1709251199);
  for (const char* bad :
       {"", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 6 Nov 1994 08:49:37 GMT", "Thu, 29 Feb 2023 00:00:00 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov -994 08:49:37 GMT"})
    EXPECT_EQ(unix_time(bad), -1) << bad;
}

}  // namespace
}  // namespace espmint::aws
