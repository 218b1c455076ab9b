// chip/efuse.hpp: what a chip's eFuses say of it, as tables: where each field stands, and words to meaning.
//   for (std::uint32_t address : efuse_registers(chip)) words[address] = …;     // asked of the board
//   EfuseFacts facts = decode_efuses(chip, words);
// Pure. Where the fields stand and from where we know: docs/chips.md.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mac.hpp"

namespace espmint {

struct ChipSpec;

/// Some bits of a block, counted from the block's first one, as Espressif's eFuse tables do. No width: the chip has
/// none.
struct EfuseField {
  std::uint8_t block = 0;
  std::uint16_t bit = 0;
  std::uint8_t width = 0;
  [[nodiscard]] constexpr bool there() const { return width > 0; }
};

/// How the fields become a revision.
enum class RevisionRule {
  none,     // ESP8266: nothing tells them apart
  fields,   // major and minor, as they stand
  esp32,    // three single bits, one of them outside the eFuses
  esp32s3,  // as they stand, but a chip 0.0 has other things where the major number stands
};

/// How a MAC is put together.
enum class MacRule { field, esp8266 };

struct EfuseTable {
  std::array<std::uint32_t, 3> blocks;  // addresses at which blocks 0, 1 and 2 are read
  MacRule mac_rule = MacRule::field;
  EfuseField mac;
  RevisionRule revision_rule = RevisionRule::fields;
  EfuseField major, major_high, minor, minor_high;
  EfuseField unique_id;         // blank on some chips
  EfuseField secure_boot;       // on where any bit is set
  EfuseField flash_encryption;  // on where an odd number of bits is set
  EfuseField jtag_soft;         // off where an odd number of bits is set; an HMAC key switches it on again
  EfuseField jtag_hard;         // off for good
  EfuseField download_disabled;
  EfuseField secure_download;
  EfuseField key0_purpose;  // those of KEY1 to KEY5 follow without a gap
};

/// "3.0", "0.4": major.minor.
struct Revision {
  unsigned major = 0;
  unsigned minor = 0;
  [[nodiscard]] constexpr unsigned full() const { return major * 100 + minor; }  // as image headers write it
  auto operator<=>(const Revision&) const = default;
};
std::string to_string(Revision);

/// What the eFuses forbid.
struct Security {
  bool secure_boot = false;
  bool flash_encryption = false;
  bool jtag_soft = false;                    // switched off until an HMAC key switches it on again
  bool jtag_hard = false;                    // the pads are switched off for good
  bool download_disabled = false;            // download mode switched off for good
  bool secure_download = false;              // only a few commands are answered
  bool encryption_for_good = false;          // its counter is full: flash encryption cannot be switched off again
  std::vector<std::uint8_t> key_purposes{};  // of KEY0 on; empty where the chip has no such fields
  [[nodiscard]] bool locked() const { return flash_encryption || secure_boot || secure_download; }
  [[nodiscard]] bool jtag_disabled() const { return jtag_soft || jtag_hard; }
};

struct EfuseFacts {
  Revision revision;
  std::string unique_id;  // hex; empty where the chip has none or it is blank
  Security security;
};

/// Register addresses to what they read.
using RegisterWords = std::map<std::uint32_t, std::uint32_t>;

/// The registers that decode_mac() needs, and those that decode_efuses() does; each once, in order.
std::vector<std::uint32_t> mac_registers(const ChipSpec&);
std::vector<std::uint32_t> efuse_registers(const ChipSpec&);

/// The base MAC; nothing where the words hold none: blank, a group address, an unknown maker. A missing word reads as
/// 0.
std::optional<Mac> decode_mac(const ChipSpec&, const RegisterWords&);
EfuseFacts decode_efuses(const ChipSpec&, const RegisterWords&);
/// The bits of a field, of up to 64; 0 for a field that is not there.
std::uint64_t efuse_value(const EfuseTable&, EfuseField, const RegisterWords&);

/// "secure boot digest 0", "not used"; what a number means is not the same on every chip. "purpose 14" where it means
/// nothing.
std::string key_purpose_words(const ChipSpec&, std::uint8_t purpose);

}  // namespace espmint
