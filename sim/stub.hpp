// sim/stub.hpp: the flasher stub that runs in RAM once uploaded: answers first, works afterwards, and tells of a
// failure on the next command.
#pragma once

#include <utility>

#include "sim/dice.hpp"
#include "sim/flash_writer.hpp"
#include "sim/opcodes.hpp"
#include "sim/registers.hpp"
#include "sim/work.hpp"

namespace espmint::sim {

class Stub {
 public:
  static constexpr std::size_t frame_limit = 16 * 1024 + 0xff;
  static constexpr std::size_t frames = 2;

  Stub(const Chip&, const Preset&, NorFlash&, Registers&, Dice&);
  /// As after its start; says hello.
  void start(const StubRow& behaviour, Work&);
  void handle(ByteView frame, Work&);
  /// While flash is read out, frames are counts of bytes received.
  [[nodiscard]] bool reading() const { return reading_; }

 private:
  void flash_begin(const Request&, bool deflated, Work&);
  void flash_data(const Request&, bool deflated, Work&);
  void flash_end(const Request&, bool deflated, Work&);
  void read_flash(const Request&, Work&);
  void acknowledge(std::uint32_t received, Work&);
  void send_blocks(Work&);
  void reply(std::uint8_t opcode, std::uint8_t error, Work&, std::uint32_t value = 0, ByteView data = {});
  void send(ByteView payload, Time, Work&);
  [[nodiscard]] std::uint32_t in_flash(std::uint32_t at) const;
  std::uint8_t take_deferred() { return std::exchange(deferred_, 0); }

  const Chip& chip_;
  const Preset& preset_;
  NorFlash& flash_;
  Registers& registers_;
  FlashWriter writer_;
  StubRow behaviour_{};
  std::uint8_t deferred_ = 0;

  bool reading_ = false;
  std::uint32_t read_at_ = 0, read_size_ = 0, read_block_ = 0, read_in_flight_ = 0;
  std::uint32_t sent_ = 0, acknowledged_ = 0;
};

}  // namespace espmint::sim
