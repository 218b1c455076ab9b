// The board finds its identity wherever it lies: volumes by hand and the reference tools' images are put into its
// flash, and its own firmware mounts them and answers the challenge.
#include "sim/identity_source.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/base64.hpp"
#include "sim/desk_for_tests.hpp"
#include "sim/littlefs_view.hpp"
#include "sim/make_firmware.hpp"
#include "sim/nvs_keys.hpp"
#include "sim/volumes_for_tests.hpp"

namespace espmint::sim {
namespace {

using Key = std::shared_ptr<EVP_PKEY>;

std::string text_of(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

struct Made {
  Made() : key(EVP_EC_gen("P-256"), EVP_PKEY_free) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    key_pem = text_of(bio);
    std::unique_ptr<X509, decltype(&X509_free)> made{X509_new(), X509_free};
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    X509_set_pubkey(made.get(), key.get());
    X509_sign(made.get(), key.get(), EVP_sha256());
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, made.get());
    certificate_pem = text_of(bio);
  }
  [[nodiscard]] std::vector<StoredFile> files(const Made& root) const {
    return {{"aws-root-ca.pem", to_bytes(root.certificate_pem)},
            {"certificate.pem.crt", to_bytes(certificate_pem)},
            {"private.pem.key", to_bytes(key_pem)}};
  }
  [[nodiscard]] std::vector<StoredFile> entries(const Made& root) const {
    return {{"certificate", to_bytes(certificate_pem), "string"},
            {"private_key", to_bytes(key_pem), "blob"},
            {"root_ca", to_bytes(root.certificate_pem), "string"}};
  }
  Key key;
  std::string key_pem, certificate_pem;
};

bool verifies(EVP_PKEY* key, ByteView message, ByteView signature) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
  EVP_PKEY_CTX* parameters = nullptr;
  EVP_DigestVerifyInit(context.get(), &parameters, EVP_sha256(), nullptr, key);
  if (EVP_PKEY_base_id(key) == EVP_PKEY_RSA) {
    EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, 32);
  }
  return EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
}

/// A board with firmware for this kind of identity, and what lies in its partitions.
struct Product : Desk {
  Product(std::string kind, ByteView storage, ByteView keys = {}, Bytes hmac_key = {}, std::size_t storage_bytes = 0)
      : Desk{{.chip = "esp32c3", .preset = "fast", .hmac_key = std::move(hmac_key)}} {
    made = *make_firmware({.chip = "esp32c3",
                           .app_bytes = 64_KiB,
                           .storage_bytes = storage_bytes != 0 ? storage_bytes : storage.size(),
                           .identity = std::move(kind)});
    put_at(flash, made.bootloader_at, made.bootloader);
    put_at(flash, made.table_at, made.partition_table);
    put_at(flash, made.app_at, made.app);
    put_at(flash, made.storage_at, storage);
    if (!keys.empty()) put_at(flash, made.keys_at, keys);
    reset(false);
    said = as_text(hear(milliseconds{500}));
  }
  [[nodiscard]] bool says(std::string_view text) const { return said.find(text) != said.npos; }
  [[nodiscard]] bool proves(EVP_PKEY* key) {
    const std::string nonce = "00112233445566778899aabbccddeeff";
    std::string answer{as_text(talk(as_bytes("espmint-challenge " + nonce + "\n")))};
    std::string begin = "espmint-proof " + to_string(board.mac()) + " ";
    if (!answer.starts_with(begin)) return false;
    auto signature = from_base64(answer.substr(begin.size(), answer.size() - begin.size() - 1));
    Bytes message = to_bytes("espmint-v1");
    append(message, board.mac().octets);
    append(message, *from_hex(nonce));
    return signature && verifies(key, message, *signature);
  }
  Firmware made;
  std::string said;
};

Bytes keys_partition(ByteView keys) {
  Bytes out{keys.begin(), keys.end()};
  put_u32(out, plain_crc(keys));
  out.resize(4096, 0xff);
  return out;
}

