#include "sim/identity_source.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "sim/fat_view.hpp"
#include "sim/littlefs_view.hpp"
#include "sim/nvs.hpp"
#include "sim/nvs_keys.hpp"
#include "sim/spiffs_view.hpp"

namespace espmint::sim {
namespace {

constexpr std::uint8_t data_type = 1, subtype_nvs = 0x02, subtype_nvs_keys = 0x04, subtype_fat = 0x81,
                       subtype_spiffs = 0x82, subtype_littlefs = 0x83;
constexpr std::string_view pem_key = "PRIVATE KEY-----", pem_certificate = "-----BEGIN CERTIFICATE-----";

struct UsualNames {
  std::string_view file, entry;
};
constexpr UsualNames key_names{"private.pem.key", "private_key"},
    certificate_names{"certificate.pem.crt", "certificate"}, root_names{"aws-root-ca.pem", "root_ca"};

struct KeyChain {
  std::optional<NvsKeys> from_partition, from_chip;
};

/// All that the partition holds, in clear; nothing when no key fits.
std::optional<Bytes> readable_nvs(ByteView bytes, const KeyChain& keys, Mounted& out) {
  Bytes clear{bytes.begin(), bytes.end()};
  auto reads = [&clear] { return !Nvs{NorFlash{clear}, 0, static_cast<std::uint32_t>(clear.size())}.is_unreadable(); };
  if (reads()) return clear;
  out.kind = "encrypted nvs";
  for (const auto& [key, from] :
       {std::pair{keys.from_partition, "keys in nvs_keys"}, {keys.from_chip, "HMAC key in eFuse"}}) {
    if (!key) continue;
    clear = decrypt_nvs(bytes, *key);
    out.detail = from;
    if (reads()) return clear;
  }
  return std::nullopt;
}

void mount_nvs(ByteView bytes, const KeyChain& keys, Mounted& out) {
  out.kind = "nvs";
  if (std::optional<Bytes> clear = readable_nvs(bytes, keys, out)) {
    Nvs nvs{NorFlash{*clear}, 0, static_cast<std::uint32_t>(clear->size())};
    if (nvs.has_free_page()) {
      out.files = nvs.all();
    } else {
      out.fault = "no free page";
    }
  } else {
    bool has_key = keys.from_partition || keys.from_chip;
    out.fault = has_key ? "encrypted with another key" : "encrypted, and there is no key";
    out.detail.clear();
  }
}

void mount_spiffs(ByteView bytes, Mounted& out) {
  out.kind = "spiffs";
  if (auto files = read_spiffs(bytes)) {
    out.files = std::move(*files);
  } else {
    out.fault = "no SPIFFS with ESP-IDF's default geometry";
  }
}

void mount_littlefs(ByteView bytes, Mounted& out) {
  out.kind = "littlefs";
  if (auto volume = read_littlefs(bytes)) {
    out.detail = fmt::format("disk version {}.{}, {} blocks", volume->major, volume->minor, volume->blocks);
    out.files = std::move(volume->files);
  } else {
    out.fault = looks_like_littlefs(bytes) ? "damaged, or made for another geometry" : "no LittleFS";
  }
}

void mount_fat(ByteView bytes, Mounted& out) {
  out.kind = "fat";
  if (auto volume = read_fat(bytes)) {
    out.detail = fmt::format("FAT{}, sectors of {} B{}", volume->bits, volume->sector_bytes,
                             volume->levelled ? ", wear levelling" : "");
    out.files = std::move(volume->files);
  } else {
    out.fault = "no FAT volume";
  }
}

void take_keys(ByteView bytes, KeyChain& keys, Mounted& out) {
  out.kind = "nvs keys";
  std::optional<NvsKeys> found = parse_nvs_keys(bytes);
  if (!found) out.fault = bytes.size() > 0 && bytes[0] == 0xff ? "blank" : "wrong checksum";
  if (!keys.from_partition) keys.from_partition = found;
}

bool has(const StoredFile& file, std::string_view word) {
  return as_text(file.content).find(word) != std::string_view::npos;
}

/// Without its folders or its namespace.
bool is_named(const StoredFile& file, const UsualNames& names) {
  std::string_view name = file.name;
  name = name.substr(name.rfind('/') + 1);
  return name == names.file || (file.type != "file" && name == names.entry);
}

/// Those whose content says what they are, the one with the usual name first.
std::vector<const StoredFile*> those_that_say(const Mounted& storage, std::string_view says, const UsualNames& names) {
  std::vector<const StoredFile*> out;
  for (const StoredFile& file : storage.files)
    if (has(file, says)) out.insert(is_named(file, names) ? out.begin() : out.end(), &file);
  return out;
}

std::shared_ptr<EVP_PKEY> parse_private_key(ByteView pem) {
  std::unique_ptr<BIO, decltype(&BIO_free)> bio{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free};
  auto no_password = [](char*, int, int, void*) { return -1; };
  return {PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr), EVP_PKEY_free};
}

bool is_certificate_of(ByteView pem, EVP_PKEY* key) {
  std::unique_ptr<BIO, decltype(&BIO_free)> bio{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free};
  std::unique_ptr<X509, decltype(&X509_free)> certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr),
                                                          X509_free};
  return certificate && X509_check_private_key(certificate.get(), key) == 1;
}

}  // namespace

