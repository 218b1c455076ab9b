#include "image/file_kind.hpp"

#include <gtest/gtest.h>

#include "image/spiffs.hpp"

namespace espmint {
namespace {

using namespace std::string_view_literals;

FileKind kind_of_text(std::string_view text) { return file_kind_of(as_bytes(text)); }

TEST(FileKind, IsToldByHowTheFileBegins) {
  EXPECT_EQ(kind_of_text("\xe9\x04\x02\x20"sv), FileKind::esp_image);
  EXPECT_EQ(kind_of_text("\xaa\x50\x01\x02"sv), FileKind::partition_table);
  EXPECT_EQ(kind_of_text("\x7f"
                         "ELF\x01"sv),
            FileKind::elf);
  EXPECT_EQ(kind_of_text("PK\x03\x04rest"sv), FileKind::zip);
  EXPECT_EQ(kind_of_text("\x89PNG\r\n"sv), FileKind::png);
  EXPECT_EQ(kind_of_text(":020000040800F2\n"), FileKind::intel_hex);
  EXPECT_EQ(kind_of_text("<!DOCTYPE html><title>404</title>"), FileKind::web_page);
  EXPECT_EQ(kind_of_text("# Name, Type, SubType\n\nnvs, data, nvs, 0x9000, 0x6000\n"), FileKind::partition_csv);
}

TEST(FileKind, OfASpiffsIsFoundByReadingIt) {
  Bytes content = to_bytes("hello");
  std::vector<FileView> files{{"a.txt", content}};
  auto image = build_spiffs(64_KiB, {}, files);
  ASSERT_TRUE(image) << describe(image.error());
  EXPECT_EQ(file_kind_of(*image), FileKind::spiffs);
  EXPECT_FALSE(looks_like_littlefs(*image));
}

TEST(FileKind, OfALittleFsIsItsSuperblockInEitherOfTwoBlocks) {
  for (std::size_t at : {std::size_t{8}, std::size_t{4096 + 8}}) {
    Bytes image(16384, 0xff);
    std::string_view name = "littlefs";
    std::copy(name.begin(), name.end(), image.begin() + static_cast<std::ptrdiff_t>(at));
    EXPECT_TRUE(looks_like_littlefs(image)) << at;
    EXPECT_EQ(file_kind_of(image), FileKind::littlefs) << at;
  }
}

TEST(FileKind, OfOtherBytesIsUnknownAndOfNothingBlank) {
  EXPECT_EQ(kind_of_text("dear diary"), FileKind::unknown);
  EXPECT_EQ(title_of(FileKind::unknown), "");
  EXPECT_EQ(file_kind_of({}), FileKind::blank);
  EXPECT_EQ(file_kind_of(Bytes(100, 0xff)), FileKind::blank);
  EXPECT_EQ(title_of(FileKind::elf), "an ELF file");
}

}  // namespace
}  // namespace espmint
