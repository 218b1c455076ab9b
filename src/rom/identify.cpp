#include "rom/identify.hpp"

#include <fmt/format.h>

#include <bit>

#include "rom/boot_log.hpp"
#include "rom/diagnosis.hpp"

namespace espmint {
namespace {

Task<Result<RegisterWords>> read_registers(Loader& loader, std::vector<std::uint32_t> addresses) {
  RegisterWords words;
  for (std::uint32_t address : addresses) {
    CO_TRY(words[address], co_await loader.read_reg(address));
  }
  co_return words;
}

/// GET_SECURITY_INFO: flags (u32), SPI_BOOT_CRYPT_CNT (u8), seven purposes of keys (u8), then chip id and version (u32)
/// where the chip is not an S2. Source: esptool documentation, Serial Protocol; the flags: esptool-js, securityInfo.
struct SecurityInfo {
  const ChipSpec* chip = nullptr;  // nothing: a chip id that no row has
  std::uint32_t chip_id = 0;
  Security security;
};

constexpr std::size_t short_info_bytes = 12, long_info_bytes = 20;

std::optional<SecurityInfo> parse_security_info(ByteView body) {
  constexpr std::uint32_t secure_boot = 1u << 0, secure_download = 1u << 2, soft_jtag = 1u << 6, hard_jtag = 1u << 7;
  constexpr std::size_t crypt_count = 4, first_purpose = 5, keys = 6;
  if (body.size() < short_info_bytes) return std::nullopt;
  const std::uint32_t flags = get_u32(body, 0);
  SecurityInfo info;
  info.security.secure_boot = (flags & secure_boot) != 0;
  info.security.secure_download = (flags & secure_download) != 0;
  info.security.jtag_soft = (flags & soft_jtag) != 0;
  info.security.jtag_hard = (flags & hard_jtag) != 0;
  info.security.flash_encryption = std::popcount(body[crypt_count]) % 2 == 1;
  constexpr std::uint8_t full_counter = 0b111;
  info.security.encryption_for_good = body[crypt_count] == full_counter;
  ByteView purposes = body.subspan(first_purpose, keys);
  info.security.key_purposes.assign(purposes.begin(), purposes.end());
  if (body.size() < long_info_bytes) {
    // Short means the S2, not damaged.
    for (const ChipSpec& chip : all_chips())
      if (chip.rom.security_info_bytes == short_info_bytes) info.chip = &chip;
    return info;
  }
  info.chip_id = get_u32(body, 12);
  if (info.chip_id < no_image_chip_id) info.chip = chip_with_image_id(static_cast<std::uint16_t>(info.chip_id));
  if (info.chip && !info.chip->efuse.key0_purpose.there()) info.security.key_purposes.clear();
  return info;
}

Task<Result<SecurityInfo>> read_security_info(Loader& loader) {
  CO_TRY(Reply reply, co_await loader.command(Op::get_security_info, {}));
  auto info = parse_security_info(reply.body);
  if (!info)
    co_return fail({Code::reply_damaged,
                    Remedy::retry,
                    "the board's security information is too short",
                    {},
                    fmt::format("{} bytes", reply.body.size()),
                    {}});
  co_return std::move(*info);
}

Fault unknown_chip(std::string seen) {
  Fault fault{Code::chip_unknown, Remedy::refuse, "this chip is not one that this version knows"};
  fault.seen = std::move(seen);
  fault.advice = fmt::format("It knows {}; prepare this board with a newer version of espmint, or put it aside",
                             names_of_all_chips());
  return fault;
}

std::string locks_in_words(const Security& security) {
  auto on_off = [](bool on) { return on ? "on" : "off"; };
  return fmt::format("flash encryption {}{}, secure boot {}, secure download {}", on_off(security.flash_encryption),
                     security.encryption_for_good ? " for good" : "", on_off(security.secure_boot),
                     on_off(security.secure_download));
}

Fault in_secure_download_mode(const SecurityInfo& info) {
  auto on_off = [](bool on) { return on ? "on" : "off"; };
  Fault fault{Code::board_locked, Remedy::refuse,
              "this board is in secure download mode: it tells no MAC and lets nothing be read back"};
  fault.seen = fmt::format("{}, flash encryption {}, secure boot {}, secure download on",
                           info.chip ? info.chip->title : "an unknown chip", on_off(info.security.flash_encryption),
                           on_off(info.security.secure_boot));
  fault.advice = "Put it aside: it has been in a product that locks its boards";
  return fault;
}

/// By the word at 0x40001000 where a row has it; chips whose word is new, or that have none there, are asked for their
/// id.
Task<Result<const ChipSpec*>> find_chip(Loader& loader) {
  auto magic = co_await loader.read_reg(chip_magic_register);
  if (magic) {
    if (const ChipSpec* chip = chip_with_magic(*magic)) co_return chip;
  } else if (magic.error().code != Code::command_refused) {
    co_return fail(std::move(magic.error()));
  }
  auto info = co_await read_security_info(loader);
  if (!magic) {
    // No register is told: secure download mode, or something that is no fault of the chip's.
    if (info && info->security.secure_download) co_return fail(in_secure_download_mode(*info));
    co_return fail(std::move(magic.error()));
  }
  if (info && info->chip) co_return info->chip;
  std::string seen = fmt::format("detection word {:#010x}", *magic);
  if (info) seen += fmt::format(", chip id {}", info->chip_id);
  co_return fail(unknown_chip(std::move(seen)));
}

/// One SPI command of 8 bits to the flash and up to 32 bits of its answer, by the controller's own registers.
/// Source: ESP32 TRM, SPI controller, user-defined commands.
Task<Result<std::uint32_t>> ask_flash(Loader& loader, std::uint8_t flash_command, unsigned answer_bits) {
  const SpiRegisters& spi = loader.chip()->spi;
  constexpr std::uint32_t usr_command = 1u << 31, usr_miso = 1u << 28, start = 1u << 18;
  CO_TRY(std::uint32_t old_usr, co_await loader.read_reg(spi.base + spi.usr));
  CO_TRY(std::uint32_t old_usr2, co_await loader.read_reg(spi.base + spi.usr2));
  const bool length_in_usr1 = spi.miso_dlen == 0;
  const std::uint32_t length_register = spi.base + (length_in_usr1 ? spi.usr1 : spi.miso_dlen);
  CO_TRY(co_await loader.write_reg(length_register, length_in_usr1 ? (answer_bits - 1) << 8 : answer_bits - 1));
  CO_TRY(co_await loader.write_reg(spi.base + spi.usr, usr_command | usr_miso));
  CO_TRY(co_await loader.write_reg(spi.base + spi.usr2, 7u << 28 | flash_command));
  CO_TRY(co_await loader.write_reg(spi.base + spi.w0, 0));
  CO_TRY(co_await loader.write_reg(spi.base, start));
  for (int polls = 0;; ++polls) {
    CO_TRY(std::uint32_t running, co_await loader.read_reg(spi.base));
    if ((running & start) == 0) break;
    if (polls == 10)
      co_return fail({Code::flash_unknown,
                      Remedy::retry,
                      "the flash controller does not finish",
                      {},
                      {},
                      "Power the board off and on"});
  }
  CO_TRY(std::uint32_t answer, co_await loader.read_reg(spi.base + spi.w0));
  // Replies carry no checksum, and by this one the ledger knows the board for ever.
  CO_TRY(std::uint32_t again, co_await loader.read_reg(spi.base + spi.w0));
  if (answer != again)
    co_return fail({Code::reply_damaged,
                    Remedy::retry,
                    "the board answers the same question in two ways",
                    {},
                    fmt::format("{:#x}, then {:#x}", answer, again),
                    "Noise on the wire: check cable and supply, or choose a lower baud rate"});
  CO_TRY(co_await loader.write_reg(spi.base + spi.usr, old_usr));
  CO_TRY(co_await loader.write_reg(spi.base + spi.usr2, old_usr2));
  co_return answer&(answer_bits >= 32 ? 0xffff'ffffu : (1u << answer_bits) - 1);
}

/// A flash that does not answer: on the ESP32 perhaps because MTDI gives it 1.8 V. An eFuse may overrule the pin.
/// Source: ESP32 TRM, GPIO_STRAP, eFuse XPD_SDIO_FORCE.
Task<Result<void>> blame_voltage_strap(Loader& loader, std::string seen) {
  constexpr std::uint32_t strap_register = 0x3ff4'4038, efuse_word4_offset = 0x10;
  if (loader.chip()->id != ChipId::esp32) co_return ok();
  CO_TRY(std::uint32_t straps, co_await loader.read_reg(strap_register));
  CO_TRY(std::uint32_t word4, co_await loader.read_reg(loader.chip()->efuse.blocks[0] + efuse_word4_offset));
  constexpr std::uint32_t forced_by_efuse = 1u << 16;
  const bool pin_decides = (word4 & forced_by_efuse) == 0;
  if (!pin_decides || (straps & esp32_mtdi) == 0) co_return ok();
  co_return fail(gets_low_voltage(seen + ", " + straps_in_words("esp32", straps)));
}

Task<Result<void>> quiet_watchdogs(Loader& loader) {
  const Watchdogs& dogs = loader.chip()->watchdogs;
  if (dogs.config == 0 || loader.console() != Console::usb_serial_jtag) co_return ok();
  CO_TRY(co_await loader.write_reg(dogs.protect, watchdog_key));
  CO_TRY(co_await loader.write_reg(dogs.config, 0));
  CO_TRY(co_await loader.write_reg(dogs.protect, 0));
  CO_TRY(co_await loader.write_reg(dogs.super_protect, dogs.super_key));
  CO_TRY(std::uint32_t before, co_await loader.read_reg(dogs.super_config));
  CO_TRY(co_await loader.write_reg(dogs.super_config, before | dogs.super_feeds));
  CO_TRY(co_await loader.write_reg(dogs.super_protect, 0));
  co_return ok();
}

Task<Result<void>> power_flash(Loader& loader) {
  for (const FlashPower& power : loader.chip()->flash_power) {
    if (power.revision != loader.revision().full()) continue;
    if (power.forced.there()) {
      const EfuseTable& table = loader.chip()->efuse;
      const std::uint32_t address = table.blocks[power.forced.block] + 4 * (power.forced.bit / 32u);
      CO_TRY(std::uint32_t word, co_await loader.read_reg(address));
      RegisterWords words;
      words[address] = word;
      if ((efuse_value(table, power.forced, words) != 0) != power.is_forced) continue;
    }
    for (const RegisterStep& step : power.steps) {
      CO_TRY(std::uint32_t before, co_await loader.read_reg(step.address));
      CO_TRY(co_await loader.write_reg(step.address, (before & ~step.clear) | step.set));
      if (step.then.count() > 0) co_await loader.clock().sleep_for(step.then);
    }
    co_return ok();
  }
  co_return ok();
}

}  // namespace

Task<Result<Mac>> read_mac(Loader& loader) {
  CO_TRY(RegisterWords words, co_await read_registers(loader, mac_registers(*loader.chip())));
  if (auto mac = decode_mac(*loader.chip(), words)) co_return *mac;
  Fault fault{Code::reply_damaged, Remedy::reconnect, "the board reports no valid MAC address"};
  for (const auto& [address, word] : words)
    fault.seen += fmt::format("{}{:08x}", fault.seen.empty() ? "eFuse words " : " ", word);
  fault.advice = "Reseat the board; the same again: its eFuses are blank or unreadable";
  co_return fail(std::move(fault));
}

Task<Result<BoardInfo>> identify(Loader& loader) {
  BoardInfo board;
  CO_TRY(board.chip, co_await find_chip(loader));
  loader.chip_is(*board.chip);
  CO_TRY(board.mac, co_await read_mac(loader));
  CO_TRY(RegisterWords words, co_await read_registers(loader, efuse_registers(*board.chip)));
  EfuseFacts facts = decode_efuses(*board.chip, words);
  board.revision = facts.revision;
  board.unique_id = std::move(facts.unique_id);
  board.security = std::move(facts.security);
  const ConsoleVariable& variable = console_variable(*board.chip, board.revision);
  if (variable.address == 0) board.console = Console::uart;
  // The stub may have put other things where the ROM keeps its variables.
  if (variable.address != 0 && loader.speaker() == Speaker::rom) {
    CO_TRY(std::uint32_t port, co_await loader.read_reg(variable.address));
    board.console = console_of(variable, port);
  }
  loader.chip_is(*board.chip, board.revision, board.console);
  co_return board;
}

Task<Result<BoardInfo>> identify_locked(Loader& loader) {
  CO_TRY(SecurityInfo info, co_await read_security_info(loader));
  if (!info.chip) co_return fail(unknown_chip(fmt::format("chip id {}", info.chip_id)));
  BoardInfo board;
  board.chip = info.chip;
  board.security = std::move(info.security);
  loader.chip_is(*board.chip);
  co_return board;
}

Result<void> check_unlocked(const BoardInfo& board) {
  const Security& security = board.security;
  if (!security.locked()) return ok();
  Fault fault{Code::board_locked, Remedy::refuse, "this board is locked: nothing may be written to it in plain"};
  fault.seen = locks_in_words(security);
  fault.advice = "Put it aside: it has been in a product that locks its boards";
  return fail(std::move(fault));
}

Result<void> check_erasable(const BoardInfo& board, FlashRange range, bool force) {
  const Security& security = board.security;
  if (!security.locked()) return ok();
  // Up to the usual partition table: the bootloader, and before the ESP32's the digest that its first boot made.
  constexpr FlashRange start_of_flash{{0}, 0x8000};
  Fault fault{Code::board_locked, Remedy::refuse,
              "this board is locked: plain images that take the place of what is erased do not start"};
  fault.seen = locks_in_words(security);
  if (security.secure_download || security.encryption_for_good) {
    fault.what = "this board is locked for good: nothing that is written from here takes the place of what is erased";
    fault.advice = "Nothing was erased; only its own firmware can update it";
    return fail(std::move(fault));
  }
  if (security.secure_boot && range.overlaps(start_of_flash)) {
    fault.what = "this board starts no bootloader but its own signed one, which would be erased";
    fault.advice = "Nothing was erased; `flash erase OFFSET SIZE --force` erases what lies behind 0x8000";
    return fail(std::move(fault));
  }
  if (force) return ok();
  fault.advice =
      security.flash_encryption
          ? "Nothing was erased; --force does it all the same, and then write encrypted images (`flash write "
            "--encrypt`)"
          : "Nothing was erased; --force does it all the same, and then write signed images (`flash write --force`)";
  return fail(std::move(fault));
}

Task<Result<void>> make_ready(Loader& loader) {
  if (loader.speaker() != Speaker::rom || !loader.chip()) co_return ok();
  CO_TRY(co_await quiet_watchdogs(loader));
  co_return co_await power_flash(loader);
}

Task<Result<void>> read_flash_id(Loader& loader, BoardInfo& board) {
  CO_TRY(co_await make_ready(loader));
  const bool by_rom = loader.speaker() == Speaker::rom;
  const bool basic_rom = by_rom && !loader.chip()->rom.has_flash_commands;
  if (basic_rom) {
    // Nothing to erase, nothing to write: the ESP8266's way to attach the flash.
    Bytes nothing(16, 0);
    CO_TRY(co_await loader.command(Op::flash_begin, nothing));
  } else if (by_rom) {
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
  if (basic_rom) co_return ok();
  // The ROM's own parameters stand at 4 MB or less; commands above them would wrap around.
  Bytes parameters;
  for (std::uint32_t word : {0u, board.flash_size, 0x1'0000u, 0x1000u, 0x100u, 0xffffu}) put_u32(parameters, word);
  CO_TRY(co_await loader.command(Op::spi_set_params, parameters));
  co_return ok();
}

}  // namespace espmint
