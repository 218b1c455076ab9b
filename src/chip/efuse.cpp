#include "chip/efuse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>

#include "base/bytes.hpp"
#include "chip/chip.hpp"

namespace espmint {
namespace {

constexpr unsigned most_keys = 6;
/// SYSCON_DATE: its top bit is the third of the ESP32's revision bits. Source: ESP-IDF, efuse_hal, ESP32.
constexpr std::uint32_t esp32_syscon_date = 0x3ff6'607c;
/// Where the ESP32's three revision bits and the S3's block version stand.
constexpr EfuseField esp32_step0{0, 111, 1}, esp32_step1{0, 180, 1};
constexpr EfuseField esp32s3_block_major{2, 128, 2}, esp32s3_block_minor{1, 120, 3};
/// A chip 0.0 of the S3 carries this version of block 2. Source: ESP-IDF, efuse_hal, ESP32-S3.
constexpr unsigned esp32s3_first_block_version = 1;

// ESP8266: the makers whose MACs have no prefix of their own in OTP. Source: ESP8266 Technical Reference, OTP;
// esptool-js.
constexpr std::array<std::array<std::uint8_t, 3>, 2> esp8266_makers{{{0x18, 0xfe, 0x34}, {0xac, 0xd0, 0x74}}};

void add(std::set<std::uint32_t>& addresses, const EfuseTable& table, EfuseField field) {
  if (!field.there()) return;
  for (unsigned word = field.bit / 32u; word <= (field.bit + field.width - 1u) / 32u; ++word)
    addresses.insert(table.blocks[field.block] + 4 * word);
}

std::uint32_t word_at(const RegisterWords& words, std::uint32_t address) {
  auto found = words.find(address);
  return found == words.end() ? 0 : found->second;
}

EfuseField key_purpose_field(const EfuseTable& table, unsigned key) {
  EfuseField field = table.key0_purpose;
  field.bit = static_cast<std::uint16_t>(field.bit + key * field.width);
  return field;
}

unsigned keys_of(const EfuseTable& table) { return table.key0_purpose.there() ? most_keys : 0; }

Revision revision_of(const ChipSpec& chip, const RegisterWords& words) {
  const EfuseTable& table = chip.efuse;
  auto value = [&](EfuseField field) { return static_cast<unsigned>(efuse_value(table, field, words)); };
  Revision as_it_stands{value(table.major) | value(table.major_high) << table.major.width,
                        value(table.minor) | value(table.minor_high) << table.minor.width};
  switch (table.revision_rule) {
    case RevisionRule::none:
      return {};
    case RevisionRule::fields:
      return as_it_stands;
    case RevisionRule::esp32: {
      unsigned steps = value(esp32_step0) | value(esp32_step1) << 1 | word_at(words, esp32_syscon_date) >> 31 << 2;
      as_it_stands.major = steps == 7 ? 3 : steps == 3 ? 2 : steps == 1 ? 1 : 0;
      return as_it_stands;
    }
    case RevisionRule::esp32s3: {
      bool first = value(table.minor) == 0 && value(esp32s3_block_major) == esp32s3_first_block_version &&
                   value(esp32s3_block_minor) == esp32s3_first_block_version;
      return first ? Revision{} : as_it_stands;
    }
  }
  return {};
}

std::string unique_id_of(const EfuseTable& table, const RegisterWords& words) {
  Bytes id;
  for (unsigned byte = 0; byte < table.unique_id.width / 8u; ++byte) {
    EfuseField field{table.unique_id.block, static_cast<std::uint16_t>(table.unique_id.bit + 8 * byte), 8};
    id.push_back(static_cast<std::uint8_t>(efuse_value(table, field, words)));
  }
  bool blank = std::all_of(id.begin(), id.end(), [](std::uint8_t byte) { return byte == 0; });
  return blank ? std::string{} : to_hex(id);
}

Mac mac_of_field(const EfuseTable& table, const RegisterWords& words) {
  std::uint64_t bits = efuse_value(table, table.mac, words);
  Mac mac;
  for (unsigned i = 0; i < mac.octets.size(); ++i) mac.octets[i] = static_cast<std::uint8_t>(bits >> (40 - 8 * i));
  return mac;
}

// OTP words 0, 1 and 3: the last three octets lie across 0 and 1; the maker stands in 3, or a number for it in 1.
std::optional<Mac> mac_of_esp8266(const EfuseTable& table, const RegisterWords& words) {
  const std::uint32_t word0 = word_at(words, table.blocks[0]), word1 = word_at(words, table.blocks[0] + 4),
                      word3 = word_at(words, table.blocks[0] + 12);
  std::array<std::uint8_t, 3> maker{static_cast<std::uint8_t>(word3 >> 16), static_cast<std::uint8_t>(word3 >> 8),
                                    static_cast<std::uint8_t>(word3)};
  if (word3 == 0) {
    const std::uint32_t number = word1 >> 16 & 0xff;
    if (number >= esp8266_makers.size()) return std::nullopt;
    maker = esp8266_makers[number];
  }
  if (word0 == 0 && word1 == 0) return std::nullopt;  // blank, but a maker number 0 would make an address of it
  return Mac{{maker[0], maker[1], maker[2], static_cast<std::uint8_t>(word1 >> 8), static_cast<std::uint8_t>(word1),
              static_cast<std::uint8_t>(word0 >> 24)}};
}

// ---------------------------------------------------------------------------------------------- key purposes

using ChipSet = std::uint32_t;
template <typename... Id>
constexpr ChipSet set_of(Id... id) {
  return ((ChipSet{1} << static_cast<unsigned>(id)) | ...);
}
constexpr ChipSet every_chip = ~ChipSet{0};
constexpr ChipSet with_ecdsa = set_of(ChipId::esp32c5, ChipId::esp32c61, ChipId::esp32h2, ChipId::esp32p4);
constexpr ChipSet with_aes_256 = set_of(ChipId::esp32s2, ChipId::esp32s3, ChipId::esp32p4);
constexpr ChipSet with_hmac = every_chip & ~set_of(ChipId::esp32c61);
constexpr ChipSet with_key_manager = set_of(ChipId::esp32c5, ChipId::esp32p4);

struct KeyPurposeRow {
  std::uint8_t purpose;
  ChipSet on;
  std::string_view words;
};

// Source: ESP-IDF, esp_efuse_chip.h of each chip, esp_efuse_purpose_t.
constexpr std::array key_purposes{
    KeyPurposeRow{0, every_chip, "user data, or not used"},
    KeyPurposeRow{1, with_ecdsa, "ECDSA private key"},
    KeyPurposeRow{2, with_aes_256, "flash encryption, AES-256, first half"},
    KeyPurposeRow{3, with_aes_256, "flash encryption, AES-256, second half"},
    KeyPurposeRow{4, every_chip, "flash encryption, AES-128"},
    KeyPurposeRow{5, with_hmac, "HMAC, for JTAG and digital signature"},
    KeyPurposeRow{6, with_hmac, "HMAC, for JTAG"},
    KeyPurposeRow{7, with_hmac, "HMAC, for digital signature"},
    KeyPurposeRow{8, with_hmac, "HMAC, for the application"},
    KeyPurposeRow{9, every_chip, "secure boot digest 0"},
    KeyPurposeRow{10, every_chip, "secure boot digest 1"},
    KeyPurposeRow{11, every_chip, "secure boot digest 2"},
    KeyPurposeRow{12, with_key_manager, "key manager, start"},
    KeyPurposeRow{13, set_of(ChipId::esp32p4), "PSRAM encryption, AES-256, first half"},
    KeyPurposeRow{14, set_of(ChipId::esp32p4), "PSRAM encryption, AES-256, second half"},
    KeyPurposeRow{15, with_key_manager, "PSRAM encryption, AES-128"},
    KeyPurposeRow{16, with_key_manager, "ECDSA private key, P-192"},
    KeyPurposeRow{17, with_key_manager, "ECDSA private key, P-384, low half"},
    KeyPurposeRow{18, with_key_manager, "ECDSA private key, P-384, high half"},
};

}  // namespace

std::string to_string(Revision revision) { return fmt::format("{}.{}", revision.major, revision.minor); }

std::uint64_t efuse_value(const EfuseTable& table, EfuseField field, const RegisterWords& words) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < field.width; ++i) {
    const unsigned bit = field.bit + i;
    const std::uint32_t word = word_at(words, table.blocks[field.block] + 4 * (bit / 32));
    value |= std::uint64_t{word >> bit % 32 & 1u} << i;
  }
  return value;
}

