// recipe/plan.hpp: what will be done to every board, decided and checked before the first one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "chip/chip.hpp"
#include "image/partition_table.hpp"
#include "image/spiffs.hpp"

namespace espmint {

/// Bytes of the firmware that go to one place in flash, the same for every board.
struct PlannedRegion {
  enum class Kind { bootloader, partition_table, app, data } kind = Kind::data;
  std::string label;   // "bootloader", "partition table", "app (factory)", "otadata"
  std::string source;  // the file it came from, for people
  FlashOffset at;
  std::shared_ptr<const Bytes> bytes;
  [[nodiscard]] FlashRange range() const { return {at, static_cast<std::uint32_t>(bytes->size())}; }
};

/// A region that must be erased because nothing is written there (an otadata partition without its image).
struct PlannedErase {
  std::string label;
  FlashRange range;
  std::string why;
};

/// A file of the identity image whose content each board gets of its own: "{certificate}", "{private_key}", "{root_ca}",
/// "{id}", "{mac}", or text with these in it.
struct IdentityFile {
  std::string path;
  std::string content;
};

struct IdentityPlan {
  Partition partition;
  SpiffsGeometry geometry;
  std::string geometry_from;           // "sdkconfig", "the image the firmware brings", "ESP-IDF's defaults"
  std::vector<FileOwned> shared_files; // from the image the firmware brings; device files win over them
  std::vector<IdentityFile> files;
};

enum class ChallengePolicy { automatic, required, off };

struct Plan {
  std::string product;
  const ChipSpec* chip = nullptr;         // whom the firmware was built for
  std::vector<PlannedRegion> regions;     // in flash order; the identity partition is not among them
  std::vector<PlannedErase> erases;
  PartitionTable table;
  FlashOffset table_at;
  std::optional<IdentityPlan> identity;
  std::string id_template = "{mac}";
  std::string key = "ec-p256";            // or "rsa-2048"
  std::string issuer = "local";
  std::optional<std::uint64_t> quota;
  bool save_private_key = false;
  ChallengePolicy challenge = ChallengePolicy::automatic;
  std::string firmware_version;           // from the app's description, or empty
  Sha256 firmware_sha256{};               // over offsets and bytes of all regions
  Sha256 digest{};                        // over everything here that shapes a board: equal digest, equal plan
  std::vector<std::string> notes;         // sentences for the person: what was chosen and why
};

}  // namespace espmint
