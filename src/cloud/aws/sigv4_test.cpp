#include "cloud/aws/sigv4.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cloud/aws/client.hpp"

namespace espmint::aws {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view key_id = "AKIDEXAMPLE";
constexpr std::string_view secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
constexpr std::string_view token = "IQoJb3JpZ2luX2VjEXAMPLE//////////token+with/signs==";

struct Vector {
  std::string_view name, method, host, path, query;
  std::vector<HttpHeader> headers;
  std::string_view body, session_token, region, service;
  std::int64_t unix_time;
  std::string_view signed_headers, signature;
};

// Signed by botocore 1.43.11, SigV4Auth, at the time given; it was handed the method, the URL, the headers and the
// body.
const std::vector<Vector> signed_by_botocore = {
    {"a thing",
     "POST",
     "iot.eu-central-1.amazonaws.com",
     "/things/24d7eb123456",
     "",
     {{"content-type", "application/json"}},
     "{\"thingTypeName\":\"lamp\"}",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "content-type;host;x-amz-date",
     "f7cd5df8094ccc14d6b777327d8319f0bcaed479a8b8966cbc8f96fb8b3e6831"},
    {"no body",
     "POST",
     "iot.eu-central-1.amazonaws.com",
     "/keys-and-certificate",
     "setAsActive=false",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "0215cb3f638a0db7e45eb06907f4e93d89e4fdce2425731772b917b87c9d9503"},
    {"':' in a thing's name",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/things/24%3Ad7%3Aeb%3A12%3A34%3A56",
     "",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "48ba0e13bb1ca43df34c83a905c6ff41a6b6d307b43b2a5a2044761abb9ba01a"},
    {"':' sent as it is",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/things/24:d7:eb:12:34:56",
     "",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "09200a44d8e1a166d73072ba716631b0913c3eb3603a7425d8deb3174fdc02b5"},
    {"ARN in the path",
     "POST",
     "iot.eu-central-1.amazonaws.com",
     "/attached-policies/arn%3Aaws%3Aiot%3Aeu-central-1%3A123456789012%3Acert%2F9f3c00ff",
     "",
     {},
     "",
     token,
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date;x-amz-security-token",
     "fc635d9320768f463f02ad5a672617fe6e00990137d2496a1d5358a2d0ba9f20"},
    {"policy name with signs",
     "PUT",
     "iot.eu-central-1.amazonaws.com",
     "/target-policies/a%2Bb%3Dc%2Cd%40e.f-g_h",
     "",
     {{"content-type", "application/json"}},
     "{\"target\":\"arn:aws:iot:eu-central-1:123456789012:cert/9f3c00ff\"}",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "content-type;host;x-amz-date",
     "6f454582aad5a7d72af5e676cb9f573e9af81469f417b08d15ad6b43af25a749"},
    {"% in a label",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/policies/100%25",
     "",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "a94e2fdb64d376a806b9de5e378eedca981667b86fef71a1fc04b90a2b829e0f"},
    {"query with an encoded colon",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/endpoint",
     "endpointType=iot%3AData-ATS",
     {},
     "",
     "",
     "us-east-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "18fad695d26162cd6c7aac39d0e2523f0dfe1800ca4bbc1566f49120fd9689a2"},
    {"unsorted query",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/things",
     "thingTypeName=lamp&maxResults=250&attributeName=owner&attributeValue=a%20b%2F%C3%BC",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "f27146d21873fbeb462e6689b79246b02fe18e8709ca6e81ad16b7083ea869fa"},
    {"same name twice, values unsorted",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/things",
     "a=2&a=10&A=3&a=1",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "659ce022eb47db1a2795ed9f2076d27fce8645f0ee50c15600e23f86b5199b05"},
    {"empty value",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/certificates",
     "marker=&pageSize=25",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "8229ebc9d809627afb0a0c068a8984cfe83e913282f96f01423b021b538b4f8f"},
    {"name without a value",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/certificates",
     "pageSize=25&isAscendingOrder",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "a7e320e0aef0c9d3780ff2c9ed451d078abfaee17b00955cf302bf9fd33b2aca"},
    {"session token",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/certificates",
     "",
     {},
     "",
     token,
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date;x-amz-security-token",
     "6f88cac7f07524420986c37a84c5c66f3d2e3188f61a5e6542c777d40a1b1c41"},
    {"principal",
     "PUT",
     "iot.eu-central-1.amazonaws.com",
     "/things/24d7eb123456/principals",
     "",
     {{"x-amzn-principal", "arn:aws:iot:eu-central-1:123456789012:cert/9f3c00ff"}},
     "",
     token,
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date;x-amz-security-token;x-amzn-principal",
     "56fb6598a06a47359b6bf20a38284cd222e325cb41745d7bc851eb5e06170683"},
    {"principal of the deprecated call",
     "PUT",
     "iot.eu-central-1.amazonaws.com",
     "/principal-policies/line",
     "",
     {{"x-amzn-iot-principal", "arn:aws:iot:eu-central-1:123456789012:cert/9f3c00ff"}},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date;x-amzn-iot-principal",
     "f3b06c31beec480200e7cb4291f3b23a1839d583414a8af60b0f1301cc2d3c7b"},
    {"header blanks",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/principals/things",
     "",
     {{"X-Amzn-Principal", "  a   b\t c "}},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date;x-amzn-principal",
     "4f613329a5d8f7ba805b5aa6434cc5fc7b5ba96793b9819a5b636b5b72709094"},
    {"body that is not ASCII",
     "PATCH",
     "iot.eu-central-1.amazonaws.com",
     "/things/x",
     "expectedVersion=3",
     {{"content-type", "application/json"}},
     "{\"attributePayload\":{\"attributes\":{\"owner\":\"J\303\274rgen \346\235\261\344\272\254\"}}}",
     "",
     "ap-northeast-1",
     "iot",
     1790000000,
     "content-type;host;x-amz-date",
     "7c4ffd4f2de4e26a64c439cdd201ed048c473debf0da1efdafa203b48f5248f2"},
    {"port in the host",
     "GET",
     "127.0.0.1:5000",
     "/things",
     "",
     {},
     "",
     "",
     "us-east-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "6d3652b10f80446acdcd152c143882d507e81845e90843274c9a9e1101995a77"},
    {"the scheme's own port",
     "GET",
     "example.com",
     "/things",
     "",
     {},
     "",
     "",
     "us-east-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "69d354413bfa3755ea1b6fe0869b12c13168cbd6740d6a88ee0301736371e8c9"},
    {"path prefix",
     "GET",
     "proxy.example.com:8443",
     "/aws/iot/things/24d7eb123456",
     "",
     {},
     "",
     token,
     "us-east-1",
     "iot",
     1790000000,
     "host;x-amz-date;x-amz-security-token",
     "dd1c815f0674267b27394b789993cefcfc27f489c4dae22a1dc8db3ce7a19df5"},
    {"China",
     "GET",
     "iot.cn-north-1.amazonaws.com.cn",
     "/endpoint",
     "endpointType=iot%3AData-ATS",
     {},
     "",
     "",
     "cn-north-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "6153b9c56aa99349af895df306e43ec75f5a193103489d85a1540563f7ded934"},
    {"first second of a year",
     "DELETE",
     "iot.eu-central-1.amazonaws.com",
     "/things/x",
     "",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1767225600,
     "host;x-amz-date",
     "70775d3e24a42beeb958c7379c0dc2a4d9022e29f42f0537d6e7e152eae3e46f"},
    {"last second of a leap day",
     "DELETE",
     "iot.eu-central-1.amazonaws.com",
     "/certificates/00ff",
     "forceDelete=true",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1835481599,
     "host;x-amz-date",
     "9cfc908bcca6861103772af7a6117cc17eb487dc1ea06c81f04cf841ff5fb814"},
    {"another name of the service",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/things",
     "",
     {},
     "",
     "",
     "eu-central-1",
     "execute-api",
     1790000000,
     "host;x-amz-date",
     "1e64af4c62eccda8172067aeba0d66efa483e5f3f26b97e5f29f900ff2ea2ac4"},
    {"dots and doubled slashes",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "/a/./b//../c/",
     "",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "5712f143c25040d677b20de0cc370cf4cd49477b12912b067f04ca328dcb6676"},
    {"root",
     "GET",
     "iot.eu-central-1.amazonaws.com",
     "",
     "",
     {},
     "",
     "",
     "eu-central-1",
     "iot",
     1790000000,
     "host;x-amz-date",
     "45ceda26eba1cc1480e688925d0e91f130add9c7352032ef5b967940cb48fc19"},
};

Signature sign_vector(const Vector& vector) {
  RequestToSign request{vector.method, vector.path, vector.query, vector.headers, vector.body};
  request.headers.push_back({"host", std::string{vector.host}});
  return sign(request, {key_id, as_bytes(secret), vector.session_token},
              {vector.region, vector.service, WallTime{std::chrono::seconds{vector.unix_time}}});
}

std::string value_of(const std::vector<HttpHeader>& headers, std::string_view name) {
  for (const HttpHeader& header : headers)
    if (header.name == name) return header.value;
  return "(none)";
}

TEST(SigV4, SignsAsBotocoreDoes) {
  for (const Vector& vector : signed_by_botocore) {
    SCOPED_TRACE(vector.name);
    Signature signature = sign_vector(vector);
    EXPECT_EQ(signature.hex, vector.signature) << signature.canonical_request;
    std::string authorization = value_of(signature.headers, "Authorization");
    EXPECT_NE(authorization.find("SignedHeaders=" + std::string{vector.signed_headers} + ", "), std::string::npos)
        << authorization;
  }
}

TEST(SigV4, AnswersTheHeadersToSendBesides) {
  Vector vector = signed_by_botocore[12];  // "session token"
  Signature signature = sign_vector(vector);
  ASSERT_EQ(signature.headers.size(), 3u);
  EXPECT_EQ(value_of(signature.headers, "x-amz-date"), "20260921T141320Z");
  EXPECT_EQ(value_of(signature.headers, "x-amz-security-token"), token);
  EXPECT_EQ(value_of(signature.headers, "Authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260921/eu-central-1/iot/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=" +
                std::string{vector.signature});
  vector.session_token = "";
  EXPECT_EQ(value_of(sign_vector(vector).headers, "x-amz-security-token"), "(none)");
}

TEST(SigV4, TakesAQueryForWhatItMeans) {
  auto query_of = [](std::string_view query) {
    Signature signature =
        sign({"GET", "/", query, {{"host", "h"}}, ""}, {key_id, as_bytes(secret), ""}, {"r", "s", {}});
    std::istringstream lines{signature.canonical_request};
    std::string line;
    for (int i = 0; i < 3; ++i) std::getline(lines, line);
    return line;
  };
  EXPECT_EQ(query_of("type=iot:Data-ATS"), "type=iot%3AData-ATS");
  EXPECT_EQ(query_of("type=iot%3aData-ATS"), "type=iot%3AData-ATS");
  EXPECT_EQ(query_of("b=1&a"), "a=&b=1");
  EXPECT_EQ(query_of("a=b=c"), "a=b%3Dc");
  EXPECT_EQ(query_of("a+b=%2B"), "a%2Bb=%2B") << "'+' is no blank here";
  EXPECT_EQ(query_of("&&a=1&"), "a=1");
  EXPECT_EQ(query_of("a=%"), "a=%25");
  EXPECT_EQ(query_of("a=%4"), "a=%254");
  EXPECT_EQ(query_of("a=%zz%41"), "a=%25zzA");
}

TEST(SigV4, EncodesALabelToTheUnreservedSet) {
  EXPECT_EQ(encode_label("Az09-._~"), "Az09-._~");
  EXPECT_EQ(encode_label("24:d7/eb%\n\xC3\xBC"), "24%3Ad7%2Feb%25%0A%C3%BC");
  EXPECT_EQ(encode_label(""), "");
}

std::string read_whole(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// One folder of the suite; header lines that begin with a blank continue the line before.
struct SuiteCase {
  std::string method, path, query, body;
  std::vector<HttpHeader> headers;
};

SuiteCase parse_request(const std::string& text) {
  SuiteCase out;
  const std::size_t head_end = text.find("\n\n");
  if (head_end != text.npos) out.body = text.substr(head_end + 2);
  std::istringstream lines{text.substr(0, head_end)};
  std::string line;
  std::getline(lines, line);
  const std::size_t method_end = line.find(' ');
  out.method = line.substr(0, method_end);
  std::string target = line.substr(method_end + 1, line.rfind(' ') - method_end - 1);
  const std::size_t mark = target.find('?');
  out.path = target.substr(0, mark);
  if (mark != target.npos) out.query = target.substr(mark + 1);
  while (std::getline(lines, line)) {
    if (line.starts_with(' ')) {
      out.headers.back().value += '\n' + line;
      continue;
    }
    const std::size_t colon = line.find(':');
    out.headers.push_back({line.substr(0, colon), line.substr(colon + 1)});
  }
  return out;
}

WallTime parse_moment(const std::string& text) {  // 2015-08-30T12:36:00Z
  auto number = [&](std::size_t at, std::size_t digits) { return std::stoi(text.substr(at, digits)); };
  using namespace std::chrono;
  const year_month_day day{year{number(0, 4)}, month(static_cast<unsigned>(number(5, 2))),
                           std::chrono::day(static_cast<unsigned>(number(8, 2)))};
  return sys_days{day} + hours{number(11, 2)} + minutes{number(14, 2)} + seconds{number(17, 2)};
}

/// Every header of the signed request that the request itself has not, by its name in lower case.
std::vector<std::pair<std::string, std::string>> as_pairs(const std::vector<HttpHeader>& headers) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const HttpHeader& header : headers) {
    std::string name = header.name;
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    out.emplace_back(name, header.value);
  }
  std::sort(out.begin(), out.end());
  return out;
}

TEST(SigV4, PassesTheSuiteOfAwsCAuth) {
  const fs::path suite = ESPMINT_SOURCE_DIR "/../shared/vectors/sigv4";
  if (!fs::exists(suite)) GTEST_SKIP() << "the suite of awslabs/aws-c-auth is not at " << suite;
  int cases = 0;
  for (const auto& entry : fs::directory_iterator{suite}) {
    const fs::path folder = entry.path();
    SCOPED_TRACE(folder.filename().string());
    const auto context = nlohmann::json::parse(read_whole(folder / "context.json"));
    const auto& credentials = context.at("credentials");
    const std::string id = credentials.at("access_key_id"), key = credentials.at("secret_access_key");
    const std::string session = credentials.value("token", ""), region = context.at("region"),
                      service = context.at("service");
    SigningScope scope{region, service, parse_moment(context.at("timestamp"))};
    scope.normalize_path = context.at("normalize");
    scope.sign_session_token = !context.value("omit_session_token", false);
    scope.send_body_digest = context.at("sign_body");
    const SuiteCase given = parse_request(read_whole(folder / "request.txt"));
    const Signature signature =
        sign({given.method, given.path, given.query, given.headers, given.body}, {id, as_bytes(key), session}, scope);
    EXPECT_EQ(signature.canonical_request, read_whole(folder / "header-canonical-request.txt"));
    EXPECT_EQ(signature.string_to_sign, read_whole(folder / "header-string-to-sign.txt"));
    EXPECT_EQ(signature.hex, read_whole(folder / "header-signature.txt"));
    std::vector<HttpHeader> sent = given.headers;
    sent.insert(sent.end(), signature.headers.begin(), signature.headers.end());
    EXPECT_EQ(as_pairs(sent), as_pairs(parse_request(read_whole(folder / "header-signed-request.txt")).headers));
    ++cases;
  }
  EXPECT_EQ(cases, 20);
}

}  // namespace
}  // namespace espmint::aws
