#include "sim/registers.hpp"

namespace espmint::sim {
namespace {
constexpr std::uint32_t run_user_command = 1u << 18;  // SPI_CMD: USR
constexpr std::uint32_t user_has_miso = 1u << 28;     // SPI_USER: read data after the command
constexpr std::uint32_t user_has_command = 1u << 31;
constexpr std::uint32_t crystal_hz = 40'000'000;
}  // namespace

std::uint8_t mac_crc(const Mac& mac) {
  unsigned crc = 0;
  for (std::uint8_t octet : mac.octets) {
    crc ^= octet;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0x8c : crc >> 1;
  }
  return static_cast<std::uint8_t>(crc);
}

Registers::Registers(const ChipRow& chip, const Mac& mac, const NorFlash& flash, std::uint64_t flash_unique_id)
    : chip_(chip), flash_(flash), unique_id_(flash_unique_id) {
  for (const RegisterValue& row : chip.registers) fixed_[row.address] = row.value;
  const auto& o = mac.octets;
  fixed_[chip.mac_low] = std::uint32_t{o[2]} << 24 | std::uint32_t{o[3]} << 16 | std::uint32_t{o[4]} << 8 | o[5];
  fixed_[chip.mac_high] =
      std::uint32_t{o[0]} << 8 | o[1] | (chip.mac_has_crc ? std::uint32_t{mac_crc(mac)} << 16 : 0);
  reset(0);
}

void Registers::reset(std::uint32_t strap) {
  values_ = fixed_;
  values_[chip_.strap] = strap;
  set_uart(115'200);
}

void Registers::set_uart(std::uint32_t baud) {
  // One less than the exact quotient: what the ROM's autobaud measured at 115200 (0x15a).
  if (baud != 0) values_[chip_.uart_divider] = crystal_hz / baud - 1;
}

std::uint32_t Registers::read(std::uint32_t address) const {
  auto found = values_.find(address);
  return found == values_.end() ? 0 : found->second;
}

void Registers::write(std::uint32_t address, std::uint32_t value, std::uint32_t mask) {
  // eFuse values are read-only; burning them takes the controller's own command, which is not played here.
  if (address == chip_.mac_low || address == chip_.mac_high) return;
  std::uint32_t& word = values_[address];
  word = (word & ~mask) | (value & mask);
  if (address == chip_.spi.base + chip_.spi.command) {
    if (word & run_user_command) run_spi_command();
    word = 0;  // the command is done before anyone can look
  }
}

void Registers::attach_flash() {
  values_[chip_.spi.base + chip_.spi.user] = chip_.user_after_attach;
  values_[chip_.spi.base + chip_.spi.user2] = chip_.user2_after_attach;
}

void Registers::start_stub() {
  if (!chip_.stub_raises_user_command) return;
  values_[chip_.spi.base + chip_.spi.user] |= user_has_command;
  values_[chip_.spi.base + chip_.spi.user2] = chip_.user2_after_attach;
}

void Registers::run_spi_command() {
  const SpiController& spi = chip_.spi;
  std::uint32_t command = values_[spi.base + spi.user2] & 0xff;
  if (!(values_[spi.base + spi.user] & user_has_miso)) return;
  std::uint32_t bits = (values_[spi.base + spi.miso_bits] & 0x3ff) + 1;
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
