// sim/efuse.hpp: what is burnt into a virtual chip: MAC, revision, package, unique number, security; as registers, and
// as GET_SECURITY_INFO tells it.
#pragma once

#include <map>

#include "base/bytes.hpp"
#include "base/mac.hpp"
#include "sim/chips.hpp"

namespace espmint::sim {

/// CRC-8 beside the ESP32's MAC in eFuse. Source: ESP32 Technical Reference Manual, eFuse block 0; checked on silicon's
/// own values.
std::uint8_t mac_crc(const Mac&);

/// Whether a chip of this kind has room for the revision, major * 100 + minor.
bool can_have_revision(const ChipRow&, unsigned revision);

/// What a chip of this kind can have burnt; the ESP32 knows no secure download, the ESP8266 nothing.
Security possible_security(const ChipRow&);

/// Registers that read other than 0. `unique`: what makes this chip's optional unique id.
std::map<std::uint32_t, std::uint32_t> burnt_registers(const Chip&, const Mac&, std::uint64_t flash_bytes,
                                                       std::uint64_t unique);

/// Flags, count of flash encryption, seven key purposes; since the ESP32-C3 chip id and ECO version of the ROM. Empty
/// for chips without the command. Source: esptool documentation, Serial Protocol; flags: esp-serial-flasher.
Bytes security_info(const Chip&);

}  // namespace espmint::sim
