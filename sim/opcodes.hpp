// sim/opcodes.hpp: the commands of the serial protocol, as the board's side counts them.
// Source: esptool documentation, Serial Protocol.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.hpp"

namespace espmint::sim {

namespace op {
inline constexpr std::uint8_t flash_begin = 0x02, flash_data = 0x03, flash_end = 0x04, mem_begin = 0x05, mem_end = 0x06,
                              mem_data = 0x07, sync = 0x08, write_reg = 0x09, read_reg = 0x0a, spi_set_params = 0x0b,
                              spi_attach = 0x0d, read_flash_slow = 0x0e, change_baudrate = 0x0f, defl_begin = 0x10,
                              defl_data = 0x11, defl_end = 0x12, flash_md5 = 0x13, security_info = 0x14,
                              erase_flash = 0xd0, erase_region = 0xd1, read_flash = 0xd2, run_user_code = 0xd3;
}

/// A frame from the host: 0, opcode, length of data, checksum, data.
struct Request {
  std::uint8_t opcode;
  std::uint16_t length;
  std::uint32_t checksum;
  ByteView data;
  /// Word `index` of the data, 0 where it is shorter.
  [[nodiscard]] std::uint32_t word(std::size_t index) const {
    return data.size() >= 4 * index + 4 ? get_u32(data, 4 * index) : 0;
  }
};

/// Nothing for what is no request: a wrong direction, or shorter than a header.
inline std::optional<Request> as_request(ByteView frame) {
  if (frame.size() < 8 || frame[0] != 0) return std::nullopt;
  return Request{frame[1], get_u16(frame, 2), get_u32(frame, 4), frame.subspan(8)};
}

/// XOR over the data of a block, from 0xef.
inline std::uint32_t block_checksum(ByteView data) {
  std::uint8_t sum = 0xef;
  for (std::uint8_t byte : data) sum = static_cast<std::uint8_t>(sum ^ byte);
  return sum;
}

/// Four words before the data of FLASH_DATA, MEM_DATA, FLASH_DEFL_DATA.
inline constexpr std::size_t block_header = 16;

}  // namespace espmint::sim
