#include "sim/efuse.hpp"

#include <array>

#include "sim/dice.hpp"

namespace espmint::sim {
namespace {

/// Block and first bit as ESP-IDF's tables count them; no bits: the chip has none.
struct EfuseField {
  std::uint8_t block = 0;
  std::uint16_t bit = 0;
  std::uint8_t bits = 0;
};

struct EfuseLayout {
  std::string_view chip;
  std::array<std::uint32_t, 3> blocks;  // the register of each block's first word
  EfuseField mac, major, major_high, minor, minor_high;
  EfuseField mac_middle;  // ff:fe, for the eight octets of IEEE 802.15.4
  EfuseField unique_id;
  EfuseField secure_boot, flash_encryption, secure_download;
  EfuseField key_purpose;  // key 0's; five more follow
  EfuseField package_flash;
  std::array<std::uint8_t, 5> package_flash_mb{};  // by code
  EfuseField package_psram;
  std::uint8_t psram_code = 0;
};

// Source: ESP-IDF, components/efuse/<chip>/esp_efuse_table.csv; soc/efuse_reg.h for the blocks. The usual ESP32-C3 has
// its flash in the package, the usual ESP32-S3 8 MB of PSRAM.
constexpr EfuseField id{2, 0, 128}, mac48{1, 0, 48};
constexpr std::array efuse_layouts{
    EfuseLayout{.chip = "esp32",
                .blocks = {0x3ff5'a000},
                .mac = {0, 32, 48},
                .minor = {0, 184, 2},
                .secure_boot = {0, 197, 1},
                .flash_encryption = {0, 20, 7}},
    EfuseLayout{.chip = "esp32s2",
                .blocks = {0x3f41'a02c, 0x3f41'a044, 0x3f41'a05c},
                .mac = mac48,
                .major = {1, 114, 2},
                .minor = {1, 132, 3},
                .minor_high = {1, 116, 1},
                .unique_id = id,
                .secure_boot = {0, 116, 1},
                .flash_encryption = {0, 82, 3},
                .secure_download = {0, 133, 1},
                .key_purpose = {0, 88, 4}},
    EfuseLayout{.chip = "esp32s3",
                .blocks = {0x6000'702c, 0x6000'7044, 0x6000'705c},
                .mac = mac48,
                .major = {1, 184, 2},
                .minor = {1, 114, 3},
                .minor_high = {1, 183, 1},
                .unique_id = id,
                .secure_boot = {0, 116, 1},
                .flash_encryption = {0, 82, 3},
                .secure_download = {0, 133, 1},
                .key_purpose = {0, 88, 4},
                .package_psram = {1, 131, 2},
                .psram_code = 1},
    EfuseLayout{.chip = "esp32c3",
                .blocks = {0x6000'882c, 0x6000'8844, 0x6000'885c},
                .mac = mac48,
                .major = {1, 184, 2},
                .minor = {1, 114, 3},
                .minor_high = {1, 183, 1},
                .unique_id = id,
                .secure_boot = {0, 116, 1},
                .flash_encryption = {0, 82, 3},
                .secure_download = {0, 133, 1},
                .key_purpose = {0, 88, 4},
                .package_flash = {1, 123, 3},
                .package_flash_mb = {0, 4, 2, 1, 8}},
    EfuseLayout{.chip = "esp32c2",
                .blocks = {0x6000'882c, 0x6000'8834, 0x6000'8840},
                .mac = {2, 0, 48},
                .major = {2, 52, 2},
                .minor = {2, 48, 4},
                .secure_boot = {0, 53, 1},
                .flash_encryption = {0, 39, 3},
                .secure_download = {0, 48, 1}},
    EfuseLayout{.chip = "esp32c6",
                .blocks = {0x600b'082c, 0x600b'0844, 0x600b'085c},
                .mac = mac48,
                .major = {1, 118, 2},
                .minor = {1, 114, 4},
                .mac_middle = {1, 48, 16},
                .unique_id = id,
                .secure_boot = {0, 116, 1},
                .flash_encryption = {0, 82, 3},
                .secure_download = {0, 133, 1},
                .key_purpose = {0, 88, 4}},
    EfuseLayout{.chip = "esp32h2",
                .blocks = {0x600b'082c, 0x600b'0844, 0x600b'085c},
                .mac = mac48,
                .major = {1, 117, 2},
                .minor = {1, 114, 3},
                .mac_middle = {1, 48, 16},
                .unique_id = id,
                .secure_boot = {0, 116, 1},
                .flash_encryption = {0, 82, 3},
                .secure_download = {0, 133, 1},
                .key_purpose = {0, 88, 4}},
    EfuseLayout{.chip = "esp32c5",
                .blocks = {0x600b'482c, 0x600b'4844, 0x600b'485c},
                .mac = mac48,
                .major = {1, 68, 2},
                .minor = {1, 64, 4},
                .mac_middle = {1, 48, 16},
                .unique_id = id,
                .secure_boot = {0, 121, 1},
                .flash_encryption = {0, 80, 3},
                .secure_download = {0, 133, 1},
                .key_purpose = {0, 86, 5}},
    EfuseLayout{.chip = "esp32c61",
                .blocks = {0x600b'482c, 0x600b'4844, 0x600b'485c},
                .mac = mac48,
                .major = {1, 68, 2},
                .minor = {1, 64, 4},
                .unique_id = id,
                .secure_boot = {0, 90, 1},
                .flash_encryption = {0, 55, 3},
                .secure_download = {0, 100, 1},
                .key_purpose = {0, 64, 4}},
    EfuseLayout{.chip = "esp32p4",
                .blocks = {0x5012'd02c, 0x5012'd044, 0x5012'd05c},
                .mac = mac48,
                .major = {1, 68, 2},
                .major_high = {1, 87, 1},
                .minor = {1, 64, 4},
                .unique_id = id,
                .secure_boot = {0, 116, 1},
                .flash_encryption = {0, 82, 3},
                .secure_download = {0, 133, 1},
                .key_purpose = {0, 88, 4}},
};

constexpr std::uint8_t purpose_digest0 = 9, purpose_xts_aes_128 = 4, purpose_hmac_up = 8;
constexpr unsigned key_count = 6;

const EfuseLayout* efuse_layout_of(const ChipRow& chip) {
  for (const EfuseLayout& row : efuse_layouts)
    if (row.chip == chip.name) return &row;
  return nullptr;
}

using Words = std::map<std::uint32_t, std::uint32_t>;

void burn(Words& words, const EfuseLayout& layout, EfuseField field, std::uint64_t value) {
  for (unsigned i = 0; i < field.bits && i < 64; ++i) {
    unsigned bit = field.bit + i;
    if (value >> i & 1) words[layout.blocks[field.block] + bit / 32 * 4] |= 1u << bit % 32;
  }
}

std::array<std::uint8_t, key_count> purposes_of(const Chip& chip) {
  std::array<std::uint8_t, key_count> purposes{};
  const EfuseLayout* layout = efuse_layout_of(chip.row());
  if (!layout || layout->key_purpose.bits == 0) return purposes;
  if (chip.security.secure_boot) purposes[0] = purpose_digest0;
  if (chip.security.flash_encryption) purposes[1] = purpose_xts_aes_128;
  if (chip.security.hmac_key) purposes[2] = purpose_hmac_up;
  return purposes;
}

std::uint64_t as_number(const Mac& mac) {
  std::uint64_t number = 0;
  for (std::uint8_t octet : mac.octets) number = number << 8 | octet;
  return number;
}

/// The ESP32 spreads its major revision over a bit each.
void burn_esp32(Words& words, const EfuseLayout& layout, unsigned revision, const Mac& mac) {
  burn(words, layout, {0, 80, 8}, mac_crc(mac));
  if (revision >= 100) burn(words, layout, {0, 111, 1}, 1);
  if (revision >= 200) burn(words, layout, {0, 180, 1}, 1);
  if (revision >= 300) words[0x3ff6'607c] |= 1u << 31;  // APB_CTRL_DATE
}

/// The ESP8266's one-time memory: the last three octets and, where they are not one of the first two, the maker's.
Words esp8266_words(const Mac& mac) {
  constexpr std::uint32_t otp = 0x3ff0'0050;
  const auto& o = mac.octets;
  auto maker_is = [&o](std::uint8_t a, std::uint8_t b, std::uint8_t c) { return o[0] == a && o[1] == b && o[2] == c; };
  std::uint32_t maker = maker_is(0x18, 0xfe, 0x34) ? 0 : maker_is(0xac, 0xd0, 0x74) ? 1 : 2;
  Words words;
  words[otp] = std::uint32_t{o[5]} << 24;
  words[otp + 4] = maker << 16 | std::uint32_t{o[3]} << 8 | o[4];
  words[otp + 8] = 0x0000'8000;  // an ESP8266EX
  if (maker == 2) words[otp + 12] = std::uint32_t{o[0]} << 16 | std::uint32_t{o[1]} << 8 | o[2];
  return words;
}

}  // namespace

std::uint8_t mac_crc(const Mac& mac) {
  unsigned crc = 0;
  for (std::uint8_t octet : mac.octets) {
    crc ^= octet;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0x8c : crc >> 1;
  }
  return static_cast<std::uint8_t>(crc);
}

bool can_have_revision(const ChipRow& chip, unsigned revision) {
  const EfuseLayout* layout = efuse_layout_of(chip);
  if (!layout) return revision == 0;
  unsigned major_bits = layout->major.bits + layout->major_high.bits;
  unsigned majors = chip.name == "esp32" ? 4 : 1u << major_bits;
  return revision / 100 < majors && revision % 100 < 1u << (layout->minor.bits + layout->minor_high.bits);
}

Security possible_security(const ChipRow& chip) {
  const EfuseLayout* layout = efuse_layout_of(chip);
  if (!layout) return {};
  return {layout->secure_boot.bits != 0, layout->flash_encryption.bits != 0, layout->secure_download.bits != 0,
          layout->key_purpose.bits != 0};
}

Words burnt_registers(const Chip& chip, const Mac& mac, std::uint64_t flash_bytes, std::uint64_t unique) {
  const EfuseLayout* layout = efuse_layout_of(chip.row());
  if (!layout) return esp8266_words(mac);
  Words words;
  for (const RegisterValue& row : chip.row().registers) words[row.address] = row.value;
  burn(words, *layout, layout->mac, as_number(mac));
  burn(words, *layout, layout->mac_middle, 0xfffe);
  unsigned major = chip.revision / 100, minor = chip.revision % 100;
  burn(words, *layout, layout->major, major);
  burn(words, *layout, layout->major_high, major >> layout->major.bits);
  burn(words, *layout, layout->minor, minor);
  burn(words, *layout, layout->minor_high, minor >> layout->minor.bits);
  if (chip.row().name == "esp32") burn_esp32(words, *layout, chip.revision, mac);
  Dice dice{unique};
  for (std::uint16_t at = 0; at < layout->unique_id.bits; at = static_cast<std::uint16_t>(at + 64))
    burn(words, *layout, {layout->unique_id.block, at, 64}, dice.roll());
  burn(words, *layout, layout->secure_boot, chip.security.secure_boot ? 1 : 0);
  burn(words, *layout, layout->flash_encryption, chip.security.flash_encryption ? 1 : 0);
  burn(words, *layout, layout->secure_download, chip.security.secure_download ? 1 : 0);
  EfuseField purpose = layout->key_purpose;
  for (std::uint8_t value : purposes_of(chip)) {
    burn(words, *layout, purpose, value);
    purpose.bit = static_cast<std::uint16_t>(purpose.bit + purpose.bits);
  }
  for (std::size_t code = 1; code < layout->package_flash_mb.size(); ++code)
    if (std::uint64_t{layout->package_flash_mb[code]} << 20 == flash_bytes)
      burn(words, *layout, layout->package_flash, code);
  burn(words, *layout, layout->package_psram, layout->psram_code);
  return words;
}

Bytes security_info(const Chip& chip) {
  Bytes info;
  if (chip.row().security_bytes == 0) return info;
  const Security& security = chip.security;
  put_u32(info, (security.secure_boot ? 1u << 0 : 0) | (security.secure_download ? 1u << 2 : 0));
  info.push_back(security.flash_encryption ? 1 : 0);
  for (std::uint8_t purpose : purposes_of(chip)) info.push_back(purpose);
  info.push_back(chip.row().last_purpose);
  put_u32(info, chip.row().image_chip_id);
  put_u32(info, chip.rom().eco);
  info.resize(chip.row().security_bytes);
  return info;
}

}  // namespace espmint::sim
