#include "image/nvs_csv.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "base/base64.hpp"
#include "image/nvs_csv_rows.hpp"

namespace espmint {
namespace {

using Entries = std::vector<NvsEntry>;
using Lines = std::vector<std::string>;
using NvsFiles = std::map<std::string, std::string>;

/// Beside the table; the table's name is before the path, so that a test sees what was asked for.
NvsFileReader reader_of(NvsFiles files) {
  return [files = std::move(files)](const std::string& name, const std::string& path) -> Result<Bytes> {
    auto found = files.find(path);
    if (found == files.end())
      return fail(Fault{Code::input_missing, Remedy::refuse, fmt::format("{}: there is no file '{}'", name, path)});
    return to_bytes(found->second);
  };
}

Result<NvsTable> parsed(std::string_view text, const NvsCsvOptions& options = {}, NvsFiles files = {}) {
  const NvsCsv csv{"in.csv", text};
  return parse_nvs_csv({&csv, 1}, reader_of(std::move(files)), options);
}
/// The rows behind "key,type,encoding,value" and a namespace n.
Result<NvsTable> parsed_rows(std::string_view rows, const NvsCsvOptions& options = {}, NvsFiles files = {}) {
  return parsed("key,type,encoding,value\nn,namespace,,\n" + std::string{rows}, options, std::move(files));
}

std::string show(const NvsEntry& entry) {
  if (entry.key.empty()) return "[" + entry.space + "]";
  std::string out = fmt::format("{}.{} {} ", entry.space, entry.key, name_of(entry.type));
  if (entry.type == NvsType::string) return out + "'" + std::string{as_text(entry.value)} + "'";
  if (entry.type == NvsType::blob) return out + to_hex(entry.value);
  return out + std::to_string(static_cast<std::int64_t>(entry.number));
}
Lines shown(const Result<NvsTable>& table) {
  if (!table) return {describe(table.error())};
  Lines out;
  for (const NvsEntry& entry : table->entries) out.push_back(show(entry));
  return out;
}
/// Of the rows behind the namespace, without notes.
Lines rows(std::string_view text, NvsFiles files = {}) {
  Result<NvsTable> table = parsed_rows(text, {}, std::move(files));
  if (table) {
    EXPECT_EQ(table->notes, Lines{});
  }
  Lines out = shown(table);
  if (table) out.erase(out.begin());
  return out;
}
Lines notes(std::string_view text) {
  Result<NvsTable> table = parsed(text);
  return table ? table->notes : Lines{describe(table.error())};
}

void expect_refused(const Result<NvsTable>& table, std::string_view where, std::string_view words) {
  ASSERT_FALSE(table) << words;
  EXPECT_EQ(table.error().code, Code::input_invalid);
  EXPECT_EQ(table.error().remedy, Remedy::refuse);
  EXPECT_EQ(table.error().where.input, where);
  EXPECT_NE(describe(table.error()).find(words), std::string::npos) << describe(table.error());
}
void expect_row_refused(std::string_view row, std::string_view words, const NvsCsvOptions& options = {}) {
  expect_refused(parsed_rows(row, options), "in.csv:3", words);
}

TEST(NvsCsv, ReadsEveryEncoding) {
  EXPECT_EQ(rows("a,data,u8,255\nb,data,i8,-128\nc,data,u16,65535\nd,data,i16,-32768\ne,data,u32,4294967295\n"
                 "f,data,i32,-2147483648\ng,data,u64,18446744073709551615\nh,data,i64,-9223372036854775808\n"
                 "i,data,string,Lorem ipsum\nj,data,string,\nk,data,hex2bin,00ffAA\nl,data,base64,AAECAw==\n"
                 "m,data,binary,raw\no,data,blob_fill(5;0xAA),hi\np,data,blob_sz_fill(4;0x00),abc\n"),
            (Lines{"n.a u8 255", "n.b i8 -128", "n.c u16 65535", "n.d i16 -32768", "n.e u32 4294967295",
                   "n.f i32 -2147483648", "n.g u64 -1", "n.h i64 -9223372036854775808", "n.i string 'Lorem ipsum'",
                   "n.j string ''", "n.k blob 00ffaa", "n.l blob 00010203", "n.m blob 726177", "n.o blob 6869aaaaaa",
                   "n.p blob 0300000061626300"}));
}

TEST(NvsCsv, ReadsNumbersAsPythonDoes) {
  EXPECT_EQ(rows("a,data,u8, 007 \nb,data,i8,+5\nc,data,U8,1\nd,data,u8,-0\n"),
            (Lines{"n.a u8 7", "n.b i8 5", "n.c u8 1", "n.d u8 0"}));
}

TEST(NvsCsv, ReadsFilesBesideTheTable) {
  EXPECT_EQ(rows("a,file,string,s.txt\nb,file,binary,d/b.bin\nc,file,hex2bin,h\nd,file,base64,b64\ne,file,u8,n\n",
                 {{"s.txt", "two\nlines\n"},
                  {"d/b.bin", "\x01\x02"},
                  {"h", " 0aff\n"},
                  {"b64", "AA\r\nEC\r\nAw==\n"},
                  {"n", "12\n"}}),
            (Lines{"n.a string 'two\nlines\n'", "n.b blob 0102", "n.c blob 0aff", "n.d blob 00010203", "n.e u8 12"}));
  Result<NvsTable> missing = parsed_rows("a,file,string,s.txt\n");
  ASSERT_FALSE(missing);
  EXPECT_EQ(describe(missing.error()).find("in.csv: there is no file 's.txt'"), 0u) << describe(missing.error());
  EXPECT_EQ(missing.error().where.input, "in.csv:3");
}

TEST(NvsCsv, ReadsCommentsQuotesAndForeignLineEnds) {
  EXPECT_EQ(shown(parsed("# a comment\r\nkey,type,encoding,value\r\n\r\nmisc,namespace,,\r\n# another\r\n"
                         "quoted,data,string,\"a, \"\"b\"\", c\"\r\nsp,data,string, leading and trailing \r\n")),
            (Lines{"[misc]", "misc.quoted string 'a, \"b\", c'", "misc.sp string ' leading and trailing '"}));
  EXPECT_EQ(rows("a,data,string,\"one\r\ntwo\rthree\"\nb,data,string,mid\"dle\nc,data,string,\"be\"hind\n"),
            (Lines{"n.a string 'one\ntwo\nthree'", "n.b string 'mid\"dle'", "n.c string 'behind'"}));
  EXPECT_EQ(shown(parsed("\xef\xbb\xbfkey,type,encoding,value\nn,namespace\n  \na,data,u8,1")),
            (Lines{"[n]", "n.a u8 1"}));
  EXPECT_EQ(rows("\"#a\",data,u8,1\n"), Lines{"n.#a u8 1"});
}

TEST(NvsCsv, ColumnsAreFoundByTheirNames) {
  EXPECT_EQ(shown(parsed("value,remark,encoding,type,key\n,,,namespace,n\n5,five,u8,data,a\n")),
            (Lines{"[n]", "n.a u8 5"}));
  EXPECT_EQ(rows("a,data,u8,1,,\n"), Lines{"n.a u8 1"});
}

TEST(NvsCsv, SeveralTablesAreOneBehindTheOther) {
  const NvsCsv tables[]{{"a.csv", "key,type,encoding,value\na,namespace,,\nx,data,u8,1\n"},
                        {"b.csv", "key,type,encoding,value\ny,data,u8,2\nb,namespace,,\ny,data,u8,3\n"}};
  EXPECT_EQ(shown(parse_nvs_csv(tables, reader_of({}))), (Lines{"[a]", "a.x u8 1", "a.y u8 2", "[b]", "b.y u8 3"}));
}

TEST(NvsCsv, WhatFollowsANamespaceNamedAgainStaysInTheLast) {
  const std::string_view text =
      "key,type,encoding,value\none,namespace,,\na,data,u8,1\ntwo,namespace,,\none,namespace,,\nc,data,u8,3\n";
  EXPECT_EQ(shown(parsed(text)), (Lines{"[one]", "one.a u8 1", "[two]", "two.c u8 3"}));
  ASSERT_EQ(notes(text).size(), 1u);
  EXPECT_EQ(notes(text)[0].find("in.csv:5: namespace 'one' was named before: what follows stays in 'two'"), 0u);
}

TEST(NvsCsv, NotesWhatWasHardlyMeant) {
  const auto head = [](std::string_view more) {
    return "key,type,encoding,value\nn,namespace,,\n" + std::string{more};
  };
  EXPECT_EQ(notes(head("a,data,u8,1\nb,data,u8,2\na,data,u8,3\n")),
            Lines{"in.csv:5: 'n.a' is at in.csv:3 already: both are written, and the firmware may find the first or "
                  "the second"});
  EXPECT_EQ(
      notes(head("a,data,string,\"x\n# y\nz\"\n")),
      Lines{"in.csv:4: this line of a quoted value begins with '#' and is left out, as ESP-IDF's generator does"});
  EXPECT_EQ(notes(""), Lines{"in.csv: no rows"});
  EXPECT_EQ(notes("key,type,encoding,value\n"), Lines{});
}

TEST(NvsCsv, AddsWhatTheWifiDriverKeeps) {
  const std::string extras_apinfo = "n.sta.apinfo blob " + std::string(280, 'f');
  const std::string extras_pmk = "n.sta.pmk blob " + std::string(64, '0');
  EXPECT_EQ(rows("sta.ssid,data,string,net\nsta.pswd,data,string,pass\n"),
            (Lines{"n.sta.ssid string 'net'", extras_apinfo, extras_pmk, "n.sta.apsw blob 0000",
                   "n.sta.pswd string 'pass'"}));
  EXPECT_EQ(shown(parsed_rows("sta.ssid,data,string,net\n", {.wifi_extras = false})),
            (Lines{"[n]", "n.sta.ssid string 'net'"}));
}

TEST(NvsCsv, AddsTheKeyOfAProtectedAccessPoint) {
  // IEEE 802.11-2016, J.4.2, test vector 1: passphrase "password", SSID "IEEE".
  const std::string info = "n.ap.pmk_info blob " + std::string(200, '0') +
                           "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e";
  EXPECT_EQ(rows("ap.ssid,data,string,IEEE\nap.passwd,data,string,password\nap.authmode,data,u8,3\n"),
            (Lines{"n.ap.ssid string 'IEEE'", "n.ap.passwd string 'password'", info, "n.ap.authmode u8 3"}));
  EXPECT_EQ(rows("ap.ssid,data,string,IEEE\nap.passwd,data,string,password\nap.authmode,data,u8,0\n").size(), 3u);
  EXPECT_EQ(rows("ap.passwd,data,string,password\nap.authmode,data,u8,3\n").size(), 2u);
}

TEST(NvsCsv, RefusesTablesThatAreNone) {
  expect_refused(parsed("a,data,u8,1\n"), "in.csv:1", "does not name a column 'key'");
  expect_refused(parsed("key,type,encoding\n"), "in.csv:1",
                 "column 'value' (in.csv:1). Begin the table with: key,type,encoding,value");
  expect_refused(parsed("key,type,encoding,value\na,data,u8,1\n"), "in.csv:2", "'a' is in no namespace");
  expect_refused(parsed("key,type,encoding,value\nn,namespace,,\na,data,string,\"open\n\nb,data,u8,1\n"), "in.csv:3",
                 "no end");
  expect_refused(parsed("key,type,encoding,value\nn,namespace,,\na,data,string,\xe9t\xe9\n"), "in.csv:3", "not UTF-8");
}

TEST(NvsCsv, RefusesRowsThatAreIncomplete) {
  expect_row_refused("a,data,string\n", "'a' has no value (in.csv:3): 3 cells");
  expect_row_refused("a,date,u8,1\n", "unknown type");
  expect_row_refused("a,data,u8,1,2\n", "more cells than the first row has columns");
  expect_row_refused(",data,u8,1\n", "has no name");
  expect_row_refused(",,,\n", "has no name");
  expect_row_refused("a,file,binary,\n", "names no file");
  expect_row_refused("a,data,,1\n", "has no encoding");
}

TEST(NvsCsv, RefusesNames) {
  expect_row_refused("sixteen_chars_xx,data,u8,1\n", "key longer than 15 bytes");
  expect_row_refused("sixteen_chars_xx,namespace,,\n", "namespace longer than 15 bytes");
}

TEST(NvsCsv, RefusesValuesThatTheirEncodingCannotBe) {
  expect_row_refused("a,data,u128,1\n", "encoding 'u128'");
  expect_row_refused("a,data,hexbin,00\n", "Is 'hex2bin' meant?");
  expect_row_refused("a,data,String,x\n", "Is 'string' meant?");
  expect_row_refused("a,data,hex2bin,abc\n", "odd number of hex digits");
  expect_row_refused("a,data,hex2bin,0x12\n", "not hex");
  expect_row_refused("a,data,base64,AAA\n", "not base64");
  expect_row_refused("a,data,base64,A*==\n", "not base64");
  for (std::string_view value : {"0x10", "", "1.5", "1e3", "ten", "--1", "+", "1 2"})
    expect_row_refused(fmt::format("a,data,u32,{}\n", value), "no decimal number");
  for (std::string_view row : {"u8,256", "u8,-1", "i8,128", "i8,-129", "u16,65536", "i16,32768", "u32,4294967296",
                               "i32,-2147483649", "u64,18446744073709551616", "i64,9223372036854775808",
                               "i64,-9223372036854775809", "u64,-99999999999999999999999"})
    expect_row_refused(fmt::format("a,data,{}\n", row), "does not fit");
  expect_row_refused("a,data,u8,256\n", "0 to 255");
  for (std::string_view encoding : {"blob_fill(8)", "blob_fill(;0x00)", "blob_fill(8;00)", "blob_fill(8;0x0)",
                                    "blob_fill(8;0x00)x", "blob_fill(8;0xGG)", "blob_fill(-8;0x00)"})
    expect_row_refused(fmt::format("a,data,{},\n", encoding), "blob_fill(LENGTH;0xNN)");
  expect_row_refused("a,data,blob_fill(2;0x00),abc\n", "3 bytes, longer than the 2");
  expect_row_refused("a,data,blob_fill(99999999999999999999;0x00),\n", "more than a blob can hold");
}

TEST(NvsCsv, RefusesValuesThatAreTooLong) {
  expect_row_refused(fmt::format("a,data,string,{}\n", std::string(3968, 's')),
                     "3969 bytes with its NUL, at most 3968");
  expect_row_refused(fmt::format("a,data,binary,{}\n", std::string(1985, 's')), "at most 1984",
                     {.version = NvsVersion::v1});
}

TEST(NvsCsv, FaultsAndNotesNeverShowAValue) {
  for (std::string_view encoding : {"u8", "hex2bin", "base64", "blob_fill(2;0x00)", "u128", "blob_fill(x)"}) {
    Result<NvsTable> table = parsed_rows(fmt::format("a,data,{},top$ecret\n", encoding));
    ASSERT_FALSE(table) << encoding;
    EXPECT_EQ(describe(table.error()).find("top$"), std::string::npos) << describe(table.error());
  }
  for (const std::string& text :
       notes("key,type,encoding,value\nn,namespace,,\na,data,string,top$ecret\na,data,string,\"x\n#top$ecret\"\n"))
    EXPECT_EQ(text.find("top$"), std::string::npos) << text;
}

// ---- and back

const Entries& every_type() {
  static const Entries entries{{"storage", "u8", NvsType::u8, {}, 255},
                               {"#wifi", "#i8", NvsType::i8, {}, static_cast<std::uint64_t>(-128)},
                               {"storage", "u64", NvsType::u64, {}, ~std::uint64_t{0}},
                               {"storage", "i64", NvsType::i64, {}, std::uint64_t{1} << 63},
                               {"#wifi", "plain", NvsType::string, to_bytes("words")},
                               {"storage", "cert", NvsType::string, to_bytes("---\nMII, \"x\"\n---\n")},
                               {"storage", "empty", NvsType::string, {}},
                               {"storage", "a,b", NvsType::blob, Bytes(64, 0xab)},
                               {"storage", "none", NvsType::blob, {}}};
  return entries;
}

Entries sorted(Entries entries) {
  std::erase_if(entries, [](const NvsEntry& entry) { return entry.key.empty(); });
  std::sort(entries.begin(), entries.end(),
            [](const NvsEntry& a, const NvsEntry& b) { return std::tie(a.space, a.key) < std::tie(b.space, b.key); });
  return entries;
}

TEST(NvsCsv, ATableOfEntriesBuildsThemAgain) {
  NvsCsvText text = encode_nvs_csv(every_type(), NvsValues::inside).value();
  EXPECT_TRUE(text.files.empty());
  EXPECT_FALSE(text.has_wifi_extras);
  Result<NvsTable> again = parsed(text.csv);
  ASSERT_TRUE(again) << describe(again.error());
  EXPECT_EQ(again->notes, Lines{});
  EXPECT_EQ(sorted(again->entries), sorted(every_type()));
  EXPECT_EQ(encode_nvs_csv(again->entries, NvsValues::inside).value().csv, text.csv);
}

TEST(NvsCsv, LongAndUnwritableValuesGoIntoFiles) {
  Entries entries = every_type();
  entries.push_back({"storage", "long", NvsType::blob, Bytes(65, 1)});
  entries.push_back({"storage", "LONG", NvsType::blob, Bytes(66, 2)});
  entries.push_back({"storage", "a/../b", NvsType::string, to_bytes("CR\r\n")});
  entries.push_back({".", "x", NvsType::string, to_bytes("x\n# y")});
  NvsCsvText text = encode_nvs_csv(entries, NvsValues::in_files).value();
  NvsFiles files;
  for (const FileOwned& file : text.files) files[file.path] = as_text(file.content);
  EXPECT_EQ(files.size(), 4u);
  EXPECT_TRUE(files.contains("storage.long.bin") && files.contains("storage.LONG-2.bin") &&
              files.contains("storage.a_.._b.txt") && files.contains("_.x.txt"));
  Result<NvsTable> again = parsed(text.csv, {}, files);
  ASSERT_TRUE(again) << describe(again.error());
  EXPECT_EQ(sorted(again->entries), sorted(entries));
  EXPECT_NE(describe(encode_nvs_csv(entries, NvsValues::inside).error()).find("'storage.a/../b' cannot stand in a CSV"),
            std::string::npos);
}

TEST(NvsCsv, SaysThatATableWouldAddWifiExtras) {
  const Entries wifi{{"nvs.net80211", "sta.ssid", NvsType::blob, Bytes(36, 0)}};
  NvsCsvText text = encode_nvs_csv(wifi, NvsValues::inside).value();
  EXPECT_TRUE(text.has_wifi_extras);
  EXPECT_EQ(sorted(parsed(text.csv, {.wifi_extras = false})->entries), wifi);
}

TEST(NvsCsv, RefusesNamesThatNoTableCanHold) {
  for (std::string_view key : {"a\nb", "\xff"})
    EXPECT_NE(describe(encode_nvs_csv(Entries{{"n", std::string{key}, NvsType::u8}}, NvsValues::in_files).error())
                  .find("cannot be named in a CSV"),
              std::string::npos);
}

}  // namespace
}  // namespace espmint