TEST(IdentitySource, IsEachKindOfPartition) {
  Made device, root;
  Bytes nvs = nvs_partition("identity", device.entries(root)), keys = pattern(64), hmac_key = pattern(32, 3);
  struct Row {
    std::string kind;
    Bytes storage, keys, hmac_key;
    std::string says;
  };
  const std::vector<Row> rows{
      {"littlefs", littlefs_volume(device.files(root)), {}, {}, "mounted storage (littlefs), 3 files"},
      {"spiffs", littlefs_volume(device.files(root)), {}, {}, "mounted storage (littlefs), 3 files"},
      {"fat", fat_volume(device.files(root), 16, 4096), {}, {}, "mounted storage (fat), 3 files"},
      {"fat", levelled(fat_volume(device.files(root), 12, 4096), 4, 2), {}, {}, "mounted storage (fat), 3 files"},
      {"nvs", nvs, {}, {}, "mounted identity (nvs), 3 entries"},
      {"nvs-encrypted",
       nvs_encrypted(nvs, keys),
       keys_partition(keys),
       {},
       "mounted identity (encrypted nvs), 3 entries"},
      {"nvs",
       nvs_encrypted(nvs, derive_nvs_keys(hmac_key)),
       {},
       hmac_key,
       "mounted identity (encrypted nvs), 3 entries"},
  };
  for (const Row& row : rows) {
    Product product{row.kind, row.storage, row.keys, row.hmac_key};
    EXPECT_TRUE(product.says(row.says)) << row.kind << "\n" << product.said;
    EXPECT_TRUE(product.says("identity found in ")) << row.kind << "\n" << product.said;
    EXPECT_FALSE(product.says("of another key")) << row.kind;
    EXPECT_FALSE(product.says("PRIVATE KEY")) << row.kind;
    EXPECT_TRUE(product.proves(device.key.get())) << row.kind;
    EXPECT_FALSE(product.proves(root.key.get())) << row.kind;
  }
}

TEST(IdentitySource, SaysWhatDidNotMount) {
  Made device, root;
  Bytes sealed = nvs_encrypted(nvs_partition("identity", device.entries(root)), pattern(64));
  struct Row {
    std::string kind;
    Bytes storage, keys;
    std::string says;
  };
  const Bytes blank(64 * 1024, 0xff);
  const std::vector<Row> rows{
      {"spiffs", blank, {}, "spiffs: mount failed"},
      {"littlefs", blank, {}, "littlefs: mount failed: no LittleFS"},
      {"fat", blank, {}, "fat: mount failed"},
      {"nvs-encrypted", sealed, {}, "encrypted, and there is no key"},
      {"nvs-encrypted", sealed, keys_partition(pattern(64, 2)), "encrypted with another key"},
      {"nvs", sealed, {}, "encrypted, and there is no key"},
      {"nvs", nvs_partition("identity", {{"big", pattern(9000), "blob"}}, 3), {}, "nvs: mount failed: no free page"},
  };
  for (const Row& row : rows) {
    Product product{row.kind, row.storage, row.keys};
    EXPECT_TRUE(product.says(row.says)) << row.kind << "\n" << product.said;
    EXPECT_FALSE(product.says("identity found")) << row.kind;
    EXPECT_FALSE(product.proves(device.key.get())) << row.kind;
    EXPECT_EQ(product.board.state(), "app") << row.kind;
  }
}

std::optional<FoundIdentity> found_in(const std::vector<StoredFile>& files) {
  Bytes image = littlefs_volume(files);
  return find_identity(mount_all(image, {{"data", 1, 0x83, 0, static_cast<std::uint32_t>(image.size())}}));
}

