#include "cloud/aws/ini.hpp"

#include <gtest/gtest.h>

namespace espmint::aws {
namespace {

Result<Ini> parse(std::string_view text) { return Ini::parse(Secret{to_bytes(text)}, "config"); }

/// "title|key=value,key=value;title|…"
std::string shown(std::string_view text) {
  const auto ini = parse(text);
  if (!ini) return ini.error().where.input + ": " + ini.error().seen;
  std::string out;
  for (const auto& section : ini->sections()) {
    out += (out.empty() ? "" : ";") + section.title + "|";
    for (const auto& entry : section.entries) out += entry.key + "=" + std::string{entry.value} + ",";
  }
  return out;
}

TEST(AwsIni, ReadsWhatTheCliWrites) {
  EXPECT_EQ(shown("[default]\naws_access_key_id = AKID\naws_secret_access_key=a/b+c=\n\n[profile \"two "
                  "words\"]\nregion=eu-central-1\n"),
            "default|aws_access_key_id=AKID,aws_secret_access_key=a/b+c=,;profile two words|region=eu-central-1,");
}

TEST(AwsIni, ReadsFilesOfOtherSystemsAndEditors) {
  EXPECT_EQ(shown("\xef\xbb\xbf[default]\r\nRegion = eu-central-1\r\n"), "default|region=eu-central-1,");
  EXPECT_EQ(shown("  [ profile\t x ]\n\n  a: 1\n  b : 2"), "profile x|a=1,b=2,");
  EXPECT_EQ(shown(""), "");
  EXPECT_EQ(shown("[x]"), "x|");
}

TEST(AwsIni, ReadsEntriesBelowAnEntryAndValuesOfSeveralLines) {
  EXPECT_EQ(shown("[services local]\niot =\n  endpoint_url = http://localhost:1\n  other = 2\ns3 =\n  endpoint_url = "
                  "x\nlast = 3\n"),
            "services local|iot=,iot.endpoint_url=http://localhost:1,iot.other=2,s3=,s3.endpoint_url=x,last=3,");
  EXPECT_EQ(shown("[a]\nlong = one\n  two = 2\nnext = 3\n"), "a|long=one\n  two = 2,next=3,");
}

TEST(AwsIni, LeavesCommentsOut) {
  EXPECT_EQ(shown("# a\n; b\n[x]\n # c\nkey = v\n"), "x|key=v,");
  const auto ini = parse("[x]\na = b # c\nd = e#f\ng = # h\nrun = sh -c 'x # y'\n");
  ASSERT_TRUE(ini);
  const auto* x = ini->section("x");
  EXPECT_EQ(value_of(x, "a"), "b");
  EXPECT_EQ(value_of(x, "d"), "e#f");
  EXPECT_EQ(value_of(x, "g"), std::nullopt);
  EXPECT_EQ(value_of(x, "absent"), std::nullopt);
  EXPECT_EQ(value_of(nullptr, "a"), std::nullopt);
  EXPECT_EQ(line_of(x, "run"), "sh -c 'x # y'");
}

TEST(AwsIni, NamesTheLineOfADamagedFileAndQuotesNothing) {
  EXPECT_EQ(shown("a = secret\n[x]\n"), "config:1: an entry before the first [title]");
  EXPECT_EQ(shown("[x]\na = 1\nsecret\n"), "config:3: neither [title] nor key = value");
  EXPECT_EQ(shown("[x\na = 1"), "config:1: a [title] without its end");
  EXPECT_EQ(shown("[ ]"), "config:1: an empty [title]");
  EXPECT_EQ(shown("[x]\n = secret"), "config:2: a value without a key");
  EXPECT_EQ(shown("[x]\na=1\nA=2"), "config:3: a key that stands there twice");
  EXPECT_EQ(shown("[x]\n[y]\n[x]"), "config:3: a section that stands there twice");
  EXPECT_EQ(shown("[x]\niot =\n  nonsense"), "config:3: neither [title] nor key = value");
  EXPECT_EQ(shown(std::string_view{"[\0x\0]\0", 6}), "config:0: it is no UTF-8 text");
}

}  // namespace
}  // namespace espmint::aws
