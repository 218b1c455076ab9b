// sim/registers.hpp: the registers a flashing tool looks at: eFuse, UART, straps, and the SPI controller that reaches
// the flash chip. Others read as 0 until written.
#pragma once

#include <map>

#include "sim/efuse.hpp"
#include "sim/nor_flash.hpp"

namespace espmint::sim {

class Registers {
 public:
  /// `unique`: of the chip's and its flash's unique ids. `uses_own_usb`: what the ROM's variable for its port says.
  Registers(const Chip&, const Mac&, const NorFlash&, std::uint64_t unique, bool uses_own_usb);
  /// Back to what a reset leaves, in download mode or from flash.
  void reset(bool download, std::uint32_t more_straps = 0);
  [[nodiscard]] std::uint32_t read(std::uint32_t address) const;
  void write(std::uint32_t address, std::uint32_t value, std::uint32_t mask = 0xffff'ffff);
  /// What SPI_ATTACH leaves in the controller, and what a stub's start does.
  void attach_flash();
  void start_stub();
  void set_uart(std::uint32_t baud);
  /// A test's or a preset's eFuse: kept over resets.
  void preset(std::uint32_t address, std::uint32_t value) { burnt_[address] = fixed_[address] = value; }
  /// A flash chip that does not drive its line: every answer of it is ones.
  void flash_is_there(bool answers) { flash_answers_ = answers; }

 private:
  void run_spi_command();
  [[nodiscard]] std::uint32_t bits_to_read() const;
  const Chip& chip_;
  const NorFlash& flash_;
  std::uint64_t unique_id_;
  bool flash_answers_ = true;
  std::map<std::uint32_t, std::uint32_t> burnt_;  // eFuses and what else nobody can write
  std::map<std::uint32_t, std::uint32_t> fixed_;  // after every reset
  std::map<std::uint32_t, std::uint32_t> values_;
};

}  // namespace espmint::sim
