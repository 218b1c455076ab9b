// sim/identity_source.hpp: where a virtual board's firmware finds its identity: every data partition that its own
// readers can mount, and the certificate, the private key and the root CA that lie in one of them.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "sim/boot.hpp"
#include "sim/stored_file.hpp"

struct evp_pkey_st;

namespace espmint::sim {

/// A data partition as the firmware has it after its start.
struct Mounted {
  Partition partition;
  std::string_view kind;  // "spiffs", "littlefs", "fat", "nvs", "encrypted nvs", "nvs keys"
  std::string detail;     // "FAT12, wear levelling"; may be empty
  std::string fault;      // why it did not mount; empty: it did
  std::vector<StoredFile> files;
};

/// Mounts by subtype: spiffs, or littlefs where its superblock is there; littlefs; fat; nvs, with the keys of the first
/// nvs_keys partition, or of the HMAC key burnt into the chip, where it cannot be read without. Other data partitions
/// are left out.
std::vector<Mounted> mount_all(ByteView flash, const std::vector<Partition>&, ByteView hmac_key = {});

struct FoundIdentity {
  std::string from;  // the partition's label
  StoredFile private_key;
  std::optional<StoredFile> certificate, root_ca;
  std::shared_ptr<evp_pkey_st> key;
  bool belongs_together = false;  // the certificate is of this key
};

/// The first storage with a private key in PEM. A file (or the key of an NVS entry) with the usual name is taken first:
/// private.pem.key or private_key, certificate.pem.crt or certificate, aws-root-ca.pem or root_ca; else its content
/// tells: of several certificates the one of this key, and for the root CA another.
std::optional<FoundIdentity> find_identity(const std::vector<Mounted>&);

}  // namespace espmint::sim
