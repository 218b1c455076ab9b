#include <gtest/gtest.h>

#include <set>

#include "base/bytes.hpp"
#include "base/hash.hpp"
#include "base/mac.hpp"
#include "base/result.hpp"
#include "base/secret.hpp"
#include "base/text.hpp"

namespace espmint {
namespace {

TEST(Mac, IsReadInEveryUsualFormAndWrittenInOne) {
  for (auto text : {"24d7eb123456", "24:D7:EB:12:34:56", "24-d7-eb-12-34-56"}) {
    auto mac = parse_mac(text);
    ASSERT_TRUE(mac) << text;
    EXPECT_EQ(to_string(*mac), "24d7eb123456");
  }
  for (auto text : {"", "24d7eb12345", "24d7eb12345g", "24:d7:eb:12:34:5", "24.d7.eb.12.34.56"})
    EXPECT_FALSE(parse_mac(text)) << text;
}

TEST(Hash, AgreesWithThePublishedValues) {
  EXPECT_EQ(to_hex(md5_of(as_bytes("abc"))), "900150983cd24fb0d6963f7d28e17f72");  // RFC 1321, A.5
  EXPECT_EQ(to_hex(sha256_of(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-2, B.1
  EXPECT_EQ(sha256_of({as_bytes("a"), as_bytes("bc")}), sha256_of(as_bytes("abc")));
}

TEST(Number, TakesWhatPeopleWriteForSizes) {
  EXPECT_EQ(parse_number("1048576"), 1048576u);
  EXPECT_EQ(parse_number("0x100000"), 1048576u);
  EXPECT_EQ(parse_number("1M"), 1048576u);
  EXPECT_EQ(parse_number("1MB"), 1048576u);
  EXPECT_EQ(parse_number("1024k"), 1048576u);
  EXPECT_EQ(parse_number("0xB"), 11u);
  for (auto text : {"", "x", "1.5M", "-1", "0x", "99999999999999999999", "18446744073709551615K"})
    EXPECT_FALSE(parse_number(text)) << text;
}

TEST(Suggestion, NamesTheNearMissOnly) {
  std::array<std::string_view, 3> words{"partition", "format", "files"};
  EXPECT_EQ(nearest("fromat", words), "format");
  EXPECT_EQ(nearest("partitions", words), "partition");
  EXPECT_EQ(nearest("zzz", words), "");
}

TEST(Fault, SaysWhatWhereSeenAndWhatToDoInOneSafeSentence) {
  Fault fault{Code::flash_differs, Remedy::retry, "flash differs", {}, "seen \x1b[2J", "reseat the board"};
  fault.where.slot = "/dev/ttyUSB3";
  fault.where.offset = 0x8000;
  EXPECT_EQ(describe(fault), "flash differs (/dev/ttyUSB3, at 0x8000): seen \\x1b[2J. Reseat the board");
}

TEST(Fault, CodesHaveUniqueNames) {
  std::set<std::string_view> names;
  for (const CodeSpec& row : fault_codes) EXPECT_TRUE(names.insert(row.name).second) << row.name;
}

TEST(Try, HandsTheFaultUpAndTheValueOn) {
  auto half = [](int n) -> Result<int> {
    if (n % 2) return fail({Code::usage, Remedy::refuse, "odd"});
    return n / 2;
  };
  auto quarter = [&half](int n) -> Result<int> {
    TRY(int first, half(n));
    TRY(half(first));
    return half(first);
  };
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().what, "odd");
}

TEST(Secret, MovesAndLeavesNothingBehind) {
  Secret first{to_bytes("key")};
  Secret second = std::move(first);
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): that it is empty is the promise
  EXPECT_EQ(as_text(second.reveal()), "key");
}

TEST(Fault, IsDescribedWithOneFullStopBetweenEvidenceAndAdvice) {
  Fault fault{Code::board_silent, Remedy::retry, "the board does not answer"};
  fault.seen = "it printed boot:0x13 (SPI_FAST_FLASH_BOOT).";
  fault.advice = "This port has no reset lines";
  EXPECT_EQ(describe(fault),
            "the board does not answer: it printed boot:0x13 (SPI_FAST_FLASH_BOOT). This port has no reset lines");
}

}  // namespace
}  // namespace espmint
