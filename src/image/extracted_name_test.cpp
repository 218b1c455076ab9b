#include "image/extracted_name.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace espmint {
namespace {

TEST(ExtractedName, StaysBelowItsFolder) {
  for (std::string_view good : {"a", "a/b.txt", ".hidden", "..a", "a..", "schl\xc3\xbcssel", "a b"})
    EXPECT_FALSE(refusal_of_name(good)) << good;
  for (std::string_view bad : {"", "/", "/etc/passwd", "..", "../a", "a/../../b", "a/..", ".", "./a", "a//b", "a/",
                               "a\nb", "a\x1b[2J", "a\x7f"})
    EXPECT_TRUE(refusal_of_name(bad)) << bad;
  EXPECT_TRUE(refusal_of_name(std::string_view("a\0b", 3)));
  EXPECT_TRUE(refusal_of_name(std::string(256, 'x')));
}

TEST(ExtractedName, IsNoFolderOfAnother) {
  EXPECT_TRUE(check_extracted_names(std::vector<std::string>{"a", "b/c", "b/d/e", "bb"}));
  EXPECT_FALSE(check_extracted_names(std::vector<std::string>{"b/c", "b"}));
  EXPECT_FALSE(check_extracted_names(std::vector<std::string>{"b/c/d", "b/c"}));
  EXPECT_TRUE(check_extracted_names(std::vector<std::string>{"b/c", "b/", "empty/"}));
  EXPECT_FALSE(check_extracted_names(std::vector<std::string>{"b", "b/"}));
  EXPECT_FALSE(check_extracted_names(std::vector<std::string>{"../"}));
  Result<void> refused = check_extracted_names(std::vector<std::string>{"good", "../bad"});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("../bad"), std::string::npos);
}

}  // namespace
}  // namespace espmint
