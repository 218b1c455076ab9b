#include "image/nvs_batch.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace espmint {
namespace {

using Lines = std::vector<std::string>;

Result<NvsBatch> expanded(std::string_view keys, std::string_view values, std::string_view id_column = {}) {
  return expand_nvs_batch({"config.csv", keys}, {"values.csv", values}, id_column);
}
void expect_refused(std::string_view keys, std::string_view values, std::string_view where, std::string_view words,
                    std::string_view id_column = {}) {
  Result<NvsBatch> batch = expanded(keys, values, id_column);
  ASSERT_FALSE(batch) << words;
  EXPECT_EQ(batch.error().code, Code::input_invalid);
  EXPECT_EQ(batch.error().where.input, where);
  EXPECT_NE(describe(batch.error()).find(words), std::string::npos) << describe(batch.error());
}

constexpr std::string_view factory = "factory,namespace,\nserial_no,data,string\nhw_rev,data,u8\n";

TEST(NvsBatch, MakesATableForEachBoard) {
  // As mfg_gen of ESP-IDF v5.4-dev (d7ca8b94) writes it.
  NvsBatch batch = expanded(factory, "serial_no,hw_rev\nSN-1,3\nSN-2,4\n").value();
  ASSERT_EQ(batch.boards.size(), 2u);
  EXPECT_EQ(batch.boards[1].id, "2");
  EXPECT_EQ(batch.boards[1].line, 3u);
  EXPECT_EQ(batch.boards[1].csv,
            "key,type,encoding,value\r\nfactory,namespace,,\r\nserial_no,data,string,SN-2\r\nhw_rev,data,u8,4\r\n");
  EXPECT_EQ(batch.notes, Lines{});
}

TEST(NvsBatch, AColumnMayNameTheBoards) {
  NvsBatch batch = expanded(factory, "serial_no,remark,hw_rev\nSN-1,\"a, b\",3\nSN-2,,4\n", "serial_no").value();
  EXPECT_EQ(batch.boards[0].id, "SN-1");
  EXPECT_EQ(batch.boards[0].csv.find("a, b"), std::string::npos);
  EXPECT_EQ(expanded(factory, "serial_no,hw_rev,label\nSN-1,3,x\n", "label")->boards[0].id, "x");
}

TEST(NvsBatch, RepeatsTheFirstBoardsValue) {
  const std::string_view keys = "app,namespace,\n\nurl,data,string,REPEAT\nid,data,u32\n";
  NvsBatch batch = expanded(keys, "url,id\n\"http://x/?a,b\",1\n,2\n\nhttp://y,3\n").value();
  ASSERT_EQ(batch.boards.size(), 3u);
  for (const NvsBoard& board : batch.boards)
    EXPECT_NE(board.csv.find("\r\nurl,data,string,\"http://x/?a,b\"\r\n"), std::string::npos) << board.csv;
  ASSERT_EQ(batch.notes.size(), 1u);
  EXPECT_EQ(batch.notes[0].find("values.csv:5: the value of 'url' is replaced"), 0u) << batch.notes[0];
}

TEST(NvsBatch, TheSameKeyMayBeInTwoNamespaces) {
  NvsBatch batch = expanded("a,namespace,\nid,data,u8\nb,namespace\nid,data,u8\n", "id,id\n1,2\n").value();
  EXPECT_EQ(batch.boards[0].csv,
            "key,type,encoding,value\r\na,namespace,,\r\nid,data,u8,1\r\nb,namespace,,\r\nid,data,u8,2\r\n");
}

TEST(NvsBatch, ItsTablesAreReadAsTheyAreMeant) {
  NvsBatch batch =
      expanded("n,namespace,\n#a,data,string\nb,data,string\n", "#a,b\n\"two\nlines\",\"#\"\"\"\n").value();
  const NvsCsv table{"1", batch.boards[0].csv};
  NvsTable parsed = parse_nvs_csv({&table, 1}, nullptr).value();
  ASSERT_EQ(parsed.entries.size(), 3u);
  EXPECT_EQ(as_text(parsed.entries[1].value), "two\nlines");
  EXPECT_EQ(as_text(parsed.entries[2].value), "#\"");
}

TEST(NvsBatch, RefusesWhatDoesNotFitTogether) {
  const std::string_view good = "serial_no,hw_rev\nSN-1,3\n";
  expect_refused("", good, "config.csv:1", "empty");
  expect_refused(factory, "", "values.csv:1", "no boards");
  expect_refused(factory, "serial_no,hw_rev\n", "values.csv:1", "no boards");
  expect_refused("n,namespace,\nserial_no,data\n", good, "config.csv:2", "not three cells");
  expect_refused("n,namespace,\nserial_no,data,string,REPAET\n", good, "config.csv:2", "not three cells");
  expect_refused("n,namespace,\nmac,data,hex2bin\n", good, "config.csv:2", "no column 'mac'");
  expect_refused("n,namespace,\nhw_rev,data,u8\nserial_no,data,string\n", good, "config.csv:3",
                 "in the order of the keys");
  expect_refused(factory, "serial_no,hw_rev\nSN-1,3\nSN-2\n", "values.csv:3", "1 instead of 2");
  expect_refused(factory, "serial_no,hw_rev\nSN-1,3,4\n", "values.csv:2", "3 instead of 2");
}

TEST(NvsBatch, RefusesIdsThatCannotNameFiles) {
  expect_refused(factory, "serial_no,hw_rev\nSN-1,3\n", "values.csv:1", "no column 'mac'", "mac");
  expect_refused(factory, "serial_no,hw_rev\nSN-1,3\nSN-1,4\n", "values.csv:3", "the id of that on line 2",
                 "serial_no");
  expect_refused(factory, "serial_no,hw_rev\n,3\n", "values.csv:2", "no id", "serial_no");
  for (std::string_view id : {"../x", "a/b", "a\\b", "..", "\x1b[1m"})
    expect_refused(factory, fmt::format("serial_no,hw_rev\n{},3\n", id), "values.csv:2", "cannot be in a file's name",
                   "serial_no");
}

}  // namespace
}  // namespace espmint
