#include "image/app_build.hpp"

#include <gtest/gtest.h>

#include "image/app_image.hpp"
#include "image/test_elf.hpp"

namespace espmint {
namespace {

constexpr std::uint32_t code = elf::flag_allocated | elf::flag_executable, data = elf::flag_allocated | elf::flag_write;
constexpr std::uint32_t drom = 0x3f40'0020, irom = 0x400d'0020, dram = 0x3ffb'0000, iram = 0x4008'0000;  // of the ESP32
constexpr std::uint16_t esp32c3 = 5, esp32c6 = 13;

Bytes pattern(std::size_t size, std::size_t seed) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + (i >> 8) * 13 + seed * 31 + 1);
  return out;
}

/// An app's description whose place for the ELF's SHA-256 is free.
Bytes description() {
  Bytes out;
  put_u32(out, 0xabcd'5432);
  out.resize(256, 0);
  out[16] = '1';
  return out;
}

/// "3f400020+100@20 ...": address, size and place of each segment.
std::string layout_of(const Result<Bytes>& bytes) {
  if (!bytes) return "refused: " + bytes.error().what;
  Result<AppImage> image = parse_app_image(*bytes);
  if (!image) return "no image: " + image.error().what;
  if (!image->intact()) return "not intact";
  std::string out;
  for (const AppSegment& segment : image->segments) {
    char text[64];
    std::snprintf(text, sizeof text, "%s%x+%x@%x", out.empty() ? "" : " ", segment.load_address, segment.size,
                  segment.file_offset);
    out += text;
  }
  return out;
}

struct GoldenBuild {
  const char* what;
  std::vector<TestSection> sections;
  AppBuildOptions options;
  const char* layout;
  const char* sha256;
};

// What esptool.py v4.8.1 makes of the same files: `--chip CHIP elf2image`, with the options' words.
std::vector<GoldenBuild> golden_builds() {
  return {
      {"an app: RAM fills the gap between two mapped segments",
       {{".flash.appdesc", drom, description(), elf::flag_allocated},
        {".flash.text", irom, pattern(0x1234, 2), code},
        {".iram0.text", iram, pattern(837, 3), code},
        {".dram0.data", dram, pattern(17, 4), data}},
       {},
       "3f400020+100@20 3ffb0000+14@128 40080000+348@144 0+fb84@494 400d0020+1234@10020",
       "b2a1081ff78599b55e8fda9b3a28e3e813450695f612f65717c7ffa6595ad33f"},
      {"more RAM than gap: a segment is split",
       {{".flash.appdesc", drom, description(), elf::flag_allocated},
        {".flash.text", irom, pattern(48, 2), code},
        {".iram0.text", iram, pattern(0x12345, 3), code},
        {".dram0.data", dram, pattern(17, 4), data}},
       {},
       "3f400020+100@20 3ffb0000+14@128 40080000+fed4@144 400d0020+30@10020 4008fed4+2474@10058",
       "b8a10e5d28d14b2fadbcf7184fbe95b5fb15be7a4d89e5ac838d8c281f02b339"},
      {"a bootloader: RAM only, sorted by address",
       {{".iram_loader.text", iram, pattern(0x5dc, 1), code},
        {".iram.text", 0x4007'8000, pattern(0xbb8, 2), code},
        {".dram0.data", 0x3fff'0000, pattern(401, 3), data}},
       {.flash_mode = 2, .flash_size = 4_MiB},
       "3fff0000+194@20 40078000+bb8@1bc 40080000+5dc@d7c",
       "b6f3919e5a50cd7bd0c260e03098ba8f3f025fc82c76fa5a450c9b77c00fb78a"},
      {"neighbours of one kind are one segment, whatever else they are",
       {{".a", dram, pattern(5, 1), data},
        {".b", dram + 0x8, pattern(8, 2), elf::flag_allocated},
        {".c", dram + 0x10, pattern(8, 3), code},
        {".d", dram + 0x18, pattern(8, 4), code},
        {".e", dram + 0x100, pattern(4, 5), data}},
       {},
       "3ffb0000+10@20 3ffb0010+10@38 3ffb0100+4@50",
       "a6e3eae915643ab737e92999b490f2f0d34d2af5f5f06db918a3bea253b0b9b9"},
      {"only those that are neighbours in the file, too",
       {{".b", dram + 0x8, pattern(8, 2), data}, {".a", dram, pattern(8, 1), data}},
       {},
       "3ffb0000+8@20 3ffb0008+8@30",
       "bfe7a94bf3fffedc10f215be6ed935fcc6fe6dfd0e9486bcac12c757bbfe92d5"},
      {"not across a border between two memories",
       {{".a", 0x4007'fff8, pattern(8, 2), code}, {".b", iram, pattern(8, 1), code}},
       {},
       "4007fff8+8@20 40080000+8@30",
       "5f17532850a504b4e0e811246613bb72bdd59d2add12e83ee816ad118d1e1dec"},
      {"the description's segment comes first",
       {{".flash.rodata", drom, pattern(300, 1), elf::flag_allocated},
        {".flash.appdesc", drom + 0x20000, description(), elf::flag_allocated},
        {".flash.text", irom, pattern(50, 2), code}},
       {},
       "3f420020+100@20 0+fef0@128 3f400020+12c@10020 0+fec4@10154 400d0020+34@20020",
       "62b21412a182c2c70d7aafb1d2aeb07e9cb23920ab9717836c137b7ed4fb7124"},
      {"a gap too small for a segment is a page longer",
       {{".flash.rodata", 0x3c00'0020, pattern(0xffe8, 1), elf::flag_allocated},
        {".flash.text", 0x4201'0020, pattern(16, 2), code}},
       {.chip_id = esp32c3},
       "3c000020+ffe8@20 0+10008@10010 42010020+10@20020",
       "680387ac3aab7465d10d2f13fdfefa21b0d62a7c10369cc6779e6e4e35df1d66"},
      {"the same, filled with RAM",
       {{".flash.rodata", 0x3c00'0020, pattern(0xffec, 1), elf::flag_allocated},
        {".flash.text", 0x4201'0020, pattern(16, 2), code},
        {".dram0.data", 0x3fc8'0000, pattern(0x13000, 3), data}},
       {.chip_id = esp32c3},
       "3c000020+ffec@20 3fc80000+10004@10014 42010020+10@20020 3fc90004+2ffc@20038",
       "da7434ad2dce0d6b07238d36fb4aeba88f10f55628bc4a6f3b5b1d196e01e5bd"},
      {"the ESP32's last page holds 0x24 bytes or none",
       {{".flash.rodata", drom, pattern(0xffe4, 1), elf::flag_allocated}},
       {},
       "3f400020+10004@20",
       "8b5ea8f81a19db666e52a225fe6571e8ab924709fa3665fd3d6c45e9c0703baf"},
      {"no other chip's does",
       {{".flash.rodata", 0x3c00'0020, pattern(0xffe4, 1), elf::flag_allocated}},
       {.chip_id = esp32c3},
       "3c000020+ffe4@20",
       "d1d310333c34d45b5795e04a4d663dc419a7bb1b7b3d21f3f4514681586f6ac3"},
      {"smaller pages",
       {{".flash.rodata", 0x4200'0020, pattern(64, 1), elf::flag_allocated},
        {".flash.text", 0x4201'0020, pattern(64, 2), code}},
       {.chip_id = esp32c6, .page_bytes = 0x2000},
       "42000020+40@20 0+1fb0@68 42010020+40@2020",
       "27c84c96f26961241f8e554babdbc44ba93d89ad21cb9c5cd62689182254652a"},
      {"room for a signature, version 1",
       {{".flash.rodata", drom, pattern(300, 1), elf::flag_allocated}},
       {.secure_pad = SecurePad::v1},
       "3f400020+12c@20 0+fe2c@154",
       "b65ca620e21e4329413d2cb2e3392ba6b85257a85fe7c2ed01f6ffaa7cd6674a"},
      {"room for a signature, version 2, where none is needed",
       {{".dram0.data", dram, pattern(0xffa8, 1), data}},
       {.secure_pad = SecurePad::v2},
       "3ffb0000+ffa8@20 0+0@ffd0",
       "41d3ad2ee324970419a2bbd41aec1431d2ab542e80d26ed5f5ecc72cf45252ff"},
      {"revisions, no digest",
       {{".dram0.data", dram, pattern(10, 1), data}},
       {.min_revision = 301, .max_revision = 399, .digest = false},
       "3ffb0000+c@20",
       "ef529220691cc4f0754623f8fb02b830aa53ce54a8343ddffa98dec3eec5902b"},
      {"by segments: neighbours are one, whatever their kind",
       {{".a", dram, pattern(8, 1), data},
        {".b", dram + 0x8, pattern(8, 2), code},
        {".flash.appdesc", drom + 0x20000, description(), elf::flag_allocated},
        {".flash.rodata", drom, pattern(9, 3), elf::flag_allocated}},
       {.from_segments = true},
       "3f400020+c@20 3ffb0000+10@34 0+ffcc@4c 3f420020+100@10020",
       "28913bf0e18c43e17fd0b9efee307237ceeea10c0be92d2cfe90a2ae54dafb69"},
  };
}

TEST(AppBuild, MakesTheReferenceToolsBytes) {
  for (const GoldenBuild& golden : golden_builds()) {
    Result<Bytes> image = build_app_image(test_elf(golden.sections), golden.options);
    EXPECT_EQ(layout_of(image), golden.layout) << golden.what;
    if (image) {
      EXPECT_EQ(to_hex(sha256_of(*image)), golden.sha256) << golden.what;
    }
  }
}

TEST(AppBuild, SaysInItsHeaderWhatWasAsked) {
  Bytes elf = test_elf({{".dram0.data", dram, pattern(8, 1), data}}, 0x4008'1234);
  AppBuildOptions options{.chip_id = esp32c6,
                          .flash_mode = 2,
                          .frequency_code = 2,
                          .flash_size = 8_MiB,
                          .min_revision = 101,
                          .max_revision = 399};
  AppImage image = parse_app_image(build_app_image(elf, options).value()).value();
  EXPECT_EQ(image.entry, 0x4008'1234u);
  EXPECT_EQ(image.chip_id, esp32c6);
  EXPECT_EQ(image.flash_mode, 2);
  EXPECT_EQ(image.flash_frequency_code, 2);
  EXPECT_EQ(flash_size_of_code(image.flash_size_code), 8_MiB);
  EXPECT_EQ(image.min_revision_full, 101);
  EXPECT_EQ(image.max_revision_full, 399);
  EXPECT_EQ(image.min_revision, 0) << "the old field stays empty";
  EXPECT_TRUE(image.has_digest);
  options.digest = false;
  EXPECT_FALSE(parse_app_image(build_app_image(elf, options).value())->has_digest);
}

TEST(AppBuild, PutsTheElfsDigestIntoTheDescription) {
  Bytes elf = test_elf({{".flash.appdesc", drom, description()}, {".flash.text", irom, pattern(64, 2), code}});
  AppImage without = parse_app_image(build_app_image(elf, {}).value()).value();
  EXPECT_EQ(without.description->elf_sha256, Sha256{});
  AppImage image = parse_app_image(build_app_image(elf, {.elf_sha256_at = 0xb0}).value()).value();
  EXPECT_TRUE(image.intact());
  EXPECT_EQ(image.description->elf_sha256, sha256_of(elf));
}

TEST(AppBuild, NeverPutsTheElfsDigestOverSomething) {
  Bytes elf = test_elf({{".flash.appdesc", drom, description()}});
  for (std::uint32_t at : {0x20u, 0x8u, 0x101u, 0x1000'0000u}) {
    Result<Bytes> image = build_app_image(elf, {.elf_sha256_at = at});
    ASSERT_FALSE(image) << at;
    EXPECT_EQ(image.error().code, Code::image_invalid);
  }
  EXPECT_TRUE(build_app_image(elf, {.elf_sha256_at = 0x20 + 256 - 32}));
}

TEST(AppBuild, LeavesRoomForASignatureOfSecureBoot) {
  Bytes elf = test_elf({{".dram0.data", dram, pattern(100, 1), data}});
  EXPECT_EQ(build_app_image(elf, {.secure_pad = SecurePad::v1})->size() % 0x10000, 0x10000u - 80);
  EXPECT_EQ(build_app_image(elf, {.secure_pad = SecurePad::v2})->size() % 0x10000, 0u);
  EXPECT_FALSE(build_app_image(elf, {.digest = false, .secure_pad = SecurePad::v2}));
}

TEST(AppBuild, IsPaddedWithErasedFlash) {
  Bytes elf = test_elf({{".dram0.data", dram, pattern(100, 1), data}});
  Bytes plain = build_app_image(elf, {}).value(), padded = build_app_image(elf, {.pad_to = 4_KiB}).value();
  EXPECT_EQ(padded.size(), 4096u);
  EXPECT_TRUE(std::equal(plain.begin(), plain.end(), padded.begin()));
  EXPECT_EQ(padded.back(), 0xff);
  EXPECT_EQ(parse_app_image(padded)->size, plain.size());
}

TEST(AppBuild, RefusesWhatNoChipCouldStart) {
  EXPECT_FALSE(build_app_image(test_elf({}), {})) << "nothing to load";
  EXPECT_FALSE(build_app_image(test_elf({{".debug", 0, pattern(8, 1), 0}}), {})) << "nothing with an address";
  EXPECT_FALSE(
      build_app_image(test_elf({{".flash.a", drom, pattern(8, 1)}, {".flash.b", drom + 0x1000, pattern(8, 2)}}), {}))
      << "two in one page";
  EXPECT_FALSE(build_app_image(test_elf({{".a", dram, pattern(16, 1)}, {".b", dram + 8, pattern(16, 2)}}), {}))
      << "an overlap";
  EXPECT_TRUE(build_app_image(test_elf({{".a", dram, pattern(5, 1)}, {".b", dram + 5, pattern(3, 2)}}), {}))
      << "none but in the padding";
  EXPECT_FALSE(build_app_image(test_elf({{".a", 0xffff'fff0, pattern(32, 1)}}), {})) << "past the last address";
  std::vector<TestSection> many;
  for (std::uint32_t i = 0; i < 16; ++i) many.push_back({".a", dram + 32 * i, pattern(8, i)});
  EXPECT_TRUE(build_app_image(test_elf(many), {}));
  many.push_back({".b", dram + 0x1000, pattern(8, 1)});
  EXPECT_FALSE(build_app_image(test_elf(many), {}));
}

TEST(AppBuild, RefusesWhatTheChipOrTheHeaderCannotHave) {
  Bytes elf = test_elf({{".dram0.data", dram, pattern(8, 1), data}});
  EXPECT_FALSE(build_app_image(elf, {.chip_id = 77}));
  EXPECT_FALSE(build_app_image(elf, {.flash_size = 3_MiB}));
  EXPECT_FALSE(build_app_image(elf, {.page_bytes = 0x8000})) << "the ESP32 has one size of page";
  EXPECT_TRUE(build_app_image(elf, {.chip_id = esp32c6, .page_bytes = 0x2000}));
  EXPECT_FALSE(build_app_image(elf, {.chip_id = esp32c6, .page_bytes = 0x3000}));
  EXPECT_FALSE(build_app_image(elf, {.chip_id = esp32c6, .page_bytes = 0x1000}));
  EXPECT_FALSE(build_app_image(elf, {.pad_to = 1ULL << 40}));
}

TEST(AppBuild, HostileGapsCostNoMoreThanSixteenPages) {
  std::vector<TestSection> far_apart;
  for (std::uint32_t i = 0; i < 1000; ++i)
    far_apart.push_back({".flash", 0x4200'0000 + 0x1'0000 * (i % 128) + 4 * (i / 128), pattern(1, i)});
  EXPECT_FALSE(build_app_image(test_elf(far_apart), {.chip_id = esp32c3}));
}

TEST(AppBuild, AnElfCutOrWithAnyBitFlippedIsAnIntactImageOrRefused) {
  Bytes elf = test_elf({{".flash.appdesc", drom, description()},
                        {".flash.text", irom, pattern(100, 2), code},
                        {".iram0.text", iram, pattern(30, 3), code}});
  for (std::size_t size = 0; size < elf.size(); ++size) EXPECT_FALSE(build_app_image(ByteView{elf}.first(size), {}));
  for (std::size_t bit = 0; bit < elf.size() * 8; bit += bit < 160 * 8 || bit > (elf.size() - 240) * 8 ? 1 : 97) {
    Bytes damaged = elf;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    Result<Bytes> image = build_app_image(damaged, {});
    if (image) {
      EXPECT_TRUE(parse_app_image(*image)->intact()) << bit;
    }
  }
}

}  // namespace
}  // namespace espmint
