#include "sim/registers.hpp"

namespace espmint::sim {
namespace {
constexpr std::uint32_t run_user_command = 1u << 18;  // SPI_CMD: USR
constexpr std::uint32_t user_has_miso = 1u << 28;     // SPI_USER: read data after the command
constexpr std::uint32_t user_has_command = 1u << 31;
constexpr std::uint32_t magic_word = 0x4000'1000;
}  // namespace

Registers::Registers(const Chip& chip, const Mac& mac, const NorFlash& flash, std::uint64_t unique, bool uses_own_usb)
    : chip_(chip), flash_(flash), unique_id_(unique) {
  burnt_ = burnt_registers(chip, mac, flash.size(), unique);
  fixed_ = burnt_;
  fixed_[magic_word] = chip.rom().magic;
  if (chip.rom().uart_device != 0) fixed_[chip.rom().uart_device] = uses_own_usb ? chip.row().own_usb : 0;
  const ChipRow& row = chip.row();
  // Follows the pin or the eFuse that tells the crystal; a board on which they are wrong is told so by its options.
  if (row.crystal_register != 0)
    burnt_[row.crystal_register] = fixed_[row.crystal_register] = chip.crystal_hz() / 1'000'000 << 24;
  bool attached_at_reset = !row.bare_rom && !row.stub_raises_user_command;  // seen on the ESP32-C3
  if (attached_at_reset) {
    fixed_[row.spi.base + row.spi.user] = row.user_after_attach;
    fixed_[row.spi.base + row.spi.user2] = row.user2_after_attach;
  }
  reset(false);
}

void Registers::reset(bool download, std::uint32_t more_straps) {
  values_ = fixed_;
  const ChipRow& row = chip_.row();
  if (row.strap != 0) values_[row.strap] = (download ? row.download_strap : row.flash_strap) | more_straps;
  set_uart(chip_.boot_baud());
}

void Registers::set_uart(std::uint32_t baud) {
  if (baud == 0) return;
  const ChipRow& row = chip_.row();
  std::uint64_t clock = chip_.crystal_hz();
  if (row.name == "esp32") {
    // One less than the exact quotient: what the ROM's autobaud measured at 115200 (0x15a).
    values_[row.uart_divider] = static_cast<std::uint32_t>(clock / baud - 1);
  } else if (row.bare_rom) {
    values_[row.uart_divider] = static_cast<std::uint32_t>(2 * clock / baud);  // its clock doubles the crystal's
  } else {
    // The sixteenths lie from bit 20. Source: ESP-IDF, soc/uart_reg.h, UART_CLKDIV_FRAG.
    std::uint64_t sixteenths = clock * 16 / baud;
    values_[row.uart_divider] = static_cast<std::uint32_t>(sixteenths / 16 | (sixteenths % 16) << 20);
  }
}

std::uint32_t Registers::read(std::uint32_t address) const {
  auto found = values_.find(address);
  return found == values_.end() ? 0 : found->second;
}

void Registers::write(std::uint32_t address, std::uint32_t value, std::uint32_t mask) {
  // eFuse values are read-only; burning them takes the controller's own command, which is not played here.
  if (burnt_.contains(address)) return;
  std::uint32_t& word = values_[address];
  word = (word & ~mask) | (value & mask);
  if (address == chip_.row().spi.base + chip_.row().spi.command) {
    if (word & run_user_command) run_spi_command();
    word = 0;  // the command is done before anyone can look
  }
}

void Registers::attach_flash() {
  values_[chip_.row().spi.base + chip_.row().spi.user] = chip_.row().user_after_attach;
  values_[chip_.row().spi.base + chip_.row().spi.user2] = chip_.row().user2_after_attach;
}

void Registers::start_stub() {
  if (!chip_.row().stub_raises_user_command) return;
  values_[chip_.row().spi.base + chip_.row().spi.user] |= user_has_command;
  values_[chip_.row().spi.base + chip_.row().spi.user2] = chip_.row().user2_after_attach;
}

std::uint32_t Registers::bits_to_read() const {
  const SpiController& spi = chip_.row().spi;
  if (spi.miso_bits != 0) return (read(spi.base + spi.miso_bits) & 0x3ff) + 1;
  return (read(spi.base + spi.user1) >> 8 & 0x1ff) + 1;  // the ESP8266's USER1 holds both lengths
}

void Registers::run_spi_command() {
  const SpiController& spi = chip_.row().spi;
  std::uint32_t command = values_[spi.base + spi.user2] & 0xff;
  if (!(values_[spi.base + spi.user] & user_has_miso)) return;
  std::uint32_t bits = bits_to_read();
  std::uint32_t words = std::min<std::uint32_t>((bits + 31) / 32, 16);
  for (std::uint32_t i = 0; i < words; ++i) values_[spi.base + spi.data + 4 * i] = 0;
  std::uint32_t& first = values_[spi.base + spi.data];
  switch (command) {
    case 0x9f:  // read id
      first = flash_.jedec_id();
      break;
    case 0x4b:  // read unique id
      first = static_cast<std::uint32_t>(unique_id_);
      if (words > 1) values_[spi.base + spi.data + 4] = static_cast<std::uint32_t>(unique_id_ >> 32);
      break;
    default:  // status registers read as idle; this flash has no SFDP table
      break;
  }
  if (!flash_answers_) first = 0xffff'ffff;
  if (bits < 32) first &= (1u << bits) - 1;
}

}  // namespace espmint::sim
