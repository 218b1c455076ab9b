// frame.hpp: numbers of the framed dialect, as docs/formats/handshake.md has them.
#pragma once

#include "../include/espmint_device.hpp"

namespace espmint::device {

inline constexpr std::uint8_t frame_magic[4] = {0xf5, 'E', 'M', 'K'};
inline constexpr std::uint8_t protocol_version = 1;
inline constexpr std::size_t frame_header_bytes = 8, crc_bytes = 4;
inline constexpr std::size_t longest_payload = nonce_bytes + mac_bytes + 1 + max_fields * (1 + max_field_bytes);

namespace type {
// From the station. The answer's number has bit 7 set.
inline constexpr std::uint8_t hail = 0x10, challenge = 0x11, key = 0x12, readback = 0x13, selftest = 0x14, lock = 0x15;
// From the board.
inline constexpr std::uint8_t hello = 0x90, echo = 0x91, stored = 0x92, digest = 0x93, values = 0x94, locked = 0x95;
inline constexpr std::uint8_t refused = 0xff;
inline constexpr std::uint8_t from_board = 0x80;
}  // namespace type

namespace reason {
inline constexpr std::uint8_t malformed = 1, other_mac = 2, other_nonce = 3, field_count = 4, bad_field = 5,
                              has_another_key = 6, is_locked = 7, storage = 8, not_provisioned = 9, unknown_type = 10,
                              unknown_version = 11;
}  // namespace reason

/// Every field has 1 to max_field_bytes bytes and no control bytes.
bool are_sound(const View* fields, std::size_t count);

}  // namespace espmint::device
