#include "ledger/key_csv.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace espmint {
namespace {

KeyCsv parsed(std::string_view text, const KeyCsvOptions& options = {}) {
  auto csv = parse_key_csv(text, options);
  EXPECT_TRUE(csv) << describe(csv.error());
  return csv ? std::move(*csv) : KeyCsv{};
}
std::string refusal(std::string_view text, const KeyCsvOptions& options = {}) {
  auto csv = parse_key_csv(text, options);
  EXPECT_FALSE(csv);
  return csv ? "" : describe(csv.error());
}
std::string user_part(std::string_view text, const KeyRow& row) {
  return std::string{text.substr(row.begin, row.user_bytes)};
}
std::string marks(const KeyCsv& csv) {
  std::string out;
  for (const KeyRow& row : csv.rows) out += "-aolt"[static_cast<int>(row.mark)];
  return out;
}

TEST(KeyCsv, ReadsTheOldScriptsFileAsItIs) {
  constexpr std::string_view text = "u1,n1,a1\nu2,n2,a2\nu3,n3,a3";
  KeyCsv csv = parsed(text);
  EXPECT_EQ(csv.fields, 3u);
  EXPECT_EQ(marks(csv), "---");
  EXPECT_TRUE(csv.columns.empty());
  EXPECT_EQ(key_values(user_part(text, csv.rows[2]), csv.delimiter), (std::vector<std::string>{"u3", "n3", "a3"}));
  EXPECT_EQ(csv.rows[2].line, 3u);
}

TEST(KeyCsv, SeesWhatTheOldScriptHasMarked) {
  EXPECT_EQ(marks(parsed("a,b,c,Provisioned\nd,e,f,provisioned\ng,h,i,PROVISIONED \nj,k,l\n")), "lll-");
  EXPECT_EQ(marks(parsed("a,b,c,Provisioned\nd,e,f,Provisioned\n")), "ll") << "every row is marked";
  EXPECT_EQ(marks(parsed("a,b,c\nd,e,f,Provis\ng,h,i,\n")), "-tt") << "a mark that was cut off is a mark";
  EXPECT_EQ(marks(parsed("a\nb,Provisioned\n")), "-l") << "one field";
  EXPECT_EQ(marks(parsed("a,b,c,d,e\nf,g,h,i,j,Provisioned\n")), "-l") << "five fields";
}

TEST(KeyCsv, SeesItsOwnMarks) {
  constexpr std::string_view text =
      "a,b,c,available\nd,e,f,Provisioned,VERIFIED,24d7eb000001,2026-11-21T08:00:00Z,Provisioned\n";
  KeyCsv csv = parsed(text);
  EXPECT_EQ(csv.fields, 3u);
  EXPECT_EQ(marks(csv), "ao");
  KeyMarkText mark = mark_text(text.substr(csv.rows[1].begin, csv.rows[1].bytes), csv.rows[1], ',');
  EXPECT_EQ(mark.state, "VERIFIED");
  EXPECT_EQ(mark.device, "24d7eb000001");
  EXPECT_EQ(available_mark(','), ",available");
  EXPECT_EQ(given_mark(';', "EXPOSED", "x", "t"), ";Provisioned;EXPOSED;x;t;Provisioned");
}

TEST(KeyCsv, ItsMarksMakeBothOldScriptsSkipARow) {
  // One looks whether row[3] is the word, the other at row[-1]; with five fields the first never worked.
  std::string three = "a,b,c" + given_mark(',', "EXPOSED", "24d7eb000001", "2026-11-21T08:00:00Z");
  std::vector<std::string> row = key_values(three, ',');
  EXPECT_EQ(row[3], "Provisioned");
  EXPECT_EQ(row.back(), "Provisioned");
}

TEST(KeyCsv, TakesBomCrLfHeadersDelimitersAndQuotes) {
  constexpr std::string_view text = "\xef\xbb\xbfuuid;NtwKey;AppKey\r\n\"a;1\";\"b\"\"2\";c\r\n\r\nd;e;f;available\r\n";
  KeyCsv csv = parsed(text);
  EXPECT_TRUE(csv.has_bom);
  EXPECT_EQ(csv.delimiter, ';');
  EXPECT_EQ(csv.line_end, "\r\n");
  EXPECT_EQ(csv.columns, (std::vector<std::string>{"uuid", "NtwKey", "AppKey"}));
  EXPECT_EQ(text.substr(0, csv.header_bytes), "\xef\xbb\xbfuuid;NtwKey;AppKey\r\n");
  ASSERT_EQ(csv.rows.size(), 2u);
  EXPECT_EQ(key_values(user_part(text, csv.rows[0]), ';'), (std::vector<std::string>{"a;1", "b\"2", "c"}));
  EXPECT_EQ(user_part(text, csv.rows[0]), "\"a;1\";\"b\"\"2\";c") << "byte for byte";
  EXPECT_EQ(csv.rows[1].mark, KeyMark::available);
}

TEST(KeyCsv, TakesAHeaderThatTheRecipeNames) {
  EXPECT_EQ(parsed("Gerät,Schlüssel\na,b\n", {.columns = {"schlüssel"}}).rows.size(), 1u);
  EXPECT_EQ(parsed("Gerät,Schlüssel\na,b\n").rows.size(), 2u) << "words that name nothing known may be a key";
  EXPECT_EQ(parsed("key1,key2,key3\na,b,c\n").rows.size(), 1u);
}

TEST(KeyCsv, RefusesWithRowAndColumn) {
  EXPECT_NE(refusal("a,b,c\nd,e\n", {.fields = 3}).find("row 2"), std::string::npos);
  EXPECT_NE(refusal("a,b,c\n,e,f\n").find("row 2, column 1"), std::string::npos);
  EXPECT_NE(refusal("a,b\nc,\"d\n").find("row 2, column 2"), std::string::npos);
  EXPECT_NE(refusal("a,b\nc,d\"e\n").find("quote"), std::string::npos);
  EXPECT_NE(refusal("a,b\nc,\"d\"e\n").find("quote"), std::string::npos);
  EXPECT_NE(refusal(std::string{"a,b\nc,\0d\n", 9}).find("control"), std::string::npos);
  EXPECT_NE(refusal("a,b\n\x1b[31m,d\n").find("0x1b"), std::string::npos);
  EXPECT_NE(refusal("a1,b1,c1\na2,b2,c2\na3,b3\n").find("2 fields, the others have 3 (row 3, column 3)"),
            std::string::npos)
      << refusal("a1,b1,c1\na2,b2,c2\na3,b3\n");
  EXPECT_NE(refusal("uuid,key\na,b\n", {.columns = {"secret"}}).find("secret"), std::string::npos);
  EXPECT_NE(refusal("a,b\nc,d,e,f,g,h,i,j\n").find("row 2"), std::string::npos);
}

TEST(KeyCsv, GivesUpOnALineWithoutEnd) {
  EXPECT_NE(refusal(std::string(64 * 1024 * 1024, 'a')).find("longer than"), std::string::npos);
  EXPECT_NE(refusal(std::string(200, ',')).find("fields"), std::string::npos);
}

TEST(KeyCsv, RefusesWhatASpreadsheetWouldRun) {
  for (const char* cell : {"=HYPERLINK(A1)", "@SUM(A1)", "+cmd|' /C calc'!A0", "-cmd|x", " =1", "\"=1\"", "=1"})
    EXPECT_NE(refusal(fmt::format("a1,b1\na2,{}\n", cell)).find("formula to a spreadsheet (row 2, column 2)"),
              std::string::npos)
        << cell;
  EXPECT_EQ(parsed("+a/b==,-5\n-_x,+49\n").rows.size(), 2u) << "Base64 and numbers may begin with a sign";
}

TEST(KeyCsv, RefusesWhatIsNotUtf8) {
  for (const char* bytes : {"\xff\xfe", "\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                            "\xf5\x80\x80\x80", "\xe2\x82"})
    EXPECT_NE(refusal(fmt::format("a1,b1\na2,b{}\n", bytes)).find("not UTF-8 (row 2, column 2)"), std::string::npos);
  EXPECT_NE(refusal("a1,b1\na2,\xc2\x9b"
                    "31m\n")
                .find("control characters (row 2, column 2): U+009B"),
            std::string::npos);
  EXPECT_EQ(parsed("a1,Zürich\na2,\xe2\x82\xac\na3,\xf0\x9f\x94\x91\n").rows.size(), 3u);
}

TEST(KeyCsv, TakesWordsAboveNumbersForAHeader) {
  KeyCsv csv = parsed("board_no,pin,passphrase\nb1,1234,correct-horse\nb2,9876,tr0ub\n");
  EXPECT_TRUE(csv.guessed_header);
  EXPECT_EQ(csv.rows.size(), 2u);
  EXPECT_EQ(parsed("alpha,secret\nbravo,hidden\n").rows.size(), 2u) << "no column of numbers";
  EXPECT_EQ(parsed("alpha,secret,available\nb1,hidden,available\n").rows.size(), 2u)
      << "marked, so it was a key before";
  EXPECT_EQ(parsed("alpha,secret\n").rows.size(), 1u) << "nothing to compare with";
}

TEST(KeyCsv, NothingIsAnEmptyPool) {
  EXPECT_TRUE(parsed("").rows.empty());
  EXPECT_TRUE(parsed("\n \n").rows.empty());
}

}  // namespace
}  // namespace espmint