std::vector<Mounted> mount_all(ByteView flash, const std::vector<Partition>& table, ByteView hmac_key) {
  std::vector<Mounted> out;
  KeyChain keys;
  if (!hmac_key.empty()) keys.from_chip = derive_nvs_keys(hmac_key);
  auto each = [&](auto&& mount) {
    for (const Partition& row : table) {
      if (row.type != data_type || row.at > flash.size() || row.size > flash.size() - row.at) continue;
      mount(row, flash.subspan(row.at, row.size));
    }
  };
  // The keys may lie behind what they open.
  each([&](const Partition& row, ByteView bytes) {
    Mounted ignored;
    if (row.subtype == subtype_nvs_keys) take_keys(bytes, keys, ignored);
  });
  each([&](const Partition& row, ByteView bytes) {
    Mounted mounted{.partition = row};
    switch (row.subtype) {
      case subtype_nvs:
        mount_nvs(bytes, keys, mounted);
        break;
      case subtype_nvs_keys:
        take_keys(bytes, keys, mounted);
        break;
      case subtype_fat:
        mount_fat(bytes, mounted);
        break;
      case subtype_spiffs:
        looks_like_littlefs(bytes) ? mount_littlefs(bytes, mounted) : mount_spiffs(bytes, mounted);
        break;
      case subtype_littlefs:
        mount_littlefs(bytes, mounted);
        break;
      default:
        return;
    }
    out.push_back(std::move(mounted));
  });
  return out;
}

std::optional<FoundIdentity> find_identity(const std::vector<Mounted>& storages) {
  for (const Mounted& storage : storages) {
    FoundIdentity found{.from = storage.partition.label};
    for (const StoredFile* file : those_that_say(storage, pem_key, key_names)) {
      if (found.key) break;
      found.key = parse_private_key(file->content);
      found.private_key = *file;
    }
    if (!found.key) continue;
    std::vector<const StoredFile*> certificates = those_that_say(storage, pem_certificate, certificate_names);
    const StoredFile* own = nullptr;
    for (const StoredFile* file : certificates)
      if (!own && is_certificate_of(file->content, found.key.get())) own = file;
    found.belongs_together = own != nullptr;
    if (!certificates.empty() && is_named(*certificates.front(), certificate_names)) {
      found.belongs_together = own == certificates.front();
      own = certificates.front();
    }
    if (own) found.certificate = *own;
    for (const StoredFile* file : those_that_say(storage, pem_certificate, root_names))
      if (file != own && !found.root_ca) found.root_ca = *file;
    return found;
  }
  return std::nullopt;
}

}  // namespace espmint::sim