std::vector<std::uint32_t> mac_registers(const ChipSpec& chip) {
  const EfuseTable& table = chip.efuse;
  if (table.mac_rule == MacRule::esp8266) return {table.blocks[0], table.blocks[0] + 4, table.blocks[0] + 12};
  std::set<std::uint32_t> addresses;
  add(addresses, table, table.mac);
  return {addresses.begin(), addresses.end()};
}

std::vector<std::uint32_t> efuse_registers(const ChipSpec& chip) {
  const EfuseTable& table = chip.efuse;
  std::set<std::uint32_t> addresses;
  for (EfuseField field :
       {table.major, table.major_high, table.minor, table.minor_high, table.unique_id, table.secure_boot,
        table.flash_encryption, table.jtag_soft, table.jtag_hard, table.download_disabled, table.secure_download})
    add(addresses, table, field);
  for (unsigned key = 0; key < keys_of(table); ++key) add(addresses, table, key_purpose_field(table, key));
  if (table.revision_rule == RevisionRule::esp32) {
    add(addresses, table, esp32_step0);
    add(addresses, table, esp32_step1);
    addresses.insert(esp32_syscon_date);
  }
  if (table.revision_rule == RevisionRule::esp32s3) {
    add(addresses, table, esp32s3_block_major);
    add(addresses, table, esp32s3_block_minor);
  }
  return {addresses.begin(), addresses.end()};
}

