#include "image/nvs_crypt.hpp"

#include <gtest/gtest.h>

#include "image/nvs_build.hpp"
#include "image/nvs_layout.hpp"

namespace espmint {
namespace {

Bytes hex(std::string_view text) { return from_hex(text).value(); }

// TEST ONLY, those of the references.
constexpr std::string_view key_hex =
    "1bfd89bbcffc4b96b8358a6a796215ee5f2a4a0bd6b726a4c740863afba31728"
    "480aaea3ef464781e5e46ce1837a054c456c1f6d91cce903bcbd4de1f6e5457f";
NvsKeys test_keys() { return NvsKeys::of(Secret{hex(key_hex)}).value(); }

Bytes plain_image() {
  const std::vector<NvsEntry> entries{{"n", "a", NvsType::u8, {}, 7},
                                      {"n", "s", NvsType::string, to_bytes("words")},
                                      {"n", "ff", NvsType::blob, Bytes(64, 0xff)},
                                      {"n", "long", NvsType::blob, Bytes(5000, 0x5a)}};
  return build_nvs(0x5000, {}, entries).value();
}

TEST(NvsCrypt, IsXtsAes256) {
  // IEEE 1619-2007, Annex B, vector 10: its first 32 bytes (later ones do not change them).
  NvsKeys keys = NvsKeys::of(Secret{hex("2718281828459045235360287471352662497757247093699959574966967627"
                                        "3141592653589793238462643383279502884197169399375105820974944592")})
                     .value();
  const Bytes plain = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  Bytes bytes = plain;
  NvsCipher{keys, NvsCipher::Does::encrypt}.apply(bytes, 0xff);
  EXPECT_EQ(to_hex(bytes), "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b");
  NvsCipher{keys, NvsCipher::Does::decrypt}.apply(bytes, 0xff);
  EXPECT_EQ(bytes, plain);
}

TEST(NvsCrypt, EncryptsAsTheReferenceTool) {
  // esp_idf_nvs_partition_gen 0.2.0 (67113ed0): the first entry of nvs/enc-all-types-v2, the namespace "storage".
  const std::vector<NvsEntry> entries{{"storage", "u8_min", NvsType::u8, {}, 0}};
  Bytes image = encrypt_nvs(build_nvs(0x3000, {}, entries).value(), test_keys()).value();
  EXPECT_EQ(to_hex(ByteView{image}.subspan(64, 32)),
            "f20454e7bf5ff1f7e1c29e0c02ebb2b7c0f66d35036024b89d8a2058013499d9");
}

TEST(NvsCrypt, WhatIsEncryptedIsDecryptedAgain) {
  const Bytes plain = plain_image();
  const Bytes encrypted = encrypt_nvs(plain, test_keys()).value();
  EXPECT_EQ(decrypt_nvs(encrypted, test_keys()).value(), plain);
  EXPECT_FALSE(read_nvs(encrypted));
  for (std::size_t page = 0; page < plain.size(); page += 4096)  // headers and states stay plain
    EXPECT_TRUE(std::equal(plain.begin() + static_cast<long>(page), plain.begin() + static_cast<long>(page) + 64,
                           encrypted.begin() + static_cast<long>(page)));
  EXPECT_TRUE(nvs::is_blank(ByteView{encrypted}.last(4096)));
}

TEST(NvsCrypt, AWrittenEntryOfOnesIsEncryptedABlankOneIsNot) {
  const Bytes plain = plain_image(), encrypted = encrypt_nvs(plain, test_keys()).value();
  std::size_t of_ones = 0;
  for (std::size_t page = 0; page < plain.size(); page += 4096)
    for (std::size_t entry = 0; entry < 126; ++entry) {
      ByteView was = ByteView{plain}.subspan(page + 64 + 32 * entry, 32);
      ByteView is = ByteView{encrypted}.subspan(page + 64 + 32 * entry, 32);
      const bool written = nvs::state_of(ByteView{plain}.subspan(page, 4096), entry) != nvs::entry_blank;
      EXPECT_EQ(nvs::is_blank(is), !written) << entry;
      of_ones += written && nvs::is_blank(was) ? 1 : 0;
    }
  EXPECT_EQ(of_ones, 2u);
}

TEST(NvsCrypt, ErasedEntriesAreDecryptedToo) {
  // The firmware leaves their ciphertext and only takes their state to 00.
  const Bytes plain = plain_image();
  Bytes encrypted = encrypt_nvs(plain, test_keys()).value(), expected = plain;
  encrypted[32] &= 0xf3;  // of entry 1, "a"
  expected[32] &= 0xf3;
  EXPECT_EQ(decrypt_nvs(encrypted, test_keys()).value(), expected);
}

TEST(NvsCrypt, SaysWhenTheKeysDoNotOpenIt) {
  const auto refused = [](Bytes image, const NvsKeys& keys, std::string_view words) {
    Result<Bytes> plain = decrypt_nvs(std::move(image), keys);
    ASSERT_FALSE(plain) << words;
    EXPECT_EQ(plain.error().code, Code::image_invalid);
    EXPECT_NE(describe(plain.error()).find(words), std::string::npos) << describe(plain.error());
  };
  const Bytes encrypted = encrypt_nvs(plain_image(), test_keys()).value();
  Bytes other = hex(key_hex);
  other[63] ^= 1;
  refused(encrypted, NvsKeys::of(Secret{other}).value(), "these keys do not open");
  refused(plain_image(), test_keys(), "is not encrypted");
  refused(Bytes(8192, 0), test_keys(), "no NVS partition");
  refused(Bytes(100, 0xff), test_keys(), "no NVS partition");
  refused({}, test_keys(), "no NVS partition");
  EXPECT_EQ(decrypt_nvs(Bytes(8192, 0xff), test_keys()).value(), Bytes(8192, 0xff));
  EXPECT_FALSE(encrypt_nvs(encrypted, test_keys()));  // not twice
}

TEST(NvsKeys, AreAPartitionWithAChecksum) {
  const Secret file = encode_nvs_keys(test_keys());
  ByteView bytes = file.reveal();
  ASSERT_EQ(bytes.size(), 4096u);
  EXPECT_EQ(to_hex(bytes.first(72)), std::string{key_hex} + "8dae9131ffffffff");
  EXPECT_TRUE(nvs::is_blank(bytes.subspan(68)));
  EXPECT_EQ(to_hex(parse_nvs_keys(bytes).value().reveal()), key_hex);
  EXPECT_EQ(to_hex(parse_nvs_keys(bytes.first(64)).value().reveal()), key_hex);
}

TEST(NvsKeys, AreRefusedWhereTheyAreNone) {
  const Secret good = encode_nvs_keys(test_keys());
  const auto refused = [](Bytes file, std::string_view words) {
    Result<NvsKeys> keys = parse_nvs_keys(file);
    ASSERT_FALSE(keys) << words;
    EXPECT_EQ(keys.error().code, Code::input_invalid);
    EXPECT_NE(describe(keys.error()).find(words), std::string::npos) << describe(keys.error());
  };
  for (std::size_t at : {0u, 31u, 32u, 63u, 64u, 67u}) {
    Bytes bent{good.reveal().begin(), good.reveal().end()};
    bent[at] ^= 0x20;
    refused(bent, "checksum");
  }
  refused(Bytes(4096, 0xff), "blank");
  refused(Bytes(64, 0xff), "blank");
  refused(Bytes(64, 0x11), "alike");
  refused(Bytes(63, 0x11), "63 bytes");
  refused({}, "0 bytes");
}

TEST(NvsKeys, AreDerivedFromTheHmacKey) {
  // esp_idf_nvs_partition_gen 0.2.0 (67113ed0), generate-key --key_protect_hmac; TEST ONLY.
  EXPECT_EQ(to_hex(NvsKeys::from_hmac_key(hex("254537ac7bf5d268b7c7ec2a21d15bb89488c62676af8a21b493182dee4b1a36"))
                       .value()
                       .reveal()),
            "148d258cded629bbc410a021c5a81debdd8643e2e243c0d1f1b8877e35f0661f"
            "9d4050b2e4a76fef9e2ab0eedfdb626d184590569a35827090f0c020b2f7308a");
  EXPECT_FALSE(NvsKeys::from_hmac_key(Bytes(31)));
  EXPECT_FALSE(NvsKeys::from_hmac_key(Bytes(64)));
}

}  // namespace
}  // namespace espmint
