// sim/registers.hpp: the registers a flashing tool looks at: eFuse, UART, straps, and the SPI controller that reaches
// the flash chip. Others read as 0 until written.
#pragma once

#include <functional>
#include <map>

#include "base/mac.hpp"
#include "sim/chips.hpp"
#include "sim/nor_flash.hpp"

namespace espmint::sim {

/// CRC-8 beside the ESP32's MAC in eFuse. Source: ESP32 Technical Reference Manual, eFuse block 0; checked on silicon's
/// own values.
std::uint8_t mac_crc(const Mac&);

class Registers {
 public:
  Registers(const ChipRow&, const Mac&, const NorFlash&, std::uint64_t flash_unique_id);
  /// Back to what a reset leaves.
  void reset(std::uint32_t strap);
  [[nodiscard]] std::uint32_t read(std::uint32_t address) const;
  void write(std::uint32_t address, std::uint32_t value, std::uint32_t mask = 0xffff'ffff);
  /// What SPI_ATTACH leaves in the controller, and what a stub's start does.
  void attach_flash();
  void start_stub();
  void set_uart(std::uint32_t baud);
  /// A test's or a preset's eFuse: kept over resets.
  void preset(std::uint32_t address, std::uint32_t value) { fixed_[address] = value; }
  /// A flash chip that does not drive its line: every answer of it is ones.
  void flash_is_there(bool answers) { flash_answers_ = answers; }

 private:
  void run_spi_command();
  const ChipRow& chip_;
  const NorFlash& flash_;
  std::uint64_t unique_id_;
  bool flash_answers_ = true;
  std::map<std::uint32_t, std::uint32_t> fixed_;
  std::map<std::uint32_t, std::uint32_t> values_;
};

}  // namespace espmint::sim