std::optional<Mac> decode_mac(const ChipSpec& chip, const RegisterWords& words) {
  std::optional<Mac> mac =
      chip.efuse.mac_rule == MacRule::esp8266 ? mac_of_esp8266(chip.efuse, words) : mac_of_field(chip.efuse, words);
  bool is_group = mac && (mac->octets[0] & 1) != 0;
  if (mac == Mac{} || is_group) return std::nullopt;
  return mac;
}

EfuseFacts decode_efuses(const ChipSpec& chip, const RegisterWords& words) {
  const EfuseTable& table = chip.efuse;
  auto value = [&](EfuseField field) { return efuse_value(table, field, words); };
  auto odd = [&](EfuseField field) { return std::popcount(value(field)) % 2 == 1; };
  EfuseFacts facts;
  facts.revision = revision_of(chip, words);
  facts.unique_id = unique_id_of(table, words);
  facts.security.secure_boot = value(table.secure_boot) != 0;
  facts.security.flash_encryption = odd(table.flash_encryption);
  const std::uint64_t full_counter = (std::uint64_t{1} << table.flash_encryption.width) - 1;
  facts.security.encryption_for_good = table.flash_encryption.there() && value(table.flash_encryption) == full_counter;
  facts.security.jtag_soft = odd(table.jtag_soft);
  facts.security.jtag_hard = value(table.jtag_hard) != 0;
  // The ESP32 has the bit, and heeds it from revision 3 on.
  bool heeded = table.revision_rule != RevisionRule::esp32 || facts.revision.major >= 3;
  facts.security.download_disabled = heeded && value(table.download_disabled) != 0;
  facts.security.secure_download = value(table.secure_download) != 0;
  for (unsigned key = 0; key < keys_of(table); ++key)
    facts.security.key_purposes.push_back(static_cast<std::uint8_t>(value(key_purpose_field(table, key))));
  return facts;
}

std::string key_purpose_words(const ChipSpec& chip, std::uint8_t purpose) {
  for (const KeyPurposeRow& row : key_purposes)
    if (row.purpose == purpose && (row.on & set_of(chip.id)) != 0) return std::string{row.words};
  return fmt::format("purpose {}", purpose);
}

}  // namespace espmint
