#include "sim/mask_rom.hpp"

#include "sim/slip.hpp"

namespace espmint::sim {
namespace {
constexpr std::uint8_t bad_message = 0x05, failed = 0x06, wrong_checksum = 0x07, read_too_long = 0x0a;
// In Secure Download Mode nobody can ask the flash: the ROM takes it for this big until told.
constexpr std::uint32_t untold_flash_size = 2 * 1024 * 1024;
constexpr std::uint32_t three_byte_address = 0xff'ffff;  // the ROM sends no fourth byte to the flash
constexpr std::uint32_t rtc_calibration = 0x3ff5'f06c, efuse_ck8m = 0x3ff5'a010;
// The interpreter's greeting, as the ROM prints it.
constexpr std::string_view interpreter_text =
    "flash read err, 631\r\nFalling back to built-in command interpreter.\r\nOK\r\n>";

/// Its ROM erases the sectors up to the next 64 KiB twice over in its count, so that a host must ask for fewer.
/// Source: esptool documentation, Serial Protocol, Erase Size Bug.
std::uint32_t erased_by_esp8266(std::uint32_t at, std::uint32_t bytes) {
  constexpr std::uint32_t sectors_in_block = NorFlash::block / NorFlash::sector;
  std::uint32_t asked = (bytes + NorFlash::sector - 1) / NorFlash::sector;
  std::uint32_t head = sectors_in_block - at / NorFlash::sector % sectors_in_block;
  return (asked + std::min(asked, head)) * NorFlash::sector;
}
}  // namespace

MaskRom::MaskRom(const Chip& chip, const Preset& preset, NorFlash& flash, Registers& registers, Dice& dice)
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
  told_size_ = 0;
}

const Upload* MaskRom::program() const {
  for (const Upload& upload : uploads_)
    if (entry_ >= upload.at && entry_ < upload.at + upload.bytes.size()) return &upload;
  return nullptr;
}

bool MaskRom::bootable() const {
  std::uint32_t at = chip_.row().bootloader_offset;
  return flash_.contains(at, 1) && flash_.view()[at] == image_magic;
}

bool MaskRom::reaches(std::uint32_t at, std::uint32_t bytes) const {
  std::uint32_t size = flash_.size();
  if (chip_.security.secure_download) size = std::min(size, told_size_ != 0 ? told_size_ : untold_flash_size);
  return at <= size && bytes <= size - at;
}

/// Source: esptool documentation, Serial Protocol: commands per chip; Supported in Secure Download Mode.
bool MaskRom::knows(std::uint8_t opcode) const {
  switch (opcode) {
    case op::sync:
    case op::flash_begin:
    case op::flash_data:
    case op::flash_end:
      return true;
    case op::spi_set_params:
    case op::spi_attach:
    case op::change_baudrate:
      return !chip_.row().bare_rom;
    case op::security_info:
      return chip_.row().security_bytes != 0;
    case op::mem_begin:
    case op::mem_end:
    case op::mem_data:
    case op::write_reg:
    case op::read_reg:
      return !chip_.security.secure_download;
    case op::read_flash_slow:
    case op::defl_begin:
    case op::defl_data:
    case op::defl_end:
    case op::flash_md5:
      return !chip_.security.secure_download && !chip_.row().bare_rom;
    default:
      return false;
  }
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
  reply(ByteView{status}.first(chip_.row().bare_rom ? 2 : 4), work);
}

void MaskRom::fail(std::uint8_t reason, Work& work) {
  reason_ = reason;
  std::array<std::uint8_t, 4> status{1, reason, rest_[0], rest_[1]};
  reply(ByteView{status}.first(chip_.row().bare_rom ? 2 : 4), work);
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
  if (!knows(request->opcode)) return fail(bad_message, work);
  opcode_ = request->opcode;
  switch (request->opcode) {
    case op::sync:
      return sync(*request, work);
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
    case op::spi_set_params:
      told_size_ = request->word(1);
      return succeed(work);
    case op::flash_begin:
      return flash_begin(*request, false, work);
    case op::defl_begin:
      return flash_begin(*request, true, work);
    case op::flash_data:
    case op::defl_data:
      return flash_data(*request, work);
    case op::flash_end:
    case op::defl_end:
      return flash_end(*request, work);
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
    case op::mem_end:
      return mem_end(*request, work);
    case op::read_flash_slow:
      return read_flash_slow(*request, work);
    case op::flash_md5:
      return md5(*request, work);
    case op::security_info:
      return security_info(work);
    case op::change_baudrate:
      return change_baud(*request, work);
    default:
      return;
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
  std::uint32_t bytes = request.word(0), at = request.word(3) & three_byte_address;
  next_block_ = 0;
  block_failed_ = false;
  if (!reaches(at, bytes)) return fail(failed, work);
  writer_.begin(at, bytes, deflated, {.erases = false, .skips_blank = false, .bounded = deflated});
  if (chip_.row().bare_rom) {
    registers_.attach_flash();  // this ROM has no command for it
    bytes = erased_by_esp8266(at, bytes);
  }
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
  bool has_interpreter = chip_.row().name == "esp32";
  if (bootable() || !has_interpreter) {
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
  // A fault of this ROM. Source: esptool documentation, Troubleshooting, Secure Boot Limitations.
  bool runs_nothing = chip_.row().name == "esp32c3" && chip_.security.secure_boot;
  work.push_back({program() && !runs_nothing ? Step::Kind::run_stub : Step::Kind::hang, preset_.stub_start, 0, 0, {}});
}

void MaskRom::read_flash_slow(const Request& request, Work& work) {
  Bytes data = flash_.read(request.word(0) & three_byte_address, 64);
  bool good = request.word(1) <= 64;
  if (!good) reason_ = read_too_long;
  answer(data, good, work);
}

void MaskRom::md5(const Request& request, Work& work) {
  std::uint32_t bytes = std::min(request.word(1), flash_.size());
  std::string text = to_hex(flash_.md5(request.word(0) & three_byte_address, bytes));
  work.push_back({Step::Kind::wait, preset_.md5_byte_slow * bytes, 0, 0, {}});
  answer(as_bytes(text), true, work);
}

void MaskRom::security_info(Work& work) { answer(sim::security_info(chip_), true, work); }

void MaskRom::change_baud(const Request& request, Work& work) {
  std::uint64_t baud = request.word(0);
  if (chip_.row().believed_mhz != 0)
    baud = baud * chip_.crystal_hz() / (std::uint64_t{chip_.row().believed_mhz} * 1'000'000);
  if (chip_.row().crystal_register != 0) {
    std::uint64_t believed_mhz = registers_.read(chip_.row().crystal_register) >> 24 & 0x7f;
    if (believed_mhz != 0) baud = baud * chip_.crystal_hz() / (believed_mhz * 1'000'000);
  }
  if (chip_.row().baud_by_rtc) {
    // The ROM divides the crystal it believes in: RTC calibration times the eFuse's CK8M_FREQ. The host must allow for
    // the difference. A blank eFuse makes it 0: no baud rate at all. Source: ESP32 ROM, observed.
    std::uint64_t cycles = registers_.read(rtc_calibration) >> 7 & 0x1ff'ffff;
    std::uint64_t believed_hz = cycles * 15625 * (registers_.read(efuse_ck8m) & 0xff) / 40;
    baud = believed_hz == 0 ? 0 : baud * chip_.crystal_hz() / believed_hz;
  }
  succeed(work);
  work.push_back({Step::Kind::set_baud, Time{0}, 0, static_cast<std::uint32_t>(baud), {}});
}

}  // namespace espmint::sim
