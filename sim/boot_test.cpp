#include "sim/boot.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/base64.hpp"
#include "sim/desk_for_tests.hpp"
#include "sim/digest.hpp"
#include "sim/make_firmware.hpp"
#include "sim/spiffs_view.hpp"

namespace espmint::sim {
namespace {
namespace fs = std::filesystem;

void put(Bytes& flash, std::uint32_t at, ByteView bytes) { std::copy(bytes.begin(), bytes.end(), flash.begin() + at); }

Firmware firmware() { return *make_firmware({.app_bytes = 64 * 1024}); }

void install(Bytes& flash, const Firmware& made) {
  put(flash, made.bootloader_at, made.bootloader);
  put(flash, made.table_at, made.partition_table);
  put(flash, made.app_at, made.app);
}

std::string text_after_reset(Desk& desk) {
  desk.reset(false);
  return std::string{as_text(desk.hear(milliseconds{100}))};
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// One SPIFFS object of less than a page's index, laid out by hand from the specification: two pages, one lookup entry
/// each. Not built by the product's builder, so that two halves of one mistake cannot agree.
Bytes hand_made_spiffs(std::string_view name, ByteView content, std::size_t bytes = 64 * 1024) {
  Bytes image(bytes, 0xff);
  auto set16 = [&image](std::size_t at, std::uint16_t value) {
    image[at] = static_cast<std::uint8_t>(value);
    image[at + 1] = static_cast<std::uint8_t>(value >> 8);
  };
  std::uint32_t blocks = static_cast<std::uint32_t>(bytes / 4096);
  for (std::uint32_t block = 0; block < blocks; ++block) {
    std::uint32_t magic = 0x2014'0529 ^ 256 ^ (blocks - block);
    set16(block * 4096 + 252, static_cast<std::uint16_t>(magic));
  }
  // Page 1: the index header. Pages 2…: the data.
  set16(0, 0x8001);
  std::size_t head = 256;
  set16(head, 0x8001);
  set16(head + 2, 0);
  image[head + 4] = 0xf8;
  set_u32(image, head + 8, static_cast<std::uint32_t>(content.size()));
  image[head + 12] = 1;
  std::memset(image.data() + head + 13, 0, 32);
  std::copy(name.begin(), name.end(), image.begin() + static_cast<std::ptrdiff_t>(head) + 13);
  for (std::size_t span = 0; span * 251 < content.size(); ++span) {
    auto page = static_cast<std::uint16_t>(2 + span);
    set16(2 * (page - 1), 0x0001);
    set16(head + 49 + 2 * span, page);
    std::size_t at = page * 256;
    set16(at, 1);
    set16(at + 2, static_cast<std::uint16_t>(span));
    image[at + 4] = 0xfc;
    ByteView piece = content.subspan(span * 251);
    piece = piece.first(std::min<std::size_t>(piece.size(), 251));
    std::copy(piece.begin(), piece.end(), image.begin() + static_cast<std::ptrdiff_t>(at) + 5);
  }
  return image;
}

using Key = std::shared_ptr<EVP_PKEY>;
std::string pem_of(const Key& key) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

bool verifies(const Key& key, ByteView message, ByteView signature) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
  EVP_PKEY_CTX* parameters = nullptr;
  EVP_DigestVerifyInit(context.get(), &parameters, EVP_sha256(), nullptr, key.get());
  if (EVP_PKEY_base_id(key.get()) == EVP_PKEY_RSA) {
    EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, 32);
  }
  return EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
}

TEST(Boot, OfABlankChipPrintsWhatTheRomPrintsAndResetsAgainAndAgain) {
  Desk desk;
  std::string text = text_after_reset(desk);
  EXPECT_TRUE(
      text.starts_with("ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x12 (SPI_FAST_FLASH_BOOT)\r\n"
                       "invalid header: 0xffffffff\r\n"))
      << text;
  std::string later{as_text(desk.hear(milliseconds{350}))};
  EXPECT_TRUE(has(later, "rst:0x10 (RTCWDT_RTC_RESET)")) << later;
  // An hour on a shelf costs nothing and floods nobody.
  desk.wait(std::chrono::hours{1});
  std::array<std::uint8_t, 128 * 1024> all;
  EXPECT_LE(desk.board.transmit(desk.now, all), 64u * 1024);
}

TEST(Boot, RunsAnApplicationThatIsWhole) {
  Desk desk;
  install(desk.flash, firmware());
  std::string text = text_after_reset(desk);
  EXPECT_TRUE(has(text, "Loaded app from partition at offset 0x10000")) << text;
  EXPECT_TRUE(has(text, "factory          factory app      00 00 00010000 00100000")) << text;
  EXPECT_TRUE(has(text, "Project name:     thermostat"));
  EXPECT_EQ(desk.board.state(), "app");
}

TEST(Boot, StopsAtEachThingThatIsWrong) {
  struct Row {
    std::string_view what;
    std::uint32_t at;
    std::string_view seen;
  };
  const std::array rows{
      Row{"bootloader magic", 0x1000, "invalid header"},
      Row{"bootloader data", 0x1800, "csum err"},
      Row{"table magic", 0x8000, "invalid magic number"},
      Row{"table row", 0x8010, "incorrect MD5"},
      Row{"app magic", 0x10000, "invalid magic byte"},
      Row{"app chip id", 0x1000c, "mismatch chip ID"},
      Row{"app data", 0x18000, "hash failed"},
      Row{"app segment length", 0x10000 + 28 + 2, "runs past its partition"},
  };
  for (const Row& row : rows) {
    Desk desk;
    install(desk.flash, firmware());
    desk.flash[row.at] ^= 0x40;
    // A checksum is one byte: data that is wrong twice in the same bit passes it, the digest does not.
    if (row.what == "app data") desk.flash[row.at + 1] ^= 0x40;
    std::string text = text_after_reset(desk);
    EXPECT_TRUE(has(text, row.seen)) << row.what << "\n" << text;
    EXPECT_EQ(desk.board.state(), "looping") << row.what;
  }
}

/// The image with these revisions in its header, and a digest that fits.
Bytes for_revisions(Bytes image, std::uint16_t oldest, std::uint16_t newest) {
  image[15] = static_cast<std::uint8_t>(oldest);
  image[16] = static_cast<std::uint8_t>(oldest >> 8);
  image[17] = static_cast<std::uint8_t>(newest);
  image[18] = static_cast<std::uint8_t>(newest >> 8);
  Bytes sha = digest(EVP_sha256(), ByteView{image}.first(image.size() - 32));
  std::copy(sha.begin(), sha.end(), image.end() - 32);
  return image;
}

TEST(Boot, OfAnImageForAnotherRevisionIsRefusedInTheBootloadersWords) {
  Chip c3 = *chip_row_named("esp32c3");
  c3.revision = 0;
  Firmware made = *make_firmware({.chip = "esp32c3", .app_bytes = 64 * 1024});
  auto log_of = [&](const Bytes& bootloader, const Bytes& app) {
    Bytes flash(4 * 1024 * 1024, 0xff);
    install(flash, made);
    put(flash, made.bootloader_at, bootloader);
    put(flash, made.app_at, app);
    return boot(c3, flash).log;
  };
  std::string good = log_of(for_revisions(made.bootloader, 0, 99), for_revisions(made.app, 0, 99));
  EXPECT_TRUE(has(good, "chip revision: v0.0")) << good;
  EXPECT_TRUE(has(good, "Loaded app")) << good;
  for (const std::string& bad : {log_of(for_revisions(made.bootloader, 3, 199), made.app),
                                 log_of(made.bootloader, for_revisions(made.app, 3, 199))}) {
    EXPECT_TRUE(has(bad, "Image requires chip rev >= v0.3, but chip is v0.0")) << bad;
    EXPECT_FALSE(has(bad, "Loaded app")) << bad;
  }
}

TEST(Boot, ChoosesTheSlotThatTheOtaDataNames) {
  // CRC of sequence 1 as ESP-IDF's otatool writes it.
  Bytes flash(4 * 1024 * 1024, 0xff);
  Firmware made = firmware();
  install(flash, made);
  Bytes table;
  auto row = [&table](std::uint8_t type, std::uint8_t subtype, std::uint32_t at, std::uint32_t size,
                      std::string_view label) {
    append(table, Bytes{0xaa, 0x50, type, subtype});
    put_u32(table, at);
    put_u32(table, size);
    append(table, as_bytes(label));
    table.resize((table.size() + 31) / 32 * 32, 0);
  };
  row(1, 0, 0xd000, 0x2000, "otadata");
  row(0, 0, 0x10000, 0x20000, "factory");
  row(0, 0x10, 0x30000, 0x20000, "ota_0");
  std::fill(flash.begin() + 0x8000, flash.begin() + 0x9000, std::uint8_t{0xff});
  put(flash, 0x8000, table);
  put(flash, 0x30000, made.app);
  const ChipRow& esp32 = *chip_row_named("esp32");
  EXPECT_TRUE(has(boot(esp32, flash).log, "offset 0x10000"));
  Bytes record;
  put_u32(record, 1);
  record.resize(28, 0xff);
  put_u32(record, 0x4743'989a);
  put(flash, 0xd000, record);
  EXPECT_TRUE(has(boot(esp32, flash).log, "offset 0x30000"));
}

TEST(SpiffsView, ReadsAFileThroughItsIndexAndRefusesOneThatLeadsAstray) {
  Bytes content;
  for (int i = 0; i < 1000; ++i) content.push_back(static_cast<std::uint8_t>(i * 7));
  Bytes image = hand_made_spiffs("hello.txt", content);
  auto files = read_spiffs(image);
  ASSERT_TRUE(files);
  ASSERT_EQ(files->size(), 1u);
  EXPECT_EQ(files->front().name, "hello.txt");
  EXPECT_EQ(files->front().content, content);
  Bytes astray = image;
  astray[256 + 49] ^= 1;
  EXPECT_FALSE(read_spiffs(astray));
  Bytes no_magic = image;
  for (std::size_t block = 0; block < 16; ++block) no_magic[block * 4096 + 252] = 0xff;
  EXPECT_FALSE(read_spiffs(no_magic));
  EXPECT_FALSE(read_spiffs(Bytes(64 * 1024, 0xff)));
}

TEST(SpiffsView, ReadsWhatTheReferenceToolsMade) {
  fs::path golden = fs::path{ESPMINT_SOURCE_DIR} / ".." / "shared" / "golden" / "spiffs";
  if (!fs::exists(golden)) GTEST_SKIP() << "no golden images at " << golden;
  auto load = [](const fs::path& path) {
    std::ifstream in{path, std::ios::binary};
    return Bytes{std::istreambuf_iterator<char>{in}, {}};
  };
  // The C driver's image and the generator's, of the same three files.
  for (const char* name : {"read-clib-seed3.bin", "read-gen-seed3.bin"}) {
    auto files = read_spiffs(load(golden / name));
    ASSERT_TRUE(files) << name;
    ASSERT_EQ(files->size(), 3u) << name;
    for (const SpiffsFile& file : *files) {
      fs::path original = golden / "_in" / "seed3" / file.name.substr(file.name.starts_with('/') ? 1 : 0);
      EXPECT_EQ(file.content, load(original)) << name << " " << file.name;
    }
  }
}

class Challenge : public ::testing::TestWithParam<const char*> {};

TEST_P(Challenge, IsAnsweredWithTheKeyInTheBoardsOwnFlash) {
  Key key{std::string_view{GetParam()} == "rsa" ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"), EVP_PKEY_free};
  Desk desk{{.preset = "fast"}};
  Firmware made = firmware();
  install(desk.flash, made);
  put(desk.flash, made.storage_at, hand_made_spiffs("private.pem.key", as_bytes(pem_of(key))));
  desk.reset(false);
  std::string text{as_text(desk.hear(milliseconds{500}))};
  EXPECT_TRUE(has(text, "identity found")) << text;
  EXPECT_FALSE(has(text, "PRIVATE KEY"));
  std::string nonce = "00112233445566778899aabbccddeeff";
  std::string answer{as_text(desk.talk(as_bytes("espmint-challenge " + nonce + "\n")))};
  ASSERT_TRUE(answer.starts_with("espmint-proof 240ac4123456 ")) << answer;
  ASSERT_TRUE(answer.ends_with("\n"));
  auto signature = from_base64(answer.substr(27, answer.size() - 28));
  ASSERT_TRUE(signature);
  Bytes message = to_bytes("espmint-v1");
  append(message, desk.board.mac().octets);
  append(message, *from_hex(nonce));
  EXPECT_TRUE(verifies(key, message, *signature));
  message.back() ^= 1;
  EXPECT_FALSE(verifies(key, message, *signature));
}
INSTANTIATE_TEST_SUITE_P(Keys, Challenge, ::testing::Values("ec", "rsa"));

TEST(ChallengeWithoutIdentity, IsNotAnswered) {
  Desk desk;
  install(desk.flash, firmware());
  text_after_reset(desk);
  EXPECT_TRUE(desk.talk(as_bytes("espmint-challenge 00112233445566778899aabbccddeeff\n")).empty());
  EXPECT_TRUE(desk.talk(as_bytes("espmint-challenge zz\nhello\n")).empty());
}

}  // namespace
}  // namespace espmint::sim
