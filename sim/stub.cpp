#include "sim/stub.hpp"

#include "sim/slip.hpp"

namespace espmint::sim {
namespace {
// Source: esptool documentation, Serial Protocol, stub status codes; the code is the first of the two bytes.
constexpr std::uint8_t bad_length = 0xc0, bad_checksum = 0xc1, bad_block_size = 0xc2, invalid_command = 0xc3,
                       failed_spi = 0xc4, not_in_flash_mode = 0xc6, inflate_error = 0xc7, not_enough_data = 0xc8,
                       too_much_data = 0xc9;

std::uint8_t code_of(WriteError error) {
  switch (error) {
    case WriteError::none:
      return 0;
    case WriteError::bad_stream:
      return inflate_error;
    case WriteError::too_much:
      return too_much_data;
    case WriteError::not_enough:
      return not_enough_data;
    case WriteError::out_of_flash:
      return failed_spi;
  }
  return failed_spi;
}
}  // namespace

Stub::Stub(const Chip& chip, const Preset& preset, NorFlash& flash, Registers& registers, Dice& dice)
    : chip_(chip), preset_(preset), flash_(flash), registers_(registers), writer_(flash, preset, dice) {}

void Stub::send(ByteView payload, Time takes, Work& work) {
  Step step{Step::Kind::reply, takes, 0, 0, {}};
  append_slip_frame(step.bytes, payload);
  work.push_back(std::move(step));
}

void Stub::reply(std::uint8_t opcode, std::uint8_t error, Work& work, std::uint32_t value, ByteView data) {
  Bytes payload{0x01, opcode};
  put_u16(payload, static_cast<std::uint16_t>(data.size() + 2));
  put_u32(payload, value);
  append(payload, data);
  payload.push_back(error);
  payload.push_back(0);
  send(payload, preset_.stub_command, work);
}

/// Where an address ends up. Source: esptool documentation, Troubleshooting, Flash and External Memory Support
/// Limitations.
std::uint32_t Stub::in_flash(std::uint32_t at) const {
  constexpr std::uint32_t three_bytes = 0xff'ffff;
  return chip_.row().wide_flash ? at : at & three_bytes;
}

void Stub::start(const StubRow& behaviour, Work& work) {
  behaviour_ = behaviour;
  deferred_ = 0;
  reading_ = false;
  writer_.end();
  registers_.start_stub();
  send(as_bytes("OHAI"), Time{0}, work);
}

void Stub::handle(ByteView frame, Work& work) {
  if (reading_) {
    if (frame.size() == 4) acknowledge(get_u32(frame, 0), work);
    return;
  }
  std::optional<Request> request = as_request(frame);
  if (!request) return;
  std::uint8_t opcode = request->opcode;
  switch (opcode) {
    case op::sync:
      for (int i = 0; i < 8; ++i) reply(opcode, 0, work);
      return;
    case op::read_reg:
      return reply(opcode, 0, work, registers_.read(request->word(0)));
    case op::write_reg:
      // One or more rows of address, value, mask, delay.
      for (std::size_t row = 0; row * 16 + 16 <= request->data.size(); ++row)
        registers_.write(request->word(4 * row), request->word(4 * row + 1), request->word(4 * row + 2));
      return reply(opcode, 0, work);
    case op::spi_attach:
    case op::spi_set_params:
      return reply(opcode, 0, work);
    case op::change_baudrate:
      reply(opcode, 0, work);
      work.push_back({Step::Kind::set_baud, Time{0}, 0, request->word(0), {}});
      return;
    case op::security_info: {
      Bytes info = security_info(chip_);
      if (info.empty()) return reply(opcode, invalid_command, work);
      return reply(opcode, 0, work, 0, info);
    }
    case op::flash_begin:
      return flash_begin(*request, false, work);
    case op::defl_begin:
      return flash_begin(*request, true, work);
    case op::flash_data:
      return flash_data(*request, false, work);
    case op::defl_data:
      return flash_data(*request, true, work);
    case op::flash_end:
      return flash_end(*request, false, work);
    case op::defl_end:
      return flash_end(*request, true, work);
    case op::flash_md5: {
      if (std::uint8_t error = take_deferred()) return reply(opcode, error, work);
      std::uint32_t bytes = std::min(request->word(1), flash_.size());
      Time a_byte = behaviour_.raises_clock ? preset_.md5_byte_fast : preset_.md5_byte_slow;
      work.push_back({Step::Kind::wait, a_byte * bytes, 0, 0, {}});
      return reply(opcode, 0, work, 0, flash_.md5(in_flash(request->word(0)), bytes));
    }
    case op::erase_flash:
      writer_.plan_erase(0, flash_.size(), false, preset_.erase_sector, work);
      return reply(opcode, 0, work);
    case op::erase_region:
      if (request->word(0) % NorFlash::sector != 0 || request->word(1) % NorFlash::sector != 0)
        return reply(opcode, bad_block_size, work);
      if (!flash_.contains(in_flash(request->word(0)), request->word(1))) return reply(opcode, failed_spi, work);
      writer_.plan_erase(in_flash(request->word(0)), request->word(1), false, preset_.erase_sector, work);
      return reply(opcode, 0, work);
    case op::read_flash:
      return read_flash(*request, work);
    case op::run_user_code:
      work.push_back({Step::Kind::restart, preset_.stub_command, 0, 0, {}});
      return;
    default:
      return reply(opcode, invalid_command, work);
  }
}

void Stub::flash_begin(const Request& request, bool deflated, Work& work) {
  deferred_ = 0;
  if (request.data.size() < 16) return reply(request.opcode, bad_length, work);
  std::uint32_t at = in_flash(request.word(3));
  if (!flash_.contains(at, request.word(0))) return reply(request.opcode, failed_spi, work);
  if (request.word(2) > 16 * 1024) return reply(request.opcode, bad_block_size, work);
  writer_.begin(at, request.word(0), deflated,
                {.erases = true, .skips_blank = behaviour_.skips_blank_erases, .bounded = true});
  reply(request.opcode, 0, work);
}

void Stub::flash_data(const Request& request, bool deflated, Work& work) {
  if (!writer_.active() || writer_.deflated() != deflated) return reply(request.opcode, not_in_flash_mode, work);
  ByteView data = request.data.subspan(std::min(request.data.size(), block_header));
  if (request.data.size() < block_header || data.size() != request.word(0))
    return reply(request.opcode, bad_length, work);
  if (block_checksum(data) != request.checksum) return reply(request.opcode, bad_checksum, work);
  // Acknowledged before the work is done: what went wrong with the block before is said now.
  if (std::uint8_t error = take_deferred()) {
    writer_.end();
    return reply(request.opcode, error, work);
  }
  reply(request.opcode, 0, work);
  deferred_ = code_of(writer_.write(data, work));
}

void Stub::flash_end(const Request& request, bool, Work& work) {
  std::uint8_t error = take_deferred();
  if (error == 0 && !writer_.active()) error = not_in_flash_mode;
  if (error == 0 && !writer_.complete()) error = not_enough_data;
  writer_.end();
  reply(request.opcode, error, work);
  if (error == 0 && request.word(0) == 0) work.push_back({Step::Kind::restart, milliseconds{10}, 0, 0, {}});
}

void Stub::read_flash(const Request& request, Work& work) {
  if (request.data.size() < 16 || request.word(2) == 0 || request.word(2) > 16 * 1024 || request.word(3) == 0)
    return reply(request.opcode, bad_length, work);
  read_at_ = in_flash(request.word(0));
  if (!flash_.contains(read_at_, request.word(1))) return reply(request.opcode, failed_spi, work);
  reply(request.opcode, 0, work);
  reading_ = true;
  read_size_ = request.word(1);
  read_block_ = request.word(2);
  read_in_flight_ = std::min<std::uint32_t>(request.word(3), 1024);
  sent_ = acknowledged_ = 0;
  send_blocks(work);
}

void Stub::acknowledge(std::uint32_t received, Work& work) {
  acknowledged_ = std::min(std::max(acknowledged_, received), sent_);
  send_blocks(work);
}

void Stub::send_blocks(Work& work) {
  while (sent_ < read_size_ && sent_ - acknowledged_ < read_in_flight_ * std::uint64_t{read_block_}) {
    std::uint32_t now = std::min(read_block_, read_size_ - sent_);
    send(flash_.read(read_at_ + sent_, now), preset_.stub_command, work);
    sent_ += now;
  }
  if (acknowledged_ == read_size_) {
    reading_ = false;
    Time a_byte = behaviour_.raises_clock ? preset_.md5_byte_fast : preset_.md5_byte_slow;
    send(flash_.md5(read_at_, read_size_), a_byte * std::min<std::uint32_t>(read_size_, read_block_), work);
  }
}

}  // namespace espmint::sim