TEST(IdentitySource, TellsTheFilesApartByNameAndElseByContent) {
  Made device, root;
  auto usual = found_in(device.files(root));
  ASSERT_TRUE(usual && usual->certificate && usual->root_ca);
  EXPECT_EQ(usual->from, "data");
  EXPECT_EQ(usual->certificate->name, "certificate.pem.crt");
  EXPECT_EQ(usual->root_ca->name, "aws-root-ca.pem");
  EXPECT_EQ(usual->private_key.name, "private.pem.key");
  EXPECT_TRUE(usual->belongs_together);

  auto other = found_in({{"a.pem", to_bytes(root.certificate_pem)},
                         {"b.pem", to_bytes(device.certificate_pem)},
                         {"c.pem", to_bytes(device.key_pem)}});
  ASSERT_TRUE(other && other->certificate && other->root_ca);
  EXPECT_EQ(other->certificate->name, "b.pem");
  EXPECT_EQ(other->root_ca->name, "a.pem");
  EXPECT_EQ(other->private_key.name, "c.pem");
  EXPECT_TRUE(other->belongs_together);

  auto mixed = found_in(
      {{"certificate.pem.crt", to_bytes(root.certificate_pem)}, {"private.pem.key", to_bytes(device.key_pem)}});
  ASSERT_TRUE(mixed && mixed->certificate);
  EXPECT_FALSE(mixed->belongs_together);

  EXPECT_FALSE(
      found_in({{"private.pem.key", to_bytes("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}}));
  EXPECT_FALSE(found_in({{"certificate.pem.crt", to_bytes(device.certificate_pem)}}));
  EXPECT_FALSE(find_identity({}));
}

TEST(IdentitySource, LeavesOutAPartitionBeyondTheChip) {
  EXPECT_TRUE(mount_all(Bytes(4096, 0xff), {{"data", 1, 0x83, 8192, 4096}, {"more", 1, 0x81, 0, 8192}}).empty());
}

// The same with what the reference tools made: their images in the board's partitions, their key in its answer.
TEST(IdentitySource, IsTheReferenceToolsImages) {
  auto folder = golden_folder();
  if (!folder) GTEST_SKIP() << "no golden images";
  auto load = [&](std::string_view path) { return load_golden(*folder / path); };
  Bytes pem = load("littlefs/_in/seed3/private.pem.key");
  ASSERT_FALSE(pem.empty());
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  Key key{PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr), EVP_PKEY_free};
  BIO_free(bio);
  ASSERT_TRUE(key);
  struct Row {
    std::string kind, image, keys, hmac_key;
  };
  const std::vector<Row> rows{
      {"spiffs", "spiffs/read-clib-seed3.bin", "", ""},
      {"spiffs", "spiffs/seed3-64k.bin", "", ""},
      {"littlefs", "littlefs/read-seed3.bin.gz", "", ""},
      {"littlefs", "littlefs/read-disk20.bin.gz", "", ""},
      {"spiffs", "littlefs/read-seed3.bin.gz", "", ""},
      {"fat", "fat/long-512k.bin.gz", "", ""},
      {"fat", "fat_wl/wl-long-512k.bin.gz", "", ""},
      {"fat", "fat_wl/wl-512-perf.bin.gz", "", ""},
      {"fat", "fat_wl/wl-512-safe.bin.gz", "", ""},
      {"nvs", "nvs/seed-24k/expected.bin", "", ""},
      {"nvs-encrypted", "nvs/enc-seed-24k/expected.bin", "nvs/enc-seed-24k/in/key.bin", ""},
      {"nvs", "nvs/enc-hmac/expected.bin", "", "nvs/keys-hmac/in/hmac_key.bin"},
  };
  for (const Row& row : rows) {
    Bytes keys = row.keys.empty() ? Bytes{} : load(row.keys);
    Product product{row.kind, load(row.image), keys, row.hmac_key.empty() ? Bytes{} : load(row.hmac_key)};
    EXPECT_TRUE(product.says("identity found in ")) << row.image << "\n" << product.said;
    EXPECT_TRUE(product.proves(key.get())) << row.image;
  }
  // The reference tool leaves two sectors out in mode "safe", so its image is shorter than its partition; the driver
  // finds no state where it looks, makes one, and the volume is there.
  Product whole{"fat", load("fat_wl/wl-512-safe.bin.gz"), {}, {}, 512_KiB};
  EXPECT_TRUE(whole.proves(key.get())) << whole.said;
}

}  // namespace
}  // namespace espmint::sim
