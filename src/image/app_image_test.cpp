#include "image/app_image.hpp"

#include <gtest/gtest.h>

namespace espmint {
namespace {

void put_text(Bytes& out, std::string_view text, std::size_t field) {
  Bytes bytes = to_bytes(text);
  bytes.resize(field, 0);
  append(out, bytes);
}

/// An ESP32 app with a description, two segments, checksum and digest, made by the format's own words.
Bytes make_image(bool digest = true) {
  Bytes description;
  put_u32(description, 0xabcd'5432);
  put_u32(description, 7);
  description.resize(16, 0);
  put_text(description, "1.2.3", 32);
  put_text(description, "thermostat", 32);
  put_text(description, "12:34:56", 16);
  put_text(description, "Jan  1 2024", 16);
  put_text(description, "v5.1.2", 32);
  put_text(description, std::string(32, '\x5a'), 32);
  description.resize(256, 0);
  const std::pair<std::uint32_t, Bytes> segments[] = {{0x3f40'0020, description}, {0x4008'0000, Bytes(101, 0x33)}};

  Bytes out{0xe9, 2, 2, 0x2f};
  put_u32(out, 0x4008'0000);
  append(out, Bytes{0xee, 0, 0, 0, 0, 0, 1});
  put_u16(out, 100);
  put_u16(out, 399);
  append(out, Bytes{0, 0, 0, 0, static_cast<std::uint8_t>(digest)});
  std::uint8_t checksum = 0xef;
  for (const auto& [address, data] : segments) {
    put_u32(out, address);
    put_u32(out, static_cast<std::uint32_t>(data.size()));
    append(out, data);
    for (std::uint8_t byte : data) checksum ^= byte;
  }
  while (out.size() % 16 != 15) out.push_back(0);
  out.push_back(checksum);
  if (digest) {
    Sha256 sha = sha256_of(out);
    append(out, sha);
  }
  return out;
}

AppImage header_with(std::uint16_t chip, std::uint8_t old_oldest, std::uint16_t oldest, std::uint16_t newest) {
  AppImage image;
  image.chip_id = chip;
  image.min_revision = old_oldest;
  image.min_revision_full = oldest;
  image.max_revision_full = newest;
  return image;
}

TEST(AppImage, SaysOnWhichRevisionsOfItsChipItRuns) {
  RevisionRange range = revisions_of(header_with(5, 3, 3, 199));
  EXPECT_EQ(range.oldest, 3u);
  EXPECT_EQ(range.newest, 199u);
  EXPECT_EQ(revisions_of(header_with(0, 0, 0, 0xffff)).newest, std::nullopt);
  EXPECT_EQ(revisions_of(header_with(0, 0, 300, 0)).newest, std::nullopt);
}

TEST(AppImage, FromBeforeEspIdf5SaysARevisionInTheOldField) {
  EXPECT_EQ(revisions_of(header_with(0, 3, 0, 0)).oldest, 300u);
  EXPECT_EQ(revisions_of(header_with(5, 3, 0, 0)).oldest, 3u) << "on the ESP32-C3 it was a minor one";
  EXPECT_EQ(revisions_of(header_with(0, 1, 0, 399)).oldest, 0u) << "the new fields win";
}

TEST(AppImage, RunsFromFlashWhereASegmentIsMapped) {
  AppImage image = header_with(0, 0, 0, 0);
  image.segments = {{0x3fff'0030, 16, 32}, {0x4007'8000, 16, 64}};
  EXPECT_FALSE(runs_from_flash(image)) << "as every bootloader";
  image.segments.push_back({0x400d'0018, 16, 96});
  EXPECT_TRUE(runs_from_flash(image));
  image.chip_id = 5;
  EXPECT_FALSE(runs_from_flash(image)) << "mapped elsewhere on the ESP32-C3";
  image.chip_id = 99;
  EXPECT_TRUE(runs_from_flash(image)) << "nothing is claimed of an unknown chip";
}

TEST(AppImage, SaysWhatTheHeaderAndTheDescriptionSay) {
  Bytes bytes = make_image();
  Result<AppImage> image = parse_app_image(bytes);
  ASSERT_TRUE(image) << describe(image.error());
  EXPECT_TRUE(image->intact());
  EXPECT_EQ(image->size, bytes.size());
  EXPECT_EQ(image->entry, 0x4008'0000u);
  EXPECT_EQ(image->wp_pin, 0xee);
  EXPECT_EQ(image->min_revision, 1);
  EXPECT_EQ(image->min_revision_full, 100);
  EXPECT_EQ(image->max_revision_full, 399);
  EXPECT_EQ(flash_mode_name(image->flash_mode), "dio");
  EXPECT_EQ(flash_frequency_name(image->flash_frequency_code, image->chip_id), "80m");
  EXPECT_EQ(flash_size_of_code(image->flash_size_code), 4_MiB);
  EXPECT_EQ(image_chip_name(image->chip_id), "esp32");
  ASSERT_EQ(image->segments.size(), 2u);
  EXPECT_EQ(image->segments[1].load_address, 0x4008'0000u);
  EXPECT_EQ(image->segments[1].size, 101u);
  EXPECT_EQ(image->segments[1].file_offset, 24u + 8 + 256 + 8);
  ASSERT_TRUE(image->description);
  EXPECT_EQ(image->description->secure_version, 7u);
  EXPECT_EQ(image->description->version, "1.2.3");
  EXPECT_EQ(image->description->project_name, "thermostat");
  EXPECT_EQ(image->description->time, "12:34:56");
  EXPECT_EQ(image->description->date, "Jan  1 2024");
  EXPECT_EQ(image->description->idf_version, "v5.1.2");
  EXPECT_EQ(image->description->elf_sha256[31], 0x5a);
}

TEST(AppImage, EndsBeforeWhatFollowsIt) {
  Bytes bytes = make_image();
  std::size_t size = bytes.size();
  bytes.resize(size + 4096, 0xe7);
  EXPECT_EQ(parse_app_image(bytes)->size, size);
}

TEST(AppImage, NeedsNoDigest) {
  Result<AppImage> image = parse_app_image(make_image(false));
  ASSERT_TRUE(image);
  EXPECT_FALSE(image->digest);
  EXPECT_TRUE(image->intact());
}

TEST(AppImage, ReportsDamageAsAValue) {
  Bytes bytes = make_image();
  bytes[350] ^= 1;  // in the second segment's data
  Result<AppImage> image = parse_app_image(bytes);
  ASSERT_TRUE(image);
  EXPECT_NE(image->checksum, image->checksum_expected);
  EXPECT_NE(image->digest, image->digest_expected);
  EXPECT_FALSE(image->intact());
}

TEST(AppImage, NoFlippedBitStaysUnnoticed) {
  Bytes bytes = make_image();
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    Bytes damaged = bytes;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    Result<AppImage> image = parse_app_image(damaged);
    // The flag that says whether there is a digest is the digest's own blind spot; the next test has it.
    if (bit == 23 * 8) continue;
    EXPECT_TRUE(!image || !image->intact()) << bit;
  }
}

TEST(AppImage, RefusesADigestFlagThatIsNeitherZeroNorOne) {
  Bytes bytes = make_image();
  bytes[23] = 2;
  EXPECT_FALSE(parse_app_image(bytes));
}

TEST(AppImage, RefusesEveryTruncation) {
  Bytes bytes = make_image();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Result<AppImage> image = parse_app_image(ByteView{bytes}.first(size));
    ASSERT_FALSE(image) << size;
    EXPECT_EQ(image.error().code, Code::firmware_damaged);
  }
}

TEST(AppImage, RefusesSegmentsThatRunPastTheEnd) {
  Bytes bytes = make_image();
  set_u32(bytes, 24 + 4, 0xffff'ffff);
  EXPECT_FALSE(parse_app_image(bytes));
  bytes = make_image();
  bytes[1] = 17;
  EXPECT_FALSE(parse_app_image(bytes));
  bytes[1] = 0;
  EXPECT_FALSE(parse_app_image(bytes));
}

TEST(AppImage, GetsAnotherFlashSizeWithAValidDigest) {
  Bytes bytes = make_image();
  bytes.resize(bytes.size() + 7, 0x77);
  Result<Bytes> patched = with_flash_size(bytes, 16_MiB);
  ASSERT_TRUE(patched);
  AppImage image = parse_app_image(*patched).value();
  EXPECT_TRUE(image.intact());
  EXPECT_EQ(flash_size_of_code(image.flash_size_code), 16_MiB);
  EXPECT_EQ(image.flash_frequency_code, 0xf);
  EXPECT_EQ(patched->size(), bytes.size());
  EXPECT_EQ(with_flash_size(*patched, 4_MiB).value(), bytes);
}

TEST(AppImage, KeepsItsBytesWhenItSaysThatFlashSizeAlready) {
  Bytes bytes = make_image();
  EXPECT_EQ(with_flash_size(bytes, 4_MiB).value(), bytes);
}

TEST(AppImage, GetsModeAndFrequencyWithAValidDigest) {
  Bytes bytes = make_image();
  auto frequency = flash_frequency_of("40m", parse_app_image(bytes)->chip_id);
  ASSERT_TRUE(frequency);
  Result<Bytes> patched =
      with_flash_header(bytes, {.mode = flash_mode_of("dout"), .frequency_code = frequency, .size = {}});
  ASSERT_TRUE(patched);
  AppImage image = parse_app_image(*patched).value();
  EXPECT_TRUE(image.intact());
  EXPECT_EQ(flash_mode_name(image.flash_mode), "dout");
  EXPECT_EQ(image.flash_frequency_code, 0);
  EXPECT_EQ(flash_size_of_code(image.flash_size_code), 4_MiB);
  EXPECT_EQ(with_flash_header(bytes, {}).value(), bytes);
}

TEST(AppImage, KnowsAFrequencyByItsNameOnAChip) {
  EXPECT_EQ(flash_frequency_of("80m", 0), 0xf);
  EXPECT_EQ(flash_frequency_of("80m", 13), 0x0);
  EXPECT_EQ(flash_frequency_of("60m", 12), 0xf);
  EXPECT_FALSE(flash_frequency_of("60m", 0));
  EXPECT_FALSE(flash_frequency_of("", 13));
  EXPECT_EQ(flash_mode_of("qio"), 0);
  EXPECT_FALSE(flash_mode_of("octal"));
}

TEST(AppImage, GetsNoNewDigestWhenItIsDamaged) {
  Bytes bytes = make_image();
  bytes[350] ^= 1;
  Result<Bytes> patched = with_flash_size(bytes, 16_MiB);
  ASSERT_FALSE(patched);
  EXPECT_EQ(patched.error().code, Code::firmware_damaged);
}

TEST(AppImage, SaysSizesFromOneTo128Megabytes) {
  EXPECT_EQ(flash_size_code_of(1_MiB), 0);
  EXPECT_EQ(flash_size_code_of(128_MiB), 7);
  EXPECT_FALSE(flash_size_code_of(3_MiB));
  EXPECT_FALSE(flash_size_of_code(8));
  EXPECT_FALSE(with_flash_size(make_image(), 3_MiB));
}

TEST(AppImage, ReadsAFrequencyByItsChip) {
  EXPECT_EQ(flash_frequency_name(0xf, 0), "80m");
  EXPECT_EQ(flash_frequency_name(0xf, 12), "60m");
  EXPECT_EQ(flash_frequency_name(0x0, 13), "80m");
  EXPECT_EQ(flash_frequency_name(0xf, 16), "48m");
  EXPECT_EQ(flash_frequency_name(0x7, 0), "");
  EXPECT_EQ(flash_mode_name(9), "");
  EXPECT_EQ(image_chip_name(999), "");
}

}  // namespace
}  // namespace espmint
