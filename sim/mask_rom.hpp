// sim/mask_rom.hpp: the loader in the chip's mask ROM, with its habits: values that stay behind, status bytes that hold
// old text, a previous command's opcode in answer to an unknown one. Observed on the genuine ROMs of the ESP32 and the
// ESP32-C3, assumed of the others: docs/virtual-board.md.
#pragma once

#include <map>
#include <vector>

#include "sim/dice.hpp"
#include "sim/flash_writer.hpp"
#include "sim/opcodes.hpp"
#include "sim/registers.hpp"
#include "sim/work.hpp"

namespace espmint::sim {

/// What MEM_BEGIN and MEM_DATA put into RAM.
struct Upload {
  std::uint32_t at = 0;
  Bytes bytes;
};

class MaskRom {
 public:
  MaskRom(const Chip&, const Preset&, NorFlash&, Registers&, Dice&);
  /// As after a reset: nothing attached, nothing uploaded.
  void reset();
  /// Plans what a frame brings; nothing at all for a frame the ROM does not see as one.
  void handle(ByteView frame, Work&);
  /// False until a SYNC was understood: until then the ROM measures the baud rate of what comes in.
  [[nodiscard]] bool synced() const { return synced_; }
  /// The uploaded piece that holds the entry point given by MEM_END.
  [[nodiscard]] const Upload* program() const;

 private:
  enum class Block { data, deflated };
  void sync(const Request&, Work&);
  void write_register(const Request&);
  void flash_begin(const Request&, bool deflated, Work&);
  void flash_data(const Request&, Work&);
  void flash_end(const Request&, Work&);
  void mem_begin(const Request&);
  void mem_data(const Request&);
  void mem_end(const Request&, Work&);
  void read_flash_slow(const Request&, Work&);
  void md5(const Request&, Work&);
  void security_info(Work&);
  void change_baud(const Request&, Work&);

  void succeed(Work&);
  void fail(std::uint8_t reason, Work&);
  void answer(ByteView data, bool good, Work&);
  void reply(ByteView data, Work&);
  [[nodiscard]] bool knows(std::uint8_t opcode) const;
  [[nodiscard]] bool bootable() const;
  [[nodiscard]] bool reaches(std::uint32_t at, std::uint32_t bytes) const;

  const Chip& chip_;
  const Preset& preset_;
  NorFlash& flash_;
  Registers& registers_;
  FlashWriter writer_;

  bool synced_ = false;
  std::uint8_t opcode_ = 0;             // of the last command the ROM knew
  std::uint32_t value_ = 0;             // of the last SYNC or READ_REG
  std::uint8_t reason_ = 0;             // of the last failure
  std::array<std::uint8_t, 2> rest_{};  // what a longer reply left behind the status
  std::uint32_t next_block_ = 0;
  bool block_failed_ = false;
  std::vector<Upload> uploads_;
  std::uint32_t upload_next_ = 0, upload_block_ = 0;
  std::uint32_t entry_ = 0;
  std::uint32_t told_size_ = 0;  // of the flash, by SPI_SET_PARAMS
};

}  // namespace espmint::sim
