#include "rom/identify.hpp"

#include <fmt/format.h>

#include <bit>

#include "rom/boot_log.hpp"
#include "rom/diagnosis.hpp"

namespace espmint {
namespace {

constexpr std::uint32_t bits(std::uint32_t word, unsigned low, unsigned count) {
  return word >> low & ((1u << count) - 1);
}

// ESP32: eFuse block 0 by words. Source: ESP32 TRM, eFuse Controller; revision: ESP32 series, chip revision logic.
Task<Result<void>> read_esp32(Loader& loader, BoardInfo& board) {
  const std::uint32_t base = board.chip->efuse_base;
  constexpr std::uint32_t apb_date = 0x3ff6'607c;
  CO_TRY(std::uint32_t word0, co_await loader.read_reg(base));
  CO_TRY(std::uint32_t word3, co_await loader.read_reg(base + 0x0c));
  CO_TRY(std::uint32_t word5, co_await loader.read_reg(base + 0x14));
  CO_TRY(std::uint32_t word6, co_await loader.read_reg(base + 0x18));
  CO_TRY(std::uint32_t date, co_await loader.read_reg(apb_date));
  unsigned steps = bits(word3, 15, 1) | bits(word5, 20, 1) << 1 | bits(date, 31, 1) << 2;
  board.revision.major = steps == 7 ? 3 : steps == 3 ? 2 : steps == 1 ? 1 : 0;
  board.revision.minor = bits(word5, 24, 2);
  board.security.flash_encryption = std::popcount(bits(word0, 20, 7)) % 2 == 1;
  board.security.download_disabled = bits(word0, 27, 1) != 0 && board.revision.major >= 3;
  board.security.secure_boot = bits(word6, 4, 2) != 0;
  board.security.jtag_disabled = bits(word6, 6, 1) != 0;
  co_return ok();
}

// ESP32-S3, C3: eFuse registers from base + 0x2c (RD_REPEAT_DATA), BLOCK1 at + 0x44, BLOCK2 at + 0x5c.
// Source: their TRMs, eFuse Controller, register summary.
Task<Result<void>> read_newer(Loader& loader, BoardInfo& board) {
  const std::uint32_t base = board.chip->efuse_base;
  CO_TRY(std::uint32_t block1_word3, co_await loader.read_reg(base + 0x50));
  CO_TRY(std::uint32_t block1_word5, co_await loader.read_reg(base + 0x58));
  board.revision.major = bits(block1_word5, 24, 2);
  board.revision.minor = bits(block1_word5, 23, 1) << 3 | bits(block1_word3, 18, 3);
  Bytes id;
  for (std::uint32_t word = 0; word < 4; ++word) {
    CO_TRY(std::uint32_t value, co_await loader.read_reg(base + 0x5c + 4 * word));
    put_u32(id, value);
  }
  if (std::any_of(id.begin(), id.end(), [](std::uint8_t byte) { return byte != 0; })) board.unique_id = to_hex(id);
  CO_TRY(std::uint32_t repeat1, co_await loader.read_reg(base + 0x34));
  CO_TRY(std::uint32_t repeat2, co_await loader.read_reg(base + 0x38));
  CO_TRY(std::uint32_t repeat0, co_await loader.read_reg(base + 0x30));
  CO_TRY(std::uint32_t repeat3, co_await loader.read_reg(base + 0x3c));
  board.security.flash_encryption = std::popcount(bits(repeat1, 18, 3)) % 2 == 1;
  board.security.secure_boot = bits(repeat2, 20, 1) != 0;
  board.security.jtag_disabled = bits(repeat0, 19, 1) != 0 || std::popcount(bits(repeat0, 16, 3)) % 2 == 1;
  board.security.download_disabled = bits(repeat3, 0, 1) != 0;
  board.security.secure_download = bits(repeat3, 5, 1) != 0;
  co_return ok();
}

/// A ROM that takes SYNC and refuses to read a register is in secure download mode: eFuses left it nothing else.
/// Source: ESP-IDF, Secure Boot, UART ROM download mode.
Fault only_secure_download(const Fault& refusal) {
  return {Code::board_locked, Remedy::refuse, "this chip is protected: it allows secure download mode only", {}, "READ_REG: " + refusal.seen,
          "It was made a product before: its eFuses cannot be taken back, and it cannot be prepared here"};
}

Task<Result<std::uint32_t>> read_detection_word(Loader& loader) {
  auto word = co_await loader.read_reg(chip_magic_register);
  if (word || word.error().code != Code::command_refused) co_return word;
  // A question that noise has changed is refused as well, but not twice.
  auto again = co_await loader.read_reg(chip_magic_register);
  if (again || again.error().code != Code::command_refused) co_return again;
  co_return fail(only_secure_download(again.error()));
}

/// Chips newer than this program knows the word of are asked for their id.
Task<Result<const ChipSpec*>> find_chip(Loader& loader) {
  CO_TRY(std::uint32_t magic, co_await read_detection_word(loader));
  if (const ChipSpec* chip = chip_with_magic(magic)) co_return chip;
  std::string seen = fmt::format("detection word {:#010x}", magic);
  auto info = co_await loader.command(Op::get_security_info, {});
  // 12 bytes on the S2; later chips append the chip id and the ECO version (20 bytes).
  if (info && info->body.size() >= 20) {
    std::uint32_t id = get_u32(info->body, 12);
    if (const ChipSpec* chip = chip_with_image_id(static_cast<std::uint16_t>(id))) co_return chip;
    seen += fmt::format(", chip id {}", id);
  }
  Fault fault{Code::chip_unknown, Remedy::refuse, "this chip is not one that this version knows"};
  fault.seen = seen;
  fault.advice = "It knows ESP32, ESP32-S3 and ESP32-C3; prepare this board with a newer version of espmint, or put it aside";
  co_return fail(std::move(fault));
}

/// One SPI command of 8 bits to the flash and up to 32 bits of its answer, by the controller's own registers.
/// Source: ESP32 TRM, SPI controller, user-defined commands.
Task<Result<std::uint32_t>> ask_flash(Loader& loader, std::uint8_t flash_command, unsigned answer_bits) {
  const SpiRegisters& spi = loader.chip()->spi;
  constexpr std::uint32_t usr_command = 1u << 31, usr_miso = 1u << 28, start = 1u << 18;
  CO_TRY(std::uint32_t old_usr, co_await loader.read_reg(spi.base + spi.usr));
  CO_TRY(std::uint32_t old_usr2, co_await loader.read_reg(spi.base + spi.usr2));
  CO_TRY(co_await loader.write_reg(spi.base + spi.miso_dlen, answer_bits - 1));
  CO_TRY(co_await loader.write_reg(spi.base + spi.usr, usr_command | usr_miso));
  CO_TRY(co_await loader.write_reg(spi.base + spi.usr2, 7u << 28 | flash_command));
  CO_TRY(co_await loader.write_reg(spi.base + spi.w0, 0));
  CO_TRY(co_await loader.write_reg(spi.base, start));
  for (int polls = 0;; ++polls) {
    CO_TRY(std::uint32_t running, co_await loader.read_reg(spi.base));
    if ((running & start) == 0) break;
    if (polls == 10)
      co_return fail({Code::flash_unknown, Remedy::retry, "the flash controller does not finish", {}, {}, "Power the board off and on"});
  }
  CO_TRY(std::uint32_t answer, co_await loader.read_reg(spi.base + spi.w0));
  // Replies carry no checksum, and by this one the ledger knows the board for ever.
  CO_TRY(std::uint32_t again, co_await loader.read_reg(spi.base + spi.w0));
  if (answer != again)
    co_return fail({Code::reply_damaged, Remedy::retry, "the board answers the same question in two ways", {},
                    fmt::format("{:#x}, then {:#x}", answer, again), "Noise on the wire: check cable and supply, or choose a lower baud rate"});
  CO_TRY(co_await loader.write_reg(spi.base + spi.usr, old_usr));
  CO_TRY(co_await loader.write_reg(spi.base + spi.usr2, old_usr2));
  co_return answer & (answer_bits >= 32 ? 0xffff'ffffu : (1u << answer_bits) - 1);
}

/// A flash that does not answer: on the ESP32 perhaps because MTDI gives it 1.8 V. An eFuse may overrule the pin.
/// Source: ESP32 TRM, GPIO_STRAP, eFuse XPD_SDIO_FORCE.
Task<Result<void>> blame_voltage_strap(Loader& loader, std::string seen) {
  constexpr std::uint32_t strap_register = 0x3ff4'4038, efuse_word4_offset = 0x10;
  if (loader.chip()->id != ChipId::esp32) co_return ok();
  CO_TRY(std::uint32_t straps, co_await loader.read_reg(strap_register));
  CO_TRY(std::uint32_t word4, co_await loader.read_reg(loader.chip()->efuse_base + efuse_word4_offset));
  const bool pin_decides = bits(word4, 16, 1) == 0;
  if (!pin_decides || (straps & esp32_mtdi) == 0) co_return ok();
  co_return fail(gets_low_voltage(seen + ", " + straps_in_words("esp32", straps)));
}

}  // namespace

Task<Result<Mac>> read_mac(Loader& loader) {
  CO_TRY(std::uint32_t low, co_await loader.read_reg(loader.chip()->mac_low));
  CO_TRY(std::uint32_t high, co_await loader.read_reg(loader.chip()->mac_high));
  Mac mac;
  for (unsigned i = 0; i < 2; ++i) mac.octets[i] = static_cast<std::uint8_t>(high >> (8 - 8 * i));
  for (unsigned i = 0; i < 4; ++i) mac.octets[2 + i] = static_cast<std::uint8_t>(low >> (24 - 8 * i));
  if (mac == Mac{} || (mac.octets[0] & 1) != 0) {
    Fault fault{Code::reply_damaged, Remedy::reconnect, "the board reports no valid MAC address"};
    fault.seen = to_string_with_colons(mac);
    fault.advice = "Reseat the board; the same again: its eFuses are blank or unreadable";
    co_return fail(std::move(fault));
  }
  co_return mac;
}

Task<Result<BoardInfo>> identify(Loader& loader) {
  BoardInfo board;
  CO_TRY(board.chip, co_await find_chip(loader));
  loader.chip_is(*board.chip);
  CO_TRY(board.mac, co_await read_mac(loader));
  if (board.chip->id == ChipId::esp32) {
    CO_TRY(co_await read_esp32(loader, board));
  } else {
    CO_TRY(co_await read_newer(loader, board));
  }
  co_return board;
}

Task<Result<void>> read_flash_id(Loader& loader, BoardInfo& board) {
  if (loader.speaker() == Speaker::rom) {
    Bytes attach(8, 0);
    CO_TRY(co_await loader.command(Op::spi_attach, attach));
  }
  constexpr std::uint8_t read_jedec_id = 0x9f;
  CO_TRY(board.flash_id, co_await ask_flash(loader, read_jedec_id, 24));
  auto size = flash_size_of(board.flash_id);
  if (!size) {
    Fault fault{Code::flash_unknown, Remedy::retry, "the flash chip does not answer"};
    fault.seen = fmt::format("JEDEC id {:#08x}", board.flash_id);
    bool bus_stuck = board.flash_id == 0 || board.flash_id == 0xff'ffff;
    if (bus_stuck) CO_TRY(co_await blame_voltage_strap(loader, fault.seen));
    if (!bus_stuck) fault.what = "the flash chip's size is unknown";
    fault.advice = bus_stuck ? "Check the flash's solder joints and supply, and the strapping pin that sets its voltage"
                             : "Please report this id";
    co_return fail(std::move(fault));
  }
  board.flash_size = *size;
  // The ROM's own parameters stand at 4 MB or less; commands above them would wrap around.
  Bytes parameters;
  for (std::uint32_t word : {0u, board.flash_size, 0x1'0000u, 0x1000u, 0x100u, 0xffffu}) put_u32(parameters, word);
  CO_TRY(co_await loader.command(Op::spi_set_params, parameters));
  co_return ok();
}

}  // namespace espmint
