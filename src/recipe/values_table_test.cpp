#include "recipe/values_table.hpp"

#include <gtest/gtest.h>

namespace espmint {
namespace {

using By = ValuesTable::By;
const Mac mac{{0x24, 0xd7, 0xeb, 0x12, 0x34, 0x56}};

TEST(ValuesTable, GivesABoardItsRowByWhateverSpellingOfItsMac) {
  for (const char* spelled : {"24d7eb123456", "24:D7:EB:12:34:56", "24-d7-eb-12-34-56"}) {
    auto table =
        parse_values_csv(std::string("mac,ssid,psk\n") + spelled + ",lab,\"a,b\"\"c\"\n", By::mac, "values.csv");
    ASSERT_TRUE(table) << describe(table.error());
    auto row = table->row_for(mac, "");
    ASSERT_TRUE(row);
    EXPECT_EQ(row->at("ssid"), "lab");
    EXPECT_EQ(row->at("psk"), "a,b\"c");
    EXPECT_EQ(table->longest("psk"), 5u);
  }
}

TEST(ValuesTable, GivesWhatIsTheSameForAllBoardsBesideTheRow) {
  auto table = parse_values_csv("serial;ssid\r\nSN-1;lab\r\n", By::serial, "values.csv");
  ASSERT_TRUE(table);
  table->same["site"] = "north";
  auto row = table->row_for(mac, "SN-1");
  ASSERT_TRUE(row);
  EXPECT_EQ(row->size(), 3u);
  EXPECT_EQ(row->at("site"), "north");
}

TEST(ValuesTable, RefusesABoardThatHasNoRow) {
  auto table = parse_values_csv("mac,ssid\n24d7eb123457,lab\n", By::mac, "values.csv");
  ASSERT_TRUE(table);
  auto row = table->row_for(mac, "");
  ASSERT_FALSE(row);
  EXPECT_EQ(row.error().code, Code::values_missing);
  EXPECT_NE(describe(row.error()).find("24d7eb123456"), std::string::npos);
  auto by_serial = parse_values_csv("serial,ssid\nSN-1,lab\n", By::serial, "values.csv");
  EXPECT_EQ(by_serial->row_for(mac, "SN-2").error().code, Code::values_missing);
  EXPECT_EQ(by_serial->row_for(mac, "").error().code, Code::values_missing);
}

TEST(ValuesTable, NamesTheLineThatIsWrongAndNoValue) {
  struct Wrong {
    const char *text, *where;
  };
  for (const Wrong& wrong : {Wrong{"", ":1"}, Wrong{"ssid,psk\nlab,secret\n", ":1"}, Wrong{"mac,mac\n", ":1"},
                             Wrong{"mac,\n", ":1"}, Wrong{"mac,psk\n24d7eb123456,secret\nnonsense,secret\n", ":3"},
                             Wrong{"mac,psk\n24d7eb123456,secret,secret\n", ":2"},
                             Wrong{"mac,psk\n24d7eb123456,\"x\ny\"\n24:d7:eb:12:34:56,secret\n", ":4"},
                             Wrong{"mac,psk\n24d7eb123456,\"secret\n", "line 2"},
                             Wrong{"mac,psk\n24d7eb123456,\"secret\"secret\n", "line 2"}}) {
    auto table = parse_values_csv(wrong.text, By::mac, "values.csv");
    ASSERT_FALSE(table) << wrong.text;
    EXPECT_EQ(table.error().code, Code::input_invalid);
    std::string said = describe(table.error());
    EXPECT_NE(said.find(wrong.where), std::string::npos) << said;
    EXPECT_EQ(said.find("secret"), std::string::npos) << said;
  }
}

}  // namespace
}  // namespace espmint
