#include "sim/mask_rom.hpp"

#include "sim/chips.hpp"
#include "sim/slip.hpp"

namespace espmint::sim {
namespace {
constexpr std::uint8_t bad_message = 0x05, failed = 0x06, wrong_checksum = 0x07, read_too_long = 0x0a;
constexpr std::uint32_t true_crystal_hz = 40'000'000;
constexpr std::uint32_t rtc_calibration = 0x3ff5'f06c, efuse_ck8m = 0x3ff5'a010;
// The interpreter's greeting, as the ROM prints it.
constexpr std::string_view interpreter_text =
    "flash read err, 631\r\nFalling back to built-in command interpreter.\r\nOK\r\n>";
}  // namespace

MaskRom::MaskRom(const ChipRow& chip, const Preset& preset, NorFlash& flash, Registers& registers, Dice& dice)
    : chip_(chip), preset_(preset), flash_(flash), registers_(registers), writer_(flash, preset, dice) {}

void MaskRom::reset() {
  writer_.end();
  synced_ = false;
  opcode_ = 0;
  value_ = 0;
  reason_ = 0;
  rest_ = {};
  next_block_ = 0;
  block_failed_ = false;
  uploads_.clear();
  entry_ = 0;
}

const Upload* MaskRom::program() const {
  for (const Upload& upload : uploads_)
    if (entry_ >= upload.at && entry_ < upload.at + upload.bytes.size()) return &upload;
  return nullptr;
}

bool MaskRom::bootable() const {
  return flash_.contains(chip_.bootloader_offset, 1) && flash_.view()[chip_.bootloader_offset] == image_magic;
}

void MaskRom::reply(ByteView data, Work& work) {
  Bytes payload{0x01, opcode_};
  put_u16(payload, static_cast<std::uint16_t>(data.size()));
  put_u32(payload, value_);
  append(payload, data);
  Step step{Step::Kind::reply, preset_.rom_command, 0, 0, {}};
  append_slip_frame(step.bytes, payload);
  work.push_back(std::move(step));
}

void MaskRom::succeed(Work& work) {
  std::array<std::uint8_t, 4> status{0, reason_, rest_[0], rest_[1]};
  reply(status, work);
}

void MaskRom::fail(std::uint8_t reason, Work& work) {
  reason_ = reason;
  std::array<std::uint8_t, 4> status{1, reason, rest_[0], rest_[1]};
  reply(status, work);
}

void MaskRom::answer(ByteView data, bool good, Work& work) {
  // Longer replies share the buffer that short ones take their last two status bytes from.
  if (data.size() >= 4) rest_ = {data[2], data[3]};
  Bytes whole(data.begin(), data.end());
  if (good) reason_ = 0;
  append(whole, std::array<std::uint8_t, 4>{static_cast<std::uint8_t>(good ? 0 : 1), reason_, 0, 0});
  reply(whole, work);
}

void MaskRom::handle(ByteView frame, Work& work) {
  std::optional<Request> request = as_request(frame);
  if (!request) return;
  bool known = true;
  switch (request->opcode) {
    case op::flash_begin: case op::flash_data: case op::flash_end: case op::mem_begin: case op::mem_end:
    case op::mem_data: case op::sync: case op::write_reg: case op::read_reg: case op::spi_set_params:
    case op::spi_attach: case op::read_flash_slow: case op::change_baudrate: case op::defl_begin: case op::defl_data:
    case op::defl_end: case op::flash_md5:
      break;
    case op::security_info:
      known = chip_.has_security_info;
      break;
    default:
      known = false;
  }
  if (!known) return fail(bad_message, work);
  opcode_ = request->opcode;
  switch (request->opcode) {
    case op::sync: return sync(*request, work);
    case op::read_reg:
      value_ = registers_.read(request->word(0));
      reason_ = 0;
      return succeed(work);
    case op::write_reg:
      write_register(*request);
      return succeed(work);
    case op::spi_attach:
      registers_.attach_flash();
      return succeed(work);
    case op::spi_set_params: return succeed(work);
    case op::flash_begin: return flash_begin(*request, false, work);
    case op::defl_begin: return flash_begin(*request, true, work);
    case op::flash_data:
    case op::defl_data: return flash_data(*request, work);
    case op::flash_end:
    case op::defl_end: return flash_end(*request, work);
    case op::mem_begin:
      mem_begin(*request);
      return succeed(work);
    case op::mem_data: {
      ByteView data = request->data.subspan(std::min(request->data.size(), block_header));
      if (uploads_.empty() || request->word(1) != upload_next_) return fail(bad_message, work);
      if (data.size() < request->word(0) || block_checksum(data.first(request->word(0))) != request->checksum)
        return fail(wrong_checksum, work);
      mem_data(*request);
      return succeed(work);
    }
    case op::mem_end: return mem_end(*request, work);
    case op::read_flash_slow: return read_flash_slow(*request, work);
    case op::flash_md5: return md5(*request, work);
    case op::security_info: return security_info(work);
    case op::change_baudrate: return change_baud(*request, work);
    default: return;
  }
}

void MaskRom::sync(const Request& request, Work& work) {
  synced_ = true;
  value_ = request.word(0);
  for (int i = 0; i < 8; ++i) {
    succeed(work);
    if (i > 0) work.back().takes = Time{0};
  }
}

void MaskRom::write_register(const Request& request) {
  registers_.write(request.word(0), request.word(1), request.word(2));
}

void MaskRom::flash_begin(const Request& request, bool deflated, Work& work) {
  std::uint32_t bytes = request.word(0), at = request.word(3);
  next_block_ = 0;
  block_failed_ = false;
  if (!flash_.contains(at, bytes)) return fail(failed, work);
  writer_.begin(at, bytes, deflated, {.erases = false, .skips_blank = false, .bounded = deflated});
  if (bytes != 0) writer_.plan_erase(at, bytes, true, preset_.rom_erase_sector, work);
  succeed(work);
}

void MaskRom::flash_data(const Request& request, Work& work) {
  bool deflated = request.opcode == op::defl_data;
  ByteView data = request.data.subspan(std::min(request.data.size(), block_header));
  // After a wrong checksum the ROM takes no more blocks until the next BEGIN.
  if (!writer_.active() || writer_.deflated() != deflated || block_failed_ || request.word(1) != next_block_)
    return fail(bad_message, work);
  std::uint32_t bytes = request.word(0);
  if (data.size() < bytes || block_checksum(data.first(bytes)) != request.checksum) {
    block_failed_ = true;
    return fail(wrong_checksum, work);
  }
  ++next_block_;
  WriteError error = writer_.write(data.first(bytes), work);
  // A stream shorter than the announced size is fine: hosts announce whole blocks.
  if (error == WriteError::none || error == WriteError::not_enough) return succeed(work);
  block_failed_ = true;
  fail(failed, work);
}

void MaskRom::flash_end(const Request& request, Work& work) {
  writer_.end();
  if (bootable()) {
    succeed(work);
    work.push_back({Step::Kind::restart, Time{0}, 0, 0, {}});
    return;
  }
  static_cast<void>(request);  // 0 "restart" and 1 "run": both look for an application and end in the interpreter
  fail(failed, work);
  work.push_back({Step::Kind::basic, Time{0}, 0, 0, to_bytes(interpreter_text)});
}

void MaskRom::mem_begin(const Request& request) {
  // A piece uploaded again replaces the old one.
  std::erase_if(uploads_, [&](const Upload& old) { return old.at == request.word(3); });
  if (uploads_.size() > 16) uploads_.erase(uploads_.begin());
  uploads_.push_back({request.word(3), {}});
  upload_next_ = 0;
  upload_block_ = request.word(2);
}

void MaskRom::mem_data(const Request& request) {
  ++upload_next_;
  Bytes& bytes = uploads_.back().bytes;
  if (bytes.size() < 1024 * 1024) append(bytes, request.data.subspan(block_header, request.word(0)));
}

void MaskRom::mem_end(const Request& request, Work& work) {
  entry_ = request.word(1);
  succeed(work);
  if (entry_ == 0) return;
  work.push_back({program() ? Step::Kind::run_stub : Step::Kind::hang, preset_.stub_start, 0, 0, {}});
}

void MaskRom::read_flash_slow(const Request& request, Work& work) {
  Bytes data = flash_.read(request.word(0), 64);
  bool good = request.word(1) <= 64;
  if (!good) reason_ = read_too_long;
  answer(data, good, work);
}

void MaskRom::md5(const Request& request, Work& work) {
  std::uint32_t bytes = std::min(request.word(1), flash_.size());
  std::string text = to_hex(flash_.md5(request.word(0), bytes));
  work.push_back({Step::Kind::wait, preset_.md5_byte_slow * bytes, 0, 0, {}});
  answer(as_bytes(text), true, work);
}

void MaskRom::security_info(Work& work) {
  // Flags, key count, seven key purposes, chip id, ECO version. The last purpose reads 12 on an unburnt C3.
  Bytes data(12, 0);
  data[11] = 12;
  put_u32(data, chip_.image_chip_id);
  put_u32(data, 3);
  answer(data, true, work);
}

void MaskRom::change_baud(const Request& request, Work& work) {
  std::uint64_t baud = request.word(0);
  if (chip_.baud_by_rtc) {
    // The ROM divides the crystal it believes in: RTC calibration times the eFuse's CK8M_FREQ. The host must allow for
    // the difference. A blank eFuse makes it 0: no baud rate at all. Source: ESP32 ROM, observed.
    std::uint64_t cycles = registers_.read(rtc_calibration) >> 7 & 0x1ff'ffff;
    std::uint64_t believed_hz = cycles * 15625 * (registers_.read(efuse_ck8m) & 0xff) / 40;
    baud = believed_hz == 0 ? 0 : baud * true_crystal_hz / believed_hz;
  }
  succeed(work);
  work.push_back({Step::Kind::set_baud, Time{0}, 0, static_cast<std::uint32_t>(baud), {}});
}

}  // namespace espmint::sim
