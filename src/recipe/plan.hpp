// recipe/plan.hpp: what will be done to every board, decided and checked before the first one.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "base/secret.hpp"
#include "chip/chip.hpp"
#include "image/app_image.hpp"
#include "image/fat.hpp"
#include "image/littlefs.hpp"
#include "image/nvs.hpp"
#include "image/partition_table.hpp"
#include "image/spiffs.hpp"
#include "image/wear_levelling.hpp"
#include "recipe/values_table.hpp"

namespace espmint {

/// Bytes of the firmware that go to one place in flash, the same for every board.
struct PlannedRegion {
  enum class Kind { bootloader, partition_table, app, data } kind = Kind::data;
  std::string label;   // "bootloader", "partition table", "app (factory)", "otadata"
  std::string source;  // the file it came from, for people
  FlashOffset at;
  std::shared_ptr<const Bytes> bytes;
  RevisionRange revisions{};  // of an app or a bootloader: on which its header lets it run
  [[nodiscard]] FlashRange range() const { return {at, static_cast<std::uint32_t>(bytes->size())}; }
};

/// A region that must be erased because nothing is written there (an otadata partition without its image).
struct PlannedErase {
  std::string label;
  FlashRange range;
  std::string why;
};

enum class ImageFormat { spiffs, littlefs, fat, nvs };
std::string_view name_of(ImageFormat);   // "spiffs", …, as recipes write them
std::string_view title_of(ImageFormat);  // "SPIFFS", …, for people

/// What goes into an image under one name: text with words in braces (recipe/words.hpp), or the path of a file beside
/// the recipe, with words in it, whose bytes are taken as they are.
struct Template {
  std::string text;
  bool from_disk = false;
  bool operator==(const Template&) const = default;
};
struct ImageFile {
  std::string path;
  Template content;
};
/// An entry of an NVS image; `encoding` as ESP-IDF's CSV has it: "string", "u8", …, "hex2bin", "base64", "binary".
struct ImageEntry {
  std::string space, key, encoding;
  Template content;
};

/// How the firmware mounts an image; of each format its part counts.
struct ImageGeometry {
  SpiffsGeometry spiffs;
  LittlefsGeometry littlefs;
  FatGeometry fat;
  std::optional<WearLevelling> wear_levelling = WearLevelling{};  // of FAT
  std::uint32_t nvs_version = 2;
};

enum class NvsEncryption {
  none,
  keys,  // each board has keys of its own, in its nvs_keys partition
  hmac,  // they are derived from a key in the chip's eFuses
};

/// A partition that each board gets an image of its own for.
struct ImagePlan {
  Partition partition;
  ImageFormat format = ImageFormat::spiffs;
  ImageGeometry geometry;
  std::string geometry_from;            // "sdkconfig", "the image the firmware brings", "ESP-IDF's defaults"
  std::vector<FileOwned> shared_files;  // from the image the firmware brings; the board's files win over them
  std::vector<NvsEntry> shared_entries;
  std::string shared_from;  // that image, for people
  std::vector<ImageFile> files;
  std::vector<ImageEntry> entries;
  bool keep = false;  // what the board holds there stays, where nothing of ours replaces it
  NvsEncryption encryption = NvsEncryption::none;
  std::optional<Partition> keys_partition;                        // of NvsEncryption::keys
  std::shared_ptr<const Secret> hmac_key;                         // of NvsEncryption::hmac, 32 bytes
  [[nodiscard]] bool has_word(std::string_view beginning) const;  // whether a template has one: "private_key", "key."
};

/// Which hand-shake the running firmware speaks: docs/formats/handshake.md.
enum class Handshake {
  line,
  framed,
  automatic,  // the one that the firmware is heard to speak
};

/// Bounds, both included, of a value that the firmware measures.
struct SelftestLimit {
  std::string name;
  std::int32_t low = 0, high = 0;
};

/// One-time keys from a user's file, handed to the running firmware over the serial line.
struct KeysPlan {
  std::string csv;                    // as whoever opens it can; relative to the recipe before make_plan
  std::uint32_t fields = 0;           // 0: as the file shows
  std::vector<std::string> columns;   // of a file with a header: which are given, in this order
  std::vector<std::uint32_t> shared;  // columns (from 1) that may repeat from row to row
  char delimiter = 0;                 // 0: as the file shows
  Handshake handshake = Handshake::line;
  bool lock = false;  // framed only: once its key is proven, the board takes no other for ever
  /// Framed only. None: not measured. Measured before the key is sent; values without a limit are recorded.
  std::optional<std::vector<SelftestLimit>> selftest;
  std::string prompt = "Provisioning", done = "Provisioned", values = "{name}: {value}";  // docs/formats/handshake.md
  std::chrono::seconds prompt_patience{60}, answer_patience{30};
  std::uint32_t baud = 115'200;
  bool erase_provisioned = false;  // a board that holds an unknown key: false: hold it; true: erase its NVS first
  std::string nvs_space;           // the namespace they are read back from where the firmware prints none; empty: not
  std::vector<std::string> nvs_names;  // of the entries, field by field; fewer than fields: key1, key2, …
  std::optional<Partition> nvs;        // where the firmware keeps them; found in the partition table
};

/// How a board's certificate comes about at AWS IoT Core.
enum class AwsIssuance {
  csr,       // AWS signs a request; the key never leaves this machine
  own_ca,    // the local CA signs, AWS is told of each certificate
  aws_keys,  // AWS makes the key, too, and sends it
  bulk,      // nothing is called a board: what is to be registered is exported
  jitp,      // nothing is called a board: AWS registers it when it connects, by a CA that it knows
};
std::string_view name_of(AwsIssuance);  // "csr", "own-ca", …, as recipes write them

/// How boards are registered at AWS IoT Core. What is empty and not said otherwise the environment decides, as for
/// AWS's own tools. Names and numbers are such as AWS takes.
struct AwsPlan {
  std::string region, profile;
  std::string endpoint_url;   // of the control plane
  std::string data_endpoint;  // host of the broker; empty: asked
  AwsIssuance issuance = AwsIssuance::csr;
  std::string policy_name;   // never empty in a plan
  std::string policy_file;   // relative to the recipe; empty: a policy is generated
  std::string policy_text;   // of that file, as the plan read it: JSON
  std::string topic_prefix;  // of the generated policy; never empty in a plan
  std::string thing_type;    // empty: none
  std::map<std::string, std::string> attributes;
  std::vector<std::string> groups;
  bool adopt = false;            // things of these names that others made are ours from now on
  unsigned amazon_root = 1;      // by which Amazon Root CA, 1 to 4, boards know AWS
  std::string root_ca_file;      // instead of one of those; relative to the recipe
  std::string root_ca_text;      // of that file, as the plan read it
  std::uint32_t backlog = 1000;  // boards that may wait for the cloud before the line stops
};

enum class ChallengePolicy { automatic, required, off };

struct Plan {
  std::string product;
  const ChipSpec* chip = nullptr;      // whom the firmware was built for
  std::vector<PlannedRegion> regions;  // in flash order; the partitions of `images` are not among them
  std::vector<PlannedErase> erases;
  PartitionTable table;
  FlashOffset table_at;
  std::vector<ImagePlan> images;              // in the recipe's order; none: boards get no identity
  std::map<std::string, Bytes> disk_files;    // what templates name by paths that are the same for every board
  std::shared_ptr<const ValuesTable> values;  // what {values.NAME} stands for
  std::optional<KeysPlan> keys;
  std::string id_template = "{mac}";
  std::string key = "ec-p256";  // or "rsa-2048"
  std::string issuer = "local";
  std::optional<AwsPlan> aws;  // where the issuer is "aws"
  std::optional<std::uint64_t> quota;
  bool save_private_key = false;
  ChallengePolicy challenge = ChallengePolicy::automatic;
  std::string firmware_version;    // from the app's description, or empty
  Sha256 firmware_sha256{};        // over offsets and bytes of all regions
  Sha256 digest{};                 // over everything here that shapes a board: equal digest, equal plan
  std::vector<std::string> notes;  // sentences for the person: what was chosen and why

  [[nodiscard]] bool has_identity() const { return !images.empty(); }
  /// A key of the pool goes into an image, rather than over the serial line.
  [[nodiscard]] bool keys_in_images() const;
};

}  // namespace espmint
